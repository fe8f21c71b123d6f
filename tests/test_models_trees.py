"""Forests and boosting: how they vote, what they find, and that threads change no bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import threadpoolctl

from workbench.models import ModelSpec, models

TREES = ["random_forest", "random_forest_classifier", "gradient_boosting", "gradient_boosting_classifier"]
BOOSTING = TREES[2:]
FAST = {"n_estimators": 20, "max_iter": 20}


def spec_of(name: str, **params) -> ModelSpec:
    fast = {p.name: FAST[p.name] for p in models[name].params if p.name in FAST}
    return ModelSpec(name, {**fast, **params}, seed=5)


def planted(n: int, name: str, seed: int = 0):
    """The sign of a product decides: no line tells the two sides apart. A tenth of the targets is turned over."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    side = np.sign(X[:, 0] * X[:, 1]) * np.where(rng.random(n) < 0.1, -1, 1)
    return X, side + (0 if models[name].task == "classification" else rng.normal(0, 0.3, n))


def scores(fitted, X):
    return fitted.predict_proba(X) @ fitted.classes_ if hasattr(fitted, "predict_proba") else fitted.predict(X)


@pytest.mark.parametrize("name", TREES)
def test_an_interaction_is_found_out_of_sample(name):
    X, y = planted(3000, name)
    found = scores(spec_of(name, max_features=1.0).build().fit(X[:2000], y[:2000]), X[2000:])
    assert np.mean(np.sign(found) == np.sign(X[2000:, 0] * X[2000:, 1])) > 0.9


def test_the_forest_votes_by_the_mean_of_its_leaves_shares():
    X, y = planted(500, "random_forest_classifier")
    fitted = spec_of("random_forest_classifier").build().fit(X, y)
    shares = np.mean([tree.predict_proba(X) for tree in fitted.estimators_], axis=0)
    np.testing.assert_allclose(fitted.predict_proba(X), shares, rtol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[shares.argmax(axis=1)])


@pytest.mark.parametrize("name", BOOSTING)
def test_boosting_grows_all_its_trees(name):
    """scikit-learn would stop early above 10,000 samples, by the loss on samples drawn at random."""
    X, y = planted(10_500, name)
    fitted = spec_of(name, learning_rate=1.0).build().fit(X, y)
    assert fitted.n_iter_ == FAST["max_iter"]
    assert not len(fitted.validation_score_)


@pytest.mark.parametrize("name", BOOSTING)
def test_openmp_threads_change_no_bit(name):
    X, y = planted(5000, name)
    found = []
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, "openmp"):
            found.append(scores(spec_of(name, max_iter=8, max_features=0.5).build().fit(X, y), X))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("name", [name for name in models if models[name].dtype == "float32"])
def test_features_in_the_dtype_that_a_model_declares_change_no_bit_and_are_not_copied(name):
    X, y = planted(1000, name)
    X *= [1.0, 1e-40, 1e30, 1 + 1e-9]  # subnormal there, and large
    weight = np.random.default_rng(1).uniform(size=1000)
    single = X.astype(np.float32)
    single.flags.writeable = False
    for given in ({}, {"sample_weight": weight}):
        wide, narrow = (spec_of(name).build().fit(x, y, **given) for x in (X, single))
        np.testing.assert_array_equal(scores(wide, X), scores(narrow, single))
        np.testing.assert_array_equal(scores(wide, X), scores(narrow, X))
    large, targets = np.tile(single, (20, 25)), np.tile(y, 20)  # 8 MB
    tracemalloc.start()
    try:
        spec_of(name, n_estimators=1, max_depth=2).build().fit(large, targets)
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 2
    finally:
        tracemalloc.stop()


def test_trees_declare_what_they_compute_in():
    assert {name for name in models if models[name].dtype == "float32"} == set(TREES[:2])


@pytest.mark.parametrize("name", TREES)
def test_a_missing_feature_is_learned_from(name):
    """Where what is missing tells the target, the trees find it."""
    X, y = planted(1000, name)
    X[y > 0, 2] = np.nan
    found = scores(spec_of(name, max_features=1.0).build().fit(X, y), X)
    assert np.mean(np.sign(found) == np.sign(y)) > 0.99


@pytest.mark.parametrize("name", TREES)
def test_weights_say_whom_to_follow(name):
    X, y = planted(1000, name)
    weight = np.where(y > 0, 1.0, 1e-6)
    found = scores(spec_of(name).build().fit(X, y, sample_weight=weight), X)
    assert (found > 0).all()
