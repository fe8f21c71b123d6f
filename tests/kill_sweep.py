"""Sweeps a model on a ledger: the process that test_sweep.py kills in the middle.

Usage: python kill_sweep.py LEDGER HOW SAMPLER. It prints a line as each cell ends, and JSON when all is done.
"""

from __future__ import annotations

import json
import sys

from studies import panels

from workbench.evaluate import WalkForward, sweep
from workbench.models import ModelSpec

FOLDS, SETTINGS = 3, 12
SPACES = {
    "grid": {"n_estimators": [5, 10, 20], "max_depth": [2, None], "min_samples_leaf": [10, 30]},
    "tpe": {"n_estimators": (5, 20), "max_features": (0.1, 1.0), "max_depth": [2, 4, None]},
}


def swept(ledger: str, how: str, sampler: str, progress=None) -> dict:
    """What the sweep gives, in JSON's terms and to the bit, without what depends on the clock."""
    found = sweep(
        ModelSpec("random_forest", seed=3), SPACES[sampler], *panels(rows=400, symbols=6), sampler=sampler,
        settings=None if sampler == "grid" else SETTINGS, splits=WalkForward(folds=FOLDS), seed=1,
        ledger=ledger, how=how, workers=2, progress=progress,
    )  # fmt: skip
    table = repr(found.table.drop(columns="seconds").astype(object).to_numpy().tolist())
    return {"table": table, "specs": [spec.to_json() for spec in found.specs], "computed": found.computed}


def main(ledger: str, how: str, sampler: str):
    ModelSpec("random_forest").build()  # imports scikit-learn, so that what comes after this line is the sweep itself
    print("begun", flush=True)
    print(json.dumps(swept(ledger, how, sampler, lambda done, total, name: print(done, total, name, flush=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
