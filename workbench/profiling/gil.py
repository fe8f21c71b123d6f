"""How much of the time Python's global lock (GIL) is taken: a thread of C looks at it, again and again.

It does not ask for the lock, so it holds nobody up. Looked at are moments by chance, whoever holds the lock then: the
share of them at which it was taken is the share of time that it was. Where no CPU is idle a look waits for one, and
comes when a thread rests: holds of less than a millisecond read low then, by a third beside two busy threads.
"""

from __future__ import annotations

import threading

import numpy as np

from .._ext import gil

INTERVAL = 0.002  # seconds: a look takes some 16 microseconds of a CPU, most of them to wake up
_KEPT = 1 << 20  # looks


class Witness:
    """A context with a thread that looks at the lock, by the mean each `interval` seconds.

    Attributes
    ----------
    known : bool
        Whether this interpreter tells of its lock: CPython 3.11 to 3.13 do. Else nothing is looked at.
    moments : ndarray of float64
        When it was looked at, by `time.perf_counter`: the last million of them, once the block is over.
    taken : ndarray of bool
        Whether it was taken then.
    share : float
        The share of all moments at which it was taken; NaN without one.
    """

    known: bool = gil.KNOWN

    def __init__(self, interval: float = INTERVAL):
        self.interval = interval

    def __enter__(self) -> Witness:
        self._looks = gil.Looks(_KEPT)
        self._thread = threading.Thread(
            target=self._looks.watch, args=[self.interval], name="workbench-gil", daemon=True
        )
        if self.known:
            self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        looks = self._looks
        looks.stop()
        if self.known:
            self._thread.join()
        signed = np.roll(np.frombuffer(looks.kept()), -looks.count if looks.count > _KEPT else 0)
        self.moments, self.taken = np.abs(signed), signed < 0
        self.share = looks.taken / looks.count if looks.count else float("nan")
