"""`python -m workbench`: lab, report, new, profile, install, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from workbench import install
from workbench.__main__ import main
from workbench.errors import DataError, NotebookError
from workbench.report import export


@pytest.fixture
def replaced(monkeypatch) -> list[list[str]]:
    """Collects the command lines that would have replaced this process."""
    lines: list[list[str]] = []
    monkeypatch.setattr(install.os, "execv", lambda program, line: lines.append(line))
    return lines


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, with a Jupyter that knows only this interpreter's prefix."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_lists_the_commands(capsys):
    assert main([]) == 2
    text = capsys.readouterr().out
    assert all(f"    {name}  " in text for name in ("lab", "report", "new", "profile", "install", "doctor"))


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_a_wrong_option_stops_with_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--colour"])
    assert stop.value.code == 2
    assert "--colour" in capsys.readouterr().err


def test_install_writes_a_kernelspec_that_loads_the_magics(tmp_path, capsys):
    assert main(["install", "--prefix", str(tmp_path)]) == 0
    folder = tmp_path / "share" / "jupyter" / "kernels" / "workbench"
    assert str(folder) in capsys.readouterr().out
    spec = json.loads((folder / "kernel.json").read_text())
    assert spec["argv"][0] == sys.executable
    assert spec["argv"][-1] == "--ext=workbench"
    assert "{connection_file}" in spec["argv"]
    assert spec["language"] == "python"


def test_install_is_repeatable_and_replaces_a_stale_spec(tmp_path):
    folder = install.install_kernelspec(prefix=tmp_path)
    (folder / "kernel.json").write_text('{"argv": ["/gone/python"], "display_name": "x", "language": "python"}')
    assert install.install_kernelspec(prefix=tmp_path) == folder
    assert json.loads((folder / "kernel.json").read_text()) == install.kernelspec()


def test_install_writes_the_card_of_the_launcher_whole(tmp_path, monkeypatch, capsys):
    """With it JupyterLab finds a script, its icon and the study that it makes; a stale one is replaced."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    monkeypatch.setattr("jupyter_core.paths.ENV_JUPYTER_PATH", [])  # where the set-up has put one already
    monkeypatch.setattr(install.sys, "prefix", str(tmp_path))
    folder = tmp_path / "share" / "jupyter" / "labextensions" / "workbench"
    assert not install._find_launcher().ok
    assert main(["install"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert install.installed_launcher() == folder
    assert install._find_launcher().ok
    package = json.loads((folder / "package.json").read_text())
    assert (folder / package["jupyterlab"]["_build"]["load"]).read_text().startswith('"use strict"')
    nbformat.validate(nbformat.read(folder / "static" / "study.json", 4))
    (folder / "static" / "launcher.old.js").write_text("old")
    (folder / "static" / "study.json").write_text("{}")
    assert install.installed_launcher() is None
    assert install.install_launcher() == folder
    assert install.installed_launcher() == folder
    assert not (folder / "static" / "launcher.old.js").exists()


def test_install_for_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert main(["install", "--user"]) == 0
    assert (tmp_path / "kernels" / "workbench" / "kernel.json").is_file()
    assert (tmp_path / "kernels" / "workbench" / "logo-svg.svg").is_file()
    assert (tmp_path / "labextensions" / "workbench" / "package.json").is_file()


def test_a_kernel_of_the_spec_starts_and_knows_workbench(tmp_path, monkeypatch):
    """Started by name as JupyterLab does it; the extension has run when the first cell does."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import start_new_kernel

    install.install_kernelspec(prefix=tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    found = install.installed_kernelspec()
    assert Path(found["folder"]).is_relative_to(tmp_path)
    assert KernelSpecManager().get_kernel_spec("workbench").display_name == "workbench"
    manager, client = start_new_kernel(kernel_name="workbench", stderr=subprocess.DEVNULL)
    try:
        reply = client.execute_interactive(
            "import sys",
            user_expressions={"there": "'workbench' in get_ipython().extension_manager.loaded"},
            timeout=60,
            output_hook=lambda message: None,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
    assert reply["content"]["user_expressions"]["there"]["data"]["text/plain"] == "True"


def test_lab_opens_the_tour_with_its_kernel_in_place(here, replaced):
    (here / "notebooks").mkdir()
    (here / "notebooks" / "00_tour.ipynb").write_text("{}")
    main(["lab", "--no-browser", "--port=9999"])
    (line,) = replaced
    assert line[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_tour.ipynb" in line
    assert f"--ServerApp.root_dir={here}" in line
    assert line[-2:] == ["--no-browser", "--port=9999"]
    assert install.installed_kernelspec()["argv"] == install.kernelspec()["argv"]


def test_lab_hands_on_options_with_their_values(here, replaced):
    (here / "a.ipynb").write_text("{}")
    main(["lab", "--port", "9999"])
    main(["lab", "--port", "9999", "a.ipynb", "--ip", "127.0.0.1"])
    main(["lab", "--no-browser", "a.ipynb", "-y"])
    main(["lab", "a.ipynb", "--config", "b.py", "--port=1"])
    bare, *named = replaced
    assert bare[-2:] == ["--port", "9999"]
    assert not any("default_url" in word for word in bare)
    options = [["--port", "9999", "--ip", "127.0.0.1"], ["--no-browser", "-y"], ["--config", "b.py", "--port=1"]]
    for line, given in zip(named, options, strict=True):
        assert line[-len(given) - 1 :] == ["--LabApp.default_url=/lab/tree/a.ipynb", *given]


def test_lab_writes_a_torn_kernelspec_anew_and_names_one_in_the_way(here, replaced, monkeypatch, capsys):
    monkeypatch.setattr(install.sys, "prefix", str(here / "env"))
    monkeypatch.setenv("JUPYTER_PATH", str(here / "env" / "share" / "jupyter"))
    spec = here / "env" / "share" / "jupyter" / "kernels" / "workbench" / "kernel.json"
    spec.parent.mkdir(parents=True)
    for torn in ('{"argv": [', "[]", '{"argv": 3}', ""):
        spec.write_text(torn)
        finding = install._find_kernelspec()
        assert not finding.ok
        assert "kernel.json can't be read" in finding.found
    assert main(["lab"]) == 0
    assert json.loads(spec.read_text()) == install.kernelspec()
    first = here / "first" / "kernels" / "workbench" / "kernel.json"
    first.parent.mkdir(parents=True)
    first.write_text("{")
    monkeypatch.setenv("JUPYTER_PATH", str(here / "first"))
    capsys.readouterr()
    assert main(["lab"]) == 1
    assert f"{first} can't be read" in capsys.readouterr().err
    assert len(replaced) == 1


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys):
    def report(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "report", report)
    assert main(["report", "a.ipynb"]) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


def test_a_browser_that_is_not_there_is_missing(tmp_path, monkeypatch):
    import browser

    monkeypatch.setenv("WORKBENCH_BROWSER", str(tmp_path / "nowhere"))
    finding = install.doctor()[-1]
    assert not finding.ok
    assert finding.found == f"missing: WORKBENCH_BROWSER={tmp_path / 'nowhere'} is no program"
    monkeypatch.delenv("WORKBENCH_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nowhere is no program"):
        browser.executable()
    monkeypatch.setenv("WORKBENCH_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="nowhere is no program"):
        browser.executable()


def test_lab_without_a_tour_opens_the_folder(here, replaced):
    main(["lab"])
    assert not any("default_url" in word for word in replaced[0])


def test_lab_names_a_notebook_that_is_not_there(here, replaced, capsys):
    (here / "notebooks").mkdir()
    (here / "notebooks" / "01_panel.ipynb").write_text("{}")
    assert main(["lab", "notebooks/01_panels.ipynb"]) == 1
    text = capsys.readouterr().err
    assert "notebooks/01_panels.ipynb" in text
    assert "did you mean 'notebooks/01_panel.ipynb'" in text
    assert not replaced


def test_lab_refuses_a_notebook_outside_its_folder(here, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere") / "a.ipynb"
    outside.write_text("{}")
    with pytest.raises(DataError, match=r"a\.ipynb"):
        install.lab_command(outside, [])


def test_lab_quotes_a_name(here):
    (here / "50% käse.ipynb").write_text("{}")
    assert "--LabApp.default_url=/lab/tree/50%25%20k%C3%A4se.ipynb" in install.lab_command("50% käse.ipynb", [])


def test_report_hands_on_its_arguments(monkeypatch, capsys):
    calls = []

    def report(notebook, output=None, **options):
        calls.append((notebook, output, options))
        return Path("reports/a.html")

    monkeypatch.setattr(export, "report", report)
    assert main(["report", "a.ipynb"]) == 0
    line = "report a.ipynb -o b.html --quiet --no-code --theme light -p horizon=10 -p name=a=b -p horizon=20"
    assert main(line.split()) == 0
    plain = {"parameters": {}, "progress": True, "code": True, "theme": "auto"}
    asked = {"parameters": {"horizon": "20", "name": "a=b"}, "progress": False, "code": False, "theme": "light"}
    assert calls == [("a.ipynb", None, plain), ("a.ipynb", "b.html", asked)]
    assert capsys.readouterr().out.splitlines() == ["reports/a.html"] * 2


@pytest.mark.parametrize("word", ["horizon", "=3", "a b=3", "3=x"])
def test_a_parameter_without_a_name_is_refused(word, capsys):
    assert main(["report", "a.ipynb", "-p", word]) == 1
    assert f"-p {word}: expected NAME=VALUE" in capsys.readouterr().err


def test_a_refusal_is_one_message_and_a_code(monkeypatch, capsys):
    def report(*args, **kwargs):
        raise NotebookError("cell 3 of a.ipynb failed", hint="run it in JupyterLab")

    monkeypatch.setattr(export, "report", report)
    assert main(["report", "a.ipynb"]) == 1
    said = capsys.readouterr()
    assert said.err == "NotebookError: cell 3 of a.ipynb failed\n  hint: run it in JupyterLab\n"
    assert said.out == ""


def test_doctor_is_content_here(capsys):
    """Packages and kernels; the kernelspec may be elsewhere, as a test run needs none."""
    assert main(["install"]) == 0
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "everything that is required is there"
    assert any(line.startswith("ok      torch>=") for line in lines)
    assert any(line.startswith("ok      kernels ") for line in lines)


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch, capsys):
    wishes = ["numpy>=999", "no-such-package", 'no-such-peer; extra == "bench"', 'x; sys_platform == "plan9"']
    monkeypatch.setattr(install.metadata, "requires", lambda name: wishes)
    monkeypatch.setattr(install, "_extras", lambda: ["bench"])
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "MISSING numpy>=999" in text
    assert "MISSING no-such-package" in text
    assert "absent  no-such-peer [bench]" in text
    assert '-> python -m pip install -c constraints.txt "no-such-package"' in text
    assert "plan9" not in text
    assert text.splitlines()[-1] == "missing: numpy>=999, no-such-package"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (None, "not built"),
        ("torn", "build.json can't be read"),
        ({"kernels": {}}, "build.json can't be read"),
        ({"kernels": {"no_such_kernel": ""}, "flags": [], "checked": False, "needs": []}, "no_such_kernel"),
        (
            {"kernels": {}, "flags": [], "checked": False, "needs": ["avx9000"]},
            "avx9000, which this CPU lacks",
        ),
    ],
)
def test_doctor_looks_at_the_kernels(tmp_path, monkeypatch, note, said):
    (tmp_path / "_ext").mkdir()
    if note is not None:
        (tmp_path / "_ext" / "build.json").write_text("{" if note == "torn" else json.dumps(note))
    monkeypatch.setattr(install, "__file__", str(tmp_path / "install.py"))
    finding = install._find_kernels()
    assert not finding.ok
    assert finding.required
    assert said in finding.found
    assert "build_ext" in finding.remedy


def test_doctor_sees_a_kernelspec_of_another_python(tmp_path, monkeypatch):
    folder = install.install_kernelspec(prefix=tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    assert install._find_kernelspec().ok
    stale = install.kernelspec() | {"argv": ["/gone/python", *install.kernelspec()["argv"][1:]]}
    (folder / "kernel.json").write_text(json.dumps(stale))
    assert not install._find_kernelspec().ok


def test_doctor_speaks_where_nothing_is_installed(tmp_path):
    """A bare interpreter without site-packages still prints the table and what to do, and answers 1."""
    root = Path(install.__file__).parent.parent
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n"
    code += "from workbench.__main__ import main; sys.exit(main(['doctor']))"
    bare = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=bare)
    assert run.returncode == 1, run.stderr
    assert "python -m pip install -e ." in run.stdout
    assert run.stderr == ""


def test_the_packages_that_doctor_asks_for_are_those_of_the_project():
    things = {finding.thing for finding in install._find_packages()}
    root = Path(install.__file__).parent.parent / "pyproject.toml"
    if root.is_file():
        import tomllib

        wishes = tomllib.loads(root.read_text())["project"]["dependencies"]
        assert {f"{r.name}{r.specifier}" for r in map(Requirement, wishes)} <= things
