"""Evaluation: splits that purge what a label has seen, walks over them, and what their scores are worth."""

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
