"""Stop reaches into the fits of libraries, leaves nothing behind, and finished folds stay in the ledger."""

from __future__ import annotations

import pickle
import threading
import time

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import workbench as wb
from workbench.compute import CancelToken, run
from workbench.errors import Cancelled, UnknownNameError
from workbench.evaluate import CombinatorialPurged, PurgedKFold, WalkForward
from workbench.evaluate.splits import Splits
from workbench.kernels import checkpoint
from workbench.models import models

LONG = {
    "random_forest": {"n_estimators": 10_000},
    "random_forest_classifier": {"n_estimators": 10_000},
    "gradient_boosting": {"max_iter": 10_000},
    "gradient_boosting_classifier": {"max_iter": 10_000},
    "mlp": {"epochs": 10_000, "validation": 0.0},
    "lstm": {"epochs": 10_000, "validation": 0.0},
}


@pytest.fixture(scope="module")
def samples():
    draw = np.random.default_rng(0)
    X = draw.standard_normal((4000, 4))
    return X, X[:, 0] + draw.standard_normal(4000)


@pytest.mark.parametrize("name", LONG)
def test_a_fit_that_would_take_minutes_is_stopped_within(name, samples):
    X, y = samples
    y = np.sign(y) if models[name].task == "classification" else y
    stop, ended = CancelToken(), []

    def fit():
        try:
            with checkpoint(stop.check):
                wb.ModelSpec(name, LONG[name]).build().fit(X, y)
        except Cancelled:
            ended.append(name)

    wb.ModelSpec(name).build()  # its library is there before
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    time.sleep(0.3)
    stop.cancel()
    thread.join(30)  # far less than the fit would take
    assert ended == [name]


@pytest.mark.parametrize("name", [name for name in LONG if models[name].library == "scikit-learn"])
def test_trees_that_can_be_stopped_are_scikit_learns_to_the_bit(name, samples):
    X, y = samples[0][:1000], samples[1][:1000]
    y = np.sign(y) if models[name].task == "classification" else y
    mine = wb.ModelSpec(name, {"max_depth": 4}).build()
    theirs = next(kind for kind in type(mine).__mro__ if kind.__module__.startswith("sklearn.ensemble"))
    ask = "predict_proba" if hasattr(mine, "predict_proba") else "predict"
    plain = theirs(**mine.get_params()).fit(X, y)
    with joblib.parallel_config(n_jobs=1), threadpool_limits(1):
        assert np.array_equal(getattr(mine.fit(X, y), ask)(X), getattr(plain, ask)(X))
    again = pickle.loads(pickle.dumps(mine))
    assert np.array_equal(getattr(again, ask)(X), getattr(mine, ask)(X))


def test_finished_folds_are_kept_and_the_next_call_goes_on(study):
    stop = CancelToken()
    spec = wb.ModelSpec("gradient_boosting", {"max_iter": 30})
    with pytest.raises(Cancelled):
        wb.walk_forward(spec, **study, how="serial", cancel=stop, progress=lambda done, total, name: stop.cancel())
    assert len(study["ledger"].rows(kind="fold")) == 1
    assert wb.walk_forward(spec, **study).computed == 3


def _large():
    return np.arange(200_000.0)


def test_large_results_come_back_from_processes():
    (found,) = run([("large", _large)], how="processes", workers=1)
    assert np.array_equal(found, np.arange(200_000.0))


@pytest.mark.parametrize(
    "splits", [WalkForward(3, "rolling", train=50), PurgedKFold(4, embargo=2), CombinatorialPurged(5, 2)], ids=repr
)
def test_a_splitter_comes_back_from_its_dict(splits):
    assert Splits.from_dict(splits.to_dict()) == splits
    assert {p.name for p in splits.schema} == set(splits.to_dict()) - {"kind"}
    assert all(p.doc for p in splits.schema)


def test_a_splitter_that_there_is_not_is_named():
    with pytest.raises(UnknownNameError, match="WalkForward"):
        Splits.from_dict({"kind": "WalkForwards"})


def test_splines_of_some_samples_at_a_time_are_those_of_all_to_the_bit():
    X = np.random.default_rng(3).standard_normal((20_000, 3))
    made = wb.ModelSpec("splines").build().fit(X, X[:, 0])
    assert np.array_equal(np.concatenate(list(made._basis(X))), made.splines_.transform(X))
