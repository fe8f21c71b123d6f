"""What an indicator is: a registered sentence of kernels that declares its look-back, range, source and convention."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, ParameterError, RegistrationError, WorkbenchError
from ..kernels import Verbs, as_out, as_plane, run
from ..registry import Param, Registry, check_params

if TYPE_CHECKING:
    import pandas as pd

INPUTS = ("open", "high", "low", "close", "volume")

# The closed list of parameters, with what each means and its least value.
PARAMETERS = {
    "window": (1, "rows in the window"),
    "fast": (1, "rows of the fast window"),
    "slow": (2, "rows of the slow window"),
    "signal": (1, "rows of the signal's window"),
    "fastk": (1, "rows of the range's window"),
    "slowk": (1, "rows that smooth %K"),
    "slowd": (1, "rows that smooth %D"),
    "lag": (1, "rows to look back"),
    "k": (0.0, "multiplier of the deviation"),
    "ddof": (0, "degrees of freedom taken off the divisor: 0 population, 1 sample"),
}

indicators: Registry[Indicator] = Registry("indicator")


class Indicator:
    """A registered indicator: call it on arrays, Series or DataFrames, or feed it by :func:`stream`.

    Attributes
    ----------
    name : str
    inputs : tuple of str
        The fields that it reads, in order.
    outputs : tuple of str
    params : tuple of Param
    range : tuple of (float or None)
        Bounds that every output keeps, up to rounding.
    source, convention : str
    cross_section : bool
        Whether a value depends on other symbols of its row.
    """

    def __init__(self, sentence: Callable, **declared):
        self.sentence = sentence
        self.name = sentence.__name__
        self.range = declared["range"]
        self.source, self.convention = declared["source"], declared["convention"]
        self.cross_section = declared["cross_section"]
        self._lookback, self._memory = declared["lookback"], declared["memory"] or declared["lookback"]
        self._rule = declared["rule"]
        self._tuple = declared["outputs"]
        self.outputs: tuple[str, ...] = self._tuple._fields if self._tuple else (self.name,)
        arguments = list(inspect.signature(sentence).parameters.values())[1:]
        self.inputs = tuple(a.name for a in arguments if a.default is a.empty)
        self.params = tuple(self._param(a, declared["low"]) for a in arguments if a.default is not a.empty)
        self._declare(arguments)

    def _param(self, argument: inspect.Parameter, low: dict) -> Param:
        if argument.name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise RegistrationError(
                f"indicator {self.name!r}: {argument.name!r} is not in the list of parameters: {known}"
            )
        least, doc = PARAMETERS[argument.name]
        return Param(argument.name, argument.default, low=low.get(argument.name, least), high=1e9, doc=doc)

    def _declare(self, arguments: list[inspect.Parameter]) -> None:
        missing = [n for n in ("source", "convention") if not getattr(self, n)]
        if not self.inputs or not set(self.inputs) <= set(INPUTS):
            missing.append(f"inputs out of {INPUTS}")
        if not inspect.getdoc(self.sentence):
            missing.append("a docstring")
        if missing:
            raise RegistrationError(f"indicator {self.name!r} does not declare {', '.join(missing)}")
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = inspect.Signature([a.replace(kind=kind) for a in arguments] + [out])
        self.__name__ = self.__qualname__ = self.name
        self.__module__ = self.sentence.__module__
        self.__doc__ = self._document()

    def _document(self) -> str:
        """The numpydoc page, derived from the registration."""
        lines = [inspect.getdoc(self.sentence), "", "Parameters", "----------"]
        lines += [f"{', '.join(self.inputs)} : ndarray of shape (T,) or (T, N), Series or DataFrame"]
        for p in self.params:
            lines += [
                f"{p.name} : {p.kind.__name__}, default {p.default!r}",
                f"    {p.doc}; at least {p.low}.",
            ]
        shape = "as the input" if len(self.outputs) == 1 else f"{len(self.outputs)} of them as a tuple"
        lines += [f"out : ndarray, optional ({shape})", "    Where to write.", "", "Returns", "-------"]
        lines += [
            f"{', '.join(self.outputs)} : of the kind and shape of the input",
            f"    Range {self._bounds()}.",
        ]
        lines += ["", "Notes", "-----", f"Source: {self.source}. Convention: {self.convention}."]
        lines += [f"The first {self.lookback()} rows are NaN with the default parameters."]
        return "\n".join(lines)

    def _bounds(self) -> str:
        low, high = self.range
        return f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"

    def __repr__(self) -> str:
        return f"<indicator {self.name}{self.__signature__}>"

    def __reduce__(self):
        return _named, (self.name,)

    def check(self, params: dict) -> dict:
        """All parameters with their checked values."""
        checked = check_params(self.name, self.params, params)
        if self._rule and not self._rule[1](**checked):
            found = ", ".join(f"{k}={v}" for k, v in checked.items())
            raise ParameterError(f"{self.name}: {found}", hint=f"it needs {self._rule[0]}")
        return checked

    def lookback(self, **params) -> int:
        """Rows of NaN at the head of the output."""
        return int(self._lookback(**self.check(params)))

    def memory(self, **params) -> int:
        """Rows after which a value has less than a hundredth of its weight left; `FOREVER` for one that only adds up.

        The look-back, where a window forgets what has left it; more for a recurrence.
        """
        return int(self._memory(**self.check(params)))

    def __call__(self, *inputs, out=None, **params):
        inputs, params = self._bind(inputs, params)
        planes = self._planes(inputs)
        shape = planes[0].shape if np.ndim(inputs[0]) == 2 else planes[0].shape[:1]
        dtype = (
            np.dtype("float32") if all(p.dtype.newbyteorder("=") == "float32" for p in planes) else np.dtype("float64")
        )
        outs = self._outs(out, shape, dtype, planes)
        if self._lookback(**params) >= len(planes[0]):
            for plane in outs:
                plane[...] = np.nan
        else:
            sentence = _with(self.sentence, params)
            run(sentence, Verbs(planes[0].shape[1], dtype), planes, outs)
        results = [plane if len(shape) == 2 else plane[:, 0] for plane in outs]
        if out is not None:
            return out
        results = [self._wrap(r, name, inputs) for r, name in zip(results, self.outputs, strict=True)]
        return results[0] if self._tuple is None else self._tuple(*results)

    def _bind(self, inputs: tuple, params: dict) -> tuple[tuple, dict]:
        """Inputs and checked parameters, whichever way they were given."""
        given = dict(params)
        inputs = list(inputs)
        for p, value in zip(self.params, inputs[len(self.inputs) :], strict=False):
            if p.name in given:
                raise ParameterError(f"{self.name}: {p.name} is given twice")
            given[p.name] = value
        extra = len(inputs) - len(self.inputs) - len(self.params)
        inputs = inputs[: len(self.inputs)] + [given.pop(n) for n in self.inputs[len(inputs) :] if n in given]
        if len(inputs) != len(self.inputs) or extra > 0:
            found = f"{len(inputs) + max(extra, 0)} inputs"
            raise ParameterError(f"{self.name}: found {found}, expected {len(self.inputs)}: {', '.join(self.inputs)}")
        return tuple(inputs), self.check(given)

    def _planes(self, inputs: Sequence) -> list[np.ndarray]:
        labelled = [(name, x) for name, x in zip(self.inputs, inputs, strict=True) if hasattr(x, "iloc")]
        for name, x in labelled[1:]:
            other, first = labelled[0]
            same = type(x) is type(first) and all(a.equals(b) for a, b in zip(x.axes, first.axes, strict=True))
            if not same:
                raise DataError(
                    f"{self.name}: the labels of {name} and {other} differ", hint="align them first, by .reindex"
                )
        planes = [as_plane(x, f"{self.name}: {n}") for n, x in zip(self.inputs, inputs, strict=True)]
        for name, plane in zip(self.inputs, planes, strict=True):
            if plane.shape != planes[0].shape:
                shapes = f"{plane.shape}, {self.inputs[0]} {planes[0].shape}"
                raise DataError(f"{self.name}: {name} has shape {shapes}; expected the same")
        return planes

    def _outs(self, out, shape: tuple, dtype: np.dtype, planes: list) -> list[np.ndarray]:
        if out is None:
            return [np.empty(planes[0].shape, dtype) for _ in self.outputs]
        given = [out] if self._tuple is None else out
        if not isinstance(given, (list, tuple)) or len(given) != len(self.outputs):
            expected = f"{len(self.outputs)} of them: {', '.join(self.outputs)}"
            raise ParameterError(f"{self.name}: out= is a {type(out).__name__}, expected a tuple of {expected}")
        outs = [as_out(o, shape, dtype, planes, self.name) for o in given]
        if any(np.may_share_memory(a, b) for i, a in enumerate(outs) for b in outs[:i]):
            raise ParameterError(f"{self.name}: the arrays of out= overlap", hint="pass one array for each output")
        return outs

    def _wrap(self, result: np.ndarray, name: str, inputs: Sequence):
        like = next((x for x in inputs if hasattr(x, "iloc")), None)
        if like is None:
            return result
        import pandas as pd

        if hasattr(like, "columns"):
            return pd.DataFrame(result, index=like.index, columns=like.columns, copy=False)
        return pd.Series(result.reshape(len(like)), index=like.index, name=like.name, copy=False)


def _named(name: str) -> Indicator:
    return indicators[name]


def _with(sentence: Callable, params: dict) -> Callable:
    return lambda k, *rows: sentence(k, *rows, **params)


FOREVER = 1 << 40  # rows: more than any panel has


def decay(kept: float) -> int:
    """Rows after which an average that keeps the share `kept` of itself a row has forgotten all but a hundredth."""
    return math.ceil(math.log(0.01) / math.log(kept)) if kept > 0 else 1


def indicator(
    *,
    lookback: Callable[..., int],
    range: tuple[float | None, float | None],
    source: str,
    convention: str,
    memory: Callable[..., int] | None = None,
    outputs: type | None = None,
    low: dict | None = None,
    rule: tuple[str, Callable[..., bool]] | None = None,
    cross_section: bool = False,
) -> Callable[[Callable], Indicator]:
    """Register a sentence of kernels as an indicator.

    Parameters
    ----------
    lookback : callable
        From the parameters to the number of rows of NaN at the head.
    range : tuple of (float or None)
        Least and largest value of every output; None where there is no bound.
    source : str
        Author and year.
    convention : str
        Seed, ddof, tie rule: whatever the references disagree on, and whom it follows.
    memory : callable, optional
        From the parameters to the rows after which a value has less than a hundredth of its weight left: of a
        recurrence (`decay`), or `FOREVER`. Default: `lookback`. Splits derive their embargo from it.
    outputs : NamedTuple class, optional
        Where there are several.
    low : dict, optional
        Least values of parameters, where they are not the usual ones.
    rule : tuple of (str, callable), optional
        What must hold between parameters, in words and as a predicate.
    cross_section : bool, default False
        Whether a value depends on the other symbols of its row.
    """

    def register(sentence: Callable) -> Indicator:
        entry = Indicator(
            sentence,
            lookback=lookback,
            memory=memory,
            range=range,
            source=source,
            convention=convention,
            outputs=outputs,
            low=low or {},
            rule=rule,
            cross_section=cross_section,
        )
        return indicators.add(entry.name, entry)

    return register


class Stream:
    """An indicator that is fed as the rows come; made by :func:`stream`. It pickles, and goes on from there."""

    def __init__(self, name: str, symbols: int, dtype: str, params: dict):
        self.indicator = indicators[name]
        self.params = self.indicator.check(params)
        self.symbols = Param("symbols", 1, low=1).check(symbols, "stream")
        dtype = np.dtype(dtype).name if not isinstance(dtype, str) else dtype
        self.dtype = np.dtype(Param("dtype", "float64", choices=("float64", "float32")).check(dtype, "stream"))
        self._verbs = Verbs(self.symbols, self.dtype)
        self._broken = False

    def __repr__(self) -> str:
        params = "".join(f", {k}={v!r}" for k, v in self.params.items())
        return f"stream({self.indicator.name!r}, symbols={self.symbols}, dtype={self.dtype.name!r}{params})"

    def update(self, *inputs) -> np.ndarray | tuple[np.ndarray, ...]:
        """The next rows.

        Parameters
        ----------
        *inputs : ndarray of shape (k, N)
            The same k rows of each of the indicator's inputs; of one symbol (k,) will do.

        Returns
        -------
        ndarray of shape (k, N), or a tuple of them
            The rows of the output that belong to them: the bits that one call on all rows would give.
        """
        names = self.indicator.inputs
        if len(inputs) != len(names):
            raise ParameterError(f"{self!r}: found {len(inputs)} inputs, expected {len(names)}: {', '.join(names)}")
        planes = self.indicator._planes(inputs)
        for name, x, plane in zip(names, inputs, planes, strict=True):
            if plane.shape[1] != self.symbols or (np.ndim(x) == 1 and self.symbols > 1):
                raise DataError(
                    f"{self!r}: {name} has shape {np.shape(x)}, expected (rows, {self.symbols})",
                    hint="one row of all symbols is x[None, :]",
                )
            if not np.can_cast(plane.dtype, self.dtype, "safe"):
                raise DataError(
                    f"{self!r}: {name} is {plane.dtype}, the stream is {self.dtype}",
                    hint="convert it, or pass dtype=",
                )
        outs = [np.empty(planes[0].shape, self.dtype) for _ in self.indicator.outputs]
        if self._broken:
            raise WorkbenchError(f"{self!r} was stopped within an update", hint="go on from a pickle, or start afresh")
        self._broken = True  # until all its kernels have come to the same row
        run(_with(self.indicator.sentence, self.params), self._verbs, planes, outs)
        self._broken = False
        outs = [o[:, 0] if np.ndim(inputs[0]) == 1 else o for o in outs]
        return outs[0] if self.indicator._tuple is None else self.indicator._tuple(*outs)


def stream(name: str, *, symbols: int = 1, dtype: str = "float64", **params) -> Stream:
    """An indicator to be fed a row, or a few, at a time.

    Parameters
    ----------
    name : str
        Of a registered indicator.
    symbols : int, default 1
        Columns of each input.
    dtype : {"float64", "float32"}
    **params
        The indicator's parameters.

    Examples
    --------
    >>> s = stream("sma", symbols=2, window=2)
    >>> s.update(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[nan, nan],
           [ 2.,  3.]])
    """
    return Stream(name, symbols, dtype, params)


def catalog() -> pd.DataFrame:
    """One row an indicator: inputs, outputs, parameters with defaults, look-back, range, source, convention."""
    import pandas as pd

    rows = [
        {
            "name": i.name,
            "summary": inspect.getdoc(i.sentence).splitlines()[0],
            "inputs": ", ".join(i.inputs),
            "outputs": ", ".join(i.outputs),
            "params": ", ".join(f"{p.name}={p.default}" for p in i.params),
            "lookback": i.lookback(),
            "range": i._bounds(),
            "source": i.source,
            "convention": i.convention,
        }
        for i in indicators.values()
    ]
    return pd.DataFrame(rows).set_index("name")
