"""Data by reference: named arrays in a folder of their own, written whole or not at all, opened by memory map.

What is large crosses a process boundary as a `Ref`, never by value: a worker that opens one shares its pages with
everybody else who has, and reads no more than it uses. A reference is immutable; a `PanelRef` names a panel by its
fingerprint, so the same panel is written once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from .errors import DataError, ParameterError, WorkbenchError
from .panel import Panel

DEFAULT_FOLDER = ".workbench/panels"
_FACTS = "facts.json"
_PAGE = 4096  # bytes
_LENT = re.compile(r"workbench-(\d+)-\w+")  # a folder that is lent, with the process that lends it


@dataclass(frozen=True)
class Ref:
    """Where some arrays lie.

    Parameters
    ----------
    url : str
        ``file:///path/to/folder``.
    """

    url: str

    @property
    def folder(self) -> Path:
        parts = urlsplit(self.url)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise ParameterError(f"{self.url!r} can't be opened, expected a file:// URL", hint="file:///path/to/folder")
        return Path(unquote(parts.path))

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays by name, read-only, mapped into memory for as long as one of them is used.

        Raises
        ------
        DataError
            The folder is not there, or not whole.
        """
        return _read(self.folder)[0]

    def facts(self) -> dict:
        """What was said of the arrays, in JSON's terms."""
        return _read(self.folder)[1]


@dataclass(frozen=True)
class PanelRef(Ref):
    """A panel by reference.

    Parameters
    ----------
    url : str
    fingerprint : str
        Of the panel.
    """

    fingerprint: str = ""

    def open(self, *, verify: bool = False) -> Panel:
        """The panel, mapped into memory: nothing is read before it is used.

        Parameters
        ----------
        verify : bool, default False
            Read it all, and compare it with the fingerprint.

        Raises
        ------
        DataError
            The folder is not there, not whole, not this panel's or, where that was asked for, of other content.
        """
        arrays, facts = _read(self.folder)
        if facts.get("fingerprint") != self.fingerprint:
            raise DataError(f"{self.folder} holds another panel than the one of fingerprint {self.fingerprint[:12]}")
        time = pd.DatetimeIndex(arrays["time"].copy(), tz="UTC")
        panel = Panel(np.asarray(arrays["values"]), time, facts["symbols"], facts["fields"], facts["lookback"])
        if verify:
            if panel.fingerprint != self.fingerprint:
                raise DataError(
                    f"{self.folder} is damaged: its content is not that of its fingerprint",
                    hint="delete that folder and save the panel again",
                )
        else:
            object.__setattr__(panel, "_fingerprint", self.fingerprint)
        return panel


def save_panel(panel: Panel, folder: str | os.PathLike | None = None) -> PanelRef:
    """Write a panel under its fingerprint, unless it is there already and whole.

    Parameters
    ----------
    panel : Panel
    folder : path, optional
        That holds the panels. Default: ``.workbench/panels`` in the working folder.

    Returns
    -------
    PanelRef

    Raises
    ------
    WorkbenchError
        It can't be written; nothing is left behind then.
    """
    # the fingerprint is that of the content, which says nothing of what it was computed from
    name = f"{panel.fingerprint}-{panel.lookback}" if panel.lookback else panel.fingerprint
    target = Path(folder or DEFAULT_FOLDER).expanduser().absolute() / name
    if not _is_whole(target):
        facts = {"symbols": panel.symbols, "fields": panel.fields, "lookback": panel.lookback}
        time = panel.time.tz_localize(None).to_numpy()
        arrays = {"values": panel.values, "time": time}
        _write(target, arrays, facts | {"fingerprint": panel.fingerprint}, lasting=True)
    return PanelRef(target.as_uri(), panel.fingerprint)


@contextmanager
def lent(arrays: Mapping[str, np.ndarray], facts: Mapping | None = None) -> Iterator[Ref]:
    """A reference to `arrays` that lasts as long as the block.

    Its folder lies where temporary files do; one that a killed process has left is removed by the next call.

    Raises
    ------
    WorkbenchError
        It can't be written; nothing is left behind then.
    """
    try:
        root = Path(tempfile.gettempdir())
        for left in root.glob("workbench-*"):
            match = _LENT.fullmatch(left.name)
            if match and not _is_alive(int(match[1])):
                shutil.rmtree(left, ignore_errors=True)
        home = Path(tempfile.mkdtemp(prefix=f"workbench-{os.getpid()}-", dir=root))
    except OSError as error:
        raise _unwritten(Path(tempfile.tempdir or "the folder of temporary files"), arrays, error) from error
    try:
        _write(home / "lent", arrays, dict(facts or {}))
        # mapped and touched here as well: the system counts a page that one process alone maps as private to it
        mapped, _ = _read(home / "lent")
        for array in mapped.values():
            array.reshape(-1).view(np.uint8)[::_PAGE].max(initial=0)
        yield Ref((home / "lent").as_uri())
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _write(target: Path, arrays: Mapping[str, np.ndarray], facts: dict, *, lasting: bool = False) -> None:
    """The folder `target`, which comes into being whole; a torn one that stands there is replaced.

    `lasting` waits until it is on the disk.
    """
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        for name, array in arrays.items():
            with open(partial / f"{name}.npy", "wb") as file:
                np.save(file, array, allow_pickle=False)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
        # last, and with the names of all arrays: where it can be read, nothing is missing
        (partial / _FACTS).write_text(json.dumps({"arrays": list(arrays), "facts": facts}))
        if target.exists() and not _is_whole(target):
            torn = partial.with_suffix(".torn")
            os.rename(target, torn)
            shutil.rmtree(torn, ignore_errors=True)
        os.rename(partial, target)
    except OSError as error:
        if not _is_whole(target):  # or else somebody was quicker, with the same content
            raise _unwritten(target, arrays, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritten(target: Path, arrays: Mapping[str, np.ndarray], error: OSError) -> WorkbenchError:
    size = sum(array.nbytes for array in arrays.values())
    return WorkbenchError(
        f"{size / 1e6:,.1f} MB can't be written to {target}: {error.strerror or error}",
        hint="make room, or point TMPDIR or the folder to a disk that has some",
    )


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except DataError:
        return False
    return True


def _read(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    try:
        content = json.loads((folder / _FACTS).read_text())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in content["arrays"]}
        return arrays, dict(content["facts"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} can't be opened: {type(error).__name__}: {error}", hint="write it again: save_panel(panel)"
        ) from error
