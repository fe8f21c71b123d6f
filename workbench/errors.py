"""The exceptions of workbench; and `hush`, for warnings of others.

::

    WorkbenchError
    ├── DataError (ValueError)            bars, frames or files that are not what they claim to be
    ├── ParameterError (ValueError)       a parameter outside its range, or of the wrong kind
    ├── UnknownNameError (LookupError)    a name that nothing is registered or stored under
    ├── RegistrationError (TypeError)     a registered thing that does not declare what it must
    ├── MissingPackageError (ImportError) an optional package is not installed
    ├── TaskError (RuntimeError)          a task of a parallel run failed; names the task
    ├── NotebookError (RuntimeError)      a notebook failed while it was run; names the cell
    └── Cancelled                         long work was stopped on request; what was finished is kept

Every message names the thing, what was found, what was expected, and the nearest valid choice.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches

FOLDED = "<details><summary>traceback</summary>"
"""How the traceback of an error begins that `show_in` shows in a notebook."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_hushed: Counter[tuple] = Counter()
_hushing = threading.Lock()


class WorkbenchError(Exception):
    """Base of every error that workbench raises on purpose.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    hint : str, optional
        What to do about it; shown on a line of its own.
    """

    def __init__(self, message: str, hint: str | None = None):
        self.message, self.hint = message, hint
        super().__init__(message, hint)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class DataError(WorkbenchError, ValueError):
    """Bars, frames or files that are not what they claim to be."""


class ParameterError(WorkbenchError, ValueError):
    """A parameter outside its range, or of the wrong kind."""


class UnknownNameError(WorkbenchError, LookupError):
    """A name that nothing is registered or stored under."""

    @classmethod
    def of(cls, kind: str, name: object, known) -> UnknownNameError:
        """The error for `name`, with the nearest of the `known` names as its hint."""
        known = sorted(str(k) for k in known)
        close = get_close_matches(str(name).lower(), [k.lower() for k in known], n=1, cutoff=0.5)
        nearest = next((k for k in known if close and k.lower() == close[0]), None)
        listed = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
        hint = f"did you mean {nearest!r}? " if nearest else ""
        return cls(f"unknown {kind} {name!r}", hint=f"{hint}known: {listed or 'none'}")


class RegistrationError(WorkbenchError, TypeError):
    """A registered thing that does not declare what it must."""


class MissingPackageError(WorkbenchError, ImportError):
    """An optional package is not installed."""


class TaskError(WorkbenchError, RuntimeError):
    """A task of a parallel run failed; the message names the task."""


class NotebookError(WorkbenchError, RuntimeError):
    """A notebook failed while it was run; the message names the cell."""


class Cancelled(WorkbenchError):
    """Long work was stopped on request; what was finished is kept."""


def show_in(shell) -> None:
    """Teach an IPython `shell` to show a WorkbenchError as its message, with the traceback folded below."""
    from html import escape

    def handler(shell, kind, error, trace, tb_offset=None):
        full = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
        lines = [f"{kind.__name__}: {error}", *getattr(error, "__notes__", ())]
        plain = shell.InteractiveTB.stb2text(full)
        body = escape(_ANSI.sub("", plain))
        if shell.__class__.__name__ == "ZMQInteractiveShell":
            from IPython.display import HTML, display

            display(HTML(f"{FOLDED}<pre>{body}</pre></details>"))
        shell._showtraceback(kind, error, lines)
        return full

    shell.set_custom_exc((WorkbenchError,), handler)


@contextmanager
def hush(category: type[Warning], module: str = "") -> Iterator[None]:
    """Ignore some warnings, on all threads; the last such block to end takes the filter away.

    Not by catch_warnings: filters are the whole process's, and it drops those that another thread sets meanwhile.

    Parameters
    ----------
    category : type
    module : str, default ""
        A regular expression that the names of the modules begin by that warn. Default: any.
    """
    rule = ("ignore", None, category, re.compile(module) if module else None, 0)
    with _hushing:
        _hushed[rule] += 1
        warnings.filterwarnings("ignore", category=category, module=module)  # to the front, if it is there already
    try:
        yield
    finally:
        with _hushing:
            _hushed[rule] -= 1
            if not _hushed[rule]:
                with suppress(ValueError):  # a catch_warnings of another thread has dropped it
                    warnings.filters.remove(rule)
