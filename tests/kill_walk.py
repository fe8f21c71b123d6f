"""Walks a forest over eight folds on a ledger: the process that test_evaluate.py kills in the middle.

Usage: python kill_walk.py LEDGER HOW. It prints a line as each fold ends, and JSON when all is done.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd

from workbench.evaluate import WalkForward, walk_forward
from workbench.models import ModelSpec
from workbench.panel import Panel

FOLDS = 8


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
