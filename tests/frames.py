"""Frames that are wrong, each in one way, with the words that the error must say."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

DAYS = pd.date_range("2020-01-06", periods=5, name="date")


def bars(**columns) -> pd.DataFrame:
    """Five good daily bars of one stock; `columns` replace or add to them."""
    good = {
        "open": [10.0, 11.0, 12.0, 13.0, 14.0],
        "high": [12.0, 13.0, 14.0, 15.0, 16.0],
        "low": [9.0, 10.0, 11.0, 12.0, 13.0],
        "close": [11.0, 12.0, 13.0, 14.0, 15.0],
        "volume": [100, 200, 300, 400, 500],
    }
    return pd.DataFrame({**good, **columns}, index=DAYS)


def long_bars() -> pd.DataFrame:
    """Two stocks, day by day: ten rows with date and symbol in columns."""
    frame = pd.concat({"AAA": bars(), "BBB": bars() * 2}, names=["symbol"]).reset_index()
    return frame.sort_values(["date", "symbol"]).reset_index(drop=True)


def put(frame: pd.DataFrame, row: int, column: str, value) -> pd.DataFrame:
    """`frame` with one cell replaced."""
    frame = frame.astype({column: object}) if isinstance(value, str) else frame.copy()
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def timed(times, **kwargs) -> pd.DataFrame:
    """Five good bars with another index."""
    return bars().set_axis(pd.Index(times, **kwargs), axis=0)


NEW_YORK = ZoneInfo("America/New_York")
LATE = [pd.Timestamp(d, tz="UTC") for d in DAYS[:3]] + [pd.Timestamp(d, tz=NEW_YORK) for d in DAYS[3:]]
TEXT = [f"2020-01-0{d}" for d in range(1, 6)]

# name: (frame, words that the message and the hint must hold)
BAD: dict[str, tuple[object, tuple[str, ...]]] = {
    # time
    "duplicate day": (
        timed(DAYS[[0, 1, 1, 2, 3]]),
        ("duplicate timestamp", "2020-01-07", "row 1", "row 2", "keep"),
    ),
    "newest first": (bars()[::-1], ("not sorted", "row 1", "2020-01-09", "sort_index")),
    "one row out of place": (timed(DAYS[[0, 1, 3, 2, 4]]), ("not sorted", "row 3", "2020-01-08")),
    "NaT": (timed([*DAYS[:2], pd.NaT, *DAYS[3:]]), ("NaT", "row 2")),
    "mixed zones": (
        timed(LATE, dtype=object),
        ("mixed time zones", "row 0", "row 3", "UTC", "America/New_York"),
    ),
    "naive and aware": (timed([*DAYS[:4], LATE[4]], dtype=object), ("mixed time zones", "none", "row 4")),
    "mixed offsets in text": (
        timed([f"2020-0{m}-01 00:00:00-0{5 - m // 4}:00" for m in range(1, 6)]),
        ("mixed time zones", "-05:00", "-04:00", "row 3", "utc=True"),
    ),
    "day first": (timed([f"{d}/01/2020" for d in range(13, 18)]), ("row 0", "13/01/2020", "format=")),
    "a total below": (timed([*TEXT[:4], "TOTAL"]), ("row 4", "TOTAL")),
    "no such day": (timed([*TEXT[:4], "2020-02-30"]), ("row 4", "2020-02-30")),
    "seconds": (bars().assign(date=range(5)).reset_index(drop=True), ("time is in numbers", "unit=")),
    "no time": (bars().reset_index(drop=True), ("no time", "RangeIndex", "set_index")),
    "two times": (
        bars().reset_index().assign(time=TEXT),
        ("more than one time", "'date'", "'time'", "time="),
    ),
    "numbers read as nanoseconds": (
        timed(pd.to_datetime([20200101 + i for i in range(5)])),
        ("1970", "nanoseconds", "format="),
    ),
    "periods": (bars().to_period("D"), ("periods", "to_timestamp")),
    "durations": (timed(pd.timedelta_range("1D", periods=5)), ("row 0", "Timedelta")),
    "year 3000": (
        timed([dt.datetime(3000, 1, d) for d in range(1, 6)], dtype="datetime64[s]"),
        ("out of range",),
    ),
    "on its side": (bars().T, ("side", "df.T")),
    # bars
    "high below low": (put(bars(), 2, "high", 10.5), ("high 10.5 is below low 11.0", "2020-01-08", "row 2")),
    "close above high": (put(bars(), 3, "close", 15.01), ("close 15.01 is above high 15.0", "2020-01-09")),
    "open below low": (put(bars(), 1, "open", 9.99), ("open 9.99 is below low 10.0", "2020-01-07")),
    "negative volume": (put(bars(), 4, "volume", -1), ("volume is -1.0", "below 0", "2020-01-10", "row 4")),
    "price of zero": (put(bars(), 0, "low", 0.0), ("low is 0.0", "above 0", "2020-01-06")),
    "negative price": (put(bars(), 0, "open", -10.0), ("open is -10.0", "2020-01-06", "NaN")),
    "infinite price": (put(bars(), 1, "high", np.inf), ("high is inf", "2020-01-07", "NaN")),
    "infinite other": (bars(signal=[0, 1, -np.inf, 0, 0]), ("signal is -inf", "2020-01-08")),
    # columns
    "no rows": (bars()[:0], ("empty", "0 rows")),
    "no columns": (bars()[[]], ("empty", "0 columns")),
    "nothing": (pd.DataFrame(), ("empty",)),
    "only text": (bars()[[]].assign(note="x"), ("no numeric column", "note")),
    "text among prices": (put(bars(), 2, "close", "n/a"), ("'close'", "not numeric", "row 2", "'n/a'")),
    "thousands": (bars(volume=["1,100", "200", "300", "400", "500"]), ("'volume'", "row 0", "'1,100'")),
    "numbers as text": (bars(close=["11", "12", "13", "14", "15"]), ("'close'", "text", "to_numeric")),
    "decimals": (bars(close=[Decimal(n) for n in range(11, 16)]), ("'close'", "to_numeric")),
    "a column of dates": (bars(paid=DAYS), ("'paid'", "datetime64", "drop")),
    "complex": (bars(close=[11j, 12, 13, 14, 15]), ("'close'", "complex")),
    "categories": (bars(sector=pd.Categorical(list("aabbb"))), ("'sector'", "row 0", "'a'", "drop")),
    "two columns of one name": (bars().iloc[:, [0, 1, 2, 3, 3]], ("duplicate column 'close'",)),
    "two spellings": (bars(Close=1.0), ("'close'", "'Close'", "both mean")),
    "a column without name": (
        bars().reset_index().reset_index(names="Unnamed: 0"),
        ("Unnamed: 0", "index=False"),
    ),
    "an integer name": (bars(x=1).rename(columns={"x": 7}), ("column 7", "rename")),
    "too large an integer": (put(bars(), 1, "volume", 2**53 + 1), ("9007199254740993", "row 1", "2**53")),
    "fields or symbols": (bars()[["open", "volume"]].assign(AAPL=1.0), ("'open'", "'AAPL'", "layout=")),
    # symbols
    "long, duplicate bar": (
        pd.concat([long_bars(), long_bars().iloc[[3]]], ignore_index=True),
        ("duplicate timestamp", "BBB", "2020-01-07", "row 3", "row 10", "drop_duplicates"),
    ),
    "long, unsorted": (
        long_bars().iloc[[0, 1, 2, 5, 4, 3]],
        ("not sorted", "BBB", "2020-01-07", "sort_values"),
    ),
    "long, high below low": (put(long_bars(), 7, "high", 1.0), ("high 1.0", "BBB", "2020-01-09", "row 7")),
    "long, no symbol": (put(long_bars(), 6, "symbol", None), ("symbol", "row 6", "missing")),
    "long, empty symbol": (put(long_bars(), 6, "symbol", ""), ("symbol", "row 6", "missing")),
    "long, blank after a symbol": (put(long_bars(), 6, "symbol", "AAA "), ("row 6", "'AAA '", "strip")),
    "long, symbol of floats": (long_bars().assign(symbol=[1.0, 2.0] * 5), ("row 0", "1.0", "symbol")),
    "long, two symbols": (long_bars().assign(ticker="X"), ("more than one symbol", "'ticker'", "symbol=")),
    "long, nothing else": (long_bars()[["date", "symbol"]], ("no numeric column",)),
    "long without its symbol": (
        long_bars().drop(columns="symbol"),
        ("duplicate timestamp", "row 0", "row 1", "symbol="),
    ),
    "melted": (
        long_bars().melt(["date", "symbol"], var_name="field"),
        ("melted", "'field'", "'open'", "pivot"),
    ),
    "symbols in rows and in columns": (
        pd.concat({"A": long_bars().set_index(["date", "symbol"])}, axis=1),
        ("columns", "2 levels", "droplevel"),
    ),
    "three levels": (
        long_bars().assign(venue="X").set_index(["date", "symbol", "venue"]),
        ("3 levels", "droplevel"),
    ),
    "levels of what": (
        long_bars().assign(a="X").set_index(["a", "symbol"]).drop(columns="date"),
        ("index", "time"),
    ),
    "wide, number and text": (
        pd.DataFrame(1.0, index=DAYS, columns=pd.Index([1, "1"], dtype=object)),
        ("duplicate symbol '1'",),
    ),
    "wide, no name": (
        pd.DataFrame(1.0, index=DAYS, columns=pd.Index(["A", None], dtype=object)),
        ("symbol", "missing"),
    ),
    "wide, blank": (pd.DataFrame(1.0, index=DAYS, columns=["A", " B"]), ("' B'",)),
    "wide, levels of what": (
        pd.DataFrame(1.0, index=DAYS, columns=pd.MultiIndex.from_product([["a", "b"], ["c", "d"]])),
        ("which level", "names"),
    ),
    "wide, three levels": (
        pd.DataFrame(1.0, index=DAYS, columns=pd.MultiIndex.from_product([["a"], ["c"], ["d"]])),
        ("3 levels",),
    ),
    "wide returns": (
        pd.DataFrame({"A": [0.1, -0.1, 0, 0, 0]}, index=DAYS),
        ("close is -0.1", "A", "2020-01-07", 'field="return"'),
    ),
    # not frames
    "an array": (np.ones((3, 2)), ("ndarray", "DataFrame")),
    "a dict": ({"close": [1.0]}, ("dict", "DataFrame")),
    "None": (None, ("NoneType", "DataFrame")),
}
