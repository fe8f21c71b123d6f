"""What models have learned, and what settings of them are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...errors import DataError, ParameterError, UnknownNameError
from ..style import template
from .core import _decades, _finish, _safe, heatmap, lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 30  # features that are drawn
COLORS_OF_PLACE = tuple(template()["layout"]["colorway"][:2])  # of a setting, and of the best


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

    Raises
    ------
    DataError
        No table of an importance, or one in which no drop is known.
    """
    from plotly.graph_objects import Bar, Figure

    if not isinstance(table, pd.DataFrame) or not {"drop", "error"} <= set(table.columns):
        raise DataError("importance: expected the table of an importance", hint="pass study.importance()")
    measure = str(table.columns.name or "measure").replace("_", " ")
    if table["drop"].isna().all():
        from ...evaluate.metrics import WHY_UNDEFINED

        raise DataError(
            f"importance: the {measure} is known in no fold, so nothing drops without a feature: nothing to draw",
            hint=WHY_UNDEFINED,
        )
    shown = table.head(MOST).iloc[::-1]
    figure = Figure(
        Bar(
            x=shown["drop"].to_numpy().astype(np.float32),
            y=[_safe(_short(name)) for name in shown.index],
            orientation="h",
            error_x={
                "type": "data",
                "array": shown["error"].to_numpy().astype(np.float32),
                "thickness": 1.2,
                "color": template()["layout"]["font"]["color"],
            },
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
    """Parallel coordinates: one line a setting of a sweep, across its parameters to its measure; the best stands out.

    Parameters
    ----------
    sweep : Sweep
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
        Of plain lines, which need no WebGL: previews and many virtual machines have none.
    """
    from plotly.graph_objects import Figure, Scatter

    table = _tried(sweep, "parallel")
    measure = sweep.measure
    table = table[table[measure].notna()].iloc[::-1]  # the best is drawn last, on top
    if table.empty:
        from ...evaluate.metrics import WHY_UNDEFINED

        raise DataError(f"parallel: no setting has a {measure}", hint=WHY_UNDEFINED)
    axes = [_axis(table[name], name) for name in sweep.varied]
    axes.append(_axis(table[measure].astype(float), measure.replace("_", " "), plain=True))
    heights = np.column_stack([axis["heights"] for axis in axes])
    words = [
        "<br>".join(f"{_safe(axis['label'])} {_safe(_said(row))}" for axis, row in zip(axes, rows, strict=True))
        for rows in zip(*(table[name] for name in [*sweep.varied, measure]), strict=True)
    ]
    figure, count = Figure(), len(table)
    for place, (line, said) in enumerate(zip(heights, words, strict=True), start=1):
        best = place == count
        color = COLORS_OF_PLACE[1] if best else COLORS_OF_PLACE[0]
        figure.add_trace(
            Scatter(
                x=list(range(len(axes))),
                y=line.round(4).tolist(),
                mode="lines",
                line={"color": color, "width": 2.5 if best else 1.2},
                opacity=1.0 if best else 0.15 + 0.75 * (place / count) ** 2,
                name=said,
                hovertemplate="%{fullData.name}<extra></extra>",
            )
        )
    for number, axis in enumerate(axes):
        figure.add_shape(type="line", x0=number, x1=number, y0=0, y1=1, line={"width": 1}, layer="below")
        last = number == len(axes) - 1
        side = {"xanchor": "left", "xshift": 5} if last else {"xanchor": "right", "xshift": -5}
        for height, text in axis["ticks"]:
            figure.add_annotation(x=number, y=height, text=_safe(_short(text, 14)), showarrow=False, **side)
    labels = [_safe(_short(axis["label"], 24)) for axis in axes]
    figure.update_xaxes(tickvals=list(range(len(axes))), ticktext=labels, side="top", range=[-0.3, len(axes) - 0.75])
    figure.update_xaxes(showline=False, ticks="", fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.04, 1.04], fixedrange=True)
    named = f"{count} settings of {sweep.spec.name}, by {measure.replace('_', ' ')}" if title is None else title
    figure = _finish(figure, named, 420, hovermode="closest", showlegend=False)
    figure.update_layout(margin={"t": 90, "l": 20, "r": 20})
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


def _axis(values: pd.Series, name: str, *, plain: bool = False) -> dict:
    """One axis of the parallel coordinates: heights in [0, 1], and (height, words) of its ticks.

    A number stands by its logarithm where it spans decades (never where `plain`); else it is a choice.
    """
    if _is_number(values):
        numbers = values.to_numpy(dtype=float)
        low, high = numbers.min(), numbers.max()
        logs = not plain and low > 0 and high / low >= 100
        marks = _decades(low, high) if logs else list(dict.fromkeys(np.linspace(low, high, 5)))
        at, marks_at = (np.log10(numbers), np.log10(marks)) if logs else (numbers, np.asarray(marks))
    else:
        marks = [str(v) for v in _ordered(values)]
        at, marks_at = np.array([float(marks.index(str(v))) for v in values]), np.arange(float(len(marks)))
    base, extent = at.min(), np.ptp(at)

    def heights(where: np.ndarray) -> np.ndarray:
        return (where - base) / extent if extent else np.full(len(where), 0.5)

    ticks = [(float(h), _said(mark)) for h, mark in zip(heights(marks_at), marks, strict=True)]
    return {"label": name, "heights": heights(at), "ticks": ticks}


def _said(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


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
