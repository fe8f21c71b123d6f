"""A notebook, or each of a folder, as one HTML file that needs nothing else.

What runs is a kernel of the environment that calls, whatever kernel the notebook names. Each file is written
beside its final name and moved there at the very end: a notebook that fails, a Ctrl-C, a full disk or a
killed process leaves the former report as it was.
"""

from __future__ import annotations

import copy
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, NotebookError, ParameterError, UnknownNameError, WorkbenchError
from ..files import write_whole
from .page import Entry, Look, index, page
from .parameters import declared, inject
from .run import UNCHANGED, run

if TYPE_CHECKING:
    from nbformat import NotebookNode

INDEX = "index.html"


def report(
    notebook: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    code: bool = True,
    theme: str = "auto",
    parameters: Mapping[str, object] | None = None,
    progress: bool = True,
) -> Path:
    """Run a notebook, or each of a folder, and write it as one self-contained HTML file.

    Parameters
    ----------
    notebook : path
        An .ipynb file of Python cells, or a folder that holds some (those below it are left out). Each is run in its
        own folder, by a kernel of this environment, and is not changed.
    output : path, default ``reports/<name of the notebook>.html``
        Replaced only when all has gone well. For a folder: the folder to write to, default ``reports``, with one page
        a notebook and ``index.html``, which says what each of them asks and links to it.
    code : bool, default True
        Whether the page shows the code, and carries the notebook for who wants to run it. False leaves out both.
    theme : {"auto", "light", "dark"}, default "auto"
        That the page opens in; auto is the reader's own.
    parameters : mapping of str to object, optional
        By papermill's convention: put into a cell after the one that is tagged ``parameters``, which names them and
        their defaults. Values are literals; a string is read as JSON where the default is anything but a string. For
        a folder: each notebook takes those that it names.
    progress : bool, default True
        Whether to show a bar, by cell, on stderr.

    Returns
    -------
    Path
        Of the file; for a folder of its index.

    Raises
    ------
    NotebookError
        A cell failed, or the kernel did: names the cell, its first line and the error. For a folder: names each
        notebook that failed, after all others and the index have been written.
    DataError, UnknownNameError
        The file isn't a notebook, or there is none of that name; no such parameter.
    ParameterError
        The output is a folder, lies below a file, or is no regular file; a link is followed. A parameter is of another
        kind than its default.
    KeyboardInterrupt
        On Ctrl-C, after the kernel has been shut down.
    """
    if theme not in ("auto", "light", "dark"):
        raise UnknownNameError.of("theme", theme, ("auto", "light", "dark"))
    path, look, given = Path(notebook), Look(code, theme), dict(parameters or {})
    if path.is_dir():
        return _folder(path, Path("reports" if output is None else output), look, given, progress)
    nb = _read(path)
    target = _target(path, Path("reports") / f"{path.stem}.html" if output is None else Path(output))
    _export(nb, path, target, look, given, progress)
    return target


def _export(nb: NotebookNode, path: Path, target: Path, look: Look, given: dict, progress: bool) -> Entry:
    """Run a notebook that was read, and write its page."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    values = inject(nb, given, path)
    source = copy.deepcopy(nb)
    started, clock = time.time(), time.monotonic()
    found = run(nb, path, progress)
    seconds = time.monotonic() - clock
    facts = {"started": started, "seconds": seconds, "sha256": digest, "parameters": values, "found": found}
    made = page(nb, source, path, facts, look)
    _write_whole(target, made.text.encode("utf-8"))
    return Entry(target.name, made.title, made.question, made.figures, seconds, len(made.text))


def _folder(folder: Path, output: Path, look: Look, given: dict, progress: bool) -> Path:
    """Export each notebook of a folder, and write the index; what fails does not keep the others from it."""
    paths = sorted(p for p in folder.glob("*.ipynb") if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise DataError(f"there is no notebook in {folder}", hint="folders below it are not looked into")
    if any(p.stem == "index" for p in paths):
        raise ParameterError(f"{folder} holds index.ipynb, whose page would be the index's", hint="rename it")
    if output.exists() and not output.is_dir():
        raise ParameterError(f"report: {output} is a file, expected a folder for the pages of {folder}")
    index_target = _target(folder, output / INDEX)
    books, failed = {}, {}
    for path in paths:
        try:
            books[path] = _read(path)
        except WorkbenchError as error:
            failed[path] = error
    known = {path: declared(nb) for path, nb in books.items()}
    for name in given:
        if not any(name in names for names in known.values()):
            raise UnknownNameError.of(
                f"parameter of the notebooks in {folder}", name, {n for k in known.values() for n in k}
            )
    entries = []
    for path in paths:
        target = output / f"{path.stem}.html"
        try:
            if path in failed:
                raise failed[path]
            mine = {name: value for name, value in given.items() if name in known[path]}
            entries.append(_export(books[path], path, _target(path, target), look, mine, progress))
        except WorkbenchError as error:
            failed[path] = error
            said = error.message.replace(str(path), path.name)
            said = said if look.code else said.splitlines()[-1].strip()  # the others quote the cell
            entries.append(Entry(target.name if target.is_file() else "", path.stem, failed=said))
    text = index(folder.resolve().name, entries, look)
    _write_whole(index_target, text.encode("utf-8"))
    if failed:
        told = "\n".join(f"  {error.message}" for error in failed.values())
        hint = f"the other pages and {index_target} are written; {UNCHANGED}"
        raise NotebookError(f"{len(failed)} of {len(paths)} notebooks failed:\n{told}", hint=hint)
    return index_target


def _read(path: Path) -> NotebookNode:
    import nbformat

    if not path.is_file():
        known = [p.name for p in path.parent.glob("*.ipynb")] if path.parent.is_dir() else []
        raise UnknownNameError.of("notebook", path.name, known)
    try:
        nb = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
        nbformat.validate(nb)
    except (ValueError, TypeError, AttributeError, KeyError, nbformat.ValidationError) as e:
        said = next(iter(str(e).strip().splitlines()), type(e).__name__)[:200]
        hint = "open it in JupyterLab and save it again"
        raise DataError(f"{path} is not a notebook: {said}", hint=hint) from e
    language = nb.metadata.get("kernelspec", {}).get("language", "python")
    if language.lower() != "python":
        raise DataError(f"{path} is a notebook for {language}, expected Python")
    return nb


def _target(path: Path, target: Path) -> Path:
    """Where the page of `path` is written, once it is sure that a file can be there."""
    if target.is_dir():
        hint = f"name a file in it: {target / path.stem}.html"
        raise ParameterError(f"report: {target} is a folder, expected a file", hint=hint)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # what it points to is what is written
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise ParameterError(f"report: {target} is a device, a pipe or a loop of links, expected a file")
    if target.exists() and target.samefile(path):
        raise ParameterError(f"report: {target} is the notebook itself", hint=f"try {path.stem}.html")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ParameterError(f"report: the folder {target.parent} can't be made: {e.strerror}") from e
    return target


def _write_whole(target: Path, content: bytes) -> None:
    write_whole(target, content, hint=f"{UNCHANGED}; make room, or write elsewhere")
