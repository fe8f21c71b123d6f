"""A notebook, run from its first cell to its last by a kernel of this environment, whatever kernel it names."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotebookError
from ..install import kernelspec
from .page import PLOTLY, WIDGET, quiet
from .provenance import MIME, PROBE

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat import NotebookNode

UNCHANGED = "the former report, if there was one, is unchanged"


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


def run(nb: NotebookNode, path: Path, progress: bool) -> dict | str:
    """Execute `nb` in place, with a bar that counts its cells.

    Returns
    -------
    dict or str
        What `provenance.gather` found in the kernel after the last cell, or words on why it could not be asked.

    Raises
    ------
    NotebookError
        A cell failed, or the kernel did: names the cell, its first line and the error.
    """
    from nbclient import NotebookClient
    from tqdm import tqdm

    count, at = len(nb.cells), -1
    nb.cells.append(_probe())
    bar = tqdm(total=count, desc=path.stem, unit="cell", disable=not progress, leave=False)

    def begin(cell, cell_index):
        nonlocal at
        at = min(cell_index, count - 1)
        bar.update(cell_index - bar.n)

    with bar, tempfile.TemporaryDirectory(prefix="wb-") as folder:
        client = NotebookClient(
            nb,
            km=_kernel_manager(folder),
            resources={"metadata": {"path": str(path.resolve().parent)}},
            on_cell_start=begin,
            log=quiet(),
        )
        client.widget_registry["@jupyter-widgets/output"]["OutputModel"] = _output_widget()
        error = _execute(client)
        bar.update(count - bar.n)
    probe = nb.cells.pop()
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = _shown(cell.outputs, client.widget_state)
    if error is not None:
        raise _told(error, nb, at, path) from None
    return _answer(probe)


def _output_widget() -> type:
    """nbclient's side of an Output widget, but for how it tells the kernel what was put out.

    nbclient writes to the socket behind asyncio's back. That swallows the sign of a reply that comes just then, for
    which nbclient then waits for ever.
    """
    from nbclient.output_widget import OutputWidget

    class Output(OutputWidget):
        def send(self, data=None, metadata=None, buffers=None) -> None:
            session, content = self.kernel_client.session, {"comm_id": self.comm_id, "data": data}
            message = session.msg("comm_msg", content, parent=self.parent_header, metadata=metadata)
            self.kernel_client.shell_channel.socket.send_multipart(session.serialize(message))

    return Output


def _shown(
    outputs: list[NotebookNode], widgets: dict[str, dict], within: frozenset = frozenset()
) -> list[NotebookNode]:
    """Outputs as a reader sees them: streams joined, and after a widget without a static twin what was put out in it.

    `widgets` are the states by model; `within` are the models around, as an Output may be shown in itself.
    """
    from nbformat import from_dict

    shown = []
    for output in _joined(outputs):
        data = output.get("data", {})
        alone = WIDGET in data and not {"text/html", PLOTLY} & data.keys()
        model = data[WIDGET].get("model_id") if alone else None
        if widgets.get(model, {}).get("_model_name") != "OutputModel":
            shown.append(output)
        for part in _parts(model, widgets) if alone else ():
            if part not in within:
                held = from_dict(list(widgets[part].get("outputs", ())))
                shown += _shown(held, widgets, within | {part})
    return shown


def _parts(model: str, widgets: dict[str, dict]) -> Iterator[str]:
    """The Output widgets that a widget is made of, in their order."""
    state = widgets.get(model, {})
    if state.get("_model_name") == "OutputModel":
        yield model
    for child in state.get("children") or ():
        yield from _parts(str(child).removeprefix("IPY_MODEL_"), widgets)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with each stream in one piece, where it began, and without what a carriage return wrote over.

    nbclient does so too, but takes a minute for a line of 200,000 letters.
    """
    kept, streams = [], {}
    for output in outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        kept.append(output)
        if output.output_type == "stream":
            streams[output.name] = output
    for stream in streams.values():
        lines = stream.text.split("\n")
        stream.text = "\n".join(line[line.rfind("\r", 0, len(line) - 1) + 1 :] for line in lines)
    return kept


def _probe() -> NotebookNode:
    """A last cell, of our own, that asks the kernel what the notebook stands on; it may fail."""
    from nbformat.v4 import new_code_cell

    return new_code_cell(PROBE, metadata={"tags": ["raises-exception"]})


def _answer(probe: NotebookNode) -> dict | str:
    for output in probe.outputs:
        if MIME in output.get("data", {}):
            return output.data[MIME]
    said = [f"{o.ename}: {o.evalue}" for o in probe.outputs if o.output_type == "error"]
    return said[0] if said else "the kernel did not answer"


def _execute(client: NotebookClient) -> Exception | None:
    """Run all cells; gives back what went wrong.

    A thread with an event loop of its own serves the kernel, so that this works inside a notebook too, and a
    Ctrl-C reaches the caller, who waits here and then has the kernel shut down.
    """
    at_work = []

    async def execute():
        at_work.extend((asyncio.get_running_loop(), asyncio.current_task()))
        await client.async_execute(cleanup_kc=True)

    with ThreadPoolExecutor(1, thread_name_prefix="notebook") as pool:
        done = pool.submit(lambda: asyncio.run(execute()))
        try:
            done.result()
        except (KeyboardInterrupt, SystemExit):
            client.shutdown_kernel = "immediate"
            if at_work and not done.done():
                loop, task = at_work
                loop.call_soon_threadsafe(task.cancel)
            raise
        except Exception as e:  # nbclient stumbles over what it did not foresee in many ways
            return e
    return None


def _told(error: Exception, nb: NotebookNode, at: int, path: Path) -> NotebookError:
    """What went wrong, in the words of a notebook: which cell, how it begins, and what it said."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from nbconvert.filters import strip_ansi

    if at < 0:
        hint = "python -m workbench doctor says what is missing"
        return NotebookError(f"{path}: the kernel did not run: {error}", hint=hint)
    cell = nb.cells[at]
    first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    first = first if len(first) <= 100 else first[:97] + "..."
    number = sum(c.cell_type == "code" and bool(c.source.strip()) for c in nb.cells[: at + 1])
    if isinstance(error, CellExecutionError):
        said = _said(error, cell)
    elif isinstance(error, DeadKernelError):
        said = "the kernel died (out of memory, or a crash)"
    else:
        said = f"nbclient, which runs the cells, could not follow it: {type(error).__name__}: {error}"
    told = NotebookError(
        f"{path}: cell {at + 1} of {len(nb.cells)}, In [{number}], failed at `{first}`\n  {strip_ansi(said).strip()}",
        hint=UNCHANGED,
    )
    for output in cell.outputs:
        if output.output_type == "error":
            told.add_note(strip_ansi("\n".join(output.traceback)))
    return told


def _said(error: CellExecutionError, cell: NotebookNode) -> str:
    """The name of a cell's error and its message."""
    name, value = error.ename, error.evalue
    shown = [output for output in cell.outputs if output.output_type == "error"]
    # of what a rich repr raises the kernel has forgotten the name by the time that it replies, not when it shows it
    if name == "NoneType" and shown:
        return f"{shown[-1].ename}: {shown[-1].evalue}, raised as the cell's value was shown"
    if name == "SystemExit":  # nbconvert and JupyterLab stop there too, whatever the status
        return f"SystemExit: {value}, which in a notebook is an error: leave exit out, or tag the cell raises-exception"
    return f"{name}: {value}"
