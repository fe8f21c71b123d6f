"""New notebooks from a template, which never take the place of what is there.

At the top it imports the standard library and `errors` alone, as `install` does.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from .errors import ParameterError, UnknownNameError, WorkbenchError

FOLDER = Path(__file__).parent / "assets"
NAMES = ("study",)
_BAD = set('<>:"|?*\\')


def write(template: str, name: str | os.PathLike) -> Path:
    """Write a new notebook.

    Parameters
    ----------
    template : {"study"}
        A study asks a question first and answers it last; between them parameters, data, features, label, study and
        backtest. It runs as it is, and passes its own tests: ``pytest -p workbench.testing NAME.ipynb``.
    name : path
        Of the notebook, with or without .ipynb; its last part becomes the title. Its folder has to be there.

    Returns
    -------
    Path

    Raises
    ------
    UnknownNameError
        There is no such template.
    ParameterError
        The name is no name of a file, its folder is not there, or the notebook is there already.
    WorkbenchError
        The file can't be written.
    """
    if template not in NAMES:
        raise UnknownNameError.of("template", template, NAMES)
    path = _path(name)
    nb = json.loads((FOLDER / f"{template}.ipynb").read_text(encoding="utf-8"))
    words = path.stem.replace("_", " ").replace("-", " ").strip()
    for cell in nb["cells"]:
        cell["source"] = [line.replace("NAME.ipynb", path.name) for line in cell["source"]]
    nb["cells"][0]["source"][0] = f"# {words[:1].upper()}{words[1:]}\n"
    _write_new(path, json.dumps(nb, indent=1, ensure_ascii=False) + "\n")
    return path


def _path(name: str | os.PathLike) -> Path:
    text = os.fspath(name)
    bare = text[: -len(".ipynb")] if text.endswith(".ipynb") else text
    last = os.path.basename(bare)
    bad = sorted({c for c in last if c in _BAD or not c.isprintable()})
    wrong = (
        "it has no last part"
        if not last.strip()
        else f"it begins with {last[0]!r}"
        if last[0] in ".-" or last[0].isspace()
        else f"it holds {', '.join(map(repr, bad))}"
        if bad
        else "it is too long"
        if len(os.fsencode(last)) > 200
        else "it has no letter or digit"
        if not any(map(str.isalnum, last))
        else ""
    )
    if wrong:
        raise ParameterError(f"{text!r} is no name for a notebook: {wrong}", hint="as in momentum_after_costs")
    path = Path(bare + ".ipynb")
    if not path.parent.is_dir():
        raise ParameterError(f"there is no folder {str(path.parent)!r} for {path.name}", hint="make it first")
    return path


def _write_new(path: Path, text: str) -> None:
    """Write a file; one that is there is left as it is."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink()
                raise
    except FileExistsError:
        numbers = (path.with_stem(f"{path.stem}_{i}") for i in range(2, 10_000))
        free = next(p for p in numbers if not os.path.lexists(p))
        raise ParameterError(f"{path} is there already, and is left as it is", hint=f"{free.stem} is free") from None
    except OSError as error:
        raise WorkbenchError(f"{path} could not be written: {error.strerror or error}") from error
