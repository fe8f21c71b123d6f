"""Figures: tables in, plotly figures out; one file a subject."""

from .core import CANDLES, POINTS, TearSheet, candles, drawdown, equity, folds, heatmap, lines, tear_sheet, thin
from .splits import splits

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
    "splits",
    "tear_sheet",
    "thin",
]
