"""New notebooks from a template: they pass their own tests, export, and never take another's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from workbench import templates
from workbench.__main__ import main
from workbench.errors import ParameterError, UnknownNameError, WorkbenchError
from workbench.report import report


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    return templates.write("study", folder / "after_costs")


def test_a_new_study_passes_its_own_tests_without_options(study):
    command = [sys.executable, "-m", "pytest", "-p", "workbench.testing", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run([*command, "-q", study.name], cwd=study.parent, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:]
    checked = [c for c in nbformat.read(study, 4).cells if "nbval-check-output" in c.metadata.get("tags", ())]
    assert len(checked) == 1
    assert "rank_ic" in checked[0].outputs[0].data["text/plain"]


def test_a_new_study_is_exported_with_other_parameters(study):
    page = report(study, study.with_suffix(".html"), parameters={"horizon": "3", "seed": "2"}, progress=False)
    text = page.read_text(encoding="utf-8")
    assert "<title>After costs</title>" in text
    assert "horizon = 3, seed = 2" in text
    assert page.stat().st_size < 3_000_000


def test_a_study_asks_first_and_answers_last(study):
    nb = nbformat.read(study, 4)
    nbformat.validate(nb)
    first, last = nb.cells[0].source, nb.cells[-1].source
    assert first.startswith("# After costs\n\n**")
    assert first.splitlines()[2].endswith("?**")
    assert "pytest -p workbench.testing after_costs.ipynb" in last
    assert nb.cells[1].metadata.tags == ["parameters"]
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    assert "NAME" not in study.read_text()


def test_names_and_their_titles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    wanted = {"momentum": "Momentum", "sub/a-b_c": "A b c", "Ünder.ipynb": "Ünder", "v1.2": "V1.2"}
    for name, title in wanted.items():
        path = templates.write("study", name)
        assert path.suffix == ".ipynb"
        assert json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"][0] == f"# {title}\n"
    assert (tmp_path / "sub" / "a-b_c.ipynb").is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "no last part"),
        (".ipynb", "no last part"),
        ("sub/", "no last part"),
        ("..", "begins with '.'"),
        (".hidden", "begins with '.'"),
        ("-x", "begins with '-'"),
        ("a?b*", "holds '\\*', '\\?'"),
        ("a\nb", "holds '\\\\n'"),
        ("a\0b", "holds"),
        ("___", "no letter or digit"),
        ("ä" * 150, "too long"),
        ("nowhere/a", "there is no folder 'nowhere'"),
    ],
)
def test_a_bad_name_is_refused(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=said):
        templates.write("study", name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "study", "a"]) == 0
    assert capsys.readouterr().out == "a.ipynb\n"
    (tmp_path / "a.ipynb").write_text("mine")
    (tmp_path / "a_2.ipynb").symlink_to("nowhere")
    assert main(["new", "study", "a.ipynb"]) == 1
    assert "a.ipynb is there already, and is left as it is\n  hint: a_3 is free" in capsys.readouterr().err
    with pytest.raises(ParameterError, match="already"):
        templates.write("study", "a_2")
    assert (tmp_path / "a.ipynb").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UnknownNameError, match="did you mean 'study'"):
        templates.write("studdy", "b")


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(WorkbenchError, match="could not be written: No space left on device"):
        templates.write("study", os.fspath(tmp_path / "a"))
