"""Walks: what a plain loop gives, the same bits however they are run, and nothing lost when they are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kill_walk import FOLDS
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from studies import by_scipy, panels, signs

from workbench.compute import CancelToken
from workbench.errors import (
    Cancelled,
    DataError,
    ParameterError,
    TaskError,
)
from workbench.evaluate import PurgedKFold, Splits, Walk, WalkForward, compare, hit_rate, r2_oos, walk_forward
from workbench.evaluate import version as version_module
from workbench.evaluate.layout import Layout
from workbench.ledger import Ledger
from workbench.models import Context, ModelSpec, model, models
from workbench.registry import Param

NAN = float("nan")
RIDGE = ModelSpec("ridge")
FOREST = ModelSpec("random_forest", {"n_estimators": 5})


def by_loop(features, label, folds, estimator):
    """The scores of a walk over a label of span 3, written out sample by sample."""
    rows, symbols = features.shape[1:]
    test = rows // (folds + 1)
    scores = np.full((rows, symbols), NAN)
    for start in range(rows - folds * test, rows, test):
        whole = [(t, j) for t in range(rows) for j in range(symbols) if not np.isnan(features.values[:, t, j]).any()]
        known = label.plane("forward_return")
        train = [(t, j) for t, j in whole if t + 3 < start and not np.isnan(known[t, j])]
        tested = [(t, j) for t, j in whole if start <= t < start + test]
        estimator.fit([features.values[:, t, j] for t, j in train], [known[t, j] for t, j in train])
        for (t, j), score in zip(tested, estimator.predict([features.values[:, t, j] for t, j in tested]), strict=True):
            scores[t, j] = score
    return scores


def test_a_walk_is_what_a_plain_loop_gives(study):
    expected = by_loop(
        study["features"], study["label"], 4, RandomForestRegressor(5, min_samples_leaf=9, random_state=7)
    )
    spec = ModelSpec("random_forest", {"n_estimators": 5, "min_samples_leaf": 9, "max_depth": None, "max_features": 1.0}, seed=7)  # fmt: skip  # noqa: E501
    walk = walk_forward(spec, **study)
    np.testing.assert_allclose(walk.scores.plane("score"), expected, rtol=1e-12)
    known = study["label"].plane("forward_return")
    assert walk.overall["ic"] == pytest.approx(by_scipy(stats.pearsonr, expected, known))
    assert walk.overall["rank_ic"] == pytest.approx(by_scipy(stats.spearmanr, expected, known))
    assert walk.overall["r2"] == pytest.approx(r2_oos(expected, known))
    for _, fold in walk.folds.iterrows():
        here = (study["features"].time >= fold["test_start"]) & (study["features"].time <= fold["test_end"])
        assert fold["ic"] == pytest.approx(by_scipy(stats.pearsonr, expected[here], known[here]))
        assert fold["scored"] == (~np.isnan(expected[here]) & ~np.isnan(known[here])).sum()
        assert fold["hit_rate"] == pytest.approx(hit_rate(expected[here], known[here]))
        assert fold["train_end"] + 4 * pd.offsets.BDay() == fold["test_start"]
        assert fold["purged"] == 3 * 5 - 3 * (fold.name == 1)  # S1 is listed after the first test begins
    assert walk.overall["samples"] == walk.folds["scored"].sum()
    assert walk.scores.time.equals(study["features"].time)
    assert not np.isnan(walk.scores.plane("score")[-3:]).any()  # no label there yet, but a score


def test_a_planted_signal_is_found():
    features, label = panels(rows=600, symbols=20)
    walk = walk_forward(RIDGE, features, label)
    # corr(0.3 x + e, x) = 0.3 / sqrt(1.09); 500 rows of 20 give it to about 0.01
    assert walk.overall["ic"] == pytest.approx(0.3 / np.sqrt(1.09), abs=0.03)
    assert walk.overall["r2"] == pytest.approx(0.09 / 1.09, abs=0.02)


def test_the_default_ledger_is_that_of_the_workspace(study):
    del study["ledger"]
    assert walk_forward(RIDGE, **study).computed == 4
    assert len(Ledger()) == 4


@pytest.mark.parametrize("spec", [RIDGE, FOREST])
def test_serial_threads_and_processes_give_the_same_bits(study, tmp_path, spec):
    walks = [
        walk_forward(spec, **{**study, "ledger": tmp_path / f"{how}.sqlite"}, how=how, workers=2)
        for how in ("serial", "threads", "processes")
    ]
    assert [walk.computed for walk in walks] == [4, 4, 4]
    assert len({walk.scores.fingerprint for walk in walks}) == 1
    measures = [walk.folds.drop(columns="seconds") for walk in walks]
    pd.testing.assert_frame_equal(measures[0], measures[1], check_exact=True)
    pd.testing.assert_frame_equal(measures[0], measures[2], check_exact=True)


def test_a_network_gives_the_same_bits_one_by_one_and_on_threads(study, tmp_path):
    spec = ModelSpec("mlp", {"epochs": 2, "hidden": (64,), "batch_size": 512})
    walks = [
        walk_forward(spec, **{**study, "ledger": tmp_path / f"{how}.sqlite"}, how=how, workers=2)
        for how in ("serial", "threads")
    ]
    assert walks[0].computed == walks[1].computed == 4
    assert walks[0].scores == walks[1].scores


def test_nothing_is_computed_twice_and_what_is_read_is_bit_equal(study):
    first = walk_forward(FOREST, **study)
    again = walk_forward(FOREST, **study)
    assert (first.computed, again.computed) == (4, 0)
    assert first.scores == again.scores
    pd.testing.assert_frame_equal(first.folds, again.folds, check_exact=True)
    pd.testing.assert_series_equal(first.overall, again.overall, check_exact=True)
    rows = study["ledger"].rows()
    assert len(rows) == 4
    assert sorted(asked["fold"] for asked in rows["study"]) == [1, 2, 3, 4]
    assert {ModelSpec.from_json(json.dumps(s["spec"])) for s in rows["study"]} == {FOREST}


def test_whatever_a_number_comes_from_is_part_of_its_key(study, monkeypatch):
    walk_forward(RIDGE, **study)
    features, label = study["features"], study["label"]
    moved = label.values.copy()
    moved[0, 0, 0] += 1e-9
    changes = [
        {"spec": ModelSpec("ridge", {"alpha": 2.0})},
        {"spec": ModelSpec("ridge", seed=1)},
        {"features": features.rename({"f0": "g"})},
        {"label": label.like(moved, label.fields)},
        {"splits": WalkForward(folds=4, embargo=1)},
    ]
    for change in changes:
        assert walk_forward(**{"spec": RIDGE, **study, **change}).computed == 4, change
    monkeypatch.setattr(version_module, "package_version", lambda: {"numpy": "9.9"})
    assert walk_forward(RIDGE, **study).computed == 4
    assert len(study["ledger"]) == 7 * 4


def test_no_score_depends_on_what_comes_after_it(study, tmp_path):
    """Garbage from row 100 on moves no score before it; a label knows the three rows after its own."""
    features, label = study["features"], study["label"]
    before = walk_forward(RIDGE, **study).scores.plane("score")
    X, y = features.values.copy(), label.values.copy()
    X[:, 100:] = 1e6 * np.random.default_rng(9).standard_normal(X[:, 100:].shape)
    y[0, 97:] = np.where(np.isnan(y[0, 97:]), NAN, -1e6)
    study |= {"features": features.like(X, features.fields), "label": label.like(y, label.fields)}
    after = walk_forward(RIDGE, **study).scores.plane("score")
    np.testing.assert_array_equal(before[:100], after[:100])
    assert (before[128:] != after[128:]).all()


def test_trials_are_the_distinct_models_features_and_splits_tried_on_the_label(study):
    assert walk_forward(RIDGE, **study).trials == 1
    assert walk_forward(RIDGE, **study).trials == 1
    assert walk_forward(RIDGE.replace(alpha=3.0), **study).trials == 2
    fewer = study["features"].select(fields=["f0"])
    assert walk_forward(RIDGE, **{**study, "features": fewer}).trials == 3
    changes = [{"folds": 2}, {"window": "rolling"}, {"window": "rolling", "train": 60}, {"embargo": 2}]
    for count, change in enumerate(changes, start=4):
        assert walk_forward(RIDGE, **{**study, "splits": WalkForward(**{"folds": 4, **change})}).trials == count
    for baseline in ("zero", "last_value"):  # what one compares with is not tried
        assert walk_forward(ModelSpec(baseline), **study).trials == 7
    features, label = panels(rows=160, symbols=5, seed=9)
    assert walk_forward(RIDGE, **{**study, "features": features, "label": label}).trials == 1


def test_models_are_compared_beside_baselines_on_one_run(study):
    steps = []
    table = compare([RIDGE, RIDGE.replace(alpha=9.0), RIDGE], **study, progress=lambda *step: steps.append(step))
    assert table.index.tolist() == ["ridge", "ridge(alpha=9.0)", "zero", "last_value"]
    assert table["baseline"].tolist() == [False, False, True, True]
    assert len(steps) == 16
    assert steps[-1][:2] == (16, 16)
    assert {name for _, _, name in steps} >= {"ridge(alpha=9.0), fold 1 of 4", "zero, fold 4 of 4"}
    assert table.loc["zero", "r2"] == 0.0
    assert table.loc["zero", ["ic", "rank_ic", "hit_rate"]].isna().all()
    assert table["samples"].min() == table["samples"].max() > 0
    walk = walk_forward(RIDGE, **study)
    assert walk.computed == 0
    assert table.loc["ridge", "ic"] == walk.overall["ic"]
    assert compare(RIDGE, **study, baselines=()).index.tolist() == ["ridge"]


def test_it_shows_itself_without_scripts(study):
    walk = walk_forward(RIDGE.replace(alpha=2.5), **study)
    assert repr(walk).startswith("<Walk of ridge(alpha=2.5) on forward_return: 4 folds, ic 0.")
    page = walk._repr_html_()
    assert "ridge(alpha=2.5)" in page
    assert "overall" in page
    assert f"{walk.overall['ic']:.4f}" in page
    assert "<script" not in page
    assert "nan" not in page.lower()
    assert f"<td>{int(walk.overall['samples'])}</td>" in page


class Sometimes(RegressorMixin, BaseEstimator):
    """Predicts 0, but fails once as many samples are there as `limit`."""

    def __init__(self, limit=1000, kind="raise"):
        self.limit, self.kind = limit, kind

    def fit(self, X, y):
        self.large_ = len(X) >= self.limit
        if self.large_ and self.kind == "raise":
            raise FloatingPointError("singular")
        return self

    def predict(self, X):
        if self.large_:
            return np.full(len(X), NAN) if self.kind == "nan" else np.zeros(3)
        return np.zeros(len(X))


@pytest.mark.parametrize("how", ["serial", "threads"])
def test_a_fold_that_fails_is_named_and_the_others_are_kept(study, monkeypatch, how):
    monkeypatch.setattr(models, "_things", dict(models._things))
    params = (Param("limit", 1000, doc="samples"), Param("kind", "raise", doc="how it fails"))

    @model("sometimes", params=params)
    def sometimes(params, seed):
        """Fails on large samples. Source: nobody, 2020."""
        return Sometimes(**params)

    third = walk_forward(ModelSpec("sometimes"), **study).folds["samples"][3]
    for kind, said in (
        ("raise", "FloatingPointError: singular"),
        ("nan", "are not finite"),
        ("short", r"shape \(3,\)"),
    ):
        spec = ModelSpec("sometimes", {"limit": int(third), "kind": kind})
        before = len(study["ledger"])
        with pytest.raises(TaskError, match=f"^sometimes.*, fold 3 of 4 failed: .*{said}"):
            walk_forward(spec, **study, how=how, workers=1)
        assert len(study["ledger"]) == before + 2


def test_a_walk_that_is_cancelled_goes_on_where_it_stopped(study):
    cancel = CancelToken()

    def stop(done, total, name):
        if done == 2:
            cancel.cancel()

    with pytest.raises(Cancelled, match="after 2 of 4"):
        walk_forward(FOREST, **study, how="serial", cancel=cancel, progress=stop)
    created = study["ledger"].rows()["created"].tolist()
    assert len(created) == 2
    walk = walk_forward(FOREST, **study)
    assert walk.computed == 2
    assert study["ledger"].rows()["created"].tolist()[:2] == created


def test_bad_input_is_named(study):
    features = study["features"]

    def walk(**change):
        return walk_forward(**{"spec": RIDGE, **study, **change})

    with pytest.raises(ParameterError, match="expected a ModelSpec.*\n.*ModelSpec"):
        walk(spec="ridge")
    for splits in (5, "rolling"):
        with pytest.raises(ParameterError, match="splits=.* expected a splitter"):
            walk(splits=splits)
    with pytest.raises(ParameterError, match="features are a DataFrame"):
        walk(features=features["f0"])
    with pytest.raises(DataError, match="differ in time or symbols"):
        walk(features=features.rows(1))
    with pytest.raises(DataError, match="differ in time or symbols"):
        walk(features=features.select(symbols=["S0"]))
    infinite = features.values.copy()
    infinite[2, 50, 3] = np.inf
    with pytest.raises(DataError, match=r"feature f2 of S3 at 2015-03-12.*infinite \(1 such"):
        walk(features=features.like(infinite, features.fields))
    empty = features.values.copy()
    empty[1] = NAN
    with pytest.raises(DataError, match="no sample has all 4 features; always missing: f1"):
        walk(features=features.like(empty, features.fields))
    late = features.values.copy()
    late[:, :40] = NAN
    with pytest.raises(DataError, match="fold 1 of 4.*no sample to train on where all features are there") as caught:
        walk(features=features.like(late, features.fields))
    assert "min_train" in caught.value.hint
    with pytest.raises(DataError, match="fold 1 of 5.*has no sample to score where all features") as caught:
        walk(features=features.like(late, features.fields), splits=PurgedKFold(5))
    assert "longer tests" in caught.value.hint
    assert "min_train" not in caught.value.hint
    gone = features.values.copy()
    gone[:, 60:100] = NAN
    with pytest.raises(DataError, match="fold 2 of 4.*has no sample to score"):
        walk(features=features.like(gone, features.fields))
    with pytest.raises(ParameterError, match="how='thread'"):
        walk(how="thread")
    assert len(study["ledger"]) == 0


def test_a_panel_in_single_precision_is_walked_in_double(study):
    features, label = (study[name].astype(np.float32) for name in ("features", "label"))
    walk = walk_forward(RIDGE, **{**study, "features": features, "label": label})
    assert walk.scores.dtype == np.float64
    assert walk.overall["ic"] == pytest.approx(walk_forward(RIDGE, **study).overall["ic"], abs=1e-4)


# ---------------------------------------------------------------------- killed


def start(path, how="threads"):
    """The script that walks, in a process of its own."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("kill_walk.py")), str(path), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process) -> dict:
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(said.splitlines()[-1])


def test_a_walk_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path):
    draw = np.random.default_rng(2026)
    path = tmp_path / "killed.sqlite"
    undisturbed = start(tmp_path / "undisturbed.sqlite", "serial")
    kept: dict[str, pd.Timestamp] = {}
    for folds in draw.permutation(3):  # folds that end for sure before the kill; it comes within one
        process = start(path)
        for _ in range(1 + folds):
            assert process.stdout.readline()
        time.sleep(draw.uniform(0.0, 0.15))
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        rows = Ledger(path).rows()
        created = dict(zip(rows["key"], rows["created"], strict=True))
        assert len(created) == len(rows) >= folds
        assert kept.items() <= created.items()  # what was there stands there, untouched
        kept = created
    assert 0 < len(kept) < FOLDS
    last = finish(start(path))
    rows = Ledger(path).rows()
    created = dict(zip(rows["key"], rows["created"], strict=True))
    assert last["computed"] == FOLDS - len(kept)
    assert sorted(study["fold"] for study in rows["study"]) == list(range(1, FOLDS + 1))
    assert kept.items() <= created.items()
    assert last["scores"] == finish(undisturbed)["scores"]
    whole = Ledger(tmp_path / "undisturbed.sqlite").rows()
    by_key = [frame.set_index("key")["outcome"].to_dict() for frame in (rows, whole)]
    assert by_key[0] == by_key[1]


def test_two_processes_that_walk_the_same_at_once_keep_each_cell_once(tmp_path):
    both = [start(tmp_path / "shared.sqlite") for _ in range(2)]
    said = [finish(process) for process in both]
    assert said[0]["scores"] == said[1]["scores"]
    rows = Ledger(tmp_path / "shared.sqlite").rows()
    assert sorted(study["fold"] for study in rows["study"]) == list(range(1, FOLDS + 1))


def test_what_a_label_looks_back_is_part_of_the_key(study):
    label = study["label"]
    ask = {**study, "splits": PurgedKFold(4)}
    first = walk_forward(RIDGE, **ask)
    longer = label.like(label.values, label.fields, 30)
    again = walk_forward(RIDGE, **ask | {"label": longer})
    assert again.computed == 4
    assert (again.folds["samples"] <= first.folds["samples"]).all()
    assert again.folds["samples"].sum() < first.folds["samples"].sum()


def test_a_splitter_that_is_defined_anew_is_walked_anew(study):
    def cut(at):
        class Half(Splits):
            schema = ()
            embargo = 0

            def to_dict(self):
                return {"kind": "Half"}

            def __post_init__(self):
                pass

            def group_rows(self, rows):
                return [(at, rows)]

            def tested(self):
                return [(0,)]

        Half.__module__ = "__main__"
        return Half

    walks = [walk_forward(RIDGE, **study | {"splits": cut(at)()}) for at in (80, 100)]
    assert [walk.computed for walk in walks] == [1, 1]


def test_a_classifier_of_one_class_that_weighs_is_refused(study):
    label = signs(study["label"])
    weight = np.where(label.values[0] > 0, 1.0, 0.0)
    for name in ("logistic", "random_forest_classifier", "gradient_boosting_classifier"):
        with pytest.raises(TaskError, match="a classifier needs two classes"):
            walk_forward(ModelSpec(name), **study | {"label": label, "weights": label.like(weight, "weight")})


def test_classes_without_a_sign_have_no_hits_and_no_distance_to_zero(study):
    label = study["label"]
    values = np.stack([np.where(np.isnan(label.values[0]), np.nan, np.arange(5.0)[None, :]), label.values[1]])
    fifths = label.like(values, ["forward_quantile", "span"])
    walk = walk_forward(ModelSpec("logistic"), **study | {"label": fifths})
    assert walk.overall[["hit_rate", "r2"]].isna().all()
    assert 0 <= walk.overall["accuracy"] <= 1


def test_the_sign_of_labels_is_that_of_the_study_and_not_of_one_test(study):
    label = study["label"]
    known = ~np.isnan(label.values[0])
    upper = np.where(known, (label.values[0] > 0).astype(float), np.nan)
    both = upper.copy()
    both[30:40] = np.where(known[30:40], -1.0, np.nan)  # before all but the first test
    for plane, names in ((upper, [True] * 4), (both, [False] * 4)):
        classes = label.like(np.stack([plane, label.values[1]]), ["triple_barrier", "span"])
        walk = walk_forward(ModelSpec("ridge"), **study | {"label": classes})
        assert walk.folds["hit_rate"].isna().tolist() == names
        assert walk.folds["r2"].isna().tolist() == names


def test_what_is_no_trial_is_named():
    said = Walk.__doc__[Walk.__doc__.index("Not counted: the baselines (") :]
    named = said[said.index("(") + 1 : said.index(")")].replace(",", " ").split()
    assert set(named) == {name for name in models if models[name].baseline}


def test_the_context_of_a_fit_by_hand_is_that_of_a_walk():
    features, label = panels()
    samples = features.stack(valid="all")
    mine = Context.of_samples(samples, label)
    layout = Layout(features, label, None)
    theirs = layout.table.context(np.array([[0, len(samples.row)]]), trained=True)
    for name in ("row", "column", "table", "table_row", "table_column", "label", "end", "sample_end"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
