"""Where work tells what it does, for whoever watches, and asks whether it should go on; it knows nothing of the work.

A hook is None until someone watches, and that look is all that it costs: `workbench.profiling` sets them for as long
as it records, and puts back what was there. Whether to go on is asked of the `checkpoint` blocks around, by `poll`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

kernel: Callable[..., object] | None = None
"""Called in a kernel's place with (function, arguments): it calls the function with these, a tuple."""

task: Callable[[str, str, tuple], object] | None = None
"""Called after a task with its kind, its name and (begun, ended, seconds on a CPU, process, thread)."""

_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def checkpoint(check: Callable[[], None] | None) -> Iterator[None]:
    """Within this block all long work calls `check` often: kernels, trees, networks, runs; it stops them by raising.

    Within another such block both are called; None adds nothing.
    """
    outer = _check.get()

    def both() -> None:
        outer()
        check()

    token = _check.set(outer if check is None else check if outer is None else both)
    try:
        yield
    finally:
        _check.reset(token)


def check() -> Callable[[], None] | None:
    """What `poll` would call here, for work that is done on another thread."""
    return _check.get()


def poll() -> None:
    """Call the checks of the `checkpoint` blocks around, if there are any: to be called by whatever takes long."""
    if (asked := _check.get()) is not None:
        asked()
