"""What models have learned, and what settings of them are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...errors import DataError, ParameterError, UnknownNameError
from .core import _decades, _finish, _safe, heatmap, lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 30  # features that are drawn


def importance(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """One bar a feature: by how much the measure drops without it, and its standard error over folds.

    Parameters
    ----------
    table : DataFrame
        As ``study.importance()``; the 30 most important features are drawn.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
    """
    from plotly.graph_objects import Bar, Figure

    if not isinstance(table, pd.DataFrame) or not {"drop", "error"} <= set(table.columns):
        raise DataError("importance: expected the table of an importance", hint="pass study.importance()")
    shown = table.head(MOST).iloc[::-1]
    measure = str(table.columns.name or "measure").replace("_", " ")
    figure = Figure(
        Bar(
            x=shown["drop"].to_numpy().astype(np.float32),
            y=[_safe(_short(name)) for name in shown.index],
            orientation="h",
            error_x={"type": "data", "array": shown["error"].to_numpy().astype(np.float32), "thickness": 1.2},
            hovertemplate="%{x:.4f}",
            name="drop",
        )
    )
    figure.update_xaxes(title={"text": f"drop of {measure} when shuffled"}, zeroline=True)
    figure.update_yaxes(type="category", automargin=True, showgrid=False)
    named = f"Importance on the test folds: drop of {measure}" if title is None else title
    return _finish(figure, named, 130 + 26 * max(4, len(shown)), bargap=0.3, hovermode="closest", showlegend=False)


def dependence(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """The mean score over one feature: each fold, and their mean.

    Parameters
    ----------
    table : DataFrame
        As ``study.dependence(feature)``.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
    """
    if not isinstance(table, pd.DataFrame) or "mean" not in table.columns:
        raise DataError("dependence: expected the table of a dependence", hint="pass study.dependence(feature)")
    feature = _short(table.index.name)
    named = f"Mean score over {feature}" if title is None else title
    figure = lines(table[[*(c for c in table.columns if c != "mean"), "mean"]], title=named, y="mean score", height=360)
    figure.update_traces(line={"width": 1, "dash": "solid"}, opacity=0.55)
    figure.data[-1].update(line={"width": 3}, opacity=1)
    figure.update_xaxes(title={"text": _safe(feature)})
    return figure


def coefficients(table: pd.DataFrame, *, title: str = "Coefficients by fold") -> Figure:
    """One line a coefficient: its mean over folds, the range of the folds and, where known, the last interval.

    Parameters
    ----------
    table : DataFrame
        As ``study.coefficients()``.
    title : str, default "Coefficients by fold"

    Returns
    -------
    plotly.graph_objects.Figure
    """
    from plotly.graph_objects import Figure, Scatter

    if not isinstance(table, pd.DataFrame) or not {"mean", "least", "largest", "low", "high"} <= set(table.columns):
        raise DataError("coefficients: expected a table of coefficients", hint="pass study.coefficients()")
    shown = table.loc[table["mean"].abs().sort_values(ascending=False).index].head(MOST).iloc[::-1]
    names = [_safe(_short(name)) for name in shown.index]
    figure = Figure()

    def whiskers(low: str, high: str, name: str, **style) -> None:
        middle = (shown[low] + shown[high]) / 2
        reach = ((shown[high] - shown[low]) / 2).to_numpy()
        figure.add_trace(
            Scatter(
                x=middle, y=names, mode="markers", name=name, marker={"symbol": "line-ew-open", "size": 9},
                error_x={"type": "data", "array": reach, **style}, hoverinfo="skip",
            )
        )  # fmt: skip

    if shown["low"].notna().any():
        whiskers("low", "high", "95 % interval, last fold", thickness=7, width=0, color="rgba(128,128,128,.35)")
    whiskers("least", "largest", "range of the folds", thickness=1.6, width=5)
    figure.add_trace(
        Scatter(x=shown["mean"], y=names, mode="markers", name="mean of the folds", hovertemplate="%{x:.4g}")
    )
    figure.update_xaxes(title={"text": "change of the score a unit of the feature"}, zeroline=True)
    figure.update_yaxes(type="category", automargin=True, showgrid=False)
    return _finish(figure, title, 170 + 26 * max(4, len(shown)), hovermode="closest", showlegend=True)


def parallel(sweep: object, *, title: str | None = None) -> Figure:
    """Parallel coordinates: one line a setting of a sweep, across its parameters to its measure.

    Parameters
    ----------
    sweep : Sweep
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
    """
    from plotly.graph_objects import Figure, Parcoords

    table = _tried(sweep, "parallel")
    measure = sweep.measure
    table = table[table[measure].notna()].iloc[::-1]  # the best is drawn last, on top
    if table.empty:
        raise DataError(f"parallel: no setting has a {measure}", hint="it is not defined where scores are constant")
    axes = [_axis(table[name], name) for name in sweep.varied]
    values = table[measure].to_numpy(dtype=float)
    axes.append({"label": measure.replace("_", " "), "values": values, "tickformat": ".3~f"})
    figure = Figure(
        Parcoords(
            dimensions=axes,
            line={"color": np.arange(1, len(table) + 1), "coloraxis": "coloraxis"},  # by place: evenly spread
            labelangle=0,
            domain={"x": [0.03, 0.97], "y": [0, 0.9]},
        )
    )
    figure.update_layout(coloraxis={"showscale": False, "autocolorscale": True})
    named = f"{len(table)} settings of {sweep.spec.name}, by {measure.replace('_', ' ')}" if title is None else title
    figure = _finish(figure, named, 420, hovermode="closest")
    figure.update_layout(margin={"t": 90, "l": 70, "r": 70})
    return figure


def surface(sweep: object, x: str, y: str, *, title: str | None = None) -> Figure:
    """A heat map of two parameters of a sweep: the mean measure of the settings that share both.

    Parameters
    ----------
    sweep : Sweep
    x, y : str
        Two of its varied parameters; numbers of many values are cut into ten classes of equally many settings.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
    """
    table = _tried(sweep, "surface")
    for name in (x, y):
        if name not in sweep.varied:
            raise UnknownNameError.of("varied parameter", name, sweep.varied)
    if x == y:
        raise ParameterError(f"surface: x and y are both {x!r}, expected two parameters")
    measure = sweep.measure
    table = pd.DataFrame({x: _classes(table[x]), y: _classes(table[y]), measure: table[measure].astype(float)})
    matrix = table.pivot_table(index=y, columns=x, values=measure, aggfunc="mean", observed=True)
    matrix.index, matrix.columns = (pd.Index([str(v) for v in axis], name=axis.name) for axis in matrix.axes)
    named = f"{measure.replace('_', ' ')} over {x} and {y}" if title is None else title
    figure = heatmap(matrix, title=named, label=measure, centred=False)
    figure.update_xaxes(title={"text": _safe(x)})
    figure.update_yaxes(title={"text": _safe(y)})
    return figure


def _tried(sweep: object, owner: str) -> pd.DataFrame:
    if not hasattr(sweep, "varied") or not hasattr(sweep, "table"):
        raise DataError(f"{owner}: found {type(sweep).__name__}, expected a Sweep", hint="pass what wb.sweep gave")
    return sweep.table[~sweep.table["baseline"]]


def _is_number(values: pd.Series) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _ordered(values: pd.Series) -> list:
    """The distinct values: numbers ascending, then the others as they come."""
    distinct = list(dict.fromkeys(values))
    numbers = [v for v in distinct if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return sorted(numbers) + [v for v in distinct if v not in numbers]


def _axis(values: pd.Series, name: str) -> dict:
    """One axis of the parallel coordinates: a number, by its logarithm where it spans decades, or a choice."""
    if not _is_number(values):
        choices = [str(v) for v in _ordered(values)]
        return {
            "label": name,
            "values": [choices.index(str(v)) for v in values],
            "tickvals": list(range(len(choices))),
            "ticktext": choices,
        }
    numbers = values.to_numpy(dtype=float)
    if numbers.min() > 0 and numbers.max() / numbers.min() >= 100:
        marks = _decades(numbers.min(), numbers.max())
        ticks = {"tickvals": np.log10(marks), "ticktext": [f"{mark:g}" for mark in marks]}
        return {"label": name, "values": np.log10(numbers), **ticks}
    return {"label": name, "values": numbers}


def _classes(values: pd.Series) -> pd.Series:
    """The values as text, in order; ten classes of them where they are numbers and many."""
    if not _is_number(values) or values.nunique() <= 12:

        def text(value: object) -> str:
            return f"{value:g}" if isinstance(value, float) else str(value)

        kinds = list(dict.fromkeys(map(text, _ordered(values))))
        return pd.Series(pd.Categorical([text(v) for v in values], kinds, ordered=True), values.index)
    cut = pd.qcut(values.astype(float), 10, duplicates="drop")
    return cut.cat.rename_categories([f"{i.left:.3g} to {i.right:.3g}" for i in cut.cat.categories])


def _short(name: object, most: int = 40) -> str:
    text = str(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
