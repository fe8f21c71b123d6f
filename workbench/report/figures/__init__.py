"""Figures: tables in, plotly figures out; one file a subject."""

from .core import CANDLES, POINTS, TearSheet, candles, drawdown, equity, folds, heatmap, lines, tear_sheet, thin
from .training import loss_curve

__all__ = [
    "CANDLES",
    "POINTS",
    "TearSheet",
    "candles",
    "drawdown",
    "equity",
    "folds",
    "heatmap",
    "lines",
    "loss_curve",
    "tear_sheet",
    "thin",
]
