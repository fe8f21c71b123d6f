"""What the allocators of this process hold free: filled while memory is measured, so that what is taken shows.

Python keeps objects of up to 512 bytes in arenas of its own (pymalloc), and glibc blocks of up to some megabytes in a
heap for each few threads. What is freed there mostly stays resident: so new blocks take no memory that the system
sees, and freed ones give none back. Before the work each free place is taken by a block of ours, so that the work needs
pages of its own; after it they are taken once more, and what they hold is no growth. All are let go at the end.

Both allocators say what they have free: _PyObject_DebugMallocStats by size, malloc_info by heap and size.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
import time
import tracemalloc
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import repeat
from pathlib import Path

_TASKS = Path("/proc/self/task")
_LEAVING = 3.0  # seconds that threads are given to end, at most
_KEPT, _MAPPED = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_PAGE = 4096
_PASSES = 6  # over a heap: a block of a range of sizes may leave a rest
_PROBE = 32 << 10  # bytes of a block that shows whose heap it is
_LEFT = 8 << 10  # bytes of a heap that are not worth another pass
_ROW = re.compile(rb"^ +\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.M)  # of pymalloc: size and free blocks
_POOLS = re.compile(rb"^(\d+) unused pools \* (\d+) bytes", re.M)
_BIN = re.compile(rb'<(?:size|unsorted) from="(\d+)" to="(\d+)" total="(\d+)" count="(\d+)"/>')
_REST = re.compile(rb'<total type="(?:fast|rest)" count="\d+" size="(\d+)"/>')
_TUNED = re.compile(r"glibc\.malloc\.arena_max=(\d+)")
_SYSTEM = re.compile(rb'<system type="current" size="(\d+)"/>')


@cache
def _libc() -> ctypes.PyDLL | None:
    """Glibc, called with the GIL held; None elsewhere."""
    libc = ctypes.PyDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "malloc_info"):
        return None
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    libc.open_memstream.restype = ctypes.c_void_p
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return libc


def _told(libc: ctypes.PyDLL, tell) -> bytes:
    """What `tell` writes to a C stream."""
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    tell(stream)
    libc.fclose(stream)
    told = ctypes.string_at(text, size.value)
    libc.free(text)
    return told


def trim() -> None:
    """Give back to the system what the allocator has free, so that a new allocation shows."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def threads_leave() -> None:
    """Wait until threads that were joined have ended: a joined one runs on for a moment, and keeps its heap so long.

    A library's own threads stay, and wait: what Python does not know and what is no longer asleep is leaving.
    """
    last = time.monotonic() + _LEAVING
    while any(_awake(thread) for thread in _threads() - _known()) and time.monotonic() < last:
        time.sleep(0.001)


def _known() -> set[int]:
    return {thread.native_id for thread in threading.enumerate()}


def _threads() -> set[int]:
    """The ids of this process's threads, where the system tells."""
    return {int(task.name) for task in _TASKS.iterdir()} if _TASKS.is_dir() else set()


def _awake(thread: int) -> bool:
    try:
        state = (_TASKS / str(thread) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:  # it has ended
        return False
    return state != b"S"


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Within this block glibc maps each block of 256 KiB and more by itself, as it does in a process that has begun.

    On the heap a list or a table that grows would leave what it was before beside it, and numpy asks huge pages for
    arrays of 4 MiB. Afterwards it does so from 32 MiB on, as in any process that has once freed such a block.
    """
    libc = _libc()
    if libc is None:
        yield
        return
    libc.mallopt(_MAPPED, 256 << 10)
    # as far as glibc raises it by itself, once a large block was freed: what is below is not unmapped when it is freed,
    # and so is counted to the page
    libc.mallopt(_KEPT, 64 << 20)
    try:
        yield
    finally:
        libc.mallopt(_MAPPED, 32 << 20)


def _most_heaps() -> int:
    """So many heaps glibc makes, for as many threads; the next ones share them."""
    tuned = _TUNED.search(os.environ.get("GLIBC_TUNABLES", ""))
    told = tuned[1] if tuned else os.environ.get("MALLOC_ARENA_MAX", "")
    return int(told) if told.isdigit() and int(told) else 8 * len(os.sched_getaffinity(0))


class Heap:
    """What malloc_info tells of one heap of glibc: the chunks that are free, the one at its top, and bytes in use."""

    def __init__(self, told: bytes):
        free = sum(map(int, _REST.findall(told)[:2]))
        bins = [list(map(int, one)) for one in _BIN.findall(told)]
        self.used = int(_SYSTEM.search(told)[1]) - free
        top = free - sum(total for *_, total, _ in bins)
        # the lowest bits of a size are marks; of the sizes between the lowest and the highest nothing is told
        self.chunks = [high & ~15 for _, high, _, count in bins if count]
        for low, _, _, count in bins:
            self.chunks += repeat(low & ~15, count - 1)
        self.free = sum(self.chunks)
        if top > _PAGE:
            self.chunks.append(top - 64)

    @classmethod
    def all(cls, libc: ctypes.PyDLL) -> list[Heap]:
        """Those of the process: the main one first, then the newest, so that from the end a place stays."""
        return cls.read(cls.told(libc))

    @staticmethod
    def told(libc: ctypes.PyDLL) -> bytes:
        return _told(libc, lambda stream: libc.malloc_info(0, stream))

    @classmethod
    def read(cls, told: bytes) -> list[Heap]:
        return [cls(one) for one in told.split(b"<heap nr")[1:]]


class Filling:
    """Blocks of ours in every place that the allocators have free, until `release`.

    Parameters
    ----------
    before : Filling, optional
        An earlier one: heaps that it did not see are left out, for what is free there was free then.

    Attributes
    ----------
    unseen : int
        Bytes that are free in heaps of glibc that other threads have, which only these can fill: what is resident of
        them is less, by whole pages that `trim` gave back.
    whole : bool
        Whether the allocators tell what they have free; else their places are left as they are.
    """

    # the threads and the heaps that there were at the end of the last one, and heaps without a thread among them
    _last: tuple[set[int], int, int] = (set(), 0, 0)

    def __init__(self, before: Filling | None = None):
        self.left: set[int] = before.left if before is not None else set()  # places of heaps that are not seen
        self.objects: list[list] = []
        self.taken: list[tuple[array, array]] = []  # addresses and sizes of blocks
        self.unseen = self.pools = 0
        libc, self.tell = _libc(), getattr(ctypes.pythonapi, "_PyObject_DebugMallocStats", None)
        self.whole = libc is not None and self.tell is not None
        if libc is None:
            return
        self._fill_heaps_of_others(libc)
        self._fill_pools(libc)
        for _ in range(2):  # what was taken to look is free again
            self._fill_heap(libc, None, self._heap_of(libc, None))
            self._fill_pools(libc, begun=True)

    def release(self) -> None:
        """Free them."""
        self.objects.clear()
        libc = _libc()
        if libc is None:
            return
        libc.mallopt(_KEPT, 128 << 10)  # so that heaps of threads give back their ends, which `trim` leaves
        while self.taken:
            for block in self.taken.pop()[0]:
                libc.free(block)  # a null where the filling was broken off
        libc.mallopt(_KEPT, 64 << 20)

    __del__ = release

    def resident(self) -> int:
        """Bytes of them that are resident, and of the lists of them."""
        lists = (*self.objects, *(one for pair in self.taken for one in pair))
        return self.pools + sum(map(sys.getsizeof, lists)) + sum(_resident(*pair) for pair in self.taken)

    def _fill_pools(self, libc: ctypes.PyDLL, *, begun: bool = False) -> None:
        """Of pymalloc, or of its pools that are begun; by that all of it is touched, and so is resident."""
        if self.tell is None or tracemalloc.is_tracing():  # it would trace ours
            return
        told = _told(libc, self.tell)
        for row in _ROW.findall(told):
            size, free = map(int, row)
            self.pools += size * free
            self.objects.append(_objects(size, free))
        for row in () if begun else _POOLS.findall(told):
            pools, size = map(int, row)
            self.pools += size * pools
            self.objects.append(_objects(512, pools * (size // 512 - 1)))

    def _fill_heaps_of_others(self, libc: ctypes.PyDLL) -> None:
        """Of glibc: the heaps of threads that have ended, which the next threads take over.

        Only a thread that has a heap can take blocks of it, and which one it has shows by what grows. That none is left
        without a thread shows by a new one: where no thread came or went, it is known from the last time. Where there
        are as many heaps as there may be, new threads share them all in turn: so each can be filled.
        """
        now, heaps = _threads(), Heap.all(libc)
        then, count, spare = Filling._last
        shared = 2 * len(heaps) > _most_heaps()  # or soon will be
        most = spare + len(heaps) - count if now == then and not shared else len(heaps) - 1
        places, own = range(1 - len(heaps), 1), self._heap_of(libc, None)
        seen = {own}
        with ExitStack() as ending:
            for _ in range(2 * _most_heaps()):
                if len(seen.intersection(places)) > most or (None in seen and not shared):
                    break
                worker = ending.enter_context(ThreadPoolExecutor(1, "workbench-memory"))
                at = self._heap_of(libc, worker, own)
                if at is not None and at not in seen | self.left:
                    self._fill_heap(libc, worker, at)
                seen.add(at)
        threads_leave()
        self.left = set(places) - seen
        self.unseen = sum(sum(heaps[at].chunks) for at in self.left)
        Filling._last = now, len(Heap.all(libc)), len(seen) - 1

    def _heap_of(self, libc: ctypes.PyDLL, worker: ThreadPoolExecutor | None, own: int = 0) -> int | None:
        """The place of a thread's heap in what malloc_info tells, from its end, or 0; None where it is a new one.

        Of a worker's that may be `own`, this thread's: then nothing of another one grows.
        """
        # read afterwards: lists that grow may do so in any heap, where a block of it was freed by this thread
        before = Heap.told(libc)
        self._take(libc, worker, [_PROBE])
        after = Heap.told(libc)
        before, after = Heap.read(before), Heap.read(after)
        if len(after) > len(before):
            return 1 - len(after) if worker is None else None
        grown = [a.used - b.used for a, b in zip(after, before, strict=True)]
        if worker is not None:
            grown[own] = 0  # what starts a thread takes some of it
        at = grown.index(max(grown))
        if grown[at] < _PROBE - _PAGE:
            return own
        return at and at - len(grown)

    def _fill_heap(self, libc: ctypes.PyDLL, worker: ThreadPoolExecutor | None, at: int) -> None:
        for _ in range(_PASSES):
            heap = Heap.all(libc)[at]
            self._take(libc, worker, heap.chunks)
            if heap.free < _LEFT:
                break

    def _take(self, libc: ctypes.PyDLL, worker: ThreadPoolExecutor | None, chunks: list[int]) -> None:
        """Blocks for these chunks, on that worker's thread or else on this one."""
        sizes = array("Q", chunks)
        blocks = array("Q", bytes(sizes.itemsize * len(sizes)))  # here, that the worker's heap has nothing of ours
        self.taken.append((blocks, sizes))
        if worker is None:
            _allocate(libc, blocks, sizes)
        else:
            worker.submit(_allocate, libc, blocks, sizes).result()


def _allocate(libc: ctypes.PyDLL, blocks: array, sizes: array) -> None:
    for i, size in enumerate(sizes):
        blocks[i] = libc.malloc(size - 8) or 0  # with a word before it


def _objects(size: int, count: int) -> list:
    """So many objects that take a block of `size` bytes each."""
    if size == 16:
        return [object() for _ in range(count)]
    if size == 32:
        return list(range(1 << 40, (1 << 40) + count))  # floats, once freed, would stay where they are
    return [bytes(length) for length in repeat(size - sys.getsizeof(b""), count)]


def _resident(blocks: array, sizes: array) -> int:
    """Of blocks, bytes on pages that are resident; a part of a page is taken to be."""
    libc, pages = _libc(), array("B", bytes(max(sizes, default=0) // _PAGE + 1))
    total = sum(sizes)
    for block, size in zip(blocks, sizes, strict=True):
        first, count = -(-block // _PAGE), (block + size) // _PAGE - -(-block // _PAGE)
        if count > 0 and not libc.mincore(first * _PAGE, count * _PAGE, pages.buffer_info()[0]):
            total -= _PAGE * pages[:count].count(0)
    return total
