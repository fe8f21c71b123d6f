"""What indicators remember, by what a changed bar still moves: the embargo after a test is derived from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.errors import DataError
from workbench.indicators import indicators
from workbench.indicators.core import FOREVER
from workbench.panel import Panel

ROWS, AT = 900, 300


def bars(moved: float) -> dict[str, np.ndarray]:
    """A walk of prices, whose row AT is moved by a share of itself."""
    draw = np.random.default_rng(3)
    close = 100 * np.exp(0.01 * draw.standard_normal((ROWS, 8)).cumsum(axis=0))
    high, low = (close * (1 + sign * 0.01 * np.abs(draw.standard_normal(close.shape))) for sign in (1, -1))
    volume = draw.integers(1000, 2000, close.shape).astype(float)
    for plane in (close, high, low):
        plane[AT] *= 1 + moved
    return {"open": close, "high": high, "low": low, "close": close, "volume": volume}


@pytest.mark.parametrize("name", list(indicators))
def test_after_its_memory_a_bar_moves_next_to_nothing(name):
    entry = indicators[name]
    outs = []
    for moved in (0.0, 0.05):
        planes = bars(moved)
        out = entry(*(planes[field] for field in entry.inputs))
        outs.append(np.stack(out) if isinstance(out, tuple) else np.asarray(out)[np.newaxis])
    apart = np.nan_to_num(np.abs(outs[1] - outs[0])).max(axis=(0, 2))
    memory = entry.memory()
    assert memory >= entry.lookback()
    if memory == FOREVER:
        assert apart[-1] > 0.1 * apart.max()
        return
    assert apart[AT + memory + 1 :].max() <= 0.02 * apart.max()
    if memory > entry.lookback():  # a memory that is longer than what is left is no memory either
        assert apart[AT + memory // 4] > 0.01 * apart.max()


def test_features_carry_their_memory_into_the_embargo():
    time = pd.date_range("2000-01-03", periods=400, freq="B", tz="UTC")
    planes = {name: plane[:400] for name, plane in bars(0.0).items()}
    panel = Panel(np.stack(list(planes.values())), time, list("ABCDEFGH"), list(planes))
    recipe = wb.Recipe({"rsi": wb.feature("rsi", window=5).lag(2)})
    assert recipe.memory == indicators["rsi"].memory(window=5) + 2 > recipe.lookback == 7
    assert recipe.compute(panel).lookback == recipe.memory
    label = wb.forward_return(panel, horizon=2)
    fold = list(wb.PurgedKFold(4).split(label, recipe.compute(panel).lookback))[1]
    after = fold.test[-1] + 1
    assert fold.purged[after : after + 2].all()
    assert fold.embargoed[after + 2 : after + 2 + recipe.memory].all()
    assert fold.train[after + 2 + recipe.memory].all()
    # what only adds up has no place after a test: the last block alone leaves something to train on
    forever = wb.Recipe({"obv": wb.feature("obv")}).compute(panel)
    with pytest.raises(DataError, match="fold 1 of 4 has no sample to train on"):
        wb.walk_forward(wb.ModelSpec("ridge"), forever, label, splits=wb.PurgedKFold(4))
    assert wb.walk_forward(wb.ModelSpec("ridge"), forever, label, ledger="sqlite:///ledger.sqlite").computed == 5


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
