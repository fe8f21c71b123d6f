"""A series and its forecast, with the intervals around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...errors import DataError, ParameterError, UnknownNameError
from .core import _axis, _finish, _safe, _scatter, _table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_FIELDS = ("mean", "lower", "upper")
_BAND = "rgba(128,128,128,.22)"  # bands that lie on each other add up: the narrower is the darker


def forecast(
    history: object,
    forecast: object,
    *,
    symbol: str | None = None,
    last: int | None = None,
    title: str = "Forecast",
    y: str = "",
    height: int = 380,
) -> Figure:
    """A series, its forecast as a dashed line, and each interval as a band.

    Parameters
    ----------
    history : Series, DataFrame or a Panel of one field
        What was seen; where it goes on beside the forecast, one sees how good that was.
    forecast : DataFrame or Panel, or a sequence of them
        With ``mean``, ``lower`` and ``upper``, as ``Forecaster.forecast`` gives it; of several the bands lie on each
        other, such as those of 80 % and of 95 %, and the mean is that of the first.
    symbol : str, optional
        Which one is drawn; needed where there are several.
    last : int, optional
        Rows of the history that are drawn. Default: all.
    title, y : str
        Title, and what stands on the vertical axis, with its unit.
    height : int, default 380
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    DataError
        Nothing to draw, an infinite number, a forecast without these columns, or an upper end below the lower.
    ParameterError
        Several symbols and no name, or `last` below 1.
    UnknownNameError
        No such symbol.
    """
    from plotly.graph_objects import Figure, Scatter

    if last is not None and last < 1:
        raise ParameterError(f"forecast: last={last} draws no row", hint="leave it out to draw all")
    seen = _one(_table(history, "forecast"), symbol, "history")
    seen = seen if last is None else seen.iloc[-last:]
    several = isinstance(forecast, Sequence)
    frames = [_forecast(each, symbol) for each in (forecast if several else [forecast])]
    if not frames:
        raise DataError("forecast: no forecast to draw")
    x, axis = _axis(seen.index)
    figure = Figure(_scatter(seen.name, x, seen.to_numpy(), ",.5~g", line={"width": 1.6}))
    for frame in frames:
        at, _ = _axis(frame.index)
        for name, fill in (("upper", None), ("lower", "tonexty")):
            figure.add_trace(
                Scatter(
                    x=at,
                    y=frame[name].to_numpy(np.float32),
                    name=name,
                    mode="lines",
                    line={"width": 0, "color": _BAND},
                    fill=fill,
                    fillcolor=_BAND,
                    showlegend=False,
                    hovertemplate="%{y:,.5~g}",
                )
            )
    mean = frames[0]["mean"]
    at, _ = _axis(mean.index)
    figure.add_trace(_scatter("forecast", at, mean.to_numpy(), ",.5~g", line={"width": 1.6, "dash": "dash"}))
    figure.update_xaxes(**axis)
    figure.update_yaxes(title={"text": _safe(y)})
    return _finish(figure, title, height, showlegend=True)


def _forecast(forecast: object, symbol: str | None) -> pd.DataFrame:
    """Mean, lower and upper of one symbol."""
    if hasattr(forecast, "fields") and hasattr(forecast, "plane"):
        lacking = [name for name in _FIELDS if name not in forecast.fields]
        found = {} if lacking else {name: _one(forecast[name], symbol, "forecast") for name in _FIELDS}
        frame = pd.DataFrame(found)
    elif isinstance(forecast, pd.DataFrame):
        lacking = [name for name in _FIELDS if name not in forecast.columns]
        frame = forecast
    else:
        raise DataError(f"forecast: the forecast is a {type(forecast).__name__}, expected a DataFrame or a Panel")
    if lacking:
        raise DataError(
            f"forecast: the forecast has no {', '.join(lacking)}", hint="pass what Forecaster.forecast gave"
        )
    frame = _table(frame[list(_FIELDS)], "forecast")
    crossed = frame["lower"] > frame["upper"]
    if crossed.any():
        raise DataError(f"forecast: the lower end is above the upper at {frame.index[crossed.argmax()]}")
    return frame


def _one(frame: pd.DataFrame, symbol: str | None, what: str) -> pd.Series:
    """The column of `symbol`, or the only one."""
    if frame.shape[1] == 1:
        return frame.iloc[:, 0]
    if symbol is None:
        raise ParameterError(
            f"forecast: the {what} has {frame.shape[1]} symbols, expected symbol= to say which",
            hint=f"symbol={str(frame.columns[0])!r}",
        )
    if symbol not in frame.columns:
        raise UnknownNameError.of("symbol", symbol, frame.columns)
    return frame[symbol]
