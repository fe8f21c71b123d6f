"""Named tasks: order, progress, errors, cancel and interrupts, on every way to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from workbench import compute
from workbench.compute import HOWS, CancelToken, run
from workbench.errors import Cancelled, DataError, ParameterError, TaskError

every_how = pytest.mark.parametrize("how", HOWS)


def power(base, exponent=2):
    return base**exponent


def where():
    return os.getpid()


def slow(seconds, value):
    time.sleep(seconds)
    return value


def fail(kind, *args):
    raise kind(*args)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Awkward(Exception):
    """Pickles, and can't be unpickled: its constructor wants two arguments."""

    def __init__(self, code, place):
        super().__init__(f"{code} at {place}")


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return max(pool["num_threads"] for pool in threadpool_info())


@every_how
def test_results_come_in_the_order_of_the_tasks(how):
    tasks = [(f"t{i}", slow, 0.02 * (3 - i), i * i) for i in range(4)]
    assert run(tasks, how=how, workers=2) == [0, 1, 4, 9]


@every_how
def test_tasks_may_come_from_a_generator_and_be_none_at_all(how):
    assert run((("t", power, i, 3) for i in range(3)), how=how, workers=2) == [0, 1, 8]
    assert run([], how=how) == []


@every_how
def test_done_and_progress_are_called_once_a_task_in_the_calling_thread(how):
    seen, steps, threads = {}, [], set()

    def done(name, result):
        threads.add(threading.get_ident())
        seen[name] = result

    tasks = [(f"t{i}", power, i) for i in range(5)]
    run(tasks, how=how, workers=2, done=done, progress=lambda *step: steps.append(step))
    assert seen == {f"t{i}": i * i for i in range(5)}
    assert [step[:2] for step in steps] == [(i + 1, 5) for i in range(5)]
    assert {step[2] for step in steps} == set(seen)
    assert threads == {threading.get_ident()}


def test_done_is_called_as_tasks_finish_and_not_at_the_end():
    order = []
    tasks = [("slow", slow, 0.3, 0), ("quick", slow, 0.0, 1)]
    assert run(tasks, workers=2, done=lambda name, _: order.append(name)) == [0, 1]
    assert order == ["quick", "slow"]


def test_a_progress_bar_is_drawn_on_demand(capsys):
    run([("t", power, 2)] * 3, how="serial", progress=True)
    assert "3/3" in capsys.readouterr().err
    run([("t", power, 2)] * 3, how="serial")
    assert capsys.readouterr().err == ""


def test_threads_share_memory_and_processes_do_not():
    plane = np.zeros(4)
    tasks = [(f"t{i}", plane.__setitem__, i, 1.0) for i in range(4)]
    with joblib.parallel_config(backend="loky"):  # tasks that write must stay here whatever stands outside
        run(tasks, how="threads", workers=2)
    assert plane.tolist() == [1.0] * 4
    assert os.getpid() not in run([("pid", where)] * 3, how="processes", workers=2)


def test_processes_honour_an_outer_joblib_backend():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert set(run([("pid", where)] * 3, how="processes")) == {os.getpid()}


def test_a_backend_that_gives_no_results_as_they_come_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        with pytest.raises(ParameterError, match="MultiprocessingBackend, can't be used here") as caught:
            run([("pid", where)] * 2, how="processes")
        assert "'loky'" in caught.value.hint
        assert run([("pid", where)] * 2, how="threads") == [os.getpid()] * 2
    with joblib.parallel_config(backend="sequential"):
        assert run([("pid", where)] * 2, how="processes") == [os.getpid()] * 2
    monkeypatch.setattr(joblib, "Parallel", lambda **options: fail(RuntimeError, "no pool today"))
    with pytest.raises(RuntimeError, match="no pool today"):
        run([("pid", where)] * 2, how="processes")
    assert list(tmp_path.glob("workbench-*")) == []


def test_a_run_within_a_task_takes_one_worker():
    def inner():
        return run([("thread", threading.get_ident)] * 4, workers=None)

    found = run([("a", inner), ("b", inner)], workers=2)
    assert [len(set(threads)) for threads in found] == [1, 1]


@every_how
def test_a_task_has_one_blas_and_openmp_thread(how):
    before = {p["filepath"]: p["num_threads"] for p in threadpool_info()}
    assert run([("t", blas_threads)] * 3, how=how, workers=2) == [1, 1, 1]
    assert {p["filepath"]: p["num_threads"] for p in threadpool_info()} == before


@every_how
def test_filters_of_warnings_set_during_a_run_are_kept_and_its_own_goes(how, capsys):
    before = list(warnings.filters)

    def done(name, result):
        warnings.filterwarnings("ignore", message=f"as the user says after {name}")

    runs = [  # the second begins within the first, and ends after it
        threading.Thread(
            target=run, args=([("t", slow, pause, 0)],), kwargs={"how": how, "progress": True, "done": done}
        )
        for pause in (0.3, 0.6)
    ]
    for thread in runs:
        thread.start()
    time.sleep(0.1)
    warnings.filterwarnings("ignore", message="as the user says meanwhile")
    for thread in runs:
        thread.join()
    new = [rule for rule in warnings.filters if rule not in before]
    assert sorted(rule[1].pattern for rule in new) == ["as the user says after t", "as the user says meanwhile"]


def test_a_bar_is_drawn_in_silence_where_ipywidgets_is_missing():
    script = """
        import sys, types
        sys.modules["ipywidgets"] = None
        sys.modules["ipykernel.zmqshell"] = types.ModuleType("as in a notebook")
        import IPython
        from workbench.compute import run
        run([("t", int)], progress=True)
    """
    command = [sys.executable, "-W", "always", "-c", textwrap.dedent(script)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "1/1" in found.stderr
    assert "Warning" not in found.stderr


@every_how
def test_a_failed_task_is_named_and_chained_and_what_ran_is_kept(how):
    kept = []
    tasks = [("a", power, 3), ("odd one", fail, ZeroDivisionError, "by nought")]
    tasks += [(f"later {i}", slow, 0.01, 0) for i in range(20)]
    with pytest.raises(TaskError, match="^odd one failed: ZeroDivisionError: by nought") as caught:
        run(tasks, how=how, workers=2, done=lambda name, result: kept.append(name))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "a" in kept
    assert len(kept) < 12


@every_how
def test_a_workbench_error_keeps_its_hint(how):
    with pytest.raises(TaskError, match="no rows") as caught:
        run([("t", fail, DataError, "no rows", "load more")], how=how)
    assert caught.value.hint == "load more"


def test_an_error_from_a_process_tells_its_traceback_even_if_it_does_not_unpickle():
    with pytest.raises(TaskError, match="Awkward: 7 at noon") as caught:
        run([("t", fail, Awkward, 7, "noon"), ("u", power, 1)], how="processes", workers=2)
    assert "in fail" in "".join(caught.value.__cause__.__notes__)


def test_a_process_that_dies_is_an_error_that_names_what_was_lost():
    kept = []
    tasks = [("first", power, 2), ("victim", die), ("last", slow, 0.5, 1)]
    with pytest.raises(TaskError, match="died.*'victim'"):
        run(tasks, how="processes", workers=2, done=lambda name, _: kept.append(name))
    assert run([("t", power, 4)] * 2, how="processes", workers=2) == [16, 16]  # and the next run works


class Stuck:
    """Pickles, and fails to unpickle."""

    def __reduce__(self):
        return fail, (ValueError, "no such table")


def give(kind):
    return threading.Lock() if kind == "lock" else Stuck()


def test_what_can_not_be_sent_to_a_process_or_back_is_named():
    for argument, said in ((threading.Lock(), "cannot pickle"), (Stuck(), "no such table")):
        with pytest.raises(TaskError, match=f"^odd one can't be sent to a worker process: .*{said}") as caught:
            run([("a", power, 2), ("odd one", repr, argument)], how="processes", workers=2)
        assert "memory" not in caught.value.hint
    with pytest.raises(TaskError, match="^odd one failed: .*its result can't be sent back.*cannot pickle"):
        run([("a", power, 2), ("odd one", give, "lock")], how="processes", workers=2)
    assert run([("t", power, 4)] * 2, how="processes", workers=2) == [16, 16]


@every_how
def test_a_task_that_exits_is_a_failed_task(how):
    with pytest.raises(TaskError, match="^odd one failed: SystemExit: 3") as caught:
        run([("a", power, 2), ("odd one", sys.exit, 3)], how=how, workers=2)
    assert isinstance(caught.value.__cause__, SystemExit)


def test_large_results_come_back_from_processes_to_the_bit():
    """Above 64 KiB pickle hands the bytes on as a buffer."""
    found = run([("small", np.arange, 10.0), ("large", np.arange, 1e6)], how="processes", workers=2)
    for array, size in zip(found, (10, 10**6), strict=True):
        assert array.tobytes() == np.arange(float(size)).tobytes()


def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "tasks.py").write_text(
        "import os, time\n"
        "def work(folder):\n"
        "    open(f'{folder}/{os.getpid()}.pid', 'w').close()\n"
        "    time.sleep(120)\n"
    )
    script = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from tasks import work
        from workbench.compute import run
        run([(str(i), work, {str(tmp_path)!r}) for i in range(2)], how="processes", workers=2)
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment)
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    process.kill()
    process.wait()
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_for(lambda: not any(runs(pid) for pid in pids))


def runs(pid):
    """Whether a process is there, and no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@every_how
def test_cancel_keeps_what_is_done_and_begins_nothing_more(how):
    cancel, kept = CancelToken(), []

    def done(name, result):
        kept.append(name)
        if len(kept) == 2:
            cancel.cancel()

    with pytest.raises(Cancelled, match="of 30 tasks") as caught:
        run([(f"t{i}", slow, 0.01, i) for i in range(30)], how=how, workers=2, cancel=cancel, done=done)
    assert 2 <= len(kept) <= 8
    assert f"after {len(kept)} of" in str(caught.value)


@every_how
def test_a_run_that_is_cancelled_beforehand_does_nothing(how):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled, match="after 0 of 2"):
        run([("t", die)] * 2, how=how, cancel=cancel)


def test_cancel_comes_from_another_thread_or_from_within_a_task():
    cancel = CancelToken()
    threading.Timer(0.1, cancel.cancel).start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        run([(f"t{i}", slow, 0.02, i) for i in range(500)], workers=2, cancel=cancel)
    assert time.monotonic() - begun < 5
    with pytest.raises(Cancelled):
        run([("t", cancel.check)])
    assert cancel.cancelled


@every_how
def test_an_error_in_a_callback_ends_the_run_as_itself(how):
    def done(name, result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run([(f"t{i}", slow, 0.01, i) for i in range(10)], how=how, workers=2, done=done)
    assert run([("t", power, 3)], how=how) == [9]


@every_how
def test_an_interrupt_stops_the_run(how):
    script = f"""
        import os, signal, threading, time
        from workbench.compute import run
        kept = []
        def done(name, result):
            kept.append(name)
            if len(kept) == 2:
                threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            run([(str(i), time.sleep, 0.1) for i in range(200)], how={how!r}, workers=2, done=done)
        except KeyboardInterrupt:
            print("interrupted", 2 <= len(kept) < 100)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == ["interrupted", "True"], found.stderr
    # joblib's tracker of temporary files, a process of its own, may say that a folder was gone before it
    assert "compute.py" not in found.stderr
    assert how == "processes" or "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"how": "thread"}, "did you mean 'threads'"),
        ({"how": None}, "not a way to run"),
        ({"workers": 0}, "workers=0"),
        ({"workers": True}, "workers=True"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"tasks": [power]}, "not a task"),
        ({"tasks": [("t", 3)]}, "not a task"),
        ({"tasks": [(power, 3)]}, "not a task"),
    ],
)
def test_bad_input_is_named(change, match):
    with pytest.raises(ParameterError, match=match):
        run(**{"tasks": [("t", power, 2)], **change})


def test_runs_at_the_same_time_leave_the_thread_counts_as_they_were():
    before = {p["filepath"]: p["num_threads"] for p in threadpool_info()}
    jobs = [
        threading.Thread(target=run, args=([("t", slow, 0.02 * i, i)],), kwargs={"how": "serial"}) for i in range(6)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert compute._limited["by"] == 0
    assert {p["filepath"]: p["num_threads"] for p in threadpool_info()} == before
