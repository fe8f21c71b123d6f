"""Spans: what went on when, and where, in words of the study: tasks, kernels, and whatever a user marks.

Nothing is recorded but within a `Recorder`: a span costs one look at a hook then, and so does a kernel, or a task.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, NamedTuple

from .. import hooks
from .._ext.ring import Ring
from ..errors import ParameterError

RING = 1 << 19  # kernel calls that are kept: some 30 MB at most
_NOTHING = nullcontext()


class Span(NamedTuple):
    """Seconds by ``time.perf_counter``; `cpu` are those on a CPU."""

    kind: str
    name: str
    begun: float
    ended: float
    cpu: float
    process: int
    thread: int

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


class Call(NamedTuple):
    """One call of a kernel: `rows` are of its first input, `bytes` what it reads and writes, the state apart."""

    function: object
    begun: float
    ended: float
    thread: int
    rows: int
    bytes: int

    @property
    def name(self) -> str:
        return self.function.__name__


class _Mark:
    __slots__ = ("kind", "name", "since")

    def __init__(self, kind: str, name: str):
        self.kind, self.name = kind, name

    def __enter__(self) -> None:
        self.since = time.perf_counter(), time.thread_time()

    def __exit__(self, *exc) -> None:
        begun, spent = self.since
        if (tell := hooks.task) is not None:
            at = os.getpid(), threading.get_ident()
            tell(self.kind, self.name, (begun, time.perf_counter(), time.thread_time() - spent, *at))


def span(kind: str, name: str) -> AbstractContextManager:
    """Mark what is done in a block, for `%%wb_study` to show; outside of it this does nothing.

    Parameters
    ----------
    kind : str
        "feature", "model", "load" or whatever else: spans are grouped by it.
    name : str

    Examples
    --------
    >>> with span("load", "prices"):
    ...     prices = wb.load("us-tech")
    """
    return _NOTHING if hooks.task is None else _Mark(kind, name)


class Recorder:
    """A context that records the spans and the kernel calls of this process: while several do, the last that began.

    Attributes
    ----------
    spans : list of Span
    calls : list of Call
        The last `ring` of them; `full` tells whether there were more.
    begun, ended : float
        By ``time.perf_counter``.
    """

    _open: ClassVar[list[Recorder]] = []  # of this process, by their begin: the last one's hooks are those that are set
    _lock: ClassVar = threading.Lock()

    def __init__(self, *, tasks: bool = True, kernels: bool = True, ring: int = RING):
        if not isinstance(ring, int) or not 1 <= ring <= sys.maxsize:
            raise ParameterError(f"ring={ring!r} holds no call", hint="give an int >= 1")
        self.tasks, self.kernels = tasks, kernels
        self._ring = Ring(ring)
        self.spans: list[Span] = []
        self.begun = self.ended = 0.0

    def __enter__(self) -> Recorder:
        with self._lock:
            self._open.append(self)
            self._hook()
        self.begun = time.perf_counter()
        return self

    def __exit__(self, *exc) -> None:
        self.ended = time.perf_counter()
        with self._lock:  # in whatever order threads end theirs
            self._open.remove(self)
            self._hook()

    @classmethod
    def _hook(cls) -> None:
        tasks = [one._task for one in cls._open if one.tasks]
        kernels = [one._ring.record for one in cls._open if one.kernels]
        hooks.task, hooks.kernel = tasks[-1] if tasks else None, kernels[-1] if kernels else None

    def _task(self, kind: str, name: str, at: tuple) -> None:
        self.spans.append(Span(kind, name, *at))

    @property
    def calls(self) -> list[Call]:
        return [Call(*call) for call in self._ring.calls()]

    @property
    def full(self) -> bool:
        return self._ring.full


def union(intervals: Iterable[tuple[float, float]]) -> float:
    """The length that intervals cover together."""
    covered, end = 0.0, float("-inf")
    for begun, ended in sorted(intervals):
        if ended > end:
            covered += ended - max(begun, end)
            end = ended
    return covered


def lanes(items: Iterable[tuple[int, int]], main: tuple[int, int]) -> dict[tuple[int, int], str]:
    """What to call each (process, thread), in the order in which they are seen."""
    named: dict[tuple[int, int], str] = {}
    threads, processes = 0, {}
    for at in items:
        if at in named:
            continue
        if at == main:
            named[at] = "main thread"
        elif at[0] == main[0]:
            threads += 1
            named[at] = f"thread {threads}"
        else:
            processes.setdefault(at[0], len(processes) + 1)
            named[at] = f"process {processes[at[0]]}"
    return named
