"""A study's panels as a table of samples: what its folds are cut from, and what crosses to other processes.

Folds name their samples by runs of consecutive ones: a training set that is one run is a view of the table, not a
copy. By reference (`Table.lent`) the table lies in a file, and a worker maps it instead of being sent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..errors import DataError
from ..models import Context
from ..panel.core import aligned
from ..store import Ref, lent
from .metrics import is_signed, measured

PIECE = 1 << 14  # samples whose places are looked up at a time: numbers of places for all would take as much as labels


def runs(mask: np.ndarray) -> np.ndarray:
    """The first number of each run of True, and the one after its last: ndarray of shape (r, 2)."""
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    ends = [0] * bool(mask[:1].any()), [len(mask)] * bool(mask[-1:].any())
    return np.concatenate([ends[0], edges, ends[1]]).astype(np.intp).reshape(-1, 2)


def locked(values: np.ndarray, dtype=None) -> np.ndarray:
    """A read-only copy of `values`, that begins in memory where a mapped file would."""
    copy = aligned(values.shape, values.dtype if dtype is None else dtype)
    copy[...] = values
    copy.flags.writeable = False
    return copy


def taken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The samples of `values` in the runs `at`: a view of one run, a copy of several; read-only."""
    if len(at) < 2:
        return values[at[0, 0] : at[0, 1]] if len(at) else values[:0]
    copy = aligned((int((at[:, 1] - at[:, 0]).sum()), *values.shape[1:]), values.dtype)
    np.concatenate([values[a:b] for a, b in at], out=copy)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class Table:
    """The samples of a panel, time-major, with all features there; all arrays are read-only.

    Attributes
    ----------
    X : ndarray of shape (n, F)
        float64, or float32 for the models that compute in it.
    y : ndarray of shape (n,)
        NaN where there is no label.
    weight : ndarray of shape (n,) or (0,)
        Empty: all samples weigh the same.
    row, column : ndarray of shape (n,), int32
    label : ndarray of shape (T, N)
    end : ndarray of shape (T, N), intp
        The last row that each label looks at; -1 where there is none.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    row: np.ndarray
    column: np.ndarray
    label: np.ndarray
    end: np.ndarray

    def context(self, at: np.ndarray, *, trained: bool) -> Context:
        """What a model may know of the samples in the runs `at`; in training, of their labels alone."""
        return _Placed(self, at, trained)

    def labels(self, at: np.ndarray) -> KnownLabels:
        """The labels of the samples in the runs `at` alone."""
        there = np.zeros(self.label.shape, dtype=bool, order="F")
        for first, last in at:
            for start in range(first, last, PIECE):
                piece = slice(start, min(start + PIECE, last))
                there[self.row[piece], self.column[piece]] = True
        return KnownLabels(self.label, there)

    def rows(self, at: np.ndarray) -> Iterator[tuple]:
        """The samples in the runs `at` row by row: its number, symbols, features, targets, and weights or None."""

        def samples(runs: list) -> tuple:
            these = np.array(runs)
            weight = taken(self.weight, these) if len(self.weight) else None
            return self.row[runs[0][0]], *(taken(each, these) for each in (self.column, self.X, self.y)), weight

        found: list = []
        for first, last in at:
            edges = first + np.flatnonzero(np.diff(self.row[first:last])) + 1
            for run in pairwise([first, *edges, last]):
                if found and self.row[found[0][0]] != self.row[run[0]]:
                    yield samples(found)
                    found = []
                found.append(run)
        yield samples(found)

    def measured(self, at: np.ndarray, score: np.ndarray) -> dict[str, float]:
        """The measures of the scores of the samples in the runs `at`, against their labels."""
        row, column = taken(self.row, at), taken(self.column, at)
        first, last = int(row[0]), int(row[-1]) + 1
        scores = np.full((last - first, self.label.shape[1]), np.nan)
        scores[row - first, column] = score
        return measured(scores, self.label[first:last], self.signed)

    @cached_property
    def signed(self) -> bool:
        """Whether the labels have a sign, by all of them: a test alone may have but one of the classes."""
        return is_signed(self.label)

    def single(self) -> Table:
        """The table with features in float32."""
        with np.errstate(over="ignore"):  # the model refuses what is infinite then
            return replace(self, X=locked(self.X, np.float32))

    @contextmanager
    def lent(self) -> Iterator[LentTable]:
        """The table such that it pickles by reference, for as long as the block lasts."""
        arrays = {field.name: getattr(self, field.name) for field in fields(Table)}
        with lent(arrays) as ref:
            yield LentTable(**arrays, ref=ref)


class KnownLabels:
    """An array of labels (T, N) of which some are known, NaN where not: cut out where it is asked for, as by symbol.

    All of it would take as much as a feature, and what is known of it an eighth.
    """

    def __init__(self, label: np.ndarray, there: np.ndarray):
        self._label, self._there = label, there
        self.shape = label.shape

    def __getitem__(self, at) -> np.ndarray:
        return np.where(self._there[at], self._label[at], np.nan)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __reduce__(self):
        return np.asfortranarray, (self[...],)  # what is not known is not taken along


class _Placed(Context):
    """The context of samples of a table; what takes memory is made where it is asked for."""

    def __init__(self, samples: Table, at: np.ndarray, trained: bool):
        self.__dict__.update(_of=samples, _at=at, _trained=trained)
        self.__dict__.update(table=samples.X, table_row=samples.row, table_column=samples.column)

    @cached_property
    def row(self) -> np.ndarray:
        return taken(self._of.row, self._at)

    @cached_property
    def column(self) -> np.ndarray:
        return taken(self._of.column, self._at)

    @cached_property
    def label(self) -> np.ndarray:
        return np.asarray(self._of.labels(self._at)) if self._trained else self._of.label

    @cached_property
    def end(self) -> np.ndarray:
        return np.where(np.isnan(self.label), -1, self._of.end) if self._trained else self._of.end


@dataclass(frozen=True, eq=False)
class LentTable(Table):
    """A table that lies in a file as well: another process maps it instead of being sent it."""

    ref: Ref

    def __reduce__(self):
        return _open, (self.ref,)


class _Gone:
    """In place of a table whose file is gone: the run has ended. An error while it unpickles would end all workers."""

    def __init__(self, error: DataError):
        self._error = error

    def __getattr__(self, name: str):
        raise self._error


def _open(ref: Ref) -> Table | _Gone:
    try:
        return Table(**{name: np.asarray(array) for name, array in ref.arrays().items()})
    except DataError as error:
        return _Gone(error)
