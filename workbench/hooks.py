"""Where work tells what it does, for whoever watches; it stands left of all that works and knows nothing of it.

A hook is None until someone watches, and that look is all that it costs: `workbench.profiling` sets them for as long
as it records, and puts back what was there.
"""

from __future__ import annotations

from collections.abc import Callable

kernel: Callable[[tuple], object] | None = None
"""Called after a kernel with (function, begun, ended, thread, rows, bytes, planes), times by `perf_counter`."""

task: Callable[[str, str, tuple], object] | None = None
"""Called after a task with its kind, its name and (begun, ended, seconds on a CPU, process, thread)."""
