"""Where the time goes, by line: line_profiler on the code itself and on the functions that are defined beside it."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Sequence
from types import CellType, CodeType, FunctionType
from typing import ClassVar

import pandas as pd

from .collect import Work, collector, in_threads, recoded
from .result import TOP, Result
from .words import CODE, seconds, where


class LineProfile(Result):
    """Hits and time by line: ``seconds`` in the line with what it calls, ``per_hit``; ``share`` is of its function."""

    columns: ClassVar[dict[str, str]] = {
        "function": CODE,
        "line": "n",
        "hits": "n",
        "seconds": "s",
        "per_hit": "s",
        "share": "%",
        "source": CODE,
    }
    keys = ("function", "where", "line", "source")
    measures = ("seconds", "hits")

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """The dearest lines, then each function whole: that order does not fold what is short."""
        functions = list(self.rows.groupby(["function", "where"], sort=False))
        whole = [
            (
                f"{name}{'' if name == place else f', {place}'}: {seconds(frame['seconds'].sum())}",
                frame.sort_values("line"),
            )
            for (name, place), frame in sorted(functions, key=lambda item: -item[1]["seconds"].sum())
        ]
        if len(whole) == 1:
            return whole
        return [("the dearest lines", self.rows.sort_values("seconds", ascending=False)), *whole]


@collector
def lines(work: Work, *, functions: Sequence[str] = (), top: int = TOP) -> LineProfile:
    """Time the lines of some work: its own, those of functions defined beside it, and those of `functions`.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    functions : sequence of str, optional
        Dotted names of more functions to look into, as ``wb.Recipe.compute``.
    top : int, default 20
        Lines that are shown of each function.

    Returns
    -------
    LineProfile

    Raises
    ------
    UnknownNameError, ParameterError
        A name that reaches nothing, or no function written in Python.

    Notes
    -----
    Each line costs about 0.2 microseconds more than it would; a tight loop in Python looks up to six times slower
    than it is. Threads that the work starts are seen too. A line that awaits is timed until it first waits.
    """
    from line_profiler import LineProfiler

    profiler, awaits = LineProfiler(), set()

    def watched(code: CodeType) -> CodeType:
        if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            awaits.add((code.co_filename, code.co_firstlineno, code.co_name))
        # the profiler tells functions apart by their code, which it changes for that
        stand_in = FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars))
        profiler.add_function(stand_in)
        return stand_in.__code__

    former = {function: function.__code__ for function in work.functions(functions)}
    try:
        for function, code in former.items():
            function.__code__ = recoded(code, watched)
        if work.function is None and work.code is not None:
            work.code = recoded(work.code, watched)
        with profiler, in_threads(lambda: profiler):
            error = work.run()
    finally:
        for function, code in former.items():
            function.__code__ = code
    stats = profiler.get_stats()
    rows = []
    for (filename, first, name), timings in stats.timings.items():
        total = sum(spent for _, _, spent in timings) * stats.unit
        for line, hits, spent in timings:
            source = linecache.getline(filename, line).rstrip()
            took = spent * stats.unit
            share = took / total if total else 0.0
            place = where(filename, None if name == "<module>" else first)
            rows.append((name, place, line, hits, took, took / hits, share, source))
    names = ["function", "where", "line", "hits", "seconds", "per_hit", "share", "source"]
    frame = pd.DataFrame(rows, columns=names)
    frame["function"] = frame["function"].replace({"<module>": work.title})
    facts = {"elapsed": (work.seconds, "s"), "lines": (len(frame), "n")}
    notes = [] if len(frame) else ["No line of the code, or of a function defined beside it, was run: name more by -f."]
    if awaits & {code for code, timings in stats.timings.items() if timings}:
        notes.append(
            "A line with an await is timed until it first waits: what it waits for, and does after, is not in its time."
        )
    return LineProfile(work.title, frame, facts=facts, notes=notes, top=top, error=error)
