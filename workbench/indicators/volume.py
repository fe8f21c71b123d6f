"""What the traded volume says."""

from __future__ import annotations

from .core import FOREVER, indicator


@indicator(
    lookback=lambda: 0,
    memory=lambda: FOREVER,
    range=(None, None),
    source="Granville (1963)",
    convention="TA-Lib: starts with the first volume; a row with a NaN is skipped",
)
def obv(kernels, close, volume):
    """On-balance volume: volume summed with the sign of the day's move."""
    return kernels.obv(close, volume)
