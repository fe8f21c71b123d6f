"""A notebook, run from its first cell to its last, as one HTML file that needs nothing else.

What runs is a kernel of the environment that calls, whatever kernel the notebook names. The file is written
beside its final name and moved there at the very end: a notebook that fails, a Ctrl-C, a full disk or a
killed process leaves the former report as it was.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, NotebookError, ParameterError, UnknownNameError
from ..files import write_whole
from ..install import kernelspec
from .page import page, quiet

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

UNCHANGED = "the former report, if there was one, is unchanged"


def report(notebook: str | os.PathLike, output: str | os.PathLike | None = None, *, progress: bool = True) -> Path:
    """Run a notebook and write it as one self-contained HTML file.

    Parameters
    ----------
    notebook : path
        An .ipynb file of Python cells. It is run in its own folder, by a kernel of this environment, and is
        not changed.
    output : path, default ``reports/<name of the notebook>.html``
        Replaced only when all has gone well.
    progress : bool, default True
        Whether to show a bar, by cell, on stderr.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    NotebookError
        A cell failed, or the kernel did: names the cell, its first line and the error.
    DataError, UnknownNameError
        The file isn't a notebook, or there is none of that name.
    ParameterError
        The output is a folder, lies below a file, or is no regular file; a link is followed.
    KeyboardInterrupt
        On Ctrl-C, after the kernel has been shut down.
    """

    path = Path(notebook)
    nb = _read(path)
    target = _target(path, output)
    source, digest = copy.deepcopy(nb), hashlib.sha256(path.read_bytes()).hexdigest()
    started, clock = time.time(), time.monotonic()
    _run(nb, path, progress)
    facts = {"started": started, "seconds": time.monotonic() - clock, "sha256": digest}
    _write_whole(target, page(nb, source, path, facts).encode("utf-8"))
    return target


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


def _target(path: Path, output: str | os.PathLike | None) -> Path:
    target = Path("reports") / f"{path.stem}.html" if output is None else Path(output)
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


def _kernel_manager(folder: str):
    """A manager that starts this environment's kernel, whichever kernels are installed."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class ThisEnvironment(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # Figures come as themselves, without a copy of plotly.js beside each one.
            return KernelSpec(**{**kernelspec(), "env": {"PLOTLY_RENDERER": "plotly_mimetype"}})

    manager = AsyncKernelManager(kernel_name="workbench", kernel_spec_manager=ThisEnvironment(log=quiet()))
    # Sockets in a folder of our own rather than open TCP ports, where the path is short enough for them.
    where = os.path.join(folder, "kernel.json")
    if os.name == "posix" and len(where) < 90:
        manager.transport, manager.connection_file = "ipc", where
    return manager


def _run(nb: NotebookNode, path: Path, progress: bool) -> None:
    """Execute `nb` in place, with a bar that counts its cells."""
    from nbclient import NotebookClient
    from tqdm import tqdm

    count, at = len(nb.cells), -1
    bar = tqdm(total=count, desc=path.stem, unit="cell", disable=not progress, leave=False)

    def begin(cell, cell_index):
        nonlocal at
        at = cell_index
        bar.update(cell_index - bar.n)

    with bar, tempfile.TemporaryDirectory(prefix="wb-") as folder:
        client = NotebookClient(
            nb,
            km=_kernel_manager(folder),
            resources={"metadata": {"path": str(path.resolve().parent)}},
            coalesce_streams=True,
            store_widget_state=False,
            on_cell_start=begin,
            log=quiet(),
        )
        error = _execute(client)
        bar.update(count - bar.n)
    if error is not None:
        raise _told(error, nb, at, path) from None


def _execute(client: NotebookClient) -> Exception | None:
    """Run all cells; gives back what went wrong.

    A thread with an event loop of its own serves the kernel, so that this works inside a notebook too, and a
    Ctrl-C reaches the caller, who waits here and then has the kernel shut down.
    """
    from nbclient.exceptions import CellExecutionError

    at_work = []

    async def execute():
        at_work.extend((asyncio.get_running_loop(), asyncio.current_task()))
        await client.async_execute(cleanup_kc=True)

    with ThreadPoolExecutor(1, thread_name_prefix="notebook") as pool:
        done = pool.submit(lambda: asyncio.run(execute()))
        try:
            done.result()
        except KeyboardInterrupt:
            client.shutdown_kernel = "immediate"
            if at_work and not done.done():
                loop, task = at_work
                loop.call_soon_threadsafe(task.cancel)
            raise
        except (CellExecutionError, RuntimeError, TimeoutError, OSError) as e:
            return e
    return None


def _told(error: Exception, nb: NotebookNode, at: int, path: Path) -> NotebookError:
    """What went wrong, in the words of a notebook: which cell, how it begins, and what it said."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from nbconvert.filters import strip_ansi

    failed = isinstance(error, CellExecutionError)
    if at < 0 or not (failed or isinstance(error, DeadKernelError)):
        hint = "python -m workbench doctor says what is missing"
        return NotebookError(f"{path}: the kernel did not run: {error}", hint=hint)
    cell = nb.cells[at]
    first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    first = first if len(first) <= 100 else first[:97] + "..."
    number = sum(c.cell_type == "code" and bool(c.source.strip()) for c in nb.cells[: at + 1])
    said = f"{error.ename}: {error.evalue}" if failed else "the kernel died (out of memory, or a crash)"
    told = NotebookError(
        f"{path}: cell {at + 1} of {len(nb.cells)}, In [{number}], failed at `{first}`\n  {strip_ansi(said).strip()}",
        hint=UNCHANGED,
    )
    for output in cell.outputs:
        if output.output_type == "error":
            told.add_note(strip_ansi("\n".join(output.traceback)))
    return told


def _write_whole(target: Path, content: bytes) -> None:
    write_whole(target, content, hint=f"{UNCHANGED}; make room, or write elsewhere")
