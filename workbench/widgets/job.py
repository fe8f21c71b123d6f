"""Computes a choice, off the main thread: progress and finished folds are told as they come, and it can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from ..backtest import Result, backtest, weights_from_scores
from ..compute import CancelToken, apart, until
from ..errors import WorkbenchError
from ..evaluate.cells import How
from ..evaluate.layout import Layout
from ..evaluate.metrics import CLASS_MEASURES, MEASURES
from ..evaluate.walk import cells_of
from ..ledger import Cell, Ledger
from ..panel import Panel
from ..study import Study
from .choice import Choice

PAUSE = 0.1  # seconds: no eye follows more than ten pictures in one


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    stage : str
        What is being computed, in words.
    done, total : int
        Steps of the stage; 0 of 0 where they can't be counted.
    left : float or None
        Seconds that the rest of the stage will take at the pace so far.
    """

    stage: str
    done: int = 0
    total: int = 0
    left: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a job has found so far; None is what isn't there yet.

    Attributes
    ----------
    label, features : str or None
        Fingerprints; by that of the label the ledger finds what was tried on it.
    folds : DataFrame or None
        One row a finished fold of the model: its test, the samples, the measures, the seconds.
    planned : int
        Folds in all.
    study : Study or None
    result : Result or None
        The backtest.
    importance : DataFrame or None
    """

    label: str | None = None
    features: str | None = None
    folds: pd.DataFrame | None = None
    planned: int = 0
    study: Study | None = None
    result: Result | None = None
    importance: pd.DataFrame | None = None


def compute(
    choice: Choice,
    panel: Panel,
    ledger: Ledger,
    *,
    cancel: CancelToken | None = None,
    told: Callable[[Progress, Outcome], object] = lambda progress, outcome: None,
) -> Outcome:
    """What is chosen: the same numbers, and the same rows of the ledger, as the Python of `Choice.code`.

    Parameters
    ----------
    choice : Choice
    panel : Panel
    ledger : Ledger
    cancel : CancelToken, optional
        Stops it within a kernel, a training step or a tree; folds that were finished are in the ledger.
    told : callable, optional
        Called as ``told(progress, outcome)``, from another thread, whenever there is something new; not after the end.

    Raises
    ------
    DataError, UnknownNameError, ParameterError, TaskError, Cancelled
        As the calls that the code makes.
    """
    cancel = cancel or CancelToken()
    with until(cancel):
        return apart(_computed, choice, panel, ledger, cancel, told)


def _computed(choice: Choice, panel: Panel, ledger: Ledger, cancel: CancelToken, told: Callable) -> Outcome:
    found = Outcome()
    told(Progress("features and label"), found)
    bars = choice.bars(panel)
    features, label = choice.recipe.compute(bars), choice.label_of(bars)
    layout = Layout(features, label, choice.splits)
    told(Progress("the model's library"), found)
    folds = _Folds(choice, layout, ledger)
    found = folds.added(found)
    steps = _Steps("folds of the model and its baselines", cancel, told, lambda: folds.added(steps.found))
    steps.begin(found)
    run = How(None, None, lambda done, total, name: steps(done, total), cancel)
    try:
        study = Study(choice.spec, layout, ledger, run, None)
    except WorkbenchError:
        told(Progress("folds that were finished"), folds.added(found))
        raise
    found = replace(folds.added(found), study=study)
    told(Progress("backtest"), found)
    weights = weights_from_scores(study.walk.path(1), **choice.portfolio)
    found = replace(found, result=backtest(weights, bars, **choice.costs, trials=study.walk.trials))
    steps.stage, steps.arrived = "importance of the features, a fold each", lambda: steps.found
    steps.begin(found)
    return replace(found, importance=study.importance())


class _Steps:
    """Tells of the steps of a stage, with the time that is left."""

    def __init__(self, stage: str, cancel: CancelToken, told: Callable, arrived: Callable[[], Outcome]):
        self.stage, self.cancel, self.told, self.arrived = stage, cancel, told, arrived
        self.found, self.since, self.last = Outcome(), 0.0, 0.0

    def begin(self, found: Outcome) -> None:
        self.found, self.since = found, time.perf_counter()
        self.told(Progress(self.stage), found)

    def __call__(self, done: int, total: int) -> None:
        self.cancel.check()
        now = time.perf_counter()
        if now - self.last < PAUSE and done < total:
            return
        self.last = now
        left = (now - self.since) / done * (total - done)
        self.found = self.arrived()
        self.told(Progress(self.stage, done, total, left), self.found)


class _Folds:
    """The folds of the model that the ledger has by now, each read once."""

    def __init__(self, choice: Choice, layout: Layout, ledger: Ledger):
        self.layout, self.ledger = layout, ledger
        self.tasks = cells_of(choice.spec, layout)
        self.cells: dict[str, Cell] = {}

    def added(self, found: Outcome) -> Outcome:
        self.cells |= self.ledger.get_many([key for key in self.tasks if key not in self.cells])
        time = self.layout.label.time
        rows = []
        for key, task in self.tasks.items():
            if key in self.cells:
                outcome = self.cells[key].outcome
                first, last = (time[row] for row in outcome["test_rows"])
                measures = {name: outcome[name] for name in (*MEASURES, *CLASS_MEASURES) if name in outcome}
                counts = {"samples": outcome["samples"], "purged": outcome["purged"]}
                row = {"fold": task.fold.number, "test_start": first, "test_end": last, **counts, **measures}
                rows.append(row | {"seconds": self.cells[key].seconds})
        table = pd.DataFrame(rows).set_index("fold") if rows else None
        prints = {"label": self.layout.label.fingerprint, "features": self.layout.features.fingerprint}
        return replace(found, folds=table, planned=len(self.tasks), **prints)


class Job:
    """One computation of a choice, in a thread of its own.

    Parameters
    ----------
    choice, panel, ledger
        As in `compute`.
    told : callable
        Called as ``told(job, progress)`` from the thread of the job; with None when it has ended.

    Attributes
    ----------
    outcome : Outcome
        What was found so far.
    error : BaseException or None
        What it ended with; `Cancelled` where it was stopped.
    ended : bool
    ledger : Ledger
    """

    def __init__(self, choice: Choice, panel: Panel, ledger: Ledger, told: Callable):
        self.choice, self.outcome, self.error = choice, Outcome(), None
        self.ledger, self.ended, self._over = ledger, False, threading.Event()
        self._cancel, self._told, self._panel = CancelToken(), told, panel
        self._thread = threading.Thread(target=self._work, name="workbench-chooser", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; returns at once. What was finished is in the ledger."""
        self._cancel.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        # not for the thread: one whose join was interrupted says that it has ended, whatever it does (Python 3.11)
        return self._over.wait(timeout)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._cancel.cancelled

    def _work(self) -> None:
        def tell(progress: Progress, outcome: Outcome) -> None:
            if not self.ended:  # a step that was left behind when the job was stopped may come late
                self.outcome = outcome
                self._told(self, progress)

        try:
            self.outcome = compute(self.choice, self._panel, self.ledger, cancel=self._cancel, told=tell)
        except BaseException as error:  # whatever it is, the job has ended: else the widget would wait for good
            self.error = error
        self.ended = True
        try:
            self._told(self, None)
        finally:
            self._over.set()


def in_a_line(error: BaseException) -> tuple[str, str | None]:
    """What an error says, in a line, and its hint."""
    if isinstance(error, WorkbenchError):
        notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
        return " ".join([error.message, *(f"({note})" for note in notes)]), error.hint
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0]}", None
