"""How much the price moves about."""

from __future__ import annotations

from typing import NamedTuple

from .core import decay, indicator


class Bbands(NamedTuple):
    upper: object
    middle: object
    lower: object


@indicator(
    lookback=lambda window: window,
    memory=lambda window: window + decay(1 - 1 / window),
    range=(0, None),
    source="Wilder (1978)",
    convention="TA-Lib: seeded by the mean of the first window true ranges; a row with a NaN is skipped",
)
def atr(kernels, high, low, close, window=14):
    """Average true range, in price."""
    return kernels.atr(high, low, close, window)


@indicator(
    lookback=lambda window, k, ddof: window - 1,
    range=(None, None),
    source="Bollinger (1983)",
    convention="population deviation (ddof=0) about the simple mean; NaN while a NaN is in the window",
    outputs=Bbands,
    low={"window": 2},
    rule=("ddof < window", lambda window, k, ddof: ddof < window),
)
def bbands(kernels, close, window=5, k=2.0, ddof=0):
    """Bollinger bands: the mean, and k deviations above and below it."""
    return kernels.rolling_bands(close, window, float(ddof), k, k)
