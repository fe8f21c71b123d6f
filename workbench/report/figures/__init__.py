"""Figures: tables in, plotly figures out; one file a subject."""

from .bars import bars, path
from .core import BARS, CANDLES, POINTS, TearSheet, candles, drawdown, equity, folds, heatmap, lines, tear_sheet, thin
from .forecast import forecast
from .models import coefficients, dependence, importance, parallel, surface
from .splits import splits
from .training import loss_curve

__all__ = [
    "BARS",
    "CANDLES",
    "POINTS",
    "TearSheet",
    "bars",
    "candles",
    "coefficients",
    "dependence",
    "drawdown",
    "equity",
    "folds",
    "forecast",
    "heatmap",
    "importance",
    "lines",
    "loss_curve",
    "parallel",
    "path",
    "splits",
    "surface",
    "tear_sheet",
    "thin",
]
