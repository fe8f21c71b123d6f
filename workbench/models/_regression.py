"""Least squares with standard errors; imported when a spec is built."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import qr, solve_triangular
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import DataError
from ._estimators import checked_weight

_EPS = np.finfo(float).eps
_DIAGNOSED = 20  # samples that the tests of the residuals in the full table ask for
_NOT_IDENTIFIED = 1e-8  # share of a direction that the data can't see, above which a coefficient has no error


def newey_west_lags(periods: int) -> int:
    """Lags of the Bartlett kernel where none are given: ``floor(4 * (periods / 100) ** (2 / 9))``.

    Source: Newey and West, 1994, Automatic Lag Selection in Covariance Matrix Estimation.
    """
    return math.floor(4 * (periods / 100) ** (2 / 9))


def interval_table(names, estimate, error, level: float, df: float | None) -> pd.DataFrame:
    """Estimates with standard errors and intervals, one a row; `df` of Student's t, None for the normal."""
    if not 0 < level < 1:
        raise DataError(f"level={level!r} is outside (0, 1)", hint="0.95 is the usual one")
    if df is not None and df <= 0:
        reach = math.nan
    else:
        reach = stats.norm.ppf((1 + level) / 2) if df is None else stats.t.ppf((1 + level) / 2, df)
    estimate, error = np.asarray(estimate, dtype=float), np.asarray(error, dtype=float)
    columns = {"estimate": estimate, "standard_error": error, "low": estimate - reach * error}
    return pd.DataFrame({**columns, "high": estimate + reach * error}, index=pd.Index(names, name="parameter"))


class _Solution:
    """The least-squares solution of one (weighted) problem, by QR on centred and scaled columns.

    Raw columns lose all digits of a polynomial of degree 10; centred and scaled ones, refined once, keep as many as
    the data have. Where the data can't tell coefficients apart, the one with the least norm on scaled features.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, intercept: bool):
        n, p = X.shape
        root = np.ones(n) if weight is None else np.sqrt(weight)
        total = float(root @ root)
        center, mean_y, Z = np.zeros(p), 0.0, X
        if intercept:
            center = _mean(X, root**2, total)
            mean_y, Z = float(_mean(y[:, np.newaxis], root**2, total)[0]), X - center
        scale = np.sqrt(root**2 @ Z**2 / total)
        scale[scale <= 4 * _EPS * np.abs(center)] = 0.0  # of a constant feature only rounding is left
        inverse = np.divide(1.0, scale, out=np.zeros(p), where=scale > 0)
        # in place from here on, where it can be: samples may be many
        Z = np.multiply(Z, inverse, out=Z if intercept else None)
        target = y - mean_y
        if weight is not None:
            Z *= root[:, np.newaxis]
            target *= root
        # numpy's, which is the same, takes four copies more
        Q, R = qr(np.array(Z, order="F"), mode="economic", overwrite_a=True, check_finite=False)
        Q = np.ascontiguousarray(Q)
        U, singular, Vt = np.linalg.svd(R)
        rank = int((singular > max(n, p) * _EPS * math.sqrt(total)).sum())
        null = Vt[rank:]  # a basis (one a row) of the directions that the data can't see
        if not len(null):
            coefficients = solve_triangular(R, Q.T @ target)
            coefficients += solve_triangular(R, Q.T @ (target - Z @ coefficients))
            del Z
            pinv = solve_triangular(R, Q.T, overwrite_b=True)
        else:
            pinv = (Vt[:rank].T / singular[:rank]) @ (U[:, :rank].T @ Q.T)
            coefficients = pinv @ target
        del Q
        self.coef = coefficients * inverse
        self.intercept = mean_y - float(center @ self.coef)
        self.rank = p - len(null) + int(intercept)
        pinv *= inverse[:, np.newaxis]
        self.pinv = pinv
        unseen = np.linalg.norm(null, axis=0) > _NOT_IDENTIFIED
        self.estimable = ~unseen
        triangle = R * scale
        if intercept:
            self.pinv = np.vstack([root / total - center @ self.pinv, self.pinv])
            # a direction that can't be seen takes the constant along, unless it leaves the mean where it is
            moved = np.abs(null @ (inverse * center)).max(initial=0)
            known = moved <= _NOT_IDENTIFIED * np.linalg.norm(inverse * center)
            self.estimable = np.r_[known, self.estimable]
            first = math.sqrt(total) * np.r_[1.0, center]
            triangle = np.vstack([first, np.column_stack([np.zeros(len(R)), triangle])])
        self.singular = np.linalg.svd(triangle, compute_uv=False)  # of the design as it stands


def _mean(X: np.ndarray, weight: np.ndarray, total: float) -> np.ndarray:
    """The weighted mean of each column, corrected once, so that a constant column is its own mean to the last bit."""
    mean = weight @ X / total
    return mean + weight @ (X - mean) / total


class LeastSquares(RegressorMixin, BaseEstimator):
    """Ordinary (with weights: weighted) least squares, with the inference of statsmodels.

    Parameters
    ----------
    intercept : bool, default True
    cov : {"nonrobust", "HC1", "HAC"}, default "nonrobust"
        Of the estimates: for errors that are alike and independent; that differ in variance (White, 1980); that also
        depend on each other over `lags` rows (Newey and West, 1987), and within a row where samples of several
        symbols share it (Driscoll and Kraay, 1998).
    lags : int, optional
        Of "HAC"; default `newey_west_lags` of the rows.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
        0.0 without an intercept.
    covariance_ : ndarray of shape (k, k)
        Of the k estimates, the intercept first where there is one; NaN where the data can't tell them apart.
    standard_errors_ : ndarray of shape (k,)
    names_ : list of str
        Of the estimates: ``const`` and the features.
    rank_ : int
        Of the design; k where every estimate is identified.
    df_resid_ : int
        Samples less `rank_`.
    rss_, r2_ : float
        (Weighted) residual sum of squares; share of the variance explained.
    n_features_in_ : int
    """

    def __init__(self, intercept: bool = True, cov: str = "nonrobust", lags: int | None = None):
        self.intercept = intercept
        self.cov = cov
        self.lags = lags

    def fit(self, X, y, sample_weight=None, context=None):
        """Fit `X` (n_samples, n_features) to `y` (n_samples,).

        Parameters
        ----------
        sample_weight : ndarray of shape (n_samples,), optional
            Inversely proportional to the variance of each error; samples of weight 0 are left out.
        context : Context, optional
            Where the samples stand; without one they are the rows of one series. Only "HAC" asks for it.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        y = y.astype(np.float64, copy=False)
        row = np.arange(len(X)) if context is None else context.row
        weight = checked_weight(sample_weight, X)
        if weight is not None and not weight.all():
            used = weight > 0
            X, y, row, weight = X[used], y[used], row[used], weight[used]
        solution = _Solution(X, y, weight, self.intercept)
        self.coef_, self.intercept_ = solution.coef, solution.intercept if self.intercept else 0.0
        self.rank_, self.df_resid_ = solution.rank, len(X) - solution.rank
        features = getattr(self, "feature_names_in_", [f"x{j + 1}" for j in range(X.shape[1])])
        self.names_ = [*(["const"] if self.intercept else []), *map(str, features)]
        self._infer(X, y, weight, row, solution)
        return self

    def _infer(self, X, y, weight, row, solution: _Solution) -> None:
        """Hand the solution to statsmodels for errors and the table, and keep these without the data."""
        from statsmodels.regression.linear_model import OLS, WLS, OLSResults, RegressionResults

        design = np.column_stack([np.ones(len(X)), X]) if self.intercept else X
        given = {} if weight is None else {"weights": weight}
        model = (OLS if weight is None else WLS)(y, design, hasconst=self.intercept, **given)
        model.pinv_wexog, model.rank = solution.pinv, solution.rank
        model.normalized_cov_params = solution.pinv @ solution.pinv.T
        model.wexog_singular_values = solution.singular
        model.df_model, model.df_resid = solution.rank - int(self.intercept), self.df_resid_
        estimates = np.r_[[self.intercept_] if self.intercept else [], self.coef_]
        kind = OLSResults if weight is None else RegressionResults
        cov_type, options = self._covariance_options(row)
        self._table, self._why_none = None, None
        with np.errstate(all="ignore"):
            if self.df_resid_ <= 0:
                # statsmodels would divide by no degrees of freedom
                self.covariance_ = np.full((len(estimates),) * 2, np.nan)
                residual = (1 if weight is None else np.sqrt(weight)) * (y - design @ estimates)
                self.rss_, self.r2_, self._normal = float(residual @ residual), math.nan, False
                self._why_none = f"{len(X)} samples leave no degree of freedom for {solution.rank} coefficients"
            else:
                results = kind(model, estimates, model.normalized_cov_params, cov_type=cov_type, cov_kwds=options)
                self.covariance_ = np.array(results.cov_params(), dtype=float)
                self.rss_, self.r2_ = float(results.ssr), float(results.rsquared)
                self._normal = not results.use_t
                self._tabulate(results, solution, len(X))
        lost = ~solution.estimable
        self.covariance_[lost], self.covariance_[:, lost] = np.nan, np.nan
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))

    def _covariance_options(self, row: np.ndarray) -> tuple[str, dict]:
        """statsmodels' name and options of the covariance."""
        if self.cov != "HAC":
            return self.cov, {}
        time = row - row.min()
        last = int(time.max())
        lags = min(newey_west_lags(last + 1) if self.lags is None else self.lags, last)
        if len(time) == last + 1 and (time == np.arange(last + 1)).all():
            return "HAC", {"maxlags": lags, "use_correction": False}
        # Newey and West's on the sums over each row (Driscoll and Kraay's); a row without a sample counts as 0
        return "hac-groupsum", {"time": time, "maxlags": lags, "use_correction": False, "df_correction": False}

    def _tabulate(self, results, solution: _Solution, n: int) -> None:
        """Keep the table as statsmodels writes it, or why there is none."""
        if not solution.estimable.all():
            names = [name for name, seen in zip(self.names_, solution.estimable, strict=True) if not seen]
            self._why_none = f"the data can't tell {', '.join(names[:6])} apart (constant or collinear features)"
            return
        exact = self.rss_ <= (1e-12) ** 2 * float(results.model.wendog @ results.model.wendog)
        self._table = results.summary(xname=self.names_, slim=n < _DIAGNOSED or exact)

    def predict(self, X, context=None):
        """``X @ coef_ + intercept_``: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return X @ self.coef_ + self.intercept_

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of the estimates, by Student's t for "nonrobust", by the normal otherwise.

        Parameters
        ----------
        level : float, default 0.95
            Share of intervals that cover, in (0, 1).

        Returns
        -------
        DataFrame
            One row an estimate: estimate, standard_error, low, high; NaN where it is not identified.
        """
        check_is_fitted(self)
        estimates = np.r_[[self.intercept_] if self.intercept else [], self.coef_]
        return interval_table(
            self.names_, estimates, self.standard_errors_, level, None if self._normal else self.df_resid_
        )

    def summary(self):
        """The table that statsmodels prints for this fit (the slim one below 20 samples, or where it is exact).

        Returns
        -------
        statsmodels.iolib.summary.Summary

        Raises
        ------
        DataError
            Some coefficients are not identified, or no degree of freedom is left.
        """
        check_is_fitted(self)
        if self._table is None:
            raise DataError(f"ols: no table of errors: {self._why_none}", hint="leave out features, or take more rows")
        return self._table
