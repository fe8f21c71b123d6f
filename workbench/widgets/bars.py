"""A chart of one symbol's bars with any indicators."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping

import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..errors import DataError, ParameterError, UnknownNameError, WorkbenchError
from ..indicators import indicators
from ..panel import Panel
from ..report import figures
from ..report.page import PLOTLY
from .choice import Pick
from .form import CSS, Fields, Skin, complaint
from .job import in_a_line
from .sections import DATES, Features, first_and_last
from .tables import in_style, table

LAST = 8  # bars in the static table


class Chart(ipw.VBox):
    """Price bars, volume, and indicators over the price or in panes below. Made by `chart`.

    Attributes
    ----------
    figure : plotly.graph_objects.Figure
        What is drawn now.
    """

    def __init__(self, panel: Panel, symbol: str, picks: list[Pick]):
        skin = Skin()
        self._panel, self._state, self._output = panel, skin.html(), ipw.Output(layout=skin.wide)
        self._symbol = skin.make(ipw.Dropdown, options=list(panel.symbols), value=symbol, description="symbol")
        self._dates = Fields(skin, "data", DATES, {}, self._draw, first_and_last(panel))
        self._features = Features(skin, lambda section, error=None: self._draw(error), panel, alone=True)
        self._features.chosen(picks)
        self._symbol.observe(self._draw, names="value")
        left = ipw.VBox(layout=ipw.Layout(flex="0 0 372px", width="372px", padding="0 12px 0 0"))
        left.children = (self._symbol, *self._dates.children, self._features.box)
        self._left = left
        right = ipw.VBox([self._state, self._output], layout=ipw.Layout(flex="1 1 420px", min_width="0", width="auto"))
        across = ipw.HBox([left, right], layout=ipw.Layout(flex_flow="row wrap", align_items="flex-start"))
        super().__init__([skin.html(f"<style>{CSS}</style>"), across], layout=skin.wide)
        self.add_class("wb-chooser")
        self._draw()

    def _draw(self, error: object = None) -> None:
        self._left.children = (self._symbol, *self._dates.children, self._features.box)
        if isinstance(error, WorkbenchError) or self._dates.refused or self._features.refused:
            self._features.complain(error if isinstance(error, WorkbenchError) else None)
            return
        self._features.complain(None)
        try:
            self.figure = drawn(self._panel, self._symbol.value, self._features.picks, **self._dates.values)
        except WorkbenchError as refusal:
            self._state.value = complaint(*in_a_line(refusal))
            return
        self._state.value = ""
        data = {PLOTLY: json.loads(self.figure.to_json()), "text/plain": repr(self)}
        self._output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)

    def __repr__(self) -> str:
        shown = ", ".join(pick.name for pick in self._features.picks)
        return f"<Chart of {self._symbol.value}: {shown or 'bars alone'}>"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """The widget; for an export its figure; and for who can show neither, a line and the last bars."""
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        if hasattr(self, "figure"):
            bundle[PLOTLY] = json.loads(self.figure.to_json())
        return {**bundle, "text/html": self._static(), "text/plain": repr(self)}

    def _static(self) -> str:
        symbol = self._symbol.value
        found = self._panel[self._dates.values["start"] : self._dates.values["end"]]
        frame = pd.DataFrame({field: found[field][symbol] for field in found.fields}).tail(LAST)
        line = figures.path(found["close"][symbol].to_numpy(), says=f"the close of {symbol}")
        head = f"<h4>{html.escape(symbol)}: close, and its last bars</h4>"
        return in_style(head + line + table(frame.rename_axis("time"), index=True), CSS)


def drawn(panel: Panel, symbol: str, picks: Iterable[Pick], start: str | None = None, end: str | None = None):
    """The figure of a symbol's bars from `start` to `end`, with the picks computed on all rows.

    An indicator whose values stand where the price does is drawn over it, any other in a pane of its own; all outputs
    of an indicator are drawn. A cross-section is taken over all symbols.
    """
    bars = panel.select(symbols=symbol, fields=[f for f in panel.fields if f in figures.BARS])
    overlays, panes = {}, {}
    for pick in picks:
        for place, lines in _lines(panel, symbol, pick).items():
            lines = lines[start:end] if start or end else lines
            if not lines.notna().any(axis=None):
                raise DataError(f"{pick.name} has no value in these rows", hint="show more rows, or a shorter window")
            (overlays if place == "over" else panes)[repr(pick.expression)] = lines
    shown = bars[start:end] if start or end else bars
    over = pd.concat(overlays.values(), axis=1) if overlays else None
    return figures.chart(shown, symbol, overlays=over, panes=panes)


def _lines(panel: Panel, symbol: str, pick: Pick) -> dict[str, pd.DataFrame]:
    """All outputs of an indicator of one symbol, by where they are drawn."""
    entry = indicators[pick.name]
    inputs = [panel[name] if entry.cross_section else panel[name][symbol] for name in entry.inputs]
    made = entry(*inputs, **pick.params)
    made = [made] if len(entry.outputs) == 1 else made
    short = ", ".join(str(value) for value in pick.params.values())
    named = {
        f"{pick.name}({short})" + (f" {name}" if len(entry.outputs) > 1 else ""): one[symbol] if one.ndim == 2 else one
        for name, one in zip(entry.outputs, made, strict=True)
    }
    frame = pd.DataFrame(named)
    return {"over" if _on_the_price(frame, panel["close"][symbol]) else "below": frame}


def _on_the_price(frame: pd.DataFrame, close: pd.Series) -> bool:
    """Whether nearly all values lie between a half and the double of the close."""
    ratio = frame.div(close, axis=0).to_numpy()
    ratio = ratio[np.isfinite(ratio)]
    return bool(len(ratio)) and float(np.mean((ratio > 0.5) & (ratio < 2))) > 0.9


def chart(panel: Panel, symbol: str | None = None, features: Iterable[Mapping | str] = ()) -> Chart:
    """A chart of one symbol's bars: candles, volume, and any indicators, over the price or in panes below.

    Parameters
    ----------
    panel : Panel
        With open, high, low and close.
    symbol : str, optional
        Default: the first.
    features : iterable of str or mapping
        Indicators by name, or as the features of ``chooser.spec``: ``{"name": "sma", "params": {"window": 50}}``.

    Returns
    -------
    Chart
        A widget; ``.figure`` is what it draws. Above 1,500 bars equal runs of bars are merged, and lines thinned, so
        that a long history stays fluid; dates show a part of it in full.

    Raises
    ------
    DataError, UnknownNameError, ParameterError
        A panel without bars, or a symbol or an indicator that there isn't.
    """
    if not isinstance(panel, Panel):
        raise ParameterError(f"chart: found a {type(panel).__name__}, expected a Panel", hint="Panel.from_frame(df)")
    symbol = panel.symbols[0] if symbol is None else symbol
    if symbol not in panel.symbols:
        raise UnknownNameError.of("symbol", symbol, panel.symbols)
    lacking = [field for field in figures.BARS[:4] if field not in panel.fields]
    if lacking:
        raise DataError(f"chart: the panel has no {', '.join(lacking)}", hint="bars have open, high, low and close")
    picks = [Pick.of({"name": each} if isinstance(each, str) else each) for each in features]
    return Chart(panel, symbol, picks)
