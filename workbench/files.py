"""Files that are written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import WorkbenchError


def write_whole(target: Path, content: bytes, *, hint: str) -> None:
    """Write all of `content` to `target`, or leave `target` as it is.

    Raises
    ------
    WorkbenchError
        The file could not be written; with `hint`.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
        temporary = None
    except OSError as e:
        raise WorkbenchError(f"{target} could not be written: {e.strerror or e}", hint=hint) from e
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
