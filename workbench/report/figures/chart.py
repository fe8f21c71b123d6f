"""Price bars with lines over them, and panes below."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..style import COLORS
from .core import _DASHES, CANDLES, _axis, _scatter, _stack, _table, candles

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def chart(
    data: object,
    symbol: str | None = None,
    *,
    overlays: pd.DataFrame | None = None,
    panes: Mapping[str, pd.DataFrame | pd.Series] | None = None,
    title: str | None = None,
) -> Figure:
    """Price bars as `candles` draws them, with lines over the price and further panes on the same time axis.

    Parameters
    ----------
    data, symbol, title
        As in `candles`.
    overlays : DataFrame, optional
        One line a column, on the scale of the price.
    panes : mapping of str to DataFrame or Series, optional
        By name what stands in a pane of its own below, one line a column.

    Returns
    -------
    plotly.graph_objects.Figure
        Bars are merged as in `candles`, lines thinned with their extremes kept: of 50,000 rows some 6,000 numbers a
        line are drawn.

    Raises
    ------
    DataError
        As `candles`; or a line without a number.
    """
    figure = candles(data, symbol, title=title)
    under = len(figure.data) - 1  # whether there is a volume
    panes = dict(panes or {})
    names = ["price", *["volume"][:under], *panes]
    figure.update_layout(_stack(names, [4.0, *[1.0][:under], *[1.3] * len(panes)], {}))
    drawn = 0
    for number, frame in enumerate([overlays, *panes.values()]):
        if frame is None:
            continue
        frame = _table(frame, "bars")
        x, _ = _axis(frame.index)
        place = "y" if number == 0 else f"y{number + 1 + under}"
        for name in frame.columns:
            line = {"width": 1.3, "dash": _DASHES[drawn // COLORS % len(_DASHES)]}
            values = frame[name].to_numpy()
            trace = _scatter(name, x, values, ",.5~g", 2 * CANDLES, yaxis=place, line=line, showlegend=True)
            figure.add_trace(trace)
            drawn += 1
    for trace in figure.data[: 1 + under]:
        trace.showlegend = False
    if "volume" in names:
        figure.update_layout(yaxis2={"tickformat": "~s", "nticks": 3})
    # names of panes stand in the legend: along a low axis they would run into each other
    quiet = {f"yaxis{i + 2 + under}": {"title": {"text": ""}, "nticks": 4} for i in range(len(panes))}
    figure.update_layout(quiet, height=440 + 110 * len(panes), showlegend=drawn > 0)
    return figure


def path(values: np.ndarray, width: int = 640, height: int = 110, *, says: str = "") -> str:
    """A line as an image in HTML, which needs no script: for where figures can't be drawn.

    Parameters
    ----------
    values : ndarray of shape (n,)
        NaN is a gap.
    width, height : int, default 640 and 110
        Pixels.
    says : str
        What it shows, for who can't see it.

    Returns
    -------
    str
        Empty where there are not two numbers to draw a line between.
    """
    values = np.asarray(values, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return ""
    known = known[np.linspace(0, len(known) - 1, min(len(known), width // 2)).astype(int)]
    low, high = values[known].min(), values[known].max()
    across = (known - known[0]) / max(known[-1] - known[0], 1) * width
    down = height - 2 - (values[known] - low) / (high - low if high > low else 1.0) * (height - 4)
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, down, strict=True))
    drawn = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>"
        f"<polyline points='{points}' fill='none' stroke='#2585c7' stroke-width='1.4'/></svg>"
    )
    # as an image: pages that trust no drawing, such as a notebook that isn't trusted, show images
    data = base64.b64encode(drawn.encode()).decode()
    return f'<img alt="{html.escape(says)}" width="{width}" src="data:image/svg+xml;base64,{data}"/>'
