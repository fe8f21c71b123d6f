"""Notebooks as tests: a plugin for pytest, over nbval, that compares numbers as numbers and keeps budgets.

::

    pytest -p workbench.testing notebooks

runs each notebook from its first cell to its last, in a kernel of this environment with workbench's magics loaded; a
cell that raises fails. What else is asked of a cell stands in its tags (in JupyterLab: Property Inspector, Cell Tags):

``nbval-check-output``
    The outputs are compared with those that are saved in the notebook: words must be equal, numbers equal within the
    tolerance. A plotly figure is compared by its data, whatever its layout; pictures and widgets are not compared.
``rtol=1e-6``, ``atol=1e-9``
    The tolerance, as numpy has it: abs(found - saved) <= atol + rtol * abs(saved). Without it numbers must be equal.
    What is printed with four decimals can differ by one in the last of them, so ``atol=2e-4`` suits it.
``time=5s``, ``memory=200MB``
    A budget: the time from sending the cell to its last output, and how far the memory of the kernel's process peaks
    above what it held before (Linux only; what processes of its own hold is not counted). Units: ms, s, min; KB, MB,
    GB, and KiB, MiB, GiB.

A cell whose kernel dies (out of memory, a crash) fails, and the rest of its notebook is skipped.

Dates, times and versions are words, and so are numbers that touch a letter. What varies from run to run (durations,
addresses, temporary folders) is left out of the comparison by the patterns in ``assets/nbval.cfg``, or by those of
``--nbval-sanitize-with``. nbval's own tags and options work as ever: ``nbval-skip``, ``raises-exception``,
``--nbval`` to compare every cell.
"""

from __future__ import annotations

import base64
import difflib
import functools
import json
import math
import queue
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nbval import plugin as nbval

PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PATTERNS = Path(__file__).parent / "assets" / "nbval.cfg"
_TIME = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_MEMORY = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS = {"rtol": {"": 1.0}, "atol": {"": 1.0}, "time": _TIME, "memory": _MEMORY}
_EXAMPLES = {"rtol": "rtol=1e-6", "atol": "atol=1e-9", "time": "time=5s", "memory": "memory=200MB"}
_NBVAL = (
    "nbval-check-output",
    "nbval-ignore-output",
    "nbval-raises-exception",
    "nbval-skip",
    "raises-exception",
    "skip-execution",
)
# One of our names on its own, or with a number but without its sign.
_ASKING = re.compile(r"(rtol|atol|time|memory)\s*(?:$|[:<>~-]*\s*[\d.])")
_TAG = re.compile(r"(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)")
# A number on its own: no part of a word, a date, a time or a version.
_NUMBER = re.compile(
    r"(?<![\w.:/\-+])[+\-−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w:/]|[.\-+]\d)"
)
_KINDS = {"u1c": "u1", "uint8c": "u1"}  # plotly's names of packed arrays that numpy does not know
_LOOK = 0.5  # seconds between two looks at whether the kernel lives
# What differs from run to run in a figure that is the same.
_UNSEEN = {"uid"}


# ------------------------------------------------------------------------------------------------ what pytest calls


def pytest_configure(config: pytest.Config) -> None:
    """Run notebooks without being told to, by the kernel of this environment."""
    option = config.option
    if not option.nbval:
        option.nbval_lax = True
    if not option.nbval_kernel_name:
        option.nbval_current_env = True
    if option.nbval_sanitize_with is None:
        option.nbval_sanitize_with = str(_PATTERNS)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    """Where nbval would collect a notebook, collect it as ours."""
    found = yield
    return [Notebook.from_parent(parent, path=file_path) if isinstance(c, nbval.IPyNbFile) else c for c in found]


class Died(Exception):
    """The kernel's process has ended: no reply will come."""


class Notebook(nbval.IPyNbFile):
    """A notebook, one item a code cell; `died` names the cell that found its kernel dead."""

    died = ""

    def setup(self) -> None:
        super().setup()
        kernel = self.kernel
        kernel.get_message = functools.partial(_message, kernel, kernel.get_message)
        code = "get_ipython().run_line_magic('load_ext', 'workbench')"
        kernel.await_idle(kernel.kc.execute(code, store_history=False), timeout=60)

    def teardown(self) -> None:
        if self.died:
            self.kernel.stop()  # nbval leaves the sockets of a dead one open
        super().teardown()

    def collect(self) -> Iterator[Cell]:
        for cell in super().collect():
            yield Cell.from_parent(self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options)


def _message(kernel: nbval.RunningKernel, ask: Callable, stream: str, timeout: float | None = None) -> dict:
    """The next message, as nbval asks for it: but without a timeout that would wait for a dead kernel for ever."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    dead = False
    while True:
        try:
            return ask(stream, max(0.0, min(_LOOK, end - time.monotonic())))
        except queue.Empty:
            if dead:
                raise Died("The kernel died (out of memory, or a crash)") from None
            dead = not kernel.is_alive()  # then once more: what it sent before it died still counts
            if not dead and time.monotonic() >= end:
                raise


class Cell(nbval.IPyNbCell):
    """A code cell, with what its tags ask for."""

    def __init__(self, name, parent, cell_num, cell, options):
        super().__init__(name, parent, cell_num, cell, options)
        try:
            self.asked = asked(cell.metadata.get("tags", ()))
            idle = {"rtol", "atol"} & self.asked.keys()
            if idle and not options["check"]:
                raise ValueError(f"{idle.pop()} without nbval-check-output: nothing is compared")
        except ValueError as error:
            raise pytest.Collector.CollectError(f"{parent.path}, {name}: {error}") from None

    def runtest(self) -> None:
        if self.parent.died:
            pytest.skip(f"the kernel died: {self.parent.died}")
        try:
            if not (self.parent.kernel.is_alive() or self.parent.timed_out or self.options["skip"]):
                raise Died("The kernel died before this cell began (out of memory, or a crash)")
            self._run()
        except Died as error:
            self.parent.died = self.name
            self.raise_cell_error(str(error))

    def _run(self) -> None:
        if self.options["check"] and not self.options["skip"] and self.cell.execution_count is None:
            self.raise_cell_error("Nothing to compare with: run the notebook and save it with its outputs")
        measured = "memory" in self.asked and self.parent.kernel.is_alive() and not self.options["skip"]
        pid = self.parent.kernel.km.provisioner.pid if measured else None
        before = _reset_peak(pid) if measured else 0
        begun = time.perf_counter()
        super().runtest()
        took = time.perf_counter() - begun
        if took > (budget := self.asked.get("time", math.inf)):
            self.raise_cell_error(f"Over its budget of time: took {took:.3g} s, may take {budget:g} s")
        if measured:
            grown, budget = max(0, _peak(pid) - before), self.asked["memory"]
            if grown > budget:
                told = f"its peak stood {grown / 1e6:,.1f} MB above what was held before, may be {budget / 1e6:,.1f} MB"
                self.raise_cell_error(f"Over its budget of memory: {told}")

    def compare_outputs(self, test, ref, skip_compare=None) -> bool:
        wrong = compare([*map(self._clean, test)], [*map(self._clean, ref)], self._tolerance)
        self.comparison_traceback = [] if wrong is None else [wrong]
        return wrong is None

    @property
    def _tolerance(self) -> tuple[float, float]:
        return self.asked.get("rtol", 0.0), self.asked.get("atol", 0.0)

    def _clean(self, output: dict) -> dict[str, object]:
        """What is compared of an output, by kind, without what varies from run to run."""
        if output["output_type"] == "stream":
            return {output["name"]: self.sanitize(output["text"])}
        if output["output_type"] == "error":
            return {"error": self.sanitize(f"{output['ename']}: {output['evalue']}")}
        data = output["data"]
        if PLOTLY in data:  # the rest of the bundle says the same, with the layout
            return {PLOTLY: data[PLOTLY]}
        kept = {kind for kind in data if kind != _WIDGET and not (kind.startswith("image/") and "svg" not in kind)}
        return {kind: self.sanitize(_text(data[kind])) for kind in sorted(kept)}


def asked(tags: list[str]) -> dict[str, float]:
    """What the tags of a cell ask for, in seconds, bytes and plain numbers.

    Raises
    ------
    ValueError
        A tag of the form name=value that is none of ours, or a value that can't be read.
    """
    found = {}
    for tag in tags:
        name, equals, value = tag.partition("=")
        if not equals:
            _check_word(tag)
            continue
        if name not in _UNITS:
            near = difflib.get_close_matches(name, _UNITS, n=1) or ["rtol" if "tol" in name else ""]
            hint = f"did you mean {_EXAMPLES[near[0]]}? " if near[0] else ""
            raise ValueError(f"unknown tag {tag!r}; {hint}known: {', '.join(_EXAMPLES.values())}")
        read, units = _TAG.fullmatch(value.strip()), _UNITS[name]
        if read is None or read[2] not in units:
            raise ValueError(f"the tag {tag!r} can't be read, expected as in {_EXAMPLES[name]}")
        found[name] = float(read[1]) * units[read[2]]
    return found


def _check_word(tag: str) -> None:
    """Refuse a tag that was meant to ask for something: a slip in it would ask for nothing, and pass."""
    if tag in _NBVAL:
        return
    if near := difflib.get_close_matches(tag.lower().replace("_", "-"), _NBVAL, n=1, cutoff=0.8):
        raise ValueError(f"unknown tag {tag!r}; did you mean {near[0]}?")
    if tag.lower().startswith("nbval"):
        raise ValueError(f"unknown tag {tag!r}; known: {', '.join(_NBVAL)}")
    if meant := _ASKING.match(tag.lower()):
        raise ValueError(f"the tag {tag!r} can't be read, expected as in {_EXAMPLES[meant[1]]}")


# ------------------------------------------------------------------------------------------------- what is compared


def compare(found: list[dict], saved: list[dict], tolerance: tuple[float, float] = (0.0, 0.0)) -> str | None:
    """What differs between two lists of outputs, in words; None where nothing does.

    Parameters
    ----------
    found, saved : list of dict
        Outputs in their order, each a mapping from its kinds (a stream's name, a MIME type) to text or to a figure.
    tolerance : pair of float, default (0, 0)
        Relative and absolute.
    """
    if len(found) != len(saved):
        return f"{len(found)} outputs, the notebook has {len(saved)} saved\n{_listed(found, saved)}"
    for number, (new, old) in enumerate(zip(found, saved, strict=True), start=1):
        where = f"output {number} of {len(saved)}"
        if new.keys() != old.keys():
            return f"{where} is {', '.join(new) or 'nothing'}, saved is {', '.join(old) or 'nothing'}"
        for kind, value in new.items():
            part = _values if kind == PLOTLY else _texts
            wrong = (
                part(_data(value), _data(old[kind]), tolerance) if kind == PLOTLY else part(value, old[kind], tolerance)
            )
            if wrong is not None:
                return f"{where}, {'figure' if kind == PLOTLY else kind}: {wrong}"
    return None


def _texts(found: str, saved: str, tolerance: tuple[float, float]) -> str | None:
    """The first line that differs; the width of columns does not count."""
    new, old = _lines(found), _lines(saved)
    for number, (a, b) in enumerate(zip(new, old, strict=False), start=1):
        if _NUMBER.sub("0", a) != _NUMBER.sub("0", b):
            return f"line {number} differs\n  found  {a}\n  saved  {b}"
        for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True):
            if x != y and (wrong := _off(_number(x), _number(y), tolerance)):
                return f"line {number}: {wrong}\n  found  {a}\n  saved  {b}"
    if len(new) != len(old):
        more = (new if len(new) > len(old) else old)[min(len(new), len(old))]
        return f"{len(new)} lines, {len(old)} are saved; the first of those too many: {more}"
    return None


def _lines(text: str) -> list[str]:
    """The lines of a text, with one space where there are many; HTML is broken at its tags."""
    text = text.replace("><", ">\n<").strip()
    return [" ".join(line.split()) for line in text.splitlines()]


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _off(found: float, saved: float, tolerance: tuple[float, float]) -> str | None:
    """By how much a number is off, where that is more than may be."""
    rtol, atol = tolerance
    if found == saved or (math.isnan(found) and math.isnan(saved)):
        return None
    away, room = abs(found - saved), atol + rtol * abs(saved)
    if math.isfinite(away) and away <= room:
        return None
    relative = f", {away / abs(saved):.3g} of it" if saved and math.isfinite(away) else ""
    may = f"may be off by {room:.3g} (rtol={rtol:g}, atol={atol:g})" if room else "has no tolerance (tag it rtol=1e-6)"
    return f"{found:.10g} was {saved:.10g}, off by {away:.3g}{relative}; {may}"


def _data(figure: dict) -> dict:
    """What a figure shows: its traces, and those of its frames."""
    frames = [frame.get("data", []) for frame in figure.get("frames") or []]
    return {"data": figure.get("data", []), **({"frames": frames} if frames else {})}


def _values(found: object, saved: object, tolerance: tuple[float, float], where: str = "") -> str | None:
    """The first difference between two trees of JSON, packed arrays unpacked."""
    found, saved = _unpacked(found), _unpacked(saved)
    if isinstance(found, dict) and isinstance(saved, dict):
        new, old = ({k: v for k, v in side.items() if k not in _UNSEEN} for side in (found, saved))
        if new.keys() != old.keys():
            return f"{where or 'figure'}: {', '.join(sorted(new.keys() ^ old.keys()))} on one side only"
        pairs = ((f"{where}.{k}" if where else k, new[k], old[k]) for k in new)
    elif isinstance(found, list) and isinstance(saved, list):
        if len(found) != len(saved):
            return f"{where} has {len(found)} items, {len(saved)} are saved"
        pairs = ((f"{where}[{i}]", *both) for i, both in enumerate(zip(found, saved, strict=True)))
    elif _is_number(found) and _is_number(saved):
        wrong = _off(found, saved, tolerance)
        return wrong and f"{where}: {wrong}"
    else:
        same = found == saved and isinstance(found, bool) == isinstance(saved, bool)
        return None if same else f"{where} is {found!r:.80}, saved is {saved!r:.80}"
    return next(filter(None, (_values(a, b, tolerance, name) for name, a, b in pairs)), None)


def _unpacked(value: object) -> object:
    if not (isinstance(value, dict) and "bdata" in value):
        return value
    import numpy as np

    kind = _KINDS.get(value["dtype"], value["dtype"])
    array = np.frombuffer(base64.b64decode(value["bdata"]), kind)
    shape = value.get("shape")
    sizes = [int(n) for n in shape.split(",")] if isinstance(shape, str) else shape
    return (array.reshape(sizes) if sizes else array).tolist()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, indent=1)


def _listed(found: list[dict], saved: list[dict]) -> str:
    kinds = {"found": found, "saved": saved}
    return "\n".join(f"  {name}  {'; '.join(map(', '.join, side)) or 'none'}" for name, side in kinds.items())


# ------------------------------------------------------------------------------------------- the memory of a process


def _reset_peak(pid: int) -> int:
    """Let the peak of a process begin anew; gives back the bytes that it holds now."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError as error:
        pytest.fail(f"a budget of memory needs Linux's /proc: {error}", pytrace=False)
    return _status(pid, "VmRSS")


def _peak(pid: int) -> int:
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    """Bytes, from a line such as ``VmHWM:   123456 kB``."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024
