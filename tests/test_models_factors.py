"""Factor regressions: Petersen's published table, the definition row by row, statsmodels, and what can't be fitted."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.stats.tests

from workbench.errors import DataError, ParameterError, UnknownNameError
from workbench.models import Context, ModelSpec, factor_loadings
from workbench.panel import Panel


def where(X, row, column) -> Context:
    return replace(Context.of_series(X), row=np.asarray(row), column=np.asarray(column))


def petersen():
    """Petersen's test data for standard errors in panels: 500 firms, 10 years; X, y, Context."""
    data = np.loadtxt(Path(statsmodels.stats.tests.__file__).parent / "test_data.txt")
    data = data[np.lexsort((data[:, 0], data[:, 1]))]
    X = data[:, 2:3]
    return X, data[:, 3], where(X, (data[:, 1] - 1).astype(int), (data[:, 0] - 1).astype(int))


def panel(rows=40, symbols=12, features=2, seed=0):
    """A panel with holes and coefficients that move from row to row; X, y, Context."""
    rng = np.random.default_rng(seed)
    row, column = np.nonzero(rng.random((rows, symbols)) < 0.8)
    X = rng.normal(size=(len(row), features))
    slopes = 0.5 + np.convolve(rng.normal(size=rows + 1), [1, 1], mode="valid")
    return X, 1 + slopes[row] * X[:, 0] + rng.normal(size=len(row)), where(X, row, column)


def by_row(X, y, row, weight=None):
    """The regression across symbols on each row, by plain least squares."""
    found = []
    for t in np.unique(row):
        root = np.sqrt(np.ones((row == t).sum()) if weight is None else weight[row == t])[:, None]
        A = np.column_stack([np.ones(len(root)), X[row == t]])
        found.append(np.linalg.lstsq(root * A, root[:, 0] * y[row == t], rcond=None)[0])
    return np.array(found)


def test_petersen_s_table_of_fama_and_macbeth():
    X, y, context = petersen()
    fitted = ModelSpec("fama_macbeth").build().fit(X, y, context=context)
    table = fitted.intervals()
    np.testing.assert_allclose(table["estimate"], [0.0313, 1.0356], atol=5e-5)
    np.testing.assert_allclose(table["standard_error"], [0.0234, 0.0333], atol=5e-5)
    assert list(table.index) == ["const", "x1"]
    assert fitted.periods_ == 10
    text = str(fitted.summary())
    assert "FamaMacBeth Estimation Summary" in text
    assert "1.0356     0.0333" in text


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_averages_over_rows_and_errors_their_scatter(weighted):
    X, y, context = panel()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    fitted = ModelSpec("fama_macbeth").build().fit(X, y, sample_weight=weight, context=context)
    premia = by_row(X, y, context.row, weight)
    np.testing.assert_allclose(fitted.premia_, premia, rtol=1e-9)
    np.testing.assert_allclose([fitted.intercept_, *fitted.coef_], premia.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(fitted.covariance_, np.cov(premia.T) / len(premia), rtol=1e-9)
    np.testing.assert_allclose(fitted.predict(X[:5]), fitted.intercept_ + X[:5] @ fitted.coef_, rtol=1e-12)


@pytest.mark.parametrize("lags", [0, 3, None])
def test_hac_is_newey_and_west_s_on_the_averages(lags):
    X, y, context = panel()
    fitted = ModelSpec("fama_macbeth", {"cov": "HAC", "lags": lags}).build().fit(X, y, context=context)
    used = math.floor(4 * (40 / 100) ** (2 / 9)) if lags is None else lags
    for premium, error in zip(by_row(X, y, context.row).T, fitted.standard_errors_, strict=True):
        theirs = sm.OLS(premium, np.ones(40)).fit(cov_type="HAC", cov_kwds={"maxlags": used})
        assert error == pytest.approx(theirs.bse[0] * math.sqrt(40 / 39))  # linearmodels divides by one row less


def test_the_order_of_samples_does_not_matter():
    X, y, context = panel()
    mixed = np.random.default_rng(3).permutation(len(y))
    one = ModelSpec("fama_macbeth").build().fit(X, y, context=context)
    other = ModelSpec("fama_macbeth").build()
    other.fit(X[mixed], y[mixed], context=where(X[mixed], context.row[mixed], context.column[mixed]))
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-10)
    np.testing.assert_allclose(one.standard_errors_, other.standard_errors_, rtol=1e-10)


def test_rows_that_are_too_thin_are_left_out_and_counted():
    X, y, context = panel()
    thin = np.isin(context.row, [3, 17])
    kept = ~thin | (context.column < 2)
    fitted = ModelSpec("fama_macbeth").build()
    fitted.fit(X[kept], y[kept], context=where(X[kept], context.row[kept], context.column[kept]))
    assert fitted.periods_ == 38
    assert set(fitted.premia_.index) == set(range(40)) - {3, 17}
    np.testing.assert_allclose(fitted.coef_, by_row(X[~thin], y[~thin], context.row[~thin]).mean(axis=0)[1:])


def test_rows_that_do_not_tell_features_apart_are_left_out_unless_all_are_such():
    X, y, context = panel()
    twins = np.isin(context.row, [5, 30])
    X[twins, 1] = 2 * X[twins, 0]
    fitted = ModelSpec("fama_macbeth").build().fit(X, y, context=context)
    assert set(fitted.premia_.index) == set(range(40)) - {5, 30}
    np.testing.assert_allclose(fitted.premia_, by_row(X[~twins], y[~twins], context.row[~twins]), rtol=1e-9)
    X[:, 1] = 2 * X[:, 0]
    again = ModelSpec("fama_macbeth").build().fit(X, y, context=context)
    alone = ModelSpec("fama_macbeth").build().fit(X[:, :1], y, context=context)
    np.testing.assert_allclose(again.predict(X), alone.predict(X[:, :1]), rtol=1e-9)
    assert np.isnan(again.standard_errors_).all()
    with pytest.raises(DataError, match="40 rows give no errors"):
        again.summary()


def test_the_table_is_made_of_the_samples_once_and_they_do_not_travel():
    X, y, context = panel(rows=400)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) * (np.arange(len(y)) % 7 > 0)
    for cov in ("nonrobust", "HAC"):
        fitted = ModelSpec("fama_macbeth", {"cov": cov}).build().fit(X, y, sample_weight=weight, context=context)
        carried = pickle.dumps(fitted)
        assert len(carried) < X.nbytes
        text = pickle.loads(carried).summary().tables[1].as_text()
        assert text == fitted.summary().tables[1].as_text()
        for estimate, error in zip([fitted.intercept_, *fitted.coef_], fitted.standard_errors_, strict=True):
            assert f"{estimate:.4f}     {error:.4f}" in text


def test_a_feature_of_time_alone_has_no_weight():
    X, y, context = panel()
    fitted = ModelSpec("fama_macbeth").build().fit(np.column_stack([X, context.row]), y, context=context)
    alone = ModelSpec("fama_macbeth").build().fit(X, y, context=context)
    np.testing.assert_allclose(fitted.coef_, [*alone.coef_, 0])
    np.testing.assert_allclose(fitted.standard_errors_, [*alone.standard_errors_, np.nan])
    with pytest.raises(DataError, match="no feature differs between symbols"):
        ModelSpec("fama_macbeth").build().fit(context.row[:, None].astype(float), y, context=context)


def test_one_symbol_and_few_rows():
    X, y, context = panel(features=3)
    with pytest.raises(
        DataError, match="no feature differs|4 coefficients need as many symbols on a row, found at most 1"
    ):
        ModelSpec("fama_macbeth").build().fit(X, y, context=Context.of_series(X))
    few = context.row < 3
    fitted = (
        ModelSpec("fama_macbeth")
        .build()
        .fit(X[few], y[few], context=where(X[few], context.row[few], context.column[few]))
    )
    np.testing.assert_allclose(fitted.premia_, by_row(X[few], y[few], context.row[few]))
    assert np.isnan(fitted.standard_errors_).all()
    with pytest.raises(DataError, match="3 rows give no errors of 4 averages"):
        fitted.summary()


def test_without_a_context_it_is_one_regression():
    X, y, _ = panel()
    plain, fitted = (ModelSpec(name).build().fit(X, y) for name in ("ols", "fama_macbeth"))
    np.testing.assert_allclose(fitted.coef_, plain.coef_)
    assert fitted.periods_ == 1


# ---------------------------------------------------------------- loadings


def market(rows=200, seed=0):
    """Returns of three assets on two factors, in fractions, one of them listed late and one with a hole."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2020-01-01", periods=rows, freq="D", tz="UTC")
    factors = pd.DataFrame(rng.normal(0, 0.01, (rows, 2)), index=time, columns=["market", "size"])
    noise = np.stack([np.convolve(e, [1, 1, 1], mode="valid") for e in rng.normal(0, 0.005, (3, rows + 2))], axis=1)
    returns = pd.DataFrame(noise, index=time, columns=["A", "B", "C"]) + 0.001
    returns["A"] += factors @ [1.0, 0.0]
    returns["B"] += factors @ [0.5, -1.0]
    returns["C"] += factors @ [2.0, 0.3]
    returns.iloc[:50, 1] = np.nan
    return returns, factors


@pytest.mark.parametrize("lags", [2, None])
def test_loadings_and_tables_are_those_of_statsmodels(lags):
    returns, factors = market()
    found = factor_loadings(returns, factors, lags=lags)
    assert list(found.table.index) == ["A", "B", "C"]
    for asset in returns:
        there = returns[asset].notna()
        used = lags if lags is not None else math.floor(4 * (there.sum() / 100) ** (2 / 9))
        design = sm.add_constant(factors[there])
        theirs = sm.OLS(returns.loc[there, asset], design).fit(cov_type="HAC", cov_kwds={"maxlags": used})
        row = found.table.loc[asset]
        np.testing.assert_allclose(row[["alpha", "market", "size"]].astype(float), theirs.params, rtol=1e-9)
        np.testing.assert_allclose(row[["alpha_se", "market_se", "size_se"]].astype(float), theirs.bse, rtol=1e-9)
        np.testing.assert_allclose(row[["alpha_t", "market_t", "size_t"]].astype(float), theirs.tvalues, rtol=1e-9)
        assert row["r2"] == pytest.approx(theirs.rsquared)
        assert row["samples"] == there.sum()
        np.testing.assert_allclose(found.intervals(asset)[["low", "high"]], theirs.conf_int(), rtol=1e-9)
        mine, other = found.summary(asset).tables[1].as_text(), theirs.summary().tables[1].as_text()
        assert mine == other


def test_lags_count_over_a_hole():
    """Of a series with a missing stretch, rows on its two sides are not neighbours."""
    returns, factors = market()
    returns.iloc[100:150, 0] = np.nan
    at = np.flatnonzero(returns["A"].notna())
    A = np.column_stack([np.ones(len(at)), factors.to_numpy()[at]])
    y, bread = returns["A"].to_numpy()[at], np.linalg.inv(A.T @ A)
    moments = np.zeros((200, 3))
    moments[at] = A * (y - A @ (bread @ A.T @ y))[:, None]
    meat = moments.T @ moments
    for lag in (1, 2):
        cross = moments[lag:].T @ moments[:-lag]
        meat += (1 - lag / 3) * (cross + cross.T)
    errors = np.sqrt(np.diag(bread @ meat @ bread))
    found = factor_loadings(returns[["A"]], factors, lags=2).table.loc["A", ["alpha_se", "market_se", "size_se"]]
    np.testing.assert_allclose(found.astype(float), errors, rtol=1e-9)


def test_returns_come_as_a_frame_a_series_or_a_panel_and_less_the_risk_free_rate():
    returns, factors = market()
    whole = factor_loadings(returns, factors)
    pd.testing.assert_frame_equal(factor_loadings(returns["C"], factors).table, whole.table.loc[["C"]])
    values = returns.to_numpy()[np.newaxis].copy()
    one = Panel(values, returns.index, tuple(returns), ("return",))
    np.testing.assert_allclose(factor_loadings(one, factors).table, whole.table)
    rate = pd.Series(0.0002, index=returns.index)
    excess = factor_loadings(returns, factors, risk_free=rate)
    np.testing.assert_allclose(excess.table["alpha"], whole.table["alpha"] - 0.0002, rtol=1e-9)
    np.testing.assert_allclose(excess.table["market"], whole.table["market"], rtol=1e-9)
    # percent instead of fractions on both sides changes alpha alone
    percent = factor_loadings(returns * 100, factors * 100)
    np.testing.assert_allclose(percent.table["alpha"], 100 * whole.table["alpha"], rtol=1e-9)
    np.testing.assert_allclose(percent.table["market_t"], whole.table["market_t"], rtol=1e-9)
    assert "market" in whole._repr_html_()
    assert "3 assets" in repr(whole)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda r, f: (r, f.iloc[1:]), DataError, "factors has 199 rows and returns 200, of which 199 are shared"),
        (lambda r, f: (r, f[[]]), DataError, r"factors of shape \(200, 0\) must have a column"),
        (lambda r, f: (r.replace(r.iloc[3, 0], np.inf), f), DataError, "asset 'A' or its factors hold infinite"),
        (lambda r, f: (r.mask(r.notna()), f), DataError, "asset 'A' has 0 rows"),
        (lambda r, f: (r.astype(object).fillna("x"), f), DataError, "no number"),
        (lambda r, f: (r.to_numpy(), f), DataError, "returns is a ndarray"),
        (lambda r, f: (Panel(np.zeros((2, 200, 1)), r.index, ("A",), ("a", "b")), f), DataError, "2 fields"),
    ],
)
def test_bad_returns_and_factors_are_named(change, error, says):
    with pytest.raises(error, match=says):
        factor_loadings(*change(*market()))


def test_other_mistakes_are_named():
    returns, factors = market()
    with pytest.raises(ParameterError, match="did you mean 'HAC'"):
        factor_loadings(returns, factors, cov="hac")
    with pytest.raises(ParameterError, match="lags=-1 is outside"):
        factor_loadings(returns, factors, lags=-1)
    found = factor_loadings(returns, factors.assign(again=factors["market"]))
    with pytest.raises(DataError, match="can't tell market, again apart"):
        found.summary("A")
    assert np.isnan(found.table.loc["A", "market_se"])
    with pytest.raises(UnknownNameError, match="unknown asset 'AA'"):
        found.summary("AA")


def test_french_s_factors_explain_the_portfolios_that_they_are_made_of():
    """Monthly decimals from linearmodels: small-cap portfolios load on size, value ones on value."""
    from linearmodels.datasets import french

    data = french.load().set_index("dates")
    factors = data[["MktRF", "SMB", "HML"]]
    table = factor_loadings(data[["S1V1", "S1V5", "S5V1", "S5V5"]], factors, risk_free=data["RF"]).table
    assert (table["r2"] > 0.8).all()
    assert (table["MktRF"] - 1).abs().max() < 0.2
    assert (table.loc[["S1V1", "S1V5"], "SMB"] > 0.8).all()
    assert (table.loc[["S5V1", "S5V5"], "SMB"] < 0.1).all()
    assert (table.loc[["S1V5", "S5V5"], "HML"] > 0.5).all()
    assert (table.loc[["S1V1", "S5V1"], "HML"] < 0).all()


LATE = """
import sys, warnings
import numpy as np
from workbench.models import Context, ModelSpec
warnings.simplefilter("ignore")
estimator = ModelSpec(sys.argv[1]).build()
before = {name.split(".")[0] for name in sys.modules} | sys.stdlib_module_names
rng = np.random.default_rng(0)
X, y = rng.normal(size=(400, 2)), rng.normal(size=400)
row, column = np.divmod(np.arange(400), 8)
end = row.reshape(50, 8) + 1
estimator.fit(X, y, context=Context(row, column, X, row, column, y.reshape(50, 8), end))
print(*sorted({name.split(".")[0] for name in sys.modules} - before))
"""


@pytest.mark.parametrize("name", ["ols", "fama_macbeth", "arima"])
def test_what_a_fit_imports_is_imported_when_it_is_built(name):
    """A first import within a fit, on a thread, is seen half done by the fits beside it."""
    told = subprocess.run([sys.executable, "-c", LATE, name], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
