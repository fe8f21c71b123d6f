"""What is trained: a network is a torch module, built here with weights drawn from one generator.

torch's own layers fill their weights from the global generator; `skip_init` keeps them from it. The last layer of
each network starts at 0: before training it predicts the mean, not noise as large as the target.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn.functional import pad

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def _linear(before: int, after: int, generator: torch.Generator, activation: str | None = None) -> nn.Linear:
    """A linear layer in float32: Glorot weights for what `activation` follows; zeros for None, the last layer."""
    layer = nn.utils.skip_init(nn.Linear, before, after, dtype=torch.float32)
    if activation is None:
        nn.init.zeros_(layer.weight)
    else:
        gain = nn.init.calculate_gain(activation)
        nn.init.xavier_uniform_(layer.weight, gain=gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def perceptron(features: int, hidden: tuple[int, ...], activation: str, generator: torch.Generator) -> nn.Sequential:
    """A multi-layer perceptron, (n, `features`) -> (n, 1)."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((features, *hidden)):
        layers += [_linear(before, after, generator, activation), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, _linear(hidden[-1], 1, generator))


class Recurrent(nn.Module):
    """A long short-term memory over a window, (n, window, features) -> (n, 1), read out at its last row.

    Weights are uniform within 1 / sqrt(units), as torch draws them.
    """

    def __init__(self, features: int, units: int, layers: int, generator: torch.Generator):
        super().__init__()
        # skip_init by hand: it refuses a layer that takes its device by **kwargs
        memory = nn.LSTM(features, units, layers, batch_first=True, dtype=torch.float32, device="meta")
        self.memory = memory.to_empty(device="cpu")
        for parameter in self.memory.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(units), 1 / math.sqrt(units), generator=generator)
        self.last = _linear(units, 1, generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.memory(x)[0][:, -1])


class Block(nn.Module):
    """A residual block: two causal convolutions, each followed by relu, beside a skip; (n, rows, `before` -> `after`).

    A convolution is a linear map of the `size` rows that end with each row, side by side: one product of matrices,
    which took half the time of nn.Conv1d, and in float64 less still. Rows before the first are zeros.
    """

    def __init__(self, before: int, after: int, size: int, generator: torch.Generator):
        super().__init__()
        self.size = size
        self.first = _linear(size * before, after, generator, "relu")
        self.second = _linear(size * after, after, generator, "relu")
        self.skip = nn.Identity() if before == after else _linear(before, after, generator, "linear")

    def _lagged(self, x: torch.Tensor) -> torch.Tensor:
        """(n, rows, size * channels): each row with the rows before it, the oldest first."""
        rows = x.shape[1]
        x = pad(x, (0, 0, self.size - 1, 0))
        return torch.cat([x[:, i : i + rows] for i in range(self.size)], dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first(self._lagged(x)))
        return torch.relu(torch.relu(self.second(self._lagged(inner))) + self.skip(x))


class Convolution(nn.Module):
    """A temporal convolutional network over a window, (n, window, features) -> (n, 1), read out at its last row.

    Block i is dilated by 2**i, and there are as many as it takes for the last row to see the whole window. It needs
    but every 2**i-th row from the last one back: so the rows between are dropped, and no block is dilated. The numbers
    are those of the dilated network, for half the work.
    """

    def __init__(self, features: int, window: int, channels: int, size: int, generator: torch.Generator):
        super().__init__()
        # L blocks see 1 + 2 (size - 1) (2**L - 1) rows
        depth = max(1, math.ceil(math.log2((window - 1) / (2 * (size - 1)) + 1)))
        before = [features, *[channels] * (depth - 1)]
        self.blocks = nn.ModuleList(Block(b, channels, size, generator) for b in before)
        self.last = _linear(channels, 1, generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
            x = x[:, (x.shape[1] - 1) % 2 :: 2]
        return self.last(x[:, -1])
