"""Estimators of our own that stand on scikit-learn alone; imported when a spec is built."""

from __future__ import annotations

import joblib
import numpy as np
from scipy.special import expit, softmax
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss, HalfSquaredError
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..errors import DataError
from ..kernels import poll


class _Constant(RegressorMixin, BaseEstimator):
    """Predicts `value_` for every sample."""

    def predict(self, X):
        """`value_` for each sample of `X`: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.full(len(X), self.value_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class Mean(_Constant):
    """Predicts the mean of the training targets, weighted where weights are given.

    Attributes
    ----------
    value_ : float
        What is predicted.
    n_features_in_ : int
    """

    def fit(self, X, y, sample_weight=None):
        """Take the mean of `y` (n_samples,); `X` (n_samples, n_features) is only checked."""
        X, y = validate_data(self, X, y, y_numeric=True)
        self.value_ = float(np.average(np.asarray(y, dtype=float), weights=checked_weight(sample_weight, X)))
        return self


class LastValue(_Constant):
    """Predicts the mean of the last `window` training targets.

    Parameters
    ----------
    window : int, default 1
        Last training samples that are averaged; all of them where there are fewer.

    Attributes
    ----------
    value_ : float
        What is predicted.
    n_features_in_ : int
    """

    def __init__(self, window: int = 1):
        self.window = window

    def fit(self, X, y):
        """Remember the last targets of `y` (n_samples,); `X` (n_samples, n_features) is only checked."""
        _, y = validate_data(self, X, y, y_numeric=True)
        self.value_ = float(np.mean(y[-self.window :], dtype=float))
        return self


class _Polling:
    """A tree that looks before it grows or predicts whether it should: so a forest can be stopped between its trees."""

    def _fit(self, *args, **kwargs):
        poll()
        return super()._fit(*args, **kwargs)

    def _validate_X_predict(self, X, check_input):
        poll()
        return super()._validate_X_predict(X, check_input)


class Tree(_Polling, DecisionTreeRegressor):
    """scikit-learn's regression tree, which polls."""


class ClassifierTree(_Polling, DecisionTreeClassifier):
    """scikit-learn's classification tree, which polls."""


class Forest(RandomForestRegressor):
    """scikit-learn's random forest, with predictions that do not depend on the number of workers."""

    def _validate_estimator(self):
        super()._validate_estimator()
        self.estimator_ = Tree()

    def predict(self, X):
        """As RandomForestRegressor.predict: ndarray of shape (n_samples,)."""
        # Parallel trees are summed as they finish, so the last bit would differ from run to run.
        with joblib.parallel_config(n_jobs=1):
            return super().predict(X)


def check_classes(found: np.ndarray) -> None:
    """DataError unless the targets are of two classes at least: of one there is nothing to tell apart."""
    if len(found) < 2:
        raise DataError(
            f"all targets are of one class, {found[0]}: expected two classes or more",
            hint="train on more rows, or take a label that varies",
        )


class _TwoClasses:
    """A classifier that refuses targets of one class: there is nothing to tell apart."""

    def fit(self, X, y, sample_weight=None):
        """As scikit-learn's; DataError where `y` holds one class only."""
        super().fit(X, y, sample_weight=sample_weight)
        check_classes(
            self.classes_ if sample_weight is None else np.unique(np.asarray(y)[np.asarray(sample_weight) > 0])
        )
        return self


class ForestClassifier(_TwoClasses, RandomForestClassifier):
    """scikit-learn's random forest, with probabilities that do not depend on the number of workers."""

    def _validate_estimator(self):
        super()._validate_estimator()
        self.estimator_ = ClassifierTree()

    def predict_proba(self, X):
        """As RandomForestClassifier.predict_proba: ndarray of shape (n_samples, n_classes)."""
        with joblib.parallel_config(n_jobs=1):  # as in Forest.predict
            return super().predict_proba(X)


class _PollingLoss:
    """A loss that looks before each tree whether it should grow: so a boosting can be stopped between its trees."""

    def gradient(self, *args, **kwargs):
        poll()
        return super().gradient(*args, **kwargs)

    def gradient_hessian(self, *args, **kwargs):
        poll()
        return super().gradient_hessian(*args, **kwargs)


class _Squares(_PollingLoss, HalfSquaredError):
    pass


class _Binomial(_PollingLoss, HalfBinomialLoss):
    pass


class _Multinomial(_PollingLoss, HalfMultinomialLoss):
    pass


class _PollingTrees:
    """A boosting that looks between its trees as it predicts, too."""

    def _predict_iterations(self, X, predictors, *args, **kwargs):
        for one in predictors:
            poll()
            super()._predict_iterations(X, [one], *args, **kwargs)


class Boosting(_PollingTrees, HistGradientBoostingRegressor):
    """scikit-learn's gradient boosting on histograms, by squares; it can be stopped between its trees."""

    def _get_loss(self, sample_weight):
        return _Squares(sample_weight=sample_weight)


class Prior(ClassifierMixin, BaseEstimator):
    """Gives each class its share in training, weighted where weights are given.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    prior_ : ndarray of shape (K,)
    n_features_in_ : int
    """

    def fit(self, X, y, sample_weight=None):
        """Count the classes of `y` (n_samples,); `X` (n_samples, n_features) is only checked."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.classes_, number = np.unique(y, return_inverse=True)
        counts = np.bincount(number, weights=weight)
        check_classes(self.classes_[counts > 0])
        self.prior_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        """`prior_` for each sample of `X`: ndarray of shape (n_samples, K)."""
        check_is_fitted(self)
        return np.tile(self.prior_, (len(validate_data(self, X, reset=False)), 1))

    def predict(self, X):
        """The most frequent class for each sample; of equal ones the first."""
        chance = self.predict_proba(X)
        return self.classes_[np.argmax(chance, axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


class BoostingClassifier(_TwoClasses, _PollingTrees, HistGradientBoostingClassifier):
    """scikit-learn's gradient boosting on histograms; it can be stopped between its trees."""

    def _get_loss(self, sample_weight):
        trees = self.n_trees_per_iteration_
        if trees == 1:
            return _Binomial(sample_weight=sample_weight)
        return _Multinomial(sample_weight=sample_weight, n_classes=trees)


class StandardisedClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier fitted on standardised features, reported in their own units.

    Parameters
    ----------
    estimator : scikit-learn classifier
        With `coef_` and `intercept_` after its `fit`, which takes `sample_weight`, and with `predict_proba`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1 or n_classes, n_features)
        Log-odds per unit of each feature; one row for two classes.
    intercept_ : ndarray of shape (1 or n_classes,)
    converged_ : bool
        Whether the solver reached its tolerance.
    estimator_ : the fitted estimator
    n_features_in_ : int
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y, sample_weight=None):
        """Fit `X` (n_samples, n_features) to the classes `y` (n_samples,), with `sample_weight` where given.

        Raises
        ------
        DataError
            There is only one class.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = checked_weight(sample_weight, X)
        check_classes(np.unique(y if weight is None else y[weight > 0]))
        features = StandardScaler().fit(X, sample_weight=weight)
        self.estimator_ = clone(self.estimator).fit(features.transform(X), y, sample_weight=weight)
        self.classes_ = self.estimator_.classes_
        self.coef_ = self.estimator_.coef_ / features.scale_
        self.intercept_ = self.estimator_.intercept_ - self.coef_ @ features.mean_
        self.converged_ = bool(np.max(self.estimator_.n_iter_) < self.estimator_.max_iter)
        return self

    def decision_function(self, X):
        """Log-odds: ndarray of shape (n_samples,) for two classes, (n_samples, n_classes) for more."""
        check_is_fitted(self)
        scores = validate_data(self, X, reset=False, dtype=np.float64) @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X):
        """The probability of each of `classes_`: ndarray of shape (n_samples, n_classes)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def predict(self, X):
        """The likeliest class: ndarray of shape (n_samples,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else np.argmax(scores, axis=1)]


def checked_weight(sample_weight, X) -> np.ndarray | None:
    """`sample_weight` as a float64 array, one 0 or more for each sample of `X`, not all 0; None stays None."""
    if sample_weight is None:
        return None
    return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
