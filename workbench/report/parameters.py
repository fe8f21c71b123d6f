"""Parameters of a notebook, by papermill's convention.

The first cell tagged ``parameters`` holds assignments: the names that may be given, and their defaults. What is given
stands in a cell of its own right after it, tagged ``injected-parameters``, which replaces a former one.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_UNKNOWN = object()  # a default that is computed


def declared(nb: NotebookNode) -> dict[str, object]:
    """The names that the notebook's parameters cell assigns, with their defaults where these are literals."""
    from IPython.core.inputtransformer2 import TransformerManager

    at = _tagged(nb, "parameters")
    if at is None:
        return {}
    try:
        body = ast.parse(TransformerManager().transform_cell(nb.cells[at].source)).body
    except SyntaxError:
        return {}  # the run will say so
    found = {}
    for line in body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if isinstance(line, ast.Assign | ast.AnnAssign):
            found |= {t.id: _literal(line.value) for t in targets if isinstance(t, ast.Name)}
    return found


def inject(nb: NotebookNode, given: Mapping[str, object], path: Path) -> dict[str, object]:
    """Put the given parameters into a notebook, after its parameters cell.

    Parameters
    ----------
    nb : NotebookNode
        Changed in place; left alone where nothing is given.
    given : mapping of str to object
        Literals. A string is read as JSON (or as Python's literal) where the default is anything but a string.
    path : Path
        Of the notebook, for the messages.

    Returns
    -------
    dict of str to object
        What was put in.

    Raises
    ------
    UnknownNameError
        The cell assigns no such name.
    ParameterError
        There is no cell tagged ``parameters``; a value is of another kind than its default, or no literal.
    """
    from nbformat.v4 import new_code_cell

    if not given:
        return {}
    at = _tagged(nb, "parameters")
    if at is None:
        hint = "tag the cell that assigns them `parameters`: in JupyterLab, Property Inspector, Cell Tags"
        raise ParameterError(f"{path} takes no parameters: none of its cells is tagged `parameters`", hint=hint)
    defaults = declared(nb)
    for name in given:
        if name not in defaults:
            raise UnknownNameError.of(f"parameter of {path.name}", name, defaults)
    values = {name: _value(name, value, defaults[name]) for name, value in given.items()}
    source = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())])
    cell = new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    if nb.nbformat_minor < 5:
        cell.pop("id", None)
    former = _tagged(nb, "injected-parameters")
    if former is None:
        nb.cells.insert(at + 1, cell)
    else:
        nb.cells[former] = cell
    return values


def _tagged(nb: NotebookNode, tag: str) -> int | None:
    """Where the first code cell with that tag is."""
    cells = enumerate(nb.cells)
    return next((i for i, c in cells if c.cell_type == "code" and tag in c.metadata.get("tags", ())), None)


def _literal(node: ast.AST | None) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return _UNKNOWN


def _value(name: str, given: object, default: object) -> object:
    value = _read(given, default) if isinstance(given, str) else given
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    again = _literal(_parsed(repr(value)))
    if again is _UNKNOWN or again != value:
        hint = "numbers, words, true, false, null, and lists and mappings of these"
        raise ParameterError(f"{name}: {given!r} is no literal, expected {hint}")
    free = default is _UNKNOWN or default is None or value is None
    whole = isinstance(value, int) and not isinstance(value, bool) and isinstance(default, float)
    if not (free or whole or type(value) is type(default)):
        kind = f"{type(default).__name__}, as its default {default!r} is"
        raise ParameterError(f"{name} is {value!r}, a {type(value).__name__}; expected a {kind}")
    return value


def _read(text: str, default: object) -> object:
    """The value that a text means."""
    try:
        value = json.loads(text)
    except ValueError:
        value = _literal(_parsed(text.strip()))
        value = text if value is _UNKNOWN else value
    return text if isinstance(default, str) and not isinstance(value, str) else value


def _parsed(text: str) -> ast.AST | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
