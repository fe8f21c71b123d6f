"""JupyterLab's launcher as a user sees it: the kernel, and a card that makes a study."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, keep

from workbench import install, templates

pytestmark = pytest.mark.browser

CARD = ".jp-LauncherCard[data-category='Notebook']"
TOKEN = "a-test"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[object]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab on a loopback port, and its folder; all that it keeps is kept elsewhere."""
    root = tmp_path_factory.mktemp("lab")
    work = root / "work"
    (work / "sub").mkdir(parents=True)
    prefix = root / "prefix"
    install.install_kernelspec(prefix=prefix)
    install.install_launcher(prefix=prefix)
    # What to ask at the first start is answered: no news.
    overrides = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    settings = root / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(overrides))
    own = {f"JUPYTER_{name}_DIR": str(root / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTER_PATH": str(prefix / "share" / "jupyter"), "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.ip=127.0.0.1"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={work}", "--ServerApp.port_retries=0"]
    with (root / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=work, env=os.environ | own, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait(f"{address}/api", server, root / "log")
            yield address, work
        finally:
            server.terminate()
            server.wait(30)


def wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
    pytest.fail(log.read_text()[-3000:])


@pytest.mark.parametrize(("width", "theme"), [(1280, "Light"), (1920, "Dark")])
def test_the_launcher_has_the_kernel_and_a_card_that_makes_a_study(lab, browser, width, theme):
    address, work = lab
    context = browser.new_context(viewport={"width": width, "height": 900})
    said: list[str] = []
    try:
        page = context.new_page()
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: said.append(f"uncaught: {e}"))
        page.goto(f"{address}/lab?token={TOKEN}&reset")
        page.wait_for_selector(f"{CARD}:has-text('New study')", timeout=120_000)
        if theme == "Dark":
            page.get_by_text("Settings", exact=True).first.click()
            page.get_by_text("Theme", exact=True).first.hover()
            page.get_by_text("JupyterLab Dark", exact=True).first.click()
            page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
        cards = page.locator(CARD)
        assert {"New study", "workbench"} <= set(cards.all_inner_texts())
        for name in ("New study", "workbench"):
            icon = page.wait_for_selector(f"{CARD}:has-text('{name}') img")
            page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=icon)
        keep(page, f"launcher_{width}_{theme.lower()}", whole=False)
        before = {path: path.read_bytes() for path in work.glob("*.ipynb")}
        page.locator(f"{CARD}:has-text('New study')").click()
        page.wait_for_selector(".jp-NotebookPanel .jp-MarkdownCell h1", timeout=60_000)
        assert page.locator(".jp-NotebookPanel h1").first.inner_text().startswith("A study")
        page.wait_for_selector(".jp-NotebookPanel-toolbar :text('workbench')", timeout=60_000)
        keep(page, f"study_{width}_{theme.lower()}", whole=False)
    finally:
        context.close()
    assert said == []
    made = set(work.glob("*.ipynb")) - set(before)
    assert len(made) == 1
    assert all(path.read_bytes() == content for path, content in before.items())
    check_study(made.pop())


def check_study(path: Path) -> None:
    """What the card wrote is what `python -m workbench new study` writes, but for the title."""
    there = json.loads(path.read_text())
    path.with_name("twin").mkdir(exist_ok=True)
    twin = path.with_name("twin") / path.name
    twin.unlink(missing_ok=True)
    own = json.loads(templates.write("study", twin).read_text())
    sources = [["".join(cell["source"]) for cell in nb["cells"]] for nb in (there, own)]
    assert sources[0][1:] == sources[1][1:]
    assert [cell["metadata"].get("tags") for cell in there["cells"]] == [
        c["metadata"].get("tags") for c in own["cells"]
    ]
    assert there["metadata"]["kernelspec"]["name"] == "workbench"
