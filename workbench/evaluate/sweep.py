"""Sweeps: many settings of one model, walked over the same folds; what is done is in the ledger and stays there.

Settings come from a grid, or from one of optuna's samplers. A sampler is asked for `BATCH` settings at a time and told
their values in the order in which it gave them, so what it proposes depends on its seed and on no clock: a sweep that
was killed proposes the same again, finds its cells in the ledger, and goes on from there.
"""

from __future__ import annotations

import copy
import html
import itertools
import math
import numbers
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import compute
from ..errors import Cancelled, DataError, ParameterError, TaskError, UnknownNameError, WorkbenchError, hush
from ..ledger import Ledger
from ..models import ModelSpec, models
from ..panel import Panel
from ..registry import Param
from .cells import How, Task, compute_cells, title
from .layout import Layout
from .metrics import CLASS_MEASURES, MEASURES, WHY_UNDEFINED, check_signed
from .splits import Splits
from .walk import as_ledger, baseline_specs, cells_of, checked_spec, read_walk

BATCH = 8  # settings that a sampler is asked for before it is told what the last ones were worth
COPIES = 4  # of its training samples that a fit may hold at once: scaled, in another layout or precision
LOSSES = {"log_loss"}  # measures of which less is better
COLUMNS = {"model", *MEASURES, *CLASS_MEASURES, "worst_fold", "best_fold", "samples", "seconds", "weighted"}
COLUMNS |= {"error", "baseline"}
SAMPLERS = ("grid", "random", "tpe", "qmc")
_SIZE = re.compile(r"\s*(\d+\.?\d*)\s*([kMGT]?)(i?)B?\s*", re.IGNORECASE)


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """What each setting of a sweep scored.

    Attributes
    ----------
    spec : ModelSpec
        The one whose parameters were varied.
    label : str
        Name of the label.
    measure : str
        That settings are ordered by.
    varied : tuple of str
        The parameters that were varied.
    table : DataFrame
        One row a setting, best first, then the baselines: `varied`, the measures over all tests together,
        ``worst_fold`` and ``best_fold`` of `measure`, the seconds of its fits, and whether it is a baseline; where
        weights were given, also whether its model took them (``weighted``). A setting that failed has no measures,
        and says why in the column ``error``; it is tried again by the next call.
    trials : int
        How many distinct settings the ledger has seen tried on this label, in this sweep and before: the more, the
        better the best of them looks by chance.
    computed : int
        Cells that were computed by this call; the others stood in the ledger.
    """

    spec: ModelSpec
    label: str
    measure: str
    varied: tuple[str, ...]
    table: pd.DataFrame
    trials: int
    computed: int

    @property
    def best(self) -> ModelSpec:
        """The setting with the best measure; of equal ones the first that was tried."""
        tried = self.table[~self.table["baseline"]]
        if tried[self.measure].isna().all():
            raise DataError(
                f"no setting of the sweep has a {self.measure}",
                hint=WHY_UNDEFINED,
            )
        return self.specs[0]

    @property
    def specs(self) -> list[ModelSpec]:
        """The settings, in the order of the table."""
        tried = self.table.loc[~self.table["baseline"], list(self.varied)]
        return [self.spec.replace(**row) for row in tried.astype(object).to_dict("records")]

    def __repr__(self) -> str:
        tried = int((~self.table["baseline"]).sum())
        top = self.table[self.measure].iloc[0]
        return (
            f"<Sweep of {self.spec.name} over {', '.join(self.varied)} on {self.label}: {tried} settings, best "
            f"{self.measure} {top:.4f}; {self.trials} tried on this label>"
        )

    def _repr_html_(self) -> str:
        shown = pd.concat([self.table[~self.table["baseline"]].head(10), self.table[self.table["baseline"]]])
        tried = int((~self.table["baseline"]).sum())
        body = shown.drop(columns="seconds").to_html(float_format="{:.4g}".format, na_rep="", border=0)
        return (
            f"<div><b>{html.escape(title(self.spec))}</b> on {html.escape(self.label)}: {tried} settings by "
            f"{self.measure}, {self.trials} tried on this label{body}</div>"
        )


def sweep(
    spec: ModelSpec,
    space: Mapping[str, object],
    features: Panel,
    label: Panel,
    *,
    sampler: object = "grid",
    settings: int | None = None,
    measure: str = "rank_ic",
    seed: int = 0,
    baselines: Sequence[str] | None = None,
    splits: Splits | None = None,
    weights: Panel | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: compute.CancelToken | None = None,
) -> Sweep:
    """Walk many settings of a model over the same folds, beside the baselines.

    Parameters
    ----------
    spec : ModelSpec
        What is not varied keeps its value here.
    space : mapping of str to list, tuple or ``...``
        A parameter's values: a list of them, a tuple ``(low, high)`` for a range (by factors where the parameter
        declares it), or ``...`` for all that it declares. A grid takes lists, and ``...`` for what has choices.
    features, label, splits, weights, ledger, how, workers, progress, cancel
        As in `walk_forward`. `progress` counts cells, a fold of a setting each, those in the ledger included; True
        also shows the time left.
    sampler : {"grid", "random", "tpe", "qmc"} or optuna sampler, default "grid"
        "grid" walks every combination. A sampler of your own is copied, and resumes only if you gave it a seed.
    settings : int, optional
        How many a sampler proposes; needed with one.
    measure : str, default "rank_ic"
        What is maximised (``log_loss`` is minimised), over all tests together: ic, rank_ic, hit_rate, r2; for a
        classifier also accuracy and log_loss. Classes that all lie on one side of 0, such as quantiles, have no
        hit_rate and no r2.
    seed : int, default 0
        Of the sampler.
    baselines : sequence of str, optional
        Default: "zero" and "last_value"; for a classifier "prior" too.
    memory : int or str, optional
        Bytes, or as in "2 GB" (10**9 each) or "2 GiB" (2**30 each), that the samples (in float32 once more, for
        models that compute in it) and the fits beside each other may take: so many of them run at once as fit, each
        counted as four copies of its training samples. Default: no bound.

    Returns
    -------
    Sweep

    Raises
    ------
    ParameterError
        A parameter that the model does not have, a value outside its range, an empty space, a sampler that can't
        draw from the space, a measure that the label doesn't have, or a memory budget that not even one fit keeps.
    TaskError, DataError
        As in `walk_forward`; a failure of some settings is told in the table.
    Cancelled
        What was finished is in the ledger, and the same call goes on from there.
    """
    spec = checked_spec(spec)
    known = (*MEASURES, *(CLASS_MEASURES if models[spec.name].task == "classification" else ()))
    if measure not in known:
        raise ParameterError(
            f"sweep: measure={measure!r} is not a choice", hint=UnknownNameError.of("measure", measure, known).hint
        )
    space = {name: _values(spec, name, values) for name, values in _checked_space(spec, space).items()}
    with compute.until(cancel):
        layout, ledger = compute.apart(Layout, features, label, splits, weights), as_ledger(ledger)
    check_signed("sweep", measure, layout.table.signed)
    beside = baseline_specs(baselines, [spec])
    proposer = _proposer(spec, space, sampler, settings, seed, measure)
    total = (proposer.count + len(beside)) * len(layout.splits.tested())
    workers = _within(memory, layout, (spec, *beside), workers)
    away = "processes" in {how or models[s.name].how for s in (spec, *beside)}
    with compute.reporter(progress, total) as report, layout.tables(away):
        done = _Done(layout, ledger, How(how, workers, None, cancel), report)
        tried: dict[ModelSpec, None] = {}
        try:
            with compute.until(cancel):
                done.compute(beside)
                for error in done.failed.values():
                    raise error
                for proposed in proposer.batches():
                    done.compute(proposed)
                    proposer.tell([done.row(s).get(measure, math.nan) for s in proposed])
                    tried |= dict.fromkeys(proposed)
        except Cancelled as error:
            raise done.cancelled(beside, proposer.count, total) from error
    if all(s in done.failed for s in tried):
        raise done.failed[next(iter(tried))]
    table = _table([done.row(s) for s in tried], [done.row(s) for s in dict.fromkeys(beside)], tuple(space), measure)
    trials = ledger.trials(label.fingerprint)
    return Sweep(spec, label.fields[0], measure, tuple(space), table, trials, len(done.computed))


# ------------------------------------------------------------------------------------------------------ the space


def _checked_space(spec: ModelSpec, space: object) -> Mapping[str, object]:
    if not isinstance(space, Mapping) or not space:
        raise ParameterError(
            f"sweep: the space is {space!r}, expected what to vary by name", hint="{'alpha': [1.0, 10.0, 100.0]}"
        )
    for name in space:
        if name not in spec.params:
            hint = UnknownNameError.of("parameter", name, spec.params).hint
            raise ParameterError(f"{spec.name} has no parameter {name!r}", hint=hint)
        if name in COLUMNS:
            raise ParameterError(
                f"sweep: the parameter {name!r} of {spec.name} is called as a column of the table is",
                hint="give the parameter of the model another name",
            )
    return space


def _bytes(size: int | str) -> float:
    """``"2 GB"`` as a number of bytes."""
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match:
        unit = 1024 if match[3] else 1000
        return float(match[1]) * unit ** ("kmgt".find(match[2].lower()) + 1 if match[2] else 0)
    if isinstance(size, numbers.Real) and not isinstance(size, bool) and math.isfinite(size):
        return float(size)
    raise ParameterError(f"sweep: memory={size!r} is no size", hint='bytes, or as in "2 GB"')


def _values(spec: ModelSpec, name: str, values: object) -> list | tuple:
    """What a parameter may be: a list of checked values, or a checked (low, high)."""
    param = next(p for p in models[spec.name].params if p.name == name)
    if values is ...:
        choices = [False, True] if param.kind is bool else list(param.choices)
        if choices:
            return choices
        values = (param.low, param.high)
    if isinstance(values, tuple) and len(values) == 2 and param.kind in (int, float):
        if None in values:
            raise ParameterError(f"sweep: {name} declares no range", hint=f"give one: {name!r}: (low, high)")
        low, high = (param.check(value, spec.name) for value in values)
        if not low < high:
            raise ParameterError(f"sweep: the range {values!r} of {name} is empty", hint="(low, high), low below high")
        return low, high
    if isinstance(values, np.ndarray) and values.ndim:
        values = list(values)
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
        raise ParameterError(
            f"sweep: {name} is to be {values!r}, expected a list of values, (low, high) or ...",
            hint=f"{name!r}: [{param.default!r}]",
        )
    return list(dict.fromkeys(param.check(value, spec.name) for value in values))


def _within(memory: int | str | None, layout: Layout, specs: Sequence[ModelSpec], workers: int | None) -> int | None:
    """How many fits may run at once for the samples and them to stay within `memory` bytes."""
    if memory is None:
        return workers
    budget = _bytes(memory)
    # for models that compute in float32 the samples lie there once more
    sizes = {np.dtype(models[spec.name].dtype).itemsize for spec in specs} | {layout.table.X.itemsize}
    table = layout.table.X.size * sum(sizes)
    shortest = ModelSpec("zero")  # no setting trains on more samples than a model that doesn't look back
    largest = max(int(np.diff(layout.runs(shortest, fold, "train")).sum()) for fold in layout.folds(shortest))
    one = COPIES * largest * layout.table.X.itemsize * layout.table.X.shape[1]
    fit = int((budget - table) // one)
    if fit < 1:
        raise ParameterError(
            f"sweep: memory={memory!r} is less than the samples ({table / 1e6:,.1f} MB) and one fit "
            f"({one / 1e6:,.1f} MB) take",
            hint=f"the least is {math.ceil((table + one) / 1e6)} MB; or take fewer rows, symbols or features",
        )
    return min(fit, workers or os.cpu_count() or 1)


# ------------------------------------------------------------------------------------------------- who proposes


class _Grid:
    """Every combination, the last parameter fastest."""

    def __init__(self, spec: ModelSpec, space: Mapping[str, list | tuple]):
        for name, values in space.items():
            if isinstance(values, tuple):
                raise ParameterError(
                    f"sweep: a grid can't walk the range {values!r} of {name}",
                    hint=f"list its values, or draw them: sampler='random', settings=20 (known: {', '.join(SAMPLERS)})",
                )
        self.specs = [spec.replace(**dict(zip(space, v, strict=True))) for v in itertools.product(*space.values())]
        self.count = len(self.specs)

    def batches(self) -> Iterator[list[ModelSpec]]:
        yield self.specs

    def tell(self, values: list[float]) -> None:
        pass


class _Sampled:
    """What one of optuna's samplers proposes."""

    def __init__(self, spec, space, sampler, settings: int, measure: str):
        import optuna
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        self.spec, self.count, self._optuna = spec, settings, optuna
        params = {p.name: p for p in models[spec.name].params}
        self.choices = {name: values for name, values in space.items() if isinstance(values, list)}
        self.space = {}
        for name, values in space.items():
            if isinstance(values, list):  # by number: optuna takes no tuples
                self.space[name] = CategoricalDistribution(list(range(len(values))))
            else:
                kind = IntDistribution if params[name].kind is int else FloatDistribution
                self.space[name] = kind(*values, log=params[name].log and values[0] > 0)
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            direction = "minimize" if measure in LOSSES else "maximize"
            self.study = optuna.create_study(sampler=sampler, direction=direction)
        finally:
            optuna.logging.set_verbosity(before)
        self.asked: list = []

    def batches(self) -> Iterator[list[ModelSpec]]:
        for start in range(0, self.count, BATCH):
            with self._refusal():
                self.asked = [self.study.ask(self.space) for _ in range(min(BATCH, self.count - start))]
            yield [self._spec(trial.params) for trial in self.asked]

    def _spec(self, params: dict) -> ModelSpec:
        chosen = {n: self.choices[n][v] if n in self.choices else v for n, v in params.items()}
        return self.spec.replace(**chosen)

    def tell(self, values: list[float]) -> None:
        failed = self._optuna.trial.TrialState.FAIL
        with self._refusal():
            for trial, value in zip(self.asked, values, strict=True):
                if math.isnan(value):
                    self.study.tell(trial, state=failed)
                else:
                    self.study.tell(trial, value)

    @contextmanager
    def _refusal(self) -> Iterator[None]:
        """Within this block what the sampler raises is told of as such."""
        try:
            yield
        except Exception as error:
            raise ParameterError(
                f"sweep: {type(self.study.sampler).__name__} can't draw from this space: "
                f"{type(error).__name__}: {error}",
                hint=f"known: {', '.join(SAMPLERS)}; to walk every combination take 'grid'",
            ) from error


def _proposer(spec, space, sampler, settings, seed, measure) -> _Grid | _Sampled:
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        hint = UnknownNameError.of("sampler", sampler, SAMPLERS).hint
        raise ParameterError(f"sweep: sampler={sampler!r} is not a choice", hint=hint)
    if sampler == "grid":
        if settings is not None:
            raise ParameterError(
                f"sweep: settings={settings!r} has no meaning for a grid", hint="sampler='random' draws so many"
            )
        return _Grid(spec, space)
    if settings is None:
        raise ParameterError(f"sweep: how many settings is sampler={sampler!r} to draw?", hint="settings=20")
    settings = Param("settings", 20, low=1, high=1_000_000).check(settings, "sweep")
    seed = Param("seed", 0, low=0, high=2**32 - 1).check(seed, "sweep")
    if isinstance(sampler, str):
        sampler = _named_sampler(sampler, seed)
    elif not hasattr(sampler, "sample_independent") or isinstance(sampler, type):
        raise ParameterError(
            f"sweep: sampler={sampler!r} is a {type(sampler).__name__}, expected a name or a sampler of optuna",
            hint=f"known: {', '.join(SAMPLERS)}",
        )
    # a copy: what one has drawn before must not change what the same call draws again
    return _Sampled(spec, space, copy.deepcopy(sampler), settings, measure)


def _named_sampler(name: str, seed: int):
    from optuna import exceptions, samplers

    with hush(exceptions.ExperimentalWarning):
        return {
            "random": lambda: samplers.RandomSampler(seed=seed),
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "qmc": lambda: samplers.QMCSampler(seed=seed, warn_independent_sampling=False),
        }[name]()


# ----------------------------------------------------------------------------------------------- what is done


class _Done:
    """The cells of the settings that were tried, and what came out, one row a setting."""

    def __init__(self, layout: Layout, ledger: Ledger, run: How, report: Callable[[str], None]):
        self.layout, self.ledger, self.run, self.report = layout, ledger, run, report
        self.cells: dict[ModelSpec, dict[str, Task]] = {}
        self.rows: dict[ModelSpec, dict] = {}
        self.computed: set[str] = set()
        self.failed: dict[ModelSpec, WorkbenchError] = {}

    def compute(self, specs: list[ModelSpec]) -> None:
        """Let the ledger have all cells of `specs`."""
        new = [spec for spec in dict.fromkeys(specs) if spec not in self.cells and spec not in self.failed]
        mine = {spec: cells for spec in new if (cells := self._cells_of(spec)) is not None}
        tasks = {key: task for cells in mine.values() for key, task in cells.items()}
        lacking = dict.fromkeys(self.ledger.missing(tasks))
        folds = len(self.layout.splits.tested())
        failed = folds * sum(spec in self.failed for spec in specs)
        for _ in range(failed):
            self.report("failed")
        for _ in range(folds * len(specs) - failed - len(lacking)):
            self.report("in the ledger")
        self.cells |= mine
        try:
            self._compute({key: tasks[key] for key in lacking})
        except TaskError:
            self._one_by_one(mine)
        self.computed |= lacking.keys() - set(self.ledger.missing(lacking))

    def _cells_of(self, spec: ModelSpec) -> dict[str, Task] | None:
        try:
            return cells_of(spec, self.layout)
        except Cancelled:
            raise
        except WorkbenchError as error:  # parameters that contradict each other, or look back over all of a fold
            self.failed[spec] = error
        except Exception as error:  # of a factory that somebody registered
            self.failed[spec] = TaskError(f"{title(spec)} can't be built: {type(error).__name__}: {error}")
            self.failed[spec].__cause__ = error
        return None

    def _compute(self, tasks: dict[str, Task]) -> None:
        run = self.run._replace(progress=lambda done, total, name: self.report(name))
        compute_cells(tasks, self.layout, self.ledger, run)

    def _one_by_one(self, mine: dict[ModelSpec, dict[str, Task]]) -> None:
        """The settings each by itself, so that one that fails takes no other with it."""
        for spec, cells in mine.items():
            try:
                self._compute({key: cells[key] for key in self.ledger.missing(cells)})
            except TaskError as error:
                self.failed[spec] = error
                for _ in self.ledger.missing(cells):
                    self.report("failed")

    def cancelled(self, beside: list[ModelSpec], settings: int, total: int) -> Cancelled:
        """What to raise when the sweep is stopped: it says how much of it is finished."""
        missing = set(self.ledger.missing(key for cells in self.cells.values() for key in cells))
        whole = sum(spec not in beside and not missing & cells.keys() for spec, cells in self.cells.items())
        finished = sum(len(cells) for cells in self.cells.values()) - len(missing)
        return Cancelled(
            f"the sweep was cancelled with {whole} of {settings} settings finished, and {finished} of {total} cells "
            "(a fold of a setting or of a baseline each)",
            hint="they are in the ledger, and the same call goes on from there",
        )

    def row(self, spec: ModelSpec) -> dict:
        """A setting and its measures; its scores are let go of, so that a thousand settings fit into memory."""
        if spec in self.failed:
            nothing = pd.DataFrame({"seconds": pd.Series(dtype=float)})
            return {"spec": spec, "folds": nothing, "samples": 0, "error": str(self.failed[spec])}
        if spec not in self.rows:
            walk = read_walk(spec, self.layout, self.ledger, list(self.cells[spec]), 0, self.computed)
            more = {} if walk.weighted is None else {"weighted": walk.weighted}
            self.rows[spec] = {"spec": spec, "folds": walk.folds, **walk.overall.to_dict(), **more}
        return self.rows[spec]


def _table(tried: list[dict], beside: list[dict], varied: tuple[str, ...], measure: str) -> pd.DataFrame:
    """What the settings and the baselines scored, each one row, best first."""
    columns: dict[str, list] = {"model": [row["spec"].name for row in tried + beside]}
    for name in varied:  # as objects: a column of ints stays one, beside the baselines that have none
        values = [row["spec"].params[name] for row in tried] + [None] * len(beside)
        columns[name] = pd.Series(values, dtype=object)
    others = ("spec", "folds", "samples", "weighted", "error")
    for name in dict.fromkeys(name for row in tried + beside for name in row if name not in others):
        columns[name] = [row.get(name, math.nan) for row in tried + beside]
    by_fold = [row["folds"].get(measure, pd.Series(dtype=float)) for row in tried + beside]
    ends = ("max", "min") if measure in LOSSES else ("min", "max")
    for name, end in zip(("worst_fold", "best_fold"), ends, strict=True):
        columns[name] = [getattr(values, end)() for values in by_fold]
    columns["samples"] = [int(row["samples"]) for row in tried + beside]
    columns["seconds"] = [row["folds"]["seconds"].sum() for row in tried + beside]
    if any("weighted" in row for row in tried + beside):
        columns["weighted"] = [row.get("weighted") for row in tried + beside]
    if any("error" in row for row in tried):
        columns["error"] = [row.get("error") for row in tried + beside]
    columns["baseline"] = [False] * len(tried) + [True] * len(beside)
    order = {"by": ["baseline", measure], "ascending": [True, measure in LOSSES], "na_position": "last"}
    return pd.DataFrame(columns).sort_values(**order, kind="stable").reset_index(drop=True)
