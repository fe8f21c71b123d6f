"""Fama-MacBeth by linearmodels, and loadings by least squares; imported when a spec is built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import DataError, ParameterError, UnknownNameError
from ..registry import Param
from ._estimators import checked_weight
from ._regression import LeastSquares, interval_table, newey_west_lags
from .context import Context

_LAGS = Param("lags", None, low=0, high=10_000, optional=True, kind=int)


class FamaMacBethRegressor(RegressorMixin, BaseEstimator):
    """The average over rows of regressions across symbols.

    Parameters
    ----------
    cov : {"nonrobust", "HAC"}, default "nonrobust"
    lags : int, optional
        Of "HAC"; default `newey_west_lags` of the rows.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Average coefficients; 0 for a feature that differs between symbols on no row.
    intercept_ : float
    premia_ : DataFrame of shape (periods_, k)
        The coefficients of each row that was used, indexed by its number in the context; ``const`` first.
    covariance_ : ndarray of shape (k, k)
        Of the averages; NaN where there are no more rows than coefficients.
    standard_errors_ : ndarray of shape (k,)
    names_ : list of str
        ``const`` and the features.
    periods_ : int
        Rows that were used.
    n_features_in_ : int
    """

    def __init__(self, cov: str = "nonrobust", lags: int | None = None):
        self.cov = cov
        self.lags = lags

    def fit(self, X, y, sample_weight=None, context=None):
        """Fit `X` (n_samples, n_features) to `y` (n_samples,), row by row of `context`."""
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        weight = checked_weight(sample_weight, X)
        row, column = (
            (np.zeros(len(X), dtype=int), np.arange(len(X))) if context is None else (context.row, context.column)
        )
        if weight is not None:
            used = weight > 0
            X, y, row, column, weight = X[used], y[used], row[used], column[used], weight[used]
        features = getattr(self, "feature_names_in_", [f"x{j + 1}" for j in range(X.shape[1])])
        self.names_ = ["const", *map(str, features)]
        varies = self._varies(X, row)
        if not varies.any():
            raise DataError(
                f"fama_macbeth: no feature differs between symbols on any row (n_samples={len(X)})",
                hint="it compares symbols with each other; for one symbol use ols",
            )
        kept = self._wide_enough(row, 1 + int(varies.sum()))
        X, y, row, column = X[kept], y[kept], row[kept], column[kept]
        weight = None if weight is None else weight[kept]
        self._estimate(X[:, varies], y, weight, row, column, np.r_[True, varies])
        return self

    @staticmethod
    def _varies(X: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Which features differ between symbols on any row."""
        order = np.argsort(row, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(row[order]) > 0])
        high = np.maximum.reduceat(X[order], starts, axis=0)
        return (high > np.minimum.reduceat(X[order], starts, axis=0)).any(axis=0)

    def _wide_enough(self, row: np.ndarray, needed: int) -> np.ndarray:
        """The samples on rows that have as many as there are coefficients."""
        _, which, counts = np.unique(row, return_inverse=True, return_counts=True)
        kept = counts[which] >= needed
        if not kept.any():
            raise DataError(
                f"fama_macbeth: {needed} coefficients need as many symbols on a row, found at most {counts.max()} "
                f"(n_samples={len(row)})",
                hint="take fewer features or more symbols; for one symbol use ols",
            )
        return kept

    def _estimate(self, X, y, weight, row, column, estimated) -> None:
        """Fit by linearmodels; by plain averages where there are too few rows for it to give errors."""
        k, periods = X.shape[1] + 1, len(np.unique(row))
        means, covariance, self._table = np.zeros(len(estimated)), np.full((len(estimated),) * 2, np.nan), None
        names = [name for name, used in zip(self.names_, estimated, strict=True) if used]
        if periods < max(k, 2):
            premia = {t: self._across(X, y, weight, row == t) for t in np.unique(row)}
            premia = pd.DataFrame(premia.values(), index=list(premia), columns=names)
        else:
            results = self._results(X, y, weight, row, column, names)
            premia = results.all_params.dropna()
            covariance[np.ix_(estimated, estimated)] = results.cov
            self._table = results.summary
        means[estimated] = premia.mean(axis=0)
        self.premia_, self.periods_ = premia.rename_axis("row"), len(premia)
        self.intercept_, self.coef_ = float(means[0]), means[1:]
        self.covariance_, self.standard_errors_ = covariance, np.sqrt(np.diag(covariance))

    @staticmethod
    def _across(X, y, weight, at) -> np.ndarray:
        """The regression on one row."""
        fitted = LeastSquares().fit(X[at], y[at], None if weight is None else weight[at])
        return np.r_[fitted.intercept_, fitted.coef_]

    def _results(self, X, y, weight, row, column, names):
        """linearmodels' results."""
        from linearmodels.panel import FamaMacBeth

        # the only frame of samples with two indices outside of Panel: linearmodels asks for it
        index = pd.MultiIndex.from_arrays([column, row], names=["symbol", "row"])
        design = pd.DataFrame(np.column_stack([np.ones(len(X)), X]), index=index, columns=names)
        given = None if weight is None else pd.Series(weight, index=index)
        found = FamaMacBeth(pd.Series(y, index=index, name="y"), design, weights=given, check_rank=False)
        if self.cov != "HAC":
            return found.fit()
        periods = len(np.unique(row))
        lags = newey_west_lags(periods) if self.lags is None else self.lags
        return found.fit(cov_type="kernel", kernel="bartlett", bandwidth=min(lags, periods - 1))

    def predict(self, X, context=None):
        """``X @ coef_ + intercept_``: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64) @ self.coef_ + self.intercept_

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals by Student's t with ``periods_ - 1`` degrees of freedom; as `LeastSquares.intervals`."""
        check_is_fitted(self)
        return interval_table(
            self.names_, np.r_[self.intercept_, self.coef_], self.standard_errors_, level, self.periods_ - 1
        )

    def summary(self):
        """The table of linearmodels.

        Raises
        ------
        DataError
            There were too few rows for errors.
        """
        check_is_fitted(self)
        if self._table is None:
            raise DataError(f"fama_macbeth: {self.periods_} rows give no errors of {len(self.names_)} averages")
        return self._table


def loadings_table(
    returns: pd.DataFrame, factors: pd.DataFrame, cov: str, lags: int | None
) -> tuple[pd.DataFrame, dict]:
    """The table and the fits of `workbench.models.factor_loadings`."""
    choices = ("nonrobust", "HC1", "HAC")
    if cov not in choices:
        raise ParameterError(f"cov={cov!r} is not a choice", hint=UnknownNameError.of("cov", cov, choices).hint)
    lags = _LAGS.check(lags, "factor_loadings")
    names = ["alpha", *map(str, factors.columns)]
    X = factors.to_numpy()
    whole = ~np.isnan(X).any(axis=1)
    fits, rows = {}, []
    for asset, y in zip(returns.columns, returns.to_numpy().T, strict=True):
        at = np.flatnonzero(whole & ~np.isnan(y))
        if np.isinf(X[at]).any() or np.isinf(y[at]).any():
            raise DataError(f"asset {asset!r} or its factors hold infinite values", hint="missing is NaN")
        if len(at) <= len(names):
            raise DataError(
                f"asset {asset!r} has {len(at)} rows with all of returns and factors, expected more than "
                f"{len(names)}, the number of coefficients"
            )
        # rows keep their numbers, so that lags count over gaps too
        where = replace(Context.of_series(X[at]), row=at)
        features = pd.DataFrame(X[at], columns=names[1:])
        fitted = fits[asset] = LeastSquares(cov=cov, lags=lags).fit(features, y[at], context=where)
        estimate, error = np.r_[fitted.intercept_, fitted.coef_], fitted.standard_errors_
        with np.errstate(all="ignore"):
            cells = np.stack([estimate, error, estimate / error], axis=1).ravel()
        rows.append([*cells, fitted.r2_, len(at)])
    columns = [name + suffix for name in names for suffix in ("", "_se", "_t")]
    table = pd.DataFrame(rows, index=returns.columns, columns=[*columns, "r2", "samples"])
    return table.astype({"samples": int}).rename_axis("asset"), fits
