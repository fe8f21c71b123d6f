"""How long Stop takes, model by model: run by hand on a quiet machine, as `python -m tests.stop_latency`.

A walk runs on a thread of its own and is stopped at a random moment, again and again. Printed are milliseconds from the
request to the walk's end, and to the moment when the last thread or worker process has let go of it; then, for the
slowest presses, what the walk's thread did meanwhile. Nothing is judged here: the laws stand in test_stop.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.compute import CancelToken
from workbench.errors import Cancelled
from workbench.models import models

sys.path.insert(0, str(Path(__file__).parent))
from studies import panels, signs

# long enough for a fold to take seconds
PARAMS = {
    "random_forest": {"n_estimators": 30},
    "random_forest_classifier": {"n_estimators": 30},
    "gradient_boosting": {"max_iter": 400},
    "gradient_boosting_classifier": {"max_iter": 400},
    "nonlinear": {"feature": 0},
}
SLOW = 0.1  # seconds: of presses that took longer it is said where


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stop_latency", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", help="default: all that are registered")
    parser.add_argument("--presses", type=int, default=40)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--features", type=int, default=18)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--how", choices=("threads", "processes", "serial"), help="default: as the model declares")
    parser.add_argument("--most", type=float, default=3.0, help="seconds into the run, the latest press")
    return parser.parse_args(argv)


def waiting() -> bool:
    """Whether something of a run that has ended still works."""
    return any(thread.name == "workbench-run" for thread in threading.enumerate())


def places(thread: int) -> str:
    """Where a thread is: its innermost call, and the innermost one of the package."""
    frame, stack = sys._current_frames().get(thread), []
    while frame is not None:
        path, call = Path(frame.f_code.co_filename), frame.f_code.co_name
        stack.append((f"{path.parent.name}/{path.name}:{frame.f_lineno} {call}", "workbench" in path.parts))
        frame = frame.f_back
    mine = next((name for name, ours in stack if ours), "")
    return f"{stack[0][0]} < {mine}" if stack else "ended"


def press(spec, study, how, after: float) -> tuple[float, float, float, Counter]:
    """Seconds that a walk took, from the press on to its end and till all was free; and where it was meanwhile."""
    stop, ended, seen = CancelToken(), [], Counter()
    with tempfile.TemporaryDirectory() as folder:
        ledger = wb.Ledger(Path(folder) / "ledger.sqlite")

        def walk():
            with suppress(Cancelled):
                wb.walk_forward(spec, **study, ledger=ledger, how=how, workers=2, cancel=stop)
            ended.append(time.perf_counter())

        thread = threading.Thread(target=walk)
        begun = time.perf_counter()
        thread.start()
        thread.join(after)
        pressed = time.perf_counter()
        stop.cancel()
        thread.join(0.02)
        while thread.is_alive():
            seen[places(thread.ident)] += 1
            thread.join(0.02)
        while waiting():
            time.sleep(0.002)
        free = time.perf_counter()
    return ended[0] - begun, max(ended[0] - pressed, 0.0), free - pressed, seen


def main(argv: list[str] | None = None) -> None:
    asked = arguments(argv)
    warnings.simplefilter("ignore")  # of fits that have not converged
    features, label = panels(rows=asked.rows, symbols=asked.symbols, features=asked.features)
    draw = np.random.default_rng(0)
    print(f"{asked.symbols} symbols x {asked.rows} rows x {asked.features} features, {asked.presses} presses; ms")
    print(f"{'model':30}{'of, s':>8}{'p50':>7}{'p95':>7}{'max':>7}{'free p95':>10}{'free max':>10}")
    for name in asked.models or models:
        spec = wb.ModelSpec(name, PARAMS.get(name))
        y = signs(label) if models[name].task == "classification" else label
        study = {"features": features, "label": y, "splits": wb.WalkForward(folds=asked.folds)}
        press(spec, study, asked.how, 2 * asked.most)  # what is imported, and the workers, are there before
        whole = press(spec, study, asked.how, asked.most)[0]
        moments = draw.uniform(0, min(whole, asked.most), asked.presses)
        found = [press(spec, study, asked.how, moment) for moment in moments]
        latency, free = (1e3 * np.array([each[i] for each in found]) for i in (1, 2))
        print(f"{name:30}{whole:8.2f}{np.median(latency):7.0f}{np.quantile(latency, 0.95):7.0f}{latency.max():7.0f}"
              f"{np.quantile(free, 0.95):10.0f}{free.max():10.0f}", flush=True)  # fmt: skip
        where = sum((seen for _, taken, _, seen in found if taken > SLOW), Counter())
        for place, count in where.most_common(5):
            print(f"    {count:4} x 20 ms  {place}")


if __name__ == "__main__":
    main()
