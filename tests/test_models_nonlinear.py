"""Non-linear regression: NIST's certified values, an honest flag, every registered curve, curves of a user."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from workbench.errors import DataError, ParameterError, RegistrationError
from workbench.evaluate.version import code_version
from workbench.models import Curve, ModelSpec, curve, curves
from workbench.models._nonlinear import _explored, _Problem, _Run

NIST = Path(__file__).parent / "data" / "nist"


def gauss(x, b1, b2, b3, b4, b5, b6, b7, b8):
    bells = b3 * np.exp(-((x - b4) ** 2) / b5**2) + b6 * np.exp(-((x - b7) ** 2) / b8**2)
    return b1 * np.exp(-b2 * x) + bells


def lanczos(x, b1, b2, b3, b4, b5, b6):
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def cubic(x, b1, b2, b3, b4, b5, b6, b7):
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def waves(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    a, b, c = (2 * np.pi * x / period for period in (12, b4, b7))
    yearly = b2 * np.cos(a) + b3 * np.sin(a)
    return b1 + yearly + b5 * np.cos(b) + b6 * np.sin(b) + b8 * np.cos(c) + b9 * np.sin(c)


def rise(x, b1, b2):
    return b1 * (1 - np.exp(-b2 * x))


def chwirut(x, b1, b2, b3):
    return np.exp(-b1 * x) / (b2 + b3 * x)


# The models as each file states them.
MODELS = {
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1 / b3),
    "BoxBOD": rise,
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "ENSO": waves,
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": cubic,
    "Kirby2": lambda x, b1, b2, b3, b4, b5: (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2),
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
    "Misra1a": rise,
    "Misra1b": lambda x, b1, b2: b1 * (1 - (1 + b2 * x / 2) ** -2),
    "Misra1c": lambda x, b1, b2: b1 * (1 - (1 + 2 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1 + b2 * x),
    "Nelson": lambda x, b1, b2, b3: b1 - b2 * x[:, 0] * np.exp(-b3 * x[:, 1]),
    "Rat42": lambda x, b1, b2, b3: b1 / (1 + np.exp(b2 - b3 * x)),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1 + np.exp(b2 - b3 * x)) ** (1 / b4),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
    "Thurber": cubic,
}
HIGHER = {"Bennett5", "BoxBOD", "Eckerle4", "MGH09", "MGH10", "Rat42", "Rat43", "Thurber"}


class Problem:
    """One of NIST's files: data, two starts, certified estimates, their deviations, and the sum of squares."""

    def __init__(self, name: str):
        text = (NIST / f"{name}.dat").read_text()
        table = np.array([m.split() for m in re.findall(r"^\s*b\d+ =(.*)$", text, re.MULTILINE)], dtype=float)
        self.name = name
        self.starts, self.certified, self.deviation = table[:, :2].T, table[:, 2], table[:, 3]
        self.rss = float(re.search(r"Residual Sum of Squares:\s*(\S+)", text)[1])
        self.level = re.search(r"(\w+) Level of Difficulty", text)[1]
        count = int(re.search(r"(\d+) Observations", text)[1])
        data = np.array([line.split() for line in text.splitlines() if line.strip()][-count:], dtype=float)
        self.X, self.y = data[:, 1:], np.log(data[:, 0]) if name == "Nelson" else data[:, 0]

    def fit(self, start, **params):
        """The fitted estimator; a warning that it has not converged is kept for the flag."""
        shape = MODELS[self.name]
        made = Curve(self.name, shape.__code__.co_varnames[1 : shape.__code__.co_argcount], shape, (), 1, "")
        made = Curve(made.name, made.parameters, shape, tuple(start), self.X.shape[1], "a curve of NIST's")
        estimator = ModelSpec("nonlinear", params).build().set_params(curve=made)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return estimator.fit(self.X, self.y)


def digits(found, certified) -> float:
    """The fewest correct digits of any value: minus the log of its relative error."""
    error = np.max(np.abs(np.subtract(found, certified)) / np.abs(certified))
    return float(-np.log10(max(error, 1e-16)))


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_nist_s_certified_values_are_found_from_both_starts(name, start):
    problem = Problem(name)
    fitted = problem.fit(problem.starts[start], starts=2)
    assert fitted.converged_, fitted.message_
    assert digits(fitted.parameters_, problem.certified) >= 6
    assert fitted.df_resid_ == len(problem.y) - len(problem.certified)
    if name != "Lanczos1":  # its sum of squares, 1e-25, lies below the rounding of the data
        assert digits(fitted.standard_errors_, problem.deviation) >= 4
        assert digits(fitted.rss_, problem.rss) >= 8


@pytest.mark.parametrize("starts", [0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_from_far_away_converged_is_never_said_of_a_wrong_answer(name, starts):
    problem = Problem(name)
    for params in ({}, {"max_evaluations": 30}, {"max_evaluations": 5}):
        for start in problem.starts if params else problem.starts[:1]:
            fitted = problem.fit(start, starts=starts, **params)
            if fitted.converged_:
                assert digits(fitted.parameters_, problem.certified) >= 4
            else:
                assert fitted.message_


def test_the_27_problems_are_all_there():
    levels = {name: Problem(name).level for name in MODELS}
    assert len(MODELS) == 27
    assert {name for name, level in levels.items() if level == "Higher"} == HIGHER
    assert sorted(path.stem for path in NIST.glob("*.dat")) == sorted(MODELS)


def test_a_flat_stretch_is_no_minimum():
    """From its first start BoxBOD runs onto a plain where the sum of squares is 7 times too large."""
    problem = Problem("BoxBOD")
    alone = problem.fit(problem.starts[0], starts=0)
    assert not alone.converged_
    assert "does not move" in alone.message_ or "told apart" in alone.message_
    assert digits(problem.fit(problem.starts[0], starts=20).parameters_, problem.certified) > 4


def test_not_converged_is_said_aloud_and_more_evaluations_help():
    problem = Problem("MGH10")
    shape = MODELS["MGH10"]
    made = Curve("MGH10", ("b1", "b2", "b3"), shape, tuple(problem.starts[0]), 1, "x")
    estimator = ModelSpec("nonlinear", {"max_evaluations": 20, "starts": 0}).build().set_params(curve=made)
    with pytest.warns(ConvergenceWarning, match="curve 'MGH10' has not converged: "):
        assert not estimator.fit(problem.X, problem.y).converged_
    assert estimator.set_params(max_evaluations=2000).fit(problem.X, problem.y).converged_


# ---------------------------------------------------------------- what a fit says


@pytest.fixture
def registering():
    """`curve`; whatever is registered in the test is taken out again."""
    before = dict(curves._things)
    yield curve
    curves._things.clear()
    curves._things.update(before)


def line(x, level, slope):
    """A straight line."""
    return level + slope * x


@pytest.mark.parametrize("weighted", [False, True])
def test_a_line_has_the_estimates_and_errors_of_least_squares(registering, weighted):
    registering("line", start=(1.0, 1.0))(line)
    rng = np.random.default_rng(0)
    X, weight = rng.normal(3, 2, size=(50, 1)), rng.integers(0, 4, 50).astype(float) if weighted else None
    y = 2 - 0.5 * X[:, 0] + rng.normal(size=50)
    fitted = ModelSpec("nonlinear", {"curve": "line"}).build().fit(X, y, sample_weight=weight)
    plain = ModelSpec("ols").build().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(fitted.parameters_, [plain.intercept_, *plain.coef_], rtol=1e-8)
    np.testing.assert_allclose(fitted.covariance_, plain.covariance_, rtol=1e-6)
    np.testing.assert_allclose(fitted.intervals(0.9), plain.intervals(0.9), rtol=1e-6)
    assert fitted.rss_ == pytest.approx(plain.rss_)
    assert list(fitted.intervals().index) == ["level", "slope"]
    np.testing.assert_allclose(fitted.summary()["t"], fitted.parameters_ / fitted.standard_errors_)


def test_weights_are_repetitions_in_the_estimates(registering):
    X, y = np.linspace(0, 4, 40)[:, None], None
    y = np.tanh(X[:, 0]) + np.random.default_rng(0).normal(0, 0.1, 40)
    weight = np.random.default_rng(1).integers(0, 4, 40)
    fit = ModelSpec("nonlinear").build().fit
    found = fit(X, y, sample_weight=weight).parameters_.copy()
    repeated = fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).parameters_
    np.testing.assert_allclose(found, repeated, rtol=1e-6)


# Parameters that each registered curve should find again on a grid of x, and that grid.
PLANTED = {
    "tanh": ((0.01, 0.05, 1.5), (-2, 2)),
    "logistic": ((1.0, 3.0, 2.0, 0.5), (-3, 4)),
    "exponential": ((2.0, -1.5, -0.8), (0, 6)),
    "power": ((0.3, 0.6), (0.01, 5)),
    "gaussian": ((0.5, 2.0, 1.0, 0.7), (-3, 4)),
    "nelson_siegel": ((0.05, -0.02, 0.03, 1.8), (0, 30)),
}


@pytest.mark.parametrize("name", list(curves))
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_every_registered_curve_finds_its_own_parameters_again(name, scale):
    assert set(PLANTED) == set(curves)
    truth, (low, high) = PLANTED[name]
    x = np.linspace(low, high, 120)
    clean = curves[name].function(x, *truth)
    noisy = clean + np.random.default_rng(7).normal(0, 0.02 * np.std(clean), len(x))
    estimator = ModelSpec("nonlinear", {"curve": name}).build()
    exact = estimator.fit(x[:, None], scale * clean)
    assert exact.converged_, exact.message_
    np.testing.assert_allclose(exact.predict(x[:, None]), scale * clean, atol=1e-9 * scale)
    fitted = estimator.fit(x[:, None], scale * noisy)
    assert fitted.converged_, fitted.message_
    linear = {"power": 1}.get(name, 3 if name == "nelson_siegel" else 2)
    expected = np.array(truth) * np.r_[np.full(linear, scale), np.ones(len(truth) - linear)]
    assert (np.abs(fitted.parameters_ - expected) < 4 * fitted.standard_errors_).all()


def test_intervals_cover_what_they_claim():
    truth, x = np.array(PLANTED["exponential"][0]), np.linspace(0, 6, 30)
    clean, hits = curves["exponential"].function(x, *truth), []
    for seed in range(200):
        y = clean + np.random.default_rng(seed).normal(0, 0.05, 30)
        table = ModelSpec("nonlinear", {"curve": "exponential", "starts": 0}).build().fit(x[:, None], y).intervals(0.9)
        hits.append((table["low"] <= truth) & (truth <= table["high"]))
    # 200 tries of 0.9 have a deviation of 0.021
    assert (np.abs(np.mean(hits, axis=0) - 0.9) < 4 * 0.021).all()


def test_the_same_seed_gives_the_same_fit():
    problem = Problem("MGH09")
    one, two = (problem.fit(problem.starts[0], starts=3) for _ in range(2))
    np.testing.assert_array_equal(one.parameters_, two.parameters_)


def test_the_given_start_wins_a_tie():
    """The two waves of ENSO can change places; another start comes to the other order, by a rounding lower."""
    problem = Problem("ENSO")
    assert digits(problem.fit(problem.starts[0]).parameters_, problem.certified) > 4


def sine(x, a, w, p):
    return a * np.sin(w * x + p)


def test_among_many_minima_more_starts_are_tried():
    """Between the frequency of the start, 2, and that of the data lie worse minima, in which starts may agree."""
    x, rng, said = np.linspace(0, 10, 100), np.random.default_rng(0), []
    for truth in [(2, 3.34, 1), *zip(rng.uniform(1, 3, 9), rng.uniform(0.5, 5, 9), rng.uniform(-3, 3, 9), strict=True)]:
        y = sine(x, *truth) + rng.normal(0, 0.3, 100)
        made = Curve("sine", ("a", "w", "p"), sine, (1.0, 2.0, 0.0), 1, "x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = ModelSpec("nonlinear").build().set_params(curve=made, random_state=0).fit(x[:, None], y)
        said.append(fitted.converged_)
        if fitted.converged_:
            assert fitted.rss_ < 1.1 * np.sum((y - sine(x, *truth)) ** 2), (truth, fitted.message_)
    assert said[0]
    assert sum(said) >= 8


@pytest.mark.parametrize(
    ("starts", "minima", "enough"),
    [(9, 1, True), (9, 2, False), (17, 2, True), (33, 3, True), (24, 3, False), (49, 5, False), (3, 3, False)],
)
def test_how_many_starts_see_all_minima(starts, minima, enough):
    """So that the expected number of minima, w (n - 1) / (n - w - 2), is below w + 0.5."""
    assert _explored(starts, minima) == enough


def test_a_point_on_a_slope_is_doubted():
    problem = Problem("Misra1a")
    made = Curve("rise", ("b1", "b2"), rise, (1.0, 1.0), 1, "x")
    searched = _Problem(made, problem.X[:, 0], problem.y, 1.0)
    for factor, says in ((1.0, ""), (1.0001, "of a standard error, expected 0")):
        at = problem.certified * [factor, 1]
        rss = float(np.sum(searched.residual(at) ** 2))
        assert searched.doubt(_Run(at, rss, True), problem.starts[1])[-31:].endswith(says)
        assert bool(says) == bool(searched.doubt(_Run(at, rss, True), problem.starts[1]))


# ---------------------------------------------------------------- what can't be fitted


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (lambda x, a, b: a * b * x, "can't be told apart"),
        (lambda x, a, b: a * x + 0 * b, "does not move with b"),
        (lambda x, a, b: a + b * np.exp(-(x + 50)), "does not move with b"),
    ],
)
def test_what_is_not_identified_is_said(shape, says):
    x = np.linspace(1, 2, 20)
    made = Curve("odd", ("a", "b"), shape, (1.0, 1.0), 1, "x")
    fitted = ModelSpec("nonlinear").build().set_params(curve=made).fit(x[:, None], 3 * x)
    assert not fitted.converged_
    assert says in fitted.message_
    assert np.isfinite(fitted.predict(x[:, None])).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_flat_target_leaves_a_slope_unknown():
    fitted = ModelSpec("nonlinear").build().fit(np.linspace(0, 1, 30)[:, None], np.full(30, 0.1))
    assert not fitted.converged_
    assert np.isnan(fitted.standard_errors_).all()
    np.testing.assert_allclose(fitted.predict([[0.5]]), 0.1)


def broken(x, a, b):
    """Raises."""
    raise RuntimeError("no such thing")


def two_dimensional(x, a, b):
    """Gives a column."""
    return a + b * x[:, None]


def rooted(x, a, b):
    """Is defined from 0 on."""
    return a + b * np.sqrt(x)


@pytest.mark.parametrize(
    ("function", "params", "error", "says"),
    [
        (broken, {}, DataError, r"curve 'mine' raised RuntimeError at a=1, b=2: no such thing"),
        (two_dimensional, {}, DataError, r"shape \(20, 1\) at a=1, b=2, expected \(20,\)"),
        (rooted, {}, DataError, r"not finite on 10 of 20 samples at its start \(a=1, b=2\)"),
        (line, {"start": (1.0,)}, ParameterError, r"1 starting values, expected 2 \(level, slope\)"),
        (line, {"feature": 1}, DataError, "reads 1 from feature 1 on, found 1 features"),
    ],
)
def test_a_curve_that_can_not_be_fitted_says_why(registering, function, params, error, says):
    registering("mine", start=(1.0, 2.0))(function)
    x = np.linspace(-1, 1, 20)
    with pytest.raises(error, match=says):
        ModelSpec("nonlinear", {"curve": "mine", **params}).build().fit(x[:, None], x)


def test_features_and_samples_must_be_those_of_the_curve(registering):
    x = np.linspace(-1, 1, 20)
    fit = ModelSpec("nonlinear").build().fit
    with pytest.raises(DataError, match="reads 1 feature, found 2"):
        fit(np.column_stack([x, x]), x)
    with pytest.raises(DataError, match=r"3 parameters \(level, height, slope\), found n_samples=2"):
        fit(x[:2, None], x[:2])
    registering("plane", start=(1.0, 1.0), inputs=2)(lambda_plane)
    X = np.random.default_rng(0).normal(size=(30, 4))
    fitted = ModelSpec("nonlinear", {"curve": "plane", "feature": 1}).build().fit(X, 2 * X[:, 1] - 3 * X[:, 2])
    np.testing.assert_allclose(fitted.parameters_, [2, -3], rtol=1e-9)


def lambda_plane(x, a, b):
    """A plane through 0."""
    return a * x[:, 0] + b * x[:, 1]


def test_beyond_its_domain_a_curve_does_not_predict(registering):
    registering("rooted", start=(1.0, 2.0))(rooted)
    x = np.linspace(0, 1, 20)
    fitted = ModelSpec("nonlinear", {"curve": "rooted"}).build().fit(x[:, None], 1 + np.sqrt(x))
    with pytest.raises(DataError, match=r"not finite on 1 of 2 samples, the first at -1.0"):
        fitted.predict([[1.0], [-1.0]])


def test_other_starts_may_fail_where_the_given_one_does_not(registering):
    def picky(x, a, b):
        """Only near its start."""
        if not 0.5 < b < 3:
            raise ValueError("too far")
        return a + b * x

    registering("picky", start=(1.0, 2.0))(picky)
    x = np.linspace(0, 1, 20)
    assert ModelSpec("nonlinear", {"curve": "picky"}).build().fit(x[:, None], 1 + 2.1 * x).converged_


# ---------------------------------------------------------------- the registry


def bare(x, a):
    return a * x


def starred(x, *b):
    """Any number of parameters."""


@pytest.mark.parametrize(
    ("function", "given", "says"),
    [
        (bare, {"start": (1.0,)}, "no docstring"),
        (starred, {"start": (1.0,)}, "one or more named parameters"),
        (line, {"start": (1.0,)}, r"1 starting values for 2 parameters \(level, slope\)"),
        (line, {"start": (1.0, 1.0), "inputs": 0}, "inputs=0"),
    ],
)
def test_a_curve_that_is_not_whole_is_refused(registering, function, given, says):
    with pytest.raises(RegistrationError, match=says):
        registering("mine", **given)(function)
    assert "mine" not in curves


def test_a_spec_knows_the_curves_that_there_are(registering):
    with pytest.raises(ParameterError, match="did you mean 'gaussian'"):
        ModelSpec("nonlinear", {"curve": "gausian"})
    registering("line", start=(1.0, 1.0))(line)
    spec = ModelSpec("nonlinear", {"curve": "line", "start": np.array([1, 2])})
    assert spec == ModelSpec.from_json(spec.to_json())
    assert spec.params["start"] == (1.0, 2.0)
    for bad in ((), "ab", (1.0, "x"), (float("nan"),)):
        with pytest.raises(ParameterError, match="start"):
            ModelSpec("nonlinear", {"start": bad})


def test_an_edited_curve_is_another_model_and_travels_to_other_processes(registering):
    cell = "def mine(x, a):\n    'Doubled.'\n    return FACTOR * a * x\n"
    versions, x = [], np.linspace(1, 2, 10)
    for factor in ("2.0", "3.0", "3.0"):
        scope = {"__name__": "__main__", "np": np}
        exec(cell.replace("FACTOR", factor), scope)
        registering("mine", start=(1.0,))(scope["mine"])
        spec = ModelSpec("nonlinear", {"curve": "mine"})
        versions.append(code_version(spec, spec.build()))
        again = pickle.loads(cloudpickle.dumps(spec.build())).fit(x[:, None], x)
        np.testing.assert_allclose(again.parameters_, 1 / float(factor))
    assert versions[0] != versions[1] == versions[2]
    assert pickle.loads(pickle.dumps(curves["tanh"])) is curves["tanh"]


def test_a_search_that_overflows_goes_on_without_a_warning():
    x = np.linspace(0, 10, 30)
    made = Curve("steep", ("a", "b"), lambda x, a, b: a * np.exp(b * x), (1.0, 60.0), 1, "x")
    fitted = ModelSpec("nonlinear").build().set_params(curve=made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(x[:, None], 2 * np.exp(-0.3 * x))
    assert not fitted.converged_ or fitted.rss_ < 1e-12
