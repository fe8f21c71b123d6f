"""Series to fit ARIMA on: a published one, simulated ones, and the context that a walk would give."""

from __future__ import annotations

import numpy as np
from statsmodels.tsa.statespace.tests.results import results_sarimax as stata

from workbench.models import Context, ModelSpec
from workbench.models._sarimax import Orders

AIR = np.log(np.array(stata.air2_data, dtype=float))  # Box and Jenkins (1976), series G
AIRLINE = Orders(0, 1, 1, 0, 1, 1, 12, False)


def orders(p, d, q, constant=False) -> Orders:
    return Orders(p, d, q, 0, 0, 0, 1, constant)


def simulated(n: int, seed: int, ar=0.5, ma=0.3, d=0, sd=1.0, seasonal_ma=0.0, period=1) -> np.ndarray:
    """An ARIMA of order (1, d, 1), its MA with a seasonal factor, from a start that has been forgotten."""
    shock = np.random.default_rng(seed).normal(0, sd, n + 200)
    moved = shock.copy()
    moved[1:] += ma * shock[:-1]
    both = moved.copy()
    both[period:] += seasonal_ma * moved[:-period]
    y = np.zeros(n + 200)
    for t in range(1, n + 200):
        y[t] = ar * y[t - 1] + both[t]
    y = y[200:]
    for _ in range(d):
        y = np.cumsum(y)
    return y


def context_of(label: np.ndarray, horizon=1, rows=None, until=None) -> Context:
    """The samples of `rows`, each label known `horizon` rows later; with `until`, what may be trained on by then."""
    T, N = label.shape
    end = np.broadcast_to(np.arange(T)[:, None] + horizon, (T, N)).copy()
    known = np.where(end <= until, label, np.nan) if until is not None else label
    end[np.isnan(known)] = -1
    every = [a.ravel() for a in np.mgrid[:T, :N]]
    row, column = (a.ravel() for a in np.mgrid[:T, :N])
    chosen = np.isin(row, np.arange(T) if rows is None else rows)
    if until is not None:
        chosen &= ~np.isnan(known[row, column])
    return Context(row[chosen], column[chosen], np.zeros((T * N, 1)), *every, known, end)


def fitted(label: np.ndarray, until: int, horizon=1, **params):
    known = context_of(label, horizon, until=until)
    y = known.label[known.row, known.column]
    return ModelSpec("arima", params).build().fit(np.zeros((len(y), 1)), y, context=known)


def predicted(estimator, label: np.ndarray, rows, horizon=1) -> np.ndarray:
    asked = context_of(label, horizon, rows=rows)
    return estimator.predict(np.zeros((len(asked.row), 1)), context=asked).reshape(len(rows), -1)
