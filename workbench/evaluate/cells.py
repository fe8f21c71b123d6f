"""The unit of work, a cell: one fold of one spec on one layout. What the ledger lacks is computed, and kept as it ends.

1. Specs whose models see only moments are solved from sums that folds share, and kept spec by spec. (_by_moments)
2. All other cells are tasks of their own, on threads or processes as their model declares, each kept
   as it ends, whatever becomes of the others.                                                      (_by_fold)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np

from .. import compute
from ..kernels import poll
from ..ledger import Ledger
from ..models import ModelSpec, models
from .fit import fit_fold, moments, shared, tested
from .layout import Layout
from .splits import Fold

LARGE = 1 << 28  # bytes of samples from which threads sum them sooner than one does: to start them costs as much
BATCHES = 8  # of sets of samples: as many tasks, whatever the number of workers, so that they are long enough


class Task(NamedTuple):
    """A cell that is to be computed."""

    spec: ModelSpec
    fold: Fold
    code: str


class How(NamedTuple):
    """How cells are run: as `workbench.compute.run` takes it; `how` None is what each model declares."""

    how: str | None
    workers: int | None
    progress: bool | Callable[[int, int, str], object] | None
    cancel: compute.CancelToken | None


def compute_cells(lacking: dict[str, Task], layout: Layout, ledger: Ledger, run: How) -> None:
    """Compute the cells that are lacking, by key, and put each into the ledger."""
    compute.check_how(run.how or compute.HOWS[0], run.workers)
    mine: dict[ModelSpec, dict[str, Task]] = {}
    for key, task in lacking.items():
        mine.setdefault(task.spec, {})[key] = task
    summed = {spec: mine.pop(spec) for spec in list(mine) if hasattr(spec.build(), "fit_moments")}
    # one thread to a sum, here as in the tasks: the same bits on every machine
    with compute.until(run.cancel), compute.reporter(run.progress, len(lacking)) as report, compute.one_thread_each():
        for spec, cells in summed.items():
            _by_moments(spec, cells, layout, ledger, run, report)
        for how in compute.HOWS:
            chosen = [cells.items() for spec, cells in mine.items() if (run.how or models[spec.name].how) == how]
            if chosen:
                _by_fold(dict(chain(*chosen)), layout, ledger, run._replace(how=how), report)


def title(spec: ModelSpec) -> str:
    """The model's name, with what differs from its defaults."""
    default = ModelSpec(spec.name)
    changed = {k: v for k, v in spec.params.items() if v != default.params[k]}
    changed |= {"seed": spec.seed} if spec.seed != default.seed else {}
    return spec.name + (f"({', '.join(f'{k}={v!r}' for k, v in changed.items())})" if changed else "")


def named(task: Task, layout: Layout) -> str:
    return f"{title(task.spec)}, fold {task.fold.number} of {len(layout.folds(task.spec))}"


def _row(key: str, task: Task, layout: Layout, result: dict[str, np.ndarray], seconds: float) -> dict:
    """A finished cell, as the ledger takes it."""
    spec, fold, code = task
    row, column = layout.places(layout.runs(spec, fold, "test"))
    return {
        "key": key,
        "kind": "fold",
        "data": layout.label.fingerprint,
        "trial": layout.trial(spec),
        "code": code,
        "study": layout.asked(spec, fold),
        "outcome": layout.outcome(spec, fold, result),
        "arrays": {"row": row, "column": column, **result},
        "seconds": seconds,
    }


def _by_fold(cells: dict[str, Task], layout: Layout, ledger: Ledger, run: How, report) -> None:
    """Each cell by itself."""
    keys = {named(task, layout): key for key, task in cells.items()}

    def done(name: str, result: tuple[dict[str, np.ndarray], float]) -> None:
        ledger.put_many([_row(keys[name], cells[keys[name]], layout, *result)])
        report(name)

    with layout.tables(run.how == "processes") as table_of:
        tasks = []
        for name, key in keys.items():
            spec, fold, _ = cells[key]
            at = [layout.runs(spec, fold, part) for part in ("train", "test")]
            tasks.append((name, fit_fold, spec.build(), table_of(spec), *at))
        compute.run(tasks, how=run.how, workers=run.workers, done=done)


def _by_moments(spec: ModelSpec, cells: dict[str, Task], layout: Layout, ledger: Ledger, run: How, report) -> None:
    """The cells of a spec whose model sees only moments, put together; what was solved before an error is kept."""
    known = _moments_of_folds(spec, layout, run)
    rows = []
    try:
        for key, task in cells.items():
            poll()
            begun, name = time.perf_counter(), named(task, layout)
            with compute.naming(name):
                estimator = compute.apart(spec.build().fit_moments, known[task.fold.number - 1])
                result = tested(estimator, layout.table_of(spec), layout.runs(spec, task.fold, "test"))
            rows.append(_row(key, task, layout, result, time.perf_counter() - begun))
            report(name)
    finally:
        ledger.put_many(rows)


def _moments_of_folds(spec: ModelSpec, layout: Layout, run: How) -> list:
    """The moments of each fold's training samples, summed once a layout.

    Over all folds, so that it matters to no bit which of them are lacking; some sets of samples are a task.
    """
    lookback = layout.lookback(spec)
    if lookback not in layout.moments:
        sets, parts = shared([layout.sampled(fold.train) for fold in layout.folds(spec)])
        edges = np.cumsum([(at[:, 1] - at[:, 0]).sum() for at in sets])
        batch = np.minimum((edges - 1) * BATCHES // edges[-1], BATCHES - 1)
        how = run.how or ("threads" if layout.table.X.nbytes > LARGE else "serial")
        with layout.tables(how == "processes") as table_of:
            tasks = [
                (f"moments, part {i + 1}", moments, table_of(spec), [sets[j] for j in np.flatnonzero(batch == i)])
                for i in np.unique(batch)
            ]
            sums = [*chain(*compute.run(tasks, how=how, workers=run.workers))]
        layout.moments[lookback] = [type(sums[0]).merged([sums[i] for i in chosen]) for chosen in parts]
    return layout.moments[lookback]
