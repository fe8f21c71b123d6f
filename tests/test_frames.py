"""The frames that a Panel is made of, and those it refuses, and in which words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import BAD, DAYS, TEXT, bars, long_bars, put

import workbench as wb
from workbench.errors import DataError, ParameterError, UnknownNameError, WorkbenchError
from workbench.panel import Panel


def small(dtype=np.float64) -> Panel:
    """Two fields, five days, three symbols, all values different."""
    values = np.arange(1.0, 31.0, dtype=dtype).reshape(2, 5, 3)
    return Panel(values, DAYS, ["AAA", "BBB", "CCC"], ["open", "close"])


# ---------------------------------------------------------------------- frames it takes


def test_single():
    panel = Panel.from_frame(bars().rename(columns=str.title).rename(columns={"Close": "Adj Close"}), name="AAA")
    assert panel.fields == ("open", "high", "low", "adj_close", "volume")
    assert panel.symbols == ("AAA",)
    np.testing.assert_array_equal(panel.values[:, :, 0].T, bars().to_numpy(float))
    assert Panel.from_frame(bars()["close"]).fields == ("close",)
    assert Panel.from_frame(bars()).symbols == ("asset",)
    assert Panel.from_frame(bars(rsi=50.0, ok=[True, False] * 2 + [True])).fields[-2:] == ("rsi", "ok")


@pytest.mark.parametrize(
    "spelling", ["Adj Close", "adj_close", "AdjClose", "adj. close", "Adjusted Close", "ADJ-CLOSE"]
)
def test_spellings(spelling):
    assert "adj_close" in Panel.from_frame(bars().assign(**{spelling: 1.0})).fields


def test_wide():
    close = pd.DataFrame({"AAPL": [1.0, np.nan], "LOW": [3.0, 4.0], 10107: [5, 6]}, index=DAYS[:2])
    panel = Panel.from_frame(close, layout="wide")
    assert panel.fields == ("close",)
    assert panel.symbols == ("AAPL", "LOW", "10107")
    np.testing.assert_array_equal(panel.close.to_numpy(), close.to_numpy())
    assert Panel.from_frame(close[["AAPL", "LOW"]]).symbols == (
        "AAPL",
        "LOW",
    )  # tickers, though low is a word
    assert Panel.from_frame(-close[["AAPL"]], field="return").fields == ("return",)
    ragged = Panel.from_frame(pd.concat({("close", "A"): close["LOW"], ("volume", "B"): close["LOW"]}, axis=1))
    assert np.isnan(ragged.volume["A"]).all()
    assert np.isnan(ragged.close["B"]).all()


@pytest.mark.parametrize("names", [(None, None), ("Price", "Ticker"), ("field", "symbol"), (None, "ticker")])
def test_two_levels_of_columns_as_vendors_have_them(names):
    fields = {"Close": bars()["close"], "Volume": bars()["volume"]}
    wide = pd.concat({(f, s): v for f, v in fields.items() for s in ("LOW", "AAPL")}, axis=1, names=names)
    for good in (wide, wide.swaplevel(axis=1), wide.swaplevel(axis=1).sort_index(axis=1)):
        panel = Panel.from_frame(good)
        assert panel.fields == ("close", "volume")
        assert sorted(panel.symbols) == ["AAPL", "LOW"]
        np.testing.assert_array_equal(panel.volume["AAPL"], bars()["volume"])


def test_long_of_ragged_listings():
    frame = long_bars()
    later = frame[(frame.symbol == "AAA") | (frame.date >= "2020-01-08")]
    expected = Panel.from_frame(frame).values.copy()
    expected[:, :2, 1] = np.nan
    by_symbol = later.sort_values(["symbol", "date"])
    for good in (later, by_symbol, later.set_index(["date", "symbol"]), later.set_index("date")):
        panel = Panel.from_frame(good)
        assert panel.symbols == ("AAA", "BBB")
        np.testing.assert_array_equal(panel.values, expected)
    odd = later.rename(columns={"date": "d", "symbol": "s"})
    np.testing.assert_array_equal(Panel.from_frame(odd, time="d", symbol="s").values, expected)
    numbered = later.assign(symbol=pd.Categorical(later.symbol).codes + 7)
    assert Panel.from_frame(numbered).symbols == ("7", "8")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC", None])
@pytest.mark.parametrize("how", ["index", "column", "objects", "text", "python"])
def test_any_time_zone(zone, how):
    local = pd.date_range("2020-03-06", periods=5, tz=zone)  # over the change of clocks in New York
    if how == "text" and zone == "America/New_York":
        local = local[:3]  # in text the two offsets would be mixed zones, which is an error of its own
    frame = bars()[: len(local)].set_index(local)
    if how == "column":
        frame = frame.reset_index(names="Date")
    elif how in ("objects", "python"):
        moments = [t if how == "objects" else t.to_pydatetime() for t in local]
        frame.index = pd.Index(moments, dtype=object)
    elif how == "text":
        frame.index = pd.Index([t.isoformat() for t in local])
    expected = local.tz_localize("UTC") if zone is None else local.tz_convert("UTC")
    time = Panel.from_frame(frame).time
    assert time.equals(expected.as_unit("ns"))
    assert str(time.tz) == "UTC"


def test_dates_as_python_has_them():
    frame = bars().set_axis(pd.Index([d.date() for d in DAYS], dtype=object), axis=0)
    assert Panel.from_frame(frame) == Panel.from_frame(bars())


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "float64[pyarrow]", "float32", "int32", "Float32"])
def test_kinds_of_numbers(dtype):
    frame = bars()[["close"]].astype(dtype)
    panel = Panel.from_frame(frame)
    assert panel.dtype == (np.float32 if dtype == "float32" else np.float64)
    np.testing.assert_array_equal(panel.values[0, :, 0], [11, 12, 13, 14, 15])
    if dtype[0] in "FI":
        holed = frame.copy()
        holed.iloc[2, 0] = pd.NA
        np.testing.assert_array_equal(Panel.from_frame(holed).values[0, :, 0], [11, 12, np.nan, 14, 15])


def test_rounding_in_float32_is_no_error_and_a_cent_is():
    close = float(np.float32(15.1))  # 15.100000381
    assert Panel.from_frame(bars(close=[11, 12, 13, 14, close], high=[12, 13, 14, 15, 15.1])).shape == (
        5,
        5,
        1,
    )
    with pytest.raises(DataError, match="above high"):
        Panel.from_frame(bars(close=[11, 12, 13, 14, 15.11], high=[12, 13, 14, 15, 15.1]))


def test_rounding_of_high_and_low_is_no_error_and_a_cent_is():
    flat = {name: [15.1] * 5 for name in ("open", "high", "low", "close")}
    flat["low"] = [float(np.float32(15.1))] * 5  # above 15.1
    assert flat["low"][0] > 15.1
    assert Panel.from_frame(bars(**flat)).shape == (5, 5, 1)
    with pytest.raises(DataError, match="high 15.1 is below low 15.11"):
        Panel.from_frame(bars(**{**flat, "low": [15.1] * 4 + [15.11], "open": 15.11, "close": 15.11}))


def test_only_where_most_bars_are_upside_down_are_the_columns_swapped():
    with pytest.raises(DataError) as one:
        Panel.from_frame(put(bars(), 2, "high", 10.5))
    assert "swapped" not in one.value.hint
    with pytest.raises(DataError) as all_:
        Panel.from_frame(bars().rename(columns={"high": "low", "low": "high"}))
    assert "swapped" in all_.value.hint


def test_bars_false_takes_numbers_as_they_are():
    frame = put(put(bars(), 2, "high", -3.0), 1, "volume", -7)
    panel = Panel.from_frame(frame, bars=False)
    np.testing.assert_array_equal(panel.values[:, :, 0].T, frame.to_numpy(float))
    with pytest.raises(DataError, match="inf"):
        Panel.from_frame(put(bars(), 1, "high", np.inf), bars=False)


def test_a_frame_is_left_as_it_was():
    frame = long_bars()
    before = frame.copy(deep=True)
    panel = Panel.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    frame.iloc[0, 3] = 999.0
    assert panel == Panel.from_frame(before)


@pytest.mark.parametrize(
    "times",
    [
        ["2020-01-06", "2020-01-07"],
        ["20200106", "20200107"],
        ["2020/1/6", "2020/1/7"],
        ["2020-01-06 00", "2020-01-07T00:00"],
        ["2020-01-06T00:00:00Z", "2020-01-07 00:00:00.000+00:00"],
    ],
)
def test_full_dates_as_text(times):
    assert Panel.from_frame(pd.DataFrame({"close": [1.0, 2.0]}, index=times)).time.equals(DAYS[:2].tz_localize("UTC"))


# ---------------------------------------------------------------------- frames it refuses


TWO = {"close": [1.0, 2.0, 3.0], "volume": [1.0, 2.0, 3.0]}
UNNAMED = pd.DataFrame({"Unnamed: 0": [0, 1, 2], "AAPL": 1.0}, index=DAYS[:3])
LEVELS = pd.MultiIndex.from_arrays([TEXT[:3], ["A", "B", "C"]], names=["when", "what"])


@pytest.mark.parametrize(
    ("frame", "arguments", "words"),
    [
        # text that is less than a date, though pandas makes one of it
        (pd.DataFrame(TWO, index=["1810", "1928", "2018"]), {}, ("row 0 (1810)", "'1810'", "full date", "time=")),
        (pd.DataFrame(TWO, index=["2020-01", "2020-02", "2020-03"]), {}, ("'2020-01'", "full date")),
        (pd.DataFrame(TWO, index=["000001", "000002", "000003"]), {}, ("'000001'", "time=")),
        (pd.DataFrame({**TWO, "date": ["2020-01-06", "2020-01-07", "now"]}), {}, ("row 2", "'now'", "full date")),
        (pd.DataFrame({**TWO, "date": ["2020-01-06", "2020-01-07", "today"]}), {}, ("row 2", "'today'")),
        (pd.DataFrame({**TWO, "x": ["2018", "2019", "2020"]}), {"time": "x"}, ("'2018'", "full date")),
        # symbols
        *(
            (pd.DataFrame({"date": TEXT[:3], "symbol": symbols, **TWO}), {}, ("symbol in row 1", said))
            for symbols, said in (
                (pd.array(["A", None, "B"], dtype="string"), "missing"),
                (pd.array([1, None, 2], dtype="Int64"), "missing"),
                (pd.array(["A", pd.NA, "B"], dtype=object), "missing"),
                (["A", ["B"], "C"], "['B']"),
                ([7, np.array(["B", "C"]), "C"], "array("),
            )
        ),
        (UNNAMED, {}, ("'Unnamed: 0'", "no symbol", "index_col=0", "drop")),
        (UNNAMED, {"layout": "wide"}, ("'Unnamed: 0'", "no symbol")),
        # an index of two levels
        (pd.DataFrame(TWO, index=LEVELS), {"time": "when"}, ("'when', 'what'", 'time="..."', 'symbol="..."')),
    ],
)
def test_frames_that_were_misread(frame, arguments, words):
    with pytest.raises(DataError) as error:
        Panel.from_frame(frame, **arguments)
    for word in words:
        assert word in str(error.value)


def test_the_hints_on_misread_frames_work():
    assert Panel.from_frame(UNNAMED.drop(columns=["Unnamed: 0"])).symbols == ("AAPL",)
    named = Panel.from_frame(pd.DataFrame(TWO, index=LEVELS), time="when", symbol="what")
    assert named.shape == (2, 3, 3)
    assert Panel.from_frame(pd.DataFrame(TWO, index=LEVELS.set_names(["time", "symbol"]))) == named


def test_a_panel_that_was_never_made_says_so():
    with pytest.raises(AttributeError, match="fields"):
        _ = object.__new__(Panel).close


@pytest.mark.parametrize("name", BAD)
def test_bad_frames(name):
    frame, words = BAD[name]
    before = frame.copy() if isinstance(frame, pd.DataFrame) else None
    with pytest.raises(DataError) as error:
        Panel.from_frame(frame)
    for word in words:
        assert word in str(error.value)
    assert error.value.hint
    if before is not None:
        pd.testing.assert_frame_equal(frame, before)


def test_each_bad_frame_has_an_error_of_its_own():
    """No two of the faults that are listed in the issue say the same."""
    names = [
        "duplicate day",
        "newest first",
        "mixed zones",
        "high below low",
        "negative volume",
        "only text",
        "no rows",
    ]
    said = set()
    for name in names:
        with pytest.raises(DataError) as error:
            Panel.from_frame(BAD[name][0])
        said.add(error.value.message.split(":")[0][:14])
    assert len(said) == len(names)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layout": "tall"}, ParameterError, ("'tall'", "long")),
        ({"time": "dat"}, UnknownNameError, ("'dat'", "did you mean 'date'")),
        ({"symbol": "symbl"}, UnknownNameError, ("'symbl'", "did you mean 'symbol'")),
        ({"symbol": "symbol", "layout": "wide"}, ParameterError, ("layout",)),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error) as found:
        Panel.from_frame(long_bars(), **arguments)
    for word in words:
        assert word in str(found.value)


VALUES = np.ones((1, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones((2, 2)), DAYS[:2], "AB", "f"), ("(2, 2)", "field, time, symbol")),
        (([[1.0]], DAYS[:1], "A", "f"), ("list",)),
        ((np.ones((1, 2, 2), int), DAYS[:2], ["A", "B"], ["f"]), ("int64", "float64", "astype")),
        ((np.ones((1, 2, 2), np.float16), DAYS[:2], ["A", "B"], ["f"]), ("float16",)),
        ((VALUES, DAYS[:3], ["A", "B"], ["f"]), ("(1, 2, 2)", "(1, 3, 2)")),
        ((VALUES, DAYS[:2], ["A"], ["f"]), ("(1, 2, 2)", "(1, 2, 1)")),
        ((VALUES, [1, 2], ["A", "B"], ["f"]), ("list", "DatetimeIndex")),
        ((VALUES, DAYS[[1, 0]], ["A", "B"], ["f"]), ("not sorted", "row 1")),
        ((VALUES, DAYS[[1, 1]], ["A", "B"], ["f"]), ("duplicate timestamp", "2020-01-07")),
        ((VALUES, pd.DatetimeIndex([DAYS[0], pd.NaT]), ["A", "B"], ["f"]), ("NaT", "row 1")),
        ((VALUES, DAYS[:2], ["A", "A"], ["f"]), ("duplicate symbol 'A'",)),
        ((VALUES, DAYS[:2], ["A", 2], ["f"]), ("symbol number 1", "int")),
        ((VALUES, DAYS[:2], ["A", ""], ["f"]), ("symbol number 1", "empty")),
        ((VALUES, DAYS[:2], "AB", ["f"]), ("symbols are the str 'AB'",)),
        ((VALUES, DAYS[:2], ["A", "B"], []), ("no fields",)),
    ],
)
def test_bad_parts(arguments, words):
    with pytest.raises(DataError) as error:
        Panel(*arguments)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda p: p["clsoe"], UnknownNameError, ("field 'clsoe'", "did you mean 'close'")),
        (lambda p: p["Close"], UnknownNameError, ("did you mean 'close'",)),
        (lambda p: p.clsoe, AttributeError, ("did you mean 'close'",)),
        (lambda p: p[0], ParameterError, ("rows(",)),
        (lambda p: p[["open"]], ParameterError, ("select(",)),
        (lambda p: p[0:3], ParameterError, ("rows(start, stop)",)),
        (lambda p: p["2020"::2], ParameterError, ("step",)),
        (lambda p: p["yesterday":], ParameterError, ("yesterday", "year first")),
        (lambda p: p[{} :], ParameterError, ("{}",)),
        (lambda p: p["now":], ParameterError, ("'now'", "year first")),
        (lambda p: p[:"01/02/2020"], ParameterError, ("'01/02/2020'", "year first")),
        (lambda p: p[pd.NaT :], ParameterError, ("NaT",)),
        (lambda p: p[: np.datetime64("NaT")], ParameterError, ("NaT",)),
        (lambda p: p.rows(1.5), ParameterError, ("1.5", "ints")),
        (lambda p: p.rows(0, "2020"), ParameterError, ("'2020'", 'panel["2020":]')),
        (lambda p: p.select(symbols=0), DataError, ("symbols are the int 0", "sequence of str")),
        (lambda p: p.like(np.ones((5, 3)), 7), DataError, ("fields are the int 7",)),
        (lambda p: p.select(symbols="AAB"), UnknownNameError, ("symbol 'AAB'", "did you mean 'AAA'")),
        (lambda p: p.select(symbols=["AAA", "AAA"]), DataError, ("duplicate symbol",)),
        (lambda p: p.select(fields=[]), DataError, ("no fields",)),
        (lambda p: p.rename({"clos": "c"}), UnknownNameError, ("did you mean 'close'",)),
        (lambda p: p.rename({"close": "open"}), DataError, ("duplicate field 'open'",)),
        (lambda p: p.join(p), DataError, ("'open'", "rename")),
        (lambda p: p.join(p.close), ParameterError, ("DataFrame", "from_frame")),
        (
            lambda p: p.join(p.rows(1).rename({"open": "o", "close": "c"})),
            DataError,
            ("2020-01-06", "5 and 4"),
        ),
        (lambda p: p.join(p.select(symbols=["AAA", "CCC"])), DataError, ("only one", "BBB")),
        (lambda p: p.join(p.select(symbols=["BBB", "AAA", "CCC"])), DataError, ("another order",)),
        (lambda p: p.shards(0), ParameterError, ("k=0",)),
        (lambda p: p.astype(int), DataError, ("int64",)),
        (lambda p: p.stack(valid="some"), ParameterError, ("'some'",)),
        (lambda p: p.like(np.ones((2, 5, 3)), "f"), DataError, ("(2, 5, 3)",)),
        (lambda p: p.unstack(np.ones(2), [0], [0], "f"), DataError, ("(2, 1)", "(1, 1)")),
        (lambda p: p.unstack(np.ones(1), [5], [0], "f"), DataError, ("row", "0 to 4")),
        (lambda p: p.unstack(np.ones(1), [0], [-1], "f"), DataError, ("column", "0 to 2")),
        (
            lambda p: p.unstack(np.ones(2), [1, 1], [2, 2], "f"),
            DataError,
            ("more than one", "CCC", "2020-01-07"),
        ),
    ],
)
def test_bad_requests(act, error, words):
    with pytest.raises(error) as found:
        act(small())
    assert isinstance(found.value, WorkbenchError | AttributeError)
    for word in words:
        assert word in str(found.value)


def test_features_made_elsewhere_say_how_far_they_look_back():
    panel = wb.load("synthetic", symbols=2, years=1, seed=1)
    features = wb.Recipe({"strength": wb.feature("rsi", window=14)}).compute(panel)
    assert features.lookback > 0
    frame = features.to_frame()
    assert wb.Panel.from_frame(frame, bars=False).lookback == 0
    again = wb.Panel.from_frame(frame, bars=False, lookback=features.lookback)
    assert (again, again.lookback) == (features, features.lookback)
    with pytest.raises(ParameterError, match="lookback"):
        wb.Panel.from_frame(frame, bars=False, lookback=-1)


@pytest.mark.parametrize(
    "text", [["1,100.5"] * 5, ["1,100", "200", "300", "1,234,567", "500"], ["11", "12", "13", "14", "15"]]
)
@pytest.mark.parametrize("alone", [True, False])
def test_numbers_as_text_are_numbers_once_the_hint_is_followed(text, alone):
    df = bars()[[]].assign(open=text) if alone else bars(volume=text)
    name = "open" if alone else "volume"
    with pytest.raises(DataError) as error:
        Panel.from_frame(df, bars=False)
    python = error.value.hint.split(" if they are")[0].split(" = ")[-1]
    df[name] = eval(python, {"pd": pd, "df": df})
    assert Panel.from_frame(df, bars=False).plane(name)[0] == float(text[0].replace(",", ""))
