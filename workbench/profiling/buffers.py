"""All the bytes that an object leads to, buffers of numpy, pandas, arrow and torch included, each once.

An object is all that it leads to, but for modules, classes and functions. A buffer is known by its address, so two
views of it, or a frame and the array that it was made of, count it once. What only maps a file counts nothing.
"""

from __future__ import annotations

import gc
import mmap
import sys
import types
from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import pandas as pd

NOT_ENTERED = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.CodeType, types.FrameType)
_MANAGED = 1 << 4 if sys.version_info < (3, 13) else 0  # the flag of classes whose instances make their dict late


def sizeof(thing: object) -> int:
    """All bytes that `thing` leads to, each once.

    Parameters
    ----------
    thing : object

    Returns
    -------
    int
    """
    return sum(parts(thing).values())


def type_of(thing: object) -> str:
    kind = type(thing)
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package in ("builtins", "__main__") else f"{package}.{kind.__qualname__}"


def said(thing: object) -> str:
    """Its shape and dtype, or its length; empty where it has none, or does not tell."""
    with suppress(Exception):  # what an object answers is its own affair
        if isinstance(thing, (np.ndarray, pd.Series)) or (hasattr(thing, "dtype") and hasattr(thing, "shape")):
            return f"{thing.dtype} {tuple(thing.shape)}"
        if hasattr(thing, "shape"):
            return str(tuple(thing.shape))
        return f"{len(thing):,} items"
    return ""


def parts(thing: object) -> dict[object, int]:
    """The parts that `thing` leads to, by identity or by the address of a buffer, with the bytes of each."""
    found: dict[object, int] = {}
    todo, keep = [thing], []
    while todo:
        one = todo.pop()
        if id(one) in found or one is None or issubclass(type(one), NOT_ENTERED):
            continue
        keep.append(one)  # so that no identity is used twice
        own, inner = _own(one, found)
        found[id(one)] = own
        todo.extend(inner)
    return found


def _own(one: object, found: dict[object, int]) -> tuple[int, Iterable]:
    """The bytes of one part itself, and what else it leads to; buffers go into `found` by their address."""
    try:
        return _known(one, found)
    except Exception:  # a proxy, a sparse tensor, an attribute that raises: what the collector sees of it
        return object.__sizeof__(one), gc.get_referents(one)


def _known(one: object, found: dict[object, int]) -> tuple[int, Iterable]:
    if isinstance(one, (str, bytes, int, float, complex)):
        return sys.getsizeof(one), ()
    if isinstance(one, np.ndarray):
        return _array(one, found)
    if isinstance(one, mmap.mmap):
        return 0, ()
    if isinstance(one, memoryview):
        return sys.getsizeof(one), [one.obj]
    module = type(one).__module__
    if module.startswith("pyarrow"):
        return _arrow(one, found)
    if module.startswith("torch") and hasattr(one, "untyped_storage"):
        storage = one.untyped_storage()
        if one.device.type == "cpu":
            found["buffer", storage.data_ptr()] = storage.nbytes()
        return object.__sizeof__(one), [] if one.grad is None else [one.grad]
    if module == "pandas._libs.hashtable" and callable(getattr(one, "sizeof", None)):
        return int(one.sizeof(deep=False)), gc.get_referents(one)
    if isinstance(one, dict):  # the collector is not told of keys that are words
        return _getsizeof(one), [
            *dict.keys(one),
            *dict.values(one),
            *(gc.get_referents(one) if type(one) is not dict else ()),
        ]
    inner = gc.get_referents(one)
    return _getsizeof(one) + _attributes(one, inner), inner


def _getsizeof(one: object) -> int:
    """Of the object itself; pandas and others answer with all that they hold, which is entered here instead."""
    kind = type(one)
    own = kind.__sizeof__ if kind.__module__ in ("builtins", "collections", "array") else object.__sizeof__
    base = next((k for k in kind.__mro__ if k.__module__ == "builtins" and k is not object), None)
    if base is not None:
        own = base.__sizeof__
    # in front of it stand what the collector keeps, and the place of a dict that is made late
    return own(one) + (16 if kind.__flags__ & (1 << 14) else 0) + (16 if kind.__flags__ & _MANAGED else 0)


def _array(one: np.ndarray, found: dict[object, int]) -> tuple[int, Iterable]:
    head = sys.getsizeof(one) - (one.nbytes if one.flags.owndata else 0)
    inner = list(one.flat) if one.dtype == object else []
    base = one.base
    if isinstance(base, (np.ndarray, bytes, bytearray, mmap.mmap, memoryview)) or type(base).__module__ in ("array",):
        return head, [*inner, base]
    if base is not None and (type(base).__module__.startswith(("pyarrow", "torch"))):
        return head, [*inner, base]
    # its own, or of a library that keeps it to itself
    found["buffer", one.__array_interface__["data"][0]] = one.nbytes
    return head, inner


def _arrow(one: object, found: dict[object, int]) -> tuple[int, Iterable]:
    if hasattr(one, "chunks"):
        return object.__sizeof__(one), one.chunks
    if hasattr(one, "columns"):
        return object.__sizeof__(one), one.columns
    buffers = one.buffers() if hasattr(one, "buffers") else [one] if hasattr(one, "address") else []
    for buffer in filter(None, buffers):
        found["buffer", buffer.address] = buffer.size
    return object.__sizeof__(one), ()


def _attributes(one: object, inner: list) -> int:
    """Bytes of the attributes of an instance that has not made its dict yet, which Python does not tell of."""
    if not type(one).__flags__ & _MANAGED or (len(inner) == 2 and any(type(i) is dict for i in inner)):
        return 0
    count = max(len(inner) - 1, 0)  # all but its class
    return 8 * (count + 1) + 8 * -(-(count + 2) // 8)
