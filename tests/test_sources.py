"""The shipped data, the planted signal, and files that are right and wrong."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from frames import BAD, bars, long_bars, put

from workbench.errors import (
    DataError,
    MissingPackageError,
    ParameterError,
    RegistrationError,
    UnknownNameError,
)
from workbench.panel import Panel
from workbench.registry import Param
from workbench.sources import DATA, catalog, load, source, sources

# ---------------------------------------------------------------------- us-tech


def test_the_shipped_file_is_the_one_in_the_notice():
    noted = re.findall(r"(?m)^sha256: +([0-9a-f]{64})$", (DATA / "NOTICE").read_text())
    assert noted == [hashlib.sha256((DATA / "us-tech.parquet").read_bytes()).hexdigest()]


def test_us_tech_is_what_it_says():
    """Rows, dates and the first and last AAPL bars as they stand in the source's CSV."""
    panel = load("us-tech")
    assert panel.symbols == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    assert panel.fields == ("open", "high", "low", "close", "volume", "adj_close")
    assert panel.stack().values.shape == (12154, 6)
    days = [str(t) for t in panel.time[[0, -1]]]
    assert days == ["2000-03-01 00:00:00+00:00", "2013-03-01 00:00:00+00:00"]
    assert (panel.time == panel.time.normalize()).all()
    assert panel.values[:, 0, 0].tolist() == [118.56, 132.06, 118.5, 130.31, 9616100, 4.186662803811]
    listed = {s: str(panel.close[s].first_valid_index().date()) for s in panel.symbols}
    first = dict.fromkeys(panel.symbols, "2000-03-01") | {"FB": "2012-05-18", "GOOG": "2004-08-19"}
    assert listed == first
    for field in panel.fields:  # once listed, every day is there
        assert all(panel[field][s].loc[day:].notna().all() for s, day in first.items())
    assert load("us-tech") == panel


def test_adjusted_runs_smoothly_through_splits():
    raw = load("us-tech")
    panel = raw.adjusted()
    for symbol, day, split in (
        ("AAPL", "2000-06-21", 2),
        ("AAPL", "2005-02-28", 2),
        ("MSFT", "2003-02-18", 2),
    ):
        jump, smooth = (p.close[symbol].pct_change(fill_method=None)[day] for p in (raw, panel))
        assert -0.56 < jump < -0.44
        assert abs(smooth) < 0.11
        assert (1 + smooth) / (1 + jump) == pytest.approx(split, rel=2e-4)  # the source rounds its factors
        before = raw.volume[symbol][:day].iloc[-2] * split  # shares of before, counted in those of after
        ratio = panel.volume[symbol][:day].iloc[-2] / panel.volume[symbol][day]
        assert ratio == pytest.approx(before / raw.volume[symbol][day], rel=2e-4)
    np.testing.assert_array_equal(panel.close, raw.adj_close)
    np.testing.assert_allclose(panel.close * panel.volume, raw.close * raw.volume, rtol=1e-12)
    assert (panel.close.pct_change(fill_method=None).min() > -0.55).all()
    assert Panel.from_frame(panel.to_frame()) == panel  # high and low still enclose open and close


# ---------------------------------------------------------------------- sp20


def test_sp20_reads_skfolio_without_importing_it():
    code = (
        "import sys; from workbench.sources import load; p = load('sp20');"
        "print(p.shape, p.fields, p.symbols[:2], p.time[0].date(), p.time[-1].date(), p.close.iloc[-1, 0],"
        " 'skfolio' in sys.modules, 'sklearn' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = "(1, 8313, 20) ('close',) ('AAPL', 'AMD') 1990-01-02 2022-12-28 125.674 False False"
    assert found.strip() == expected


def test_sp20_with_a_skfolio_that_has_no_such_file(monkeypatch, tmp_path):
    (tmp_path / "__init__.py").touch()
    other = importlib.util.spec_from_file_location(
        "skfolio", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: other)
    with pytest.raises(MissingPackageError, match="sp500_dataset"):
        load("sp20")


# ---------------------------------------------------------------------- macro series and factors

INSTALLED = {
    "sp20": "skfolio",
    "macro": "statsmodels",
    "core-cpi": "arch",
    "french-factors": "arch",
    "french-portfolios": "linearmodels",
}


def test_what_others_installed_is_read_without_importing_them():
    code = (
        "import sys; from workbench.sources import load\n"
        f"for name in {list(INSTALLED)}: p = load(name); print(name, p.shape, p.fields[0], p.time[0].date())\n"
        f"print(sorted({set(INSTALLED.values())} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [
        "sp20 (1, 8313, 20) close 1990-01-02",
        "macro (1, 203, 12) level 1959-03-31",
        "core-cpi (1, 743, 1) level 1957-01-31",
        "french-factors (1, 1109, 4) percent 1926-07-31",
        "french-portfolios (1, 819, 35) return 1949-01-31",
        "[]",
    ]


@pytest.mark.parametrize(("name", "package"), INSTALLED.items())
def test_a_package_that_is_not_installed_is_named(monkeypatch, name, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=f"{package}, which is not installed") as error:
        load(name)
    assert error.value.hint == f"pip install {package}"


def test_macro_series_keep_their_identities_and_units():
    level = load("macro").level
    assert level.isna().sum().sum() == 0
    assert (level.index[:-1] + pd.offsets.QuarterEnd() == level.index[1:]).all()
    inflation = 400 * np.log(level["cpi"]).diff()  # as the data set defines it; the old index has 2 decimals
    assert (inflation - level["infl"])[1:].abs().max() < 0.006
    assert (level["tbilrate"] - level["infl"] - level["realint"])[1:].abs().max() < 0.011  # all three are rounded
    assert (level[["infl", "realint"]].iloc[0] == 0).all()
    assert level["unemp"].idxmax() == pd.Timestamp("1982-12-31", tz="UTC")  # 10.7 %, of the recession of 1982
    assert level.loc["2009-09-30", "unemp"].item() == 9.6
    share = level[["realcons", "realinv", "realgovt"]].sum(axis=1) / level["realgdp"]
    assert share.between(0.85, 1.15).all()  # parts of the same whole, but for trade and for chained prices


def test_core_cpi_is_100_on_its_base():
    level = load("core-cpi").level["CPILFESL"]
    assert (level.index[:-1] + pd.offsets.MonthEnd() == level.index[1:]).all()
    assert level["1982":"1984"].mean() == pytest.approx(100, abs=0.1)  # the definition of the index


def test_french_s_factors_are_in_percent_and_his_portfolios_in_fractions():
    percent, fraction = load("french-factors").percent, load("french-portfolios")["return"]
    crash = "1987-10"  # the market lost more than a fifth, less the riskless rate
    assert percent.loc[crash, "Mkt-RF"].item() == -23.24
    assert fraction.loc[crash, "MktRF"].item() == -0.2324
    assert percent["Mkt-RF"].idxmax() == pd.Timestamp("1933-04-30", tz="UTC")
    assert percent.loc["1933-04", "Mkt-RF"].item() == pytest.approx(38.9, abs=0.1)
    assert fraction.min(axis=None) > -1
    shared = percent.index.intersection(fraction.index)
    assert len(shared) == len(fraction) == 819
    names = {"Mkt-RF": "MktRF", "SMB": "SMB", "HML": "HML", "RF": "RF"}
    gap = percent.loc[shared].rename(columns=names) / 100 - fraction[list(names.values())]
    assert gap["RF"].abs().max() < 1e-12
    # published in different years, and revised in between: by less than a point in any month
    assert gap.abs().max(axis=None) < 0.01
    assert (gap["MktRF"].abs() < 1e-12).mean() > 0.95
    # what belongs to the market has the mean of its parts, whatever their weights
    industries = fraction.loc[:, "NoDur":"Other"]
    market = fraction["MktRF"] + fraction["RF"]
    assert (market <= industries.max(axis=1)).all()
    assert (market >= industries.min(axis=1)).all()


# ---------------------------------------------------------------------- synthetic


def ics(panel: Panel, *, ranked: bool) -> np.ndarray:
    """The correlation across symbols of each row's signal with the next row's return."""
    close, signal = panel.plane("close"), panel.plane("signal")
    x, y = signal[:-1], close[1:] / close[:-1] - 1
    if ranked:
        x, y = x.argsort(1).argsort(1), y.argsort(1).argsort(1)
    x, y = (a - a.mean(axis=1, keepdims=True) for a in (x, y))
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


@pytest.mark.parametrize("ic", [0.0, 0.05, -0.2, 0.6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_planted_signal_has_the_strength_that_was_asked_for(ic, seed):
    panel = load("synthetic", symbols=200, years=4, seed=seed, ic=ic)
    bias = ic * (1 - ic**2) / (2 * 200)  # of a correlation from 200 pairs (Fisher 1915)
    for ranked, target in ((False, ic - bias), (True, 6 / np.pi * np.arcsin(ic / 2) - bias)):
        found = ics(panel, ranked=ranked)
        error = found.std(ddof=1) / np.sqrt(len(found))
        assert abs(found.mean() - target) < 4 * error
        assert error < 0.003


def test_the_signal_knows_nothing_but_the_next_row():
    panel = load("synthetic", symbols=200, years=4, ic=0.6)
    close = panel.plane("close")
    returns = close[1:] / close[:-1] - 1
    for lag in (1, 2, 5):  # signal[t] against the return into row t + 1 + lag, and into row t + 1 - lag
        for x, y in (
            (panel.plane("signal")[: -1 - lag], returns[lag:]),
            (panel.plane("signal")[lag:-1], returns[:-lag]),
        ):
            x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
            assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4 / np.sqrt(x.size)


def test_synthetic_bars_are_bars():
    panel = load("synthetic", symbols=7, years=1.5, seed=3)
    assert panel.shape == (6, 378, 7)
    assert np.isfinite(panel.values).all()
    assert Panel.from_frame(panel.to_frame()) == panel  # and so passes every check of bars
    assert (panel.time == panel.time.normalize()).all()
    assert (panel.time.day_of_week < 5).all()
    assert panel.symbols == tuple(f"S{n}" for n in range(7))
    assert load("synthetic", symbols=7, years=1.5, seed=3).fingerprint == panel.fingerprint
    assert load("synthetic", symbols=7, years=1.5, seed=4).fingerprint != panel.fingerprint
    assert load("synthetic", symbols=1, years=0.01, ic=1.0).shape == (6, 3, 1)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"symbols": 0}, ("symbols=0", "[1, 10000]")),
        ({"ic": 1.5}, ("ic=1.5", "[-1, 1]")),
        ({"years": "5"}, ("years='5'", "float")),
        ({"symbol": 5}, ("no parameter 'symbol'", "did you mean 'symbols'")),
    ],
)
def test_parameters_of_a_source(params, words):
    with pytest.raises(ParameterError) as error:
        load("synthetic", **params)
    for word in words:
        assert word in str(error.value)


# ---------------------------------------------------------------------- files and frames


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".pq"])
def test_files_give_what_their_frame_gives(tmp_path, suffix):
    panel = load("us-tech").rows(0, 300)
    path = tmp_path / f"bars{suffix}"

    def write(frame, **kwargs):
        frame.to_csv(path, **kwargs) if ".csv" in suffix else frame.to_parquet(path)

    write(panel.to_frame())
    assert load(path) == load(str(path)) == panel
    write(panel.close)
    assert load(path) == panel.select(fields="close")
    write(panel.to_frame().reset_index(), index=False)
    assert load(path) == panel
    write(bars())
    assert load(path) == Panel.from_frame(bars(), name="bars")
    assert load(path, name="AAA").symbols == ("AAA",)


def test_a_frame_is_loaded_too():
    assert load(long_bars()) == Panel.from_frame(long_bars())
    assert load(bars()["close"]).symbols == ("asset",)
    with pytest.raises(ParameterError, match="did you mean 'layout'"):
        load(bars(), layot="wide")


def test_a_csv_keeps_what_pandas_would_change(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("date,ticker,close\n2020-01-06,NA,1.5\n2020-01-06,000001,\n2020-01-06,TRUE,null\n\n")
    panel = load(path)
    assert panel.symbols == ("NA", "000001", "TRUE")
    np.testing.assert_array_equal(panel.values.ravel(), [1.5, np.nan, np.nan])
    path.write_bytes("\ufeffDate,Close\r\n20200106,0.1\r\n20200107,0.30000000000000004\r\n".encode())
    assert load(path).values.ravel().tolist() == [0.1, 0.30000000000000004]
    path.write_text(",AAPL,MSFT\n2020-01-06,1,2\n")
    assert load(path).symbols == ("AAPL", "MSFT")
    path.write_text('date,"BRK,B",C\n2020-01-06,1,2\n')
    assert load(path).symbols == ("BRK,B", "C")


GOOD = "date,open,high,low,close\n2020-01-06,10,12,9,11\n2020-01-07,11,13,10,12\n2020-01-08,12,14,11,13\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("11,13,10,12", "11,13"), ("line 3 is broken", "3 fields", "5")),
        (GOOD.replace("11,13,10,12", "11,13,10,12,7"), ("line 3 is broken", "6 fields", "5")),
        (GOOD.replace("2020-01-08", '"2020-01-08'), ("line 4", "quote")),
        (GOOD.replace("2020-01-07,11", '"2020-01-07\n",11'), ("line 3", "several lines", "quote")),
        (GOOD.replace("\n2020-01-07", "\n\n2020-01-07"), ("line 3", "empty")),
        (GOOD.replace("12,14,11,13", "12,14,11,n.a."), ("'close'", "line 4", "'n.a.'")),
        (GOOD.replace("11,13,10,12", "11,9,10,12"), ("high 9.0 is below low 10.0", "line 3", "2020-01-07")),
        (GOOD.replace("11,13,10,12", "11,1e999,10,12"), ("high is inf", "line 3")),
        (GOOD.replace("2020-01-07", "2020-01-06"), ("duplicate timestamp 2020-01-06", "line 2", "line 3")),
        (GOOD.replace("2020-01-07", "2020-01-09"), ("not sorted", "line 4")),
        (GOOD.replace("2020-01-07", ""), ("line 3", "time")),
        (GOOD.replace("2020-01-07", "07.01.2020"), ("line 3", "'07.01.2020'")),
        (GOOD.replace("2020-01-07", "2020-01-07T00:00:00+01:00"), ("mixed time zones", "line 3", "+01:00")),
        (GOOD.replace("open", "close"), ("line 1", "two columns 'close'")),
        (GOOD.replace(",", ";"), ("line 1", "no commas", "sep=';'")),
        (GOOD.replace(",", "\t"), ("line 1", "no commas", "sep='\\t'")),
        (GOOD.replace(",", "|"), ("line 1", "no commas", "sep='|'")),
        (GOOD.replace("\n", "\r"), ("line 1", "CR alone", "LF")),
        (GOOD.replace("9,11\n", "9,11\r\r\n"), ("line 2", "CR alone")),
        (",close\n0,11\n1,12\n", ("no time", "'0' in line 2", "number of a row", "set_index")),
        (",date,AAPL\n0,2020-01-06,11\n", ("column ''", "no symbol", "index_col=0")),
        (GOOD.split("\n", 1)[1], ("line 1", "no header", "'2020-01-06'")),
        (GOOD.split("\n")[0], ("header and no other line",)),
        (GOOD.split("\n")[0] + "\n\n", ("header and no other line",)),
        ("\n" + GOOD, ("line 1 is empty",)),
        ("", ("empty", "0 bytes")),
        (" \n\n", ("empty",)),
        (GOOD.replace("9,11", "9,1\0"), ("line 2", "zero byte")),
        ("a,b\nx,y\n", ("no time",)),
        (",date,close\n0,2020-01-06,1\n", ("column ''", "index=False")),
    ],
)
def test_bad_csv(tmp_path, text, words):
    path = tmp_path / "bars.csv"
    path.write_text(text, newline="")
    with pytest.raises(DataError) as error:
        load(path)
    for word in ("bars.csv", *words):
        assert word in str(error.value)
    assert error.value.hint
    speaks_of_a_frame = re.search(r"\bdf\b", error.value.hint)
    assert not speaks_of_a_frame or error.value.hint.count("df = pd.read_csv(") == 1
    assert "CR" in error.value.message or "quote" not in error.value.hint or '"' in text
    assert "from_frame" not in error.value.hint


def test_hints_on_files_are_for_who_has_a_file(tmp_path):
    text = GOOD.replace("12,14,11,13", "12,14,11,n.a.")
    for name, write in (("bars.csv", lambda p: p.write_text(text)), ("bars.parquet", _with_text_among_prices)):
        write(tmp_path / name)
        with pytest.raises(DataError) as error:
            load(tmp_path / name)
        kind = name.partition(".")[2]
        assert error.value.hint.startswith(f"mend the file; or df = pd.read_{kind}('{tmp_path / name}'), then: ")
        assert error.value.hint.endswith("; then wb.load(df)")
    (tmp_path / "bars.csv").write_text(GOOD.replace("2020-01-07", "2020-01-06"))
    with pytest.raises(DataError, match=r"keep one of them; .* load\(path, symbol="):
        load(tmp_path / "bars.csv")
    (tmp_path / "bars.csv").write_text(GOOD.replace("2020-01-07", "2020-01-09"))
    with pytest.raises(DataError, match="hint: sort the lines by time"):
        load(tmp_path / "bars.csv")


def _with_text_among_prices(path):
    put(bars(), 2, "close", "n.a.").astype({"close": str}).to_parquet(path)


def test_a_bad_frame_in_a_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "bars.csv"
    for column, value, words in (
        ("volume", -1, ("volume", "BBB", "line 9")),
        ("symbol", "A ", ("line 9", "'A '")),
    ):
        put(long_bars(), 7, column, value).to_csv(path, index=False)
        with pytest.raises(DataError) as error:
            load(path)
        for word in ("bars.csv", *words):
            assert word in str(error.value)
    BAD["long, high below low"][0].to_parquet(tmp_path / "bars.parquet")
    with pytest.raises(DataError, match=r"bars.parquet: high 1.0 is below low 24.0 for BBB at 2020-01-09, row 7"):
        load(tmp_path / "bars.parquet")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_bytes(GOOD.encode().replace(b"2020-01-07", b"2020-01-07\xff"))
    with pytest.raises(DataError, match="bars.csv: line 3 is not UTF-8"):
        load(path)
    path = tmp_path / "bars.csv.gz"
    for raw in (gzip.compress(GOOD.encode())[:-20], GOOD.encode()):
        path.write_bytes(raw)
        with pytest.raises(DataError, match="not a whole gzip file"):
            load(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.9, 0.99999])
def test_truncated_parquet(tmp_path, share):
    whole = (DATA / "us-tech.parquet").read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    with pytest.raises(DataError, match="cut.parquet: not a whole parquet file") as error:
        load(path)
    assert "again" in error.value.hint


def test_corrupt_parquet(tmp_path):
    whole = bytearray((DATA / "us-tech.parquet").read_bytes())
    whole[1000:60000] = b"x" * 59000
    (tmp_path / "odd.parquet").write_bytes(whole)
    with pytest.raises(DataError, match="odd.parquet"):
        load(tmp_path / "odd.parquet")


@pytest.mark.parametrize("seed", range(3))
def test_parquet_with_bits_flipped(tmp_path, seed):
    """Wherever the damage is, the error is a DataError that names the file; not all damage can be seen."""
    rng, path, said = np.random.default_rng(seed), tmp_path / "bars.parquet", []
    long_bars().set_index(["date", "symbol"]).to_parquet(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(100):
        raw = whole.copy()
        raw[rng.integers(len(raw), size=3)] ^= np.uint8(1) << rng.integers(8, size=3, dtype=np.uint8)
        path.write_bytes(raw.tobytes())
        try:
            load(path)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 30
    assert all(text.startswith(f"{path}: ") for text in said)


@pytest.mark.parametrize("raw", [KeyError("column_indexes"), TypeError("string indices"), OverflowError()])
def test_whatever_pandas_makes_of_a_damaged_file(tmp_path, monkeypatch, raw):
    def read_parquet(*args, **kwargs):
        raise raw

    bars().to_parquet(tmp_path / "bars.parquet")
    monkeypatch.setattr("pandas.read_parquet", read_parquet)
    with pytest.raises(DataError, match=f"bars.parquet: not a whole parquet file.*{type(raw).__name__}"):
        load(tmp_path / "bars.parquet")


def test_parquet_whose_text_is_damaged(tmp_path):
    path = tmp_path / "bars.parquet"
    long_bars().to_parquet(path, compression=None, use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"BBB", b"\xd3BB"))
    with pytest.raises(DataError, match="bars.parquet: it holds text that is not UTF-8"):
        load(path)


def test_paths_that_lead_nowhere(tmp_path):
    bars().to_csv(tmp_path / "bars.csv")
    (tmp_path / "bars.xlsx").write_text("x")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "empty.parquet").touch()
    for name, words in {
        "bras.csv": ("no such file", "did you mean", "bars.csv"),
        "no/such/bars.csv": ("no such file",),
        "": ("is a folder",),
        "bars.xlsx": (".xlsx", ".parquet", "wb.load(df)"),
        "plain": ("without suffix",),
        "empty.parquet": ("empty",),
    }.items():
        for path in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(DataError) as error:
                load(path)
            for word in words:
                assert word in str(error.value)


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("us-tec", UnknownNameError, ("source 'us-tec'", "did you mean 'us-tech'", ".csv")),
        ("https://example.org/x.csv", DataError, ("URL",)),
        (7, DataError, ("int",)),
        (None, DataError, ("NoneType",)),
        (np.ones(3), DataError, ("ndarray",)),
    ],
)
def test_what_cannot_be_loaded(what, error, words):
    with pytest.raises(error) as found:
        load(what)
    for word in words:
        assert word in str(found.value)


# ---------------------------------------------------------------------- the registry


def test_the_catalog_lists_every_source():
    table = catalog()
    assert list(table.index) == list(sources) == ["us-tech", *INSTALLED, "synthetic"]
    assert (table[["summary", "origin", "licence"]] != "").all(axis=None)
    assert table.loc["synthetic", "parameters"] == "symbols=20, years=5.0, seed=0, ic=0.05"


def test_a_source_declares_where_it_comes_from(monkeypatch):
    monkeypatch.setattr(sources, "_things", dict(sources._things))

    def mine(days: int) -> Panel:
        """Mine."""
        return load("us-tech").rows(0, days)

    made = source("mine", origin="me", licence="mine", params=[Param("days", 2, low=1)])(mine)
    assert made is mine
    assert load("mine").shape == (6, 2, 5)
    assert load("mine", days=3).shape == (6, 3, 5)
    with pytest.raises(RegistrationError, match="already"):
        source("mine", origin="me", licence="mine")(mine)
    with pytest.raises(RegistrationError, match="no licence"):
        source("other", origin="me", licence="")(mine)
    with pytest.raises(RegistrationError, match="no docstring"):
        source("other", origin="me", licence="mine")(lambda: None)
