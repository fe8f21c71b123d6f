"""Splits: nothing that is trained on overlaps a test, nothing is dropped without a reason, on any labels."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, TimeSeriesSplit

from workbench.errors import DataError, ParameterError
from workbench.evaluate import CombinatorialPurged, PurgedKFold, Splits, WalkForward
from workbench.features import feature
from workbench.labels import triple_barrier
from workbench.panel import Panel

NAN = float("nan")


def labelled(values, span) -> Panel:
    """A label panel from two (T, N) planes."""
    values, span = (np.asarray(x, dtype=float) for x in (values, span))
    values, span = (x[:, np.newaxis] if x.ndim == 1 else x for x in (values, span))
    time = pd.date_range("2020-01-01", periods=len(values), freq="D", tz="UTC")
    names = [f"S{j}" for j in range(values.shape[1])]
    return Panel(np.stack([values, span]), time, names, ["forward_return", "span"])


@st.composite
def any_label(draw):
    """A label with any spans and any listings: late, early, with holes, on rows without any."""
    rows, symbols = draw(st.integers(6, 40)), draw(st.integers(1, 4))
    longest = draw(st.sampled_from([2, 12]))
    spans = draw(st.lists(st.integers(0, longest), min_size=rows * symbols, max_size=rows * symbols))
    span = np.array(spans, dtype=float).reshape(rows, symbols)
    values = np.ones((rows, symbols))
    if draw(st.booleans()):
        span[:] = span[0, 0]
    for j in range(symbols):
        values[: draw(st.integers(0, rows // 3)), j] = NAN
        values[rows - draw(st.integers(0, rows // 4)) :, j] = NAN
        values[draw(st.integers(0, rows - 1)), j] = NAN
    values[draw(st.integers(0, rows - 1))] = NAN
    span[np.isnan(values)] = NAN
    return labelled(values, span)


def any_walk():
    some = st.none() | st.integers(1, 8)
    common = {"folds": st.integers(1, 5), "test": some, "min_train": some, "embargo": st.integers(0, 5)}
    return st.builds(WalkForward, **common) | st.builds(WalkForward, window=st.just("rolling"), train=some, **common)


def any_choice(draw):
    groups = draw(st.integers(2, 6))
    return CombinatorialPurged(groups, draw(st.integers(1, groups - 1)), draw(st.integers(0, 5)))


# How to draw each kind of splitter: one that is missing here fails the first test.
SPLITTERS = {
    "WalkForward": any_walk(),
    "PurgedKFold": st.builds(PurgedKFold, folds=st.integers(2, 6), embargo=st.integers(0, 5)),
    "CombinatorialPurged": st.composite(any_choice)(),
}


def test_every_splitter_is_under_the_laws():
    assert {kind.__name__ for kind in Splits.__subclasses__()} == set(SPLITTERS)


def blocks_of(fold, known, end):
    """First and last row of what each stretch of consecutive test rows looks at."""
    found = []
    for _, run in itertools.groupby(enumerate(fold.test.tolist()), lambda pair: pair[1] - pair[0]):
        rows = [row for _, row in run]
        ends = [end[t, j] for t in rows for j in range(known.shape[1]) if known[t, j]]
        found.append((rows[0], max([rows[-1], *ends])))
    return found


def may_be_learned(splits, rows, number):
    """The rows that a fold might learn from, its test left out."""
    if isinstance(splits, WalkForward):
        begin, start, _ = splits.bounds(rows)[number - 1]
        return set(range(begin, start))
    groups = splits.group_rows(rows)
    tested = {t for g in splits.tested()[number - 1] for t in range(*groups[g])}
    return set(range(rows)) - tested


@pytest.mark.parametrize("kind", list(SPLITTERS))
@given(st.data())
def test_no_sample_leaks_and_none_is_dropped_without_a_reason(kind, data):
    label, splits = data.draw(any_label()), data.draw(SPLITTERS[kind])
    lookback = data.draw(st.integers(0, 8))
    rows = len(label.time)
    try:
        folds = list(splits.split(label, lookback))
    except DataError:
        return
    known = ~np.isnan(label.values[0])
    end = np.where(known, np.arange(rows)[:, np.newaxis] + np.nan_to_num(label.plane("span")), -1)
    before = splits.embargo if kind == "WalkForward" else 0
    after = max(splits.embargo, lookback)
    for fold in folds:
        assert (np.diff(fold.test) > 0).all()
        assert np.flatnonzero(fold.in_test).tolist() == fold.test.tolist()
        blocks = blocks_of(fold, known, end)
        learned = may_be_learned(splits, rows, fold.number)
        marks = fold.train.astype(int) + fold.purged + fold.embargoed
        for t, j in np.ndindex(known.shape):
            # each known sample of the window has one mark, and no other has any
            assert marks[t, j] == (known[t, j] and t in learned)
            if not marks[t, j]:
                continue
            overlaps = any(t <= last and end[t, j] >= first for first, last in blocks)
            close = any(last < t <= last + after or first - before <= end[t, j] < first for first, last in blocks)
            assert fold.purged[t, j] == overlaps
            assert fold.embargoed[t, j] == (close and not overlaps)
            if fold.train[t, j]:  # sample by sample, without blocks
                for u in fold.test:
                    for i in np.flatnonzero(known[u]):
                        assert end[t, j] < u or t > end[u, i] + after


@pytest.mark.parametrize("kind", list(SPLITTERS))
@given(st.data())
def test_each_path_tests_each_row_once(kind, data):
    splits, rows = replace(data.draw(SPLITTERS[kind]), embargo=0), data.draw(st.integers(90, 120))
    groups, tested, paths = splits.group_rows(rows), splits.tested(), splits.paths()
    flat = [t for start, stop in groups for t in range(start, stop)]
    assert flat == list(range(flat[0], rows))  # ascending, without gap or overlap, up to the end
    if kind != "WalkForward":
        assert flat[0] == 0
        assert max(b - a for a, b in groups) - min(b - a for a, b in groups) <= 1
    folds = list(splits.split(labelled(np.ones(rows), np.zeros(rows))))
    assert [fold.number for fold in folds] == list(range(1, len(tested) + 1))
    for fold, choice in zip(folds, tested, strict=True):
        assert fold.test.tolist() == [t for g in choice for t in range(*groups[g])]
    used = set()
    for path in paths:
        assert len(path) == len(groups)
        for group, number in enumerate(path):
            assert group in tested[number - 1]
            used.add((group, number))
    assert len(used) == len(paths) * len(groups) == sum(map(len, tested))  # each test of each fold in one path


@pytest.mark.parametrize("kind", list(SPLITTERS))
def test_most_drawn_splits_are_valid(kind):
    drawn, purged = [], []

    @given(any_label(), SPLITTERS[kind])
    def count(label, splits):
        drawn.append(1)
        with contextlib.suppress(DataError):
            purged.append(any(fold.purged.any() for fold in list(splits.split(label))))

    count()
    assert len(purged) > len(drawn) / 4
    assert sum(purged) > len(drawn) / 8


@pytest.mark.parametrize("kind", list(SPLITTERS))
@given(st.data())
def test_what_is_typed_and_what_is_looked_back_only_widen(kind, data):
    label, splits = data.draw(any_label()), data.draw(SPLITTERS[kind])
    wider = replace(splits, embargo=splits.embargo + data.draw(st.integers(0, 4)))
    try:
        pairs = list(zip(splits.split(label), wider.split(label, data.draw(st.integers(0, 9))), strict=True))
    except DataError:
        return
    for narrow, wide in pairs:
        assert not (wide.train & ~narrow.train).any()
        np.testing.assert_array_equal(wide.purged, narrow.purged)
        if kind == "WalkForward" and wider == splits:
            np.testing.assert_array_equal(wide.train, narrow.train)


# ---------------------------------------------------------------------- against other libraries


def marked(mask):
    return np.flatnonzero(mask[:, 0]).tolist()


@pytest.mark.parametrize("rows", [24, 100, 103])
@pytest.mark.parametrize("folds", [2, 5])
def test_the_tests_of_a_k_fold_are_those_of_scikit_learn(rows, folds):
    ours = PurgedKFold(folds).split(labelled(np.ones(rows), np.zeros(rows)))
    for fold, (train, test) in zip(ours, KFold(folds).split(np.zeros(rows)), strict=True):
        assert fold.test.tolist() == test.tolist()
        assert marked(fold.train) == train.tolist()  # a label that looks at its own row only purges nothing


@pytest.mark.parametrize(("groups", "tests"), [(4, 2), (6, 2), (6, 3), (10, 8)])
@pytest.mark.parametrize("span", [0, 1, 3])
@pytest.mark.parametrize("embargo", [0, 2])
def test_combinations_are_those_of_skfolio(groups, tests, span, embargo):
    """Its purged_size is our span: a closed end on both sides. Its last group takes the rows left over, ours the
    first ones, so that only rows that divide evenly are compared; nor does it know spans that vary."""
    theirs = pytest.importorskip("skfolio.model_selection").CombinatorialPurgedCV(groups, tests, span, embargo)
    rows = groups * 12
    splits = CombinatorialPurged(groups, tests, embargo)
    folds = list(splits.split(labelled(np.ones(rows), np.full(rows, span))))
    for fold, (train, blocks) in zip(folds, theirs.split(np.zeros((rows, 1))), strict=True):
        assert marked(fold.train) == train.tolist()
        assert fold.test.tolist() == np.concatenate(blocks).tolist()
    assert len(folds) == theirs.n_splits == math.comb(groups, tests)
    assert len(splits.paths()) == theirs.n_test_paths == math.comb(groups, tests) * tests // groups
    # its table: for each group the folds, counted from 0, that test it, one a path
    assert [list(path) for path in splits.paths()] == (theirs.recombined_paths.T + 1).tolist()


@pytest.mark.parametrize("expanding", [True, False])
@pytest.mark.parametrize("span", [0, 1, 4])
@pytest.mark.parametrize(("train", "test", "folds"), [(20, 5, 4), (11, 3, 6)])
def test_a_walk_is_that_of_skfolio(expanding, span, train, test, folds):
    """Its training window ends before the purged rows, ours is as long with them; it walks from the first row on,
    ours up to the last row, so that only rows that divide evenly are compared."""
    kind = pytest.importorskip("skfolio.model_selection").WalkForward
    theirs = kind(test_size=test, train_size=train - span, expand_train=expanding, purged_size=span)
    window = {"min_train": train} if expanding else {"window": "rolling", "train": train}
    rows = train + folds * test
    ours = WalkForward(folds, test=test, **window).split(labelled(np.ones(rows), np.full(rows, span)))
    for fold, (learned, tested) in zip(ours, theirs.split(np.zeros((rows, 1))), strict=True):
        assert marked(fold.train) == learned.tolist()
        assert fold.test.tolist() == tested.tolist()


def test_the_paths_of_the_book():
    """Lopez de Prado (2018), figures 12.1 and 12.2: six groups, two tested, 15 folds and 5 paths."""
    splits = CombinatorialPurged(groups=6, tests=2)
    assert len(splits.tested()) == 15
    paths = splits.paths()
    assert len(paths) == 5
    assert paths[0] == (1, 1, 2, 3, 4, 5)
    assert paths[1] == (2, 6, 6, 7, 8, 9)


def test_one_row_more_is_left_out_on_each_side_than_in_the_book():
    """Snippet 7.3 lets a training label end on the first test row, and training start where the last label ends."""
    rows, span = 30, 3
    label = labelled(np.ones(rows), np.full(rows, span))
    fold = list(PurgedKFold(3).split(label))[1]
    starts = np.arange(rows)
    ends = np.minimum(starts + span, rows - 1)
    first, last = fold.test[0], ends[fold.test].max()
    book = set(starts[ends <= first]) | set(range(last, rows))
    assert book - set(marked(fold.train)) == {first - span, last}
    assert set(marked(fold.train)) <= book


# ---------------------------------------------------------------------- each by itself


@pytest.mark.parametrize("rows", [24, 100, 103])
@pytest.mark.parametrize("folds", [2, 5])
@pytest.mark.parametrize("span", [0, 3])
@pytest.mark.parametrize("test", [None, 4])
def test_an_expanding_walk_is_scikit_learns_time_series_split_with_the_span_as_gap(rows, folds, span, test):
    label = labelled(np.ones(rows), np.full(rows, span))
    ours = WalkForward(folds=folds, test=test).split(label)
    theirs = TimeSeriesSplit(n_splits=folds, test_size=test, gap=span).split(np.zeros(rows))
    for fold, (train, tested) in zip(ours, theirs, strict=True):
        assert np.flatnonzero(fold.train[:, 0]).tolist() == train.tolist()
        assert fold.test.tolist() == tested.tolist()


@pytest.mark.parametrize("folds", [2, 5, 8])
def test_where_what_is_left_over_makes_each_test_a_row_longer_and_how_not(folds):
    for rows in range(folds + 1, 120):
        theirs = [(test[0], test[-1] + 1) for _, test in TimeSeriesSplit(folds).split(np.zeros(rows))]
        ours = WalkForward(folds).group_rows(rows)
        over = rows % (folds + 1) == folds
        assert {b - a for a, b in ours} == {rows // (folds + 1) + over}
        assert (ours == theirs) == (not over)
        assert WalkForward(folds, test=rows // (folds + 1)).group_rows(rows) == theirs


def test_purging_is_sharp_and_by_each_labels_own_span():
    span = np.ones((20, 2))
    span[5] = 9, 10  # to row 14, and to row 15
    fold = next(iter(WalkForward(folds=1, test=5).split(labelled(np.ones((20, 2)), span))))
    assert fold.train[5].tolist() == [True, False]
    assert fold.purged[5].tolist() == [False, True]
    assert fold.train[13].tolist() == [True, True]
    assert fold.train[14].tolist() == [False, False]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"folds": 0}, "folds=0 is outside"),
        ({"folds": 2.5}, "folds=2.5 is float"),
        ({"folds": True}, "folds=True is bool"),
        ({"window": "roling"}, "did you mean 'rolling'"),
        ({"embargo": -1}, "embargo=-1 is outside"),
        ({"test": 0}, "test=0 is outside"),
        ({"train": 100}, "no meaning for an expanding window"),
    ],
)
def test_a_bad_split_is_refused_when_it_is_made(given, match):
    with pytest.raises(ParameterError, match=match):
        WalkForward(**given)


@pytest.mark.parametrize(
    ("splits", "rows"),
    [
        (WalkForward(folds=5), 5),
        (WalkForward(folds=2, test=10), 20),
        (WalkForward(folds=2, test=10, min_train=6), 25),
        (WalkForward(folds=2, window="rolling", train=30, test=10), 49),
        (WalkForward(folds=2, window="rolling", train=30), 31),
        (WalkForward(), 0),
    ],
)
def test_too_few_rows_say_how_many_are_needed(splits, rows):
    with pytest.raises(DataError, match=f"^{rows} rows are too few for WalkForward") as caught:
        splits.bounds(rows)
    need = int(caught.value.message.split("at least ")[1].split()[0])
    assert splits.bounds(need)
    with pytest.raises(DataError):
        splits.bounds(need - 1)


def test_a_fold_without_data_is_named():
    late = np.ones((30, 1))
    late[:20] = NAN
    with pytest.raises(DataError, match="fold 1 of 2 has no sample to train on.*2020-01-11"):
        list(WalkForward(folds=2).split(labelled(late, np.where(np.isnan(late), NAN, 1.0))))
    with pytest.raises(DataError, match="fold 1 of 2 has no sample to train on.*10 purged, 0 embargoed") as caught:
        list(WalkForward(folds=2).split(labelled(np.ones((30, 1)), np.full((30, 1), 20.0)), lookback=810))
    assert caught.value.hint.startswith("take fewer folds, a longer window or a larger min_train")
    early = late[::-1]
    with pytest.raises(DataError, match="fold 1 of 2 has no label to test on"):
        list(WalkForward(folds=2).split(labelled(early, np.where(np.isnan(early), NAN, 1.0))))


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (lambda good: good.select(fields="forward_return"), "found forward_return"),
        (lambda good: good.select(fields=["span", "forward_return"]), "its values, first"),
        (
            lambda good: labelled([1.0, 1.0], [1.0, NAN]),
            "S0 at 2020-01-02.* no number of rows: 1.0, span nan",
        ),
        (lambda good: labelled([1.0, 1.0], [1.0, -1.0]), "no number of rows"),
        (lambda good: labelled([1.0, 1.0], [0.5, 1.0]), "S0 at 2020-01-01"),
        (lambda good: labelled([1.0, 1.0], [1.0, np.inf]), "no number of rows"),
        (lambda good: labelled([1.0, np.inf], [1.0, 1.0]), "is infinite"),
    ],
)
def test_a_label_without_honest_spans_is_refused(label, match):
    with pytest.raises(DataError, match=match):
        list(WalkForward(folds=1).split(label(labelled(np.ones(9), np.ones(9)))))
    with pytest.raises(ParameterError, match="expected a Panel"):
        list(WalkForward().split(pd.DataFrame()))


def test_a_walk_is_cut_as_its_bounds_say():
    for splits, rows in [(WalkForward(3), 40), (WalkForward(2, "rolling", train=9, test=4), 31)]:
        folds = list(splits.split(labelled(np.ones(rows), np.zeros(rows))))
        for fold, (begin, start, stop) in zip(folds, splits.bounds(rows), strict=True):
            assert marked(fold.train) == list(range(begin, start))
            assert fold.test.tolist() == list(range(start, stop))


def test_another_symbols_label_purges_as_well():
    span = np.ones((30, 2))
    span[19, 1] = 4  # the last test row of fold 2 looks at row 23, for one symbol
    fold = list(PurgedKFold(3).split(labelled(np.ones((30, 2)), span), lookback=2))[1]
    assert fold.purged[20:24].all()
    assert fold.embargoed[24:26].all()
    assert fold.train[26:].all()
    assert fold.train[:9].all()
    assert fold.purged[9].all()  # looks at row 10
    assert not fold.train[10:26].any()


def test_a_tested_label_that_looks_over_what_follows_purges_up_to_its_end():
    span = np.zeros(40)
    span[5] = 23  # from the first group into the third
    fold = next(CombinatorialPurged(4, 1).split(labelled(np.ones(40), span)))
    assert marked(fold.train) == list(range(29, 40))
    assert marked(fold.purged) == list(range(10, 29))


def test_adjacent_groups_are_one_block():
    label = labelled(np.ones(40), np.full(40, 2))
    folds = list(CombinatorialPurged(4, 2).split(label, lookback=1))
    assert [marked(fold.embargoed) for fold in folds[:2]] == [[22], [12, 32]]
    assert [marked(fold.purged) for fold in folds[:2]] == [[20, 21], [10, 11, 18, 19, 30, 31]]


def test_what_a_label_looks_back_is_part_of_the_embargo():
    close = 50 * np.exp(np.random.default_rng(2).normal(0, 0.01, (1, 300, 2)).cumsum(axis=1))
    bars = Panel(close, pd.date_range("2020-01-01", periods=300, tz="UTC"), ["A", "B"], ["close"])
    label = triple_barrier(bars, horizon=5, window=30)
    for lookback, gap in [(0, 30), (10, 30), (50, 50)]:
        fold = next(PurgedKFold(3).split(label, lookback))
        last = int(np.nanmax(np.arange(100)[:, np.newaxis] + label.plane("span")[:100]))
        assert np.flatnonzero(fold.train.any(axis=1))[0] == last + gap + 1
        assert fold.train.any(axis=1)[last + gap + 1 : 295].all()


@pytest.mark.parametrize("splits", [WalkForward(3, embargo=2), PurgedKFold(4), CombinatorialPurged(5, 2, 7)])
def test_a_splitter_is_its_own_description(splits):
    said = splits.to_dict()
    assert json.loads(json.dumps(said)) == said
    kind = said.pop("kind")
    assert eval(repr(splits)) == splits == globals()[kind](**said)
    assert hash(splits) == hash(eval(repr(splits)))


def test_a_bad_k_fold_or_combination_is_refused_when_it_is_made():
    for kind, given_, match in [
        (PurgedKFold, {"folds": 1}, r"folds=1 is outside \[2"),
        (PurgedKFold, {"embargo": -1}, "embargo=-1 is outside"),
        (PurgedKFold, {"embargo": 0.01}, "embargo=0.01 is float, expected int"),
        (CombinatorialPurged, {"groups": 1}, "groups=1 is outside"),
        (CombinatorialPurged, {"tests": 0}, "tests=0 is outside"),
        (CombinatorialPurged, {"groups": 3, "tests": 3}, "3 tests of 3 groups leave none.*\n.*tests=2"),
        (CombinatorialPurged, {"groups": 30, "tests": 15}, "155,117,520 folds"),
    ]:
        with pytest.raises(ParameterError, match=match):
            kind(**given_)
    label = labelled(np.ones(9), np.ones(9))
    for lookback in (-1, 1.5, "5"):
        with pytest.raises(ParameterError, match=r"PurgedKFold: lookback="):
            list(PurgedKFold(2).split(label, lookback))
    with pytest.raises(DataError, match=r"9 rows are too few for PurgedKFold\(folds=10, embargo=0\): at least 10"):
        list(PurgedKFold(10).split(label))
    with pytest.raises(DataError, match=r"9 rows are too few for CombinatorialPurged\(groups=10.*at least 10"):
        list(CombinatorialPurged(10, 2).split(label))
    with pytest.raises(DataError, match="fold 1 of 2 has no sample to train on .*4 purged, 0 embargoed"):
        list(PurgedKFold(2).split(labelled(np.ones(9), np.full(9, 9.0))))
    for split, roomier in ((PurgedKFold(2), "more folds"), (CombinatorialPurged(4, 2), "more groups or fewer tests")):
        with pytest.raises(DataError, match="no sample to train on .*0 purged, . embargoed") as caught:
            list(split.split(labelled(np.ones(9), np.zeros(9)), lookback=810))
        assert "remember 810 rows, and so many are embargoed after each test" in caught.value.hint
        assert roomier in caught.value.hint
        with pytest.raises(DataError) as caught:
            list(split.split(labelled(np.ones(9), np.zeros(9)), lookback=feature("obv").memory))
        assert "a feature remembers all rows before its own" in caught.value.hint
        with pytest.raises(DataError) as caught:
            list(replace(split, embargo=900).split(labelled(np.ones(9), np.zeros(9)), lookback=810))
        assert "embargo=900 rows" in caught.value.hint
        with pytest.raises(DataError) as purged:
            list(split.split(labelled(np.ones(9), np.full(9, 9.0))))
        assert purged.value.hint == f"take {split.roomier}; or drop rows without data"
        assert not any(word in e.value.hint for e in (caught, purged) for word in ("min_train", "window"))
    values = np.where(np.arange(9) < 6, 1.0, NAN)
    early = labelled(values, np.where(np.isnan(values), NAN, 0.0))
    with pytest.raises(DataError, match="fold 3 of 3 has no label to test on"):
        list(PurgedKFold(3).split(early))
