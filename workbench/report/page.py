"""An executed notebook as one HTML page that asks the network for nothing.

The way, in order:

1. `_settle` picks, for each output, the one representation that lives on without a kernel. Plotly figures are
   taken out of the page, so that they are stored and drawn together.
2. `_exporter` is nbconvert's HTML exporter, with the template beside this file and maths as MathML.
3. Each piece goes through `fragment`, which closes its tags and takes out whatever would be fetched.
4. The template's frame goes around: style, contents, and what is needed to trust and repeat the page.
5. plotly.js and the figures follow last, compressed: the text stands on the screen before they are inflated.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import numpy as np

from ..errors import FOLDED, NotebookError
from . import maths, provenance
from .fragment import fragment
from .maths import mathml
from .style import HOUSE, ink, template

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from nbformat import NotebookNode

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_TEMPLATES = Path(__file__).parent / "templates"
# "Training:  40%|####      | 4/10 [00:01<00:02, 3.1it/s]": a bar of tqdm's says nothing once the work is done.
_BAR = re.compile(r"(.*: )?\s*\d{1,3}%\|[^|]*\| *\S+/\S+ \[(\d+:)?\d\d:\d\d<[\d:?]+, .*\]\s*")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# nbconvert's order, best first; scripts of their own and live widgets don't outlive the kernel.
_LASTING = ("text/html", "text/markdown", "image/svg+xml", "text/latex", "image/png", "image/jpeg", "text/plain")
# Maps are drawn from tiles and outlines that plotly.js fetches.
_MAPS = re.compile(r"choropleth|(scatter|density|choropleth)(geo|map|mapbox)")
# The packed arrays that plotly.js unpacks, by its name for them.
_DTYPES = {name: name for name in ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")}
_DTYPES |= {"u1c": "u1", "uint8c": "u1", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"}
_DTYPES |= {"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_IMG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
# What pandas writes for a day.
_MIDNIGHT = re.compile(r"\s*(\d{4}-\d\d-\d\d) 00:00:00(\+00:00)?\s*")


class Look(NamedTuple):
    """How a page is shown: with its code or without, and in which theme ("auto" is the reader's)."""

    code: bool = True
    theme: str = "auto"


LOOK = Look()


class Page(NamedTuple):
    """The text of a page; its title and question in words, and how many figures it has."""

    text: str
    title: str
    question: str
    figures: int


class Entry(NamedTuple):
    """One notebook in an index: the name of its page (empty where there is none), what the page says of itself, the
    seconds of its run and the bytes of its file; or why it failed."""

    href: str
    title: str
    question: str = ""
    figures: int = 0
    seconds: float = 0.0
    size: int = 0
    failed: str = ""


def quiet() -> logging.Logger:
    """A log that keeps silent: what goes wrong is raised instead."""
    log = logging.getLogger("workbench.report")
    log.setLevel(logging.CRITICAL + 1)
    return log


def page(nb: NotebookNode, source: NotebookNode, path: Path, facts: dict, look: Look = LOOK) -> Page:
    """The whole HTML text of an executed notebook.

    Parameters
    ----------
    nb : NotebookNode
        Executed.
    source : NotebookNode
        The same notebook as it was before; its cells travel along, without outputs.
    path : Path
        Of the notebook, for its name and the images beside it.
    facts : dict
        Of the run: ``started`` (Unix time), ``seconds``, the notebook's ``sha256``, and where known ``parameters``
        and ``found`` (what `provenance.gather` gave).
    look : Look, optional

    Returns
    -------
    Page
    """
    from bs4 import BeautifulSoup
    from nbconvert.filters.markdown_mistune import InvalidNotebook

    figures: list[dict] = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in (_settle(o, figures) for o in cell.outputs) if o is not None]
            if not look.code:
                _without_code(cell)
    nb.metadata.pop("widgets", None)
    exporter = _exporter()
    try:
        resources = {"metadata": {"name": path.stem, "path": str(path.resolve().parent)}}
        body, _ = exporter.from_notebook_node(nb, resources)
    except InvalidNotebook as e:
        raise NotebookError(f"{path}: {e}", hint="attach the image again in JupyterLab") from e
    soup = BeautifulSoup(body, "html.parser")
    _tidy(soup)
    title, heading = _heading(soup, path.stem)
    told = provenance.facts(path, facts)
    text = _frame(
        exporter,
        look,
        title=title,
        heading=heading,
        byline=f"{told[0][1]} · {told[2][1]}",
        contents=_contents(soup),
        body=str(soup),
        facts=told,
        tables=provenance.tables(facts),
        record=provenance.packed(path, facts),
        download=_download(source, path.name) if look.code else None,
        figures=_figures(figures),
        plotly=_plotly() if figures else "",
    )
    drawn = len(figures) + len(soup.select(".output.image"))
    return Page(text, title, _question(soup, title), drawn)


def index(name: str, entries: list[Entry], look: Look = LOOK) -> str:
    """The HTML text of a page that lists other pages beside it.

    Parameters
    ----------
    name : str
        Of the folder.
    entries : list of Entry
    look : Look, optional
    """
    exporter = _exporter()
    body = exporter.environment.get_template("entries.html.j2").render(entries=entries)
    count = f"{len(entries)} notebook{'s' if len(entries) != 1 else ''}"
    failed = sum(bool(entry.failed) for entry in entries)
    byline = f"{count}, run in {sum(e.seconds for e in entries):.0f} s" + (f"; {failed} failed" if failed else "")
    return _frame(exporter, look, title=name, heading=f"<h1>{html.escape(name)}</h1>", byline=byline, body=body)


def _frame(exporter, look: Look, **parts: object) -> str:
    return exporter.environment.get_template("frame.html.j2").render(
        theme="" if look.theme == "auto" else look.theme,
        style=(_TEMPLATES / "workbench" / "page.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "workbench" / "page.js").read_text(encoding="utf-8"),
        **parts,
    )


def _without_code(cell: NotebookNode) -> None:
    """Take the code out of a cell, and out of what its errors show."""
    cell.source = ""
    kept = []
    for output in cell.outputs:
        if output.output_type == "error":
            output.traceback = [f"{output.ename}: {output.evalue}"]
        if not str(output.get("data", {}).get("text/html", "")).startswith(FOLDED):
            kept.append(output)
    cell.outputs = kept


def _settle(output: NotebookNode, figures: list[dict]) -> NotebookNode | None:
    """`output` with the one representation that will do, or None where nothing is worth keeping."""
    if output.output_type == "stream":
        if output.name == "stderr":
            output.text = "\n".join(line for line in output.text.split("\n") if not _is_bar(line))
        return output if output.text.strip() else None
    if output.output_type not in ("display_data", "execute_result"):
        return output
    data = output.data
    if PLOTLY in data:
        output.data = {"text/html": _placeholder(data[PLOTLY], figures)}
    elif WIDGET in data and "text/html" not in data:
        shown = data.get("text/plain", "")
        if _is_bar(shown):
            return None
        note = f"A widget; it lives in JupyterLab only. <code>{html.escape(shown)}</code>"
        output.data = {"text/html": f'<p class="note">{note}</p>'}
    else:
        kind = next((k for k in _LASTING if k in data), None)
        if kind is None:
            return None
        output.data = {kind: data[kind]}
    return output


def _is_bar(line: str) -> bool:
    """Whether a line holds nothing but tqdm's bar, in all the states that it was rewritten to."""
    states = [state for state in _ESCAPES.sub("", line).split("\r") if state.strip()]
    return bool(states) and all(map(_BAR.fullmatch, states))


def _placeholder(figure: dict, figures: list[dict]) -> str:
    """The box that a figure is drawn into; a figure that can't be drawn is left out with a note."""
    try:
        json.dumps(figure, allow_nan=False)
        _check_arrays(figure)
        return _box(figure, figures)
    except (TypeError, ValueError, KeyError, AttributeError) as e:
        said = html.escape(f"{type(e).__name__}: {e}"[:200])
        return f'<p class="note">A figure that plotly.js can\'t draw: left out ({said}).</p>'


def _check_arrays(part: object) -> None:
    """Refuse packed numbers, wherever they are in a figure, that plotly.js can't unpack."""
    if isinstance(part, dict) and "bdata" in part:
        _unpacked(part)
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            _check_arrays(inner)


def _unpacked(array: dict) -> np.ndarray:
    """The numbers of a packed array, in one row."""
    kind = array.get("dtype")
    if kind not in _DTYPES:
        raise ValueError(f"dtype {kind!r}, expected one of {', '.join(_DTYPES)}")
    return np.frombuffer(base64.b64decode(array["bdata"], validate=True), _DTYPES[kind])


def _box(figure: dict, figures: list[dict]) -> str:
    """The box of a figure; it holds the figure's numbers in words until it is drawn."""
    layout = figure.setdefault("layout", {})
    traces = figure.get("data", [])
    maps = [t["type"] for t in traces if _MAPS.fullmatch(str(t.get("type", "")))]
    if maps:
        kind = html.escape(maps[0])
        return f'<p class="note">A figure of type {kind} needs maps from the network: left out.</p>'
    style = (layout.get("template") or {}).get("layout") or {}
    frames = [frame.get("layout") or {} for frame in figure.get("frames") or []]
    lost = [url for part in (layout, style, *frames) for url in _drop_images(part)]
    if style.get("meta") == HOUSE:
        layout.pop("template")
    title = layout.get("title") or {}
    title = (title.get("text") if isinstance(title, dict) else title) or "Figure"
    height = float(layout.get("height") or 450)
    head = "".join(f"<th>{name}</th>" for name in ("", "points", "first", "last", "lowest", "highest"))
    rows = "".join(map(_words, traces))
    figures.append(figure)
    return (
        f'<div class="figure" data-figure="{len(figures) - 1}" style="min-height:{height:.0f}px">'
        f'<table class="dataframe"><caption>{html.escape(html.unescape(str(title)))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        + "".join(f'<img alt="image in the figure above" src="{html.escape(url)}">' for url in dict.fromkeys(lost))
    )


def _drop_images(layout: dict) -> list[str]:
    """Take the images that plotly.js would fetch out of a layout; gives back where they are."""
    images = layout.get("images") or []
    lost = [i for i in images if not str(i.get("source") or "data:").strip().lower().startswith("data:")]
    if lost:
        layout["images"] = [i for i in images if i not in lost]
    return [str(i["source"]) for i in lost]


def _words(trace: dict) -> str:
    """One table row on what a trace shows."""
    shown = (_numbers(trace.get(name)) for name in ("close", "z", "y", "x", "values"))
    values = next((v for v in shown if v.size), None)
    if values is None:
        return ""
    name = html.escape(html.unescape(str(trace.get("name") or trace.get("type", ""))))
    numbers = (values[0], values[-1], values.min(), values.max())
    cells = "".join(f"<td>{v:,.5g}</td>" for v in numbers)
    return f"<tr><th>{name}</th><td>{values.size:,}</td>{cells}</tr>"


def _numbers(values: object) -> np.ndarray:
    """The finite numbers among a trace's values; none where it holds words or dates."""
    if isinstance(values, dict) and "bdata" in values:
        values = _unpacked(values)
    try:
        flat = np.asarray([] if values is None else values, dtype=float).ravel()
    except (TypeError, ValueError):
        return np.empty(0)
    return flat[np.isfinite(flat)]


def _exporter():
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return mathml(body, "block", f"$${body}$$")

        def inline_math(self, body: str) -> str:
            return mathml(body, "inline", f"${body}$")

        def latex_environment(self, name: str, body: str) -> str:
            whole = f"\\begin{{{name}}}{body}\\end{{{name}}}"
            return mathml(whole, "block", whole)

        def _html_embed_images(self, html: str) -> str:
            # Only the tag itself: nbconvert parses the whole piece, which closes a lone <em> at once.
            return _IMG.sub(lambda tag: super(Renderer, self)._html_embed_images(tag[0]), html)

        def _embed_image_or_attachment(self, src: str) -> str:
            # Markdown writes %20 for a space in a name of a file; what else has a scheme keeps it.
            named = src.startswith("attachment:") or not _SCHEME.match(src)
            return super()._embed_image_or_attachment(unquote(src) if named else src)

        def _src_to_base64(self, src: str) -> str | None:
            if src.startswith("attachment:"):
                return self._embed_image_or_attachment(src)
            return super()._src_to_base64(src)

    class Exporter(HTMLExporter):
        def markdown2html(self, context, source: str, attachments: dict | None = None) -> str:
            folder = context.get("resources", {}).get("metadata", {}).get("path", "")
            renderer = Renderer(
                escape=False, attachments=attachments or {}, embed_images=True, path=folder, anchor_link_text="#"
            )
            return MarkdownWithMath(renderer=renderer).render(source)

        markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg

    exporter = Exporter(
        template_name="workbench", extra_template_basedirs=[str(_TEMPLATES)], embed_images=True, log=quiet()
    )
    exporter.register_filter("fragment", fragment)
    exporter.register_filter("maths", maths.output)
    return exporter


def _tidy(soup: BeautifulSoup) -> None:
    """Anchors are unique, tables carry no presentation of their own, and can be scrolled in their box."""
    seen: set[str] = set()
    for tag in soup.find_all(["h1", "h2", "h3", "h4"]):
        name, n = tag.get("id", "") or "section", 1
        while (unique := name if n == 1 else f"{name}-{n}") in seen:
            n += 1
        seen.add(unique)
        tag["id"] = unique
        for anchor in tag.find_all("a", class_="anchor-link"):
            anchor["href"], anchor["aria-label"] = f"#{unique}", "link to this section"
    for table in soup.find_all("table"):
        for cell in table.find_all(["th", "td"]):
            if cell.string and (day := _MIDNIGHT.fullmatch(cell.string)):
                cell.string = day[1]
        if "dataframe" in table.get("class", []) or table.find_parent(class_="markdown"):
            del table["border"]
        if table.find_parent(class_="markdown"):
            table.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0"}))


def _heading(soup: BeautifulSoup, stem: str) -> tuple[str, str]:
    """The title in words, and the heading as HTML, taken out of the page where the page opens with it."""
    first = soup.find(["h1", "h2", "h3"])
    if first is None:
        return stem, f"<h1>{html.escape(stem)}</h1>"
    for anchor in first.find_all("a", class_="anchor-link"):
        anchor.decompose()
    title = " ".join(first.get_text().split()) or stem
    if first.name != "h1":
        return title, f"<h1>{html.escape(title)}</h1>"
    heading = str(first)
    first.extract()
    return title, heading


def _contents(soup: BeautifulSoup) -> list[tuple[str, str]]:
    """Anchor and words of each section, where there are enough of them to get lost in."""
    found = []
    for tag in soup.find_all("h2"):
        anchored = tag.find_all("a", class_="anchor-link")
        words = " ".join(t for t in tag.find_all(string=True) if t.parent not in anchored)
        found.append((tag["id"], " ".join(words.split())))
    return found if len(found) >= 3 else []


def _question(soup: BeautifulSoup, title: str) -> str:
    """What the notebook asks, in the words of its opening: the paragraph that asks, or else the first."""
    first = soup.find(class_="cell")
    opening = [" ".join(p.get_text().split()) for p in first.find_all("p")] if first else []
    asking = [] if title.endswith("?") else [words for words in opening if "?" in words]
    return (asking or opening or [""])[0]


def _download(source: NotebookNode, name: str) -> dict[str, str]:
    import nbformat

    for cell in source.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    source.metadata.pop("widgets", None)
    text = nbformat.writes(source).encode("utf-8")
    data = base64.b64encode(text).decode("ascii")
    return {
        "href": f"data:application/x-ipynb+json;base64,{data}",
        "name": name,
        "size": f"{max(1, round(len(text) / 1024))} KB",
    }


def _packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text, 9, mtime=0)).decode("ascii")


def _figures(figures: list[dict]) -> str:
    themes = {name: {"house": template(name), "ink": ink(name)} for name in ("light", "dark")}
    whole = {"figures": figures, "themes": themes}
    return _packed(json.dumps(whole, separators=(",", ":")).encode("utf-8")) if figures else ""


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs().encode("utf-8"))
