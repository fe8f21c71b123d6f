"""Panel: the one data shape, fields x time x symbols, with its labels.

Bars, features, labels, scores and weights are all Panels. A field is one contiguous, time-major (T, N) plane;
a row is known once its time has passed (a daily bar keeps its date and is known when that day is over);
missing is NaN, always. Arrays are read-only, so a plane, a frame over it and a fingerprint stay true.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import DataError, ParameterError, UnknownNameError
from ..registry import Param
from .frames import PRICES, checked_labels, read_frame
from .times import checked_time, slice_label

_LOOKBACK = Param("lookback", 0, low=0, doc="rows before its own that a row was computed from")


class Samples(NamedTuple):
    """The samples of a panel as a table, time-major: all symbols of the first row, then of the second.

    Attributes
    ----------
    values : ndarray of shape (n, F)
    row : ndarray of shape (n,), intp
        Number of the row in time that each sample came from.
    column : ndarray of shape (n,), intp
        Number of the symbol that each sample came from.
    """

    values: np.ndarray
    row: np.ndarray
    column: np.ndarray


class Panel:
    """Fields x time x symbols, frozen.

    Parameters
    ----------
    values : ndarray of shape (F, T, N), float64 or float32
        Copied if anyone could still write to it. To hand a block over without a copy, lock it first:
        ``values.flags.writeable = False``.
    time : DatetimeIndex of length T
        Strictly increasing. Time zones are converted to UTC; tz-naive times are taken as UTC.
    symbols : sequence of str, length N
    fields : sequence of str, length F
    lookback : int, default 0
        Rows before its own that a row was computed from: 0 for bars; a recipe says it of its features, and what is
        made of a panel keeps it. Splits derive their embargo from it. No part of content, equality or fingerprint.

    Raises
    ------
    DataError
        Where shapes, labels or the order of time do not hold together.

    Examples
    --------
    >>> time = pd.date_range("2020-01-01", periods=3, tz="UTC")
    >>> panel = Panel(np.ones((1, 3, 2)), time, ["A", "B"], ["close"])
    >>> panel["close"].shape, panel[:"2020-01-02"].shape
    ((3, 2), (1, 2, 2))
    """

    __slots__ = ("_fingerprint", "fields", "lookback", "symbols", "time", "values")

    values: np.ndarray
    time: pd.DatetimeIndex
    symbols: tuple[str, ...]
    fields: tuple[str, ...]
    lookback: int

    def __init__(self, values, time, symbols, fields, lookback=0):
        values = _locked(values)
        time = checked_time(time)
        symbols, fields = checked_labels("symbol", symbols), checked_labels("field", fields)
        expected = (len(fields), len(time), len(symbols))
        if values.shape != expected:
            raise DataError(
                f"values have shape {values.shape}, the labels say {expected} (fields, rows, symbols)",
                hint="values are ordered (field, time, symbol); np.stack puts (time, symbol) planes together",
            )
        lookback = _LOOKBACK.check(lookback, "Panel")
        for name, value in zip(Panel.__slots__, (None, fields, lookback, symbols, time, values), strict=True):
            object.__setattr__(self, name, value)

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, int, int]:
        """(F, T, N): the number of fields, rows in time, and symbols."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """Of the values: float64 or float32."""
        return self.values.dtype

    @property
    def fingerprint(self) -> str:
        """SHA-256 of content and labels, as 64 hex digits; the same however the panel was made."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            head = [self.dtype.name, self.shape, self.symbols, self.fields]
            digest.update(json.dumps(head, ensure_ascii=True).encode())
            digest.update(self.time.asi8.astype("<i8").tobytes())
            for plane in self.values:
                with np.errstate(invalid="ignore"):  # of a signalling NaN
                    plane = plane + plane.dtype.type(0)  # a copy in which -0.0, which equals 0.0, is 0.0
                plane[np.isnan(plane)] = np.nan  # one bit pattern for all NaN
                digest.update(plane.astype(plane.dtype.newbyteorder("<"), copy=False).data)
            object.__setattr__(self, "_fingerprint", digest.hexdigest())
        return self._fingerprint

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Panel):
            return NotImplemented
        return self is other or (
            self.dtype == other.dtype
            and self.symbols == other.symbols
            and self.fields == other.fields
            and self.time.equals(other.time)
            and np.array_equal(self.values, other.values, equal_nan=True)
        )

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __setattr__(self, name: str, value: object):
        raise AttributeError(f"a Panel is frozen: {name!r} can't be set; .like() makes a new panel")

    def __delattr__(self, name: str):
        raise AttributeError(f"a Panel is frozen: {name!r} can't be deleted")

    def __reduce__(self):
        return _restore, (self.values, self.time, self.symbols, self.fields, self.lookback)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {text}" for name, text in self._facts())
        return f"<Panel: {facts}>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = (f"<tr><th {left}>{n}</th><td {left}>{html.escape(text)}</td></tr>" for n, text in self._facts())
        return f"<table><caption {left}><b>Panel</b></caption>{''.join(rows)}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        def listed(names: tuple[str, ...]) -> str:
            return f"{len(names)} ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})"

        step = self.time == self.time.normalize()
        form = "%Y-%m-%d" if step.all() else "%Y-%m-%d %H:%M:%S"
        span = f"{self.time[0]:{form}} to {self.time[-1]:{form}}" if len(self.time) else "none"
        missing = np.isnan(self.values).mean() if self.values.size else 0.0
        return [
            ("fields", listed(self.fields)),
            ("rows", f"{len(self.time)}, {span}"),
            ("symbols", listed(self.symbols)),
            ("missing", f"{missing:.1%}"),
            ("dtype", self.dtype.name),
        ]

    # ------------------------------------------------------------------ looking into it

    def plane(self, field: str) -> np.ndarray:
        """One field as a read-only, contiguous ndarray of shape (T, N), not a copy."""
        return self.values[self._number("field", field)]

    def __getitem__(self, key):
        """``panel["close"]``: the field as a DataFrame (T x N), no copy. ``panel[:"2021"]``: rows by label.

        Both ends of a slice are included, as in pandas, and a label that is a year, a month or a date stands
        for the whole of it; a label without a time zone is taken as UTC.
        """
        if isinstance(key, slice):
            return self._between(key)
        if not isinstance(key, str):
            raise ParameterError(
                f"a panel is asked for a field by its name or for time by a slice, not for {key!r}",
                hint='panel["close"], panel["2020":"2021"], panel.select(fields=[...]), panel.rows(0, 100)',
            )
        columns = pd.Index(self.symbols, name="symbol")
        return pd.DataFrame(self.plane(key), index=self.time, columns=columns, copy=False)

    def __getattr__(self, name: str):
        if name.startswith("_") or name in Panel.__slots__:  # the second: of a panel that was never made
            raise AttributeError(name)
        if name in self.fields:
            return self[name]
        raise AttributeError(str(UnknownNameError.of("field or attribute of a Panel", name, self.fields)))

    def __contains__(self, field: object) -> bool:
        return field in self.fields

    __iter__ = None  # a panel is not a sequence: of what, fields, rows or symbols?

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(f for f in self.fields if f.isidentifier())]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.fields)

    def rows(self, start: int | None = None, stop: int | None = None) -> Panel:
        """The rows from number `start` up to, not including, `stop`; counted as Python's slices are."""
        for bound in (start, stop):
            if bound is not None and not hasattr(bound, "__index__"):
                raise ParameterError(
                    f"rows are counted in ints, found {bound!r}", hint='panel.rows(0, 100); by time: panel["2020":]'
                )
        start, stop, _ = slice(start, stop).indices(len(self.time))
        if (start, max(start, stop)) == (0, len(self.time)):
            return self
        return _make(self.values[:, start:stop], self.time[start:stop], self.symbols, self.fields, self.lookback)

    def select(self, symbols=None, fields=None) -> Panel:
        """The panel of some symbols and some fields, in the order given; None keeps them all.

        Parameters
        ----------
        symbols, fields : str or sequence of str, optional

        Raises
        ------
        UnknownNameError
            For a name that is not there; the message says which is nearest.
        """
        values = self.values
        chosen = {}
        for axis, kind, names in ((2, "symbol", symbols), (0, "field", fields)):
            known = self.symbols if kind == "symbol" else self.fields
            names = known if names is None else checked_labels(kind, [names] if isinstance(names, str) else names)
            chosen[kind] = names
            if names != known:
                values = values.take([self._number(kind, name) for name in names], axis=axis)
        if values is self.values:
            return self
        return _make(values, self.time, chosen["symbol"], chosen["field"], self.lookback)

    def shards(self, k: int) -> list[Panel]:
        """The panel split by symbols into at most `k` panels of nearly equal width, in order."""
        if not isinstance(k, (int, np.integer)) or k < 1:
            raise ParameterError(f"shards: k={k!r}, expected an int of at least 1", hint="k=1")
        edges = np.linspace(0, len(self.symbols), min(int(k), len(self.symbols)) + 1).astype(int)
        parts = [(self.values[:, :, a:b], self.time, self.symbols[a:b]) for a, b in pairwise(edges)]
        return [_make(*part, self.fields, self.lookback) for part in parts]

    # ------------------------------------------------------------------ making others of it

    def like(self, values, fields, lookback: int | None = None) -> Panel:
        """A panel with this one's time and symbols.

        Parameters
        ----------
        values : ndarray of shape (F, T, N), or (T, N) for a single field
        fields : str or sequence of str, length F
        lookback : int, optional
            Rows before its own that a row is computed from. Default: this panel's.
        """
        values = np.asanyarray(values)
        values = values[np.newaxis] if values.ndim == 2 else values
        fields = [fields] if isinstance(fields, str) else fields
        return Panel(values, self.time, self.symbols, fields, self.lookback if lookback is None else lookback)

    def rename(self, mapping: Mapping[str, str]) -> Panel:
        """The same values with fields renamed, old name to new; the others keep their names."""
        for name in mapping:
            self._number("field", name)
        fields = tuple(mapping.get(f, f) for f in self.fields)
        return _make(self.values, self.time, self.symbols, fields, self.lookback)

    def astype(self, dtype) -> Panel:
        """The panel in float32 or float64; a value that float32 can't hold is a DataError."""
        dtype = _float_dtype(dtype)
        if dtype == self.dtype:
            return self
        return _make(_cast(self.values, dtype), self.time, self.symbols, self.fields, self.lookback)

    def join(self, other: Panel) -> Panel:
        """The fields of both, this panel's first; both must have the same time and the same symbols.

        The result is float64 if either is.
        """
        if not isinstance(other, Panel):
            found = type(other).__name__
            raise ParameterError(f"join expects a Panel, found {found}", hint="Panel.from_frame(df)")
        if self.symbols != other.symbols:
            odd = sorted(set(self.symbols) ^ set(other.symbols))
            what = f"only one of them has {', '.join(odd[:5])}" if odd else "the same ones in another order"
            raise DataError(
                f"join: the panels differ in symbols ({len(self.symbols)}, {len(other.symbols)}): {what}",
                hint="panel.select(symbols=...) brings them in line",
            )
        if not self.time.equals(other.time):
            odd = self.time.symmetric_difference(other.time)
            raise DataError(
                f"join: the panels have different times ({len(self.time)} and {len(other.time)} rows);"
                f" the first that only one of them has is {odd[0]}",
                hint="slice both to the rows that they share: panel[start:stop]",
            )
        both = [f for f in self.fields if f in other.fields]
        if both:
            raise DataError(f"join: both panels have the field {both[0]!r}", hint="rename({old: new}) in one")
        dtype = np.result_type(self.dtype, other.dtype)
        values = np.concatenate([self.values, other.values], dtype=dtype)
        lookback = max(self.lookback, other.lookback)
        return _make(values, self.time, self.symbols, self.fields + other.fields, lookback)

    def adjusted(self) -> Panel:
        """Prices on the scale of ``adj_close``: as if each split and dividend had come before the first row.

        open, high, low and close are multiplied by adj_close / close, volume is divided by it, so that price
        times volume stays what it was; other fields are left alone. Needs the fields close and adj_close.
        Adjusted prices of the past know of later splits and dividends: take returns from them, never levels.

        Raises
        ------
        DataError
            Where close or adj_close is zero, negative or infinite, or a result is too large for the dtype.
        """
        close, target = positive_prices(self, "close"), positive_prices(self, "adj_close")
        values = self.values.copy()
        with np.errstate(all="ignore"):
            for name in PRICES:
                if name in self.fields:  # divided first: what equals the close stays equal to it, to the bit
                    values[self.fields.index(name)] = self.plane(name) / close * target
            if "volume" in self.fields:
                values[self.fields.index("volume")] = self.plane("volume") / (target / close)
        lost = np.isinf(values) & np.isfinite(self.values)
        if lost.any():
            f, t, n = (int(i) for i in np.argwhere(lost)[0])
            raise DataError(
                f"adjusted {self.fields[f]} of {self.symbols[n]!r} at {self.time[t]} (row {t}) is too large for"
                f" {self.dtype}: close is {close[t, n]}, adj_close {target[t, n]}",
                hint="set what is no price to NaN",
            )
        return _make(values, self.time, self.symbols, self.fields, self.lookback)

    # ------------------------------------------------------------------ samples

    def stack(self, *, valid: str | None = "all") -> Samples:
        """The panel as a table of samples, one for each (row, symbol), time-major.

        Parameters
        ----------
        valid : {"all", "any", None}, default "all"
            Keep the samples in which all fields are finite, in which any is, or every one.
        """
        if valid not in ("all", "any", None):
            raise ParameterError(f"stack: valid={valid!r} is no choice", hint='choices: "all", "any", None')
        flat = self.values.reshape(len(self.fields), len(self.time) * len(self.symbols))
        if valid is None:
            number = np.arange(flat.shape[1])
        else:
            number = np.flatnonzero(getattr(np.isfinite(flat), valid)(axis=0))
        row, column = np.divmod(number, len(self.symbols))
        # most panels have all samples from some row on: these are cut, not gathered
        whole = len(number) and number[-1] - number[0] + 1 == len(number)
        chosen = flat[:, number[0] : number[-1] + 1] if whole else flat.take(number, axis=1)
        values = aligned((len(number), len(self.fields)), self.dtype)
        values[...] = chosen.T
        return Samples(values, row, column)

    def unstack(self, values, row, column, fields) -> Panel:
        """The reverse of `stack`: samples on this panel's time and symbols, NaN where there is no sample.

        Parameters
        ----------
        values : ndarray of shape (n,) or (n, K)
        row, column : ndarray of shape (n,)
            As `stack` gave them.
        fields : str or sequence of str, length K
        """
        fields = checked_labels("field", [fields] if isinstance(fields, str) else fields)
        values = np.asarray(values)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        row, column = np.asarray(row), np.asarray(column)
        wrong = values.shape != (len(row), len(fields)) or row.shape != column.shape or row.ndim != 1
        if wrong:
            raise DataError(
                f"unstack: values have shape {values.shape}, expected ({len(row)}, {len(fields)});"
                f" row has shape {row.shape}, column {column.shape}",
                hint="values, row and column hold one entry a sample; values one column a field",
            )
        for name, number, size in (("row", row, len(self.time)), ("column", column, len(self.symbols))):
            if number.size and (number.dtype.kind not in "iu" or number.min() < 0 or number.max() >= size):
                raise DataError(
                    f"unstack: {name} numbers must be integers from 0 to {size - 1}",
                    hint="as stack() gave them",
                )
        shape = (len(self.time), len(self.symbols))
        flat = row.astype(np.intp) * shape[1] + column.astype(np.intp)
        seen = np.bincount(flat, minlength=1)
        if len(flat) and seen.max() > 1:
            at = divmod(int(seen.argmax()), shape[1])
            what = f"more than one sample for {self.time[at[0]]}, {self.symbols[at[1]]}"
            raise DataError(f"unstack: {what}", hint="keep one, or take their mean")
        dtype = values.dtype if values.dtype in (np.float32, np.float64) else np.float64
        block = np.full((len(fields), shape[0] * shape[1]), np.nan, dtype)
        block[:, flat] = values.T
        return _make(block.reshape(len(fields), *shape), self.time, self.symbols, fields, self.lookback)

    # ------------------------------------------------------------------ frames

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame | pd.Series,
        *,
        layout: str | None = None,
        time: str | None = None,
        symbol: str | None = None,
        field: str = "close",
        name: str = "asset",
        bars: bool = True,
        lookback: int = 0,
    ) -> Panel:
        """A panel of a DataFrame as people have it; a bad one is refused, with where and what to do.

        Parameters
        ----------
        df : DataFrame or Series
            long: one row for each bar, time and symbol in columns or in the index.
            wide: one row for each time, symbols as columns, or (field, symbol) columns in either order.
            single: one row for each time, fields as columns.
        layout : {"long", "wide", "single"}, optional
            Found by itself where the frame leaves no doubt.
        time, symbol : str, optional
            The columns or index levels that hold them, where they have unusual names.
        field : str, default "close"
            What the numbers of a wide frame are, when its columns are symbols only.
        name : str, default "asset"
            The symbol of a single frame.
        bars : bool, default True
            Check that prices are above zero, high is not below low, both enclose open and close, and volume
            is not negative. Prices are compared to a relative 1e-6, for rounding in float32. False takes the
            columns as plain numbers.
        lookback : int, default 0
            Rows before its own that a row was computed from, as of features that were made elsewhere: a frame does not
            say, and splits derive their embargo from it.

        Notes
        -----
        Times with a zone are converted to UTC, times without one are taken as UTC: a bar stamped midnight in
        New York comes out at 05:00 or 04:00. Dates, and full dates as text in ISO 8601, are understood. Bar columns are
        found in any spelling of ``open high low close adj_close volume`` ("Close", "Adj Close", "adjClose");
        other columns keep their names. Integer symbols become text; columns of bool become 0 and 1. The panel
        is float32 if all columns are, else float64. Symbols and fields keep the order in which they appear,
        bars that are not there are NaN. Nothing else is changed.

        Raises
        ------
        DataError
        """
        read = read_frame(df, layout=layout, time=time, symbol=symbol, field=field, name=name, bars=bars)
        return cls(*read, lookback)

    def to_frame(self) -> pd.DataFrame:
        """A long DataFrame: a row for each (time, symbol), a column for each field, NaN where nothing is.

        It does not hold the panel's `lookback`.
        """
        index = pd.MultiIndex.from_product([self.time, self.symbols], names=["time", "symbol"])
        flat = self.values.reshape(len(self.fields), len(self.time) * len(self.symbols))
        return pd.DataFrame(flat.T, index=index, columns=pd.Index(self.fields), copy=False)

    # ------------------------------------------------------------------ inner workings

    def _number(self, kind: str, name: str) -> int:
        known = self.fields if kind == "field" else self.symbols
        try:
            return known.index(name)
        except ValueError:
            raise UnknownNameError.of(kind, name, known) from None

    def _between(self, key: slice) -> Panel:
        if key.step is not None:
            raise ParameterError(f"time is sliced without a step, found {key.step!r}", hint="panel[a:b]")
        bounds = [slice_label(key.start), slice_label(key.stop)]
        try:
            found = self.time.slice_indexer(*bounds)
        except (ValueError, TypeError) as error:
            raise ParameterError(
                f"time can't be sliced by [{key.start!r}:{key.stop!r}]: {error}",
                hint='dates are written year first: panel["2020-03":"2021-12-31"]',
            ) from None
        return self.rows(found.start, found.stop)


def aligned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An empty array that begins at a multiple of 64 bytes, as in a mapped file.

    Some libraries sum in another order where memory begins elsewhere: so the last bit is the same, mapped or not.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def _make(values: np.ndarray, time, symbols, fields, lookback: int) -> Panel:
    """A panel of values that nobody else writes to."""
    values = np.ascontiguousarray(values)
    values.flags.writeable = False
    return Panel(values, time, symbols, fields, lookback)


_restore = _make  # the name that pickles know


def _locked(values) -> np.ndarray:
    """`values` as a read-only C-contiguous (F, T, N) array of floats: itself where nobody can write to it."""
    if not isinstance(values, np.ndarray) or values.ndim != 3:
        shape = getattr(values, "shape", None)
        raise DataError(
            f"values are a {type(values).__name__} of shape {shape}, expected (field, time, symbol)",
            hint="Panel.from_frame(df) takes DataFrames; a single plane needs values[np.newaxis]",
        )
    dtype = _float_dtype(values.dtype)
    locked, owner = True, values
    while isinstance(owner, np.ndarray):
        locked, owner = locked and not owner.flags.writeable, owner.base
    if locked and values.flags.c_contiguous and values.dtype == dtype and type(values) is np.ndarray:
        return values
    values = np.array(values, dtype=dtype, order="C", copy=True, subok=False)
    values.flags.writeable = False
    return values


def _float_dtype(dtype) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise DataError(f"values are {dtype}, expected float64 or float32", hint="values.astype(float)")
    return dtype.newbyteorder("=")


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`values` in `dtype`; a finite value that doesn't fit into it is an error rather than an infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    lost = np.isinf(cast) & ~np.isinf(values)
    if lost.any():
        raise DataError(f"{values[lost][0]!r} is too large for {dtype}", hint="use float64")
    return cast


def positive_prices(panel: Panel, field: str) -> np.ndarray:
    """The plane of `field`, in which every price is positive and finite, or NaN where it is missing.

    Raises
    ------
    DataError
        For the first price that is zero, negative or infinite: no return can be taken from it.
    """
    plane = panel.plane(field)
    with np.errstate(invalid="ignore"):
        bad = (plane <= 0) | np.isinf(plane)
    if bad.any():
        t, n = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{field} of {panel.symbols[n]!r} at {panel.time[t]} (row {t}) is {plane[t, n]}, expected"
            f" a positive price or NaN; there are {int(bad.sum())} such prices",
            hint="set what is no price to NaN, or leave the symbol out: panel.select(symbols=[...])",
        )
    return plane
