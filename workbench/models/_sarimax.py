"""One series and its seasonal ARIMA, on statsmodels: estimated, filtered, forecast; imported when a spec is built.

The differencing stands in the state space and starts exactly diffuse, so that a missing value costs one value and
no more. A series is standardised before the likelihood is maximised, with the scale concentrated out: labels are
returns of 0.01 and price levels of 10,000, and an optimiser that works in one unit stops early in the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
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
PIECE = 2_048  # rows that are filtered at a time for forecasts, so that a long series takes no more than a short one
# What a filter keeps of each row: all of it is several square matrices of states.
_LIKELIHOOD = kalman_filter.MEMORY_CONSERVE & ~kalman_filter.MEMORY_NO_LIKELIHOOD
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
    starts = _starts(z, orders, origin, len(differences(y, orders)))
    if warm is not None and warm.orders == orders:
        start = warm.params[:-1].copy()
        start[: orders.constant] = (start[: orders.constant] - (0.0 if orders.diffuse else centre)) / scale
        starts = itertools.chain([start], starts)
    params, converged = _maximum(_model(z, orders, origin, concentrate=True), starts)
    if params is None:
        return replace(bare(y, orders, origin), estimated=True, converged=False)
    params[-1] *= scale**2
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


def _maximum(model: SARIMAX, starts: Iterable[np.ndarray]) -> tuple[np.ndarray | None, bool]:
    """The parameters with the highest likelihood found, scale last, and whether the search ended; None: none is finite.

    statsmodels' results are let go here: they and the model hold some thirty numbers a row.
    """
    # without the covariances of the errors the likelihood of a diffuse start is not found
    kept = kalman_filter.MEMORY_NO_FORECAST_COV if model.k_states_diffuse else 0
    model.ssm.set_conserve_memory(_LIKELIHOOD & ~kept)
    if not model.k_params:
        return np.array([model.filter(np.empty(0), cov_type="none").scale]), True
    best, highest = None, -np.inf
    for start in starts:
        try:
            with np.errstate(all="ignore"):
                found = model.fit(start, disp=0, maxiter=_ITERATIONS, cov_type="none", warn_convergence=False)
        except np.linalg.LinAlgError:
            continue
        if not np.isfinite(found.llf) or not np.isfinite(found.params).all():
            continue
        params = np.append(found.params, found.scale)
        if found.mle_retvals["converged"]:
            return params, True
        if found.llf > highest:
            best, highest = params, found.llf
    return best, False


def loglik(y: np.ndarray, orders: Orders, params: np.ndarray, origin: int) -> float:
    """Of the differences of `y`, given parameters in its unit."""
    model, params, scale = _given(y, orders, params, origin)
    used = int(np.isfinite(y).sum()) - orders.diffuse
    with np.errstate(all="ignore"):
        found = float(model.loglike(params))
    return found + orders.diffuse * _DENSITY - used * math.log(scale)


def _given(y: np.ndarray, orders: Orders, params: np.ndarray, origin: int) -> tuple[SARIMAX, np.ndarray, float]:
    """A model of `y` without its mean or drift, in units of the deviation: with its parameters, and the deviation.

    As a regressor the mean would take a dozen numbers a row; a variance below 1e-19 statsmodels takes for none.
    """
    scale = math.sqrt(params[-1])
    left = y - _drift(orders, params, np.arange(len(y)) - origin)
    left /= scale
    return _model(left, replace(orders, constant=False), origin), np.append(params[orders.constant : -1], 1.0), scale


def _drift(orders: Orders, params: np.ndarray, rows: np.ndarray | int) -> np.ndarray | float:
    """The mean of the series, or its drift on `rows`, counted from its origin."""
    return params[0] * _trend(orders, rows) if orders.constant else 0.0


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
    model, params, scale = _given(y, fit.orders, fit.params, fit.origin)
    filtered = model.filter(params, cov_type="none")
    if _unresolved(filtered.filter_results, len(y)):
        return np.stack([np.full(steps, fit.level), *np.full((2, steps), np.nan)])
    found = filtered.get_forecast(steps)
    lower, upper = found.conf_int(alpha=1 - level).T
    drift = _drift(fit.orders, fit.params, np.arange(len(y), len(y) + steps) - fit.origin)
    return scale * np.stack([found.predicted_mean, lower, upper]) + drift


def _unresolved(found, row: int) -> bool:
    """Whether the labels before `row` are too few to know where a series that is differenced stands."""
    diffuse = found.predicted_diffuse_state_cov
    return diffuse is not None and row <= found.nobs_diffuse and bool(np.any(np.abs(diffuse[:, :, row]) > 1e-9))


class Filtered:
    """The states of a series, given `fit`: what is forecast from each row on, for any number of rows ahead.

    Rows are asked in their order: states are found piece by piece, each from where the one before it ends, and only
    those of one piece are held. (Each looks anew whether the gain has settled: statsmodels takes it for so at 1e-10.)
    """

    def __init__(self, fit: Fit, y: np.ndarray):
        self._of = fit, y
        self._first = self._last = 0  # the rows of this piece
        piece = PIECE
        found = self._filter(piece)
        while found.nobs_diffuse >= piece < len(y):  # it can be gone on from where all of the start is known
            piece *= 2
            found = self._filter(piece)
        self.diffuse = found.nobs_diffuse
        self.transition = np.ascontiguousarray(found.transition[:, :, 0])
        self.design = np.ascontiguousarray(found.design[0, :, 0])
        self._keep(found)

    def signal(self, last: int, ahead: int) -> float | None:
        """What the states foretell `ahead` rows after row `last`, without mean or drift; None: they can't yet."""
        if last < self.diffuse and _unresolved(self._start, last + 1):
            return None
        while last >= self._last:
            self._keep(self._filter(PIECE, self._states[:, -1], self._spread))
        if self._ahead[0] != last:  # those that share one come together
            self._ahead = last, np.array(self._states[:, last + 1 - self._first]), []
        _, state, found = self._ahead
        # One state at a time: products of whole blocks round by their width, and so by what else is asked.
        while len(found) < ahead:
            if found:
                state[:] = self.transition @ state
            found.append(float(self.design @ state))
        return found[ahead - 1] * self.scale

    def _filter(self, rows: int, *known: np.ndarray):
        """The next rows, from a known state and its covariance, where given."""
        fit, y = self._of
        found, self.scale = _filtered(fit, y[self._last : self._last + rows], self._last, known)
        return found

    def _keep(self, found) -> None:
        self._states, self._spread = found.predicted_state, found.predicted_state_cov[:, :, -1]
        self._first, self._last = self._last, self._last + self._states.shape[1] - 1
        self._ahead: tuple[int, np.ndarray | None, list[float]] = (-2, None, [])

    @cached_property
    def _start(self):
        """The rows that start diffuse, filtered with their covariances."""
        fit, y = self._of
        return _filtered(fit, y[: self.diffuse], conserve=None)[0]


def _filtered(
    fit: Fit, y: np.ndarray, first: int = 0, known: Sequence[np.ndarray] = (), conserve: int | None = _STATES
):
    """statsmodels' filter of a series from row `first` on, which keeps what `conserve` leaves; and the deviation."""
    model, params, scale = _given(y, fit.orders, fit.params, fit.origin - first)
    model.update(params)
    if known:
        model.ssm.initialize_known(*known)
    with np.errstate(all="ignore"):
        return model.ssm.filter(conserve_memory=conserve), scale


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
    count, last, whole = _known(y, end, rows)
    filtered = Filtered(fit, y[: last[whole].max() + 1]) if (whole & (count > 0)).any() else None
    out = np.empty(len(rows))
    for i in np.argsort(last, kind="stable"):
        poll()
        row, until = rows[i], last[i]
        signal = None if fit.orders.diffuse else 0.0
        if count[i]:
            mine = filtered if whole[i] else Filtered(fit, np.where(known_from(y, end) <= row, y, np.nan)[: until + 1])
            signal = mine.signal(int(until), int(row - until))
        if signal is not None:
            out[i] = signal + _drift(fit.orders, fit.params, row - fit.origin)
        else:
            out[i] = np.mean(y[known_from(y, end) <= row]) if count[i] else fit.level
    return out


def _known(y: np.ndarray, end: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of `rows`: how many labels are known there, which is the last of them, and whether they have no gap."""
    since, at = known_from(y, end), np.flatnonzero(~np.isnan(y))
    order = np.argsort(since[at], kind="stable")
    count = np.searchsorted(since[at][order], rows, side="right")
    last = np.concatenate([[-1], np.maximum.accumulate(at[order])])[count]
    return count, last, np.searchsorted(at, last, side="right") == count


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
