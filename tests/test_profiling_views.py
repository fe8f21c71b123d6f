"""How profiles are shown, compared and saved; and the same from the shell."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiled import branch, row, whole

import workbench as wb
from workbench import profiling
from workbench.__main__ import main
from workbench.errors import ParameterError, WorkbenchError
from workbench.profiling import memory, spans
from workbench.profiling.result import Result
from workbench.profiling.svg import Bar, Node, flame, timeline

# ------------------------------------------------------------------------------------------------- how it is shown


HELD: list = []


def leaks_an_array() -> None:
    HELD.append(np.ones(1000))


def profiles() -> dict[str, Result]:
    return {
        "time": profiling.time(whole),
        "lines": profiling.lines(whole),
        "memory": profiling.memory(whole, allocations=True, lines=True),
        "leaks": profiling.leaks(leaks_an_array, runs=3),
        "gc": profiling.collection(whole, rounds=1),
        "sizes": profiling.sizes({"<b>x</b>": np.arange(1000), "y": [1.5] * 1000}),
        "kernels": profiling.kernels(lambda: wb.indicators.rsi(np.ones((500, 30)))),
        "compare": profiling.compare({"a<b": lambda: 1}, rounds=1),
        "study": profiling.study(lambda: spans.span("a", "b").__enter__()),
    }


@pytest.fixture(scope="module")
def shown():
    found = profiles()
    HELD.clear()
    return found


def test_every_profile_is_shown_without_script_or_network_in_html_and_in_text(shown):
    for name, profile in shown.items():
        bundle = profile._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html"}
        for page in (bundle["text/html"], profile.to_html(whole=True)):
            lowered = page.lower()
            assert not [word for word in ("<script", "javascript:", " onclick", "<link", "@import") if word in lowered]
            assert "http" not in lowered.replace("http://www.w3.org/2000/svg", ""), name
        assert "<b>x</b>" not in bundle["text/html"].replace("<b>x</b> ·", ""), name
        assert bundle["text/plain"].startswith(profile.title)
        assert isinstance(profile.to_frame(), pd.DataFrame)
        assert str(os.getcwd()) not in bundle["text/html"] + bundle["text/plain"], name
        if picture := profile.picture():
            ET.fromstring(picture)


def test_profiles_of_a_kind_are_compared_and_others_refused(shown):
    for profile in shown.values():
        beside = profile.compare(profile)
        first = profile.measures[0]
        if len(profile.rows) and first in profile.rows:
            known = beside.to_frame().dropna(subset="change")
            assert (known["change"] == 1).all()
            assert "change" in repr(beside)
    with pytest.raises(ParameterError, match="expected the same kind"):
        shown["time"].compare(shown["lines"])


def test_a_comparison_joins_by_what_a_row_is_about():
    rows = profiling.time(branch, 6).compare(profiling.time(branch, 2)).to_frame()
    found = row(rows, function="leaf")
    assert (found["ncalls"], found["ncalls_other"]) == (6, 2)


def test_top_cuts_what_is_shown_and_not_what_is_kept():
    profile = profiling.time(whole, top=2)
    assert len(profile.to_frame()) > 2
    assert "more rows" in repr(profile)
    assert repr(profile).count("tests/profiled.py") == 2
    assert "more rows" not in profile.to_html(whole=True)


def test_a_profile_is_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    profile = profiling.time(whole)
    page, numbers = profile.save(tmp_path / "a.html"), profile.save(tmp_path / "a.json")
    assert page.read_text().startswith("<!doctype html>")
    content = json.loads(numbers.read_text())
    assert len(content["rows"]) == len(profile.to_frame())
    assert content["kind"] == "TimeProfile"

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkbenchError, match="No space left"):
        profiling.time(branch, 2).save(page)
    assert json.loads(numbers.read_text()) == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.json"]


@pytest.mark.parametrize("name", ["a.txt", "a", "gone/a.html"])
def test_where_it_cannot_be_saved_is_told_before_anything_runs(name, tmp_path):
    with pytest.raises(ParameterError):
        profiling.time(whole).save(tmp_path / name)


def boxes(picture: str) -> list[tuple[float, float, float]]:
    """(x, y, width) of each bar."""
    name = "{http://www.w3.org/2000/svg}"
    bars = [g.find(f"{name}rect") for g in ET.fromstring(picture).iter(f"{name}g")]
    return [tuple(float(bar.get(k)) for k in ("x", "y", "width")) for bar in bars]


trees = st.recursive(
    st.floats(0.5, 10).map(lambda v: ("leaf", v, [])),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda c: ("node", sum(x[1] for x in c) * 1.2, c)),
    max_leaves=10,
)


@given(trees)
def test_a_flame_graph_shows_each_part_below_its_caller_and_within_it(tree):
    def grown(part) -> Node:
        name, value, children = part
        return Node(name + " <&>", "your code", value, "words", [grown(c) for c in children])

    found = boxes(flame(grown(tree), ("your code",)))
    rows: dict[float, list] = {}
    for x, y, width in found:
        assert x >= 0
        assert x + width <= 1000 + 1e-6
        rows.setdefault(y, []).append((x, x + width))
    for y, bars in rows.items():
        bars.sort()
        assert all(a[1] <= b[0] + 0.51 for a, b in itertools.pairwise(bars))
        above = rows.get(min((r for r in rows if r < y), key=lambda r: y - r, default=None))
        assert above is None or all(any(p <= a + 0.01 and b <= q + 0.51 for p, q in above) for a, b in bars)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 9)), max_size=30))
def test_a_timeline_hides_no_bar_behind_another(items):
    bars = [Bar(lane, f"{lane}{i}", lane, a, a + n) for i, (lane, a, n) in enumerate(items)]
    drawn = boxes(timeline(bars, 50, label="all"))
    assert len(drawn) == len(bars)
    for y in {y for _, y, _ in drawn}:
        row = sorted((x, x + width) for x, other, width in drawn if other == y)
        assert all(a[1] <= b[0] + 0.51 for a, b in itertools.pairwise(row))


# ----------------------------------------------------------------------------------------------------- the shell

SCRIPT = """
import sys
def twice(x):
    return 2 * x
def main():
    print("given", sys.argv[1:])
    for i in range(5):
        twice(i)
if __name__ == "__main__":
    main()
    if "fail" in sys.argv:
        1 / 0
    sys.exit(7)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("way", [[], ["--lines"], ["--memory"]], ids=["time", "lines", "memory"])
def test_a_script_is_profiled_with_its_arguments_and_its_exit_code(script, way, capsys, tmp_path):
    before = sys.argv[:], sys.path[:], sys.modules["__main__"]
    saved = tmp_path / "p.html"
    assert main(["profile", *way, "--top", "99", "--save", str(saved), str(script), "a", "--top", "-x"]) == 7
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before
    said = capsys.readouterr().out
    assert "given ['a', '--top', '-x']" in said
    assert "script.py" in said
    assert saved.read_text().startswith("<!doctype html>")
    if not way:
        assert "twice" in said
    if way == ["--lines"]:
        assert "return 2 * x" in said


def test_a_script_that_fails_shows_its_own_traceback_and_its_profile(script, capsys):
    assert main(["profile", "--top", "99", str(script), "fail"]) == 1
    said = capsys.readouterr()
    assert "twice" in said.out
    assert "ZeroDivisionError" in said.err
    assert "collect.py" not in said.err


def test_a_script_that_is_not_there_is_told(tmp_path, script, capsys):
    assert main(["profile", str(tmp_path / "scirpt.py")]) == 1
    assert "did you mean 'script.py'" in capsys.readouterr().err
    assert main(["profile", "--save", "p.txt", str(script)]) == 1
    said = capsys.readouterr()
    assert "ends in .html or .json" in said.err
    assert "given" not in said.out


def test_the_shell_runs_it(script):
    run = subprocess.run(
        [sys.executable, "-m", "workbench", "profile", str(script), "x"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 7, run.stderr
    assert "the code itself" in run.stdout


def test_memory_is_the_function_and_not_the_module():
    """The package republishes functions under the names of its modules."""
    assert profiling.memory is memory
    assert all(callable(getattr(profiling, name)) for name in profiling.__all__)
