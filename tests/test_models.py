"""Models: the spec's laws over every model, scikit-learn's own checks, seeds, planted signals, bad input."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from workbench.errors import DataError, ParameterError, RegistrationError, UnknownNameError
from workbench.models import ModelSpec, SizesParam, catalog, model, models
from workbench.models.nonlinear import NumbersParam
from workbench.registry import Param, check_params

NAMES = ["zero", "last_value", "ridge", "random_forest", "random_forest_classifier", "gradient_boosting"]
NAMES += ["gradient_boosting_classifier", "mlp", "lstm", "tcn", "arima", "mean", "ols", "lasso", "elastic_net"]
NAMES += ["prior", "logistic", "nonlinear", "splines", "fama_macbeth"]

# Small enough for a hundred fits, strong enough for scikit-learn's check that R2 > 0.5 on its toy regression.
QUICK = {
    "nonlinear": {"feature": 0, "starts": 2},
    "random_forest": {"n_estimators": 10, "min_samples_leaf": 1, "max_features": 1.0},
    "random_forest_classifier": {"n_estimators": 10, "min_samples_leaf": 1, "max_features": 1.0},
    "gradient_boosting": {"learning_rate": 0.6, "max_iter": 4, "min_samples_leaf": 5, "max_features": 0.5},
    "gradient_boosting_classifier": {"learning_rate": 0.6, "max_iter": 4, "min_samples_leaf": 5, "max_features": 0.5},
    "mlp": {"hidden": (16,), "lr": 0.02, "epochs": 12, "batch_size": 16},
    "lstm": {"window": 2, "units": 8, "lr": 0.03, "epochs": 12, "batch_size": 16},
    "tcn": {"window": 2, "channels": 8, "kernel_size": 2, "lr": 0.03, "epochs": 12, "batch_size": 16},
}

# What draws at random: forests, boosting on some of the features, networks.
SEEDED = ["random_forest", "random_forest_classifier", "gradient_boosting", "gradient_boosting_classifier"]
SEEDED += ["mlp", "lstm", "tcn"]


def quick(name: str, seed: int = 0) -> ModelSpec:
    return ModelSpec(name, QUICK.get(name), seed)


def planted(n: int = 4000, seed: int = 1):
    """Features and a target with an interaction and a bend that no line sees, over noise of deviation 0.5."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * np.sign(X[:, 2]) + rng.normal(0, 0.5, n)


def suited(name: str, y: np.ndarray) -> np.ndarray:
    """The target `y`, as three classes for a classifier."""
    return np.sign(np.round(y)) if models[name].task == "classification" else y


def scores(fitted, X: np.ndarray) -> np.ndarray:
    """What the walk takes: the prediction, or the expected label of a classifier."""
    return fitted.predict_proba(X) @ fitted.classes_ if hasattr(fitted, "predict_proba") else fitted.predict(X)


def r2_against_zero(y, predicted) -> float:
    return 1 - np.sum((y - predicted) ** 2) / np.sum(y**2)


def run_python(code: str, **env: str) -> str:
    """What another Python process prints, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- the spec


def drawn_param(param: Param):
    """A strategy of the valid values of one declared parameter."""
    if param.choices:
        values = st.sampled_from(tuple(param.choices))
    elif isinstance(param, SizesParam):
        values = st.lists(st.integers(param.low, param.high), min_size=1, max_size=param.longest)
    elif isinstance(param, NumbersParam):
        values = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=8)
    elif param.kind is int:
        values = st.integers(param.low, param.high)
    elif param.kind is float:
        values = st.floats(param.low, param.high)
    else:
        values = st.booleans()
    return st.one_of(st.none(), values) if param.optional else values


@st.composite
def specs(draw) -> ModelSpec:
    entry = models[draw(st.sampled_from(NAMES))]
    chosen = draw(st.lists(st.sampled_from(entry.params), unique=True)) if entry.params else []
    return ModelSpec(entry.name, {p.name: draw(drawn_param(p)) for p in chosen}, draw(st.integers(0, 2**32 - 1)))


@given(specs())
@settings(deadline=None, max_examples=200)
def test_json_repr_and_pickle_rebuild_a_spec(spec):
    again = [ModelSpec.from_json(spec.to_json()), eval(repr(spec)), pickle.loads(pickle.dumps(spec))]
    again += [ModelSpec(spec.name, dict(reversed(spec.params.items())), spec.seed), spec.replace()]
    for other in again:
        assert other == spec
        assert hash(other) == hash(spec)
        assert other.key == spec.key
        assert other.to_json() == spec.to_json()


@given(specs(), specs())
@settings(deadline=None, max_examples=200)
def test_keys_are_equal_exactly_where_specs_are(one, other):
    assert (one == other) == (one.key == other.key) == (one.to_json() == other.to_json())


@given(specs())
@settings(deadline=None, max_examples=30)
def test_every_valid_spec_builds_an_estimator_that_holds_its_parameters(spec):
    estimator = spec.build()
    held = estimator.get_params()
    flat = {k.rsplit("__", 1)[-1]: v for k, v in held.items()}
    for name, value in spec.params.items():
        assert getattr(flat[name], "name", flat[name]) == value  # an estimator holds a curve, not only its name
    if "random_state" in held:
        assert held["random_state"] == spec.seed
    assert estimator is not spec.build()


def test_specs_that_mean_the_same_are_equal():
    spec = ModelSpec("ridge")
    assert spec == ModelSpec("ridge", {"alpha": 1}) == ModelSpec("ridge", {"alpha": np.float64(1.0)})
    assert ModelSpec("mlp", {"hidden": [32, 16]}) == ModelSpec("mlp", {"hidden": np.array([32, 16]).tolist()})
    assert ModelSpec("mlp", {"hidden": (np.int64(32), 16)}) == ModelSpec("mlp")
    assert ModelSpec("mlp", {"weight_decay": -0.0}).key == ModelSpec("mlp", {"weight_decay": 0.0}).key
    assert len({spec, ModelSpec("ridge", {"alpha": 1.0}), spec.replace(seed=1), spec.replace(alpha=2)}) == 3


def test_a_spec_can_not_be_changed():
    spec = ModelSpec("ridge")
    with pytest.raises(AttributeError):
        spec.seed = 3
    with pytest.raises(TypeError):
        spec.params["alpha"] = 3.0


def test_json_is_plain_and_sorted():
    text = ModelSpec("mlp", {"lr": 0.01}, seed=7).to_json()
    content = json.loads(text)
    assert list(content) == ["name", "params", "seed"]
    assert list(content["params"]) == sorted(content["params"])
    assert content["params"]["lr"] == 0.01
    assert content["params"]["hidden"] == [32, 16]
    assert ModelSpec.from_json('{"seed": 7, "params": {"lr": 0.01}, "name": "mlp"}').to_json() == text


def test_the_key_is_the_same_in_another_process():
    spec = ModelSpec("random_forest", {"max_depth": None}, seed=5)
    code = f"from workbench.models import ModelSpec; s = {spec!r}; print(s.key)"
    assert {run_python(code, PYTHONHASHSEED=h).strip() for h in "12"} == {spec.key}


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: ModelSpec("rigde"), UnknownNameError, "did you mean 'ridge'"),
        (lambda: ModelSpec(["ridge"]), UnknownNameError, "unknown model"),
        (lambda: ModelSpec("ridge", {"alhpa": 1}), ParameterError, "did you mean 'alpha'"),
        (lambda: ModelSpec("ridge", {"alpha": 0.0}), ParameterError, r"outside \[1e-06"),
        (lambda: ModelSpec("ridge", {"alpha": "1"}), ParameterError, "is str, expected float"),
        (lambda: ModelSpec("ridge", {"alpha": float("nan")}), ParameterError, "alpha=nan"),
        (lambda: ModelSpec("ridge", {"alpha": float("inf")}), ParameterError, "outside"),
        (lambda: ModelSpec("ridge", {"alpha": None}), ParameterError, "expected float"),
        (lambda: ModelSpec("ridge", [("alpha", 1.0)]), ParameterError, "expected a mapping"),
        (lambda: ModelSpec("ridge", seed=-1), ParameterError, "seed=-1 is outside"),
        (lambda: ModelSpec("ridge", seed=None), ParameterError, "seed=None"),
        (lambda: ModelSpec("ridge", seed=True), ParameterError, "expected int"),
        (lambda: ModelSpec("ridge").replace(alfa=1.0), ParameterError, "did you mean 'alpha'"),
        (lambda: ModelSpec("mlp", {"activation": "rleu"}), ParameterError, "did you mean 'relu'"),
        (lambda: ModelSpec("mlp", {"hidden": ()}), ParameterError, "tuple of 1 to 8 whole numbers"),
        (lambda: ModelSpec("mlp", {"hidden": 32}), ParameterError, "tuple of 1 to 8 whole numbers"),
        (lambda: ModelSpec("mlp", {"hidden": (32, 0)}), ParameterError, r"hidden\[1\]=0 is outside"),
        (lambda: ModelSpec("mlp", {"hidden": (32, [1])}), ParameterError, r"hidden\[1\]=\[1\] is list"),
        (lambda: ModelSpec("mlp", {"hidden": (1.5,)}), ParameterError, "expected int"),
        (lambda: ModelSpec("ridge", {"alpha": float("nan")}), ParameterError, "is NaN, expected a number"),
        (lambda: ModelSpec("ridge", {"alpha": 10**400}), ParameterError, "too large for a float"),
        (lambda: ModelSpec.from_json("[" * 100_000), DataError, "not JSON"),
        (lambda: ModelSpec.from_json("{"), DataError, "not JSON"),
        (lambda: ModelSpec.from_json("[1]"), DataError, "object with a name"),
        (lambda: ModelSpec.from_json('{"name": "ridge", "parms": {}}'), DataError, "did you mean 'params'"),
        (lambda: ModelSpec.from_json('{"name": "ridge", "params": {"alpha": NaN}}'), ParameterError, "nan"),
    ],
)
def test_bad_specs_say_what_is_wrong(make, error, says):
    with pytest.raises(error, match=says):
        make()


# ---------------------------------------------------------------- the registry


def test_importing_and_writing_specs_imports_no_library():
    code = """
import sys
from workbench.models import ModelSpec, models
for name in models:
    ModelSpec(name).key
print(sorted({"sklearn", "scipy", "torch", "skorch", "joblib"} & set(sys.modules)))
ModelSpec("ridge").build()
print("torch" in sys.modules)
"""
    assert run_python(code).split("\n")[:2] == ["[]", "False"]


def test_the_catalogue_lists_every_model_with_its_parameters():
    table = catalog()
    assert list(table.columns) == ["name", "task", "library", "cost", "params", "summary"]
    assert sorted(table["name"]) == sorted(models) == sorted(NAMES)
    assert not table.isna().any(axis=None)
    for row in table.itertuples():
        for param in models[row.name].params:
            assert f"{param.name}={param.default!r}" in row.params
    assert "relu, tanh, sigmoid" in table.set_index("name").loc["mlp", "params"]


@pytest.fixture
def registering():
    """The `model` decorator; whatever is registered in the test is taken out again."""
    before = dict(models._things)
    yield model
    models._things.clear()
    models._things.update(before)


class Median(RegressorMixin, BaseEstimator):
    """Predicts the median target. Source: Laplace, 1774."""

    def __init__(self, shift=0.0, random_state=None):
        self.shift, self.random_state = shift, random_state

    def fit(self, X, y):
        self.value_ = float(np.median(y)) + self.shift
        return self

    def predict(self, X):
        return np.full(len(X), self.value_)


SHIFT = Param("shift", 0.0, low=-1.0, high=1.0, doc="Added, in the target's unit.")


def test_an_estimator_class_registers_as_it_is(registering):
    assert registering("median", params=(SHIFT,))(Median) is Median
    estimator = ModelSpec("median", {"shift": 0.5}, seed=3).build()
    assert type(estimator) is Median
    assert (estimator.shift, estimator.random_state) == (0.5, 3)
    assert models["median"].summary.startswith("Predicts the median target")


def undocumented(params, seed):
    return Median()


def unsourced(params, seed):
    """Predicts the median."""


def seedless(params):
    """Predicts the median. Source: Laplace, 1774."""


def whole(params, seed):
    """Predicts the median. Source: Laplace, 1774."""


@pytest.mark.parametrize(
    ("target", "declared", "says"),
    [
        (undocumented, {"params": ()}, "no docstring"),
        (unsourced, {"params": ()}, "names no source"),
        (seedless, {"params": ()}, r"must take \(params, seed\)"),
        (whole, {"params": None}, "must be a tuple of Param"),
        (whole, {"params": ("shift",)}, "must be a tuple of Param"),
        (whole, {"params": (SHIFT, SHIFT)}, "repeat"),
        (whole, {"params": (Param("seed", 1, doc="x"),)}, "repeat or use one of"),
        (whole, {"params": (Param("shift", 0.0),)}, "no doc for shift"),
        (whole, {"params": (Param("shift", 3.0, low=0.0, high=1.0, doc="x"),)}, "breaks its own rule"),
        (whole, {"params": (), "task": "regresion"}, "task='regresion'"),
        (whole, {"params": (), "cost": "cheap"}, "cost='cheap'"),
        (whole, {"params": (), "library": ""}, "library=''"),
        (Median, {"params": (Param("shifted", 0.0, doc="x"),)}, "Median does not take shifted"),
    ],
)
def test_a_declaration_that_is_not_whole_fails_at_once(registering, target, declared, says):
    with pytest.raises(RegistrationError, match=says):
        registering("median", **declared)(target)
    assert "median" not in models


def test_what_is_not_said_is_resolved_beside_the_other_values():
    half = Param("half", None, low=1, high=9, kind=int, optional=True, resolve=lambda params: params["whole"] // 2)
    schema = (half, Param("whole", 10, low=0, high=100))
    assert check_params("it", schema, {}) == {"half": 5, "whole": 10}
    assert check_params("it", schema, {"half": None, "whole": 4}) == {"half": 2, "whole": 4}
    assert check_params("it", schema, {"half": 9}) == {"half": 9, "whole": 10}
    assert list(check_params("it", schema, {})) == ["half", "whole"]
    with pytest.raises(ParameterError, match=r"it: half=50 is outside \[1, 9\]"):
        check_params("it", schema, {"whole": 100})
    with pytest.raises(RegistrationError, match="'half' resolves None, and isn't optional"):
        Param("half", 1, resolve=lambda params: 1)


def test_a_name_is_registered_once(registering):
    with pytest.raises(RegistrationError, match="already registered"):
        registering("ridge", params=())(whole)
    with pytest.raises(TypeError, match="params"):
        registering("median")


def test_a_cell_that_holds_a_definition_may_be_run_again(registering):
    """What a notebook defined, it may define again; it can't take a name of the package, nor a module's."""

    def cell(value, module):
        def factory(params, seed):
            """Anything. Source: nobody, 2020."""
            return Median(value)

        factory.__module__ = module
        return factory

    for value in (0.25, 0.5):
        registering("again", params=())(cell(value, "__main__"))
        assert ModelSpec("again").build().shift == value
        registering("again_as_class", params=(SHIFT,))(
            type("Again", (Median,), {"__module__": "__main__", "__doc__": f"{value}. Source: nobody, 2020."})
        )
        assert models["again_as_class"].summary.startswith(str(value))
    for name, module in (("again", "some.module"), ("ridge", "__main__")):
        with pytest.raises(RegistrationError, match="already registered"):
            registering(name, params=())(cell(1.0, module))


@pytest.mark.parametrize("kind", ["indicator", "source", "label", "kernel"])
def test_a_cell_of_any_kind_may_be_run_again(kind):
    cell = {
        "indicator": """
from workbench.indicators.core import indicator, indicators as registry
@indicator(lookback=lambda: 0, range=(None, None), source="nobody, 2020", convention="none")
def again(kernels, close):
    "Doubled VALUE."
    return close * 2
""",
        "source": """
from workbench.sources import source, sources as registry
@source("again", origin="nobody", licence="CC0")
def again():
    "Nothing VALUE."
""",
        "label": """
from workbench.labels import label, labels as registry
@label()
def again(panel):
    "Nothing VALUE."
""",
        "kernel": """
from workbench.kernels import Kernel, kernels as registry
def again(x, state, out):
    "Nothing VALUE."
again.__module__ = "compiled_from_a_cell"
registry.add("again", Kernel(again, state=lambda: 1))
""",
    }[kind]
    code = (
        f"cell = {cell!r}\nfor value in '12':\n    exec(cell.replace('VALUE', value))\n    entry = registry['again']\n"
    )
    code += "    entry = getattr(entry, 'function', entry)\n"
    code += "    assert value in str(getattr(entry, 'summary', entry.__doc__)), entry"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


# ---------------------------------------------------------------- scikit-learn's own checks


COUNTED = "a leaf counts its samples, and bins are made of them, whatever their weight"
BATCHES = "a sample given twice is drawn twice, and may fall into two batches"
SERIES = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "without a context the samples are the rows of one series, and each is read with those before it",
)

EXPECTED_FAILURES = {
    "DummyRegressor": {
        "check_regressor_multioutput": "zero is the constant of one target",
        "check_array_api_input": "under array dispatch scikit-learn asks the scalar for its namespace",
    },
    "CurveRegressor": {
        "check_sample_weight_equivalence_on_dense_data": "the toy data have no best curve: the search never ends",
    },
    "FamaMacBethRegressor": {
        "check_sample_weight_equivalence_on_dense_data": "it refuses data with more features than symbols",
    },
    "Pipeline": {
        "check_dont_overwrite_parameters": "a Pipeline's steps are its parameters, and are fitted in place",
        "check_estimators_overwrite_params": "a Pipeline's steps are its parameters, and are fitted in place",
    },
    "Forest": {
        "check_sample_weight_equivalence_on_dense_data": "a bootstrap draws samples, whatever their weight",
        "check_sample_weight_equivalence_on_sparse_data": "a bootstrap draws samples, whatever their weight",
    },
    "ForestClassifier": {
        "check_sample_weight_equivalence_on_dense_data": "a bootstrap draws samples, whatever their weight",
        "check_sample_weight_equivalence_on_sparse_data": "a bootstrap draws samples, whatever their weight",
        "check_array_api_input": "the logarithm of a probability of 0 warns",
    },
    "Boosting": {"check_sample_weight_equivalence_on_dense_data": COUNTED},
    "BoostingClassifier": {"check_sample_weight_equivalence_on_dense_data": COUNTED},
    "PerceptronRegressor": {"check_sample_weight_equivalence_on_dense_data": BATCHES},
    "RecurrentRegressor": {"check_sample_weight_equivalence_on_dense_data": BATCHES, **SERIES},
    "ConvolutionRegressor": {"check_sample_weight_equivalence_on_dense_data": BATCHES, **SERIES},
}


def expected_failures(estimator) -> dict[str, str]:
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


@parametrize_with_checks([quick(name).build() for name in NAMES], expected_failed_checks=expected_failures)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it scikit-learn skips its array check
    check(estimator)


# ---------------------------------------------------------------- seeds


def test_a_seed_gives_the_same_numbers_in_every_process():
    X, y = planted(300)
    all_specs = [quick(name, seed=11) for name in NAMES]
    targets = [suited(name, y) for name in NAMES]
    here = [scores(spec.build().fit(X, target), X) for spec, target in zip(all_specs, targets, strict=True)]
    for spec, target, expected in zip(all_specs, targets, here, strict=True):
        np.testing.assert_array_equal(scores(spec.build().fit(X.copy(), target.copy()), X), expected)
        np.testing.assert_array_equal(scores(clone(spec.build()).fit(X, target), X), expected)
    code = f"""
import numpy as np
from workbench.models import ModelSpec, models
rng = np.random.default_rng(1)
X = rng.normal(size=(300, 5))
y = np.sin(2 * X[:, 0]) + X[:, 1] * np.sign(X[:, 2]) + rng.normal(0, 0.5, 300)
for spec in {all_specs!r}:
    classes = models[spec.name].task == "classification"
    fitted = spec.build().fit(X, np.sign(np.round(y)) if classes else y)
    print((fitted.predict_proba(X) @ fitted.classes_ if classes else fitted.predict(X)).tobytes().hex())
"""
    there = run_python(code, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1").split()
    assert [bytes.fromhex(line) for line in there] == [values.tobytes() for values in here]


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_other_numbers(name):
    X, y = planted(300)
    one, other = (scores(quick(name, seed).build().fit(X, suited(name, y)), X) for seed in (1, 2))
    assert np.mean(one == other) < 0.5
    assert np.corrcoef(one, other)[0, 1] > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_no_global_random_state_is_read_or_changed(name):
    import torch

    X, y = planted(300)
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002 (the global state is what is tested)
        torch.manual_seed(seed)
        before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
        results.append(scores(quick(name).build().fit(X, suited(name, y)), X))
        assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", SEEDED)
def test_fits_in_parallel_threads_give_the_numbers_of_fits_one_by_one(name):
    X, y = planted(300)
    y = suited(name, y)
    alone = [scores(quick(name, seed).build().fit(X, y), X) for seed in range(4)]
    together = {}

    def fit(seed):
        together[seed] = scores(quick(name, seed).build().fit(X, y), X)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(together[seed], alone[seed])


@pytest.mark.parametrize("name", ["random_forest", "random_forest_classifier"])
def test_the_forest_does_not_depend_on_its_workers(name):
    X, y = planted(400)
    spec, y = quick(name).replace(n_estimators=60), suited(name, y)
    alone = scores(spec.build().fit(X, y), X)
    with joblib.parallel_config("threading", n_jobs=2):
        fitted = spec.build().fit(X, y)
        for _ in range(5):
            np.testing.assert_array_equal(scores(fitted, X), alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_model_pickles(name):
    X, y = planted(200)
    fitted = quick(name).build().fit(X, suited(name, y))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(scores(again, X), scores(fitted, X))
    assert again.n_features_in_ == 5


@pytest.mark.parametrize("name", [name for name in NAMES if models[name].lookback is None])
def test_a_prediction_does_not_depend_on_its_neighbours(name):
    X, y = planted(300)
    fitted = quick(name).build().fit(X, suited(name, y))
    whole_set = scores(fitted, X)
    one_by_one = np.concatenate([scores(fitted, X[i : i + 1]) for i in range(0, 300, 37)])
    np.testing.assert_allclose(one_by_one, whole_set[::37], rtol=1e-12, atol=1e-13)


# ---------------------------------------------------------------- planted signals


def test_zero_is_the_benchmark_itself():
    X, y = planted()
    assert r2_against_zero(y, ModelSpec("zero").build().fit(X, y).predict(X)) == 0.0


def test_last_value_is_the_mean_of_the_last_targets():
    X, y = planted(100)
    for window in (1, 7, 100, 5000):
        predicted = ModelSpec("last_value", {"window": window}).build().fit(X, y).predict(X[:3])
        np.testing.assert_allclose(predicted, [sum(y[-window:]) / min(window, 100)] * 3, rtol=1e-12)
    assert (ModelSpec("last_value").build().fit(X, y).predict(X) == y[-1]).all()


def test_ridge_recovers_planted_coefficients():
    rng = np.random.default_rng(3)
    scale = np.array([1.0, 100.0, 0.01, 5.0])
    X = rng.normal(2.0, scale, size=(500, 4))
    beta = np.array([1.5, -0.02, 40.0, 0.0])
    y = X @ beta + 3.0
    fitted = ModelSpec("ridge", {"alpha": 1e-6}).build().fit(X, y)
    unit, origin = np.eye(4), fitted.predict(np.zeros((1, 4)))[0]
    np.testing.assert_allclose(fitted.predict(unit) - origin, beta, rtol=1e-6, atol=1e-6)
    assert origin == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 10.0, 1e4])
def test_ridge_solves_its_normal_equations(alpha):
    X, y = planted(300)
    Z = (X - X.mean(0)) / X.std(0)
    beta = np.linalg.solve(Z.T @ Z + alpha * np.eye(5), Z.T @ (y - y.mean()))
    predicted = ModelSpec("ridge", {"alpha": alpha}).build().fit(X, y).predict(X)
    np.testing.assert_allclose(predicted, Z @ beta + y.mean(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "params", "at_least"),
    [
        ("random_forest", {"n_estimators": 50, "max_features": 1.0}, 0.4),
        ("mlp", {"lr": 0.01, "epochs": 15}, 0.5),
        ("mlp", {"lr": 0.01, "epochs": 30, "activation": "tanh"}, 0.5),
        ("mlp", {"lr": 0.03, "epochs": 30, "activation": "sigmoid", "hidden": (64,)}, 0.5),
    ],
)
def test_a_nonlinear_signal_is_found_out_of_sample(name, params, at_least):
    X, y = planted()
    fit, test, scores = slice(0, 3000), slice(3000, None), {}
    for spec in (ModelSpec("ridge"), ModelSpec(name, params, seed=2)):
        scores[spec.name] = r2_against_zero(y[test], spec.build().fit(X[fit], y[fit]).predict(X[test]))
    assert scores[name] > at_least > 0
    assert scores[name] > scores["ridge"] + 0.2


@pytest.mark.parametrize("name", ["ridge", "random_forest", "mlp"])
def test_noise_is_not_learned(name):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(3000, 5)), rng.normal(size=3000)
    fitted = ModelSpec(name).build()
    assert -0.15 < r2_against_zero(y[2000:], fitted.fit(X[:2000], y[:2000]).predict(X[2000:])) < 0.02


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_or_infinite_values_are_refused_or_documented(name, bad):
    X, y = planted(100)
    X[3, 1], y = bad, suited(name, y)
    estimator = quick(name).build()
    if name == "zero":  # reads neither
        assert (estimator.fit(X, y).predict(X) == 0).all()
    elif name.startswith("gradient_boosting") or (name.startswith("random_forest") and np.isnan(bad)):
        assert ("NaN" if np.isnan(bad) else "infinite") in models[name].factory.__doc__
        assert np.isfinite(estimator.fit(X, y).predict(X)).all()
    else:
        with pytest.raises(ValueError, match="NaN|infinity"):
            estimator.fit(X, y)
        estimator.fit(planted(100)[0], y)
        with pytest.raises(ValueError, match="NaN|infinity"):
            estimator.predict(X)


@pytest.mark.parametrize("name", NAMES[1:])
def test_bad_targets_and_shapes_are_refused(name):
    X, y = planted(100)
    y = suited(name, y)
    fit = quick(name).build().fit
    for wrong_X, wrong_y, says in (
        (X, np.where(np.arange(100) == 5, np.nan, y), "NaN"),
        (X, y[:-1], "inconsistent"),
        (X[:0], y[:0], "0 sample"),
        (X[:, :0], y, "0 feature"),
        (X[:, 0], y, "2D array"),
    ):
        with pytest.raises(ValueError, match=says):
            fit(wrong_X, wrong_y)
    fitted = fit(X, y)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(X[:, :4])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if models[name].task == "regression"])
def test_thin_and_flat_data_give_finite_numbers(name):
    rng = np.random.default_rng(0)
    few = rng.normal(size=(3, 40)), rng.normal(size=3)
    X, y = planted(60)
    X[:, 2] = 0.1  # its deviation is a rounding error, not 0
    flat_target = planted(60)[0], np.full(60, 0.1)
    for features, target in (few, (X, y), flat_target):
        spec = ModelSpec(name, {"feature": 0} if name == "nonlinear" else None)
        if name == "fama_macbeth" and features is few[0]:
            with pytest.raises(DataError, match="41 coefficients need as many symbols on a row, found at most 3"):
                spec.build().fit(features, target)
            continue
        predicted = spec.build().fit(features, target).predict(features)
        assert np.isfinite(predicted).all()
    if name != "zero":
        np.testing.assert_allclose(predicted, 0.1, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if models[name].task == "classification"])
def test_targets_of_one_class_are_refused(name):
    X, y = planted(60)
    with pytest.raises(DataError, match=r"one class, 1\.0"):
        quick(name).build().fit(X, np.ones(60))
    with pytest.raises(ValueError, match="Unknown label type"):
        quick(name).build().fit(X, y)
