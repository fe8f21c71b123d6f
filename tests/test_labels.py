"""Labels: what they say, and that they look at nothing but their span."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.errors import DataError, ParameterError, RegistrationError, UnknownNameError
from workbench.labels import forward_return, forward_sign, label, labels
from workbench.panel import Panel
from workbench.registry import Param


def panel_of(close, dtype=np.float64, field="close"):
    close = np.asarray(close, dtype=dtype)
    time = pd.date_range("2020-01-01", periods=len(close), tz="UTC")
    return Panel(close[np.newaxis], time, [f"S{n}" for n in range(close.shape[1])], [field])


prices = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 12), st.integers(1, 3)),
    elements=st.one_of(st.floats(0.01, 1e4), st.just(np.nan)),
)


def test_values_by_hand():
    # ends, a gap at the start, a gap in the middle, unchanged
    panel = panel_of([[100, np.nan, 10], [110, 50, 10], [99, np.nan, 10], [99, 25, 12]])
    one, two = forward_return(panel), forward_return(panel, 2)
    nan = np.nan
    expected = [[0.1, nan, 0.0], [-0.1, nan, 0.0], [0.0, nan, 0.2], [nan, nan, nan]]
    np.testing.assert_allclose(one.plane("forward_return"), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(one.plane("span"), np.where(np.isnan(expected), nan, 1))
    expected = [[-0.01, nan, 0.0], [-0.1, -0.5, 0.2], [nan] * 3, [nan] * 3]
    np.testing.assert_allclose(two.plane("forward_return"), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(two.plane("span"), np.where(np.isnan(expected), nan, 2))
    signs = forward_sign(panel, horizon=2).plane("forward_sign")
    np.testing.assert_array_equal(signs, [[-1, nan, 0], [-1, -1, 1], [nan] * 3, [nan] * 3])
    assert one.fields == ("forward_return", "span")
    assert one.symbols == panel.symbols
    assert one.time.equals(panel.time)


@pytest.mark.parametrize("entry", list(labels.values()), ids=list(labels))
@given(close=prices, horizon=st.integers(1, 11), data=st.data())
def test_a_label_is_moved_by_its_span_and_nothing_else(entry, close, horizon, data):
    horizon = min(horizon, len(close) - 1)
    label = entry(panel_of(close), horizon=horizon)
    value, span = label.plane(entry.name), label.plane("span")
    np.testing.assert_array_equal(np.isnan(value), np.isnan(span))
    samples = np.argwhere(np.isfinite(span))
    if not len(samples):
        return
    t, n = data.draw(st.sampled_from(samples.tolist()))
    last = t + int(span[t, n])

    other = data.draw(hnp.arrays(np.float64, close.shape, elements=st.floats(0.01, 1e4)))
    other[t : last + 1, n] = close[t : last + 1, n]
    changed = entry(panel_of(other), horizon=horizon)
    assert changed.plane(entry.name)[t, n] == value[t, n]
    assert changed.plane("span")[t, n] == span[t, n]

    # the span is tight: its last row, crossed over to the other side of the first, moves the label
    other[last, n] = close[t, n] * (0.5 if close[last, n] >= close[t, n] else 2)
    assert entry(panel_of(other), horizon=horizon).plane(entry.name)[t, n] != value[t, n]


@pytest.mark.parametrize("entry", list(labels.values()), ids=list(labels))
@given(close=prices, horizon=st.integers(1, 5), data=st.data())
def test_slicing_keeps_labels(entry, close, horizon, data):
    """On rows a..b the labels are those of the whole, but for the ones whose span reaches over b."""
    horizon = min(horizon, len(close) - 1)
    panel = panel_of(close)
    whole = entry(panel, horizon).values
    a = data.draw(st.integers(0, len(close) - horizon - 1))
    b = data.draw(st.integers(a + horizon + 1, len(close)))
    part = entry(panel.rows(a, b), horizon).values
    inside = b - a - horizon
    np.testing.assert_array_equal(part[:, :inside], whole[:, a : a + inside])
    assert np.isnan(part[:, inside:]).all()


@given(close=prices)
def test_float32_is_computed_in_double_and_inputs_are_left_alone(close):
    panel = panel_of(close, np.float32)
    before = panel.fingerprint
    label = forward_return(panel)
    assert label.dtype == np.float32
    exact = forward_return(panel.astype(np.float64)).values.astype(np.float32)
    np.testing.assert_array_equal(label.values, exact)
    assert Panel(panel.values, panel.time, panel.symbols, panel.fields).fingerprint == before


def test_a_return_that_no_float_can_hold_is_missing():
    tiny = np.nextafter(0, 1)
    label = forward_return(panel_of([[tiny], [1e300], [1e300]]))
    np.testing.assert_array_equal(label.values[:, :, 0], [[np.nan, 0, np.nan], [np.nan, 1, np.nan]])


def test_a_return_that_float32_cannot_hold_is_missing_with_its_span():
    prices = [[1e-38, 1.0], [1e38, 2.0], [1e38, 3.0]]
    single, double = (forward_return(panel_of(prices, dtype)) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single.values[:, :, 0], [[np.nan, 0, np.nan], [np.nan, 1, np.nan]])
    np.testing.assert_array_equal(single.values[:, :, 1], [[1, 0.5, np.nan], [1, 1, np.nan]])
    assert double.plane("forward_return")[0, 0] == pytest.approx(1e76)
    sign = forward_sign(panel_of(prices, np.float32))
    np.testing.assert_array_equal(sign.values[:, 0, 0], [1, 1])  # the direction is known


@pytest.mark.parametrize("entry", list(labels.values()), ids=list(labels))
def test_bad_input(entry):
    panel = panel_of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for given_, says, hint in [
        ({"horizon": 0}, "outside", "nearest valid value is 1"),
        ({"horizon": 3}, "each of 3 rows", "nearest valid value is 2"),
        ({"horizon": 1.5}, "expected int", "default is 1"),
        ({"horizon": True}, "expected int", "default is 1"),
        ({"horizn": 2}, "no parameter 'horizn'", "did you mean 'horizon'"),
    ]:
        with pytest.raises(ParameterError, match=says) as caught:
            entry(panel, **given_)
        assert hint in caught.value.hint
        assert entry.name in caught.value.message
    with pytest.raises(UnknownNameError, match="did you mean 'close'"):
        entry(panel, price="clos")
    with pytest.raises(ParameterError, match="found a DataFrame"):
        entry(panel["close"])
    with pytest.raises(ParameterError, match="twice"):
        entry(panel, 1, horizon=2)
    with pytest.raises(ParameterError, match="2 parameters"):
        entry(panel, 1, "close", 3)
    with pytest.raises(ParameterError, match="at least two rows"):
        entry(panel.rows(0, 1))
    for bad in (0.0, -3.0, np.inf):
        with pytest.raises(DataError, match=r"'S1' at 2020-01-02 .*row 1.* there are 2 such"):
            entry(panel_of([[1.0, 2.0], [3.0, bad], [bad, 6.0]]))


def test_other_price_fields():
    panel = panel_of([[1.0], [2.0]], field="open")
    assert forward_return(panel, price="open").plane("forward_return")[0, 0] == 1
    with pytest.raises(UnknownNameError):
        forward_return(panel)


def test_the_registry_lists_labels_with_their_parameters():
    assert list(labels) == ["forward_return", "forward_sign"]
    for name, entry in labels.items():
        assert entry.name == name
        assert entry.fields[0] == name
        assert entry.fields[-1] == "span"
        assert entry.__doc__
        assert all(p.doc for p in entry.params)
        signature = inspect.signature(entry).parameters
        assert {p.name: p.default for p in entry.params} == {k: v.default for k, v in signature.items() if k != "panel"}
        assert pickle.loads(pickle.dumps(entry)) is entry
    assert repr(forward_sign) == "<label forward_sign(horizon=1, price='close')>"


def test_registration_is_checked():
    def silent(panel, horizon=1):
        return ()

    with pytest.raises(RegistrationError, match="says nothing"):
        label(Param("horizon", 1))(silent)
    silent.__doc__ = "A label."
    with pytest.raises(RegistrationError, match="declares"):
        label(Param("span", 1))(silent)
    assert "silent" not in labels
