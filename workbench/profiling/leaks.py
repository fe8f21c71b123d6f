"""What grows each time that some work is run: the lines that hold more and more, and the types that become more."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from itertools import pairwise
from types import FunctionType, MethodType
from typing import ClassVar

import pandas as pd

from ..errors import ParameterError
from .collect import Work, collector
from .collection import frozen
from .memory import FRAMES, Meter, held, source_of
from .result import TOP, Result
from .words import CODE, TEXT, size, where

_CONTAINERS = {list, dict, set, deque, OrderedDict, defaultdict}
_COUNTED = {list, dict, set, tuple, FunctionType, MethodType}
# Bytes a run below which a line is no leak: what it allocates itself, and what libraries keep for themselves.
_LEAST, _LEAST_WITHIN = 16, 1024
_LEAST_UNSEEN = 100_000  # bytes a run by which a process grows, from which on it is said
# Frames, cells and numbers come and go with what looks; libraries keep references and let them go in batches.
_KEPT = ("builtins", "weakref")


class LeakProfile(Result):
    """The lines and the types that grew in every run that was looked at; none, where nothing leaks."""

    columns: ClassVar[dict[str, str]] = {
        "what": TEXT,
        "where": CODE,
        "bytes_a_run": "B",
        "count_a_run": "n",
        "source": CODE,
    }
    keys = ("what", "where")
    measures = ("bytes_a_run", "count_a_run")

    @property
    def leaks(self) -> bool:
        """Whether a line holds more after every run, or there are more objects of a type."""
        return bool(len(self.rows))


@collector
def leaks(work: Work, *, runs: int = 5, warmup: int = 2, top: int = TOP) -> LeakProfile:
    """Run some work again and again, and name what grows every time.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    runs : int, default 5
        That are looked at, at least 3; as many for each of lines, types and the process.
    warmup : int, default 2
        Runs before them, in which caches fill and modules load.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    LeakProfile

    Notes
    -----
    A line is named if it holds more bytes after each run than after the one before (tracemalloc); a type, if there are
    more of it (gc, and what the objects that it tracks refer to). What grows in some runs and not in others is a cache
    or a buffer, and is not named. Memory of compiled code that tracemalloc does not see shows as growth of the process.
    """
    if runs < 3 or warmup < 0:
        raise ParameterError(
            f"leaks: runs={runs}, warmup={warmup}", hint="it takes 3 runs or more to tell growth from noise"
        )
    error = None
    for _ in range(warmup):
        error = error or work.run()
    with frozen():  # what was there before need not be looked at for garbage each time
        lines, error = _lines_seen(work, runs, error)
        with Meter(collect=False) as meter:
            for _ in range(runs):
                error = error or work.run()
    # in runs of their own: to look at all objects is dear while allocations are traced, and takes memory itself
    types, held_by, error = _types_seen(work, runs, error)
    found, little = _lines(lines) if error is None else ([], 0.0)
    rows = [*found, *_kinds(types, held_by)] if error is None else []
    frame = pd.DataFrame(rows, columns=["what", "where", "bytes_a_run", "count_a_run", "source"])
    facts = {
        "runs": (runs, "n"),
        "lines that grow": (int((frame["what"] == "line").sum()), "n"),
        "held by them": (float(frame["bytes_a_run"].sum()), "B"),
        "process a run": (meter.growth / runs, "B"),
    }
    notes = []
    if not (len(frame) or error):
        unseen = meter.growth / runs
        notes = [
            f"Nothing that Python knows of grew in every run; the process did, by {size(unseen)} a run: memory that "
            "compiled code takes for itself, or a cache."
            if unseen > _LEAST_UNSEEN
            else "Nothing grew in every run."
        ]
    if little:
        notes.append(f"Libraries keep {size(little)} more a run for themselves: too little to be named as a leak.")
    return LeakProfile(work.title, frame, facts=facts, notes=notes, top=top, error=error)


def _lines_seen(work: Work, runs: int, error) -> tuple[list[dict], BaseException | None]:
    """What each line holds after each run, from one before them on: what that replaces is seen to go."""
    seen: list[dict] = [{} for _ in range(runs + 1)]  # made before anything is counted
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start(FRAMES)
    try:
        for found in seen:
            gc.collect()  # empties the lists of free numbers: what is made of their memory is not seen as new
            error = error or work.run()
            if error is not None:
                break
            found.update(held())
    finally:
        if not tracing:
            tracemalloc.stop()
    return seen, error


def _types_seen(work: Work, runs: int, error) -> tuple[list[dict], Counter, BaseException | None]:
    """How many objects of each type there are after each run; and by type what containers that grew took in."""
    seen: list[dict] = [{LeakProfile: 0} for _ in range(runs + 1)]  # tracked by gc from the start, by its key
    lengths: dict[int, int] = {}
    first: dict[int, int] = {}
    growing: list = []
    for number, found in enumerate(seen):
        error = error or work.run()
        if error is not None:
            return seen, Counter(), error
        gc.collect()
        tracked = gc.get_objects()
        found.update(Counter(map(type, tracked)))
        containers = growing if number > 1 else (o for o in tracked if type(o) in _CONTAINERS)
        ours = {id(seen), id(lengths), id(first), id(growing), id(found)} | set(map(id, seen))
        if number:
            growing = [o for o in containers if len(o) > lengths.get(id(o), len(o)) and id(o) not in ours]
            lengths = {id(o): len(o) for o in growing}
        else:
            lengths = {id(o): len(o) for o in containers if o is not tracked}
            first = lengths
        del tracked, containers
    taken: Counter = Counter()
    for one in growing:
        more = (len(one) - first[id(one)]) / runs
        last = (
            next(reversed(one.values() if isinstance(one, dict) else one), None)
            if type(one) is not set
            else next(iter(one))
        )
        if not gc.is_tracked(last):  # the others are counted already
            taken[type(last)] += more
    return seen, taken, None


def _grows(series: list[float]) -> bool:
    return all(a < b for a, b in pairwise(series))


def _lines(seen: list[dict]) -> tuple[list[tuple], float]:
    """The lines that leak, and the bytes a run of those that only hold a little more within libraries."""
    runs, found, little = len(seen) - 1, [], 0.0
    for at in seen[-1]:
        sizes = [held.get(at, (0, 0))[0] for held in seen]
        blocks = [held.get(at, (0, 0))[1] for held in seen]
        a_run = (sizes[-1] - sizes[0]) / runs
        if not _grows(sizes) or a_run < _LEAST:
            continue
        filename, line, within = at
        if within and a_run < _LEAST_WITHIN:
            little += a_run
            continue
        found.append(("line", where(filename, line), a_run, (blocks[-1] - blocks[0]) / runs, source_of(filename, line)))
    return sorted(found, key=lambda row: -row[2]), little


def _kinds(seen: list[dict[type, int]], taken: Counter) -> list[tuple]:
    """The types of which there are more after each run; those that gc doesn't track by the container that grew."""
    runs = len(seen) - 1
    more = Counter(taken)
    for kind in seen[-1]:
        counts = [types.get(kind, 0) for types in seen]
        if _grows(counts) and (kind in _COUNTED or kind.__module__ not in _KEPT):
            more[kind] += (counts[-1] - counts[0]) / runs
    found = []
    for kind, a_run in more.items():
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        found.append(("type", name, float("nan"), a_run, ""))
    return sorted(found, key=lambda row: -row[3])
