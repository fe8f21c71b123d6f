"""Figures: tables in, plotly figures out; one file a subject."""

from .chart import chart, path
from .core import (
    BARS,
    CANDLES,
    DOTS,
    POINTS,
    TearSheet,
    bars,
    candles,
    distribution,
    drawdown,
    equity,
    folds,
    heatmap,
    lines,
    tear_sheet,
    thin,
)
from .forecast import forecast
from .models import coefficients, dependence, importance, parallel, surface
from .splits import splits
from .training import loss_curve

__all__ = [
    "BARS",
    "CANDLES",
    "DOTS",
    "POINTS",
    "TearSheet",
    "bars",
    "candles",
    "chart",
    "coefficients",
    "dependence",
    "distribution",
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
