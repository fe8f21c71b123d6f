"""Numbers in words: one format for each unit, and where code stands, without naming anyone's folders."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable
from pathlib import Path

PACKAGE = str(Path(__file__).parent.parent)
_STDLIB = sysconfig.get_paths()["stdlib"]
_SITES = tuple(sorted({sysconfig.get_paths()[k] for k in ("purelib", "platlib")}, key=len, reverse=True))

OWN, HOUSE, LIBRARY, BUILTIN = "your code", "workbench", "libraries", "built-in"
KINDS = (OWN, HOUSE, LIBRARY, BUILTIN)

TYPED = "<code>"
"""The file name of code that was given as text."""
cell_label: Callable[[str], str | None] = lambda filename: None  # noqa: E731 - set by the magics
"""From the file name of a cell's code to what it is called, such as "In [5]"; None where it is no cell."""


def seconds(value: float) -> str:
    size = abs(value)
    for least, scale, unit in ((100, 1, "s"), (1, 1, "s"), (1e-3, 1e3, "ms"), (1e-6, 1e6, "µs")):
        if size >= least:
            return f"{value * scale:,.0f} {unit}" if least == 100 else f"{value * scale:.3g} {unit}"
    return "0 s" if size == 0 else f"{value * 1e9:.3g} ns"


def size(value: float) -> str:
    """Bytes in powers of a thousand: 80 MB is 80,000,000 bytes."""
    for least, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= least:
            number = value / least
            return f"{number:,.0f} {unit}" if abs(number) >= 1000 else f"{number:.3g} {unit}"
    return f"{value:,.0f} B"


def rate(value: float, unit: str) -> str:
    for least, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= least:
            return f"{value / least:.3g} {prefix}{unit}/s"
    return f"{value:.3g} {unit}/s"


UNITS: dict[str, Callable[[float], str]] = {
    "s": seconds,
    "B": size,
    "%": lambda v: f"{100 * v:.1f} %",  # of a whole: filled to its length in a table
    "pct": lambda v: f"{100 * v:.1f} %",
    "n": lambda v: f"{v:,.0f}",
    "x": lambda v: f"{v:,.2f}x",
    "rows/s": lambda v: rate(v, "rows"),
    "B/s": lambda v: rate(v, "B"),
}
TEXT, CODE = "text", "code"


def say(value: object, unit: str) -> str:
    """`value` in its unit, empty where it is missing."""
    if value is None or value != value:
        return ""
    return UNITS[unit](value) if unit in UNITS else str(value)


def kind_of(filename: str) -> str:
    """Whose code it is: one of KINDS."""
    if filename == "~" or filename.startswith("<frozen"):
        return BUILTIN
    if filename == TYPED or cell_label(filename) is not None:
        return OWN
    if filename.startswith(PACKAGE + os.sep):
        return HOUSE
    if filename.startswith((_STDLIB, *_SITES, "<")) or "site-packages" in filename:
        return LIBRARY
    return OWN


def where(filename: str, line: int | None = None) -> str:
    """The place in words: "In [3]:2", "workbench/features.py:480", "pandas/core/frame.py:12", "script.py:7"."""
    if filename == "~":
        return BUILTIN
    name = cell_label(filename)
    if name is None:
        name = filename
        # the nearest first: a venv may lie within the folder of the project
        for top in sorted((str(Path(PACKAGE).parent), *_SITES, _STDLIB, os.getcwd()), key=len, reverse=True):
            if name.startswith(top + os.sep):
                name = name[len(top) + 1 :]
                break
        else:
            name = os.path.basename(name)
    return f"{name}:{line}" if line else name
