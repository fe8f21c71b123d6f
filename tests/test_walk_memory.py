"""What a walk on processes takes, measured from outside: workers map the samples, they don't hold them."""

from __future__ import annotations

import sys

import pytest
import worker_memory
from worker_memory import SPLITS, added

from workbench.models import ModelSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# an ARIMA of twelve states, whose covariances would be larger than the panel
PARAMS = worker_memory.PARAMS | {"arima": {"p": 0, "q": 0, "P": 1, "period": 12}}
# (rows, symbols, features): large beside what a library takes at a time; by the split, where that says how much
LARGE = (12_000, 20, 30)
HELD = [("random_forest", "walk", LARGE), *((name, split, LARGE) for name in ("ridge", "lasso") for split in SPLITS)]
HELD += [("fama_macbeth", split, (2_000, 60, 30)) for split in SPLITS]
HELD += [("arima", split, (1_500, 20, 40)) for split in SPLITS]


@pytest.mark.parametrize(("name", "split", "size"), HELD)
def test_a_worker_adds_less_than_a_fifth_of_the_panel(name, split, size):
    assert added(ModelSpec(name, PARAMS.get(name)), SPLITS[split], *size) < 0.2
