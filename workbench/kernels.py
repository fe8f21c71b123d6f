"""The only importer of the compiled kernels: what they are called, what state each needs, and how they are run.

An indicator is a *sentence*: a function of a :class:`Verbs` and of some rows of its inputs, which calls kernels and
does plain arithmetic on whole rows, and looks back in time through kernels only. :func:`run` speaks it over chunks of
rows that are small enough for the temporaries to stay in the cache; the kernels carry what they need from chunk to
chunk in their states. So a batch is nothing but a stream of large chunks: the bits cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import hooks
from .errors import DataError, ParameterError
from .hooks import checkpoint as checkpoint
from .hooks import poll
from .registry import Registry

try:
    from ._ext import account, barrier, cross, recursive, rolling, shift
except ImportError as error:  # pragma: no cover - only without a build
    error.add_note("the compiled kernels are missing or were built elsewhere: run `pip install -e .` once more")
    raise

# Elements a chunk: one plane of it takes 256 KiB, so a sentence's temporaries fit the second-level cache.
CHUNK = 1 << 15
# Elements between two looks at the checkpoint where a sentence has no temporaries.
LONG = 1 << 21
# Planes of up to NARROW columns are laid out about WIDE columns wide, LANE rows at a time.
NARROW, WIDE, LANE = 8, 16, 4096
# Rows of the chunk that shows which results a kernel may write straight to their place.
FIRST = 16
# Rows that a kernel's `line` may look back at most.
REACH = 256


class Kernel(NamedTuple):
    """A compiled function ``f(*inputs, *params, state, *outputs)``.

    `state` gives the rows of state that it needs; `memory` the rows before this one that an output depends on, None
    where that is all of them; `period` the rows after which its walk starts afresh. `line` is a faster walk of a long
    single series, called alike, which leaves the state alone: its inputs start `memory` rows earlier.
    """

    function: Callable
    state: Callable[..., int]
    outputs: int = 1
    memory: Callable[..., int] | None = None
    period: Callable[..., int] = lambda *params: 1
    line: Callable | None = None

    def call(self, inputs: Sequence, params: Sequence, state: np.ndarray, outs: Sequence) -> None:
        """Run it, by way of whoever watches."""
        arguments = (*inputs, *params, state, *outs)
        if (watch := hooks.kernel) is None:
            self.function(*arguments)
        else:
            watch(self.function, arguments)


def _rolling(function: Callable, parts: int, more: int, outputs: int = 1, line: Callable | None = None) -> Kernel:
    """A kernel of rolling.pyx: its table has `parts` rows a row of the window, and it has `more` rows besides."""

    def length(window, *params):
        return window

    return Kernel(function, lambda window, *params: parts * window + more, outputs, length, length, line)


def _shift(function: Callable) -> Kernel:
    return Kernel(function, lambda lag: lag + 1, memory=lambda lag: lag)


kernels: Registry[Kernel] = Registry("kernel")
for _name, _kernel in {
    "rolling_mean": _rolling(rolling.rolling_mean, 1, 3),
    "rolling_share": _rolling(rolling.rolling_share, 2, 5),
    "rolling_wma": _rolling(rolling.rolling_wma, 1, 4),
    "rolling_max": _rolling(rolling.rolling_max, 1, 3, line=rolling.slide_max),
    "rolling_range": _rolling(rolling.rolling_range, 2, 5),
    "rolling_since": _rolling(rolling.rolling_since, 2, 5),
    "rolling_std": _rolling(rolling.rolling_std, 2, 7),
    "rolling_bands": _rolling(rolling.rolling_bands, 2, 7, 3),
    "rolling_slope": _rolling(rolling.rolling_slope, 1, 6),
    "ema": Kernel(recursive.ema, lambda window, alpha: 2),
    "macd": Kernel(recursive.macd, lambda fast, slow, signal: 4, 3),
    "rsi": Kernel(recursive.rsi, lambda window: 4),
    "atr": Kernel(recursive.atr, lambda window: 3),
    "adx": Kernel(recursive.adx, lambda window: 8),
    "obv": Kernel(recursive.obv, lambda: 4),
    "money_flow": Kernel(recursive.money_flow, lambda: 2, 2, memory=lambda: 1),
    "roc": _shift(shift.roc),
    "lag": _shift(shift.lag),
    "rank": Kernel(cross.rank, lambda: 4),
    "zscore": Kernel(cross.zscore, lambda ddof: 1),
    "correlation": Kernel(cross.correlation, lambda fewest: 2),
    "account": Kernel(account.account, lambda capital, cost, slippage: 5, 3),
    "triple_barrier": Kernel(barrier.triple_barrier, lambda horizon, up, down: 0, 3),
}.items():
    kernels.add(_name, _kernel)


class Verbs:
    """The kernels as methods, for one sentence over `columns` columns.

    Calls are numbered in the order in which the sentence makes them; each number keeps one state, and one buffer for
    its outputs. Only the states, and the number of rows seen, are pickled.
    """

    def __init__(self, columns: int, dtype: np.dtype):
        self.columns, self.dtype = columns, np.dtype(dtype)
        self.states: list[np.ndarray] = []
        self.seen = 0
        self._reset()

    def _reset(self) -> None:
        self._buffers: list[tuple[np.ndarray, ...]] = []
        self._calls: list[tuple[Kernel, tuple]] = []
        self._direct: dict[tuple[int, int], int] = {}  # (call, its output) -> the sentence's output that it is
        self._rows = slice(0, 0)
        self._outs: Sequence[np.ndarray] = ()
        self._number = 0

    def __getstate__(self):
        return {"columns": self.columns, "dtype": self.dtype, "states": self.states, "seen": self.seen}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._reset()

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        kernel = kernels[name]

        def verb(*args):
            return self._call(kernel, args)

        self.__dict__[name] = verb
        return verb

    def _call(self, kernel: Kernel, args: tuple) -> np.ndarray | tuple[np.ndarray, ...]:
        inputs = [a for a in args if isinstance(a, np.ndarray)]
        params = args[len(inputs) :]
        number, rows = self._number, len(inputs[0])
        self._number += 1
        if number == len(self.states):
            self.states.append(_table(kernel.state(*params), self.columns))
        if number == len(self._calls):
            self._calls.append((kernel, params))
            self._buffers.append(())
        outs = []
        for i in range(kernel.outputs):
            if (number, i) in self._direct:
                outs.append(self._outs[self._direct[number, i]][self._rows])
                continue
            if len(self._buffers[number]) < kernel.outputs or len(self._buffers[number][i]) < rows:
                shape = (rows, self.columns)
                self._buffers[number] = tuple(np.empty(shape, self.dtype) for _ in range(kernel.outputs))
            outs.append(self._buffers[number][i][:rows])
        if rows and self.columns:
            kernel.call(inputs, params, self.states[number], outs)
        return outs[0] if kernel.outputs == 1 else tuple(outs)

    def speak(self, sentence: Callable, inputs: Sequence[np.ndarray], outs: Sequence[np.ndarray], rows: slice) -> None:
        """These rows through the sentence, its results into those rows of `outs`."""
        self._number, self._outs, self._rows = 0, outs, rows
        results = sentence(self, *[_ready(x[rows], self.dtype) for x in inputs])
        results = results if isinstance(results, tuple) else (results,)
        for position, result in enumerate(results):
            if result.base is not outs[position] and not np.may_share_memory(result, outs[position]):
                outs[position][rows] = result
                self._learn(position, result)
        self.seen += rows.stop - rows.start

    def _learn(self, position: int, result: np.ndarray) -> None:
        """If a result is just what a kernel wrote, let it write to its place from now on."""
        if not (self._outs[position].flags.c_contiguous and self._outs[position].dtype == self.dtype):
            return
        for number, buffers in enumerate(self._buffers):
            for i, buffer in enumerate(buffers):
                if result.base is buffer and position not in self._direct.values():
                    self._direct[number, i] = position

    @property
    def is_bare(self) -> bool:
        """Whether the sentence was nothing but kernels that write straight to their places."""
        written = {number for number, _ in self._direct}
        return len(self._calls) == len(written) and len(self._direct) == len(self._outs)

    def forget(self) -> None:
        """Back to before the first row, keeping the buffers."""
        self.seen = 0
        for state in self.states:
            state.fill(0)

    def memory(self) -> tuple[int, int] | None:
        """Rows before this one that the results depend on, and the rows after which all walks start afresh.

        None where some kernel remembers all rows, or where none walks in blocks and lanes would gain nothing.
        """
        if any(kernel.memory is None for kernel, _ in self._calls):
            return None
        period = math.lcm(*(kernel.period(*params) for kernel, params in self._calls))
        # the first window of a walk that starts afresh is not yet whole, so a full one goes before
        rows = sum(kernel.memory(*params) for kernel, params in self._calls)
        return (-(-rows // period) * period, period) if period > 1 else None


def _table(rows: int, columns: int) -> np.ndarray:
    """A state: zeros, of which every row starts a cache line of its own.

    Wide rows are an odd number of lines apart, as rows that lie alike in their pages wait for each other.
    """
    width = columns if columns <= WIDE else (columns + 7) // 8 * 8 | 8
    memory = np.zeros(rows * width + 8)
    start = -memory.ctypes.data % 64 // 8
    return memory[start : start + rows * width].reshape(rows, width)


def _ready(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`x` as kernels take it, copied only if it must be."""
    if x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned:
        return x
    return np.array(x, dtype, order="C")


def run(sentence: Callable, verbs: Verbs, inputs: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
    """Speak `sentence` over all rows of the (T, N) `inputs`, into the (T, N) `outs`."""
    rows, columns = inputs[0].shape
    verbs._direct.clear()
    narrow = 0 < columns <= NARROW
    start = 0
    with np.errstate(all="ignore"):
        while start < rows:
            poll()
            if narrow and start:
                start = _in_lanes(sentence, verbs, inputs, outs, start)
            stop = min(rows, start + max(1, (LONG if verbs.is_bare and start else CHUNK) // max(columns, 1)))
            # of what takes more than one chunk, a first and short one shows what the sentence is made of
            if not start and rows > (LANE if narrow else stop):
                stop = min(stop, FIRST)
            verbs.speak(sentence, inputs, outs, slice(start, stop))
            start = stop
    verbs._outs = ()


def _in_lanes(
    sentence: Callable, verbs: Verbs, inputs: Sequence[np.ndarray], outs: Sequence[np.ndarray], start: int
) -> int:
    """Carry a narrow plane on from row `start` as a wide one, cut by time; return the row that it came to.

    Only where no kernel of the sentence remembers more than some rows: each lane is spoken from so many rows before
    its own, and from a row at which all walks start afresh, so the bits are those of one walk from the first row.
    """
    rows, columns = inputs[0].shape
    memory, lanes = verbs.memory(), WIDE // columns
    if memory is None:
        return start
    before, period = memory
    first = start + (-verbs.seen) % period
    first += max(0, -(-(before - first) // period) * period)
    if first + lanes * max(before, period) > rows:
        return start
    verbs.speak(sentence, inputs, outs, slice(start, first))
    kernel, params = verbs._calls[0]
    if columns == 1 and verbs.is_bare and len(verbs._calls) == 1 and kernel.line is not None and before <= REACH:
        walk = kernel._replace(function=kernel.line)
        for start in range(first, rows, LONG):
            poll()
            stop = min(rows, start + LONG)
            line = [_ready(x[start - before : stop], verbs.dtype) for x in inputs]
            walk.call(line, params, verbs.states[0], [out[start:stop] for out in outs])
        return _again(sentence, verbs, inputs, first, rows, before + period)
    wide = Verbs(lanes * columns, verbs.dtype)
    wide._direct.update(verbs._direct)
    length = min(max(LANE, 4 * before), (rows - first) // lanes) // period * period
    shape = (before + length, lanes * columns)
    planes = [np.empty(shape, verbs.dtype) for _ in range(len(inputs) + len(outs))]
    sources, targets = planes[: len(inputs)], planes[len(inputs) :]
    start = first
    while length >= max(before, 1):
        stop, long = start + lanes * length, before + length
        poll()
        for x, plane in zip(inputs, sources, strict=True):
            rolling.interleave(_ready(x[start - before : stop], verbs.dtype), before, length, plane[:long])
        wide.forget()
        wide.speak(sentence, sources, targets, slice(0, long))
        for out, plane in zip(outs, targets, strict=True):
            part = out[start:stop] if out.flags.c_contiguous else np.empty((lanes * length, columns), verbs.dtype)
            rolling.deinterleave(plane[:long], before, part)
            if not out.flags.c_contiguous:
                out[start:stop] = part
        start = stop
        length = min(length, (rows - start) // lanes // period * period)
    return _again(sentence, verbs, inputs, first, start, before + period) if start > first else start


def _again(sentence: Callable, verbs: Verbs, inputs: Sequence, first: int, stop: int, rows: int) -> int:
    """Speak the last `rows` before `stop` once more, so that the states are as if rows `first` to `stop` had been."""
    seen = verbs.seen + stop - first
    verbs.forget()
    verbs._direct.clear()
    scratch = [np.empty((rows, verbs.columns), verbs.dtype) for _ in verbs._outs]
    verbs.speak(sentence, [x[stop - rows : stop] for x in inputs], scratch, slice(0, rows))
    verbs.seen = seen
    verbs._direct.clear()
    return stop


def as_plane(x: object, what: str) -> np.ndarray:
    """`x` as a 2-D array of real numbers, without a copy where it is one; (T,) becomes (T, 1)."""
    if hasattr(x, "iloc"):
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        for dtype in list(x.dtypes) if hasattr(x, "columns") else [x.dtype]:
            if not is_numeric_dtype(dtype) or is_bool_dtype(dtype):
                raise DataError(f"{what} holds {dtype}, expected real numbers", hint="convert it first, by .astype")
            if not isinstance(dtype, np.dtype):  # nullable columns
                x = x.astype("float64")
        x = x.to_numpy()
    if isinstance(x, np.ma.MaskedArray):
        x = x.astype("float64").filled(np.nan)
    given, x = x, np.asarray(x)
    if x.dtype.kind not in "fiu":
        found, hint = f"holds {x.dtype}", "convert it first, e.g. by .astype('float64')"
        if not x.ndim:
            found, hint = f"is a {type(given).__name__}", "an array, a Series or a DataFrame; of a panel one field"
        raise DataError(f"{what} {found}, expected real numbers", hint=hint)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        raise DataError(f"{what} has shape {x.shape}, expected (T,) or (T, N)", hint="pass one field at a time")
    return x


def as_out(out: object, shape: tuple, dtype: np.dtype, inputs: Sequence[np.ndarray], what: str) -> np.ndarray:
    """`out` as the (T, N) plane to write to, or an error that says what it would have to be."""
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ParameterError(f"out= of {what} is {found}, expected an ndarray of {dtype} {shape}")
    if not out.flags.writeable:
        raise ParameterError(f"out= of {what} is read-only", hint="pass a writeable array")
    if any(np.may_share_memory(out, x) for x in inputs):
        raise ParameterError(f"out= of {what} overlaps an input", hint="pass another array")
    return out[:, None] if out.ndim == 1 else out
