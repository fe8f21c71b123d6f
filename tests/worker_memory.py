"""What a worker process holds for itself, model by model: run by hand, as `python -m tests.worker_memory`.

A small walk on processes runs first, so that what is imported and warmed up is there; then a large one, while the
private bytes of each worker are read from outside. Printed is the most that one of them added, as a share of the
features' bytes. Nothing is judged here: the law stands in test_walk_memory.py.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from workbench import compute
from workbench.errors import WorkbenchError
from workbench.evaluate import PurgedKFold, Splits, WalkForward, walk_forward
from workbench.evaluate.layout import Layout
from workbench.evaluate.table import Table
from workbench.models import ModelSpec, models
from workbench.panel import Panel

SPLITS = {"start": None, "walk": WalkForward(2), "purged": PurgedKFold(3)}
# a fit of seconds: what a worker holds doesn't grow with the trees, the epochs or the starts
PARAMS = {
    "random_forest": {"n_estimators": 2, "max_depth": 3},
    "random_forest_classifier": {"n_estimators": 2, "max_depth": 3},
    "gradient_boosting": {"max_iter": 3},
    "gradient_boosting_classifier": {"max_iter": 3},
    "mlp": {"epochs": 1},
    "lstm": {"epochs": 1},
    "tcn": {"epochs": 1},
    "nonlinear": {"feature": 0, "starts": 1},
}


def panels(rows: int, symbols: int = 20, features: int = 30, classes: bool = False) -> tuple[Panel, Panel]:
    """Noise, and a label one row ahead; as classes -1 and 1 where asked."""
    draw = np.random.default_rng(0)
    time = pd.date_range("1970-01-01", periods=rows, freq="h", tz="UTC")
    names = [f"S{i}" for i in range(symbols)]
    values = Panel(draw.standard_normal((features, rows, symbols)), time, names, [f"f{i}" for i in range(features)])
    label = np.stack([draw.standard_normal((rows, symbols)), np.ones((rows, symbols))])
    label[0] = np.sign(label[0]) if classes else label[0]
    label[0, -1] = np.nan
    return values, Panel(label, time, names, ["forward_return", "span"])


def private(pid: int) -> int:
    """Bytes that a process shares with no other."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def workers() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "loky" in " ".join(child.cmdline())]


class Watch(threading.Thread):
    """The most that each worker held while the block ran."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most: dict[int, int] = {}
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            for pid in workers():
                self.most[pid] = max(self.most.get(pid, 0), private(pid))
            time.sleep(0.002)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.join()


def warm(spec: ModelSpec, data: tuple[Panel, Panel], folder: Path, number: int) -> None:
    """A small walk in this worker, once both have begun: so that it is none that has imported nothing."""
    (folder / f"{number}.begun").touch()
    while len(list(folder.glob("*.begun"))) < 2:
        time.sleep(0.01)
    walk_forward(spec, *data, splits=WalkForward(2), ledger=folder / f"{number}.sqlite", how="serial")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what walks before have left free would be taken without being counted


def read(table: Table, number: int) -> float:
    """Each sample, once."""
    return table.X.sum() + np.nansum(table.y)


def added(spec: ModelSpec, splits: Splits | None, rows: int, symbols: int = 20, features: int = 30) -> float:
    """The most that a warm worker adds in a walk of `spec`, as a share of the features' bytes.

    Without splits nothing is fitted: each of two workers reads all samples, as they are lent to it.
    """
    classes = models[spec.name].task == "classification"
    with tempfile.TemporaryDirectory() as name:
        folder, small = Path(name), panels(150, symbols, features, classes)
        compute.run([(f"warm {i}", warm, spec, small, folder, i) for i in range(2)], how="processes", workers=2)
        before = {pid: private(pid) for pid in workers()}
        large = panels(rows, symbols, features, classes)
        with Watch() as watch:
            if splits is None:
                with Layout(*large, None).lent() as table_of:
                    tasks = [(f"read {i}", read, table_of(spec), i) for i in range(8)]
                    compute.run(tasks, how="processes", workers=2)
            else:
                walk_forward(spec, *large, splits=splits, ledger=folder / "large.sqlite", how="processes", workers=2)
    return max(most - before.get(pid, 0) for pid, most in watch.most.items()) / large[0].values.nbytes


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.worker_memory", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", help="default: all that are registered")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--features", type=int, default=30)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    asked = arguments(argv)
    warnings.simplefilter("ignore")  # of fits that have not converged
    size = asked.rows, asked.symbols, asked.features
    print(f"{asked.symbols} symbols x {asked.rows} rows x {asked.features} features, {np.prod(size) * 8 / 1e6:.0f} MB")
    print(f"{'model':30}" + "".join(f"{name:>10}" for name in SPLITS) + f"{'seconds':>10}")
    for name in asked.models or models:
        spec, begun = ModelSpec(name, PARAMS.get(name)), time.perf_counter()
        try:
            shares = [added(spec, splits, *size) for splits in SPLITS.values()]
        except WorkbenchError as error:  # such as Fama-MacBeth, which needs more symbols than features
            print(f"{name:30}  {error}", flush=True)
            continue
        taken = time.perf_counter() - begun
        print(f"{name:30}" + "".join(f"{share:10.1%}" for share in shares) + f"{taken:10.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
