"""How much of the time Python's global lock (GIL) is taken: a thread asks for it again and again.

Asked is at times that do not depend on who holds it, so the share of times that it had to wait is the share of time
that the lock was taken. What the thread waited for a CPU is taken off, by what Linux keeps of each thread in
/proc/self/task/ID/schedstat; elsewhere a crowded machine looks like a taken lock.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import NamedTuple

INTERVAL = 0.002
_LATE = 0.0004  # seconds of waiting from which on the lock was taken: a sleep alone ends 0.1 ms late at most


class Look(NamedTuple):
    """One look: when the lock was asked for, when it was there, and whether it was taken."""

    asked: float
    got: float
    taken: bool


class Witness:
    """A context with a thread that looks at the lock.

    Attributes
    ----------
    looks : list of Look
    exact : bool
        Whether waiting for a CPU could be told from waiting for the lock.
    """

    def __init__(self, interval: float = INTERVAL):
        self.interval, self.looks, self.exact = interval, [], False

    def __enter__(self) -> Witness:
        self._stop = False
        self._thread = threading.Thread(target=self._watch, name="workbench-gil", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._stop = True
        self._thread.join()

    def _watch(self) -> None:
        clock, sleep, looks, interval = time.perf_counter, time.sleep, self.looks, self.interval
        file = None
        with suppress(OSError):
            file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self.exact = file is not None
        waited = 0
        if file is not None:
            waited = int(os.pread(file, 80, 0).split()[1])
        while not self._stop:
            due = clock() + interval
            sleep(interval)
            got, queued = clock(), 0.0
            if file is not None:
                now = int(os.pread(file, 80, 0).split()[1])
                queued, waited = (now - waited) * 1e-9, now
            late = got - due - queued
            looks.append(Look(got - max(late, 0.0), got, late > _LATE))
        if file is not None:
            os.close(file)

    @property
    def share(self) -> float:
        """The share of looks that found the lock taken; NaN without a look."""
        return sum(look.taken for look in self.looks) / len(self.looks) if self.looks else float("nan")
