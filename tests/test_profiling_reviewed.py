"""What profiles of memory, sizes, variants and scripts must hold beside the laws: threads, odd objects, labels."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import profiling
from workbench.profiling.collect import Work
from workbench.profiling.compare import same

MB = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is sampled")


def in_threads(count: int, size: int) -> None:
    """Arrays of `size` in as many threads, all at once, and then gone."""
    gate = threading.Barrier(count)

    def hold():
        held = np.ones(size, dtype=np.uint8)
        gate.wait()
        del held

    threads = [threading.Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@linux
def test_memory_of_threads_is_seen_each_time_and_what_they_freed_is_no_growth():
    count, size = 4, 25 * MB
    for _ in range(4):
        found = profiling.memory(in_threads, count, size)
        assert found.peak == pytest.approx(count * size, rel=0.02)
        assert abs(found.growth) < 0.05 * count * size


SHARED = """
import threading
import numpy as np
from tests.test_profiling_reviewed import MB, in_threads
from workbench import profiling
gate, over = threading.Barrier(4), threading.Event()
def lives_on():
    held = np.ones(30 * MB, dtype=np.uint8)
    gate.wait()
    del held
    over.wait()
profiling.memory(int)  # from then on glibc keeps blocks of that size on the heap
threads = [threading.Thread(target=lives_on) for _ in range(3)]
for thread in threads:
    thread.start()
gate.wait()
found = [profiling.memory(in_threads, 4, 25 * MB) for _ in range(4)]
over.set()
for thread in threads:
    thread.join()
found += [profiling.memory(in_threads, 4, 25 * MB) for _ in range(2)]
print([(one.peak, one.growth) for one in found])
"""


@linux
@pytest.mark.parametrize("heaps", ["1", "4", "5", "16"])
def test_memory_is_seen_where_threads_share_the_heaps_of_others_that_live_on(heaps):
    done = subprocess.run(
        [sys.executable, "-c", SHARED], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
        env=os.environ | {"MALLOC_ARENA_MAX": heaps},
    )  # fmt: skip
    for peak, growth in eval(done.stdout):
        assert peak == pytest.approx(100 * MB, rel=0.02)
        assert abs(growth) < MB


# stands alone: what else is loaded changes what this thread allocates, and so whether a misread shows
KEPT = """
import sys, threading
import numpy as np
from workbench import profiling
SIZE, COUNT = 100_000, 250
kept = []
def work(holds):
    gate = threading.Barrier(4)
    def fill():
        blocks = [np.ones(SIZE, dtype=np.uint8) for _ in range(COUNT)]
        gate.wait()
        if holds:
            kept.append(blocks)
    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
def measure():
    for holds in (False, True) * 4:
        found.append((holds, profiling.memory(work, holds)))
        kept.clear()  # on this thread, of heaps that threads had
found = []
if sys.argv[1] == "main":
    measure()
else:
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
print([(holds, one.peak, one.growth) for holds, one in found])
"""


@linux
@pytest.mark.parametrize("heaps", ["4", "16"])
@pytest.mark.parametrize("measurer", ["main", "another"])
def test_memory_of_threads_is_seen_when_this_one_has_freed_blocks_of_theirs(measurer, heaps):
    done = subprocess.run(
        [sys.executable, "-c", KEPT, measurer], capture_output=True, text=True, check=True,
        env=os.environ | {"MALLOC_ARENA_MAX": heaps},
    )  # fmt: skip
    for holds, peak, growth in eval(done.stdout):
        assert peak == pytest.approx(100 * MB, rel=0.02)
        assert growth == pytest.approx(100 * MB * holds, abs=2 * MB)


SMALL = """
import numpy as np
from workbench import profiling
freed = [profiling.memory(np.ones, 250_000).peak for _ in range(3)]
kept = []
held = [profiling.memory(lambda: kept.append(np.ones(250_000))) for _ in range(3)]
print((freed, [(one.peak, one.growth) for one in held]))
"""


@linux
def test_a_small_block_is_seen_the_first_time_too():
    done = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True, check=True)
    freed, held = eval(done.stdout)
    assert [growth for _, growth in held] == pytest.approx([2 * MB] * 3, rel=0.02)
    # the system's mark leaves out what each CPU has not told yet of memory and of files: less than 32 pages of each
    late = 2 * os.cpu_count() * 32 * 4096
    assert [*freed, *(peak for peak, _ in held)] == pytest.approx([2 * MB] * 6, abs=late)


def test_profiles_of_memory_compare_whatever_was_asked_of_each():
    ways = ({}, {"lines": True}, {"allocations": True})
    profiles = [profiling.memory(lambda: np.ones(MB, dtype=np.uint8), **way) for way in ways]
    for one, other in itertools.product(profiles, repeat=2):
        rows = one.compare(other).to_frame()
        if one is other is profiles[2]:
            assert list(rows.columns[:2]) == ["where", "source"]
        else:
            assert list(rows["what"]) == ["peak", "growth"]
            assert rows["bytes"][0] == one.peak
            assert rows["bytes_other"][0] == other.peak
    assert dict(profiles[0].to_frame().to_numpy().tolist()) == {"peak": profiles[0].peak, "growth": profiles[0].growth}


class Raises:
    """Every answer but its class is an error."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __len__(self):
        raise RuntimeError("no length")


class Shaped:
    shape = 5


def test_an_object_that_answers_nothing_does_not_keep_the_others_from_being_sized():
    torch = pytest.importorskip("torch")
    odd = Raises()
    names = {
        "raises": odd,
        "proxy": weakref.proxy(odd),
        "shaped": Shaped(),
        "sparse": torch.eye(3).to_sparse(),
        "within": [odd, bytes(10_000)],
    }
    found = profiling.sizes({**names, "plain": bytes(50_000)}).to_frame().set_index("name")
    assert set(found.index) == {*names, "plain"}
    assert found["bytes"]["plain"] == sys.getsizeof(bytes(50_000))
    assert found["bytes"]["within"] > 10_000


def test_no_form_is_offered_for_what_it_would_not_free():
    whole = np.arange(100_000.0)
    names = {"whole": whole, "view": whole[::2], "wide": np.broadcast_to(1.0, 100_000), "own": np.arange(50_000.0)}
    assert set(profiling.sizes(names).forms["name"]) == {"whole", "own"}
    assert "view" in set(profiling.sizes({"view": whole[::2].copy()}).forms["name"])


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, float("nan")]}, index=["x", "y"])


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        (FRAME * (1 + 1e-12), True),
        (FRAME * (1 + 1e-6), False),
        (FRAME.rename(columns={"a": "c"}), False),
        (FRAME.rename(index={"x": "z"}), False),
        (FRAME[["b", "a"]], False),
        (FRAME.assign(b=["s", "t"]), False),
        (FRAME.head(1), False),
    ],
)
def test_variants_agree_in_labels_as_in_numbers(other, agrees):
    assert same(FRAME, other) is agrees
    assert same(FRAME["a"], FRAME["a"].rename(index={"x": "z"})) is False
    assert same({"k": [FRAME]}, {"k": [other]}) is agrees
    assert same(np.ones(2), np.array(["s", "t"])) is False


def test_a_mark_of_a_variant_may_be_written_in_capitals():
    found = profiling.compare("# Variant: one\nresult = 1\n#VARIANT:two\nresult = 1\n", rounds=1)
    assert list(found.to_frame()["variant"]) == ["one", "two"]


SCRIPTS = {
    "pickles": (b"import pickle\nclass A:\n    pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)\n", 0, "A"),
    "a mark of UTF-8": (b"\xef\xbb\xbfprint('read')\n", 0, "read"),
    "an encoding": (b"# -*- coding: latin-1 -*-\nprint(len('\xe9\xe8'))\n", 0, "2"),
    "a slip": (b"def f(:\n", 1, "SyntaxError"),
    "no text": (b"\xff\xfe\x00", 1, "Error"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_read_and_runs_as_python_runs_it(name, tmp_path):
    content, code, said = SCRIPTS[name]
    script = tmp_path / "script.py"
    script.write_bytes(content)
    command = [sys.executable, "-m", "workbench", "profile", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in (done.stderr if code else done.stdout)
    assert "collect.py" not in done.stderr  # an error is the script's own


def test_only_the_script_itself_is_in_its_profile(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def f():\n    return len('abc')\nf()\n")
    found = profiling.time(Work.script(script, ["word"])).to_frame()
    assert set(found["function"]) == {"the code itself", "f", "builtins.len"}


def test_rows_to_show_are_a_whole_number():
    command = [sys.executable, "-m", "workbench", "profile", "--top", "-1", "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected" in done.stderr
