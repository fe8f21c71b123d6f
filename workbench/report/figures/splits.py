"""A figure of any split: which samples each fold learns from, drops and tests, by symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import ParameterError
from ...labels import label_planes
from .core import _axis, _finish, _safe

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Bar, Figure

    from ...evaluate import Splits
    from ...panel import Panel

RUNS = 3_000
LINES = 24

# In the order of the palette, each with its place in the legend; where runs are merged the higher code is drawn.
_STATES = {"train": (1, 1), "purged": (3, 2), "test": (4, 4), "embargoed": (2, 3)}


class _Runs(NamedTuple):
    """Stretches of one state on one line, each an array of one number a run."""

    line: np.ndarray
    state: np.ndarray
    first: np.ndarray
    last: np.ndarray
    samples: np.ndarray


def splits(splitter: Splits, label: Panel, lookback: int = 0, symbols=None, *, title: str | None = None) -> Figure:
    """What each fold of a split learns from, drops and tests: a band a fold, and in it a line a symbol.

    Parameters
    ----------
    splitter : Splits
        ``WalkForward``, ``PurgedKFold`` or ``CombinatorialPurged``.
    label : Panel
        As `workbench.labels` makes it. Rows without a label stay empty.
    lookback : int, default 0
        Rows that features and model look back, as in ``splitter.split``.
    symbols : str or sequence of str, optional
        Which to draw. Default: all of up to 24, and an even choice of 24 of more.
    title : str, optional

    Returns
    -------
    plotly.graph_objects.Figure
        Of runs of samples, at most 3,000. Where there are more, time is drawn in steps of several rows, and the axis
        says of how many: of the states in a step, test goes before purged, embargoed and train. A run still begins
        and ends on samples of its own, and counts only these.

    Raises
    ------
    DataError, ParameterError, UnknownNameError
        As ``splitter.split``; a splitter that is none; a symbol that is not there.
    """
    from plotly.graph_objects import Figure

    from ...evaluate.splits import Splits

    if not isinstance(splitter, Splits):
        raise ParameterError(
            f"splits: found {type(splitter).__name__}, expected a splitter", hint="WalkForward(folds=5)"
        )
    known = ~np.isnan(label_planes(label)[0])
    names = _chosen(label, symbols)
    columns = [label.symbols.index(name) for name in names]
    codes, totals = [], []
    for fold in splitter.split(label, lookback):
        masks = {"train": fold.train, "purged": fold.purged, "embargoed": fold.embargoed}
        masks["test"] = fold.in_test[:, np.newaxis] & known
        codes.append(sum(mask[:, columns] * np.uint8(_STATES[state][0]) for state, mask in masks.items()))
        totals.append({state: int(mask.sum()) for state, mask in masks.items()})
    runs, width = _fitted(np.concatenate(codes, axis=1))
    figure = Figure([_bars(state, runs, names, totals, label.time) for state in _STATES])
    _, axis = _axis(label.time)
    if width > 1:
        axis["title"] = {"text": f"drawn in steps of {width} rows"}
    figure.update_xaxes(**axis)
    figure.update_yaxes(title={"text": "fold"}, range=[len(codes) + 0.5, 0.5], showgrid=False, zeroline=False)
    figure.update_yaxes(tick0=1, dtick=-(-len(codes) // 30))
    if title is None:
        shown = f"{len(names)} of {len(label.symbols)}" if len(names) < len(label.symbols) else f"{len(names)}"
        title = f"{type(splitter).__name__}: {len(codes)} folds, {shown} symbol{'s' * (len(label.symbols) > 1)}"
    height = min(1100, 130 + len(codes) * min(64, max(22, 3 * len(names))))
    return _finish(figure, title, height, showlegend=True, barmode="overlay", hovermode="closest")


def _chosen(label: Panel, symbols) -> tuple[str, ...]:
    """The symbols to draw."""
    if symbols is not None:
        return label.select(symbols=symbols).symbols
    names = label.symbols
    if len(names) <= LINES:
        return names
    return tuple(names[i] for i in np.linspace(0, len(names) - 1, LINES).round().astype(int))


def _fitted(codes: np.ndarray) -> tuple[_Runs, int]:
    """The runs of equal codes down each column of `codes` (T, L), of bins as few rows wide as make them few enough."""
    width = 1
    while True:
        bins = -(-len(codes) // width)
        padded = np.zeros((bins * width, codes.shape[1]), np.uint8)
        padded[: len(codes)] = codes
        blocks = padded.reshape(bins, width, -1)
        best = blocks.max(axis=1).T
        change = np.ones(best.shape, dtype=bool)
        change[:, 1:] = best[:, 1:] != best[:, :-1]
        line, start = np.nonzero(change)
        stop = np.append(start[1:], bins)
        stop[stop == 0] = bins  # the last run of a line ends where the next line begins
        state = best[line, start]
        kept = state > 0
        if kept.sum() <= RUNS or width >= len(codes):
            break
        width *= 2
    line, start, stop, state = (x[kept] for x in (line, start, stop, state))
    first, last, samples = np.zeros((3, len(line)), dtype=int)
    for i in range(len(line)):
        own = np.flatnonzero(padded[start[i] * width : stop[i] * width, line[i]] == state[i])
        first[i], last[i], samples[i] = start[i] * width + own[0], start[i] * width + own[-1], len(own)
    return _Runs(line, state, first, last, samples), width


def _bars(state: str, runs: _Runs, names: tuple[str, ...], totals: list[dict], time: pd.DatetimeIndex) -> Bar:
    """All runs of one state, as bars from the time of the first row up to that of the row after the last."""
    from plotly.graph_objects import Bar

    code, rank = _STATES[state]
    at = np.flatnonzero(runs.state == code)
    fold, symbol = np.divmod(runs.line[at], len(names))
    first, last = runs.first[at], runs.last[at]
    text, _ = _axis(time)
    begin = time.as_unit("ms").asi8
    stop = np.append(begin[1:], begin[-1] + (int(np.median(np.diff(begin))) if len(begin) > 1 else 86_400_000))
    thick = 0.8 / len(names)
    return Bar(
        base=text[first],
        x=(stop[last] - begin[first]).tolist(),
        y=(fold + 1 + (symbol - (len(names) - 1) / 2) * thick).astype(np.float32),
        width=thick * (0.85 if len(names) > 1 else 0.6),
        orientation="h",
        name=state,
        legendrank=rank,
        showlegend=True,
        customdata=[
            [int(f) + 1, _safe(names[s]), text[a], text[b], int(n), totals[f][state]]
            for f, s, a, b, n in zip(fold, symbol, first, last, runs.samples[at], strict=True)
        ],
        hovertemplate="fold %{customdata[0]}, %{customdata[1]}<br>%{customdata[2]} to %{customdata[3]}<br>"
        f"{state}: %{{customdata[4]:,}} samples, %{{customdata[5]:,}} in the fold<extra></extra>",
    )
