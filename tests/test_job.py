"""Stop pressed at bad moments: before the first fold, twice, while another run begins, by a page that is closed."""

from __future__ import annotations

import _thread
import sys
import threading

import pytest
from test_compute import wait_for

import workbench as wb
from workbench.compute import CancelToken
from workbench.errors import Cancelled
from workbench.ledger import Ledger
from workbench.widgets import Choice, chooser, job
from workbench.widgets.job import Job

BARS = wb.load("synthetic", symbols=5, years=2, seed=3, ic=0.1)
SLOW = {
    "model": {"name": "random_forest", "params": {"n_estimators": 2000}},
    "splits": {"kind": "WalkForward", "folds": 4},
}


@pytest.fixture
def made(ledger):
    return chooser(BARS, ledger=ledger, spec=SLOW)


def ended(made) -> str:
    """What a chooser says once its run has ended; it must be free for another."""
    assert made.wait(60)
    assert made._job.ended
    assert not made._running
    assert (made._run.disabled, made._stop.disabled) == (False, True)
    assert made._progress.value == ""
    return made._state.value


def whole(ledger: Ledger) -> int:
    """The folds in a ledger, each of which can be read."""
    keys = list(ledger.rows(kind="fold")["key"])
    assert len(ledger.get_many(keys)) == len(keys)
    return len(keys)


def at_stage(monkeypatch, made, word: str) -> threading.Event:
    """Set when the job tells of a stage with this word in it."""
    there, told = threading.Event(), made._told

    def listening(job, progress):
        if progress is not None and word in progress.stage:
            there.set()
        told(job, progress)

    monkeypatch.setattr(made, "_told", listening)
    return there


@pytest.mark.parametrize("stage", ["started", "features", "library", "folds"])
def test_stop_at_each_stage_ends_the_run_and_the_next_goes_on(made, ledger, stage, monkeypatch):
    there = at_stage(monkeypatch, made, stage)
    made.run()
    assert there.wait(60)
    made.stop()
    assert "Stopped" in ended(made)
    assert isinstance(made._job.error, Cancelled)
    kept = whole(ledger)
    made.spec = made.spec | {"model": {"name": "ridge"}}
    made.run()
    assert "Done" in ended(made)
    assert whole(ledger) >= kept


def test_stop_after_a_fold_keeps_it_and_says_so(made, ledger):
    made.spec = made.spec | {"model": {"name": "random_forest", "params": {"n_estimators": 300}}}
    made.run()
    wait_for(lambda: made._job.outcome.folds is not None or made._job.ended)
    made.stop()
    said = ended(made)
    kept = 0 if made._job.outcome.folds is None else len(made._job.outcome.folds)
    assert f"{kept} of 4 folds of the model are in the ledger" in said
    assert whole(ledger) >= kept >= 1


def test_stop_before_a_run_after_it_and_twice_changes_nothing(made):
    made.stop()
    assert made._job is None
    made.run()
    made.stop()
    made.stop()
    said = ended(made)
    made.stop()
    assert made._state.value == said
    assert (made._run.disabled, made._stop.disabled) == (False, True)


def test_runs_pressed_one_after_another_end_and_the_last_one_shows(made, ledger):
    jobs = []
    for name in ("random_forest", "random_forest", "ridge"):
        made.spec = made.spec | {"model": {"name": name}}
        made.run()
        jobs.append(made._job)
    assert "Done" in ended(made)
    for each in jobs:
        assert each.wait(60)
        assert each.ended
    assert made.study.spec.name == "ridge"
    whole(ledger)


def test_stop_from_many_threads_while_runs_are_pressed_leaves_one_end(made, ledger):
    def press(action):
        for _ in range(4):
            action()

    presses = [threading.Thread(target=press, args=(action,)) for action in (made.run, made.stop, made.run, made.stop)]
    for each in presses:
        each.start()
    for each in presses:
        each.join()
    made.stop()
    ended(made)
    whole(ledger)


def test_a_stop_while_what_was_found_is_shown_or_exported(made, ledger):
    """A report and a twin may be made at any moment: they show what there is."""
    made.run()
    for _ in range(5):
        assert "random_forest" in made._repr_mimebundle_()["text/html"]
    made.stop()
    assert "random_forest" in made._repr_mimebundle_()["text/html"]
    ended(made)
    assert "random_forest" in made._repr_mimebundle_()["text/html"]


def test_neither_a_stop_nor_the_end_waits_for_a_figure_that_is_drawn(made, monkeypatch):
    drawing, release = threading.Event(), threading.Event()

    def slow(*args):
        drawing.set()
        assert release.wait(60)

    monkeypatch.setattr(sys.modules["workbench.widgets.chooser"], "folds_or_why", slow)
    made.spec = made.spec | {"model": {"name": "ridge", "params": {}}}
    made.run()
    assert drawing.wait(60)
    made.stop()
    assert "Stopped" in ended(made)
    release.set()
    assert not made._figures["folds"].outputs
    monkeypatch.undo()
    made.run()
    assert "Done" in ended(made)
    assert made._figures["folds"].outputs
    assert made._summary.value


def test_a_page_that_is_closed_stops_its_run(made, ledger):
    made.run()
    made.close()
    assert made._job.wait(60)
    assert isinstance(made._job.error, Cancelled)
    assert made._job.ended
    made.close()


def test_an_interrupt_of_the_kernel_ends_the_wait_and_not_the_run(made):
    made.spec = made.spec | {"model": {"name": "random_forest", "params": {"n_estimators": 2000}}}
    made.run()
    threading.Timer(0.2, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        made.wait(60)
    assert made._job.error is None
    made.stop()
    ended(made)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("no room"), ValueError("odd")])
def test_whatever_ends_a_job_the_widget_says_so_and_is_free(made, error, monkeypatch):
    def broken(*args, **keys):
        raise error

    monkeypatch.setattr(job, "Layout", broken)
    made.run()
    assert type(error).__name__ in ended(made)
    assert made._job.error is error
    monkeypatch.undo()
    made.spec = made.spec | {"model": {"name": "ridge"}}
    made.run()
    assert "Done" in ended(made)


def test_what_a_job_left_behind_tells_nothing_more(ledger, monkeypatch):
    """A step that can't be stopped goes on; the job has ended all the same, and stays as it ended."""
    free, inside = threading.Event(), threading.Event()

    def deaf(*args, **keys):
        inside.set()
        free.wait(60)
        return layout(*args, **keys)

    layout = job.Layout
    monkeypatch.setattr(job, "Layout", deaf)
    told = []
    one = Job(Choice.default(BARS), BARS, ledger, lambda job, progress: told.append(progress))
    one.start()
    assert inside.wait(60)
    one.stop()
    assert one.wait(60)
    assert isinstance(one.error, Cancelled)
    count = len(told)
    assert told[-1] is None
    free.set()
    wait_for(lambda: not any(thread.name == "workbench-run" for thread in threading.enumerate()))
    assert len(told) == count
    assert whole(ledger) == 0


def test_a_stop_after_the_last_fold_leaves_a_study_that_the_next_run_only_reads(ledger):
    cancel = CancelToken()

    def told(progress, outcome):
        if progress.stage == "backtest":
            cancel.cancel()

    choice = Choice.of({"splits": {"kind": "WalkForward", "folds": 3}})
    with pytest.raises(Cancelled):
        job.compute(choice, BARS, ledger, cancel=cancel, told=told)
    assert whole(ledger) == 3 * 3
    assert job.compute(choice, BARS, ledger).study.walk.computed == 0
