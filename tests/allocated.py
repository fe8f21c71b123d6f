"""Allocations of known size, for test_profiling_memory.py: what each takes of the allocators, by their own rules.

Run as a script, in a process of its own, it measures one of them and prints what was reported and what is true.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd


def taken(size: int) -> int:
    """Bytes that a block takes: pymalloc's classes of 16 bytes in pools of 16 KiB, or a chunk of glibc."""
    if size > 512:
        return max(-(-(size + 8) // 16) * 16, 32)  # with the word before it
    return -(-size // 16) * 16


class Made(NamedTuple):
    """What was made, bytes that it takes, and bytes that making it left free."""

    held: object
    size: int
    left: int = 0


def objects(of: Callable[[int], object]) -> Callable[[int], Made]:
    """A maker of lists of objects, all alike."""
    size = taken(sys.getsizeof(of(1000)))

    def make(total: int) -> Made:
        count = total // (size + 8)
        held = [None] * count
        for i in range(count):
            held[i] = of(i + 1000)
        return Made(held, count * (size + 8))

    return make


def text(length: int) -> Callable[[int], Made]:
    return objects(lambda i: b"x" * (length + i - i))  # not bytes(length): what is only zero is not touched


def arrays(each: int) -> Callable[[int], Made]:
    def make(total: int) -> Made:
        # the array, its data, its shape, and its place in the list
        size = taken(sys.getsizeof(np.empty(0))) + taken(each) + 32 + 8
        count = total // size
        held = [None] * count
        for i in range(count):
            held[i] = np.ones(each, dtype=np.uint8)
        return Made(held, count * size)

    return make


def mapping(total: int) -> Made:
    """Of integers to tuples of a float and None.

    Its table grows by twos, and leaves the former ones: these are free, but for the largest, which are mapped apart.
    """
    count = total // 184
    held: dict = {}
    tables = set()
    for i in range(1000, 1000 + count):
        held[i] = (i * 1.5, None)
        tables.add(sys.getsizeof(held))
    items = count * (taken(sys.getsizeof(count)) + taken(sys.getsizeof(held[1000])) + taken(sys.getsizeof(1.5)))
    former = sum(size for size in sorted(tables)[:-1] if size < 256 << 10)
    return Made(held, items + sys.getsizeof(held), former)


def growing(total: int) -> Made:
    """A list of one and the same: what it asks for beyond its end is not touched."""
    held: list = []
    for _ in range(total // 8):
        held.append(None)
    return Made(held, 8 * len(held))


def threaded(make: Callable[[int], Made], count: int = 4) -> Callable[[int], Made]:
    """In so many threads at once, which end."""

    def each(total: int) -> Made:
        made: list[Made] = []
        gate = threading.Barrier(count)

        def run():
            gate.wait()
            made.append(make(total // count))
            gate.wait()

        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Made([one.held for one in made], sum(one.size for one in made))

    return each


POOL = ThreadPoolExecutor(4)


def pooled(make: Callable[[int], Made], count: int = 4) -> Callable[[int], Made]:
    """In threads that stay."""

    def each(total: int) -> Made:
        gate = threading.Barrier(count)

        def run(_):
            gate.wait()
            return make(total // count)

        made = list(POOL.map(run, range(count)))
        return Made([one.held for one in made], sum(one.size for one in made))

    return each


def large(total: int) -> Made:
    return Made(np.ones(total // 8), total)


CASES: dict[str, Callable[[int], Made]] = {
    "floats": objects(float),
    "bytes of 100": text(100),
    "bytes of 1,000": text(1000),
    "tuples in a dict": mapping,
    "arrays of 4 KB": arrays(4096),
    "arrays of 64 KB": arrays(65536),
    "bytes of 1,000 in 4 threads": threaded(text(1000)),
    "bytes of 20,000 in 4 threads": threaded(text(20_000)),
    "arrays of 4 KB in 4 threads": threaded(arrays(4096)),
    "arrays of 100 KB in 4 threads": threaded(arrays(100_000)),
    "arrays of 4 KB in a pool": pooled(arrays(4096)),
    "bytes of 20,000 in a pool": pooled(text(20_000)),
    "a large array": large,
    "a list that grows": growing,
}


# ------------------------------------------------------------------------------- what a process has done before


def nothing(case: str, total: int) -> None:
    """A process that has only begun."""


def same(case: str, total: int) -> None:
    """Had as much of the same, and let it go."""
    CASES[case](total)


def worn(case: str, total: int) -> list:
    """Had much of everything, and holds a part of it here and there."""
    draw = np.random.default_rng(1)
    held: list = []
    for _ in range(3):
        held += [bytes(int(n)) for n in draw.integers(1, 30_000, 1000)]
        held += [[float(n), (n, None), str(n)] for n in range(20_000)]
        made: list = []

        def run(made=made):
            made.extend(np.ones(int(n), dtype=np.uint8) for n in draw.integers(1, 30_000, 500))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held = [one for one in held + made if draw.random() < 0.4]
    frame = pd.DataFrame(draw.normal(size=(50_000, 10))).groupby(lambda i: i % 7).mean()
    return [held, frame]


BEFORE = {before.__name__: before for before in (nothing, same, worn)}


def measured(case: str, before: str, total: int) -> Iterator[dict]:
    """Twice: of two alike one is let go and one is kept, so that the peak is twice the growth."""
    from workbench import profiling

    make, held = CASES[case], BEFORE[before](case, total)
    for _ in range(2):
        kept: list[Made] = []

        def work(kept=kept):
            first = make(total // 2)
            kept.append(make(total // 2))
            return first

        found = profiling.memory(work)
        size, left = kept[0].size, kept[0].left
        truth = {"true peak": 2 * size + left, "true growth": size}
        yield {"peak": found.peak, "growth": found.growth, "notes": found.notes, **truth}
    del held


if __name__ == "__main__":
    print(json.dumps(list(measured(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
