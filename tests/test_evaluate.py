"""Splits that never overlap."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from workbench.errors import DataError, ParameterError
from workbench.evaluate import WalkForward
from workbench.panel import Panel

NAN = float("nan")


def labelled(values, span) -> Panel:
    """A label panel from two (T, N) planes."""
    values, span = (np.asarray(x, dtype=float) for x in (values, span))
    values, span = (x[:, np.newaxis] if x.ndim == 1 else x for x in (values, span))
    time = pd.date_range("2020-01-01", periods=len(values), freq="D", tz="UTC")
    names = [f"S{j}" for j in range(values.shape[1])]
    return Panel(np.stack([values, span]), time, names, ["forward_return", "span"])


# ---------------------------------------------------------------------- splits


@st.composite
def split_cases(draw):
    """A label with any spans and any listings, and a walk-forward that fits it or not."""
    rows, symbols = draw(st.integers(4, 40)), draw(st.integers(1, 4))
    spans = draw(st.lists(st.integers(0, 12), min_size=rows * symbols, max_size=rows * symbols))
    span = np.array(spans, dtype=float).reshape(rows, symbols)
    values = np.ones((rows, symbols))
    for j in range(symbols):  # ragged listings, and holes
        values[: draw(st.integers(0, rows)), j] = NAN
        values[draw(st.integers(0, rows - 1)), j] = NAN
    span[np.isnan(values)] = NAN
    rolling = draw(st.booleans())
    some = st.none() | st.integers(1, 15)
    splits = WalkForward(
        folds=draw(st.integers(1, 5)),
        window="rolling" if rolling else "expanding",
        train=draw(some) if rolling else None,
        test=draw(some),
        min_train=draw(some),
        embargo=draw(st.integers(0, 5)),
    )
    return labelled(values, span), splits


@given(split_cases())
def test_no_label_that_is_trained_on_reaches_a_test_row_and_nothing_else_is_dropped(case):
    label, splits = case
    rows = len(label.time)
    try:
        folds = list(splits.split(label))
    except DataError:
        return
    values, span = label.plane("forward_return"), label.plane("span")
    bounds = splits.bounds(rows)
    for fold, (begin, start, stop) in zip(folds, bounds, strict=True):
        assert fold.test.tolist() == list(range(start, stop))
        assert np.flatnonzero(fold.in_test).tolist() == fold.test.tolist()
        for t, j in np.ndindex(values.shape):
            known = not np.isnan(values[t, j])
            inside = known and begin <= t < start
            ends_before = known and t + span[t, j] < start
            clear = known and t + span[t, j] + splits.embargo < start
            assert fold.train[t, j] == (inside and clear)
            assert fold.purged[t, j] == (inside and not ends_before)
            assert fold.embargoed[t, j] == (inside and ends_before and not clear)
    tested = np.concatenate([fold.test for fold in folds])
    assert tested.tolist() == list(range(tested[0], rows))  # disjoint, consecutive, up to the end
    assert len({len(fold.test) for fold in folds}) == 1
    assert [fold.number for fold in folds] == list(range(1, splits.folds + 1))
    if splits.test is not None:
        assert len(folds[0].test) == splits.test
    if splits.min_train is not None:
        assert bounds[0][1] >= splits.min_train
    if splits.window == "rolling":
        assert len({start - begin for begin, start, _ in bounds}) == 1
        assert splits.train in (None, bounds[0][1] - bounds[0][0])
    else:
        assert {begin for begin, _, _ in bounds} == {0}


def test_most_drawn_splits_are_valid():
    drawn, valid = [], []

    @given(split_cases())
    def count(case):
        label, splits = case
        drawn.append(1)
        with contextlib.suppress(DataError):
            valid.append(len(list(splits.split(label))))

    count()
    assert len(valid) > len(drawn) / 4


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


def test_purging_is_sharp_and_by_symbol():
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
    with pytest.raises(DataError, match="fold 1 of 2 has no sample to train on.*10 purged, 0 embargoed"):
        list(WalkForward(folds=2).split(labelled(np.ones((30, 1)), np.full((30, 1), 20.0))))
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
