"""One series and its seasonal ARIMA, on statsmodels: estimated, filtered, forecast; imported when a spec is built.

The differencing stands in the state space and starts exactly diffuse, so that a missing value costs one value and
no more. A series is standardised before the likelihood is maximised, with the scale concentrated out: labels are
returns of 0.01 and price levels of 10,000, and an optimiser that works in one unit stops early in the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from statsmodels.tools import eval_measures
from statsmodels.tsa.statespace import kalman_filter
from statsmodels.tsa.statespace.sarimax import SARIMAX, SARIMAXResults
from statsmodels.tsa.statespace.tools import is_invertible

from ..errors import hush
from ..kernels import poll

_ITERATIONS = 200
_DENSITY = 0.5 * math.log(2 * math.pi)  # what the exact diffuse likelihood counts for each diffuse state
LEAST_LABELS = 10  # after differencing, for any orders
CRITERIA = ("aic", "aicc", "bic")
# What a filter keeps of each row: all of it is several square matrices of states.
_LIKELIHOOD = kalman_filter.MEMORY_CONSERVE & ~(
    kalman_filter.MEMORY_NO_LIKELIHOOD | kalman_filter.MEMORY_NO_FORECAST_COV  # the one is not found without the other
)
_STATES = kalman_filter.MEMORY_CONSERVE & ~kalman_filter.MEMORY_NO_PREDICTED_MEAN


@dataclass(frozen=True)
class Orders:
    """(p, d, q)(P, D, Q)period, and whether the differenced series has a mean."""

    p: int
    d: int
    q: int
    P: int
    D: int
    Q: int
    period: int
    constant: bool

    @property
    def diffuse(self) -> int:
        """Labels that differencing uses up."""
        return self.d + self.D * self.period

    @property
    def parameters(self) -> int:
        """How many are estimated, the variance among them."""
        return self.p + self.q + self.P + self.Q + self.constant + 1

    def bare(self) -> Orders:
        """The same differencing with no ARMA terms."""
        return replace(self, p=0, q=0, P=0, Q=0)


@dataclass(frozen=True, eq=False)
class Fit:
    """The ARIMA of one series.

    Attributes
    ----------
    orders : Orders
    params : ndarray
        In the series' own unit and the order of statsmodels: mean or drift, AR, MA, seasonal AR, seasonal MA, variance.
    origin : int
        The row on which the drift is zero.
    level : float
        What is forecast where too little is known to start from.
    labels : int
        Labels it was estimated on.
    loglik : float
        Of the differenced series, as Stata and R report it.
    estimated : bool
        False where there were too few labels, or all alike: then it has no ARMA terms. Nor has it any where the
        estimation broke down (True, and not converged).
    converged : bool
        Whether the search ended at a maximum of the likelihood. With more terms than the series bears out there are
        several, and it may be a lower one.
    search : str
        Who chose the orders: "none", "grid" or "statsforecast".
    """

    orders: Orders
    params: np.ndarray
    origin: int
    level: float
    labels: int
    loglik: float
    estimated: bool
    converged: bool
    search: str = "none"

    def criterion(self, name: str) -> float:
        """aic, aicc or bic: comparable among equal differencing only."""
        return float(
            getattr(eval_measures, name)(self.loglik, self.labels - self.orders.diffuse, self.orders.parameters)
        )


class Results(SARIMAXResults):
    """statsmodels' results, with the likelihood and the criteria of the differenced series."""

    @property
    def llf(self):
        return super().llf + self.model.k_states_diffuse * _DENSITY

    def _criterion(self, name):
        used = int(np.isfinite(self.model.endog).sum()) - self.model.k_states_diffuse
        return float(getattr(eval_measures, name)(self.llf, used, len(self.params)))

    aic = property(lambda self: self._criterion("aic"))
    aicc = property(lambda self: self._criterion("aicc"))
    bic = property(lambda self: self._criterion("bic"))
    hqic = property(lambda self: self._criterion("hqic"))


class _Polling(SARIMAX):
    """statsmodels' model, which looks before each filtering whether it should go on."""

    def loglike(self, *args, **kwargs):
        poll()
        return super().loglike(*args, **kwargs)


def _trend(orders: Orders, rows: np.ndarray) -> np.ndarray:
    """What the constant is multiplied with, so that the differenced series has a mean: 1, or the row's number."""
    return np.asarray(rows, dtype=float) ** (orders.d + orders.D)


def _model(y: np.ndarray, orders: Orders, origin: int, *, concentrate: bool = False, free: bool = False) -> SARIMAX:
    o = orders
    seasonal = (o.P, o.D, o.Q, o.period) if o.P or o.D or o.Q else (0, 0, 0, 0)
    model = _Polling(
        y,
        exog=_trend(o, np.arange(len(y)) - origin)[:, np.newaxis] if o.constant else None,
        order=(o.p, o.d, o.q),
        seasonal_order=seasonal,
        use_exact_diffuse=True,
        concentrate_scale=concentrate,
        enforce_stationarity=not free,
        enforce_invertibility=not free,
    )
    model.k_states_diffuse = o.diffuse
    if o.constant:
        model.data.xnames = ["drift" if o.diffuse else "mean"]
    return model


def differences(y: np.ndarray, orders: Orders) -> np.ndarray:
    """The differences that there are: NaN where one of their values is missing."""
    y = np.diff(y, orders.d)
    for _ in range(orders.D):
        y = y[orders.period :] - y[: -orders.period]
    return y[~np.isnan(y)]


def enough(y: np.ndarray, orders: Orders) -> bool:
    """Whether there are differences enough to estimate these orders, and not all alike."""
    steps = differences(y, orders)
    flat = steps.size and np.ptp(steps) <= 1e-12 * np.nanmax(np.abs(y))
    return not flat and steps.size >= max(LEAST_LABELS, 3 * orders.parameters)


def _unit(y: np.ndarray, orders: Orders) -> tuple[float, float]:
    """The centre and the scale that make of a series one of unit steps; what is estimated doesn't depend on them."""
    steps = differences(y, orders)
    # without a constant the origin of a series that is not differenced is its zero
    centre = y[np.isfinite(y)][0] if orders.diffuse else float(np.nanmean(y)) * orders.constant
    moves = orders.constant or orders.diffuse
    return centre, float(np.std(steps)) if moves else float(np.sqrt(np.mean(steps**2)))


def fit_series(y: np.ndarray, orders: Orders, origin: int = 0, warm: Fit | None = None) -> Fit:
    """The ARIMA of one series by maximum likelihood.

    Parameters
    ----------
    y : ndarray of shape (n,)
        NaN where a value is missing.
    orders : Orders
    origin : int, default 0
    warm : Fit, optional
        Where the search for the maximum starts.

    Returns
    -------
    Fit
        Without ARMA terms where fewer than ``max(LEAST_LABELS, 3 * parameters)`` differences are left, or all are
        alike.
    """
    if not enough(y, orders):
        return bare(y, orders, origin)
    labels, level = int(np.isfinite(y).sum()), float(np.nanmean(y))
    centre, scale = _unit(y, orders)
    z = (y - centre) / scale
    model = _model(z, orders, origin, concentrate=True)
    starts = _starts(z, orders, origin, len(differences(y, orders)))
    if warm is not None and warm.orders == orders:
        start = warm.params[:-1].copy()
        start[: orders.constant] = (start[: orders.constant] - (0.0 if orders.diffuse else centre)) / scale
        starts = itertools.chain([start], starts)
    found, converged = _maximum(model, starts)
    if found is None:
        return replace(bare(y, orders, origin), estimated=True, converged=False)
    params = np.append(found.params, found.scale * scale**2)
    params[: orders.constant] = params[: orders.constant] * scale + (0.0 if orders.diffuse else centre)
    found = loglik(y, orders, params, origin)
    return Fit(orders, params, origin, level, labels, found, True, converged)


def _starts(z: np.ndarray, orders: Orders, origin: int, steps: int) -> Iterator[np.ndarray]:
    """Where the search for the maximum may start: conditional sums of squares, then no ARMA terms."""
    seasonal_ar, seasonal_ma = orders.P * orders.period, orders.Q * orders.period
    # with fewer statsmodels would warn, and give zeros
    if steps >= 3 * max(orders.q, seasonal_ma) + max(orders.p, seasonal_ar) + 3:
        # Asked of a model that enforces nothing, as one that does would warn where the start is not stationary.
        start = np.asarray(_model(z, orders, origin, concentrate=True, free=True).start_params)
        at = int(orders.constant)
        for length, sign in ((orders.p, -1), (orders.q, 1), (orders.P, -1), (orders.Q, 1)):
            if length and not is_invertible(np.r_[1, sign * start[at : at + length]]):
                start[at : at + length] = 0.0
            at += length
        if np.isfinite(start).all():
            yield start
    yield np.zeros(orders.parameters - 1)


def _maximum(model: SARIMAX, starts: Iterable[np.ndarray]):
    """statsmodels' results at the highest likelihood found, and whether the search ended; None where none is finite."""
    model.ssm.set_conserve_memory(_LIKELIHOOD)
    if not model.k_params:
        return model.filter(np.empty(0), cov_type="none"), True
    best = None
    for start in starts:
        try:
            with np.errstate(all="ignore"):
                found = model.fit(start, disp=0, maxiter=_ITERATIONS, cov_type="none", warn_convergence=False)
        except np.linalg.LinAlgError:
            continue
        if not np.isfinite(found.llf) or not np.isfinite(found.params).all():
            continue
        if found.mle_retvals["converged"]:
            return found, True
        if best is None or found.llf > best.llf:
            best = found
    return best, False


def loglik(y: np.ndarray, orders: Orders, params: np.ndarray, origin: int) -> float:
    """Of the differences of `y`, given parameters in its unit."""
    z, params, scale = _scaled(y, orders, params)
    used = int(np.isfinite(y).sum()) - orders.diffuse
    with np.errstate(all="ignore"):
        found = float(_model(z, orders, origin).loglike(params))
    return found + orders.diffuse * _DENSITY - used * math.log(scale)


def _scaled(y: np.ndarray, orders: Orders, params: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Series and parameters in units of the deviation: statsmodels takes a variance below 1e-19 for none."""
    scale = math.sqrt(params[-1])
    params = params.copy()
    params[: orders.constant] /= scale
    params[-1] = 1.0
    return y / scale, params, scale


def bare(y: np.ndarray, orders: Orders, origin: int = 0, like: np.ndarray | None = None) -> Fit:
    """The model without ARMA terms: a mean, or a random walk with its drift.

    Parameters
    ----------
    y : ndarray of shape (n,)
    orders : Orders
    origin : int, default 0
    like : ndarray, optional
        Labels of others, which give mean and variance where `y` has none.
    """
    orders = orders.bare()
    own = y[~np.isnan(y)]
    level = float(np.mean(own if own.size or like is None else like)) if own.size or like is not None else 0.0
    steps = differences(y, orders)
    if not steps.size and not orders.diffuse and like is not None:
        steps = like
    mean = float(np.mean(steps)) if steps.size and orders.constant else 0.0
    spread = steps if steps.size or like is None else like
    alike = spread.size == 0 or np.ptp(spread) <= 1e-12 * max(np.max(np.abs(own), initial=0.0), abs(level))
    # a variance of exactly zero can not be divided by
    least = max((1e-9 * abs(level)) ** 2, 1e-100)
    variance = least if alike else max(float(np.mean((spread - (mean if steps.size else level)) ** 2)), least)
    slope = mean / orders.period**orders.D if orders.D else mean
    params = np.array([slope, variance] if orders.constant else [variance])
    found = loglik(y, orders, params, origin) if own.size else math.nan
    return Fit(orders, params, origin, level, len(own), found, False, bool(own.size) and bool(alike))


def results(fit: Fit, y: np.ndarray, *, cov_type: str = "none"):
    """statsmodels' results of `fit` on `y` (n,), a series on the same rows."""
    return _model(y, fit.orders, fit.origin).smooth(fit.params, cov_type=cov_type, results_class=Results)


def forecast(fit: Fit, y: np.ndarray, steps: int, level: float) -> np.ndarray:
    """Mean and interval of the `steps` rows after `y`: ndarray of shape (3, steps), of mean, lower and upper.

    Where too little is known to start from, the mean is the series' level and there is no interval (NaN).
    """
    future = np.arange(len(y), len(y) + steps) - fit.origin
    exog = _trend(fit.orders, future)[:, np.newaxis] if fit.orders.constant else None
    z, params, scale = _scaled(y, fit.orders, fit.params)
    filtered = _model(z, fit.orders, fit.origin).filter(params, cov_type="none")
    if _unresolved(filtered.filter_results, len(y)):
        return np.stack([np.full(steps, fit.level), *np.full((2, steps), np.nan)])
    found = filtered.get_forecast(steps, exog=exog)
    lower, upper = found.conf_int(alpha=1 - level).T
    return scale * np.stack([found.predicted_mean, lower, upper])


def _unresolved(found, row: int) -> bool:
    """Whether the labels before `row` are too few to know where a series that is differenced stands."""
    diffuse = found.predicted_diffuse_state_cov
    return diffuse is not None and row <= found.nobs_diffuse and bool(np.any(np.abs(diffuse[:, :, row]) > 1e-9))


class Filtered:
    """The states of a series, given `fit`: what is forecast from each row on, for any number of rows ahead."""

    def __init__(self, fit: Fit, y: np.ndarray):
        self._given = fit, y
        z, params, self.scale = _scaled(y, fit.orders, fit.params)
        found = _filtered(fit, z, params, _STATES)
        self.diffuse = found.nobs_diffuse
        self.states = found.predicted_state
        self.transition = np.ascontiguousarray(found.transition[:, :, 0])
        self.design = np.ascontiguousarray(found.design[0, :, 0])
        self._ahead: tuple[int, np.ndarray, list[float]] = (-1, self.states[:, 0], [])

    def signal(self, last: int, ahead: int) -> float | None:
        """What the states foretell `ahead` rows after row `last`, without mean or drift; None: they can't yet."""
        if last < self.diffuse and _unresolved(self._start, last + 1):
            return None
        if self._ahead[0] != last:  # rows come in their order: those that share one come together
            self._ahead = last, np.array(self.states[:, last + 1]), []
        _, state, found = self._ahead
        # One state at a time: products of whole blocks round by their width, and so by what else is asked.
        while len(found) < ahead:
            if found:
                state[:] = self.transition @ state
            found.append(float(self.design @ state))
        return found[ahead - 1] * self.scale

    @cached_property
    def _start(self):
        """The rows that start diffuse, filtered with their covariances."""
        fit, y = self._given
        z, params, _ = _scaled(y[: self.diffuse], fit.orders, fit.params)
        return _filtered(fit, z, params)


def _filtered(fit: Fit, z: np.ndarray, params: np.ndarray, conserve: int | None = None):
    """statsmodels' filter of a scaled series, which keeps what `conserve` leaves."""
    model = _model(z, fit.orders, fit.origin)
    model.update(params)
    with np.errstate(all="ignore"):
        return model.ssm.filter(conserve_memory=conserve)


def known_from(y: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n,): the row from which on each label may be used, never its own; beyond the last row where there is none."""
    never = np.iinfo(np.intp).max
    return np.where(np.isnan(y), never, np.maximum(end, np.arange(len(y)) + 1))


def predict_rows(fit: Fit, y: np.ndarray, end: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The forecast of the label of each of `rows`, from the labels that are known there.

    Labels are filtered once. Where those known on a row have a gap that a later row fills (spans that differ), the
    row has a filter of its own, so that it is right and slow.

    Parameters
    ----------
    fit : Fit
    y, end : ndarray of shape (n,)
        Labels, and the last row that each looks at.
    rows : ndarray of shape (k,), intp

    Returns
    -------
    ndarray of shape (k,)
    """
    since = known_from(y, end)
    at = np.flatnonzero(~np.isnan(y))
    order = np.argsort(since[at], kind="stable")
    count = np.searchsorted(since[at][order], rows, side="right")
    last = np.concatenate([[-1], np.maximum.accumulate(at[order])])[count]
    whole = np.searchsorted(at, last, side="right") == count
    filtered = Filtered(fit, y[: last[whole].max() + 1]) if (whole & (count > 0)).any() else None
    o, out = fit.orders, np.empty(len(rows))
    constant = fit.params[0] if o.constant else 0.0
    for i, (row, until) in enumerate(zip(rows, last, strict=True)):
        poll()
        signal = None if o.diffuse else 0.0
        if count[i]:
            mine = filtered if whole[i] else Filtered(fit, np.where(since <= row, y, np.nan)[: until + 1])
            signal = mine.signal(int(until), int(row - until))
        if signal is not None:
            out[i] = signal + constant * _trend(o, row - fit.origin)
        else:
            out[i] = np.mean(y[since <= row]) if count[i] else fit.level
    return out


def auto_orders(y: np.ndarray, most: Orders, criterion: str) -> Orders:
    """The orders up to `most` that statsforecast's AutoARIMA chooses for a series without gaps.

    It is handed the series without its mean or drift: it would try each order without the constant too, which is
    another model, and takes its unit for the series'.
    """
    from statsforecast.models import AutoARIMA

    centre, scale = _unit(y, most)
    z = (y - centre) / scale
    if most.constant and most.diffuse:
        z -= np.mean(differences(z, most)) / (most.period if most.D else 1) * np.arange(len(z))
    search = AutoARIMA(
        d=most.d,
        D=most.D,
        max_p=most.p,
        max_q=most.q,
        max_P=most.P,
        max_Q=most.Q,
        max_order=most.p + most.q + most.P + most.Q,
        ic=criterion,
        stepwise=False,
        approximation=False,
        seasonal=most.period > 1,
        season_length=most.period,
        allowmean=False,
        allowdrift=False,
    )
    with hush(Warning):  # of divisions that its optimiser goes on from
        found = search.fit(z)
    p, q, P, Q = found.model_["arma"][:4]
    return replace(most, p=int(p), q=int(q), P=int(P), Q=int(Q))
