"""True sizes: against what the interpreter allocated; forms that lose nothing."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiled import row

import workbench as wb
from workbench import profiling
from workbench.errors import UnknownNameError
from workbench.profiling import buffers
from workbench.profiling.forms import _of_array, forms

# ----------------------------------------------------------------------------------------------------------- sizes


class Plain:
    def __init__(self, i):
        self.a, self.b, self.c = float(i), float(i), str(i)


class Slotted:
    __slots__ = ("a", "b", "c")

    def __init__(self, i):
        self.a, self.b, self.c = float(i), float(i), str(i)


def opened() -> list:
    made = [Plain(i) for i in range(3000)]
    for one in made:
        assert one.__dict__
    return made


MADE = {
    "instances": lambda: [Plain(i) for i in range(3000)],
    "instances with their dict": opened,
    "slotted instances": lambda: [Slotted(i) for i in range(3000)],
    "array": lambda: np.ones(50_000),
    "array of objects": lambda: np.array([str(i) for i in range(5000)], dtype=object),
    "views": lambda: (lambda a: [a, a[::2], a.reshape(100, -1)])(np.ones(50_000)),
    "frame": lambda: pd.DataFrame({"a": np.arange(50_000) * 1.0, "b": np.arange(50_000)}),
    "panel": lambda: wb.load("synthetic", symbols=20, years=2, seed=1),
    "dict": lambda: {str(i): float(i) for i in range(10_000)},
    "bytes": lambda: [bytearray(1000) for _ in range(100)],
}


@pytest.mark.parametrize("name", MADE)
def test_sizes_are_what_was_allocated(name):
    MADE[name]()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = MADE[name]()
        gc.collect()
        truth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert buffers.sizeof(made) == pytest.approx(truth, rel=0.06)


def test_a_shared_buffer_counts_once_whoever_holds_it():
    torch = pytest.importorskip("torch")
    array = np.ones(100_000)
    tensor = torch.from_numpy(array)
    names = {"array": array, "view": array[5:10], "tensor": tensor, "frame": pd.DataFrame({"a": array}, copy=False)}
    profile = profiling.sizes(names, suggest=False)
    assert profile.facts["in all, each part once"][0] == pytest.approx(array.nbytes, rel=0.05)
    rows = profile.to_frame().set_index("name")
    assert (rows["bytes"] >= array.nbytes).all()
    assert (rows["alone"] < 10_000).all()
    assert rows["type"].to_dict()["tensor"] == "torch.Tensor"


def test_an_unknown_name_is_told():
    with pytest.raises(UnknownNameError, match="prcies") as error:
        profiling.sizes({"prices": 1}, ["prcies"])
    assert "did you mean 'prices'" in error.value.hint


arrays = st.one_of(
    st.lists(st.integers(-(2**40), 2**40)).map(lambda v: np.array(v, dtype="int64")),
    st.lists(st.integers(0, 300)).map(lambda v: np.array(v, dtype="int64")),
    st.lists(st.floats()).map(lambda v: np.array(v, dtype="float64")),
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, np.nan, np.inf, 0.1])).map(lambda v: np.array(v, dtype="float64")),
    st.lists(st.floats(width=32)).map(lambda v: np.array(v, dtype="float64")),
)


@given(values=arrays)
def test_a_smaller_form_loses_nothing(values):
    for form, built in _of_array(values):
        assert built.nbytes < values.nbytes or not values.size
        back = built.astype(values.dtype)
        assert form == str(built.dtype)
        np.testing.assert_array_equal(back, values)
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(back), np.signbit(values))


def test_forms_are_built_and_measured():
    many = 2000
    names = {
        "lots": np.arange(many) % 100,
        "exact": np.arange(many) / 4,
        "third": np.arange(1, many) / 3,
        "holes": np.where(np.arange(many) % 7 == 0, np.nan, 1.5),
        "symbols": pd.Series(["AAPL", "MSFT"] * many),
        "unique": pd.Series([f"s{i}" for i in range(many)]),
        "ticks": [0.1 * i for i in range(many)],
        "mixed": [1, 2.0, "x"] * many,
        "plain": [Plain(i) for i in range(many)],
        "slotted": [Slotted(i) for i in range(many)],
    }
    found = forms(names)
    offered = found.groupby("name")["form"].agg(set).to_dict()
    assert offered["lots"] == {"int8"}
    assert offered["exact"] == {"float32"}
    assert offered["holes"] == {"float32"}
    assert offered["symbols"] == {"category"}
    assert offered["plain"] == {"__slots__ in Plain"}
    assert offered["ticks"] == {"numpy float64 array"}
    assert not {"third", "unique", "slotted", "mixed"} & set(offered)
    slots = row(found, name="plain")
    # 16 of the collector, 16 of an object, 3 of 8: what a class with __slots__ takes
    assert slots["then"] == pytest.approx(many * 56, rel=0.02)
    truth = buffers.sizeof(names["plain"]) - buffers.sizeof(names["slotted"])
    assert slots["saved"] == pytest.approx(truth, rel=0.05)
    assert row(found, name="lots")["then"] == many
    assert (found["saved"] == found["bytes"] - found["then"]).all()
