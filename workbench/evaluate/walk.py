"""Walk-forward: a model is fitted and tested fold by fold, and every fold is a cell of the ledger.

1. The panels are laid out as samples, once, and the splits mark them.                          (Layout)
2. A cell is one fold of one spec on one layout; its key hashes all that its numbers come from. (Layout.key)
3. Cells that the ledger lacks are computed, and each is put as soon as it ends.                (compute_cells)
4. The walk is then read from the ledger, whoever put the cells there and whenever.             (_read)

So a walk that was killed resumes, one that was done is only read, and both give the same bits.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import compute
from ..errors import DataError, ParameterError, RegistrationError
from ..ledger import Cell, Ledger
from ..models import ModelSpec, models
from ..panel import Panel
from ..registry import Param
from .cells import How, Task, compute_cells, title
from .fit import is_classifier, takes
from .layout import Layout
from .metrics import CLASS_MEASURES, MEASURES, measured
from .splits import Splits
from .version import code_version

BASELINES = ("zero", "last_value")
CLASS_BASELINES = ("prior",)  # beside those, where a model classifies: they know no accuracy


@dataclass(frozen=True, eq=False, repr=False)
class Walk:
    """What a model scored out of sample.

    Attributes
    ----------
    spec : ModelSpec
    label : str
        Name of the label.
    scores : Panel
        Field ``score``: the prediction for each sample of a test row with all features; NaN elsewhere. Where splits
        test a row several times (`CombinatorialPurged`), one field a path: ``path_1`` and so on; see `path`.
    folds : DataFrame
        One row a fold: the dates of the training samples and of the test, the samples trained on, purged (for
        their label's span, or by the embargo) and scored (with a score and a label), the four measures, of an
        iterative model the share of its fits that ``converged``, and the seconds that it took.
    paths : DataFrame
        One row a path: the four measures over all its tests together. A walk has one path.
    overall : Series
        The mean of the measures over paths, and the number of scores they were taken on. The expected label under
        a classifier's probabilities is its score; its accuracy and log_loss are means over the scores of all folds.
    trials : int
        How many distinct settings the ledger has seen tried on this label: the more, the better the best of
        them looks by chance. Counted once each: a spec (model, parameters, seed) on these features by these
        splits (folds, window, train, test, min_train, embargo). Not counted: the baselines (zero, mean,
        last_value, prior), a second run of the same, and what the ledger can't see: an edited factory, other labels
        or rows, settings of the backtest, and what was tried on another ledger.
    computed : int
        Folds that were computed by this call; the others stood in the ledger.
    weighted : bool or None
        Whether the model took the weights that were given; None: none were given.
    """

    spec: ModelSpec
    label: str
    scores: Panel
    folds: pd.DataFrame
    paths: pd.DataFrame
    overall: pd.Series
    trials: int
    computed: int
    weighted: bool | None = None

    @property
    def _said(self) -> str:
        """What a reader of the measures has to know."""
        unheard = f"{self.spec.name} takes no weights: all its samples counted alike; "
        return (unheard if self.weighted is False else "") + f"{self.trials} tried on this label"

    def path(self, number: int = 1) -> Panel:
        """The scores of one path, counted from 1, in a field ``score``: what `weights_from_scores` takes."""
        number = Param("number", 1, low=1, high=len(self.paths)).check(number, "path")
        return self.scores.like(self.scores.values[number - 1], "score")

    def __repr__(self) -> str:
        measures = ", ".join(f"{name} {self.overall[name]:.4f}" for name in MEASURES)
        return f"<Walk of {title(self.spec)} on {self.label}: {len(self.folds)} folds, {measures}; {self._said}>"

    def _repr_html_(self) -> str:
        table = self.folds.copy()
        for name in ("train_start", "train_end", "test_start", "test_end"):
            table[name] = table[name].dt.strftime("%Y-%m-%d")
        overall = {"test_start": "overall", **self.overall.to_dict(), "scored": int(self.overall["samples"])}
        del overall["samples"]  # the folds' samples are those trained on
        table = pd.concat([table.astype(object), pd.DataFrame([overall], index=[""], dtype=object)])
        table = table[list(self.folds.columns)].drop(columns="seconds")
        forms = dict.fromkeys((*MEASURES, *CLASS_MEASURES), "{:.4f}") | {"converged": "{:.0%}"}
        measured = {name: lambda x, f=form: "" if pd.isna(x) else f.format(x) for name, form in forms.items()}
        body = table.to_html(formatters=measured, na_rep="", border=0)
        return (
            f"<div><b>{html.escape(title(self.spec))}</b> on {html.escape(self.label)}, walk-forward; "
            f"{html.escape(self._said)}{body}</div>"
        )


def walk_forward(
    spec: ModelSpec,
    features: Panel,
    label: Panel,
    *,
    splits: Splits | None = None,
    weights: Panel | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str | None = None,
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: compute.CancelToken | None = None,
) -> Walk:
    """Fit a model on the past and test it on the rows that follow, fold by fold.

    Parameters
    ----------
    spec : ModelSpec
    features : Panel
        One field a feature. Samples in which any is missing are neither trained on nor scored.
    label : Panel
        As `workbench.labels` makes it, on the same time and symbols. Test rows are only measured against it.
    splits : WalkForward, PurgedKFold or CombinatorialPurged, optional
        Default: ``WalkForward()``, five folds on an expanding window. After a test, what features and model look
        back is embargoed.
    weights : Panel, optional
        Field ``weight``: of each sample, for the models that take them (`workbench.labels.uniqueness`). What takes
        none (arima, last_value) counts all samples alike: the walk says so, and a comparison has a column ``weighted``.
    ledger : Ledger, str or Path, optional
        Where each fold is kept. Default: the ledger of the workspace.
    how : {"threads", "processes", "serial"}, optional
        As in `workbench.compute.run`; the numbers are the same however it is run, to the bit. Default: what the
        model declares: threads where its fits let go of the GIL. Processes map the samples, they don't copy them.
    workers, progress, cancel
        As in `workbench.compute.run`.

    Returns
    -------
    Walk

    Raises
    ------
    DataError
        Panels of other times or symbols, infinite features, a fold without data.
    TaskError
        A fit failed, or its predictions are not finite; the message names model and fold.
    Cancelled
        `cancel` was set. Folds that had finished are in the ledger, and the next call starts from there.
    """
    with compute.until(cancel):
        layout = compute.apart(Layout, features, label, splits, weights)
        return walks_of([checked_spec(spec)], layout, as_ledger(ledger), How(how, workers, progress, cancel))[0]


def compare(
    specs: Iterable[ModelSpec],
    features: Panel,
    label: Panel,
    *,
    baselines: Sequence[str] | None = None,
    splits: Splits | None = None,
    weights: Panel | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str | None = None,
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: compute.CancelToken | None = None,
) -> pd.DataFrame:
    """Walk several models over the same folds, beside the baselines that they have to beat.

    Parameters
    ----------
    specs : iterable of ModelSpec
    features, label, splits, weights, ledger, how, workers, progress, cancel
        As in `walk_forward`; the folds of all models are run as one set of tasks.
    baselines : sequence of str, optional
        Models that stand at the end of the table. Default: "zero" and "last_value"; "prior" too beside a classifier.

    Returns
    -------
    DataFrame
        One row a model, indexed by its name and what differs from its defaults: `Walk.overall`, where weights were
        given whether the model took them (``weighted``), and whether it is a baseline. A measure is NaN where it
        isn't defined, such as the IC of a constant score.

    Raises
    ------
    DataError, TaskError, Cancelled
        As in `walk_forward`.
    """
    specs = [checked_spec(spec) for spec in ([specs] if isinstance(specs, ModelSpec) else specs)]
    chosen = list(dict.fromkeys([*specs, *baseline_specs(baselines, specs)]))
    with compute.until(cancel):
        layout = compute.apart(Layout, features, label, splits, weights)
        walks = walks_of(chosen, layout, as_ledger(ledger), How(how, workers, progress, cancel))
        return comparison(walks)


def baseline_specs(baselines: Sequence[str] | None, specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    """The specs of the named baselines; without names, of those that the models among `specs` have to beat."""
    if baselines is None:
        classify = any(models[spec.name].task == "classification" for spec in specs)
        baselines = (*BASELINES, *(CLASS_BASELINES if classify else ()))
    return [ModelSpec(name) for name in ([baselines] if isinstance(baselines, str) else baselines)]


def comparison(walks: Iterable[Walk]) -> pd.DataFrame:
    """One row a walk: its overall measures, and whether its model is a baseline."""
    walks = list(walks)
    table = pd.DataFrame([walk.overall for walk in walks]).astype({"samples": int})
    if any(walk.weighted is not None for walk in walks):
        table["weighted"] = [walk.weighted for walk in walks]
    table["baseline"] = [models[walk.spec.name].baseline for walk in walks]
    return table.rename_axis("model")


def cells_of(spec: ModelSpec, layout: Layout) -> dict[str, Task]:
    """The cells of a spec by key, in the order of the folds."""
    estimator = spec.build()  # here, so that what it imports is there before threads and workers are counted
    task = "classification" if is_classifier(estimator) else "regression"
    if task != models[spec.name].task:
        raise RegistrationError(
            f"model {spec.name!r} is registered for {models[spec.name].task}, but what it builds "
            f"({type(estimator).__name__}) {'has' if task == 'classification' else 'lacks'} predict_proba",
            hint=f"task={task!r}, or an estimator that gives the probability of each class",
        )
    code = code_version(spec, estimator)
    return {layout.key(spec, fold, code): Task(spec, fold, code) for fold in layout.folds(spec)}


def walks_of(specs: list[ModelSpec], layout: Layout, ledger: Ledger, run: How) -> list[Walk]:
    """The walk of each spec; the cells of all of them that the ledger lacks are one run."""
    cells = {spec: compute.apart(cells_of, spec, layout) for spec in specs}
    tasks = {key: task for mine in cells.values() for key, task in mine.items()}
    lacking = {key: tasks[key] for key in ledger.missing(tasks)}
    compute_cells(lacking, layout, ledger, run)
    trials = ledger.trials(layout.label.fingerprint)
    rest = trials, lacking.keys()
    return [compute.apart(read_walk, spec, layout, ledger, list(mine), *rest) for spec, mine in cells.items()]


def read_walk(spec: ModelSpec, layout: Layout, ledger: Ledger, keys: list[str], trials: int, computed: Set) -> Walk:
    """The walk of a spec whose cells the ledger has."""
    there = ledger.get_many(keys)
    if len(there) < len(keys):
        raise DataError(f"{len(keys) - len(there)} cells vanished from {ledger}", hint="run again")
    return _read(spec, layout, [there[key] for key in keys], trials, len(computed & there.keys()))


def _read(spec: ModelSpec, layout: Layout, cells: list[Cell], trials: int, computed: int) -> Walk:
    """The walk that its cells, in the order of the folds, make."""
    paths = layout.splits.paths()
    planes = [_path(layout, cells, path) for path in paths]
    names = ["score"] if len(paths) == 1 else [f"path_{number}" for number in range(1, len(paths) + 1)]
    scores = layout.features.like(np.stack(planes), names)
    time = layout.label.time
    measures = [name for name in (*MEASURES, *CLASS_MEASURES, "converged") if name in cells[0].outcome]
    rows = []
    for number, cell in enumerate(cells, start=1):
        found = cell.outcome
        rows.append(
            {
                "fold": number,
                "train_start": time[found["train_rows"][0]],
                "train_end": time[found["train_rows"][1]],
                "test_start": time[found["test_rows"][0]],
                "test_end": time[found["test_rows"][1]],
                **{name: found[name] for name in ("samples", "purged", "scored")},
                **{name: math.nan if found[name] is None else found[name] for name in measures},
                "seconds": cell.seconds,
            }
        )
    folds = pd.DataFrame(rows).set_index("fold")
    signed = layout.table.signed
    by_path = pd.DataFrame([measured(plane, layout.known, signed) for plane in planes])
    by_path.index = pd.RangeIndex(1, len(paths) + 1, name="path")
    overall = by_path.mean().to_dict()
    # each score counts once, so the mean over folds is weighted by the labels that they scored
    scored = folds["scored"].to_numpy()
    overall |= {name: float(folds[name] @ scored / scored.sum()) for name in measures if name in CLASS_MEASURES}
    overall["samples"] = int(scored.sum())
    overall = pd.Series(overall, name=title(spec), dtype=float)
    weighted = None if layout.weights is None else takes(spec.build(), "sample_weight")
    return Walk(spec, layout.label.fields[0], scores, folds, by_path, overall, trials, computed, weighted)


def _path(layout: Layout, cells: list[Cell], path: tuple[int, ...]) -> np.ndarray:
    """The scores of one path, (T, N): those of each group of rows from the fold that the path takes them from."""
    taken_from = np.zeros(len(layout.known), dtype=int)
    for (start, stop), number in zip(layout.splits.group_rows(len(layout.known)), path, strict=True):
        taken_from[start:stop] = number
    plane = np.full(layout.known.shape, np.nan)
    for number, cell in enumerate(cells, start=1):
        row, column = cell.arrays["row"], cell.arrays["column"]
        mine = taken_from[row] == number
        plane[row[mine], column[mine]] = cell.arrays["score"][mine]
    return plane


def checked_spec(spec) -> ModelSpec:
    """`spec`, or a ParameterError where it is none."""
    if not isinstance(spec, ModelSpec):
        raise ParameterError(
            f"{spec!r} is a {type(spec).__name__}, expected a ModelSpec",
            hint="ModelSpec('ridge', {'alpha': 10})",
        )
    return spec


def as_ledger(ledger) -> Ledger:
    return ledger if isinstance(ledger, Ledger) else Ledger(ledger)
