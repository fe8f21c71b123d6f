"""What a walk on processes takes, measured from outside: workers map the samples, they don't hold them."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from workbench.evaluate import WalkForward, walk_forward
from workbench.models import ModelSpec
from workbench.panel import Panel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def panels(rows: int) -> tuple[Panel, Panel]:
    """Twenty symbols and thirty features; the label is one row ahead."""
    draw = np.random.default_rng(0)
    time = pd.date_range("1970-01-01", periods=rows, freq="h", tz="UTC")
    names = [f"S{i}" for i in range(20)]
    features = Panel(draw.standard_normal((30, rows, 20)), time, names, [f"f{i}" for i in range(30)])
    label = np.stack([draw.standard_normal((rows, 20)), np.ones((rows, 20))])
    label[0, -1] = np.nan
    return features, Panel(label, time, names, ["forward_return", "span"])


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


@pytest.mark.parametrize(("name", "params"), [("random_forest", {"n_estimators": 2, "max_depth": 3}), ("ridge", {})])
def test_a_worker_adds_less_than_a_fifth_of_the_panel(tmp_path, name, params):
    spec, given = ModelSpec(name, params), {"splits": WalkForward(2), "how": "processes", "workers": 2}
    walk_forward(spec, *panels(300), ledger=tmp_path / "warm.sqlite", **given)  # what is imported is there then
    before = {pid: private(pid) for pid in workers()}
    features, label = panels(12_000)
    with Watch() as watch:
        walk_forward(spec, features, label, ledger=tmp_path / "ledger.sqlite", **given)
    assert watch.most
    added = {pid: most - before.get(pid, 0) for pid, most in watch.most.items()}
    assert max(added.values()) < 0.2 * features.values.nbytes, (os.getpid(), added)
