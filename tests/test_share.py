"""Sharing: folders, parameters, pages without code, what a page stands on, and what a stop or a full disk leaves."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from browser import chromium, keep, opened
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from nbformat import read, write
from nbformat import v4 as nbf

import workbench as wb
from workbench.__main__ import main
from workbench.errors import DataError, NotebookError, ParameterError, UnknownNameError
from workbench.ledger import Ledger
from workbench.report import report
from workbench.report.parameters import declared, inject

DEFAULTS = """horizon = 5  # rows
cost: float = 2.5
name = "AAPL"
windows = [5, 21]
hidden = (16,)
fast = True
nothing = None
computed = horizon * 2
"""
PARAMETERS = {"tags": ["parameters"]}


def book(path: Path, *cells: str, parameters: str | None = None) -> Path:
    """A notebook of these cells; those that begin with # and a space are words."""
    made = [nbf.new_markdown_cell(c) if c.startswith("# ") else nbf.new_code_cell(c) for c in cells]
    if parameters is not None:
        made.insert(1, nbf.new_code_cell(parameters, metadata=PARAMETERS))
    write(nbf.new_notebook(cells=made), path)
    return path


def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def record(page: Path) -> dict:
    """What a page has on record, as it was downloaded."""
    links = parsed(page).find_all("a", download=True)
    href = next(link["href"] for link in links if link["download"].endswith(".json.gz"))
    return json.loads(gzip.decompress(base64.b64decode(href.partition(",")[2])))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


# ------------------------------------------------------------------------------------------------------ parameters


def with_cell(source: str = DEFAULTS, *more: nbf.NotebookNode) -> nbf.NotebookNode:
    cells = [nbf.new_markdown_cell("T"), nbf.new_code_cell(source, metadata=PARAMETERS), *more]
    return nbf.new_notebook(cells=[*cells, nbf.new_code_cell("last")])


def test_the_names_and_defaults_are_those_that_the_cell_assigns():
    found = declared(with_cell("%matplotlib inline\n" + DEFAULTS))
    assert {k: v for k, v in found.items() if k != "computed"} == {
        "horizon": 5,
        "cost": 2.5,
        "name": "AAPL",
        "windows": [5, 21],
        "hidden": (16,),
        "fast": True,
        "nothing": None,
    }
    assert "computed" in found
    assert declared(nbf.new_notebook()) == {}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("horizon", "10", 10),
        ("horizon", 10, 10),
        ("cost", "3", 3),
        ("cost", "1e-3", 0.001),
        ("name", "2005", "2005"),
        ("name", "true", "true"),
        ("name", '"MSFT"', "MSFT"),
        ("name", "a=b", "a=b"),
        ("windows", "[1, 2]", [1, 2]),
        ("hidden", "[8, 4]", (8, 4)),
        ("hidden", "(8, 4)", (8, 4)),
        ("fast", "false", False),
        ("fast", "False", False),
        ("nothing", "7", 7),
        ("nothing", "words", "words"),
        ("computed", "[1]", [1]),
        ("horizon", "null", None),
    ],
)
def test_a_value_is_read_as_its_default_is(name, given, value):
    nb = with_cell()
    assert inject(nb, {name: given}, Path("a.ipynb")) == {name: value}
    cell = nb.cells[2]
    assert cell.metadata.tags == ["injected-parameters"]
    scope = {}
    exec(cell.source, scope)
    assert scope[name] == value
    assert type(scope[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("horizon", "ten", "horizon is 'ten', a str; expected a int, as its default 5 is"),
        ("horizon", "1.5", "horizon is 1.5, a float"),
        ("horizon", "true", "horizon is True, a bool"),
        ("cost", "[1]", "cost is [1], a list"),
        ("cost", "true", "cost is True, a bool"),
        ("name", 5, "name is 5, a int; expected a str"),
        ("cost", "NaN", "no literal"),
        ("windows", {1, object()}, "no literal"),
        ("windows", "[1, NaN]", "no literal"),
    ],
)
def test_a_value_of_another_kind_is_refused(name, given, said):
    with pytest.raises(ParameterError, match=re.escape(said)):
        inject(with_cell(), {name: given}, Path("a.ipynb"))


def test_an_unknown_parameter_names_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'horizon'"):
        inject(with_cell(), {"horizn": 1}, Path("a.ipynb"))
    with pytest.raises(ParameterError, match=r"a\.ipynb takes no parameters.*\n.*Property Inspector"):
        inject(nbf.new_notebook(), {"horizon": 1}, Path("a.ipynb"))


def test_a_cell_that_was_injected_before_is_replaced():
    former = nbf.new_code_cell("horizon = 7", metadata={"tags": ["injected-parameters"]})
    nb = with_cell(DEFAULTS, former)
    inject(nb, {"horizon": "9"}, Path("a.ipynb"))
    assert [c.source for c in nb.cells[2:]] == ["# Parameters\nhorizon = 9", "last"]
    bare = with_cell()
    inject(bare, {}, Path("a.ipynb"))
    assert len(bare.cells) == 3


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(value=LITERALS)
def test_what_json_says_arrives(value):
    """Whatever JSON can say comes into the notebook as it was, where the default leaves it open."""
    nb, scope = with_cell("x = None"), {}
    inject(nb, {"x": json.dumps(value)}, Path("a.ipynb"))
    exec(nb.cells[2].source, scope)
    assert scope["x"] == value


# ------------------------------------------------------------------------------------ one page, and all it stands on

STUDY = """
import workbench as wb
prices = wb.load("synthetic", symbols=6, years=2, seed=3)
features = wb.Recipe({"week": wb.feature("roc", window=5), "month": wb.feature("roc", window=21)}).compute(prices)
label = wb.forward_return(prices, horizon=horizon)
walk = wb.walk_forward(wb.ModelSpec("ridge", {"alpha": alpha}, seed=4), features, label, ledger="mine.sqlite")
_hidden = prices
"""


@pytest.fixture(scope="module")
def repeated(tmp_path_factory) -> tuple[Path, dict, Path, dict]:
    """A study, exported twice with the same ledger; the second time without code and in the dark."""
    folder = tmp_path_factory.mktemp("study")
    path = book(folder / "study.ipynb", "# Is *it* so?", STUDY, "1 / 0", parameters="horizon = 5\nalpha = 1.0")
    nb = read(path, 4)
    nb.cells[-1].metadata["tags"] = ["raises-exception"]
    write(nb, path)
    first = report(path, folder / "first.html", parameters={"horizon": "3", "alpha": 2}, progress=False)
    again = folder / "again.html"
    command = ["report", str(path), "-o", str(again), "-p", "horizon=3", "-p", "alpha=2", "-q"]
    assert main([*command, "--no-code", "--theme", "dark"]) == 0
    return first, record(first), again, record(again)


def test_a_page_names_its_data_by_fingerprint_and_its_parameters(repeated):
    first, found, _, _ = repeated
    prices = wb.load("synthetic", symbols=6, years=2, seed=3)
    label = wb.forward_return(prices, horizon=3)
    panels = {panel["name"]: panel for panel in found["panels"]}
    assert set(panels) == {"prices", "features", "label"}
    assert panels["prices"]["fingerprint"] == prices.fingerprint
    assert panels["label"]["fingerprint"] == label.fingerprint
    assert (panels["prices"]["rows"], panels["prices"]["symbols"]) == (len(prices.time), 6)
    assert found["parameters"] == {"horizon": 3, "alpha": 2}
    assert found["environment"]["pandas"].startswith("3.")
    foot = parsed(first).footer.get_text(" ", strip=True)
    for words in (prices.fingerprint, label.fingerprint, "horizon = 3, alpha = 2", "ridge(alpha=2.0, seed=4)"):
        assert words in foot
    assert re.search(r"Seeds 4\b", foot)


def test_a_page_holds_the_ledgers_rows_whether_new_or_read(repeated):
    first, found, again, later = repeated
    rows = Ledger(first.parent / "mine.sqlite").rows()
    label = wb.forward_return(wb.load("synthetic", symbols=6, years=2, seed=3), horizon=3)
    for whole in (found, later):
        assert {row["key"] for row in whole["ledger"]} == set(rows["key"])
        assert {row["data"] for row in whole["ledger"]} == {label.fingerprint}
        assert all(row["study"]["spec"]["seed"] == 4 for row in whole["ledger"])
    assert found["ledger"] == later["ledger"]
    folds_and_new = []
    for page in (first, again):
        cells = parsed(page).select(".record")[1].tbody.find_all("td")
        folds_and_new.append((cells[3].string, cells[4].string))
    assert folds_and_new == [("5", "5"), ("5", "0")]


def test_a_page_without_code_carries_none(repeated):
    first, _, again, _ = repeated
    whole, bare = (page.read_text(encoding="utf-8") for page in (first, again))
    for words in ("forward_return(", "1 / 0", ">walk_forward<", 'download="study.ipynb"', "<details"):
        assert words not in bare
    assert "ZeroDivisionError: division by zero" in bare
    assert "The code was left out" in bare
    assert 'download="study.ipynb"' in whole
    assert '<html lang="en">' in whole
    assert '<html lang="en" data-theme="dark">' in bare
    packed = re.search(r'download="study\.ipynb" href="data:[^,]*,([^"]*)"', whole)[1]
    sources = [cell["source"] for cell in json.loads(base64.b64decode(packed))["cells"]]
    assert "# Parameters\nhorizon = 3\nalpha = 2" in [s if isinstance(s, str) else "".join(s) for s in sources]


@pytest.mark.browser
def test_a_theme_that_was_asked_for_is_the_one_it_opens_in(repeated, browser):
    first, _, again, _ = repeated
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    colors = []
    for page_file, scheme in ((first, "light"), (first, "dark"), (again, "light"), (again, "dark")):
        with opened(browser, page_file, scheme=scheme) as (page, seen):
            colors.append(page.evaluate(paper))
            assert page.locator("#fold").is_visible() == (page_file == first)
            keep(page, f"share_{page_file.stem}_{scheme}")
        assert (seen.requests, seen.console) == ([], [])
    assert colors[0] != colors[1] == colors[2] == colors[3]


def test_what_a_kernel_cannot_tell_is_said(tmp_path):
    path = book(tmp_path / "a.ipynb", "def get_ipython(): raise OSError('gone')")
    page = report(path, tmp_path / "a.html", progress=False)
    assert record(page)["not_known"] == "OSError: gone"
    assert "not known: OSError: gone" in page.read_text(encoding="utf-8")


def test_rows_of_a_ledger_that_is_gone_are_counted(tmp_path):
    path = book(tmp_path / "a.ipynb", "horizon, alpha = 1, 1.0", STUDY, "import os\nos.remove('mine.sqlite')")
    page = report(path, tmp_path / "a.html", progress=False)
    assert (record(page)["ledger"], record(page)["lost"]) == ([], 5)
    assert "5 rows were read that are in no ledger any more" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "mine.sqlite").exists()


# ------------------------------------------------------------------------------------------------------- a folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pages of a folder of which one notebook fails and one can't be read; both have a former page."""
    root = tmp_path_factory.mktemp("books")
    figure = "import plotly.express as px\npx.line(x=[1, 2], y=[n, 1])"
    book(root / "1_pays.ipynb", "# From bars\n\nSome words.\n\n**Does it <b>pay</b>?**", figure, parameters="n = 5")
    book(root / "2_fails.ipynb", "# Fails", "1 / 0")
    book(root / "3_asks.ipynb", "# What is *asked*?\n\nThe first words & more.", "1")
    (root / "4_torn.ipynb").write_text("{")
    (root / ".hidden.ipynb").write_text("{")
    out = root / "out"
    out.mkdir()
    (out / "2_fails.html").write_text("former")
    with pytest.raises(NotebookError) as caught:
        report(root, out, parameters={"n": 7}, progress=False)
    (root / "said").write_text(str(caught.value))
    return root


def test_a_folder_that_fails_in_parts_says_which_and_keeps_the_others(folder):
    said, out = (folder / "said").read_text(), folder / "out"
    assert said.startswith("2 of 4 notebooks failed:")
    assert "2_fails.ipynb: cell 2 of 2, In [1], failed at `1 / 0`" in said
    assert "4_torn.ipynb is not a notebook" in said
    assert sorted(p.name for p in out.iterdir()) == ["1_pays.html", "2_fails.html", "3_asks.html", "index.html"]
    assert (out / "2_fails.html").read_text() == "former"
    assert record(out / "1_pays.html")["parameters"] == {"n": 7}
    assert record(out / "3_asks.html")["parameters"] == {}


def test_the_index_says_what_each_asks(folder):
    items = BeautifulSoup((folder / "out" / "index.html").read_text(encoding="utf-8"), "html.parser").select(
        ".entries li"
    )
    titles = [item.h2.get_text() for item in items]
    assert titles == ["From bars", "2_fails", "What is asked?", "4_torn"]
    assert [item.h2.a and item.h2.a["href"] for item in items] == ["1_pays.html", "2_fails.html", "3_asks.html", None]
    assert [item.p.get_text() for item in items[::2]] == ["Does it pay?", "The first words & more."]
    assert "1 figure · run in" in items[0].get_text()
    assert "0 figures" in items[2].get_text()
    assert items[1].pre.get_text().startswith("2_fails.ipynb: cell 2 of 2")
    assert "ZeroDivisionError" in items[1].pre.get_text()
    assert "that of a former run" in items[1].get_text()
    assert "There is no page" in items[3].get_text()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1920, "dark")])
def test_the_index_is_whole_with_the_network_cut(folder, browser, width, scheme):
    with opened(browser, folder / "out" / "index.html", width=width, scheme=scheme) as (page, seen):
        assert page.locator(".entries li").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        keep(page, f"share_index_{width}_{scheme}")
    assert (seen.requests, seen.console) == ([], [])


def test_what_is_no_folder_of_notebooks_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="there is no notebook in"):
        report(tmp_path)
    path = book(tmp_path / "a.ipynb", "1 / 0")
    with pytest.raises(ParameterError, match="expected a folder"):
        report(tmp_path, path)
    with pytest.raises(UnknownNameError, match="parameter of the notebooks"):
        report(tmp_path, tmp_path / "out", parameters={"n": 1})
    with pytest.raises(UnknownNameError, match="did you mean 'dark'"):
        report(path, theme="drak")
    book(tmp_path / "index.ipynb", "1")
    with pytest.raises(ParameterError, match="would be the index's"):
        report(tmp_path, tmp_path / "out")


# -------------------------------------------------------------------------------------- stopped, and out of disk

WORK = "import time\ntime.sleep(.05)\nimport plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 2]))"


def start(path: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "workbench", "report", str(path), "-o", str(out), "-q"]
    return subprocess.Popen(command, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def gone(pids: list[int], seconds: float = 30) -> bool:
    """Whether these processes end within so many seconds."""

    def alive(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_stopped_at_any_moment_leaves_the_former_report_or_the_new_one(tmp_path, name):
    """Whole either way; no kernel is left running, and but for SIGKILL no file besides."""
    chance = random.Random(name)
    path = book(tmp_path / "a.ipynb", *[WORK] * 4)
    for attempt in range(2):
        out = tmp_path / f"{attempt}" / "out.html"
        out.parent.mkdir()
        out.write_text("former")
        process = start(path, out)
        time.sleep(chance.uniform(0.2, 6))
        kernels = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=60)
        text = out.read_text(encoding="utf-8")
        assert text == "former" or text.rstrip().endswith("</html>")
        assert text == "former" or process.returncode in (0, -9, 130, 143)
        assert gone(kernels), said
        if name != "SIGKILL":
            assert [p.name for p in out.parent.iterdir()] == ["out.html"]


def test_sigterm_in_a_cell_shuts_the_kernel_down(tmp_path):
    source = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()) + '.')\ntime.sleep(600)"
    path, out = book(tmp_path / "a.ipynb", source), tmp_path / "out.html"
    out.write_text("former")
    process = start(path, out)
    until, note = time.monotonic() + 60, tmp_path / "pid"
    while not (note.exists() and note.read_text().endswith(".")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert gone([int(note.read_text().rstrip("."))])
    assert out.read_text() == "former"


FULL = """
mount -t tmpfs -o size=256k tmpfs "$1" || exit 77
echo former > "$1/out.html"
"$2" -m workbench report "$3" -o "$1/out.html" -q
echo "code $?"
cat "$1/out.html"
ls -A "$1"
"""


def test_a_disk_that_is_full_leaves_the_former_report(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    path = book(tmp_path / "a.ipynb", WORK)
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", disk, sys.executable, path]
    try:
        done = subprocess.run(list(map(str, own)), capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("no unshare here, so no small disk could be made")
    if "code" not in done.stdout:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()[:200]}")
    assert done.stdout.split() == ["code", "1", "former", "out.html"]
    assert "out.html could not be written: No space left on device" in done.stderr
    assert "is unchanged" in done.stderr
