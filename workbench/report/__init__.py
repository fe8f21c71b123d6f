"""Figures, the tear sheet, and a notebook as one offline HTML file."""

from __future__ import annotations

from . import figures
from .export import report
from .figures import TearSheet, tear_sheet
from .style import template

__all__ = ["TearSheet", "figures", "report", "tear_sheet", "template"]
