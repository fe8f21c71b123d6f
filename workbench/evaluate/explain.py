"""What a model has learned, measured on rows that it was not trained on.

Each fold is fitted as in its walk, and then asked: what are its scores worth without a feature, how do they follow
one, what are its coefficients. The answers are cells of the ledger beside those of the walk, so a killed explanation
goes on as a walk does; they are no trials.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from .. import compute
from ..errors import ParameterError, UnknownNameError
from ..kernels import poll
from ..ledger import Cell, Ledger
from ..models import ModelSpec, models
from ..registry import Param
from .cells import How, named
from .fit import fitted, scored, takes
from .layout import Layout
from .metrics import MEASURES, check_signed
from .table import Table, taken
from .version import digest
from .walk import cells_of

MOST = 2_000  # samples of a test that a partial dependence is the mean over, evenly taken
LEVEL = 0.95
_REPEATS = Param("repeats", 5, low=1, high=1000)
_POINTS = Param("points", 20, low=2, high=1000)
_SEED = Param("seed", 0, low=0, high=2**32 - 1)


def importance(
    spec: ModelSpec, layout: Layout, ledger: Ledger, run: How, measure: str = "rank_ic", repeats: int = 5, seed: int = 0
) -> pd.DataFrame:
    """As `workbench.study.Study.importance`, of a spec on a layout."""
    if measure not in MEASURES:
        hint = UnknownNameError.of("measure", measure, MEASURES).hint
        raise ParameterError(f"importance: measure={measure!r} is not a choice", hint=hint)
    check_signed("importance", measure, layout.table.signed)
    args = _REPEATS.check(repeats, "importance"), _SEED.check(seed, "importance")
    cells = _probed("importance", _shuffled, args, spec, layout, ledger, run)
    at = list(MEASURES).index(measure)
    drops = np.array([cell.arrays["base"][at] - cell.arrays["shuffled"][at].mean(axis=1) for cell in cells]).T
    table = pd.DataFrame(drops, list(layout.features.fields), [f"fold {i}" for i in range(1, len(cells) + 1)])
    error = table.std(axis=1) / np.sqrt(len(cells))
    table.insert(0, "drop", table.mean(axis=1))
    table.insert(1, "error", error)
    table.index.name, table.columns.name = "feature", measure
    return table.sort_values("drop", ascending=False, kind="stable")


def dependence(
    spec: ModelSpec, layout: Layout, ledger: Ledger, run: How, feature: str, points: int = 20
) -> pd.DataFrame:
    """As `workbench.study.Study.dependence`, of a spec on a layout."""
    if feature not in layout.features.fields:
        raise UnknownNameError.of("feature", feature, layout.features.fields)
    number = layout.features.fields.index(feature)
    quantiles = np.linspace(0.01, 0.99, _POINTS.check(points, "dependence"))
    grid = np.unique(np.quantile(layout.table.X[:, number], quantiles))
    args = number, tuple(grid.tolist())
    cells = _probed("dependence", _dependent, args, spec, layout, ledger, run)
    columns = {f"fold {i}": cell.arrays["mean"] for i, cell in enumerate(cells, start=1)}
    table = pd.DataFrame(columns, pd.Index(grid, name=feature))
    table.insert(0, "mean", table.mean(axis=1))
    return table


def coefficients(spec: ModelSpec, layout: Layout, ledger: Ledger, run: How) -> pd.DataFrame:
    """As `workbench.study.Study.coefficients`, of a spec on a layout."""
    cells = _probed("coefficients", _coefficients, (), spec, layout, ledger, run)
    if not len(cells[0].arrays["coefficient"]):
        raise ParameterError(
            f"{spec.name} has no coefficients", hint="importance() and dependence() say what any model has learned"
        )
    named = [pd.DataFrame(_by_name(cell, list(layout.features.fields))) for cell in cells]
    # by name: a fold may lack a class that others have
    table = pd.concat({f"fold {i}": found["coefficient"] for i, found in enumerate(named, start=1)}, axis=1)
    table = table.rename_axis("feature")
    ends = table.min(axis=1), table.max(axis=1)
    table.insert(0, "mean", table.mean(axis=1))
    last = named[-1].reindex(table.index)
    for at, (name, values) in enumerate(
        zip(("least", "largest", "low", "high"), (*ends, last["low"], last["high"]), strict=True)
    ):
        table.insert(1 + at, name, values)
    return table


def _by_name(cell: Cell, names: list[str]) -> dict[str, pd.Series]:
    """The coefficients of a fold and the ends of their intervals, by name; one set a class where there are more."""
    size, classes = len(cell.arrays["coefficient"]), cell.arrays["classes"]
    names = cell.arrays["names"].tolist() or names
    if size > len(names):
        names = [f"{name} [{of:g}]" for of in classes for name in names]
    elif len(classes):  # of two classes: the log-odds of the second
        names = [f"{name} [{classes[-1]:g}]" for name in names]
    return {part: pd.Series(cell.arrays[part], names) for part in ("coefficient", "low", "high")}


# --------------------------------------------------------------------------------------------------- what is asked


def _shuffled(estimator, table: Table, test: np.ndarray, fold: int, repeats: int, seed: int) -> dict:
    """The measures of the scores as they are, (M,), and with each feature shuffled, (M, F, repeats)."""
    asked = _Asked(estimator, table, test)
    base = np.array(list(table.measured(test, asked.scores()).values()))
    features = table.X.shape[1]
    shuffled = np.empty((len(base), features, repeats))
    for f in range(features):
        for r in range(repeats):
            draw = np.random.default_rng([seed, fold, f, r])
            score = asked.scores(f, draw.permutation(asked.X[:, f]))
            shuffled[:, f, r] = list(table.measured(test, score).values())
    return {"base": base, "shuffled": shuffled}


def _dependent(estimator, table: Table, test: np.ndarray, fold: int, number: int, grid: tuple[float, ...]) -> dict:
    """The mean score of (some of) the test samples with the feature at each value of the grid."""
    size = int((test[:, 1] - test[:, 0]).sum())
    if size > MOST:
        flat = np.concatenate([np.arange(a, b) for a, b in test])[np.linspace(0, size - 1, MOST).astype(int)]
        test = np.stack([flat, flat + 1], axis=1)
    asked = _Asked(estimator, table, test)
    return {"mean": np.array([asked.scores_at(number, value).mean() for value in grid])}


def _coefficients(estimator, table: Table, test: np.ndarray, fold: int) -> dict:
    """What the model has of coefficients, flat, with the ends of their intervals; named where no feature names them."""
    inner = estimator[-1] if hasattr(estimator, "steps") else estimator
    values, names = np.asarray(getattr(inner, "coef_", ()), dtype=float), ()
    low = high = np.full(values.size, np.nan)
    if hasattr(inner, "intervals") and values.ndim == 1:
        ends = inner.intervals(LEVEL)
        if not hasattr(inner, "coef_"):  # the parameters of a curve
            names, values = list(ends.index), ends["estimate"].to_numpy(dtype=float)
        ends = ends.iloc[-values.size :]  # a constant stands before the features
        low, high = (ends[name].to_numpy(dtype=float) for name in ("low", "high"))
    result = {"coefficient": values.ravel(), "classes": np.asarray(getattr(inner, "classes_", ()), dtype=float)}
    return {**result, "low": low, "high": high, "names": np.array(names, dtype=str)}


class _Asked:
    """A fitted model, and the samples of a test that it is asked about, with a feature in place of its own."""

    def __init__(self, estimator, table: Table, test: np.ndarray):
        self.estimator, self.test = estimator, test
        self.X = np.array(taken(table.X, test))
        self.looks_back = takes(estimator, "context")
        # a model that looks back reads the table itself
        self.table = dataclasses.replace(table, X=np.array(table.X)) if self.looks_back else table

    def scores(self, feature: int | None = None, values: np.ndarray | None = None) -> np.ndarray:
        poll()
        if feature is None:
            return scored(self.estimator, self.table, self.test, self.X)["score"]
        before = self.X[:, feature].copy()
        self._set(feature, values)
        try:
            return scored(self.estimator, self.table, self.test, self.X)["score"]
        finally:
            self._set(feature, before)

    def scores_at(self, feature: int, value: float) -> np.ndarray:
        """Scores with the feature at one value, on every row that the model looks back at too."""
        poll()
        self.X[:, feature] = value
        if self.looks_back:
            self.table.X[:, feature] = value
        return scored(self.estimator, self.table, self.test, self.X)["score"]

    def _set(self, feature: int, values: np.ndarray) -> None:
        self.X[:, feature] = values
        if self.looks_back:
            start = 0
            for a, b in self.test:
                self.table.X[a:b, feature] = values[start : start + b - a]
                start += b - a


# ------------------------------------------------------------------------------------------------ cells of answers


def _answer(ask: Callable, estimator, table: Table, train: np.ndarray, test: np.ndarray, fold: int, args: tuple):
    """Fit one fold and ask: the answer, and the seconds that it took."""
    begun = time.perf_counter()
    answer = ask(fitted(estimator, table, train), table, test, fold, *args)
    return answer, time.perf_counter() - begun


def _probed(kind: str, ask: Callable, args: tuple, spec: ModelSpec, layout: Layout, ledger, run: How) -> list[Cell]:
    """The cells with the answer of each fold; those that the ledger lacks are computed."""
    cells = {digest([key, kind, args]): task for key, task in cells_of(spec, layout).items()}
    names = {f"{kind} of {named(task, layout)}": key for key, task in cells.items()}
    lacking = set(ledger.missing(cells))
    how = run.how or models[spec.name].how

    def done(name: str, result: tuple[dict, float]) -> None:
        key = names[name]
        task = cells[key]
        ledger.put(
            key,
            kind=kind,
            data=layout.label.fingerprint,
            trial="",
            code=task.code,
            study=layout.asked(spec, task.fold) | {"ask": kind, "args": list(args)},
            outcome={},
            arrays=result[0],
            seconds=result[1],
        )

    with layout.tables(how == "processes") as table_of:
        tasks = []
        for name, key in names.items():
            if key in lacking:
                fold = cells[key].fold
                at = [layout.runs(spec, fold, part) for part in ("train", "test")]
                tasks.append((name, _answer, ask, spec.build(), table_of(spec), *at, fold.number, args))
        compute.run(tasks, how=how, workers=run.workers, progress=run.progress, cancel=run.cancel, done=done)
    there = ledger.get_many(cells)
    return [there[key] for key in cells]
