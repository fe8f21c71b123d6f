"""A single series takes ways of its own through some kernels: they give the bits of the common one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_indicators import same_bits

import workbench as wb
from workbench.indicators import indicators
from workbench.kernels import NARROW


def wide(entry, inputs, window):
    """The first column of a panel of the same series, side by side."""
    return entry(*(np.tile(x, NARROW + 1) for x in inputs), window=window)[:, :1].copy()


@pytest.mark.parametrize("name", ["max", "min"])
@given(window=st.integers(1, 300), seed=st.integers(0, 2**32), gaps=st.sampled_from([0.0, 0.002, 0.3]))
@settings(max_examples=60, deadline=None)
def test_extremes_of_one_series_are_those_of_a_panel(name, window, seed, gaps):
    """Among ties, zeros of either sign, infinities and gaps the walk of a single series chooses the same one."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-0.0, 0.0, 1.0, -1.0, 0.5, np.inf, -np.inf], (5_000, 1), p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05])
    x[rng.random(x.shape) < gaps] = np.nan
    expected = wide(indicators[name], [x], window)
    same_bits(indicators[name](x, window=window), expected)
    same_bits(indicators[name](x.astype("float32"), window=window), expected.astype("float32"))


def bars(rows: int, seed: int, gaps: float, halted: float) -> list[np.ndarray]:
    """High, low and close of one series that moves over many powers of two, with gaps, and with stretches at rest."""
    rng = np.random.default_rng(seed)
    move = rng.normal(0, 0.03, (rows, 1)) * rng.choice([1, 1e-3, 10], (rows, 1))
    begin = int(rng.random() * rows * (1 - halted))
    move[begin : begin + int(rows * halted)] = 0
    close = 100 * np.exp(np.clip(move.cumsum(0), -300, 300))
    spread = np.where(move == 0, 0, np.abs(rng.normal(0, 0.01, (rows, 1))))
    high, low = close * (1 + spread), close / (1 + spread)
    for x in (high, low, close):
        x[rng.random(x.shape) < gaps] = np.nan
    return [high, low, close]


@given(
    window=st.integers(1, 40),
    rows=st.integers(5_000, 60_000),
    seed=st.integers(0, 2**32),
    gaps=st.sampled_from([0.0, 1e-4, 0.02]),
    halted=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_true_ranges_averaged_in_two_stretches_are_those_of_a_panel(window, rows, seed, gaps, halted):
    """Also where the second stretch begins at a guess that is never forgotten: at rest the mean only fades."""
    x = bars(rows, seed, gaps, halted)
    same_bits(wb.indicators.atr(*x, window=window), wide(indicators["atr"], x, window))
