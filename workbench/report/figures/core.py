"""Figures: tables in, plotly figures out; nothing is computed here that belongs to a result.

A trace is thinned to at most `POINTS` points, keeping the extremes, gaps, first and last point of what it
shows, and its numbers are float32, so files stay small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...errors import DataError, ParameterError, UnknownNameError
from ..style import COLORS, template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 5_000
CANDLES = 1_500
DOTS = 200  # numbers of a box that are drawn one by one
BARS = ("open", "high", "low", "close", "volume")

_DASHES = ("solid", "dash", "dot", "dashdot")


def thin(values: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """The rows that draw the same picture of `values` with at most `limit` points.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Floats; NaN is a gap.
    limit : int, default 5000
        At least 8.

    Returns
    -------
    ndarray of shape (m,), m <= limit
        Row numbers in ascending order: the first and the last row, and of each of a number of equal stretches
        the lowest, the highest and the first missing row. All rows when there are no more than `limit`.
    """
    if limit < 8:
        raise ParameterError(f"thin: limit={limit} is below 8", hint="the default is 5000")
    n = len(values)
    if n <= limit:
        return np.arange(n)
    missing = np.isnan(values)
    low, high = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
    edges = np.linspace(0, n, (limit - 2) // (3 if missing.any() else 2) + 1).astype(int)
    keep = {0, n - 1}
    for a, b in pairwise(edges):
        if not missing[a:b].all():
            keep.update((a + int(low[a:b].argmin()), a + int(high[a:b].argmax())))
        if missing[a:b].any():
            keep.add(a + int(missing[a:b].argmax()))
    return np.array(sorted(keep))


def _table(what: object, owner: str, attribute: str | None = None) -> pd.DataFrame:
    """`what` as a DataFrame of floats, one column a line; DataError where it can't be drawn."""
    found = getattr(what, attribute, what) if attribute and not isinstance(what, pd.DataFrame) else what
    if hasattr(found, "fields") and hasattr(found, "plane"):
        if len(found.fields) != 1:
            raise DataError(
                f"{owner}: the panel has {len(found.fields)} fields, expected one",
                hint=f"pick one of them: panel[{found.fields[0]!r}]",
            )
        found = found[found.fields[0]]
    if isinstance(found, pd.Series):
        found = found.to_frame(attribute or "value" if found.name is None else found.name)
    if not isinstance(found, pd.DataFrame):
        wanted = "a Series or a DataFrame" + (f", or a result with .{attribute}" if attribute else "")
        raise DataError(f"{owner}: found {type(what).__name__}, expected {wanted}")
    if found.empty:
        raise DataError(f"{owner}: the table is empty: {found.shape[0]} rows, {found.shape[1]} columns")
    for name, kind in found.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind):
            raise DataError(
                f"{owner}: column {str(name)!r} holds {kind}, expected numbers",
                hint="leave out what isn't a number: frame.select_dtypes('number')",
            )
    values = found.to_numpy(np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise DataError(
            f"{owner}: {values[row, column]} in column {str(found.columns[column])!r} at {found.index[row]}",
            hint="a division by zero upstream? mask it to NaN on purpose if a gap is meant",
        )
    if np.isnan(values).all():
        raise DataError(f"{owner}: not one of the {values.size} values is finite: nothing to draw")
    return pd.DataFrame(values, index=found.index, columns=found.columns)


def _axis(index: pd.Index) -> tuple[np.ndarray, dict]:
    """x values and the layout of their axis; times are shown in UTC, as dates when all are midnights."""
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex):
        return index.to_numpy(), {"title": {"text": "" if index.name is None else str(index.name)}}
    aware = index.tz is not None
    index = index.tz_convert("UTC").tz_localize(None) if aware else index
    if (index == index.normalize()).all():
        return index.strftime("%Y-%m-%d").to_numpy(), {"type": "date", "hoverformat": "%a %d %b %Y"}
    text = index.strftime("%Y-%m-%dT%H:%M:%S").to_numpy()
    return text, {"type": "date", "title": {"text": "time (UTC)" if aware else "time"}}


@cache
def _house():
    """The house style, looked through by plotly once: that takes longer than all else of a small figure."""
    from plotly.graph_objects import layout

    return layout.Template(template())


def _finish(figure: Figure, title: str, height: int, **layout) -> Figure:
    figure.layout.template = _house()  # an update would lay it over plotly's own
    legend = {"margin": {"t": 74}} if layout.get("showlegend") else {}
    bare = {} if title else {"margin": {"t": 44 if legend else 16}}
    figure.update_layout({"title": {"text": _safe(title)}, "height": height, **layout, **legend, **bare})
    return figure


def _stack(names: list[str], shares: list[float], axis: dict) -> dict:
    """A layout of plots above each other over one time axis, so that one hover reads them all."""
    gap = 0.05
    unit = (1 - gap * (len(shares) - 1)) / sum(shares)
    layout, top = {}, 1.0
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        low = max(0.0, top - share * unit)
        layout[f"yaxis{i + 1 if i else ''}"] = {"title": {"text": name}, "domain": [low, top], "anchor": "x"}
        top = low - gap
    bottom = f"y{len(shares) if len(shares) > 1 else ''}"
    return {**layout, "xaxis": {**axis, "anchor": bottom}, "hoversubplots": "axis", "showlegend": False}


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times each power of ten from `low` to `high`."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]


def _safe(text: object) -> str:
    """Text for a title or a name: plotly reads a little HTML in them, which isn't meant here."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;")


def _scatter(name: object, x: np.ndarray, y: np.ndarray, hover: str, points: int = POINTS, **style):
    from plotly.graph_objects import Scatter

    rows = thin(y, points)
    return Scatter(
        x=x[rows],
        y=y[rows].astype(np.float32),
        name=_safe(name),
        mode="lines" if len(rows) > 1 else "markers",
        hovertemplate=f"%{{y:{hover}}}",
        **style,
    )


def lines(
    data: object, *, title: str = "", y: str = "", percent: bool = False, log: bool = False, height: int = 380
) -> Figure:
    """One line a column, over the index.

    Parameters
    ----------
    data : Series, DataFrame or a Panel of one field
        Numbers; NaN is a gap. Pass what is to be seen: ``ic.cumsum()``, ``ic.rolling(63).mean()``.
    title, y : str
        Title, and what stands on the vertical axis, with its unit.
    percent : bool, default False
        Whether the numbers are fractions, to be shown as percentages.
    log : bool, default False
        Whether the vertical axis is logarithmic; the numbers must be above zero then.
    height : int, default 380
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    DataError
        Nothing to draw, an infinite number, or a column that isn't numeric.
    ParameterError
        `log` with a number at or below zero.
    """
    from plotly.graph_objects import Figure

    frame = _table(data, "lines")
    low = np.nanmin(frame.to_numpy())
    if log and low <= 0:
        raise ParameterError(f"lines: log=True, but the lowest number is {low:.4g}", hint="use log=False")
    x, axis = _axis(frame.index)
    figure = Figure()
    for i, name in enumerate(frame.columns):
        dash = {"width": 1.6, "dash": _DASHES[i // COLORS % len(_DASHES)]}
        hover = ".2%" if percent else ",.5~g"
        figure.add_trace(_scatter(name, x, frame.iloc[:, i].to_numpy(), hover, line=dash))
    figure.update_xaxes(**axis)
    figure.update_yaxes(title={"text": _safe(y)}, tickformat="~%" if percent else None)
    if log:
        marks = _decades(low, np.nanmax(frame.to_numpy()))
        figure.update_yaxes(type="log", tickformat=",~g", tickvals=marks if len(marks) > 1 else None)
    return _finish(figure, title, height, showlegend=frame.shape[1] > 1)


def bars(data: object, *, title: str = "", y: str = "", height: int = 360) -> Figure:
    """One group of bars a row, one bar a column: a small table to be compared at a glance.

    Parameters
    ----------
    data : Series or DataFrame
        Numbers; NaN is a gap.
    title, y : str
        Title, and what stands on the vertical axis, with its unit.
    height : int, default 360
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    DataError
        Nothing to draw, an infinite number, or a column that isn't numeric.
    """
    from plotly.graph_objects import Bar, Figure

    frame = _table(data, "bars")
    groups = [_safe(name) for name in frame.index]
    traces = [
        Bar(x=groups, y=frame[name].to_numpy(np.float32), name=_safe(name), hovertemplate="%{y:,.4~g}")
        for name in frame
    ]
    figure = Figure(traces)
    figure.update_xaxes(type="category")
    figure.update_yaxes(title={"text": _safe(y)})
    return _finish(figure, title, height, showlegend=frame.shape[1] > 1, barmode="group", bargap=0.3)


def equity(result: object, *, title: str = "Equity", log: bool = False) -> Figure:
    """The value of one or several accounts over time.

    Parameters
    ----------
    result : Result, Series or DataFrame
        A backtest's result (its ``.equity``), or account values, one column an account.
    title : str, default "Equity"
    log : bool, default False
        Whether equal heights are equal returns.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    return lines(_table(result, "equity", "equity"), title=title, y="account value", log=log)


def _below(result: object) -> pd.Series:
    frame = _table(result, "drawdown", "drawdown")
    if frame.shape[1] != 1:
        found = f"{frame.shape[1]} columns"
        raise DataError(f"drawdown: found {found}, expected one", hint="pick one: frame['name']")
    falls = frame.iloc[:, 0]
    if falls.max() > 1e-12:
        raise DataError(
            f"drawdown: values from {falls.min():.4g} to {falls.max():.4g}, expected none above 0",
            hint="pass result.drawdown, or equity / equity.cummax() - 1",
        )
    return falls


def drawdown(result: object, *, title: str = "Drawdown") -> Figure:
    """How far an account stands below its highest value so far.

    Parameters
    ----------
    result : Result or Series
        A backtest's result (its ``.drawdown``), or fractions at or below 0.
    title : str, default "Drawdown"

    Returns
    -------
    plotly.graph_objects.Figure
    """
    falls = _below(result).rename("drawdown")
    figure = lines(falls, title=title, y="below the high (%)", percent=True, height=280)
    figure.update_traces(fill="tozeroy")
    figure.update_yaxes(rangemode="tozero")
    return figure


def folds(frame: pd.DataFrame, metric: str | tuple[str, ...] = "ic", *, title: str | None = None) -> Figure:
    """One bar a fold of a walk-forward evaluation, and their mean.

    Parameters
    ----------
    frame : DataFrame
        One row a fold, as ``walk.folds``; drawn over its ``test_start`` column where it has one, else its
        index.
    metric : str or tuple of str, default "ic"
        The column to draw; of several the first that is known in any fold.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    DataError
        No table of folds, or one in which the metric is known in no fold.
    UnknownNameError
        A metric that the table does not have.
    """
    from plotly.graph_objects import Bar, Figure

    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"folds: found {type(frame).__name__}, expected a DataFrame", hint="pass walk.folds")
    wanted = (metric,) if isinstance(metric, str) else tuple(metric)
    for metric in wanted:
        if metric not in frame.columns:
            raise UnknownNameError.of("metric", metric, frame.select_dtypes("number").columns)
    metric = next((name for name in wanted if frame[name].notna().any()), None)
    if metric is None:
        from ...evaluate.metrics import WHY_UNDEFINED

        raise DataError(
            f"folds: {' and '.join(wanted)} known in none of {len(frame)} folds: nothing to draw",
            hint=WHY_UNDEFINED,
        )
    values = _table(frame[metric], "folds").iloc[:, 0].to_numpy()
    index = pd.DatetimeIndex(frame["test_start"]) if "test_start" in frame.columns else frame.index
    x, axis = _axis(index)
    axis["title"] = {"text": "start of the test rows" if "test_start" in frame.columns else "fold"}
    mean = float(np.nanmean(values))
    name = metric.replace("_", " ")
    figure = Figure(Bar(x=x, y=values.astype(np.float32), name=_safe(name), hovertemplate="%{y:.4f}", showlegend=False))
    figure.add_hline(y=mean, line={"width": 1.2, "dash": "dash"})
    figure.update_xaxes(**axis)
    figure.update_yaxes(title={"text": _safe(name)})
    counted = int(np.isfinite(values).sum())
    default = f"{name} by fold: mean {mean:.4f} over {counted} folds"
    return _finish(figure, default if title is None else title, 320, bargap=0.25)


def _bars(data: object, symbol: str | None) -> tuple[pd.DataFrame, str | None]:
    """Open, high, low, close and, where known, volume of one symbol."""
    need = list(BARS[:4])
    if hasattr(data, "symbols") and hasattr(data, "plane"):
        if symbol is None and len(data.symbols) != 1:
            raise ParameterError(
                f"candles: the panel has {len(data.symbols)} symbols, expected symbol= to say which",
                hint="candles(panel, " + repr(data.symbols[0]) + ")",
            )
        symbol = data.symbols[0] if symbol is None else symbol
        if symbol not in data.symbols:
            raise UnknownNameError.of("symbol", symbol, data.symbols)
        column = list(data.symbols).index(symbol)
        held = [f for f in BARS if f in data.fields]
        frame = pd.DataFrame({f: np.asarray(data.plane(f))[:, column] for f in held}, index=data.time)
    elif isinstance(data, pd.DataFrame):
        frame = data.rename(columns=lambda c: str(c).lower())
        frame = frame[[f for f in BARS if f in frame.columns]]
    else:
        raise DataError(f"candles: found {type(data).__name__}, expected a Panel or a DataFrame")
    lacking = [f for f in need if f not in frame.columns]
    if lacking:
        found = ", ".join(map(str, data.fields if hasattr(data, "fields") else data.columns)) or "none"
        raise DataError(f"candles: no {', '.join(lacking)}; found {found}")
    frame = _table(frame, "candles")
    return frame[frame[need].notna().all(axis=1)], symbol


def candles(data: object, symbol: str | None = None, *, title: str | None = None) -> Figure:
    """Price bars with their volume below.

    Parameters
    ----------
    data : Panel or DataFrame
        With open, high, low, close and, if known, volume.
    symbol : str, optional
        Which one of a panel; needed where it has several.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
        Above 1,500 bars, equal runs of bars are merged into one (first open, highest high, lowest low, last
        close, summed volume); the time axis says so.
    """
    from plotly.graph_objects import Bar, Candlestick, Figure

    frame, symbol = _bars(data, symbol)
    if frame.empty:
        raise DataError(f"candles: no complete bar{f' of {symbol}' if symbol else ''}")
    run = -(-len(frame) // CANDLES)
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    when = frame.index[::run]
    if run > 1:
        groups = frame.groupby(np.arange(len(frame)) // run)
        frame = groups.agg({f: how[f] for f in frame.columns}).set_axis(when)
    x, axis = _axis(frame.index)
    if run > 1:
        axis["title"] = {"text": f"each bar is {run} rows"}
    prices = {f: frame[f].to_numpy().astype(np.float32) for f in ("open", "high", "low", "close")}
    figure = Figure(Candlestick(x=x, **prices, name="price", yhoverformat=",.2f"))
    if "volume" in frame.columns:
        volume = frame["volume"].to_numpy().astype(np.float32)
        # Grey, so that it says nothing of up or down.
        look = {"color": "rgba(128,136,145,.6)"}
        figure.add_trace(Bar(x=x, y=volume, name="volume", hovertemplate="%{y:,.4s}", marker=look, yaxis="y2"))
    names = ["price", "volume"][: len(figure.data)]
    figure.update_layout(_stack(names, [4, 1][: len(names)], axis))
    figure.update_layout(yaxis2={"tickformat": "~s", "nticks": 4} if len(names) == 2 else {})
    figure.update_xaxes(rangeslider={"visible": False})
    # Weekends without bars are cut out; on merged bars there is nothing to cut.
    if run == 1 and "hoverformat" in axis and not (pd.DatetimeIndex(when).day_of_week >= 5).any():
        figure.update_xaxes(rangebreaks=[{"bounds": ["sat", "mon"]}])
    if title is None:
        title = symbol or "Price"
    return _finish(figure, title, 440, bargap=0.1)


def heatmap(matrix: pd.DataFrame, *, title: str = "", label: str = "correlation", centred: bool = True) -> Figure:
    """A matrix in colours.

    Parameters
    ----------
    matrix : DataFrame
        Such as ``returns.corr()``; from -1 to 1, or up to its largest absolute value where that is above 1.
    title : str
    label : str, default "correlation"
        What the numbers are.
    centred : bool, default True
        Colours symmetric around zero; False: from the least number to the largest.

    Returns
    -------
    plotly.graph_objects.Figure
        With the numbers written into the cells up to 15 columns.
    """
    from plotly.graph_objects import Figure, Heatmap

    frame = _table(matrix, "heatmap")
    values = frame.to_numpy()
    bound = max(1.0, float(np.nanmax(np.abs(values))))
    colors = {"zmin": -bound, "zmax": bound} if centred else {"coloraxis": "coloraxis"}
    many = frame.shape[1] > 15
    figure = Figure(
        Heatmap(
            z=values.astype(np.float32),
            x=[_safe(c) for c in frame.columns],
            y=[_safe(c) for c in frame.index],
            **colors,
            xgap=1,
            ygap=1,
            texttemplate=None if many else "%{z:.2f}" if centred else "%{z:.3f}",
            hovertemplate=f"%{{y}} and %{{x}}: %{{z:.3f}}<extra>{_safe(label)}</extra>",
        )
    )
    figure.update_xaxes(type="category", showline=False, ticks="", constrain="domain")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, zeroline=False)
    height = int(min(720, 150 + 34 * max(4, len(frame))))
    return _finish(figure, title, height, hovermode="closest")


def distribution(data: object, *, title: str = "", x: str = "", percent: bool = False) -> Figure:
    """One box a column: its quartiles and median, whiskers to its extremes and, where they are few, all its numbers.

    Parameters
    ----------
    data : Series or DataFrame
        Numbers; NaN is left out. Their order plays no part.
    title, x : str
        Title, and what stands on the horizontal axis, with its unit.
    percent : bool, default False
        Whether the numbers are fractions, to be shown as percentages.

    Returns
    -------
    plotly.graph_objects.Figure
        With a point for each number in columns of up to 200. Quartiles are of type 7 (Hyndman and Fan, 1996).

    Raises
    ------
    DataError
        Nothing to draw, an infinite number, or a column that isn't numeric.
    """
    from plotly.graph_objects import Box, Figure

    frame = _table(data, "distribution")
    figure = Figure()
    for at, name in enumerate(frame.columns):
        values = np.sort(frame.iloc[:, at].dropna().to_numpy())
        if not len(values):
            continue
        least, q1, median, q3, largest = ([v] for v in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
        few = len(values) <= DOTS
        dots = {"x": [values.astype(np.float32)], "boxpoints": "all", "jitter": 0.5, "pointpos": 0} if few else {}
        ends = {"lowerfence": least, "q1": q1, "median": median, "q3": q3, "upperfence": largest}
        label = _safe(name)
        figure.add_trace(Box(y=[label], **ends, **dots, name=label, orientation="h", marker={"size": 5}, width=0.5))
    figure.update_xaxes(title={"text": _safe(x)}, tickformat="~%" if percent else None, zeroline=True)
    figure.update_yaxes(type="category", automargin=True, showgrid=False, autorange="reversed")
    return _finish(figure, title, 130 + 52 * max(2, len(figure.data)), hovermode="closest", showlegend=False)


@dataclass(frozen=True, eq=False)
class TearSheet:
    """One backtest on a page: its table and its figure. In a notebook both show.

    Attributes
    ----------
    result : Result
        As given; its own table is shown.
    figure : plotly.graph_objects.Figure
        Equity, drawdown and, where known, exposure, over one time axis.
    """

    result: object
    figure: Figure

    def __repr__(self) -> str:
        return f"<TearSheet of {self.result!r}>"

    def _repr_html_(self) -> str:
        return self.result._repr_html_()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)
        display(self.figure)


def tear_sheet(result: object, *, title: str = "Backtest", points: int = POINTS) -> TearSheet:
    """A backtest's numbers in one table and its course in one figure.

    Parameters
    ----------
    result : Result
        What ``backtest(weights, prices)`` gave: ``.equity``, ``.drawdown`` and, if known, ``.exposure``.
    title : str, default "Backtest"
    points : int, default 5000
        To which a line is thinned; fewer where the figure is sent often.

    Returns
    -------
    TearSheet
    """
    from plotly.graph_objects import Figure

    lacking = [a for a in ("equity", "drawdown", "_repr_html_") if not hasattr(result, a)]
    if lacking:
        raise DataError(
            f"tear_sheet: {type(result).__name__} has no .{lacking[0]}, expected a backtest's result",
            hint="pass what backtest(weights, prices) gave",
        )
    parts = {"equity": _table(result, "tear_sheet", "equity").iloc[:, 0], "drawdown": _below(result)}
    if getattr(result, "exposure", None) is not None:
        parts["exposure"] = _table(result, "tear_sheet", "exposure").iloc[:, 0]
    x, axis = _axis(parts["equity"].index)
    figure = Figure()
    figure.update_layout(_stack(list(parts), [3, 1.2, 1][: len(parts)], axis))
    for i, (name, series) in enumerate(parts.items()):
        share = name != "equity"
        style = {"line": {"width": 1}, "fill": "tozeroy"} if share else {"line": {"width": 1.6}}
        hover = ".1%" if share else ",.5~g"
        yaxis = f"y{i + 1 if i else ''}"
        figure.add_trace(_scatter(name, x, series.to_numpy(), hover, points, yaxis=yaxis, **style))
        if share:
            figure.update_layout({f"yaxis{i + 1}": {"tickformat": "~%", "nticks": 4}})
    return TearSheet(result, _finish(figure, title, 180 + 110 * len(parts)))
