"""The account: against a slow one that can be read, and by the laws that hold for every account."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.backtest import STATE_ROWS, Result, backtest, infer_periods_per_year, weights_from_scores
from workbench.errors import DataError, ParameterError, UnknownNameError, WorkbenchError
from workbench.kernels import kernels
from workbench.panel import Panel


def panel_of(freq="B", dtype=np.float64, **planes):
    values = np.stack([np.asarray(p, dtype=dtype) for p in planes.values()])
    time = pd.date_range("2020-01-01", periods=values.shape[1], freq=freq, tz="UTC")
    return Panel(values, time, [f"S{n}" for n in range(values.shape[2])], list(planes))


def run(weights, close, opens=None, **params):
    prices = {"close": close} if opens is None else {"open": opens, "close": close}
    return backtest(panel_of(weight=weights), panel_of(**prices), **params)


def reference(weights, fills, closes, capital=1.0, cost=0.0, slip=0.0):
    """The rules at the top of backtest.py, one symbol at a time, with nothing clever."""
    n_rows, n_symbols = np.shape(weights)
    cash, shares, marks, bankrupt = capital, [0.0] * n_symbols, [math.nan] * n_symbols, False
    rows = []
    for t in range(n_rows):
        for n in range(n_symbols):
            if not math.isnan(fills[t][n]):
                marks[n] = float(fills[t][n])
        value = cash + math.fsum(s * m for s, m in zip(shares, marks, strict=True) if s)
        traded = charged = slipped = unfilled = 0
        if not bankrupt and value <= 0:
            bankrupt, cash, shares = True, value, [0.0] * n_symbols
        if t and not bankrupt:
            for n in range(n_symbols):
                wanted, price = float(weights[t - 1][n]), float(fills[t][n])
                if math.isnan(wanted) or (wanted == 0 and shares[n] == 0):
                    continue
                if math.isnan(price):
                    unfilled += 1
                    continue
                before, shares[n] = shares[n], wanted * value / price
                bought = shares[n] - before
                paid = price * (1 + math.copysign(slip, bought))
                cash -= bought * paid + cost * abs(bought) * paid
                traded += abs(bought) * paid
                charged += cost * abs(bought) * paid
                slipped += abs(bought) * price * slip
        for n in range(n_symbols):
            if not math.isnan(closes[t][n]):
                marks[n] = float(closes[t][n])
        worth = [s * m if s else 0.0 for s, m in zip(shares, marks, strict=True)]
        equity = cash + math.fsum(worth)
        rows.append((cash, equity, traded, charged, slipped, unfilled, *shares))
        if not bankrupt and equity <= 0:
            bankrupt, cash, shares = True, equity, [0.0] * n_symbols
    return np.array(rows)


DOUBLING = st.floats(0.5, 2)


@st.composite
def markets(draw, missing=True, max_weight=2.0, steps=DOUBLING):
    """Weights, opens and closes on up to 12 rows and 3 symbols, with gaps of every kind."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 3)))
    gap = [st.just(np.nan)] if missing else []
    first = draw(hnp.arrays(np.float64, shape[1], elements=st.floats(0.1, 1e3)))
    moves = draw(hnp.arrays(np.float64, (2 * shape[0], shape[1]), elements=steps))
    path = first * np.cumprod(moves, axis=0)
    opens, closes = path[::2].copy(), path[1::2].copy()
    for plane in (opens, closes):
        if missing:
            plane[draw(hnp.arrays(bool, shape, elements=st.sampled_from([False] * 4 + [True])))] = np.nan
    weights = draw(
        hnp.arrays(np.float64, shape, elements=st.one_of(st.floats(-max_weight, max_weight), st.just(0.0), *gap))
    )
    return weights, opens, closes


fees = st.sampled_from([0.0, 1.0, 25.0, 300.0])


def close_to(result, expected, scale=1.0):
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11 * scale)


# ------------------------------------------------------------------ against the slow account


@settings(max_examples=200)
@given(market=markets(), cost=fees, slip=fees, fill=st.sampled_from(["open", "close"]))
def test_the_account_is_the_slow_one(market, cost, slip, fill):
    weights, opens, closes = market
    result = run(weights, closes, opens, cost_bps=cost, slippage_bps=slip, fill=fill, capital=50.0)
    expected = reference(weights, opens if fill == "open" else closes, closes, 50.0, cost / 1e4, slip / 1e4)
    table = result.table
    scale = 1 + np.abs(expected[:, :2]).max()
    close_to(table[["cash", "equity"]], expected[:, :2], scale)
    close_to(table["costs"], expected[:, 3], scale)
    close_to(table["slippage"], expected[:, 4], scale)
    np.testing.assert_array_equal(table["unfilled"], expected[:, 5])
    close_to(result.positions, expected[:, 6:], 1 + np.abs(expected[:, 6:]).max())
    broke = np.flatnonzero(expected[:, 1] <= 0)
    assert result.bankrupt == (table.index[broke[0]] if len(broke) else None)
    assert result.unfilled == expected[:, 5].sum()


def test_an_account_by_hand():
    # row 0 decides 50% long A, 50% short B; both are filled at row 1's open, at 10 and 20, 1% slipped
    nan = np.nan
    result = run(
        [[0.5, -0.5], [nan, nan], [0.0, nan], [nan, nan]],
        closes := [[9.0, 21.0], [11.0, 20.0], [12.0, 25.0], [99.0, nan]],
        [[8.0, 22.0], [10.0, 20.0], [nan, 24.0], [13.0, 24.0]],
        capital=1000.0,
        cost_bps=100,
        slippage_bps=100,
    )
    # +50 A at 10.1 = 505, -25 B at 19.8 = 495; cost 1% of 1000
    cash = 1000 - 505 + 495 - 10.0
    np.testing.assert_allclose(result.cash, [1000, cash, cash, cash + 50 * 13 * 0.99 * 0.99], rtol=1e-15)
    np.testing.assert_array_equal(result.positions, [[0, 0], [50, -25], [50, -25], [0, -25]])
    np.testing.assert_array_equal(result.marks, [*closes[:3], [99.0, 24.0]])
    np.testing.assert_allclose(result.equity.iloc[1:3], [cash + 550 - 500, cash + 600 - 625], rtol=1e-15)
    np.testing.assert_allclose(result.costs, [0, 10, 0, 50 * 13 * 0.99 * 0.01])
    np.testing.assert_allclose(result.table["slippage"], [0, 5 + 5, 0, 6.5])
    np.testing.assert_allclose(result.turnover.iloc[1], 1.0)
    np.testing.assert_allclose(result.exposure.iloc[1], 1050 / (cash + 50))
    np.testing.assert_allclose(result.table["net_exposure"].iloc[1], 50 / (cash + 50))
    assert result.unfilled == 0
    assert result.fill == "open"


# ------------------------------------------------------------------ identities


@settings(max_examples=200)
@given(market=markets(), cost=fees, slip=fees)
def test_cash_and_positions_are_the_equity(market, cost, slip):
    result = run(market[0], market[2], market[1], cost_bps=cost, slippage_bps=slip)
    worth = (result.positions * result.marks.fillna(0)).to_numpy()
    total = result.cash + worth.sum(axis=1)
    scale = np.abs(result.cash) + np.abs(worth).sum(axis=1)
    assert (np.abs(total - result.equity) <= 1e-12 * scale).all()
    # cash moves by what is traded and charged, and by nothing else
    bought = np.diff(result.positions.to_numpy(), axis=0, prepend=0.0)
    prices = np.where(np.isnan(market[1]), 0, market[1])
    paid = (bought * prices).sum(axis=1) + result.costs + result.table["slippage"]
    alive = (result.equity > 0).cumprod().astype(bool)
    moved = result.cash.diff().fillna(result.cash.iloc[0] - 1)
    off = np.abs(moved + paid) > 1e-9 * (scale + np.abs(bought * prices).sum(axis=1))
    assert not off[alive].any()


@given(market=markets())
def test_without_weights_nothing_happens(market):
    for quiet in (0.0, np.nan):
        result = run(np.full_like(market[0], quiet), market[2], market[1], cost_bps=50, capital=7.0)
        assert (result.equity == 7.0).all()
        assert (result.cash == 7.0).all()
        assert not result.table[["costs", "slippage", "turnover", "exposure", "unfilled"]].any(axis=None)
        assert not result.positions.any(axis=None)
        assert result.returns.iloc[1:].isna().all() if quiet != 0 else (result.returns.iloc[1:] == 0).all()
        assert math.isnan(result.sharpe)


@given(market=markets(missing=False))
def test_constant_prices_and_weights_change_nothing(market):
    weights, opens, _ = market
    still = np.broadcast_to(opens[:1], opens.shape)
    result = run(np.broadcast_to(weights[:1], weights.shape), still, still)
    np.testing.assert_allclose(result.equity, 1.0, rtol=1e-12)
    np.testing.assert_allclose(result.turnover[2:], 0.0, atol=1e-12)


@given(market=markets(missing=False))
def test_no_order_no_trade(market):
    """After the first decision only NaN: the shares bought first are held to the end, free of any cost."""
    weights, opens, closes = market
    weights = np.vstack([weights[:1], np.full_like(weights[1:], np.nan)])
    result = run(weights, closes, opens, cost_bps=10)
    if result.bankrupt is None:
        assert (result.positions.diff().iloc[2:] == 0).all(axis=None)
    assert not result.costs.iloc[2:].any()
    assert not result.turnover.iloc[2:].fillna(0).any()


@given(market=markets(missing=False))
def test_buy_and_hold_is_the_price_ratio(market):
    _, opens, closes = market
    weights = np.full_like(opens, np.nan)
    weights[0] = [1.0] + [0.0] * (opens.shape[1] - 1)
    result = run(weights, closes, opens, capital=3.0)
    if len(opens) > 1:
        np.testing.assert_allclose(result.equity.iloc[1:], 3 * closes[1:, 0] / opens[1, 0], rtol=1e-12, atol=1e-14)


@given(market=markets(missing=False), cost=st.floats(1, 500))
def test_a_cost_on_given_trades_is_lost_exactly(market, cost):
    """One decision, then hold: the trades are the same at any cost, so equity differs by the cost paid."""
    weights, opens, closes = market
    weights = np.vstack([weights[:1], np.full_like(weights[1:], np.nan)])
    free, dear = run(weights, closes, opens), run(weights, closes, opens, cost_bps=cost)
    if free.bankrupt is None and dear.bankrupt is None:
        np.testing.assert_array_equal(free.positions, dear.positions)
        lost = free.equity - dear.equity
        scale = 1 + np.abs(free.positions * free.marks).sum(axis=1)
        assert (np.abs(lost - dear.costs.sum())[1:] <= 1e-12 * scale[1:]).all()


@settings(max_examples=200)
@given(
    market=markets(missing=False, steps=st.floats(0.8, 1.25)),
    fee=st.sampled_from(["cost_bps", "slippage_bps"]),
    low=st.floats(0, 100),
    more=st.floats(0.1, 100),
)
def test_a_higher_cost_never_earns_more(market, fee, low, more):
    """For portfolios without leverage that are rebalanced on every row: at no row is more equity left.

    With leverage or partial orders it would not hold: who has less to bet with can lose less.
    """
    weights, opens, closes = market
    weights = weights / np.maximum(np.abs(weights).sum(axis=1, keepdims=True), 1)
    cheap = run(weights, closes, opens, **{fee: low})
    dear = run(weights, closes, opens, **{fee: low + more})
    assert (dear.equity <= cheap.equity * (1 + 1e-12)).all()


# ------------------------------------------------------------------ nothing is known too early


@given(market=markets(), data=st.data())
def test_weights_are_filled_on_the_next_row_and_not_before(market, data):
    weights, opens, closes = market
    t = data.draw(st.integers(0, len(weights) - 1))
    other = weights.copy()
    other[t:] = data.draw(hnp.arrays(np.float64, other[t:].shape, elements=st.floats(-2, 2)))
    before, after = run(weights, closes, opens), run(other, closes, opens)
    pd.testing.assert_frame_equal(before.positions.iloc[: t + 1], after.positions.iloc[: t + 1])
    keep = [c for c in before.table if c != "returns"]  # which also say when the account was opened
    pd.testing.assert_frame_equal(before.table[keep].iloc[: t + 1], after.table[keep].iloc[: t + 1])


@given(market=markets(missing=False), fill=st.sampled_from(["open", "close"]), data=st.data())
def test_no_order_is_filled_at_a_price_that_it_could_have_been_computed_from(market, fill, data):
    """A first decision on row t: prices up to t may be anything, the trade and all after it stay the same."""
    weights, opens, closes = market
    t = data.draw(st.integers(0, len(weights) - 1))
    weights = weights.copy()
    weights[:t] = np.nan
    past = data.draw(hnp.arrays(np.float64, (2, t + 1, opens.shape[1]), elements=st.floats(0.1, 1e3)))
    other = [np.vstack([new, old[t + 1 :]]) for new, old in zip(past, (opens, closes), strict=True)]
    before, after = run(weights, closes, opens, fill=fill), run(weights, other[1], other[0], fill=fill)
    pd.testing.assert_frame_equal(before.positions, after.positions)
    pd.testing.assert_frame_equal(before.table, after.table)
    # and the price that it is filled at does move it
    if t + 1 < len(weights) and abs(weights[t, 0]) > 1e-300 and before.bankrupt is None:  # half of less is rounded
        shifted = (opens if fill == "open" else closes).copy()
        shifted[t + 1, 0] *= 2
        planes = (closes, shifted) if fill == "open" else (shifted, opens)
        moved = run(weights, *planes, fill=fill)
        assert moved.positions.iloc[t + 1, 0] == before.positions.iloc[t + 1, 0] / 2


@given(market=markets(), cost=fees, data=st.data())
def test_prefix(market, cost, data):
    t = data.draw(st.integers(1, len(market[0])))
    whole = run(market[0], market[2], market[1], cost_bps=cost)
    part = run(market[0][:t], market[2][:t], market[1][:t], cost_bps=cost)
    pd.testing.assert_frame_equal(part.table, whole.table.iloc[:t], check_exact=True, check_freq=False)
    pd.testing.assert_frame_equal(part.positions, whole.positions.iloc[:t], check_exact=True, check_freq=False)


@given(market=markets(), dtype=st.sampled_from([np.float32, np.float64]), data=st.data())
def test_in_chunks_it_is_the_same_to_the_bit(market, dtype, data):
    planes = [np.ascontiguousarray(p, dtype=dtype) for p in market]
    n_rows, n_symbols = planes[0].shape
    edges = sorted(data.draw(st.lists(st.integers(0, n_rows), max_size=4)))

    def through(cuts):
        state = np.zeros((STATE_ROWS, n_symbols))
        outs = [np.full((n_rows, k), -1.0) for k in (n_symbols, n_symbols, 9)]
        for a, b in zip([0, *cuts], [*cuts, n_rows], strict=True):
            state = pickle.loads(pickle.dumps(state))
            kernels["account"].function(*(p[a:b] for p in planes), 1.0, 1e-3, 2e-3, state, *(o[a:b] for o in outs))
        return np.hstack(outs), state

    for whole, chunks in zip(through([]), through(edges), strict=True):
        assert whole.tobytes() == chunks.tobytes()


@given(market=markets())
def test_float32_is_accounted_in_double_and_inputs_are_left_alone(market):
    weights, opens, closes = (p.astype(np.float32) for p in market)
    single = backtest(panel_of(dtype=np.float32, weight=weights), panel_of(dtype=np.float32, open=opens, close=closes))
    double = run(weights, closes, opens)
    pd.testing.assert_frame_equal(single.table, double.table, check_exact=True)
    mixed = backtest(panel_of(dtype=np.float32, weight=weights), panel_of(open=opens, close=closes))
    pd.testing.assert_frame_equal(mixed.table, double.table, check_exact=True)


# ------------------------------------------------------------------ gaps and ruin


def test_a_symbol_without_a_price_cannot_be_traded_and_keeps_its_mark():
    nan = np.nan
    result = run([[0.5, 0.5]] + [[nan, nan]] + [[0.0, 0.0]] * 3, [[10.0, 5], [10, 6], [20, nan], [nan] * 2, [5, nan]])
    np.testing.assert_array_equal(result.table["unfilled"], [0, 0, 0, 2, 1])
    np.testing.assert_allclose(
        result.positions, [[0, 0], [0.05, 0.5 / 6], [0.05, 0.5 / 6], [0.05, 0.5 / 6], [0, 0.5 / 6]]
    )
    np.testing.assert_array_equal(result.marks, [[10, 5], [10, 6], [20, 6], [20, 6], [5, 6]])
    np.testing.assert_allclose(result.equity, [1, 1, 1.5, 1.5, 0.75])
    assert result.unfilled == 3
    assert any("3 orders were dropped" in note for note in result.notes)


def test_no_order_is_counted_for_a_symbol_that_was_never_there():
    result = run([[1.0, 0.0]] * 3, [[1.0, np.nan]] * 3)
    assert result.unfilled == 0


def test_a_bankrupt_account_stops_and_says_so():
    weights = np.full((5, 1), -1.0)
    result = run(weights, [[10.0], [10], [25], [5], [5]], cost_bps=1)
    assert result.bankrupt == result.table.index[2]
    assert result.equity.iloc[2] < 0
    assert (result.equity.iloc[3:] == result.equity.iloc[2]).all()
    assert (result.positions.iloc[3:] == 0).all(axis=None)
    assert not result.table[["costs", "turnover"]].iloc[3:].fillna(0).any(axis=None)
    assert result.returns.iloc[3:].isna().all()
    assert result.returns.iloc[2] < -1
    assert math.isnan(result.summary()["annual_return"])
    assert "bankrupt" in repr(result)
    # a gap at the open, before the orders of the row
    opens = [[10.0], [10], [25], [5], [5]]
    result = run(weights, [[10.0], [10], [5], [5], [5]], opens)
    assert result.bankrupt == result.table.index[2]
    assert result.positions.iloc[2, 0] == 0
    np.testing.assert_allclose(result.equity, [1, 1, -0.5, -0.5, -0.5])


# ------------------------------------------------------------------ the result


def noisy(rows=504, freq="B", seed=7):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0.001, 0.02, (rows, 3)), axis=0))
    return panel_of(freq, weight=rng.normal(0, 0.3, (rows, 3))), panel_of(freq, close=close)


def test_summary_by_its_definitions():
    weights, prices = noisy()
    result = backtest(weights, prices, cost_bps=5, slippage_bps=2, trials=12)
    returns = result.equity.pct_change().dropna()
    figures = result.summary()
    assert math.isclose(figures["sharpe"], returns.mean() / returns.std(ddof=1) * 252**0.5, rel_tol=1e-12)
    assert math.isclose(figures["annual_volatility"], returns.std(ddof=1) * 252**0.5, rel_tol=1e-12)
    assert math.isclose(figures["total_return"], result.equity.iloc[-1] - 1, rel_tol=1e-12)
    assert math.isclose(figures["annual_return"], result.equity.iloc[-1] ** (252 / len(returns)) - 1, rel_tol=1e-12)
    assert math.isclose(figures["max_drawdown"], (result.equity / result.equity.cummax() - 1).min())
    assert math.isclose(figures["annual_turnover"], result.turnover.iloc[1:].mean() * 252)
    assert math.isclose(figures["costs_paid"], result.costs.sum())
    gross = result.weights.abs().sum(axis=1)
    np.testing.assert_allclose(gross, result.exposure, rtol=1e-12)
    assert math.isclose(figures["average_exposure"], gross.iloc[1:].mean())
    assert figures["trials"] == 12
    assert figures["rows"] == 503
    assert result.fingerprints == (weights.fingerprint, prices.fingerprint)
    np.testing.assert_allclose((1 + returns).prod(), result.equity.iloc[-1], rtol=1e-12)


def test_rows_before_the_first_decision_are_no_returns():
    weights, prices = noisy(60)
    late = np.vstack([np.full((20, 3), np.nan), weights.values[0, 20:]])
    whole = backtest(weights.like(late, "weight"), prices)
    part = backtest(weights.rows(20, None), prices.rows(20, None))
    assert whole.returns.iloc[:21].isna().all()
    assert whole.summary()["rows"] == 39
    for name in (
        "total_return",
        "annual_return",
        "annual_volatility",
        "sharpe",
        "max_drawdown",
        "annual_turnover",
    ):
        assert math.isclose(whole.summary()[name], part.summary()[name], rel_tol=1e-12)


FREQUENCIES = ["B", "B", "B", "D", "h", "W-FRI", "ME", "BME", "QE", "YE", "2YE"]
PERIODS = [300, 3, 1, 40, 24 * 21, 30, 30, 30, 9, 5, 4]
IN_A_YEAR = [252, 252, math.nan, 365, 24 * 365, 52, 12, 12, 4, 1, 0.5]
EXPECTED = list(zip(FREQUENCIES, PERIODS, IN_A_YEAR, strict=True))


@pytest.mark.parametrize(("freq", "periods", "expected"), EXPECTED)
def test_rows_in_a_year(freq, periods, expected):
    time = pd.date_range("2020-01-01", periods=periods, freq=freq, tz="UTC")
    np.testing.assert_allclose(infer_periods_per_year(time), expected, rtol=1e-2 if freq == "2YE" else 0)


def daily(days, hour=0, start="2021-01-04", weeks=60):
    """Rows on some days of each week (Monday is 0), stamped at an hour that may be of the day before."""
    first = pd.Timestamp(start, tz="UTC")
    rows = [first + pd.Timedelta(days=7 * w + d, hours=hour) for w in range(weeks) for d in days]
    return pd.DatetimeIndex(rows)


MARKETS = [
    pytest.param(range(5), -9, 252, id="Tokyo's midnights"),
    pytest.param([-1, 0, 1, 2, 3], 0, 252, id="Sunday to Thursday"),
    pytest.param([-1, 0, 1, 2, 3], -2, 252, id="Tel Aviv's midnights"),
    pytest.param(range(5), -2, 252, id="futures, the evening before"),
    pytest.param(range(5), 21, 252, id="New York's close"),
    pytest.param(range(7), 0, 365, id="crypto"),
    pytest.param([4], 0, 52, id="weekly"),
]


@pytest.mark.parametrize(("days", "hour", "expected"), MARKETS)
@pytest.mark.parametrize("weeks", [4, 12, 60, 520])
def test_rows_in_a_year_of_markets_everywhere(days, hour, expected, weeks):
    time = daily(days, hour, weeks=weeks)
    assert infer_periods_per_year(time) == expected
    if weeks > 12:
        draw = np.random.default_rng(weeks)
        holidays = draw.random(len(time)) < 0.03
        assert infer_periods_per_year(time[~holidays]) == expected
        hole = (time > time[len(time) // 3]) & (time < time[len(time) // 2])  # the symbol was not loaded
        assert infer_periods_per_year(time[~hole]) == expected


@pytest.mark.parametrize("start", range(7))
@pytest.mark.parametrize("rows", range(3, 40, 3))
def test_few_rows_of_a_market_that_closes_are_trading_days(start, rows):
    time = daily(range(5), 14)[start : start + rows]
    assert infer_periods_per_year(time) == 252
    if rows > 7:
        assert infer_periods_per_year(daily(range(7))[start : start + rows]) == 365


def test_rows_on_some_days_of_the_week():
    found = infer_periods_per_year(daily([0, 2, 4], weeks=104))
    assert math.isclose(found, 3 * 365.25 / 7, rel_tol=0.01)


def test_rows_in_a_year_within_days_of_markets_that_open_the_evening_before():
    hours = [pd.Timedelta(hours=h) for h in range(-2, 21)]  # 23 hours from 22:00 of the day before
    for weeks in (3, 30):
        days = daily(range(5), weeks=weeks)
        assert infer_periods_per_year(pd.DatetimeIndex([d + h for d in days for h in hours])) == 23 * 252
        always = pd.date_range("2021-01-01", periods=weeks * 7 * 24, freq="h", tz="UTC")
        assert infer_periods_per_year(always) == 24 * 365


def test_rows_in_a_year_within_trading_days():
    days = pd.date_range("2020-01-01", periods=30, freq="B", tz="UTC")
    time = pd.DatetimeIndex([d + pd.Timedelta(minutes=m) for d in days for m in range(870, 1260, 30)])
    assert infer_periods_per_year(time) == 13 * 252


def test_nothing_is_said_of_a_year_after_a_few_rows():
    yearly = ["annual_return", "annual_volatility", "sharpe", "annual_turnover"]
    short, enough = (backtest(*noisy(rows)) for rows in (20, 21))  # the first row has no return
    assert short.summary()[yearly].isna().all()
    assert math.isnan(short.sharpe)
    assert "too short" in repr(short)
    assert not enough.summary()[yearly].isna().any()
    assert "too short" not in repr(enough)
    year = backtest(*noisy(14), periods_per_year=12)  # few rows, but a year of them
    assert not year.summary()[yearly].isna().any()


def test_a_return_a_year_that_is_no_number_is_nan():
    result = run([[1.0]] * 30, np.geomspace(1, 1e6, 30)[:, None], periods_per_year=1e9)
    assert math.isnan(result.summary()["annual_return"])


@pytest.mark.parametrize("close", [[1.0, 1.0, 1e308, 1e308], [1e-300, 1e-300, 1e300, 1e300]])
def test_an_account_that_overflows_is_an_error(close):
    with pytest.raises(DataError, match=r"overflows at 2.*\(row \d\)"):
        run([[1000.0]] * 4, np.array(close)[:, None], capital=1e15)


def test_each_sharpe_stands_beside_its_trials():
    weights, prices = noisy(30)
    unknown, known = backtest(weights, prices), backtest(weights, prices, trials=40)
    for text in (repr(unknown), unknown._repr_html_()):
        assert f"{unknown.sharpe:.2f} (trials unknown)" in text
    for text in (repr(known), known._repr_html_()):
        assert f"{known.sharpe:.2f} (of 40 trials)" in text
    assert unknown.summary()["trials"] == "unknown"


def test_the_result_is_frozen_and_travels():
    result = backtest(*noisy(30))
    assert isinstance(result, Result)
    with pytest.raises(AttributeError):
        result.capital = 2
    again = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(again.table, result.table)
    columns = "equity cash returns drawdown turnover exposure net_exposure costs slippage unfilled"
    assert " ".join(result.table) == columns
    for name in ("equity", "cash", "returns", "drawdown", "turnover", "exposure", "costs"):
        series = getattr(result, name)
        assert isinstance(series, pd.Series)
        assert series.index.equals(result.positions.index)


def test_notes_say_what_a_reader_must_know():
    close = [[10.0], [11.0]]
    plain = run([[1.0]] * 2, close, close)
    assert plain.notes == ()
    assert any("no 'open'" in note for note in run([[1.0]] * 2, close).notes)
    assert run([[1.0]] * 2, close, fill="close").notes == ()
    prices = panel_of(open=close, close=close, adj_close=[[5.0], [11.0]])
    assert any("not adjusted" in n for n in backtest(panel_of(weight=[[1.0]] * 2), prices).notes)
    assert backtest(panel_of(weight=[[1.0]] * 2), prices.adjusted()).notes == ()


# ------------------------------------------------------------------ bad input


def test_panels_that_do_not_belong_together():
    weights, prices = noisy(10)
    with pytest.raises(DataError, match="differ in symbols|different symbols") as caught:
        backtest(weights.select(symbols=["S0", "S1"]), prices)
    assert "brought together for a backtest" in caught.value.__notes__[0]
    with pytest.raises(DataError, match="another order"):
        backtest(weights.select(symbols=["S1", "S0", "S2"]), prices)
    with pytest.raises(DataError, match="time"):
        backtest(weights.rows(0, 9), prices)
    with pytest.raises(UnknownNameError, match="did you mean 'weights'"):
        backtest(weights.rename({"weight": "weights"}), prices)
    with pytest.raises(UnknownNameError, match="unknown field 'close'"):
        backtest(weights, prices.rename({"close": "last"}))
    with pytest.raises(ParameterError, match="weights is a DataFrame"):
        backtest(weights["weight"], prices)
    with pytest.raises(DataError, match="no rows"):
        backtest(weights.rows(0, 0), prices.rows(0, 0))


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"cost_bps": -1}, "nearest valid value is 0"),
        ({"slippage_bps": 10_000}, "nearest valid value is 5000"),
        ({"capital": 0}, "outside"),
        ({"capital": math.inf}, "outside"),
        ({"capital": math.nan}, "capital=nan is NaN, expected a number"),
        ({"fill": "closed"}, "did you mean 'close'"),
        ({"trials": -1}, "nearest valid value is 0"),
        ({"periods_per_year": 0}, "outside"),
    ],
)
def test_parameters_out_of_range(given_, says):
    with pytest.raises(ParameterError, match=says):
        backtest(*noisy(5), **given_)


def test_prices_and_weights_that_are_none():
    with pytest.raises(DataError, match=r"close of 'S0' .*row 1.* is 0.0"):
        run([[1.0]] * 3, [[1.0], [0.0], [1.0]])
    with pytest.raises(DataError, match=r"open of 'S0' .*row 2.* is -1.0"):
        run([[1.0]] * 3, [[1.0]] * 3, [[1.0], [1.0], [-1.0]])
    with pytest.raises(DataError, match=r"weight of 'S0' .*row 0.* infinite"):
        run([[np.inf]] * 3, [[1.0]] * 3)


# ------------------------------------------------------------------ weights from scores

scores_of = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.one_of(st.floats(-100, 100).map(lambda x: round(x, 2)), st.just(np.nan)),
)


@settings(max_examples=200)
@given(
    score=scores_of,
    how=st.sampled_from(["rank", "zscore", "sign"]),
    gross=st.floats(0.1, 3),
    long_only=st.booleans(),
)
def test_weights_from_scores(score, how, gross, long_only):
    panel = panel_of(score=score)
    weights = weights_from_scores(panel, how=how, gross=gross, long_only=long_only)
    assert weights.fields == ("weight",)
    for row, weight in zip(score, weights.plane("weight"), strict=True):
        known = np.isfinite(row)
        if not known.any():
            assert np.isnan(weight).all()
            continue
        assert (weight[~known] == 0).all()
        total = np.abs(weight).sum()
        assert total == 0 or math.isclose(total, gross, rel_tol=1e-12)
        if how == "sign":
            assert (total == 0) == (not (row[known] > 0).any() if long_only else not row[known].any())
        else:
            assert (total == 0) == (len(set(row[known])) == 1)
            assert long_only or abs(weight.sum()) <= 1e-12 * gross
            order = np.argsort(row[known], kind="stable")
            assert (np.diff(weight[known][order]) >= -1e-12).all()
        assert not long_only or (weight >= 0).all()
        same = row[known][:, None] == row[known][None, :]
        gap = np.abs(weight[known][:, None] - weight[known][None, :])
        assert (gap[same] <= 1e-12 * gross).all()


def test_weights_from_scores_by_hand():
    panel = panel_of(score=[[1.0, 2.0, 9.0, np.nan], [5.0, 5.0, 5.0, 5.0], [np.nan] * 4, [-1, 1, 2, 0]])

    def rows(**params):
        return weights_from_scores(panel, **params).plane("weight")

    nan = np.nan
    flat, none = [0] * 4, [nan] * 4
    np.testing.assert_allclose(rows(), [[-0.5, 0, 0.5, 0], flat, none, [-3 / 8, 1 / 8, 3 / 8, -1 / 8]])
    np.testing.assert_allclose(rows(how="zscore")[0], [-0.3, -0.2, 0.5, 0])
    # three times 0.1 has a mean that is not 0.1: rounding is no opinion
    tied = weights_from_scores(panel_of(score=[[0.1, 0.1, 0.1]]), how="zscore")
    np.testing.assert_array_equal(tied.plane("weight"), [[0, 0, 0]])
    np.testing.assert_allclose(rows(how="sign", gross=3)[[0, 3]], [[1, 1, 1, 0], [-1, 1, 1, 0]])
    np.testing.assert_allclose(rows(long_only=True)[3], [0, 0.25, 0.75, 0])
    np.testing.assert_allclose(rows(long_only=True, gross=2)[0], [0, 0, 2, 0])


def test_weights_from_scores_refuses():
    panel = panel_of(score=[[1.0, 2.0]], other=[[1.0, 2.0]])
    assert weights_from_scores(panel).fields == ("weight",)
    with pytest.raises(UnknownNameError, match="unknown field 'score'"):
        weights_from_scores(panel.rename({"score": "x"}))
    with pytest.raises(ParameterError, match="did you mean 'rank'"):
        weights_from_scores(panel, how="ranks")
    with pytest.raises(DataError, match="infinite"):
        weights_from_scores(panel_of(score=[[np.inf, 1.0]]))
    with pytest.raises(WorkbenchError, match="expected a Panel"):
        weights_from_scores(panel["score"])


@given(score=scores_of)
def test_what_scores_wanted_is_what_is_held(score):
    """Filled at the close without cost, the weights held are the weights wanted on the row before."""
    wanted = weights_from_scores(panel_of(score=score))
    rng = np.random.default_rng(3)
    result = backtest(wanted, panel_of(close=rng.uniform(1, 100, score.shape)), fill="close")
    expected = wanted.plane("weight")[:-1]
    known = np.isfinite(expected)
    if result.bankrupt is None:
        np.testing.assert_allclose(result.weights.to_numpy()[1:][known], expected[known], rtol=0, atol=1e-10)


@given(
    row=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6),
    scale=st.sampled_from([1.0, 5e-324, 1e-300, 2.0**1000]),
)
def test_zscore_weights_are_neutral_for_scores_of_any_size(row, scale):
    row = np.clip(np.array(row) * 1.0, -1e308, 1e308) if scale == 1.0 else np.sign(row) * np.arange(len(row)) * scale
    weight = weights_from_scores(panel_of(score=[row]), how="zscore").plane("weight")[0]
    assert np.isfinite(weight).all()
    assert abs(weight.sum()) <= 1e-12
    assert math.isclose(np.abs(weight).sum(), 1.0, rel_tol=1e-12) == (len(set(row)) > 1)


def test_zscore_weights_of_the_largest_and_the_smallest_scores():
    expected = [-0.5, 0, 0.5]
    for row in ([-1e308, 0, 1e308], [0, 5e-324, 1e-323], [1.0, 1 + 2**-52, 1 + 2**-51]):
        np.testing.assert_allclose(
            weights_from_scores(panel_of(score=[row]), how="zscore").plane("weight")[0], expected, atol=1e-15
        )
