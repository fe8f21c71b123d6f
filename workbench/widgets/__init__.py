"""Views built from the registries; they hold no numbers of their own, and each has a static twin."""

from .choice import Choice, Pick
from .chooser import Chooser, chooser

__all__ = ["Choice", "Chooser", "Pick", "chooser"]
