"""The lock of Python: how much of the time it is taken, and that who looks at it holds nobody up."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from profiled import row

import workbench as wb
from workbench import profiling
from workbench.kernels import Kernel
from workbench.profiling import gil
from workbench.profiling.gil import Witness

tells = pytest.mark.skipif(not Witness.known, reason="this Python does not tell whether its lock is taken")


@tells
def test_a_lock_that_is_taken_is_told_from_one_that_is_free():
    def share(work) -> Witness:
        begun = time.perf_counter()
        with Witness() as witness:
            work()
        assert (np.diff(witness.moments) > 0).all()
        assert len(witness.moments) == len(witness.taken) > 25
        assert begun < witness.moments[0]
        assert witness.moments[-1] < time.perf_counter()
        assert witness.share == witness.taken.mean()
        return witness

    def burn():
        until = time.perf_counter() + 0.3
        while time.perf_counter() < until:
            sum(range(1000))

    def in_turns():
        until = time.perf_counter() + 0.3
        while time.perf_counter() < until:
            begun = time.perf_counter()
            while time.perf_counter() < begun + 0.0002:
                pass
            time.sleep(0.0002)

    assert share(lambda: time.sleep(0.3)).share < 0.05
    assert share(burn).share > 0.95
    assert 0.02 < share(in_turns).share < 0.9  # of a fifth of a millisecond: low where no CPU is idle


@tells
def test_looks_are_not_in_step_with_work_that_has_their_period():
    with Witness(0.002) as witness:
        time.sleep(0.4)
    phase = witness.moments / 0.002 % 1
    assert (np.histogram(phase, 4, (0, 1))[0] > 0.05 * len(phase)).all()


@tells
@pytest.mark.skipif(sys.platform != "linux", reason="how often a thread gave up its CPU is read from /proc")
def test_who_computes_is_not_held_up_by_looks_at_the_lock():
    """They never ask for it, so this thread is asked for it by nobody, and gives it up to nobody."""
    seen = []

    def burn():
        until = time.perf_counter() + 0.3
        while time.perf_counter() < until:
            sum(range(1000))
            seen.append(time.perf_counter())

    before = len(threading.enumerate())
    with Witness() as witness:
        assert len(threading.enumerate()) == before + 1
        spent = _switches()
        burn()
        assert _switches() - spent < 5  # one that asks fifty times a second costs 15
    assert witness.taken.mean() > 0.95
    assert len(threading.enumerate()) == before


def _switches() -> int:
    """How often this thread gave up its CPU by itself, as it does where it hands over the lock."""
    told = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
    return int(told.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@tells
def test_looks_that_are_written_over_leave_the_last_ones(monkeypatch):
    monkeypatch.setattr(gil, "_KEPT", 64)
    with Witness(0.0005) as witness:
        time.sleep(0.1)
        begun = time.perf_counter()
        sum(range(15_000_000))
    assert len(witness.moments) == 64
    assert (np.diff(witness.moments) > 0).all()
    assert (witness.moments > begun).all()
    assert witness.taken.all()
    assert 0.1 < witness.share < 0.95


@tells
def test_one_call_that_holds_the_lock_weighs_by_its_length():
    def hold():
        sum(range(15_000_000))  # one instruction: nobody else is let in meanwhile

    with Witness() as alone:
        begun = time.perf_counter()
        hold()
        took = time.perf_counter() - begun
    assert alone.share > 0.9
    with Witness() as half:
        hold()
        time.sleep(took)
    assert 0.3 < half.share < 0.7

    def holds_it_once(x, state, out):
        hold()

    x = np.ones((1, 1))
    profile = profiling.kernels(Kernel(holds_it_once, state=lambda: 0).call, [x], (), x, [x])
    assert row(profile.to_frame(), kernel="holds_it_once")["gil_free"] < 0.05


def test_a_python_that_does_not_tell_of_its_lock_is_named(monkeypatch):
    monkeypatch.setattr(Witness, "known", False)
    before = len(threading.enumerate())
    with Witness() as witness:
        assert len(threading.enumerate()) == before
    assert np.isnan(witness.share)
    profile = profiling.kernels(lambda: wb.indicators.sma(np.ones((2000, 50)), window=5))
    assert np.isnan(row(profile.to_frame(), kernel="rolling_mean")["gil_free"])
    assert "This Python does not tell whether its GIL is taken." in profile.notes
