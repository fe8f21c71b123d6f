"""Laws of walks: the same bits however they are run, nothing seen that came later, and a clear word for each fault."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sqlite3
import tempfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from studies import panels, signs, small_files, weighed
from test_models import QUICK

import workbench as wb
from workbench.compute import CancelToken
from workbench.errors import (
    Cancelled,
    DataError,
    ParameterError,
    RegistrationError,
    TaskError,
    UnknownNameError,
    WorkbenchError,
)
from workbench.evaluate import Walk, WalkForward, compare, sweep, walk_forward
from workbench.evaluate.fit import fit_fold, is_classifier
from workbench.evaluate.layout import Layout
from workbench.evaluate.table import runs, taken
from workbench.ledger import Ledger
from workbench.models import Context, ModelSpec, model, models
from workbench.panel import Panel
from workbench.profiling.spans import Recorder

NAN = float("nan")
RIDGE = ModelSpec("ridge")
FOREST = ModelSpec("random_forest", {"n_estimators": 5})


# ---------------------------------------------------------------------- the same bits

KINDS = {
    "ridge": ("ridge", {}, False),
    "ridge, weighted": ("ridge", {"alpha": 3.0}, True),
    "lasso, weighted": ("lasso", {"alpha": 0.05}, True),
    "forest, weighted": ("random_forest", {"n_estimators": 5}, True),
    "context": ("surroundings", {}, True),
    "classes": ("votes", {}, False),
}


def asked(kind, study) -> dict:
    """What to walk: a spec on the study, with classes or weights where the kind has them."""
    name, params, weighted = KINDS[kind]
    spec = ModelSpec(name, params)
    label = signs(study["label"]) if models[name].task == "classification" else study["label"]
    return {**study, "spec": spec, "label": label, "weights": weighed(label) if weighted else None}


def same(walk, other) -> None:
    """Both are equal to the bit."""
    assert walk.scores == other.scores
    assert walk.scores.fingerprint == other.scores.fingerprint
    ours, theirs = (w.folds.drop(columns="seconds") for w in (walk, other))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    pd.testing.assert_series_equal(walk.overall, other.overall, check_exact=True)


def test_one_worker_is_no_process_of_its_own(study, tmp_path):
    for spec in (RIDGE, FOREST):
        with Recorder() as record:
            alone = walk_forward(spec, **study, how="processes", workers=1)
        assert {span.process for span in record.spans} == {os.getpid()}
        same(alone, walk_forward(spec, **{**study, "ledger": tmp_path / "other.sqlite"}, how="serial"))


@pytest.mark.parametrize("kind", KINDS)
def test_however_it_is_run_and_resumed_it_is_the_same_to_the_bit(study, registry, tmp_path, kind):
    what = asked(kind, study)
    whole = Ledger(tmp_path / "whole.sqlite")
    first = walk_forward(**{**what, "ledger": whole}, how="serial")
    for how in ("threads", "processes"):
        half = Ledger(tmp_path / f"{how}.sqlite")
        rows = whole.rows()
        kept = [row.key for row in rows.itertuples() if row.study["fold"] in (1, 3)]
        for key, cell in whole.get_many(kept).items():
            fields = ("kind", "data", "trial", "code", "study", "outcome", "arrays", "seconds")
            half.put(key, **{name: getattr(cell, name) for name in fields})
        resumed = walk_forward(**{**what, "ledger": half}, how=how, workers=2)
        assert resumed.computed == 2
        same(first, resumed)
        ours, theirs = whole.get_many(rows["key"]), half.get_many(rows["key"])
        for key, cell in ours.items():
            assert {n: a.tobytes() for n, a in cell.arrays.items()} == {
                n: a.tobytes() for n, a in theirs[key].arrays.items()
            }


def test_weights_reach_the_model_and_its_key(study, registry):
    for kind in ("ridge, weighted", "context", "forest, weighted"):
        what = asked(kind, study)
        weighted, plain = walk_forward(**what), walk_forward(**{**what, "weights": None})
        assert weighted.computed == plain.computed == 4
        assert weighted.scores != plain.scores
        assert walk_forward(**what).trials == plain.trials == weighted.trials + 1
    trials = walk_forward(RIDGE, **study).trials
    assert walk_forward(RIDGE, **study, weights=weighed(study["label"], seed=3)).trials == trials + 1
    # a weighted ridge is scikit-learn's
    weights = weighed(study["label"])
    walk = walk_forward(ModelSpec("ridge", {"alpha": 3.0}), **study, weights=weights)
    fold = list(study["splits"].split(study["label"]))[2]
    X, y, w = (panel.stack(valid=None).values for panel in (study["features"], study["label"], weights))
    train = fold.train.ravel() & ~np.isnan(X).any(axis=1)
    pipe = make_pipeline(StandardScaler(), Ridge(alpha=3.0))
    pipe.fit(X[train], y[train, 0], standardscaler__sample_weight=w[train, 0], ridge__sample_weight=w[train, 0])
    tested = walk.scores.plane("score")[fold.test]
    expected = pipe.predict(np.nan_to_num(X)).reshape(tested.shape[1], -1, order="F").T[fold.test]
    np.testing.assert_allclose(tested, np.where(np.isnan(tested), NAN, expected), rtol=1e-8)


def test_a_model_that_takes_no_weights_says_so(study):
    weights = weighed(study["label"])
    beside = ["mean", "last_value"]
    table = compare(RIDGE, **study, weights=weights, baselines=beside)
    assert table["weighted"].to_dict() == {"ridge": True, "mean": True, "last_value": False}
    assert "weighted" not in compare(RIDGE, **study, baselines=beside)
    for name in beside:
        given, plain = (walk_forward(ModelSpec(name), **study, weights=w) for w in (weights, None))
        for text in (repr, Walk._repr_html_):
            assert (f"{name} takes no weights" in text(given)) == (given.weighted is False) == (name == "last_value")
            assert "no weights" not in text(plain)
        assert (given.scores == plain.scores) == (name == "last_value")
        assert plain.weighted is None
    fold = next(iter(study["splits"].split(study["label"])))
    train = fold.train & ~np.isnan(study["features"].values).any(axis=0)
    mean = walk_forward(ModelSpec("mean"), **study, weights=weights).scores.plane("score")[fold.test]
    expected = np.average(study["label"].values[0][train], weights=weights.values[0][train])
    assert mean[~np.isnan(mean)] == pytest.approx(expected, rel=1e-12)
    found = sweep(RIDGE, {"alpha": [1.0, 2.0]}, **study, weights=weights, baselines=beside).table
    assert found["weighted"].tolist() == [True, True, True, False]
    shown = wb.study(ModelSpec("last_value"), **study, weights=weights, baselines=["mean"])
    assert "last_value takes no weights" in repr(shown)
    assert "weighted" in shown._repr_html_()


def test_a_classifier_is_scored_by_its_expected_label_and_its_chances(study, registry):
    what = asked("classes", study)
    walk = walk_forward(**what)
    cells = study["ledger"].rows().sort_values("created")["key"]
    arrays = [study["ledger"].get(key).arrays for key in cells]
    known = what["label"].plane("forward_return")
    chance, label = [], []
    for cell in arrays:
        score = walk.scores.plane("score")[cell["row"], cell["column"]]
        np.testing.assert_array_equal(score, cell["score"])
        np.testing.assert_allclose(cell["chance"] @ [-1.0, 1.0], score)
        assert cell["classes"].tolist() == [-1.0, 1.0]
        there = ~np.isnan(known[cell["row"], cell["column"]])
        chance.append(cell["chance"][there])
        label.append(known[cell["row"], cell["column"]][there])
    chance, label = np.concatenate(chance), np.concatenate(label)
    assert walk.overall["log_loss"] == pytest.approx(metrics.log_loss(label, chance))
    assert walk.overall["accuracy"] == pytest.approx(metrics.accuracy_score(label, np.sign(chance[:, 1] - 0.5)))
    table = compare(what["spec"], **study | {"label": what["label"]})
    assert table["accuracy"].isna().tolist() == [False, True, True, False]


# ---------------------------------------------------------------------- what a model may know


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", list(models))
def test_no_model_sees_what_lies_after_a_row_it_scores(study, tmp_path, name):
    """Within the last test, garbage after row t and other labels that end after it move no score up to t."""
    spec = ModelSpec(name, QUICK.get(name))
    classes = models[name].task == "classification"
    features = study["features"].select(fields=["f0", "f1"])
    label = signs(study["label"]) if classes else study["label"]
    splits = WalkForward(folds=2)
    last = list(splits.split(label))[-1].test
    before = walk_forward(spec, features, label, splits=splits, ledger=tmp_path / "before.sqlite")
    draw = np.random.default_rng(4)
    for t in (last[0] - 1, last[len(last) // 2]):
        X, y = features.values.copy(), label.values.copy()
        X[:, t + 1 :] = 10 * draw.standard_normal(X[:, t + 1 :].shape)
        ends = np.arange(len(y[0]))[:, np.newaxis] + y[1]
        moved = -y[0] if classes else 1.0 + y[0]
        y[0] = np.where(ends > t, moved, y[0])
        after = walk_forward(
            spec, features.like(X, features.fields), label.like(y, label.fields),
            splits=splits, ledger=tmp_path / f"after{t}.sqlite",
        )  # fmt: skip
        assert after.computed == 2
        ours, theirs = (walk.scores.plane("score")[: t + 1] for walk in (before, after))
        np.testing.assert_array_equal(ours, theirs)
    assert before.scores.plane("score")[last].size


def test_a_context_tells_of_training_labels_alone(study, registry):
    layout = Layout(study["features"], study["label"], study["splits"])
    spec = ModelSpec("surroundings")
    known = study["label"].plane("forward_return")
    for fold in layout.folds(spec):
        train, test = (layout.runs(spec, fold, part) for part in ("train", "test"))
        seen = layout.table.context(train, trained=True)
        trained = np.zeros(known.shape, dtype=bool)
        trained[seen.row, seen.column] = True
        np.testing.assert_array_equal(trained, fold.train & ~np.isnan(study["features"].values).any(axis=0))
        np.testing.assert_array_equal(~np.isnan(seen.label), trained)
        np.testing.assert_array_equal(seen.end >= 0, trained)
        assert seen.end.max() < fold.test[0]
        np.testing.assert_array_equal(seen.label[trained], known[trained])
        assert (seen.sample_end == seen.row + 3).all()
        tested = layout.table.context(test, trained=False)
        assert set(tested.row) == set(fold.test)
        np.testing.assert_array_equal(tested.label, known)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 4))), st.integers(1, 6))
def test_windows_hold_the_last_rows_of_the_same_symbol_and_none_later(there, length):
    row, column = np.nonzero(there)
    table = np.arange(float(len(row)))[:, np.newaxis]
    label = np.full(there.shape, NAN)
    context = Context(row, column, table, row, column, label, np.full(there.shape, -1))
    found = context.windows(length)
    assert found.shape == (len(row), length)
    for i, window in enumerate(found):
        for back, number in enumerate(window[::-1]):
            t = row[i] - back
            if t < 0 or not there[t, column[i]]:
                assert number == -1
            else:
                assert (row[number], column[number]) == (t, column[i])


def test_what_a_model_is_given_is_read_only(study, registry):
    """Folds share it: one that writes into it would change what the others learn from."""
    layout = Layout(study["features"], study["label"], study["splits"], weighed(study["label"]))
    for spec in (ModelSpec("surroundings"), ModelSpec("random_forest")):
        with layout.lent() as lent:
            assert lent(spec) is lent(spec)
            for table in (layout.table_of(spec), lent(spec), pickle.loads(pickle.dumps(lent(spec)))):
                assert table.X.dtype == models[spec.name].dtype
                for field in dataclasses.fields(layout.table):
                    array = getattr(table, field.name)
                    assert not array.flags.writeable, field.name
                    assert array.ctypes.data % 64 == 0
                    expected = getattr(layout.table, field.name).astype(array.dtype)
                    np.testing.assert_array_equal(array, expected)
                for fold in layout.folds(spec):
                    at = layout.runs(spec, fold, "train")
                    assert not taken(table.X, at).flags.writeable
                    assert not taken(table.y, at).flags.writeable


# ---------------------------------------------------------------------- faults


def test_a_worker_that_dies_is_named_and_the_rest_is_kept(study, registry):
    samples = walk_forward(ModelSpec("mortal"), **study).folds["samples"]
    spec = ModelSpec("mortal", {"limit": int(samples[4])})
    with pytest.raises(TaskError, match="a worker process died; unfinished: .*fold 4 of 4"):
        walk_forward(spec, **study, how="processes", workers=2)
    kept = len(study["ledger"]) - 4
    assert kept < 4
    assert walk_forward(spec, **study, how="threads").computed == 4 - kept
    assert walk_forward(ModelSpec("mortal", {"limit": 999}), **study, how="processes", workers=2).computed == 4


def test_a_full_disk_is_named_and_what_was_finished_is_kept(study, tmp_path, monkeypatch):
    home = tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    study |= dict(zip(("features", "label"), panels(rows=900, symbols=5), strict=True))  # features of 64 kB
    with small_files(50_000), pytest.raises(WorkbenchError, match="can't be written to .*: .*\n.*TMPDIR"):
        walk_forward(FOREST, **study, how="processes", workers=2)
    assert not list(home.iterdir())
    put = study["ledger"].put_many
    calls = []

    def full(rows):
        calls.append(rows)
        if len(calls) > 2:
            with small_files(10_000):
                return put(rows)
        return put(rows)

    monkeypatch.setattr(study["ledger"], "put_many", full)
    with pytest.raises(WorkbenchError, match="(disk is full|can't be read or written).*\n.*is kept"):
        walk_forward(FOREST, **study, how="serial")
    monkeypatch.undo()
    assert walk_forward(FOREST, **study).computed == 2


def test_a_damaged_cell_is_named_and_computed_again_once_it_is_gone(study):
    first = walk_forward(FOREST, **study)
    with sqlite3.connect(study["ledger"].path) as raw:
        raw.execute("UPDATE cells SET payload = x'00' WHERE rowid = 2")
    with pytest.raises(DataError, match="cell .* can't be read.*\n.*DELETE FROM cells"):
        walk_forward(FOREST, **study)
    with sqlite3.connect(study["ledger"].path) as raw:
        raw.execute("DELETE FROM cells WHERE rowid = 2")
    again = walk_forward(FOREST, **study)
    assert again.computed == 1
    same(first, again)


@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "params"), [("ridge", {}), ("lasso", {}), ("elastic_net", {"alpha": 1e-6, "max_iter": 10})]
)
def test_a_walk_by_moments_is_that_of_fits_on_the_samples(study, name, params, weighted):
    weights = weighed(study["label"]) if weighted else None
    twins = study["features"].values.copy()
    twins[1] = twins[0] + 0.01 * twins[1]
    given = study | {"features": study["features"].like(twins, study["features"].fields), "weights": weights}
    spec, layout = ModelSpec(name, params), Layout(*(given[key] for key in ("features", "label", "splits", "weights")))
    walk = walk_forward(spec, **given)
    for fold in layout.folds(spec):
        train, test = (layout.runs(spec, fold, part) for part in ("train", "test"))
        result, _ = fit_fold(spec.build(), layout.table, train, test)
        np.testing.assert_allclose(walk.scores.plane("score")[layout.places(test)], result["score"], rtol=1e-7)
        if name != "ridge":
            assert result["converged"] == walk.folds["converged"][fold.number] == (name == "lasso")


@pytest.mark.parametrize(("name", "weighted"), [("arima", False), ("fama_macbeth", False), ("fama_macbeth", True)])
def test_what_is_fitted_without_copies_is_what_is_fitted_on_the_samples(name, weighted):
    """Where a training set is in several pieces, and some rows are trained on in part."""
    features, label = panels(rows=110, symbols=5, features=2)
    values, draw = label.values.copy(), np.random.default_rng(3)
    values[1] = np.where(np.isnan(values[0]), NAN, draw.integers(1, 5, values[0].shape))
    values[:, draw.random(values[0].shape) < 0.05] = NAN
    label = label.like(values, label.fields)
    spec, splits = ModelSpec(name), wb.PurgedKFold(3)
    layout = Layout(features, label, splits, weighed(label) if weighted else None)
    for fold in layout.folds(spec):
        train, test = (layout.runs(spec, fold, part) for part in ("train", "test"))
        assert len(train) > 1
        counts = [np.bincount(layout.table.row[which], minlength=110) for which in (layout.sampled(fold.train), ...)]
        assert ((counts[0] > 0) & (counts[0] < counts[1])).any()
        result, _ = fit_fold(spec.build(), layout.table, train, test)
        table, plain = layout.table, spec.build()
        given = {"sample_weight": taken(table.weight, train)} if weighted else {}
        plain.fit(taken(table.X, train), taken(table.y, train), context=table.context(train, trained=True), **given)
        expected = plain.predict(taken(table.X, test), context=table.context(test, trained=False))
        np.testing.assert_array_equal(result["score"], expected)


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 4))), st.integers(0, 2**32 - 1))
def test_rows_of_a_table_hold_each_sample_once_in_order(mask, seed):
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((2, *mask.shape)) * np.where(draw.random(mask.shape) < 0.2, NAN, 1.0)
    time, names = pd.date_range("2020", periods=len(mask), tz="UTC"), [f"S{j}" for j in range(mask.shape[1])]
    label = np.stack([draw.standard_normal(mask.shape), np.ones(mask.shape)])
    there = ~np.isnan(features[0])
    if there.sum() < 2:
        return
    layout = Layout(Panel(features, time, names, ["a", "b"]), Panel(label, time, names, ["y", "span"]), None)
    at = runs(layout.sampled(mask))
    if not len(at):
        return
    found = list(layout.table.rows(at))
    rows = [row for row, *_ in found]
    assert rows == sorted(set(rows))
    assert all(weight is None for *_, weight in found)
    for which, name in ((1, "column"), (2, "X"), (3, "y")):
        whole = np.concatenate([row[which] for row in found])
        np.testing.assert_array_equal(whole, taken(getattr(layout.table, name), at))
    counts = [len(row[3]) for row in found]
    np.testing.assert_array_equal(np.repeat(rows, counts), taken(layout.table.row, at))


@pytest.mark.parametrize("error", [Cancelled("stop"), ZeroDivisionError()])
def test_folds_from_moments_that_were_solved_are_kept(study, error):
    """What was reported as done is in the ledger, whatever came then."""

    def stop(done, total, name):
        if done == 3:
            raise error

    with pytest.raises(type(error)):
        walk_forward(RIDGE, **study, progress=stop)
    assert len(study["ledger"]) == 3
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        walk_forward(RIDGE, **study, cancel=cancel)
    assert walk_forward(RIDGE, **study).computed == 1


def test_labels_that_are_no_classes_and_lone_classes_are_named(study, registry):
    votes = ModelSpec("votes")
    with pytest.raises(TaskError, match="votes, fold 1 of 4 failed.*: a classifier got .* distinct labels"):
        walk_forward(votes, **study)
    label = signs(study["label"])
    values = label.values.copy()
    values[0, :50] = np.where(np.isnan(values[0, :50]), NAN, 1.0)
    with pytest.raises(TaskError, match="fold 1 of 4 failed: all labels .* are 1: a classifier needs two classes"):
        walk_forward(votes, **study | {"label": label.like(values, label.fields)}, how="serial")

    @model("regressor", params=(), task="classification")
    def regressor(params, seed):
        """No classes. Source: nobody, 2020."""
        return Ridge()

    with pytest.raises(RegistrationError, match="is registered for classification, .*Ridge.* lacks predict_proba"):
        walk_forward(ModelSpec("regressor"), **study | {"label": label})


@pytest.mark.parametrize("name", list(models))
def test_a_model_of_the_package_is_what_it_is_registered_for(name):
    spec = ModelSpec(name)
    assert is_classifier(spec.build()) == (models[name].task == "classification")


def test_bad_weights_are_named(study):
    label = study["label"]
    for value in (NAN, -1.0, np.inf):
        weight = weighed(label).values.copy()
        weight[0, 70, 2] = value
        with pytest.raises(DataError, match=r"the weight of S2 at 2015-04-09.* is (nan|-1.0|inf).*\(1 are not\)"):
            walk_forward(RIDGE, **study, weights=Panel(weight, label.time, label.symbols, ["weight"]))
    free = weighed(label).values.copy()
    free[0][np.isnan(label.plane("forward_return"))] = NAN  # a weight is needed where a label is
    assert walk_forward(RIDGE, **study, weights=Panel(free, label.time, label.symbols, ["weight"])).computed == 4
    free[0, :60] = 0.0
    with pytest.raises(DataError, match="fold 1 of 4, whose .* has only samples to train on that weigh nothing"):
        walk_forward(RIDGE, **study, weights=Panel(free, label.time, label.symbols, ["weight"]))
    with pytest.raises(ParameterError, match="the weights are a ndarray"):
        walk_forward(RIDGE, **study, weights=free[0])
    with pytest.raises(UnknownNameError, match="weight"):
        walk_forward(RIDGE, **study, weights=label)
    with pytest.raises(DataError, match="weights .* and label .* differ"):
        walk_forward(RIDGE, **study, weights=weighed(label).rows(1))


def test_an_unknown_way_to_run_is_named_for_every_model(study):
    for spec in (RIDGE, FOREST):
        with pytest.raises(ParameterError, match="how='thread'.*\n.*threads"):
            walk_forward(spec, **study, how="thread")
        with pytest.raises(ParameterError, match="workers=0"):
            walk_forward(spec, **study, workers=0)
    assert len(study["ledger"]) == 0


def test_a_constant_feature_is_named_and_more_features_than_samples_are_walked(study):
    features = study["features"]
    values = np.concatenate([features.values, np.full((1, *features.shape[1:]), 0.1)])
    constant = Panel(values, features.time, features.symbols, [*features.fields, "constant"])
    with pytest.raises(DataError, match=r"feature constant is 0\.1 in all \d+ samples"):
        walk_forward(RIDGE, **study | {"features": constant})
    ended = features.values.copy()
    ended[2, 120:] = np.nan
    with pytest.raises(DataError, match=r"no sample to score where .*\(always missing there: f2\)"):
        walk_forward(RIDGE, **study | {"features": features.like(ended, features.fields)})
    wide = np.random.default_rng(6).standard_normal((400, *features.shape[1:]))
    many = Panel(wide, features.time, features.symbols, [f"w{i}" for i in range(400)])
    walk = walk_forward(RIDGE, **study | {"features": many, "splits": WalkForward(folds=1, test=100)})
    assert walk.folds["samples"][1] < 400
    assert np.isfinite(walk.scores.plane("score")[-100:]).all()


def test_a_fitted_arima_holds_the_labels_that_it_was_trained_on_and_no_other(study):
    layout, spec = Layout(study["features"], study["label"], study["splits"]), ModelSpec("arima")
    train = layout.runs(spec, layout.folds(spec)[0], "train")
    samples = np.concatenate([np.arange(*run) for run in train])
    table, expected = layout.table, np.full(layout.table.label.shape, np.nan)
    expected[table.row[samples], table.column[samples]] = table.y[samples]
    fit = spec.build().fit_labels(table.labels(train), table.end)
    for one in (fit, pickle.loads(pickle.dumps(fit))):
        np.testing.assert_array_equal(one.label_, expected[: len(one.label_)])
        assert np.isnan(expected[len(one.label_) :]).all()
    held, others = pickle.dumps(fit), table.label[~np.isnan(table.label) & np.isnan(expected)]
    assert expected[~np.isnan(expected)][0].tobytes() in held
    assert len(others) > 50
    assert not any(value.tobytes() in held for value in others)


def test_a_fitted_arima_follows_no_change_of_its_labels_and_no_refused_ones():
    label = np.random.default_rng(0).standard_normal((80, 1))
    fit = ModelSpec("arima").build().fit_labels(label, np.arange(1, 81)[:, np.newaxis])
    before = fit.forecast(3)
    label[:] = 5.0
    np.testing.assert_array_equal(fit.forecast(3), before)
    with pytest.raises(DataError, match="not one label"):
        fit.fit_labels(np.full((9, 2), NAN), np.zeros((9, 2), int))
    np.testing.assert_array_equal(fit.forecast(3), before)
