"""Runs named tasks: one after another, on threads or on processes; knows nothing of what they compute.

The seam is joblib's parallel backend. ``how="threads"`` always stays inside this process, so that tasks may
write into memory they share; ``how="processes"`` goes to the backend of an outer ``joblib.parallel_config``
(Dask, Celery, ...) where there is one, and to loky where there is none.

Every task has one BLAS and one OpenMP thread to itself: sums are then made in the same order however the
tasks are run, and serial, threads and processes give the same bits.

A run can be stopped, by its `CancelToken` or by the `workbench.hooks.checkpoint` block that it stands in. Its tasks see
it at their next `workbench.hooks.poll`, on threads and in processes alike; the run itself waits for them no longer than
`GRACE`. What is within a library by then goes on until it looks up, and what comes of it is dropped.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import queue
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cache

import joblib
from joblib.externals.loky.backend.reduction import dumps, get_loky_pickler
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from . import hooks
from .errors import Cancelled, ParameterError, TaskError, UnknownNameError, WorkbenchError, hush

HOWS = ("threads", "serial", "processes")
LOOK = 0.005  # seconds between two looks whether to stop
GRACE = 0.015  # seconds that tasks are given to end by themselves once it is asked for
PATIENCE = 0.1  # seconds between two looks whether a worker process still has a parent, and a task in it its flag


class CancelToken:
    """A flag that stops long work, between two of its tasks and within; may be set from any thread.

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


def until(cancel: CancelToken | None) -> AbstractContextManager[None]:
    """Within this block long work, of the calling thread and of runs, ends once `cancel` is set; None: it doesn't."""
    return hooks.checkpoint(None if cancel is None else cancel.check)


def run(
    tasks: Iterable[tuple],
    *,
    how: str = "threads",
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: CancelToken | None = None,
    done: Callable[[str, object], object] | None = None,
    kind: str = "task",
) -> list:
    """Run every task and return the results in the order of the tasks.

    Parameters
    ----------
    tasks : iterable of tuple
        Each ``(name, function, *arguments)``. The name is what messages and progress call it.
    how : {"threads", "serial", "processes"}, default "threads"
        "threads" shares memory; "processes" pickles functions, arguments and results (arrays above 1 MB are
        memory-mapped) and honours the backend of an outer ``joblib.parallel_config``, if it gives results as they
        come: joblib's own do but for "multiprocessing".
    workers : int, optional
        Tasks at once. Default: that of an outer ``joblib.parallel_config``, else one a CPU; within a task of
        another run 1.
    progress : bool or callable, optional
        True draws a tqdm bar; a callable is called as ``progress(done, total, name)``.
    cancel : CancelToken, optional
        Looked at before each task, and within those that poll (`workbench.hooks.poll`): kernels and every model of
        the package do. What doesn't is left to itself after `GRACE`, and its result is dropped; only ``how="serial"``
        waits for it, as it runs in the calling thread.
    done : callable, optional
        Called as ``done(name, result)`` in the calling thread as each task finishes, in order of finishing.
    kind : str, default "task"
        What the tasks are, for whoever watches (`workbench.hooks`).

    Returns
    -------
    list
        One result a task.

    Raises
    ------
    ParameterError
        A task, `how` or `workers` is none; the backend of an outer ``joblib.parallel_config`` can't be used.
    TaskError
        A task raised, or its process died; the message names the task, the cause is chained. Tasks that were
        running are finished before, with `done`.
    Cancelled
        `cancel` was set; `done` was called for all that had finished.
    """
    tasks = [_checked(task) for task in tasks]
    check_how(how, workers)
    results, finished, failed = [None] * len(tasks), 0, {}
    with until(cancel):
        stop = _Stop(hooks.check())
        outcomes = closing(_outcomes(tasks, how, workers, stop))
        with reporter(progress, len(tasks)) as report, one_thread_each(), _quiet(), outcomes as ended:
            for index, value, error, span in ended:
                name = tasks[index][0]
                if hooks.task is not None:
                    hooks.task(kind, name, span)
                if error is not None:
                    stop.halt.set()
                    if not isinstance(error, Cancelled):
                        failed[index] = error
                    continue
                results[index] = value
                finished += 1
                if done is not None:
                    done(name, value)
                report(name)
        if failed:
            first = min(failed)
            raise _failure(tasks[first][0], failed[first], len(failed) - 1) from failed[first]
        if finished < len(tasks):
            with suppress(Cancelled):  # it says less than this does
                hooks.poll()
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


class _Stop:
    """Whether a run and its tasks shall go on; asked from any of its threads.

    `halt` keeps tasks from beginning, after one has failed; `over` ends those that run, after the run has ended.
    """

    def __init__(self, asked: Callable[[], None] | None):
        self.halt, self.over, self._asked = threading.Event(), threading.Event(), asked

    def check(self) -> None:
        """Raise where a task shall end."""
        if self.over.is_set():
            raise Cancelled("cancelled", hint="what was finished is kept")
        if self._asked is not None:
            self._asked()

    @property
    def wanted(self) -> bool:
        try:
            self.check()
        except Exception:  # whatever it is, the thread that called `run` raises it
            return True
        return False

    @property
    def halted(self) -> bool:
        return self.halt.is_set() or self.wanted


def _outcomes(tasks, how, workers, stop: _Stop) -> Iterator[tuple[int, object, BaseException | None, tuple]]:
    """(index, value, error, span) of each task as it finishes, without those that `stop` kept from beginning."""
    shared = how == "threads"
    workers = _workers(workers)
    if how == "serial" or (shared and workers == 1):
        for index, task in enumerate(tasks):
            if stop.halted:
                return
            yield _attempt(index, task[1], task[2:])
        return
    begun: set[int] = set()
    hints = {"require": "sharedmem"} if shared else {"prefer": "processes", "pre_dispatch": "n_jobs"}
    pool = _pool(workers, hints)
    flag = None if shared else _flag()

    def calls():
        for index, task in enumerate(tasks):
            if stop.halted:
                return
            begun.add(index)
            if shared:
                yield joblib.delayed(_attempt)(index, task[1], task[2:], stop)
            else:
                yield joblib.delayed(_attempt_away)((os.getpid(), flag), index, task[1], task[2:])

    seen: set[int] = set()
    try:
        for outcome in _awaited(lambda: pool(calls()), stop):
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
        stop.over.set()
        if flag is not None:
            _lower(flag)


def _pool(workers: int, hints: dict[str, str]) -> joblib.Parallel:
    try:
        return joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, **hints)
    except ValueError as error:
        name = type(get_active_backend(prefer="processes")[0]).__name__
        raise ParameterError(
            f"the backend of the outer joblib.parallel_config, {name}, can't be used here: {error}",
            hint="expected one that gives results as they come: 'loky' or 'threading' there, or how='threads' here",
        ) from error


def _awaited(outcomes: Callable[[], Iterable], stop: _Stop, grace: float = GRACE) -> Iterator[tuple]:
    """The outcomes as they come; once `stop` is asked for, those that come within so many seconds.

    joblib waits for tasks that run, and would kill all workers if it was told not to, those of other runs with them.
    So another thread waits, as long as it takes.
    """
    came: queue.SimpleQueue = queue.SimpleQueue()

    def wait():
        try:
            for outcome in outcomes():
                if outcome is not None:
                    came.put(outcome)
            came.put(None)
        except BaseException as error:
            came.put(error)

    threading.Thread(target=wait, name="workbench-run", daemon=True).start()
    last = None
    while True:
        now = time.monotonic()
        if last is None and stop.wanted:
            last = now + grace
        try:
            outcome = came.get(timeout=LOOK if last is None else min(LOOK, max(0.0, last - now)))
        except queue.Empty:
            if last is not None and now >= last:
                return
            continue
        if outcome is None:
            return
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome


def apart(call: Callable, *args):
    """``call(*args)`` on another thread, where something may stop it: for long steps that have no loop to look from.

    What was stopped goes on there until it looks up, and what comes of it is dropped.

    Raises
    ------
    Cancelled
        By a `CancelToken` or a checkpoint around; `call` is given twice `GRACE`, so that runs within end before.
    """
    if hooks.check() is None:
        return call(*args)
    stop = _Stop(hooks.check())

    def attempt():
        with hooks.checkpoint(stop.check):
            yield (call(*args),)

    try:
        for (result,) in _awaited(attempt, stop, 2 * GRACE):
            return result
    finally:
        stop.over.set()
    hooks.poll()
    raise Cancelled("cancelled", hint="what was finished is kept")


def _flag() -> str:
    """A new empty folder: worker processes go on as long as it is there."""
    try:
        return tempfile.mkdtemp(prefix=f"workbench-{os.getpid()}-")
    except OSError as error:
        raise WorkbenchError(
            f"a run on processes makes a folder among the temporary files, and can't: {error}",
            hint="make room, or point TMPDIR to a disk that has some",
        ) from error


def _lower(flag: str) -> None:
    with suppress(OSError):  # whoever tidies temporary files was quicker
        os.rmdir(flag)


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
        return memoryview(data).nbytes  # what is large comes as a buffer, which has no len


def _attempt_away(sender, index, call, args):
    """Run one task in a worker process; `sender` is the process that started it, and its flag. The result pickles."""
    home, flag = sender
    parent = multiprocessing.parent_process()
    ours = parent is not None and parent.pid == home  # not asked of the system: it may have ended by now
    if ours:
        _follow(home)
    since = _now()
    try:
        look = _looker(flag) if ours or home == os.getpid() else None  # elsewhere is no flag
        with _at_work(flag) if ours else nullcontext(), hooks.checkpoint(look):
            outcome = _attempt(index, call, args)
    except _Interrupt:  # it came as the task ended
        outcome = index, None, Cancelled("cancelled"), _span(since)
    try:
        get_loky_pickler()(_Nowhere()).dump(outcome[1])
    except Exception as reason:
        error = TypeError(f"its result can't be sent back from the worker process: {type(reason).__name__}: {reason}")
        return index, None, error, outcome[3]
    return outcome


def _looker(flag: str) -> Callable[[], None]:
    """A check that raises once the flag is gone; the system is asked every `LOOK` seconds at most."""
    last = 0.0

    def check() -> None:
        nonlocal last
        if (now := time.monotonic()) - last > LOOK:
            last = now
            if not os.path.isdir(flag):
                raise Cancelled("cancelled", hint="what was finished is kept")

    return check


class _Interrupt(Cancelled):
    """Comes between any two steps of a task in a worker process that doesn't look whether it should go on."""

    def __init__(self, message: str = "cancelled", hint: str | None = None):
        super().__init__(message, hint)

    def __reduce__(self):
        return Cancelled, (self.message, self.hint)


_at: list[tuple[str, int]] = []  # flag and thread of the task that this worker process runs
_entering = threading.Lock()  # held to change that, and to interrupt what it says


@contextmanager
def _at_work(flag: str):
    with _entering:
        _at.append((flag, threading.get_ident()))
    try:
        yield
    finally:
        with _entering:
            _at.clear()


@cache
def _follow(home: int) -> None:
    """End this worker process soon after the one that started it has ended, even by SIGKILL; lower the flag then.

    And interrupt a task that goes on without a flag: a library that loops in Python asks nobody. That is for a process
    of its own; a thread among others might hold what they wait for.

    Not by prctl(PR_SET_PDEATHSIG): that follows the thread that started the worker, which may end long before.
    """

    def watch():
        gone = None
        while os.getppid() == home:
            time.sleep(PATIENCE)
            with _entering:
                now = next(iter(_at), None)
                if now is None or os.path.isdir(now[0]):
                    gone = None
                elif gone == now:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(now[1]), ctypes.py_object(_Interrupt))
                else:
                    gone = now
        for flag, _ in list(_at):
            _lower(flag)
        os._exit(1)

    threading.Thread(target=watch, name="workbench-follow", daemon=True).start()


def _attempt(index, call, args, stop: _Stop | None = None):
    """Run one task where a worker is; an error is a result, so that what else runs is finished and kept."""
    if stop is not None and stop.halted:
        return None
    # within the caller's process its BLAS is limited already; OpenMP counts for each thread apart
    api = None if stop is None else "openmp"
    value, wrong, since = None, None, _now()
    try:
        with _thread_pools().limit(limits=1, user_api=api), hooks.checkpoint(None if stop is None else stop.check):
            hooks.poll()
            value = call(*args)
    except (Exception, SystemExit) as error:  # sys.exit() in a task ends the task
        wrong = _portable(error) if stop is None else error
    return index, value, wrong, _span(since)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def _span(since: tuple[float, float]) -> tuple[float, float, float, int, int]:
    """When and where a task ran that began at `since`, as `hooks.task` takes it."""
    begun, spent = since
    return begun, time.perf_counter(), time.thread_time() - spent, os.getpid(), threading.get_ident()


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
    """Within this block an error is a TaskError that names the task, and whoever watches is told, as in `run`."""
    since = _now()
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        raise _failure(name, error) from error
    finally:
        if hooks.task is not None:
            hooks.task("task", name, _span(since))


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


def _quiet() -> AbstractContextManager[None]:
    """Without joblib's warnings of an early exit that was asked for, and of a worker that it starts afresh.

    The latter comes from its managing thread: where warnings are errors it would end that thread, and hang.
    """
    return hush(UserWarning, r"joblib\.")


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
    with hush(Warning, r"tqdm\."):  # it warns where ipywidgets is missing, and draws text then
        from tqdm.auto import tqdm
    with tqdm(total=total) as bar:
        yield lambda name: bar.update(1)
