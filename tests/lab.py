"""A JupyterLab on a loopback port, for tests that click through a notebook as a researcher would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

import workbench
from workbench import install

# neither news nor updates are asked for, and nothing pops up
QUIET = {"fetchNews": "false", "checkForUpdates": False}


@contextmanager
def lab(folder: Path, cells: list[str], *, name: str = "study", options: Sequence[str] = ()) -> Iterator[str]:
    """The address of a JupyterLab in `folder`, which holds a notebook of these cells."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    notebook.metadata.kernelspec = {"name": install.KERNEL, "display_name": "workbench", "language": "python"}
    root = folder / "root"
    root.mkdir()
    nbformat.write(notebook, root / f"{name}.ipynb")
    install.install_kernelspec(prefix=folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "spaces",
        "JUPYTER_CONFIG_DIR": "conf",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "run",
        "IPYTHONDIR": "ipython",
    }
    env = {**os.environ, **{variable: str(folder / place) for variable, place in places.items()}}
    env |= {"JUPYTER_PATH": str(folder / "share" / "jupyter"), "WORKBENCH_LEDGER": str(folder / "ledger.sqlite")}
    env["PYTHONPATH"] = str(Path(workbench.__path__[0]).parent)  # the kernel is to test what the test tests
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={root}",
        "--allow-root",
        *options,
    ]
    log = folder / "lab.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=env, cwd=root)
    try:
        address = f"http://127.0.0.1:{port}/lab"
        _wait_for(f"http://127.0.0.1:{port}/api/status", server, log)
        yield f"{address}/tree/{name}.ipynb"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)


def run_cell(page, number: int) -> None:
    """Run a cell of the open notebook by the keyboard; a kernel that has just been connected may miss the first."""
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function(
        "() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'", timeout=60_000
    )
    cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
    for _ in range(10):
        cell.locator(".jp-InputPrompt").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(1500)
        if cell.locator(".jp-InputPrompt").inner_text().strip() != "[ ]:":
            return
    raise AssertionError(f"cell {number} was never run")
