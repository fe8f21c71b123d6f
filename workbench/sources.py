"""Where panels come from: a name, a file or a DataFrame goes into `load`, a Panel comes out.

A named source is a function under `@source`, which declares its parameters, its origin and its licence.
No source asks the network.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from .errors import DataError, MissingPackageError, RegistrationError, UnknownNameError, WorkbenchError
from .panel import Panel
from .panel.frames import SYMBOL_NAMES, TIME_NAMES, name_key, read_frame
from .registry import Param, Registry, check_params

DATA = Path(__file__).parent / "data"
MISSING = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"]  # in a CSV's columns of numbers
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")
FRAME_PARAMS = (
    Param("layout", None, choices=("long", "wide", "single"), optional=True, kind=str, doc="of the frame"),
    Param("time", None, optional=True, kind=str, doc="column or index level that holds the time"),
    Param("symbol", None, optional=True, kind=str, doc="column or index level that holds the symbol"),
    Param("field", "close", doc="what the numbers of a wide frame are"),
    Param("name", None, optional=True, kind=str, doc="symbol of a single frame; of a file, its stem"),
    Param("bars", True, doc="whether to check that prices and volumes can be"),
)


@dataclass(frozen=True)
class Source:
    """A registered source; called with its parameters it gives a Panel.

    Attributes
    ----------
    name, origin, licence, summary : str
    params : tuple of Param
    read : callable
    """

    name: str
    read: Callable[..., Panel]
    params: tuple[Param, ...]
    origin: str
    licence: str
    summary: str

    def __call__(self, **params) -> Panel:
        return self.read(**check_params(f"load({self.name!r})", self.params, params))


sources: Registry[Source] = Registry("source")


def source(name: str, *, origin: str, licence: str, params: Sequence[Param] = ()):
    """Register a function that returns a Panel as the source `name`.

    Parameters
    ----------
    name : str
        What `load` knows it by.
    origin : str
        Who made the numbers, and where they are read from.
    licence : str
        What one may do with them.
    params : sequence of Param
        The function's keyword arguments.

    Raises
    ------
    RegistrationError
        Without an origin, a licence or a docstring, or under a name that is taken.
    """

    def register(read: Callable[..., Panel]) -> Callable[..., Panel]:
        summary = (read.__doc__ or "").strip().split("\n")[0]
        for what, text in (("origin", origin), ("licence", licence), ("docstring", summary)):
            if not text:
                raise RegistrationError(f"source {name!r} declares no {what}", hint="say where its numbers come from")
        sources.add(name, Source(name, read, tuple(params), origin, licence, summary))
        return read

    return register


def catalog() -> pd.DataFrame:
    """The named sources as a table: what each holds, its parameters, its origin and its licence."""
    rows = {
        name: {
            "summary": entry.summary,
            "parameters": ", ".join(f"{p.name}={p.default!r}" for p in entry.params),
            "origin": entry.origin,
            "licence": entry.licence,
        }
        for name, entry in sources.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")


def load(what: str | os.PathLike | pd.DataFrame | pd.Series, **params) -> Panel:
    """A panel from the name of a source, the path of a file, or a DataFrame.

    Parameters
    ----------
    what : str, path, DataFrame or Series
        One of the names in `sources`; a ``.csv``, ``.csv.gz``, ``.parquet`` or ``.pq`` file; or a frame.
    **params
        Of a source: those that it declares. Of a file or a frame: those of `Panel.from_frame`; the symbol
        of a file that holds a single one is the stem of its name.

    Raises
    ------
    UnknownNameError
        For a name that is neither a source nor a file.
    DataError
        For a file or a frame that is not right; the message names file, line and remedy.
    MissingPackageError
        Where a source reads from a package that is not installed.

    Notes
    -----
    In a CSV, dates are in ISO 8601, numbers have a decimal point, and an empty field, ``NA``, ``NaN`` or
    ``null`` in a column of numbers is missing. A line with too few or too many fields is an error.

    Examples
    --------
    >>> load("us-tech").symbols
    ('AAPL', 'FB', 'GOOG', 'IBM', 'MSFT')
    """
    if isinstance(what, (pd.DataFrame, pd.Series)):
        given = check_params("load", FRAME_PARAMS, params)
        return Panel.from_frame(what, **{**given, "name": given["name"] or "asset"})
    if isinstance(what, str) and what in sources:
        return sources[what](**params)
    if isinstance(what, str) and re.match(r"\w+://", what):
        raise DataError(f"{what}: load reads no URLs", hint="download the file, then load its path")
    if isinstance(what, str) and not (Path(what).suffix or os.sep in what or Path(what).exists()):
        unknown = UnknownNameError.of("source", what, sources)
        raise UnknownNameError(unknown.message, hint=f"{unknown.hint}; or a path in {', '.join(SUFFIXES)}")
    if isinstance(what, (str, os.PathLike)):
        return _load_file(Path(what).expanduser(), check_params("load", FRAME_PARAMS, params))
    hint = "load(df.to_pandas())" if hasattr(what, "to_pandas") else "a name of a source, a path, or a DataFrame"
    raise DataError(f"load can't read a {type(what).__name__}", hint=hint)


# ---------------------------------------------------------------------- files


def _load_file(path: Path, params: dict) -> Panel:
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file", hint="load its files one by one, then join or concat")
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, there, n=1)
        hint = f"did you mean {str(path.with_name(near[0]))!r}?" if near else f"the working folder is {Path.cwd()}"
        raise DataError(f"{path}: no such file", hint=hint)
    if suffix is None:
        raise DataError(
            f"{path}: a {path.suffix or 'file without suffix'} is not one of {', '.join(SUFFIXES)}",
            hint="read it with pandas, then wb.load(df)",
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)", hint="write or download it again")
    stem = path.name[: -len(suffix)]
    try:
        if suffix.startswith(".csv"):
            frame, first_line = _read_csv(path, params), 2
        else:
            frame, first_line = _read_parquet(path), None
        params = {**params, "name": params["name"] or stem}
        return Panel(*read_frame(frame, **params, first_line=first_line))
    except WorkbenchError as error:
        read = "pd.read_csv" if suffix.startswith(".csv") else "pd.read_parquet"
        hint = _hint_on_file(error.hint, f"{read}({str(path)!r})")
        raise type(error)(f"{path}: {error.message}", hint=hint) from None
    except UnicodeDecodeError as error:  # arrow decodes text when it is looked at, not when it is read
        hint = "it may be damaged: write or download it again"
        raise DataError(f"{path}: it holds text that is not UTF-8 ({error.reason})", hint=hint) from None


def _hint_on_file(hint: str | None, read: str) -> str | None:
    """A hint that was written about a frame, for who has a file: how to get at the `df` that it speaks of."""
    hint = hint and hint.replace("from_frame(df, ", "load(path, ")
    if hint is None or "pd.read_csv(" in hint or not re.search(r"\bdf\b", hint):
        return hint
    return f"mend the file; or df = {read}, then: {hint}; then wb.load(df)"


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except Exception as error:  # pandas trusts what the file says of itself, so damage there raises anything
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(
            f"not a whole parquet file of {path.stat().st_size} bytes: {text}",
            hint="it may be cut off or damaged: write or download it again",
        ) from None


def _read_csv(path: Path, params: dict) -> pd.DataFrame:
    """A CSV whose lines have all been counted out: row r of the frame is line r + 2 of the file."""
    text = _text_of(path)
    header = _check_lines(text)
    keys = [name_key(h) for h in header]
    if header[0] == "" and params["time"] is None and not set(keys) & set(TIME_NAMES):
        header[0], keys[0] = "time", "time"  # as DataFrame.to_csv writes an index without a name
        first = text.split("\n", 2)[1].split(",", 1)[0].strip('"')
        if re.fullmatch(r"\d{1,7}", first):
            raise DataError(
                f"there is no time: the column without a name holds {first!r} in line 2, the number of a row",
                hint="set_index(...) on the dates before to_csv(...); or, if a column holds them, name it:"
                ' load(path, time="...")',
            )
    labels = [
        h
        for h, key in zip(header, keys, strict=True)
        if key in TIME_NAMES + SYMBOL_NAMES or h in (params["time"], params["symbol"])
    ]
    return pd.read_csv(
        io.StringIO(text),
        names=header,
        header=0,
        index_col=False,
        dtype=dict.fromkeys(labels, str),  # the ticker "NA" stays a ticker, "000001" keeps its zeros
        keep_default_na=False,
        na_values={h: MISSING for h in header if h not in labels},
        low_memory=False,
    )


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"not a whole gzip file: {error}", hint="write or download it again") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(f"line {line} is not UTF-8: {error.reason}", hint="save the file as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"line {line} holds a zero byte: this is no text", hint="write or download it again")
    if not text.strip():
        raise DataError("the file is empty", hint="write or download it again")
    text = text.rstrip()
    bare = re.search(r"\r(?!\n)", text)
    if bare:
        line = text.count("\n", 0, bare.start()) + 1
        raise DataError(f"line {line} ends in a CR alone, expected LF or CRLF", hint="save the file with LF line ends")
    return text


def _check_lines(text: str) -> list[str]:
    """The header, once every line is known to have as many fields as it has."""
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        header = _check_header(next(lines))
        if "\n" not in text:
            raise DataError("the file has a header and no other line", hint="write or download it again")
        if '"' not in text and len(header) > 1 and len({line.count(",") for line in text.split("\n")}) == 1:
            return header  # the common case, without parsing
        for number, fields in enumerate(lines, start=2):
            if lines.line_num != number:
                hint = "a quote in it may be left open"
                raise DataError(f"line {number} goes on over several lines", hint=hint)
            if len(fields) != len(header):
                what = f"has {len(fields)} fields" if fields else "is empty"
                raise DataError(
                    f"line {number} is broken: it {what}, the header has {len(header)}",
                    hint="a decimal comma, a missing comma, or a line cut off? mend or take out the line",
                )
    except csv.Error as error:
        hint = "a quote in it may be left open"
        raise DataError(f"line {lines.line_num} is broken: {error}", hint=hint) from None
    return header


def _check_header(header: list[str]) -> list[str]:
    if not any(header):
        raise DataError("line 1 is empty, expected the names of the columns", hint="take the line out")
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        separator = max(";\t|", key=header[0].count)
        hint = f"df = pd.read_csv(path, sep={separator!r}), then wb.load(df)"
        raise DataError(f"line 1 has no commas: {header[0][:60]!r}", hint=hint)
    if re.match(r"\s*-?\d", header[0]):
        hint = "write the names of the columns above it"
        raise DataError(f"line 1 is no header: it starts with {header[0]!r}", hint=hint)
    twice = next((h for h in header if header.count(h) > 1), None)
    if twice is not None:
        raise DataError(f"line 1 has two columns {twice!r}", hint="rename or take out one of them")
    return header


# ---------------------------------------------------------------------- named sources


def _installed(name: str, package: str, file: str) -> Path:
    """Where `package` has installed `file`; found without importing the package."""
    found = importlib.util.find_spec(package)
    paths = [Path(folder, file) for folder in found.submodule_search_locations or []] if found else []
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        what = f"has no {paths[0]}" if paths else "is not installed"
        reads = f"load({name!r}) reads data of {package}, which {what}"
        raise MissingPackageError(reads, hint=f"pip install {package}")
    return path


def _by_period(values: pd.DataFrame, periods: pd.PeriodIndex, field: str) -> Panel:
    """One symbol a column; a period is known when it is over, so its row bears its last day."""
    values = values.set_axis(periods.to_timestamp(how="end").normalize())
    return Panel.from_frame(values, layout="wide", field=field, bars=False)


@source(
    "us-tech",
    origin="Quandl WIKI Prices, by way of bokeh_sampledata; see data/NOTICE",
    licence="public domain; shipped with workbench",
)
def _us_tech() -> Panel:
    """Five US stocks: unadjusted daily bars and adjusted close, 2000-03-01 to 2013-03-01, ragged."""
    return _load_file(DATA / "us-tech.parquet", check_params("load", FRAME_PARAMS, {}))


@source(
    "sp20",
    origin="skfolio's sp500_dataset, read from where the package is installed",
    licence="that of skfolio's data; not shipped, not to be passed on",
)
def _sp20() -> Panel:
    """Twenty US stocks: adjusted close, daily, 1990-01-02 to 2022-12-28; survivors, chosen afterwards."""
    path = _installed("sp20", "skfolio", "datasets/data/sp500_dataset.csv.gz")
    return _load_file(path, check_params("load", FRAME_PARAMS, {"layout": "wide"}))


@source(
    "macro",
    origin="FRED and the Bureau of Labor Statistics, by way of statsmodels' macrodata, read from where it is installed",
    licence="public domain",
)
def _macro() -> Panel:
    """Twelve US macro series: field `level`, quarterly, 1959 to 2009, as they were known in December 2009.

    Labelled by the last day of the quarter, though published weeks later, and revised since they first were. realgdp,
    realcons, realinv, realgovt and realdpi are in billions of 2005 dollars a year, cpi is 100 in 1982-84, m1 in
    billions of dollars, pop in millions, tbilrate, unemp, infl and realint in percent. The first infl and realint are a
    0 that stands for nothing: there is no quarter before.
    """
    frame = pd.read_csv(_installed("macro", "statsmodels", "datasets/macrodata/macrodata.csv"))
    quarters = pd.PeriodIndex.from_fields(year=frame.pop("year"), quarter=frame.pop("quarter"), freq="Q")
    return _by_period(frame, quarters, "level")


@source(
    "core-cpi",
    origin="FRED's CPILFESL, by way of arch, read from where the package is installed",
    licence="public domain in the US (Bureau of Labor Statistics)",
)
def _core_cpi() -> Panel:
    """US consumer prices without food and energy: field `level`, monthly, 1957-01 to 2018-11, seasonally adjusted.

    100 in 1982-84. Labelled by the last day of the month, though published weeks later; seasonal factors are revised.
    """
    frame = pd.read_csv(_installed("core-cpi", "arch", "data/core_cpi/core-cpi.csv.gz"))
    months = pd.PeriodIndex(pd.to_datetime(frame["Date"], format="%m/%d/%Y"), freq="M")
    return _by_period(frame[["CPILFESL"]], months, "level")


@source(
    "french-factors",
    origin="Kenneth French's data library, by way of arch, read from where the package is installed",
    licence="copyright of Fama and French; not shipped, not to be passed on",
)
def _french_factors() -> Panel:
    """Fama and French's three factors and the riskless rate: field `percent`, monthly, 1926-07 to 2018-11.

    In percent a month, as they are published; 100 times a fraction. Mkt-RF, SMB and HML are excess returns.
    """
    frame = pd.read_csv(_installed("french-factors", "arch", "data/frenchdata/frenchdata.csv.gz"))
    months = pd.PeriodIndex(pd.to_datetime(frame.pop("Date").astype(str), format="%Y%m"), freq="M")
    return _by_period(frame, months, "percent")


@source(
    "french-portfolios",
    origin="Kenneth French's data library, by way of linearmodels, read from where the package is installed",
    licence="copyright of Fama and French; not shipped, not to be passed on",
)
def _french_portfolios() -> Panel:
    """Thirty US stock portfolios, four factors and the riskless rate: field `return`, monthly, 1949-01 to 2017-03.

    Fractions a month. NoDur to Other are twelve industries; S1V1 is small and of low value, S5M5 large and winning.
    MktRF, SMB, HML and Mom are excess returns, the portfolios are not.
    """
    frame = pd.read_csv(_installed("french-portfolios", "linearmodels", "datasets/french/french.csv.bz2"), index_col=0)
    months = pd.PeriodIndex(pd.to_datetime(frame.index, format="%Y-%m-%d"), freq="M")
    return _by_period(frame, months, "return")


@source(
    "synthetic",
    origin="made up by workbench from a seed",
    licence="none needed",
    params=(
        Param("symbols", 20, low=1, high=10_000, doc="number of symbols"),
        Param("years", 5.0, low=0.01, high=100, doc="length, in years of 252 rows"),
        Param("seed", 0, low=0, doc="of the random numbers"),
        Param("ic", 0.05, low=-1, high=1, doc="correlation of signal with the next row's return, across symbols"),
    ),
)
def _synthetic(symbols: int, years: float, seed: int, ic: float) -> Panel:
    """Daily bars by chance, with a field `signal` whose correlation with the next row's return is `ic`.

    The return of symbol n in row t is m[t] + s z[t, n]: a market m common to all, and z independent standard
    normal. signal[t, n] = ic z[t+1, n] + sqrt(1 - ic**2) w[t, n], w independent standard normal: a fresh
    signal each day. The expected rank correlation is 6 / pi * asin(ic / 2), 0.955 ic (Pearson 1907).
    """
    rows, shape = max(2, round(252 * years)), (max(2, round(252 * years)), symbols)
    rng = np.random.default_rng(seed)
    daily, market = 0.015, rng.normal(0.0003, 0.008, (rows, 1))
    z = rng.standard_normal((rows + 1, symbols))
    block = np.empty((6, *shape))
    open_, high, low, close, volume, signal = block
    growth = 1 + market + daily * z[:-1]
    growth[0] = rng.uniform(20, 200, symbols)  # the first row's price
    np.cumprod(growth, axis=0, out=close)
    gap = np.exp(0.3 * daily * rng.standard_normal(shape))
    open_[0], open_[1:] = close[0] * gap[0], close[:-1] * gap[1:]
    reach = 0.5 * daily
    high[:] = np.maximum(open_, close) * np.exp(reach * np.abs(rng.standard_normal(shape)))
    low[:] = np.minimum(open_, close) * np.exp(-reach * np.abs(rng.standard_normal(shape)))
    volume[:] = np.round(1e6 * np.exp(0.4 * rng.standard_normal(shape)))
    signal[:] = ic * z[1:] + np.sqrt(1 - ic**2) * rng.standard_normal(shape)
    block.flags.writeable = False
    time = pd.bdate_range("2000-01-03", periods=rows, tz="UTC")
    width = len(str(symbols - 1))
    names = [f"S{n:0{width}d}" for n in range(symbols)]
    return Panel(block, time, names, ["open", "high", "low", "close", "volume", "signal"])
