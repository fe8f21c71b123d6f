"""Networks of torch behind scikit-learn's interface, and the one way in which they are trained; imported when a spec
is built.

1. Samples are parted in time: the last rows are the validation tail; what knows of it is purged.    (_part)
2. Features and target are standardised by the samples trained on; features come batch by batch.     (Inputs)
3. skorch drives the epochs; it stops by the loss on the tail, and puts the best weights back.       (Network._train)

All randomness comes from one `torch.Generator` that belongs to the fit: weights and batches are drawn from it. Forking
torch's global generator would not do: folds are fitted in threads, and threads share it. All of it runs on one
thread: sums are then made in one order, and steps are so short that more threads cost more than they bring.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from threadpoolctl import ThreadpoolController
from torch import nn

from ..errors import DataError, ParameterError
from ..kernels import poll
from ._modules import Convolution, Recurrent, perceptron
from .context import Context

_PREDICT_ROWS = 8_192  # rows of features a step of predict: bounds its memory
_OPENMP = ThreadpoolController().select(user_api="openmp")


def own_device() -> str:
    """Where networks train by themselves: on CUDA where present, the CPU otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Inputs:
    """The standardised features of some samples, as tensors on a device, gathered a batch at a time.

    Parameters
    ----------
    X : ndarray of shape (n, F)
    context : Context
        Where the n samples stand.
    numbers : ndarray of int
        Those of the n that are meant.
    window : int or None
        Rows a sample, its own the last, with zeros (the mean) for the rows that the table lacks: (batch, window, F);
        None: the sample's own features, (batch, F).
    """

    def __init__(self, X, context: Context, numbers: np.ndarray, window: int | None, scaler, dtype, device: str):
        self.context, self.numbers, self.window = context, numbers, window
        if window is None:
            rows = X[numbers]
        else:  # the table is time-major: what the samples look back at is one stretch of it, and no later row
            row = context.row[numbers]
            reach = [row.min() - window + 1, row.max() + 1]
            self.start, stop = np.searchsorted(context.table_row, reach)
            rows = context.table[self.start : stop]
        self.table = torch.zeros((len(rows) + 1, X.shape[1]), dtype=dtype)
        self.table[:-1] = torch.from_numpy(scaler.transform(rows))
        self.table = self.table.to(device)

    def take(self, chosen: torch.Tensor) -> torch.Tensor:
        """The inputs of the samples ``numbers[chosen]``."""
        if self.window is None:
            return self.table[chosen.to(self.table.device)]
        found = self.context.windows(self.window, self.numbers[chosen.numpy()])
        found = np.where(found < 0, len(self.table) - 1, found - self.start)
        return nn.functional.embedding(torch.from_numpy(found).to(self.table.device), self.table)


class Samples(torch.utils.data.Dataset):
    """Some of the samples of an `Inputs`, with target and weight: (n, 2), as skorch hands it to the loss."""

    def __init__(self, inputs: Inputs, chosen: np.ndarray, target: np.ndarray, weight: np.ndarray):
        self.inputs, self.chosen = inputs, torch.from_numpy(chosen)
        pairs = np.column_stack([target, weight / weight.mean()])
        self.target = torch.tensor(pairs, dtype=torch.float32, device=inputs.table.device)

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs.take(self.chosen[places]), self.target[places.to(self.target.device)]


class Batches:
    """Walks over `Samples` in batches, shuffled by draws from `generator`, or in their order without one.

    A DataLoader gathers sample by sample, which costs 30 times as much, and reads the global generator.
    """

    def __init__(self, dataset: Samples, batch_size: int, generator: torch.Generator | None = None):
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        n = len(self.dataset)
        order = torch.arange(n) if self.generator is None else torch.randperm(n, generator=self.generator)
        for places in order.split(self.batch_size):
            yield self.dataset.batch(places)


class WeightedSquares(nn.Module):
    """The mean of squared errors, each times its weight; `target` holds targets and weights, (n, 2)."""

    def forward(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((predicted[:, 0] - target[:, 0]).square() * target[:, 1]).mean()


class _Watch(Callback):
    """Stops a training that has diverged or is cancelled, and tells `on_epoch` about each epoch."""

    def __init__(self, name: str, on_epoch):
        self.name, self.on_epoch, self.finished = name, on_epoch, 0

    def on_batch_end(self, net, **kwargs):
        poll()

    def on_epoch_end(self, net, **kwargs):
        last = net.history[-1]
        for kind in ("train", "valid"):
            loss = last.get(f"{kind}_loss", 0.0)
            if not math.isfinite(loss):
                which = "training" if kind == "train" else "validation"
                raise ParameterError(
                    f"{self.name}: the {which} loss is {loss} after epoch {last['epoch']}, expected a finite number",
                    hint=f"a smaller lr than {net.lr!r} keeps it from diverging",
                )
        if self.on_epoch is not None:
            self.on_epoch(last["epoch"], last["train_loss"])
        self.finished += 1


@dataclass(eq=False, repr=False)
class Network(RegressorMixin, BaseEstimator):
    """A network that standardises features and target itself, and stops when a tail in time stops improving.

    What the networks share; each adds what its module is built from.

    Parameters
    ----------
    lr : float, default 1e-3
        Step of AdamW.
    epochs : int, default 20
        The most; fewer where the loss on the tail stops improving before.
    batch_size : int, default 256
    weight_decay : float, default 1e-4
    validation : float, default 0.2
        Share of the rows in time trained on, the last ones, that are set aside to stop by: at least one row. Samples
        whose label reaches into them are left out of the training. 0: trains all epochs on all samples.
    patience : int, default 5
        Epochs without a lower loss on the tail after which it stops.
    device : str, optional
        Where it trains; CUDA where present, the CPU otherwise.
    random_state : int, RandomState or None
        An int gives the same numbers on the same device.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, in float64 on the CPU.
    losses_ : DataFrame
        Index epoch, from 1; columns train and, where there is a tail, validation: weighted mean squared error of the
        standardised target. An epoch's training loss is the mean over its steps, so it is measured before its end.
    best_epoch_ : int
        The epoch whose weights are kept: the one with the lowest loss on the tail; without a tail the last.
    converged_ : bool
        Whether the loss on the tail had stopped improving before the epochs ran out; False without a tail.
    samples_, validated_ : int
        Samples trained on, and in the tail.
    n_features_in_ : int
    """

    lr: float = 1e-3
    epochs: int = 20
    batch_size: int = 256
    weight_decay: float = 1e-4
    validation: float = 0.2
    patience: int = 5
    device: str | None = None
    random_state: object = None

    _name = "network"  # no annotation: these are no parameters
    _window = None

    def _module(self, features: int, generator: torch.Generator) -> nn.Module:
        """The module to train, in float32, its weights drawn from `generator`."""
        raise NotImplementedError

    def fit(self, X, y, sample_weight=None, context=None, on_epoch=None):
        """Train on `X` (n_samples, n_features) and `y` (n_samples,).

        Parameters
        ----------
        sample_weight : array of shape (n_samples,), optional
            Weights in the loss, of the tail too, and in what standardises. A sample of weight 0 is left out.
        context : Context, optional
            Where the samples stand. Default: they are the rows of one series, each label known on the next row.
        on_epoch : callable, optional
            ``on_epoch(epoch, loss)`` after each epoch; an error that it raises ends the fit. Within
            `workbench.kernels.checkpoint` its check is called after each batch, and may end the fit too.

        Raises
        ------
        ValueError
            NaN or infinite input, no sample, lengths that differ, weights below 0.
        DataError
            The context is not that of these samples.
        ParameterError
            The training diverged, or `validation` leaves no sample to train on.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64, order="C")
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        context = self._context(X, context, y)
        train, tail = self._part(context, np.flatnonzero(weight))
        weighting = {} if sample_weight is None else {"sample_weight": weight[train]}
        scaler = StandardScaler().fit(X[train], **weighting)
        target = StandardScaler().fit(y[train, np.newaxis], **weighting)
        device = self.device or own_device()
        inputs = Inputs(X, context, np.concatenate([train, tail]), self._window, scaler, torch.float32, device)
        places = np.arange(len(train) + len(tail))
        z = target.transform(y[:, np.newaxis])[:, 0]
        parts = [
            Samples(inputs, chosen, z[numbers], weight[numbers]) if len(numbers) else None
            for chosen, numbers in ((places[: len(train)], train), (places[len(train) :], tail))
        ]
        with _one_order(device):
            self._train(*parts, device, on_epoch)
        self.scaler_, self.samples_, self.validated_ = scaler, len(train), len(tail)
        # Not scale_, which is 1 for a constant target: there the prediction is the mean alone.
        self.target_mean_, self.target_scale_ = float(target.mean_[0]), math.sqrt(target.var_[0])
        return self

    def predict(self, X, context=None):
        """The prediction for each sample of `X`: float64 ndarray of shape (n_samples,).

        Parameters
        ----------
        context : Context, optional
            Where the samples stand. Default: they are the rows of one series.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        context = self._context(X, context)
        out = np.empty(len(X))
        step = max(1, _PREDICT_ROWS // (self._window or 1))
        with torch.inference_mode(), _one_order("cpu"):
            for start in range(0, len(X), step):
                numbers = np.arange(start, min(start + step, len(X)))
                inputs = Inputs(X, context, numbers, self._window, self.scaler_, torch.float64, "cpu")
                out[numbers] = self.network_(inputs.take(torch.arange(len(numbers))))[:, 0].numpy()
                poll()
        return out * self.target_scale_ + self.target_mean_

    def _context(self, X: np.ndarray, context: Context | None, y: np.ndarray | None = None) -> Context:
        """The context of `X`, or DataError where the one given is that of other samples."""
        if context is None:
            return Context.of_series(X, y)
        if len(context.row) != len(X):
            raise DataError(f"{self._name}: X has {len(X)} samples, its context {len(context.row)}")
        if self._window is not None:
            own = context.windows(1)[:, 0]
            if (own < 0).any() or not np.array_equal(context.table[own], X):
                raise DataError(
                    f"{self._name}: the features in X are not those of the same samples in the context's table",
                    hint="it reads features from the table: change them there, and X with it",
                )
        return context

    def _part(self, context: Context, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the samples `kept`: numbers of those to train on, and of those in the tail."""
        if self.validation == 0:
            return kept, kept[:0]
        row, end = context.row[kept], context.sample_end[kept]
        rows = np.unique(row)
        first = rows[-max(1, round(self.validation * len(rows)))]
        train = kept[(row < first) & (end < first)]
        if not len(train):
            most = math.floor(1000 * np.mean(rows > end.min())) / 1000
            less = f"validation={most} at most leaves one; " if most else ""
            count = f"{len(kept)} sample{'s' if len(kept) > 1 else ''} in {len(rows)} row{'s' if len(rows) > 1 else ''}"
            raise ParameterError(
                f"{self._name}: validation={self.validation} of {count} leaves no sample to train on: the labels of "
                "all others reach into the tail",
                hint=f"{less}validation=0.0 trains on all, for all epochs",
            )
        return train, kept[row >= first]

    def _train(self, train: Samples, tail: Samples | None, device: str, on_epoch) -> None:
        """Train a new module, and keep it with its losses."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        watch = _Watch(self._name, on_epoch)
        stop = EarlyStopping(patience=self.patience, threshold=0.0, load_best=True)
        net = NeuralNet(
            self._module(train.inputs.table.shape[1], generator),
            criterion=WeightedSquares,
            optimizer=torch.optim.AdamW,
            lr=self.lr,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=True,
            max_epochs=self.epochs,
            batch_size=self.batch_size,
            iterator_train=Batches,
            iterator_train__generator=generator,
            iterator_valid=Batches,
            train_split=None if tail is None else predefined_split(tail),
            callbacks=[("watch", watch)] if tail is None else [("watch", watch), ("stop", stop)],
            callbacks__print_log=None,
            verbose=0,
            device=device,
        ).fit(train)
        self.converged_ = tail is not None and stop.misses_ == self.patience
        if watch.finished < self.epochs and not self.converged_:
            raise KeyboardInterrupt  # skorch swallows one, and hands back what was trained until then
        self.network_ = net.module_.cpu().double().eval()
        self.best_epoch_ = watch.finished if tail is None else stop.best_epoch_
        columns = {"train": "train_loss"} | ({} if tail is None else {"validation": "valid_loss"})
        epoch = pd.RangeIndex(1, watch.finished + 1, name="epoch")
        self.losses_ = pd.DataFrame({k: net.history[:, v] for k, v in columns.items()}, index=epoch)


class _Deterministic:
    """Within it cuDNN keeps to its deterministic ways: a setting of the whole process, and fits run in threads.

    So the first to come in sets it, and the last to leave puts back what was there.
    """

    def __init__(self):
        self._lock, self._inside, self._flags = Lock(), 0, None

    def __enter__(self):
        with self._lock:
            if not self._inside:
                self._flags = torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False)
                self._flags.__enter__()
            self._inside += 1

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._flags.__exit__(None, None, None)


_DETERMINISTIC = _Deterministic()


@contextmanager
def _one_order(device: str):
    """Sums are made in the same order each time: on one thread, and on CUDA by cuDNN's deterministic ways."""
    with ExitStack() as stack:
        stack.enter_context(_OPENMP.limit(limits=1))  # counts for the calling thread only
        if device.startswith("cuda"):
            stack.enter_context(_DETERMINISTIC)
        yield


@dataclass(eq=False, repr=False)
class PerceptronRegressor(Network):
    """A multi-layer perceptron on a sample's own features.

    Parameters
    ----------
    hidden : tuple of int, default (32, 16)
        Units of each hidden layer.
    activation : {"relu", "tanh", "sigmoid"}, default "relu"

    And those of `Network`.
    """

    hidden: tuple = (32, 16)
    activation: str = "relu"

    _name = "mlp"

    def _module(self, features, generator):
        return perceptron(features, tuple(self.hidden), self.activation, generator)


@dataclass(eq=False, repr=False)
class RecurrentRegressor(Network):
    """A long short-term memory that reads the last `window` rows of a sample's symbol.

    Parameters
    ----------
    window : int, default 20
        Rows that are read, the sample's own the last.
    units : int, default 32
        Numbers that it remembers, a layer.
    layers : int, default 1

    And those of `Network`.
    """

    window: int = 20
    units: int = 32
    layers: int = 1

    _name = "lstm"

    @property
    def _window(self):
        return self.window

    def _module(self, features, generator):
        return Recurrent(features, self.units, self.layers, generator)


@dataclass(eq=False, repr=False)
class ConvolutionRegressor(Network):
    """A temporal convolution over the last `window` rows of a sample's symbol.

    Parameters
    ----------
    window : int, default 20
        Rows that are read, the sample's own the last.
    channels : int, default 16
        Numbers a row in each block.
    kernel_size : int, default 3
        Rows that a convolution joins.

    And those of `Network`.
    """

    window: int = 20
    channels: int = 16
    kernel_size: int = 3

    _name = "tcn"

    @property
    def _window(self):
        return self.window

    def _module(self, features, generator):
        return Convolution(features, self.window, self.channels, self.kernel_size, generator)
