"""Figures, the tear sheet, and a notebook as one offline HTML file."""

from __future__ import annotations

from .export import report
from .figures import TearSheet, candles, drawdown, equity, folds, heatmap, lines, splits, tear_sheet
from .style import template

__all__ = [
    "TearSheet",
    "candles",
    "drawdown",
    "equity",
    "folds",
    "heatmap",
    "lines",
    "report",
    "splits",
    "tear_sheet",
    "template",
]
