"""Moments: they add up, what is fitted on them is scikit-learn's, and folds share them without losing a sample."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench.evaluate.fit import shared
from workbench.evaluate.table import runs
from workbench.models._moments import CHUNK, Moments, Ridge, Standardised


def scaler(values, weight=None):
    """scikit-learn's: no oracle where rounding leaves of a constant a variance below 0, and so no deviation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fitted = StandardScaler().fit(values, sample_weight=weight)
    if not np.isfinite(fitted.scale_).all():
        assume(False)
    return fitted


def theirs(alpha, X, y, weight=None):
    """scikit-learn's ridge on standardised features, weighted throughout."""
    scaled = scaler(X, weight)
    return make_pipeline(scaled, TheirRidge(alpha=alpha).fit(scaled.transform(X), y, sample_weight=weight))


@st.composite
def samples(draw):
    """Features of any scale, some constant, some double; a target; and weights or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, features = draw(st.integers(2, 60)), draw(st.integers(1, 8))
    X = rng.standard_normal((n, features))
    for j in range(features):
        kind = draw(st.sampled_from(["plain", "plain", "scaled", "shifted", "constant", "double"]))
        if kind == "scaled":
            X[:, j] *= 10.0 ** draw(st.integers(-9, 9))
        elif kind == "shifted":
            X[:, j] += 10.0 ** draw(st.integers(0, 4))
        elif kind == "constant":
            X[:, j] = draw(st.sampled_from([0.0, 0.1, -7.0, 1e9, 1e-9]))
        elif kind == "double" and j:
            X[:, j] = X[:, 0] * draw(st.sampled_from([1.0, -2.0, 1e3]))
    y = X[:, 0] * rng.standard_normal() + rng.standard_normal(n)
    weight = None if draw(st.booleans()) else rng.uniform(0.01, 3.0, n) * 10.0 ** draw(st.integers(-6, 3))
    if weight is not None:
        weight[rng.random(n) < 0.2] = 0.0
        weight[0] += 1.0
    return X, y, weight


@given(samples(), st.sampled_from([1e-2, 1.0, 30.0, 1e6]))
def test_ridge_is_scikit_learns_on_any_data(case, alpha):
    X, y, weight = case
    ours, their = Ridge(alpha).fit(X, y, sample_weight=weight), theirs(alpha, X, y, weight)
    scale = np.abs(y).max()
    np.testing.assert_allclose(ours.predict(X), their.predict(X), rtol=1e-8, atol=1e-8 * scale)


@pytest.mark.parametrize(("n", "features"), [(10, 40), (30, 30), (2, 3)])
def test_fewer_samples_than_features_have_scikit_learns_solution(n, features):
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, features)), rng.standard_normal(n)
    for alpha in (1e-3, 1.0):
        ours, their = Ridge(alpha).fit(X, y), theirs(alpha, X, y)
        np.testing.assert_allclose(ours.coef_, their[1].coef_ / their[0].scale_, rtol=1e-8, atol=1e-10)
        # and the one solution that the rows span, by the dual system of numpy
        Z = (X - X.mean(axis=0)) / X.std(axis=0)
        dual = Z.T @ np.linalg.solve(Z @ Z.T + alpha * np.eye(n), y - y.mean())
        np.testing.assert_allclose(ours.coef_ * X.std(axis=0), dual, rtol=1e-8, atol=1e-10)


def standard(X, y, weight=None):
    """Features and target with mean 0 and deviation 1, by scikit-learn."""
    both = [scaler(values, weight) for values in (X, y[:, np.newaxis])]
    return both, both[0].transform(X), both[1].transform(y[:, np.newaxis])[:, 0]


def loss(coef, Z, v, weight, alpha, share) -> float:
    """What the elastic net minimises, on standardised samples."""
    penalty = share * np.abs(coef).sum() + (1 - share) / 2 * coef @ coef
    return float(np.average((v - Z @ coef) ** 2, weights=weight) / 2 + alpha * penalty)


@given(samples(), st.sampled_from([1e-6, 1e-3, 0.1, 0.6]), st.sampled_from([1.0, 0.3]))
def test_penalised_fits_are_as_good_as_scikit_learns_on_any_data(case, alpha, share):
    """Among collinear features the coefficients are not told apart: then what they minimise is compared."""
    X, y, weight = case
    tol = 1e-8
    (features, target), Z, v = standard(X, y, weight)
    solver = ElasticNet(alpha=alpha, l1_ratio=share, fit_intercept=False, tol=tol, max_iter=100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of two twins with hardly any penalty
        ours = Standardised(solver).fit(X, y, sample_weight=weight)
        their = ElasticNet(**solver.get_params()).fit(Z, v, sample_weight=weight)
    mine = ours.coef_ * features.scale_ / target.scale_
    found, expected = (loss(coef, Z, v, weight, alpha, share) for coef in (mine, their.coef_))
    assert found <= expected + tol * np.average(v**2, weights=weight) + 1e-14
    np.testing.assert_allclose(ours.predict(features.mean_[np.newaxis]), target.mean_, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("alpha", "share"), [(0.3, 1.0), (0.01, 1.0), (1e-5, 1.0), (0.05, 0.4)])
def test_on_features_that_tell_themselves_apart_coefficients_are_scikit_learns(alpha, share, weighted):
    rng = np.random.default_rng(4)
    n = 2 * CHUNK + 17
    X = 5 + rng.normal(size=(n, 6)) @ (np.eye(6) + 0.1 * rng.normal(size=(6, 6))) * [1, 100, 0.01, 1, 1, 3]
    y = X @ [1, 0.01, 30, 0, 0, -0.2] + 3 * rng.normal(size=n)
    weight = rng.uniform(0, 2, n) if weighted else None
    (features, target), Z, v = standard(X, y, weight)
    for tol in (1e-14, 1e-8):
        given = {"alpha": alpha, "l1_ratio": share, "tol": tol, "max_iter": 100_000}
        their = ElasticNet(**given).fit(Z, v, sample_weight=weight)
        ours = Standardised(ElasticNet(**given, fit_intercept=False)).fit(X, y, sample_weight=weight)
        expected = their.coef_ * target.scale_ / features.scale_
        np.testing.assert_allclose(ours.coef_, expected, rtol=1e-8)
        assert ours.estimator_.n_iter_ == their.n_iter_
        assert ours.converged_


def test_a_solver_on_moments_that_is_cut_short_stands_where_scikit_learns_does():
    """Few sweeps over features that are nearly one: as many are made, they lead as far, and it says so."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(400, 1)) + 0.05 * rng.normal(size=(400, 6))
    y = X @ rng.normal(size=6) + rng.normal(size=400)
    (features, target), Z, v = standard(X, y)
    for sweeps in (1, 10, 40):
        solver = ElasticNet(alpha=1e-6, l1_ratio=1.0, tol=1e-8, max_iter=sweeps, fit_intercept=False)
        with pytest.warns(ConvergenceWarning):
            ours = Standardised(solver).fit(X, y)
        with pytest.warns(ConvergenceWarning):
            their = ElasticNet(**solver.get_params()).fit(Z, v)
        assert not ours.converged_
        assert ours.estimator_.n_iter_ == their.n_iter_ == sweeps
        np.testing.assert_allclose(ours.coef_ * features.scale_ / target.scale_, their.coef_, rtol=1e-7)


@pytest.mark.parametrize("weights", [None, 1.0, 1e-9, 1e9])
@pytest.mark.parametrize("constant", [0.1, 1e8 + 0.1, -1e-300])
def test_a_constant_feature_weighs_nothing_however_samples_weigh(weights, constant):
    """Rounding leaves a constant with some variance: that of 0.1 over many samples is not 0."""
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.standard_normal(2 * CHUNK), np.full(2 * CHUNK, constant)])
    y = X[:, 0] + rng.standard_normal(len(X))
    weight = None if weights is None else rng.uniform(0.5, 1.5, len(X)) * weights
    fit = Ridge(1e-12).fit(X, y, sample_weight=weight)  # a penalty that is small beside all weights
    assert fit.coef_[1] == 0.0
    assert fit.coef_[0] == pytest.approx(1.0, abs=0.05)


def test_samples_that_weigh_nothing_are_refused():
    X, y = np.eye(4), np.arange(4.0)
    with pytest.raises(ValueError, match="non-zero|weigh nothing"):
        Ridge().fit(X, y, sample_weight=np.zeros(4))
    with pytest.raises(ValueError, match="the 4 samples weigh nothing"):
        Ridge().fit_moments(Moments.of(X, y, np.zeros(4)))
    with pytest.raises(ValueError, match="[Nn]egative"):
        Ridge().fit(X, y, sample_weight=np.array([1.0, 1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="NaN"):
        Ridge().fit(X, y, sample_weight=np.array([1.0, 1.0, np.nan, 1.0]))


def test_a_weight_is_a_number_of_copies():
    rng = np.random.default_rng(5)
    X, y, times = rng.standard_normal((80, 3)), rng.standard_normal(80), rng.integers(0, 4, 80)
    weighted = Ridge(2.0).fit(X, y, sample_weight=times)
    copied = Ridge(2.0).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coef_, copied.coef_, rtol=1e-12)
    assert weighted.intercept_ == pytest.approx(copied.intercept_, rel=1e-12)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3 * CHUNK),
    st.lists(st.floats(0, 1), max_size=6),
    st.sampled_from([0.0, 1e4, 1e8, -1e8]),
    st.booleans(),
)
def test_moments_of_parts_add_up_to_numpys_of_the_whole(seed, n, cuts, offset, weighted):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, 3)) + offset, rng.standard_normal(n) - offset
    weight = rng.uniform(0.1, 2.0, n) if weighted else np.ones(n)
    edges = [0, *sorted(int(cut * n) for cut in cuts), n]
    parts = [
        Moments.of(X[a:b], y[a:b], weight[a:b] if weighted else None) for a, b in itertools.pairwise(edges) if a < b
    ]
    found = Moments.merged(parts)
    both = np.column_stack([X, y]).astype(np.longdouble)
    mean = weight @ both / weight.sum()
    expected = ((both - mean) * weight[:, np.newaxis]).T @ (both - mean)
    assert found.count == n
    assert found.weight == pytest.approx(weight.sum(), rel=1e-13)
    np.testing.assert_allclose(found.mean, mean.astype(float), rtol=1e-14, atol=1e-14)
    # numbers near 1e8 are known to 1.5e-8: no sum over them can be better
    near = weight.sum() * max(1e-12, abs(offset) * 1e-15)
    np.testing.assert_allclose(found.product, expected.astype(float), rtol=1e-10, atol=near)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 40))))
def test_sets_that_folds_share_hold_each_sample_once_and_make_up_each_fold(masks):
    sets, parts = shared(list(masks))
    held = np.zeros(masks.shape[1], dtype=int)
    numbers = []
    for at in sets:
        chosen = np.zeros(masks.shape[1], dtype=bool)
        for a, b in at:
            assert a < b
            chosen[a:b] = True
        held += chosen
        numbers.append(chosen)
        trained = masks[:, chosen]
        assert (trained == trained[:, :1]).all()  # by just the same folds
        assert trained.any()
    np.testing.assert_array_equal(held, masks.any(axis=0))  # each that is trained on in one set, no other in any
    assert len({masks[:, chosen][:, 0].tobytes() for chosen in numbers}) == len(sets)  # no two sets for one
    for mask, chosen in zip(masks, parts, strict=True):
        assert len(set(chosen)) == len(chosen)
        union = np.zeros(len(mask), dtype=bool)
        for i in chosen:
            union |= numbers[i]
        np.testing.assert_array_equal(union, mask)
    first = [at[0, 0] for at in sets]
    assert first == sorted(first)


@given(arrays(bool, st.integers(0, 30)))
def test_runs_are_the_stretches_of_true(mask):
    again = np.zeros(len(mask), dtype=bool)
    for a, b in runs(mask):
        assert mask[a:b].all()
        assert a < b
        assert not (b < len(mask) and mask[b])
        again[a:b] = True
    np.testing.assert_array_equal(again, mask)


def test_a_penalty_below_rounding_still_gives_finite_weights():
    """Two equal features and hardly any penalty: the system is singular to rounding."""
    rng = np.random.default_rng(8)
    x, noise = rng.standard_normal((2, 5000))
    X, y = np.column_stack([x, x, x]), x + noise
    fit = Ridge(1e-13).fit(X, y)
    slope, intercept = np.polyfit(x, y, 1)
    assert np.abs(fit.coef_).max() < 10
    np.testing.assert_allclose(fit.predict(X), slope * x + intercept, rtol=1e-6, atol=1e-8)
