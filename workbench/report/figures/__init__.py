"""Figures: tables in, plotly figures out; one file a subject."""

from .core import CANDLES, POINTS, TearSheet, candles, drawdown, equity, folds, heatmap, lines, tear_sheet, thin
from .forecast import forecast_figure

__all__ = [
    "CANDLES",
    "POINTS",
    "TearSheet",
    "candles",
    "drawdown",
    "equity",
    "folds",
    "forecast_figure",
    "heatmap",
    "lines",
    "tear_sheet",
    "thin",
]
