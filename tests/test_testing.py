"""The plugin that runs notebooks as tests: what it compares, what it lets pass, and which budgets it keeps."""

from __future__ import annotations

import base64
import copy
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import v4 as nbf
from nbformat import write

from workbench.testing import PLOTLY, asked, compare

# ------------------------------------------------------------------------------------------- a notebook that is run

FIGURE = """
import plotly.graph_objects as go
import numpy as np
def figure(y, title):
    return go.Figure(go.Scatter(x=[1, 2, 3], y=np.asarray(y, float)), go.Layout(title=title, template='none'))
"""
# What a cell holds, its tags, what is saved of it (text, or a figure), and what is said; None where it passes.
CHECK = "nbval-check-output"
CELLS: dict[str, tuple[str, list[str], object, str | None]] = {
    "setup": (FIGURE, [], None, None),
    "unchecked": ("3", [], "4", None),
    "equal": ("print('a  1.50'); print('b 2')", [CHECK], {"stdout": "a 1.50\nb    2\n"}, None),
    "no tolerance": ("1.0000001", [CHECK], "1.0", "1.0000001 was 1, off by 1e-07.*has no tolerance"),
    "within rtol": ("{'a': 100.001}", [CHECK, "rtol=1e-4"], "{'a': 100.0}", None),
    "beyond rtol": ("{'a': 100.1}", [CHECK, "rtol=1e-4"], "{'a': 100.0}", "100.1 was 100.*may be off by 0.01"),
    "within atol": ("1e-12", [CHECK, "atol=1e-9"], "0.0", None),
    "another word": ("'up 1.0'", [CHECK, "rtol=0.1"], "'down 1.0'", "line 1 differs"),
    "another date": ("'2001-02-03 1.0'", [CHECK, "rtol=0.1"], "'2002-02-03 1.0'", "line 1 differs"),
    "a line more": ("print(1); print(2)", [CHECK], {"stdout": "1\n"}, "2 lines, 1 are saved"),
    "nothing": ("None", [CHECK], "1", "0 outputs, the notebook has 1 saved"),
    "never run": ("1", [CHECK], NotImplemented, "run the notebook and save it"),
    "a duration": ("'took 3.1 s'", [CHECK], "'took 2.2 s'", None),
    "table": (
        "import pandas as pd; pd.DataFrame({'x': [1.00001, 20.0]})",
        [CHECK, "rtol=1e-4"],
        {"text/plain": "      x\n0   1.0\n1  20.0", "text/html": "TABLE"},
        "text/html: line 1 differs",
    ),
    "same figure": ("figure([1, 2, 3.0000001], 'new')", [CHECK, "rtol=1e-6"], [1, 2, 3], None),
    "another line": (
        "figure([1, 2, 4], 'old')",
        [CHECK, "rtol=1e-6"],
        [1, 2, 3],
        r"data\[0\]\.y\[2\]: 4 was 3",
    ),
    "a point less": ("figure([1, 2], 'old')", [CHECK], [1, 2, 3], r"data\[0\]\.y has 2 items, 3 are saved"),
    "quick": ("import time; time.sleep(.01)", ["time=30s"], None, None),
    "slow": ("time.sleep(.4)", ["time=250ms"], None, "budget of time: took .* s, may take 0.25 s"),
    "modest": ("x = np.ones(2_000_000); del x", ["memory=64MB"], None, None),
    "hungry": ("x = np.ones(12_500_000); del x", ["memory=90MB"], None, "budget of memory: its peak stood [0-9.]+ MB"),
    "modest again": ("x = np.ones(2_000_000); del x", ["memory=64MB"], None, None),
    "raises": ("1 / 0", [], None, "ZeroDivisionError"),
    "may raise": ("1 / 0", ["raises-exception"], None, None),
    "magics": ("assert 'workbench' in get_ipython().extension_manager.loaded", [], None, None),
}


def saved(value: object) -> list:
    """The outputs of a cell that a notebook holds."""
    if value is None or value is NotImplemented:
        return []
    if isinstance(value, str):
        return [nbf.new_output("execute_result", {"text/plain": value}, execution_count=1)]
    if isinstance(value, list):
        data = {"data": [{"type": "scatter", "x": [1, 2, 3], "y": value}], "layout": {"title": {"text": "old"}}}
        return [nbf.new_output("execute_result", {PLOTLY: data, "text/plain": "Figure()"}, execution_count=1)]
    if "stdout" in value:
        return [nbf.new_output("stream", name="stdout", text=value["stdout"])]
    return [nbf.new_output("execute_result", value, execution_count=1)]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-p", "workbench.testing", "-p", "no:cacheprovider", "--color=no", "-q"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str | None]:
    """What the plugin said of each cell, from one run; None where it passed."""
    folder = tmp_path_factory.mktemp("book")
    cells = []
    for source, tags, value, _ in CELLS.values():
        count = None if value is NotImplemented else 1
        cells.append(nbf.new_code_cell(source, metadata={"tags": tags}, outputs=saved(value), execution_count=count))
    write(nbf.new_notebook(cells=cells), folder / "book.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = run(folder, "--junitxml=found.xml", "book.ipynb")
    assert done.returncode == 1, done.stdout + done.stderr
    tests = ET.parse(folder / "found.xml").getroot().iter("testcase")
    told = [next((part.text for part in test if part.tag == "failure"), None) for test in tests]
    return dict(zip(CELLS, told, strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_each_cell_passes_or_says_what_is_wrong(outcomes, name):
    expected, found = CELLS[name][-1], outcomes[name]
    assert (found is None) == (expected is None), found
    if expected is not None:
        assert re.search(expected, found), found
        if name == "slow":
            assert float(re.search(r"took ([\d.]+) s", found)[1]) >= 0.4
        if name == "hungry":  # the truth is 100 MB
            assert float(re.search(r"stood ([\d.]+) MB", found)[1]) == pytest.approx(100, rel=0.02)


DYING = {  # the cells of a notebook, and what comes of each
    "exits": ({"1": "", "print('last words')\nimport os; os._exit(1)": "died", "2": "skipped", "3": "skipped"}),
    "is_killed": ({"import os; os.kill(os.getpid(), 9)  # as for want of memory": "died", "2": "skipped"}),
    "crashes": ({"import ctypes; ctypes.string_at(0)": "died", "2": "skipped"}),
    "later": ({"1": "", "'shot after this'": "", "2": "died before this cell began", "3": "skipped"}),
    "unharmed": ({"1": "", "2": ""}),
}
SHOOT = """
def pytest_runtest_teardown(item):
    if "shot after this" in item.cell.source:
        process = item.parent.kernel.km.provisioner.process
        process.kill()
        process.wait()
"""


def test_a_kernel_that_dies_fails_its_cell_skips_the_rest_and_spares_other_notebooks(tmp_path):
    for name, cells in DYING.items():
        # neither tag forgives a death, nor looks for the memory of the dead
        tags = {"tags": ["raises-exception", "memory=1GB"]} if name == "crashes" else {}
        write(nbf.new_notebook(cells=[nbf.new_code_cell(c, metadata=tags) for c in cells]), tmp_path / f"{name}.ipynb")
    (tmp_path / "conftest.py").write_text(SHOOT)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = run(tmp_path, "--junitxml=found.xml", *(f"{name}.ipynb" for name in DYING))
    assert done.returncode == 1, done.stdout + done.stderr
    tests = ET.parse(tmp_path / "found.xml").getroot().iter("testcase")
    expected = [(name, number, what) for name, cells in DYING.items() for number, what in enumerate(cells.values())]
    for test, (name, number, what) in zip(tests, expected, strict=True):
        assert test.get("name") == f"Cell {number}"
        told = [(part.tag, part.get("message") + (part.text or "")) for part in test]
        kind = {"": [], "skipped": ["skipped"]}.get(what, ["failure"])
        assert [tag for tag, _ in told] == kind, (name, number, told)
        if kind == ["failure"]:
            assert f"Cell {number}: The kernel {what}" in told[0][1], name
        elif kind:
            assert "the kernel died: Cell" in told[0][1], name


def test_a_tag_that_cannot_be_read_stops_the_run_and_names_the_cell(tmp_path):
    cells = [nbf.new_code_cell("1"), nbf.new_code_cell("2", metadata={"tags": ["tolerance=1e-3"]})]
    write(nbf.new_notebook(cells=cells), tmp_path / "a.ipynb")
    done = run(tmp_path, "a.ipynb")
    assert done.returncode == 2
    assert re.search(r"a\.ipynb, Cell 1: unknown tag 'tolerance=1e-3'; did you mean rtol=1e-6\?", done.stdout)


# -------------------------------------------------------------------------------------------------------- the tags


def test_tags_are_read_in_their_units():
    tags = [
        "parameters",
        "time-series",
        "hide-input",
        "nbval-skip",
        "raises-exception",
        "rtol=1e-6",
        "atol=0.5",
        "time=2min",
        "memory=1.5GiB",
    ]
    assert asked(tags) == {"rtol": 1e-6, "atol": 0.5, "time": 120.0, "memory": 1.5 * 2**30}
    assert asked(["time=250ms", "memory=200MB"]) == {"time": 0.25, "memory": 2e8}


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("rtol=", "can't be read, expected as in rtol=1e-6"),
        ("rtol=-1", "can't be read"),
        ("rtol=1%", "can't be read"),
        ("time=5", "expected as in time=5s"),
        ("time=5MB", "expected as in time=5s"),
        ("memory=1gb", "expected as in memory=200MB"),
        ("memory=nan", "can't be read"),
        ("tolerance=1e-6", "did you mean rtol=1e-6"),
        ("mem=1GB", "did you mean memory=200MB"),
        ("budget=5s", "known: rtol=1e-6, atol=1e-9, time=5s, memory=200MB"),
        ("rtol", "expected as in rtol=1e-6"),
        ("time", "expected as in time=5s"),
        ("time:5s", "expected as in time=5s"),
        ("Time < 5s", "expected as in time=5s"),
        ("memory 200MB", "expected as in memory=200MB"),
        ("nbval-check-ouput", "did you mean nbval-check-output"),
        ("NBVAL_CHECK_OUTPUT", "did you mean nbval-check-output"),
        ("nbval-checked", "known: nbval-check-output"),
        ("raise-exception", "did you mean raises-exception"),
    ],
)
def test_tags_that_mean_nothing_are_refused(tag, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        asked([tag])


# -------------------------------------------------------------------------------------------------- what is compared


def texts(found: str, saved: str, rtol: float = 0.0, atol: float = 0.0) -> str | None:
    return compare([{"text/plain": found}], [{"text/plain": saved}], (rtol, atol))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
WORDS = st.sampled_from(["{!r}", "x = {!r}", "[1, {!r}]", "<td>{!r}</td>", "({!r})", "{!r} bps", "{!r}%", "a:\t{!r}"])


NEAR = st.sampled_from([1, 1 + 1e-10, 1 + 1e-8, 1 - 9e-4, 1.0011, 0.6, 1.4, 1.6, 1.9, -1])


@given(
    form=WORDS, a=NUMBERS, near=NEAR, b=NUMBERS | st.none(), rtol=st.sampled_from([0, 1e-9, 1e-3, 0.5]), data=st.data()
)
def test_numbers_in_words_are_equal_as_numpy_has_it(form, a, near, b, rtol, data):
    b, atol = a * near if b is None else b, data.draw(st.sampled_from([0, 1e-6, 1]))
    if math.isinf(b):
        return
    close = bool(np.isclose(a, b, rtol=rtol, atol=atol)) if rtol or atol else a == b
    assert (texts(form.format(a), form.format(b), rtol, atol) is None) == close


@given(a=NUMBERS, factor=st.sampled_from([1 + 1e-7, 1 - 1e-7, 1 + 1e-5, 1.1]), packed=st.booleans())
def test_numbers_in_figures_are_too(a, factor, packed):
    b = a * factor
    array = {"dtype": "f8", "bdata": base64.b64encode(np.array([b, 1.0])).decode()}
    new = {PLOTLY: {"data": [{"y": array if packed else [b, 1.0]}], "layout": {"title": "b"}}}
    old = {PLOTLY: {"data": [{"y": [a, 1.0]}], "layout": {"title": "a"}}}
    close = bool(np.isclose(b, a, rtol=1e-6, atol=0))
    assert (compare([new], [old], (1e-6, 0.0)) is None) == close


SAME = ["2000-01-01", "12:30:05", "1.2.3", "S05", "fold3", "10:30", "v2", "1/2", "0x1f", "x1.5", "3rd", "1e", "1-2"]


@pytest.mark.parametrize("word", SAME)
def test_a_word_with_digits_is_a_word(word):
    other = word.translate(str.maketrans("0123456789", "1234567890"))
    assert texts(word, other, rtol=10, atol=10) is not None
    assert texts(f"a {word} 1.5", f"a {word} 1.50001", rtol=1e-4) is None


@pytest.mark.parametrize(
    ("found", "saved", "same"),
    [
        ("1,234.5", "1234.5", True),
        ("-1.5", "−1.5", True),
        ("   0.10  \n", "0.10", True),
        ("nan", "nan", True),
        ("nan", "1.0", False),
        ("inf", "1.0", False),
        ("-0.0", "0.0", True),
        ("[1,2]", "[1,3]", False),
        ("True", "False", False),
        ("1.0 2.0", "1.0", False),
    ],
)
def test_small_things(found, saved, same):
    assert (texts(found, saved) is None) == same
    assert (texts(found, saved, rtol=1e-9) is None) == same


def test_the_tolerance_is_relative_to_what_is_saved():
    assert texts("0.6", "1.0", rtol=0.5) is None
    assert texts("1.0", "0.6", rtol=0.5) is not None


def figure(**changes: object) -> dict:
    trace = {"type": "bar", "name": "a", "x": ["u", "v"], "y": [1.0, 2.0], "uid": "1"}
    return {PLOTLY: {"data": [trace | changes], "layout": {"title": {"text": "t"}}}}


def test_every_part_of_a_figures_data_counts_and_its_layout_does_not():
    assert compare([figure(uid="2")], [figure()]) is None
    for change in (
        {"type": "scatter"},
        {"name": "b"},
        {"x": ["u", "w"]},
        {"y": [1.0, None]},
        {"z": 1},
        {"y": [True, 2.0]},
    ):
        assert compare([figure(**change)], [figure()], (1e-3, 0)) is not None, change
    two = copy.deepcopy(figure())
    two[PLOTLY]["data"] *= 2
    assert "1 items, 2 are saved" in compare([figure()], [two])
    other = copy.deepcopy(figure())
    other[PLOTLY]["layout"] = {"title": {"text": "other"}, "height": 3}
    assert compare([other], [figure()]) is None
    moving = copy.deepcopy(figure())
    moving[PLOTLY]["frames"] = [{"data": [{"y": [1.0]}]}]
    assert "frames on one side only" in compare([moving], [figure()])
    assert "off by inf" in compare([figure(y=[1.0, math.inf])], [figure(y=[1.0, 2.0])], (1.0, 0))
    assert compare([figure(y=[1.0, 2.0])], [figure(y=[1.0, math.inf])], (1.0, 0)) is not None


def test_outputs_are_compared_in_their_order():
    assert compare([{"stdout": "a"}, {"text/plain": "1"}], [{"text/plain": "1"}, {"stdout": "a"}]).startswith(
        "output 1"
    )
    assert "found  stdout" in compare([{"stdout": "a"}], [])
