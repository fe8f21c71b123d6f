"""The forecasts that a model has to beat: they stand in every comparison."""

from __future__ import annotations

from ..registry import Param
from .spec import model


@model("zero", params=(), baseline=True)
def zero(params, seed):
    """Predicts 0 for every sample, whatever was seen: the benchmark of the out-of-sample R2.

    Its R2 against zero is 0 by definition. It reads neither the features nor the targets.

    Source: Gu, Kelly and Xiu, 2020, Empirical Asset Pricing via Machine Learning (out-of-sample R2).
    """
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="constant", constant=0.0)


@model("mean", params=(), baseline=True)
def mean(params, seed):
    """Predicts the mean of the training targets, weighted where weights are given: the benchmark of the usual R2.

    It reads no feature, and is constant within a fold: its information coefficient is undefined there (NaN).

    Source: Goyal and Welch, 2008, A Comprehensive Look at the Empirical Performance of Equity Premium Prediction.
    """
    from ._estimators import Mean

    return Mean()


@model(
    "last_value",
    params=(Param("window", 1, low=1, high=1_000_000, log=True, doc="Last training samples averaged, count."),),
    baseline=True,
)
def last_value(params, seed):
    """Predicts the last target seen in training, the naive forecast, for every sample.

    An estimator sees samples and not symbols, so this is the pooled naive forecast: the mean of the last
    `window` training targets in the order given. A panel is stacked time-major, so the default repeats the
    target of the last symbol of the last training row, and ``window=N`` gives the mean over the N symbols of
    that row. It reads no feature, hence nothing that a training set may not know, and is constant within a
    fold: its information coefficient is undefined there (NaN), never 0. It takes no weights.

    Source: Hyndman and Athanasopoulos, 2021, Forecasting: Principles and Practice, 5.2 (naive method).
    """
    from ._estimators import LastValue

    return LastValue(**params)


@model("prior", params=(), task="classification", baseline=True)
def prior(params, seed):
    """The shares of the classes in training, for every sample: what a classifier has to beat.

    Its accuracy is that of always saying the most frequent class, its log loss the entropy of the classes where their
    shares stay what they were. It reads no feature, and is constant within a fold.

    Source: Brier, 1950, Verification of Forecasts Expressed in Terms of Probability (climatology).
    """
    from ._estimators import Prior

    return Prior()
