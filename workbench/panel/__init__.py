"""Panel: the one data shape, fields x time x symbols (core), and the frames that it is read from (frames)."""

from .core import PRICES, Panel, Samples

__all__ = ["PRICES", "Panel", "Samples"]
