"""Figures, their laws and their errors; and a report that is written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nbformat import v4 as nbf
from nbformat import write

from workbench.errors import DataError, NotebookError, ParameterError, UnknownNameError, WorkbenchError
from workbench.report import export, page, report, style, tear_sheet, template
from workbench.report.figures import (
    CANDLES,
    DOTS,
    POINTS,
    bars,
    candles,
    distribution,
    drawdown,
    equity,
    folds,
    heatmap,
    lines,
    thin,
)

DAYS = pd.date_range("2001-01-01", periods=400, freq="B", tz="UTC")
CLOSE = pd.Series(100 + np.sin(np.arange(400) / 9) * 8, DAYS, name="close")
BARS = pd.DataFrame({"open": CLOSE, "high": CLOSE + 2, "low": CLOSE - 2, "close": CLOSE + 1, "volume": 3.0})


# ------------------------------------------------------------------------------------------------- thinning


@given(
    values=arrays(np.float64, st.integers(1, 600), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    limit=st.integers(8, 200),
)
def test_thinning_keeps_what_is_seen(values, limit):
    rows = thin(values, limit)
    assert len(rows) <= max(limit, 0)
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == len(values) - 1
    if len(values) <= limit:
        assert len(rows) == len(values)
    if np.isfinite(values).any():
        assert np.nanmin(values[rows]) == np.nanmin(values)
        assert np.nanmax(values[rows]) == np.nanmax(values)
    assert np.isnan(values[rows]).any() == np.isnan(values).any()


def test_thinning_keeps_a_spike_and_a_gap():
    values = np.zeros(100_000)
    values[77_123], values[500:502] = 9.0, np.nan
    shown = values[thin(values)]
    assert len(shown) <= POINTS
    assert np.nanmax(shown) == 9.0
    assert np.isnan(shown).any()


def test_thinning_refuses_too_few_points():
    with pytest.raises(ParameterError, match="limit=7"):
        thin(np.zeros(20), 7)


# -------------------------------------------------------------------------------------------------- figures


def test_bars_stand_in_groups_of_a_row():
    table = pd.DataFrame({"threads": [1.5, 2.0], "a < b": [1.0, np.nan]}, index=["wait", "<b>loop</b>"])
    figure = bars(table, title="Speed", y="times")
    assert [bar.name for bar in figure.data] == ["threads", "a &lt; b"]
    for bar, column in zip(figure.data, table, strict=True):
        assert list(bar.x) == ["wait", "&lt;b>loop&lt;/b>"]
        np.testing.assert_array_equal(bar.y, table[column].to_numpy(np.float32))
    assert (figure.layout.barmode, figure.layout.xaxis.type) == ("group", "category")
    assert figure.layout.showlegend
    assert not bars(table["threads"]).layout.showlegend
    with pytest.raises(DataError, match="bars: the table is empty"):
        bars(table.iloc[:0])


def test_a_line_a_column_with_its_values_and_dates():
    frame = pd.DataFrame({"a": CLOSE, "b": CLOSE * 2})
    figure = lines(frame, title="Two", y="USD")
    assert [t.name for t in figure.data] == ["a", "b"]
    assert figure.data[1].x[0] == "2001-01-01"
    assert figure.data[1].y.dtype == np.float32
    np.testing.assert_allclose(figure.data[1].y, CLOSE * 2, rtol=1e-6)
    assert figure.layout.yaxis.title.text == "USD"
    assert figure.layout.showlegend


def test_times_within_a_day_are_shown_in_utc():
    index = pd.date_range("2001-01-01 09:30", periods=3, freq="h", tz="America/New_York")
    figure = lines(pd.Series([1.0, 2.0, 3.0], index))
    assert figure.data[0].x[0] == "2001-01-01T14:30:00"
    assert "UTC" in figure.layout.xaxis.title.text


def test_a_long_line_is_small():
    index = pd.date_range("2001-01-01", periods=60_000, freq="min", tz="UTC")
    figure = lines(pd.Series(np.arange(60_000.0), index))
    assert len(figure.data[0].x) <= POINTS
    assert len(figure.to_json()) < 60 * POINTS


def test_names_and_titles_are_words_not_markup():
    figure = lines(CLOSE.rename("<b>x</b>"), title="a < b & c")
    assert figure.data[0].name == "&lt;b>x&lt;/b>"
    assert figure.layout.title.text == "a &lt; b &amp; c"


def test_equity_and_drawdown_take_a_result_or_a_series():
    class Result:
        equity = CLOSE / 100
        drawdown = CLOSE / CLOSE.cummax() - 1

    np.testing.assert_array_equal(equity(Result()).data[0].y, equity(Result.equity).data[0].y)
    np.testing.assert_array_equal(drawdown(Result()).data[0].y, drawdown(Result.drawdown).data[0].y)
    assert drawdown(Result()).data[0].fill == "tozeroy"


def test_folds_are_drawn_at_their_test_with_their_mean():
    frame = pd.DataFrame({"test_start": DAYS[::100], "ic": [0.1, 0.2, np.nan, 0.0]})
    figure = folds(frame, "ic")
    assert list(figure.data[0].x) == [d.strftime("%Y-%m-%d") for d in DAYS[::100]]
    assert figure.layout.shapes[0].y0 == pytest.approx(0.1)
    assert "0.1000 over 3 folds" in figure.layout.title.text
    with pytest.raises(UnknownNameError, match="did you mean 'ic'"):
        folds(frame, "icc")


def test_candles_show_each_bar():
    figure = candles(BARS)
    price, volume = figure.data
    np.testing.assert_allclose(price.high, BARS["high"], rtol=1e-6)
    assert len(price.x) == len(volume.x) == len(BARS)
    assert figure.layout.xaxis.rangebreaks[0].bounds == ("sat", "mon")
    assert len(candles(BARS.drop(columns="volume")).data) == 1


@settings(max_examples=12)
@given(n=st.integers(CANDLES + 1, 4 * CANDLES), seed=st.integers(0, 99))
def test_merged_candles_keep_what_bars_mean(n, seed):
    rng = np.random.default_rng(seed)
    index = pd.date_range("1950-01-01", periods=n, freq="B", tz="UTC")
    close = pd.Series(rng.uniform(50, 60, n), index)
    bars = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 2.0})
    figure = candles(bars)
    price, volume = figure.data
    assert len(price.x) <= CANDLES
    assert price.high.max() == np.float32(bars["high"].max())
    assert price.low.min() == np.float32(bars["low"].min())
    assert price.open[0] == np.float32(close.iloc[0])
    assert price.close[-1] == np.float32(close.iloc[-1])
    assert volume.y.sum(dtype=float) == 2.0 * n
    assert "rows" in figure.layout.xaxis.title.text


def test_candles_of_a_panel_ask_which_symbol():
    from workbench.panel import Panel

    values = np.stack([np.column_stack([BARS[f], BARS[f] * 2]) for f in BARS.columns])
    panel = Panel(values, DAYS, ("AAA", "BBB"), tuple(BARS.columns))
    np.testing.assert_allclose(candles(panel, "BBB").data[0].low, BARS["low"] * 2, rtol=1e-6)
    with pytest.raises(ParameterError, match="2 symbols"):
        candles(panel)
    with pytest.raises(UnknownNameError, match="did you mean 'AAA'"):
        candles(panel, "AA")
    with pytest.raises(DataError, match="5 fields"):
        lines(panel)


def test_heatmap_is_symmetric_around_zero():
    figure = heatmap(pd.DataFrame([[1.0, -0.2], [-0.2, 1.0]], ["a", "b"], ["a", "b"]))
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)
    assert heatmap(pd.DataFrame([[4.0, -3.0]])).data[0].zmax == 4


@given(values=arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
def test_a_box_shows_the_quartiles_of_its_column_whatever_its_order(values):
    if np.isnan(values).all():
        values[0] = 0.0
    figure = distribution(pd.DataFrame({"<b>": values, "back": values[::-1], "none": np.nan}))
    first, back = figure.data  # a column without numbers has no box
    wanted = pd.Series(values).describe()[["min", "25%", "50%", "75%", "max"]]
    shown = [first[name][0] for name in ("lowerfence", "q1", "median", "q3", "upperfence")]
    np.testing.assert_allclose(shown, wanted, rtol=1e-12, atol=1e-9)
    assert first.name == "&lt;b>"
    known = np.sort(values[~np.isnan(values)])
    if len(known) > DOTS:
        assert first.x is None
    else:
        np.testing.assert_array_equal(first.x[0], known.astype(np.float32))
    assert first.update(name="back", y=["back"]) == back


def test_a_tear_sheet_shows_the_results_own_table_and_its_course():
    from workbench.backtest import backtest
    from workbench.panel import Panel

    prices = Panel(CLOSE.to_numpy()[None, :, None].copy(), DAYS, ("AAA",), ("close",))
    weights = Panel(np.full((1, 400, 1), 0.5), DAYS, ("AAA",), ("weight",))
    result = backtest(weights, prices, fill="close", cost_bps=5)
    sheet = tear_sheet(result)
    assert sheet._repr_html_() == result._repr_html_()
    assert [t.name for t in sheet.figure.data] == ["equity", "drawdown", "exposure"]
    np.testing.assert_allclose(sheet.figure.data[0].y, result.equity, rtol=1e-6)
    with pytest.raises(DataError, match="no .equity"):
        tear_sheet(CLOSE.to_frame().to_numpy())


BAD = {
    "a list": (lambda: lines([1, 2]), DataError, "list, expected a Series"),
    "an empty frame": (lambda: lines(pd.DataFrame()), DataError, "empty"),
    "words": (lambda: lines(pd.DataFrame({"w": ["a"]})), DataError, "'w' holds"),
    "infinity": (
        lambda: lines(pd.Series([1.0, np.inf], DAYS[:2])),
        DataError,
        "inf in column .* at 2001-01-02",
    ),
    "only NaN": (lambda: lines(pd.Series([np.nan])), DataError, "nothing to draw"),
    "log of zero": (lambda: lines(pd.Series([0.0, 1]), log=True), ParameterError, "lowest number is 0"),
    "no drawdown": (lambda: drawdown(CLOSE), DataError, "expected none above 0"),
    "two drawdowns": (lambda: drawdown(BARS[["open", "low"]] * 0), DataError, "2 columns"),
    "no bars": (lambda: candles(BARS[["open", "close"]]), DataError, "no high, low"),
    "no complete bar": (lambda: candles(BARS.assign(open=np.nan)), DataError, "no complete bar"),
    "no numbers": (lambda: distribution(CLOSE * np.nan), DataError, "nothing to draw"),
    "not bars": (lambda: candles(3), DataError, "int, expected a Panel"),
    "no folds": (lambda: folds([1]), DataError, "list, expected a DataFrame"),
    "a theme": (lambda: template("darkk"), UnknownNameError, "did you mean 'dark'"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_drawn_is_said(what):
    call, error, words = BAD[what]
    with pytest.raises(error, match=words):
        call()


def test_a_figure_is_shown_as_itself_and_nothing_else(monkeypatch):
    import plotly.io as pio

    monkeypatch.setattr(pio.renderers, "_default_name", "plotly_mimetype")
    assert set(lines(CLOSE)._repr_mimebundle_()) == {page.PLOTLY}


def luminance(color: str) -> float:
    """Of a hex colour, by WCAG 2.1."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("theme", "paper", "text"),
    [
        ("light", "#ffffff", 4.5),
        ("dark", "#15191e", 4.5),
        ("neutral", "#ffffff", 3.5),
        ("neutral", "#111111", 3.5),
    ],
)
def test_text_and_lines_stand_out_from_the_paper(theme, paper, text):
    layout = template(theme)["layout"]
    assert contrast(layout["font"]["color"], paper) >= text
    assert contrast(layout["title"]["font"]["color"], paper) >= text
    for color in layout["colorway"]:
        assert contrast(color, paper) >= 2.9, color


def test_the_themes_are_what_plotly_takes():
    from plotly.graph_objects import Figure

    for name in ("neutral", "light", "dark"):
        made = Figure(layout={"template": template(name)})
        assert made.layout.template.layout.meta == style.HOUSE
    assert json.dumps(style.ink("dark"))


# --------------------------------------------------------------------------------------------- the exporter


def notebook(path, *cells: str):
    path.parent.mkdir(exist_ok=True)
    write(nbf.new_notebook(cells=[nbf.new_code_cell(c) for c in cells]), path)
    return path


def test_a_failing_notebook_leaves_the_report_and_names_the_cell(tmp_path):
    book = tmp_path / "fails.ipynb"
    cells = [nbf.new_markdown_cell("# T"), nbf.new_code_cell("x = 1"), nbf.new_code_cell("\ny = x\ny / 0")]
    write(nbf.new_notebook(cells=cells), book)
    before, out = book.read_bytes(), tmp_path / "out.html"
    out.write_text("former")
    with pytest.raises(NotebookError) as caught:
        report(book, out, progress=False)
    assert "cell 3 of 3, In [2], failed at `y = x`" in str(caught.value)
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert "----> 2 y / 0" in caught.value.__notes__[0]
    assert out.read_text() == "former"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fails.ipynb", "out.html"]
    assert book.read_bytes() == before


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("class A:\n    def _repr_html_(self): 1/0\nA()", "ZeroDivisionError: division by zero, raised as the cell's"),
        (
            "class A:\n    def _ipython_display_(self): open('/nosuch')\nA()",
            "FileNotFoundError: .*, raised as",
        ),
        ("raise KeyError('k')", "KeyError: 'k'\n"),
        ("sys.exit(0)", "SystemExit: 0, which in a notebook is an error: leave exit out, or tag the cell raises-exc"),
        ("sys.exit('enough')", "SystemExit: enough, which in a notebook"),
    ],
)
def test_an_error_has_its_own_name_wherever_it_is_raised(tmp_path, cell, said):
    book = notebook(tmp_path / "fails.ipynb", "import sys", cell, "print('after')")
    with pytest.raises(NotebookError, match=rf"cell 2 of 3, In \[2\], failed at `.*`\n  {said}") as caught:
        report(book, tmp_path / "out.html", progress=False)
    assert "NoneType" not in str(caught.value)


def test_a_cell_may_exit_where_it_is_tagged_so(tmp_path):
    cells = [nbf.new_code_cell(c) for c in ("import sys; sys.exit(0)", "print('af' + 'ter')")]
    cells[0].metadata["tags"] = ["raises-exception"]
    write(nbf.new_notebook(cells=cells), tmp_path / "exits.ipynb")
    report(tmp_path / "exits.ipynb", tmp_path / "out.html", progress=False)
    assert "after" in (tmp_path / "out.html").read_text()


def test_a_kernel_that_dies_is_told(tmp_path):
    book = notebook(tmp_path / "dies.ipynb", "import os", "os._exit(3)")
    with pytest.raises(NotebookError, match=r"cell 2 of 2, In \[2\].*\n.*kernel died"):
        report(book, tmp_path / "out.html", progress=False)
    assert not (tmp_path / "out.html").exists()


def test_what_nbclient_does_not_foresee_is_told_and_spares_the_others(tmp_path):
    stumble = "from comm import create_comm\ncreate_comm(target_name='jupyter.widget', data={})"
    book = notebook(tmp_path / "books" / "a.ipynb", "1", stumble)
    notebook(tmp_path / "books" / "b.ipynb", "1 + 1")
    said = r"a\.ipynb: cell 2 of 2, In \[2\], failed at `from comm import create_comm`\n  nbclient.*KeyError: 'state'"
    with pytest.raises(NotebookError, match=said) as caught:
        report(book, tmp_path / "a.html", progress=False)
    assert "unchanged" in caught.value.hint
    with pytest.raises(NotebookError, match=f"1 of 2 notebooks failed:\n.*{said}"):
        report(tmp_path / "books", tmp_path / "pages", progress=False)
    assert sorted(p.name for p in (tmp_path / "pages").iterdir()) == ["b.html", "index.html"]
    assert "KeyError" in (tmp_path / "pages" / "index.html").read_text()


def test_what_is_no_notebook_is_refused_before_anything_runs(tmp_path):
    good = notebook(tmp_path / "tour.ipynb", "1")
    with pytest.raises(UnknownNameError, match="did you mean 'tour.ipynb'"):
        report(tmp_path / "tuor.ipynb")
    for text in (
        "",
        "{",
        "[]",
        '{"cells": 3}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}',
    ):
        (tmp_path / "bad.ipynb").write_text(text)
        with pytest.raises(DataError, match="is not a notebook"):
            report(tmp_path / "bad.ipynb")
    foreign = nbf.new_notebook(metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}})
    write(foreign, tmp_path / "r.ipynb")
    with pytest.raises(DataError, match="for R, expected Python"):
        report(tmp_path / "r.ipynb")
    with pytest.raises(ParameterError, match="is a folder"):
        report(good, tmp_path)
    with pytest.raises(ParameterError, match="the notebook itself"):
        report(good, good)
    with pytest.raises(ParameterError, match="can't be made"):
        report(good, good / "sub" / "out.html")


def test_a_link_is_followed_and_what_is_no_file_is_refused(tmp_path):
    book = notebook(tmp_path / "a.ipynb", "1")
    (tmp_path / "far").mkdir()
    for there in (True, False):
        real, link = tmp_path / "far" / f"{there}.html", tmp_path / f"{there}.html"
        link.symlink_to(real)
        if there:
            real.write_text("former")
        target = export._target(book, link)
        export._write_whole(target, b"new")
        assert link.is_symlink()
        assert real.read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "null", "loop"):
        with pytest.raises(ParameterError, match="expected a file"):
            export._target(book, tmp_path / name)
    (tmp_path / "self.html").symlink_to(book)
    with pytest.raises(ParameterError, match="the notebook itself"):
        export._target(book, tmp_path / "self.html")


def test_a_byte_order_mark_is_no_part_of_a_notebook(tmp_path):
    book = notebook(tmp_path / "bom.ipynb", "1")
    book.write_bytes(b"\xef\xbb\xbf" + book.read_bytes())
    assert export._read(book).cells[0].source == "1"


@pytest.mark.parametrize("where", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_report(tmp_path, monkeypatch, where):
    out = tmp_path / "out.html"
    out.write_text("former")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(WorkbenchError, match=r"No space left on device\n.*unchanged"):
        export._write_whole(out, b"new")
    monkeypatch.undo()
    assert out.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


def python(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LIMITED = """
import resource, sys
from pathlib import Path
from workbench.errors import WorkbenchError
from workbench.report import export
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    export._write_whole(Path(sys.argv[1]), b"x" * 2_000_000)
except WorkbenchError as e:
    print(e)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from workbench.report import export
os.replace = lambda a, b: os.kill(os.getpid(), signal.SIGKILL)
export._write_whole(Path(sys.argv[1]), b"x" * 2_000_000)
"""


def test_a_file_that_hits_a_real_limit_leaves_the_report(tmp_path):
    out = tmp_path / "out.html"
    out.write_text("former")
    said, wrong = python(LIMITED, out).communicate(timeout=60)
    assert "could not be written: File too large" in said, wrong
    assert out.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


def test_killed_while_writing_leaves_the_report(tmp_path):
    out = tmp_path / "out.html"
    out.write_text("former")
    process = python(KILLED, out)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert out.read_text() == "former"


RUN = "import sys; from workbench.report import report; report(sys.argv[1], sys.argv[2], progress=False)"
SLEEP = "import os, pathlib, time\npathlib.Path('pid.tmp').write_text(str(os.getpid()))\n"
SLEEP += "os.rename('pid.tmp', 'pid')\ntime.sleep(600)"


def wait_for(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_stopped_in_the_middle_leaves_the_report_and_no_kernel(tmp_path, name):
    book, out = notebook(tmp_path / "sleeps.ipynb", SLEEP), tmp_path / "out.html"
    out.write_text("former")
    process = python(RUN, book, out)
    assert wait_for((tmp_path / "pid").exists), process.poll()
    kernel = int((tmp_path / "pid").read_text())
    begun = time.monotonic()
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begun < 20
    assert process.returncode != 0
    assert wait_for(lambda: not alive(kernel), 20)
    assert out.read_text() == "former"
    if name == "SIGINT":
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert "never awaited" not in said
        assert "Task" not in said


def test_a_report_is_made_inside_a_notebook_too(tmp_path):
    """Where an event loop runs already."""
    import asyncio

    book = notebook(tmp_path / "one.ipynb", "1 + 1")

    async def within():
        return report(book, tmp_path / "sub" / "one.html", progress=False)

    made = asyncio.run(within())
    text = made.read_text(encoding="utf-8")
    assert "<title>one</title>" in text
    assert "plotly" not in text.partition('id="how-this-was-made"')[0]
    assert made.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
