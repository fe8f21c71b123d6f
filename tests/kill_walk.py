"""Walks a forest over eight folds on a ledger: the process that test_walk.py kills in the middle.

Usage: python kill_walk.py LEDGER HOW. It prints a line as each fold ends, and JSON when all is done.
"""

from __future__ import annotations

import json
import sys

from studies import panels

from workbench.evaluate import WalkForward, walk_forward
from workbench.models import ModelSpec

FOLDS = 8


def main(ledger: str, how: str):
    spec = ModelSpec("random_forest", {"n_estimators": 40}, seed=3)
    spec.build()  # imports scikit-learn, so that what comes after this line is the walk itself
    print("begun", flush=True)
    walk = walk_forward(
        spec, *panels(), splits=WalkForward(folds=FOLDS), ledger=ledger, how=how, workers=2,
        progress=lambda done, total, name: print("fold", flush=True),
    )  # fmt: skip
    print(json.dumps({"scores": walk.scores.fingerprint, "computed": walk.computed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
