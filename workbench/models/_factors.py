"""Fama-MacBeth by linearmodels, and loadings by least squares; imported when a spec is built."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import DataError, ParameterError, UnknownNameError
from ..kernels import poll
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
        row, column = (np.zeros(len(X), int), np.arange(len(X))) if context is None else (context.row, context.column)
        if (row[1:] < row[:-1]).any():
            order = np.argsort(row, kind="stable")
            X, y, row, column = X[order], y[order], row[order], column[order]
            weight = None if weight is None else weight[order]
        return self.fit_rows(partial(_rows, X, y, weight, row, column))

    def fit_rows(self, rows: Callable[[], Iterable[tuple]]):
        """As `fit`, of one row after the other: a walk fits by this, so that no copy of all samples is made.

        Parameters
        ----------
        rows : callable
            ``rows()`` -> for each row its number, the symbols' numbers (k,), features (k, F), targets (k,), and weights
            (k,) or None, of the samples on it.
        """
        self.n_features_in_ = next(iter(rows()))[2].shape[1]
        names = getattr(self, "feature_names_in_", [f"x{j + 1}" for j in range(self.n_features_in_)])
        self.names_ = ["const", *map(str, names)]
        self._varies = np.zeros(self.n_features_in_, dtype=bool)
        samples = 0
        for _, _, X, y, weight in rows():
            X = X if weight is None else X[weight > 0]
            samples += len(y)
            self._varies |= (X[:1] != X).any(axis=0)
            if self._varies.all():
                break
        if not self._varies.any():
            raise DataError(
                f"fama_macbeth: no feature differs between symbols on any row (n_samples={samples})",
                hint="it compares symbols with each other; for one symbol use ols",
            )
        solved, found, identified = self._solved(rows())
        self._has_errors = identified and len(solved) >= max(found.shape[1], 2)
        self._average(solved, found)
        self._table, self._rows = None, rows if self._has_errors else None
        return self

    def _solved(self, rows: Iterable[tuple]) -> tuple[list[int], np.ndarray, bool]:
        """The rows with samples enough whose features can be told apart, their coefficients, and whether there are any.

        Where there are none, those of the other rows with samples enough, each with the least norm.
        """
        needed, most, samples = 1 + int(self._varies.sum()), 0, 0
        solved, found, ranks = [], array("d"), []
        for row, _, X, y, weight in rows:
            poll()
            used = slice(None) if weight is None else weight > 0
            design, target = np.column_stack([np.ones(len(y)), X[:, self._varies]])[used], y[used]
            most, samples = max(most, len(target)), samples + len(y)
            if len(target) < needed:
                continue
            if weight is not None:
                root = np.sqrt(weight[used])
                design, target = design * root[:, np.newaxis], target * root
            coefficients, _, rank, _ = np.linalg.lstsq(design, target)
            found.extend(coefficients)
            solved.append(int(row))
            ranks.append(rank)
        if not solved:
            raise DataError(
                f"fama_macbeth: {needed} coefficients need as many symbols on a row, found at most {most} "
                f"(n_samples={samples})",
                hint="take fewer features or more symbols; for one symbol use ols",
            )
        whole, found = np.array(ranks) == needed, np.frombuffer(found).reshape(-1, needed)
        if whole.all() or not whole.any():
            return solved, found, bool(whole.any())
        return list(itertools.compress(solved, whole)), found[whole], True

    def _average(self, rows: list[int], found: np.ndarray) -> None:
        """The averages of the rows' coefficients and, where there are rows enough, their errors by linearmodels."""
        from linearmodels.panel.covariance import FamaMacBethCovariance

        estimated = np.r_[True, self._varies]
        names = list(itertools.compress(self.names_, estimated))
        self.premia_ = pd.DataFrame(found, index=pd.Index(rows, name="row"), columns=names)
        self.periods_ = len(rows)
        means, covariance = np.zeros(len(estimated)), np.full((len(estimated),) * 2, np.nan)
        means[estimated] = found.mean(axis=0)
        if self._has_errors:
            average = means[estimated][:, np.newaxis]
            samples = np.broadcast_to(np.nan, (found.size, found.shape[1]))  # it counts them, and reads none
            by = FamaMacBethCovariance(samples, samples, average, self.premia_, debiased=True, **self._kernel)
            covariance[np.ix_(estimated, estimated)] = by.cov
        self.intercept_, self.coef_ = float(means[0]), means[1:]
        self.covariance_, self.standard_errors_ = covariance, np.sqrt(np.diag(covariance))

    @property
    def _kernel(self) -> dict:
        """How linearmodels is asked for the covariance."""
        if self.cov != "HAC":
            return {"bandwidth": 0.0}
        lags = newey_west_lags(self.periods_) if self.lags is None else self.lags
        return {"kernel": "bartlett", "bandwidth": min(lags, self.periods_ - 1)}

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
        """The table of linearmodels, which it makes of the samples when it is asked for.

        Raises
        ------
        DataError
            There were too few rows for errors.
        """
        check_is_fitted(self)
        if not self._has_errors:
            raise DataError(f"fama_macbeth: {self.periods_} rows give no errors of {len(self.names_)} averages")
        if self._rows is not None:
            self._table, self._rows = self._tabulated(), None
        return self._table

    def _tabulated(self):
        from linearmodels.panel import FamaMacBeth

        parts = [part for part in self._rows() if part[0] in self.premia_.index]
        row = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
        column, X, y = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
        weight = None if parts[0][4] is None else np.concatenate([part[4] for part in parts])
        used = np.ones(len(y), dtype=bool) if weight is None else weight > 0
        # the only frame of samples with two indices outside of Panel: linearmodels asks for it
        index = pd.MultiIndex.from_arrays([column[used], row[used]], names=["symbol", "row"])
        design = np.column_stack([np.ones(len(index)), X[used][:, self._varies]])
        design = pd.DataFrame(design, index=index, columns=self.premia_.columns)
        weights = None if weight is None else pd.Series(weight[used], index=index)
        model = FamaMacBeth(pd.Series(y[used], index=index, name="y"), design, weights=weights, check_rank=False)
        return model.fit(**({"cov_type": "kernel", **self._kernel} if self.cov == "HAC" else {})).summary

    def __getstate__(self):
        """With the table, and without the samples that it is made of."""
        if getattr(self, "_rows", None) is not None:
            self.summary()
        return super().__getstate__()


def _rows(X, y, weight, row, column) -> Iterator[tuple]:
    """The samples row by row, as `FamaMacBethRegressor.fit_rows` takes them."""
    for start, stop in itertools.pairwise([0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]):
        at = slice(start, stop)
        yield row[start], column[at], X[at], y[at], None if weight is None else weight[at]


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
