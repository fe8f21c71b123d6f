"""What models have learned: importances, dependences and coefficients, on rows that were not trained on."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from kill_walk import panels
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import workbench as wb
from workbench.compute import CancelToken
from workbench.errors import Cancelled, DataError, ParameterError, UnknownNameError
from workbench.evaluate import WalkForward
from workbench.ledger import Ledger
from workbench.models import ModelSpec, curves, model, models

RIDGE = ModelSpec("ridge", {"alpha": 10.0})


@pytest.fixture
def given(tmp_path):
    features, label = panels(rows=220, symbols=5)
    return {
        "features": features,
        "label": label,
        "splits": WalkForward(folds=3),
        "ledger": Ledger(tmp_path / "ledger.sqlite"),
    }


def plain(given):
    """Each fold by scikit-learn alone: the fitted pipeline, and its test samples with a label."""
    features, label = given["features"], given["label"]
    samples = features.stack()
    y = label.values[0][samples.row, samples.column]
    for fold in given["splits"].split(label):
        train = fold.train[samples.row, samples.column]
        test = fold.in_test[samples.row] & ~np.isnan(y)
        fitted = make_pipeline(StandardScaler(), Ridge(10.0)).fit(samples.values[train], y[train])
        yield fitted, samples.values[fold.in_test[samples.row]], samples.values[test], y[test]


def test_an_importance_is_scikit_learns_on_the_same_folds(given):
    """Shuffles differ, so both are held against the mean of many: by their own spread, at five deviations."""
    mine = wb.study(RIDGE, **given).importance("r2", repeats=30)
    for number, (fitted, _, X, y) in enumerate(plain(given), start=1):

        def r2(estimator, X, y):
            return 1 - np.sum((y - estimator.predict(X)) ** 2) / np.sum(y**2)

        theirs = permutation_importance(fitted, X, y, scoring=r2, n_repeats=30, random_state=1)
        found = mine.loc[list(given["features"].fields), f"fold {number}"].to_numpy()
        spread = theirs.importances_std * np.sqrt(2 / 30) + 1e-9
        # a test row without a label is shuffled with the others here, and left out there
        assert np.all(np.abs(found - theirs.importances_mean) < 5 * spread + 0.002), number


def test_the_planted_feature_is_the_important_one(given):
    table = wb.study(RIDGE, **given).importance()
    assert table.index[0] == "f0"
    assert table.loc["f0", "drop"] > 5 * table.loc["f0", "error"]
    assert table["drop"].is_monotonic_decreasing
    folds = table[[f"fold {i}" for i in (1, 2, 3)]]
    assert table["drop"].to_numpy() == pytest.approx(folds.mean(axis=1).to_numpy())
    assert table["error"].to_numpy() == pytest.approx((folds.std(axis=1) / np.sqrt(3)).to_numpy())


def test_a_feature_that_is_not_read_has_no_importance(given, monkeypatch):
    monkeypatch.delitem(models._things, "first_only", raising=False)

    @model("first_only", params=())
    class FirstOnly(RegressorMixin, BaseEstimator):
        """The first feature itself. Source: nobody, 2026."""

        def fit(self, X, y):
            self.n_features_in_ = X.shape[1]
            return self

        def predict(self, X):
            return X[:, 0].copy()

    try:
        table = wb.study(ModelSpec("first_only"), **given).importance("ic")
        assert (table.loc[["f1", "f2", "f3"], "drop"] == 0).all()
        assert table.loc["f0", "drop"] > 0.1
        dependence = wb.study(ModelSpec("first_only"), **given).dependence("f0", points=7)
        assert dependence["mean"].to_numpy() == pytest.approx(dependence.index.to_numpy(), rel=1e-12)
        flat = wb.study(ModelSpec("first_only"), **given).dependence("f2", points=7)
        assert np.ptp(flat["mean"]) == pytest.approx(0, abs=1e-12)
    finally:
        del models._things["first_only"]


def test_a_dependence_is_scikit_learns(given):
    mine = wb.study(RIDGE, **given).dependence("f0", points=9)
    for number, (fitted, X, _, _) in enumerate(plain(given), start=1):
        theirs = partial_dependence(fitted, X, [0], custom_values={0: mine.index.to_numpy()}, kind="average")
        assert mine[f"fold {number}"].to_numpy() == pytest.approx(theirs["average"][0], rel=1e-6)


def test_coefficients_are_those_of_each_fold(given):
    table = wb.study(RIDGE, **given).coefficients()
    for number, (fitted, _, _, _) in enumerate(plain(given), start=1):
        expected = fitted[-1].coef_ / fitted[0].scale_
        assert table[f"fold {number}"].to_numpy() == pytest.approx(expected, rel=1e-8)
    folds = table[[f"fold {i}" for i in (1, 2, 3)]]
    assert (table["least"] == folds.min(axis=1)).all()
    assert (table["largest"] == folds.max(axis=1)).all()
    with pytest.raises(ParameterError, match="random_forest has no coefficients"):
        wb.study(ModelSpec("random_forest", {"n_estimators": 2}), **given).coefficients()


def test_intervals_are_those_of_statsmodels_on_the_last_fold(given):
    import statsmodels.api as sm

    table = wb.study(ModelSpec("ols"), **given).coefficients()
    features, label = given["features"], given["label"]
    samples = features.stack()
    fold = list(given["splits"].split(label))[-1]
    train = fold.train[samples.row, samples.column]
    y = label.values[0][samples.row, samples.column]
    theirs = sm.OLS(y[train], sm.add_constant(samples.values[train])).fit()
    assert table["fold 3"].to_numpy() == pytest.approx(theirs.params[1:], rel=1e-9)
    assert table[["low", "high"]].to_numpy() == pytest.approx(theirs.conf_int()[1:], rel=1e-9)
    assert wb.study(RIDGE, **given).coefficients()["low"].isna().all()
    drawn = wb.figures.coefficients(table).data
    assert [trace.name for trace in drawn] == ["95 % interval, last fold", "range of the folds", "mean of the folds"]


def test_intervals_of_fama_macbeth_are_those_of_an_average_over_rows(given):
    import statsmodels.api as sm

    given["features"] = given["features"].select(fields=["f0", "f1"])  # fewer than a row has symbols
    table = wb.study(ModelSpec("fama_macbeth"), **given).coefficients()
    samples = given["features"].stack()
    fold = list(given["splits"].split(given["label"]))[-1]
    train = fold.train[samples.row, samples.column]
    X, y = sm.add_constant(samples.values[train]), given["label"].values[0][samples.row, samples.column][train]
    rows = samples.row[train]
    premia = np.array([np.linalg.lstsq(X[rows == t], y[rows == t])[0] for t in np.unique(rows)])
    ends = np.array([sm.stats.DescrStatsW(column).tconfint_mean() for column in premia.T])[1:]
    assert table[["low", "high"]].to_numpy() == pytest.approx(ends, rel=1e-6)


def test_parameters_of_a_curve_are_its_coefficients(given):
    """With the intervals that follow from scipy's covariance, on the last fold."""
    from scipy.optimize import curve_fit
    from scipy.stats import t

    curved = given["label"].values.copy()
    curved[0] += 0.1 + 0.05 * np.tanh(1.5 * given["features"].values[0])
    given["label"] = given["label"].like(curved, given["label"].fields)
    table = wb.study(ModelSpec("nonlinear", {"curve": "tanh", "feature": 0}), **given).coefficients()
    samples = given["features"].stack()
    fold = list(given["splits"].split(given["label"]))[-1]
    train = fold.train[samples.row, samples.column]
    x, y = samples.values[train, 0], given["label"].values[0][samples.row, samples.column][train]
    estimate, covariance = curve_fit(curves["tanh"].function, x, y, table["fold 3"].to_numpy() * 1.01, xtol=1e-12)
    half = t.ppf(0.975, len(x) - len(estimate)) * np.sqrt(np.diag(covariance))
    assert list(table.index) == list(curves["tanh"].parameters)
    assert table["fold 3"].to_numpy() == pytest.approx(estimate, rel=1e-4)
    assert table[["low", "high"]].to_numpy() == pytest.approx(np.c_[estimate - half, estimate + half], rel=1e-3)


def test_nothing_is_asked_twice_and_no_answer_is_a_trial(given):
    first = wb.study(RIDGE, **given)
    before = first.importance()
    size = len(given["ledger"])
    again = wb.study(RIDGE, **given)
    pd.testing.assert_frame_equal(before, again.importance(), check_exact=True)
    again.importance("ic")  # another measure of the same shuffles
    assert len(given["ledger"]) == size
    assert again.walk.trials == 1
    other = again.importance(seed=1)
    assert len(given["ledger"]) == size + 3
    assert not other.equals(before)


def test_a_study_is_pickled_and_asked_on(given):
    ask = {**given, "cancel": CancelToken(), "progress": lambda *step: None}
    study = wb.study(RIDGE, **ask)
    asked = study.importance()
    again = pickle.loads(pickle.dumps(study))
    size = len(given["ledger"])
    pd.testing.assert_frame_equal(again.importance(), asked, check_exact=True)
    pd.testing.assert_frame_equal(again.importance("ic"), study.importance("ic"), check_exact=True)
    assert len(given["ledger"]) == size  # of the same keys: nothing was computed again
    assert repr(again) == repr(study)
    assert again._repr_html_() == study._repr_html_()
    again.dependence("f0", points=3)
    assert len(given["ledger"]) == size + 3


@pytest.mark.parametrize("how", ["serial", "processes"])
def test_answers_are_the_same_however_they_are_computed(given, tmp_path, how):
    spec = ModelSpec("random_forest", {"n_estimators": 3})
    tables = [wb.study(spec, **given).importance(repeats=2)]
    tables.append(wb.study(spec, **given | {"ledger": tmp_path / "other.sqlite"}, how=how).importance(repeats=2))
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_study_shows_folds_metrics_baselines_and_figures(given, monkeypatch):
    study = wb.study(RIDGE, **given)
    shown = study._repr_html_()
    for word in ("zero", "last_value", "ridge", "rank_ic", "test_start", "overall", "1 tried on this label"):
        assert word in shown
    assert "<script" not in shown
    assert len(study.figures()) == 1
    study.importance()
    assert len(study.figures()) == 2
    assert list(study.table["baseline"]) == [False, True, True]
    assert study.scores.fields == ("score",)
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *what, **how: displayed.extend(what))
    study._ipython_display_()
    assert [type(x).__name__ for x in displayed] == ["dict", "Figure", "Figure"]


@pytest.mark.parametrize(
    ("spec", "drawn"),
    [(ModelSpec("lasso", {"alpha": 1.0}), ["hit_rate"]), (ModelSpec("mean"), ["hit_rate"]), (ModelSpec("zero"), [])],
)
def test_a_study_shows_itself_whatever_is_not_known(given, monkeypatch, spec, drawn):
    study = wb.study(spec, **given)
    study.importance()
    assert study.folds["rank_ic"].isna().all()
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *what, **how: displayed.extend(what))
    study._ipython_display_()
    figures = [x for x in displayed if not isinstance(x, dict)]
    lines = [x["text/plain"] for x in displayed[1:] if isinstance(x, dict)]
    for figure, name in zip(figures, drawn, strict=True):
        assert np.asarray(figure.data[0].y) == pytest.approx(study.folds[name].to_numpy(), rel=1e-6)
    assert len(figures) == len(study.figures())
    assert len(figures) + len(lines) == 2  # of the folds and of the importance
    assert "importance: the rank ic is known in no fold" in lines[-1]
    assert drawn or "folds: rank_ic and hit_rate known in none of 3 folds: nothing to draw" in lines[0]
    assert not any("\n" in line for line in lines)


def test_bad_questions_are_named(given):
    study = wb.study(RIDGE, **given)
    with pytest.raises(ParameterError, match="measure='rankic'") as caught:
        study.importance("rankic")
    assert "rank_ic" in caught.value.hint
    with pytest.raises(UnknownNameError, match="unknown feature 'f9'"):
        study.dependence("f9")
    with pytest.raises(ParameterError, match="repeats=0"):
        study.importance(repeats=0)
    halves = given["label"].like((given["label"].values > 0).astype(float), given["label"].fields)
    with pytest.raises(ParameterError, match="importance: measure='hit_rate' of labels"):
        wb.study(ModelSpec("ridge"), **given | {"label": halves}).importance("hit_rate")
    stop = CancelToken()
    cancelled = wb.study(RIDGE, **given, cancel=stop)
    stop.cancel()
    with pytest.raises(Cancelled):
        cancelled.importance()


def test_explaining_leaves_the_samples_as_they_were(given):
    study = wb.study(RIDGE, **given)
    before = study._layout.table.X.copy()
    study.importance()
    study.dependence("f1")
    assert np.array_equal(study._layout.table.X, before)


# ---------------------------------------------------------------------------------------------------------- figures


def test_figures_hold_the_numbers_of_their_tables(given):
    study = wb.study(RIDGE, **given)
    table = study.importance()
    bar = wb.figures.importance(table).data[0]
    assert list(bar.y) == list(table.index[::-1])
    assert np.asarray(bar.x) == pytest.approx(table["drop"].to_numpy()[::-1], rel=1e-6)
    dependence = study.dependence("f0")
    drawn = wb.figures.dependence(dependence).data
    assert [line.name for line in drawn] == ["fold 1", "fold 2", "fold 3", "mean"]
    coefficients = study.coefficients()
    dots = wb.figures.coefficients(coefficients).data[-1]
    assert dict(zip(dots.y, dots.x, strict=True)) == pytest.approx(coefficients["mean"].to_dict())
    with pytest.raises(DataError, match="importance"):
        wb.figures.importance(dependence)


def test_figures_of_a_sweep(given):
    space = {"max_depth": [2, 4, None], "min_samples_leaf": [5, 50]}
    spec = ModelSpec("random_forest", {"n_estimators": 2})
    swept = wb.sweep(spec, space, **given)
    figure = wb.figures.parallel(swept)
    assert {trace.type for trace in figure.data} == {"scatter"}  # drawn without WebGL
    assert list(figure.layout.xaxis.ticktext) == ["max_depth", "min_samples_leaf", "rank ic"]
    assert [note.text for note in figure.layout.annotations if note.x == 0] == ["2", "4", "None"]
    tried = swept.table[~swept.table["baseline"]].iloc[::-1]  # the best is drawn last
    values, choices = tried["rank_ic"].to_numpy(), {"2": 0, "4": 0.5, "None": 1}
    lines = np.array([trace.y for trace in figure.data])
    assert lines[:, 2] == pytest.approx((values - values.min()) / np.ptp(values), abs=1e-4)
    assert lines[:, 0] == pytest.approx([choices["None" if pd.isna(v) else f"{v:g}"] for v in tried["max_depth"]])
    heat = wb.figures.surface(swept, "max_depth", "min_samples_leaf").data[0]
    assert list(heat.x) == ["2", "4", "None"]
    assert list(heat.y) == ["5", "50"]
    row = swept.table[swept.table["max_depth"].isna() & (swept.table["min_samples_leaf"] == 50)].iloc[0]
    assert heat.z[1][2] == pytest.approx(row["rank_ic"], rel=1e-6)
    with pytest.raises(UnknownNameError, match="unknown varied parameter 'alpha'"):
        wb.figures.surface(swept, "alpha", "max_depth")
    with pytest.raises(DataError, match="expected a Sweep"):
        wb.figures.parallel(given["features"])


# ---------------------------------------------------------------------------------------------- models that look back


class Trailing(RegressorMixin, BaseEstimator):
    """The mean of the first feature over a symbol's last ten rows."""

    def fit(self, X, y, context=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X, context=None):
        at = context.windows(10)
        values = np.where(at < 0, np.nan, context.table[np.maximum(at, 0), 0])
        return np.nanmean(values, axis=1)


def test_a_dependence_sets_the_feature_wherever_the_model_looks_back(tmp_path, monkeypatch):
    """With more samples than are averaged over, and with fewer, the slope is the one there is."""
    monkeypatch.setattr(models, "_things", dict(models._things))

    @model("trailing", params=(), lookback=lambda: 9)
    def trailing(params, seed):
        """A mean. Source: nobody, 2026."""
        return Trailing()

    for rows, symbols in ((220, 5), (1500, 6)):
        features, label = panels(rows=rows, symbols=symbols)
        study = wb.study(ModelSpec("trailing"), features, label, splits=WalkForward(folds=2), ledger=tmp_path / "l")
        table = study.dependence("f0", points=5)
        assert table["mean"].to_numpy() == pytest.approx(table.index.to_numpy(), rel=1e-9)


def test_coefficients_stand_by_class_where_folds_know_different_ones(given):
    label = given["label"]
    values = np.sign(label.values)
    values[1] = label.values[1]
    values[0, 150:153] = 0  # a class that the first folds have not seen
    signs = label.like(values, ["forward_sign", "span"])
    table = wb.study(ModelSpec("logistic"), **given | {"label": signs}).coefficients()
    assert {"f0 [-1]", "f0 [0]", "f0 [1]"} <= set(table.index)
    assert table.loc["f0 [0]", "fold 1":"fold 2"].isna().any()
    assert table.loc["f0 [1]"].drop(["low", "high"]).notna().all()
