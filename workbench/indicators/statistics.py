"""Plain statistics of a window, and looking back."""

from __future__ import annotations

from .core import indicator


@indicator(
    lookback=lambda window, k, ddof: window - 1,
    range=(0, None),
    source="Chan, Golub and LeVeque (1979)",
    convention="population (ddof=0), as TA-Lib; exactly 0 on a flat window; NaN while a NaN is in the window",
    low={"window": 2},
    rule=("ddof < window", lambda window, k, ddof: ddof < window),
)
def stddev(kernels, close, window=5, k=1.0, ddof=0):
    """Standard deviation over the window, k times."""
    return kernels.rolling_std(close, window, float(ddof), k)


@indicator(
    lookback=lambda window: window - 1,
    range=(None, None),
    source="van Herk (1992)",
    convention="NaN while a NaN is in the window",
)
def max(kernels, close, window=30):
    """Largest value in the window."""
    return kernels.rolling_max(close, window, 1.0)


@indicator(
    lookback=lambda window: window - 1,
    range=(None, None),
    source="van Herk (1992)",
    convention="NaN while a NaN is in the window",
)
def min(kernels, close, window=30):
    """Smallest value in the window."""
    return kernels.rolling_max(close, window, -1.0)


@indicator(
    lookback=lambda lag: lag,
    range=(None, None),
    source="Yule (1927)",
    convention="rows, not dates",
)
def lag(kernels, close, lag=1):
    """The value some rows ago."""
    return kernels.lag(close, lag)
