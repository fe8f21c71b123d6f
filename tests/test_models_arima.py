"""ARIMA: published values, exact likelihoods, causality to the bit, coverage of intervals, bad input."""

from __future__ import annotations

import importlib

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multivariate_normal
from series import AIR, AIRLINE, fitted, orders, predicted, simulated
from sklearn.exceptions import ConvergenceWarning
from statsmodels.datasets import macrodata, nile
from statsmodels.tsa.arima.datasets.brockwell_davis_2002 import lake
from statsmodels.tsa.arima.model import ARIMA
from statsmodels.tsa.arima_process import arma_acovf
from statsmodels.tsa.statespace.tests.results import results_sarimax as stata

from workbench.errors import DataError, ParameterError, UnknownNameError
from workbench.models import Context, ModelSpec, _sarimax
from workbench.models._sarimax import Orders, fit_series, predict_rows

WPI = np.array(stata.wpi1_data)


# ---------------------------------------------------------------- certified and published


def test_the_airline_model_is_the_published_one():
    fit = fit_series(AIR, AIRLINE)
    assert fit.converged
    np.testing.assert_allclose(fit.params[:2], [-0.4018, -0.5569], atol=1e-4)
    assert fit.params[2] == pytest.approx(stata.air2_stationary["params_variance"][0], rel=1e-3)
    for name, value in (("loglik", fit.loglik), *((n, fit.criterion(n)) for n in ("aic", "bic"))):
        assert value == pytest.approx(stata.air2_stationary[{"loglik": "loglike"}.get(name, name)], abs=1e-3)
    assert fit.loglik == pytest.approx(244.6965, abs=1e-4)


def test_the_airline_forecast_is_that_of_r():
    """predict(arima(log(AirPassengers), c(0, 1, 1), list(order = c(0, 1, 1), period = 12)), 3)."""
    found = _sarimax.forecast(fit_series(AIR, AIRLINE), AIR, 3, 0.95)
    np.testing.assert_allclose(found[0], [6.110186, 6.053775, 6.171715], atol=1e-5)
    np.testing.assert_allclose((found[2] - found[0]) / 1.959964, [0.03671562, 0.04278291, 0.04809072], rtol=1e-3)


def test_wpi1_with_its_constant_is_the_published_one():
    fit = fit_series(WPI, orders(1, 1, 1, True))
    truth = stata.wpi1_stationary
    assert fit.loglik == pytest.approx(-135.3513, abs=1e-4)
    assert fit.criterion("aic") == pytest.approx(truth["aic"], abs=1e-3)
    assert fit.criterion("bic") == pytest.approx(truth["bic"], abs=1e-3)
    expected = [truth["params_mean"][0], truth["params_ar"][0], truth["params_ma"][0], truth["params_variance"][0]]
    np.testing.assert_allclose(fit.params, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["111", "111nc", "112", "112nc", "211", "211nc"])
def test_inflation_is_what_stata_says(name):
    """The consumer price index of statsmodels' macrodata, estimated by Stata."""
    index = macrodata.load_pandas().data["cpi"].to_numpy()
    truth = importlib.import_module(f"statsmodels.tsa.tests.results.arima{name}_results").results
    p, d, q = map(int, name[:3])
    constant = not name.endswith("nc")
    fit = fit_series(index, orders(p, d, q, constant))
    assert fit.converged
    there = np.r_[truth.params[:-1], truth.params[-1] ** 2]
    assert _sarimax.loglik(index, fit.orders, there, 0) == pytest.approx(float(truth.llf[0]), abs=1e-3)
    if name == "112":  # Stata stopped on the edge of invertibility, at a lower maximum
        assert fit.loglik > truth.llf[0] + 5
        return
    assert fit.loglik == pytest.approx(float(truth.llf[0]), abs=1e-3)
    np.testing.assert_allclose(fit.params[:-1], truth.params[:-1], atol=5e-3)
    assert np.sqrt(fit.params[-1]) == pytest.approx(float(truth.sigma[0]), rel=1e-3)


def test_wpi1_of_a_third_order_is_what_stata_says():
    truth, fit = stata.wpi1_ar3, fit_series(WPI, orders(3, 1, 0))
    np.testing.assert_allclose(fit.params, [*truth["params_ar"], truth["params_variance"][0]], atol=1e-3)
    assert fit.loglik == pytest.approx(truth["loglike"], abs=1e-3)


def test_lake_huron_is_that_of_brockwell_and_davis():
    """Introduction to Time Series and Forecasting, 2002, example 5.2.5; and R's arima(LakeHuron, c(2, 0, 0))."""
    level = lake.to_numpy()
    fit = fit_series(level - level.mean(), orders(1, 0, 1))
    np.testing.assert_allclose(fit.params, [0.7446, 0.3213, 0.4750], atol=1e-4)
    fit = fit_series(level + 570, orders(2, 0, 0, True))
    np.testing.assert_allclose(fit.params, [579.0473, 1.0436, -0.2495, 0.4788], atol=1e-3)
    assert fit.loglik == pytest.approx(-103.63, abs=0.01)
    assert fit.criterion("aic") == pytest.approx(215.27, abs=0.01)


def test_the_nile_is_that_of_durbin_and_koopman():
    """Their local level (2012, section 2.10: variances 15099 and 1469.1) is an ARIMA(0, 1, 1)."""
    noise, drift = 15099.0, 1469.1
    q = drift / noise
    theta = (np.sqrt(q**2 + 4 * q) - q - 2) / 2
    fit = fit_series(nile.load_pandas().data["volume"].to_numpy(), orders(0, 1, 1))
    assert fit.params[0] == pytest.approx(theta, abs=1e-3)
    assert fit.params[1] == pytest.approx(-noise / theta, rel=1e-3)


# ---------------------------------------------------------------- the likelihood, against its definition


@pytest.mark.parametrize("d", [0, 1])
def test_missing_values_cost_themselves_and_nothing_else(d):
    """The likelihood of what is there is the normal density of its contrasts, whatever is missing."""
    y = simulated(60, 5, d=d)
    y[[0, 1, 7, 20, 21, 22, 40, 59]] = np.nan
    fit = fit_series(y, orders(1, d, 1))
    ar, ma, variance = fit.params
    cover = arma_acovf([1, -ar], [1, ma], nobs=60, sigma2=variance)
    cover = cover[np.abs(np.subtract.outer(np.arange(60), np.arange(60)))]
    to_levels = np.tril(np.ones((60, 60))) if d else np.eye(60)
    there = np.flatnonzero(~np.isnan(y))
    contrasts, cover = y[there], (to_levels @ cover @ to_levels.T)[np.ix_(there, there)]
    if d:
        difference = np.eye(len(there))[1:] - np.eye(len(there))[:-1]
        contrasts, cover = difference @ contrasts, difference @ cover @ difference.T
    assert fit.loglik == pytest.approx(multivariate_normal(cov=cover).logpdf(contrasts), rel=1e-8)
    assert fit.labels == 52


@given(st.floats(-6, 6), st.floats(-100, 100), st.integers(0, 1))
@settings(max_examples=15)
def test_the_unit_of_a_series_changes_nothing(power, shift, d):
    y, unit = simulated(150, 3, d=d), 10.0**power
    one = fit_series(y, orders(1, d, 1, True))
    other = fit_series((y + shift) * unit, orders(1, d, 1, True))
    assert other.converged
    np.testing.assert_allclose(other.params[1:3], one.params[1:3], atol=2e-4)
    mean = one.params[0] * unit if d else (one.params[0] + shift) * unit
    assert other.params[0] == pytest.approx(mean, abs=2e-3 * unit)
    assert other.params[3] == pytest.approx(one.params[3] * unit**2, rel=1e-3)
    assert other.loglik == pytest.approx(one.loglik - (150 - d) * np.log(unit), abs=1e-3)


def test_the_summary_says_what_we_say():
    estimator = ModelSpec("arima", {"d": 1, "constant": True}).build().fit(np.zeros((124, 1)), WPI)
    text = str(estimator.summary())
    for part in ("drift", "ar.L1", "ma.L1", "-135.351", "278.703", "289.951"):
        assert part in text
    row = estimator.diagnostics().iloc[0]
    assert (round(row["loglik"], 3), round(row["aic"], 3), round(row["bic"], 3)) == (-135.351, 278.703, 289.951)


# ---------------------------------------------------------------- forecasts from what is known


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize(
    "params", [{}, {"d": 1, "p": 2}, {"d": 1, "constant": True}, {"q": 1, "p": 0, "Q": 1, "D": 1, "period": 4}]
)
def test_a_forecast_is_statsmodels_own_from_the_labels_known(params, horizon):
    """Row by row: statsmodels' ARIMA is given the known labels and asked that many rows ahead."""
    label = np.column_stack([simulated(80, s, d=params.get("d", 0)) for s in (1, 2)])
    label[[30, 31, 66, 71], 0] = np.nan
    estimator = fitted(label, 60, horizon, **params)
    rows = np.arange(60, 80, 3)
    found = predicted(estimator, label, rows, horizon)
    for j in (0, 1):
        fit = estimator.series_[j]
        o = fit.orders
        seasonal = (o.P, o.D, o.Q, o.period) if o.D else (0, 0, 0, 0)
        trend = {0: "c", 1: [0, 1]}[o.d + o.D] if o.constant else "n"
        for i, row in enumerate(rows):
            known = label[: row - horizon + 1, j]
            model = ARIMA(known, order=(o.p, o.d, o.q), seasonal_order=seasonal, trend=trend)
            # statsmodels counts its trend from 1; a shift of it is no matter to what is differenced
            expected = model.filter(fit.params, cov_type="none").forecast(horizon)[-1]
            assert found[i, j] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@st.composite
def walks(draw):
    """Labels with gaps, spans that are equal or differ, and a row after which everything is changed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    T, N, horizon = 70, 2, draw(st.integers(1, 4))
    params = draw(
        st.sampled_from([{}, {"d": 1}, {"p": 2, "q": 0}, {"d": 1, "constant": True}, {"D": 1, "Q": 1, "period": 3}])
    )
    label = rng.normal(size=(T, N)).cumsum(axis=0) * (1 if params.get("d") else 0.1)
    label[rng.random((T, N)) < draw(st.sampled_from([0.0, 0.15]))] = np.nan
    span = rng.integers(1, 6, size=(T, N)) if draw(st.booleans()) else np.full((T, N), horizon)
    return label, np.arange(T)[:, None] + span, {**params, "refit": draw(st.sampled_from([0, 4]))}, rng


@given(walks(), st.integers(46, 66))
@settings(max_examples=5)
def test_nothing_after_a_row_changes_a_forecast_on_it_to_the_bit(walk, cut):
    label, end, params, rng = walk
    T, N = label.shape
    row, column = (a.ravel() for a in np.mgrid[:T, :N])
    table = rng.normal(size=(T * N, 2))
    known = np.where(end <= 45, label, np.nan)
    train = ~np.isnan(known[row, column])
    at_fit = Context(row[train], column[train], table, row, column, known, np.where(np.isnan(known), -1, end))
    estimator = ModelSpec("arima", params).build()
    estimator.fit(table[train], known[row[train], column[train]], context=at_fit)
    found = []
    for changed in (False, True, True):
        plane, ends, X = label.copy(), end.copy(), table.copy()
        if changed:  # other values, other spans, other gaps: all that is not known at the cut
            later = end > cut
            plane[later] = np.where(rng.random(later.sum()) < 0.3, np.nan, rng.normal(0, 50, later.sum()))
            ends[later] = np.maximum(cut + 1, end[later] + rng.integers(-2, 9, later.sum()))
            X[row > cut] = rng.normal(size=(int((row > cut).sum()), 2))
            X[row <= cut] += 1.0
        asked = (row >= 46) & (row <= (cut if rng.random() < 0.5 else T))
        at = Context(row[asked], column[asked], X, row, column, plane, np.where(np.isnan(plane), -1, ends))
        found.append(estimator.predict(X[asked], context=at)[row[asked] <= cut])
        assert np.isfinite(found[-1]).all()
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@given(
    st.sampled_from([orders(1, 0, 1, True), orders(2, 1, 1, True), AIRLINE, orders(0, 2, 1, False)]),
    st.integers(1, 6),
    st.sampled_from([0, 1, 40, 150]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_states_found_piece_by_piece_are_those_found_at_once(these, horizon, late, seed):
    draw = np.random.default_rng(seed)
    y = np.cumsum(draw.standard_normal(300))
    y[draw.random(300) < 0.1] = np.nan
    y[:late] = np.nan  # a start that is known late, beyond the first piece too
    end = np.where(np.isnan(y), -1, np.arange(300) + horizon)
    fit = fit_series(y[:200], these)
    rows = draw.permutation(np.arange(20, 310))
    whole = predict_rows(fit, y, np.minimum(end, 299), np.minimum(rows, 299))
    for piece in (1, 7, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_sarimax, "PIECE", piece)
            found = predict_rows(fit, y, np.minimum(end, 299), np.minimum(rows, 299))
        np.testing.assert_allclose(found, whole, rtol=1e-7, atol=1e-7)  # when the gain has settled is looked at anew


def test_spans_that_differ_are_forecast_from_the_labels_known():
    label, rng = simulated(60, 8)[:, None], np.random.default_rng(0)
    end = (np.arange(60) + rng.integers(1, 7, 60))[:, None]
    fit = fit_series(label[:40, 0], orders(1, 0, 1, True))
    rows = np.arange(40, 60)
    found = predict_rows(fit, label[:, 0], end[:, 0], rows)
    for i, row in enumerate(rows):
        masked = np.where(end[: row + 1, 0] <= row, label[: row + 1, 0], np.nan)
        model = ARIMA(np.append(masked[:row], np.nan), order=(1, 0, 1), trend="c")
        expected = model.filter(fit.params, cov_type="none").predict(row, row)[0]
        assert found[i] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_label_is_never_forecast_from_itself():
    label = simulated(60, 1)[:, None]
    fit = fit_series(label[:40, 0], orders(1, 0, 0, True))
    at_once = predict_rows(fit, label[:, 0], np.arange(60), np.arange(40, 60))
    np.testing.assert_array_equal(at_once, predict_rows(fit, label[:, 0], np.arange(60) + 1, np.arange(40, 60)))


def test_the_schedule_estimates_again_on_what_is_known_and_no_more():
    label = np.concatenate([simulated(60, 1, ar=0.9, ma=0.0), simulated(60, 2, ar=-0.9, ma=0.0)])[:, None]
    rows, horizon = np.arange(60, 120), 2
    still = fitted(label, 60, horizon, q=0)
    moving = fitted(label, 60, horizon, q=0, refit=20)
    assert moving.known_ == 60
    one, other = (predicted(e, label, rows, horizon)[:, 0] for e in (still, moving))
    np.testing.assert_array_equal(other[:20], one[:20])
    end = np.arange(120) + horizon
    for block in (1, 2):
        at = rows[block * 20 : block * 20 + 20]
        again = fit_series(label[end <= 60 + block * 20, 0], orders(1, 0, 0, True))
        expected = predict_rows(again, label[:, 0], end, at)
        np.testing.assert_allclose(other[block * 20 : block * 20 + 20], expected, atol=1e-4)
    assert np.abs(other[40:] - one[40:]).max() > 0.1
    alone = np.concatenate([predicted(moving, label, np.array([r]), horizon)[:, 0] for r in rows])
    np.testing.assert_array_equal(alone, other)


def test_processes_and_one_process_give_the_same_bits():
    label = np.column_stack([simulated(80, s) for s in range(3)])
    params = {"select": "aic", "search": "grid", "q": 0, "refit": 10}
    here = fitted(label, 60, **params)
    with joblib.parallel_config("loky", n_jobs=2):
        there = fitted(label, 60, **params)
        scores = predicted(there, label, np.arange(60, 80))
    np.testing.assert_array_equal(scores, predicted(here, label, np.arange(60, 80)))
    pd.testing.assert_frame_equal(there.tried_, here.tried_)


def test_without_a_context_a_sample_is_the_row_after_the_training_rows():
    y = simulated(80, 2)
    estimator = ModelSpec("arima").build().fit(np.zeros((80, 1)), y)
    expected = ARIMA(y, order=(1, 0, 1)).filter(estimator.series_[0].params, cov_type="none").forecast(1)[0]
    np.testing.assert_allclose(estimator.predict(np.zeros((3, 1))), expected, rtol=1e-9)


# ---------------------------------------------------------------- intervals


COVERED = {
    "ARMA(1,1)": (Orders(1, 0, 1, 0, 0, 0, 1, True), {}),
    "ARIMA(1,1,1)": (Orders(1, 1, 1, 0, 0, 0, 1, False), {"d": 1}),
    "seasonal": (Orders(1, 0, 1, 0, 0, 1, 4, False), {"seasonal_ma": 0.6, "period": 4}),
}


@pytest.mark.parametrize("name", COVERED)
def test_intervals_hold_the_truth_as_often_as_they_say(name):
    """40 series, estimated on 300 rows and forecast from 5 later ones: counts in the middle 99.8 % of their law."""
    chosen, made = COVERED[name]
    held = dict.fromkeys([(0.8, 1), (0.8, 8), (0.95, 1), (0.95, 8)], 0)
    for seed in range(40):
        y = simulated(400, 1000 + seed, **made)
        fit = fit_series(y[:300], chosen)
        for until in range(300, 400, 20):
            for level in (0.8, 0.95):
                _, lower, upper = _sarimax.forecast(fit, y[:until], 8, level)
                for ahead in (1, 8):
                    truth = y[until + ahead - 1]
                    held[level, ahead] += int(lower[ahead - 1] <= truth <= upper[ahead - 1])
    for (level, ahead), count in held.items():
        low, high = binom.ppf([0.001, 0.999], 200, level)
        assert low <= count <= high, f"{name}, {level:.0%}, {ahead} ahead: {count} of 200"


# ---------------------------------------------------------------- too little, too flat, not found


def test_a_symbol_with_too_few_labels_gets_their_mean():
    label = np.column_stack([simulated(60, 1), simulated(60, 2) + 5, np.full(60, np.nan), np.full(60, 0.1)])
    label[:35, 1] = np.nan
    estimator = fitted(label, 41)
    assert [fit.estimated for fit in estimator.series_] == [True, False, False, False]
    assert estimator.converged_.tolist() == [True, False, False, True]
    found = predicted(estimator, label, np.arange(41, 60))
    train = label[:41]
    np.testing.assert_allclose(found[:, 1], np.nanmean(train[:, 1]), rtol=1e-12)
    np.testing.assert_allclose(found[:, 2], np.nanmean(train), rtol=1e-12)
    np.testing.assert_allclose(found[:, 3], 0.1, rtol=1e-12)
    table = estimator.diagnostics()
    assert table["converged"].tolist() == estimator.converged_.tolist()
    assert table.loc[1, "p":"Q"].tolist() == [0] * 6


def test_a_series_that_is_differenced_and_short_is_a_random_walk():
    label = np.column_stack([simulated(60, 1, d=1), simulated(60, 2, d=1)])
    label[:35, 1] = np.nan
    estimator = fitted(label, 41, d=1)
    found = predicted(estimator, label, np.arange(41, 60))
    np.testing.assert_allclose(found[:, 1], label[40:59, 1], rtol=1e-9)


def test_a_season_that_is_not_known_yet_is_not_made_up():
    """Before one label of each season is known, the forecast is the mean of those that are."""
    label = np.column_stack([simulated(60, 1) + 7, simulated(60, 2) + 7])
    label[:45, 1] = np.nan
    estimator = fitted(label, 41, p=0, q=0, D=1, period=4)
    found = predicted(estimator, label, np.arange(41, 60))[:, 1]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:5], np.nanmean(label[:41, 0]))
    for i, row in enumerate(range(46, 49)):
        assert found[5 + i] == pytest.approx(label[45:row, 1].mean())
    np.testing.assert_allclose(found[8:], label[45:56, 1], rtol=1e-9)


def test_a_straight_line_goes_on_straight():
    y = 3 + 0.5 * np.arange(60.0)
    estimator = ModelSpec("arima", {"d": 1, "constant": True}).build().fit(np.zeros((60, 1)), y)
    assert estimator.converged_.all()
    np.testing.assert_allclose(estimator.forecast(3)[:, :, 0], np.tile(3 + 0.5 * np.arange(60, 63), (3, 1)), rtol=1e-6)


def test_a_maximum_that_is_not_found_is_said_once(monkeypatch):
    monkeypatch.setattr(_sarimax, "_ITERATIONS", 1)
    label = np.column_stack([simulated(80, s) for s in range(3)])
    with pytest.warns(ConvergenceWarning, match="arima: the maximum .* 3 of 3 symbols, number 0, 1, 2") as caught:
        estimator = fitted(label, 60, p=2, q=2)
    assert len(caught) == 1
    assert not estimator.converged_.any()
    assert not estimator.diagnostics()["converged"].any()
    assert np.isfinite(predicted(estimator, label, np.arange(60, 80))).all()
    estimator = estimator.set_params(refit=10)
    with pytest.warns(ConvergenceWarning, match="estimations of the schedule"):
        predicted(estimator, label, np.arange(60, 80))


def test_orders_too_large_for_the_labels_are_said_once():
    label = np.column_stack([simulated(100, 1), simulated(100, 2), simulated(100, 3), np.full(100, 0.1)])
    label[:75, 1] = label[:95, 2] = np.nan
    for d, instead in ((0, "their mean"), (1, "a random walk")):
        says = f"arima: the orders have .* 1 of 4 symbols, number 1; {instead} without ARMA terms is used there"
        with pytest.warns(ConvergenceWarning, match=says) as caught:
            estimator = fitted(label, 100, p=9, q=0, d=d)
        assert len(caught) == 1
        assert [fit.estimated for fit in estimator.series_] == [True, False, False, False]
        assert not estimator.converged_[1]
    with pytest.warns(ConvergenceWarning, match="have 50 parameters, too many .* 1 of 1 symbols, number 0"):
        alone = ModelSpec("arima", {"p": 24, "q": 24}).build().fit(np.zeros((100, 1)), label[:, 0])
    np.testing.assert_allclose(alone.forecast(2)[0, :, 0], label[:, 0].mean())


@pytest.mark.parametrize("seed", range(3))
def test_hard_series_give_finite_numbers_and_no_noise(seed):
    rng = np.random.default_rng(seed)
    jump = np.r_[np.zeros(40), np.full(40, 1e6)] + rng.normal(size=80)
    outlier = np.where(np.arange(80) == 40, 1e9, rng.normal(size=80))
    alternating = np.where(np.arange(80) % 2, 1.0, -1.0) * 1e-8
    trend = np.exp(np.arange(80) / 4.0)
    label = np.column_stack([jump, outlier, alternating, trend, rng.standard_cauchy(80)])
    for params in ({"p": 2, "q": 2}, {"d": 1}, {"d": 2, "constant": False}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workbench.models._arima._warn", lambda *_: None)
            estimator = fitted(label, 60, **params)
        assert np.isfinite(predicted(estimator, label, np.arange(60, 80))).all()


# ---------------------------------------------------------------- diagnostics


def test_residuals_speak_against_a_model_that_is_wrong():
    label = np.column_stack([simulated(400, 1, ar=0.7, ma=0.5), simulated(400, 1, ar=0.7, ma=0.5)])
    label[200:, 1] *= 4
    wrong, right = (fitted(label, 400, p=p, q=q).diagnostics() for p, q in ((0, 0), (1, 1)))
    assert wrong.loc[0, "ljung_box"] < 1e-6 < 0.01 < right.loc[0, "ljung_box"]
    assert right.loc[0, "heteroskedasticity"] > 0.01 > 1e-6 > right.loc[1, "heteroskedasticity"]
    assert right.loc[0, "jarque_bera"] > 0.01 > right.loc[1, "jarque_bera"]


def test_diagnostics_are_the_tests_of_statsmodels():
    from statsmodels.stats.diagnostic import acorr_ljungbox

    estimator = ModelSpec("arima", {"p": 0, "d": 1, "D": 1, "Q": 1, "period": 12}).build().fit(np.zeros((144, 1)), AIR)
    row = estimator.diagnostics().iloc[0]
    found = ARIMA(AIR, order=(0, 1, 1), seasonal_order=(0, 1, 1, 12)).smooth(estimator.series_[0].params)
    residuals = found.standardized_forecasts_error[0, 13:]
    lags = min(24, 131 // 5)
    box = acorr_ljungbox(residuals, lags=[lags], model_df=2)["lb_pvalue"].iloc[0]
    assert row["ljung_box"] == pytest.approx(box, rel=1e-3)
    assert row["jarque_bera"] == pytest.approx(found.test_normality("jarquebera")[0, 1], rel=1e-3)
    assert row["heteroskedasticity"] == pytest.approx(found.test_heteroskedasticity("breakvar")[0, 1], rel=1e-3)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"d": 2, "constant": True}, "would forecast a curve"),
        ({"P": 1}, "period=1"),
        ({"D": 1}, "period is the rows of a season"),
        ({"p": 4, "P": 1, "period": 4}, "p of at most 3"),
        ({"q": 12, "Q": 1, "period": 12}, "q of at most 11"),
    ],
)
def test_orders_that_contradict_each_other_are_refused(params, says):
    with pytest.raises(ParameterError, match=says):
        ModelSpec("arima", params).build().fit(np.zeros((60, 1)), simulated(60, 1))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"p": -1}, "p=-1 is outside"),
        ({"d": 3}, "d=3 is outside"),
        ({"select": "bci"}, "did you mean 'bic'"),
        ({"perod": 12}, "did you mean 'period'"),
        ({"constant": 1}, "expected bool"),
    ],
)
def test_parameters_outside_their_range_are_refused(params, says):
    with pytest.raises(ParameterError, match=says):
        ModelSpec("arima", params)


def test_other_symbols_than_were_fitted_are_refused():
    label = np.column_stack([simulated(60, s) for s in range(3)])
    estimator = fitted(label, 60)
    with pytest.raises(DataError, match="fitted on 3 symbols, the samples have 2"):
        predicted(estimator, label[:, :2], np.arange(50, 60))
    with pytest.raises(DataError, match="needs the context"):
        estimator.predict(np.zeros((3, 1)))
    with pytest.raises(UnknownNameError, match="symbol number 3"):
        estimator.summary(3)
