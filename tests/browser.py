"""A headless Chromium with the network cut, for tests that look at a page as a reader would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workbench.install import find_browser, no_browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ARTIFACTS = Path(__file__).parent.parent / "artifacts"


def keep(page, name: str, *, whole: bool = True) -> None:
    """A picture of the page (`whole`, or what is in sight), for who wants to look at it after the run."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=str(ARTIFACTS / f"{name}.png"), full_page=whole)


def executable() -> str:
    """Where Chromium is; skips the test where it isn't, or fails under WORKBENCH_REQUIRE_BROWSER=1."""
    found = find_browser()
    if found is None:
        word = f"no Chromium here ({no_browser()}), so exported pages were not looked at: apt-get install chromium"
        if os.environ.get("WORKBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail(word)
        pytest.skip(word)
    return found


@dataclass
class Seen:
    """What happened while a page was open."""

    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


@contextmanager
def chromium(folder: Path) -> Iterator[object]:
    """A browser with a fresh profile in `folder`."""
    from playwright.sync_api import sync_playwright

    path = executable()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser, file: Path, *, width: int = 1280, scheme: str = "light", javascript: bool = True
) -> Iterator[tuple[object, Seen]]:
    """`file` in an offline tab of its own; every request but the one for the file is refused and noted."""
    context = browser.new_context(
        offline=True,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=javascript,
    )
    seen, url = Seen(), file.resolve().as_uri()

    def gate(route):
        asked = route.request.url
        if asked == url:
            route.continue_()
        else:
            seen.requests.append(asked)
            route.abort()

    try:
        context.route("**/*", gate)
        page = context.new_page()
        page.on("console", lambda m: seen.console.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda e: seen.console.append(f"uncaught: {e}"))
        page.goto(url, wait_until="load")
        if javascript:
            page.wait_for_function(
                "() => !document.querySelector('[data-figure]') || document.documentElement.dataset.figures",
                timeout=60_000,
            )
        yield page, seen
    finally:
        context.close()
