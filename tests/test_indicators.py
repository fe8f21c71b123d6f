"""Laws over the table of indicators: what is registered is tested because it is registered."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import reference
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.errors import DataError, ParameterError, RegistrationError, WorkbenchError
from workbench.indicators import Indicator, catalog, indicator, indicators, stream
from workbench.kernels import NARROW, checkpoint, kernels

NAMES = sorted(indicators)
TALIB = {
    "window": "timeperiod",
    "fast": "fastperiod",
    "slow": "slowperiod",
    "signal": "signalperiod",
    "fastk": "fastk_period",
    "slowk": "slowk_period",
    "slowd": "slowd_period",
}


def bars(rows: int, columns: int, seed: int = 0, gaps: float = 0.0, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Plausible bars, with ties and flat stretches, and rows without a value where asked."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) > 0.1)
    close = np.round(100 * np.exp(steps.cumsum(axis=0) * 0.01), 2)
    high = close + np.round(np.abs(rng.standard_normal((rows, columns))), 1)
    low = close - np.round(np.abs(rng.standard_normal((rows, columns))), 1)
    volume = rng.integers(1, 1_000_000, (rows, columns)).astype(float)
    fields = {"open": close.copy(), "high": high, "low": low, "close": close, "volume": volume}
    for plane in fields.values():
        plane[rng.random((rows, columns)) < gaps] = np.nan
    return {name: plane.astype(dtype) for name, plane in fields.items()}


def inputs(entry: Indicator, fields: dict) -> list:
    return [fields[name] for name in entry.inputs]


def outputs(result) -> tuple:
    return result if isinstance(result, tuple) else (result,)


def same_bits(a, b) -> None:
    """Equal to the bit; that two NaNs may differ in their sign, which no one can see, is all that is let pass."""
    for one, other in zip(outputs(a), outputs(b), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        gaps = np.isnan(one)
        assert (gaps == np.isnan(other)).all()
        kind = f"u{one.itemsize}"
        assert (np.where(gaps, 0, one).view(kind) == np.where(gaps, 0, other).view(kind)).all()


def draw_params(entry: Indicator, rng: np.random.Generator) -> dict:
    """Random parameters that the entry takes."""
    while True:
        params = {p.name: p.default for p in entry.params}
        for p in entry.params:
            least = int(p.low)
            params[p.name] = float(rng.uniform(0, 3)) if p.kind is float else int(rng.integers(least, least + 20))
            if p.name == "ddof":
                params[p.name] = int(rng.integers(0, 2))
        try:
            return entry.check(params)
        except ParameterError:
            continue


# ---------------------------------------------------------------------------------------------------- the laws


def law_prefix(entry, rng, params):
    """What is known later changes nothing."""
    x = inputs(entry, bars(300, 3, seed=int(rng.integers(1e9)), gaps=0.01))
    whole = outputs(entry(*x, **params))
    for t in rng.integers(0, 300, 4):
        same_bits(entry(*(p[:t] for p in x), **params), tuple(o[:t] for o in whole))


def law_columns(entry, rng, params):
    """A symbol does not see the others, unless the entry says so; one column is a series."""
    x = inputs(entry, bars(200, 19, seed=int(rng.integers(1e9)), gaps=0.01))
    whole = outputs(entry(*x, **params))
    for j in (0, 7, 18):
        alone = outputs(entry(*(np.ascontiguousarray(p[:, j]) for p in x), **params))
        if entry.cross_section:
            assert any(not np.array_equal(a, o[:, j], equal_nan=True) for a, o in zip(alone, whole, strict=True))
        else:
            same_bits(alone, tuple(o[:, j] for o in whole))


def law_head(entry, rng, params):
    """On data without a gap, just the look-back is NaN."""
    rows = entry.lookback(**params) + 40
    for output in outputs(entry(*inputs(entry, bars(rows, 4, seed=int(rng.integers(1e9)))), **params)):
        head = entry.lookback(**params)
        assert np.isnan(output[:head]).all()
        assert np.isfinite(output[head:]).all()


def law_out(entry, rng, params):
    """`out=` holds the bits that would have been returned, and is what is returned; strided will do."""
    for rows, columns in ((150, 5), (9000, 2)):
        x = inputs(entry, bars(rows, columns, seed=int(rng.integers(1e9)), gaps=0.01))
        expected = entry(*x, **params)
        shape = (rows, columns)
        for make in (
            lambda s=shape: np.empty(s),
            lambda s=shape: np.empty((2 * s[0], 2 * s[1]))[::2, ::2],
            lambda s=shape: np.empty(s, order="F"),
        ):
            outs = tuple(make() for _ in entry.outputs)
            given_out = outs if len(outs) > 1 else outs[0]
            assert entry(*x, **params, out=given_out) is given_out
            same_bits(outs, expected)


def law_infinite(entry, rng, params):
    """An infinite price is a missing one: what it was stays hidden, and nothing of it outlives its window."""
    if entry.name in ("max", "min", "lag", "rank"):
        return  # which only compare and copy
    fields = bars(200, 3, seed=int(rng.integers(1e9)))
    holed, burst = ({name: plane.copy() for name, plane in fields.items()} for _ in range(2))
    for name in fields:
        holed[name][90, 1], burst[name][90, 1] = np.nan, np.inf
    expected = entry(*inputs(entry, holed), **params)
    same_bits(entry(*inputs(entry, burst), **params), expected)
    alone = tuple(o[:, 1].copy() for o in outputs(expected))
    if not entry.cross_section:
        same_bits(entry(*(p[:, 1].copy() for p in inputs(entry, burst)), **params), alone)


def law_float32(entry, rng, params):
    """Single precision stays in single precision, and close."""
    fields = bars(200, 6, seed=int(rng.integers(1e9)), dtype="float32")
    double = outputs(entry(*(p.astype("float64") for p in inputs(entry, fields)), **params))
    for single, exact in zip(outputs(entry(*inputs(entry, fields), **params)), double, strict=True):
        assert single.dtype == np.float32
        assert (np.isnan(single) == np.isnan(exact)).all()
        scale = np.nanmax(np.abs(exact), initial=1.0)
        np.testing.assert_allclose(single, exact, rtol=2e-5, atol=2e-6 * scale)


def law_layouts(entry, rng, params):
    """Strided, Fortran-ordered, read-only, byte-swapped, unaligned and integer input give the bits of a plain array."""
    fields = bars(120, 6, seed=int(rng.integers(1e9)))
    x = [np.round(p) for p in inputs(entry, fields)]
    expected = entry(*x, **params)
    locked = [p.copy() for p in x]
    for p in locked:
        p.flags.writeable = False
    loose = [np.frombuffer(b"\0" + p.tobytes(), dtype="u1")[1:].view("f8").reshape(p.shape) for p in x]
    assert not loose[0].flags.aligned
    doubled = [np.repeat(np.repeat(p, 2, axis=0), 2, axis=1)[::2, ::2] for p in x]
    backwards = [np.ascontiguousarray(p[::-1])[::-1] for p in x]
    swapped = [p.astype(">f8") for p in x]
    whole = [p.astype("int64") for p in x]
    for other in (locked, loose, doubled, backwards, swapped, whole, [np.asfortranarray(p) for p in x]):
        same_bits(entry(*other, **params), expected)


def law_odd_sizes(entry, rng, params):
    """No rows, no columns, one row, nothing but NaN, and a window longer than the data."""
    for shape in ((0,), (0, 3), (5, 0), (1,), (1, 2)):
        for output in outputs(entry(*(np.ones(shape) for _ in entry.inputs), **params)):
            assert output.shape == shape
    for output in outputs(entry(*(np.full((90, 3), np.nan) for _ in entry.inputs), **params)):
        assert np.isnan(output).all()
    if entry.params and entry.lookback(**params) > 3 and not entry.cross_section:
        for output in outputs(entry(*inputs(entry, bars(3, 2)), **params)):
            assert np.isnan(output).all()


def law_range(entry, rng, params):
    """Every value lies in the declared range."""
    low, high = entry.range
    for output in outputs(entry(*inputs(entry, bars(400, 5, seed=int(rng.integers(1e9)), gaps=0.02)), **params)):
        found = output[np.isfinite(output)]
        assert low is None or (found >= low - 1e-9).all()
        assert high is None or (found <= high + 1e-9).all()


def law_inputs_unmodified(entry, rng, params):
    """Inputs are left as they were."""
    x = inputs(entry, bars(100, 4, seed=int(rng.integers(1e9)), gaps=0.05))
    before = [p.copy() for p in x]
    entry(*x, **params)
    same_bits(tuple(x), tuple(before))


def law_threads(entry, rng, params):
    """Calls beside each other give the bits of calls one after the other."""
    x = [inputs(entry, bars(600, 40, seed=s, gaps=0.01)) for s in range(6)]
    expected = [entry(*p, **params) for p in x]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(lambda p: entry(*p, **params), x), expected, strict=True):
            same_bits(found, wanted)


def law_stream(entry, rng, params):
    """Row by row, in chunks of any length, and resumed from a pickle: the bits of one batch."""
    columns = int(rng.integers(1, 12))
    x = inputs(entry, bars(160, columns, seed=int(rng.integers(1e9)), gaps=0.01))
    expected = outputs(entry(*x, **params))
    cuts = np.sort(rng.integers(0, 160, 9))
    for edges in (range(161), [0, *cuts, 160]):
        feed = stream(entry.name, symbols=columns, **params)
        parts = []
        for a, b in itertools.pairwise(edges):
            parts.append(outputs(feed.update(*(p[a:b] for p in x))))
            if a % 7 == 0:
                feed = pickle.loads(pickle.dumps(feed))
        same_bits(tuple(np.concatenate(p) for p in zip(*parts, strict=True)), expected)


def law_long_series(entry, rng, params):
    """A few long series take another way through memory, and get the same bits as columns of a wide panel."""
    if entry.cross_section:
        return
    fields = bars(9_000, NARROW + 4, seed=int(rng.integers(1e9)), gaps=0.0005)
    wide = outputs(entry(*inputs(entry, fields), **params))
    for columns in (1, int(rng.integers(2, NARROW + 1))):
        few = [np.ascontiguousarray(p[:, :columns]) for p in inputs(entry, fields)]
        expected = tuple(np.ascontiguousarray(o[:, :columns]) for o in wide)
        same_bits(entry(*few, **params), expected)
        feed = stream(entry.name, symbols=columns, **params)
        cuts = itertools.pairwise((0, 3, 7_001, 7_002, 9_000))
        parts = [outputs(feed.update(*(p[a:b] for p in few))) for a, b in cuts]
        same_bits(tuple(np.concatenate(p) for p in zip(*parts, strict=True)), expected)


def law_gap(entry, rng, params):
    """A missing value changes nothing before it, nothing in other columns, and leaves no value where it is."""
    fields = bars(200, 3, seed=int(rng.integers(1e9)))
    whole = outputs(entry(*inputs(entry, fields), **params))
    at = int(rng.integers(0, 200))
    holed = {name: plane.copy() for name, plane in fields.items()}
    for plane in holed.values():
        plane[at, 1] = np.nan
    for found, before in zip(outputs(entry(*inputs(entry, holed), **params)), whole, strict=True):
        same_bits(found[:at], before[:at])
        if entry.name != "lag":
            assert np.isnan(found[at, 1])
        if not entry.cross_section:
            same_bits(np.ascontiguousarray(found[:, ::2]), np.ascontiguousarray(before[:, ::2]))


def law_containers(entry, rng, params):
    """What goes in comes out: Series and DataFrames keep their labels."""
    fields = bars(60, 3, seed=int(rng.integers(1e9)))
    index = pd.date_range("2020", periods=60, tz="UTC")
    frames = [pd.DataFrame(p, index=index, columns=list("abc")) for p in inputs(entry, fields)]
    for output, array in zip(
        outputs(entry(*frames, **params)), outputs(entry(*inputs(entry, fields), **params)), strict=True
    ):
        assert list(output.columns) == list("abc")
        assert output.index.equals(index)
        same_bits(output.to_numpy(), array)
    alone = outputs(entry(*(f["b"] for f in frames), **params))
    assert all(isinstance(o, pd.Series) and o.index.equals(index) for o in alone)


def law_declared(entry, rng, params):
    """Docstring, signature, catalogue and pickle follow from the registration."""
    assert getattr(wb.indicators, entry.name) is entry
    assert entry.source in entry.__doc__
    assert [p.name for p in entry.params] == list(entry.__signature__.parameters)[len(entry.inputs) : -1]
    assert pickle.loads(pickle.dumps(entry)) is entry
    assert catalog().loc[entry.name, "lookback"] == entry.lookback()
    for p in entry.params:
        with pytest.raises(ParameterError, match=p.name):
            entry.check({p.name: "many"})
        with pytest.raises(ParameterError, match="nearest valid value"):
            entry.check({p.name: p.low - 1})


LAWS = [value for name, value in sorted(globals().items()) if name.startswith("law_")]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_law(name, law):
    rng = np.random.default_rng([len(name), *map(ord, law.__name__)])
    entry = indicators[name]
    law(entry, rng, entry.check({}))
    for _ in range(3):
        law(entry, rng, draw_params(entry, rng))


def test_no_law_and_no_indicator_went_missing():
    assert len(LAWS) == 16
    assert len(NAMES) == 20
    assert len(LAWS) * len(NAMES) == 320


# ---------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", [n for n in NAMES if not indicators[n].cross_section])
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 90), gaps=st.sampled_from([0.0, 0.0, 0.03]))
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_the_plain_reference(name, seed, rows, gaps):
    entry = indicators[name]
    params = draw_params(entry, np.random.default_rng(seed))
    x = [p[:, 0] for p in inputs(entry, bars(rows, 1, seed=seed, gaps=gaps))]
    wanted = outputs(getattr(reference, name)(*(list(map(float, p)) for p in x), *params.values()))
    for found, expected in zip(outputs(entry(*x, **params)), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


def against_talib(entry: Indicator, params: dict, x: list[np.ndarray]) -> None:
    named = {TALIB[p]: v for p, v in params.items() if p in TALIB}
    wanted = outputs(getattr(talib, entry.name.upper())(*x, **named))
    level = np.nanmax(np.abs(x[-1] if entry.name != "obv" else x[0]))
    for found, expected in zip(outputs(entry(*x, **params)), wanted, strict=True):
        assert (np.isnan(found) == np.isnan(expected)).all()
        # TA-Lib takes the mean of squares less the square of the mean: what it loses is relative to the squares
        if entry.name == "stddev":
            np.testing.assert_allclose(found**2, expected**2, rtol=1e-9, atol=2e-15 * level**2)
        elif entry.name == "bbands":
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-7 * level)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


WITH_TALIB = [n for n in NAMES if hasattr(talib, n.upper())]


@pytest.mark.parametrize("name", WITH_TALIB)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_values_are_talibs_on_random_bars(name, seed):
    rng = np.random.default_rng(seed)
    entry = indicators[name]
    params = draw_params(entry, rng) | {"k": 1.0, "ddof": 0}
    params = {p.name: params[p.name] for p in entry.params}
    params |= {p: max(2, v) for p, v in params.items() if p in ("window", "fast")}
    if "slow" in params and params["fast"] >= params["slow"]:
        params["slow"] = params["fast"] + 1
    if name == "bbands":
        params["k"] = 2.0
    against_talib(entry, params, [p[:, 0] for p in inputs(entry, bars(400, 1, seed=seed))])


@pytest.mark.parametrize("name", WITH_TALIB)
def test_values_are_talibs_on_real_bars(name):
    panel = wb.load("us-tech")
    entry = indicators[name]
    for symbol in ("AAPL", "IBM", "MSFT"):
        fields = {f: panel[f][symbol].to_numpy() for f in ("open", "high", "low", "close", "volume")}
        against_talib(entry, entry.check({}), inputs(entry, fields))


def test_talib_is_the_oracle_of_all_that_it_has():
    assert sorted(set(NAMES) - set(WITH_TALIB)) == ["lag", "rank", "zscore"]


@given(
    st.lists(st.sampled_from([0.1, 0.1, 0.1, 1e9, 1e-9, 3.0, 100.0, 1e15]), min_size=1, max_size=60),
    st.integers(2, 9),
)
@settings(max_examples=150, deadline=None)
def test_deviation_and_mean_are_exact_on_adversarial_windows(values, window):
    """Against rational arithmetic: jumps of 24 orders of magnitude leave nothing behind once they are out."""
    found, mean = (
        wb.indicators.stddev(np.array(values), window=window),
        wb.indicators.sma(np.array(values), window=window),
    )
    for t in range(window - 1, len(values)):
        part = values[t - window + 1 : t + 1]
        assert found[t] == pytest.approx(reference.exact_deviation(part, 0), rel=1e-12, abs=0)
        assert mean[t] == pytest.approx(float(sum(map(Fraction, part)) / window), rel=1e-14)


@pytest.mark.parametrize("level", [1e2, 1e4, 1e6, 1e8])
def test_deviation_and_slope_do_not_lose_digits_to_the_level(level):
    x = np.random.default_rng(0).normal(0, 1e-3, 400) + level
    deviation, slope = reference.stddev(list(x), 20, 1.0, 0), reference.linearreg_slope(list(x), 20)
    np.testing.assert_allclose(wb.indicators.stddev(x, window=20), deviation, rtol=1e-12)
    np.testing.assert_allclose(wb.indicators.linearreg_slope(x, window=20), slope, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-15, 1e-8, 1e8])
def test_strength_and_direction_know_no_scale(scale):
    fields = {name: plane[:, 0] * scale for name, plane in bars(300, 1, seed=5).items()}
    for name in ("rsi", "adx", "stoch", "aroon", "mfi"):
        entry = indicators[name]
        plain = entry(*(x / scale for x in inputs(entry, fields)))
        for found, expected in zip(outputs(entry(*inputs(entry, fields))), outputs(plain), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_halted_stock_keeps_its_strength():
    close = np.concatenate([bars(100, 1)["close"][:, 0], np.full(700, 50.0)])
    np.testing.assert_allclose(wb.indicators.rsi(close), talib.RSI(close, 14), rtol=1e-9)


def test_a_bar_that_is_upside_down_has_talibs_range():
    high, low, close = np.array([3.0, 3, 1, 3, 3]), np.array([1.0, 1, 3, 1, 1]), np.full(5, 2.0)
    for columns in (1, 2):
        found = wb.indicators.atr(*(np.tile(v[:, None], columns) for v in (high, low, close)), window=2)
        np.testing.assert_allclose(found[:, -1], talib.ATR(high, low, close, 2), rtol=1e-12)


def test_a_flat_window_has_no_deviation_and_no_slope():
    assert (wb.indicators.stddev(np.full(40, 1e200), window=4)[3:] == 0).all()
    x = np.concatenate([np.geomspace(1, 1e12, 50), np.full(60, 0.1), np.full(60, 1e9 / 3)])
    for window in (2, 5, 14, 30):
        for name in ("stddev", "linearreg_slope"):
            found = indicators[name](x, window=window)
            assert (found[50 + window - 1 : 110] == 0).all()
            assert (found[110 + window - 1 :] == 0).all()


def test_no_drift_on_ten_million_rows():
    """The last of ten million rows is that of its own window, bit for bit: nothing is carried that could drift."""
    x = np.random.default_rng(0).standard_normal(10_000_000).cumsum() + 1e6
    x[::1_000_003] *= 1e6
    for name in ("sma", "wma", "stddev", "linearreg_slope", "max", "mfi"):
        entry = indicators[name]
        series = [x] * len(entry.inputs)
        params = {"window": 25}
        found = outputs(entry(*series, **params))[0][-1000:]
        fresh = outputs(entry(*(s[-1025:] for s in series), **params))[0][-1000:]
        np.testing.assert_allclose(found, fresh, rtol=1e-12)


def test_cross_section_against_pandas_and_by_hand():
    x = bars(50, 13, seed=3, gaps=0.2)["close"]
    frame = pd.DataFrame(x)
    np.testing.assert_allclose(wb.indicators.rank(x), frame.rank(axis=1, pct=True), rtol=1e-15)
    deviation = frame.sub(frame.mean(axis=1), axis=0).div(frame.std(axis=1), axis=0)
    np.testing.assert_allclose(wb.indicators.zscore(x), deviation, rtol=1e-9, atol=1e-12)
    assert wb.indicators.rank(np.array([[3.0, 1.0, 1.0, np.nan]])).tolist()[0][:3] == [1.0, 0.5, 0.5]
    assert np.isnan(wb.indicators.zscore(np.full((2, 4), 0.1))).all()
    assert np.isnan(wb.indicators.zscore(np.array([[1.0], [2.0]]))).all()


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: wb.indicators.rsi(np.ones(9), windw=3), ParameterError, "did you mean 'window'"),
        (lambda: wb.indicators.rsi(np.ones(9), 14, 3), ParameterError, "expected 1: close"),
        (lambda: wb.indicators.rsi(np.ones(9), 14, window=3), ParameterError, "given twice"),
        (lambda: wb.indicators.rsi(np.ones(9), window=2.5), ParameterError, "expected int"),
        (lambda: wb.indicators.rsi(np.ones(9), window=True), ParameterError, "expected int"),
        (lambda: wb.indicators.macd(np.ones(9), fast=30), ParameterError, "fast < slow"),
        (lambda: wb.indicators.stddev(np.ones(9), window=2, ddof=2), ParameterError, "ddof < window"),
        (lambda: wb.indicators.atr(np.ones(9)), ParameterError, "expected 3: high, low, close"),
        (lambda: wb.indicators.atr(np.ones(9), np.ones(8), np.ones(9)), DataError, "low has shape"),
        (lambda: wb.indicators.sma(np.array(["a"])), DataError, "expected real numbers"),
        (lambda: wb.indicators.sma(np.ones(3, dtype=complex)), DataError, "complex128"),
        (lambda: wb.indicators.sma(np.ones((2, 2, 2))), DataError, "expected \\(T,\\) or \\(T, N\\)"),
        (
            lambda: wb.indicators.sma(np.ones(5), out=np.ones(4)),
            ParameterError,
            "expected an ndarray of float64 \\(5,\\)",
        ),
        (lambda: wb.indicators.sma(np.ones(5), out=[0] * 5), ParameterError, "found|list"),
        (lambda: wb.indicators.macd(np.ones(5), out=np.ones(5)), ParameterError, "expected a tuple of 3"),
        (lambda: wb.indicators.macd(np.ones(5), out=5), ParameterError, "a int, expected a tuple"),
        (lambda: wb.indicators.sma(pd.Series(["1", "2"])), DataError, "expected real numbers"),
        (lambda: wb.indicators.sma(pd.Series([True, None], dtype="boolean")), DataError, "boolean"),
        (lambda: wb.indicators.sma(pd.Series(pd.date_range("2020", periods=3, tz="UTC"))), DataError, "datetime64"),
        (lambda: wb.stream("rsy"), LookupError, "did you mean 'rsi'"),
        (lambda: wb.stream("rsi", symbols=2).update(np.ones(2)), DataError, "expected \\(rows, 2\\)"),
        (lambda: wb.stream("rsi", symbols=2).update(np.ones((1, 3))), DataError, "expected \\(rows, 2\\)"),
        (lambda: wb.stream("atr").update(np.ones(2)), ParameterError, "high, low, close"),
        (lambda: wb.stream("rsi", dtype="float32").update(np.ones(2)), DataError, "the stream is float32"),
    ],
)
def test_bad_input_is_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_a_column_array_beside_series_gives_a_series():
    high, low, close = (np.arange(9.0) + i for i in (2, 0, 1))
    index = pd.RangeIndex(9)
    found = wb.indicators.atr(high[:, None], pd.Series(low, index), pd.Series(close, index), window=3)
    pd.testing.assert_series_equal(found, pd.Series(wb.indicators.atr(high, low, close, window=3), index))


def test_out_may_not_be_the_input_and_labels_must_agree():
    x = np.ones(9)
    with pytest.raises(ParameterError, match="overlaps an input"):
        wb.indicators.sma(x, window=2, out=x)
    locked = np.ones(9)
    locked.flags.writeable = False
    with pytest.raises(ParameterError, match="read-only"):
        wb.indicators.sma(x, window=2, out=locked)
    one, other = pd.Series(x), pd.Series(x, index=range(1, 10))
    with pytest.raises(DataError, match="labels of volume and close differ"):
        wb.indicators.obv(one, other)
    # an array without labels may stand first
    with pytest.raises(DataError, match="labels of close and low differ"):
        wb.indicators.atr(x, one, other, window=1)


def test_a_bad_chunk_leaves_the_stream_as_it_was():
    feed, other = stream("ema", window=3), stream("ema", window=3)
    feed.update(np.arange(5.0))
    other.update(np.arange(5.0))
    with pytest.raises(DataError):
        feed.update(np.array(["x"]))
    same_bits(feed.update(np.arange(4.0)), other.update(np.arange(4.0)))


def test_a_stream_that_was_stopped_within_an_update_says_so():
    feed = stream("sma", symbols=4, window=14)
    saved = pickle.dumps(feed)
    x = np.random.default_rng(0).standard_normal((1_200_000, 4))
    left = [2]

    def check():
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), checkpoint(check):
        feed.update(x)
    with pytest.raises(WorkbenchError, match="was stopped within an update"):
        feed.update(x[:10])
    same_bits(pickle.loads(saved).update(x[:50]), wb.indicators.sma(x[:50], window=14))


def test_lists_and_masked_arrays_are_read():
    assert wb.indicators.sma([1.0, 2.0, 3.0], window=2).tolist()[1:] == [1.5, 2.5]
    assert wb.indicators.obv([1.0, 2.0], (3.0, 4.0)).tolist() == [3.0, 7.0]
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    assert np.isnan(wb.indicators.sma(masked, window=1)).tolist() == [False, True, False]


def test_nullable_columns_are_read():
    x = pd.Series([1.0, 2.0, None, 4.0], dtype="Float64")
    assert wb.indicators.sma(x, window=1).tolist()[:2] == [1.0, 2.0]
    assert np.isnan(wb.indicators.sma(x, window=1).iloc[2])


def test_registration_without_its_declarations_fails():
    def declare(function, **changed):
        return indicator(
            **{"lookback": lambda: 0, "range": (None, None), "source": "A (1)", "convention": "none"} | changed
        )(function)

    def documented(kernels, close):
        """Something."""
        return close

    def bare(kernels, close):
        return close

    def strange(kernels, price):
        """Something."""
        return price

    def unlisted(kernels, close, period=3):
        """Something."""
        return close

    for function, changed, words in (
        (documented, {"source": ""}, "source"),
        (documented, {"convention": ""}, "convention"),
        (bare, {}, "docstring"),
        (strange, {}, "inputs"),
        (unlisted, {}, "not in the list of parameters"),
    ):
        with pytest.raises(RegistrationError, match=words):
            declare(function, **changed)
    assert len(indicators) == len(NAMES)


def test_a_checkpoint_stops_a_running_kernel():
    seen = []

    def check():
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    x = np.ones((40_000, 400))
    with pytest.raises(KeyboardInterrupt), checkpoint(check):
        wb.indicators.sma(x)
    assert len(seen) == 3


def test_every_kernel_is_spoken():
    """A kernel that no indicator uses is dead code; the backtest has the account, a label barriers, ic correlation."""
    used = set()
    for entry in indicators.values():
        used |= set(entry.sentence.__code__.co_names)
    assert set(kernels) - used == {"account", "correlation", "triple_barrier"}
