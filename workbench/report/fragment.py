"""One output, or one cell of words, as HTML that stands on its own in a page that asks the network for nothing.

Each is parsed apart, so that what it leaves open is closed at its end; whatever a browser would fetch is taken
out, with a visible word in its place. What the page's Content-Security-Policy would refuse counts as fetched.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from ..errors import hush

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

# The page's own; getElementById takes the first of a name.
_RESERVED = ("figures", "plotly", "theme", "fold", "how-this-was-made")
# Attributes that hold CSS values; the others are SVG's.
_PAINT = ("style", "fill", "stroke", "filter", "mask", "clip-path", "cursor", "marker")
_PAINT += ("marker-start", "marker-mid", "marker-end")
_TABLE = ("table", "thead", "tbody", "tfoot", "tr", "th", "td", "col", "colgroup", "caption")
# Words inside of these are not shown, or end them.
_CLOSED = ("svg", "math", "video", "audio", "select")
# A string or url( that the sheet leaves open is closed by its end.
_STRING = r"\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z)"
_URL = rf"url\(\s*(?P<url>{_STRING}|[^)]*?)\s*(?:\)|\Z)"
_CSS = re.compile(
    rf"@import\b(?:{_STRING}|[^;\"'])*;?"
    rf"|image-set\((?:{_STRING}|\((?:{_STRING}|[^()\"'])*(?:\)|\Z)|[^()\"'])*(?:\)|\Z)"
    rf"|{_URL}",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"{_URL}|(?P<string>{_STRING})", re.IGNORECASE)
_KIND = re.compile(r"\btype\([^)]*\)", re.IGNORECASE)


def fragment(text: str, *, document: bool = False) -> str:
    """`text` with every tag closed, and without what would be fetched.

    Parameters
    ----------
    text : str
        HTML, as wrong as it may be.
    document : bool, default False
        Whether html, head and body tags are the fragment's own, as in a frame, rather than the page's.

    Returns
    -------
    str
    """
    from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
    from bs4.exceptions import ParserRejectedMarkup

    if "<" not in text:
        return text
    with hush(XMLParsedAsHTMLWarning):
        try:
            soup = BeautifulSoup(text, "html.parser")
        except ParserRejectedMarkup:
            return f"<pre>{html.escape(text)}</pre>"
    _enclose(soup, document)
    _cut_off(soup)
    return str(soup)


def _enclose(soup: BeautifulSoup, document: bool) -> None:
    """Take away what a browser reads on beyond its closing tag, or takes for the page's own."""
    from bs4.element import PreformattedString

    for words in soup.find_all(string=lambda s: isinstance(s, PreformattedString)):
        words.extract()  # comments, doctypes: unseen, and parsers differ on where they end
    for tag in soup.find_all(["plaintext", "xmp", "listing"]):
        tag.name = "pre"
    if not document:
        for tag in soup.find_all(["html", "head", "body", "frameset"]):
            tag.unwrap()
    for tag in soup.find_all(id=list(_RESERVED)):
        tag["id"] = f"output-{tag['id']}"
    for tag in soup.find_all("script"):
        if "<!--" in (code := tag.string or ""):  # after which a <script makes the browser skip a </script>
            tag.string = re.sub(r"<(?=script)", r"<\\", code, flags=re.IGNORECASE)


def _cut_off(soup: BeautifulSoup) -> None:
    """Take out whatever a browser would fetch; say in its place what stood there."""
    told: set[str] = set()
    gone: set[int] = set()

    def tell(tag: Tag, what: str, urls: list[str]) -> None:
        for url in urls:
            if url not in told:
                told.add(url)
                _host(tag).insert_before(_note(soup, what, url))

    for tag in soup.find_all(True):
        if id(tag.parent) in gone:  # with the tag around it
            gone.add(id(tag))
            continue
        if tag.name in ("base", "meta", "link"):
            if "stylesheet" in tag.get_attribute_list("rel"):
                tell(tag, "stylesheet", [tag.get("href", "")])
            tag.extract()
            gone.add(id(tag))
            continue
        if tag.name == "iframe" and "srcdoc" in tag.attrs:
            tag["srcdoc"] = fragment(tag["srcdoc"], document=True)
            tag.attrs.pop("src", None)
        if (url := _fetched(tag)) is not None:
            note, host = _note(soup, tag.get("alt") or tag.name, url), _host(tag, within=True)
            if host is tag:
                tag.replace_with(note)
            else:
                host.insert_before(note)
                tag.extract()
            gone.add(id(tag))
            continue
        if tag.get("background", "").strip():
            tell(tag, "background", [tag["background"]])
            del tag["background"]
        for name in _PAINT:
            if name in tag.attrs:
                tag[name], urls = _painted(tag[name])
                tell(tag, "style", urls)
        if tag.name == "style":
            sheet, urls = _painted(tag.string or "")
            tag.string = re.sub(r"<(?=[a-z/!?])", r"\\3c ", sheet, flags=re.IGNORECASE)
            tell(tag, "style", urls)


def _fetched(tag: Tag) -> str | None:
    """The address from which a browser would get the content of `tag`, or None where it stands in the page."""
    own = ("about:",) if tag.name in ("script", "iframe", "frame", "embed", "object") else ("about:", "data:")
    for name in ("src", "poster", "data") if tag.name == "object" else ("src", "poster"):
        url = tag.get(name, "").strip()
        if url and not url.lower().startswith(own):
            return url
    for url in re.split(r",\s+", tag.get("srcset", "").strip()):
        if url and not url.lower().startswith("data:"):
            return url
    if tag.name not in ("a", "area"):
        own = ("#", "data:") if tag.name in ("image", "feimage") else ("#",)
        for url in (tag.get("href", "").strip(), tag.get("xlink:href", "").strip()):
            if url and not url.lower().startswith(own):
                return url
    return None


def _painted(css: str) -> tuple[str, list[str]]:
    """`css` without what it would fetch, and the addresses of that."""
    urls: list[str] = []

    def within(match: re.Match) -> str:
        words = _KIND.sub("", match[0])
        named = [(m["url"] or m["string"] or "").strip("\"' \t\r\n\f") for m in _NAMED.finditer(words)]
        wholly = match[0].lower().startswith("@import")
        cut = [u for u in named if u and (wholly or not u.lower().startswith(("data:", "#")))]
        urls.extend(cut)
        return "" if wholly else "none" if cut else match[0]

    return _CSS.sub(within, css), urls


def _host(tag: Tag, *, within: bool = False) -> Tag:
    """The outermost tag that words about `tag` have to stand before; `within` a table's cell they may stay."""
    closed = _CLOSED if within or tag.name not in _TABLE else (*_CLOSED, "table")
    return next((t for t in [*tag.parents][::-1] if t.name in closed), tag)


def _note(soup: BeautifulSoup, what: str, url: str) -> Tag:
    note = soup.new_tag("span", attrs={"class": "note"})
    note.append(f"{what}: not part of this file, it stands at ")
    shown = url if len(url) <= 200 else url[:197] + "..."
    link = soup.new_tag("code") if re.match(r"(javascript|data):", url, re.IGNORECASE) else None
    link = soup.new_tag("a", attrs={"href": url}) if link is None else link
    link.string = shown
    note.append(link)
    return note
