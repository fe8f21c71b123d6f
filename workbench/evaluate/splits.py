"""Which samples a model may learn from, and on which rows it is then tested.

Purging is derived: a label says how many rows after its own it looks at (its span), and no sample is trained on
whose label looks at a row that is tested, or that a tested label looks at. The embargo after a test is derived as
well, from the rows that features, labels and the model look back. Nothing can be typed that makes a gap smaller.

Both are taken in time and not by symbol: symbols move together, so that another symbol's label of the same rows
tells as much. A splitter only says which rows are tested and which may be learned from (`Splits._windows`); what is
dropped is decided once for all, in `_folded`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import ClassVar

import numpy as np

from ..errors import DataError, ParameterError, UnknownNameError
from ..indicators.core import FOREVER
from ..labels import label_planes
from ..panel import Panel
from ..registry import Param, check_params

MOST = 10_000  # folds: each is a fit


@dataclass(frozen=True, eq=False)
class Fold:
    """One fit and its test. Masks are (T, N) and mark samples; a sample is a row of one symbol.

    Each sample whose label is known is marked by one mask, stands on a test row, or lies outside the window.

    Attributes
    ----------
    number : int
        Counted from 1.
    train : ndarray of bool, shape (T, N)
        Samples that may be learned from.
    purged : ndarray of bool, shape (T, N)
        Samples that were dropped, as their label looks at a row that is tested or that a tested label looks at.
    embargoed : ndarray of bool, shape (T, N)
        Samples that were dropped beyond those, by the embargo or what is looked back.
    test : ndarray of int, shape (k,)
        Numbers of the test rows, ascending; there may be gaps between them.
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


class Splits:
    """What all splitters share: rows are cut into groups, and each fold tests some of them.

    A splitter is a frozen dataclass of JSON's types, which declares its parameters and says what its folds are.

    Attributes
    ----------
    schema : tuple of Param
        What it takes, with ranges.
    roomier : str
        What of it leaves more samples to train on, for the hint of an error: "more folds".
    """

    schema: ClassVar[tuple[Param, ...]]
    roomier: ClassVar[str] = "more rows"
    embargo: int

    def __post_init__(self):
        for name, value in check_params(type(self).__name__, self.schema, asdict(self)).items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict:
        """What it is, in JSON's terms: part of the key of everything that was evaluated on it."""
        return {"kind": type(self).__name__, **asdict(self)}

    @staticmethod
    def from_dict(content: Mapping) -> Splits:
        """The splitter that `to_dict` wrote.

        Raises
        ------
        UnknownNameError, ParameterError
            No such kind, or as at its construction.
        """
        kinds = {kind.__name__: kind for kind in Splits.__subclasses__()}
        given = dict(content)
        kind = given.pop("kind", None)
        if kind not in kinds:
            raise UnknownNameError.of("splitter", kind, kinds)
        return kinds[kind](**check_params(kind, kinds[kind].schema, given))

    def group_rows(self, rows: int) -> list[tuple[int, int]]:
        """The stretches of rows that are tested as one: the first row of each, and the row after its last.

        Parameters
        ----------
        rows : int
            That there are to split.

        Raises
        ------
        DataError
            They are too few.
        """
        raise NotImplementedError

    def tested(self) -> list[tuple[int, ...]]:
        """For each fold the numbers of the groups that it tests, both counted from 0."""
        raise NotImplementedError

    def paths(self) -> list[tuple[int, ...]]:
        """The ways to put scores together that cover each group once.

        Returns
        -------
        list of tuple of int
            For each path and each group the number of the fold, counted from 1, that its scores are taken from.
        """
        by_group: dict[int, list[int]] = {}
        for number, groups in enumerate(self.tested(), start=1):
            for group in groups:
                by_group.setdefault(group, []).append(number)
        return list(zip(*(by_group[group] for group in sorted(by_group)), strict=True))

    def _windows(self, rows: int) -> list[tuple[int, int]]:
        """For each fold the first row that it may learn from, and the row after the last, whatever it tests."""
        return [(0, rows)] * len(self.tested())

    def _gaps(self, lookback: int) -> tuple[int, int]:
        """Rows to keep clear before a test, beyond what is purged, and after it."""
        return 0, max(self.embargo, lookback)

    def split(self, label: Panel, lookback: int = 0) -> Iterator[Fold]:
        """The folds of a panel of labels, one after another.

        Parameters
        ----------
        label : Panel
            As `workbench.labels` makes it: the label, and the field ``span``.
        lookback : int, default 0
            Rows that the features, and the model itself, look back. What the label looks back
            (``label.lookback``) counts as well, where it is more.

        Yields
        ------
        Fold

        Raises
        ------
        DataError
            Too few rows; a fold without a sample to train on or a label to test on; a label without spans, or
            with impossible ones.
        ParameterError
            A `lookback` that is no number of rows.
        """
        values, span = label_planes(label)
        lookback = max(Param("lookback", 0, low=0).check(lookback, type(self).__name__), label.lookback)
        rows, folds = len(values), self.tested()
        groups, windows = self.group_rows(rows), self._windows(rows)
        known = ~np.isnan(values)
        # the last row that each label looks at; -1 without a label
        end = np.where(known, np.arange(rows)[:, np.newaxis] + np.where(known, span, 0), -1)
        latest = end.max(axis=1, initial=-1)
        for number, (tested, (begin, stop)) in enumerate(zip(folds, windows, strict=True), start=1):
            window = known.copy()
            window[:begin] = window[stop:] = False
            fold = _folded(number, window, end, latest, [groups[g] for g in tested], *self._gaps(lookback))
            _check(fold, len(folds), known, label, self._remedy(fold, lookback))
            yield fold

    def _remedy(self, fold: Fold, lookback: int) -> str:
        """What to do where nothing is left to train on."""
        after = self._gaps(lookback)[1]
        if not (after and fold.embargoed.any()):
            return f"take {self.roomier}; or drop rows without data"
        if after > lookback:
            return f"embargo={after} rows are left out after each test: take fewer, or {self.roomier}"
        if lookback >= FOREVER:
            return (
                "a feature remembers all rows before its own, so that all after a test are embargoed: leave it out, or "
                "take WalkForward, which trains on nothing after a test"
            )
        return (
            f"features, label and model remember {lookback} rows, and so many are embargoed after each test: take such "
            f"as remember less, more data, {self.roomier}, or WalkForward, which trains on nothing after a test"
        )


def _folded(
    number: int,
    window: np.ndarray,
    end: np.ndarray,
    latest: np.ndarray,
    tests: list[tuple[int, int]],
    before: int,
    after: int,
) -> Fold:
    """The one rule of what is dropped.

    A test reaches from its first row to the last row that any of its labels looks at. A sample that stands on row t
    and whose label looks at rows t to e is purged if a row of a test is among these. It is embargoed if it looks at
    one of the `before` rows before a test, or stands on one of the `after` rows after it. Tests side by side come
    out as one.

    Parameters
    ----------
    window : ndarray of bool, shape (T, N)
        The samples that might be learned from; overwritten.
    end : ndarray of int, shape (T, N)
        The last row that each label looks at, -1 where there is none.
    latest : ndarray of int, shape (T,)
        The largest `end` of each row.
    tests : list of (int, int)
        First test row, and the row after the last, of each group, ascending.
    """
    purged, embargoed = np.zeros((2, *window.shape), dtype=bool)
    nearest, furthest = len(window), 0
    for start, stop in tests:
        last = max(stop - 1, int(latest[start:stop].max(initial=-1)))
        window[start:stop] = False
        # of the rows before the first that reaches so far no label need be looked at
        near = slice(int(np.argmax(latest[: last + 1] >= start - before)), last + 1)
        purged[near] |= end[near] >= start
        embargoed[near] |= end[near] >= start - before
        embargoed[last + 1 : last + 1 + after] = True
        nearest, furthest = min(nearest, near.start), max(furthest, last + 1 + after)
    near = slice(nearest, furthest)  # memory that is never touched costs nothing
    purged[near] &= window[near]
    window[near] ^= purged[near]
    embargoed[near] &= window[near]
    window[near] ^= embargoed[near]
    test = np.concatenate([np.arange(*bounds) for bounds in tests])
    return Fold(number, window, purged, embargoed, test)


def _check(fold: Fold, folds: int, known: np.ndarray, label: Panel, remedy: str) -> None:
    """DataError unless the fold has samples to train on and labels to test on."""
    what = f"fold {fold.number} of {folds}"
    if not fold.train.any():
        first = label.time[fold.test[0]]
        dropped = f"{int(fold.purged.sum())} purged, {int(fold.embargoed.sum())} embargoed"
        raise DataError(
            f"{what} has no sample to train on beside its test, which begins at {first} ({dropped})",
            hint=remedy,
        )
    if not known[fold.test].any():
        first, last = label.time[fold.test[[0, -1]]]
        raise DataError(
            f"{what} has no label to test on from {first} to {last}",
            hint="take longer tests, or drop the rows at the end that have no label yet",
        )


_COUNT = {"low": 1, "optional": True, "kind": int}


@dataclass(frozen=True)
class WalkForward(Splits):
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
        that label spans make, and can't narrow it. What features look back plays no part: no sample that is
        trained on comes after its test.

    Raises
    ------
    ParameterError
        A parameter outside its range, or `train` with an expanding window.

    Notes
    -----
    The tests are those of scikit-learn's TimeSeriesSplit, but where ``rows % (folds + 1) == folds``: it gives the rows
    that are left over to the first training window, here each test is a row longer. ``test=rows // (folds + 1)`` gives
    its tests for any number of rows.

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

    roomier = "fewer folds, a longer window or a larger min_train"
    schema = (
        Param("folds", 5, low=1, doc="Tests, count."),
        Param("window", "expanding", choices=("expanding", "rolling"), doc="Of the rows trained on."),
        Param("train", None, **_COUNT, doc="Rows of a rolling window; None: all before the first test."),
        Param("test", None, **_COUNT, doc="Rows of each test; None: equal parts."),
        Param("min_train", None, **_COUNT, doc="Fewest rows before the first test."),
        Param("embargo", 0, low=0, doc="Rows to keep clear beyond what is derived."),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.train is not None and self.window == "expanding":
            raise ParameterError(
                f"WalkForward: train={self.train} has no meaning for an expanding window",
                hint="window='rolling' trains on the last `train` rows; min_train= bounds the first window",
            )

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

    def group_rows(self, rows: int) -> list[tuple[int, int]]:
        """The test rows of each fold: the first, and the row after the last."""
        return [(start, stop) for _, start, stop in self.bounds(rows)]

    def tested(self) -> list[tuple[int, ...]]:
        """Each fold tests one group."""
        return [(fold,) for fold in range(self.folds)]

    def _windows(self, rows: int) -> list[tuple[int, int]]:
        return [bounds[:2] for bounds in self.bounds(rows)]

    def _gaps(self, lookback: int) -> tuple[int, int]:
        return self.embargo, 0


@dataclass(frozen=True)
class PurgedKFold(Splits):
    """Cut the rows into `folds` nearly equal stretches; test each once, and train on all others.

    Training samples come before and after a test. Those whose labels overlap with a tested one are purged on both
    sides; after the test they also have to start later than the last row that a tested label looks at, by more than
    the rows that features, labels or the model look back.

    Parameters
    ----------
    folds : int, default 5
        At least 2. The first ones have a row more where the rows can't be divided evenly, as scikit-learn's KFold.
    embargo : int, default 0
        Rows to keep clear after the last row that a tested label looks at, where that is more than what is derived.

    Raises
    ------
    ParameterError
        A parameter outside its range.

    Notes
    -----
    Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7. There a training label may end
    on the very row where the test starts, and training may start on the very row where the last tested label ends
    (snippet 7.3); here a row that both look at is an overlap, so that a row is left out more on each side.

    Examples
    --------
    >>> PurgedKFold(folds=3).group_rows(10)
    [(0, 4), (4, 7), (7, 10)]
    """

    folds: int = 5
    embargo: int = 0

    roomier = "more folds, whose tests are shorter"
    schema = (
        Param("folds", 5, low=2, doc="Stretches, each tested once, count."),
        Param("embargo", 0, low=0, doc="Rows to keep clear beyond what is derived."),
    )

    def group_rows(self, rows: int) -> list[tuple[int, int]]:
        """The test rows of each fold: the first, and the row after the last."""
        return _stretches(self, rows, self.folds)

    def tested(self) -> list[tuple[int, ...]]:
        """Each fold tests one group."""
        return [(fold,) for fold in range(self.folds)]


@dataclass(frozen=True)
class CombinatorialPurged(Splits):
    """Cut the rows into `groups` nearly equal stretches; test each choice of `tests` of them, and train on the others.

    Combinatorial purged cross-validation. Each group is tested by several folds, so that the scores can be put
    together in several ways that cover all rows (`paths`): a distribution of results, where a walk gives one. Purge
    and embargo are those of `PurgedKFold`, around each block of adjacent groups.

    Parameters
    ----------
    groups : int, default 6
        At least 2.
    tests : int, default 2
        Groups that each fold tests, at least 1 and fewer than there are. There are ``C(groups, tests)`` folds, in
        lexicographic order, and ``C(groups, tests) * tests / groups`` paths.
    embargo : int, default 0
        As in `PurgedKFold`.

    Raises
    ------
    ParameterError
        A parameter outside its range, as many tests as groups, or more than 10,000 folds.

    Notes
    -----
    Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 12.

    Examples
    --------
    >>> splits = CombinatorialPurged(groups=4, tests=2)
    >>> splits.tested()
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    >>> splits.paths()
    [(1, 1, 2, 3), (2, 4, 4, 5), (3, 5, 6, 6)]
    """

    groups: int = 6
    tests: int = 2
    embargo: int = 0

    roomier = "more groups or fewer tests"
    schema = (
        Param("groups", 6, low=2, doc="Stretches, count."),
        Param("tests", 2, low=1, doc="Stretches that each fold tests, count."),
        Param("embargo", 0, low=0, doc="Rows to keep clear beyond what is derived."),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.tests >= self.groups:
            raise ParameterError(
                f"{self}: {self.tests} tests of {self.groups} groups leave none to train on",
                hint=f"the nearest valid value is tests={self.groups - 1}",
            )
        folds = math.comb(self.groups, self.tests)
        if folds > MOST:
            raise ParameterError(
                f"{self}: {folds:,} folds, each of them a fit; at most {MOST:,} are allowed",
                hint="take fewer groups, or tests further from half of them",
            )

    def group_rows(self, rows: int) -> list[tuple[int, int]]:
        """The rows of each group: the first, and the row after the last."""
        return _stretches(self, rows, self.groups)

    def tested(self) -> list[tuple[int, ...]]:
        """Each fold tests another choice of groups, in lexicographic order."""
        return list(combinations(range(self.groups), self.tests))


def _stretches(splits: Splits, rows: int, parts: int) -> list[tuple[int, int]]:
    """The rows cut into nearly equal stretches, the longer ones first; DataError where one would be empty."""
    if rows < parts:
        raise DataError(
            f"{rows} rows are too few for {splits}: at least {parts} are needed",
            hint="take fewer folds or groups, or more data",
        )
    edges = [part * (rows // parts) + min(part, rows % parts) for part in range(parts + 1)]
    return list(pairwise(edges))
