"""The figure of a split: what it draws are the folds' own masks, and it stays small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import DataError, ParameterError, UnknownNameError
from workbench.evaluate import CombinatorialPurged, PurgedKFold, WalkForward
from workbench.panel import Panel
from workbench.report.figures import splits
from workbench.report.figures.splits import LINES, RUNS

STATES = ("train", "purged", "embargoed", "test")


def labelled(rows, columns, longest=0, holes=0.0, seed=0, freq="D"):
    """A label with spans up to `longest` and with holes, the first symbol without any."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, columns))
    values[:, 1:][draw.random((rows, columns - 1)) < holes] = np.nan
    span = np.where(np.isnan(values), np.nan, draw.integers(0, longest + 1, values.shape))
    time = pd.date_range("2001-01-01", periods=rows, freq=freq, tz="UTC")
    return Panel(np.stack([values, span]), time, [f"S{j}" for j in range(columns)], ["x", "span"])


def masks_of(fold, label):
    test = fold.in_test[:, np.newaxis] & ~np.isnan(label.values[0])
    return {"train": fold.train, "purged": fold.purged, "embargoed": fold.embargoed, "test": test}


def runs_of(figure, label):
    """(state, fold, symbol, first row, last row, samples) of each bar, as its hover says it."""
    row = {t.strftime("%Y-%m-%d"): i for i, t in enumerate(label.time)}
    for bars in figure.data:
        for fold, symbol, first, last, samples, _ in bars.customdata:
            yield bars.name, fold, label.symbols.index(symbol), row[first], row[last], samples


@settings(max_examples=15)
@given(
    st.sampled_from([WalkForward(3, embargo=2), PurgedKFold(4), CombinatorialPurged(4, 2, embargo=1)]),
    st.integers(80, 130),  # of fewer rows the embargo may leave nothing to train on, which is refused
    st.integers(1, 4),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 9),
)
def test_what_is_drawn_are_the_masks(splitter, rows, columns, longest, holes, lookback):
    label = labelled(rows, columns, longest, holes, seed=rows)
    figure = splits(splitter, label, lookback)
    folds = list(splitter.split(label, lookback))
    drawn = {(f.number, state): np.zeros((rows, columns), dtype=bool) for f in folds for state in STATES}
    for state, fold, symbol, first, last, samples in runs_of(figure, label):
        assert samples == last - first + 1
        assert not drawn[fold, state][first : last + 1, symbol].any()
        drawn[fold, state][first : last + 1, symbol] = True
    for fold in folds:
        for state, mask in masks_of(fold, label).items():
            np.testing.assert_array_equal(drawn[fold.number, state], mask)


def test_a_bar_stands_in_its_band_from_its_first_row_to_the_row_after_its_last():
    label = labelled(60, 3, 4)
    figure = splits(PurgedKFold(3), label, 5)
    days = label.time.strftime("%Y-%m-%d")
    for bars in figure.data:
        for (fold, symbol, first, last, _, total), base, x, y in zip(
            bars.customdata, bars.base, bars.x, bars.y, strict=True
        ):
            assert base == first
            after = pd.Timestamp(first) + pd.Timedelta(x, "ms")
            assert after == pd.Timestamp(last) + pd.Timedelta(days=1)
            assert first in days
            assert round(float(y)) == fold
            assert (y > fold) == (symbol == "S2")
            assert total == masks_of(list(PurgedKFold(3).split(label, 5))[fold - 1], label)[bars.name].sum()
    assert figure.layout.yaxis.range == (3.5, 0.5)  # the first fold above
    assert figure.layout.barmode == "overlay"
    ranked = sorted(figure.data, key=lambda bars: bars.legendrank)
    assert tuple(bars.name for bars in ranked) == STATES


@pytest.mark.parametrize(("longest", "holes"), [(60, 0.0), (60, 0.2), (200, 0.6)])
def test_twenty_symbols_over_thirty_years_are_small(longest, holes):
    label = labelled(8000, 20, longest, holes)
    figure = splits(PurgedKFold(10), label, 120)
    assert sum(len(bars.y) for bars in figure.data) <= RUNS
    assert len(figure.to_json()) < 350_000
    folds = list(PurgedKFold(10).split(label, 120))
    counted = dict.fromkeys(STATES, 0)
    for state, fold, symbol, first, last, samples in runs_of(figure, label):
        mask = masks_of(folds[fold - 1], label)[state][:, symbol]
        assert mask[first]
        assert mask[last]
        assert samples == mask[first : last + 1].sum() or figure.layout.xaxis.title.text
        counted[state] += samples
    everything = {state: sum(masks_of(fold, label)[state].sum() for fold in folds) for state in STATES}
    assert counted["test"] == everything["test"]  # what goes before all others is never merged away
    assert all(counted[state] <= everything[state] for state in STATES)
    if holes:
        assert "drawn in steps of" in figure.layout.xaxis.title.text


def test_symbols_are_chosen():
    label = labelled(60, 40)
    figure = splits(WalkForward(2), label)
    drawn = {entry[1] for bars in figure.data for entry in bars.customdata}
    assert len(drawn) == LINES
    assert {"S0", "S39"} <= drawn
    assert f"{LINES} of 40 symbols" in figure.layout.title.text
    two = splits(WalkForward(2), label, symbols=["S7", "S3"], title="a < b")
    assert {entry[1] for bars in two.data for entry in bars.customdata} == {"S7", "S3"}
    assert two.layout.title.text == "a &lt; b"
    assert "1 symbol" in splits(WalkForward(2), labelled(20, 1)).layout.title.text


def test_times_within_a_day_are_kept():
    figure = splits(PurgedKFold(2), labelled(10, 1, freq="h"))
    test = next(bars for bars in figure.data if bars.name == "test")
    assert list(test.base) == ["2001-01-01T00:00:00", "2001-01-01T05:00:00"]
    assert list(test.x) == [5 * 3_600_000] * 2


def test_bad_input_is_named():
    label = labelled(30, 2)
    with pytest.raises(ParameterError, match="splits: found int, expected a splitter"):
        splits(5, label)
    with pytest.raises(UnknownNameError, match="S9"):
        splits(PurgedKFold(3), label, symbols="S9")
    with pytest.raises(ParameterError, match="the label is a DataFrame"):
        splits(PurgedKFold(3), label["x"])
    with pytest.raises(DataError, match="30 rows are too few"):
        splits(PurgedKFold(31), label)
