"""Sweeps: what is proposed, what the table says, and that nothing is lost or counted twice when they are killed."""

from __future__ import annotations

import json
import math
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from kill_sweep import FOLDS, SPACES, swept
from sklearn.base import BaseEstimator, RegressorMixin
from studies import signs

from workbench.compute import CancelToken
from workbench.errors import Cancelled, DataError, ParameterError, TaskError
from workbench.evaluate import PurgedKFold, WalkForward, sweep, walk_forward
from workbench.evaluate.layout import Layout
from workbench.evaluate.sweep import BATCH, COPIES, SAMPLERS, _bytes, _within
from workbench.ledger import Ledger
from workbench.models import ModelSpec, SizesParam, model
from workbench.registry import Param

RIDGE = ModelSpec("ridge")
FOREST = ModelSpec("random_forest", {"n_estimators": 5})
ALPHAS = {"alpha": [1.0, 10.0, 1e5]}


class Echo(RegressorMixin, BaseEstimator):
    """Predicts its first feature, shifted; its other parameters are only carried along."""

    def __init__(self, shift=0.0, hidden=(8,), depth=None, kind="a"):
        self.shift, self.hidden, self.depth, self.kind = shift, hidden, depth, kind

    def fit(self, X, y):
        return self

    def predict(self, X):
        return 0.0 * X[:, 0] if self.kind == "flat" else X[:, 0] + self.shift


@pytest.fixture
def echo(registry):
    """A model with a parameter of each kind."""

    @model(
        "echo",
        params=(
            Param("shift", 0.0, low=-9.0, high=9.0, doc="any"),
            SizesParam("hidden", (8,), low=1, high=512, doc="any"),
            Param("depth", None, low=1, high=9, optional=True, kind=int, doc="any"),
            Param("kind", "a", choices=("a", "b", "flat"), doc="any"),
        ),
    )
    def echo(params, seed):
        """The first feature. Source: nobody, 2020."""
        return Echo(**params)

    return ModelSpec("echo")


def global_state() -> bytes:
    return np.random.get_state()[1].tobytes()  # noqa: NPY002


def plain(found) -> str:
    """The table, to the bit, without what depends on the clock."""
    return repr(found.table.drop(columns="seconds").astype(object).to_numpy().tolist())


# ---------------------------------------------------------------------- the table


def test_a_grid_is_every_combination_walked(study):
    space = {"max_depth": [2, None], "min_samples_leaf": [10, 40]}
    found = sweep(FOREST, space, **study)
    assert found.computed == (4 + 2) * 4 == len(study["ledger"])
    assert found.varied == ("max_depth", "min_samples_leaf")
    assert found.trials == 4
    assert {(s.params["max_depth"], s.params["min_samples_leaf"]) for s in found.specs} == {
        (2, 10), (2, 40), (None, 10), (None, 40),
    }  # fmt: skip
    tried = found.table[~found.table["baseline"]]
    assert tried["rank_ic"].is_monotonic_decreasing
    assert found.best == found.specs[0]
    assert found.table["model"].tolist() == ["random_forest"] * 4 + ["zero", "last_value"]
    for spec, row in zip(found.specs, tried.to_dict("records"), strict=True):
        walk = walk_forward(spec, **study)
        assert walk.computed == 0
        assert {name: row[name] for name in walk.overall.index} == walk.overall.to_dict()
        assert (row["worst_fold"], row["best_fold"]) == (walk.folds["rank_ic"].min(), walk.folds["rank_ic"].max())
        assert row["samples"] == walk.folds["scored"].sum()
        assert row["seconds"] == pytest.approx(walk.folds["seconds"].sum())
    again = sweep(FOREST, space, **study)
    assert again.computed == 0
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)


def test_what_was_varied_comes_back_as_it_went_in(study, echo):
    space = {"shift": [0.0, 1, np.float64(-2)], "hidden": [(32, 16), [8], (1, 2, 3)], "depth": [None, 3, np.int64(4)]}
    found = sweep(echo, space, **study, measure="r2", baselines="zero")
    assert len(found.specs) == 27 == len(set(found.specs))
    rows = found.table[~found.table["baseline"]]
    for spec, row in zip(found.specs, rows.to_dict("records"), strict=True):
        assert ModelSpec.from_json(spec.to_json()) == spec
        for name in space:
            value = row[name]
            assert value == spec.params[name]
            assert type(value) is type(spec.params[name])
    assert {type(v) for v in rows["depth"]} == {int, type(None)}
    assert {type(v) for v in rows["hidden"]} == {tuple}
    assert found.table["depth"].iloc[-1] is None
    assert found.best.params["shift"] == 0.0  # labels are small: a shift is only error
    assert pickle.loads(pickle.dumps(found)).specs == found.specs


def test_equal_settings_are_one_and_stay_in_the_order_in_which_they_were_tried(study, echo):
    found = sweep(echo, {"kind": ["b", "a", "b"], "depth": [3, 3.0, None]}, **study, baselines=())
    assert [(s.params["kind"], s.params["depth"]) for s in found.specs] == [
        ("b", 3),
        ("b", None),
        ("a", 3),
        ("a", None),
    ]
    assert found.computed == 16


def test_a_setting_without_the_measure_stands_last_and_none_with_it_is_an_error(study, echo):
    found = sweep(echo, {"kind": ["flat", "a", "b"]}, **study)
    assert [s.params["kind"] for s in found.specs] == ["a", "b", "flat"]
    assert math.isnan(found.table["rank_ic"][2])
    none = sweep(echo, {"kind": ["flat"]}, **study)
    assert "rank_ic nan" in repr(none)
    with pytest.raises(DataError, match="no setting of the sweep has a rank_ic\n.*all the same.*scores of 0"):
        _ = none.best
    assert len(none.specs) == 1
    # a sampler learns nothing from them, and goes on
    drawn = sweep(echo, {"kind": ["flat"], "shift": (-1, 1)}, **study, sampler="tpe", settings=BATCH + 2)
    assert drawn.table["rank_ic"].isna().all()


def test_a_loss_is_minimised(study, registry):
    label = signs(study["label"])
    votes = ModelSpec("votes")
    found = sweep(votes, {"smoothing": [1e-9, 1e-2, 1.0]}, **study | {"label": label}, measure="log_loss")
    tried = found.table[~found.table["baseline"]]
    assert tried["log_loss"].is_monotonic_increasing
    assert (tried["worst_fold"] >= tried["log_loss"]).all()
    assert (tried["best_fold"] <= tried["log_loss"]).all()
    assert found.table["log_loss"][3:].isna().tolist() == [False, True, True]  # zero and last_value give no chances
    assert found.table["model"][3] == "prior"
    with pytest.raises(ParameterError, match="measure='log_loss' is not a choice"):
        sweep(RIDGE, ALPHAS, **study, measure="log_loss")
    with pytest.raises(ParameterError, match="measure='rankic' is not a choice.*\n.*did you mean 'rank_ic'"):
        sweep(RIDGE, ALPHAS, **study, measure="rankic")


@pytest.mark.parametrize("measure", ["hit_rate", "r2"])
def test_classes_without_a_sign_are_not_ranked_by_it(study, measure):
    label = study["label"]
    halves = np.where(np.isnan(label.values[0]), np.nan, label.values[0] > 0)
    ask = study | {"label": label.like(np.stack([halves, label.values[1]]), ["forward_quantile", "span"])}
    with pytest.raises(ParameterError, match=f"sweep: measure='{measure}' of labels .*\n.*rank_ic.*accuracy"):
        sweep(ModelSpec("logistic"), {"C": [0.1, 1.0]}, **ask, measure=measure)
    assert len(study["ledger"]) == 0
    assert sweep(ModelSpec("logistic"), {"C": [0.1, 1.0]}, **ask, measure="accuracy").best


def test_a_baseline_may_be_swept_and_stands_beside_itself(study):
    found = sweep(ModelSpec("last_value"), {"window": [1, 5]}, **study, measure="r2")
    assert {s.params["window"] for s in found.specs} == {1, 5}
    assert found.table["baseline"].tolist() == [False, False, True, True]
    assert found.computed == 12  # one of the settings is a baseline: three models
    assert found.trials == 0


def test_it_shows_itself_without_scripts(study):
    found = sweep(RIDGE, ALPHAS, **study)
    assert repr(found).startswith("<Sweep of ridge over alpha on forward_return: 3 settings, best rank_ic 0.")
    page = found._repr_html_()
    assert "3 settings by rank_ic, 3 tried on this label" in page
    assert "<script" not in page
    assert "last_value" in page


# ---------------------------------------------------------------------- who proposes


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "grid"])
def test_a_sampler_proposes_the_same_again_and_leaves_no_trace(study, tmp_path, name):
    space = {"n_estimators": (2, 6), "max_features": (0.1, 1.0), "max_depth": [2, None]}
    ask = {**study, "sampler": name, "settings": BATCH + 4, "splits": WalkForward(folds=2)}
    before, level = global_state(), optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = sweep(FOREST, space, **ask, seed=1)
        again = sweep(FOREST, space, **ask | {"ledger": tmp_path / "again.sqlite"}, seed=1)
        other = sweep(FOREST, space, **ask, seed=2)
    assert plain(first) == plain(again)
    assert first.computed == again.computed
    assert first.specs != other.specs
    assert all(2 <= s.params["n_estimators"] <= 6 and 0.1 <= s.params["max_features"] <= 1 for s in first.specs)
    assert global_state() == before
    assert optuna.logging.get_verbosity() == level


def test_a_range_by_factors_is_drawn_by_factors(study):
    found = sweep(
        RIDGE, {"alpha": (1e-6, 1e6)}, **study | {"splits": WalkForward(folds=1)}, sampler="random", settings=40
    )
    below = np.mean([s.params["alpha"] < 1 for s in found.specs])
    assert 0.25 < below < 0.75  # drawn evenly, one of a million would be


def test_a_sampler_of_optuna_is_taken_and_copied(study):
    own = optuna.samplers.TPESampler(seed=3, n_startup_trials=2)
    ask = {**study, "sampler": own, "settings": 6}
    first = sweep(RIDGE, {"alpha": ...}, **ask)
    again = sweep(RIDGE, {"alpha": ...}, **ask)
    assert again.computed == 0
    assert plain(first) == plain(again)


def test_settings_that_a_sampler_repeats_are_walked_once(study, echo):
    found = sweep(echo, {"kind": ["a", "b"]}, **study, sampler="random", settings=20)
    assert len(found.specs) == 2
    assert found.computed == (2 + 2) * 4
    assert found.trials == 2


# ---------------------------------------------------------------------- how it runs


@pytest.mark.parametrize(("sampler", "settings"), [("grid", None), ("random", 11)])
def test_progress_counts_every_cell_and_ends_at_all_of_them(study, echo, sampler, settings):
    def steps(**change) -> list:
        told = []
        ask = {**study, "sampler": sampler, "settings": settings, **change}
        sweep(echo, {"kind": ["a", "b"], "depth": [1, 2]}, **ask, progress=lambda *step: told.append(step))
        return told

    cells = ((settings or 4) + 2) * 4
    for told in (steps(), steps(), steps(baselines=("zero", "zero"))):  # afresh, resumed, and a name given twice
        assert [done for done, _, _ in told] == list(range(1, cells + 1))
        assert {total for _, total, _ in told} == {cells}


def test_true_shows_the_time_left(study, capsys):
    sweep(RIDGE, ALPHAS, **study, progress=True)
    assert "20/20 [" in capsys.readouterr().err


@pytest.mark.parametrize("spec", [RIDGE, FOREST])
def test_however_a_sweep_is_run_it_is_the_same_to_the_bit(study, tmp_path, spec):
    space = ALPHAS if spec is RIDGE else {"max_depth": [2, 4], "max_features": [0.3, 1.0]}
    found = [
        sweep(spec, space, **study | {"ledger": tmp_path / f"{how}.sqlite"}, how=how, workers=2)
        for how in ("serial", "threads", "processes")
    ]
    assert plain(found[0]) == plain(found[1]) == plain(found[2])
    assert len({s.computed for s in found}) == 1


def test_a_sweep_that_is_cancelled_keeps_what_is_done_and_goes_on(study, tmp_path):
    space = {"max_depth": [1, 2, 3]}
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        sweep(FOREST, space, **study, cancel=cancel, how="serial",
              progress=lambda done, total, name: cancel.cancel() if done == 11 else None)  # fmt: skip
    kept = len(study["ledger"])
    assert kept == 11
    created = study["ledger"].rows()["created"].tolist()
    found = sweep(FOREST, space, **study)
    assert found.computed == 20 - kept
    assert study["ledger"].rows()["created"].tolist()[:kept] == created
    assert plain(found) == plain(sweep(FOREST, space, **study | {"ledger": tmp_path / "other.sqlite"}))


def test_a_setting_that_fails_says_so_in_its_row_and_takes_no_other_with_it(study, registry):
    spec, seen = ModelSpec("mortal", {"limit": 999}), []
    ask = {**study, "how": "processes", "workers": 2, "baselines": ()}
    found = sweep(spec, {"limit": [1, 999]}, **ask, progress=lambda done, total, name: seen.append((done, total)))
    assert [s.params["limit"] for s in found.specs] == [999, 1]
    assert "a worker process died" in found.table["error"][1]
    assert found.table["error"].isna().tolist() == [True, False]
    assert math.isnan(found.table["rank_ic"][1])
    assert not math.isnan(found.table["rank_ic"][0])
    assert seen[-1] == (8, 8)
    with pytest.raises(TaskError, match=r"a worker process died; unfinished: .*mortal\(limit=1\)"):
        sweep(spec, {"limit": [1]}, **ask)


def test_parameters_that_contradict_each_other_are_told_in_their_row(study):
    found = sweep(ModelSpec("ridge"), {"alpha": [1.0]}, **study)
    assert "error" not in found.table
    drawn = sweep(ModelSpec("arima"), {"P": [0, 1], "p": [1]}, **study, how="serial", baselines=())
    assert drawn.table["error"].notna().tolist() == [False, True]


def test_a_window_that_empties_a_fold_is_told_in_its_row(study, registry):
    @model("backward", params=(Param("window", 150, low=1, high=999, doc="any"),), lookback=lambda window: window - 1)
    def backward(params, seed):
        """The first feature. Source: nobody, 2020."""
        return Echo()

    spec, seen = ModelSpec("backward"), []  # whose own window is too long
    ask = study | {"splits": PurgedKFold(3), "progress": lambda *step: seen.append(step)}
    found = sweep(spec, {"window": [150, 2]}, **ask, memory="1 GB")
    assert [s.params["window"] for s in found.specs] == [2, 150]
    assert found.best == spec.replace(window=2)
    assert re.match("fold . of 3.* has no .*sample to train on", found.table["error"][1])
    assert found.table["error"].isna().tolist() == [True, False, True, True]
    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert [name for _, _, name in seen].count("failed") == 3
    assert {total for _, total, _ in seen} == {12}
    with pytest.raises(DataError, match="no .*sample to train on"):
        sweep(spec, {"window": [150]}, **ask)


def test_a_factory_that_fails_is_told_in_its_row(study, registry):
    @model("fragile", params=(Param("a", 1, low=1, high=9, doc="any"),))
    def fragile(params, seed):
        """The first feature. Source: nobody, 2020."""
        if params["a"] == 3:
            raise ValueError("three is too many")
        return Echo()

    found = sweep(ModelSpec("fragile", {"a": 3}), {"a": [3, 2]}, **study)
    assert [s.params["a"] for s in found.specs] == [2, 3]
    assert found.table["error"][1] == "fragile(a=3) can't be built: ValueError: three is too many"
    with pytest.raises(TaskError, match=r"fragile\(a=3\) can't be built") as caught:
        sweep(ModelSpec("fragile"), {"a": [3]}, **study)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_memory_budget_counts_the_table_in_the_precision_of_the_model_too(study):
    layout = Layout(study["features"], study["label"], study["splits"])
    X = layout.table.X
    assert layout.table_of(FOREST).X.nbytes == X.nbytes / 2
    largest = max(int(fold.train[layout.row, layout.column].sum()) for fold in layout.folds(FOREST))
    one = COPIES * largest * X.shape[1] * 8
    assert _within(X.nbytes + one, layout, (RIDGE,), 4) == 1
    assert _within(1.5 * X.nbytes + one, layout, (FOREST, ModelSpec("zero")), 4) == 1
    assert _within(1.5 * X.nbytes + 2 * one, layout, (FOREST, RIDGE), 4) == 2
    for spec in (FOREST, ModelSpec("random_forest_classifier")):
        with pytest.raises(ParameterError, match="less than the samples"):
            _within(X.nbytes + one, layout, (spec,), 4)


def test_a_memory_budget_bounds_how_many_run_at_once(study, registry):
    table = 140 * 5 * 4 * 8  # bytes, at most
    ask = {**study, "how": "threads", "workers": 4}
    assert sweep(FOREST, {"max_depth": [1, 2]}, **ask, memory="1 GB").computed == 16
    with pytest.raises(ParameterError, match="memory=1000 is less than the samples .*\n.*the least is 1 MB"):
        sweep(FOREST, {"max_depth": [1]}, **ask, memory=1000)
    for wrong in ("much", "1.2.3 GB", True, -5, math.nan, math.inf, [1]):
        with pytest.raises(ParameterError, match="memory="):
            sweep(FOREST, {"max_depth": [1]}, **ask, memory=wrong)
    sizes = {"2 GB": 2e9, "2GiB": 2 * 2**30, "1.5 k": 1500, "7": 7, "3 MB": 3e6, "1 TiB": 2**40, 12: 12, np.int64(5): 5}
    assert {size: _bytes(size) for size in sizes} == sizes
    running, most = [0], []

    @model("counted", params=(Param("a", 1, low=1, high=9, doc="any"),))
    def counted(params, seed):
        """Counts how many are fitted at once. Source: nobody, 2020."""

        class Counted(Echo):
            def fit(self, X, y):
                running[0] += 1
                most.append(running[0])
                time.sleep(0.01)
                running[0] -= 1
                return self

        return Counted()

    sweep(ModelSpec("counted"), {"a": [1, 2, 3]}, **ask, memory=table + COPIES * table + 100)
    assert max(most) == 1


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("space", "change", "said"),
    [
        ({"alhpa": [1.0]}, {}, "ridge has no parameter 'alhpa'.*\n.*did you mean 'alpha'"),
        ({"alpha": [1.0, -1.0]}, {}, "alpha=-1.0 is outside"),
        ({"alpha": ["high"]}, {}, "alpha='high' is str"),
        ({}, {}, "the space is {}, expected what to vary"),
        ([1.0], {}, "the space is"),
        ({"alpha": []}, {}, r"alpha is to be \[\]"),
        ({"alpha": "1"}, {}, "alpha is to be '1'"),
        ({"alpha": 1.0}, {}, "alpha is to be 1.0"),
        ({"alpha": np.array(1.0)}, {}, "alpha is to be"),
        ({"alpha": (1.0, 10.0)}, {}, "a grid can't walk the range .* of alpha.*\n.*sampler='random'"),
        ({"alpha": ...}, {}, "a grid can't walk the range"),
        ({"alpha": (10.0, 1.0)}, {"sampler": "tpe", "settings": 3}, "the range .* of alpha is empty"),
        ({"alpha": (1.0, 1e99)}, {"sampler": "tpe", "settings": 3}, "alpha=1e.99 is outside"),
        ({"alpha": ...}, {"sampler": "tpe"}, "how many settings .*\n.*settings=20"),
        ({"alpha": ...}, {"sampler": "tpe", "settings": 0}, "settings=0 is outside"),
        ({"alpha": ...}, {"sampler": "tpe", "settings": 3, "seed": -1}, "seed=-1 is outside"),
        ({"alpha": ...}, {"sampler": "tep", "settings": 3}, "sampler='tep' is not a choice.*\n.*'tpe'"),
        ({"alpha": ...}, {"sampler": 7, "settings": 3}, "sampler=7 is a int, expected a name or a sampler"),
        ({"alpha": ...}, {"sampler": optuna.samplers.TPESampler, "settings": 3}, "expected a name or a sampler"),
        ({"alpha": [1.0]}, {"settings": 3}, "settings=3 has no meaning for a grid"),
        ({"alpha": [1.0]}, {"how": "thread"}, "how='thread' is not a way to run"),
        ({"alpha": [1.0]}, {"workers": 0}, "workers=0"),
    ],
)
def test_bad_input_is_named_before_anything_is_computed(study, space, change, said):
    with pytest.raises(ParameterError, match=said):
        sweep(RIDGE, space, **{**study, **change})
    assert len(study["ledger"]) == 0


def test_a_sampler_that_cannot_draw_from_the_space_says_so(study):
    grid = optuna.samplers.GridSampler({"alpha": [1.0, 2.0]}, seed=1)
    with pytest.raises(ParameterError, match="GridSampler can't draw from this space: .*\n.*'grid'"):
        sweep(RIDGE, {"alpha": (1.0, 2.0)}, **study, sampler=grid, settings=9)


# ---------------------------------------------------------------------- killed


def start(path, out, how, sampler):
    """The script that sweeps, in a process of its own; to a file, as a worker may hold a pipe open for a while."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("kill_sweep.py")), path, how, sampler]
    with out.open("w") as said, out.with_suffix(".err").open("w") as errors:
        return subprocess.Popen(list(map(str, command)), stdout=said, stderr=errors)


def finish(process, out) -> dict:
    assert process.wait(timeout=120) == 0, out.with_suffix(".err").read_text()
    return json.loads(out.read_text().splitlines()[-1])


def cells(path) -> dict:
    """What the ledger holds, but for the clock."""
    with_arrays = Ledger(path).get_many(Ledger(path).rows()["key"])
    return {
        key: (cell.trial, cell.outcome, {name: array.tobytes() for name, array in cell.arrays.items()})
        for key, cell in with_arrays.items()
    }


@pytest.mark.parametrize(("sampler", "how"), [("grid", "threads"), ("tpe", "processes")])
def test_a_sweep_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path, sampler, how):
    draw = np.random.default_rng(len(sampler))
    path, out = tmp_path / "killed.sqlite", tmp_path / "out"
    created: dict = {}
    for lines in draw.permutation([1, 15, 30])[: 1 if sampler == "grid" else 2]:  # cells that ended before
        process = start(path, out, how, sampler)
        while out.read_text().count("\n") <= lines and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.05))
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
        rows = Ledger(path).rows()
        now = dict(zip(rows["key"], rows["created"], strict=True))
        assert len(now) == len(rows)
        assert created.items() <= now.items()  # what was there stands there, untouched
        created = now
    last = finish(start(path, out, how, sampler), out)
    quiet = tmp_path / "undisturbed.sqlite"
    undisturbed = swept(quiet, "serial", sampler)
    assert last["table"] == undisturbed["table"]
    assert last["specs"] == undisturbed["specs"]
    assert cells(path) == cells(quiet)
    assert last["computed"] == len(cells(quiet)) - len(created)
    rows = Ledger(path).rows()
    assert created.items() <= dict(zip(rows["key"], rows["created"], strict=True)).items()
    assert rows["key"].is_unique
    expected = math.prod(map(len, SPACES["grid"].values())) if sampler == "grid" else len(last["specs"])
    assert len(rows) == (expected + 2) * FOLDS


def test_a_parameter_that_is_called_as_a_column_is_refused(study, registry):
    @model("timed", params=(Param("seconds", 1.0, low=0.0, high=9.0, doc="any"),))
    def timed(params, seed):
        """Zero. Source: nobody, 2020."""
        return ModelSpec("zero").build()

    with pytest.raises(ParameterError, match="'seconds' of timed is called as a column"):
        sweep(ModelSpec("timed"), {"seconds": [1.0, 2.0]}, **study)
