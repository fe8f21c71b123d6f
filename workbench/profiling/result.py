"""What every profile is: a table with its units, some facts, and perhaps a picture; shown alike wherever it is shown.

The HTML has no script and no style sheet: it survives nbconvert, an untrusted notebook and an export, and takes the
colours of the page that it stands in.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import ClassVar

import pandas as pd

from ..errors import ParameterError
from ..files import write_whole
from .words import CODE, TEXT, UNITS, say

TOP = 20
_HEAD = "text-align:{align};font-weight:600;padding:.2em .7em;border-bottom:1px solid rgba(128,128,128,.45)"
_CELL = "text-align:{align};padding:.16em .7em;white-space:nowrap;border-bottom:1px solid rgba(128,128,128,.15)"
_WRAP = "white-space:normal;overflow-wrap:anywhere;min-width:14em"
_BREAK = re.compile(r"(?<=\w[/.])(?=\w)(?!py\b)")  # where a path or a dotted name is broken best
_MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.94em;white-space:pre-wrap"
_SOFT = "opacity:.75;font-size:.92em;margin:.3em 0"
_FILL = "background:linear-gradient(to right,rgba(0,114,178,.28) {share:.1f}%,transparent {share:.1f}%);"
LONGEST = 110  # letters of a text in a table
_WIDE = 26  # letters from which on a text may be broken


class Result:
    """What a profile found.

    Attributes
    ----------
    title : str
        What was profiled.
    rows : DataFrame
        One row an entry, plain numbers: seconds, bytes, shares in [0, 1], counts.
    facts : dict of str to (value, unit)
        What holds of the whole.
    notes : list of str
        What a reader has to know to read it right.
    top : int
        Rows that are shown; `to_frame` has all.
    error : BaseException or None
        What the profiled code raised, where a part of the profile was kept.
    """

    columns: ClassVar[dict[str, str]] = {}
    """The columns that are shown, with their units."""
    keys: ClassVar[tuple[str, ...]] = ()
    """The columns that say what a row is about."""
    measures: ClassVar[tuple[str, ...]] = ()
    """The columns that `compare` sets side by side."""
    unfolded: ClassVar[int] = 1
    """How many of the tables are open."""

    def __init__(
        self,
        title: str,
        rows: pd.DataFrame,
        *,
        facts: dict[str, tuple[object, str]] | None = None,
        notes: Sequence[str] = (),
        top: int = TOP,
        error: BaseException | None = None,
    ):
        self.title, self.rows, self.top, self.error = title, rows.reset_index(drop=True), top, error
        self.facts, self.notes = dict(facts or {}), list(notes)
        if error is not None and not isinstance(error, SystemExit):
            self.notes.insert(0, f"It ended by {type(error).__name__}: this is what was seen until then.")

    def to_frame(self) -> pd.DataFrame:
        """All rows, as plain numbers."""
        return self.rows.copy()

    def picture(self) -> str:
        """The figure as SVG, empty where there is none."""
        return ""

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """The tables that are shown, each with its caption."""
        return [("", self.rows)]

    def compare(self, other: Result) -> Comparison:
        """This profile beside another of its kind.

        Parameters
        ----------
        other : Result
            Of the same kind: what it was before, say.

        Returns
        -------
        Comparison
            One row for what either has; `change` is this one's first measure over the other's.

        Raises
        ------
        ParameterError
            It is of another kind.
        """
        if type(other) is not type(self):
            raise ParameterError(
                f"a {type(self).__name__} is compared with a {type(other).__name__}, expected the same kind",
                hint="run the same magic on both",
            )
        return Comparison.of(self, other)

    def to_html(self, *, whole: bool = False) -> str:
        """The profile as HTML without scripts; `whole` makes it a page of its own with all rows."""
        top = len(self.rows) if whole else self.top
        parts = [f'<p style="margin:.3em 0;font-weight:600">{escape(self.title)}</p>']
        if self.facts:
            facts = (f"{escape(k)} <b>{escape(say(v, unit))}</b>" for k, (v, unit) in self.facts.items())
            parts.append(f'<p style="margin:.3em 0">{" · ".join(facts)}</p>')
        parts.append(self.picture())
        for number, (caption, frame) in enumerate(self.tables()):
            parts.append(_table(caption, frame, self.columns, top, folded=number >= self.unfolded))
        parts += [f'<p style="{_SOFT}">{escape(note)}</p>' for note in self.notes]
        body = f'<div class="workbench-profile" style="font-size:13px;line-height:1.45">{"".join(parts)}</div>'
        return _page(self.title, body) if whole else body

    def __repr__(self) -> str:
        facts = " · ".join(f"{k} {say(v, unit)}" for k, (v, unit) in self.facts.items())
        lines = [self.title, facts]
        for caption, frame in self.tables()[: self.unfolded]:
            lines += [caption, _text(frame, self.columns, self.top)]
        return "\n".join(filter(None, [*lines, *self.notes]))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/plain": repr(self), "text/html": self.to_html()}

    def save(self, path: str | Path) -> Path:
        """Write the profile: .html is a page of its own, .json the numbers; whole, or not at all.

        Raises
        ------
        ParameterError
            Another ending, or a folder that isn't there.
        WorkbenchError
            It could not be written; the file is as it was.
        """
        path = checked_target(path)
        text = self.to_html(whole=True) if path.suffix == ".html" else self.to_json()
        write_whole(path, text.encode("utf-8"), hint="the file is as it was; make room, or write elsewhere")
        return path

    def to_json(self) -> str:
        """Title, facts, all rows and notes as JSON."""
        content = {
            "kind": type(self).__name__,
            "title": self.title,
            "python": platform.python_version(),
            "facts": {k: {"value": v, "unit": unit} for k, (v, unit) in self.facts.items()},
            "rows": json.loads(self.rows.to_json(orient="records", double_precision=15)),
            "notes": self.notes,
        }
        return json.dumps(content, indent=1, default=str)


def checked_target(path: str | Path) -> Path:
    """`path`, if a profile can be written there."""
    path = Path(path).expanduser()
    if path.suffix not in (".html", ".json"):
        raise ParameterError(
            f"a profile can't be saved as {path.name!r}", hint="name a file that ends in .html or .json"
        )
    if not path.parent.is_dir() or path.is_dir():
        raise ParameterError(f"there is no folder {path.parent}, or {path.name} is one", hint="make the folder first")
    return path


class Comparison(Result):
    """Two profiles of a kind, side by side."""

    @classmethod
    def of(cls, this: Result, other: Result) -> Comparison:
        keys, measures = list(this.keys), list(this.measures)
        frames = [r.rows.groupby(keys, as_index=False, dropna=False)[measures].sum() for r in (this, other)]
        rows = frames[0].merge(frames[1], on=keys, how="outer", suffixes=("", "_other"))
        first = measures[0]
        rows["change"] = rows[first] / rows[f"{first}_other"].where(rows[f"{first}_other"] != 0)
        order = rows[[first, f"{first}_other"]].max(axis=1).sort_values(ascending=False, kind="stable").index
        facts = {}
        for name, (value, unit) in this.facts.items():
            facts[name] = (value, unit)
            if name in other.facts and unit in UNITS:
                facts[f"{name} of the other"] = other.facts[name]
        found = cls(f"{this.title}, beside {other.title}", rows.loc[order], facts=facts, top=this.top)
        found.columns = {k: this.columns.get(k, TEXT) for k in keys}
        for name in measures:
            found.columns |= {name: this.columns[name], f"{name}_other": this.columns[name]}
        found.columns |= {"change": "x"}
        found.keys, found.measures = tuple(keys), tuple(measures)
        return found


# ---------------------------------------------------------------------------------------------------- how it is shown


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _text(frame: pd.DataFrame, columns: dict[str, str], top: int) -> str:
    """The table in plain text, numbers to the right."""
    names = [name for name in columns if name in frame]
    lines = [names] + [[_short(say(row[n], columns[n])) for n in names] for _, row in frame.head(top).iterrows()]
    if len(lines) == 1:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    left = [columns[n] in (TEXT, CODE) for n in names]
    said = [
        "  ".join(
            w.ljust(n) if to_left else w.rjust(n) for w, n, to_left in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = [f"... and {len(frame) - top:,} more rows"] if len(frame) > top else []
    return "\n".join(said + more)


def _table(caption: str, frame: pd.DataFrame, columns: dict[str, str], top: int, *, folded: bool) -> str:
    """The table in HTML: shares are filled to their length."""
    names = [name for name in columns if name in frame]
    if not names or not len(frame):
        return f'<p style="{_SOFT}">{escape(caption)}: nothing</p>' if caption else ""
    align = {n: "left" if columns[n] in (TEXT, CODE) else "right" for n in names}
    head = "".join(f'<th style="{_HEAD.format(align=align[n])}">{escape(_heading(n))}</th>' for n in names)
    body = []
    for row in frame[names].head(top).itertuples(index=False, name=None):
        cells = [_cell(value, columns[n], align[n]) for n, value in zip(names, row, strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    more = f'<p style="{_SOFT}">and {len(frame) - top:,} more rows</p>' if len(frame) > top else ""
    table = (
        '<div style="overflow-x:auto"><table class="dataframe" style="border-collapse:collapse;border:0;margin:.3em 0;'
        f'font-size:inherit"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{more}'
    )
    if folded:
        return f'<details><summary style="cursor:pointer">{escape(caption)}</summary>{table}</details>'
    return (f'<p style="{_SOFT}">{escape(caption)}</p>' if caption else "") + table


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("gil", "GIL")


def _cell(value: object, unit: str, align: str) -> str:
    style = _CELL.format(align=align)
    said = escape(_short(say(value, unit)))
    if unit == "%" and said:
        style = _FILL.format(share=100 * min(max(float(value), 0.0), 1.0)) + style
    if unit in (TEXT, CODE) and len(said) > _WIDE:
        style, said = f"{style};{_WRAP}", _BREAK.sub("<wbr>", said)  # rather than that the table is cut off
    if unit == CODE:
        said = f'<span style="{_MONO}">{said}</span>'
    return f'<td style="{style}">{said}</td>'


def _page(title: str, body: str) -> str:
    """A page that needs nothing else, in the reader's theme."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<style>:root{color-scheme:light dark}body{font-family:system-ui,sans-serif;max-width:76rem;"
        f"margin:2rem auto;padding:0 1.5rem}}</style></head><body>{body}</body></html>\n"
    )
