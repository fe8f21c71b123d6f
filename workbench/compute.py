"""Runs named tasks: one after another, on threads or on processes; knows nothing of what they compute.

The seam is joblib's parallel backend. ``how="threads"`` always stays inside this process, so that tasks may
write into memory they share; ``how="processes"`` goes to the backend of an outer ``joblib.parallel_config``
(Dask, Celery, ...) where there is one, and to loky where there is none.

Every task has one BLAS and one OpenMP thread to itself: sums are then made in the same order however the
tasks are run, and serial, threads and processes give the same bits.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import cache

import joblib
from joblib.externals.loky.backend.reduction import dumps, get_loky_pickler
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from .errors import Cancelled, ParameterError, TaskError, UnknownNameError, WorkbenchError

HOWS = ("threads", "serial", "processes")


class CancelToken:
    """A flag that stops long work between two of its tasks; may be set from any thread.

    Examples
    --------
    >>> stop = CancelToken()
    >>> stop.cancel()
    >>> stop.cancelled
    True
    """

    def __init__(self):
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask for the stop; asking twice is the same as asking once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the stop was asked for."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the stop was asked for."""
        if self.cancelled:
            raise Cancelled("cancelled", hint="what was finished is kept")


def run(
    tasks: Iterable[tuple],
    *,
    how: str = "threads",
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: CancelToken | None = None,
    done: Callable[[str, object], object] | None = None,
) -> list:
    """Run every task and return the results in the order of the tasks.

    Parameters
    ----------
    tasks : iterable of tuple
        Each ``(name, function, *arguments)``. The name is what messages and progress call it.
    how : {"threads", "serial", "processes"}, default "threads"
        "threads" shares memory; "processes" pickles functions, arguments and results (arrays above 1 MB are
        memory-mapped) and honours the backend of an outer ``joblib.parallel_config``.
    workers : int, optional
        Tasks at once. Default: that of an outer ``joblib.parallel_config``, else one a CPU; within a task of
        another run 1.
    progress : bool or callable, optional
        True draws a tqdm bar; a callable is called as ``progress(done, total, name)``.
    cancel : CancelToken, optional
        Looked at before each task: tasks that run are finished, the others are not begun.
    done : callable, optional
        Called as ``done(name, result)`` in the calling thread as each task finishes, in order of finishing.

    Returns
    -------
    list
        One result a task.

    Raises
    ------
    TaskError
        A task raised, or its process died; the message names the task, the cause is chained. Tasks that were
        running are finished before, with `done`.
    Cancelled
        `cancel` was set; `done` was called for all that had finished.
    """
    tasks = [_checked(task) for task in tasks]
    check_how(how, workers)
    cancel = cancel or CancelToken()
    halt = threading.Event()  # set by a failed task, which must not touch the caller's token
    results, finished, failed = [None] * len(tasks), 0, {}
    outcomes = closing(_outcomes(tasks, how, workers, lambda: halt.is_set() or cancel.cancelled))
    with reporter(progress, len(tasks)) as report, one_thread_each(), _quiet(), outcomes as ended:
        for index, value, error in ended:
            name = tasks[index][0]
            if error is not None:
                failed[index] = error
                halt.set()
                continue
            results[index] = value
            finished += 1
            if done is not None:
                done(name, value)
            report(name)
    if failed:
        first = min(failed)
        if isinstance(failed[first], Cancelled):
            raise failed[first]
        raise _failure(tasks[first][0], failed[first], len(failed) - 1) from failed[first]
    if finished < len(tasks):
        raise Cancelled(
            f"cancelled after {finished} of {len(tasks)} tasks",
            hint="what was finished is kept; run again to resume",
        )
    return results


def check_how(how: str, workers: int | None = None) -> None:
    """ParameterError unless `how` and `workers` are what `run` takes."""
    if how not in HOWS:
        raise ParameterError(f"how={how!r} is not a way to run", hint=UnknownNameError.of("way to run", how, HOWS).hint)
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ParameterError(f"workers={workers!r} is not a number of workers", hint="give an int >= 1, or None")


def _checked(task: tuple) -> tuple:
    if not isinstance(task, tuple) or len(task) < 2 or not isinstance(task[0], str) or not callable(task[1]):
        raise ParameterError(f"{task!r} is not a task", hint="a task is (name, function, *arguments)")
    return task


def _outcomes(tasks, how, workers, halted) -> Iterator[tuple[int, object, BaseException | None]]:
    """(index, value, error) of each task as it finishes, without those that `halted` kept from beginning."""
    shared = how == "threads"
    workers = _workers(workers)
    if how == "serial" or (shared and 1 in (workers, len(tasks))):
        for index, task in enumerate(tasks):
            if halted():
                return
            yield _attempt(index, task[1], task[2:])
        return
    begun: set[int] = set()

    def calls():
        for index, task in enumerate(tasks):
            if halted():
                return
            begun.add(index)
            if shared:
                yield joblib.delayed(_attempt)(index, task[1], task[2:], halted)
            else:
                yield joblib.delayed(_attempt_away)(os.getpid(), index, task[1], task[2:])

    hints = {"require": "sharedmem"} if shared else {"prefer": "processes", "pre_dispatch": "n_jobs"}
    pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, **hints)
    seen: set[int] = set()
    outcomes = None
    try:
        outcomes = pool(calls())
        for outcome in outcomes:
            if outcome is not None:
                seen.add(outcome[0])
                yield outcome
    except TerminatedWorkerError as error:
        lost = ", ".join(repr(tasks[i][0]) for i in sorted(begun - seen))
        raise TaskError(
            f"a worker process died; unfinished: {lost}",
            hint="mostly for want of memory: use fewer workers, or how='threads'",
        ) from error
    except (BrokenProcessPool, pickle.PicklingError) as error:
        raise _not_sent([tasks[i] for i in sorted(begun - seen)], error) from error
    finally:
        if outcomes is not None:
            outcomes.close()


def _not_sent(tasks, error: BaseException) -> TaskError:
    """The error of a task that doesn't pickle, or unpickle: the one that fails here, or else all that it may be."""
    wrong = []
    for name, *what in tasks:
        try:
            pickle.loads(dumps(what))
        except Exception as reason:
            wrong.append((name, reason))
    if wrong:
        name, reason = wrong[0]
        said = f"{name} can't be sent to a worker process: {type(reason).__name__}: {reason}"
    else:
        names = ", ".join(repr(task[0]) for task in tasks)
        said = f"a task can't be unpickled in a worker process: one of {names}: {error}"
    return TaskError(said, hint="give it plain data and functions of a module that can be imported; or how='threads'")


class _Nowhere:
    """A file that keeps nothing."""

    @staticmethod
    def write(data) -> int:
        return memoryview(data).nbytes  # large arrays come as a PickleBuffer, which has no len


def _attempt_away(home, index, call, args):
    """Run one task in a worker process that the process `home` started; what it gives has to pickle."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid == home:  # not asked of the system: it may have ended by now
        _follow(home)
    outcome = _attempt(index, call, args)
    try:
        get_loky_pickler()(_Nowhere()).dump(outcome[1])
    except Exception as reason:
        error = TypeError(f"its result can't be sent back from the worker process: {type(reason).__name__}: {reason}")
        return index, None, error
    return outcome


@cache
def _follow(home: int) -> None:
    """End this worker process soon after the one that started it has ended, even by SIGKILL.

    Not by prctl(PR_SET_PDEATHSIG): that follows the thread that started the worker, which may end long before.
    """

    def watch():
        while os.getppid() == home:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="workbench-follow", daemon=True).start()


def _attempt(index, call, args, halted=None):
    """Run one task where a worker is; an error is a result, so that what else runs is finished and kept."""
    if halted is not None and halted():
        return None
    # within the caller's process its BLAS is limited already; OpenMP counts for each thread apart
    api = None if halted is None else "openmp"
    try:
        with _thread_pools().limit(limits=1, user_api=api):
            return index, call(*args), None
    except (Exception, SystemExit) as error:  # sys.exit() in a task ends the task
        return index, None, _portable(error) if halted is None else error


def _portable(error: BaseException) -> BaseException:
    """`error` fit to cross a process boundary: it carries its traceback as a note, and unpickles."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as reason:
        original, error = error, RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(f"(stands for a {type(original).__name__} that can't be pickled: {reason})")
    error.add_note(f"in the worker:\n{trace}")
    return error


def _failure(name: str, error: BaseException, others: int = 0) -> TaskError:
    """What to raise where the task `name` failed: an error that names it."""
    more = f" (and {others} more)" if others else ""
    said = error.message if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, WorkbenchError) else None
    return TaskError(f"{name} failed{more}: {said}", hint=hint)


@contextmanager
def naming(name: str):
    """Within this block an error is a TaskError that names the task, as in `run`."""
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        raise _failure(name, error) from error


def _workers(workers: int | None) -> int:
    """How many tasks at once; a run within a task of another run gets one, as the CPUs are taken."""
    if workers is not None:
        return workers
    backend, outer = get_active_backend()
    if outer is not None:
        return outer
    return 1 if getattr(backend, "nesting_level", 0) else -1


_limit = threading.Lock()
_limited = {"by": 0, "blas": None}
_scanned: tuple[int, ThreadpoolController] | None = None


def _thread_pools() -> ThreadpoolController:
    """The BLAS and OpenMP libraries of this process; looked up anew (4 ms) once more modules are imported."""
    global _scanned
    modules = len(sys.modules)
    if _scanned is None or _scanned[0] != modules:
        _scanned = (modules, ThreadpoolController())
    return _scanned[1]


@contextmanager
def one_thread_each():
    """One BLAS thread, for the whole process: the first run sets it, the last one to end puts it back."""
    with _limit:
        _limited["by"] += 1
        if _limited["by"] == 1:
            _limited["blas"] = _thread_pools().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _limit:
            _limited["by"] -= 1
            if _limited["by"] == 0:
                _limited.pop("blas").restore_original_limits()


@contextmanager
def _quiet():
    """Without joblib's warnings of an early exit that was asked for, and of a worker that it starts afresh.

    The latter comes from its managing thread: where warnings are errors it would end that thread, and hang.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"joblib\.")
        yield


@contextmanager
def reporter(progress, total: int):
    """A function of the name of a task that has ended, which shows how far a run is.

    Parameters
    ----------
    progress : bool, callable or None
        As in `run`.
    total : int
        Tasks in all.
    """
    finished = 0

    def tell(name: str) -> None:
        nonlocal finished
        finished += 1
        if progress:
            progress(finished, total, name)

    if progress is not True:
        yield tell
        return
    with warnings.catch_warnings():  # tqdm warns where ipywidgets is missing, and draws text then
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    with tqdm(total=total) as bar:
        yield lambda name: bar.update(1)
