"""Small studies to evaluate models on, and what plain loops make of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.panel import Panel


def panels(rows: int = 700, symbols: int = 8, features: int = 4, span: int = 3, seed: int = 5):
    """Features with a planted signal in the first, and a label that looks `span` rows ahead."""
    draw = np.random.default_rng(seed)
    time = pd.date_range("2015-01-01", periods=rows, freq="B", tz="UTC")
    names = [f"S{j}" for j in range(symbols)]
    X = draw.standard_normal((features, rows, symbols))
    y = 0.01 * (0.3 * X[0] + draw.standard_normal((rows, symbols)))
    X[:, :20] = np.nan  # the look-back of the features
    X[:, : rows // 3, 1] = np.nan  # a later listing
    y[rows - span :] = np.nan
    label = np.stack([y, np.where(np.isnan(y), np.nan, float(span))])
    fields = [f"f{i}" for i in range(features)]
    return Panel(X, time, names, fields), Panel(label, time, names, ["forward_return", "span"])


def by_scipy(correlation, score, label):
    """The mean over rows of scipy's correlation, by a plain loop."""
    found = []
    for s, x in zip(score, label, strict=True):
        kept = ~np.isnan(s) & ~np.isnan(x)
        if kept.sum() >= 3 and len(set(s[kept])) > 1 and len(set(x[kept])) > 1:
            found.append(correlation(s[kept], x[kept]).statistic)
    return np.mean(found) if found else float("nan")
