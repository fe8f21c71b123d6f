"""Estimators of our own that stand on scikit-learn alone; imported when a spec is built."""

from __future__ import annotations

import joblib
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import DataError


class LastValue(RegressorMixin, BaseEstimator):
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

    def predict(self, X):
        """`value_` for each sample of `X`: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.full(len(X), self.value_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class Forest(RandomForestRegressor):
    """scikit-learn's random forest, with predictions that do not depend on the number of workers."""

    def predict(self, X):
        """As RandomForestRegressor.predict: ndarray of shape (n_samples,)."""
        # Parallel trees are summed as they finish, so the last bit would differ from run to run.
        with joblib.parallel_config(n_jobs=1):
            return super().predict(X)


class _TwoClasses:
    """A classifier that refuses targets of one class: there is nothing to tell apart."""

    def fit(self, X, y, sample_weight=None):
        """As scikit-learn's; DataError where `y` holds one class only."""
        super().fit(X, y, sample_weight=sample_weight)
        if len(self.classes_) < 2:
            raise DataError(
                f"{type(self).__name__}: all targets are of one class, {self.classes_[0]}, expected two at least",
                hint="train on more rows, or take a label that varies",
            )
        return self


class ForestClassifier(_TwoClasses, RandomForestClassifier):
    """scikit-learn's random forest, with probabilities that do not depend on the number of workers."""

    def predict_proba(self, X):
        """As RandomForestClassifier.predict_proba: ndarray of shape (n_samples, n_classes)."""
        with joblib.parallel_config(n_jobs=1):  # as in Forest.predict
            return super().predict_proba(X)


class BoostingClassifier(_TwoClasses, HistGradientBoostingClassifier):
    """scikit-learn's gradient boosting on histograms."""
