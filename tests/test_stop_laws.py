"""Stop at any moment: every model, threads and processes; the ledger is whole, and what goes on later is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from studies import panels, signs
from test_compute import die, wait_for

import workbench as wb
from workbench import compute, hooks
from workbench.compute import CancelToken, run
from workbench.errors import Cancelled, TaskError
from workbench.evaluate import WalkForward
from workbench.hooks import checkpoint, poll
from workbench.models import models

# small enough to be fitted some dozen times
PARAMS = {
    "nonlinear": {"feature": 0, "starts": 1},
    **{name: {"n_estimators": 4} for name in ("random_forest", "random_forest_classifier")},
    **{name: {"max_iter": 4} for name in ("gradient_boosting", "gradient_boosting_classifier")},
    **{name: {"epochs": 2} for name in ("mlp", "lstm", "tcn")},
}
AWAY = [name for name in models if models[name].how == "processes"]
LONG = {"fama_macbeth": 30_000}  # rows for a fold that is not over before it is stopped


class Countdown(CancelToken):
    """Is cancelled by the `left`-th look at it; those of who only waits come by the clock, and aren't counted."""

    def __init__(self, left: float = float("inf")):
        super().__init__()
        self.left, self.looks = left, 0

    def check(self):
        callers = [sys._getframe(up).f_code.co_name for up in range(1, 5)]
        self.looks += "wanted" not in callers
        if self.looks >= self.left:
            self.cancel()
        super().check()


def given_to(name: str, study: dict) -> dict:
    label = signs(study["label"]) if models[name].task == "classification" else study["label"]
    features = study["features"].select(fields=["f0", "f1"])  # fewer than there are symbols
    return study | {"features": features, "label": label, "splits": WalkForward(folds=2)}


def flags() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"workbench-{os.getpid()}-*"))


def settled() -> bool:
    """Whether nothing of a run that has ended goes on."""
    return not any(thread.name == "workbench-run" for thread in threading.enumerate())


# ----------------------------------------------------------------------------------------------- every model


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", models)
def test_a_stop_at_any_look_leaves_the_ledger_whole_and_the_next_call_gives_the_same(name, study, tmp_path):
    spec, study = wb.ModelSpec(name, PARAMS.get(name)), given_to(name, study)
    counted = Countdown()
    whole = wb.walk_forward(spec, **study, how="serial", cancel=counted)
    assert counted.looks > 4 * len(whole.folds)
    for part in (0.3, 0.6, 0.95):
        stop, told = Countdown(max(1, int(part * counted.looks))), []
        mine = study | {"ledger": wb.Ledger(tmp_path / f"{part}.sqlite")}
        with pytest.raises(Cancelled):
            wb.walk_forward(
                spec, **mine, how="serial", cancel=stop, progress=lambda *step, told=told: told.append(step)
            )
        assert stop.looks <= stop.left + 8  # then nobody goes on working
        assert len(mine["ledger"].rows(kind="fold")) == len(told)
        again = wb.walk_forward(spec, **mine, how="serial")
        assert again.computed == len(whole.folds) - len(told)
        assert again.scores.fingerprint == whole.scores.fingerprint


def both_workers() -> set[int]:
    """The processes of a pool of two; tasks so short may all go to one of them."""
    pids: set[int] = set()

    def seen() -> bool:
        pids.update(run([("pid", os.getpid)] * 8, how="processes", workers=2))
        return len(pids) == 2

    wait_for(seen)
    return pids


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", AWAY)
def test_a_model_on_processes_is_stopped_within_a_fold_and_its_workers_stay(name, study, tmp_path):
    if name in LONG:
        study |= dict(zip(("features", "label"), panels(rows=LONG[name], symbols=5), strict=True))
    spec, study = wb.ModelSpec(name, PARAMS.get(name)), given_to(name, study)
    workers = both_workers()
    stop, ended = CancelToken(), []

    def walk():
        with pytest.raises(Cancelled, match="of 2 tasks"):
            wb.walk_forward(spec, **study, how="processes", workers=2, cancel=stop)
        ended.append(1)

    thread = threading.Thread(target=walk)
    thread.start()
    wait_for(lambda: len(flags()) >= 2)  # of the table that is lent, and of the run
    stop.cancel()
    thread.join(60)
    assert ended
    wait_for(settled)
    assert not flags()
    again = wb.walk_forward(spec, **study, how="processes", workers=2)
    alone = wb.walk_forward(spec, **study | {"ledger": wb.Ledger(tmp_path / "alone.sqlite")}, how="serial")
    assert again.scores.fingerprint == alone.scores.fingerprint
    assert set(run([("pid", os.getpid)] * 8, how="processes", workers=2)) <= workers


# ------------------------------------------------------------------------------------------------------ a run


def polling(path: str | None = None):
    if path is not None:
        Path(path).touch()
    while True:
        poll()
        time.sleep(0.001)


def stubborn(path: str):
    """Never looks whether it should go on; and takes an interrupt for a failure of one step."""
    Path(path).touch()
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            if Path(f"{path}.twice").exists():
                raise
            Path(f"{path}.twice").touch()


def pressed(tasks, *, when, how="threads"):
    """Run the tasks, stop them once `when` is true, and say what was done."""
    stop, kept = CancelToken(), []

    def press():
        wait_for(when)
        stop.cancel()

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Cancelled) as caught:
        run(tasks, how=how, workers=2, cancel=stop, done=lambda name, _: kept.append(name))
    thread.join()
    assert f"after {len(kept)} of {len(tasks)} tasks" in str(caught.value)
    return kept


@pytest.mark.parametrize("task", [polling, stubborn])
def test_a_task_in_a_process_is_stopped_whether_it_looks_or_not(task, tmp_path):
    pids = both_workers()
    at = tmp_path / "at"
    assert pressed([("t", task, str(at))], when=at.exists, how="processes") == []
    assert run([("t", pow, 2, 3)] * 3, how="processes", workers=2) == [8, 8, 8]  # at once, in the same workers
    wait_for(settled)
    assert set(run([("pid", os.getpid)] * 8, how="processes", workers=2)) <= pids
    assert not flags()


def test_a_thread_that_does_not_look_is_left_behind_and_what_comes_of_it_is_dropped():
    begun, free, after = threading.Event(), threading.Event(), []

    def deaf():
        begun.set()
        free.wait(60)
        after.append("it went on")

    try:
        assert pressed([("deaf", deaf), ("quick", pow, 2, 2)], when=begun.is_set) in ([], ["quick"])
        assert not after
        stop = CancelToken()
        threading.Timer(0.1, stop.cancel).start()
        with pytest.raises(Cancelled), compute.until(stop):
            compute.apart(free.wait, 60)
        assert run([("t", pow, 2, 3)] * 2) == [8, 8]
    finally:
        free.set()
    wait_for(settled)
    assert after == ["it went on"]


def test_tasks_that_finish_while_a_run_is_stopped_are_kept():
    begun = threading.Event()

    def last():
        begun.set()
        while not stop.cancelled:
            time.sleep(0.001)
        return 7

    stop, kept = CancelToken(), []
    threading.Timer(0.05, stop.cancel).start()
    assert run([("last", last)], cancel=stop, done=lambda *it: kept.append(it)) == [7]
    assert kept == [("last", 7)]


@pytest.mark.parametrize("how", compute.HOWS)
def test_a_run_within_a_block_that_is_stopped_is_stopped(how):
    stop = CancelToken()
    threading.Timer(0.2, stop.cancel).start()
    with pytest.raises(Cancelled, match="after 0 of 3"), compute.until(stop):
        run([("t", polling)] * 3, how=how, workers=2)
    wait_for(settled)


def test_blocks_within_each_other_all_count_and_none_of_nothing_changes_nothing():
    looks = []
    with checkpoint(lambda: looks.append("outer")):
        with checkpoint(lambda: looks.append("inner")), checkpoint(None):
            poll()
        poll()
    poll()
    assert looks == ["outer", "inner", "outer"]
    assert hooks.check() is None


def test_what_is_done_apart_gives_its_result_and_its_error_as_they_are():
    with checkpoint(lambda: None):
        assert compute.apart(pow, 2, 3) == 8
        with pytest.raises(ZeroDivisionError):
            compute.apart(divmod, 1, 0)


def test_an_error_in_the_main_thread_ends_the_tasks_on_threads():
    ends = []

    def work():
        try:
            polling()
        finally:
            ends.append(1)

    def done(name, result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run([("a", work), ("b", pow, 2, 2)], workers=2, done=done)
    wait_for(settled)
    assert ends == [1]


def test_a_worker_that_dies_while_it_is_stopped_leaves_nothing_behind():
    stop = CancelToken()
    with pytest.raises(TaskError, match="died"):
        run([("victim", die)], how="processes", cancel=stop)
    assert not flags()
    assert run([("t", pow, 2, 3)], how="processes", cancel=stop) == [8]


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_a_process_that_ends_with_a_run_in_flight_leaves_no_file(tmp_path, end):
    script = f"""
        import sys, threading, time
        sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from pathlib import Path
        from test_stop_laws import stubborn
        from workbench.compute import CancelToken, run
        from workbench.errors import Cancelled
        stop = CancelToken()
        def press():
            while not Path({str(tmp_path / "at")!r}).exists():
                time.sleep(0.01)
            if {end == "exit"}:
                stop.cancel()
        threading.Thread(target=press, daemon=True).start()
        try:
            run([("t", stubborn, {str(tmp_path / "at")!r})] * 2, how="processes", workers=2, cancel=stop)
        except Cancelled:
            print("stopped")
    """
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    if end == "kill":
        wait_for((tmp_path / "at").exists)
        process.kill()
    assert process.communicate(timeout=60)[0].split() == (["stopped"] if end == "exit" else [])
    wait_for(lambda: not list((tmp_path / "tmp").glob("workbench-*")))


# ------------------------------------------------------------------------------------------------------ a sweep


def test_a_sweep_that_is_stopped_says_how_much_of_it_is_finished(study):
    stop = CancelToken()

    def progress(done, total, name):
        assert total == (3 + 2) * 4
        if done == 2 * 4 + 6:  # the baselines, a setting, and half of another
            stop.cancel()

    given = {**study, "how": "serial", "cancel": stop, "progress": progress}
    with pytest.raises(Cancelled) as caught:
        wb.sweep(wb.ModelSpec("random_forest"), {"n_estimators": [2, 3, 4]}, **given)
    assert "1 of 3 settings finished, and 14 of 20 cells" in str(caught.value)
    assert len(study["ledger"].rows(kind="fold")) == 14
    found = wb.sweep(wb.ModelSpec("random_forest"), {"n_estimators": [2, 3, 4]}, **study)
    assert found.computed == 6
    assert not np.isnan(found.table["rank_ic"].iloc[0])
