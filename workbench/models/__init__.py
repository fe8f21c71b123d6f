"""Models: every one a scikit-learn estimator behind a ModelSpec; one file a family.

A family file only declares; the estimators of our own stand in ``_estimators`` (scikit-learn) and
``_networks`` (torch), which are imported when a spec is built and not before.
"""

from . import baselines, curves, forest, linear, neural  # noqa: F401  (importing a family registers its models)
from .context import Context
from .curves import Curve, curve
from .spec import Model, ModelSpec, SizesParam, catalog, model, models

__all__ = ["Context", "Curve", "Model", "ModelSpec", "SizesParam", "catalog", "curve", "model", "models"]
