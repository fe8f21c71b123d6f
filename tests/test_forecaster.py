"""Series in, forecasts out, and their figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from series import AIR, AIRLINE

import workbench as wb
from workbench.errors import DataError, ParameterError, UnknownNameError
from workbench.models import Forecaster, ModelSpec, _sarimax
from workbench.models._sarimax import fit_series
from workbench.report.figures import forecast as forecast_figure

MONTHS = pd.period_range("1949-01", periods=144, freq="M")
SPEC = ModelSpec("arima", {"p": 0, "d": 1, "D": 1, "Q": 1, "period": 12})


@pytest.mark.parametrize(
    ("index", "following"),
    [
        (MONTHS, "1961-01"),
        (MONTHS.to_timestamp(), "1961-01-01"),
        (pd.DatetimeIndex(MONTHS.to_timestamp().to_numpy()), "1961-01-01"),
        (pd.RangeIndex(144), 144),
        (pd.Index(np.arange(0, 288, 2)), 288),
        (pd.bdate_range("2000-01-03", periods=144, tz="UTC"), "2000-07-21"),
    ],
    ids=["period", "frequency", "inferred", "range", "even", "business"],
)
def test_a_series_is_forecast_on_the_rows_that_come_next(index, following):
    found = Forecaster(pd.Series(AIR, index), SPEC).forecast(3)
    assert list(found.columns) == ["mean", "lower", "upper"]
    assert str(found.index[0])[: len(str(following))] == str(following)
    np.testing.assert_allclose(found["mean"], [6.110186, 6.053775, 6.171715], atol=1e-5)


def test_several_series_are_a_panel():
    frame = pd.DataFrame({"air": AIR, "late": np.r_[np.full(24, np.nan), AIR[24:]]}, MONTHS.to_timestamp())
    model = Forecaster(frame, SPEC)
    found = model.forecast(3, level=0.8)
    assert (found.fields, found.symbols) == (("mean", "lower", "upper"), ("air", "late"))
    np.testing.assert_allclose(found["mean"]["air"], [6.110186, 6.053775, 6.171715], atol=1e-5)
    assert (found["lower"] < found["mean"]).all(axis=None)
    assert model.diagnostics().index.tolist() == ["air", "late"]
    panel = wb.Panel.from_frame(frame, bars=False)
    assert "ma.S.L12" in str(model.summary("late"))
    with pytest.raises(UnknownNameError, match="did you mean 'late'"):
        model.summary("lat")
    with pytest.raises(ParameterError, match="2 series, expected the name"):
        model.summary()
    assert Forecaster(panel, SPEC).forecast(3, level=0.8) == found


def test_rows_that_passed_without_a_value_are_not_forecast():
    whole = Forecaster(pd.Series(AIR, MONTHS), SPEC)
    late = pd.Series(np.r_[AIR[:140], [np.nan] * 4], MONTHS)
    found = Forecaster(late, SPEC).forecast(2)
    assert found.index[0] == whole.forecast(2).index[0]
    fit = fit_series(AIR[:140], AIRLINE)
    np.testing.assert_allclose(found["mean"], _sarimax.forecast(fit, AIR[:140], 6, 0.95)[0, 4:], atol=1e-6)


def test_what_was_tried_stands_best_first():
    model = Forecaster(pd.Series(AIR, MONTHS, name="air"), SPEC.replace(p=1, select="bic", search="grid"))
    table = model.tried()
    assert table["bic"].is_monotonic_increasing
    assert table.loc[0, "chosen"]
    assert set(table["symbol"]) == {"air"}
    assert "air: 144 rows to 1960-12" in repr(model)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (AIR, "found a ndarray"),
        (pd.Series(["a", "b"], pd.RangeIndex(2)), "expected numbers"),
        (pd.Series(np.nan, pd.RangeIndex(20)), "not one value"),
        (pd.Series(np.r_[AIR[:-1], np.inf], MONTHS), "value at 1960-12 is infinite"),
        (pd.Series(AIR[::-1], MONTHS[::-1]), "out of order"),
        (pd.Series(AIR[[0, 1, 5, 6, 7]], MONTHS[[0, 1, 5, 6, 7]]), "without one step"),
        (pd.Series(AIR[:5], MONTHS.to_timestamp()[[0, 1, 5, 6, 8]]), "asfreq"),
        (pd.Series(AIR[:3], ["a", "b", "c"]), "expected dates"),
        (pd.DataFrame(np.ones((3, 2)), pd.RangeIndex(3), ["a", "a"]), "same name"),
    ],
)
def test_series_that_can_not_be_forecast_say_why(data, says):
    with pytest.raises(DataError, match=says):
        Forecaster(data)


def test_specs_and_steps_that_can_not_be_are_refused():
    series = pd.Series(AIR, MONTHS)
    with pytest.raises(ParameterError, match="forecasts no series"):
        Forecaster(series, ModelSpec("ridge"))
    model = Forecaster(series, SPEC)
    for bad in ({"steps": 0}, {"level": 1.0}, {"level": 0.0}, {"level": 95}, {"steps": 1.5}):
        with pytest.raises(ParameterError):
            model.forecast(**bad)
    with pytest.raises(DataError, match="a Panel needs dates"):
        Forecaster(pd.DataFrame({"a": AIR, "b": AIR})).forecast()


# ---------------------------------------------------------------- the figure


def test_the_figure_shows_history_mean_and_bands():
    series = pd.Series(AIR, MONTHS, name="air")
    model = Forecaster(series, SPEC)
    near, wide = model.forecast(12, level=0.8), model.forecast(12)
    figure = forecast_figure(series, [near, wide], last=36, title="Air", y="log of passengers")
    assert [trace.name for trace in figure.data] == ["air", "upper", "lower", "upper", "lower", "forecast"]
    assert len(figure.data[0].x) == 36
    assert figure.data[-1].x[0] == "1961-01-01"
    assert figure.data[2].fill == figure.data[4].fill == "tonexty"
    np.testing.assert_allclose(figure.data[-1].y, near["mean"], rtol=1e-6)
    np.testing.assert_allclose(figure.data[3].y, wide["upper"], rtol=1e-6)
    both = Forecaster(pd.DataFrame({"a": series, "b": series}, MONTHS), SPEC)
    again = forecast_figure(both.history, both.forecast(12), symbol="b")
    np.testing.assert_allclose(again.data[-1].y, near["mean"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"forecast": pd.DataFrame({"mean": [1.0]})}, DataError, "no lower, upper"),
        ({"forecast": 3}, DataError, "a int, expected a DataFrame"),
        ({"forecast": []}, DataError, "no forecast"),
        ({"forecast": pd.DataFrame({"mean": [1.0], "lower": [2.0], "upper": [1.0]})}, DataError, "lower end is above"),
        ({"last": 0}, ParameterError, "last=0"),
        ({"history": pd.DataFrame({"a": AIR, "b": AIR})}, ParameterError, "expected symbol="),
        ({"history": pd.DataFrame({"a": AIR, "b": AIR}), "symbol": "c"}, UnknownNameError, "unknown symbol 'c'"),
    ],
)
def test_figures_that_can_not_be_drawn_say_why(change, error, says):
    given = {"history": pd.Series(AIR), "forecast": pd.DataFrame({"mean": [1.0], "lower": [0.0], "upper": [2.0]})}
    with pytest.raises(error, match=says):
        forecast_figure(**{**given, **change})


def test_a_series_too_short_for_its_orders_is_named():
    long = np.random.default_rng(0).normal(size=40)
    frame = pd.DataFrame({"long": long, "short": np.where(np.arange(40) < 32, np.nan, long)})
    with pytest.warns(UserWarning, match=r"too few values for ARMA terms in short \(8 values\).*the mean is forecast"):
        found = Forecaster(frame, ModelSpec("arima", {"p": 2, "q": 2}))
    assert found.estimator.converged_.tolist() == [True, False]
