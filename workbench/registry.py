"""One small table that every registered kind of thing lives in, and the parameters such a thing declares."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import ParameterError, RegistrationError, UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Param:
    """One declared parameter: it feeds the validation, the form and the sweep.

    Parameters
    ----------
    name : str
    default : int, float, bool or str
        Its type is the parameter's type. None only together with `optional` and `kind`.
    low, high : float, optional
        Inclusive bounds of a number.
    choices : tuple, optional
        The values that are allowed, where they can be listed.
    doc : str
        One line, with the unit.
    optional : bool, default False
        Whether None is allowed.
    kind : type, optional
        Of the values; taken from `default` when not given.
    log : bool, default False
        Whether a sweep should walk the range by factors.
    resolve : callable, optional
        ``resolve(params)`` -> what None stands for beside the other checked values. It takes the place of None when
        the values are checked, so that what is written down doesn't depend on where it is read. Default: None stays.
    """

    name: str
    default: object
    low: float | None = None
    high: float | None = None
    choices: tuple = ()
    doc: str = ""
    optional: bool = False
    kind: type | None = None
    log: bool = False
    resolve: Callable[[Mapping[str, object]], object] | None = None

    def __post_init__(self):
        if self.kind is None:
            object.__setattr__(self, "kind", type(self.default))
        if self.kind not in (int, float, bool, str, tuple):
            raise RegistrationError(f"parameter {self.name!r} has a default of kind {self.kind.__name__}")
        if self.resolve is not None and not self.optional:
            raise RegistrationError(f"parameter {self.name!r} resolves None, and isn't optional")

    def check(self, value: object, owner: str) -> object:
        """`value` as a plain Python value of this parameter's kind, or ParameterError."""
        if value is None and self.optional:
            return None
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if self.kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                raise ParameterError(f"{owner}: {self.name} is too large for a float", hint="at most 1.8e308") from None
        elif self.kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        elif self.kind is tuple and isinstance(value, list):
            value = tuple(value)
        if isinstance(value, float) and math.isnan(value) and self.kind in (int, float):
            raise ParameterError(
                f"{owner}: {self.name}={value!r} is NaN, expected a number", hint=f"the default is {self.default!r}"
            )
        if type(value) is not self.kind:
            raise ParameterError(
                f"{owner}: {self.name}={value!r} is {type(value).__name__}, expected {self.kind.__name__}",
                hint=f"the default is {self.default!r}",
            )
        if self.choices and value not in self.choices:
            nearest = UnknownNameError.of(self.name, value, self.choices).hint
            raise ParameterError(f"{owner}: {self.name}={value!r} is not a choice", hint=nearest)
        below = self.low is not None and value < self.low
        if below or (self.high is not None and value > self.high):
            low = "-inf" if self.low is None else self.low
            high = "inf" if self.high is None else self.high
            raise ParameterError(
                f"{owner}: {self.name}={value!r} is outside [{low}, {high}]",
                hint=f"the nearest valid value is {self.low if below else self.high}",
            )
        return value


def check_params(owner: str, schema: tuple[Param, ...], given: Mapping[str, object]) -> dict[str, object]:
    """Every parameter of `schema` with its checked value, in the schema's order; an unknown name is an error."""
    names = [p.name for p in schema]
    for name in given:
        if name not in names:
            hint = UnknownNameError.of("parameter", name, names).hint
            raise ParameterError(f"{owner} has no parameter {name!r}", hint=hint)
    checked = {p.name: p.check(given.get(p.name, p.default), owner) for p in schema}
    unsaid = [p for p in schema if p.resolve is not None and checked[p.name] is None]
    return checked | {p.name: p.check(p.resolve(checked), owner) for p in unsaid}


def _from_main(thing: object) -> bool:
    """Whether a thing, or a function that it holds, was defined in a notebook or a script."""
    held = (thing, *(thing if isinstance(thing, tuple) else getattr(thing, "__dict__", {}).values()))
    return any(callable(part) and getattr(part, "__module__", None) == "__main__" for part in held)


class Registry(Mapping[str, T], Generic[T]):
    """Names to things, in order of registration; an unknown name is answered with the nearest one.

    Parameters
    ----------
    kind : str
        What the things are called in messages, in the singular: ``"indicator"``.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register `thing` under `name`; a name is given once, but a cell of a notebook may be run again."""
        if not name.replace("-", "_").isidentifier():
            raise RegistrationError(f"{self.kind} name {name!r} is not an identifier")
        if name in self._things and not (_from_main(thing) and _from_main(self._things[name])):
            raise RegistrationError(f"{self.kind} {name!r} is already registered", hint="choose another name")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except (KeyError, TypeError):
            raise UnknownNameError.of(self.kind, name, self._things) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind}s: {', '.join(self._things)}>"
