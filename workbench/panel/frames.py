"""Reads a panel out of a DataFrame: finds time, symbols and fields, checks them, refuses what is wrong.

`read_frame` finds the time, then the layout, gathers one (F, T, N) block, and checks the bars in it.
Nothing is repaired: each check ends in a DataError that says what, where (the row's label) and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from ..errors import DataError, ParameterError, UnknownNameError
from .times import Rows, check_order, in_all, is_dated, parse_time, stamp

PRICES = ("open", "high", "low", "close")
BARS = (*PRICES, "adj_close", "volume")
TIME_NAMES = ("time", "date", "datetime", "timestamp")
SYMBOL_NAMES = ("symbol", "ticker", "asset", "instrument", "permno", "isin")
FIELD_NAMES = ("field", "price", "attribute", "attributes", "variable", "feature")
TOLERANCE = 1e-6  # relative, of high, low, open and close among each other: vendors round prices in float32
EXACT = 2**53  # above it, float64 no longer holds every integer


# ---------------------------------------------------------------------- labels of a panel


def checked_labels(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    """`names` as a tuple of distinct, non-empty, trimmed str."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        what = type(names).__name__
        raise DataError(f"{kind}s are the {what} {names!r}, expected a sequence of str", hint=f"[{str(names)!r}]")
    names = tuple(str(n) if isinstance(n, np.str_) else n for n in names)
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise DataError(
                f"{kind} number {number} is {name!r} ({type(name).__name__}), expected str",
                hint="use str(name)",
            )
        if name != name.strip() or not name:
            raise DataError(f"{kind} number {number} is {name!r}: empty, or with blanks around it", hint="name.strip()")
    if not names:
        raise DataError(f"no {kind}s, expected at least one", hint=f"a panel needs a {kind} to hold")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"duplicate {kind} {twice!r}", hint=f"every {kind} needs a name of its own")
    return names


# ---------------------------------------------------------------------- from a frame


def read_frame(df, *, layout=None, time=None, symbol=None, field="close", name="asset", bars=True, first_line=None):
    """(values, time, symbols, fields) of a frame; the parameters are those of `Panel.from_frame`.

    `first_line` is the line of the file that the first row stands in, for messages about files.
    """
    if layout not in (None, "long", "wide", "single"):
        raise ParameterError(f"layout={layout!r} is no choice", hint='choices: "long", "wide", "single"')
    df = _as_frame(df)
    rows = Rows(df.index, first_line)
    times, df = _find_time(df, time, rows)
    if df.columns.nlevels > 1:
        block = _wide_block(df, times, rows, _two_levels(df.columns, layout, df.index.nlevels > 1))
    else:
        symbols, df = _find_symbols(df, symbol, layout)
        _refuse_melted(df)
        if symbols is not None:
            block = _long_block(df, times, symbols, rows)
        elif (layout or _guess_layout(df.columns)) == "wide":
            block = _wide_block(df, times, rows, [(field, c) for c in df.columns])
        else:
            block = _wide_block(df, times, rows, [(c, name) for c in df.columns])
    values, times, symbols, fields, where = block
    _check_bars(values, fields, where, bars)
    return values, times, symbols, fields


def _as_frame(df) -> pd.DataFrame:
    if isinstance(df, pd.Series):
        df = df.to_frame("close" if df.name is None else df.name)
    if not isinstance(df, pd.DataFrame):
        hint = "df.to_pandas()" if hasattr(df, "to_pandas") else "pd.DataFrame(...)"
        kind = f"{type(df).__module__.partition('.')[0]}.{type(df).__name__}"
        raise DataError(f"a {kind} is not a pandas DataFrame", hint=hint)
    if df.shape[0] == 0 or df.shape[1] == 0:
        raise DataError(
            f"the frame is empty: {df.shape[0]} rows, {df.shape[1]} columns",
            hint="is a filter before it too strict?",
        )
    twice = df.columns[df.columns.duplicated()]
    if len(twice):
        raise DataError(
            f"duplicate column {_named(twice[0])}",
            hint="keep one of them: df.loc[:, ~df.columns.duplicated()]",
        )
    if isinstance(df.columns, (pd.DatetimeIndex, pd.PeriodIndex)):
        raise DataError("the columns are dates: the frame lies on its side", hint="df.T")
    return df


def _named(label: Hashable) -> str:
    return " / ".join(map(str, label)) if isinstance(label, tuple) else repr(label)


# ---------------------------------------------------------------------- time


def _find_time(df: pd.DataFrame, given: str | None, rows: Rows) -> tuple[pd.DatetimeIndex, pd.DataFrame]:
    """The time of every row, and the frame with it out of the columns (levels stay where they are)."""
    levels, columns = list(df.index.names), list(df.columns)
    if given is not None:
        if given in columns and given not in levels:
            return parse_time(df[given], rows), df.drop(columns=[given])
        if given in levels:
            return parse_time(df.index.get_level_values(given), rows), df
        raise UnknownNameError.of("time column", given, [c for c in [*columns, *levels] if c is not None])
    if df.index.nlevels > 2:
        raise DataError(
            f"the index has {df.index.nlevels} levels, expected time and symbol",
            hint="df.droplevel(...) or df.reset_index(...) the others",
        )
    dated = [i for i in range(df.index.nlevels) if is_dated(df.index.get_level_values(i))]
    found = dated or [i for i, level in enumerate(levels) if name_key(level) in TIME_NAMES]
    if len(found) == 1:
        return parse_time(df.index.get_level_values(found[0]), rows), df
    if not found:
        named = [c for c in columns if name_key(c) in TIME_NAMES]
        found = named or [c for c in columns if is_dated(df[c])]
        if len(found) == 1:
            return parse_time(df[found[0]], rows), df.drop(columns=[found[0]])
        if not found and df.index.nlevels == 1 and not pd.api.types.is_numeric_dtype(df.index.dtype):
            return parse_time(df.index, rows), df
    what = f"more than one time: {', '.join(_named(f) for f in found)}" if found else "no time in it"
    raise DataError(
        f"the frame has {what}; its index is a {type(df.index).__name__} {list(df.index.names)},"
        f" its columns are {', '.join(_named(c) for c in columns[:8])}",
        hint='df.set_index(pd.to_datetime(df["..."])), or say which: from_frame(df, time="...")',
    )


def name_key(label: Hashable) -> str:
    """A name without its case, blanks and joints: "Adj Close", "adj_close" and "adjClose" are one."""
    return re.sub(r"[\s_.\-]", "", label).lower() if isinstance(label, str) else ""


# ---------------------------------------------------------------------- layout


def _find_symbols(df: pd.DataFrame, given: str | None, layout: str | None):
    """(the symbol of every row or None, the frame without it); None where the frame isn't long."""
    levels, columns = list(df.index.names), list(df.columns)
    if given is not None:
        if layout not in (None, "long"):
            raise ParameterError(f"symbol={given!r} makes the frame long, layout={layout!r} says it isn't")
        if given in columns:
            return df[given], df.drop(columns=[given])
        if given in levels:
            return df.index.get_level_values(given), df
        raise UnknownNameError.of("symbol column", given, [c for c in [*columns, *levels] if c is not None])
    if df.index.nlevels == 2:
        dated = [is_dated(df.index.get_level_values(i)) or name_key(levels[i]) in TIME_NAMES for i in (0, 1)]
        if dated[0] != dated[1]:
            return df.index.get_level_values(dated.index(False)), df
        raise DataError(
            f"the levels of the index, {levels}, are not a time and a symbol",
            hint='df.index.names = ["time", "symbol"], or name both: from_frame(df, time="...", symbol="...")',
        )
    held = [] if is_dated(df.index) else levels
    named = [c for c in [*held, *columns] if name_key(c) in SYMBOL_NAMES]
    if layout in ("wide", "single") or not named:
        if layout == "long":
            raise DataError("no symbol column in the frame", hint='from_frame(df, symbol="...")')
        return None, df
    if len(named) > 1:
        raise DataError(
            f"more than one symbol column: {', '.join(map(_named, named))}",
            hint='from_frame(df, symbol="...")',
        )
    return (df[named[0]], df.drop(columns=named)) if named[0] in columns else (df.index, df)


def _guess_layout(columns: pd.Index) -> str:
    """ "single" or "wide" for a frame without symbols in its rows, by the names of its columns."""
    if name_key(columns.name) in SYMBOL_NAMES:
        return "wide"
    known = [c for c in columns if _bar(c)]
    if not known:
        return "wide"
    if len(known) == len(columns) or {"close", "adj_close"} & {_bar(c) for c in known}:
        return "single"
    if all(isinstance(c, str) and c == c.upper() for c in columns):
        return "wide"  # tickers, of which some (LOW, OPEN) are words
    others = ", ".join(_named(c) for c in columns if not _bar(c))
    raise DataError(
        f"columns may be fields or symbols: {', '.join(map(_named, known))} are fields, {others} either",
        hint='from_frame(df, layout="single") or from_frame(df, layout="wide")',
    )


def _bar(label: Hashable) -> str | None:
    """The field that a column name means, if it is a spelling of one of `BARS`."""
    key = name_key(label).replace("adjusted", "adj")
    return next((bar for bar in BARS if key == bar.replace("_", "")), None)


def _refuse_melted(df: pd.DataFrame):
    for name in df.columns:
        if name_key(name) in ("field", "variable", "attribute") and not pd.api.types.is_numeric_dtype(df[name]):
            raise DataError(
                f"the frame is melted: column {_named(name)} names the fields, {df[name].iloc[0]!r} first",
                hint=f'df.pivot(index=["time", "symbol"], columns={name!r}, values="value")',
            )


def _two_levels(columns: pd.MultiIndex, layout: str | None, stacked: bool) -> list[tuple]:
    """(field, symbol) of every column of a frame with two levels of columns, in either order."""
    if columns.nlevels != 2 or layout not in (None, "wide") or stacked:
        raise DataError(
            f"the columns have {columns.nlevels} levels {list(columns.names)}, expected 1, or field, symbol",
            hint="df.columns = df.columns.droplevel(...)",
        )
    keys = [name_key(n) for n in columns.names]
    if any(k in SYMBOL_NAMES for k in keys):
        swap = keys[0] in SYMBOL_NAMES
    elif any(k in FIELD_NAMES for k in keys):
        swap = keys[1] in FIELD_NAMES
    else:
        share = [np.mean([_bar(v) is not None for v in columns.get_level_values(i).unique()]) for i in (0, 1)]
        if share[0] == share[1]:
            raise DataError(
                f"can't tell which level of the columns holds the fields: {columns[0]}",
                hint='df.columns.names = ["field", "symbol"]',
            )
        swap = share[1] > share[0]
    return [(b, a) if swap else (a, b) for a, b in columns]


def _fields(labels: Sequence[Hashable]) -> list[str]:
    """Field names: the known spellings brought to one, the others as they are; no two of one name."""
    fields: dict[str, Hashable] = {}
    for label in labels:
        if not isinstance(label, str) or not label.strip() or label.startswith("Unnamed:"):
            raise DataError(
                f"column {label!r} has no name that could be a field's",
                hint="df.rename(columns={...}), or df.drop(columns=[...]); df.to_csv(index=False) makes none",
            )
        name = _bar(label) or label
        if name in fields:
            raise DataError(f"columns {fields[name]!r} and {label!r} both mean {name!r}", hint="drop one of them")
        fields[name] = label
    return list(fields)


def _symbols(labels: Sequence[Hashable], where: Callable[[int], str]) -> tuple[str, ...]:
    """Symbols as text; `where` says where the label of a number was found."""
    names = []
    for number, label in enumerate(labels):
        if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str) or not label or label != label.strip():
            missing = pd.api.types.is_scalar(label) and (pd.isna(label) or label == "")
            what = "missing" if missing else repr(label)
            raise DataError(
                f"the symbol in {where(number)} is {what}, expected text without blanks around it, or an int",
                hint="df[symbol].str.strip() takes blanks off, .astype(str) makes text; or is the frame wide?"
                ' from_frame(df, layout="wide")',
            )
        names.append(label)
    return checked_labels("symbol", names)


# ---------------------------------------------------------------------- numbers


def _wide_block(df: pd.DataFrame, time: pd.DatetimeIndex, rows: Rows, labels: list[tuple]):
    """The block of a frame with a row for each time; `labels` are (field, symbol) of its columns."""
    check_order(time, rows)
    raw_fields = list(dict.fromkeys(f for f, _ in labels))
    raw_symbols = list(dict.fromkeys(s for _, s in labels))
    fields = _fields(raw_fields)
    unnamed = next((s for s in raw_symbols if isinstance(s, str) and (not s or s.startswith("Unnamed:"))), None)
    if unnamed is not None:
        raise DataError(
            f"column {unnamed!r} is no symbol: in the file it was read from, the column has no name",
            hint=f"df = pd.read_csv(..., index_col=0) if it is the index, df.drop(columns=[{unnamed!r}]) if not",
        )
    symbols = _symbols(raw_symbols, lambda n: f"the columns, {raw_symbols[n]!r},")
    columns = _numbers(df, rows)
    values = np.full((len(fields), len(time), len(symbols)), np.nan, np.result_type(*columns))
    for (f, s), column in zip(labels, columns, strict=True):
        values[raw_fields.index(f), :, raw_symbols.index(s)] = column

    def where(t: int, n: int) -> str:
        return f"{symbols[n]} at {stamp(time[t])}" + (f", {rows(t)}" if rows.first_line is not None else f", row {t}")

    return values, time, symbols, fields, where


def _long_block(df: pd.DataFrame, times: pd.DatetimeIndex, labels, rows: Rows):
    """The block of a frame with a row for each bar."""
    try:
        codes, unique = pd.factorize(labels, use_na_sentinel=False)
    except TypeError:  # a list among them, say
        at, odd = next((at, v) for at, v in enumerate(labels) if not isinstance(v, (str, int)))
        _symbols([odd], lambda n: rows(at))
        raise
    first = np.full(len(unique), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    symbols = _symbols(list(unique), lambda n: rows(int(first[n])))
    fields = _fields(list(df.columns))
    if not fields:
        raise DataError("no numeric column: time and symbol are all there is", hint="add the prices as columns")
    stamps, row = np.unique(times.asi8, return_inverse=True)
    flat = row * len(symbols) + codes
    order = np.argsort(codes, kind="stable")
    number = np.full(len(stamps) * len(symbols), -1)
    number[flat] = np.arange(len(flat))
    if (number[flat] != np.arange(len(flat))).any():
        one = int(np.flatnonzero(number[flat] != np.arange(len(flat)))[0])
        other = int(number[flat[one]])
        raise DataError(
            f"duplicate timestamp {stamp(times[one])}, {symbols[codes[one]]}: {rows(one)} and {rows(other)}"
            f"{in_all(len(flat) - int((number >= 0).sum()))}",
            hint='keep one of them: df.drop_duplicates([time, symbol], keep="last")',
        )
    back = np.flatnonzero((np.diff(row[order]) < 0) & (np.diff(codes[order]) == 0))
    if len(back):
        one, other = int(order[back[0]]), int(order[back[0] + 1])
        raise DataError(
            f"time is not sorted for {symbols[codes[one]]}: {rows(other)} is {stamp(times[other])},"
            f" after {stamp(times[one])}",
            hint="df.sort_values([symbol, time])",
        )
    columns = _numbers(df, rows)
    values = np.full((len(fields), len(number)), np.nan, np.result_type(*columns))
    for plane, column in zip(values, columns, strict=True):
        plane[flat] = column
    time = pd.DatetimeIndex(stamps, tz="UTC", name="time")

    def where(t: int, n: int) -> str:
        return f"{symbols[n]} at {stamp(time[t])}, {rows(int(number[t * len(symbols) + n]))}"

    return values.reshape(len(fields), len(time), len(symbols)), time, symbols, fields, where


def _numbers(df: pd.DataFrame, rows: Rows) -> list[np.ndarray]:
    """The columns as floats: float32 stays, all else becomes float64."""
    numeric = [pd.api.types.is_numeric_dtype(t) and t.kind != "c" for t in df.dtypes]
    if not any(numeric):
        kinds = (f"{_named(c)} ({t}, {df.iloc[0, i]!r} in {rows(0)})" for i, (c, t) in enumerate(df.dtypes.items()))
        raise DataError(
            f"no numeric column: {', '.join(islice(kinds, 4)) or 'none at all'}",
            hint=f"df[{df.columns[0]!r}] = {_as_numbers(df.iloc[:, 0])}"
            if len(df.columns)
            else "bring columns of numbers",
        )
    columns = []
    for position, good in enumerate(numeric):
        column = df.iloc[:, position]
        if not good:
            _refuse_text(column, rows)
        if column.dtype.kind in "iu":
            big = np.flatnonzero(((column > EXACT) | (column < -EXACT)).to_numpy(bool, na_value=False))
            if len(big):
                raise DataError(
                    f"{_named(column.name)} in {rows(int(big[0]))} is {column.iloc[int(big[0])]}:"
                    " float64 can't hold integers above 2**53 exactly",
                    hint=f"df[{column.name!r}].astype(float), if that is good enough",
                )
        kind = np.float32 if column.dtype == np.float32 else np.float64
        columns.append(column.to_numpy(kind, na_value=np.nan))
    return columns


def _as_numbers(column: pd.Series) -> str:
    """The Python that reads a column of text as numbers."""
    grouped = any(isinstance(v, str) and re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", v.strip()) for v in column)
    text = f"df[{column.name!r}]" + ('.str.replace(",", "")' if grouped else "")
    return f"pd.to_numeric({text})"


def _refuse_text(column: pd.Series, rows: Rows):
    """Raise the error that names the first thing in `column` that isn't a number."""
    name = column.name
    hint = f"{_as_numbers(column)} if they are numbers, df.drop(columns=[{name!r}]) if not"
    if is_dated(column) or column.dtype.kind in "mc":
        raise DataError(f"column {_named(name)} is not numeric: it holds {column.dtype}", hint=hint)
    column = column.astype(object)
    bad = np.flatnonzero((pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy())
    if len(bad):
        at, count = int(bad[0]), in_all(len(bad))
        raise DataError(f"column {_named(name)} is not numeric: {rows(at)} holds {column.iloc[at]!r}{count}", hint=hint)
    raise DataError(
        f"column {_named(name)} holds its numbers as text or objects: {rows(0)} holds {column.iloc[0]!r}",
        hint=hint,
    )


def _check_bars(values: np.ndarray, fields: Sequence[str], where: Callable[[int, int], str], bars: bool):
    """Refuse infinities; and, of bars, prices and volumes that can't be."""

    def refuse(wrong: np.ndarray, text: Callable[[tuple], str], hint: str):
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            count = in_all(int(wrong.sum()))
            raise DataError(f"{text(at)} for {where(int(at[0]), int(at[1]))}{count}", hint=hint)

    for name, plane in zip(fields, values, strict=True):
        refuse(
            np.isinf(plane),
            lambda at, n=name, p=plane: f"{n} is {p[at]}",
            "missing is NaN: df.replace([np.inf, -np.inf], np.nan)",
        )
    if not bars:
        return
    plain = "set it to NaN to leave it out; from_frame(df, bars=False) takes the columns as plain numbers"
    plane = dict(zip(fields, values, strict=True))
    for name in (n for n in fields if n in (*PRICES, "adj_close")):
        refuse(
            plane[name] <= 0,
            lambda at, n=name: f"{n} is {plane[n][at]}, expected a price above 0,",
            f'{plain}; if it is no price, name it: from_frame(df, field="return")',
        )
    if "volume" in plane:
        refuse(plane["volume"] < 0, lambda at: f"volume is {plane['volume'][at]}, below 0,", plain)
    if "high" in plane and "low" in plane:
        text = "high {} is below low {}"
        wrong = plane["low"] - plane["high"] > TOLERANCE * plane["high"]
        swapped = 2 * wrong.sum() > np.isfinite(plane["high"] - plane["low"]).sum()
        refuse(
            wrong,
            lambda at: text.format(plane["high"][at], plane["low"][at]),
            f"are the columns swapped? {plain}" if swapped else plain,
        )
    for name in (n for n in ("open", "close") if n in plane):
        for edge, sign in (("high", 1), ("low", -1)):
            if edge in plane:
                refuse(
                    sign * (plane[name] - plane[edge]) > TOLERANCE * plane[edge],
                    lambda at, n=name, e=edge, s=sign: (
                        f"{n} {plane[n][at]} is {'above high' if s > 0 else 'below low'} {plane[e][at]}"
                    ),
                    plain,
                )
