"""Networks of torch behind scikit-learn's interface; imported when a spec is built.

All randomness comes from one `torch.Generator` that belongs to the fit: weights and batches are drawn from
it. Forking torch's global generator would not do: folds are fitted in threads, and threads share it.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback
from torch import nn

from ..errors import ParameterError

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_PREDICT_ROWS = 65_536  # rows a step of predict: bounds its memory


def perceptron(features: int, hidden: tuple[int, ...], activation: str, generator: torch.Generator) -> nn.Sequential:
    """A float32 multi-layer perceptron, `features` -> 1, with Glorot weights drawn from `generator`.

    The last layer starts at 0: before training it predicts the mean, not noise as large as the target.
    """
    layers: list[nn.Module] = []
    sizes = (features, *hidden, 1)
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        # skip_init: nn.Linear would fill its weights from the global generator.
        linear = nn.utils.skip_init(nn.Linear, before, after, dtype=torch.float32)
        if i < len(hidden):
            gain = nn.init.calculate_gain(activation)
            nn.init.xavier_uniform_(linear.weight, gain=gain, generator=generator)
        else:
            nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Batches:
    """Walks over a data set of tensors in shuffled batches; the order is drawn from `generator`.

    A DataLoader gathers sample by sample, which costs 30 times as much, and reads the global generator.
    """

    def __init__(self, dataset, batch_size: int, generator: torch.Generator):
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        X, y = self.dataset.X, self.dataset.y
        order = torch.randperm(len(X), generator=self.generator).to(X.device)
        for chosen in order.split(self.batch_size):
            yield X[chosen], y[chosen]


class _EpochEnd(Callback):
    """Stops a training that has diverged, and tells `on_epoch` about each epoch."""

    def __init__(self, on_epoch):
        self.on_epoch = on_epoch

    def on_epoch_end(self, net, **kwargs):
        epoch, loss = len(net.history), net.history[-1, "train_loss"]
        if not math.isfinite(loss):
            raise ParameterError(
                f"mlp: the training loss is {loss} after epoch {epoch}, expected a finite number",
                hint=f"a smaller lr than {net.lr!r} keeps it from diverging",
            )
        if self.on_epoch is not None:
            self.on_epoch(epoch, loss)


class PerceptronRegressor(RegressorMixin, BaseEstimator):
    """A multi-layer perceptron that standardises features and target itself.

    Parameters
    ----------
    hidden : tuple of int, default (32, 16)
        Units of each hidden layer.
    activation : {"relu", "tanh", "sigmoid"}, default "relu"
    lr : float, default 1e-3
        Step of AdamW.
    epochs : int, default 20
    batch_size : int, default 256
    weight_decay : float, default 1e-4
    device : str, optional
        Where it trains; CUDA where present, the CPU otherwise.
    random_state : int, RandomState or None
        An int gives the same numbers on the same device.

    Attributes
    ----------
    network_ : torch.nn.Sequential
        The trained network, in float64 on the CPU.
    losses_ : ndarray of shape (epochs,)
        Mean squared error of the standardised target in each epoch.
    n_features_in_ : int
    """

    def __init__(
        self,
        hidden=(32, 16),
        activation="relu",
        lr=1e-3,
        epochs=20,
        batch_size=256,
        weight_decay=1e-4,
        device=None,
        random_state=None,
    ):
        self.hidden = hidden
        self.activation = activation
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state

    def fit(self, X, y, on_epoch=None):
        """Train on `X` (n_samples, n_features) and `y` (n_samples,).

        Parameters
        ----------
        on_epoch : callable, optional
            ``on_epoch(epoch, loss)`` after each epoch; an error that it raises (Cancelled) ends the fit.

        Raises
        ------
        ValueError
            NaN or infinite input, no sample, lengths that differ.
        ParameterError
            The training diverged.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64, order="C")
        scaler, target = StandardScaler().fit(X), StandardScaler().fit(y.reshape(-1, 1))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        net = NeuralNetRegressor(
            perceptron(X.shape[1], tuple(self.hidden), self.activation, generator),
            optimizer=torch.optim.AdamW,
            lr=self.lr,
            optimizer__weight_decay=self.weight_decay,
            max_epochs=self.epochs,
            batch_size=self.batch_size,
            iterator_train=Batches,
            iterator_train__generator=generator,
            train_split=None,
            callbacks=[_EpochEnd(on_epoch)],
            callbacks__print_log=None,
            verbose=0,
            device=device,
        )
        net.fit(_tensor(scaler.transform(X), device), _tensor(target.transform(y.reshape(-1, 1)), device))
        self.scaler_ = scaler
        # Not scale_, which is 1 for a constant target: there the prediction is the mean alone.
        self.target_mean_, self.target_scale_ = float(target.mean_[0]), math.sqrt(target.var_[0])
        self.network_ = net.module_.cpu().double().eval()
        self.losses_ = np.asarray(net.history[:, "train_loss"])
        return self

    def predict(self, X):
        """The prediction for each sample of `X`: float64 ndarray of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        out = np.empty(len(X))
        with torch.inference_mode():
            for start in range(0, len(X), _PREDICT_ROWS):
                rows = slice(start, start + _PREDICT_ROWS)
                out[rows] = self.network_(torch.tensor(self.scaler_.transform(X[rows])))[:, 0].numpy()
        return out * self.target_scale_ + self.target_mean_


def _tensor(values: np.ndarray, device: str) -> torch.Tensor:
    """A float32 copy of `values` on `device`."""
    return torch.tensor(values, dtype=torch.float32, device=device)
