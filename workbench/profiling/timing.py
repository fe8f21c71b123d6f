"""Where the time goes, by function: cProfile through pstats, as tables and as a flame graph.

cProfile knows who called whom, not the whole stack: where a function has several callers, what it calls is shared
out among them in proportion, as in gprof (Graham, Kessler and McKusick, 1982). Time in compiled code is the time of
the function that calls it.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import re
import sys
import threading
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import pandas as pd

from ..errors import UnknownNameError
from .collect import Work, collector, in_threads
from .result import TOP, Result
from .svg import Node, flame
from .words import CODE, KINDS, OWN, TEXT, kind_of, where

SORTS = ("tottime", "cumtime", "ncalls", "percall")
_OURS = str(Path(__file__).parent)
# What starts the tasks of threads, and waits for more of them.
_POOLS = tuple(os.path.join(*p) for p in (("multiprocessing", "pool.py"), ("concurrent", "futures", "thread.py")))
_METHOD = re.compile(r"method '(.+)' of '(.+)' objects")
_ADDRESS = re.compile(r"( of type object)? at 0x[0-9a-f]+")
_MOST = 400  # nodes of the tree that are drawn


class TimeProfile(Result):
    """Calls and time by function.

    The columns are those of pstats: ``ncalls``, ``tottime`` in the function itself, ``percall`` of it, ``cumtime``
    with what it called; seconds. ``share`` is tottime over all.
    """

    columns: ClassVar[dict[str, str]] = {
        "function": CODE,
        "where": TEXT,
        "ncalls": "n",
        "tottime": "s",
        "percall": "s",
        "cumtime": "s",
        "share": "%",
    }
    keys = ("function", "where")
    measures = ("tottime", "ncalls")

    def __init__(self, *args, tree: Node | None = None, sort: str = "tottime", **options):
        super().__init__(*args, **options)
        self.tree, self.order = tree, sort

    def by(self, sort: str) -> TimeProfile:
        """The same profile, sorted by ``tottime``, ``cumtime``, ``ncalls`` or ``percall``."""
        rows = sorted_by(self.rows, sort)
        return TimeProfile(
            self.title, rows, facts=self.facts, notes=self.notes, top=self.top, tree=self.tree, sort=sort
        )

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        others = [sort for sort in ("tottime", "cumtime", "ncalls") if sort != self.order]
        return [(f"by {s}", sorted_by(self.rows, s)) for s in (self.order, *others)]

    def picture(self) -> str:
        return flame(self.tree, KINDS) if self.tree is not None and self.tree.value else ""


def sorted_by(rows: pd.DataFrame, sort: str) -> pd.DataFrame:
    if sort not in SORTS:
        raise UnknownNameError.of("order of a time profile", sort, SORTS)
    return rows.sort_values(sort, ascending=False, kind="stable").reset_index(drop=True)


@collector
def time(work: Work, *, sort: str = "tottime", top: int = TOP) -> TimeProfile:
    """Profile the calls of some work, threads that it starts included.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    sort : {"tottime", "cumtime", "ncalls", "percall"}, default "tottime"
        Of the first table.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    TimeProfile

    Raises
    ------
    UnknownNameError
        Another order.

    Notes
    -----
    cProfile adds about half a microsecond to each call of a Python function, so code of many tiny calls looks slower
    than it is; the shares of coarse functions are true. Threads are seen on Python 3.11 only: newer ones allow one
    profiler a process.
    """
    sorted_by(pd.DataFrame(columns=SORTS), sort)
    main, others = cProfile.Profile(), []

    def another() -> cProfile.Profile:
        others.append(cProfile.Profile())
        return others[-1]

    with in_threads(another if sys.version_info < (3, 12) else nullcontext):
        main.enable()
        try:
            error = work.run()
        finally:
            main.disable()
    stats, threads = pstats.Stats(main), 1
    for profile in others:
        profile.create_stats()
        if profile.stats and not any(f[0].endswith(_POOLS) and f[2].startswith("_handle_") for f in profile.stats):
            stats.add(profile)
            threads += 1
    seen = _visible(stats.stats)
    rows, tree = _rows(seen), _tree(seen, work)
    facts = {
        "elapsed": (work.seconds, "s"),
        "in functions": (float(rows["tottime"].sum()), "s"),
        "calls": (int(rows["ncalls"].sum()), "n"),
    }
    notes = ["What a function with several callers calls is shared out among them in the flame graph."]
    if threads > 1:
        facts["threads"] = (threads, "n")
        notes.append("Times of all threads are added up; what a thread waits is time of what it waits in.")
    return TimeProfile(
        work.title, sorted_by(rows, sort), facts=facts, notes=notes, top=top, tree=tree, sort=sort, error=error
    )


def _visible(stats: dict) -> dict:
    """The statistics without the profiler itself, the pools of threads, and what built-ins do for these alone."""

    def machinery(function: tuple) -> bool:
        filename, _, name = function
        begins = filename == threading.__file__ and name in ("run", "_bootstrap", "_bootstrap_inner")
        return begins or filename.startswith(_OURS) or filename.endswith(_POOLS) or "_lsprof.Profiler" in name

    def hidden(function: tuple) -> bool:
        callers = stats[function][4]
        return machinery(function) or (function[0] == "~" and bool(callers) and all(map(machinery, callers)))

    shown = {f: entry for f, entry in stats.items() if not hidden(f)}
    return {f: (*entry[:4], {c: e for c, e in entry[4].items() if c in shown}) for f, entry in shown.items()}


def _name(function: tuple) -> str:
    """Its name; a method of a built-in type with the type's."""
    filename, _, name = function
    if name == "<module>" and kind_of(filename) == OWN:
        return "the code itself"
    if filename == "~" and name.startswith("<"):
        name = _ADDRESS.sub("", name[1:-1]).removeprefix("built-in method ").removeprefix("function ")
        if (method := _METHOD.fullmatch(name)) is not None:
            return f"{method[2].rpartition('.')[2]}.{method[1]}"
    return name


def _place(function: tuple) -> str:
    filename, line, name = function
    if name == "<module>":
        return "" if kind_of(filename) == OWN else where(filename)
    return where(filename, line)


def _rows(stats: dict) -> pd.DataFrame:
    rows = [
        (_name(f), _place(f), ncalls, tottime, tottime / ncalls if ncalls else 0.0, cumtime, primitive, kind_of(f[0]))
        for f, (primitive, ncalls, tottime, cumtime, _) in stats.items()
    ]
    names = ["function", "where", "ncalls", "tottime", "percall", "cumtime", "primitive_calls", "kind"]
    rows = pd.DataFrame(rows, columns=names).astype({"tottime": float, "percall": float, "cumtime": float})
    total = rows["tottime"].sum()
    rows.insert(6, "share", rows["tottime"] / total if total else 0.0)
    return rows


def _tree(stats: dict, work: Work) -> Node:
    """Who called whom, from the functions that nobody seen called; a recursion is not followed."""
    calls: dict[tuple, dict[tuple, float]] = defaultdict(dict)
    roots = []
    for function, (_, _, _, cumtime, callers) in stats.items():
        seen = {caller: edge[3] for caller, edge in callers.items() if caller != function}
        for caller, spent in seen.items():
            calls[caller][function] = spent
        if not seen:
            roots.append((function, cumtime))
    total = sum(spent for _, spent in roots) or 1e-12
    left = [_MOST]

    def grown(function: tuple, spent: float, path: frozenset) -> Node:
        left[0] -= 1
        _, ncalls, _, cumtime, _ = stats[function]
        words = f"{_place(function)}\n{ncalls:,} calls in all"
        node = Node(_name(function), kind_of(function[0]), spent, words)
        share = min(spent / cumtime, 1.0) if cumtime else 0.0
        inner = {f: s * share for f, s in calls[function].items() if f not in path and s * share > 0.002 * total}
        scale = min(1.0, spent / sum(inner.values())) if inner else 1.0
        for f, s in sorted(inner.items(), key=lambda item: -item[1]):
            if left[0] > 0:
                node.children.append(grown(f, s * scale, path | {f}))
        return node

    tops = sorted(roots, key=lambda root: -root[1])
    children = [grown(f, s, frozenset({f})) for f, s in tops if s > 0.002 * total]
    if len(children) == 1:
        return children[0]
    return Node(work.title, KINDS[0], total, "all", children)
