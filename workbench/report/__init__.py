"""Figures, the tear sheet, and a notebook as one offline HTML file."""

from __future__ import annotations

from .export import report
from .figures import TearSheet, candles, drawdown, equity, folds, heatmap, lines, loss_curve, tear_sheet
from .style import template

__all__ = [
    "TearSheet",
    "candles",
    "drawdown",
    "equity",
    "folds",
    "heatmap",
    "lines",
    "loss_curve",
    "report",
    "tear_sheet",
    "template",
]
