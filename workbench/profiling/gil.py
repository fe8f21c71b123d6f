"""How much of the time Python's global lock (GIL) is taken: a thread asks for it again and again.

Looked at are moments at equal distances, whoever holds the lock then: the share of them at which it was taken is the
share of time that it was. A thread that has to wait for the lock knows that it was taken at each moment that it waited
through, so one long call that holds it weighs by its length. What the thread waited for a CPU is taken off, by what
Linux keeps of each thread in /proc/self/task/ID/schedstat; elsewhere a crowded machine looks like a taken lock.
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
    """One moment: when it was, when the lock was there after it, and whether it was taken at it."""

    asked: float
    got: float
    taken: bool


class Witness:
    """A context with a thread that looks at the lock, `interval` seconds apart.

    Attributes
    ----------
    looks : list of Look
        By time, until the end of the block.
    exact : bool
        Whether waiting for a CPU could be told from waiting for the lock.
    """

    def __init__(self, interval: float = INTERVAL):
        self.interval, self.looks, self.exact = interval, [], False

    def __enter__(self) -> Witness:
        self._stop = False
        begun = time.perf_counter()
        self._thread = threading.Thread(target=self._watch, args=[begun], name="workbench-gil", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        ended, self._stop = time.perf_counter(), True
        self._thread.join()  # a look that waits for the lock until now is still told
        while self.looks and self.looks[-1].asked >= ended:
            self.looks.pop()

    def _watch(self, got: float) -> None:
        clock, sleep, looks, interval = time.perf_counter, time.sleep, self.looks, self.interval
        due, waited, file = got + interval, 0, None
        with suppress(OSError):
            file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self.exact = file is not None
        while not self._stop:
            sleep(max(due - clock(), 0.0))
            got, queued = clock(), 0.0
            if file is not None:
                now = int(os.pread(file, 80, 0).split()[1])
                queued, waited = (now - waited) * 1e-9, now
            late = max(got - due - queued, 0.0)
            taken = late > _LATE
            moments = 1 + int(late / interval)  # a wait stands for each that it lasted through
            looks += [Look(got - late + i * interval, got, taken) for i in range(moments)]
            due += interval * (int((got - due) / interval) + 1)
        if file is not None:
            os.close(file)

    @property
    def share(self) -> float:
        """The share of moments at which the lock was taken; NaN without one."""
        return sum(look.taken for look in self.looks) / len(self.looks) if self.looks else float("nan")
