"""Indicators: what goes in comes out, an ndarray, Series or DataFrame; several outputs come as a NamedTuple.

One file a family; :data:`indicators` is the table of them all, :func:`catalog` shows it.
"""

from . import cross, momentum, statistics, trend, volatility, volume
from .core import Indicator, Stream, catalog, indicator, indicators, stream

# Each registered indicator is a function of this package.
globals().update(indicators)

__all__ = ["Indicator", "Stream", "catalog", "indicator", "indicators", "stream", *indicators]
del cross, momentum, statistics, trend, volatility, volume
