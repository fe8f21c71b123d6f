"""Cheaper forms of an object: each is built, compared with what it stands for, and measured; the others are not told.

Known forms: a smaller dtype, a categorical, whole numbers or truth values for what is stored wider, an array for a
list of numbers, a tuple for a list, and ``__slots__`` for the instances of a class.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .buffers import said, sizeof, type_of

_LEAST, _SHARE = 1024, 0.1  # bytes, and share of the object, below which a form isn't worth a word
_SAMPLE = 1000  # instances that are built to measure one
_INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


def forms(namespace: Mapping[str, object]) -> pd.DataFrame:
    """The cheaper forms of the objects of a namespace.

    Parameters
    ----------
    namespace : mapping of str to object

    Returns
    -------
    DataFrame
        One row a form: name, what it is, the form, and bytes now, then and saved. Each was built and holds the same
        values, missing ones included; what code expects of the old one (a list that can grow) is not checked.
    """
    rows = []
    for name, thing in namespace.items():
        for part, one, form, now, then in _forms_of(name, thing):
            if now - then >= max(_LEAST, _SHARE * now):
                rows.append((part, type_of(one), said(one), form, now, then, now - then, (now - then) / now))
    names = ["name", "type", "what", "form", "bytes", "then", "saved", "saved_share"]
    return pd.DataFrame(rows, columns=names).sort_values("saved", ascending=False, kind="stable", ignore_index=True)


def _forms_of(name: str, thing: object) -> Iterator[tuple[str, object, str, int, int]]:
    """(name, object, form, bytes now, bytes then) for each form that holds the same values."""
    if isinstance(thing, pd.DataFrame):
        for column in thing.columns:
            if isinstance(thing[column], pd.Series):
                yield from _forms_of(f"{name}[{column!r}]", thing[column])
    elif isinstance(thing, pd.Series):
        if len(thing):
            yield from _built(name, thing, _of_series(thing), lambda s: int(s.memory_usage(index=False, deep=True)))
    elif isinstance(thing, np.ndarray):
        if thing.size and thing.dtype.kind in "fiuO":
            yield from _built(name, thing, _of_array(thing), lambda a: a.nbytes if a.dtype != object else sizeof(a))
    elif isinstance(thing, list) and thing:
        yield from _built(name, thing, _of_list(thing), sizeof)
        yield from _slots(name, thing)
    elif isinstance(thing, dict) and thing:
        yield from _slots(name, list(thing.values()), thing)


def _built(name: str, thing: Any, found: Iterator[tuple[str, Any]], measure: Callable[[Any], int]):
    now = measure(thing)
    for form, built in found:
        yield name, thing, form, now, measure(built)


def _of_array(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Smaller dtypes that give every value back."""
    if values.dtype == object:
        kinds = {type(v) for v in values.flat}
        if kinds <= {int, float, bool} and len(kinds) == 1:
            try:
                built = np.array(values.tolist())
            except OverflowError:
                return
            if built.dtype != object and built.tolist() == values.tolist():
                yield f"{built.dtype}", built
        return
    whole = [np.dtype(d) for d in ("bool", *_INTS) if np.dtype(d).itemsize < values.itemsize]
    for dtypes in ([np.dtype("float32")] if values.dtype == np.float64 else [], whole):
        for dtype in dtypes:
            built = _same(values, dtype)
            if built is not None:
                yield f"{dtype}", built
                break


def _same(values: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """`values` as `dtype`, if not a bit of them is lost: the sign of zero and missing values stay."""
    with np.errstate(all="ignore"):
        built = values.astype(dtype)
        back = built.astype(values.dtype)
    if not np.array_equal(back, values, equal_nan=values.dtype.kind == "f"):
        return None
    if values.dtype.kind == "f" and not np.array_equal(np.signbit(back), np.signbit(values)):
        return None
    return built


def _of_series(series: pd.Series) -> Iterator[tuple[str, pd.Series]]:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiu":
        for form, built in _of_array(series.to_numpy()):
            yield form, pd.Series(built, index=series.index, copy=False)
        return
    if isinstance(series.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(series.dtype):
        return
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
        try:
            few = series.nunique() <= len(series) // 2
        except TypeError:  # what can't be hashed has no categories
            return
        if few:
            built = series.astype("category")
            if built.astype(series.dtype).equals(series):
                yield "category", built


def _of_list(items: list) -> Iterator[tuple[str, Any]]:
    kinds = set(map(type, items))
    if kinds in ({int}, {float}, {bool}):
        try:
            built = np.array(items)
        except OverflowError:
            built = np.array([], dtype=object)
        if built.dtype != object and built.tolist() == items:
            yield f"numpy {built.dtype} array", built
            for form, smaller in _of_array(built):
                yield f"numpy {form} array", smaller
    yield "tuple", tuple(items)


# ------------------------------------------------------------------------------------------------- classes with slots


def _slots(name: str, items: list, thing: object = None) -> Iterator[tuple[str, object, str, int, int]]:
    """The class of the instances with ``__slots__``: some are built of each, and measured as they are allocated."""
    kind = type(items[0])
    if kind.__module__ == "builtins" or not kind.__dictoffset__ or any(type(i) is not kind for i in items):
        return
    if kind.__mro__[1:] != (object,):  # bases may need their dict
        return
    names = list(vars(items[0]))
    sample = items[:_SAMPLE]
    if not names or not all(n.isidentifier() for n in names) or not all(_has_just(i, names) for i in items):
        return
    try:
        slotted = type(kind.__name__, (), {"__slots__": tuple(names)})
        then, copies = _allocated(slotted, names, sample)
    except Exception:  # a class that can't be made so
        return
    now, _ = _allocated(kind, names, sample)
    if all(getattr(a, n) is getattr(b, n) for a, b in zip(sample, copies, strict=True) for n in names):
        count = len(items) / len(sample)
        whole = items if thing is None else thing
        yield name, whole, f"__slots__ in {kind.__name__}", round(now * count), round(then * count)


def _has_just(one: object, names: list[str]) -> bool:
    """Whether an instance has these attributes and no other; without `vars`, which would make it a dict for good."""
    inner = gc.get_referents(one)
    if len(inner) == 2 and type(inner[0]) is dict:
        return list(inner[0]) == names
    return len(inner) == len(names) + 1 and all(hasattr(one, name) for name in names)


def _allocated(kind: type, names: list[str], sample: list) -> tuple[int, list]:
    """Bytes that instances of `kind` take, without the values that they share with the sample."""
    built: list = [None] * len(sample)
    kind.__new__(kind)
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for i, one in enumerate(sample):
            made = built[i] = object.__new__(kind)
            for name in names:
                object.__setattr__(made, name, getattr(one, name))
        return tracemalloc.get_traced_memory()[0] - before, built
    finally:
        if not tracing:
            tracemalloc.stop()
