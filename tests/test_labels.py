"""Labels: what they say, and that they look at nothing but their span."""

from __future__ import annotations

import inspect
import math
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.errors import DataError, ParameterError, RegistrationError, UnknownNameError
from workbench.kernels import kernels
from workbench.labels import (
    forward_quantile,
    forward_return,
    forward_sign,
    label,
    labels,
    triple_barrier,
    uniqueness,
)
from workbench.panel import Panel
from workbench.registry import Param


def panel_of(close, dtype=np.float64, field="close"):
    close = np.asarray(close, dtype=dtype)
    time = pd.date_range("2020-01-01", periods=len(close), tz="UTC")
    return Panel(close[np.newaxis], time, [f"S{n}" for n in range(close.shape[1])], [field])


NAN = np.nan
prices = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 12), st.integers(2, 4)),
    elements=st.one_of(st.floats(0.01, 1e4), st.just(np.nan)),
)
# What makes a label defined on so small a panel; and the labels that look at the other symbols of a row.
SMALL = {"forward_quantile": {"quantiles": 2}, "triple_barrier": {"window": 2}}
CROSS = {"forward_quantile"}


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
def test_a_label_is_moved_by_its_look_back_and_its_span_and_nothing_else(entry, close, horizon, data):
    params = {"horizon": min(horizon, len(close) - 1), **SMALL.get(entry.name, {})}
    label = entry(panel_of(close), **params)
    span = label.plane("span")
    for values in label.values:
        np.testing.assert_array_equal(np.isnan(values), np.isnan(span))
    samples = np.argwhere(np.isfinite(span))
    if not len(samples):
        return
    t, n = data.draw(st.sampled_from(samples.tolist()))
    first, last = t - label.lookback, t + int(span[t, n])
    assert first >= 0
    assert last < len(close)

    other = data.draw(hnp.arrays(np.float64, close.shape, elements=st.floats(0.01, 1e4)))
    columns = slice(None) if entry.name in CROSS else n
    other[first : last + 1, columns] = close[first : last + 1, columns]
    changed = entry(panel_of(other), **params)
    # a deviation's last bits depend on where its window lies in its block, which a change before it doesn't move
    np.testing.assert_array_equal(changed.values[:, t, n], label.values[:, t, n])

    # the span is tight: its last row, put far down or far up, moves the label
    moved = []
    for far in (1e-9, 1e9):
        other[last, n] = close[t, n] * far
        moved.append(not np.array_equal(entry(panel_of(other), **params).values[:, t, n], label.values[:, t, n]))
    assert any(moved)


@pytest.mark.parametrize("entry", list(labels.values()), ids=list(labels))
@given(close=prices, horizon=st.integers(1, 5), data=st.data())
def test_slicing_keeps_labels(entry, close, horizon, data):
    """On rows a..b the labels are those of the whole, but for those that look back before a or ahead over b."""
    params = {"horizon": min(horizon, len(close) - 1), **SMALL.get(entry.name, {})}
    panel = panel_of(close)
    label = entry(panel, **params)
    whole, back, horizon = label.values, label.lookback, params["horizon"]
    a = data.draw(st.integers(0, len(close) - horizon - 1))
    b = data.draw(st.integers(a + horizon + 1, len(close)))
    part = entry(panel.rows(a, b), **params).values
    inside = b - a - horizon
    # the bits of a deviation depend on where its window lies in the panel
    np.testing.assert_allclose(part[:, back:inside], whole[:, a + back : a + inside], rtol=1e-9, atol=1e-12)
    assert np.isnan(part[:, inside:]).all()
    assert np.isnan(part[:, :back]).all()


def test_what_a_label_looks_back_is_said():
    panel = panel_of(np.linspace(1, 2, 40).reshape(-1, 1) ** [1, 2, 3])
    assert forward_return(panel).lookback == 0
    assert triple_barrier(panel, window=7).lookback == 7
    assert triple_barrier(panel.like(panel.values, panel.fields, lookback=3), window=7).lookback == 10


# ---------------------------------------------------------------------- quantiles


def by_hand_of(row, quantiles):
    """The class of each value, from the definition of a quantile, in whole numbers and fractions."""
    known = sorted(Fraction(x) for x in row if not math.isnan(x))
    edges = []
    for k in range(1, quantiles):
        place = Fraction(k * (len(known) - 1), quantiles)
        low = math.floor(place)
        high = min(low + 1, len(known) - 1)
        edges.append(known[low] + (known[high] - known[low]) * (place - low))
    return [NAN if math.isnan(x) else sum(Fraction(x) > edge for edge in edges) for x in row]


@given(
    ahead=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(2, 12)), elements=st.integers(1, 9) | st.just(NAN)
    ),
    quantiles=st.integers(2, 6),
)
def test_a_quantile_class_is_what_the_definition_says(ahead, quantiles):
    quantiles = min(quantiles, ahead.shape[1])
    close = np.concatenate([np.ones((1, ahead.shape[1])), ahead])
    label = forward_quantile(panel_of(close), quantiles=quantiles)
    value = forward_return(panel_of(close)).plane("forward_return")
    for row, found in zip(value[:-1], label.plane("forward_quantile"), strict=False):
        few = np.isfinite(row).sum() < quantiles
        np.testing.assert_array_equal(found, [NAN] * len(row) if few else by_hand_of(row, quantiles))
    np.testing.assert_array_equal(label.plane("span"), np.where(np.isnan(label.values[0]), NAN, 1))


@pytest.mark.parametrize("columns", [5, 11, 20, 37, 500])
@pytest.mark.parametrize("quantiles", [2, 3, 4, 5])
def test_quantile_classes_are_those_of_pandas(columns, quantiles):
    close = np.random.default_rng(columns).lognormal(0, 0.02, (8, columns)).cumprod(axis=0)
    label = forward_quantile(panel_of(close), 2, quantiles).plane("forward_quantile")
    value = forward_return(panel_of(close), 2).plane("forward_return")
    for t in range(6):
        np.testing.assert_array_equal(label[t], pd.qcut(value[t], quantiles, labels=False))
        counts = np.bincount(label[t].astype(int), minlength=quantiles)
        assert counts.max() - counts.min() <= 1
    assert np.isnan(label[6:]).all()


def test_ties_share_a_class_and_a_class_may_stay_empty():
    label = forward_quantile(panel_of([[1.0] * 6, [2, 2, 2, 2, 3, 1]]), quantiles=3).plane("forward_quantile")
    assert label[0].tolist() == [0, 0, 0, 0, 2, 0]
    flat = forward_quantile(panel_of(np.ones((2, 6))), quantiles=3).plane("forward_quantile")
    assert flat[0].tolist() == [0] * 6


def test_a_cross_section_smaller_than_its_classes_has_none():
    with pytest.raises(ParameterError, match="quantiles=5 of a cross-section of 2 symbols") as caught:
        forward_quantile(panel_of(np.ones((3, 2))))
    assert "nearest valid value is 2" in caught.value.hint
    with pytest.raises(ParameterError, match="quantiles=2 of a cross-section of 1") as caught:
        forward_quantile(panel_of(np.ones((3, 1))), quantiles=2)
    assert "forward_sign" in caught.value.hint
    label = forward_quantile(panel_of([[1.0, 1.0, 1.0], [2.0, 3.0, NAN], [4.0, NAN, 5.0]]), quantiles=2)
    np.testing.assert_array_equal(label.plane("forward_quantile"), [[0, 1, NAN], [NAN] * 3, [NAN] * 3])


# ---------------------------------------------------------------------- barriers


def barred(close, high, low, dtype=np.float64):
    values = np.array([close, high, low], dtype=dtype)
    time = pd.date_range("2020-01-01", periods=values.shape[1], tz="UTC")
    return Panel(values, time, [f"S{n}" for n in range(values.shape[2])], ["close", "high", "low"])


def touched(close, high, low, width, t, horizon, up, down):
    """One sample by the definition: (side, return, rows ahead), or None where there is no label."""
    if t + horizon >= len(close) or math.isnan(close[t]) or not width > 0:
        return None
    upper = close[t] * (1 + up * width) if up else math.inf
    lower = close[t] * (1 - down * width) if down else -math.inf
    for ahead in range(1, horizon + 1):
        if low[t + ahead] <= lower:
            return -1, np.fmin(lower, high[t + ahead]) / close[t] - 1, ahead
        if high[t + ahead] >= upper:
            return 1, np.fmax(upper, low[t + ahead]) / close[t] - 1, ahead
    last = close[t + horizon]
    return None if math.isnan(last) else (0, last / close[t] - 1, horizon)


moves = hnp.arrays(
    np.float64, st.tuples(st.integers(4, 24), st.integers(1, 3)), elements=st.floats(-0.2, 0.2) | st.just(NAN)
)
multiple = st.sampled_from([0.0, 0.5, 1.0, 1.7, 4.0])


@given(moves, st.integers(1, 8), multiple, multiple, st.integers(2, 5), st.booleans(), st.data())
def test_barriers_are_what_a_plain_loop_finds(moves, horizon, up, down, window, by_range, data):
    if up == down == 0:
        up = 1.0
    horizon = min(horizon, len(moves) - 1)
    close = 100 * np.exp(np.cumsum(np.nan_to_num(moves), axis=0))
    close[np.isnan(moves)] = NAN
    reach = data.draw(hnp.arrays(np.float64, (2, *moves.shape), elements=st.floats(0, 0.2) | st.just(NAN)))
    high, low = close * (1 + reach[0]), close * (1 - reach[1])
    touch = {"horizon": horizon, "up": up, "down": down, "window": window, "touch": "range" if by_range else "close"}
    label = triple_barrier(barred(close, high, low), **touch)
    assert label.fields == ("triple_barrier", "touch_return", "width", "span")
    side, move, width, span = label.values
    if not by_range:
        high = low = close
    for t, n in np.ndindex(close.shape):
        past = close[t - window : t + 1, n] if t >= window else np.array([NAN])
        known = bool(np.isfinite(past).all() and len(past) == window + 1)
        deviation = np.std(np.diff(past) / past[:-1], ddof=1) if known else NAN
        if not np.isnan(side[t, n]):
            assert width[t, n] == pytest.approx(deviation, rel=1e-9, abs=1e-12)
            deviation = width[t, n]  # its last bits decide what stands exactly on a barrier
        elif known and deviation < 1e-12:
            continue  # zero but for rounding
        expected = touched(close[:, n], high[:, n], low[:, n], deviation, t, horizon, up, down)
        if expected is None:
            assert np.isnan(label.values[:, t, n]).all()
        else:
            assert (side[t, n], span[t, n]) == (expected[0], expected[2])
            assert move[t, n] == pytest.approx(expected[1], rel=1e-12, abs=1e-15)


def test_barriers_by_hand():
    # returns of 10% and -10%: a deviation of 0.1 * sqrt(2), so the barriers of row 2 stand at 113 and 85, or so
    head = [100.0, 110.0, 99.0]
    for ahead, expected in {
        (112, 86, 114, 50): (1, 114 / 99 - 1, 3),
        (112, 84, 114, 50): (-1, 84 / 99 - 1, 2),
        (112, 86, 112, 86): (0, 86 / 99 - 1, 4),
        (NAN, NAN, 200, 86): (1, 200 / 99 - 1, 3),
        (112, 86, 112, NAN): None,
        (112, 86, 200, NAN): (1, 200 / 99 - 1, 3),
    }.items():
        label = triple_barrier(panel_of([[p] for p in [*head, *ahead]]), 4, 1.0, 1.0, window=2)
        side, move, width, span = label.values[:, 2, 0]
        if expected is None:
            assert np.isnan([side, move, width, span]).all()
        else:
            assert (side, span) == (expected[0], expected[2])
            assert move == pytest.approx(expected[1])
            assert width == pytest.approx(0.1 * math.sqrt(2))
        assert np.isnan(label.values[:, [0, 1, 3, 4, 5, 6]]).all()  # no volatility yet; or no horizon


def test_a_bar_touches_at_its_barrier_or_beyond_and_the_lower_one_first():
    upper, lower = (99 * (1 + sign * 0.1 * math.sqrt(2)) for sign in (1, -1))
    for high, low, close, side, price in [
        (114, 90, 100, 1, upper),
        (130, 120, 125, 1, 120),  # the bar lies wholly above
        (100, 84, 90, -1, lower),
        (70, 60, 65, -1, 70),
        (114, 84, 114, -1, lower),  # both
        (114, NAN, 100, 1, upper),
    ]:
        panel = barred(*([[100.0], [110.0], [99.0], [x]] for x in (close, high, low)))
        label = triple_barrier(panel, 1, 1.0, 1.0, window=2, touch="range")
        assert label.values[0, 2, 0] == side
        assert label.values[1, 2, 0] == pytest.approx(price / 99 - 1)


@pytest.mark.parametrize(("price", "side"), [(150, 1), (50, -1), (149.99, 0), (50.01, 0)])
def test_a_price_that_stands_on_a_barrier_touches_it(price, side):
    close = np.array([[100.0], [price], [100.0]])
    outs = np.empty((3, 3, 1))
    width = np.full((3, 1), 0.25)  # the barriers stand at 150 and 50, exactly
    kernels["triple_barrier"].function(close, close, close, width, 2, 2.0, 2.0, np.empty((0, 1)), *outs)
    assert outs[0, 0, 0] == side


def test_a_barrier_may_be_left_out_and_a_flat_price_has_none():
    up = [[p] for p in (100.0, 110.0, 99.0, 300.0, 1.0)]
    assert triple_barrier(panel_of(up), 2, 0.0, 1.0, window=2).values[0, 2, 0] == -1
    assert triple_barrier(panel_of(up), 2, 1.0, 0.0, window=2).values[0, 2, 0] == 1
    with pytest.raises(ParameterError, match="leave out both barriers"):
        triple_barrier(panel_of(up), 2, up=0, down=0)
    assert np.isnan(triple_barrier(panel_of(np.full((9, 1), 1.1)), 2, window=2).values).all()
    cash = 100 * 1.0001 ** np.arange(200.0)[:, np.newaxis]  # rises by the same each day, up to the last digit
    for panel in (panel_of(cash), panel_of(cash).astype(np.float32)):
        assert np.isnan(triple_barrier(panel).values).all()
    cash[100] *= 1 + 1e-5
    assert np.count_nonzero(~np.isnan(triple_barrier(panel_of(cash)).values[0])) == 21


def test_a_price_outside_its_bar_is_refused():
    panel = barred([[1.0], [2.0], [3.0]], [[1.0], [1.5], [3.0]], [[1.0], [1.5], [3.0]])
    with pytest.raises(DataError, match=r"close of 'S0' at 2020-01-02.* is 2.0, outside its bar from 1.5 to 1.5"):
        triple_barrier(panel, 1, touch="range")
    with pytest.raises(UnknownNameError, match="high"):
        triple_barrier(panel_of([[1.0], [2.0]]), 1, touch="range")
    with pytest.raises(ParameterError, match="did you mean 'range'|not a choice"):
        triple_barrier(panel, 1, touch="rang")


def test_barriers_of_single_precision_are_found_in_double():
    draw = np.random.default_rng(4)
    close = 50 * np.exp(draw.normal(0, 0.02, (400, 3)).cumsum(axis=0)).astype(np.float32)
    panel = barred(close, close * np.float32(1.01), close * np.float32(0.99), np.float32)
    for touch in ("close", "range"):
        single, double = triple_barrier(panel, touch=touch), triple_barrier(panel.astype(np.float64), touch=touch)
        assert single.dtype == np.float32
        np.testing.assert_array_equal(single.values, double.values.astype(np.float32))
        assert set(np.unique(single.values[0][~np.isnan(single.values[0])])) == {-1, 0, 1}


@given(moves)
def test_a_column_of_barriers_does_not_depend_on_the_others(moves):
    close = np.exp(moves)
    width = np.full(close.shape, 0.05)
    kernel = kernels["triple_barrier"].function
    outs = np.empty((3, *close.shape))
    kernel(close, close, close, width, 3, 1.0, 1.0, np.empty((0, close.shape[1])), *outs)
    for n in range(close.shape[1]):
        alone = np.ascontiguousarray(close[:, n : n + 1])
        out = np.empty((3, *alone.shape))
        kernel(alone, alone, alone, width[:, :1].copy(), 3, 1.0, 1.0, np.empty((0, 1)), *out)
        np.testing.assert_array_equal(out[:, :, 0], outs[:, :, n])


# ---------------------------------------------------------------------- uniqueness


def spanned(values, span):
    values, span = np.asarray(values, dtype=float), np.asarray(span, dtype=float)
    return panel_of(values, field="x").join(panel_of(span, field="span"))


def test_uniqueness_of_the_books_example():
    """Lopez de Prado (2018), 4.5.3: labels of the returns from 0 to 3, 2 to 5 and 4 to 6."""
    values, span = np.full((2, 7, 1), NAN)
    values[[0, 2, 4]], span[[0, 2, 4], 0] = 1, [3, 3, 2]
    weight = uniqueness(spanned(values, span))
    assert weight.fields == ("weight",)
    np.testing.assert_allclose(weight.plane("weight")[[0, 2, 4], 0], [5 / 6, 2 / 3, 3 / 4], rtol=1e-15)
    assert np.isnan(weight.plane("weight")[[1, 3, 5, 6]]).all()


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 15), st.integers(1, 3)), elements=st.integers(0, 8) | st.just(NAN))
)
def test_uniqueness_is_what_a_plain_loop_finds(span):
    weight = uniqueness(spanned(np.where(np.isnan(span), NAN, 0.5), span)).plane("weight")
    for n in range(span.shape[1]):
        moves = {t: range(t + 1, t + 1 + int(s)) for t, s in enumerate(span[:, n]) if s == s}
        for t in range(len(span)):
            if t not in moves:
                assert np.isnan(weight[t, n])
                continue
            shares = [1 / sum(u in other for other in moves.values()) for u in moves[t]]
            assert weight[t, n] == pytest.approx(np.mean(shares) if shares else 1.0, rel=1e-12)
            assert 0 < weight[t, n] <= 1


def test_uniqueness_amidst_forward_returns_is_one_over_the_horizon():
    label = forward_return(panel_of(np.linspace(1, 2, 4000).reshape(-1, 2)), horizon=20)
    weight = uniqueness(label).plane("weight")
    np.testing.assert_allclose(weight[20:-40], 1 / 20, rtol=1e-12)
    assert weight[0, 0] == pytest.approx(np.mean(1 / np.arange(1, 21)))
    np.testing.assert_array_equal(np.isnan(weight), np.isnan(label.values[0]))
    with pytest.raises(DataError, match="their span; found weight"):
        uniqueness(uniqueness(label))


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
    small = {"horizon": 1, **SMALL.get(entry.name, {})}
    default = next(p.default for p in entry.params if p.name == "horizon")
    for given_, says, hint in [
        ({"horizon": 0}, "outside", "nearest valid value is 1"),
        ({"horizon": 3}, "each of 3 rows", "nearest valid value is 2"),
        ({"horizon": 1.5}, "expected int", f"default is {default}"),
        ({"horizon": True}, "expected int", f"default is {default}"),
        ({"horizn": 2}, "no parameter 'horizn'", "did you mean 'horizon'"),
    ]:
        with pytest.raises(ParameterError, match=says) as caught:
            entry(panel, **{**small, **given_})
        assert hint in caught.value.hint
        assert entry.name in caught.value.message
    with pytest.raises(UnknownNameError, match="did you mean 'close'"):
        entry(panel, **small, price="clos")
    with pytest.raises(ParameterError, match="found a DataFrame"):
        entry(panel["close"])
    with pytest.raises(ParameterError, match="twice"):
        entry(panel, 1, horizon=2)
    with pytest.raises(ParameterError, match=f"takes {len(entry.params)} parameters"):
        entry(panel, *[1] * 9)
    with pytest.raises(ParameterError, match="at least two rows"):
        entry(panel.rows(0, 1), **small)
    for bad in (0.0, -3.0, np.inf):
        with pytest.raises(DataError, match=r"'S1' at 2020-01-02 .*row 1.* there are 2 such"):
            entry(panel_of([[1.0, 2.0], [3.0, bad], [bad, 6.0]]), **small)


def test_other_price_fields():
    panel = panel_of([[1.0], [2.0]], field="open")
    assert forward_return(panel, price="open").plane("forward_return")[0, 0] == 1
    with pytest.raises(UnknownNameError):
        forward_return(panel)


def test_the_registry_lists_labels_with_their_parameters():
    assert list(labels) == ["forward_return", "forward_sign", "forward_quantile", "triple_barrier"]
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
