"""Where the time of a study went: by feature, model and fold, with the kernels in it, collections and memory."""

from __future__ import annotations

import gc
import os
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import ClassVar

import pandas as pd

from .collect import Work, collector
from .collection import Clock
from .memory import Meter
from .result import TOP, Result
from .spans import Call, Recorder, Span, lanes, union
from .svg import Bar, timeline
from .words import TEXT

_FOLD = re.compile(r"(?P<model>.+), fold (?P<fold>\d+) of \d+")


class StudyProfile(Result):
    """Where the time went, one row a part: its ``kind``, ``name``, and ``fold`` where it is one of a model.

    ``seconds`` are those of the part without the parts in it, ``cpu`` those on a CPU, ``kernels`` those in compiled
    kernels of this process; ``share`` is of all that was marked.
    """

    columns: ClassVar[dict[str, str]] = {
        "kind": TEXT,
        "name": TEXT,
        "fold": "n",
        "folds": "n",
        "times": "n",
        "seconds": "s",
        "share": "%",
        "cpu": "s",
        "kernels": "s",
        "kernel_share": "%",
        "dearest_kernel": TEXT,
    }
    keys = ("kind", "name", "fold")
    measures = ("seconds", "cpu", "kernels")
    unfolded = 9

    def __init__(self, *args, spans: list[Span] = (), begun: float = 0.0, elapsed: float = 0.0, **options):
        super().__init__(*args, **options)
        self.spans, self.begun, self.elapsed = list(spans), begun, elapsed

    def by(self, *keys: str) -> pd.DataFrame:
        """The rows added up by ``kind``, ``name`` or ``fold``."""
        sums = ["times", "seconds", "share", "cpu", "kernels"]
        return self.rows.groupby(list(keys), as_index=False)[sums].sum().sort_values("seconds", ascending=False)

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        found = []
        kinds = self.by("kind")
        for kind in kinds["kind"].drop(kinds.index[kinds["kind"] == "elsewhere"]):
            mine = self.rows[self.rows["kind"] == kind]
            if mine["fold"].notna().any():
                models = mine.groupby("name", as_index=False)[["times", "seconds", "share", "cpu", "kernels"]].sum()
                models["folds"] = mine.groupby("name")["fold"].nunique().to_numpy()
                found.append(("by model", models.sort_values("seconds", ascending=False)))
                folds = mine.groupby("fold", as_index=False)[["times", "seconds", "share", "cpu", "kernels"]].sum()
                found.append(("by fold", folds))
                found.append(("by model and fold", mine.drop(columns="kind")))
            else:
                found.append((f"by {kind}", mine.drop(columns=["kind", "fold"])))
        found.insert(0, ("by kind", kinds))
        return found

    def picture(self) -> str:
        if not self.spans:
            return ""
        main = (os.getpid(), threading.main_thread().ident)
        named = lanes(((s.process, s.thread) for s in self.spans), main)
        bars = [
            Bar(named[s.process, s.thread], s.name, kind_of(s), s.begun - self.begun, s.ended - self.begun)
            for s in self.spans
        ]
        return timeline(bars, self.elapsed, label=f"tasks of {self.title} by thread and process")


def kind_of(span: Span) -> str:
    """A fold of a model is told by its name, whoever ran it."""
    return "fold" if _FOLD.fullmatch(span.name) else span.kind


@collector
def study(work: Work, *, top: int = TOP) -> StudyProfile:
    """See where the time of a study goes: by feature, model and fold, with kernels, collections and memory.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    top : int, default 20
        Rows of each table that are shown.

    Returns
    -------
    StudyProfile

    Notes
    -----
    The parts are the tasks that `workbench.compute` runs, in this process or in others, and the blocks that are marked
    by `workbench.profiling.span`. Folds that stand in the ledger are read, not run, and are no part. Kernels are seen
    in this process; in worker processes their time is part of the task's.
    """
    clock = Clock()
    with Meter() as meter, Recorder() as record:
        gc.callbacks.append(clock)  # within the meter, which collects before and after
        try:
            error = work.run()
        finally:
            gc.callbacks.remove(clock)
    elapsed = record.ended - record.begun
    own = own_seconds(record.spans)
    inside = kernel_seconds(record.spans, record.calls)
    covered = union((s.begun, s.ended) for s in record.spans)
    frame = _rows(record.spans, own, inside, elapsed - covered)
    facts = {
        "elapsed": (elapsed, "s"),
        "in parts": (covered / elapsed if elapsed else 0.0, "%"),
        "parts at once": (sum(own) / covered if covered else 0.0, "x"),
        "in kernels": (union((c.begun, c.ended) for c in record.calls), "s"),
        "in collections": (clock.seconds, "s"),
        "peak of memory": (meter.peak, "B"),
    }
    notes = [] if record.spans else ["No task was run, and no block was marked: see `workbench.profiling.span`."]
    if record.full:
        notes.append("There were more calls of kernels than are kept: their seconds are those of the last.")
    return StudyProfile(
        work.title, frame, facts=facts, notes=notes, top=top, error=error,
        spans=record.spans, begun=record.begun, elapsed=elapsed,
    )  # fmt: skip


def _nested(items: list, at: Callable, visit: Callable[[int, int | None], None]) -> None:
    """Call `visit` with the number of each item and that of the one around it, on the same thread, or None."""
    order = sorted(range(len(items)), key=lambda i: (at(items[i]), items[i].begun, -items[i].ended))
    stack: list[int] = []
    for i in order:
        while stack and (at(items[stack[-1]]) != at(items[i]) or items[stack[-1]].ended < items[i].ended):
            stack.pop()
        visit(i, stack[-1] if stack else None)
        stack.append(i)


def own_seconds(spans: list[Span]) -> list[float]:
    """Of each span, its seconds without those of the spans in it on the same thread."""
    own = [s.seconds for s in spans]

    def visit(number: int, around: int | None) -> None:
        if around is not None:
            own[around] -= spans[number].seconds

    _nested(spans, lambda s: (s.process, s.thread), visit)
    return own


def kernel_seconds(spans: list[Span], calls: list[Call]) -> list[dict[str, float]]:
    """Of each span, the seconds in each kernel that ran in it, and in none of the spans in it."""
    found: list[dict[str, float]] = [defaultdict(float) for _ in spans]
    here = os.getpid()
    items = [*spans, *(Span("kernel", c.name, c.begun, c.ended, 0.0, here, c.thread) for c in calls)]

    def visit(number: int, around: int | None) -> None:
        if number >= len(spans) and around is not None and around < len(spans):
            found[around][items[number].name] += items[number].seconds

    _nested(items, lambda s: (s.process, s.thread), visit)
    return found


def _rows(spans: list[Span], own: list[float], inside: list[dict[str, float]], elsewhere: float) -> pd.DataFrame:
    """The rows of a StudyProfile; `elsewhere` are the seconds in which no part ran: imports, laying out, keeping."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for number, span in enumerate(spans):
        match = _FOLD.fullmatch(span.name)
        key = ("fold", match["model"], float(match["fold"])) if match else (span.kind, span.name, float("nan"))
        groups[key[0], key[1], match and key[2]].append(number)
    total, rows = sum(own) + (elsewhere if spans else 0.0), []
    for (kind, name, fold), numbers in groups.items():
        kernels: dict[str, float] = defaultdict(float)
        for i in numbers:
            for kernel, spent in inside[i].items():
                kernels[kernel] += spent
        seconds = sum(own[i] for i in numbers)
        rows.append(
            {
                "kind": kind,
                "name": name,
                "fold": float("nan") if fold is None else fold,
                "times": len(numbers),
                "seconds": seconds,
                "share": seconds / total if total else 0.0,
                "cpu": sum(spans[i].cpu for i in numbers),
                "kernels": sum(kernels.values()),
                "kernel_share": sum(kernels.values()) / seconds if seconds else 0.0,
                "dearest_kernel": max(kernels, key=kernels.get, default=""),
            }
        )
    if spans:
        outside = {"kind": "elsewhere", "name": "outside of all parts", "times": 1, "seconds": elsewhere}
        rows.append({**outside, "share": elsewhere / total if total else 0.0, "dearest_kernel": ""})
    names = ["kind", "name", "fold", "times", "seconds", "share", "cpu", "kernels", "kernel_share", "dearest_kernel"]
    return pd.DataFrame(rows, columns=names).sort_values("seconds", ascending=False, kind="stable")
