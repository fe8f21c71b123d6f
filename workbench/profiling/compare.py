"""Variants of some work side by side: speed, memory, the share of time that the GIL was taken, and whether they agree.

Variants are marked in the code, or made of a task and its items::

    data = load()                      # what stands before the first mark is run once, untimed
    # variant: loop
    result = [f(x) for x in data]
    # variant: numpy
    result = f_all(data)

    def task(item): ...                # without marks: run over the items one after another, on threads, on
    items = range(8)                   # processes, and on an event loop; `async def task` is awaited

A variant's ``result``, where it sets one, is compared with that of the first variant that sets one, as it was then.
"""

from __future__ import annotations

import asyncio
import copy
import dis
import inspect
import io
import itertools
import re
import statistics
import sys
import time
import tokenize
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..errors import ParameterError
from .collect import Work, apart, awaited, collector
from .gil import Witness
from .memory import Meter, set_back, status
from .result import TOP, Result
from .words import CODE

_MARK = re.compile(r"#\s*variant\s*:(?P<name>.*)", re.IGNORECASE)
_NEAR = re.compile(r"#\W*(?P<word>\w+)\s*:\s*(?P<name>.*)")
RESULT = "result"
_START = 10.0  # seconds that a process may take to start, at most


class VariantProfile(Result):
    """One row a variant: best and median seconds, ``speed_up`` over the first by the medians, CPU, memory, GIL.

    ``cpu`` are seconds on a CPU, of worker processes too, to 10 ms; ``peak`` is memory of this process above its
    start, ``in_workers`` that of the worker processes that worked, each above its own: of one that the run started
    all, of one that waited from an earlier run what came on top. ``gil`` is the share of time that the lock was taken
    in this process; ``agrees`` whether it gave what the first one that gave something did.
    """

    columns: ClassVar[dict[str, str]] = {
        "variant": CODE,
        "median": "s",
        "best": "s",
        "spread": "pct",
        "speed_up": "x",
        "cpu": "s",
        "peak": "B",
        "in_workers": "B",
        "gil": "%",
        "agrees": CODE,
    }
    keys = ("variant",)
    measures = ("median", "best", "peak")


@collector
def compare(
    work: Work | Mapping[str, Callable[[], Any]], *, rounds: int = 3, workers: int | None = None, top: int = TOP
) -> VariantProfile:
    """Run variants of some work in turns, and set them side by side.

    Parameters
    ----------
    work : str, or mapping of str to callable
        Code as the top of this module shows it; or the variants by name, each called without arguments.
    rounds : int, default 3
        Runs of each that count; one more before them, which warms caches up and starts workers, does not.
    workers : int, optional
        Threads, or processes, of a task over items. Default: one a CPU that this process may use.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    VariantProfile

    Raises
    ------
    ParameterError
        No variant is marked and the code itself defines no task with items; a mark is misspelt or indented; a name is
        empty or given twice.

    Notes
    -----
    The share of the GIL is that of moments, five hundred a second, at which it was taken (`workbench.profiling.gil`).
    Processes that a variant starts are waited for after it, until they are up, ten seconds at most: what that takes is
    in its ``cpu`` and ``in_workers``, not in its time.
    """
    if rounds < 1:
        raise ParameterError(f"rounds={rounds} is not a number of rounds", hint="give an int >= 1")
    if workers is not None and workers < 1:
        raise ParameterError(f"workers={workers} is not a number of workers", hint="give an int >= 1, or None")
    error, variants = variants_of(work, workers)
    seen: dict[str, list[tuple]] = {name: [] for name in variants}
    first = First()
    for number in range(rounds + 1):
        names = list(variants)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if error is None:
                error = _once(name, variants[name], first, seen[name] if number else [])
    rows = [{**_row(name, runs), "agrees": first.agrees[name]} for name, runs in seen.items() if runs]
    frame = pd.DataFrame(rows, columns=list(VariantProfile.columns))
    if len(frame):
        frame["speed_up"] = frame["median"].iloc[0] / frame["median"]
    facts = {"variants": (len(variants), "n"), "rounds": (rounds, "n")}
    if len(frame):
        facts["fastest"] = (frame.loc[frame["median"].idxmin(), "variant"], CODE)
    notes = ["A difference that is smaller than the spread of the rounds says nothing."]
    wrong = [name for name, agrees in zip(frame["variant"], frame["agrees"], strict=True) if agrees == "no"]
    if wrong:
        notes.insert(0, f"Not the same result as {first.name}: {', '.join(wrong)}.")
    if first.unkept is not None:
        notes.insert(0, f"No results are compared, as that of {first.name} can't be copied: {first.unkept}")
    return VariantProfile(work.title, frame, facts=facts, notes=notes, top=top, error=error)


class First:
    """The first result that a variant gave, and by variant whether its own first one was the same.

    A copy is kept: what the next variant changes in place, or the next round, would change it too.
    """

    def __init__(self):
        self.name, self.value, self.unkept, self.agrees = "", None, None, {}

    def compare(self, name: str, value: Any) -> None:
        """Look at what a variant gave; None is nothing."""
        if name in self.agrees:
            return
        self.agrees[name] = ""
        if value is None or self.unkept is not None:
            return
        if self.name:
            self.agrees[name] = "yes" if same(value, self.value) else "no"
            return
        self.name = name
        try:
            self.value = copy.deepcopy(value)
        except Exception as error:  # whatever an object of the user's raises
            self.unkept = f"{type(error).__name__}: {error}"


def variants_of(work: Work, workers: int | None) -> tuple[BaseException | None, dict[str, Callable[[], Any]]]:
    """The variants by name, and the error that what stands before them ended by."""
    if work.variants is not None:
        return None, dict(work.variants)
    if work.source is None:
        raise ParameterError(
            f"{work.title} has no variants", hint="give code with '# variant: name' lines, or a dict of callables"
        )
    marks = _marks(work.source)
    _check_defined(work, marks)
    if not marks:
        error = work.run()
        return (error, {}) if error is not None else (None, over_items(work.namespace, workers))
    names = list(marks.values())
    if not all(names) or len(set(names)) < len(names):
        raise ParameterError(f"the variants are named {names}, expected a name each", hint="# variant: threads")
    # blank lines keep each part at its own line numbers
    edges = [*marks, len(work.source)]
    parts = {}
    for name, begin, end in zip(names, edges, edges[1:], strict=False):
        text = "\n" * work.source.count("\n", 0, begin) + work.source[begin:end]
        parts[name] = partial(_run_code, work.compiled(text), work.namespace)
    work.code = work.compiled(work.source[: edges[0]])
    return work.run(), parts


def _marks(source: str) -> dict[int, str]:
    """Where in the text each variant begins, and its name."""
    found = {}
    begins = [0, *itertools.accumulate(map(len, io.StringIO(source)))]
    for line, column, text in _comments(source):
        mark = _MARK.fullmatch(text)
        if mark is not None and column:
            raise ParameterError(
                f"line {line}: {text!r} is indented, expected at the beginning of its line",
                hint="a variant is a part of the text, and can't begin within a function or a block",
            )
        if mark is not None:
            found[begins[line - 1]] = mark["name"].strip()
    return found


def _comments(source: str) -> Iterator[tuple[int, int, str]]:
    """(line, column, text) of each comment on a line of its own; a string may hold what looks like one."""
    for kind, text, (line, column), _, whole in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind == tokenize.COMMENT and not whole[:column].strip():
            yield line, column, text.strip()


def _check_defined(work: Work, marks: dict[int, str]) -> None:
    """Refuse a mark that is misspelt, and what is defined in an earlier cell alone: it isn't run unasked."""
    stored = {i.argval for i in dis.get_instructions(work.code) if i.opname in ("STORE_NAME", "STORE_GLOBAL")}
    missing = [] if marks else [name for name in ("task", "items") if name not in stored]
    if not marks and not missing:
        return
    for line, _, text in _comments(work.source):
        near = _NEAR.fullmatch(text)
        if near and not _MARK.fullmatch(text) and get_close_matches(near["word"].lower(), ["variant"], cutoff=0.7):
            raise ParameterError(
                f"line {line}: {text!r} is no mark of a variant", hint=f"did you mean '# variant: {near['name']}'?"
            )
    if missing:
        raise ParameterError(
            "there is nothing to compare: no line says '# variant: name', and the code itself does not define "
            f"{' and '.join(missing)}",
            hint="mark variants by '# variant: name', or define both `def task(item)` and `items`",
        )


def _run_code(code, namespace: dict) -> Any:
    __tracebackhide__ = True
    namespace.pop(RESULT, None)
    value = FunctionType(code, namespace)()
    if inspect.iscoroutine(value):
        awaited(value)
    return namespace.get(RESULT)


def over_items(namespace: Mapping[str, Any], workers: int | None) -> dict[str, Callable[[], list]]:
    """A task over its items: one after another, on threads, on processes, and on an event loop."""
    task, items = namespace.get("task"), namespace.get("items")
    if not callable(task) or items is None:
        raise ParameterError(
            f"there is nothing to compare: task is a {type(task).__name__}, items a {type(items).__name__}",
            hint="task is called with each of the items: `def task(item)`, `items = range(8)`",
        )
    import joblib

    items, workers = list(items), workers or joblib.cpu_count()
    is_async = inspect.iscoroutinefunction(task)
    call = partial(_awaited, task) if is_async else task

    def serial() -> list:
        return [call(item) for item in items]

    def threads() -> list:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(call, items))

    def processes() -> list:
        # joblib's own pool, which what runs later finds and uses again
        return joblib.Parallel(n_jobs=workers, backend="loky")(joblib.delayed(call)(item) for item in items)

    def loop() -> list:
        async def all_of_them() -> list:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(workers))  # the loop shuts it down
            return await asyncio.gather(*(task(i) if is_async else asyncio.to_thread(task, i) for i in items))

        return _on_a_loop(all_of_them)

    return {"serial": serial, "threads": threads, "processes": processes, "asyncio": loop}


def _awaited(task: Callable, item: Any) -> Any:
    return _on_a_loop(lambda: task(item))


def _on_a_loop(make: Callable) -> Any:
    """What an awaitable gives, on an event loop of its own: on another thread where this one has one already."""

    def run():
        async def main():
            return await make()

        return awaited(main())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    return apart(run)


def _once(name: str, variant: Callable, first: First, runs: list[tuple]) -> BaseException | None:
    __tracebackhide__ = True
    try:
        with Meter(collect=False) as meter:
            before = _processes()
            with Witness() as witness:
                begun, spent = time.perf_counter(), time.process_time()
                value = variant()
                took, cpu = time.perf_counter() - begun, time.process_time() - spent
            _until_started(before)
            away, held = _in_workers(before)
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"in the variant {name}")
        return error
    first.compare(name, value)
    runs.append((took, cpu + away, meter.peak, held, witness.share))
    return None


def _processes() -> dict[int, tuple[float, int, bool]]:
    """Of each worker process its seconds on a CPU, its memory in bytes, and whether its high-water mark begins here."""
    import psutil

    found = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            found[child.pid] = (times.user + times.system, child.memory_info().rss, set_back(child.pid))
    return found


def _until_started(before: dict[int, tuple[float, int, bool]]) -> None:
    """Wait for processes that are new since `before`: what is done without them may be over while they still import."""
    import psutil

    was: dict[int, float] = {}
    until = time.monotonic() + _START
    while time.monotonic() < until:
        now, busy = {}, False
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if child.pid not in before:
                    now[child.pid] = sum(child.cpu_times()[:2])
                    busy |= child.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
        if now == was and not busy:
            return
        was = now
        time.sleep(0.1)


def _in_workers(before: dict[int, tuple[float, int, bool]]) -> tuple[float, int]:
    """Seconds on a CPU of worker processes since `before`, and bytes that those that worked took above it.

    At most, where the system keeps a high-water mark; else what they hold now.
    """
    import psutil

    seconds, held = 0.0, 0
    for child in psutil.Process().children(recursive=True):
        spent, had, marked = before.get(child.pid, (0.0, 0, sys.platform == "linux"))
        with suppress(psutil.Error, OSError):
            times = child.cpu_times()
            worked = times.user + times.system - spent
            seconds += worked
            if worked > 0:
                held += max((status(child.pid)["VmHWM"] if marked else child.memory_info().rss) - had, 0)
    return seconds, held


def _row(name: str, runs: list[tuple]) -> dict:
    took, cpu, peak, held, gil = (list(column) for column in zip(*runs, strict=True))
    median = statistics.median(took)
    return {
        "variant": name,
        "median": median,
        "best": min(took),
        "spread": (max(took) - min(took)) / median if median else 0.0,
        "cpu": statistics.median(cpu),
        "peak": max(peak),
        "in_workers": max(held),
        "gil": statistics.mean(gil),
    }


def same(one: Any, other: Any) -> bool:
    """Whether two results are the same: numbers to nine digits; the order of a list, and labels of pandas count."""
    if isinstance(one, (pd.Series, pd.DataFrame)) and type(one) is type(other):
        frames = (one, other) if isinstance(one, pd.DataFrame) else (one.to_frame(), other.to_frame())
        if not all(a.equals(b) for a, b in zip(frames[0].axes, frames[1].axes, strict=True)):
            return False
        columns = range(frames[0].shape[1])
        return all(same(frames[0].iloc[:, i].to_numpy(), frames[1].iloc[:, i].to_numpy()) for i in columns)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if hasattr(one, "values") and hasattr(other, "values") and type(one) is type(other) and not callable(one.values):
        return same(np.asarray(one.values), np.asarray(other.values))
    try:
        a, b = np.asarray(one), np.asarray(other)
        if a.dtype.kind in "fc" or b.dtype.kind in "fc":
            return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True))
        return bool(np.array_equal(a, b))
    except (TypeError, ValueError):
        equal = one == other
        return equal if isinstance(equal, bool) else False
