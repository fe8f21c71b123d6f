"""The times of a panel: read, checked, ordered, and sliced by; and what a row is called in messages."""

from __future__ import annotations

import re
from datetime import date, datetime

import numpy as np
import pandas as pd

from ..errors import DataError, ParameterError

FULL_DATE = re.compile(r"\s*\d{4}(?:\d{4}|([-/. ])\d{1,2}\1\d{1,2})(?!\d)")  # year, month and day


class Rows:
    """What a row is called in messages: its line in the file, or its number and its label in the index."""

    def __init__(self, index: pd.Index, first_line: int | None):
        self.index, self.first_line = index, first_line

    def __call__(self, number: int) -> str:
        if self.first_line is not None:
            return f"line {number + self.first_line}"
        if isinstance(self.index, pd.RangeIndex) and (self.index.start, self.index.step) == (0, 1):
            return f"row {number}"
        label = self.index[number]
        label = ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
        return f"row {number} ({label})"


def stamp(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d}" if time == time.normalize() else str(time)


def in_all(number: int) -> str:
    return f" ({number} such in all)" if number > 1 else ""


def checked_time(time) -> pd.DatetimeIndex:
    """The constructor's time: UTC, nanoseconds, strictly increasing."""
    if isinstance(time, np.ndarray) and time.dtype.kind == "M":
        time = pd.DatetimeIndex(time)
    if not isinstance(time, pd.DatetimeIndex):
        raise DataError(
            f"time is a {type(time).__name__}, expected a DatetimeIndex",
            hint='pd.DatetimeIndex(time, tz="UTC"), or pd.to_datetime(time, utc=True)',
        )
    time = _utc(time)
    if not (time.is_monotonic_increasing and time.is_unique) or time.hasnans:
        _refuse_order(time, Rows(time, None))
    return time


def _utc(time: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """`time` in UTC nanoseconds, named "time"; without a time zone it is taken as UTC."""
    time = time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")
    try:
        time = time.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(f"time is out of range: {error}", hint="years from 1678 to 2261 can be held") from None
    return pd.DatetimeIndex(time, name="time", freq=None)


def _refuse_order(time: pd.DatetimeIndex, rows: Rows):
    """Raise the error that says where `time` is missing, repeated or goes back."""
    if time.hasnans:
        at = int(np.flatnonzero(time.isna())[0])
        raise DataError(f"time is missing (NaT) in {rows(at)}", hint="drop these rows: df[df.index.notna()]")
    twice = time.duplicated()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        first = int(np.flatnonzero(time == time[at])[0])
        raise DataError(
            f"duplicate timestamp {stamp(time[at])}: {rows(first)} and {rows(at)}{in_all(twice.sum())}",
            hint=("keep one of them" if rows.first_line else 'keep one of them: df[~df.index.duplicated(keep="last")]')
            + '; if they are of several symbols, name their column: from_frame(df, symbol="...")',
        )
    at = int(np.flatnonzero(np.diff(time.asi8) < 0)[0]) + 1
    raise DataError(
        f"time is not sorted: {rows(at)} is {stamp(time[at])}, after {stamp(time[at - 1])}",
        hint="sort the lines by time" if rows.first_line else "sort it: df.sort_index()",
    )


def check_order(time: pd.DatetimeIndex, rows: Rows):
    if not (time.is_monotonic_increasing and time.is_unique):
        _refuse_order(time, rows)


def is_dated(values) -> bool:
    return isinstance(values.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or values.dtype.kind == "M"


def parse_time(values: pd.Series | pd.Index, rows: Rows) -> pd.DatetimeIndex:
    """Times in UTC without holes; order and duplicates are for the layout to judge."""
    dtype = values.dtype
    if isinstance(dtype, pd.PeriodDtype):
        raise DataError(f"time is in periods ({dtype})", hint='df.index.to_timestamp(how="start"), or "end"')
    if pd.api.types.is_numeric_dtype(dtype):
        raise DataError(
            f"time is in numbers ({dtype}): {rows(0)} holds {np.asarray(values)[0]}",
            hint='pd.to_datetime(df["time"], unit="s"), or format="%Y%m%d"',
        )
    missing = np.flatnonzero(np.asarray(pd.isna(values)))
    if len(missing):
        raise DataError(
            f"time is missing (NaT) in {rows(int(missing[0]))}{in_all(len(missing))}",
            hint="drop these rows, or fill in their time",
        )
    time = pd.DatetimeIndex(values) if is_dated(values) else _parse_objects(list(values), rows)
    time = _utc(time)
    first_day = (time.asi8 >= 0).all() and (time.asi8 < 86_400 * 10**9).all()
    if len(time) > 1 and first_day and (time.asi8 % 10**9).any():
        raise DataError(
            f"all of time lies in the first day of 1970 ({time[0]}): numbers were read as nanoseconds",
            hint='pd.to_datetime(numbers, unit="s"), or format="%Y%m%d"',
        )
    return time


def _parse_objects(values: list, rows: Rows) -> pd.DatetimeIndex:
    """Text in ISO 8601, dates and datetimes, all in one time zone."""
    if all(isinstance(v, str) for v in values):  # each text is read once; a long frame repeats its dates
        codes, unique = pd.factorize(np.array(values, dtype=object))
        first = np.full(len(unique), len(codes))
        np.minimum.at(first, codes, np.arange(len(codes)))
    else:
        codes, unique, first = slice(None), values, range(len(values))
    zones: dict[str, int] = {}
    for number, value in enumerate(unique):
        if zones.setdefault(_zone(value, rows, first[number]), number) == number and len(zones) > 1:
            (one, a), (other, b) = zones.items()
            raise DataError(
                f"mixed time zones: {rows(first[a])} has {one} ({unique[a]}),"
                f" {rows(first[b])} has {other} ({unique[b]})",
                hint='pd.to_datetime(df["..."], utc=True), if each one is right as it stands',
            )
    try:
        return pd.DatetimeIndex(pd.to_datetime(unique, format="ISO8601"))[codes]
    except (ValueError, TypeError, OverflowError):
        for number, value in enumerate(unique):
            try:
                pd.to_datetime(value, format="ISO8601")
            except (ValueError, TypeError, OverflowError):
                raise DataError(
                    f"time in {rows(first[number])} is {value!r}, which is no date in ISO 8601",
                    hint="dates are written 2020-01-31; pd.to_datetime(..., format='%d/%m/%Y') reads others",
                ) from None
        raise


def _zone(value: object, rows: Rows, number: int) -> str:
    """The time zone of one time, "none" without one."""
    if isinstance(value, str):
        if not FULL_DATE.match(value):  # pandas reads a ticker such as "2018" as a year, and "now" as now
            raise DataError(
                f"time in {rows(number)} is {value!r}, which is no full date (year, month and day) in ISO 8601",
                hint="dates are written 2020-01-31; pd.to_datetime(..., format='%d/%m/%Y') reads others; if another"
                ' column holds the time, name it: from_frame(df, time="...")',
            )
        offset = re.search(r"[T ]\d\d.*?(Z|[+-]\d\d(?::?\d\d)?)$", value)
        return offset.group(1).replace("Z", "+00:00") if offset else "none"
    if isinstance(value, (date, np.datetime64)):
        return str(getattr(value, "tzinfo", None) or "none")
    raise DataError(
        f"time in {rows(number)} is {value!r} ({type(value).__name__}), expected a date or a time",
        hint='pd.to_datetime(df["time"])',
    )


def slice_label(label):
    """A slice's end in the form that pandas takes it against a UTC index; a date is the whole of its day."""
    year_first = not isinstance(label, str) or re.match(r"\s*\d{4}(?![qQ])", label)
    if label is None or (isinstance(label, str) and year_first):
        return label
    if isinstance(label, (date, np.datetime64)) and not pd.isna(label):
        if not isinstance(label, (datetime, np.datetime64)):
            return label.isoformat()
        if isinstance(label, np.datetime64) and np.datetime_data(label)[0] in "YMD":
            return str(label)
        moment = pd.Timestamp(label)
        return moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")
    if isinstance(label, (int, float, np.number)):
        raise ParameterError(f"time is sliced by dates, found {label!r}", hint="panel.rows(start, stop)")
    hint = 'dates are written year first: panel["2020-03":"2021-12-31"]'
    raise ParameterError(f"time is sliced by dates, found {label!r}", hint=hint)
