"""Peak and growth are within two per cent of what is known to be taken, whatever the allocators had free before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from allocated import CASES

from workbench import profiling
from workbench.profiling import allocators

HERE = Path(__file__).parent
glibc = pytest.mark.skipif(allocators._libc() is None, reason="others do not tell what they have free")
STANDING = [case for case in CASES if case.endswith("a pool")]
TABLE = [
    *((case, "worn") for case in CASES if case not in STANDING),
    *((case, "same") for case in CASES if "threads" in case or case in ("floats", "a large array")),
]


def run(*command: str):
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@glibc
@pytest.mark.parametrize(("case", "before"), TABLE)
def test_small_blocks_are_seen_wherever_they_find_place(case, before):
    found = run("allocated.py", case, before, str(40_000_000))
    assert len(found) == 2  # the second time the first one's places are free
    for one in found:
        assert one["growth"] == pytest.approx(one["true growth"], rel=0.02)
        assert one["peak"] == pytest.approx(one["true peak"], rel=0.02)
        assert not one["notes"]


@glibc
@pytest.mark.parametrize("case", STANDING)
def test_places_of_threads_that_live_on_are_not_filled_and_that_is_said(case):
    first, again = run("allocated.py", case, "nothing", str(40_000_000))
    assert first["peak"] == pytest.approx(first["true peak"], rel=0.02)
    assert not first["notes"]
    assert "Threads that live on keep up to" in " ".join(again["notes"])


REPEATED = """
import json, sys
from workbench import profiling
from workbench.profiling.allocators import Heap, _libc
_counted = sys.modules["workbench.profiling.memory"]._counted
seen = []
for _ in range(40):
    profiling.memory(int)
    seen.append((_counted(0), len(Heap.all(_libc()))))
print(json.dumps(seen))
"""


@glibc
def test_measuring_over_and_over_leaves_little_behind():
    sizes, heaps = zip(*run("-c", REPEATED), strict=True)
    assert max(heaps[1:]) == heaps[0]
    assert max(sizes) - sizes[0] < 15e6
    assert max(sizes[20:]) - max(sizes[:20]) < 4e6


def test_allocators_that_tell_nothing_are_left_as_they_are_and_that_is_said(monkeypatch):
    monkeypatch.setattr(allocators, "_libc", lambda: None)
    profile = profiling.memory(lambda: b"x" * 40_000_000)
    assert profile.peak == pytest.approx(40e6, rel=0.02)
    assert "don't tell what they have free" in " ".join(profile.notes)


@glibc
def test_what_fills_is_let_go_and_counted():
    held = [bytearray(3000) for _ in range(2000)]
    del held[::2]
    filling = allocators.Filling()
    assert sum(sum(sizes) for _, sizes in filling.taken) > 1000 * 3000
    assert filling.resident() > 1000 * 3000
    filling.release()
    assert not filling.taken
    assert not filling.objects
