"""Kernels, studies and variants: what ran when, where, and beside what."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiled import fails, leaf, row
from workbench._ext.ring import Ring

import workbench as wb
from workbench import hooks, profiling
from workbench.errors import ParameterError
from workbench.kernels import Kernel
from workbench.profiling import spans
from workbench.profiling.collect import Work
from workbench.profiling.compare import over_items, same
from workbench.profiling.gil import Witness
from workbench.profiling.kernels import overlapped
from workbench.profiling.study import own_seconds

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
    with spans.Recorder(ring=9) as record:
        for _ in range(9):
            wb.indicators.rsi(panel.values[0, :50])
    assert len(record.calls) == 9
    assert not record.full


@pytest.mark.parametrize("ring", [0, -1, 1.5, "a", 10**30])
def test_a_ring_that_holds_no_call_is_refused(ring):
    with pytest.raises(ParameterError, match=f"ring={ring!r} holds no call"):
        spans.Recorder(ring=ring)


def test_bytes_are_those_of_one_row_too():
    plane = np.random.default_rng(0).random((100, 500))
    with spans.Recorder() as record:
        for rows in (plane[:, :5][-1:], plane[::-1][:1], plane[::50][:1]):
            wb.indicators.rank(rows)
    assert [c.bytes for c in record.calls] == [2 * 5 * 8, 2 * 500 * 8, 2 * 500 * 8]


def test_recorders_that_end_in_another_order_leave_no_hook():
    """As those of two threads do; while several are open, calls are told to the one that began last."""
    x, one, other = np.ones((50, 2)), spans.Recorder(), spans.Recorder()
    one.__enter__()
    other.__enter__()
    wb.indicators.rsi(x)
    one.__exit__()
    wb.indicators.rsi(x)
    assert hooks.kernel is not None
    other.__exit__()
    assert hooks.kernel is None
    assert hooks.task is None
    assert [len(each.calls) for each in (one, other)] == [0, 2]
    with spans.Recorder() as outer:
        with spans.Recorder(tasks=False):
            with spans.span("a", "b"):
                pass
            wb.indicators.rsi(x)
        wb.indicators.rsi(x)
    assert [len(outer.calls), len(outer.spans)] == [1, 1]


def test_a_call_that_raises_is_not_kept_and_a_function_that_is_gone_is_still_named():
    def adds(x, more, out):
        np.add(x, more, out=out)

    ring, x, out = Ring(3), np.ones((4, 2)), np.empty((4, 2))
    for more in (1, 2, "three", 4, 5):
        with nullcontext() if more != "three" else pytest.raises(TypeError):
            ring.record(adds, (x, more, out))
        assert ring.full == (more == 5)
    del adds
    gc.collect()
    calls = [spans.Call(*call) for call in ring.calls()]
    assert [(c.name, c.rows, c.bytes, c.thread) for c in calls] == [("adds", 4, 128, threading.get_ident())] * 3
    assert out.tolist() == [[6.0, 6.0]] * 4
    edges = [edge for c in calls for edge in (c.begun, c.ended)]
    assert edges == sorted(edges)
    assert edges[-1] <= time.perf_counter()


def test_threads_share_a_ring_and_no_call_is_lost():
    ring, x = Ring(4 * 500), np.ones((1, 1))

    def many(name):
        def mine(x):
            pass

        mine.__name__ = name
        for _ in range(500):
            ring.record(mine, (x,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, "abcd"))
    assert Counter(spans.Call(*call).name for call in ring.calls()) == dict.fromkeys("abcd", 500)


def call(begun: float, ended: float, thread: int) -> spans.Call:
    return spans.Call(leaf, begun, ended, thread, 1, 8)


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
    assert np.isnan(only["gil_free"]) or "The GIL was taken" not in repr(profile)
    picture = profile.picture()
    assert "thread 1" in picture
    assert "thread 2" in picture


def test_a_kernel_that_keeps_the_lock_is_told_to_overlap_by_waiting():
    def keeps_the_lock(x, state, out):
        sum(range(600_000))

    x = np.ones((1, 1))

    def run():
        for _ in range(20):
            Kernel(keeps_the_lock, state=lambda: 0).call([x], (), x, [x])

    def work():
        with ThreadPoolExecutor(2) as pool:
            for task in [pool.submit(run) for _ in range(2)]:
                task.result()

    profile = profiling.kernels(work)
    if not Witness.known:
        assert "This Python does not tell whether its GIL is taken" in repr(profile)
        return
    assert row(profile.to_frame(), kernel="keeps_the_lock")["gil_free"] < 0.5
    assert "taken during keeps_the_lock: a call lasts until it has the lock back" in repr(profile)


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


def test_collections_of_the_profiler_itself_are_not_told():
    """The meter collects before and after; with the collector off, work that asks for none has had none."""
    gc.disable()
    try:
        assert profiling.study(lambda: leaf(10)).facts["in collections"][0] == 0
        asked = profiling.study(gc.collect)
    finally:
        gc.enable()
    assert 0 < asked.facts["in collections"][0] <= asked.facts["elapsed"][0]


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
    assert profile.notes[0] == "Not the same result as loop: wrong."


@pytest.mark.parametrize(
    ("text", "agrees", "said"),
    [
        (
            "data = np.ones(3)\n# variant: a\ndata += 1\nresult = data\n# variant: b\ndata *= 5\nresult = data\n",
            ["", "no"],
            "Not the same result as a: b.",
        ),
        ("# variant: a\nx = 1\n# variant: b\nresult = 2\n", ["", ""], "A difference that is smaller"),
        (
            "# variant: a\nx = 1\n# variant: b\nresult = 2\n# variant: c\nresult = 3\n# variant: d\nresult = 2\n",
            ["", "", "no", "yes"],
            "Not the same result as b: c.",
        ),
        (
            "# variant: a\nresult = Lock()\n# variant: b\nresult = 2\n",
            ["", ""],
            "No results are compared, as that of a can't be copied: TypeError: cannot pickle",
        ),
        (
            '# variant: a\nresult = """\n# variant: no\n"""\n# variant: b\nresult = 2  # variant: no\n',
            ["", "no"],
            "Not the same result as a: b.",
        ),
    ],
    ids=["changed in place", "none in the first", "the first of the others", "no copy", "marks that are none"],
)
def test_a_result_is_compared_as_it_was_with_the_first_there_is(text, agrees, said):
    profile = profiling.compare(f"import numpy as np\nfrom threading import Lock\n{text}", rounds=1)
    assert list(profile.to_frame()["agrees"]) == agrees
    assert profile.notes[0].startswith(said)


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


def test_the_first_run_warms_up_and_does_not_count():
    waits = iter([1.0, 0.05, 0.05, 0.05])
    only = profiling.compare({"a": lambda: time.sleep(next(waits))}).to_frame().iloc[0]
    assert only["spread"] < 5  # with the first one among them it is 19


ITEMS = "def task(i):\n    return i * i\nitems = range(6)\n"
AWAITED = "import asyncio\nasync def task(i):\n    await asyncio.sleep(0)\n    return i * i\nitems = range(6)\n"


@pytest.mark.parametrize("text", [ITEMS, AWAITED], ids=["function", "coroutine"])
def test_a_task_over_items_gives_the_same_however_it_is_run(text):
    rows = profiling.compare(text, rounds=1, workers=2).to_frame().set_index("variant")
    assert list(rows.index) == ["serial", "threads", "processes", "asyncio"]
    assert set(rows["agrees"]) == {"", "yes"}


LARGE = """
import numpy as np
def task(megabytes):
    return float(np.ones(megabytes * 125_000).sum() + sum(range(2_000_000)))  # long enough for a tick of the CPU clock
items = [40, 40, 40, 40]
"""


def test_memory_in_workers_is_told_where_they_worked_and_nowhere_else():
    rows = profiling.compare(LARGE, rounds=2, workers=2).to_frame().set_index("variant")
    # one worker may have done all; numpy comes on top, and the rest of the libraries not
    assert 38e6 < rows.loc["processes", "in_workers"] < 120e6
    assert (rows["in_workers"].drop("processes") < 1e6).all()  # the pool waits meanwhile


GROWS = "held = []\nfor _ in range(300):\n    held.append(bytes(200_000) + b'1')\n    sum(range(100_000))\ninput()\n"


def test_a_process_that_is_still_starting_is_waited_for_by_the_variant_that_started_it():
    started: list[subprocess.Popen] = []

    def starts():
        started.append(subprocess.Popen([sys.executable, "-c", GROWS], stdin=subprocess.PIPE))

    try:
        found = profiling.compare({"starts": starts, "waits": lambda: time.sleep(0.3)}, rounds=1).to_frame()
    finally:
        for process in started:
            process.communicate(b"\n")
    held = found.set_index("variant")["in_workers"]
    assert held["starts"] > 60e6
    assert held["waits"] < 1e6


@pytest.mark.parametrize("way", ["threads", "processes", "asyncio"])
def test_by_default_a_task_has_a_worker_a_cpu(way, tmp_path):
    cpus = joblib.cpu_count()

    def task(number):
        """Wait until there is another worker, where there can be one; long enough then for one more to be started."""
        me = (os.getpid(), threading.get_ident())
        (tmp_path / f"{me}").touch()
        until = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < min(2, cpus) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.02)
        return me

    found = set(over_items({"task": task, "items": range(4 * cpus + 8)}, None)[way]())
    assert min(2, cpus) <= len(found) <= cpus
    assert len({process for process, _ in found}) == (len(found) if way == "processes" else 1)


def test_variants_may_be_callables_and_work_within_a_running_loop():
    assert list(profiling.compare({"a": lambda: 1, "b": lambda: 1}, rounds=1).to_frame()["agrees"]) == ["", "yes"]

    async def inside():
        return profiling.compare(AWAITED, rounds=1, workers=2)

    assert set(asyncio.run(inside()).to_frame()["agrees"]) == {"", "yes"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "no line says"),
        ("def task(i):\n    return i\n", "does not define items"),
        ("# variants: two\n# varient: a\n1\n", "line 1: '# variants: two' is no mark"),
        ("x = 1\n# variant: a\n1\n# varient: b\n2\n", "line 4: '# varient: b' is no mark"),
        ("## Variante : b\n2\n", "did you mean '# variant: b'"),
        ("task, items = 1, 2\n", "task is a int, items a int"),
        ("# variant: a\n1\n# variant: a\n2\n", "expected a name each"),
        ("# variant:\n1\n", "expected a name each"),
        ("# variant: a\n1\n  # variant: b\n2\n", "line 3: '# variant: b' is indented"),
        ("def task(i):\n    # Variant: a\n    return i\nitems = [1]\n", "line 2: '# Variant: a' is indented"),
    ],
)
def test_what_is_no_comparison_is_told(text, said):
    with pytest.raises(ParameterError, match=said):
        profiling.compare(text)
    with pytest.raises(ParameterError, match="workers=0 is not a number"):
        profiling.compare(ITEMS, workers=0)


def test_what_an_earlier_cell_left_is_not_run_unasked():
    ran: list[int] = []
    left = {"task": ran.append, "items": [1]}
    for text in ("1\n", "# varient: a\n1\n", "items = [2]\n", "def f():\n    task = items = 1\n"):
        with pytest.raises(ParameterError):
            profiling.compare(Work.text(text, left, "<code>", "cell"), rounds=1)
    assert ran == []
    # what only looks like a mark is prose where nothing misses
    fine = "# Variants: four\nitems = items * 2\nfrom operator import neg as task\n"
    profiling.compare(Work.text(fine, left, "<code>", "cell"), rounds=1, workers=1)
    assert left["items"] == [1, 1]


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
