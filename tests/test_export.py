"""Exported notebooks as a reader sees them: in a browser with the network cut."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
from browser import chromium, keep, opened
from bs4 import BeautifulSoup
from nbformat import v4 as nbf
from nbformat import write

from workbench.report import page as pages
from workbench.report import report

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SETUP = """
import sys
import numpy as np, pandas as pd
from workbench.report.figures import candles, drawdown, equity, folds, heatmap, lines
rng = np.random.default_rng(0)
time = pd.date_range('2000-03-01', periods=3000, freq='B', tz='UTC')
returns = pd.DataFrame(rng.normal(4e-4, .015, (3000, 5)), time, ['AAPL', 'IBM', 'MSFT', 'GOOG', 'FB'])
price = (1 + returns).cumprod() * 100
price.tail()
"""
BARS = """
close = price['AAPL']
bars = pd.DataFrame(dict(open=close.shift().fillna(100), close=close, volume=rng.integers(1e6, 9e6, 3000)))
ends = bars[['open', 'close']]
bars = bars.assign(high=ends.max(axis=1) * 1.01, low=ends.min(axis=1) * .99)
candles(bars.tail(250), title='AAPL')
"""
TWIN = """
import ipywidgets
class Twin(ipywidgets.IntSlider):
    def _repr_mimebundle_(self, **kw):
        return {**super()._repr_mimebundle_(**kw), 'text/html': '<p id="twin">a static twin</p>'}
Twin()
"""
INTERACT = """
@ipywidgets.interact(x=(0, 10))
def square(x=3):
    print('squared', x)
    return x * x + 0.5
"""
FOREIGN = """
import plotly.express as px
px.scatter(x=rng.normal(size=200), y=rng.normal(size=200), color=list('ab') * 100, title='Foreign')
"""
REMOTE = """
from IPython.display import HTML, Javascript, Markdown, display
display(Markdown('![pic](https://remote.invalid/p.png) <script src="https://remote.invalid/x.js"></script>'))
display(Javascript('window.ran = 1'))
HTML('<style>@import url("https://remote.invalid/f.css"); .q {background: url(//remote.invalid/b)}</style>'
     '<link rel="stylesheet" href="https://remote.invalid/s.css"><iframe src="https://remote.invalid/"></iframe>'
     '<p id="styled" style="background: url(https://remote.invalid/c.png)">styled</p>'
     '<table border="1" class="dataframe"><tr><th>day</th><td>2001-02-03 00:00:00+00:00</td></tr></table>')
"""
INTRO = r"""# Does <em>momentum</em> pay, after "costs" & slippage?

Maths inline $r_t = p_t / p_{t-1} - 1$ and displayed:

$$\mathrm{IC}_t = \frac{\mathrm{cov}(s_t, r_{t+1})}{\sigma(s_t)\,\sigma(r_{t+1})}$$

\begin{aligned}a &= b < c\end{aligned} and broken $\left( x$ too. ![local](dot.svg) ![lost](https://remote.invalid/m.png)

<details>
<summary>more</summary>

Inner text and <img src="dot.svg" alt="dot">.

</details>
"""
CELLS = [
    INTRO,
    "## Prices",
    SETUP,
    "lines(price, title='Growth of 100', y='USD', log=True)",
    BARS,
    "## Models",
    "folds(pd.DataFrame({'test_start': time[::300], 'ic': rng.normal(.02, .03, 10)}))",
    "heatmap(returns.corr(), title='Correlation of daily returns')",
    "pd.DataFrame(rng.normal(size=(6, 40)), columns=[f'feature_{i}' for i in range(40)])",
    "## Account",
    "account = (1 + returns.mean(axis=1)).cumprod()\nequity(account)",
    "drawdown(account / account.cummax() - 1)",
    "print('x' * 400, '<b>not bold</b>')\nprint('to stderr', file=sys.stderr)",
    "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass",
    "1 / 0",
    TWIN,
    "ipywidgets.IntSlider(3)",
    INTERACT,
    FOREIGN,
    "px.choropleth(locations=['USA'])",
    REMOTE,
    "## Prices",
]
FIGURES = 7


def test_attached_images_stand_in_the_page(tmp_path):
    dots = {name: f"{number}{'A' * 7}" for number, name in enumerate(("a.png", "b ü.png"))}
    words = "![a](attachment:a.png)\n\n<img src='attachment:a.png'>\n\n![b](<attachment:b ü.png>) ![f](<c d.svg>)"
    cell = nbf.new_markdown_cell(words)
    cell["attachments"] = {name: {"image/png": dot} for name, dot in dots.items()}
    (tmp_path / "c d.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    write(nbf.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    page = BeautifulSoup(report(tmp_path / "a.ipynb", tmp_path / "a.html", progress=False).read_text(), "html.parser")
    shown = [image["src"] for image in page.find_all("img")]
    assert shown[:3] == [f"data:image/png;base64,{dots[name]}" for name in ("a.png", "a.png", "b ü.png")]
    assert shown[3].startswith("data:image/svg+xml;base64,")
    assert len(shown) == 4


def test_a_long_line_and_streams_in_turns_are_joined(tmp_path):
    long = "import sys\nprint('x' * 2_000_000)"
    turns = "for i in range(3):\n    print('out', i)\n    print('err', i, file=sys.stderr)\nprint('gone\\rkept')"
    cells = [nbf.new_code_cell(long), nbf.new_code_cell(turns)]
    write(nbf.new_notebook(cells=cells), tmp_path / "a.ipynb")
    page = BeautifulSoup(report(tmp_path / "a.ipynb", tmp_path / "a.html", progress=False).read_text(), "html.parser")
    said = [output.get_text().strip() for output in page.select(".output.stdout, .output.stderr")]
    assert said[0] == "x" * 2_000_000
    assert sorted(said[1:]) == ["err 0\nerr 1\nerr 2", "out 0\nout 1\nout 2\nkept"]


OUTPUTS = {
    "import ipywidgets as w\no = w.Output()\nwith o:\n    print(1)\n    print(2)\nprint(0)\no": ["0", "1\n2"],
    "empty = w.Output()\nempty": [],
    "inner = w.Output()\nwith inner:\n    display('in'); display(inner)\ninner": ["'in'"],
    "wrong = w.Output()\nwith wrong:\n    1 / 0\nwrong": ["ZeroDivisionError: division by zero"],
    "again = w.Output()\nwith again:\n    print('gone'); again.clear_output(); print('kept')\nagain": ["kept"],
    "w.Tab([w.VBox([o, again])])": ["A widget; it lives in JupyterLab only. Tab", "1\n2", "kept"],
    "len(o.outputs)": ["1"],  # the kernel is told
}
# With nbclient's own way of telling it, one of these waits for ever.
OUTPUTS |= {f"with (many := w.Output()):\n    print({i})\nmany": [str(i)] for i in range(60)}


def test_what_was_put_out_in_a_widget_is_shown_where_the_widget_is(tmp_path):
    write(nbf.new_notebook(cells=[nbf.new_code_cell(source) for source in OUTPUTS]), tmp_path / "a.ipynb")
    page = BeautifulSoup(report(tmp_path / "a.ipynb", tmp_path / "a.html", progress=False).read_text(), "html.parser")
    for cell, expected in zip(page.select("section.code"), OUTPUTS.values(), strict=True):
        found = [output.get_text().strip() for output in cell.select(".output")]
        assert len(found) == len(expected), found
        assert all(words in said for words, said in zip(expected, found, strict=True)), found


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    cells = [nbf.new_markdown_cell(c) if c.startswith("#") else nbf.new_code_cell(c.strip()) for c in CELLS]
    next(c for c in cells if c.source == "1 / 0").metadata["tags"] = ["raises-exception"]
    metadata = {"kernelspec": {"name": "not-installed", "display_name": "x", "language": "python"}}
    write(nbf.new_notebook(cells=cells, metadata=metadata), folder / "all.ipynb")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'
    (folder / "dot.svg").write_text(svg)
    return report(folder / "all.ipynb", folder / "all.html", progress=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


# What is wrong with each figure of the page, with each box that clips, and with the page as a whole.
LOOK = """() => {
  const wrong = [], name = (box) => box.dataset.figure;
  for (const box of document.querySelectorAll(".figure")) {
    const svg = box.querySelector("svg.main-svg"), size = svg ? svg.getBoundingClientRect() : null;
    if (!box.classList.contains("js-plotly-plot")) wrong.push(`figure ${name(box)} is not drawn`);
    else if (!size || size.width < 200 || size.height < 100) wrong.push(`figure ${name(box)} is flat`);
    else if (!box.querySelector(".mlayer path, .mlayer image, .gl-canvas-context"))
      wrong.push(`figure ${name(box)} is blank`);
    else if (box.scrollWidth > box.clientWidth + 1) wrong.push(`figure ${name(box)} is clipped`);
  }
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) wrong.push(`the page is ${page.scrollWidth} wide in ${innerWidth}`);
  for (const tag of document.querySelectorAll("main p, main h1, main h2, main li")) {
    const box = tag.getBoundingClientRect();
    if (box.width && (box.left < 0 || box.right > innerWidth)) wrong.push(`cut off: ${tag.textContent}`);
  }
  return wrong;
}"""
# The least contrast of text to paper, of body text, code, tables and figures, by WCAG 2.1.
CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => parse(c).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.documentElement).backgroundColor);
  const least = {};
  const text = "main p, main h1, main h2, main td, main th, .highlight span, pre, dt, dd, nav a, button";
  for (const tag of document.querySelectorAll(text + ", .mark, .figure text")) {
    if (tag.closest(".hm, .heatmaplayer")) continue;
    const style = getComputedStyle(tag), svg = tag instanceof SVGElement;
    const ink = light(svg ? style.fill : style.color);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const kind = svg ? "figure" : tag.className || tag.tagName;
    least[kind] = Math.min(least[kind] || 21, ratio);
  }
  return least;
}"""

BEGUN = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime
  < performance.getEntriesByName("figures-begun")[0].startTime"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1920])
def test_a_page_is_whole_and_readable_with_the_network_cut(exported, browser, width, scheme):
    assert exported.stat().st_size < 3_000_000
    with opened(browser, exported, width=width, scheme=scheme) as (page, seen):
        assert page.locator(".figure").count() == FIGURES
        assert page.evaluate(LOOK) == []
        too_faint = {kind: r for kind, r in page.evaluate(CONTRAST).items() if r < 4.5}
        assert too_faint == {}
        # The text stands before the figures are inflated.
        assert page.evaluate(BEGUN)
        keep(page, f"export_{width}_{scheme}")
    assert (seen.requests, seen.console) == ([], [])


@pytest.mark.browser
def test_buttons_fold_code_and_turn_the_theme_and_paper_is_white(exported, browser):
    with opened(browser, exported) as (page, seen):
        color = "document.querySelector('.figure .gtitle').style.fill"
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        first = page.evaluate(f"[{color}, {paper}]")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"{color} !== {first[0]!r}")
        assert page.evaluate(paper) != first[1]
        page.emulate_media(color_scheme="light")
        page.wait_for_function(f"{color} === {first[0]!r}")

        page.locator("#theme").click()
        page.wait_for_function(f"{color} !== {first[0]!r}")
        assert page.evaluate(paper) != first[1]
        assert page.evaluate(LOOK) == []
        keep(page, "export_toggled")
        page.locator("#theme").click()
        page.wait_for_function(f"{color} === {first[0]!r}")

        code = page.locator("details.source .highlight")
        assert code.first.is_visible()
        page.locator("#fold").click()
        assert not any(code.nth(i).is_visible() for i in range(code.count()))
        assert page.locator("details.source .first").nth(1).is_visible()
        keep(page, "export_folded")
        page.locator("#fold").click()
        assert code.first.is_visible()

        assert len(page.pdf(format="A4")) > 50_000
        page.emulate_media(media="print")
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert (seen.requests, seen.console) == ([], [])


@pytest.mark.browser
def test_without_javascript_the_numbers_stand_in_for_the_figures(exported, browser):
    with opened(browser, exported, javascript=False) as (page, seen):
        table = page.locator(".figure table").first
        assert table.is_visible()
        assert "Growth of 100" in table.inner_text()
        assert "3,000" in table.inner_text()
        assert not page.locator("#fold").is_visible()
        assert page.locator(".highlight").first.is_visible()
        keep(page, "export_without_javascript")
    assert seen.requests == []


def test_a_page_holds_nothing_that_would_be_fetched(exported):
    text = exported.read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    loading = page.find_all(src=True) + page.find_all(["link", "object", "embed", "iframe", "base"])
    assert loading
    assert [tag for tag in loading if not tag["src"].startswith("data:")] == []
    styles = [tag.string for tag in page.find_all("style")] + [tag["style"] for tag in page.find_all(style=True)]
    assert [style for style in styles if re.search(r"@import|//", style)] == []
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": True})["content"]
    assert text.count('id="plotly"') == 1
    assert text.count("not part of this file") == 8


def test_each_output_lives_on_in_the_form_that_lasts(exported):
    text = exported.read_text(encoding="utf-8")
    assert "<title>Does momentum pay, after &#34;costs&#34; &amp; slippage?</title>" in text
    assert "Does <em>momentum</em> pay" in text
    assert "<details>\n<summary>more</summary>" in text
    assert '<p id="twin">a static twin</p>' in text
    assert "A widget; it lives in JupyterLab only. <code>IntSlider(value=3)</code>" in text
    assert "A widget; it lives in JupyterLab only. <code>interactive(children=(IntSlider(value=3," in text
    assert re.search(r"<pre>squared 3\s*</pre>.*<pre>9\.5</pre>", text, re.DOTALL)
    assert "model_id" not in text
    assert "<frac" not in text
    assert "<mfrac>" in text
    assert r"\begin{aligned}" not in text
    assert r"$\left( x$" in text
    assert "&lt;b&gt;not bold&lt;/b&gt;" in text
    assert "3/3 [" not in text
    assert "ZeroDivisionError" in text
    assert "choropleth needs maps from the network" in text
    assert "<td>2001-02-03</td>" in text
    assert 'id="Prices"' in text
    assert 'id="Prices-2"' in text
    assert text.count('src="data:image/svg+xml;base64,') == 2
    assert 'download="all.ipynb"' in text
    for fact in ("all.ipynb", "pandas 3", "Python 3", "SHA-256"):
        assert fact in text.partition('id="how-this-was-made"')[2]


# ------------------------------------------------------------- outputs that a kernel may send, without a kernel


def paged(folder: Path, *contents) -> Path:
    """A page of outputs (HTML, or a bundle by type) and cells, each HTML after it followed by a paragraph."""
    cells = []
    for i, content in enumerate(contents):
        if isinstance(content, str):
            content = {"text/html": content}
        if "cell_type" in content:
            cells.append(content)
            continue
        cells.append(nbf.new_code_cell(f"c{i}", outputs=[nbf.new_output("display_data", data=content)]))
        cells.append(nbf.new_markdown_cell(f"after {i}"))
    nb = nbf.new_notebook(cells=cells)
    made = pages.page(nb, copy.deepcopy(nb), folder / "a.ipynb", {"started": 0, "seconds": 0, "sha256": "0"})
    (folder / "a.html").write_text(made.text, encoding="utf-8")
    return folder / "a.html"


OPEN = [
    "<script>",
    "<b>bold<div><table><tr><td>open",
    "</div></section></main></body></html>",
    "<!-- open",
    "<style>.x {",
    "<textarea>",
    "<title>",
    "<plaintext>",
    "<xmp>",
    "<iframe>",
    "<svg><style></svg><plaintext>",
    "<script>var s = '<!-- <script>'",
    '<p title="open',
    "<select><option>",
    "<template>",
    "<noscript>",
    "<details>",
    '<body style="display: none">',
    "<![endif",
    "<?xml version='1.0'?><a>",
    '<p id="theme"></p><p id="fold"></p><p id="figures"></p>',
    "https://remote.invalid/ is no markup",
]
URL = "https://remote.invalid/"
LOADING = {
    "input": '<input type="image" src="URL">',
    "table": '<table background="URL"><tr><td>x</td></tr></table>',
    "td": '<table><tr><td background="URL">x</td></tr></table>',
    "fill": '<svg><rect width="9" height="9" fill="url(URL#f)" style="mask: url(\'URLm\')"/></svg>',
    "xlink": '<svg><use href="#x" xlink:href="URL#f"/><image xlink:href="URL"/></svg>',
    "feimage": '<svg><filter id="q"><feImage href="URL"/></filter><rect filter="url(#q)"/></svg>',
    "image-set": "<p style=\"background: image-set('URL' 1x, url(URLb) 2x)\">x</p>",
    "sheet": "<style>.html {background: -webkit-image-set('URL' 1x); cursor: url('URL(1)'), auto}</style>",
    "open sheet": '<p style="background: url(URL">x</p>',
    "import": "<style>@import 'URL'; p {color: red}</style>",
    "srcdoc": '<iframe srcdoc="&lt;img src=URL&gt; &lt;script src=URLx&gt;&lt;/script&gt;"></iframe>',
    "srcset": '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" srcset="URL 2x">',
    "video": '<video><source src="URL"></video><video poster="URLp"></video>',
    "both": '<video src="URL"><source src="URLb"><track src="URLc"></video><svg href="URL"><use href="URL"/></svg>',
    "frame of data": '<iframe src="data:text/html,URL"></iframe><object data="data:text/html,URL2"></object>',
    "old image": '<image src="URL">',
    "stylesheet": '<link rel="stylesheet" href="URL">',
    "blob": '<img src="blob:URL">',
}


@pytest.mark.browser
def test_what_an_output_leaves_open_ends_with_it(tmp_path, browser):
    figure = {pages.PLOTLY: {"data": [{"y": [1, 2]}], "layout": {}}}
    made = paged(tmp_path, *OPEN, figure)
    with opened(browser, made) as (page, seen):
        after = page.locator("main > section.markdown > p")
        assert after.all_inner_texts() == [f"after {i}" for i in range(len(OPEN) + 1)]
        assert page.evaluate(
            "[...document.querySelectorAll('section p')].every(p => p.checkVisibility() || !p.textContent)"
        )
        assert page.locator(".js-plotly-plot").count() == 1
        assert page.locator("footer dd").first.is_visible()
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert seen.requests == []
    assert [line for line in seen.console if "Unexpected" not in line and "Invalid" not in line] == []


@pytest.mark.browser
@pytest.mark.parametrize("what", LOADING)
def test_what_would_be_fetched_is_a_visible_word_instead(tmp_path, browser, what):
    made = paged(tmp_path, LOADING[what].replace("URL", URL))
    with opened(browser, made) as (page, seen):
        where = page.frame_locator("iframe") if what == "srcdoc" else page
        note = where.locator(".note").first
        assert note.is_visible()
        assert "not part of this file" in note.inner_text()
        assert URL in note.inner_text()
    assert (seen.requests, seen.console) == ([], [])


def test_what_stands_in_the_page_stays(tmp_path):
    kept = [
        '<img alt="dot" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="/>',
        '<svg><use href="#a"></use><rect fill="url(#a)"></rect></svg>',
        '<p style="background: url(data:image/gif;base64,R0lGODlhAQABAAAAACw=)">x</p>',
        f'<p title="url({URL})"><a href="{URL}">away</a></p>',
        f'<style>p::after {{content: "{URL}"}}</style>',
    ]
    text = paged(tmp_path, *kept).read_text(encoding="utf-8")
    assert all(piece in text for piece in kept)
    assert "not part of this file" not in text


# TeX, by what is to be seen of it: the widest row of its table in cells, or else the words of its source.
TEX = {
    r"$\displaystyle \frac{a}{b}$": 0,
    r"$$\frac{a}{b}$$": 0,
    r"\[a < b\]": 0,
    r"\(a\)": 0,
    r"\begin{align}a &= b \\ c &= d + \frac{e}{f} \label{q}\end{align}": 2,
    r"\begin{align*}a &= b & c &= d \nonumber\end{align*}": 4,
    r"\begin{equation}a = b\end{equation}": 0,
    r"\begin{gather}a = b \\ c = d\end{gather}": 1,
    r"$$\begin{aligned}a &= b \\ c &= d\end{aligned}$$": 2,
    r"\begin{tabular}{ll}a & b\end{tabular}": r"\begin{tabular}{ll}a & b\end{tabular}",
    r"$\left( x$": r"$\left( x$",
    r"no maths, 3 < 4, \alpha": r"no maths, 3 < 4, \alpha",
}


@pytest.mark.browser
def test_maths_are_drawn_wherever_they_stand(tmp_path, browser):
    outputs = [{"text/latex": tex, "text/plain": "no"} for tex in TEX]
    cells = [nbf.new_markdown_cell(tex) for tex in TEX if tex[:2] not in ("\\[", "\\(", "no")]
    both = {"text/html": "<p>preferred</p>", "text/latex": "$a$", "image/png": "AAAA"}
    made = paged(tmp_path, *outputs, *cells, both, {"text/latex": "of $a$ & $$b$$", "image/png": "AAAA"})
    with opened(browser, made) as (page, seen):
        shown = page.evaluate("""() => [...document.querySelectorAll(".output, section.markdown")]
          .filter((box) => !box.textContent.startsWith("after")).map((box) => ({
            text: box.innerText.trim(),
            maths: [...box.querySelectorAll("math")].filter((m) => m.getBoundingClientRect().width > 5).length,
            cells: Math.max(0, ...[...box.querySelectorAll("mtr")].map((row) => row.children.length)),
            edges: [...box.querySelectorAll("mtr > :nth-child(2)")]
              .map((cell) => cell.querySelector("mo").getBoundingClientRect().x),
          }))""")
        keep(page, "export_maths")
    *drawn, html, words = shown
    assert len(drawn) == len(outputs) + len(cells)
    for tex, box in zip([*TEX, *(cell.source for cell in cells)], drawn, strict=True):
        found = box["text"] if isinstance(TEX[tex], str) else box["cells"]
        assert (found, box["maths"]) == (TEX[tex], int(not isinstance(TEX[tex], str))), tex
        assert max(box["edges"], default=0) - min(box["edges"], default=0) < 1, f"{tex} is not aligned"
    assert (html["text"], html["maths"]) == ("preferred", 0)
    assert words["maths"] == 2
    assert words["text"].startswith("of ")
    assert (seen.requests, seen.console) == ([], [])


@pytest.mark.browser
def test_images_of_a_figure_are_left_out_and_named(tmp_path, browser):
    image = {"source": URL, "xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 1, "sizey": 1}
    layout = {"images": [image], "template": {"layout": {"images": [image]}}}
    frames = [{"name": "f", "layout": {"images": [image]}}]
    made = paged(tmp_path, {pages.PLOTLY: {"data": [{"y": [1, 2]}], "layout": layout, "frames": frames}})
    with opened(browser, made) as (page, seen):
        assert page.locator(".js-plotly-plot").count() == 1
        assert page.locator(".note").all_inner_texts() == [
            f"image in the figure above: not part of this file, it stands at {URL}"
        ]
    assert (seen.requests, seen.console) == ([], [])


@pytest.mark.browser
def test_a_figure_that_cannot_be_drawn_is_left_out_with_a_note(tmp_path, browser):
    packed = {"dtype": "c99", "bdata": "AAAA"}
    wrong = [
        {"data": [{"y": packed}], "layout": {}},
        {"data": [{"y": [1, 2], "marker": {"size": packed}}]},
        {"data": [{"y": {"dtype": "f8", "bdata": "AAAA"}}]},
        {"data": [{"y": [1.0, float("nan")]}]},
        {"data": [{"y": [1]}], "layout": {"height": "tall"}},
        {"data": [3]},
    ]
    good = {"data": [{"y": [1, 2]}, {"z": [[1]], "type": "heatmap"}]}
    made = paged(tmp_path, *({pages.PLOTLY: figure} for figure in [*wrong, good]))
    with opened(browser, made) as (page, seen):
        notes = page.locator(".note").all_inner_texts()
        assert len(notes) == len(wrong)
        assert "dtype 'c99'" in notes[0]
        assert page.locator(".js-plotly-plot").count() == 1
    assert (seen.requests, seen.console) == ([], [])


def test_raw_cells_are_shown_as_they_are(tmp_path):
    text = paged(tmp_path, nbf.new_raw_cell("a <b> & c\n  d")).read_text(encoding="utf-8")
    assert '<section class="cell raw"><pre>a &lt;b&gt; &amp; c\n  d</pre></section>' in text


BARS_SEEN = [
    "100%|##########| 3/3 [00:00<00:00, 52.1it/s]",
    "Fold 2:  40%|████      | 4/10 [01:00:01<00:02,  3.10it/s, loss=[1, 2]]",
    "\r  0%|          | 0/3 [00:00<?, ?it/s]\r100%|██████████| 3.00k/3.00k [00:00<00:00, 1.0kit/s]\x1b[A",
]
WORDS_SEEN = ["result 12%|a|b[c] IMPORTANT", "50%|x| [y]", "see 100%|##| 3/3 [00:00<00:00, 5it/s] then this"]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("line", BARS_SEEN + WORDS_SEEN)
def test_bars_alone_are_left_out_and_on_stderr_alone(name, line):
    output = nbf.new_output("stream", name=name, text=f"{line}\nkept\n")
    settled = pages._settle(output, []).text
    assert settled == ("kept\n" if name == "stderr" and line in BARS_SEEN else f"{line}\nkept\n")


@pytest.mark.browser
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_our_notebooks_are_whole_and_readable(notebook, browser):
    made = report(notebook, ROOT / "reports" / f"{notebook.stem}.html", progress=False)
    assert made.stat().st_size < 3_000_000
    for width, scheme in ((1280, "light"), (1920, "dark")):
        with opened(browser, made, width=width, scheme=scheme) as (page, seen):
            assert page.evaluate(LOOK) == []
            keep(page, f"{notebook.stem}_{width}_{scheme}")
        assert (seen.requests, seen.console) == ([], [])
