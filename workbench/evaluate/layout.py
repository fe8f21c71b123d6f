"""What every spec that is tried on the same panels shares: their samples, their folds, and the keys of its cells."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property

import numpy as np

from ..errors import DataError, ParameterError
from ..labels import label_planes, last_rows
from ..models import ModelSpec, models
from ..panel import Panel
from .metrics import CLASS_MEASURES
from .splits import Fold, Splits, WalkForward
from .table import LentTable, Table, locked, runs, taken
from .version import content, digest

WEIGHT = "weight"


class Layout:
    """Panels and splits, laid out as samples.

    Parameters
    ----------
    features, label : Panel
    splits : Splits, optional
    weights : Panel, optional
        Field ``weight``.
    """

    def __init__(self, features: Panel, label: Panel, splits: Splits | None, weights: Panel | None = None):
        self.features, self.label, self.weights = features, label, weights
        self.splits = WalkForward() if splits is None else splits
        self.known, span = label_planes(label)
        self._check()
        # hashed meanwhile, on another core: the keys of the cells need it
        self._hashing = threading.Thread(target=lambda: features.fingerprint, daemon=True)
        self._hashing.start()
        samples = features.astype(np.float64).stack(valid="all")
        samples.values.flags.writeable = False
        if not len(samples.row):
            empty = [f for f in features.fields if np.isnan(features.plane(f)).all()]
            raise DataError(
                f"no sample has all {len(features.fields)} features; always missing: {', '.join(empty) or 'none'}",
                hint="leave out features that are always missing, or load more rows than they look back",
            )
        self._check_varied(samples.values)
        self.row, self.column = samples.row, samples.column
        flat = self.row * len(label.symbols) + self.column
        # most panels have all samples from some row on: then a mask is cut, not gathered
        whole = flat[-1] - flat[0] + 1 == len(flat)
        self._flat = slice(flat[0], flat[-1] + 1) if whole else flat
        self.table = Table(
            X=samples.values,
            y=locked(self.known.ravel()[self._flat]),
            weight=locked(self._weights()),
            row=locked(self.row.astype(np.int32)),
            column=locked(self.column.astype(np.int32)),
            label=locked(self.known),
            end=locked(last_rows(self.known, span)),
        )
        self.moments: dict[int, list] = {}  # by look-back: those of each fold's training samples
        self._lent: dict[str, LentTable] | None = None  # by dtype; None outside of a block that lends
        self._folds: dict[int, list[Fold]] = {}
        self._runs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def __reduce__(self):
        return Layout, (self.features, self.label, self.splits, self.weights)  # the samples are laid out again

    # ------------------------------------------------------------------ checks

    def _check(self) -> None:
        for what, panel in (("features", self.features), ("weights", self.weights)):
            if panel is None and what == "weights":
                continue
            if not isinstance(panel, Panel):
                raise ParameterError(f"the {what} are a {type(panel).__name__}, expected a Panel")
            if panel.symbols != self.label.symbols or not panel.time.equals(self.label.time):
                raise DataError(
                    f"{what} ({panel!r}) and label ({self.label!r}) differ in time or symbols",
                    hint="compute both from the same panel of bars; slice the bars, or slice both alike",
                )
        if not isinstance(self.splits, Splits):
            raise ParameterError(
                f"splits={self.splits!r} is a {type(self.splits).__name__}, expected a splitter",
                hint="WalkForward(folds=5, window='rolling'), PurgedKFold(5) or CombinatorialPurged(6, 2)",
            )
        infinite = np.isinf(self.features.values)
        if infinite.any():
            f, t, j = np.argwhere(infinite)[0]
            raise DataError(
                f"feature {self.features.fields[f]} of {self.features.symbols[j]} at {self.features.time[t]} "
                f"is infinite ({int(infinite.sum())} such values)",
                hint="look for a division by zero or the logarithm of one; missing is NaN",
            )

    def _check_varied(self, values: np.ndarray) -> None:
        """DataError for a feature that is the same in all samples; looked at whole only where the first ones are."""
        flat = np.flatnonzero((values[:100] == values[0]).all(axis=0)) if len(values) > 1 else ()
        for f in flat:
            if (values[:, f] == values[0, f]).all():
                raise DataError(
                    f"feature {self.features.fields[f]} is {values[0, f]:.6g} in all {len(values)} samples: "
                    "nothing can be learned from it",
                    hint="leave it out, or look for what made it constant",
                )

    def _weights(self) -> np.ndarray:
        if self.weights is None:
            return np.empty(0)
        plane = self.weights.plane(WEIGHT).astype(np.float64)
        wrong = ~np.isnan(self.known) & ~((plane >= 0) & np.isfinite(plane))
        if wrong.any():
            t, j = np.argwhere(wrong)[0]
            raise DataError(
                f"the weight of {self.label.symbols[j]} at {self.label.time[t]} is {plane[t, j]}, expected a number "
                f"of at least 0 wherever there is a label ({int(wrong.sum())} are not)",
                hint="workbench.labels.uniqueness(label) gives weights for just the labels",
            )
        return plane.ravel()[self._flat]

    def _check_fold(self, fold: Fold, of: int, train: np.ndarray, test: np.ndarray) -> None:
        for found, what in (
            (len(train), "sample to train on"),
            (len(test), "sample to score"),
            (not np.isnan(taken(self.table.y, test)).all(), "label to test on"),
        ):
            if not found:
                rows = fold.in_test if what != "sample to train on" else fold.train.any(axis=1)
                gone = [
                    name
                    for name, plane in zip(self.features.fields, self.features.values, strict=True)
                    if np.isnan(plane[rows]).all()
                ]
                roomier = self.splits.roomier if what == "sample to train on" else "longer tests"
                missing = f" (always missing there: {', '.join(gone)})" if gone else ""
                raise DataError(
                    f"{self._fold_name(fold, of)} has no {what} where all features are there{missing}",
                    hint="features that look back far leave none at the start: take features that look back less, "
                    f"or {roomier}",
                )
        if self.weights is not None and not taken(self.table.weight, train).any():
            raise DataError(
                f"{self._fold_name(fold, of)} has only samples to train on that weigh nothing",
                hint="give some of them a weight above 0, or take fewer folds",
            )

    def _fold_name(self, fold: Fold, of: int) -> str:
        return f"fold {fold.number} of {of}, whose test begins at {self.label.time[fold.test[0]]},"

    # ------------------------------------------------------------------ folds

    def lookback(self, spec: ModelSpec) -> int:
        """Rows that a prediction of `spec` or its label looks back: those of the features, and the model's own."""
        return max(self.features.lookback + spec.lookback, self.label.lookback)

    def folds(self, spec: ModelSpec) -> list[Fold]:
        """The folds that `spec` is tried on."""
        lookback = self.lookback(spec)
        if lookback not in self._folds:
            folds = list(self.splits.split(self.label, lookback))
            for fold in folds:
                at = np.searchsorted(self.row, runs(fold.in_test))  # samples are in the order of their rows
                train, test = runs(self.sampled(fold.train)), at[at[:, 0] < at[:, 1]]
                self._check_fold(fold, len(folds), train, test)
                self._runs[lookback, fold.number] = train, test
            self._folds[lookback] = folds
        return self._folds[lookback]

    def sampled(self, mask: np.ndarray) -> np.ndarray:
        """Of the samples, those that a (T, N) mask marks: bool, shape (n,)."""
        return mask.ravel()[self._flat]

    def runs(self, spec: ModelSpec, fold: Fold, part: str) -> np.ndarray:
        """The runs of samples that `fold` of `spec` trains on or tests (`part` is "train" or "test")."""
        train, test = self._runs[self.lookback(spec), fold.number]
        return train if part == "train" else test

    @cached_property
    def _single(self) -> Table:
        return self.table.single()

    @contextmanager
    def lent(self) -> Iterator[Callable[[ModelSpec], LentTable]]:
        """What gives a spec its table by reference, as long as the block lasts; within another such block, the same.

        Only what is asked for is written.
        """
        if self._lent is not None:
            yield self._lend
            return
        with ExitStack() as self._lending:
            self._lent = {}
            try:
                yield self._lend
            finally:
                self._lent = None

    def _lend(self, spec: ModelSpec) -> LentTable:
        dtype = models[spec.name].dtype
        if dtype not in self._lent:
            self._lent[dtype] = self._lending.enter_context(self.table_of(spec).lent())
        return self._lent[dtype]

    def table_of(self, spec: ModelSpec) -> Table:
        """The table with features in the dtype that the model of `spec` computes in."""
        return self.table if models[spec.name].dtype == "float64" else self._single

    def tables(self, away: bool) -> AbstractContextManager[Callable[[ModelSpec], Table]]:
        """What gives a spec its table: by reference, where it goes `away` to another process."""
        return self.lent() if away else nullcontext(self.table_of)

    def places(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the row and of the symbol of each sample in the runs `at`."""
        return taken(self.table.row, at), taken(self.table.column, at)

    # ------------------------------------------------------------------ what identifies the work

    @cached_property
    def _data(self) -> dict:
        self._hashing.join()
        return {
            "features": self.features.fingerprint,
            "label": self.label.fingerprint,
            "label_name": self.label.fields[0],
            "weights": None if self.weights is None else self.weights.fingerprint,
            "splits": self.splits.to_dict(),
        }

    def asked(self, spec: ModelSpec, fold: Fold) -> dict:
        """What a cell is asked for, in JSON's terms."""
        work = {"spec": json.loads(spec.to_json()), "lookback": self.lookback(spec), "fold": fold.number}
        return work | self._data

    def key(self, spec: ModelSpec, fold: Fold, code: str) -> str:
        """What identifies a cell: spec, data, split, fold and version of the code."""
        return digest([spec.key, self.asked(spec, fold), code, self._splitter])

    @cached_property
    def _splitter(self) -> str:
        """Hash of the code of the splitter: one of a notebook may be defined anew under its name."""
        return content(type(self.splits))

    def trial(self, spec: ModelSpec) -> str:
        """What identifies a trial: the same for all folds of a spec, features and splits; empty for a baseline."""
        if models[spec.name].baseline:
            return ""
        weights = [] if self.weights is None else [self.weights.fingerprint]
        return digest([spec.key, self.features.fingerprint, self._data["splits"], *weights])

    # ------------------------------------------------------------------ what came out

    def outcome(self, spec: ModelSpec, fold: Fold, result: dict[str, np.ndarray]) -> dict:
        """A fold's counts and measures, in JSON's terms, from the scores of its test samples."""
        train, test = (self.runs(spec, fold, part) for part in ("train", "test"))
        values = self.table.measured(test, result["score"])
        found = taken(self.table.y, test)
        if "chance" in result:
            values |= {name: of(result["chance"], result["classes"], found) for name, of in CLASS_MEASURES.items()}
        if "converged" in result:
            values["converged"] = float(np.mean(result["converged"]))
        dropped = self.sampled(fold.purged | fold.embargoed)
        return {
            "train_rows": [int(self.row[train[0, 0]]), int(self.row[train[-1, 1] - 1])],
            "test_rows": [int(fold.test[0]), int(fold.test[-1])],
            "samples": int((train[:, 1] - train[:, 0]).sum()),
            "purged": int(np.count_nonzero(dropped)),
            "scored": int((~np.isnan(found)).sum()),
            **{name: None if math.isnan(value) else value for name, value in values.items()},
        }
