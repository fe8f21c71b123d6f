"""Models: every one a scikit-learn estimator behind a ModelSpec; one file a family.

A family file only declares; the estimators of our own stand in ``_estimators`` (scikit-learn) and
``_networks`` (torch), which are imported when a spec is built and not before.
"""

# importing a family registers its models
from . import arima, baselines, factors, forest, linear, neural, nonlinear  # noqa: F401
from .context import Context
from .factors import Loadings, factor_loadings
from .forecaster import Forecaster
from .nonlinear import Curve, curve, curves
from .spec import Model, ModelSpec, SizesParam, catalog, model, models

__all__ = [
    "Context",
    "Curve",
    "Forecaster",
    "Loadings",
    "Model",
    "ModelSpec",
    "SizesParam",
    "catalog",
    "curve",
    "curves",
    "factor_loadings",
    "model",
    "models",
]
