"""What memory some work takes: its true peak and its growth, by line where asked, and what allocated it.

On Linux the peak is exact at no cost: the kernel keeps the high-water mark of a process, and writing 5 to
/proc/self/clear_refs sets it back. What counts is memory that was touched, whoever allocated it, in compiled code
too; files that are only mapped, such as libraries, are counted apart. Elsewhere a thread looks a thousand times a
second, and a peak that is shorter than that can be missed.
"""

from __future__ import annotations

import gc
import linecache
import sys
import threading
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import ClassVar

import pandas as pd

from . import collect
from .allocators import Filling, large_blocks_apart, threads_leave, trim
from .collect import Work, collector
from .result import TOP, Comparison, Result
from .words import CODE, LIBRARY, OWN, TEXT, kind_of, where

_ROLLUP = Path("/proc/self/smaps_rollup")
_SHOWN = 250_000  # bytes that living threads keep free, from which on it is said
FRAMES = 24  # of a traceback that tracemalloc keeps: deep enough to reach the user's line through a library
_OURS = str(Path(__file__).parent)
_kind = lru_cache(4096)(kind_of)


def status(process: int | str = "self") -> dict[str, int]:
    """The memory of a process in bytes: its names are those of /proc."""
    found = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.startswith(("VmRSS", "VmHWM", "Rss")):
            found[name] = int(value.split()[0]) * 1024
    return found


def _counted(otherwise: int) -> int:
    """Resident bytes counted page by page: status adds up what each CPU has told, some 0.2 MB late."""
    with suppress(OSError):
        for line in _ROLLUP.read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    return otherwise


def set_back(process: int | str = "self") -> bool:
    """Set the high-water mark of a process back; False where the system keeps none."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


class Meter:
    """A context that measures peak and growth of the process above its start, in bytes.

    Attributes
    ----------
    peak, growth : int
        Memory that was touched, at most and at the end.
    mapped : int
        Growth of what is mapped from files, in neither of the two.
    exact : bool
    most : int
        Where the mark was set back meanwhile: the highest that it stood.
    filling : Filling or None
        Of the places that the allocators had free at the start, where these are to be filled.
    """

    def __init__(self, *, collect: bool = True, fill: bool = False):
        self.fill = fill  # whether places that allocators have free are filled meanwhile
        self.collect = collect  # garbage of any age: takes half a second where torch is loaded

    def _settle(self, before: Filling | None = None) -> Filling | None:
        if self.fill:
            threads_leave()
        gc.collect(2 if self.collect else 1)
        trim()
        return Filling(before) if self.fill else None

    def __enter__(self) -> Meter:
        self.most = 0
        self.filling = self._settle()
        self.exact = set_back()
        if self.exact:
            self._before = status()
            self._from = _counted(self._before["VmRSS"])
        else:
            self._before = {"VmRSS": _resident(), "RssFile": 0}
            self._from = self._before["VmRSS"]
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch, name="workbench-memory", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        before = self._before
        if self.exact:
            after = status()
            self.mapped = max(after["RssFile"] - before["RssFile"], 0)
            most = max(after["VmHWM"], self.most)
            again = self._settle(self.filling)
            held = status()
            held["VmRSS"] = _counted(held["VmRSS"])
        else:
            self._stop.set()
            self._thread.join()
            self.mapped, most = 0, max(self.most, _resident())
            again = self._settle(self.filling)
            held = {"VmRSS": _resident(), "RssFile": 0}
        # the mark is late too: by the same, mostly
        self.peak = max(most - min(before["VmRSS"], self._from) - self.mapped, 0)
        self.growth = held["VmRSS"] - held["RssFile"] - self._from + before["RssFile"]
        if self.fill:
            self.growth -= again.resident()
            for filling in (again, self.filling):
                filling.release()
            trim()
        self.peak = max(self.peak, self.growth)

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.most = max(self.most, _resident())


def _resident() -> int:
    import psutil

    return psutil.Process().memory_info().rss


class MemoryProfile(Result):
    """Peak and growth in bytes; the rows are these two, or the places that allocated, where asked.

    Attributes
    ----------
    lines : DataFrame or None
        By line, where asked.
    """

    columns: ClassVar[dict[str, str]] = {
        "what": TEXT,
        "function": CODE,
        "where": TEXT,
        "line": "n",
        "bytes": "B",
        "blocks": "n",
        "hits": "n",
        "increment": "B",
        "peak": "B",
        "source": CODE,
    }
    keys = ("where", "source")
    measures = ("bytes",)
    unfolded = 2

    def __init__(self, *args, lines: pd.DataFrame | None = None, **options):
        super().__init__(*args, **options)
        self.lines = lines
        if "where" not in self.rows:
            self.keys = ("what",)

    @property
    def peak(self) -> int:
        """Bytes above the start, at most."""
        return self.facts["peak"][0]

    @property
    def growth(self) -> int:
        """Bytes above the start, at the end."""
        return self.facts["growth"][0]

    def compare(self, other: Result) -> Comparison:
        """By the places that allocated, where both have them; else by peak and growth."""
        if isinstance(other, MemoryProfile) and self.keys != other.keys:
            this, other = (MemoryProfile(p.title, _totals(p), facts=p.facts, top=p.top) for p in (self, other))
            return this.compare(other)
        return super().compare(other)

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        shown = []
        if self.lines is not None:
            shown.append(("by line: what it added, and the most that it took beyond what was there", self.lines))
        if "where" in self.rows:
            shown.append(("what is still held at the end, by the line that allocated it", self.rows))
        return shown or [("", pd.DataFrame())]


@collector
def memory(
    work: Work, *, lines: bool = False, allocations: bool = False, functions: Sequence[str] = (), top: int = TOP
) -> MemoryProfile:
    """Measure the peak and the growth of memory that some work takes.

    Parameters
    ----------
    work : callable or str
        Called with the positional arguments that follow; or the text of some code.
    lines : bool, default False
        Also by line, with memory_profiler's tracer, of the work and of functions defined beside it.
    allocations : bool, default False
        Also what Python's allocators and numpy still hold at the end, by the line that allocated it (tracemalloc):
        work of many small objects takes 20 to 200 times as long, and tracemalloc's own memory is in the peak.
    functions : sequence of str, optional
        Dotted names of more functions whose lines are wanted.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    MemoryProfile

    Notes
    -----
    Memory that is asked for and never written, as by numpy.zeros, is not there yet and is not counted. A file that is
    mapped within the work and let go again counts as memory: of it the system keeps no mark of its own. The result of
    the work itself is let go before growth is read.

    What Python and glibc have free is filled before the work and let go after it: so both numbers are what the work
    takes, with what its blocks take besides (up to 16 bytes each), also of small blocks and in threads, within 2 % from
    10 MB on, or 25 MB for a peak that is past when the work ends: the mark may be late, by up to 0.5 MB on two CPUs.
    Growth leaves out what the work itself left free in there. The peak does not: while it moves, a list or table of
    less than 256 KiB that grows stands beside what it was. Threads that were there before and live on have heaps that
    only they can fill: what the work takes of these is not seen, and a note says how much there is. Nor are places that
    are free in allocators of a library's own, as of Arrow and torch. After many measurements some 7 MB of Python's
    arenas stay resident and free, one more MB for each whose work leaves a small object, and some 20 MB of addresses.
    """
    traced = _lines_of(work, functions) if lines else None
    if allocations:
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start(FRAMES)
        before = held()
    try:
        with Meter(fill=True) as meter, large_blocks_apart():
            at_first = tracemalloc.get_traced_memory()[0] if allocations else 0
            if allocations:
                tracemalloc.reset_peak()
            error = work.run() if traced is None else traced.run(work)
            asked = tracemalloc.get_traced_memory()[1] - at_first if allocations else 0
            if traced is not None:
                meter.most = max(meter.most, traced.most)
        rows = _grown(before, held()) if allocations else _totals(meter)
    finally:
        if allocations and not tracing:
            tracemalloc.stop()
    facts = {"peak": (meter.peak, "B"), "growth": (meter.growth, "B"), "elapsed": (work.seconds, "s")}
    notes = []
    if meter.mapped > 1e6:
        facts["mapped from files"] = (meter.mapped, "B")
    if not meter.exact:
        notes.append("This system has no high-water mark: looked at 1,000 times a second, a short peak is missed.")
    elif not meter.filling.whole:
        notes.append("The allocators here don't tell what they have free: small blocks that go there are not seen.")
    elif meter.filling.unseen > max(0.02 * meter.peak, _SHOWN):
        notes.append(
            f"Threads that live on keep up to {meter.filling.unseen / 1e6:.1f} MB free in heaps of their own: "
            "what the work takes of these is not seen."
        )
    if allocations:
        facts["allocated at most"] = (max(asked, 0), "B")
        notes.append("tracemalloc's own memory is part of this peak, and it slowed the work down.")
    table = None if traced is None else traced.table()
    return MemoryProfile(work.title, rows, facts=facts, notes=notes, top=top, error=error, lines=table)


def _totals(one: Meter | MemoryProfile) -> pd.DataFrame:
    return pd.DataFrame({"what": ["peak", "growth"], "bytes": [one.peak, one.growth]})


# -------------------------------------------------------------------------------- who allocated what, by tracemalloc


def held() -> dict[tuple[str, int, bool], tuple[int, int]]:
    """Bytes and blocks that are held, by the line that allocated them, and whether a library did it for that line.

    Of the lines that led to an allocation it is the innermost of the user's own; where there is none, the innermost.
    """
    gc.collect()
    found: dict[tuple[str, int, bool], tuple[int, int]] = {}
    for stat in tracemalloc.take_snapshot().statistics("traceback"):
        at = _allocated_at(stat.traceback)
        if at is not None:
            size, blocks = found.get(at, (0, 0))
            found[at] = (size + stat.size, blocks + stat.count)
    return found


def _allocated_at(traceback) -> tuple[str, int, bool] | None:
    """The line of the user's that it came by, as in `held`; None where it is the profiler's own."""
    first = None
    for frame in reversed(traceback):
        name = frame.filename
        if name == collect.__file__:  # the user's work begins above it
            break
        if name.startswith(_OURS) or name == tracemalloc.__file__:
            return None
        if _kind(name) == OWN:
            return name, frame.lineno, first is not None
        first = first or (name, frame.lineno, True)
    return first


def _grown(before: dict, after: dict) -> pd.DataFrame:
    grown: dict[tuple[str, int], list[int]] = {}
    for at, now in after.items():
        was = before.get(at, (0, 0))
        line = grown.setdefault(at[:2], [0, 0])
        line[:] = [line[0] + now[0] - was[0], line[1] + now[1] - was[1]]
    rows = [(where(*at), *more, source_of(*at)) for at, more in grown.items() if more[0] > 0]
    frame = pd.DataFrame(rows, columns=["where", "bytes", "blocks", "source"])
    return frame.sort_values("bytes", ascending=False, kind="stable")


def source_of(filename: str, line: int) -> str:
    """The line itself, where it is not a library's."""
    return "" if _kind(filename) == LIBRARY else linecache.getline(filename, line).strip()


# ------------------------------------------------------------------------------------ by line, by memory_profiler


def _lines_of(work: Work, functions: Sequence[str]):
    """A tracer of the lines of the work and of the functions beside it."""
    from memory_profiler import LineProfiler

    class Tracer(LineProfiler):
        """memory_profiler's tracer, with the system's marks for its clock, and a reading for each frame of its own.

        As it comes, it takes the largest reading of the line before, of whatever function: in loops and in calls its
        increments are wrong. And it refuses functions of cells, whose file does not exist.
        """

        def __init__(self, codes: list[CodeType]):
            super().__init__(backend="psutil")
            self.frames: list[list] = []  # of each frame that runs: line, memory and most so far
            self.found: dict[CodeType, dict[int, list]] = {}
            self.most = 0
            for code in codes:
                self.watch(code)

        def watch(self, code: CodeType) -> None:
            self.found.setdefault(code, {})
            self.code_map.setdefault(code, {})
            for inner in code.co_consts:
                if isinstance(inner, CodeType) and not inner.co_name.startswith("<"):
                    self.watch(inner)

        def trace_memory_usage(self, frame, event, arg):
            if frame.f_code not in self.found:
                return None  # what is called from a watched line is part of that line
            if event == "call":
                self.frames.append([None, 0, 0])
            if event in ("call", "line", "return"):
                self.reading(frame, event)
            if event == "return":
                self.frames.pop()
            return self.trace_memory_usage

        def reading(self, frame, event) -> None:
            now, most = _reading()
            self.most = max(self.most, most)
            for open_frame in self.frames:
                open_frame[2] = max(open_frame[2], most)
            mine = self.frames[-1]
            if mine[0] is not None:
                entry = self.found[frame.f_code].setdefault(mine[0], [0, 0, 0])
                entry[0] += 1
                entry[1] += now - mine[1]
                entry[2] = max(entry[2], mine[2] - mine[1])
            mine[:] = [None if event == "call" else frame.f_lineno, now, now]

        def run(self, work: Work) -> BaseException | None:
            with self._count_ctxmgr():
                return work.run()

        def table(self) -> pd.DataFrame:
            rows = []
            for code, lines in self.found.items():
                name = work.title if code.co_name == "<module>" else code.co_name
                for line, (hits, increment, peak) in sorted(lines.items()):
                    source = linecache.getline(code.co_filename, line).rstrip()
                    rows.append((name, where(code.co_filename, line), hits, increment, peak, source))
            return pd.DataFrame(rows, columns=["function", "where", "hits", "increment", "peak", "source"])

    codes = [f.__code__ for f in work.functions(functions)]
    if work.code is not None and work.code not in codes:
        codes.insert(0, work.code)
    return Tracer(codes)


def _reading() -> tuple[int, int]:
    """Memory now, and the most since the last reading."""
    most = status()["VmHWM"] if sys.platform == "linux" else 0
    trim()
    if sys.platform == "linux":
        now = status()["VmRSS"]
        set_back()
        return now, most
    now = _resident()
    return now, now
