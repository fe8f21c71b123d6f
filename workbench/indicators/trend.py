"""Averages and lines that follow the price."""

from __future__ import annotations

from typing import NamedTuple

from .core import decay, indicator


class Macd(NamedTuple):
    macd: object
    signal: object
    hist: object


class Aroon(NamedTuple):
    down: object
    up: object


@indicator(
    lookback=lambda window: window - 1,
    range=(None, None),
    source="Edwards and Magee (1948)",
    convention="plain mean; NaN while a NaN is in the window",
)
def sma(kernels, close, window=30):
    """Simple moving average."""
    return kernels.rolling_mean(close, window, float(window))


@indicator(
    lookback=lambda window: window - 1,
    memory=lambda window: window + decay(1 - 2 / (window + 1)),
    range=(None, None),
    source="Holt (1957)",
    convention="TA-Lib: alpha = 2 / (window + 1), seeded by the mean of the first window values; a NaN is skipped",
)
def ema(kernels, close, window=30):
    """Exponential moving average."""
    return kernels.ema(close, window, 2.0 / (window + 1))


@indicator(
    lookback=lambda window: window - 1,
    range=(None, None),
    source="Macaulay (1931)",
    convention="weights 1, 2, ..., window, the last row weighs most; NaN while a NaN is in the window",
)
def wma(kernels, close, window=30):
    """Linearly weighted moving average."""
    return kernels.rolling_wma(close, window)


@indicator(
    lookback=lambda fast, slow, signal: slow + signal - 2,
    memory=lambda fast, slow, signal: slow + signal + decay(1 - 2 / (slow + 1)) + decay(1 - 2 / (signal + 1)),
    range=(None, None),
    source="Appel (1979)",
    convention="TA-Lib: all three start where the signal does; the seeds of both means end on the same row",
    outputs=Macd,
    rule=("fast < slow", lambda fast, slow, signal: fast < slow),
)
def macd(kernels, close, fast=12, slow=26, signal=9):
    """Moving average convergence divergence: fast less slow EMA, its own EMA, and the difference of the two."""
    return kernels.macd(close, fast, slow, signal)


@indicator(
    lookback=lambda window: 2 * window - 1,
    memory=lambda window: 2 * window + 2 * decay(1 - 1 / window),
    range=(0, 100),
    source="Wilder (1978)",
    convention="TA-Lib: sums of the first window - 1 moves, then Wilder's decay; held where there is no range",
    low={"window": 2},
)
def adx(kernels, high, low, close, window=14):
    """Average directional index: how much of the range goes one way, in percent."""
    return kernels.adx(high, low, close, window)


@indicator(
    lookback=lambda window: window,
    range=(0, 100),
    source="Chande (1995)",
    convention="TA-Lib: over window + 1 rows; of equal extremes the latest counts",
    outputs=Aroon,
    low={"window": 2},
)
def aroon(kernels, high, low, window=14):
    """Aroon: how recent the lowest low (down) and the highest high (up) are, in percent of the window."""
    scale = 100 / window
    return kernels.rolling_since(low, window + 1, -1.0, scale), kernels.rolling_since(high, window + 1, 1.0, scale)


@indicator(
    lookback=lambda window: window - 1,
    range=(None, None),
    source="Legendre (1805)",
    convention="least squares on the row number; NaN while a NaN is in the window",
    low={"window": 2},
)
def linearreg_slope(kernels, close, window=14):
    """Slope of the least-squares line through the window, in price a row."""
    return kernels.rolling_slope(close, window)
