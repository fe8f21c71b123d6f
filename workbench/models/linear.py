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
