"""Profiles of any callable, or of the text of some code; the magics of `workbench.magics` show the same.

>>> from workbench import profiling
>>> profiling.time(f, x)               # by function, with a flame graph
>>> profiling.memory(f, x).peak        # bytes
"""

from .buffers import sizeof
from .collection import GcProfile, collection
from .compare import VariantProfile, compare
from .kernels import KernelProfile, kernels
from .leaks import LeakProfile, leaks
from .lines import LineProfile, lines
from .memory import MemoryProfile, memory
from .result import Comparison, Result
from .sizes import SizeProfile, sizes
from .spans import span
from .study import StudyProfile, study
from .timing import TimeProfile, time

__all__ = [
    "Comparison",
    "GcProfile",
    "KernelProfile",
    "LeakProfile",
    "LineProfile",
    "MemoryProfile",
    "Result",
    "SizeProfile",
    "StudyProfile",
    "TimeProfile",
    "VariantProfile",
    "collection",
    "compare",
    "kernels",
    "leaks",
    "lines",
    "memory",
    "sizeof",
    "sizes",
    "span",
    "study",
    "time",
]
