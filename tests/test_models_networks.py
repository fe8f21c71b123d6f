"""Networks: what they find, what they may see, when they stop, and that a seed gives the same numbers."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from workbench import compute, kernels
from workbench.errors import Cancelled, DataError, ParameterError
from workbench.evaluate.version import code_version
from workbench.models import Context, ModelSpec
from workbench.models._modules import Convolution, Recurrent
from workbench.models._networks import Batches, Inputs, Samples, _one_order
from workbench.report.figures import loss_curve

NETWORKS = {
    "mlp": {"hidden": (16,), "lr": 0.02, "epochs": 12, "batch_size": 16},
    "lstm": {"window": 4, "units": 8, "lr": 0.03, "epochs": 12, "batch_size": 16},
    "tcn": {"window": 4, "channels": 8, "kernel_size": 2, "lr": 0.03, "epochs": 12, "batch_size": 16},
}
WINDOWED = ["lstm", "tcn"]
each = pytest.mark.parametrize("name", NETWORKS)
windowed = pytest.mark.parametrize("name", WINDOWED)


def quick(name: str, **params) -> ModelSpec:
    return ModelSpec(name, {**NETWORKS[name], **params}, seed=3)


def planted(n: int = 200, seed: int = 1):
    """Samples of one series; the target is an interaction, over noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * np.sign(X[:, 2]) + rng.normal(0, 0.5, n)


class Grid:
    """A panel of features with holes, laid out as the walk lays it out: samples, targets and their context."""

    def __init__(self, rows: int = 60, symbols: int = 3, horizon: int = 2, seed: int = 0, holes: float = 0.1):
        rng = np.random.default_rng(seed)
        self.values = rng.normal(size=(rows, symbols, 2))
        there = rng.random((rows, symbols)) >= holes
        there[: rows // 4, symbols - 1] = False  # the last symbol is listed later
        self.row, self.column = np.nonzero(there)
        self.horizon, self.shape = horizon, there.shape
        self.label = np.full(self.shape, np.nan)
        # what the label is made of lies two rows back: no feature of the sample's own row tells of it
        self.label[2:] = self.values[:-2, :, 0]
        self.label[~there] = np.nan

    def context(self, chosen) -> Context:
        table = self.values[self.row, self.column]
        table.flags.writeable = False
        end = np.where(np.isnan(self.label), -1, np.arange(self.shape[0])[:, np.newaxis] + self.horizon)
        return Context(self.row[chosen], self.column[chosen], table, self.row, self.column, self.label, end)

    def part(self, chosen):
        """X, y and context of the samples `chosen`, a mask."""
        chosen = np.flatnonzero(chosen)
        row, column = self.row[chosen], self.column[chosen]
        return self.values[row, column], self.label[row, column], self.context(chosen)

    @property
    def labelled(self) -> np.ndarray:
        return ~np.isnan(self.label[self.row, self.column])


def fitted_on(grid: Grid, name: str, until: int = 10_000, **params):
    X, y, context = grid.part(grid.labelled & (grid.row < until))
    return quick(name, **params).build().fit(X, y, context=context)


# ---------------------------------------------------------------- what they find


def test_a_signal_in_past_rows_is_found_by_those_that_look_back():
    grid = Grid(rows=500, symbols=6, holes=0.02)
    X, y, context = grid.part(grid.labelled & (grid.row >= 400))
    found = {}
    for name in NETWORKS:
        fitted = fitted_on(grid, name, until=400, epochs=8, batch_size=64)
        found[name] = 1 - np.mean((y - fitted.predict(X, context)) ** 2) / np.var(y)
    assert found["mlp"] < 0.05
    assert found["lstm"] > 0.7
    assert found["tcn"] > 0.7


@windowed
def test_a_window_reaches_as_far_as_it_says(name):
    """A signal two rows back is beyond a window of two rows, and within one of three."""
    grid = Grid(rows=500, symbols=6, holes=0.02)
    X, y, context = grid.part(grid.labelled & (grid.row >= 400))
    found = []
    for window in (2, 3):
        fitted = fitted_on(grid, name, until=400, epochs=8, batch_size=64, window=window)
        found.append(1 - np.mean((y - fitted.predict(X, context)) ** 2) / np.var(y))
        assert ModelSpec(name, {"window": window}).lookback == window - 1
    assert found[0] < 0.05
    assert found[1] > 0.7


# ---------------------------------------------------------------- what they may see


@windowed
@pytest.mark.parametrize("back", range(6))
def test_a_prediction_reads_its_own_window_and_nothing_else(name, back):
    """Changing features elsewhere (later rows, other symbols, rows before the window) changes no prediction."""
    grid, window = Grid(holes=0.0), 4
    fitted = fitted_on(grid, name, window=window)
    at, symbol = 40, 1
    own = (grid.row == at) & (grid.column == symbol)
    X, _, context = grid.part(own)
    before = fitted.predict(X, context)
    grid.values[at - back, symbol] += 1.0
    inside = fitted.predict(*grid.part(own)[::2])
    assert (inside != before).all() == (back < window)
    grid.values[at - back, symbol] -= 1.0
    touched = np.ones(grid.shape, dtype=bool)
    touched[at - window + 1 : at + 1, symbol] = False
    grid.values[touched] += 100.0
    assert fitted.predict(*grid.part(own)[::2]) == before


@windowed
def test_training_reads_no_row_after_the_samples_it_is_given(name):
    grid = Grid()
    first = fitted_on(grid, name, until=40)
    grid.values[40:] = 1e6
    again = fitted_on(grid, name, until=40)
    pd.testing.assert_frame_equal(first.losses_, again.losses_)


@windowed
def test_a_row_that_is_missing_counts_as_the_mean(name):
    grid = Grid(holes=0.3)
    fitted = fitted_on(grid, name)
    assert (grid.context(slice(None)).windows(4) < 0).any()
    X, _, context = grid.part(np.ones(len(grid.row), dtype=bool))
    place = np.full(grid.shape, -1)
    place[grid.row, grid.column] = np.arange(len(grid.row))
    z, expected = (X - fitted.scaler_.mean_) / fitted.scaler_.scale_, np.empty(len(X))
    for i, (row, column) in enumerate(zip(grid.row, grid.column, strict=True)):
        rows = [place[row - back, column] if row >= back else -1 for back in (3, 2, 1, 0)]
        filled = np.stack([np.zeros(2) if r < 0 else z[r] for r in rows])
        with torch.inference_mode():
            expected[i] = fitted.network_(torch.from_numpy(filled)[None])[0, 0]
    expected = expected * fitted.target_scale_ + fitted.target_mean_
    np.testing.assert_allclose(fitted.predict(X, context), expected, rtol=1e-10, atol=1e-12)


@each
def test_a_prediction_does_not_depend_on_its_neighbours(name):
    grid = Grid()
    fitted = fitted_on(grid, name)
    together = fitted.predict(*grid.part(np.ones(len(grid.row), dtype=bool))[::2])
    order = np.random.default_rng(0).permutation(len(grid.row))[:50]
    for i in order:
        X, _, context = grid.part(np.arange(len(grid.row)) == i)
        np.testing.assert_allclose(fitted.predict(X, context), together[i], rtol=1e-11, atol=1e-12)


@each
def test_without_a_context_samples_are_the_rows_of_one_series(name):
    X, y = planted()
    alone = quick(name).build().fit(X, y)
    given = quick(name).build().fit(X, y, context=Context.of_series(X, y))
    np.testing.assert_array_equal(alone.predict(X), given.predict(X, Context.of_series(X)))


def test_windows_of_some_samples_are_those_of_all():
    context = Grid().context(slice(None))
    for some in (slice(10, 30), np.array([5, 100, 5, 0])):
        np.testing.assert_array_equal(context.windows(4, some), context.windows(4)[some])


@each
def test_a_context_of_other_samples_is_refused(name):
    grid = Grid()
    X, y, context = grid.part(grid.labelled)
    fitted = quick(name).build().fit(X, y, context=context)
    with pytest.raises(DataError, match=f"{name}: X has {len(X) - 1} samples, its context {len(X)}"):
        fitted.predict(X[:-1], context)
    if name in WINDOWED:  # those read the table: a change in X alone would be without effect
        with pytest.raises(DataError, match="not those of the same samples"):
            fitted.predict(X + 1, context)


# ---------------------------------------------------------------- when they stop


@each
@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_samples_whose_label_reaches_into_the_tail_are_purged(name, horizon):
    """What is purged decides nothing: with any target there, the fit is the same to the bit."""
    grid = Grid(horizon=horizon)
    X, y, context = grid.part(grid.labelled)
    row = context.row
    rows = np.unique(row)
    first = rows[-round(0.25 * len(rows))]
    purged = (row < first) & (row + horizon >= first)
    fitted = quick(name, validation=0.25).build().fit(X, y, context=context)
    assert fitted.validated_ == np.sum(row >= first)
    assert fitted.samples_ == fitted.scaler_.n_samples_seen_ == np.sum(row + horizon < first)
    assert purged.any()
    other = quick(name, validation=0.25).build().fit(X, np.where(purged, 1e6, y), context=context)
    pd.testing.assert_frame_equal(fitted.losses_, other.losses_)
    tail = quick(name, validation=0.25).build().fit(X, np.where(row >= first, -y, y), context=context)
    assert tail.losses_["train"].iloc[0] == fitted.losses_["train"].iloc[0]
    assert tail.losses_["validation"].iloc[0] != fitted.losses_["validation"].iloc[0]


@each
def test_the_best_epoch_on_the_tail_is_kept(name):
    grid = Grid(rows=80)
    X, y, context = grid.part(grid.labelled)
    y = y + np.random.default_rng(0).normal(0, 2, len(y))  # noise enough to be learned by heart
    spec = quick(name, epochs=60, patience=4, lr=0.02)
    fitted = spec.build().fit(X, y, context=context)
    losses = fitted.losses_["validation"]
    assert fitted.best_epoch_ == losses.idxmin()
    assert len(losses) == fitted.best_epoch_ + 4
    assert fitted.converged_
    in_tail = context.row >= np.unique(context.row)[-round(0.2 * len(np.unique(context.row)))]
    chosen = np.flatnonzero(grid.labelled)[in_tail]
    error = (y[in_tail] - fitted.predict(X[in_tail], grid.context(chosen))) / fitted.target_scale_
    assert np.mean(error**2) == pytest.approx(losses.min(), rel=1e-5)
    ended = spec.replace(epochs=fitted.best_epoch_).build().fit(X, y, context=context)
    assert not ended.converged_
    for one, other in zip(ended.network_.parameters(), fitted.network_.parameters(), strict=True):
        assert torch.equal(one, other)


@each
def test_without_a_tail_all_is_trained_on_for_all_epochs(name):
    X, y = planted()
    fitted = quick(name, validation=0.0).build().fit(X, y)
    assert (fitted.samples_, fitted.validated_) == (200, 0)
    assert list(fitted.losses_.columns) == ["train"]
    assert fitted.losses_.index.tolist() == list(range(1, 13))
    assert (fitted.best_epoch_, fitted.converged_) == (12, False)
    assert fitted.losses_["train"].iloc[-1] < fitted.losses_["train"].iloc[0]


@each
def test_a_tail_that_leaves_nothing_says_which_would(name):
    grid = Grid(rows=40, horizon=20, holes=0.0)
    X, y, context = grid.part(grid.labelled)
    with pytest.raises(ParameterError, match="leaves no sample to train on") as caught:
        quick(name, validation=0.6).build().fit(X, y, context=context)
    share = float(caught.value.hint.split("validation=")[1].split(" ")[0])
    assert quick(name, validation=share).build().fit(X, y, context=context).samples_ > 0
    with pytest.raises(ParameterError):
        quick(name, validation=share + 1 / 30).build().fit(X, y, context=context)
    with pytest.raises(ParameterError, match=r"1 sample in 1 row .*validation=0\.0|leaves no sample"):
        quick(name).build().fit(X[:1], y[:1])


@each
def test_a_training_that_diverges_says_so(name):
    X, y = planted()
    y[0] = 1e30
    params = {"lr": 1.0, "weight_decay": 10.0, "epochs": 200, "batch_size": 8}
    with pytest.raises(ParameterError, match=rf"{name}: the (training|validation) loss is .*(nan|inf)"):
        quick(name, **params).build().fit(X, y)


# ---------------------------------------------------------------- watch and cancel


@each
def test_an_epoch_can_be_watched_and_cancelled(name):
    X, y = planted()
    spec, seen = quick(name, validation=0.0), []

    def watch(epoch, loss):
        seen.append((epoch, loss))
        if epoch == 3:
            raise Cancelled("stopped on request")

    with pytest.raises(Cancelled):
        spec.build().fit(X, y, on_epoch=watch)
    whole = spec.build().fit(X, y)
    assert seen == list(whole.losses_["train"].iloc[:3].items())
    threads = set()
    pickle.dumps(spec.build().fit(X, y, on_epoch=lambda epoch, loss: threads.add(torch.get_num_threads())))
    assert threads == {1}  # sums are made in one order


@each
def test_a_checkpoint_is_called_with_each_batch(name):
    X, y = planted()
    calls = []
    with kernels.checkpoint(lambda: calls.append(1)):
        fitted = quick(name).build().fit(X, y)
        trained = len(calls)
        fitted.predict(X)
    batches = -(-fitted.samples_ // 16) + -(-fitted.validated_ // 16)
    assert trained == batches * len(fitted.losses_)
    assert len(calls) == trained + 1
    token = compute.CancelToken()
    token.cancel()
    with kernels.checkpoint(token.check), pytest.raises(Cancelled):
        quick(name).build().fit(X, y)


@each
@pytest.mark.parametrize("when", [1, 12])
def test_an_interrupt_ends_a_fit(name, when):
    """skorch keeps a Ctrl-C to itself and hands back a net that is half trained."""
    X, y = planted()

    def interrupt(epoch, loss):
        if epoch == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(name, validation=0.0).build().fit(X, y, on_epoch=interrupt)


# ---------------------------------------------------------------- weights


@each
def test_a_weight_of_zero_leaves_the_sample_out(name):
    grid = Grid()
    weight = np.random.default_rng(0).integers(0, 3, grid.labelled.sum()).astype(float)
    X, y, context = grid.part(grid.labelled)
    with_zeros = quick(name).build().fit(X, y, sample_weight=weight, context=context)
    kept = grid.labelled.copy()
    kept[grid.labelled] = weight > 0
    X, y, context = grid.part(kept)
    without = quick(name).build().fit(X, y, sample_weight=weight[weight > 0], context=context)
    pd.testing.assert_frame_equal(with_zeros.losses_, without.losses_)


@each
def test_weights_say_whom_to_follow_and_their_unit_is_free(name):
    X = np.random.default_rng(0).normal(size=(400, 3))
    side = X[:, 1] > 0
    y = np.where(side, X[:, 0], -X[:, 0])
    spec, weight = quick(name, hidden=(4,)) if name == "mlp" else quick(name), np.where(side, 1.0, 1e-3)
    fitted = spec.build().fit(X, y, sample_weight=weight)
    predicted = fitted.predict(X)
    assert np.corrcoef(predicted[side], y[side])[0, 1] > 0.8
    assert np.corrcoef(predicted[~side], X[~side, 0])[0, 1] > 0.5  # the rule of the heavy ones, extended
    scaled = spec.build().fit(X, y, sample_weight=weight * 2.0**10)
    pd.testing.assert_frame_equal(scaled.losses_, fitted.losses_)
    with pytest.raises(ValueError, match="[Nn]egative"):
        spec.build().fit(X, y, sample_weight=-weight)


# ---------------------------------------------------------------- seeds


def _scores(name: str) -> np.ndarray:
    grid = Grid()
    return fitted_on(grid, name).predict(*grid.part(np.ones(len(grid.row), dtype=bool))[::2])


def test_serial_threads_and_processes_give_the_same_bits():
    here = [_scores(name) for name in NETWORKS]
    tasks = [(name, _scores, name) for name in NETWORKS]
    for how in compute.HOWS:
        for one, other in zip(compute.run(tasks, how=how, workers=2), here, strict=True):
            np.testing.assert_array_equal(one, other)


@each
def test_no_thread_disturbs_another_and_no_setting_is_left_changed(name):
    X, y = planted()
    settings = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    alone = quick(name).build().fit(X, y).predict(X)
    together = [None] * 3

    def fit(i):
        together[i] = quick(name).build().fit(X, y).predict(X)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for numbers in together:
        np.testing.assert_array_equal(numbers, alone)
    assert torch.get_num_threads() == settings[0]
    assert torch.equal(torch.get_rng_state(), settings[1])
    assert (np.random.get_state()[1] == settings[2]).all()  # noqa: NPY002


def test_fits_on_cuda_that_overlap_keep_its_deterministic_ways_until_the_last_has_left():
    """The flag is the whole process's: one that leaves first must not take it from the others."""
    before, first, second = torch.backends.cudnn.deterministic, _one_order("cuda"), _one_order("cuda:0")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.backends.cudnn.deterministic
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.deterministic is before
    with _one_order("cpu"):
        assert torch.backends.cudnn.deterministic is before


@each
def test_what_was_trained_on_another_device_is_another_score(name, monkeypatch):
    found = []
    for present in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        estimator = quick(name).build()
        found.append((estimator.device, code_version(quick(name), estimator)))
    assert [device for device, _ in found] == ["cpu", "cuda"]
    assert found[0][1] != found[1][1]


# ---------------------------------------------------------------- modules


def test_the_perceptron_s_prediction_can_be_redone_by_hand():
    X, y = planted()
    spec = ModelSpec("mlp", {"hidden": (4, 3), "activation": "tanh", "epochs": 2, "validation": 0.0})
    fitted = spec.build().fit(X, y)
    value = (X - X.mean(0)) / X.std(0)
    layers = [p.detach().numpy() for p in fitted.network_.parameters()]
    for weight, bias in zip(layers[0:4:2], layers[1:4:2], strict=True):
        value = np.tanh(value @ weight.T + bias)
    by_hand = (value @ layers[4].T + layers[5])[:, 0] * y.std() + y.mean()
    np.testing.assert_allclose(fitted.predict(X), by_hand, rtol=1e-10, atol=1e-12)
    assert [p.shape for p in layers] == [(4, 5), (4,), (3, 4), (3,), (1, 3), (1,)]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_every_activation_is_what_it_says(activation):
    X, y = planted(100)
    fitted = ModelSpec("mlp", {"activation": activation, "hidden": (3,), "epochs": 1}).build().fit(X, y)
    points = torch.tensor([-2.0, 0.0, 2.0])
    expected = {"relu": [0, 0, 2], "tanh": np.tanh([-2, 0, 2]), "sigmoid": 1 / (1 + np.exp([2, 0, -2]))}[activation]
    np.testing.assert_allclose(fitted.network_[1](points).numpy(), expected, rtol=1e-6)


def test_the_memory_follows_its_equations():
    """Hochreiter and Schmidhuber's cell with a forget gate, in plain numpy; torch's order of gates is i, f, g, o."""
    net = Recurrent(3, 4, 1, torch.Generator().manual_seed(0)).double()
    torch.nn.init.normal_(net.last.weight, generator=torch.Generator().manual_seed(1))
    x = np.random.default_rng(0).normal(size=(6, 5, 3))
    inward, across, b1, b2 = (p.detach().numpy() for p in net.memory.parameters())
    h, c = np.zeros((6, 4)), np.zeros((6, 4))
    for t in range(5):
        i, f, g, o = np.split(x[:, t] @ inward.T + h @ across.T + b1 + b2, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    expected = h @ net.last.weight.detach().numpy().T
    np.testing.assert_allclose(net(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("window", "size"), [(1, 2), (2, 2), (3, 3), (5, 3), (6, 3), (20, 3), (64, 2), (50, 5)])
def test_the_convolution_is_the_dilated_one(window, size):
    """Against torch's own convolutions, dilated by 1, 2, 4, ..., with zeros on the left (Bai et al., 2018)."""
    draw = torch.Generator().manual_seed(0)
    net = Convolution(3, window, 4, size, draw).double()
    torch.nn.init.normal_(net.last.weight, generator=draw)
    x = torch.randn(7, window, 3, dtype=torch.float64, generator=draw)

    def convolved(layer, z, dilation):
        weight = layer.weight.reshape(4, size, -1).permute(0, 2, 1)
        padded = torch.nn.functional.pad(z, ((size - 1) * dilation, 0))
        return torch.relu(torch.nn.functional.conv1d(padded, weight, layer.bias, dilation=dilation))

    z, reach = x.transpose(1, 2), 1
    for i, block in enumerate(net.blocks):
        inner = convolved(block.second, convolved(block.first, z, 2**i), 2**i)
        z = torch.relu(inner + block.skip(z.transpose(1, 2)).transpose(1, 2))
        reach += 2 * (size - 1) * 2**i
    expected = net.last(z[:, :, -1])
    torch.testing.assert_close(net(x), expected, rtol=1e-12, atol=1e-12)
    assert reach >= window  # the last row sees the whole window
    assert len(net.blocks) == 1 or reach - 2 * (size - 1) * 2 ** (len(net.blocks) - 1) < window


@each
def test_before_training_the_mean_is_predicted(name):
    X, y = planted()
    fitted = quick(name, lr=1e-6, epochs=1, validation=0.0, batch_size=1000).build().fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), y.mean(), atol=1e-4)


def test_every_sample_is_seen_once_an_epoch():
    X = np.arange(10.0)[:, np.newaxis]
    scaler = StandardScaler(with_mean=False, with_std=False).fit(X)
    inputs = Inputs(X, Context.of_series(X), np.arange(10), None, scaler, torch.float32, "cpu")
    data = Samples(inputs, np.arange(10), X[:, 0], np.ones(10))
    walk = Batches(data, 4, torch.Generator().manual_seed(0))
    first, second, still = ([x for x, _ in batches] for batches in (walk, walk, Batches(data, 4)))
    assert [len(x) for x in first] == [4, 4, 2]
    assert len(walk) == 3
    for batches in (first, second):
        assert sorted(torch.cat(batches).flatten().tolist()) == list(range(10))
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.cat(still).flatten().tolist() == list(range(10))


# ---------------------------------------------------------------- figure


def test_the_loss_curve_draws_what_was_measured():
    X, y = planted()
    fitted = quick("mlp").build().fit(X, y)
    figure = loss_curve(fitted)
    assert [trace.name for trace in figure.data] == ["train", "validation"]
    for trace in figure.data:
        assert list(trace.x) == fitted.losses_.index.tolist()
        np.testing.assert_allclose(trace.y, fitted.losses_[trace.name], rtol=1e-6)
    assert [shape.x0 for shape in figure.layout.shapes] == [fitted.best_epoch_]
    assert f"epoch {fitted.best_epoch_}" in figure.layout.annotations[0].text
    assert len(loss_curve(fitted.losses_, log=True).layout.shapes) == 0
    one = loss_curve(quick("mlp", epochs=1, validation=0.0).build().fit(X, y))
    assert [len(trace.x) for trace in one.data] == [1]
    with pytest.raises(DataError, match="PerceptronRegressor has no losses_"):
        loss_curve(quick("mlp").build())
    with pytest.raises(DataError, match="found int"):
        loss_curve(3)
