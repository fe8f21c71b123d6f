"""Trees: random forests, and gradient boosting on histograms.

The numbers do not depend on how many workers or threads there are.
"""

from __future__ import annotations

from ..registry import Param
from .spec import model

_LEAF = Param("min_samples_leaf", 20, low=1, high=1_000_000, log=True, doc="Fewest samples in a leaf, count.")

_FOREST = (
    Param("n_estimators", 100, low=1, high=10_000, log=True, doc="Trees, count."),
    Param("max_depth", 8, low=1, high=64, optional=True, doc="Most splits above a leaf; None: no limit."),
    _LEAF,
    Param("max_features", 0.33, low=0.001, high=1.0, doc="Share of the features tried at each split."),
)

_BOOSTING = (
    Param("learning_rate", 0.1, low=1e-4, high=1.0, log=True, doc="Share of each tree that is added."),
    Param("max_iter", 100, low=1, high=10_000, log=True, doc="Trees (of each class, where there are three), count."),
    Param("max_leaf_nodes", 31, low=2, high=65_536, log=True, optional=True, doc="Most leaves; None: no limit."),
    Param("max_depth", None, kind=int, low=1, high=64, optional=True, doc="Most splits above a leaf; None: no limit."),
    _LEAF,
    Param("l2_regularization", 0.0, low=0.0, high=1e12, doc="Penalty on squared values of leaves."),
    Param("max_features", 1.0, low=0.001, high=1.0, doc="Share of the features tried at each split."),
)


@model("random_forest", cost="medium", params=_FOREST, dtype="float32")
def random_forest(params, seed):
    """The mean of many regression trees, each grown on a bootstrap sample and random features.

    A missing feature (NaN) is allowed: each split learns the side it belongs on; an infinite one is a
    ValueError, and so is one beyond 3.4e38, as trees compare in float32. With fewer than
    ``2 * min_samples_leaf`` samples each tree is a mean. How many cores grow the trees is no part of the model:
    one, unless ``joblib.parallel_config("threading", n_jobs=2)`` around `fit` says otherwise (walk-forward runs
    folds in parallel instead); the numbers are the same, to the bit.

    Source: Breiman, 2001, Random Forests.
    """
    from ._estimators import Forest

    return Forest(**params, random_state=seed)


@model("random_forest_classifier", task="classification", cost="medium", params=_FOREST, dtype="float32")
def random_forest_classifier(params, seed):
    """The vote of many classification trees, each grown on a bootstrap sample and random features.

    scikit-learn's trees vote softly: the probability of a class is the mean over the trees of its share in the
    leaf that a sample falls into, and the class predicted is the likeliest one. In Breiman's forest each tree gives
    one whole vote; the two are the same where leaves are pure. Missing features (NaN) and cores: see random_forest.
    Targets of one class are a DataError, targets that are no classes a ValueError.

    Source: Breiman, 2001, Random Forests.
    """
    from ._estimators import ForestClassifier

    return ForestClassifier(**params, random_state=seed)


@model("gradient_boosting", cost="medium", params=_BOOSTING)
def gradient_boosting(params, seed):
    """A sum of small regression trees on binned features, each fitted to the errors of those before, by squares.

    A missing feature (NaN) is allowed: each split learns the side it belongs on; an infinite one counts as the
    most extreme. There is no early stopping: scikit-learn's validates on samples drawn at random, whose labels
    overlap those trained on. `max_iter` and `learning_rate` are for a sweep to choose. The seed matters only with
    `max_features` below 1, or for the bins of more than 200,000 samples.

    Source: Friedman, 2001, Greedy Function Approximation; Ke et al., 2017, LightGBM (histograms).
    """
    from ._estimators import Boosting

    return Boosting(**params, early_stopping=False, random_state=seed)


@model("gradient_boosting_classifier", task="classification", cost="medium", params=_BOOSTING)
def gradient_boosting_classifier(params, seed):
    """Sums of small trees on binned features, one a class, that give the logarithm of its odds, by log loss.

    Two classes share one sum. All else is as in gradient_boosting, with features that are missing (NaN) or infinite
    too. Targets of one class are a DataError, targets that are no classes a ValueError.

    Source: Friedman, 2001, Greedy Function Approximation; Ke et al., 2017, LightGBM (histograms).
    """
    from ._estimators import BoostingClassifier

    return BoostingClassifier(**params, early_stopping=False, random_state=seed)
