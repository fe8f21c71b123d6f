"""What a walk on processes takes, measured from outside: workers map the samples, they don't hold them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import worker_memory
from worker_memory import SPLITS, added

from workbench.models import ModelSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# an ARIMA of twelve states, whose covariances would be larger than the panel
PARAMS = worker_memory.PARAMS | {"arima": {"p": 0, "q": 0, "P": 1, "period": 12}}
# (rows, symbols, features): large beside what a library takes at a time; by the split, where that says how much
LARGE = (12_000, 20, 30)
WALKED = ("walk", "purged")
HELD = [("ols", "start", LARGE), ("random_forest", "start", LARGE), ("random_forest", "walk", LARGE)]
HELD += [(name, split, LARGE) for name in ("ridge", "lasso") for split in WALKED]
HELD += [("fama_macbeth", split, (2_000, 60, 30)) for split in WALKED]
HELD += [("arima", split, (1_500, 20, 40)) for split in WALKED]


@pytest.mark.parametrize(("name", "split", "size"), HELD)
def test_a_worker_adds_less_than_a_fifth_of_the_panel(name, split, size):
    assert added(ModelSpec(name, PARAMS.get(name)), SPLITS[split], *size) < 0.2


@pytest.mark.parametrize("split", WALKED)
def test_a_worker_of_arima_adds_less_than_a_fifth_of_ten_features(split):
    assert added(ModelSpec("arima"), SPLITS[split], 6_000, 20, 10) < 0.2


SWEPT = """
import json, sys, threading
from pathlib import Path
from worker_memory import panels
import workbench as wb

name, values, budget, folder = json.loads(sys.argv[1])
spec, splits, most, over = wb.ModelSpec(name), wb.WalkForward(2), [0], threading.Event()

def held():
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("RssAnon"))

def watch():
    while not over.wait(0.002):
        most[0] = max(most[0], held())

wb.walk_forward(spec, *panels(300), splits=splits, ledger=folder + "/small.sqlite")  # what is imported and warmed up
large, before = panels(5000), held()
thread = threading.Thread(target=watch)
thread.start()
wb.sweep(spec, values, *large, splits=splits, ledger=folder + "/ledger.sqlite", how="threads", memory=budget)
over.set()
thread.join()
print(most[0] - before)
"""


@pytest.mark.parametrize(
    ("name", "values"),
    [("splines", {"n_knots": [20, 21]}), ("lstm", {"epochs": [1], "units": [16, 32]}), ("ols", {"cov": ["HC1"]})],
)
def test_a_sweep_stays_near_its_budget(name, values, tmp_path):
    budget = 155_000_000  # the features and two fits
    asked = json.dumps([name, values, budget, str(tmp_path)])
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", SWEPT, asked], capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.25 * budget  # what a fit takes is an estimate, the same for all models
