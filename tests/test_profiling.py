"""Profiles: what is known of the work is what they say. Time itself is never asserted, only counts and order."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
import threading
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from profiled import branch, fails, leaf, row, whole

from workbench import profiling
from workbench.errors import ParameterError, UnknownNameError
from workbench.profiling import collection
from workbench.profiling.collect import Work
from workbench.profiling.svg import Node

memory_module = sys.modules["workbench.profiling.memory"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the mark that can be set back is Linux's")


# ------------------------------------------------------------------------------------------------------------ time


def test_calls_are_counted_and_own_times_add_up():
    profile = profiling.time(whole)
    rows = profile.to_frame()
    assert {name: row(rows, function=name)["ncalls"] for name in ("whole", "branch", "leaf")} == {
        "whole": 1,
        "branch": 2,
        "leaf": 8,
    }
    assert row(rows, function="leaf")["where"].startswith("tests/profiled.py:")
    total = row(rows, function="whole")["cumtime"]
    assert rows["tottime"].sum() == pytest.approx(total, rel=1e-6)
    assert rows["share"].sum() == pytest.approx(1)


def test_the_order_is_the_one_asked_for_and_a_wrong_one_is_refused_before_anything_runs():
    profile = profiling.time(whole, sort="ncalls")
    assert profile.to_frame()["ncalls"].is_monotonic_decreasing
    assert profile.by("cumtime").to_frame()["function"].iloc[0] == "whole"
    ran = []
    with pytest.raises(UnknownNameError, match="tottimes") as error:
        profiling.time(ran.append, 1, sort="tottimes")
    assert "did you mean 'tottime'" in error.value.hint
    assert not ran


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer Pythons allow one profiler a process")
def test_functions_on_other_threads_are_seen():
    def work():
        threads = [threading.Thread(target=branch, args=(5,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert row(profiling.time(work).to_frame(), function="leaf")["ncalls"] == 15
    run = threading.Thread.run
    assert run.__module__ == "threading"


def test_a_tree_holds_no_more_than_its_parent_and_a_recursion_ends():
    def down(n):
        return n and down(n - 1)

    profile = profiling.time(lambda: (whole(), down(50)))

    def check(node: Node) -> int:
        assert sum(child.value for child in node.children) <= node.value * (1 + 1e-9)
        return 1 + sum(map(check, node.children))

    assert check(profile.tree) > 3
    assert row(profile.to_frame(), function="down")["ncalls"] == 51


def test_text_is_profiled_too():
    profile = profiling.time("def f(x):\n    return x\nfor i in range(7):\n    f(i)\n")
    assert row(profile.to_frame(), function="f")["ncalls"] == 7


def test_an_error_is_the_users_own_and_kept_in_work_that_keeps_it():
    with pytest.raises(ZeroDivisionError, match="as it was told"):
        profiling.time(fails)
    work = Work.of(fails)
    work.keep = True
    profile = profiling.time(work)
    assert isinstance(profile.error, ZeroDivisionError)
    assert row(profile.to_frame(), function="leaf")["ncalls"] == 1
    assert "ZeroDivisionError" in profile.notes[0]


def test_what_cannot_be_run_is_told():
    with pytest.raises(ParameterError, match="a int can't be profiled"):
        profiling.time(3)


# ----------------------------------------------------------------------------------------------------------- lines

TEXT = """
import threading
def outer(n):
    def inner(k):
        return k + 1
    total = 0
    for i in range(n):
        total += inner(i)
    return total
class A:
    def method(self):
        return [i for i in range(5)]
outer(10)
A().method()
thread = threading.Thread(target=outer, args=(4,))
thread.start()
thread.join()
"""


def hits(profile) -> dict[int, int]:
    return dict(profile.to_frame().groupby("line")["hits"].sum())


@pytest.mark.parametrize("turn", range(3))
def test_lines_of_text_of_nested_functions_of_methods_and_of_threads_are_counted(turn):
    """Three times: idents of threads that ended are used again."""
    found = hits(profiling.lines(TEXT))
    assert {n: found[n] for n in (5, 6, 7, 8, 12, 13, 14)} == {5: 14, 6: 2, 7: 16, 8: 14, 12: 1, 13: 1, 14: 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import asyncio\nasync def f():\n    x = 1\nawait f()\n", True),
        (
            "import asyncio\nasync def f():\n    yield 1\nasync def g():\n    [0 async for _ in f()]\nasyncio.run(g())",
            True,
        ),
        ("async def f():\n    x = 1\ny = 2\n", False),
    ],
)
def test_that_lines_see_no_waiting_is_said_where_they_await(text, said):
    notes = profiling.lines(text).notes
    assert any(note.startswith("A line with an await is timed until it first waits") for note in notes) is said


def test_lines_of_a_function_and_of_named_ones():
    before = {f: f.__code__ for f in (whole, branch, leaf)}
    first = branch.__code__.co_firstlineno
    profile = profiling.lines(whole, functions=["branch"])
    assert {f: f.__code__ for f in before} == before
    assert hits(profile)[first + 2] == 7
    assert "leaf(10)" in set(profile.to_frame()["source"].str.strip())
    with pytest.raises(UnknownNameError, match="brunch") as error:
        profiling.lines(whole, functions=["brunch"])
    assert "did you mean 'branch'" in error.value.hint
    with pytest.raises(ParameterError, match="expected a function written in Python"):
        profiling.lines(whole, functions=["len"])


# ---------------------------------------------------------------------------------------------------------- memory


@linux
@pytest.mark.parametrize("megabytes", [160, 80, 24, 15])
def test_peak_and_growth_are_within_two_per_cent_of_the_truth(megabytes):
    kept = []

    def work():
        first = np.ones(megabytes * 125_000)
        kept.append(first.copy())

    for _ in range(2):  # the second time the allocator has what the first one freed
        kept.clear()
        profile = profiling.memory(work)
        assert profile.peak == pytest.approx(2e6 * megabytes, rel=0.02)
        assert profile.growth == pytest.approx(1e6 * megabytes, rel=0.02)


def test_where_there_is_no_mark_a_thread_looks(monkeypatch):
    monkeypatch.setattr(memory_module, "set_back", lambda: False)

    def work():
        held = np.ones(10_000_000)
        time.sleep(0.5)
        return held.sum()

    profile = profiling.memory(work)
    assert profile.peak == pytest.approx(80e6, rel=0.05)
    assert "a short peak is missed" in " ".join(profile.notes)


STEPS = """
import numpy as np
def helper():
    x = np.ones(2_500_000)
    return x.sum()
def steps():
    a = np.ones(5_000_000)
    b = a * 2
    del a
    for _ in range(3):
        helper()
    return b
kept = steps()
"""


@linux
def test_memory_by_line_holds_in_loops_and_in_calls():
    profile = profiling.memory(STEPS, lines=True)
    rows = profile.lines.assign(line=profile.lines["where"].str.rpartition(":")[2].astype(int)).set_index("line")
    assert rows.loc[[7, 8, 9], "increment"].tolist() == pytest.approx([40e6, 40e6, -40e6], rel=0.02)
    assert rows.loc[[11, 4], "hits"].tolist() == [3, 3]
    assert rows.loc[11, "peak"] == pytest.approx(20e6, rel=0.05)
    assert abs(rows.loc[11, "increment"]) < 2e6
    assert profile.peak == pytest.approx(80e6, rel=0.02)
    assert rows.loc[13, "increment"] == pytest.approx(40e6, rel=0.05)


def test_what_is_held_is_named_by_the_users_line():
    kept = []

    def work():
        kept.append(np.ones(125_000))
        kept.append([float(i) for i in range(1000)])

    frame = profiling.memory(work, allocations=True).to_frame()
    assert frame["source"].iloc[0] == "kept.append(np.ones(125_000))"
    assert frame["bytes"].iloc[0] == pytest.approx(1e6, rel=0.01)
    assert frame["bytes"].iloc[1] == pytest.approx(1000 * 24 + 8856, rel=0.05)
    assert not tracemalloc.is_tracing()


def test_what_a_library_holds_is_not_laid_at_the_door_of_who_profiles_it():
    frame = profiling.memory(functools.lru_cache(np.ones), 125_000, allocations=True).to_frame()
    assert frame["where"].iloc[0].startswith("numpy/")
    assert not frame["where"].str.contains("test_profiling").any()


# ----------------------------------------------------------------------------------------------------------- leaks

HELD: list = []


class Thing:
    pass


def leaks_an_array() -> None:
    HELD.append(np.ones(1000))


def leaks_an_object() -> None:
    HELD.append(Thing())


def leaks_a_number() -> None:
    HELD.append(10**9 + len(HELD))


@functools.lru_cache(maxsize=8)
def cached(n: int) -> list:
    return [n] * 100


class Knot:
    def __init__(self):
        self.me, self.load = self, bytearray(1000)


def clean() -> float:
    Knot()
    frame = pd.DataFrame(np.ones((100, 3)), columns=list("abc"))
    return float(frame.rolling(5).mean().sum().sum()) + len(cached(3)) + len(str(frame.describe()))


@pytest.mark.parametrize("work", [leaks_an_array, leaks_an_object, leaks_a_number], ids=lambda f: f.__name__)
def test_a_planted_leak_is_named_by_its_line(work):
    profile = profiling.leaks(work)
    assert profile.leaks
    first = profile.to_frame().iloc[0]
    assert first["where"] == f"tests/test_profiling.py:{work.__code__.co_firstlineno + 1}"
    assert first["source"].startswith("HELD.append(")
    if work is leaks_an_object:
        assert "Thing" in " ".join(profile.to_frame()["where"])
    HELD.clear()


def test_what_a_list_takes_in_is_named_by_its_type():
    """Numbers that gc does not track, of which the memory may be older than they are."""
    rows = profiling.leaks(lambda: HELD.append(len(HELD) * 1.5)).to_frame()
    assert row(rows, what="type", where="float")["count_a_run"] == 1
    HELD.clear()


def test_callbacks_that_nobody_takes_off_the_list_are_named_by_their_type():
    def work():
        HELD.append(lambda: len(HELD))
        HELD.append(Knot().__init__)

    rows = profiling.leaks(work).to_frame()
    assert row(rows, what="type", where="function")["count_a_run"] == 1
    assert row(rows, what="type", where="method")["count_a_run"] == 1
    HELD.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="takes memory of the C library")
def test_memory_that_python_knows_nothing_of_is_said_to_grow():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    profile = profiling.leaks(lambda: ctypes.memset(libc.malloc(2_000_000), 1, 2_000_000) and None, runs=3)
    assert "the process did, by 2" in profile.notes[0]
    assert profile.facts["process a run"][0] == pytest.approx(2e6, rel=0.1)


def test_a_clean_run_raises_no_alarm():
    profile = profiling.leaks(clean)
    assert not profile.leaks, profile
    assert not len(profile.to_frame()), profile


def test_what_comes_and_goes_is_no_leak():
    """It holds more at the end than at the start, and less after some of the runs."""
    blocks, held = iter([1, 1, 1, 5, 2, 6, 3, 7] + [4] * 20), []

    def work():
        held[:] = [bytearray(5000) for _ in range(next(blocks))]

    assert not profiling.leaks(work).leaks


def test_too_few_runs_are_refused():
    with pytest.raises(ParameterError, match="runs=2"):
        profiling.leaks(clean, runs=2)


# ------------------------------------------------------------------------------------------------------ collections


def knots() -> None:
    for _ in range(5000):
        Knot()


def test_collections_are_counted_as_the_interpreter_counts_them():
    clock = collection_module().Clock()
    before = [s["collections"] for s in gc.get_stats()]
    gc.callbacks.append(clock)
    try:
        knots()
        gc.collect()
    finally:
        gc.callbacks.remove(clock)
    assert clock.collections == [s["collections"] - b for s, b in zip(gc.get_stats(), before, strict=True)]


def collection_module():
    return sys.modules["workbench.profiling.collection"]


def test_each_setting_is_tried_and_put_back():
    before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), list(gc.callbacks)
    profile = collection(knots, rounds=2, settings=[(50_000, 10, 10)])
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), list(gc.callbacks)) == before
    rows = profile.to_frame().set_index("setting")
    assert rows.loc["off", "collections"] == 0
    assert rows.loc["off", "in_gc"] == 0
    now = rows.iloc[0]
    assert now["collections"] >= 5
    assert now["collected"] > 1000
    assert rows.loc["thresholds 50000, 10, 10", "collections"] <= 1
    assert rows.loc["off", "peak"] > 2e6  # 5,000 knots of a thousand bytes were let lie
