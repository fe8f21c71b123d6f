"""ARIMA behind scikit-learn's interface, one model a symbol; imported when a spec is built."""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data
from statsmodels.stats.diagnostic import acorr_ljungbox

from ..errors import DataError, MissingPackageError, ParameterError, UnknownNameError
from ..registry import Param
from . import _sarimax
from ._sarimax import CRITERIA, LEAST_LABELS, Fit, Orders
from .context import Context

_STEPS = Param("steps", 1, low=1, high=100_000)
_LEVEL = Param("level", 0.95, low=1e-6, high=1 - 1e-9)
_NAMES = ("p", "d", "q", "P", "D", "Q")


class ArimaRegressor(RegressorMixin, BaseEstimator):
    """One seasonal ARIMA for the labels of each symbol; features are checked and not read.

    How many cores estimate is no part of the model: one, unless ``joblib.parallel_config("loky", n_jobs=2)`` around
    `fit` or `predict` says otherwise; the numbers are the same, to the bit. Threads gain nothing: statsmodels holds
    the GIL.

    Parameters
    ----------
    p, d, q : int, default 1, 0, 1
        Orders of autoregression, differencing and moving average.
    P, D, Q : int, default 0
        The same, `period` rows apart.
    period : int, default 1
        Rows of a season; 1: none.
    constant : bool, optional
        Whether the differenced series has a mean. Default: where nothing is differenced.
    select : {"none", "aic", "aicc", "bic"}, default "none"
        What chooses, symbol by symbol, among the orders up to p, q, P and Q; "none": these themselves.
    search : {"grid", "statsforecast"}, default "grid"
        Who chooses: every order tried here, or statsforecast's AutoARIMA, for series without gaps. A spec names it
        wherever `select` asks for a search, and has None elsewhere.
    refit : int, default 0
        Rows between estimations within a test, counted from where training ends; 0: none.

    Attributes
    ----------
    series_ : list of Fit, length N
        The model of each symbol.
    converged_ : ndarray of bool, shape (N,)
        False where the maximum of the likelihood was not found, or there were too few labels to look for it.
    tried_ : DataFrame
        Every order that was tried, for each symbol, with its criteria.
    label_ : ndarray of shape (T, N)
        What was trained on, up to the last row with a label.
    n_features_in_ : int
    """

    def __init__(
        self,
        p=1,
        d=0,
        q=1,
        P=0,
        D=0,
        Q=0,
        period=1,
        constant=None,
        select="none",
        search="grid",
        refit=0,
    ):
        self.p = p
        self.d = d
        self.q = q
        self.P = P
        self.D = D
        self.Q = Q
        self.period = period
        self.constant = constant
        self.select = select
        self.search = search
        self.refit = refit

    def fit(self, X, y, context=None):
        """Estimate the model of each symbol from its training labels.

        Parameters
        ----------
        X : ndarray of shape (n, F)
            Checked, and not read.
        y : ndarray of shape (n,)
            Read where there is no `context`, as one series.
        context : Context, optional
            Its labels are the series.

        Raises
        ------
        ParameterError
            Orders that contradict each other.
        MissingPackageError
            statsforecast is asked for and not installed.
        ValueError
            NaN or infinite input, no sample, lengths that differ.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        context = Context.of_series(X, y) if context is None else context
        return self.fit_labels(context.label, context.end)

    def fit_labels(self, label: np.ndarray, end: np.ndarray):
        """As `fit`, of labels (T, N), NaN where there is none, and the last row that each of them looks at (T, N).

        A walk fits by this, so that no feature is read, or copied. Labels are read symbol by symbol, as ``label[:, j]``
        of an array or of whatever stands for one.
        """
        orders = self._orders()
        first, last, known = _extent(label, end)  # which may refuse them: nothing of a former fit is changed by then
        self._label = np.array(label, dtype=np.float64, order="F") if isinstance(label, np.ndarray) else label
        self.first_, self._last, self.known_ = first, last, known
        columns = _Columns(self)
        chosen, tried = self._chosen(columns, orders)
        pool = None if all(fit.labels for fit in chosen) else self.label_[~np.isnan(self.label_)]
        self.series_ = [
            replace(fit if fit.labels else _sarimax.bare(y, orders, 0, pool), origin=self.first_)
            for fit, y in zip(chosen, columns, strict=True)
        ]
        self.converged_ = np.array([fit.converged for fit in self.series_])
        self.tried_ = tried
        lost = [j for j, fit in enumerate(self.series_) if fit.estimated and not fit.converged]
        _warn(len(lost), f"{_listed(lost, len(columns))}; converged_ is False there")
        # those with fewer labels than the least could bear no orders at all
        large = [
            j
            for j, fit in enumerate(self.series_)
            if not (fit.estimated or fit.converged) and _sarimax.differences(columns[j], orders).size >= LEAST_LABELS
        ]
        if large:
            instead = "a random walk" if orders.diffuse else "their mean"
            warnings.warn(
                f"arima: the orders have {orders.parameters} parameters, too many for the labels (at least 3 for each) "
                f"of {_listed(large, len(columns))}; {instead} without ARMA terms is used there, converged_ is False",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @property
    def label_(self) -> np.ndarray:
        return np.asarray(self._label, dtype=np.float64)[: self._last + 1]

    def _series(self, j: int, first: int = 0) -> np.ndarray:
        """What symbol number `j` was trained on, from row `first` on."""
        return np.asarray(self._label[first : self._last + 1, j], dtype=np.float64)

    def predict(self, X, context=None):
        """The forecast of the label of each sample from the labels of its symbol that are known on its row.

        A label is known from the row on that it looks at last, ``context.end``. With labels of horizon h that is the
        forecast h rows ahead.

        Parameters
        ----------
        X : ndarray of shape (n, F)
            Checked, and not read.
        context : Context, optional
            Without one each sample is taken for the row after the training rows.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        DataError
            Other symbols than were fitted.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        symbols = len(self.series_)
        if context is None:
            if symbols > 1:
                raise DataError(f"arima was fitted on {symbols} symbols: predict needs the context of its samples")
            return np.full(len(X), self.forecast(1)[0, 0, 0])
        if context.label.shape[1] != symbols:
            raise DataError(f"arima was fitted on {symbols} symbols, the samples have {context.label.shape[1]}")
        out = np.empty(len(X))
        asked = np.unique(context.column)
        tasks = (  # one after the other: all of them together would hold the labels once more
            joblib.delayed(_predict_symbol)(
                self.series_[j],
                np.ascontiguousarray(context.label[:, j], dtype=np.float64),
                np.ascontiguousarray(context.end[:, j]),
                context.row[context.column == j].astype(np.intp),
                (self.refit, self.known_, self.first_, self._orders() if self.select == "none" else None),
            )
            for j in asked
        )
        found = joblib.Parallel()(tasks)
        for j, (values, _) in zip(asked, found, strict=True):
            out[context.column == j] = values
        lost = sum(lost for _, lost in found)
        _warn(lost, f"{lost} estimations of the schedule (refit={self.refit}); the parameters before stay")
        return out

    def forecast(self, steps: int = 1, level: float = 0.95, skip: int = 0) -> np.ndarray:
        """Mean and interval of the rows after the training rows.

        The interval is that of the model: normal, and as sure of its parameters as if they were known.

        Parameters
        ----------
        steps : int, default 1
            Rows ahead.
        level : float, default 0.95
            Share of the outcomes that the interval shall hold, above 0 and below 1.
        skip : int, default 0
            Rows after the last label that are not forecast: those that passed without one.

        Returns
        -------
        ndarray of shape (3, steps, N)
            Mean, lower and upper end.
        """
        check_is_fitted(self)
        steps, level = _STEPS.check(steps, "forecast"), _LEVEL.check(level, "forecast")
        found = [_sarimax.forecast(fit, self._series(j), steps + skip, level) for j, fit in enumerate(self.series_)]
        return np.stack(found, axis=2)[:, skip:]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # it reads no feature
        return tags

    def diagnostics(self) -> pd.DataFrame:
        """What the residuals say of each model.

        Returns
        -------
        DataFrame
            One row a symbol: orders, labels, loglik (of the differenced series), aic, aicc, bic, variance, converged;
            ljung_box (are residuals correlated, over min(10, n/5) lags, or two seasons), jarque_bera (are they
            normal) and heteroskedasticity (does their variance change from the first to the last third), each a
            p-value: a small one speaks against the model. NaN where there are too few residuals, and for ljung_box
            where labels are missing in between.
        """
        check_is_fitted(self)
        rows = [_diagnosed(fit, self._series(j, self.first_), self.first_) for j, fit in enumerate(self.series_)]
        return pd.DataFrame(rows)

    def summary(self, j: int = 0):
        """statsmodels' table of the model of symbol number `j`: coefficients with standard errors, tests."""
        check_is_fitted(self)
        if not 0 <= j < len(self.series_):
            raise UnknownNameError.of("symbol number", j, range(len(self.series_)))
        fit = replace(self.series_[j], origin=0)
        with np.errstate(all="ignore"):
            return _sarimax.results(fit, self._series(j, self.first_), cov_type="approx").summary()

    def _orders(self) -> Orders:
        """The orders asked for, the largest tried of a search; ParameterError where they contradict each other."""
        integrated = self.d + self.D > 0
        constant = not integrated if self.constant is None else bool(self.constant)
        if constant and self.d + self.D > 1:
            raise ParameterError(
                f"arima: constant=True with d={self.d} and D={self.D} would forecast a curve",
                hint="constant=False, or difference once",
            )
        if (self.P or self.D or self.Q) and self.period < 2:
            raise ParameterError(
                f"arima: P={self.P}, D={self.D}, Q={self.Q} with period={self.period}",
                hint="period is the rows of a season: 12 of months, 4 of quarters",
            )
        for short, long in (("p", "P"), ("q", "Q")):
            if getattr(self, long) and getattr(self, short) >= self.period:
                raise ParameterError(
                    f"arima: {short}={getattr(self, short)} reaches into the season that {long}={getattr(self, long)} "
                    f"stands for (period={self.period})",
                    hint=f"{short} of at most {self.period - 1}",
                )
        if self.select not in ("none", *CRITERIA):
            raise ParameterError(
                f"arima: select={self.select!r} is not a choice",
                hint=UnknownNameError.of("", self.select, CRITERIA).hint,
            )
        seasonal = self.P or self.D or self.Q
        return Orders(*(getattr(self, name) for name in _NAMES), self.period if seasonal else 1, constant)

    def _chosen(self, columns: Sequence[np.ndarray], orders: Orders) -> tuple[list[Fit], pd.DataFrame]:
        """The model of each symbol, and the table of what was tried."""
        if self.select == "none":
            candidates = [[orders]] * len(columns)
        else:
            ranges = (range(getattr(orders, name) + 1) for name in ("p", "q", "P", "Q"))
            grid = [replace(orders, p=p, q=q, P=P, Q=Q) for p, q, P, Q in itertools.product(*ranges)]
            candidates = [grid] * len(columns)
        by = ["grid" if self.select != "none" else "none"] * len(columns)
        if self.select != "none" and self.search == "statsforecast":
            if importlib.util.find_spec("statsforecast") is None:
                raise MissingPackageError(
                    "arima: search='statsforecast' needs the package statsforecast",
                    hint="pip install -c constraints.txt -e '.[search]', or search='grid'",
                )
            whole = [j for j, y in enumerate(columns) if _searchable(y, orders)]
            found = joblib.Parallel()(
                joblib.delayed(_sarimax.auto_orders)(_inner(columns[j]), orders, self.select) for j in whole
            )
            for j, one in zip(whole, found, strict=True):
                candidates[j], by[j] = [one], "statsforecast"
        tasks = [(j, one) for j in range(len(columns)) for one in candidates[j]]
        fits = joblib.Parallel()(joblib.delayed(_sarimax.fit_series)(columns[j], one) for j, one in tasks)
        best: list[Fit] = []
        for j in range(len(columns)):
            mine = [fit for (k, _), fit in zip(tasks, fits, strict=True) if k == j]
            best.append(replace(_best(mine, self.select), search=by[j]))
        table = [_tried(j, one, fit, best[j]) for (j, one), fit in zip(tasks, fits, strict=True)]
        return best, pd.DataFrame(table)


class _Columns(Sequence):
    """What each symbol was trained on, cut out where it is asked for."""

    def __init__(self, of: ArimaRegressor):
        self._of = of

    def __len__(self) -> int:
        return self._of._label.shape[1]

    def __getitem__(self, j: int) -> np.ndarray:
        if not 0 <= j < len(self):
            raise IndexError(j)
        return self._of._series(j, self._of.first_)


def _extent(label: np.ndarray, end: np.ndarray) -> tuple[int, int, int]:
    """The first and the last row with a label, and the last row that any label looks at."""
    found = []
    for j in range(label.shape[1]):
        at = np.flatnonzero(~np.isnan(label[:, j]))
        if len(at):
            found.append((at[0], at[-1], end[at, j].max()))
    if not found:
        raise DataError("arima: not one label to train on", hint="look at the label and at the training rows")
    first, last, known = zip(*found, strict=True)
    return int(min(first)), int(max(last)), int(max(known))


def _inner(y: np.ndarray) -> np.ndarray:
    """From the first to the last value that is there."""
    at = np.flatnonzero(~np.isnan(y))
    return y[at[0] : at[-1] + 1] if len(at) else y[:0]


def _searchable(y: np.ndarray, orders: Orders) -> bool:
    """Whether statsforecast can search: with a gap in it, a series of ARMA(1, 1) was found to be noise."""
    inner = _inner(y)
    return not np.isnan(inner).any() and _sarimax.enough(inner, orders)


def _best(fits: list[Fit], select: str) -> Fit:
    """The lowest criterion among those that converged; among the rest where none did."""
    if len(fits) == 1:
        return fits[0]
    able = [fit for fit in fits if fit.estimated and fit.converged] or [fit for fit in fits if fit.estimated]
    return min(able, key=lambda fit: fit.criterion(select)) if able else fits[0]


def _tried(j: int, orders: Orders, fit: Fit, best: Fit) -> dict:
    """A row of the table of what was tried."""
    shown = {name: fit.criterion(name) if fit.estimated else np.nan for name in CRITERIA}
    return {
        "symbol": j,
        **{name: getattr(orders, name) for name in _NAMES},
        "loglik": fit.loglik if fit.estimated else np.nan,
        **shown,
        "converged": fit.converged,
        "chosen": orders == best.orders,
        "search": best.search,
    }


def _predict_symbol(fit: Fit, y: np.ndarray, end: np.ndarray, rows: np.ndarray, schedule) -> tuple[np.ndarray, int]:
    """The forecasts of a symbol's `rows`, and how many estimations of the schedule found no maximum."""
    refit, known, first, orders = schedule
    since = _sarimax.known_from(y, end)
    # numbered from where training ends: what is forecast for a row doesn't depend on the rows asked beside it
    block = np.maximum((rows - known) // refit, 0) if refit else np.zeros(len(rows), dtype=np.intp)
    out, lost = np.empty(len(rows)), 0
    for number in np.unique(block):
        now = fit
        if number:
            seen = np.where(since <= known + number * refit, y, np.nan)[first:]
            wanted = fit.orders if fit.estimated or orders is None else orders
            again = _sarimax.fit_series(
                _trimmed(seen), wanted, fit.origin - first, warm=replace(fit, origin=fit.origin - first)
            )
            lost += again.estimated and not again.converged
            now = replace(again, origin=fit.origin) if again.estimated and again.converged else fit
        at = block == number
        out[at] = _sarimax.predict_rows(now, y, end, rows[at])
    return out, lost


def _trimmed(y: np.ndarray) -> np.ndarray:
    """Up to the last value that is there."""
    at = np.flatnonzero(~np.isnan(y))
    return y[: at[-1] + 1] if len(at) else y[:0]


def _diagnosed(fit: Fit, y: np.ndarray, first: int) -> dict:
    """A row of the table of diagnostics."""
    o = fit.orders
    row = {name: getattr(o, name) for name in _NAMES}
    row |= {"labels": fit.labels, "loglik": fit.loglik}
    row |= {name: fit.criterion(name) if fit.labels > o.diffuse + o.parameters + 1 else np.nan for name in CRITERIA}
    row |= {"variance": fit.params[-1], "estimated": fit.estimated, "converged": fit.converged}
    p_values = dict.fromkeys(("ljung_box", "jarque_bera", "heteroskedasticity"), np.nan)
    if fit.estimated:
        found = _sarimax.results(replace(fit, origin=fit.origin - first), _trimmed(y))
        inner = _inner(found.filter_results.standardized_forecasts_error[0, found.nobs_diffuse :])
        lags = min(2 * o.period if o.period > 1 else 10, len(inner) // 5)
        used = o.p + o.q + o.P + o.Q
        if lags > used and not np.isnan(inner).any():
            p_values["ljung_box"] = float(acorr_ljungbox(inner, lags=[lags], model_df=used)["lb_pvalue"].iloc[0])
        p_values["jarque_bera"] = float(found.test_normality("jarquebera")[0][1])
        p_values["heteroskedasticity"] = float(found.test_heteroskedasticity("breakvar")[0][1])
    return row | p_values


def _listed(found: list[int], symbols: int) -> str:
    """How many of the symbols, and the numbers of the first few."""
    shown = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
    return f"{len(found)} of {symbols} symbols, number {shown}"


def _warn(lost: int, which: str) -> None:
    if lost:
        warnings.warn(
            f"arima: the maximum of the likelihood was not found for {which}",
            ConvergenceWarning,
            stacklevel=3,
        )
