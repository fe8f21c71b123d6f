"""Panel: the one data shape, fields x time x symbols (core), the frames that it is read from (frames, times)."""

from .core import PRICES, Panel, Samples, positive_prices

__all__ = ["PRICES", "Panel", "Samples", "positive_prices"]
