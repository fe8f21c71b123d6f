"""TeX as MathML, which a browser draws by itself."""

from __future__ import annotations

import html
import re

# What the converter does not know, by what it draws alike; it would number the lines of align, which JupyterLab
# does not.
_ALIKE = {"align": "align*", "aligned": "align*", "gather": "matrix", "gather*": "matrix", "gathered": "matrix"}
_ALIKE |= {"multline": "matrix", "multline*": "matrix"}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-z]+\*?)\}")
# Numbers of equations, which nobody sees.
_NUMBERING = re.compile(r"\\(?:label\{[^}]*\}|nonumber\b|notag\b)")
# As MathJax finds it in an output: $$ or \[ for a block, an environment, $ or \( for a line.
_MATHS = re.compile(
    r"(?<!\\)\$\$(?P<dollars>.+?)(?<!\\)\$\$|\\\[(?P<brackets>.+?)\\\]"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.*?\\end\{(?P=name)\})"
    r"|(?<!\\)\$(?P<dollar>.+?)(?<!\\)\$|\\\((?P<parenthesis>.+?)\\\)",
    re.DOTALL,
)


def mathml(body: str, display: str, tex: str) -> str:
    """MathML of `body`, or `tex`, the same with what stood around it, where the converter gives up.

    Parameters
    ----------
    body, tex : str
    display : {"block", "inline"}
    """
    from latex2mathml import converter, exceptions

    refusals = tuple(e for e in vars(exceptions).values() if isinstance(e, type))
    known = _ENVIRONMENT.sub(lambda m: f"\\{m[1]}{{{_ALIKE.get(m[2], m[2])}}}", _NUMBERING.sub("", body))
    try:
        made = converter.convert(known, display=display)
    except (*refusals, IndexError, KeyError, ValueError):
        return _source(tex, display)
    return _source(tex, display) if "<mi>&</mi>" in made else made  # columns that were not understood


def output(text: str) -> str:
    """The HTML of an output of type text/latex: its maths drawn, the words between as they are."""
    pieces, end = [], 0
    for found in _MATHS.finditer(text):
        display = "inline" if found["dollar"] or found["parenthesis"] else "block"
        body = found["dollars"] or found["brackets"] or found["environment"] or found["dollar"] or found["parenthesis"]
        pieces += [html.escape(text[end : found.start()]), mathml(body, display, found[0])]
        end = found.end()
    return "".join([*pieces, html.escape(text[end:])]) if pieces else _source(text, "block")


def _source(tex: str, display: str) -> str:
    return f'<code class="tex {display}">{html.escape(tex)}</code>'
