"""Walk-forward: a model is fitted and tested fold by fold, and every fold is a cell of the ledger.

1. The panels are laid out as samples, once, and the splits mark them.                          (_Study)
2. A cell is one fold of one spec on one study; its key hashes all that its numbers come from.  (_Study.key)
3. Cells that the ledger lacks are computed by `compute.run`; each is put as soon as it ends.   (_compute)
4. The walk is then read from the ledger, whoever put the cells there and whenever.             (_read)

So a walk that was killed resumes, one that was done is only read, and both give the same bits.
"""

from __future__ import annotations

import html
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import compute
from ..errors import DataError, ParameterError
from ..ledger import Cell, Ledger
from ..models import ModelSpec
from ..panel import Panel
from .metrics import MEASURES
from .splits import Fold, WalkForward, label_planes
from .version import code_version, digest

BASELINES = ("zero", "last_value")
NO_TRIALS = {*BASELINES, "mean"}  # models that one compares with, and doesn't choose


@dataclass(frozen=True, eq=False, repr=False)
class Walk:
    """What a model scored out of sample.

    Attributes
    ----------
    spec : ModelSpec
    label : str
        Name of the label.
    scores : Panel
        Field ``score``: the prediction for each sample of a test row with all features; NaN elsewhere.
    folds : DataFrame
        One row a fold: the dates of the training samples and of the test, the samples trained on, purged (for
        their label's span, or by the embargo) and scored (with a score and a label), the four measures, and
        the seconds that it took.
    overall : Series
        The four measures over all tests together, and the number of samples they were taken on.
    trials : int
        How many distinct settings the ledger has seen tried on this label: the more, the better the best of
        them looks by chance. Counted once each: a spec (model, parameters, seed) on these features by these
        splits (folds, window, train, test, min_train, embargo). Not counted: the baselines (zero, mean,
        last_value), a second run of the same, and what the ledger can't see: an edited factory, other labels
        or rows, settings of the backtest, and what was tried on another ledger.
    computed : int
        Folds that were computed by this call; the others stood in the ledger.
    """

    spec: ModelSpec
    label: str
    scores: Panel
    folds: pd.DataFrame
    overall: pd.Series
    trials: int
    computed: int

    def __repr__(self) -> str:
        measures = ", ".join(f"{name} {self.overall[name]:.4f}" for name in MEASURES)
        return (
            f"<Walk of {_title(self.spec)} on {self.label}: {len(self.folds)} folds, {measures}; "
            f"{self.trials} tried on this label>"
        )

    def _repr_html_(self) -> str:
        table = self.folds.copy()
        for name in ("train_start", "train_end", "test_start", "test_end"):
            table[name] = table[name].dt.strftime("%Y-%m-%d")
        overall = {"test_start": "overall", **self.overall.to_dict(), "scored": int(self.overall["samples"])}
        del overall["samples"]  # the folds' samples are those trained on
        table = pd.concat([table.astype(object), pd.DataFrame([overall], index=[""], dtype=object)])
        table = table[list(self.folds.columns)].drop(columns="seconds")
        measured = {name: lambda x: "" if pd.isna(x) else f"{x:.4f}" for name in MEASURES}
        body = table.to_html(formatters=measured, na_rep="", border=0)
        return (
            f"<div><b>{html.escape(_title(self.spec))}</b> on {html.escape(self.label)}, walk-forward; "
            f"{self.trials} tried on this label{body}</div>"
        )


def walk_forward(
    spec: ModelSpec,
    features: Panel,
    label: Panel,
    *,
    splits: WalkForward | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str = "threads",
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
    splits : WalkForward, optional
        Default: ``WalkForward()``, five folds on an expanding window.
    ledger : Ledger, str or Path, optional
        Where each fold is kept. Default: the ledger of the workspace.
    how, workers, progress, cancel
        As in `workbench.compute.run`; the numbers are the same however it is run, to the bit.

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
    study = _Study(features, label, splits)
    return _walks([spec], study, ledger, how, workers, progress, cancel)[0]


def compare(
    specs: Iterable[ModelSpec],
    features: Panel,
    label: Panel,
    *,
    baselines: Sequence[str] = BASELINES,
    splits: WalkForward | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str = "threads",
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: compute.CancelToken | None = None,
) -> pd.DataFrame:
    """Walk several models over the same folds, beside the baselines that they have to beat.

    Parameters
    ----------
    specs : iterable of ModelSpec
    features, label, splits, ledger, how, workers, progress, cancel
        As in `walk_forward`; the folds of all models are run as one set of tasks.
    baselines : sequence of str, default ("zero", "last_value")
        Models that stand at the end of the table.

    Returns
    -------
    DataFrame
        One row a model, indexed by its name and what differs from its defaults: `Walk.overall`, and whether
        it is a baseline. A measure is NaN where it isn't defined, such as the IC of a constant score.

    Raises
    ------
    DataError, TaskError, Cancelled
        As in `walk_forward`.
    """
    specs = [_checked(spec) for spec in ([specs] if isinstance(specs, ModelSpec) else specs)]
    baselines = [baselines] if isinstance(baselines, str) else list(baselines)
    chosen = list(dict.fromkeys([*specs, *map(ModelSpec, baselines)]))
    walks = _walks(chosen, _Study(features, label, splits), ledger, how, workers, progress, cancel)
    table = pd.DataFrame([walk.overall for walk in walks]).astype({"samples": int})
    table["baseline"] = [spec.name in baselines for spec in chosen]
    return table.rename_axis("model")


class _Study:
    """Panels and splits, laid out as samples: what every spec that is walked over them shares."""

    def __init__(self, features: Panel, label: Panel, splits: WalkForward | None):
        self.features, self.label = features, label
        self.splits = WalkForward() if splits is None else splits
        self.known, _ = label_planes(label)
        self._check()
        samples = features.stack(valid="all")
        if not len(samples.row):
            empty = [f for f in features.fields if np.isnan(features.plane(f)).all()]
            raise DataError(
                f"no sample has all {len(features.fields)} features; always missing: {', '.join(empty) or 'none'}",
                hint="leave out features that are always missing, or load more rows than they look back",
            )
        self.row, self.column = samples.row, samples.column
        self.X = samples.values.astype(np.float64, copy=False)
        self.y = self.known[self.row, self.column]
        self.folds = list(self.splits.split(label))
        for fold in self.folds:
            self._check_fold(fold)

    def _check(self) -> None:
        if not isinstance(self.features, Panel):
            raise ParameterError(f"the features are a {type(self.features).__name__}, expected a Panel")
        if not isinstance(self.splits, WalkForward):
            raise ParameterError(
                f"splits={self.splits!r} is a {type(self.splits).__name__}, expected a WalkForward",
                hint="WalkForward(folds=5, window='rolling')",
            )
        if self.features.symbols != self.label.symbols or not self.features.time.equals(self.label.time):
            raise DataError(
                f"features ({self.features!r}) and label ({self.label!r}) differ in time or symbols",
                hint="compute both from the same panel of bars; slice the bars, or slice both alike",
            )
        infinite = np.isinf(self.features.values)
        if infinite.any():
            f, t, j = np.argwhere(infinite)[0]
            raise DataError(
                f"feature {self.features.fields[f]} of {self.features.symbols[j]} at {self.features.time[t]} "
                f"is infinite ({int(infinite.sum())} such values)",
                hint="look for a division by zero or the logarithm of one; missing is NaN",
            )

    def _check_fold(self, fold: Fold) -> None:
        tested = fold.in_test[self.row]
        for found, what in (
            (self.trained(fold), "sample to train on"),
            (tested, "sample to score"),
            (tested & ~np.isnan(self.y), "label to test on"),
        ):
            if not found.any():
                at = self.label.time[fold.test[0]]
                raise DataError(
                    f"fold {fold.number} of {len(self.folds)}, whose test begins at {at}, has no {what} "
                    "where all features are there",
                    hint="features that look back far leave none at the start: take fewer folds, a larger "
                    "min_train, or features that look back less",
                )

    def trained(self, fold: Fold) -> np.ndarray:
        """Of the samples, those that the fold learns from: bool, shape (n,)."""
        return fold.train[self.row, self.column]

    def asked(self, spec: ModelSpec, fold: Fold) -> dict:
        """What a cell is asked for, in JSON's terms."""
        return {
            "spec": json.loads(spec.to_json()),
            "features": self.features.fingerprint,
            "label": self.label.fingerprint,
            "label_name": self.label.fields[0],
            "splits": self.splits.to_dict(),
            "fold": fold.number,
        }

    def key(self, spec: ModelSpec, fold: Fold, code: str) -> str:
        """What identifies a cell: spec, data, split, fold and version of the code."""
        return digest([spec.key, self.asked(spec, fold), code])

    def trial(self, spec: ModelSpec) -> str:
        """What identifies a trial: the same for all folds of a spec, features and splits; empty for a baseline."""
        if spec.name in NO_TRIALS:
            return ""
        return digest([spec.key, self.features.fingerprint, self.splits.to_dict()])

    def outcome(self, fold: Fold, score: np.ndarray) -> dict:
        """A fold's counts and measures, in JSON's terms, from the scores of its test samples."""
        train = self.trained(fold)
        at = fold.in_test[self.row]
        scores = np.full(self.known.shape, np.nan)
        scores[self.row[at], self.column[at]] = score
        scores, labels = scores[fold.test], self.known[fold.test]
        dropped = (fold.purged | fold.embargoed)[self.row, self.column]
        measured = {name: measure(scores, labels) for name, measure in MEASURES.items()}
        return {
            "train_rows": [int(self.row[train].min()), int(self.row[train].max())],
            "test_rows": [int(fold.test[0]), int(fold.test[-1])],
            "samples": int(train.sum()),
            "purged": int(dropped.sum()),
            "scored": int((~np.isnan(self.y[at])).sum()),
            **{name: None if math.isnan(value) else value for name, value in measured.items()},
        }


def _walks(specs, study: _Study, ledger, how, workers, progress, cancel) -> list[Walk]:
    """The walk of each spec; the cells of all of them that the ledger lacks are one run."""
    specs = [_checked(spec) for spec in specs]
    ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    cells = {}
    for spec in specs:
        estimator = spec.build()  # here, so that what it imports is there before threads and workers are counted
        code = code_version(spec, estimator)
        cells |= {study.key(spec, fold, code): (spec, fold, code) for fold in study.folds}
    there = ledger.get_many(cells)
    lacking = {key: cell for key, cell in cells.items() if key not in there}
    _compute(lacking, study, ledger, how, workers, progress, cancel)
    there |= ledger.get_many(lacking)
    gone = len(cells.keys() - there.keys())
    if gone:
        raise DataError(f"{gone} cells vanished from {ledger} while it was walked", hint="run again")
    trials = ledger.trials(study.label.fingerprint)
    walks = []
    for spec in specs:
        mine = {key: there[key] for key, (of, _, _) in cells.items() if of == spec}
        walks.append(_read(spec, study, list(mine.values()), trials, len(mine.keys() & lacking.keys())))
    return walks


def _compute(lacking: dict, study: _Study, ledger: Ledger, how, workers, progress, cancel) -> None:
    """Compute the cells that are lacking, and put each into the ledger as it ends."""
    masks = {fold.number: (study.trained(fold), fold.in_test[study.row]) for _, fold, _ in lacking.values()}
    names, tasks = {}, []
    for key, (spec, fold, _) in lacking.items():
        name = f"{_title(spec)}, fold {fold.number} of {len(study.folds)}"
        names[name] = key
        tasks.append((name, _fit, spec.build(), study.X, study.y, *masks[fold.number]))

    def done(name: str, result: tuple[np.ndarray, float]) -> None:
        key = names[name]
        spec, fold, code = lacking[key]
        score, seconds = result
        _, at = masks[fold.number]
        ledger.put(
            key,
            kind="fold",
            data=study.label.fingerprint,
            trial=study.trial(spec),
            code=code,
            study=study.asked(spec, fold),
            outcome=study.outcome(fold, score),
            arrays={
                "row": study.row[at].astype(np.int32),
                "column": study.column[at].astype(np.int32),
                "score": score,
            },
            seconds=seconds,
        )

    compute.run(tasks, how=how, workers=workers, progress=progress, cancel=cancel, done=done)


def _fit(estimator, X, y, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit on the samples marked `train`, and score those marked `test`; also the seconds that it took."""
    begun = time.perf_counter()
    # copies of the samples, never views: memory that arrives unaligned is summed in another order
    estimator.fit(np.asarray(X[train]), np.asarray(y[train]))
    score = np.asarray(estimator.predict(np.asarray(X[test])), dtype=np.float64)
    if score.shape != (int(test.sum()),):
        raise DataError(f"predict gave an array of shape {score.shape}, expected ({int(test.sum())},)")
    if not np.isfinite(score).all():
        raise DataError(
            f"{int((~np.isfinite(score)).sum())} of {len(score)} predictions are not finite",
            hint="scale the features, or take a stronger penalty or a lower learning rate",
        )
    return score, time.perf_counter() - begun


def _read(spec: ModelSpec, study: _Study, cells: list[Cell], trials: int, computed: int) -> Walk:
    """The walk that its cells, in the order of the folds, make."""
    arrays = {name: np.concatenate([cell.arrays[name] for cell in cells]) for name in ("row", "column", "score")}
    scores = study.features.unstack(arrays["score"], arrays["row"], arrays["column"], "score")
    time = study.label.time
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
                **{name: math.nan if found[name] is None else found[name] for name in MEASURES},
                "seconds": cell.seconds,
            }
        )
    folds = pd.DataFrame(rows).set_index("fold")
    plane = scores.plane("score")
    overall = {name: measure(plane, study.known) for name, measure in MEASURES.items()}
    overall["samples"] = int(folds["scored"].sum())
    overall = pd.Series(overall, name=_title(spec), dtype=float)
    return Walk(spec, study.label.fields[0], scores, folds, overall, trials, computed)


def _checked(spec) -> ModelSpec:
    if not isinstance(spec, ModelSpec):
        raise ParameterError(
            f"{spec!r} is a {type(spec).__name__}, expected a ModelSpec",
            hint="ModelSpec('ridge', {'alpha': 10})",
        )
    return spec


def _title(spec: ModelSpec) -> str:
    """The model's name, with what differs from its defaults."""
    default = ModelSpec(spec.name)
    changed = {k: v for k, v in spec.params.items() if v != default.params[k]}
    changed |= {"seed": spec.seed} if spec.seed != default.seed else {}
    return spec.name + (f"({', '.join(f'{k}={v!r}' for k, v in changed.items())})" if changed else "")
