"""The chooser: a thin view of a `Choice`, and of what its job finds."""

from __future__ import annotations

import html
import json
import os
import threading
from collections.abc import Mapping

import ipywidgets as ipw
import pandas as pd

from ..backtest import Result
from ..errors import Cancelled, ParameterError, WorkbenchError
from ..evaluate.walk import as_ledger
from ..ledger import Ledger
from ..panel import Panel
from ..report import figures
from ..report.page import PLOTLY
from ..sources import load
from ..study import Study, drawn_or_why, folds_or_why
from .choice import Choice
from .form import CSS, Skin, complaint
from .job import Job, Progress, in_a_line
from .sections import sections
from .tables import facts, in_style, table, trials

MOST_FOLDS = 30  # rows of the table of folds that the browser is sent
MOST_TRIALS = 12
POINTS = 300  # of a line: a high and a low for every three or four pixels of a half page


class Chooser(ipw.VBox):
    """Controls to choose a study of a panel, run it, watch it, stop it, and compare it. Made by `chooser`.

    Attributes
    ----------
    choice : Choice
        What is chosen; a control whose value is refused leaves it as it was.
    spec : dict
        The same as JSON; set it, and the controls move.
    study : Study or None
    result : Result or None
        Of the last run.
    """

    def __init__(self, panel: Panel, given: object, ledger: Ledger | str | os.PathLike | None):
        skin = Skin()
        self._panel, self._given, self._ledger_given = panel, given, ledger
        self._choice, self._job, self._lock = Choice.default(panel), None, threading.RLock()
        self._troubled: set[str] = set()
        self._made(skin)
        for section in self._sections:
            section.show(self._choice)
        left = ipw.VBox(
            [section.box for section in self._sections],
            layout=ipw.Layout(flex="0 0 372px", width="372px", padding="0 12px 0 0"),
        )
        right = ipw.VBox(
            [self._bar, self._state, self._shown, self._earlier, self._python],
            layout=ipw.Layout(flex="1 1 420px", min_width="0", width="auto"),
        )
        across = ipw.HBox([left, right], layout=ipw.Layout(flex_flow="row wrap", align_items="flex-start"))
        super().__init__([skin.html(f"<style>{CSS}</style>"), across], layout=skin.wide)
        self.add_class("wb-chooser")

    def _made(self, skin: Skin) -> None:
        """The widgets that later change."""
        self._sections = sections(skin, self._panel, self._changed)
        self._run = skin.button(
            "Run", "computes what is chosen, off the main thread", icon="play", button_style="primary"
        )
        self._stop = skin.button("Stop", "stops at once; finished folds stay in the ledger", icon="stop", disabled=True)
        self._progress = skin.html()
        self._bar = ipw.HBox([self._run, self._stop, self._progress], layout=skin.wide)
        self._state = skin.html("<p class='wb-soft'>Choose on the left, then Run: folds, figures and what was tried "
                                "before on the same label come here.</p>")  # fmt: skip
        self._shown, self._earlier, self._python = skin.box(), skin.html(), skin.html(_python(self.code()))
        self._summary, self._folds, self._account = skin.html(), skin.html(), skin.html()
        self._figures = {name: ipw.Output(layout=skin.wide) for name in ("folds", "account", "importance")}
        self._run.on_click(lambda button: self.run())
        self._stop.on_click(lambda button: self.stop())

    # ------------------------------------------------------------------ what is chosen

    @property
    def choice(self) -> Choice:
        """What is chosen."""
        return self._choice

    @property
    def spec(self) -> dict:
        """What is chosen, as JSON; setting it moves the controls, or raises and changes nothing.

        Raises
        ------
        DataError, UnknownNameError, ParameterError
            As `Choice.of`, and where the panel lacks what is chosen.
        """
        return self._choice.to_dict()

    @spec.setter
    def spec(self, content: Mapping | str) -> None:
        choice = Choice.of(content)
        choice.bars(self._panel)
        self._choice = choice
        self._troubled.clear()
        for section in self._sections:
            section.show(choice)
        self._write()

    def code(self, panel: str | None = None) -> str:
        """The Python that does the same.

        Parameters
        ----------
        panel : str, optional
            The variable that holds the panel. Default: the one of this notebook that does, else ``panel``.
        """
        ledger = self._ledger_given
        path = None if ledger is None else str(ledger.path if isinstance(ledger, Ledger) else ledger)
        return self._choice.code(panel or _name_of(self._given, self._panel), path)

    def _changed(self, section, error: Exception | None = None) -> None:
        """Take over what a section is set to, or say below it why not."""
        if error is None and not section.refused:
            try:
                choice = self._choice.replace(**{section.name: section.content()})
                choice.bars(self._panel)
                self._choice = choice
            except WorkbenchError as refusal:
                error = refusal
        section.complain(error)
        bad = error is not None or bool(section.refused)
        (self._troubled.add if bad else self._troubled.discard)(section.name)
        self._write()

    def _write(self) -> None:
        """Show the code, and whether it can be run."""
        self._run.disabled = bool(self._troubled) or self._running
        self._run.tooltip = (
            f"first correct what is refused in: {', '.join(sorted(self._troubled))}"
            if self._troubled
            else "computes what is chosen, off the main thread"
        )
        code = html.escape(self.code())
        self._python.value = (
            f"<details open><summary>The Python that does the same</summary><pre>{code}</pre></details>"
        )

    # ------------------------------------------------------------------ run, stop

    @property
    def _running(self) -> bool:
        return self._job is not None and self._job.error is None and not self._job.stopped and not self._job.ended

    @property
    def study(self) -> Study | None:
        """The study of the last run, once its folds are done."""
        return self._job.outcome.study if self._job else None

    @property
    def result(self) -> Result | None:
        """The backtest of the last run, once it is done."""
        return self._job.outcome.result if self._job else None

    def run(self) -> None:
        """Compute what is chosen, in a thread of its own; the kernel stays free. A run that goes on is stopped.

        Raises
        ------
        WorkbenchError
            The ledger can't be opened; shown in the widget as well.
        """
        with self._lock:
            self.stop()
            try:
                ledger = as_ledger(self._ledger_given)
            except WorkbenchError as error:
                self._state.value = complaint(*in_a_line(error))
                raise
            for output in self._figures.values():
                output.outputs = ()
            self._summary.value = self._account.value = self._earlier.value = ""  # trials of another label, perhaps
            self._shown.children = ()
            self._state.value = ""
            self._job = Job(self._choice, self._panel, ledger, self._told)
            self._run.disabled, self._stop.disabled = True, False
            self._told(self._job, Progress("started"))
            self._job.start()

    def stop(self) -> None:
        """Stop the run; returns at once. Folds that were finished stay in the ledger."""
        job = self._job
        if not self._running:
            return
        job.stop()  # before the lock: what is shown meanwhile may hold it
        with self._lock:
            if job is not self._job or job.ended:
                return
            self._stop.disabled, self._run.disabled = True, bool(self._troubled)
            self._progress.value = ""
            self._state.value = _said("Stopping: what is in flight is given up.")

    def close(self) -> None:
        """Stop the run, and take the widget from the page."""
        if getattr(self, "_job", None) is not None:  # ipywidgets closes what was never whole, too
            self.stop()
        super().close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the run to end; whether it has.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: as long as it takes.
        """
        return self._job is None or self._job.wait(timeout)

    # ------------------------------------------------------------------ what a job tells, from its thread

    def _told(self, job: Job, progress: Progress | None) -> None:
        drawn = self._drawn(job)
        with self._lock:
            if job is not self._job:
                return  # of a run that was given up for another
            if progress is None:
                self._ended(job, drawn)
            elif not job.stopped:
                self._progress.value = _bar(progress)
                self._arrived(job, drawn)

    def _drawn(self, job: Job) -> dict[str, dict]:
        """Figures of what is new: neither the lock nor a run that is stopped waits for them."""
        found = job.outcome
        parts = {
            "folds": (found.study, lambda: folds_or_why(found.folds)),
            "account": (found.result, lambda: figures.tear_sheet(found.result, points=POINTS).figure),
            "importance": (found.importance, lambda: drawn_or_why(figures.importance, found.importance)),
        }
        return {
            name: _figure(draw())
            for name, (part, draw) in parts.items()
            if part is not None and not self._figures[name].outputs and job is self._job and not job.stopped
        }

    def _arrived(self, job: Job, drawn: dict[str, dict]) -> None:
        """Show what has come so far."""
        found, shown = job.outcome, []
        for name, output in drawn.items():
            self._figures[name].outputs = (output,)
        if found.study is not None and not self._summary.value:
            self._summary.value = f"<h4>Beside its baselines</h4>{table(_measures(found.study), index=True)}"
        if found.result is not None and not self._account.value:
            self._account.value = found.result._repr_html_()
        if found.folds is not None:
            self._folds.value = _folds(job)
            shown = [self._folds]
        if found.study is not None:
            shown = [self._summary, self._figures["folds"], self._folds]
        shown += [self._figures["account"], self._account] if found.result is not None else []
        shown += [self._figures["importance"]] if found.importance is not None else []
        if tuple(shown) != self._shown.children:
            self._shown.children = tuple(shown)
        if found.label is not None and not self._earlier.value:
            self._compare(job)

    def _compare(self, job: Job) -> None:
        self._earlier.value = _trials(job)

    def _ended(self, job: Job, drawn: dict[str, dict]) -> None:
        found, error = job.outcome, job.error
        self._arrived(job, drawn)
        if found.label is not None:
            self._compare(job)
        kept = 0 if found.folds is None else len(found.folds)
        if error is None:
            computed = found.study.walk.computed
            said = _said(f"Done: {found.planned} folds; {computed} computed now, {found.planned - computed} stood in "
                         "the ledger.")  # fmt: skip
        elif isinstance(error, Cancelled):
            of = f" of {found.planned} folds" if found.planned else " folds"
            said = _said(f"Stopped. {kept}{of} of the model are in the ledger; Run goes on from there.")
        else:
            said = complaint(*in_a_line(error))
        self._progress.value = ""
        self._stop.disabled, self._run.disabled = True, bool(self._troubled)
        self._state.value = said  # last: who waits for it finds all else there

    # ------------------------------------------------------------------ without a browser

    def __repr__(self) -> str:
        return f"<Chooser: {self._choice.spec!r} on {self._choice.label[0]}, {len(self._choice.features)} features>"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """The widget, and for who can't show one what it shows now: what is chosen, the code, and what was found."""
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return {**bundle, "text/html": self._static(), "text/plain": repr(self)}

    def _static(self) -> str:
        choice = self._choice
        name, params = choice.label
        chosen = {
            "data": f"{choice.start or 'first row'} to {choice.end or 'last row'}, "
            f"{len(choice.symbols or self._panel.symbols)} symbols",
            "features": ", ".join(map(repr, choice.recipe.values())),
            "label": f"{name}({', '.join(f'{k}={v!r}' for k, v in params.items())})",
            "model": repr(choice.spec),
            "splits": repr(choice.splits),
            "weights": ", ".join(f"{k}={v!r}" for k, v in choice.portfolio.items()),
            "costs": ", ".join(f"{k}={v!r}" for k, v in choice.costs.items()),
        }
        parts = ["<h3>Chosen for a study</h3>", facts(chosen)]
        if self._job is not None and self._job.outcome.folds is not None:
            found = self._job.outcome
            if found.study is not None:
                parts += ["<h4>Beside its baselines</h4>", table(_measures(found.study), index=True)]
            parts += [_folds(self._job)]
            if found.result is not None:
                equity = figures.path(found.result.equity.to_numpy(), says="the account's value over time")
                parts += ["<h4>Equity</h4>", equity, found.result._repr_html_()]
            if found.importance is not None:
                drops = found.importance[["drop", "error"]]
                parts += ["<h4>Importance of the features</h4>", table(drops, index=True, bar="drop")]
            parts += [_trials(self._job)]
        parts += [_python(self.code())]
        return in_style("".join(parts), CSS)


def _python(code: str) -> str:
    return f"<details open><summary>The Python that does the same</summary><pre>{html.escape(code)}</pre></details>"


def _said(text: str) -> str:
    return f"<div class='wb-soft' role='status'>{html.escape(text)}</div>"


def _bar(progress: Progress) -> str:
    """A progress bar that a screen reader reads too."""
    count = f" {progress.done} of {progress.total}" if progress.total else ""
    left = f", about {_seconds(progress.left)} left" if progress.left else ""
    words = html.escape(f"{progress.stage}{count}{left}")
    value = f"value='{progress.done}' max='{progress.total}'" if progress.total else ""
    return f"<div role='status' class='wb-soft'><progress aria-label='progress' {value}></progress> {words}</div>"


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _measures(study: Study):
    return study.table.drop(columns="baseline").dropna(axis=1, how="all")


def _folds(job: Job) -> str:
    """The finished folds as they come."""
    found = job.outcome
    last = found.folds.tail(MOST_FOLDS).dropna(axis=1, how="all")
    tested = [f"{a:%Y-%m-%d} to {b:%Y-%m-%d}" for a, b in zip(last["test_start"], last["test_end"], strict=True)]
    last.insert(0, "tested", tested)
    order = ["tested", "rank_ic", "ic", "hit_rate", "accuracy", "samples", "seconds"]
    last = last[[name for name in order if name in last]].round({"seconds": 2})
    before = len(found.folds) - len(last)
    note = f", the last {len(last)} of them" if before > 0 else ""
    head = f"<h4>Folds: {len(found.folds)} of {found.planned} done{note}</h4>"
    return head + table(last, index=True, bar="rank_ic" if "rank_ic" in last else None)


def _trials(job: Job) -> str:
    """What was tried before on the same label, and how many trials that makes."""
    ledger, label = job.ledger, job.outcome.label
    found = trials(ledger, label)
    if found.empty:
        return "<h4>Tried on this label: nothing before</h4>"
    count = ledger.trials(label)
    marks = found["baseline"].map({True: " (baseline)", False: ""})
    # the ledger knows features by their fingerprint
    prints = ["these" if print_ == job.outcome.features else print_[:6] for print_ in found["features"]]
    today = pd.Timestamp.now("UTC").normalize()
    when = [f"{at:%H:%M} UTC" if at >= today else f"{at:%Y-%m-%d}" for at in found["when"]]
    shown = found.assign(model=found["model"] + marks, features=prints, when=when)
    order = ["model", "rank_ic", "hit_rate", "accuracy", "features", "splits", "folds", "when"]
    shown = shown[order].head(MOST_TRIALS).dropna(axis=1, how="all")
    more = f", the last {MOST_TRIALS} of {len(found)} rows" if len(found) > MOST_TRIALS else ""
    one = "1 trial" if count == 1 else f"{count} trials"
    note = "means over finished folds; the more trials, the better the best of them looks by chance"
    return f"<h4>Tried on this label: {one}{more}</h4><div class='wb-soft'>{note}</div>{table(shown, bar='rank_ic')}"


def _figure(figure) -> dict:
    """A figure as the output of a cell, which JupyterLab draws; or the line that says why there is none."""
    if isinstance(figure, str):
        data = {"text/html": _said(figure), "text/plain": figure}
    else:
        data = {PLOTLY: json.loads(figure.to_json()), "text/plain": "a figure"}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def _name_of(given: object, panel: Panel) -> str:
    """What gives the panel in a notebook's code."""
    if isinstance(given, str):
        return f"wb.load({given!r})"
    from IPython import get_ipython

    shell = get_ipython()
    names = [] if shell is None else [n for n, v in shell.user_ns.items() if v is panel and not n.startswith("_")]
    return names[0] if names else "panel"


def chooser(
    data: Panel | str, *, spec: Mapping | str | None = None, ledger: Ledger | str | os.PathLike | None = None
) -> Chooser:
    """Controls to choose a study: data, features, label, model, splits and costs; run it, stop it, and compare it.

    Parameters
    ----------
    data : Panel or str
        Bars; a str is what `load` takes.
    spec : mapping or str, optional
        What is chosen at first, as ``chooser.spec`` gives it (or its JSON); a section that is left out is the default.
    ledger : Ledger, str or Path, optional
        Where each fold is kept. Default: the ledger of the workspace.

    Returns
    -------
    Chooser
        A widget. ``.spec`` is what is chosen as JSON and can be set, ``.code()`` the Python that does the same,
        ``.run()``, ``.stop()`` and ``.wait()`` what the buttons do, ``.study`` and ``.result`` what was found.
        Where widgets can't be shown, in an export or an untrusted notebook, a static table stands in its place.

    Raises
    ------
    DataError, UnknownNameError, ParameterError
        As `load` and `Choice.of`.
    """
    panel = load(data) if isinstance(data, str) else data
    if not isinstance(panel, Panel):
        raise ParameterError(f"chooser: found a {type(data).__name__}, expected a Panel", hint="Panel.from_frame(df)")
    made = Chooser(panel, data, ledger)
    if spec is not None:
        made.spec = spec
    return made
