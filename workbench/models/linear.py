"""Linear models."""

from __future__ import annotations

from ..registry import Param
from .spec import model


@model(
    "ridge",
    params=(
        Param(
            "alpha",
            1.0,
            low=1e-6,
            high=1e12,
            log=True,
            doc="Penalty on squared coefficients of standardised features; grows with the samples.",
        ),
    ),
)
def ridge(params, seed):
    """Linear regression on standardised features with a penalty on squared coefficients.

    Features are standardised with the training mean and deviation; the intercept is not penalised. A constant
    feature gets no weight; fewer samples than features have one solution, thanks to the penalty. NaN or
    infinite input is a ValueError. No random draw is made: the seed changes nothing.

    Source: Hoerl and Kennard, 1970, Ridge Regression: Biased Estimation for Nonorthogonal Problems.
    """
    from ._moments import Ridge

    return Ridge(**params)


@model(
    "ols",
    library="statsmodels",
    params=(
        Param("intercept", True, doc="Whether there is a constant term."),
        Param("cov", "nonrobust", choices=("nonrobust", "HC1", "HAC"), doc="Covariance of the estimates."),
        Param(
            "lags", None, low=0, high=10_000, optional=True, kind=int, doc="Of HAC, rows; None: by the number of rows."
        ),
    ),
)
def ols(params, seed):
    """Ordinary least squares, with standard errors, intervals and the table of statsmodels: the linear baseline.

    Solved by QR on centred and scaled columns: 8 or more correct digits on each of NIST's reference sets but
    Wampler4 (7) and Wampler5 (5), which are noise at that size. Sample weights are inversely proportional to the
    variance of the errors. ``cov="HAC"`` allows for errors that depend on each other over `lags` rows (Newey and
    West) and, where samples of several symbols share a row, within it (Driscoll and Kraay): labels that overlap
    need it. A constant feature gets weight 0, and collinear features, or more features than samples, the solution
    with the least norm on scaled features; what is not identified has the error NaN, and `summary` says why there
    is none. NaN or infinite input is a ValueError. No random draw is made.

    Source: Gauss, 1809 (least squares); Newey and West, 1987 (HAC); Driscoll and Kraay, 1998.
    """
    import statsmodels.regression.linear_model  # noqa: F401 - now: on a thread, others would see it half imported

    from ._regression import LeastSquares

    return LeastSquares(**params)


_ALPHA = Param(
    "alpha",
    0.01,
    low=1e-6,
    high=10.0,
    log=True,
    doc="Penalty, in deviations of the target: at the largest correlation of any feature (at most 1) all are out.",
)
_TOL = 1e-8  # of the duality gap; scikit-learn's 1e-4 leaves 2 to 3 digits
_MAX_ITER = Param("max_iter", 10_000, low=10, high=1_000_000, log=True, doc="Most iterations of the solver.")


@model("lasso", params=(_ALPHA, _MAX_ITER))
def lasso(params, seed):
    """Linear regression with a penalty on absolute coefficients, which leaves features out.

    Features and target are standardised (with weights, where given), so that `alpha` has no unit; coefficients come
    back in the units of the data. A constant feature gets weight 0. Where coordinate descent has not converged after
    `max_iter` sweeps, scikit-learn warns (ConvergenceWarning) and `converged_` is False. NaN or infinite input is a
    ValueError. No random draw is made.

    Source: Tibshirani, 1996, Regression Shrinkage and Selection via the Lasso.
    """
    from sklearn.linear_model import Lasso

    from ._moments import Standardised

    # scikit-learn takes a number from the global state, even where it draws nothing, unless it is given a seed
    return Standardised(Lasso(**params, fit_intercept=False, tol=_TOL, random_state=seed))


@model(
    "elastic_net",
    params=(_ALPHA, Param("l1_ratio", 0.5, low=0.01, high=1.0, doc="Share of the absolute penalty."), _MAX_ITER),
)
def elastic_net(params, seed):
    """Linear regression with a mixture of the penalties of ridge and lasso: correlated features stay together.

    As `lasso`, with the penalty ``alpha * (l1_ratio * |b| + (1 - l1_ratio) / 2 * b**2)``.

    Source: Zou and Hastie, 2005, Regularization and Variable Selection via the Elastic Net.
    """
    from sklearn.linear_model import ElasticNet

    from ._moments import Standardised

    return Standardised(ElasticNet(**params, fit_intercept=False, tol=_TOL, random_state=seed))


@model(
    "logistic",
    task="classification",
    params=(
        Param(
            "C",
            1.0,
            low=1e-6,
            high=1e12,
            log=True,
            doc="Inverse of the penalty, as scikit-learn counts it; 1e12: as good as none.",
        ),
        Param("l1_ratio", 0.0, low=0.0, high=1.0, doc="Share of the absolute penalty; 0: squares only, 1: lasso."),
        Param("max_iter", 1000, low=10, high=100_000, log=True, doc="Most iterations of the solver."),
    ),
)
def logistic(params, seed):
    """Logistic regression, binary or multinomial, on standardised features with a penalty on coefficients.

    Solved by Newton's method (with conjugate gradients) for the squared penalty, to a mean gradient of 1e-9 in
    standardised units; by SAGA (which draws samples from `seed`) where `l1_ratio` is above 0, to changes of 1e-6 of the
    largest coefficient. Classes that a plane can tell apart have no estimates without a penalty: those at a `C` of
    1e12 are then wherever the gradient vanished. Sample weights multiply each sample's loss. Coefficients come back in
    log-odds per unit of the data. One class only is a DataError; where the solver has not converged after `max_iter`,
    scikit-learn warns (ConvergenceWarning) and `converged_` is False. NaN or infinite input is a ValueError.

    Source: Cox, 1958, The Regression Analysis of Binary Sequences.
    """
    from sklearn.linear_model import LogisticRegression

    from ._estimators import StandardisedClassifier

    # L-BFGS ends where the loss no longer falls by 64 roundings, at 5 digits of the coefficients, whatever `tol` is
    solver, tol = ("saga", 1e-6) if params["l1_ratio"] else ("newton-cg", 1e-9)
    return StandardisedClassifier(LogisticRegression(**params, solver=solver, tol=tol, random_state=seed))
