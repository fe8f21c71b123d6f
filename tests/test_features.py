"""Features: their text, what they compute, that they compute it once, and that threads change nothing."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import time as clock
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import features
from workbench.errors import DataError, ParameterError, TaskError, UnknownNameError
from workbench.features import Expression, Recipe, feature, field
from workbench.indicators import indicators
from workbench.indicators.core import Indicator
from workbench.panel import Panel

CLOSE = field("close")


def panel_of(rows=60, symbols=4, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (rows, symbols)), axis=0))
    spread = rng.uniform(1, 1.02, (2, rows, symbols))
    volume = rng.uniform(1e3, 1e5, (rows, symbols))
    values = np.stack([close, close * spread[0], close / spread[1], close, volume]).astype(dtype)
    values[:, rng.random((rows, symbols)) < 0.02] = np.nan
    time = pd.date_range("2020-01-01", periods=rows, tz="UTC")
    return Panel(values, time, [f"S{n}" for n in range(symbols)], ["open", "high", "low", "close", "volume"])


PANEL = panel_of()

# Every indicator with each of its outputs, on its own fields and on other expressions.
leaves = st.one_of(
    st.sampled_from(["open", "high", "low", "close", "volume"]).map(field),
    st.sampled_from(
        [(name, output) for name, entry in indicators.items() for output in entry.outputs if name != "lag"]
    ).map(lambda pair: feature(pair[0], output=pair[1])),
    st.integers(2, 8).map(lambda n: feature("sma", window=n)),
    st.integers(1, 3).map(lambda n: feature("roc", window=n)),
)
numbers = st.one_of(st.integers(-3, 3), st.floats(-10, 10, allow_subnormal=False)).filter(bool)


def grown(inner):
    pair = st.tuples(inner, st.one_of(inner, numbers))
    return st.one_of(
        inner.map(Expression.rank),
        inner.map(Expression.zscore),
        st.tuples(inner, st.integers(0, 3)).map(lambda p: p[0].lag(p[1])),
        inner.map(lambda e: -e),
        inner.map(abs),
        st.tuples(inner, st.integers(2, 5)).map(lambda p: feature("max", p[0], window=p[1])),
        pair.map(lambda p: p[0] + p[1]),
        pair.map(lambda p: p[0] - p[1]),
        pair.map(lambda p: p[1] * p[0]),
        pair.map(lambda p: p[1] / p[0]),
        pair.map(lambda p: p[0] / p[1]),
    )


expressions = st.recursive(leaves, grown, max_leaves=6)
recipes = st.lists(expressions, min_size=1, max_size=6, unique=True).map(Recipe)


def rebuilt(text):
    return eval(text, {"feature": feature, "field": field, "Recipe": Recipe})


def plainly(expression, panel):
    """The expression by its definition, nothing shared, pandas for what is not an indicator."""
    if isinstance(expression, features._Field):
        return panel[expression.name]
    if isinstance(expression, features._Output):
        return plainly(expression.parts[0], panel)[expression.number]
    if isinstance(expression, features._Call):
        parts = [plainly(part, panel) for part in expression.parts]
        if expression.entry.name == "lag":
            return parts[0].shift(expression.params["lag"])
        return expression.entry(*parts, **expression.params)
    a, b = (*expression.operands, None)[:2]
    a, b = (plainly(o, panel) if isinstance(o, Expression) else o for o in (a, b))
    result = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "neg": lambda: -a,
        "abs": lambda: abs(a),
    }[expression.operator]()
    return result.where(np.isfinite(result))


# ------------------------------------------------------------------ the text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (feature("rsi", window=14), 'feature("rsi", window=14)'),
        (feature("rsi"), 'feature("rsi", window=14)'),
        (feature("obv"), 'feature("obv")'),
        (CLOSE, 'field("close")'),
        (feature("sma", "close", window=5), 'feature("sma", window=5)'),
        (feature("sma", CLOSE.lag(1), window=5), 'feature("sma", field("close").lag(1), window=5)'),
        (feature("sma", "volume"), 'feature("sma", field("volume"), window=30)'),
        (feature("rsi").rank().lag(2), 'feature("rsi", window=14).rank().lag(2)'),
        (feature("zscore"), 'field("close").zscore()'),
        (feature("zscore", ddof=0), 'feature("zscore", ddof=0)'),
        (feature("macd"), 'feature("macd", output="macd", fast=12, slow=26, signal=9)'),
        (feature("aroon", output="up"), 'feature("aroon", output="up", window=14)'),
        ((CLOSE - 1).rank(), '(field("close") - 1.0).rank()'),
        (2 / -abs(CLOSE), '(2.0 / (-abs(field("close"))))'),
        (np.float64(2) * CLOSE, '(2.0 * field("close"))'),
        (Recipe([CLOSE, -CLOSE]), 'Recipe([field("close"), (-field("close"))])'),
        (Recipe({"x": CLOSE}), 'Recipe({"x": field("close")})'),
        (Recipe({'field("close")': CLOSE}), 'Recipe([field("close")])'),
    ],
)
def test_repr(expression, text):
    assert repr(expression) == text
    assert rebuilt(text) == expression


@given(expression=expressions)
def test_the_repr_rebuilds_it(expression):
    again = rebuilt(repr(expression))
    assert again == expression
    assert hash(again) == hash(expression)
    assert type(again) is type(expression)
    for twin in (pickle.loads(pickle.dumps(expression)), copy.deepcopy(expression)):
        assert twin == expression
        assert twin.lookback == expression.lookback
        assert twin.fields == expression.fields


@given(recipe=recipes)
def test_recipes_rebuild_and_travel(recipe):
    assert rebuilt(repr(recipe)) == recipe == pickle.loads(pickle.dumps(recipe))
    named = Recipe({f"f{n}": f for n, f in enumerate(recipe.values())})
    assert rebuilt(repr(named)) == named != recipe
    assert hash(rebuilt(repr(named))) == hash(named)


def test_expressions_are_frozen_and_not_to_be_mistaken():
    rsi = feature("rsi")
    with pytest.raises(AttributeError, match="frozen"):
        rsi.params = {}
    with pytest.raises(AttributeError, match="frozen"):
        del rsi.parts
    with pytest.raises(TypeError, match="no truth value"):
        bool(rsi)
    assert rsi != 'feature("rsi", window=14)'
    assert rsi == feature("rsi", window=14)
    assert len({rsi, feature("rsi", window=14), feature("rsi", window=13)}) == 2
    assert rsi.lag(0) is rsi
    assert CLOSE + 1 != 1 + CLOSE


# ------------------------------------------------------------------ the numbers


@given(recipe=recipes)
def test_values_are_those_of_the_definition(recipe):
    computed = recipe.compute(PANEL)
    assert computed.fields == tuple(recipe)
    assert computed.symbols == PANEL.symbols
    assert computed.time.equals(PANEL.time)
    for name, expression in recipe.items():
        expected = plainly(expression, PANEL).to_numpy()
        np.testing.assert_array_equal(computed.plane(name), expected, err_msg=name)


@given(recipe=recipes, workers=st.integers(2, 4))
def test_threads_give_the_bits_of_one(recipe, workers):
    serial = recipe.compute(PANEL, workers=1)
    threads = recipe.compute(PANEL, workers=workers)
    alone = [expression.compute(PANEL).values[0] for expression in recipe.values()]
    assert serial.values.tobytes() == threads.values.tobytes() == np.stack(alone).tobytes()


@given(recipe=recipes, t=st.integers(0, 60))
def test_prefix(recipe, t):
    """No feature sees a later row."""
    whole = recipe.compute(PANEL).values[:, :t]
    assert recipe.compute(PANEL.rows(0, t)).values.tobytes() == np.ascontiguousarray(whole).tobytes()


@given(recipe=recipes)
def test_lookback_is_the_head_of_missing_rows(recipe):
    """So many rows are missing, whatever is in them."""
    values = recipe.compute(panel_of(rows=90).rows(0, recipe.lookback)).values
    for name, expression in recipe.items():
        head = values[list(recipe).index(name), : expression.lookback]
        assert np.isnan(head).all(), name


def test_lookback_by_hand():
    assert CLOSE.lookback == 0
    assert feature("sma", window=5).lookback == 4
    assert feature("rsi", window=14).rank().lag(3).lookback == 17
    assert (feature("sma", feature("sma", window=5), window=3) + CLOSE).lookback == 6
    assert Recipe([CLOSE, feature("roc", window=7)]).lookback == 7
    for name, entry in indicators.items():
        assert feature(name, output=entry.outputs[0]).lookback == entry.lookback()


@given(recipe=recipes)
def test_other_symbols_matter_only_where_it_is_said(recipe):
    if not recipe.cross_section:
        some = recipe.compute(PANEL.select(symbols=["S2", "S0"]))
        assert some == recipe.compute(PANEL).select(symbols=["S2", "S0"])
    assert recipe.cross_section == any(w in repr(recipe) for w in ("rank", "zscore"))


def test_what_is_not_finite_is_missing():
    panel = PANEL.like(np.array([[[1.0, 0.0, -2.0, np.nan]]] * 2).repeat(60, axis=1), ["close", "open"])
    computed = Recipe({"inverse": 1 / CLOSE, "none": CLOSE / (CLOSE - CLOSE)}).compute(panel)
    np.testing.assert_array_equal(computed.plane("inverse")[0], [1, np.nan, -0.5, np.nan])
    assert np.isnan(computed.plane("none")).all()


def test_dtypes():
    recipe = Recipe([feature("roc", window=5).zscore(), feature("macd"), CLOSE / 3])
    single = panel_of(dtype=np.float32)
    assert recipe.compute(single).dtype == np.float32
    np.testing.assert_allclose(
        recipe.compute(single).values, recipe.compute(PANEL).values, rtol=2e-3, atol=2e-4, equal_nan=True
    )
    exact = recipe.compute(PANEL)
    for dtype in (np.float32, "float32", np.dtype("float32")):
        assert recipe.compute(PANEL, dtype=dtype) == exact.astype(np.float32)
    assert recipe.compute(single, dtype="float64") == recipe.compute(single.astype(np.float64))
    with pytest.raises(ParameterError, match="did you mean 'float64'"):
        recipe.compute(PANEL, dtype="float46")
    with pytest.raises(ParameterError, match="int64"):
        recipe.compute(PANEL, dtype=int)
    with pytest.raises(DataError, match="too large for float32"):
        (field("volume") * 1e300).compute(PANEL).astype(np.float32)


def test_inputs_are_left_alone_and_the_result_is_locked():
    before = PANEL.values.copy()
    computed = Recipe([CLOSE, -CLOSE, feature("rsi")]).compute(PANEL)
    np.testing.assert_array_equal(PANEL.values, before)
    assert not computed.values.flags.writeable
    assert not np.shares_memory(computed.values, PANEL.values)


def test_panels_without_rows():
    recipe = Recipe([feature("rsi").rank(), CLOSE.lag(1) / CLOSE])
    assert recipe.compute(PANEL.rows(0, 0)).shape == (2, 0, 4)
    assert np.isnan(recipe.compute(PANEL.rows(0, 1)).values).all()


# ------------------------------------------------------------------ shared, and once


@pytest.fixture
def calls(monkeypatch):
    """Names of the indicators that are called, in order, each call made slow enough to be met by another."""
    made, lock, plain = [], threading.Lock(), Indicator.__call__

    def counted(entry, *args, **kwargs):
        with lock:
            made.append(entry.name)
        clock.sleep(0.002)
        return plain(entry, *args, **kwargs)

    monkeypatch.setattr(Indicator, "__call__", counted)
    return made


@pytest.mark.parametrize("workers", [1, 4])
def test_equal_parts_are_computed_once(calls, workers):
    rsi = feature("rsi")
    recipe = Recipe(
        [
            rsi,
            feature("rsi", window=14).rank(),
            rsi.rank() - rsi.rank().lag(1),
            rsi + rsi,
            *(feature("macd", output=o) for o in ("hist", "signal", "macd")),
            feature("macd", output="hist").zscore(),
        ]
    )
    values = recipe.compute(PANEL, workers=workers)
    assert sorted(calls) == ["lag", "macd", "rank", "rsi", "zscore"]
    alone = [f.compute(PANEL).values[0] for f in recipe.values()]
    assert np.stack(alone).tobytes() == values.values.tobytes()
    # nothing is kept from one computation to the next
    calls.clear()
    recipe.compute(PANEL, workers=workers)
    assert len(calls) == 5


def test_a_feature_under_two_names_is_computed_once(calls):
    computed = Recipe({"a": feature("rsi"), "b": feature("rsi"), "c": CLOSE, "d": CLOSE}).compute(PANEL)
    assert calls == ["rsi"]
    np.testing.assert_array_equal(computed.plane("a"), computed.plane("b"))
    np.testing.assert_array_equal(computed.plane("c"), PANEL.plane("close"))
    np.testing.assert_array_equal(computed.plane("d"), PANEL.plane("close"))


def test_features_are_computed_in_their_place(monkeypatch):
    """Each indicator that is a feature writes into the block itself, also those with several outputs."""
    outs, plain = [], Indicator.__call__

    def seen(entry, *args, out=None, **kwargs):
        outs.extend(out if isinstance(out, tuple) else [out])
        return plain(entry, *args, out=out, **kwargs)

    monkeypatch.setattr(Indicator, "__call__", seen)
    recipe = Recipe([feature("rsi"), feature("macd", output="hist"), feature("macd", output="macd")])
    block = recipe.compute(PANEL).values
    assert sum(np.shares_memory(out, block) for out in outs) == 3
    assert len(outs) == 4


def test_planes_are_let_go_after_their_last_use(monkeypatch):
    """A chain of many steps never holds more than a few planes beside the block."""
    alive, most, plain = weakref.WeakSet(), [0], features._Computation.outs

    class Plane(np.ndarray):
        pass

    def outs(self, expression, count):
        planes = [p if np.shares_memory(p, self.block) else p.view(Plane) for p in plain(self, expression, count)]
        for plane in planes:
            if isinstance(plane, Plane):
                alive.add(plane)
        most[0] = max(most[0], len(alive))
        return planes

    monkeypatch.setattr(features._Computation, "outs", outs)
    monkeypatch.setattr(Plane, "__hash__", lambda plane: id(plane), raising=False)
    monkeypatch.setattr(Plane, "__eq__", lambda plane, other: plane is other, raising=False)
    chain = CLOSE
    for step in range(30):
        chain = abs(chain + step)
    gc.collect()
    chain.compute(PANEL)
    assert 0 < most[0] <= 3


def test_progress_counts_features():
    seen = []
    recipe = Recipe([feature("rsi"), feature("rsi").rank(), CLOSE])
    recipe.compute(PANEL, workers=2, progress=lambda *facts: seen.append(facts))
    assert [facts[:2] for facts in seen] == [(1, 3), (2, 3), (3, 3)]
    assert {facts[2] for facts in seen} == set(recipe)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_names_the_feature_and_the_part(monkeypatch, workers):
    plain = Indicator.__call__

    def failing(entry, *args, **kwargs):
        if entry.name == "rank":
            raise ZeroDivisionError("broken")
        return plain(entry, *args, **kwargs)

    monkeypatch.setattr(Indicator, "__call__", failing)
    recipe = Recipe([CLOSE, 1 + feature("rsi").rank().lag(1)])
    with pytest.raises(TaskError) as caught:
        recipe.compute(PANEL, workers=workers)
    assert '(1.0 + feature("rsi", window=14).rank().lag(1))' in caught.value.message
    assert caught.value.__cause__.__notes__[0] == 'in feature("rsi", window=14).rank()'


def test_fields_that_are_not_there():
    with pytest.raises(UnknownNameError, match="did you mean 'close'") as caught:
        Recipe({"x": CLOSE, "y": abs(field("clos"))}).compute(PANEL)
    assert caught.value.__notes__ == ["in the feature y"]
    with pytest.raises(UnknownNameError, match="unknown field 'volume'"):
        feature("obv").compute(PANEL.select(fields="close"))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: feature("rsii"), UnknownNameError, "did you mean 'rsi'"),
        (lambda: feature("rsi", windw=3), ParameterError, "did you mean 'window'"),
        (lambda: feature("rsi", window=0), ParameterError, "nearest valid value is 2"),
        (lambda: feature("rsi", 14), ParameterError, "parameters are given by name"),
        (lambda: feature("rsi", CLOSE, CLOSE), ParameterError, "takes 1 inputs .close., found 2"),
        (lambda: feature("atr", CLOSE), ParameterError, "takes 3 inputs .high, low, close., found 1"),
        (lambda: feature("rsi", output="rsy"), UnknownNameError, "did you mean 'rsi'"),
        (lambda: feature("macd", output="signl"), UnknownNameError, "did you mean 'signal'"),
        (lambda: feature("bbands"), ParameterError, "output= one of upper, middle, lower"),
        (lambda: field(""), ParameterError, "name of a field"),
        (lambda: field(CLOSE), ParameterError, "name of a field"),
        (lambda: CLOSE.lag(-1), ParameterError, "1 rows ahead"),
        (lambda: CLOSE.lag(1.5), ParameterError, "expected int"),
        (lambda: CLOSE.lag(True), ParameterError, "expected int"),
        (lambda: CLOSE + float("nan"), ParameterError, "must be finite"),
        (lambda: CLOSE * 10**400, ParameterError, "int too large for float64"),
        (lambda: -(10**5000) / CLOSE, ParameterError, "int too large for float64"),
        (lambda: CLOSE - (2**53 + 1), ParameterError, "9007199254740993 would be rounded to 9007199254740992.0"),
        (lambda: np.int64(2**63 - 1) + CLOSE, ParameterError, "9223372036854775807 would be rounded"),
        (lambda: feature("bbands", output="upper", k=10**400), ParameterError, "too large for a float"),
        (lambda: Recipe(5), ParameterError, "made of a int, expected features"),
        (lambda: Recipe(None), ParameterError, "made of a NoneType"),
        (lambda: CLOSE / float("inf"), ParameterError, "must be finite"),
        (lambda: CLOSE + "x", TypeError, "unsupported operand"),
        (lambda: CLOSE * True, TypeError, "unsupported operand"),
        (lambda: np.ones(3) * CLOSE, TypeError, "unsupported operand"),
        (lambda: Recipe([]), ParameterError, "no features"),
        (lambda: Recipe(["rsi"]), ParameterError, "expected an expression"),
        (lambda: Recipe("rsi"), ParameterError, "expected an expression"),
        (lambda: Recipe({"x": 1}), ParameterError, "expected a str and an expression"),
        (lambda: Recipe({" x": CLOSE}), ParameterError, "blanks"),
        (lambda: Recipe([CLOSE, field("close")]), ParameterError, r'field\("close"\) twice'),
        (lambda: Recipe([CLOSE])["close"], UnknownNameError, "unknown feature 'close'"),
        (lambda: Recipe([CLOSE]).compute(PANEL["close"]), ParameterError, "found a DataFrame"),
    ],
)
def test_what_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_integers_that_float64_holds_are_constants():
    assert repr(CLOSE - 2**53) == '(field("close") - 9007199254740992.0)'
    assert repr(CLOSE * 10**18) == '(field("close") * 1e+18)'


def repeated(step, times):
    expression = CLOSE
    for _ in range(times):
        expression = step(expression)
    return expression


STEPS = {
    "sum": lambda e: e + 1,
    "negative": lambda e: -e,
    "rank": Expression.rank,
    "lag": Expression.lag,
    "indicator": lambda e: feature("sma", e, window=2),
    "one of several outputs": lambda e: feature("macd", e, output="hist"),
}


@pytest.mark.parametrize("name", STEPS)
def test_an_expression_may_be_so_deep_and_no_deeper(name):
    """Up to the limit all that can be done with an expression can be done; beyond it the error names the limit."""
    with pytest.raises(ParameterError, match=f"expected at most {features.MAX_DEPTH} steps") as caught:
        repeated(STEPS[name], 1200)
    assert f"{features.MAX_DEPTH + 1} steps deep" in caught.value.message
    expression = repeated(STEPS[name], (features.MAX_DEPTH - 1) // (2 if "outputs" in name else 1))
    assert len(caught.value.message) < 200
    assert "compute a part of it" in caught.value.hint
    again = (rebuilt(repr(expression)), pickle.loads(pickle.dumps(expression)), copy.deepcopy(expression))
    assert set(again) == {expression}
    assert expression.fields == ("close",)
    assert expression.lookback >= 0
    assert expression.cross_section == (name == "rank")
    assert expression.compute(PANEL).shape == (1, 60, 4)


def test_an_expression_that_doubles_with_each_step_is_refused_before_it_fills_the_memory():
    with pytest.raises(ParameterError, match=f"{features.MAX_TEXT} characters"):
        repeated(lambda e: e + e, 60)
    doubled = repeated(lambda e: e + e, 10).compute(PANEL).values[0]
    np.testing.assert_array_equal(doubled, 1024 * PANEL.plane("close"))


def test_the_order_of_features_is_part_of_a_recipe():
    one, other = Recipe({"a": CLOSE, "b": -CLOSE}), Recipe({"b": -CLOSE, "a": CLOSE})
    assert one != other
    assert dict(one) == dict(other)
    assert one.compute(PANEL).fields == ("a", "b")


def test_a_single_expression_makes_a_recipe():
    assert Recipe(CLOSE) == Recipe([CLOSE])
