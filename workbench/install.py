"""What surrounds the package on a machine: the kernelspec, the launcher's card, JupyterLab, and what is missing.

At the top it imports the standard library and `errors` alone, so that `python -m workbench doctor` can speak
even where nothing else is installed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .errors import DataError, MissingPackageError, UnknownNameError
from .templates import FOLDER as ASSETS

KERNEL = "workbench"
"""The name of the kernelspec that notebooks ask for."""

LAUNCHER = "workbench"
"""The name of the extension that puts a card into JupyterLab's launcher."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """The path of a Chromium or Chrome to look at reports in: WORKBENCH_BROWSER, or the first on PATH.

    None where there is none; a WORKBENCH_BROWSER that is no program isn't replaced by another.
    """
    asked = os.environ.get("WORKBENCH_BROWSER")
    return next(filter(None, map(shutil.which, [asked] if asked else BROWSERS)), None)


def no_browser() -> str:
    """What `find_browser` has looked for in vain, in words."""
    asked = os.environ.get("WORKBENCH_BROWSER")
    return f"missing: WORKBENCH_BROWSER={asked} is no program" if asked else "none"


def kernelspec() -> dict:
    """The kernelspec as JSON: this interpreter, with the magics of workbench loaded at the start."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--ext=workbench"]
    return {
        "argv": argv,
        "display_name": "workbench",
        "language": "python",
        "metadata": {"debugger": True},
        "kernel_protocol_version": "5.5",
    }


def installed_kernelspec() -> dict | None:
    """The argv and the folder of the kernelspec that Jupyter finds from here, or None where there is none.

    The argv is None where kernel.json can't be read.
    """
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    from traitlets import TraitError

    try:
        spec = KernelSpecManager().get_kernel_spec(KERNEL)
    except NoSuchKernel:
        return None
    except (ValueError, TypeError, AttributeError, TraitError, OSError):
        return {"argv": None, "folder": KernelSpecManager().find_kernel_specs()[KERNEL]}
    return {"argv": spec.argv, "folder": spec.resource_dir}


def install_kernelspec(*, user: bool = False, prefix: str | os.PathLike | None = None) -> Path:
    """Write the kernelspec, and give back its folder. An editable install cannot do it, so a command does.

    Parameters
    ----------
    user : bool, default False
        Into the user's own Jupyter folder, where every JupyterLab of that user finds it.
    prefix : path, optional
        Into ``PREFIX/share/jupyter/kernels``; by default the prefix of this interpreter (the venv's folder).

    Raises
    ------
    MissingPackageError
        ipykernel or jupyter_client is not installed.
    """
    for package in ("ipykernel", "jupyter_client"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(f"{package} is not installed", hint="pip install -e . brings it")
    from jupyter_client.kernelspec import KernelSpecManager

    where = {"user": True} if user else {"prefix": str(prefix or sys.prefix)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(kernelspec(), indent=1) + "\n")
        shutil.copyfile(ASSETS / "logo.svg", Path(folder) / "logo-svg.svg")
        return Path(KernelSpecManager().install_kernel_spec(folder, KERNEL, **where))


def launcher_files() -> dict[str, bytes]:
    """The files, by name, of the extension that puts "New study" into JupyterLab's launcher.

    They are what JupyterLab calls a prebuilt extension; the script has its hash in its name, so that no browser
    keeps an older one.
    """
    script = (ASSETS / "launcher.js").read_bytes()
    name = f"static/launcher.{hashlib.sha256(script).hexdigest()[:12]}.js"
    package = {
        "name": LAUNCHER,
        "version": metadata.version("workbench"),
        "description": "A card for new studies",
        "license": "BSD-3-Clause",
        "jupyterlab": {"extension": True, "_build": {"load": name, "extension": "./extension"}},
    }
    return {
        name: script,
        "static/study.json": (ASSETS / "study.ipynb").read_bytes(),
        "static/logo.svg": (ASSETS / "logo.svg").read_bytes(),
        "install.json": b'{"packageManager": "python", "packageName": "workbench"}\n',
        "package.json": json.dumps(package, indent=1).encode() + b"\n",  # last: with it JupyterLab takes it up
    }


def install_launcher(*, user: bool = False, prefix: str | os.PathLike | None = None) -> Path:
    """Write the launcher's card, and give back its folder; `user` and `prefix` as in `install_kernelspec`."""
    from jupyter_client.kernelspec import KernelSpecManager

    data = Path(KernelSpecManager().data_dir) if user else Path(prefix or sys.prefix) / "share" / "jupyter"
    folder = data / "labextensions" / LAUNCHER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "static").mkdir(parents=True)
    for name, content in launcher_files().items():
        (folder / name).write_bytes(content)
    return folder


def installed_launcher() -> Path | None:
    """The folder of the card that JupyterLab finds from here; None where there is none, or another."""
    from jupyter_client.kernelspec import KernelSpecManager

    beside = [Path(folder).parent for folder in KernelSpecManager().kernel_dirs]
    folders = [path / "labextensions" / LAUNCHER for path in beside]
    folder = next((f for f in folders if (f / "package.json").is_file()), None)
    if folder is None:
        return None
    try:
        same = all((folder / name).read_bytes() == content for name, content in launcher_files().items())
    except OSError:
        return None
    return folder if same else None


def lab_command(notebook: str | os.PathLike | None, options: list[str]) -> list[str]:
    """The command line that opens JupyterLab in this folder on `notebook`.

    Parameters
    ----------
    notebook : path or None
        None opens the folder itself.
    options : list of str
        Handed to JupyterLab as they are.

    Raises
    ------
    DataError
        There is no such notebook.
    """
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={Path.cwd()}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # a container's only user; the server still asks for its token
    if notebook is not None:
        path = Path(notebook)
        if not path.is_file() or not path.resolve().is_relative_to(Path.cwd()):
            known = [p.relative_to(Path.cwd()) for p in Path.cwd().glob("notebooks/*.ipynb")]
            near = UnknownNameError.of("notebook", path, known).hint
            raise DataError(f"there is no notebook {str(notebook)!r} under {Path.cwd()}", hint=near)
        inside = path.resolve().relative_to(Path.cwd()).as_posix()
        # Not a file argument: this way the address that is printed opens the notebook too.
        command.append(f"--LabApp.default_url=/lab/tree/{quote(inside)}")
    return [*command, *options]


def lab(notebook: str | os.PathLike | None = None, options: list[str] | None = None) -> None:
    """Become JupyterLab, open on `notebook`, with the workbench kernel in place; does not come back."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingPackageError("jupyterlab is not installed", hint="pip install -e . brings it")
    command = lab_command(notebook, options or [])
    found = installed_kernelspec()
    if found is None or found["argv"] != kernelspec()["argv"]:
        print(f"kernelspec written to {install_kernelspec()}")
        if found and found["argv"] is None and (again := installed_kernelspec())["argv"] is None:
            hint = "delete that folder: Jupyter looks there first"
            raise DataError(f"{again['folder']}/kernel.json can't be read", hint=hint)
    if installed_launcher() is None:
        print(f"card of the launcher written to {install_launcher()}")
    os.execv(command[0], command)


@dataclass(frozen=True)
class Finding:
    """One row of what `doctor` reports: a thing, what was found, whether that will do, and how to get it."""

    thing: str
    found: str
    ok: bool
    required: bool = True
    remedy: str = ""

    @property
    def mark(self) -> str:
        return "ok" if self.ok else "MISSING" if self.required else "absent"


def _find_packages() -> list[Finding]:
    """One finding for every package that the installed metadata of workbench names."""
    try:
        requires = metadata.requires("workbench") or []
    except metadata.PackageNotFoundError:
        return [Finding("workbench", "not installed", False, remedy="python -m pip install -e .")]
    if importlib.util.find_spec("packaging") is None:
        return [Finding("packaging", "not installed", False, remedy="python -m pip install -e .")]
    from packaging.requirements import Requirement

    findings = [Finding("workbench", metadata.version("workbench"), True)]
    for requirement in map(Requirement, requires):
        extra = next((e for e in _extras() if _asked_by(requirement, e)), "")
        if not extra and not _asked_by(requirement, ""):
            continue  # for another platform
        wish = f"{requirement.name}{requirement.specifier}"
        try:
            found = metadata.version(requirement.name)
            ok = requirement.specifier.contains(found, prereleases=True)
        except metadata.PackageNotFoundError:
            found, ok = "not installed", False
        remedy = f'python -m pip install -c constraints.txt "{wish}"'
        findings.append(Finding(f"{wish} [{extra}]" if extra else wish, found, ok, not extra, remedy))
    return findings


def _extras() -> list[str]:
    return metadata.metadata("workbench").get_all("Provides-Extra") or []


def _asked_by(requirement, extra: str) -> bool:
    """Whether `extra` (or, for "", the bare package) is what asks for this requirement here."""
    marker = requirement.marker
    if marker is None:
        return extra == ""
    return marker.evaluate({"extra": extra}) and (extra == "" or not marker.evaluate({"extra": ""}))


def _find_kernels() -> Finding:
    """Whether the compiled modules are there, load, and suit this CPU."""
    remedy = "make setup, or: python setup.py build_ext --inplace --force"
    note_path = Path(__file__).parent / "_ext" / "build.json"
    if not note_path.is_file():
        return Finding("kernels", "not built", False, remedy=f"{remedy} (needs a C compiler)")
    try:
        note = json.loads(note_path.read_text())
        wants, kernels, flags, checked = (note[k] for k in ("needs", "kernels", "flags", "checked"))
    except (ValueError, KeyError, TypeError) as e:
        said = f"{note_path} can't be read ({type(e).__name__})"
        return Finding("kernels", said, False, remedy=remedy)
    cpuinfo = Path("/proc/cpuinfo")
    lacks = set(wants) - set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    if lacks:
        found = f"built with {', '.join(sorted(lacks))}, which this CPU lacks"
        return Finding("kernels", found, False, remedy=remedy)
    code = "import importlib, sys; [importlib.import_module('workbench._ext.' + k) for k in sys.argv[1:]]"
    run = subprocess.run([sys.executable, "-c", code, *kernels], capture_output=True, text=True)
    if run.returncode:
        said = run.stderr.strip().splitlines()[-1:] or [f"stopped by signal {-run.returncode}"]
        return Finding("kernels", said[0], False, remedy=remedy)
    kind = "checked" if checked else "fast"
    return Finding("kernels", f"{len(kernels)} {kind} modules: {' '.join(flags)}", True)


def _find_kernelspec() -> Finding:
    """Whether Jupyter finds the kernelspec, and whether it starts this interpreter."""
    remedy = "python -m workbench install"
    if importlib.util.find_spec("jupyter_client") is None:
        return Finding("kernelspec", "no jupyter_client to look for it", False, remedy=remedy)
    found = installed_kernelspec()
    if found is None:
        return Finding("kernelspec", "not installed", False, remedy=remedy)
    if found["argv"] is None:
        torn = f"{found['folder']}/kernel.json can't be read"
        return Finding("kernelspec", torn, False, remedy=f"delete that folder, then: {remedy}")
    if found["argv"] != kernelspec()["argv"]:
        text = f"{found['folder']} starts another Python, or without workbench's magics"
        return Finding("kernelspec", text, False, remedy=remedy)
    return Finding("kernelspec", found["folder"], True)


def _find_launcher() -> Finding:
    """Whether JupyterLab finds the card for new studies, as it is here."""
    if importlib.util.find_spec("jupyter_client") is None:
        return Finding("launcher card", "no jupyter_client to look for it", False, False, "python -m workbench install")
    try:
        found = installed_launcher()
    except metadata.PackageNotFoundError:
        found = None
    return Finding("launcher card", str(found or "none"), found is not None, False, "python -m workbench install")


def doctor() -> list[Finding]:
    """Look at this machine: interpreter, packages, kernels, kernelspec, compiler and browser."""
    version, new_enough = sys.version.split()[0], sys.version_info >= (3, 11)
    compiler = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    browser = find_browser()
    get = "apt-get install {} (only {})"
    return [
        Finding("python>=3.11", version, new_enough, remedy="make distclean, then make PYTHON=python3.11 setup"),
        *_find_packages(),
        _find_kernels(),
        _find_kernelspec(),
        _find_launcher(),
        Finding("C compiler", compiler or "none", bool(compiler), False, get.format("gcc", "to build kernels")),
        Finding("browser", browser or no_browser(), bool(browser), False, get.format("chromium", "for the tests")),
    ]


def table(findings: list[Finding]) -> str:
    """The findings as plain text, one a line, with what to do below those that are not there."""
    width = max(len(f.thing) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.mark:<8}{f.thing:<{width}}  {f.found}")
        if not f.ok:
            lines.append(f"{'':8}{'':{width}}  -> {f.remedy}")
    missing = [f.thing for f in findings if f.required and not f.ok]
    lines.append(f"missing: {', '.join(missing)}" if missing else "everything that is required is there")
    return "\n".join(lines)
