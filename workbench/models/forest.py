"""Forests of trees."""

from __future__ import annotations

from ..registry import Param
from .spec import model


@model(
    "random_forest",
    cost="medium",
    params=(
        Param("n_estimators", 100, low=1, high=10_000, log=True, doc="Trees, count."),
        Param("max_depth", 8, low=1, high=64, optional=True, doc="Most splits above a leaf; None: no limit."),
        Param("min_samples_leaf", 20, low=1, high=1_000_000, log=True, doc="Fewest samples in a leaf, count."),
        Param("max_features", 0.33, low=0.001, high=1.0, doc="Share of the features tried at each split."),
    ),
)
def random_forest(params, seed):
    """The mean of many regression trees, each grown on a bootstrap sample and random features.

    A missing feature (NaN) is allowed: each split learns the side it belongs on; an infinite one is a
    ValueError. With fewer than ``2 * min_samples_leaf`` samples each tree is a mean. How many cores grow the
    trees is no part of the model: one, unless ``joblib.parallel_config("threading", n_jobs=2)`` around `fit`
    says otherwise (walk-forward runs folds in parallel instead); the numbers are the same, to the bit.

    Source: Breiman, 2001, Random Forests.
    """
    from ._estimators import Forest

    return Forest(**params, random_state=seed)
