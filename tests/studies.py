"""Small studies to evaluate models on, and what plain loops make of them."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.naive_bayes import GaussianNB

from workbench.models import Context, model
from workbench.panel import Panel
from workbench.registry import Param


def panels(rows: int = 700, symbols: int = 8, features: int = 4, span: int = 3, seed: int = 5):
    """Features with a planted signal in the first, and a label that looks `span` rows ahead."""
    draw = np.random.default_rng(seed)
    time = pd.date_range("2015-01-01", periods=rows, freq="B", tz="UTC")
    names = [f"S{j}" for j in range(symbols)]
    X = draw.standard_normal((features, rows, symbols))
    y = 0.01 * (0.3 * X[0] + draw.standard_normal((rows, symbols)))
    X[:, :20] = np.nan  # the look-back of the features
    X[:, : rows // 3, 1] = np.nan  # a later listing
    y[rows - span :] = np.nan
    label = np.stack([y, np.where(np.isnan(y), np.nan, float(span))])
    fields = [f"f{i}" for i in range(features)]
    return Panel(X, time, names, fields), Panel(label, time, names, ["forward_return", "span"])


def by_scipy(correlation, score, label):
    """The mean over rows of scipy's correlation, by a plain loop."""
    found = []
    for s, x in zip(score, label, strict=True):
        kept = ~np.isnan(s) & ~np.isnan(x)
        if kept.sum() >= 3 and len(set(s[kept])) > 1 and len(set(x[kept])) > 1:
            found.append(correlation(s[kept], x[kept]).statistic)
    return np.mean(found) if found else float("nan")


def signs(label: Panel) -> Panel:
    """The label as classes, -1 and 1."""
    values = label.values.copy()
    values[0] = np.where(np.isnan(values[0]), np.nan, np.where(values[0] > 0, 1.0, -1.0))
    return label.like(values, label.fields)


def weighed(label: Panel, seed: int = 2) -> Panel:
    """Weights for a label, some of them 0."""
    draw = np.random.default_rng(seed)
    weight = draw.uniform(0.0, 2.0, label.shape[1:]) * (draw.random(label.shape[1:]) > 0.1)
    return Panel(weight[np.newaxis], label.time, label.symbols, ["weight"])


@contextmanager
def small_files(size: int):
    """Within this block no file can grow beyond `size` bytes: a full disk."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


class Surroundings(RegressorMixin, BaseEstimator):
    """Predicts from the context: each symbol's mean label, and the mean of its last features, weighted by sums."""

    def fit(self, X, y, sample_weight=None, context=None):
        context = context or Context.of_series(X, y)
        self.seen_ = context
        self.mean_ = {j: float(y[context.column == j].mean()) for j in np.unique(context.column)}
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self.slope_ = float((weight * y) @ X[:, 0] / (weight @ (X[:, 0] * X[:, 0])))
        return self

    def predict(self, X, context=None):
        context = context or Context.of_series(X)
        at = context.windows(3)
        past = np.where(at < 0, 0.0, context.table[:, 0][at]).sum(axis=1)
        return np.array([self.mean_.get(j, 0.0) for j in context.column]) + self.slope_ * past


class Mortal(RegressorMixin, BaseEstimator):
    """Kills the process that it is fitted in, by the signal, where that is a worker and it sees many samples."""

    def __init__(self, limit=1000):
        self.limit = limit

    def fit(self, X, y):
        if multiprocessing.parent_process() is not None and len(X) >= self.limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    def predict(self, X):
        return X[:, 0]


def register_toys() -> None:
    """Models that go by their context, that classify, and that kill their worker."""

    @model("surroundings", params=(), lookback=lambda: 2)
    def surroundings(params, seed):
        """A mean. Source: nobody, 2020."""
        return Surroundings()

    @model("votes", params=(Param("smoothing", 1e-9, low=1e-12, high=1.0, log=True, doc="any"),), task="classification")
    def votes(params, seed):
        """A naive Bayes. Source: nobody, 2020."""
        return GaussianNB(var_smoothing=params["smoothing"])

    @model("mortal", params=(Param("limit", 1000, doc="samples"),))
    def mortal(params, seed):
        """One feature. Source: nobody, 2020."""
        return Mortal(**params)
