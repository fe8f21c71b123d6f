"""Neural networks: torch, driven by skorch."""

from __future__ import annotations

from ..registry import Param
from .spec import SizesParam, model

ACTIVATIONS = ("relu", "tanh", "sigmoid")


@model(
    "mlp",
    library="torch (skorch)",
    cost="high",
    params=(
        SizesParam("hidden", (32, 16), low=1, high=4096, doc="Units of each hidden layer, count."),
        Param("activation", "relu", choices=ACTIVATIONS, doc="Between the layers."),
        Param("lr", 1e-3, low=1e-6, high=1.0, log=True, doc="Step of the AdamW optimiser."),
        Param("epochs", 20, low=1, high=10_000, log=True, doc="Walks over the training set, count."),
        Param("batch_size", 256, low=1, high=1_000_000, log=True, doc="Samples a step, count."),
        Param("weight_decay", 1e-4, low=0.0, high=10.0, doc="Decoupled decay of the weights a step, per lr."),
    ),
)
def mlp(params, seed):
    """A multi-layer perceptron on standardised features and target, by mean squared error.

    Features and target are standardised with the training mean and deviation. It trains in float32, on CUDA
    where present, and predicts in float64 on the CPU, so that a prediction does not depend on its neighbours.
    The same seed gives the same numbers on the same device; no global random state is read or changed. A
    constant feature counts as 0. NaN or infinite input is a ValueError, a loss that is no number a
    ParameterError.

    Source: Rumelhart, Hinton and Williams, 1986 (back-propagation); Loshchilov and Hutter, 2019 (AdamW).
    """
    from ._networks import PerceptronRegressor

    return PerceptronRegressor(**params, random_state=seed)
