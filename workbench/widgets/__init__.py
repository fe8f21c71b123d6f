"""Views built from the registries; they hold no numbers of their own, and each has a static twin."""

from .bars import Chart, chart
from .browser import Browser, catalog, ledger
from .choice import Choice, Pick
from .chooser import Chooser, chooser

__all__ = ["Browser", "Chart", "Choice", "Chooser", "Pick", "catalog", "chart", "chooser", "ledger"]
