"""Linear models that see of the samples only their moments, so that folds share what they have in common.

Moments add up: those of two sets of samples give those of both. A walk computes them once for each set of samples
that its folds train on together, and each fold is then a sum and the solution of a small system.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from ..panel.core import aligned
from ._estimators import checked_weight

CHUNK = 4096  # samples centred at a time: they stay in the cache, and no copy of all is made


class Moments(NamedTuple):
    """Number, weight, mean and centred products of samples and their targets.

    Attributes
    ----------
    count : int
    weight : float
        Sum of the weights; the number of samples where each weighs 1.
    mean : ndarray of shape (F + 1,)
        Of each feature and, last, of the target.
    product : ndarray of shape (F + 1, F + 1)
        Weighted sum of the products of their deviations from the mean.
    """

    count: int
    weight: float
    mean: np.ndarray
    product: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Moments:
        """Of samples `X` (n, F), targets `y` (n,) and, where given, weights (n,)."""
        parts = [slice(start, start + CHUNK) for start in range(0, len(X), CHUNK)]
        return cls.merged([_chunk(X[at], y[at], None if weight is None else weight[at]) for at in parts])

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Of all samples of `parts` together (Chan, Golub and LeVeque, 1979)."""
        count = sum(part.count for part in parts)
        weights = np.array([part.weight for part in parts])
        means = np.array([part.mean for part in parts])
        total = weights.sum()
        if not total > 0:
            return cls(count, 0.0, np.zeros(means.shape[1]), np.zeros((means.shape[1],) * 2))
        mean = weights @ means / total
        apart = means - mean
        product = (apart * weights[:, np.newaxis]).T @ apart
        for part in parts:
            product += part.product
        return cls(count, float(total), mean, product)

    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """(F + 1,) each: the deviation of each feature and the target, 1 where it is constant; and where it is.

        Raises
        ------
        ValueError
            The samples weigh nothing.
        """
        if not self.weight > 0:
            raise ValueError(f"the {self.count} samples weigh nothing, expected a weight above 0")
        variance = np.diag(self.product) / self.weight
        # what rounding leaves of a constant: no variance, hence no weight
        rounding = self.count * np.finfo(float).eps
        flat = variance <= rounding * variance + (rounding * self.mean) ** 2
        return np.where(flat, 1.0, np.sqrt(np.where(flat, 1.0, variance))), flat


def _chunk(X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Moments:
    each = np.ones(len(X)) if weight is None else weight
    total = float(each.sum())
    mean = np.append(each @ X, each @ y) / (total if total > 0 else 1.0)
    both = aligned((len(X), len(mean)), float)
    np.subtract(X, mean[:-1], out=both[:, :-1])
    np.subtract(y, mean[-1], out=both[:, -1])
    product = both.T @ (both if weight is None else both * weight[:, np.newaxis])
    return Moments(len(X), total, mean, product)


def penalised(product: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """The coefficients of a ridge regression: (F,), of products (F, F) of the features and (F,) with the target."""
    system = product + alpha * np.identity(len(product))
    try:
        return linalg.cho_solve(linalg.cho_factor(system, lower=True), right)
    except linalg.LinAlgError:  # singular to rounding: the penalty is too small beside the features
        values, vectors = linalg.eigh(system)
        return vectors @ ((vectors.T @ right) / np.maximum(values, alpha))


class _OfMoments(RegressorMixin, BaseEstimator):
    """A linear regressor that sees moments: `_solved` gives its coefficients.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        In units of the target per unit of each feature.
    intercept_ : float
    n_features_in_ : int
    """

    def fit(self, X, y, sample_weight=None):
        """Fit `X` (n_samples, n_features) to `y` (n_samples,), with `sample_weight` (n_samples,) where given."""
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        return self.fit_moments(Moments.of(X, np.asarray(y, dtype=float), checked_weight(sample_weight, X)))

    def fit_moments(self, moments: Moments):
        """Fit on the moments of the samples: the same as `fit` on the samples, but for the last digits."""
        mean = moments.mean[:-1]
        self.n_features_in_ = len(mean)
        self.coef_ = self._solved(moments)
        self.intercept_ = float(moments.mean[-1] - mean @ self.coef_)
        return self

    def predict(self, X):
        """``X @ coef_ + intercept_``: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return X @ self.coef_ + self.intercept_


class Ridge(_OfMoments):
    """Ridge regression on standardised features, from moments.

    Parameters
    ----------
    alpha : float, default 1.0
        Penalty on squared coefficients of the standardised features.
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def _solved(self, moments: Moments) -> np.ndarray:
        scale, flat = (each[:-1] for each in moments.scales())
        system = moments.product[:-1, :-1] / np.outer(scale, scale)
        system[flat], system[:, flat] = 0.0, 0.0
        right = np.where(flat, 0.0, moments.product[:-1, -1] / scale)
        return penalised(system, right, self.alpha) / scale


class Standardised(_OfMoments):
    """A linear regressor fitted on standardised features and target, reported in their own units.

    It is fitted on F + 1 samples whose moments are those of all: their squares and products are all that a loss of
    squares has of them.

    Parameters
    ----------
    estimator : scikit-learn regressor
        That minimises the mean of squares and a penalty, without an intercept: it sees features and target with mean
        0 and deviation 1, both weighted, so that its penalty does not depend on their units. A constant feature is
        all 0 there.

    Attributes
    ----------
    converged_ : bool
        Whether the solver reached its tolerance.
    estimator_ : the fitted estimator
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def _solved(self, moments: Moments) -> np.ndarray:
        scale, flat = moments.scales()
        product = moments.product / (np.outer(scale, scale) * moments.weight)
        product[flat], product[:, flat] = 0.0, 0.0
        values, vectors = linalg.eigh(product)
        # a root of the products; rounding may leave those of collinear features below 0
        samples = np.sqrt(len(values) * np.maximum(values, 0.0))[:, np.newaxis] * vectors.T
        self.estimator_ = clone(self.estimator).fit(samples[:, :-1], samples[:, -1])
        self.converged_ = bool(np.max(self.estimator_.n_iter_) < self.estimator_.max_iter)
        return self.estimator_.coef_ * scale[-1] / scale[:-1]
