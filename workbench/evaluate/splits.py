"""Which samples a model may learn from, and on which rows it is then tested.

Purging is derived: a label says how many rows after its own it looks at (its span), and no sample whose label
has looked at a test row is trained on, symbol by symbol. Nothing can be typed that makes the gap smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ..errors import DataError, ParameterError
from ..labels import SPAN
from ..panel import Panel
from ..registry import Param, check_params


@dataclass(frozen=True, eq=False)
class Fold:
    """One fit and its test. Masks are (T, N) and mark samples; a sample is a row of one symbol.

    Attributes
    ----------
    number : int
        Counted from 1.
    train : ndarray of bool, shape (T, N)
        Samples that may be learned from: their label is known and ends before the first test row.
    purged : ndarray of bool, shape (T, N)
        Samples in the training window that were dropped, as their label looks at a test row.
    embargoed : ndarray of bool, shape (T, N)
        Samples that were dropped beyond those, by the embargo.
    test : ndarray of int, shape (k,)
        Numbers of the test rows, ascending.
    """

    number: int
    train: np.ndarray
    purged: np.ndarray
    embargoed: np.ndarray
    test: np.ndarray

    @cached_property
    def in_test(self) -> np.ndarray:
        """ndarray of bool, shape (T,): the test rows."""
        rows = np.zeros(len(self.train), dtype=bool)
        rows[self.test] = True
        return rows


_COUNT = {"low": 1, "optional": True, "kind": int}
_PARAMS = (
    Param("folds", 5, low=1),
    Param("window", "expanding", choices=("expanding", "rolling")),
    Param("train", None, **_COUNT),
    Param("test", None, **_COUNT),
    Param("min_train", None, **_COUNT),
    Param("embargo", 0, low=0),
)


@dataclass(frozen=True)
class WalkForward:
    """Train on the past, test on the rows that follow, walk on: the last rows are cut into `folds` tests.

    Parameters
    ----------
    folds : int, default 5
    window : {"expanding", "rolling"}, default "expanding"
        Whether training starts at the first row each time, or moves along.
    train : int, optional
        Rows of a rolling window before its samples are purged. Default: all rows before the first test.
    test : int, optional
        Rows of each test. Default: what `folds` equal parts of the rows after the first training window give;
        without `train` and `min_train`, that window is one more such part.
    min_train : int, optional
        The least number of rows before the first test.
    embargo : int, default 0
        Rows: a training label has to end more than so many rows before the first test row. It widens the gap
        that label spans make, and can't narrow it.

    Raises
    ------
    ParameterError
        A parameter outside its range, or `train` with an expanding window.

    Examples
    --------
    >>> WalkForward(folds=3, window="rolling", train=250).bounds(1000)
    [(0, 250, 500), (250, 500, 750), (500, 750, 1000)]
    """

    folds: int = 5
    window: str = "expanding"
    train: int | None = None
    test: int | None = None
    min_train: int | None = None
    embargo: int = 0

    def __post_init__(self):
        for name, value in check_params("WalkForward", _PARAMS, asdict(self)).items():
            object.__setattr__(self, name, value)
        if self.train is not None and self.window == "expanding":
            raise ParameterError(
                f"WalkForward: train={self.train} has no meaning for an expanding window",
                hint="window='rolling' trains on the last `train` rows; min_train= bounds the first window",
            )

    def to_dict(self) -> dict:
        """What it is, in JSON's terms: part of the key of everything that was evaluated on it."""
        return {"kind": "WalkForward", **asdict(self)}

    def bounds(self, rows: int) -> list[tuple[int, int, int]]:
        """For each fold the first row of its training window, its first test row, and the row after its last.

        Parameters
        ----------
        rows : int
            That there are to split.

        Raises
        ------
        DataError
            They are too few.
        """
        least = max(self.train or 0, self.min_train or 0) or rows // (self.folds + 1)
        test = self.test or (rows - least) // self.folds
        first = rows - self.folds * test
        if test < 1 or first < max(least if self.train or self.min_train else 1, 1):
            need = self.folds * (self.test or 1) + max(self.train or 0, self.min_train or 0, 1)
            raise DataError(
                f"{rows} rows are too few for {self}: at least {need} are needed",
                hint="take fewer folds, shorter windows, or more data",
            )
        length = self.train or first
        starts = range(first, rows, test)
        return [(start - length if self.window == "rolling" else 0, start, start + test) for start in starts]

    def split(self, label: Panel) -> Iterator[Fold]:
        """The folds of a panel of labels, one after another.

        Parameters
        ----------
        label : Panel
            As `workbench.labels` makes it: the label, and the field ``span``.

        Raises
        ------
        DataError
            Too few rows; a fold without a sample to train on or a label to test on; a label without spans, or
            with impossible ones.
        """
        values, span = label_planes(label)
        rows = len(values)
        known = ~np.isnan(values)
        number = np.arange(rows)[:, np.newaxis]
        end = np.where(known, number + np.where(known, span, 0), -1)
        for at, (begin, start, stop) in enumerate(self.bounds(rows), start=1):
            window = known & (number >= begin) & (number < start)
            purged = window & (end >= start)
            embargoed = window & ~purged & (end + self.embargo >= start)
            fold = Fold(at, window & ~purged & ~embargoed, purged, embargoed, np.arange(start, stop))
            self._check(fold, known, label, begin)
            yield fold

    def _check(self, fold: Fold, known: np.ndarray, label: Panel, begin: int) -> None:
        """DataError unless the fold has samples to train on and labels to test on."""
        what = f"fold {fold.number} of {self.folds}"
        first, last = label.time[fold.test[0]], label.time[fold.test[-1]]
        if not fold.train.any():
            dropped = f"{int(fold.purged.sum())} purged, {int(fold.embargoed.sum())} embargoed"
            raise DataError(
                f"{what} has no sample to train on between {label.time[begin]} and its test, "
                f"which begins at {first} ({dropped})",
                hint="take fewer folds, a longer window or a larger min_train; or drop rows without data",
            )
        if not known[fold.in_test].any():
            raise DataError(
                f"{what} has no label to test on from {first} to {last}",
                hint="take longer tests, or drop the rows at the end that have no label yet",
            )


def label_planes(label: Panel) -> tuple[np.ndarray, np.ndarray]:
    """The label and its span, both (T, N); DataError unless each known label has a possible span."""
    if not isinstance(label, Panel):
        raise ParameterError(f"the label is a {type(label).__name__}, expected a Panel", hint="forward_return(bars)")
    if SPAN not in label.fields or label.fields[0] == SPAN:
        raise DataError(
            f"a label is a panel of its values, first, and their span; found {', '.join(label.fields)}",
            hint="workbench.labels makes such panels: forward_return(bars, horizon=5)",
        )
    values, span = label.values[0].astype(float), label.plane(SPAN).astype(float)
    known = ~np.isnan(values)
    rounded = np.where(known, np.nan_to_num(span, nan=-1.0, posinf=-1.0), 0.0)
    for wrong, said in (
        (np.isinf(values), "is infinite"),
        ((rounded < 0) | (rounded != np.floor(rounded)), "has a span that is no number of rows"),
    ):
        if wrong.any():
            t, j = np.argwhere(wrong)[0]
            raise DataError(
                f"the label {label.fields[0]} of {label.symbols[j]} at {label.time[t]} {said}: "
                f"{values[t, j]}, span {span[t, j]}",
                hint="missing is NaN; a span counts the rows after its own that the label looks at",
            )
    return values, span
