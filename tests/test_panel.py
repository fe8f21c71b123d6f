"""Laws of the Panel."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from frames import DAYS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.errors import DataError, UnknownNameError
from workbench.panel import Panel

FIRST = pd.Timestamp("1990-01-01", tz="UTC")


@st.composite
def panels(draw, min_rows=1, dtypes=(np.float64, np.float32)):
    """Any panel: both dtypes, holes, infinities left out (no frame may bring one), irregular times."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(min_rows, 8), st.integers(1, 4)))
    width = np.dtype(dtype).itemsize * 8
    floats = st.floats(width=width, allow_infinity=False)
    values = draw(arrays(dtype, shape, elements=floats))
    gaps = draw(st.lists(st.integers(1, 10**15), min_size=shape[1], max_size=shape[1]))
    time = pd.DatetimeIndex(FIRST.value + np.cumsum(np.array(gaps, dtype=np.int64)), tz="UTC")
    return Panel(values, time, [f"S{n}" for n in range(shape[2])], [f"f{n}" for n in range(shape[0])])


def small(dtype=np.float64) -> Panel:
    """Two fields, five days, three symbols, all values different."""
    values = np.arange(1.0, 31.0, dtype=dtype).reshape(2, 5, 3)
    return Panel(values, DAYS, ["AAA", "BBB", "CCC"], ["open", "close"])


# ---------------------------------------------------------------------- laws


@given(panels())
def test_a_frame_and_back(panel):
    back = Panel.from_frame(panel.to_frame())
    assert back == panel
    assert back.fingerprint == panel.fingerprint
    assert Panel.from_frame(panel.to_frame().reset_index()) == panel
    assert Panel.from_frame(panel.to_frame().swaplevel()) == panel


@given(panels())
def test_each_field_as_a_wide_frame_and_back(panel):
    for field in panel.fields:
        assert Panel.from_frame(panel[field], field=field) == panel.select(fields=field)
        np.testing.assert_array_equal(panel[field].to_numpy(), panel.plane(field))


@given(panels())
def test_both_orders_of_two_levels_of_columns(panel):
    wide = pd.concat({field: panel[field] for field in panel.fields}, axis=1, names=["field"])
    assert Panel.from_frame(wide) == panel
    assert Panel.from_frame(wide.swaplevel(axis=1)) == panel


@given(panels(min_rows=0), st.sampled_from(["all", "any", None]))
def test_stack_and_back(panel, valid):
    samples = panel.stack(valid=valid)
    finite = np.isfinite(panel.values)
    keep = {"all": finite.all(axis=0), "any": finite.any(axis=0), None: np.full(panel.shape[1:], True)}[valid]
    np.testing.assert_array_equal(np.nonzero(keep), (samples.row, samples.column))  # time-major
    assert samples.values.shape == (keep.sum(), len(panel.fields))
    assert samples.values.flags.c_contiguous
    back = panel.unstack(samples.values, samples.row, samples.column, panel.fields)
    assert back == panel.like(np.where(keep, panel.values, np.nan).astype(panel.dtype), panel.fields)


@given(panels(min_rows=0), st.integers(-10, 10), st.integers(-10, 10))
def test_rows_are_counted_as_python_counts(panel, start, stop):
    part = panel.rows(start, stop)
    np.testing.assert_array_equal(part.values, panel.values[:, start:stop])
    assert part.time.equals(panel.time[start:stop])
    assert part.values.flags.c_contiguous


@given(panels(), st.data())
def test_slices_in_time_meet_without_gap_or_overlap(panel, data):
    at = data.draw(st.integers(0, len(panel.time) - 1))
    cut = panel.time[at]
    before, after = panel[: cut - pd.Timedelta(1, "ns")], panel[cut:]
    assert before == panel.rows(0, at)
    assert after == panel.rows(at)
    np.testing.assert_array_equal(np.concatenate([before.values, after.values], axis=1), panel.values)


@given(panels(min_rows=0))
def test_fields_that_were_parted_join_again(panel):
    parts = [panel.select(fields=field) for field in panel.fields]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.join(part)
    assert whole == panel


@given(panels(min_rows=0), st.integers(1, 6))
def test_shards_side_by_side_are_the_panel(panel, k):
    shards = panel.shards(k)
    assert len(shards) == min(k, len(panel.symbols))
    assert sum((s.symbols for s in shards), ()) == panel.symbols
    np.testing.assert_array_equal(np.concatenate([s.values for s in shards], axis=2), panel.values)
    widths = [len(s.symbols) for s in shards]
    assert max(widths) - min(widths) <= 1


@given(panels(min_rows=0))
def test_the_fingerprint_knows_content_not_history(panel):
    twin = Panel(panel.values.copy(), panel.time.tz_convert("Asia/Tokyo"), list(panel.symbols), list(panel.fields))
    assert twin == panel
    assert hash(twin) == hash(panel)
    view = panel.like(np.repeat(panel.values, 2, axis=2)[:, :, ::2], panel.fields)
    assert view.fingerprint == panel.fingerprint
    assert pickle.loads(pickle.dumps(panel)).fingerprint == panel.fingerprint


@given(panels(), st.data())
def test_the_fingerprint_knows_every_part(panel, data):
    at = tuple(data.draw(st.integers(0, size - 1)) for size in panel.shape)
    values = panel.values.copy()
    values[at] = 1.5 if values[at] != 1.5 else 2.5
    others = [
        panel.like(values, panel.fields),
        panel.rename({panel.fields[0]: "g"}),
        Panel(panel.values, panel.time, ["T", *panel.symbols[1:]], panel.fields),
        Panel(panel.values, panel.time + pd.Timedelta(1, "ns"), panel.symbols, panel.fields),
        panel.rows(0, -1),
    ]
    for other in others:
        assert other != panel
        assert other.fingerprint != panel.fingerprint
    assert len({p.fingerprint for p in [panel, *others]}) == 6


@given(panels(min_rows=0))
def test_pickles_and_copies(panel):
    for twin in (pickle.loads(pickle.dumps(panel)), copy.copy(panel), copy.deepcopy(panel)):
        assert twin == panel
        assert not twin.values.flags.writeable


def test_the_fingerprint_sees_through_nan_payloads_and_negative_zero():
    odd = np.array([np.nan, -0.0]).reshape(1, 2, 1)
    odd.view(np.uint64)[0, 0, 0] |= 0xDEAD
    plain = np.array([np.nan, 0.0]).reshape(1, 2, 1)
    assert odd.tobytes() != plain.tobytes()
    one, other = (Panel(v, DAYS[:2], ["A"], ["f"]) for v in (odd, plain))
    assert one == other
    assert one.fingerprint == other.fingerprint


def test_a_signalling_nan_is_a_nan():
    odd = np.array([0x7FF0000000000001, 0x3FF0000000000000], dtype=np.uint64).view(np.float64).reshape(1, 2, 1)
    one, other = (Panel(v, DAYS[:2], ["A"], ["f"]) for v in (odd, np.array([np.nan, 1.0]).reshape(1, 2, 1)))
    assert one.fingerprint == other.fingerprint
    assert one == other
    assert one.astype(np.float32) == other.astype(np.float32)


def test_the_fingerprint_tells_dtypes_and_shapes_apart():
    panel = small()
    flat = Panel(panel.values.reshape(1, 10, 3), pd.date_range("2020", periods=10), panel.symbols, ["open"])
    names = [panel, panel.astype(np.float32), flat, panel.select(symbols=["BBB", "AAA", "CCC"])]
    assert len({p.fingerprint for p in names}) == 4


def test_the_fingerprint_is_the_same_in_another_process():
    code = "import sys, pickle; print(pickle.load(sys.stdin.buffer).fingerprint)"
    found = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(small()), capture_output=True, check=True)
    assert found.stdout.decode().strip() == small().fingerprint


# ---------------------------------------------------------------------- no copy, no writing


def test_fields_are_looked_at_without_a_copy():
    panel = small()
    for view in (panel["close"].to_numpy(), panel.close.to_numpy(), panel.plane("close"), panel.close["AAA"]):
        assert np.shares_memory(view, panel.values)
    assert panel.plane("close").flags.c_contiguous
    single = panel.select(fields="close")
    assert np.shares_memory(single.rows(1, 3).values, single.values)
    assert np.shares_memory(panel.rename({"close": "c"}).values, panel.values)
    assert panel.select() is panel.rows() is panel.astype(float) is panel[:] is panel


def test_a_locked_block_is_handed_over_and_a_writable_one_copied():
    block = np.ones((2, 5, 3))
    assert not np.shares_memory(Panel(block, DAYS, list("ABC"), ["f", "g"]).values, block)
    assert block.flags.writeable
    sly = block.view()
    sly.flags.writeable = False  # its owner can still write
    assert not np.shares_memory(Panel(sly, DAYS, list("ABC"), ["f", "g"]).values, block)
    block.flags.writeable = False
    assert Panel(block, DAYS, list("ABC"), ["f", "g"]).values is block


def test_nothing_can_be_written():
    panel = small()
    with pytest.raises(ValueError, match="read-only"):
        panel.values[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        panel.plane("open")[0, 0] = 1
    frame = panel["open"]
    with pytest.raises(ValueError, match="read-only"):
        frame.iloc[0, 0] = 1
    with pytest.raises(AttributeError, match="frozen"):
        panel.values = 1
    with pytest.raises(AttributeError, match="frozen"):
        panel.colour = 1
    with pytest.raises(AttributeError, match="frozen"):
        del panel.time
    changed = panel["open"] * 2  # a result of pandas is the reader's own
    changed.iloc[0, 0] = 7
    assert panel.values[0, 0, 0] == 1


# ---------------------------------------------------------------------- what it is


def test_labels_and_shape():
    panel = small()
    assert panel.shape == (2, 5, 3)
    assert str(panel.time.tz) == "UTC"
    assert panel.time.name == "time"
    assert panel.symbols == ("AAA", "BBB", "CCC")
    assert "close" in panel
    assert "clsoe" not in panel
    assert {"close", "open", "stack"} <= set(dir(panel))
    assert panel._ipython_key_completions_() == ["open", "close"]
    assert hasattr(panel, "close")
    assert not hasattr(panel, "volume")
    with pytest.raises(TypeError):
        iter(panel)
    assert panel != "panel"


def test_how_it_shows():
    panel = small().like(np.full((5, 3), np.nan), "<b>").join(small())
    text, page = repr(panel), panel._repr_html_()
    for fact in ("3", "rows 5", "2020-01-06 to 2020-01-10", "AAA", "missing 33.3%", "float64"):
        assert fact in text
    assert "&lt;b&gt;" in page
    assert "<b>," not in page
    assert "none" in repr(panel.rows(0, 0))
    assert "rows 1, 2020-01-06 00:00:01" in repr(
        Panel(np.ones((1, 1, 1)), DAYS[:1] + pd.Timedelta(1, "s"), ["A"], ["f"])
    )


@pytest.mark.parametrize(
    ("key", "start", "stop"),
    [
        (slice(None, "2020-01-07"), 0, 2),
        (slice("2020-01-07", "2020-01-08"), 1, 3),
        (slice("2020-01", None), 0, 5),
        (slice(dt.date(2020, 1, 8), None), 2, 5),
        (slice(pd.Timestamp("2020-01-07 19:00", tz="America/New_York"), None), 2, 5),
        (slice(np.datetime64("2020-01-09"), None), 3, 5),
        (slice("2021", None), 5, 5),
        (slice("2020-01-09", "2020-01-07"), 5, 5),
    ],
)
def test_slices_by_label(key, start, stop):
    part = small()[key]
    np.testing.assert_array_equal(part.values, small().values[:, start:stop])


def test_the_end_of_a_slice_is_the_whole_of_its_period():
    time = pd.date_range("2021-12-31", periods=6, freq="8h", tz="UTC")
    panel = Panel(np.ones((1, 6, 1)), time, ["A"], ["close"])
    assert panel[:"2021"].shape[1] == 3
    assert panel["2022":].shape[1] == 3
    assert panel[:"2021-12-31 08"].shape[1] == 2


@pytest.mark.parametrize("day", [dt.date(2020, 1, 2), np.datetime64("2020-01-02")])
def test_a_date_is_the_whole_of_its_day_and_a_time_is_a_moment(day):
    time = pd.date_range("2020-01-01", periods=72, freq="h", tz="UTC")
    panel = Panel(np.arange(72.0).reshape(1, 72, 1), time, ["A"], ["close"])
    assert panel[:day] == panel.rows(0, 48) == panel[:"2020-01-02"]
    assert panel[day:] == panel.rows(24)
    assert panel[day:day] == panel.rows(24, 48)
    for moment in (dt.datetime(2020, 1, 2), np.datetime64("2020-01-02", "s"), pd.Timestamp("2020-01-02")):
        assert panel[:moment] == panel.rows(0, 25)
    assert panel[: np.datetime64("2020-01")] == panel[: np.datetime64("2020")] == panel


def test_select_join_rename_like_astype():
    panel = small()
    part = panel.select(symbols=["CCC", "AAA"], fields=["close"])
    np.testing.assert_array_equal(part.values[0], panel.values[1][:, [2, 0]])
    assert panel.select(symbols="BBB").symbols == ("BBB",)
    assert panel.rename({"close": "last"}).fields == ("open", "last")
    score = panel.like(panel.plane("close") * 2, "score")
    assert score.shape == (1, 5, 3)
    both = panel.join(score.astype(np.float32))
    assert both.fields == ("open", "close", "score")
    assert both.dtype == np.float64
    assert score.astype("float32").join(panel.astype("float32").rename({"open": "o"})).dtype == np.float32
    np.testing.assert_array_equal(both["score"], panel["close"] * 2)
    big = panel.like(np.full((5, 3), 1e300), "f")
    with pytest.raises(DataError, match="1e\\+300"):
        big.astype(np.float32)


def test_unstack_fills_with_nan():
    panel = small()
    scores = panel.unstack(np.array([1.0, 2.0]), np.array([0, 4]), np.array([2, 0]), "score")
    expected = np.full((5, 3), np.nan)
    expected[0, 2], expected[4, 0] = 1, 2
    np.testing.assert_array_equal(scores.plane("score"), expected)
    assert panel.unstack(np.empty((0, 2)), np.array([], int), np.array([], int), ["a", "b"]).shape == (
        2,
        5,
        3,
    )


def test_adjusted_by_hand():
    values = np.array([[100.0, 51.0], [104.0, 52.0], [98.0, 49.0], [100.0, 50.0], [50.0, 50.0], [10.0, 30.0]])
    fields = ["open", "high", "low", "close", "adj_close", "volume"]
    adjusted = Panel(values[:, :, None], DAYS[:2], ["A"], fields).adjusted()
    expected = [[50, 51], [52, 52], [49, 49], [50, 50], [50, 50], [20, 30]]  # a split of two for one
    np.testing.assert_array_equal(adjusted.values[:, :, 0], expected)
    assert adjusted.adjusted() == adjusted
    with pytest.raises(UnknownNameError, match="adj_close"):
        small().adjusted()


@pytest.mark.parametrize("field", ["close", "adj_close"])
@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf])
def test_adjusted_refuses_what_is_no_price(field, bad):
    values = {"close": [100.0, 50.0], "adj_close": [50.0, 50.0], "volume": [10.0, 30.0]}
    values[field] = [50.0, bad]
    panel = Panel(np.array(list(values.values()))[:, :, None], DAYS[:2], ["A"], list(values))
    with pytest.raises(
        DataError, match=rf"^{field} of 'A' at 2020-01-07 .*row 1.* is {bad}, expected a positive price"
    ):
        panel.adjusted()


def test_adjusted_refuses_what_the_dtype_cannot_hold():
    values = np.array([[1e30, 1.0], [1e-10, 1.0], [1e3, 1.0]], dtype=np.float32)
    panel = Panel(values[:, :, None], DAYS[:2], ["A"], ["close", "adj_close", "volume"])
    with pytest.raises(DataError, match=r"adjusted volume of 'A' at 2020-01-06 .* too large for float32"):
        panel.adjusted()
    holed = panel.like(np.where(values == np.float32(1e30), np.nan, values)[:, :, None], panel.fields)
    np.testing.assert_array_equal(holed.adjusted().plane("volume")[:, 0], [np.nan, 1])
