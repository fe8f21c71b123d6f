"""Features: expressions over the fields of a panel, and recipes that compute many of them into one panel.

>>> momentum = feature("roc", window=20).zscore()
>>> momentum
feature("roc", window=20).zscore()
>>> Recipe([momentum, feature("sma", field("volume"), window=20) / field("volume")]).lookback
20

An expression is frozen. Its repr rebuilds it, and is what it is compared, hashed, cached and named by. All
that looks back in time or across symbols is an indicator, so that there is one implementation of it, and no
feature can see a later row than its own.

How a recipe is computed:

1. every field that is read is looked up in the panel, before anything is computed (`Recipe.compute`);
2. the distinct sub-expressions are counted, and one (F, T, N) block is allocated (`_Computation.__init__`);
3. each feature of the recipe is one task, run by threads (`compute.run`);
4. a sub-expression is computed by the first task that needs it, and the others wait for it
   (`_Computation.get`); one waits only for what is part of all that one has begun, so never in a circle;
5. a feature is computed straight into its plane of the block, and anything else into a plane of its own,
   that is let go after its last use.
"""

from __future__ import annotations

import json
import math
import numbers
import reprlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future

import numpy as np

from .compute import run
from .errors import ParameterError, UnknownNameError
from .indicators import indicators
from .panel import Panel
from .registry import Param

MAX_DEPTH = 100  # steps upon steps in one expression: what Python can still parse, pickle and walk through
MAX_TEXT = 100_000  # characters of a repr, in which what is used twice stands twice
DTYPE = Param("dtype", "float64", choices=("float64", "float32"), doc="of the features")


class Expression:
    """A frozen expression over the fields of a panel; made by `field`, `feature` and by arithmetic.

    ``+ - * /`` with another expression or a number, unary ``-`` and ``abs()`` work value by value; a result
    that is not finite, as of a division by zero, is NaN. Expressions are equal if their repr is. One of more than
    100 steps upon steps, or with a repr of more than 100,000 characters, is refused.

    Attributes
    ----------
    parts : tuple of Expression
        What it is computed from.
    """

    __slots__ = ("_depth", "_repr", "parts")
    __array_ufunc__ = None  # so that numpy scalars leave arithmetic to the expression

    parts: tuple[Expression, ...]

    def _freeze(self, text: str, parts: tuple[Expression, ...], **more) -> None:
        depth = 1 + max((part._depth for part in parts), default=0)
        if depth > MAX_DEPTH or len(text) > MAX_TEXT:
            raise ParameterError(
                f"the expression {text[:40]}... is {depth} steps deep and {len(text)} characters long, expected at"
                f" most {MAX_DEPTH} steps and {MAX_TEXT} characters",
                hint="compute a part of it into a field: panel.join(Recipe({name: part}).compute(panel))",
            )
        for name, value in {"_depth": depth, "_repr": text, "parts": parts, **more}.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object):
        raise AttributeError(f"{self!r} is frozen: {name!r} can't be set")

    def __delattr__(self, name: str):
        raise AttributeError(f"{self!r} is frozen: {name!r} can't be deleted")

    def __repr__(self) -> str:
        return self._repr

    def __eq__(self, other: object) -> bool:
        return self._repr == other._repr if isinstance(other, Expression) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._repr)

    def __bool__(self):
        raise TypeError(f"{self!r} has no truth value: it stands for numbers that are not computed yet")

    # ------------------------------------------------------------------ what it needs

    @property
    def lookback(self) -> int:
        """Rows before its own that it needs: so many of its first rows are NaN."""
        return max((part.lookback for part in self.parts), default=0)

    @property
    def memory(self) -> int:
        """Rows before its own that move it by more than a hundredth; at least its look-back (`Indicator.memory`)."""
        return max((part.memory for part in self.parts), default=0)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a panel that it reads, sorted."""
        return tuple(sorted({name for part in self.parts for name in part.fields}))

    @property
    def cross_section(self) -> bool:
        """Whether a value depends on other symbols of its row."""
        return any(part.cross_section for part in self.parts)

    def compute(self, panel: Panel) -> Panel:
        """The panel of this one feature, named by its repr."""
        return Recipe([self]).compute(panel)

    # ------------------------------------------------------------------ others made of it

    def rank(self) -> Expression:
        """Rank within the row, as a fraction in (0, 1]."""
        return feature("rank", self)

    def zscore(self) -> Expression:
        """Distance from the row's mean, in standard deviations of the row."""
        return feature("zscore", self)

    def lag(self, rows: int = 1) -> Expression:
        """The value `rows` rows ago; 0 is the expression itself."""
        if isinstance(rows, numbers.Integral) and not isinstance(rows, bool) and rows < 0:
            raise ParameterError(
                f"lag({rows}) would look {-rows} rows ahead",
                hint="what only the future knows is a label: workbench.labels",
            )
        return self if rows == 0 and not isinstance(rows, bool) else feature("lag", self, lag=rows)

    def __add__(self, other):
        return _arithmetic("+", self, other)

    def __radd__(self, other):
        return _arithmetic("+", other, self)

    def __sub__(self, other):
        return _arithmetic("-", self, other)

    def __rsub__(self, other):
        return _arithmetic("-", other, self)

    def __mul__(self, other):
        return _arithmetic("*", self, other)

    def __rmul__(self, other):
        return _arithmetic("*", other, self)

    def __truediv__(self, other):
        return _arithmetic("/", self, other)

    def __rtruediv__(self, other):
        return _arithmetic("/", other, self)

    def __neg__(self):
        return _Arithmetic("neg", (self,))

    def __abs__(self):
        return _Arithmetic("abs", (self,))


class _Field(Expression):
    """A field of the panel as it is."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self._freeze(f"field({_quoted(name)})", (), name=name)

    def __reduce__(self):
        return field, (self.name,)

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.name,)


class _Call(Expression):
    """An indicator of expressions: all of its outputs."""

    __slots__ = ("entry", "params")

    def __init__(self, entry, parts: tuple[Expression, ...], params: dict):
        self._freeze(_call_text(entry, parts, params, None), parts, entry=entry, params=params)

    def __reduce__(self):
        return _call, (self.entry.name, self.parts, self.params)

    @property
    def lookback(self) -> int:
        return super().lookback + self.entry.lookback(**self.params)

    @property
    def memory(self) -> int:
        return super().memory + self.entry.memory(**self.params)

    @property
    def cross_section(self) -> bool:
        return self.entry.cross_section or super().cross_section

    def evaluate(self, planes: list[np.ndarray], outs: list[np.ndarray]) -> None:
        self.entry(*planes, out=outs[0] if len(outs) == 1 else tuple(outs), **self.params)


class _Output(Expression):
    """One of the several outputs of an indicator; the call is shared by those who ask for another."""

    __slots__ = ("number",)

    def __init__(self, call: _Call, number: int):
        text = _call_text(call.entry, call.parts, call.params, call.entry.outputs[number])
        self._freeze(text, (call,), number=number)

    def __reduce__(self):
        return _Output, (self.parts[0], self.number)


class _Arithmetic(Expression):
    """A sum, difference, product, quotient, negative or absolute value."""

    __slots__ = ("operands", "operator")

    def __init__(self, operator: str, operands: tuple[Expression | float, ...]):
        texts = [repr(operand) for operand in operands]
        if operator in ("neg", "abs"):
            text = f"(-{texts[0]})" if operator == "neg" else f"abs({texts[0]})"
        else:
            text = f"({texts[0]} {operator} {texts[1]})"
        parts = tuple(o for o in operands if isinstance(o, Expression))
        self._freeze(text, parts, operator=operator, operands=operands)

    def __reduce__(self):
        return _Arithmetic, (self.operator, self.operands)

    def evaluate(self, planes: list[np.ndarray], outs: list[np.ndarray]) -> None:
        planes = iter(planes)
        values = [next(planes) if isinstance(o, Expression) else o for o in self.operands]
        with np.errstate(all="ignore"):
            _UFUNCS[self.operator](*values, out=outs[0])
        np.copyto(outs[0], np.nan, where=~np.isfinite(outs[0]))


_UFUNCS: dict[str, Callable] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "neg": np.negative,
    "abs": np.abs,
}


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call_text(entry, parts: tuple[Expression, ...], params: dict, output: str | None) -> str:
    """What rebuilds the call: its parameters are all spelled out, so that it means the same tomorrow."""
    if entry.name == "lag":
        return f"{parts[0]!r}.lag({params['lag']!r})"
    if entry.name in ("rank", "zscore") and all(p.default == params[p.name] for p in entry.params):
        return f"{parts[0]!r}.{entry.name}()"
    own = tuple(_Field(name) for name in entry.inputs)
    arguments = [_quoted(entry.name)]
    arguments += [] if parts == own else [repr(part) for part in parts]
    arguments += [] if output is None else [f"output={_quoted(output)}"]
    arguments += [f"{name}={_quoted(value)}" for name, value in params.items()]
    return f"feature({', '.join(arguments)})"


def _call(name: str, parts: tuple[Expression, ...], params: dict) -> _Call:
    return _Call(indicators[name], parts, params)


def field(name: str) -> Expression:
    """A field of the panel as it is.

    Parameters
    ----------
    name : str
        Looked up when the expression is computed.
    """
    if not isinstance(name, str) or not name:
        raise ParameterError(f"field({name!r}): expected the name of a field of the panel, a str")
    return _Field(name)


def feature(name: str, *inputs: Expression | str, output: str | None = None, **params) -> Expression:
    """An indicator of the panel's fields, or of other expressions.

    Parameters
    ----------
    name : str
        Of a registered indicator.
    *inputs : Expression or str
        In place of the fields that the indicator reads by itself, all of them in its order; a str is a field.
    output : str, optional
        Which one, of an indicator with several; by default the one that is called like the indicator.
    **params
        The indicator's parameters; those not given get its defaults, and are spelled out in the repr.

    Raises
    ------
    UnknownNameError
        No such indicator, or no such output.
    ParameterError
        A parameter that the indicator does not have or allow, or a wrong number of inputs.

    Examples
    --------
    >>> feature("rsi")
    feature("rsi", window=14)
    >>> feature("sma", field("close").lag(1), window=5) - 1
    (feature("sma", field("close").lag(1), window=5) - 1.0)
    """
    entry = indicators[name]
    checked = entry.check(params)
    parts = tuple(field(part) if isinstance(part, str) else part for part in inputs or entry.inputs)
    for part in parts:
        if not isinstance(part, Expression):
            raise ParameterError(
                f"{name}: the input {reprlib.repr(part)} is a {type(part).__name__}, expected an expression",
                hint=f"parameters are given by name: feature({_quoted(name)}, window=5); data come with compute(panel)",
            )
    if len(parts) != len(entry.inputs):
        raise ParameterError(
            f"{name} takes {len(entry.inputs)} inputs ({', '.join(entry.inputs)}), found {len(parts)}",
            hint="give all of them, or none",
        )
    call = _Call(entry, parts, checked)
    if len(entry.outputs) == 1:
        if output not in (None, *entry.outputs):
            raise UnknownNameError.of(f"output of {name}", output, entry.outputs)
        return call
    if output is None and name not in entry.outputs:
        raise ParameterError(
            f"{name} has {len(entry.outputs)} outputs, of which none is named",
            hint=f"output= one of {', '.join(entry.outputs)}",
        )
    output = name if output is None else output
    if output not in entry.outputs:
        raise UnknownNameError.of(f"output of {name}", output, entry.outputs)
    return _Output(call, entry.outputs.index(output))


def _arithmetic(operator: str, left: object, right: object):
    operands = []
    for operand in (left, right):
        if isinstance(operand, Expression):
            operands.append(operand)
        elif isinstance(operand, numbers.Real) and not isinstance(operand, (bool, np.bool_)):
            operands.append(_constant(operand))
        else:
            return NotImplemented
    return _Arithmetic(operator, tuple(operands))


def _constant(value: numbers.Real) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise ParameterError(f"a constant is a {type(value).__name__} too large for float64 (above 1.8e308)") from None
    if not math.isfinite(number):
        raise ParameterError(f"a constant is {value!r}, it must be finite")
    if isinstance(value, numbers.Integral) and int(value) != number:
        raise ParameterError(
            f"the constant {value} would be rounded to {number!r}: float64 can't hold all integers above 2**53",
            hint=f"{number!r}, if that is good enough",
        )
    return number


class Recipe(Mapping[str, Expression]):
    """Features by name, computed together; names are the fields of the panel that it gives.

    Parameters
    ----------
    features : mapping of str to Expression, or iterable of Expression
        Without names of their own they are named by their repr.

    Notes
    -----
    Recipes are equal if their repr is: unlike in a dict, the order counts, for it is the order of the fields in
    the panel.

    Raises
    ------
    ParameterError
        No feature, one that is no expression, or the same one twice.

    Examples
    --------
    >>> recipe = Recipe({"momentum": feature("roc", window=20).rank(), "rsi": feature("rsi")})
    >>> recipe.lookback
    20
    """

    def __init__(self, features: Mapping[str, Expression] | Iterable[Expression]):
        named = isinstance(features, Mapping)
        if isinstance(features, (Expression, str)):
            features = [features]
        if not isinstance(features, Iterable):
            raise ParameterError(
                f"a recipe is made of a {type(features).__name__}, expected features",
                hint='Recipe({"momentum": feature("roc", window=20)})',
            )
        pairs = list(features.items()) if named else [(repr(f), f) for f in features]
        for name, expression in pairs:
            if not isinstance(expression, Expression) or not isinstance(name, str):
                raise ParameterError(
                    f"a recipe got {name!r}: {expression!r}, expected a str and an expression"
                    if named
                    else f"a recipe got {expression!r}, expected an expression",
                    hint='expressions are made by feature("rsi"), field("close") and arithmetic',
                )
        if not pairs:
            raise ParameterError("a recipe has no features, expected at least one")
        if any(name != name.strip() or not name for name, _ in pairs):
            raise ParameterError("a recipe holds a feature whose name is empty, or has blanks around it")
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if twice:
            raise ParameterError(
                f"a recipe holds {twice[0]} twice",
                hint="leave one out, or name both: Recipe({name: feature})",
            )
        self._features = dict(pairs)
        self._named = named and any(name != repr(f) for name, f in pairs)

    def __getitem__(self, name: str) -> Expression:
        try:
            return self._features[name]
        except (KeyError, TypeError):
            raise UnknownNameError.of("feature", name, self._features) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def __repr__(self) -> str:
        if self._named:
            return f"Recipe({{{', '.join(f'{_quoted(n)}: {f!r}' for n, f in self.items())}}})"
        return f"Recipe([{', '.join(map(repr, self.values()))}])"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other) if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def lookback(self) -> int:
        """Rows before its own that a row of features needs."""
        return max(f.lookback for f in self.values())

    @property
    def memory(self) -> int:
        """Rows before its own that move a row of features by more than a hundredth: the panel's `lookback`."""
        return max(f.memory for f in self.values())

    @property
    def cross_section(self) -> bool:
        """Whether a value depends on other symbols of its row."""
        return any(f.cross_section for f in self.values())

    def compute(self, panel: Panel, *, workers: int | None = None, progress=None, dtype=None) -> Panel:
        """The panel of features, computed by threads.

        Parameters
        ----------
        panel : Panel
        workers : int, optional
            Threads; one for each CPU by default, 1 for none. The numbers are the same.
        progress : bool or callable, optional
            True: a progress bar; a callable is called as ``progress(done, total, name)``.
        dtype : {"float64", "float32"}, optional
            Of the result; the panel's by default. Computed is in the wider of the two.

        Returns
        -------
        Panel
            One field a feature, on the panel's time and symbols, NaN where a feature is not known.

        Raises
        ------
        UnknownNameError
            A field that the panel does not have.
        TaskError
            A feature that could not be computed, by name.
        DataError
            A value that is too large for float32, where that was asked for.
        """
        if not isinstance(panel, Panel):
            raise ParameterError(f"a recipe is computed on a Panel, found a {type(panel).__name__}")
        for name, expression in self.items():
            for needed in expression.fields:
                if needed not in panel.fields:
                    error = UnknownNameError.of("field", needed, panel.fields)
                    error.add_note(f"in the feature {name}")
                    raise error
        wanted = dtype if dtype is None or isinstance(dtype, str) else np.dtype(dtype).name
        wanted = DTYPE.check(wanted or panel.dtype.name, "recipe")
        computation = _Computation(self, panel.astype(np.result_type(panel.dtype, wanted)))
        tasks = [(name, computation.run, number) for number, name in enumerate(self)]
        run(tasks, how="threads", workers=workers, progress=progress, kind="feature")
        return computation.panel().astype(wanted)


class _Computation:
    """One computation of a recipe: the block, and what is computed once for all."""

    def __init__(self, recipe: Recipe, panel: Panel):
        self.recipe, self.source = recipe, panel
        self.features = list(recipe.values())
        self.block = np.empty((len(recipe), *panel.shape[1:]), panel.dtype)
        self.lock = threading.Lock()
        self.computed: dict[Expression, Future] = {}
        # the plane of the block that each feature is computed into: of equal ones, the first
        self.place: dict[Expression, int] = {}
        for number, expression in enumerate(self.features):
            self.place.setdefault(expression, number)
        self.uses = Counter(self.features)
        for expression in _distinct(self.features):
            self.uses.update(expression.parts)

    def run(self, number: int) -> None:
        """Feature `number` into its plane of the block."""
        expression = self.features[number]
        plane = self.get(expression)
        if not np.may_share_memory(plane, self.block[number]):
            self.block[number] = plane
        self.done(expression)

    def get(self, expression: Expression):
        """The plane of `expression`, or a plane for each output of a call; who comes first computes it."""
        if isinstance(expression, _Field):
            return self.source.plane(expression.name)
        with self.lock:
            future = self.computed.get(expression)
            mine = future is None
            if mine:
                future = self.computed[expression] = Future()
        if mine:
            try:
                future.set_result(self.evaluate(expression))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def evaluate(self, expression: Expression):
        planes = [self.get(part) for part in expression.parts]
        if isinstance(expression, _Output):
            result = planes[0][expression.number]
        else:
            several = isinstance(expression, _Call) and len(expression.entry.outputs) > 1
            outs = self.outs(expression, len(expression.entry.outputs) if several else 1)
            try:
                expression.evaluate(planes, outs)
            except Exception as error:
                error.add_note(f"in {expression!r}")
                raise
            result = outs if several else outs[0]
        for part in expression.parts:
            self.done(part)
        return result

    def outs(self, expression: Expression, count: int) -> list[np.ndarray]:
        """Where to compute to: places in the block for what the recipe asked for, new planes for the rest."""
        names = [expression] if count == 1 else [_Output(expression, number) for number in range(count)]
        shape, dtype = self.source.shape[1:], self.source.dtype
        places = [self.place.get(name) for name in names]
        return [np.empty(shape, dtype) if place is None else self.block[place] for place in places]

    def done(self, expression: Expression) -> None:
        """Let go of a plane after its last use."""
        with self.lock:
            self.uses[expression] -= 1
            if not self.uses[expression]:
                self.computed.pop(expression, None)

    def panel(self) -> Panel:
        self.block.flags.writeable = False
        return self.source.like(self.block, list(self.recipe), self.source.lookback + self.recipe.memory)


def _distinct(features: list[Expression]) -> set[Expression]:
    """The features and all that they are computed from, each once."""
    found, todo = set(), list(features)
    while todo:
        expression = todo.pop()
        if expression not in found:
            found.add(expression)
            todo.extend(expression.parts)
    return found
