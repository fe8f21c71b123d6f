"""The timeline of compiled kernels, by thread: how they overlapped, which ran without the GIL, how fast they were."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import ClassVar

import numpy as np
import pandas as pd

from .collect import Work, collector
from .gil import Witness
from .result import TOP, Result
from .spans import RING, Call, Recorder, lanes, union
from .svg import Bar, timeline
from .words import CODE

_INTERVAL = 0.004  # seconds from look to look: 0.4 % of a CPU, where none is idle
_ENOUGH = 5  # looks from which on a share of them says something


class KernelProfile(Result):
    """Calls of kernels by kernel.

    ``overlapped`` is the share of a kernel's time in which a kernel ran on another thread too; ``gil_free`` the share
    of ``looks`` during it, moments at equal distances, at which the lock was free, empty where they are fewer than
    five; ``rows_a_second`` and ``bytes_a_second`` are of inputs and outputs.
    """

    columns: ClassVar[dict[str, str]] = {
        "kernel": CODE,
        "calls": "n",
        "seconds": "s",
        "per_call": "s",
        "share": "%",
        "threads": "n",
        "overlapped": "%",
        "gil_free": "%",
        "looks": "n",
        "rows_a_second": "rows/s",
        "bytes_a_second": "B/s",
    }
    keys = ("kernel",)
    measures = ("seconds", "calls")

    def __init__(self, *args, calls: list[Call] = (), begun: float = 0.0, elapsed: float = 0.0, **options):
        super().__init__(*args, **options)
        self.calls, self.begun, self.elapsed = list(calls), begun, elapsed

    def picture(self) -> str:
        if not self.calls:
            return ""
        here = os.getpid()
        named = lanes(((here, c.thread) for c in self.calls), (here, threading.main_thread().ident))
        bars = [
            Bar(named[here, c.thread], c.name, c.name, c.begun - self.begun, c.ended - self.begun, f"{c.rows:,} rows")
            for c in self.calls
        ]
        return timeline(bars, self.elapsed, label=f"kernels of {self.title} by thread")


@collector
def kernels(work: Work, *, ring: int = RING, top: int = TOP) -> KernelProfile:
    """Record each call of a compiled kernel, while some work runs.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    ring : int, default 524288
        Calls that are kept: the last ones.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    KernelProfile

    Notes
    -----
    A call takes 0.2 microseconds longer while it is recorded, and one look at a hook when it isn't: some 0.7 % of a
    kernel on 250 rows of 5 symbols (27 microseconds), less on more; and 50 microseconds once. The GIL is looked at 250
    times a second without asking for it (`workbench.profiling.gil`): that it was taken while a kernel ran may be
    another thread's doing, so ``gil_free`` is what a kernel let go at least, and it needs 20 milliseconds in a kernel
    to be told. ``rows`` are those that a kernel is given: of few long series it is given stretches side by side, as
    more symbols.
    Kernels in worker processes are not seen; those in scikit-learn and torch aren't ours.
    """
    with Recorder(tasks=False, ring=ring) as record, Witness(_INTERVAL) as witness:
        error = work.run()
    calls, elapsed = record.calls, record.ended - record.begun
    frame = by_kernel(calls, witness)
    busy = union((c.begun, c.ended) for c in calls)
    total = sum(c.ended - c.begun for c in calls)
    facts = {
        "elapsed": (elapsed, "s"),
        "in kernels": (busy / elapsed if elapsed else 0.0, "%"),
        "kernels at once": (total / busy if busy else 0.0, "x"),
        "threads": (len({c.thread for c in calls}), "n"),
        "GIL taken": (witness.share, "%"),
    }
    notes = []
    if record.full:
        notes.append(f"The ring was full: only the last {len(calls):,} calls are here.")
    if not calls:
        notes.append("No kernel ran in this process.")
    waiting = frame.loc[(frame["gil_free"] < 0.5) & (frame["overlapped"] > 0), "kernel"].tolist()
    if waiting:
        when = f"The GIL was taken during {', '.join(waiting)}"
        notes.append(f"{when}: a call lasts until it has the lock back, and overlaps by that.")
    if not witness.known:
        notes.append("This Python does not tell whether its GIL is taken.")
    return KernelProfile(
        work.title, frame, facts=facts, notes=notes, top=top, error=error,
        calls=calls, begun=record.begun, elapsed=elapsed,
    )  # fmt: skip


def by_kernel(calls: list[Call], witness: Witness) -> pd.DataFrame:
    """The rows of a KernelProfile."""
    shared = overlapped(calls)
    looks, free = _looks(calls, witness)
    groups: dict[str, list[int]] = defaultdict(list)
    for number, call in enumerate(calls):
        groups[call.name].append(number)
    total = sum(c.ended - c.begun for c in calls)
    rows = []
    for name, numbers in groups.items():
        mine = [calls[i] for i in numbers]
        seconds = sum(c.ended - c.begun for c in mine)
        seen = sum(looks[i] for i in numbers)
        rows.append(
            {
                "kernel": name,
                "calls": len(mine),
                "seconds": seconds,
                "per_call": seconds / len(mine),
                "share": seconds / total if total else 0.0,
                "threads": len({c.thread for c in mine}),
                "overlapped": sum(shared[i] for i in numbers) / seconds if seconds else 0.0,
                "gil_free": sum(free[i] for i in numbers) / seen if seen >= _ENOUGH else float("nan"),
                "looks": seen,
                "rows_a_second": sum(c.rows for c in mine) / seconds if seconds else float("nan"),
                "bytes_a_second": sum(c.bytes for c in mine) / seconds if seconds else float("nan"),
            }
        )
    frame = pd.DataFrame(rows, columns=list(KernelProfile.columns))
    return frame.sort_values("seconds", ascending=False, kind="stable")


def overlapped(calls: list[Call]) -> list[float]:
    """Of each call, the seconds in which a kernel ran on another thread too."""
    threads: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for call in sorted(calls, key=lambda c: c.begun):
        threads[call.thread].append((call.begun, call.ended))
    begins = {thread: [b for b, _ in spans] for thread, spans in threads.items()}
    found = []
    for call in calls:
        parts = []
        for thread, spans in threads.items():
            if thread == call.thread:
                continue
            # calls of one thread follow each other, so those that meet this one are neighbours
            first = max(bisect_right(begins[thread], call.begun) - 1, 0)
            for begun, ended in spans[first : bisect_left(begins[thread], call.ended)]:
                if min(ended, call.ended) > max(begun, call.begun):
                    parts.append((max(begun, call.begun), min(ended, call.ended)))
        found.append(union(parts))
    return found


def _looks(calls: list[Call], witness: Witness) -> tuple[list[int], list[int]]:
    """Of each call, how often the lock was looked at while it ran, and how often it was free."""
    spans = np.array([(c.begun, c.ended) for c in calls]).reshape(-1, 2)
    first, last = np.searchsorted(witness.moments, spans).T
    free = np.concatenate([[0], np.cumsum(~witness.taken)])
    return (last - first).tolist(), (free[last] - free[first]).tolist()
