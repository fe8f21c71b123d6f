"""From weights to an account: orders are filled on the row after they were decided, with costs, and held.

The rules, in order, for every row (the kernel in ext/account.pyx is this list):

1. The account is valued at the row's fill prices; a symbol without one counts at its last known price.
2. The weights decided on the row before, and only those, are ordered: a weight is the wanted share of that
   value, of either sign. A NaN weight is no order: the position stays. A symbol without a fill price can't be
   traded: its order is dropped, counted in `Result.unfilled`, and not tried again.
3. A trade is paid at the fill price moved against it by `slippage_bps`; `cost_bps` is charged on the amount
   paid. Cash may fall below zero: it neither pays nor earns interest, shares neither pay dividends nor cost
   borrow.
4. What is held is marked at the row's close, or at its last known price where the close is missing.
5. An account whose value is not positive, at the fill or at the close, is bankrupt: it is closed out at the
   prices that show it, trades no more, and says so.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .errors import DataError, ParameterError
from .indicators import indicators
from .kernels import kernels
from .labels import positive_prices
from .panel import Panel
from .registry import Param, check_params

WEIGHT = "weight"
STATE_ROWS = 5
COLUMNS = ("cash", "equity", "gross", "net", "sized", "traded", "cost", "slippage", "unfilled")

PARAMS = (
    Param("cost_bps", 0.0, low=0, high=5000, doc="charged on what is traded, in basis points"),
    Param("slippage_bps", 0.0, low=0, high=5000, doc="by which a fill price moves against a trade"),
    Param("capital", 1.0, low=1e-6, high=1e15, doc="cash at the start"),
    Param("fill", "open", choices=("open", "close"), doc="price of the next row that orders are filled at"),
    Param("periods_per_year", None, low=1e-3, high=1e9, kind=float, optional=True, doc="rows in a year"),
    Param("trials", None, low=0, kind=int, optional=True, doc="settings tried to find this one"),
)

WEIGHTING = (
    Param("how", "rank", choices=("rank", "zscore", "sign"), doc="what of a score its weight follows"),
    Param("gross", 1.0, low=1e-6, high=1e6, doc="sum of the absolute weights"),
    Param("long_only", False, doc="whether the short side is dropped"),
)

DAY = 86_400e9  # nanoseconds
ENOUGH = 20  # rows; with fewer, of less than a year, nothing is said of a year
# rows in a year: what is found between the first two is the third
CALENDARS = ((340, 370, 365.0), (220, 285, 252.0), (48, 56, 52.0), (11, 13, 12.0), (3.7, 4.3, 4.0), (0.93, 1.07, 1.0))


@dataclass(frozen=True, eq=False)
class Result:
    """What became of the capital. Made by `backtest`; times are the rows of its panels, amounts are in money.

    Attributes
    ----------
    table : DataFrame of T rows
        Columns equity, cash, returns, drawdown, turnover, exposure, net_exposure, costs, slippage, unfilled.
    positions : DataFrame (T x N)
        Shares held after the row's trades.
    marks : DataFrame (T x N)
        The price that each symbol counts at, at the close; NaN before its first price.
    capital, cost_bps, slippage_bps, fill
        As given; `fill` is the field that orders were really filled at.
    periods_per_year : float
        Given, or inferred from time.
    trials : int or None
        How many settings were tried to find this one; None: unknown.
    bankrupt : Timestamp or None
        The row at which the account was no longer worth anything.
    unfilled : int
        Orders dropped because their symbol had no fill price.
    fingerprints : tuple of str
        Of the weights and of the prices.
    notes : tuple of str
        What a reader of the numbers has to know.
    """

    table: pd.DataFrame
    positions: pd.DataFrame
    marks: pd.DataFrame
    capital: float
    cost_bps: float
    slippage_bps: float
    fill: str
    periods_per_year: float
    trials: int | None
    bankrupt: pd.Timestamp | None
    unfilled: int
    fingerprints: tuple[str, str]
    notes: tuple[str, ...]

    @property
    def equity(self) -> pd.Series:
        """Cash and positions at the close; always ``cash + (positions * marks).sum(axis=1)``."""
        return self.table["equity"]

    @property
    def cash(self) -> pd.Series:
        """Cash after the row's trades."""
        return self.table["cash"]

    @property
    def returns(self) -> pd.Series:
        """Change of equity from row to row, a fraction.

        NaN up to the row of the first decision (the first weight that is not NaN), since until then the
        account was not open, and NaN after a bankruptcy.
        """
        return self.table["returns"]

    @property
    def drawdown(self) -> pd.Series:
        """Equity against its highest so far, minus 1: zero or negative."""
        return self.table["drawdown"]

    @property
    def turnover(self) -> pd.Series:
        """Amount traded, both ways, as a fraction of the account at the fill."""
        return self.table["turnover"]

    @property
    def exposure(self) -> pd.Series:
        """Gross value of the positions as a fraction of equity."""
        return self.table["exposure"]

    @property
    def costs(self) -> pd.Series:
        """Costs charged, without slippage (which stands in ``table["slippage"]``)."""
        return self.table["costs"]

    @cached_property
    def weights(self) -> pd.DataFrame:
        """What was really held at the close (T x N), as fractions of equity; NaN once bankrupt."""
        equity = self.equity.where(self.equity > 0)
        return (self.positions * self.marks.fillna(0.0)).div(equity, axis=0)

    @property
    def sharpe(self) -> float:
        """Mean of `returns` by their deviation (ddof 1), a year (Sharpe, 1994).

        NaN where they are flat, or too few: under 20 rows, unless these are a year.
        """
        if self._too_short:
            return math.nan
        mean, deviation = self.returns.mean(), self.returns.std()
        varies = deviation > 1e-12 * abs(mean)
        return float(mean / deviation * math.sqrt(self.periods_per_year)) if varies else math.nan

    @property
    def _too_short(self) -> bool:
        rows = int(self.returns.notna().sum())
        return rows < ENOUGH and not rows >= self.periods_per_year

    def summary(self) -> pd.Series:
        """The figures of a tear sheet by name; fractions, not percent.

        Those of a year are NaN where `returns` has fewer than 20 rows, unless these are a year.
        """
        returns = self.returns.dropna()
        growth = self.equity.iloc[-1] / self.capital
        years = math.nan if self._too_short else len(returns) / self.periods_per_year
        with np.errstate(over="ignore"):
            yearly = growth ** (1 / years) - 1 if years > 0 and growth > 0 else math.nan
        yearly = yearly if math.isfinite(yearly) else math.nan  # a few minutes of luck are no year
        periods = math.nan if self._too_short else self.periods_per_year
        trading = self.table.loc[returns.index]
        return pd.Series(
            {
                "total_return": growth - 1,
                "annual_return": yearly,
                "annual_volatility": returns.std() * math.sqrt(periods),
                "sharpe": self.sharpe,
                "trials": "unknown" if self.trials is None else self.trials,
                "max_drawdown": self.drawdown.min(),
                "annual_turnover": trading["turnover"].mean() * periods,
                "average_exposure": trading["exposure"].mean(),
                "average_net_exposure": trading["net_exposure"].mean(),
                "costs_paid": self.costs.sum(),
                "slippage_paid": self.table["slippage"].sum(),
                "unfilled_orders": self.unfilled,
                "rows": len(returns),
                "periods_per_year": self.periods_per_year,
            },
            dtype=object,
            name="backtest",
        )

    def _facts(self) -> list[tuple[str, str]]:
        """The summary as a reader wants it: percent, and each Sharpe ratio beside its number of trials."""
        figures = self.summary()
        time = self.table.index
        form = "%Y-%m-%d" if (time == time.normalize()).all() else "%Y-%m-%d %H:%M:%S"
        facts = [("rows", f"{figures['rows']}, {time[0]:{form}} to {time[-1]:{form}}")]
        for name in ("total_return", "annual_return", "annual_volatility", "max_drawdown"):
            short = name.startswith("annual") and self._too_short
            facts.append((name, "too short" if short else f"{figures[name]:.2%}"))
        trials = "trials unknown" if self.trials is None else f"of {self.trials} trials"
        facts.append(("sharpe", f"{figures['sharpe']:.2f} ({trials})"))
        turnover = "too short" if self._too_short else f"{figures['annual_turnover']:.2f} times equity"
        facts.append(("annual_turnover", turnover))
        net = round(figures["average_net_exposure"], 3) + 0.0  # a dollar-neutral one is 0, not -0
        exposure = f"{figures['average_exposure']:.1%} gross, {net:.1%} net"
        facts.append(("average_exposure", exposure))
        for name, bps in (("costs", self.cost_bps), ("slippage", self.slippage_bps)):
            paid = figures[f"{name}_paid"]
            text = f"{paid:.6g} ({paid / self.capital:.2%} of capital, at {bps:g} bps)"
            facts.append((f"{name}_paid", text))
        facts.append(("filled_at", f"the next row's {self.fill}"))
        return facts + [("note", note) for note in self.notes]

    def __repr__(self) -> str:
        return f"<Result: {', '.join(f'{name} {text}' for name, text in self._facts())}>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{name.replace('_', ' ')}</th><td {left}>{html.escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        return f"<table><caption {left}><b>Backtest</b></caption>{rows}</table>"


def backtest(
    weights: Panel,
    prices: Panel,
    *,
    cost_bps: float = 0.0,
    slippage_bps: float = 0.0,
    capital: float = 1.0,
    fill: str = "open",
    periods_per_year: float | None = None,
    trials: int | None = None,
) -> Result:
    """Trade `weights` on `prices` and account for it; the rules stand at the top of this module.

    Parameters
    ----------
    weights : Panel with the field "weight"
        Wanted share of the account in each symbol, decided after the row's close and filled on the next row.
        NaN: keep the position. What is decided on the last row is not filled any more.
    prices : Panel with the field "close", and "open" where there is one
        On the same rows and symbols as `weights`, positive, NaN where missing. Prices are taken as they are:
        adjust them for splits first (``panel.adjusted()``).
    cost_bps : float, default 0
        Charged on the amount traded, in basis points.
    slippage_bps : float, default 0
        By which the fill price moves against each trade, in basis points.
    capital : float, default 1
        Cash at the start.
    fill : {"open", "close"}, default "open"
        Price of the next row that orders are filled at; the close where the panel has no open.
    periods_per_year : float, optional
        Rows in a year, for the yearly figures; inferred from time where not given.
    trials : int, optional
        How many settings were tried to find this one; it stands beside the Sharpe ratio.

    Returns
    -------
    Result

    Raises
    ------
    DataError
        Rows or symbols that differ, infinite weights, prices that are not positive.
    UnknownNameError
        A field that is missing.
    ParameterError
        A parameter outside its range.
    """
    chosen = check_params(
        "backtest",
        PARAMS,
        {
            "cost_bps": cost_bps,
            "slippage_bps": slippage_bps,
            "capital": capital,
            "fill": fill,
            "periods_per_year": periods_per_year,
            "trials": trials,
        },
    )
    for name, panel in (("weights", weights), ("prices", prices)):
        if not isinstance(panel, Panel):
            raise ParameterError(
                f"backtest: {name} is a {type(panel).__name__}, expected a Panel",
                hint='prices.like(frame.to_numpy(), "weight") makes one of a frame of weights',
            )
    filled_at = chosen["fill"] if chosen["fill"] in prices.fields else "close"
    both = _aligned(weights, prices, filled_at)
    rows, shares, marks = _run(both, filled_at, chosen)
    return _result(weights, prices, filled_at, chosen, rows, shares, marks)


def _aligned(weights: Panel, prices: Panel, filled_at: str) -> Panel:
    """The fields that the kernel reads, in one panel of one dtype, checked."""
    try:
        used = prices.select(fields=list(dict.fromkeys([filled_at, "close"])))
        both = used.join(weights.select(fields=WEIGHT))
    except (DataError, LookupError) as error:
        error.add_note("while weights and prices were brought together for a backtest")
        raise
    _refuse_infinite(both, WEIGHT)
    if not len(both.time):
        raise DataError("there are no rows to trade on", hint="look at prices and weights: repr(prices)")
    for field in used.fields:
        positive_prices(both, field)
    return both


def _refuse_infinite(panel: Panel, field: str):
    infinite = np.argwhere(np.isinf(panel.plane(field)))
    if len(infinite):
        t, n = (int(i) for i in infinite[0])
        raise DataError(
            f"the {field} of {panel.symbols[n]!r} at {panel.time[t]} (row {t}) is infinite",
            hint="NaN is what is missing",
        )


def _run(both: Panel, filled_at: str, chosen: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel over all rows: its (T, 9) rows, the shares and the marks (T, N)."""
    _, n_rows, n_symbols = both.shape
    shares, marks = np.empty((2, n_rows, n_symbols))
    rows = np.empty((n_rows, len(COLUMNS)))
    kernels["account"].call(
        [both.plane(field) for field in (WEIGHT, filled_at, "close")],
        [chosen["capital"], chosen["cost_bps"] / 1e4, chosen["slippage_bps"] / 1e4],
        np.zeros((STATE_ROWS, n_symbols)),
        [shares, marks, rows],
    )
    marks[marks == 0] = np.nan
    return rows, shares, marks


def _result(weights, prices, filled_at, chosen, rows, shares, marks) -> Result:
    time, symbols = prices.time, pd.Index(prices.symbols, name="symbol")
    raw = dict(zip(COLUMNS, rows.T, strict=True))
    equity = raw["equity"]
    _refuse_overflow(equity, time)
    alive = np.where(equity > 0, equity, np.nan)
    returns = np.full(len(time), np.nan)
    returns[1:] = equity[1:] / alive[:-1] - 1
    decided = np.flatnonzero(np.isfinite(weights.plane(WEIGHT)).any(axis=1))
    opened = int(decided[0]) if len(decided) else len(time)
    returns[: opened + 1] = np.nan
    columns = {
        "equity": equity,
        "cash": raw["cash"],
        "returns": returns,
        "drawdown": equity / np.maximum.accumulate(equity) - 1,
        "turnover": raw["traded"] / np.where(raw["sized"] > 0, raw["sized"], np.nan),
        "exposure": raw["gross"] / alive,
        "net_exposure": raw["net"] / alive,
        "costs": raw["cost"],
        "slippage": raw["slippage"],
        "unfilled": raw["unfilled"].astype(np.int64),
    }
    broke = np.flatnonzero(~(equity > 0))
    facts = {
        "fill": filled_at,
        "periods_per_year": chosen["periods_per_year"] or infer_periods_per_year(time),
        "bankrupt": time[broke[0]] if len(broke) else None,
        "unfilled": int(raw["unfilled"].sum()),
    }
    return Result(
        table=pd.DataFrame(columns, index=time),
        positions=pd.DataFrame(shares, index=time, columns=symbols, copy=False),
        marks=pd.DataFrame(marks, index=time, columns=symbols, copy=False),
        capital=chosen["capital"],
        cost_bps=chosen["cost_bps"],
        slippage_bps=chosen["slippage_bps"],
        trials=chosen["trials"],
        fingerprints=(weights.fingerprint, prices.fingerprint),
        notes=_notes(prices, chosen, facts),
        **facts,
    )


def _refuse_overflow(equity: np.ndarray, time: pd.DatetimeIndex):
    """DataError where the account, or its change from row to row, is more than a number can say."""
    with np.errstate(all="ignore"):
        moved = equity[1:] / np.where(equity[:-1] > 0, equity[:-1], 1.0)
    wrong = ~np.isfinite(equity)
    wrong[1:] |= ~np.isfinite(moved)
    if wrong.any():
        t = int(np.argmax(wrong))
        raise DataError(
            f"the account overflows at {time[t]} (row {t}): its equity is {equity[t]}",
            hint="look for prices or weights of an impossible size around that row",
        )


def _notes(prices: Panel, chosen: dict, facts: dict) -> tuple[str, ...]:
    """What a reader of the result has to know."""
    notes = []
    if facts["bankrupt"] is not None:
        notes.append(f"bankrupt at {facts['bankrupt']}: closed out there, nothing is traded after it")
    if facts["unfilled"]:
        notes.append(f"{facts['unfilled']} orders were dropped: their symbols had no price to fill at")
    if facts["fill"] != chosen["fill"]:
        notes.append(f"filled at the close: the prices have no {chosen['fill']!r}")
    if "adj_close" in prices.fields:
        close, adjusted = prices.plane("close"), prices.plane("adj_close")
        if not np.array_equal(close, adjusted, equal_nan=True):
            notes.append("prices are not adjusted, so that splits count as losses: use prices.adjusted()")
    return tuple(notes)


def infer_periods_per_year(time: pd.DatetimeIndex) -> float:
    """Rows in a year of `time`: 252 for trading days, 365 for all days, 52 weeks, 12 months, 4 quarters, 1.

    Taken from the rows by the years that they span, long holes left out, and rounded to one of these where it is
    near. Rows within a day: their median number on a day, times the days. Nothing is read from the names of days,
    as those of a market's sessions are not always UTC's.

    Under a quarter of a year holidays weigh too much: the median step counts there, and for days whether each day
    is one. Under six days, that is only sure of rows on a Saturday and a Sunday; the rest are trading days. NaN
    for fewer than two rows.
    """
    if len(time) < 2:
        return math.nan
    stamps = time.as_unit("ns").asi8 / DAY
    gaps = np.diff(stamps)
    step = float(np.median(gaps))
    per_day, days = 1.0, stamps
    if step < 0.8:
        days, counts = np.unique(np.floor(stamps), return_counts=True)
        per_day = float(np.median(counts))
        days = days[counts > per_day / 2]  # a session may begin on the evening before its day
    gaps = gaps[gaps <= max(21.0, 5 * step)]
    if gaps.sum() >= 91:
        rate = len(gaps) / per_day / gaps.sum() * 365.25
    elif step > 3.1 or gaps.min() > 1.6:
        rate = 365.25 / step
    else:
        rate = 365.0 if _every_day(days) else 252.0
    return per_day * next((exact for low, high, exact in CALENDARS if low < rate < high), rate)


def _every_day(days: np.ndarray) -> bool:
    """Whether rows (in days since 1970) are of a market that never closes."""
    span = days[-1] - days[0]
    if span < 6:
        return {5, 6} <= {(int(day) + 3) % 7 for day in days}
    return (len(days) - 1) / span > 6 / 7  # 5 days a week reach 9 in 11 at most


def weights_from_scores(scores: Panel, *, how: str = "rank", gross: float = 1.0, long_only: bool = False) -> Panel:
    """Weights of a portfolio that is long the high scores and short the low ones.

    Row by row, over the symbols that have a score on it, and scaled so that the absolute weights add up to
    `gross`. A symbol without a score gets weight 0, a row without any score NaN (the positions stay). Equal
    scores throughout a row have no opinion on which is better: all get 0 by rank and by zscore.

    Parameters
    ----------
    scores : Panel with the field "score", or with a single field
    how : {"rank", "zscore", "sign"}, default "rank"
        "rank": by the rank less the row's mean rank, ties sharing theirs; dollar-neutral. "zscore": by the
        score less the row's mean; dollar-neutral. "sign": the same amount for each, by the sign of its score;
        not neutral.
    gross : float, default 1
        Sum of the absolute weights.
    long_only : bool, default False
        Drop the short side, and scale the long one up to `gross`.

    Returns
    -------
    Panel with the field "weight"
    """
    chosen = check_params(
        "weights_from_scores",
        WEIGHTING,
        {"how": how, "gross": gross, "long_only": long_only},
    )
    if not isinstance(scores, Panel):
        raise ParameterError(f"weights_from_scores: found a {type(scores).__name__}, expected a Panel")
    field = scores.fields[0] if len(scores.fields) == 1 else "score"
    _refuse_infinite(scores, field)
    score = scores.plane(field).astype(np.float64)
    known = ~np.isnan(score)
    if chosen["how"] == "sign":
        lean = np.sign(score)
    else:
        lean = indicators["rank"](score) if chosen["how"] == "rank" else _spread(score, known)
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        lean = lean - np.where(known, lean, 0.0).sum(axis=1, keepdims=True) / count
        # of equal scores only rounding is left, which must not be scaled up to an opinion
        highest = np.where(known, score, -np.inf).max(axis=1, keepdims=True)
        lowest = np.where(known, score, np.inf).min(axis=1, keepdims=True)
        lean = np.where(highest > lowest, lean, 0.0)
    lean = np.where(known, np.maximum(lean, 0.0) if chosen["long_only"] else lean, 0.0)
    total = np.abs(lean).sum(axis=1, keepdims=True)
    weight = lean / np.where(total > 0, total, 1.0) * chosen["gross"]
    weight[~known.any(axis=1)] = np.nan
    return scores.like(weight.astype(scores.dtype, copy=False), WEIGHT)


def _spread(score: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each row moved and scaled to [0, 1], which zscore's weights don't depend on: no score is too large or small."""
    largest = np.where(known, np.abs(score), 0.0).max(axis=1, keepdims=True)
    scaled = np.ldexp(score, -np.frexp(largest)[1])  # exact
    above = scaled - np.where(known, scaled, np.inf).min(axis=1, keepdims=True)
    most = np.where(known, above, 0.0).max(axis=1, keepdims=True)
    return above / np.where(most > 0, most, 1.0)
