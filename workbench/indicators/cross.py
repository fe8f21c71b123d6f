"""Where a symbol stands among the others of its row."""

from __future__ import annotations

from .core import indicator


@indicator(
    lookback=lambda: 0,
    range=(0, 1),
    source="Spearman (1904)",
    convention="pandas: average rank of ties, as a fraction of the number of values; a NaN has no rank",
    cross_section=True,
)
def rank(kernels, close):
    """Rank within the row, as a fraction in (0, 1]."""
    return kernels.rank(close)


@indicator(
    lookback=lambda ddof: 0,
    range=(None, None),
    source="Galton (1885)",
    convention="ddof=1, as pandas; NaN where all values of the row are equal",
    cross_section=True,
)
def zscore(kernels, close, ddof=1):
    """Distance from the row's mean, in standard deviations of the row."""
    return kernels.zscore(close, float(ddof))
