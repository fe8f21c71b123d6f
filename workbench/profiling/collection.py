"""What garbage collection costs some work, and what other settings would change: measured by running it under each."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import ClassVar

import pandas as pd

from ..errors import ParameterError
from .collect import Work, collector
from .memory import Meter
from .result import TOP, Result
from .words import TEXT

THRESHOLDS = ((10_000, 20, 20), (100_000, 50, 50))


class GcProfile(Result):
    """One row a setting: median seconds, seconds within collections, collections, peak of memory, and both over now."""

    columns: ClassVar[dict[str, str]] = {
        "setting": TEXT,
        "seconds": "s",
        "in_gc": "s",
        "share": "%",
        "collections": "n",
        "collected": "n",
        "peak": "B",
        "time_against_now": "x",
        "peak_more": "B",
    }
    keys = ("setting",)
    measures = ("seconds", "in_gc", "collections")


class Clock:
    """Counts and times collections while it is among ``gc.callbacks``."""

    def __init__(self):
        self.seconds, self.collections, self.collected, self.begun = 0.0, [0, 0, 0], 0, 0.0

    def __call__(self, phase: str, info: dict) -> None:
        if phase == "start":
            self.begun = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self.begun
            self.collections[info["generation"]] += 1
            self.collected += info["collected"]


@contextmanager
def thresholds(values: tuple[int, int, int]) -> Iterator[None]:
    former, was_on = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(*values)
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*former)
        if not was_on:
            gc.disable()


@contextmanager
def frozen() -> Iterator[None]:
    # what was frozen before stays so: thawing is for all at once, so then it isn't thawed
    before = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


@contextmanager
def off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@collector
def collection(
    work: Work, *, rounds: int = 3, settings: Sequence[tuple[int, int, int]] = THRESHOLDS, top: int = TOP
) -> GcProfile:
    """Run some work under garbage collection as it is, with other thresholds, with all that is there frozen, and off.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code. It is run ``rounds`` times under
        each setting, in turns, so that what slows the machine meanwhile slows them alike; once more before.
    rounds : int, default 3
    settings : sequence of tuple of (int, int, int)
        More thresholds, as ``gc.set_threshold`` takes them.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    GcProfile

    Notes
    -----
    Collections that the work asks for itself are counted too. The garbage of one run is collected before the next, and
    every setting is put back.
    """
    if rounds < 1:
        raise ParameterError(f"rounds={rounds} is not a number of rounds", hint="give an int >= 1")
    now = f"as it is: {', '.join(map(str, gc.get_threshold()))}" if gc.isenabled() else "as it is: off"
    ways: dict[str, Callable] = {now: nullcontext}
    ways |= {f"thresholds {', '.join(map(str, s))}": lambda s=s: thresholds(s) for s in settings}
    ways |= {"all that is there frozen": frozen, "off": off}
    seen: dict[str, list[tuple]] = {way: [] for way in ways}
    error = work.run()
    for number in range(rounds):
        names = list(ways)
        for way in names[number % len(names) :] + names[: number % len(names)]:
            error = error or _once(work, ways[way], seen[way])
    rows = [_row(way, runs) for way, runs in seen.items() if runs]
    frame = pd.DataFrame(rows, columns=["setting", "seconds", "in_gc", "collections", "collected", "peak", "spread"])
    if len(frame):
        frame.insert(3, "share", frame["in_gc"] / frame["seconds"])
        frame["time_against_now"] = frame["seconds"] / frame["seconds"][0]
        frame["peak_more"] = frame["peak"] - frame["peak"][0]
    facts, notes = {"rounds": (rounds, "n")}, []
    if len(frame):
        facts |= {"in collections now": (float(frame["in_gc"][0]), "s"), "of the time": (float(frame["share"][0]), "%")}
        facts["spread between rounds"] = (float(frame["spread"].max()), "pct")
        notes.append("A difference in time that is smaller than the spread between rounds says nothing.")
    return GcProfile(work.title, frame, facts=facts, notes=notes, top=top, error=error)


def _once(work: Work, way: Callable, seen: list[tuple]) -> BaseException | None:
    clock = Clock()
    gc.collect()
    with Meter(collect=False) as meter, way():
        gc.callbacks.append(clock)
        try:
            error = work.run()
        finally:
            gc.callbacks.remove(clock)
    seen.append((work.seconds, clock.seconds, sum(clock.collections), clock.collected, meter.peak))
    return error


def _row(way: str, runs: list[tuple]) -> tuple:
    seconds, in_gc, collections, collected, peak = (statistics.median(column) for column in zip(*runs, strict=True))
    spread = (max(r[0] for r in runs) - min(r[0] for r in runs)) / seconds if seconds else 0.0
    return way, seconds, in_gc, collections, collected, peak, spread
