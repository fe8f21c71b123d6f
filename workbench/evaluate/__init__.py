"""Evaluation: splits that purge what a label has seen, walks over them, and what their scores are worth.

The way of a walk through the files:

splits   which samples each fold may learn from, and which rows it is tested on
layout   features and label as one `table` of samples, with the folds, shared by all specs of a study
version  the hash of the code that a score comes from: with the layout and the fold it keys a cell
cells    the folds that the ledger lacks, computed in threads or processes, each kept as it ends
fit      one fold: train, score, and measure by `metrics`
walk     the cells read back as a `Walk`: scores, folds, measures
sweep    many settings of one model on one layout
explain  importances, dependences and coefficients, by fold
"""

from .metrics import hit_rate, ic, r2_oos, rank_ic
from .splits import CombinatorialPurged, Fold, PurgedKFold, Splits, WalkForward
from .sweep import Sweep, sweep
from .walk import Walk, compare, walk_forward

__all__ = [
    "CombinatorialPurged",
    "Fold",
    "PurgedKFold",
    "Splits",
    "Sweep",
    "Walk",
    "WalkForward",
    "compare",
    "hit_rate",
    "ic",
    "r2_oos",
    "rank_ic",
    "sweep",
    "walk_forward",
]
