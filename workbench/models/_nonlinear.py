"""Non-linear least squares and splines; imported when a spec is built."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import repeat

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import SplineTransformer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..errors import Cancelled, DataError, ParameterError, WorkbenchError
from ..kernels import poll
from ._estimators import checked_weight
from ._moments import Moments, penalised
from ._regression import interval_table
from .nonlinear import Curve

_EPS = np.finfo(float).eps
_STEP = _EPS ** (1 / 3)  # of a central difference, relative
_FAR = 1e100  # in place of a residual that is no number: such a step is taken back
_TIE = 1e-6  # relative difference of sums of squares that counts as none
_VANISHED = 1e-5  # gradient, in standard errors, that counts as none
_EXACT = 1e-10  # residual, relative to the target, that counts as none
_ROUNDS = 5  # of more starts, while worse minima are seen
_ROWS = 2048  # samples whose splines are computed at a time
_FLAT = 1e-9  # effect of a parameter, or share of it that others don't have, that counts as none


@dataclass(frozen=True)
class _Run:
    """Where one search ended."""

    parameters: np.ndarray
    rss: float
    ended: bool  # by a tolerance, not by the number of evaluations


class _Problem:
    """A curve on data: residuals (weighted) and their derivatives; errors name the curve and what was tried."""

    def __init__(self, curve: Curve, x: np.ndarray, y: np.ndarray, root: np.ndarray | float):
        self.curve, self.x, self.y, self.root = curve, x, y, root
        self.target = float(np.linalg.norm(root * y))

    def value(self, parameters: np.ndarray) -> np.ndarray:
        poll()
        return curve_values(self.curve, self.x, parameters)

    def residual(self, parameters: np.ndarray) -> np.ndarray:
        found = self.root * (self.value(parameters) - self.y)
        return np.where(np.abs(found) < _FAR, found, _FAR)  # a NaN is not below

    def jacobian(self, parameters: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Central differences (n, k), by steps relative to each parameter, or to `size` where that is near 0."""
        steps = _STEP * np.maximum(np.abs(parameters), 1e-3 * size)
        columns = []
        for j, step in enumerate(steps):
            above, below = parameters.copy(), parameters.copy()
            above[j] += step
            below[j] -= step
            columns.append(self.root * (self.value(above) - self.value(below)) / (above[j] - below[j]))
        found = np.stack(columns, axis=1)
        return np.where(np.isfinite(found), found, 0.0)

    def run(self, start: np.ndarray, evaluations: int) -> _Run:
        """Levenberg and Marquardt's search, in units of the start."""
        size = _sizes(start)
        with np.errstate(all="ignore"):  # what is far off may overflow; it is taken back
            found = least_squares(
                lambda u: self.residual(u * size),
                start / size,
                lambda u: self.jacobian(u * size, size) * size,
                method="lm",
                x_scale="jac",
                ftol=_EPS,
                xtol=_EPS,
                gtol=_EPS,
                max_nfev=evaluations,
            )
            parameters = found.x * size
            residual = self.residual(parameters)
            return _Run(parameters, float(residual @ residual), found.status > 0)

    def doubt(self, run: _Run, size: np.ndarray) -> str:
        """What speaks against a run's end being a minimum; empty if nothing does."""
        J, residual = self.jacobian(run.parameters, size), self.residual(run.parameters)
        n, k = J.shape
        length = np.linalg.norm(J, axis=0)
        idle = length * np.maximum(np.abs(run.parameters), size) <= _FLAT * max(self.target, np.finfo(float).tiny)
        if idle.any():
            names = ", ".join(name for name, off in zip(self.curve.parameters, idle, strict=True) if off)
            return f"the curve does not move with {names}"
        U, singular, _ = np.linalg.svd(J / length, full_matrices=False)
        if singular[-1] <= _FLAT * singular[0]:
            return "its parameters can't be told apart on these data"
        if not run.ended:
            return "the evaluations were used up"
        if math.sqrt(run.rss) <= _EXACT * self.target:
            return ""
        along = U.T @ residual
        across = max(run.rss - float(along @ along), np.finfo(float).tiny)
        offset = math.sqrt(float(along @ along) / k / (across / max(n - k, 1)))
        return "" if offset <= _VANISHED else f"the gradient is {offset:.1g} of a standard error, expected 0"


def _minima(runs: list[_Run], problem: _Problem, size: np.ndarray, floor: float) -> tuple[list[float], int]:
    """The lowest sum of squares, then those of each worse minimum, rising; and how many runs ended in worse ones."""
    lowest = min(run.rss for run in runs)
    worse = [run for run in runs if run.rss > lowest * (1 + _TIE) + floor]
    with np.errstate(all="ignore"):
        ends = sorted(run.rss for run in worse if not problem.doubt(run, size))
    minima = [lowest]
    for rss in ends:
        if rss > minima[-1] * (1 + _TIE):
            minima.append(rss)
    return minima, len(ends)


def _explored(starts: int, minima: int) -> bool:
    """Whether so many starts are expected to have seen all minima, if they saw so many: Boender and Rinnooy Kan's."""
    left = starts - minima - 2
    return minima == 1 or (left > 0 and minima * (starts - 1) < (minima + 0.5) * left)


def _sizes(start: np.ndarray) -> np.ndarray:
    """The unit of each parameter: its starting value, 1 for a 0."""
    return np.where(start != 0, np.abs(start), 1.0)


def curve_values(curve: Curve, x: np.ndarray, parameters) -> np.ndarray:
    """The curve at `x`: float64 ndarray of shape (n,); DataError where it raises or gives something else."""
    tried = ", ".join(f"{name}={value:.6g}" for name, value in zip(curve.parameters, parameters, strict=True))
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(curve.function(x, *parameters), dtype=float)
    except Cancelled:
        raise
    except Exception as error:
        raise DataError(
            f"curve {curve.name!r} raised {type(error).__name__} at {tried}: {error}",
            hint="x is an ndarray of floats: use numpy's functions, or another start",
        ) from error
    if found.shape != (len(x),):
        raise DataError(f"curve {curve.name!r} gave an array of shape {found.shape} at {tried}, expected {(len(x),)}")
    return found


class CurveRegressor(RegressorMixin, BaseEstimator):
    """Fits the parameters of a curve by least squares.

    Parameters
    ----------
    curve : Curve
        One of `workbench.models.curves`.
    start : tuple of float, optional
        Starting values; default: the curve's own.
    feature : int, optional
        Number of the (first) feature that the curve reads; default: all, which must be as many as it reads.
    starts : int, default 8
        Other starts that are tried; as many again, up to 5 times, where they end in different minima.
    max_evaluations : int, default 2000
        For the first start; others stop after a fifth.
    random_state : int, RandomState or None

    Attributes
    ----------
    parameters_ : ndarray of shape (k,)
        Estimates, in the order of `names_`.
    names_ : list of str
    covariance_ : ndarray of shape (k, k)
        Of the estimates, from the linearised curve; NaN where parameters can't be told apart.
    standard_errors_ : ndarray of shape (k,)
    rss_ : float
        (Weighted) residual sum of squares.
    df_resid_ : int
        Samples less parameters.
    converged_ : bool
        Whether all that can be checked says that this is the least-squares solution: a minimum, and the lowest that
        was seen. That none is lower can't be proved.
    message_ : str
        What was found out about it.
    n_features_in_ : int
    """

    def __init__(self, curve, start=None, feature=None, starts=8, max_evaluations=2000, random_state=None):
        self.curve = curve
        self.start = start
        self.feature = feature
        self.starts = starts
        self.max_evaluations = max_evaluations
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        """Fit `X` (n_samples, n_features) to `y` (n_samples,).

        Parameters
        ----------
        sample_weight : ndarray of shape (n_samples,), optional
            Inversely proportional to the variance of each error; samples of weight 0 are left out.

        Raises
        ------
        DataError
            Fewer samples than parameters, another number of features, a curve that raises or gives no numbers.
        ParameterError
            Another number of starting values than of parameters.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        weight, y, root = checked_weight(sample_weight, X), y.astype(np.float64, copy=False), 1.0
        if weight is not None:
            X, y, root = X[weight > 0], y[weight > 0], np.sqrt(weight[weight > 0])
        x, names = self._inputs(X), self.curve.parameters
        if len(X) < len(names):
            raise DataError(
                f"curve {self.curve.name!r} has {len(names)} parameters ({', '.join(names)}), found n_samples={len(X)}",
                hint="it needs at least as many samples as parameters",
            )
        problem, start = _Problem(self.curve, x, y, root), self._start(x, y)
        self.names_ = list(names)
        best, self.converged_, self.message_ = self._search(problem, start)
        self._keep(problem, best, _sizes(start))
        if not self.converged_:
            warnings.warn(
                f"curve {self.curve.name!r} has not converged: {self.message_}", ConvergenceWarning, stacklevel=2
            )
        return self

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """The features that the curve reads: (n,) for one, (n, inputs) for more."""
        first, inputs, found = self.feature or 0, self.curve.inputs, X.shape[1]
        if self.feature is None and found != inputs:
            raise DataError(
                f"curve {self.curve.name!r} reads {inputs} feature{'s' * (inputs > 1)}, found {found}",
                hint="feature=0 reads from the first on and ignores the others",
            )
        if first + inputs > found:
            raise DataError(
                f"curve {self.curve.name!r} reads {inputs} from feature {first} on, found {found} features",
                hint=f"feature={max(found - inputs, 0)} is the last possible",
            )
        return X[:, first] if inputs == 1 else X[:, first : first + inputs]

    def _start(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The starting values: given, the curve's, or guessed from the data."""
        begin = self.curve.start if self.start is None else self.start
        if callable(begin):
            try:
                with np.errstate(all="ignore"):
                    begin = begin(x, y)
            except Cancelled:
                raise
            except Exception as error:
                raise DataError(
                    f"curve {self.curve.name!r}: the guess of its start raised {type(error).__name__}: {error}",
                    hint="give start=(...) yourself",
                ) from error
        start, names = np.asarray(begin, dtype=float).reshape(-1), self.curve.parameters
        if len(start) != len(names):
            raise ParameterError(
                f"curve {self.curve.name!r}: {len(start)} starting values, expected {len(names)} ({', '.join(names)})"
            )
        value = curve_values(self.curve, x, start)
        bad = int((~np.isfinite(value)).sum()) if np.isfinite(start).all() else len(x)
        if bad:
            tried = ", ".join(f"{name}={v:.6g}" for name, v in zip(names, start, strict=True))
            raise DataError(
                f"curve {self.curve.name!r} is not finite on {bad} of {len(x)} samples at its start ({tried})",
                hint="the curve may not be defined for such features, or wants another start",
            )
        return start

    def _search(self, problem: _Problem, start: np.ndarray) -> tuple[_Run, bool, str]:
        """The best end of all starts, whether it can be trusted, and why (not)."""
        size, generator = _sizes(start), check_random_state(self.random_state)
        runs = [problem.run(start, self.max_evaluations)]
        self._more(runs, problem, start, generator)
        floor = (_EXACT * problem.target) ** 2
        for _ in range(_ROUNDS):
            minima, _ = _minima(runs, problem, size, floor)
            if _explored(len(runs), len(minima)) or not self.starts:
                break
            self._more(runs, problem, start, generator)
        minima, worse = _minima(runs, problem, size, floor)
        tied = [run for run in runs if run.rss <= minima[0] * (1 + _TIE) + floor]
        best = tied[0]
        polished = problem.run(best.parameters, self.max_evaluations)
        # one that has not ended lies in a flat valley, where rounding takes it
        if polished.ended and polished.rss <= best.rss * (1 + _TIE) + floor:
            best = polished
        with np.errstate(all="ignore"):
            doubt = problem.doubt(best, size)
        if not doubt and tied[0] is not runs[0] and len(tied) < 2:
            doubt = f"of {len(runs)} starts one came to the lowest point, and that is not the one given"
        ended = f"{len(tied)} of {len(runs)} starts came to the lowest point" if self.starts else "no other start tried"
        if worse:
            ended += f", {worse} to {len(minima) - 1} other minima"
        return best, not doubt, doubt or ended

    def _more(self, runs: list[_Run], problem: _Problem, start: np.ndarray, generator) -> None:
        """Adds the ends of `starts` other searches."""
        for i in range(self.starts):
            # near ones and far ones: a parameter that starts at 0 may take any sign, others keep theirs
            factor = np.exp(generator.normal(0, 0.5 if i % 2 else 1.5, len(start)))
            other = np.where(start != 0, start * factor, generator.normal(size=len(start)))
            try:
                if np.isfinite(problem.value(other)).all():
                    runs.append(problem.run(other, max(self.max_evaluations // 5, 1)))
            except WorkbenchError:
                continue  # the curve isn't made for such values, and nobody asked for them

    def _keep(self, problem: _Problem, run: _Run, size: np.ndarray) -> None:
        """The estimates with their covariance."""
        self.parameters_, self.rss_ = run.parameters, run.rss
        k = len(run.parameters)
        self.df_resid_ = len(problem.y) - k
        self.covariance_ = np.full((k, k), np.nan)
        J = problem.jacobian(run.parameters, size)
        length = np.linalg.norm(J, axis=0)
        if self.df_resid_ > 0 and (length > 0).all():
            _, singular, Vt = np.linalg.svd(J / length, full_matrices=False)
            if singular[-1] > _FLAT * singular[0]:
                half = Vt.T / singular / length[:, np.newaxis]
                self.covariance_ = half @ half.T * (run.rss / self.df_resid_)
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))

    def predict(self, X):
        """The curve at each sample of `X`: ndarray of shape (n_samples,); DataError where it is not finite."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        found = curve_values(self.curve, self._inputs(X), self.parameters_)
        bad = ~np.isfinite(found)
        if bad.any():
            raise DataError(
                f"curve {self.curve.name!r} is not finite on {int(bad.sum())} of {len(X)} samples, "
                f"the first at {self._inputs(X)[int(np.argmax(bad))]}",
                hint="such features lie outside the curve's domain, or far outside what it was fitted on",
            )
        return found

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of the parameters by Student's t, from the linearised curve.

        Parameters
        ----------
        level : float, default 0.95
            Share of intervals that cover, in (0, 1).

        Returns
        -------
        DataFrame
            One row a parameter: estimate, standard_error, low, high; NaN where it is not identified.
        """
        check_is_fitted(self)
        return interval_table(self.names_, self.parameters_, self.standard_errors_, level, self.df_resid_)

    def summary(self) -> pd.DataFrame:
        """`intervals` at 95% with the t statistic of each parameter; `converged_` says whether to believe it.

        Returns
        -------
        DataFrame
            One row a parameter: estimate, standard_error, t, low, high.
        """
        table = self.intervals()
        table.insert(2, "t", table["estimate"] / table["standard_error"])
        return table

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # a curve of one feature explains little of many
        return tags


def _knots(x: np.ndarray, weight: np.ndarray | None, count: int) -> np.ndarray:
    """Strictly increasing knots of one feature: its (weighted) quantiles, or evenly spaced where some coincide."""
    used, weight = (x, np.ones(len(x))) if weight is None else (x[weight > 0], weight[weight > 0])
    knots = np.quantile(used, np.linspace(0, 1, count), weights=weight, method="inverted_cdf")
    span = knots[-1] - knots[0]
    if span <= 1e-12 * np.max(np.abs(knots)):  # a constant: any knots around it will do
        return (
            np.linspace(knots[0] - 1, knots[0] + 1, count)
            if abs(knots[0]) < 1e12
            else knots[0] * (1 + np.linspace(-0.5, 0.5, count) * np.sign(knots[0]))
        )
    if (np.diff(knots) <= 1e-9 * span).any():
        return np.linspace(knots[0], knots[-1], count)
    return knots


def _pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[start : start + _ROWS] for start in range(0, len(values), _ROWS))


class SplineRegressor(RegressorMixin, BaseEstimator):
    """B-splines of each feature, with knots at its quantiles, and ridge regression on them.

    Parameters
    ----------
    n_knots : int, default 5
    degree : int, default 3
    alpha : float, default 1.0

    Attributes
    ----------
    splines_ : SplineTransformer
    weights_ : ndarray of shape (n_splines,)
        Of each spline of the basis.
    intercept_ : float
    n_features_in_ : int
    """

    def __init__(self, n_knots: int = 5, degree: int = 3, alpha: float = 1.0):
        self.n_knots = n_knots
        self.degree = degree
        self.alpha = alpha

    def fit(self, X, y, sample_weight=None):
        """Fit `X` (n_samples, n_features) to `y` (n_samples,), with `sample_weight` (n_samples,) where given."""
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        weight = checked_weight(sample_weight, X)
        knots = np.column_stack([_knots(column, weight, self.n_knots) for column in X.T])
        beyond = "linear" if self.degree else "constant"
        self.splines_ = SplineTransformer(degree=self.degree, knots=knots, extrapolation=beyond, include_bias=False)
        self.splines_.fit(X)
        each = zip(self._basis(X), _pieces(y), repeat(None) if weight is None else _pieces(weight), strict=False)
        # one after the other: the products of all pieces would take more than the features
        moments = reduce(lambda *two: Moments.merged(two), (Moments.of(*piece) for piece in each))
        self.weights_ = penalised(moments.product[:-1, :-1], moments.product[:-1, -1], self.alpha)
        self.intercept_ = float(moments.mean[-1] - moments.mean[:-1] @ self.weights_)
        return self

    def _basis(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """The splines at each sample, some samples at a time: those of all are many times the features."""
        for piece in _pieces(X):
            poll()
            yield self.splines_.transform(piece)

    def predict(self, X):
        """The sum of the curves at each sample of `X`: ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.concatenate([splines @ self.weights_ + self.intercept_ for splines in self._basis(X)])
