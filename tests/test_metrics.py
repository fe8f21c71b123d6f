"""Measures against scipy, scikit-learn and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from studies import by_scipy

from workbench import labels
from workbench.errors import DataError
from workbench.evaluate import hit_rate, ic, r2_oos, rank_ic
from workbench.evaluate.metrics import is_signed, measured
from workbench.sources import load

NAN = float("nan")


@pytest.mark.parametrize(("measure", "correlation"), [(ic, stats.pearsonr), (rank_ic, stats.spearmanr)])
@pytest.mark.parametrize("seed", range(5))
def test_ic_is_the_mean_of_scipys_correlations(measure, correlation, seed):
    draw = np.random.default_rng(seed)
    score, label = draw.standard_normal((2, 60, 7))
    label += score
    score = np.round(score, 1)  # ties
    for plane in (score, label):
        plane[draw.random(plane.shape) < 0.3] = np.nan
    score[3], label[4], score[5, 2:] = 0.1, np.nan, np.nan
    assert measure(score, label) == pytest.approx(by_scipy(correlation, score, label), rel=1e-12)


def exactly(x, y):
    """Pearson's correlation in fractions, rounded at the end."""
    x, y = ([Fraction(float(v)) for v in row] for row in (x, y))
    x, y = ([v - sum(row) / len(row) for v in row] for row in (x, y))
    xx, xy, yy = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))
    return math.sqrt(xy * xy / (xx * yy)) * (1 if xy > 0 else -1)


@pytest.mark.parametrize(
    "of",
    [
        lambda x: 1 + 1e-15 * x,  # a few units of the last place apart
        lambda x: 1e6 + x,
        lambda x: 1e-310 * x,
        lambda x: 5e-324 * np.round(x),
        lambda x: 1e308 * np.clip(x, -1.7, 1.7),  # whose range overflows
        lambda x: np.where(x == x.max(), 1e300, x),
    ],
)
def test_a_row_far_from_one_has_its_correlation_to_the_last_digits(of):
    x, y = np.random.default_rng(7).standard_normal((2, 200))
    assert ic([of(x)] * 2, [y] * 2) == pytest.approx(exactly(of(x), y), rel=1e-13)
    assert ic([y] * 2, [-of(x)] * 2) == pytest.approx(-exactly(of(x), y), rel=1e-13)


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 2)])
def test_ic_of_fewer_than_three_symbols_is_taken_over_all_samples(shape):
    score, label = np.random.default_rng(1).standard_normal((2, *shape))
    score.flat[7] = label.flat[9] = np.nan
    kept = ~np.isnan(score) & ~np.isnan(label)
    assert ic(score, label) == pytest.approx(stats.pearsonr(score[kept], label[kept]).statistic)
    assert rank_ic(score, label) == pytest.approx(stats.spearmanr(score[kept], label[kept]).statistic)


def test_measures_by_hand():
    score = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]])
    label = np.array([[10.0, 20.0, 30.0], [3.0, 2.0, 1.0], [-2.0, 7.0, 0.0]])
    assert ic(score[:2], label[:2]) == pytest.approx(0.0, abs=1e-15)  # 1 and -1
    assert rank_ic(score[:1], [[1.0, 8.0, 1e9]]) == pytest.approx(1.0)
    assert ic(score[:1], [[1.0, 2.0, 2.0]]) == pytest.approx(np.sqrt(3) / 2)
    assert hit_rate(score, label) == 1.0  # of seven: two zeros are left out
    assert hit_rate([1.0, -1.0, 2.0, NAN], [1.0, 1.0, -1.0, 1.0]) == pytest.approx(1 / 3)
    assert r2_oos([1.0, 2.0], [2.0, 4.0]) == pytest.approx(1 - 5 / 20)
    assert r2_oos([1.0, 2.0, NAN], [2.0, 4.0, 9.0], benchmark=3.0) == pytest.approx(1 - 5 / 2)
    assert r2_oos(label, label) == 1.0
    assert r2_oos(np.zeros((3, 3)), label) == 0.0


@pytest.mark.parametrize("measure", [ic, rank_ic, hit_rate, r2_oos])
def test_what_is_not_defined_is_nan_and_what_is_wrong_an_error(measure):
    empty = np.full((4, 5), NAN)
    assert np.isnan(measure(empty, empty))
    assert np.isnan(measure(np.empty((0, 5)), np.empty((0, 5))))
    assert np.isnan(measure(empty, np.ones((4, 5))))
    with pytest.raises(DataError, match=r"\(4, 5\) and labels \(4, 4\)"):
        measure(empty, empty[:, 1:])
    with pytest.raises(DataError, match="1 of the labels are infinite"):
        measure(np.ones(2), np.array([1.0, np.inf]))


@pytest.mark.parametrize("constant", [0.1, 0.1 + 0.2, 1e-300, -7.0])
def test_a_constant_score_has_no_ic(constant):
    label = np.random.default_rng(0).standard_normal((20, 7))
    assert np.isnan(ic(np.full((20, 7), constant), label))
    assert np.isnan(rank_ic(np.full((20, 7), constant), label))


def test_ic_does_not_depend_on_units():
    score, label = np.random.default_rng(0).standard_normal((2, 30, 6))
    for scale in (1e-200, 1e-3, 1e200):
        assert ic(score * scale, label) == pytest.approx(ic(score, label), rel=1e-12)
    assert ic(-score, label) == pytest.approx(-ic(score, label))
    assert rank_ic(np.exp(score), label) == rank_ic(score, label)


@pytest.mark.parametrize(
    ("signed", "label"),
    [
        (True, lambda bars: labels.forward_return(bars)),
        (True, lambda bars: labels.forward_sign(bars)),
        (True, lambda bars: labels.triple_barrier(bars, horizon=5)),
        (False, lambda bars: labels.triple_barrier(bars, horizon=5, down=0)),
        (False, lambda bars: labels.triple_barrier(bars, horizon=5, up=0)),
        (False, lambda bars: labels.forward_quantile(bars, horizon=2, quantiles=2)),
        (False, lambda bars: labels.forward_quantile(bars, horizon=2, quantiles=5)),
    ],
)
def test_classes_on_one_side_of_zero_have_no_sign(signed, label):
    """A coin that is thrown above 0 hits half of the signs there are, and all of them where there are none."""
    plane = label(load("synthetic", symbols=6, years=1.0, seed=1)).values[0]
    assert is_signed(plane) is signed
    score = np.where(np.isnan(plane), NAN, np.random.default_rng(3).uniform(0.1, 0.9, plane.shape))
    found = measured(score, plane, is_signed(plane))
    assert [math.isnan(found[name]) for name in ("hit_rate", "r2")] == [not signed] * 2
    assert not math.isnan(found["rank_ic"])


def test_returns_keep_their_sign_where_all_of_them_rise():
    rising = np.array([[0.0, 0.02, NAN], [0.0, 0.01, 1.0]])
    assert is_signed(rising)
    assert is_signed(-rising)
    assert measured([[-1.0, 1.0, 1.0]] * 2, rising, True)["hit_rate"] == 1.0
    assert is_signed(np.full((2, 2), NAN))
