"""Neural networks: torch, driven by skorch.

What they share: features and target are standardised with the mean and deviation of the samples trained on; training
is in float32, on CUDA where present; prediction is in float64 on the CPU, so that it does not depend on its neighbours.
The last rows of the training set are a validation tail: training ends when the loss there stops falling, and keeps
the weights of the best epoch. Samples whose label reaches into the tail are purged from training; nothing is trained
on the tail itself. The same seed gives the same numbers on the same device; no global random state is read or changed.
"""

from __future__ import annotations

from ..registry import Param
from .spec import SizesParam, model

ACTIVATIONS = ("relu", "tanh", "sigmoid")

_TRAINING = (
    Param("lr", 1e-3, low=1e-6, high=1.0, log=True, doc="Step of the AdamW optimiser."),
    Param("epochs", 20, low=1, high=10_000, log=True, doc="Most walks over the training set, count."),
    Param("batch_size", 256, low=1, high=1_000_000, log=True, doc="Samples a step, count."),
    Param("weight_decay", 1e-4, low=0.0, high=10.0, doc="Decoupled decay of the weights a step, per lr."),
    Param("validation", 0.2, low=0.0, high=0.9, doc="Share of the rows, the last ones, to stop by; 0: all epochs."),
    Param("patience", 5, low=1, high=10_000, log=True, doc="Epochs without a lower validation loss to stop after."),
)
_WINDOW = Param("window", 20, low=1, high=10_000, log=True, doc="Rows read, the sample's own the last, count.")


@model(
    "mlp",
    library="torch (skorch)",
    cost="high",
    params=(
        SizesParam("hidden", (32, 16), low=1, high=4096, doc="Units of each hidden layer, count."),
        Param("activation", "relu", choices=ACTIVATIONS, doc="Between the layers."),
        *_TRAINING,
    ),
)
def mlp(params, seed):
    """A multi-layer perceptron on standardised features and target, by mean squared error.

    It stops early by a purged validation tail. A constant feature counts as 0. NaN or infinite input is a ValueError;
    a loss that is no number, or a tail that leaves nothing to train on, a ParameterError.

    Source: Rumelhart, Hinton and Williams, 1986 (back-propagation); Loshchilov and Hutter, 2019 (AdamW).
    """
    from ._networks import PerceptronRegressor, own_device

    return PerceptronRegressor(**params, device=own_device(), random_state=seed)


@model(
    "lstm",
    library="torch (skorch)",
    cost="high",
    lookback=lambda window, **_: window - 1,
    params=(
        _WINDOW,
        Param("units", 32, low=1, high=4096, log=True, doc="Numbers that a layer remembers, count."),
        Param("layers", 1, low=1, high=8, doc="Layers above each other, count."),
        *_TRAINING,
    ),
)
def lstm(params, seed):
    """A long short-term memory over the last rows of features of each symbol, by mean squared error.

    Each prediction reads its symbol's last `window` rows afresh; nothing is remembered from sample to sample. A row
    without all features counts as the mean. It stops early by a purged validation tail; errors are those of mlp.
    Without a context the samples are the rows of one series.

    Source: Hochreiter and Schmidhuber, 1997, Long Short-Term Memory; Loshchilov and Hutter, 2019 (AdamW).
    """
    from ._networks import RecurrentRegressor, own_device

    return RecurrentRegressor(**params, device=own_device(), random_state=seed)


@model(
    "tcn",
    library="torch (skorch)",
    cost="high",
    lookback=lambda window, **_: window - 1,
    params=(
        _WINDOW,
        Param("channels", 16, low=1, high=4096, log=True, doc="Numbers a row in each block, count."),
        Param("kernel_size", 3, low=2, high=64, doc="Rows that a convolution joins, count."),
        *_TRAINING,
    ),
)
def tcn(params, seed):
    """A temporal convolutional network over the last rows of features of each symbol, by mean squared error.

    Residual blocks of two causal convolutions, dilated by 1, 2, 4, ..., as many as it takes to see all of `window`.
    Unlike the paper it uses neither dropout nor weight normalisation. A row without all features counts as the mean.
    It stops early by a purged validation tail; errors are those of mlp. Without a context the samples are the rows of
    one series.

    Source: Bai, Kolter and Koltun, 2018, An Empirical Evaluation of Generic Convolutional and Recurrent Networks.
    """
    from ._networks import ConvolutionRegressor, own_device

    return ConvolutionRegressor(**params, device=own_device(), random_state=seed)
