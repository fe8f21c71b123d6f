"""A script under a profiler, as ``python -m workbench profile`` runs it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from .collect import Work
from .lines import lines
from .memory import memory
from .result import TOP, checked_target
from .timing import time

WAYS = {"time": time, "lines": lines, "memory": memory}


def profile(path: str | Path, argv: Sequence[str] = (), *, way: str = "time", top: int = TOP, save=None) -> int:
    """Run a script under a profiler, print the profile, and give back the exit code of the script.

    Parameters
    ----------
    path : path
        Of the script.
    argv : sequence of str
        Its arguments.
    way : {"time", "lines", "memory"}, default "time"
    top : int, default 20
        Rows that are shown.
    save : path, optional
        Where to write the profile too: .html or .json.

    Raises
    ------
    UnknownNameError, ParameterError
        No such script; a file that can't be written to. Then nothing was run.
    """
    if save is not None:
        checked_target(save)
    try:
        work = Work.script(path, argv)
    except (SyntaxError, UnicodeDecodeError) as error:  # told as python tells it
        traceback.print_exception(error.with_traceback(None))
        return 1
    result = WAYS[way](work, top=top)
    sys.stdout.flush()
    print(result)
    if save is not None:
        result.save(save)
    error = result.error
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        raise error
    if error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != str(Path(path).resolve()):
            trace = trace.tb_next
        traceback.print_exception(error.with_traceback(trace))
        return 1
    return 0
