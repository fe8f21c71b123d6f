"""The unit of work, a cell: one fold of one spec on one layout. What the ledger lacks is computed, and kept as it ends.

1. Specs whose models see only moments are solved from sums that all their folds share.          (_by_moments)
2. All other cells are tasks of their own, on threads or processes as their model declares.      (_by_fold)
3. Each is put into the ledger as it ends, whatever becomes of the others.                       (_Keeper)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from typing import NamedTuple

import numpy as np

from .. import compute
from ..ledger import Ledger
from ..models import ModelSpec, models
from .fit import fit_fold, moments, scored, shared
from .layout import Layout
from .splits import Fold
from .table import taken

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
    keep = _Keeper(layout, ledger)
    summed, single = {}, {}
    for key, task in lacking.items():
        (summed if hasattr(task.spec.build(), "fit_moments") else single)[key] = task
    # one thread to a sum, here as in the tasks: the same bits on every machine
    with compute.reporter(run.progress, len(lacking)) as report, compute.one_thread_each():
        if summed:
            _by_moments(summed, layout, keep, run, report)
        for how in ("threads", "serial", "processes"):
            chosen = {k: t for k, t in single.items() if (run.how or models[t.spec.name].how) == how}
            if chosen:
                _by_fold(chosen, layout, keep, run._replace(how=how), report)


class _Keeper:
    """Puts finished cells into the ledger."""

    def __init__(self, layout: Layout, ledger: Ledger):
        self.layout, self.ledger = layout, ledger

    def row(self, key: str, task: Task, result: dict[str, np.ndarray], seconds: float) -> dict:
        layout, (spec, fold, code) = self.layout, task
        at = layout.runs(spec, fold, "test")
        row, column = taken(layout.table.row, at), taken(layout.table.column, at)
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

    def put(self, rows: list[dict]) -> None:
        self.ledger.put_many(rows)


def title(spec: ModelSpec) -> str:
    """The model's name, with what differs from its defaults."""
    default = ModelSpec(spec.name)
    changed = {k: v for k, v in spec.params.items() if v != default.params[k]}
    changed |= {"seed": spec.seed} if spec.seed != default.seed else {}
    return spec.name + (f"({', '.join(f'{k}={v!r}' for k, v in changed.items())})" if changed else "")


def named(task: Task, layout: Layout) -> str:
    return f"{title(task.spec)}, fold {task.fold.number} of {len(layout.folds(task.spec))}"


def _by_fold(lacking: dict[str, Task], layout: Layout, keep: _Keeper, run: How, report) -> None:
    """Each cell by itself."""
    check = None if run.cancel is None or run.how == "processes" else run.cancel.check
    keys = {named(task, layout): key for key, task in lacking.items()}

    def done(name: str, result: tuple[dict[str, np.ndarray], float]) -> None:
        keep.put([keep.row(keys[name], lacking[keys[name]], *result)])
        report(name)

    with layout.table.lent() if run.how == "processes" else nullcontext(layout.table) as table:
        tasks = []
        for name, key in keys.items():
            spec, fold, _ = lacking[key]
            at = [layout.runs(spec, fold, part) for part in ("train", "test")]
            tasks.append((name, fit_fold, spec.build(), table, *at, check))
        compute.run(tasks, how=run.how, workers=run.workers, cancel=run.cancel, done=done)


def _by_moments(lacking: dict[str, Task], layout: Layout, keep: _Keeper, run: How, report) -> None:
    """Cells of models that see only moments; these are summed over all folds, so that it matters to no bit which
    of them are lacking."""
    for lookback in {layout.lookback(task.spec) for task in lacking.values()}:
        mine = {key: task for key, task in lacking.items() if layout.lookback(task.spec) == lookback}
        sums, parts = _sums(next(iter(mine.values())).spec, layout, run)
        for spec in dict.fromkeys(task.spec for task in mine.values()):
            rows = []
            for key, task in mine.items():
                if task.spec != spec:
                    continue
                if run.cancel is not None:
                    run.cancel.check()
                begun = time.perf_counter()
                name = named(task, layout)
                with compute.naming(name):
                    estimator = spec.build()
                    estimator.fit_moments(type(sums[0]).merged([sums[i] for i in parts[task.fold.number - 1]]))
                    result = scored(estimator, layout.table, layout.runs(spec, task.fold, "test"))
                rows.append(keep.row(key, task, result, time.perf_counter() - begun))
                report(name)
            keep.put(rows)


def _sums(spec: ModelSpec, layout: Layout, run: How) -> tuple[list, list[list[int]]]:
    """The moments of each set of samples, some sets a task, and the sets of each fold; once a layout."""
    lookback = layout.lookback(spec)
    if lookback not in layout.sums:
        sets, parts = shared([layout.sampled(fold.train) for fold in layout.folds(spec)])
        edges = np.cumsum([(at[:, 1] - at[:, 0]).sum() for at in sets])
        batch = np.minimum((edges - 1) * BATCHES // edges[-1], BATCHES - 1)
        how = run.how or "threads"
        with layout.table.lent() if how == "processes" else nullcontext(layout.table) as table:
            tasks = [
                (f"moments, part {i + 1}", moments, table, [sets[j] for j in np.flatnonzero(batch == i)])
                for i in np.unique(batch)
            ]
            found = compute.run(tasks, how=how, workers=run.workers, cancel=run.cancel)
        layout.sums[lookback] = [*chain(*found)], parts
    return layout.sums[lookback]
