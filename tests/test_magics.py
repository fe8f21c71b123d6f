"""The magics: in a shell, in a kernel, exported, and looked at in a browser."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from pathlib import Path

import nbformat
import pytest
from browser import chromium, opened
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

from workbench import profiling
from workbench.errors import ParameterError, UnknownNameError, WorkbenchError
from workbench.magics import MAGICS, document, parse
from workbench.profiling import words

# ------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ({}, "")),
        ("f(1)", ({}, "f(1)")),
        ("-o kept --top 3 f(-1)", ({"name": "kept", "top": 3}, "f(-1)")),
        ("-qr f(1)", ({"quiet": True, "give": True}, "f(1)")),
        ("--top=3 -s ncalls f(1)", ({"top": 3, "sort": "ncalls"}, "f(1)")),
        ('--save "a b.html" x = "-o"', ({"save": "a b.html"}, 'x = "-o"')),
        ("-q -- -x", ({"quiet": True}, "-x")),
        ("  -r   a  -  b", ({"give": True}, "a  -  b")),
    ],
)
def test_options_stand_before_the_code(line, expected):
    assert parse("wb_time", line) == expected


def test_an_option_may_be_repeated_where_it_says_so():
    assert parse("wb_lines", "-f a.b -f c")[0] == {"functions": ["a.b", "c"]}
    assert parse("wb_gc", "--threshold 1,2,3")[0] == {"settings": [(1, 2, 3)]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--tpo 3", "did you mean '--top'"),
        ("-x", "code that begins with a minus goes after --"),
        ("--top", "found nothing, expected a whole number"),
        ("--top many", "found 'many', expected a whole number"),
        ("--top -3", "found '-3'"),
    ],
)
def test_a_wrong_option_is_told(line, said):
    with pytest.raises((UnknownNameError, ParameterError)) as error:
        parse("wb_time", line)
    assert said in str(error.value)


def test_a_wrong_threshold_is_told():
    with pytest.raises(ParameterError, match="three whole numbers"):
        parse("wb_gc", "--threshold 1,2")


def test_each_magic_is_documented_from_its_table_and_calls_a_profiler():
    for name, magic in MAGICS.items():
        assert callable(getattr(profiling, magic.profiler))
        text = document(name)
        assert all(option.doc in text for option in magic.options)
        assert "--save" in text
        assert magic.doc in text


# --------------------------------------------------------------------------------------------------------- a shell


@pytest.fixture(scope="module")
def shell():
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    label = words.cell_label
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell.run_cell("%load_ext workbench")
    yield shell
    words.cell_label = label
    InteractiveShell.clear_instance()


@pytest.fixture
def cell(shell, capsys):
    """Runs a cell: what it printed; an error that it ended by is raised."""

    def run(text: str) -> str:
        result = shell.run_cell(text, store_history=True)
        if result.error_in_exec is not None:
            raise result.error_in_exec
        return capsys.readouterr().out

    run("def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n")
    return run


def test_a_line_and_a_cell_show_a_profile_and_never_page(cell, shell, monkeypatch):
    monkeypatch.setattr("IPython.core.page.page", lambda *a, **k: pytest.fail("it pages"))
    assert "f(10)" in cell("%wb_time f(10)")
    said = cell("%%wb_time\nx = f(20)\nprint('by hand')")
    assert "by hand" in said
    assert re.search(r"^f +In \[\d+\]:1 +1 ", said, re.MULTILINE)
    assert shell.user_ns["x"] == 190


def test_a_profile_is_bound_returned_kept_quiet_and_saved(cell, shell, tmp_path):
    assert cell(f"%wb_time -q -o kept --save {tmp_path / 'a.html'} f(10)") == ""
    kept = shell.user_ns["kept"]
    assert isinstance(kept, profiling.TimeProfile)
    assert (tmp_path / "a.html").is_file()
    assert cell("given = %wb_time -r --top 1 f(10)") == ""
    assert shell.user_ns["given"].top == 1
    assert "change" in cell("print(given.compare(kept))")


def test_functions_that_are_defined_in_cells_are_seen_by_line(cell, shell):
    cell("class Shape:\n    def area(self):\n        a = 2\n        return a * 3\n")
    cell("%%wb_lines -q -o by_line\ntotal = f(7)\nShape().area()")
    rows = shell.user_ns["by_line"].to_frame()
    hits = {row["source"].strip(): row["hits"] for _, row in rows.iterrows()}
    assert hits["total += i"] == 7
    assert hits["return a * 3"] == 1
    assert hits["total = f(7)"] == 1
    cell("%%wb_memory --lines -q -o memory\nimport numpy as np\nheld = np.ones(2_500_000)\nf(3)")
    lines = shell.user_ns["memory"].lines.set_index("source")
    assert lines.loc["held = np.ones(2_500_000)", "increment"] == pytest.approx(20e6, rel=0.02)
    assert lines.loc["        total += i", "hits"] == 3


def test_an_error_is_the_users_own_and_the_profile_until_then_is_kept(cell, shell):
    with pytest.raises(ZeroDivisionError) as caught:
        cell("%%wb_time -q -o part\nf(5)\n1 / 0\nf(6)")
    assert shell.user_ns["part"].to_frame().set_index("function").loc["f", "ncalls"] == 1
    shown = shell.InteractiveTB.text(type(caught.value), caught.value, caught.value.__traceback__)
    assert "workbench/magics.py" not in shown
    assert "collect.py" not in shown
    assert "1 / 0" in shown
    with pytest.raises(NameError, match="nowhere"):
        cell("%wb_memory -q nowhere")


def test_a_syntax_error_is_told_and_nothing_is_run(cell, shell):
    shell.user_ns.pop("ran", None)
    with pytest.raises(SyntaxError):
        cell("%%wb_time\nran = 1\nx = = 3")
    assert "ran" not in shell.user_ns


def test_a_cell_that_awaits_is_profiled(cell, shell):
    cell("%%wb_time -q\nimport asyncio\nawait asyncio.sleep(0)\nawaited = 5")
    assert shell.user_ns["awaited"] == 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals go to threads")
@pytest.mark.parametrize(
    ("magic", "step"),
    [
        ("%%wb_time -o part", "await asyncio.sleep(0.01)"),
        ("%%wb_memory -l -o part", "await asyncio.sleep(0.01)"),
        ("%%wb_lines -o part", "await refuse()"),
    ],
)
def test_an_interrupt_ends_what_is_awaited_and_the_profile_until_then_is_kept(cell, shell, magic, step):
    """The first cancels; where the code goes on all the same, the second raises."""
    cell(
        "import asyncio, signal, threading\n"
        "def interrupt():\n    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)\n"
        "async def refuse():\n    try:\n        await asyncio.sleep(0.01)\n    except asyncio.CancelledError:\n"
        "        interrupt()\n"
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        cell(
            f"{magic} -q\nsteps = 0\nwhile steps < 500:\n    steps += 1\n    if steps == 3:\n        interrupt()\n"
            f"    {step}\n"
        )
    assert 3 <= shell.user_ns["steps"] < 100
    assert "It ended by KeyboardInterrupt" in shell.user_ns["part"].notes[0]
    shown = shell.InteractiveTB.text(type(caught.value), caught.value, caught.value.__traceback__)
    assert "collect.py" not in shown
    assert not [t for t in threading.enumerate() if t.name.startswith("profiled")]
    cell("%%wb_time -q\nawait asyncio.sleep(0)\nafter = 1")
    assert shell.user_ns.pop("after") == 1


def test_sizes_look_at_the_namespace_or_at_names(cell, shell):
    cell("import numpy as np\nlots = np.arange(10_000) % 100\nview = lots[:5]")
    assert "int8" in cell("%wb_sizes lots, view")
    cell("%wb_sizes -q -o found --plain")
    found = shell.user_ns["found"].to_frame().set_index("name")
    assert found.loc["view", "bytes"] > 80_000
    assert "f" not in found.index
    with pytest.raises(UnknownNameError, match="losts"):
        cell("%wb_sizes losts")


def test_a_leak_in_a_cell_is_named_by_its_line(cell, shell):
    cell("kept = []\ndef remember():\n    kept.append([1.5] * 100)\n")
    cell("%%wb_leaks -q -o leak --runs 3\nremember()")
    first = shell.user_ns["leak"].to_frame().iloc[0]
    assert first["source"] == "kept.append([1.5] * 100)"
    assert re.fullmatch(r"In \[\d+\]:3", first["where"])


def test_variants_of_a_cell_are_compared(cell, shell):
    cell("%%wb_compare -q -o beside --rounds 1\nn = 9\n# variant: a\nresult = f(n)\n# variant: b\nresult = 36\n")
    assert list(shell.user_ns["beside"].to_frame()["agrees"]) == ["", "yes"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("%wb_time", "wb_time got no code"),
        ("%%wb_time f(1)\nf(2)", "expected options"),
        ("%wb_time -o 3x f(1)", "expected a name"),
        ("%wb_time --save here.txt ran = True", "can't be saved"),
        ("%%wb_lines -f nothing\nf(1)", "unknown function 'nothing'"),
        ("%wb_leaks --runs 1 f(1)", "runs=1"),
        ("%%wb_compare\nf(1)", "nothing to compare"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(cell, shell, text, said):
    shell.user_ns["ran"] = False
    with pytest.raises(WorkbenchError, match=re.escape(said)):
        cell(text)
    assert shell.user_ns["ran"] is False


# -------------------------------------------------------------------------------------- a notebook with every magic

CELLS = [
    "import numpy as np, pandas as pd\nimport workbench as wb\n"
    "prices = wb.load('synthetic', symbols=40, years=4, seed=1)\n"
    "recipe = wb.Recipe({'momentum': wb.feature('roc', window=20).rank(), 'strength': wb.feature('rsi', window=14)})",
    "def slow(values, window):\n    return [sum(values[i - window:i]) for i in range(window, len(values))]\nkept = []",
    "%%wb_time --top 6 -o first\nfeatures = recipe.compute(prices)\nmeans = slow(list(prices['close'].iloc[:, 0]), 50)",
    "%wb_lines slow(list(range(300)), 20)",
    "%%wb_memory --lines --allocations\nones = np.ones(1_000_000)\ntwice = ones * 2\ndel ones",
    "%%wb_leaks --runs 3\nkept.append(np.ones(1000))",
    "%%wb_gc --rounds 1\nloops = [[] for _ in range(3000)]\nfor loop in loops:\n    loop.append(loop)",
    "labels = pd.Series(['AAPL', 'MSFT'] * 20_000)\n%wb_sizes",
    "%%wb_kernels\nfor _ in range(3):\n    features = recipe.compute(prices)",
    "%%wb_compare --rounds 1 --workers 2\ndef task(i):\n    return i * i\nitems = range(4)",
    "%%wb_study --top 8\nlabel = wb.forward_return(prices, horizon=5)\nfeatures = recipe.compute(prices)\n"
    "table = wb.compare([wb.ModelSpec('ridge')], features, label, ledger='study.sqlite')",
    "%%wb_time -q\nimport asyncio\nawait asyncio.sleep(0)\nawaited = 5",
    "%%wb_time -q -o second\nmeans = slow(list(prices['close'].iloc[:, 0]), 50)",
    "second.compare(first)",
]
SHOWN = re.compile(r"^%%?wb_(?!.* -q)|\.compare\(first", re.MULTILINE)
PICTURES = 3  # a flame graph and two timelines


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("magics") / "magics.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# Every magic"), *map(nbformat.v4.new_code_cell, CELLS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def executed(notebook):
    nb = nbformat.read(notebook, 4)
    nb.cells.insert(0, nbformat.v4.new_code_cell("%load_ext workbench"))
    NotebookClient(
        nb, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(notebook.parent)}}
    ).execute()
    (notebook.parent / "study.sqlite").unlink()
    return nb


def test_every_magic_leaves_its_profile_in_the_notebook(executed):
    used = {word for cell in executed.cells for word in re.findall(r"%%?(wb_\w+)", cell.source)}
    assert used == set(MAGICS)
    for cell in executed.cells:
        outputs = [o for o in cell.get("outputs", []) if o.output_type != "stream"]
        assert len(outputs) == bool(SHOWN.search(cell.source)), cell.source
        for output in outputs:
            assert {"text/plain", "text/html"} == set(output.data)
            text = output.data["text/html"] + output.data["text/plain"]
            assert "/tmp" not in text
            assert "site-packages" not in text
            assert "<script" not in text


def test_nbconvert_keeps_all_of_it(executed):
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(template_name="lab").from_notebook_node(executed)
    assert body.count('class="workbench-profile"') == sum(
        "workbench-profile" in o.get("data", {}).get("text/html", "")
        for c in executed.cells
        for o in c.get("outputs", [])
    )
    assert body.count('role="img"') == PICTURES


@pytest.fixture(scope="module")
def exported(notebook):
    from workbench.report import report

    return report(notebook, notebook.with_suffix(".html"), progress=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


# In the page: the colours of words and of what is behind them, and the boxes of pictures.
LOOK = """() => [...document.querySelectorAll('.workbench-profile')].map(profile => {
  const box = profile.getBoundingClientRect();
  const pictures = [...profile.querySelectorAll('svg')].map(s => s.getBoundingClientRect());
  const words = [...profile.querySelectorAll('td, p, th, svg text')].filter(e => e.getClientRects().length);
  return {
    height: box.height, width: box.width,
    pictures: pictures.map(p => [p.width, p.height]),
    colors: [...new Set(words.map(e => e.tagName === 'text' ? getComputedStyle(e).fill : getComputedStyle(e).color))],
    cut: [...profile.querySelectorAll('div')].filter(d => d.scrollWidth > d.clientWidth + 1).map(d => d.innerText),
    small: words.filter(e => parseFloat(getComputedStyle(e).fontSize) < 10.5).length,
  };
})"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_export_shows_every_profile_and_asks_for_nothing(exported, browser, width, scheme):
    for javascript in (True, False):
        with opened(browser, exported, width=width, scheme=scheme, javascript=javascript) as (page, seen):
            assert not seen.requests
            assert not seen.console
            if not javascript:
                assert page.locator(".workbench-profile svg").count() == PICTURES
                continue
            found = page.evaluate(LOOK)
            assert len(found) == len(
                [c for c in CELLS if re.search(r"^%%?wb_|compare\(first", c, re.M) and "-q" not in c]
            )
            pictures = [p for profile in found for p in profile["pictures"]]
            assert len(pictures) == PICTURES
            assert all(w > 600 and h > 40 for w, h in pictures)
            assert all(profile["height"] > 60 and not profile["small"] for profile in found)
            assert [text for profile in found for text in profile["cut"]] == []
            for profile in found:
                for color in profile["colors"]:
                    red, green, blue = map(float, re.findall(r"[\d.]+", color)[:3])
                    bright = (red + green + blue) / 3
                    assert bright < 130 if scheme == "light" else bright > 130, color
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
