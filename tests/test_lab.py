"""The chooser in JupyterLab, clicked through as a researcher would, in a browser that reaches the loopback alone."""

from __future__ import annotations

import re
import time

import pytest
from browser import chromium, keep
from lab import lab, run_cell

CELLS = [
    "import workbench as wb\nbars = wb.load('synthetic', symbols=20, years=10, seed=1, ic=0.05)\n"
    "chooser = wb.chooser(bars)\nchooser",
    "print('free', 6 * 7)",
    "wb.widgets.chart(bars, features=['sma', 'macd'])",
    "wb.widgets.catalog()",
]


class Open:
    """The notebook in a tab, with what went wrong in it, and what the server sent of widgets."""

    def __init__(self, browser, url: str):
        self.console, self.received = [], 0
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
        self.context.route("**/*", self._gate)
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._came))
        self.page.goto(url)

    def _gate(self, route):
        if re.match(r"(https?|wss?)://127\.0\.0\.1:|data:|blob:", route.request.url):
            route.continue_()
        else:
            self.console.append(f"asked for {route.request.url}")
            route.abort()

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.console.append(f"{message.type}: {message.text}")

    def _came(self, frame):
        content = frame if isinstance(frame, (str, bytes)) else frame.get("payload", "")
        if (b"comm_" if isinstance(content, bytes) else "comm_") in content:
            self.received += len(content)

    def theme(self, name: str) -> None:
        self.page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{name}'}})")
        self.page.wait_for_function(f"document.body.dataset.jpThemeName === '{name}'")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with chromium(folder) as browser, lab(folder, CELLS, options=["--expose-app-in-browser"]) as url:
        opened = Open(browser, url)
        yield opened
        opened.context.close()


@pytest.mark.browser
def test_a_study_is_chosen_run_watched_stopped_run_again_and_compared(notebook):
    page = notebook.page
    run_cell(page, 0)
    view = page.locator(".wb-chooser").first
    run = view.get_by_role("button", name="Run")
    run.wait_for(timeout=60_000)

    print(f"opened with {notebook.received} bytes")
    # a value that is refused says so in place; keys alone correct it
    alpha = view.get_by_label("alpha", exact=True)
    alpha.fill("-1")
    alpha.press("Enter")
    view.get_by_role("alert").get_by_text("outside").wait_for(timeout=10_000)
    assert run.is_disabled()
    alpha.fill("2")
    alpha.press("Enter")
    view.get_by_role("alert").wait_for(state="detached", timeout=10_000)

    # by the keyboard: Run; folds, figures and the number of trials come
    run.press("Enter")
    view.get_by_text("Done: 5 folds").wait_for(timeout=60_000)
    assert view.get_by_text("Tried on this label: 1 trial").is_visible()
    page.wait_for_function("document.querySelectorAll('.wb-chooser .js-plotly-plot .main-svg').length >= 6")
    print(f"one study: {notebook.received} bytes")
    assert notebook.received < 200_000

    # a long run shows its progress, leaves the kernel free, and is stopped
    view.get_by_label("model", exact=True).select_option("random_forest")
    trees = view.get_by_label("n_estimators", exact=True)
    trees.fill("400")
    trees.press("Enter")
    view.get_by_text("n_estimators&#x27;: 400").or_(view.get_by_text("'n_estimators': 400")).wait_for(timeout=10_000)
    run.click()
    view.get_by_role("progressbar").wait_for(timeout=10_000)
    run_cell(page, 1)
    page.get_by_text("free 42").wait_for(timeout=10_000)
    begun = time.monotonic()
    view.get_by_role("button", name="Stop").click()
    view.get_by_text("Stopped.").wait_for(timeout=10_000)
    print(f"click to Stopped: {time.monotonic() - begun:.2f} s")

    # run again: another setting, which stands beside what was tried
    trees.fill("10")
    trees.press("Enter")
    run.click()
    view.get_by_text("Done: 5 folds").wait_for(timeout=60_000)
    assert view.get_by_text(re.compile(r"Tried on this label: [23] trials")).is_visible()
    assert view.get_by_role("cell", name="random_forest(n_estimators=10)").last.is_visible()
    assert view.get_by_role("cell", name="ridge(alpha=2.0)").last.is_visible()


LOOK = """() => {
  const wrong = [];
  for (const view of document.querySelectorAll('.wb-chooser')) {
    if (view.getBoundingClientRect().height < 50) wrong.push('a view is blank');
    for (const e of view.querySelectorAll('input, select, button'))
      if (!e.labels?.length && !e.textContent.trim() && !e.title && !e.getAttribute('aria-label'))
        wrong.push('no name: ' + e.outerHTML.slice(0, 80));
    for (const b of view.querySelectorAll('button'))
      if (b.scrollWidth > b.clientWidth + 1) wrong.push('cut: ' + b.textContent);
    for (const e of view.querySelectorAll('th, td, h3, h4, label, summary')) {
      const ink = getComputedStyle(e).color.match(/[\\d.]+/g).map(Number);
      let at = e, back;
      for (; at; at = at.parentElement) {
        back = getComputedStyle(at).backgroundColor.match(/[\\d.]+/g).map(Number);
        if (back.length < 4 || back[3]) break;
      }
      const light = c => { const [r, g, b] = c.map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
                           return .2126 * r + .7152 * g + .0722 * b; };
      const [a, b] = [light(ink), light(back ?? [255, 255, 255])].sort((x, y) => y - x);
      if ((a + .05) / (b + .05) < 4.5 && e.textContent.trim())
        wrong.push(`contrast ${((a + .05) / (b + .05)).toFixed(1)}: ` + e.textContent.slice(0, 40));
    }
  }
  for (const plot of document.querySelectorAll('.wb-chooser .js-plotly-plot'))
    if (plot.getBoundingClientRect().width < 200) wrong.push('a figure is squeezed');
  return [...new Set(wrong)];
}"""


@pytest.mark.browser
def test_it_is_whole_and_readable_in_light_and_dark(notebook):
    page = notebook.page
    for number in (2, 3):
        run_cell(page, number)
        page.locator(".wb-chooser").nth(number - 1).wait_for(timeout=30_000)
    page.wait_for_function("document.querySelectorAll('.wb-chooser .js-plotly-plot').length >= 4")
    page.evaluate("window.jupyterapp.commands.execute('filebrowser:hide-main')")
    for width, name, theme in ((1280, "light", "JupyterLab Light"), (1920, "dark", "JupyterLab Dark"),
                               (1920, "light", "JupyterLab Light"), (1280, "dark", "JupyterLab Dark")):  # fmt: skip
        page.set_viewport_size({"width": width, "height": 2600})
        notebook.theme(theme)
        page.wait_for_timeout(700)
        assert page.evaluate(LOOK) == []
        for number, what in enumerate(("chooser", "chart", "catalogue")):
            page.locator(".wb-chooser").nth(number).scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            keep(page, f"lab_{what}_{width}_{name}", whole=False)
    # a page that is left while it connects says so; that is the browser's word, not ours
    assert [said for said in notebook.console if "closed before the connection is established" not in said] == []
