"""How far and how fast the price has moved."""

from __future__ import annotations

from typing import NamedTuple

from .core import decay, indicator


class Stoch(NamedTuple):
    slowk: object
    slowd: object


@indicator(
    lookback=lambda window: window,
    memory=lambda window: window + decay(1 - 1 / window),
    range=(0, 100),
    source="Wilder (1978)",
    convention="TA-Lib: seeded by the mean of the first window moves; 0 where nothing moved; a NaN is skipped",
    low={"window": 2},
)
def rsi(kernels, close, window=14):
    """Relative strength index: the share of gains in all moves, in percent."""
    return kernels.rsi(close, window)


@indicator(
    lookback=lambda fastk, slowk, slowd: fastk + slowk + slowd - 3,
    range=(0, 100),
    source="Lane (1984)",
    convention="TA-Lib: both smoothed by plain means; 0 where the window has no range; both start together",
    outputs=Stoch,
)
def stoch(kernels, high, low, close, fastk=5, slowk=3, slowd=3):
    """Stochastic oscillator: where the close lies in the window's range, in percent, smoothed once and twice."""
    raw = kernels.rolling_range(high, low, close, fastk)
    smooth = kernels.rolling_mean(raw, slowk, float(slowk))
    again = kernels.rolling_mean(smooth, slowd, float(slowd))
    return smooth + 0 * again, again


@indicator(
    lookback=lambda window: window,
    range=(None, None),
    source="Murphy (1999)",
    convention="TA-Lib: in percent; 0 where the earlier price is 0",
)
def roc(kernels, close, window=10):
    """Rate of change over the window, in percent."""
    return kernels.roc(close, window)


@indicator(
    lookback=lambda window: window,
    range=(0, 100),
    source="Quong and Soudack (1989)",
    convention="TA-Lib, but 0 only where no money moved (there: where less than 1 did); "
    "typical prices that agree to 1e-15 are equal",
    low={"window": 2},
)
def mfi(kernels, high, low, close, volume, window=14):
    """Money flow index: the share of rising days in the money that changed hands, in percent."""
    plus, minus = kernels.money_flow(high, low, close, volume)
    return kernels.rolling_share(plus, minus, window)
