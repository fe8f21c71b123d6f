"""Curves with parameters of their own, fitted by least squares; and splines, curves that need no name.

A curve is a function ``f(x, *parameters)``, registered with `curve`, in the package or in a cell of a notebook:

>>> @curve("hyperbola", start=(0.0, 1.0, 1.0))
... def hyperbola(x, level, height, half):
...     "Falls from `level + height` at 0 towards `level`."
...     return level + height * half / (half + x)
>>> ModelSpec("nonlinear", {"curve": "hyperbola"})
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError, RegistrationError
from ..kernels import poll
from ..registry import Param, Registry
from .spec import model


@dataclass(frozen=True, repr=False)
class Curve:
    """A registered curve.

    Parameters
    ----------
    name : str
    parameters : tuple of str
        Names of what is estimated, taken from the function's arguments after the first.
    function : callable
        ``function(x, *parameters)`` -> ndarray of shape (n,).
    start : tuple of float, or callable
        Where the search begins; or ``start(x, y)``, which guesses it from the data.
    inputs : int
        Features that it reads: `x` has shape (n,) for 1, (n, inputs) for more.
    summary : str
        The first line of the function's docstring.
    """

    name: str
    parameters: tuple[str, ...]
    function: Callable
    start: tuple[float, ...] | Callable
    inputs: int
    summary: str

    def __repr__(self) -> str:
        return f"Curve({self.name!r})"

    def __reduce__(self):
        # the package's own are looked up by name; a notebook's travel with their function to other processes
        if self.function.__module__ == __name__:
            return _registered, (self.name,)
        return Curve, (self.name, self.parameters, self.function, self.start, self.inputs, self.summary)


def _registered(name: str) -> Curve:
    return curves[name]


curves: Registry[Curve] = Registry("curve")


class _Names(Sequence):
    """The names in a registry, as they are when one looks: the choices of a parameter that grow with a notebook."""

    def __init__(self, registry: Registry):
        self._registry = registry

    def __len__(self) -> int:
        return len(self._registry)

    def __getitem__(self, index):
        return tuple(self._registry)[index]


@dataclass(frozen=True)
class NumbersParam(Param):
    """A tuple of finite numbers: the values that a search starts from."""

    def check(self, value: object, owner: str) -> object:
        """`value` as a tuple of floats, or ParameterError."""
        if value is None and self.optional:
            return None
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, (tuple, list)) or not value:
            raise ParameterError(
                f"{owner}: {self.name}={value!r} is not a tuple of numbers", hint=f"{self.name}=(1.0, 0.5), or None"
            )
        return tuple(Param(f"{self.name}[{i}]", 0.0, -1e300, 1e300).check(v, owner) for i, v in enumerate(value))


def curve(name: str, *, start: Sequence[float] | Callable, inputs: int = 1) -> Callable:
    """Register a function ``f(x, *parameters)`` as a curve that `nonlinear` can fit.

    Parameters
    ----------
    name : str
        What a spec calls it.
    start : sequence of float, or callable
        One starting value for each parameter; or ``start(x, y)`` -> those, guessed from the data (float64 ndarrays).
    inputs : int, default 1
        How many features it reads; `x` has shape (n,) for one, (n, inputs) for more.

    Returns
    -------
    callable
        The decorator; it gives the function back, unchanged.

    Raises
    ------
    RegistrationError
        No docstring, no parameter, arguments that can't be named, or another number of starting values.
    """

    def register(function):
        summary = (inspect.getdoc(function) or "").strip().split("\n", 1)[0]
        if not summary:
            raise RegistrationError(f"curve {name!r} has no docstring", hint="say in one line what shape it has")
        arguments = list(inspect.signature(function).parameters.values())[1:]
        if not arguments or any(a.kind is not a.POSITIONAL_OR_KEYWORD for a in arguments):
            raise RegistrationError(
                f"curve {name!r}: the function's arguments must be x and one or more named parameters, "
                f"found {inspect.signature(function)}"
            )
        if not isinstance(inputs, int) or inputs < 1:
            raise RegistrationError(f"curve {name!r}: inputs={inputs!r}, expected a whole number from 1 on")
        parameters = tuple(a.name for a in arguments)
        begin = start if callable(start) else tuple(map(float, start))
        if not callable(begin) and len(begin) != len(parameters):
            raise RegistrationError(
                f"curve {name!r}: {len(begin)} starting values for {len(parameters)} parameters "
                f"({', '.join(parameters)})"
            )
        curves.add(name, Curve(name, parameters, function, begin, inputs, summary))
        return function

    return register


def _guessed(columns: Callable, grids: Callable) -> Callable:
    """A `start` for a curve that is linear in its first parameters: the best of a grid over the others.

    ``columns(x, *others)`` gives what the linear ones multiply, ``grids(x)`` the values to try of each other.
    """

    def start(x, y):
        best = (math.inf, None)
        for others in itertools.product(*grids(x)):
            poll()
            A = np.column_stack(columns(x, *others))
            if not np.isfinite(A).all():
                continue
            linear = np.linalg.lstsq(A, y, rcond=None)[0]
            best = min(best, (float(np.sum((A @ linear - y) ** 2)), (*linear, *others)), key=lambda found: found[0])
        if best[1] is None:
            raise ValueError("no starting values give finite numbers on these data")
        return best[1]

    return start


def _spread(x: np.ndarray) -> float:
    """The deviation of `x`; 1 for a constant."""
    deviation = float(np.std(x))
    return deviation if deviation > 1e-12 * float(np.max(np.abs(x), initial=0.0)) else 1.0


_RATES = (0.1, 0.3, 1.0, 3.0)


@curve(
    "tanh",
    start=_guessed(lambda x, s: [np.ones_like(x), np.tanh(s * x)], lambda x: [np.divide(_RATES, _spread(x))]),
)
def tanh(x, level, height, slope):
    """``level + height * tanh(slope * x)``: a response that fades as the signal grows."""
    return level + height * np.tanh(slope * x)


def _sigmoid(x, slope, middle):
    return 0.5 * (1 + np.tanh(0.5 * slope * (x - middle)))  # never overflows


def _middles(x):
    return np.quantile(x, (0.1, 0.3, 0.5, 0.7, 0.9))


@curve(
    "logistic",
    start=_guessed(
        lambda x, s, m: [np.ones_like(x), _sigmoid(x, s, m)], lambda x: [np.divide(_RATES, _spread(x) / 2), _middles(x)]
    ),
)
def logistic(x, level, height, slope, middle):
    """``level + height / (1 + exp(-slope * (x - middle)))``: growth towards a limit (Verhulst, 1838)."""
    return level + height * _sigmoid(x, slope, middle)


@curve(
    "exponential",
    start=_guessed(
        lambda x, r: [np.ones_like(x), np.exp(r * x)],
        lambda x: [np.divide([-s for s in _RATES] + list(_RATES), max(_spread(x), np.max(np.abs(x)) / 30))],
    ),
)
def exponential(x, level, height, rate):
    """``level + height * exp(rate * x)``: growth, or with a rate below 0 decay towards `level`."""
    return level + height * np.exp(rate * x)


@curve("power", start=_guessed(lambda x, e: [x**e], lambda x: [(0.25, 0.5, 1.0, 2.0)]))
def power(x, scale, exponent):
    """``scale * x ** exponent`` for x > 0: market impact by size, with an exponent of about a half."""
    return scale * x**exponent


@curve(
    "gaussian",
    start=_guessed(
        lambda x, m, w: [np.ones_like(x), np.exp(-0.5 * ((x - m) / w) ** 2)],
        lambda x: [_middles(x), np.multiply((0.2, 0.5, 1.0), _spread(x))],
    ),
)
def gaussian(x, level, height, middle, width):
    """``level + height * exp(-((x - middle) / width) ** 2 / 2)``: a bell."""
    return level + height * np.exp(-0.5 * ((x - middle) / width) ** 2)


def _nelson_siegel_columns(x, tau):
    z = np.asarray(x, dtype=float) / tau
    loading = -np.expm1(-z) / np.where(z == 0, 1.0, z) + (z == 0)
    return [np.ones_like(z), loading, loading - np.exp(-z)]


@curve(
    "nelson_siegel",
    start=_guessed(
        _nelson_siegel_columns, lambda x: [np.multiply((0.05, 0.1, 0.2, 0.4, 0.8), np.max(np.abs(x)) or 1.0)]
    ),
)
def nelson_siegel(x, level, slope, curvature, tau):
    """The yield curve of Nelson and Siegel, 1987: `x` and `tau` in years, the others in units of the yield."""
    one, falling, humped = _nelson_siegel_columns(x, tau)
    return level * one + slope * falling + curvature * humped


@model(
    "nonlinear",
    library="scipy",
    cost="medium",
    params=(
        Param("curve", "tanh", choices=_Names(curves), doc="Which registered curve."),
        NumbersParam("start", None, optional=True, kind=tuple, doc="Starting values; None: the curve's own."),
        Param("feature", None, low=0, high=100_000, optional=True, kind=int, doc="Number of the (first) feature that "
              "the curve reads; None: all there are."),
        Param("starts", 8, low=0, high=1000, doc="Other starts tried, to doubt the first, and up to 5 times as many "
              "more where they end in different minima; count."),
        Param("max_evaluations", 2000, low=1, high=1_000_000, log=True, doc="Most evaluations a start, count."),
    ),
)  # fmt: skip
def nonlinear(params, seed):
    """A curve with named parameters, fitted by least squares: with standard errors and an honest `converged_`.

    Levenberg and Marquardt's method from `start` (or the curve's own), in units of the starting values, then from
    `starts` others scattered around it, drawn from `seed`; the best is kept, the given start's where they tie. Where
    they end in different minima, `starts` more are tried, up to 5 times, until Boender and Rinnooy Kan's estimate of
    how many minima there are is no more than were seen. `converged_` is True only where the gradient vanishes to 1e-5
    of a standard error, every parameter moves the curve, the parameters can be told apart, and no other start came
    lower, unless two found the same lowest point; otherwise `message_` says what is wrong, and `fit` warns
    (ConvergenceWarning). So True means a minimum, the lowest that was seen. No method can prove that it is the lowest
    one: of 300 random waves and bells from starts that did not look at the data, 11 were said to have converged with a
    sum of squares more than 10% above that of the true curve, 8 of them bells. The worse the start and the more the
    parameters, the more `starts` it takes. Standard errors are those of the linearised curve. The curve reads the
    features from number `feature` on; with None, their number must be what it reads. A curve that raises, or gives
    anything but finite numbers at the start, is a DataError that names the parameters tried. NaN or infinite input is a
    ValueError.

    Source: Levenberg, 1944; Marquardt, 1963; Bates and Watts, 1988 (the test of convergence);
    Boender and Rinnooy Kan, 1987 (when to stop trying starts).
    """
    from ._nonlinear import CurveRegressor

    return CurveRegressor(**{**params, "curve": curves[params["curve"]]}, random_state=seed)


@model(
    "splines",
    params=(
        Param("n_knots", 5, low=2, high=1000, log=True, doc="Knots a feature, at its quantiles; count."),
        Param("degree", 3, low=0, high=10, doc="Of the polynomials between knots."),
        Param("alpha", 1.0, low=1e-6, high=1e12, log=True, doc="Penalty on squared coefficients of the spline basis."),
    ),
)
def splines(params, seed):
    """A smooth curve of each feature, added up: B-splines on quantiles, with a ridge penalty.

    Beyond the outer knots each curve goes on straight, so that an outlier is answered within reason. Sample weights
    count in the fit, not in the knots. A constant feature has no effect. NaN or infinite input is a ValueError. No
    random draw is made.

    Source: Eilers and Marx, 1996, Flexible Smoothing with B-splines and Penalties.
    """
    from ._nonlinear import SplineRegressor

    return SplineRegressor(**params)
