"""Profiles: what is known of the work is what they say. Time itself is never asserted, only counts and order."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench import hooks, profiling
from workbench.__main__ import main
from workbench.errors import ParameterError, UnknownNameError, WorkbenchError
from workbench.profiling import buffers, collection, memory, spans
from workbench.profiling.collect import Work
from workbench.profiling.compare import same
from workbench.profiling.forms import _of_array, forms
from workbench.profiling.gil import Look, Witness
from workbench.profiling.kernels import overlapped
from workbench.profiling.result import Result
from workbench.profiling.study import own_seconds
from workbench.profiling.svg import Bar, Node, flame, timeline

memory_module = sys.modules["workbench.profiling.memory"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the mark that can be set back is Linux's")


def leaf(n: int) -> int:
    return sum(range(n))


def branch(times: int) -> None:
    for _ in range(times):
        leaf(10)


def whole() -> None:
    branch(3)
    branch(4)
    leaf(10)


def fails(*args: object) -> None:
    leaf(10)
    raise ZeroDivisionError("as it was told to")


# ------------------------------------------------------------------------------------------------------------ time


def row(frame: pd.DataFrame, **known) -> pd.Series:
    (found,) = [r for _, r in frame.iterrows() if all(r[k] == v for k, v in known.items())]
    return found


def test_calls_are_counted_and_own_times_add_up():
    profile = profiling.time(whole)
    rows = profile.to_frame()
    assert {name: row(rows, function=name)["ncalls"] for name in ("whole", "branch", "leaf")} == {
        "whole": 1,
        "branch": 2,
        "leaf": 8,
    }
    assert row(rows, function="leaf")["where"].startswith("tests/test_profiling.py:")
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
        profiling.lines(whole, functions=["np.zeros"])


# ---------------------------------------------------------------------------------------------------------- memory


@linux
@pytest.mark.parametrize("megabytes", [160, 80, 24, 10])
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
    monkeypatch.setattr(memory_module, "is_exact", lambda: False)

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


# ----------------------------------------------------------------------------------------------------------- leaks

HELD: list = []


class Thing:
    pass


def leaks_an_array() -> None:
    HELD.append(np.ones(1000))


def leaks_an_object() -> None:
    HELD.append(Thing())


def leaks_a_number() -> None:
    HELD.append(len(HELD) * 1.5)


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


def test_a_clean_run_raises_no_alarm():
    profile = profiling.leaks(clean)
    assert not profile.leaks, profile
    assert not len(profile.to_frame()), profile


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


# ----------------------------------------------------------------------------------------------------------- sizes


class Plain:
    def __init__(self, i):
        self.a, self.b, self.c = float(i), float(i), str(i)


class Slotted:
    __slots__ = ("a", "b", "c")

    def __init__(self, i):
        self.a, self.b, self.c = float(i), float(i), str(i)


def opened() -> list:
    made = [Plain(i) for i in range(3000)]
    for one in made:
        assert one.__dict__
    return made


MADE = {
    "instances": lambda: [Plain(i) for i in range(3000)],
    "instances with their dict": opened,
    "slotted instances": lambda: [Slotted(i) for i in range(3000)],
    "array": lambda: np.ones(50_000),
    "array of objects": lambda: np.array([str(i) for i in range(5000)], dtype=object),
    "views": lambda: (lambda a: [a, a[::2], a.reshape(100, -1)])(np.ones(50_000)),
    "frame": lambda: pd.DataFrame({"a": np.arange(50_000) * 1.0, "b": np.arange(50_000)}),
    "panel": lambda: wb.load("synthetic", symbols=20, years=2, seed=1),
    "dict": lambda: {str(i): float(i) for i in range(10_000)},
    "bytes": lambda: [bytearray(1000) for _ in range(100)],
}


@pytest.mark.parametrize("name", MADE)
def test_sizes_are_what_was_allocated(name):
    MADE[name]()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = MADE[name]()
        gc.collect()
        truth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert buffers.sizeof(made) == pytest.approx(truth, rel=0.06)


def test_a_shared_buffer_counts_once_whoever_holds_it():
    torch = pytest.importorskip("torch")
    array = np.ones(100_000)
    tensor = torch.from_numpy(array)
    names = {"array": array, "view": array[5:10], "tensor": tensor, "frame": pd.DataFrame({"a": array}, copy=False)}
    profile = profiling.sizes(names, suggest=False)
    assert profile.facts["in all, each part once"][0] == pytest.approx(array.nbytes, rel=0.05)
    rows = profile.to_frame().set_index("name")
    assert (rows["bytes"] >= array.nbytes).all()
    assert (rows["alone"] < 10_000).all()
    assert rows["type"].to_dict()["tensor"] == "torch.Tensor"


def test_an_unknown_name_is_told():
    with pytest.raises(UnknownNameError, match="prcies") as error:
        profiling.sizes({"prices": 1}, ["prcies"])
    assert "did you mean 'prices'" in error.value.hint


arrays = st.one_of(
    st.lists(st.integers(-(2**40), 2**40)).map(lambda v: np.array(v, dtype="int64")),
    st.lists(st.integers(0, 300)).map(lambda v: np.array(v, dtype="int64")),
    st.lists(st.floats()).map(lambda v: np.array(v, dtype="float64")),
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, np.nan, np.inf, 0.1])).map(lambda v: np.array(v, dtype="float64")),
    st.lists(st.floats(width=32)).map(lambda v: np.array(v, dtype="float64")),
)


@given(values=arrays)
def test_a_smaller_form_loses_nothing(values):
    for form, built in _of_array(values):
        assert built.nbytes < values.nbytes or not values.size
        back = built.astype(values.dtype)
        assert form == str(built.dtype)
        np.testing.assert_array_equal(back, values)
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(back), np.signbit(values))


def test_forms_are_built_and_measured():
    many = 2000
    names = {
        "lots": np.arange(many) % 100,
        "exact": np.arange(many) / 4,
        "third": np.arange(1, many) / 3,
        "holes": np.where(np.arange(many) % 7 == 0, np.nan, 1.5),
        "symbols": pd.Series(["AAPL", "MSFT"] * many),
        "unique": pd.Series([f"s{i}" for i in range(many)]),
        "ticks": [0.1 * i for i in range(many)],
        "mixed": [1, 2.0, "x"] * many,
        "plain": [Plain(i) for i in range(many)],
        "slotted": [Slotted(i) for i in range(many)],
    }
    found = forms(names)
    offered = found.groupby("name")["form"].agg(set).to_dict()
    assert offered["lots"] == {"int8"}
    assert offered["exact"] == {"float32"}
    assert offered["holes"] == {"float32"}
    assert offered["symbols"] == {"category"}
    assert offered["plain"] == {"__slots__ in Plain"}
    assert offered["ticks"] == {"numpy float64 array"}
    assert not {"third", "unique", "slotted", "mixed"} & set(offered)
    slots = row(found, name="plain")
    # 16 of the collector, 16 of an object, 3 of 8: what a class with __slots__ takes
    assert slots["then"] == pytest.approx(many * 56, rel=0.02)
    truth = buffers.sizeof(names["plain"]) - buffers.sizeof(names["slotted"])
    assert slots["saved"] == pytest.approx(truth, rel=0.05)
    assert row(found, name="lots")["then"] == many
    assert (found["saved"] == found["bytes"] - found["then"]).all()


# ---------------------------------------------------------------------------------------------------- spans, kernels


@pytest.fixture(scope="module")
def panel():
    return wb.load("synthetic", symbols=40, years=4, seed=1)


@pytest.fixture(scope="module")
def recipe():
    ranked = wb.feature("roc", window=20).rank()
    return wb.Recipe({"momentum": ranked, "strength": wb.feature("rsi", window=14)})


def test_nothing_is_recorded_but_within_a_recorder(panel, recipe):
    assert hooks.kernel is None
    assert hooks.task is None
    assert spans.span("a", "b") is spans.span("c", "d")
    with pytest.raises(ZeroDivisionError), spans.Recorder() as record, spans.span("a", "b"):
        fails(recipe.compute(panel))
    assert hooks.kernel is None
    assert hooks.task is None
    kinds = [(s.kind, s.name) for s in record.spans]
    assert sorted(kinds) == [("a", "b"), ("feature", "momentum"), ("feature", "strength")]
    assert {c.name for c in record.calls} == {"roc", "rank", "rsi"}


def test_a_watched_kernel_gives_the_same_bits_and_every_row_is_told(panel):
    close = panel.plane("close")
    before = wb.indicators.rsi(close)
    profile = profiling.kernels(wb.indicators.rsi, close)
    with spans.Recorder() as record:
        np.testing.assert_array_equal(wb.indicators.rsi(close), before)
    assert sum(c.rows for c in record.calls) == len(close)
    assert sum(c.bytes for c in record.calls) == 2 * close.nbytes
    only = row(profile.to_frame(), kernel="rsi")
    assert only["calls"] == len(record.calls)
    assert only["bytes_a_second"] / only["rows_a_second"] == pytest.approx(2 * close[0].nbytes)


def test_an_account_is_told_too(panel):
    weights = wb.weights_from_scores(wb.Panel(panel.values[:1], panel.time, panel.symbols, ["score"]))
    profile = profiling.kernels(lambda: wb.backtest(weights, panel))
    assert row(profile.to_frame(), kernel="account")["calls"] == 1


def test_a_full_ring_keeps_the_last_calls_and_says_so(panel):
    profile = profiling.kernels(lambda: [wb.indicators.rsi(panel.plane("close")) for _ in range(9)], ring=4)
    assert len(profile.calls) == 4
    assert "The ring was full" in profile.notes[0]


def call(begun: float, ended: float, thread: int) -> spans.Call:
    return spans.Call(leaf, begun, ended, thread, 1, 8, 1)


@st.composite
def timelines(draw):
    """Calls on some threads: those of one thread follow each other."""
    calls = []
    for thread in range(draw(st.integers(1, 4))):
        edges = sorted(draw(st.lists(st.integers(0, 60), max_size=16, unique=True)))
        calls += [call(a, b, thread) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return draw(st.permutations(calls))


@given(calls=timelines())
def test_overlaps_are_those_of_a_slow_plain_count(calls):
    for mine, found in zip(calls, overlapped(calls), strict=True):
        ticks = range(int(mine.begun), int(mine.ended))
        others = [c for c in calls if c.thread != mine.thread]
        assert found == sum(any(c.begun <= t < c.ended for c in others) for t in ticks)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9))))
def test_a_union_is_what_is_covered(pairs):
    covered = {t for a, length in pairs for t in range(a, a + length)}
    assert spans.union((a, a + length) for a, length in pairs) == len(covered)


def test_kernels_on_two_threads_run_at_once_and_without_the_lock():
    """They begin together and take long, so their calls meet; that the lock was free in them is looked up."""
    big = np.cumsum(np.ones((4000, 500)), axis=0)

    def work():
        gate = threading.Barrier(2)

        def run():
            for _ in range(4):
                gate.wait()
                wb.indicators.stddev(big, window=50)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    profile = profiling.kernels(work)
    only = row(profile.to_frame(), kernel="rolling_std")
    assert only["threads"] == 2
    assert only["overlapped"] > 0.2
    assert np.isnan(only["gil_free"]) or only["gil_free"] > 0.5
    picture = profile.picture()
    assert "thread 1" in picture
    assert "thread 2" in picture


def test_a_lock_that_is_taken_is_told_from_one_that_is_free():
    def share(work) -> Witness:
        with Witness() as witness:
            work()
        return witness

    def burn():
        until = time.perf_counter() + 0.6
        while time.perf_counter() < until:
            sum(range(1000))

    free, taken = share(lambda: time.sleep(0.6)), share(burn)
    if not free.exact:
        pytest.skip("this system does not tell waiting for a CPU from waiting for the lock")
    assert free.share < 0.2
    assert taken.share > 2 * free.share
    assert taken.share > 0.1
    assert all(isinstance(look, Look) and look.asked <= look.got for look in taken.looks)


# ----------------------------------------------------------------------------------------------------------- study


@pytest.mark.parametrize("how", ["serial", "threads", "processes"])
def test_a_study_is_told_by_feature_model_and_fold(panel, recipe, how, tmp_path):
    def work():
        features = recipe.compute(panel)
        label = wb.forward_return(panel, horizon=5)
        with profiling.span("load", "by hand"):
            time.sleep(0.001)
        specs = [wb.ModelSpec("ridge")]
        return wb.compare(specs, features, label, ledger=tmp_path / "l.sqlite", how=how, workers=2)

    profile = profiling.study(work)
    rows = profile.to_frame()
    assert set(rows.loc[rows["kind"] == "feature", "name"]) == {"momentum", "strength"}
    folds = rows[rows["kind"] == "fold"]
    assert folds.groupby("name")["fold"].agg(sorted).to_dict() == {
        name: [1, 2, 3, 4, 5] for name in ("ridge", "zero", "last_value")
    }
    assert row(rows, kind="load")["name"] == "by hand"
    assert row(rows, name="strength")["dearest_kernel"] == "rsi"
    assert rows["share"].sum() == pytest.approx(1)
    away = {s.process for s in profile.spans} - {os.getpid()}
    assert bool(away) == (how == "processes")
    assert "by model" in [caption for caption, _ in profile.tables()]


nested = st.recursive(st.just([]), lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=8)


@given(nested)
def test_the_own_seconds_of_nested_spans_add_up_to_the_outermost(shape):
    clock, found = itertools.count(), []

    def spread(children):
        begun = next(clock)
        for child in children:
            spread(child)
        found.append(spans.Span("k", "n", begun, next(clock), 0.0, 1, 1))

    spread(shape)
    own = own_seconds(found)
    assert sum(own) == found[-1].seconds
    assert all(value > 0 for value in own)


# --------------------------------------------------------------------------------------------------------- variants


def test_marked_variants_are_compared_with_the_first():
    profile = profiling.compare(
        "n = 50\n# variant: loop\nresult = sum(i for i in range(n))\n# variant: closed\nresult = n * (n - 1) // 2\n"
        "# variant: wrong\nresult = 3\n",
        rounds=2,
    )
    rows = profile.to_frame().set_index("variant")
    assert rows["agrees"].to_dict() == {"loop": "", "closed": "yes", "wrong": "no"}
    assert rows.loc["loop", "speed_up"] == 1
    assert (rows["best"] <= rows["median"]).all()
    assert profile.notes[0] == "Not the same result as the first variant: wrong."


def test_what_stands_before_the_first_mark_runs_once_and_each_variant_once_a_round():
    seen: list[str] = []
    work = Work.text(
        "seen.append('set up')\n# variant: a\nseen.append('a')\n# variant: b\nseen.append('b')\n",
        {"seen": seen},
        "<code>",
        "counted",
    )
    profiling.compare(work, rounds=3)
    assert (seen.count("set up"), seen.count("a"), seen.count("b")) == (1, 4, 4)


ITEMS = "def task(i):\n    return i * i\nitems = range(6)\n"
AWAITED = "import asyncio\nasync def task(i):\n    await asyncio.sleep(0)\n    return i * i\nitems = range(6)\n"


@pytest.mark.parametrize("text", [ITEMS, AWAITED], ids=["function", "coroutine"])
def test_a_task_over_items_gives_the_same_however_it_is_run(text):
    rows = profiling.compare(text, rounds=1, workers=2).to_frame().set_index("variant")
    assert list(rows.index) == ["serial", "threads", "processes", "asyncio"]
    assert set(rows["agrees"]) == {"", "yes"}
    assert rows.loc["processes", "in_workers"] >= 0


def test_variants_may_be_callables_and_work_within_a_running_loop():
    assert list(profiling.compare({"a": lambda: 1, "b": lambda: 1}, rounds=1).to_frame()["agrees"]) == ["", "yes"]

    async def inside():
        return profiling.compare(AWAITED, rounds=1, workers=2)

    assert set(asyncio.run(inside()).to_frame()["agrees"]) == {"", "yes"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "no line says"),
        ("# variant: a\n1\n# variant: a\n2\n", "expected a name each"),
        ("# variant:\n1\n", "expected a name each"),
    ],
)
def test_what_is_no_comparison_is_told(text, said):
    with pytest.raises(ParameterError, match=said):
        profiling.compare(text)


def test_an_error_in_a_variant_names_it_and_its_line():
    with pytest.raises(ZeroDivisionError) as caught:
        profiling.compare("x = 1\n# variant: fine\ny = 2\n# variant: broken\n1 / 0\n")
    assert "in the variant broken" in caught.value.__notes__
    trace = caught.value.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert trace.tb_lineno == 5


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2.0], (1, 2.0), True),
        ([1, 2], [2, 1], False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.001, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        (pd.Series([1.0]), pd.Series([1.0]), True),
        ("x", "x", True),
        (None, 3, False),
    ],
)
def test_sameness(one, other, expected):
    assert same(one, other) is expected


# ------------------------------------------------------------------------------------------------- how it is shown


def profiles() -> dict[str, Result]:
    return {
        "time": profiling.time(whole),
        "lines": profiling.lines(whole),
        "memory": profiling.memory(whole, allocations=True, lines=True),
        "leaks": profiling.leaks(leaks_an_array, runs=3),
        "gc": profiling.collection(whole, rounds=1),
        "sizes": profiling.sizes({"<b>x</b>": np.arange(1000), "y": [1.5] * 1000}),
        "kernels": profiling.kernels(lambda: wb.indicators.rsi(np.ones((500, 30)))),
        "compare": profiling.compare({"a<b": lambda: 1}, rounds=1),
        "study": profiling.study(lambda: spans.span("a", "b").__enter__()),
    }


@pytest.fixture(scope="module")
def shown():
    found = profiles()
    HELD.clear()
    return found


def test_every_profile_is_shown_without_script_or_network_in_html_and_in_text(shown):
    for name, profile in shown.items():
        bundle = profile._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html"}
        for page in (bundle["text/html"], profile.to_html(whole=True)):
            lowered = page.lower()
            assert not [word for word in ("<script", "javascript:", " onclick", "<link", "@import") if word in lowered]
            assert "http" not in lowered.replace("http://www.w3.org/2000/svg", ""), name
        assert "<b>x</b>" not in bundle["text/html"].replace("<b>x</b> ·", ""), name
        assert bundle["text/plain"].startswith(profile.title)
        assert isinstance(profile.to_frame(), pd.DataFrame)
        assert str(os.getcwd()) not in bundle["text/html"] + bundle["text/plain"], name
        if picture := profile.picture():
            ET.fromstring(picture)


def test_profiles_of_a_kind_are_compared_and_others_refused(shown):
    for profile in shown.values():
        beside = profile.compare(profile)
        first = profile.measures[0]
        if len(profile.rows) and first in profile.rows:
            known = beside.to_frame().dropna(subset="change")
            assert (known["change"] == 1).all()
            assert "change" in repr(beside)
    with pytest.raises(ParameterError, match="expected the same kind"):
        shown["time"].compare(shown["lines"])


def test_a_comparison_joins_by_what_a_row_is_about():
    rows = profiling.time(branch, 6).compare(profiling.time(branch, 2)).to_frame()
    found = row(rows, function="leaf")
    assert (found["ncalls"], found["ncalls_other"]) == (6, 2)


def test_top_cuts_what_is_shown_and_not_what_is_kept():
    profile = profiling.time(whole, top=2)
    assert len(profile.to_frame()) > 2
    assert "more rows" in repr(profile)
    assert repr(profile).count("tests/test_profiling.py") == 2
    assert "more rows" not in profile.to_html(whole=True)


def test_a_profile_is_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    profile = profiling.time(whole)
    page, numbers = profile.save(tmp_path / "a.html"), profile.save(tmp_path / "a.json")
    assert page.read_text().startswith("<!doctype html>")
    content = json.loads(numbers.read_text())
    assert len(content["rows"]) == len(profile.to_frame())
    assert content["kind"] == "TimeProfile"

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkbenchError, match="No space left"):
        profiling.time(branch, 2).save(page)
    assert json.loads(numbers.read_text()) == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.json"]


@pytest.mark.parametrize("name", ["a.txt", "a", "gone/a.html"])
def test_where_it_cannot_be_saved_is_told_before_anything_runs(name, tmp_path):
    with pytest.raises(ParameterError):
        profiling.time(whole).save(tmp_path / name)


def boxes(picture: str) -> list[tuple[float, float, float]]:
    """(x, y, width) of each bar."""
    name = "{http://www.w3.org/2000/svg}"
    bars = [g.find(f"{name}rect") for g in ET.fromstring(picture).iter(f"{name}g")]
    return [tuple(float(bar.get(k)) for k in ("x", "y", "width")) for bar in bars]


trees = st.recursive(
    st.floats(0.5, 10).map(lambda v: ("leaf", v, [])),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda c: ("node", sum(x[1] for x in c) * 1.2, c)),
    max_leaves=10,
)


@given(trees)
def test_a_flame_graph_shows_each_part_below_its_caller_and_within_it(tree):
    def grown(part) -> Node:
        name, value, children = part
        return Node(name + " <&>", "your code", value, "words", [grown(c) for c in children])

    found = boxes(flame(grown(tree), ("your code",)))
    rows: dict[float, list] = {}
    for x, y, width in found:
        assert x >= 0
        assert x + width <= 1000 + 1e-6
        rows.setdefault(y, []).append((x, x + width))
    for y, bars in rows.items():
        bars.sort()
        assert all(a[1] <= b[0] + 0.51 for a, b in itertools.pairwise(bars))
        above = rows.get(min((r for r in rows if r < y), key=lambda r: y - r, default=None))
        assert above is None or all(any(p <= a + 0.01 and b <= q + 0.51 for p, q in above) for a, b in bars)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 9)), max_size=30))
def test_a_timeline_hides_no_bar_behind_another(items):
    bars = [Bar(lane, f"{lane}{i}", lane, a, a + n) for i, (lane, a, n) in enumerate(items)]
    drawn = boxes(timeline(bars, 50, label="all"))
    assert len(drawn) == len(bars)
    for y in {y for _, y, _ in drawn}:
        row = sorted((x, x + width) for x, other, width in drawn if other == y)
        assert all(a[1] <= b[0] + 0.51 for a, b in itertools.pairwise(row))


# ----------------------------------------------------------------------------------------------------- the shell

SCRIPT = """
import sys
def twice(x):
    return 2 * x
def main():
    print("given", sys.argv[1:])
    for i in range(5):
        twice(i)
if __name__ == "__main__":
    main()
    if "fail" in sys.argv:
        1 / 0
    sys.exit(7)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("way", [[], ["--lines"], ["--memory"]], ids=["time", "lines", "memory"])
def test_a_script_is_profiled_with_its_arguments_and_its_exit_code(script, way, capsys, tmp_path):
    before = sys.argv[:], sys.path[:], sys.modules["__main__"]
    saved = tmp_path / "p.html"
    assert main(["profile", *way, "--top", "99", "--save", str(saved), str(script), "a", "--top", "-x"]) == 7
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before
    said = capsys.readouterr().out
    assert "given ['a', '--top', '-x']" in said
    assert "script.py" in said
    assert saved.read_text().startswith("<!doctype html>")
    if not way:
        assert "twice" in said
    if way == ["--lines"]:
        assert "return 2 * x" in said


def test_a_script_that_fails_shows_its_own_traceback_and_its_profile(script, capsys):
    assert main(["profile", "--top", "99", str(script), "fail"]) == 1
    said = capsys.readouterr()
    assert "twice" in said.out
    assert "ZeroDivisionError" in said.err
    assert "collect.py" not in said.err


def test_a_script_that_is_not_there_is_told(tmp_path, script, capsys):
    assert main(["profile", str(tmp_path / "scirpt.py")]) == 1
    assert "did you mean 'script.py'" in capsys.readouterr().err
    assert main(["profile", "--save", "p.txt", str(script)]) == 1
    said = capsys.readouterr()
    assert "ends in .html or .json" in said.err
    assert "given" not in said.out


def test_the_shell_runs_it(script):
    run = subprocess.run(
        [sys.executable, "-m", "workbench", "profile", str(script), "x"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 7, run.stderr
    assert "the code itself" in run.stdout


def test_memory_is_the_function_and_not_the_module():
    """The package republishes functions under the names of its modules."""
    assert profiling.memory is memory
    assert all(callable(getattr(profiling, name)) for name in profiling.__all__)
