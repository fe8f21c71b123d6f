"""What a model is called, what may be set on it, and the spec that says which one is meant.

Nothing here imports scikit-learn or torch: a family file declares its models, and imports what they stand on
inside the factory, so that a spec can be written, stored, compared and hashed in a few microseconds.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import DataError, ParameterError, RegistrationError, UnknownNameError
from ..registry import Param, Registry, check_params

TASKS = ("regression", "classification")
COSTS = ("low", "medium", "high")
HOWS = ("threads", "processes")
DTYPES = ("float64", "float32")
SEED = Param("seed", 0, low=0, high=2**32 - 1, doc="Of every random draw that the model makes.")
_SOURCE = re.compile(r"Source:.*?\b(1[6-9]|20)\d\d\b", re.DOTALL)
_RESERVED = {"name", "params", "seed"}


@dataclass(frozen=True)
class SizesParam(Param):
    """A tuple of whole numbers, each within [`low`, `high`]: the layers of a network.

    Parameters
    ----------
    longest : int, default 8
        The most numbers that the tuple may hold; the least is one.
    """

    longest: int = 8

    def check(self, value: object, owner: str) -> object:
        """`value` as a tuple of ints, or ParameterError."""
        if not isinstance(value, (tuple, list)) or not 1 <= len(value) <= self.longest:
            raise ParameterError(
                f"{owner}: {self.name}={value!r} is not a tuple of 1 to {self.longest} whole numbers",
                hint=f"the default is {self.default!r}",
            )
        each = [Param(f"{self.name}[{i}]", 1, self.low, self.high) for i in range(len(value))]
        return tuple(p.check(v, owner) for p, v in zip(each, value, strict=True))


@dataclass(frozen=True)
class Model:
    """A registered model: what the catalogue shows, what the form offers, and how it is built.

    Parameters
    ----------
    name : str
    params : tuple of Param
        All that a spec may set, with ranges; it feeds the validation, the form and the sweep.
    task : {"regression", "classification"}
    library : str
        The package that the estimator stands on.
    cost : {"low", "medium", "high"}
        Of one fit, beside the other models.
    how : {"threads", "processes"}
        How its fits run beside each other: on threads where they let go of the GIL.
    lookback : callable or None
        ``lookback(**params)`` -> rows before its own whose features a prediction reads; None: none.
    baseline : bool
        Whether one compares with it, and doesn't choose it: such a model is no trial.
    dtype : {"float64", "float32"}
        That it computes in with features: it is handed them so, and need not copy them.
    summary : str
        The first line of the factory's docstring.
    factory : callable
        ``factory(params, seed)`` -> a new, unfitted scikit-learn estimator.
    """

    name: str
    params: tuple[Param, ...]
    task: str
    library: str
    cost: str
    how: str
    lookback: Callable[..., int] | None
    baseline: bool
    dtype: str
    summary: str
    factory: Callable[[dict[str, object], int], object]


models: Registry[Model] = Registry("model")


def _estimator_factory(name: str, cls: type, params: tuple[Param, ...]) -> Callable:
    """A factory for an estimator class; the seed goes to its ``random_state`` where it has one."""
    accepted = inspect.signature(cls).parameters
    missing = [p.name for p in params if p.name not in accepted]
    if missing:
        raise RegistrationError(f"model {name!r}: {cls.__name__} does not take {', '.join(missing)}")
    seeded = "random_state" in accepted

    def factory(given, seed):
        return cls(**given, **({"random_state": seed} if seeded else {}))

    factory.__module__ = cls.__module__  # where it was defined: a notebook may define it again
    return factory


def _check_declaration(name: str, target: Callable, params: tuple, library: str, **choices: tuple) -> None:
    """RegistrationError unless the declaration is whole; `choices` has what was chosen, and among what."""
    document = inspect.getdoc(target) if target.__doc__ else None
    if not document:
        raise RegistrationError(f"model {name!r} has no docstring", hint="say in one line what it predicts")
    if not _SOURCE.search(document):
        raise RegistrationError(
            f"model {name!r} names no source", hint="add a line 'Source: author, year' to its docstring"
        )
    if not isinstance(params, tuple) or not all(isinstance(p, Param) for p in params):
        raise RegistrationError(f"model {name!r}: params must be a tuple of Param, found {params!r}")
    names = [p.name for p in params]
    if len(set(names)) < len(names) or _RESERVED & set(names):
        raise RegistrationError(f"model {name!r}: parameter names {names} repeat or use one of {sorted(_RESERVED)}")
    undescribed = [p.name for p in params if not p.doc]
    if undescribed:
        raise RegistrationError(f"model {name!r}: no doc for {', '.join(undescribed)}")
    for what, (value, allowed) in choices.items():
        if value not in allowed:
            raise RegistrationError(f"model {name!r}: {what}={value!r}, expected one of {', '.join(allowed)}")
    if not library or not isinstance(library, str):
        raise RegistrationError(f"model {name!r}: library={library!r}, expected the package it stands on")
    try:
        check_params(name, params, {})
    except ParameterError as error:
        raise RegistrationError(f"model {name!r}: a default breaks its own rule: {error.message}") from error


def model(
    name: str,
    *,
    params: tuple[Param, ...],
    task: str = "regression",
    library: str = "scikit-learn",
    cost: str = "low",
    how: str = "threads",
    lookback: Callable[..., int] | None = None,
    baseline: bool = False,
    dtype: str = "float64",
) -> Callable:
    """Register a factory ``(params, seed) -> estimator``, or an estimator class, as a model.

    Parameters
    ----------
    name : str
        What a spec calls it; an identifier.
    params : tuple of Param
        Every parameter with its range and one line of doc; may be empty.
    task : {"regression", "classification"}, default "regression"
    library : str, default "scikit-learn"
        The package that the estimator stands on.
    cost : {"low", "medium", "high"}, default "low"
    how : {"threads", "processes"}, default "threads"
        "processes" where a fit holds the GIL for most of its time.
    lookback : callable, optional
        ``lookback(**params)`` -> rows before its own whose features a prediction reads, beyond what the features
        themselves look back. Default: none.
    baseline : bool, default False
        Whether one compares with it, and doesn't choose it: such a model is not counted as a trial.
    dtype : {"float64", "float32"}, default "float64"
        "float32" where it turns features into that anyway: it is handed them so, and folds share them.

    Returns
    -------
    callable
        The decorator; it gives back what it decorates, unchanged.

    Raises
    ------
    RegistrationError
        Where the docstring, its ``Source: author, year`` or a part of the schema is missing: at import, not
        at use.
    """

    def register(target):
        choices = {"task": (task, TASKS), "cost": (cost, COSTS), "how": (how, HOWS), "dtype": (dtype, DTYPES)}
        _check_declaration(name, target, params, library, **choices)
        if isinstance(target, type):
            factory = _estimator_factory(name, target, params)
        else:
            factory = target
            try:
                inspect.signature(factory).bind({}, 0)
            except TypeError as error:
                raise RegistrationError(f"model {name!r}: the factory must take (params, seed): {error}") from error
        summary = inspect.getdoc(target).split("\n", 1)[0]
        models.add(name, Model(name, params, task, library, cost, how, lookback, baseline, dtype, summary, factory))
        return target

    return register


@dataclass(frozen=True, init=False, repr=False)
class ModelSpec:
    """Which model, with which parameters and seed: immutable, hashable, JSON, and the truth about a fit.

    Every parameter that is not given is filled in with its default, so two specs that mean the same are
    equal.

    Parameters
    ----------
    name : str
        A registered model; `workbench.models.catalog` lists them.
    params : mapping, optional
        What differs from the defaults.
    seed : int, default 0
        Of every random draw of the model, 0 to 2**32 - 1.

    Attributes
    ----------
    params : read-only mapping
        Every parameter, in the order of the model's schema.
    key : str
        sha256 of the JSON form, the same in every process and version of Python.

    Raises
    ------
    UnknownNameError
        No such model; the hint names the nearest.
    ParameterError
        No such parameter, or a value of the wrong kind or outside its range.

    Examples
    --------
    >>> spec = ModelSpec("ridge", {"alpha": 10})
    >>> spec
    ModelSpec('ridge', {'alpha': 10.0}, seed=0)
    >>> spec.replace(alpha=3.0).to_json()
    '{"name":"ridge","params":{"alpha":3.0},"seed":0}'
    """

    name: str
    _items: tuple[tuple[str, object], ...]
    seed: int

    def __init__(self, name: str, params: Mapping[str, object] | None = None, seed: int = 0):
        entry = models[name]
        given = {} if params is None else params
        if not isinstance(given, Mapping):
            raise ParameterError(
                f"{name}: params is {type(given).__name__}, expected a mapping",
                hint=f"ModelSpec({name!r}, {{'name': value}})",
            )
        checked = check_params(name, entry.params, given)
        for key, value in checked.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ParameterError(f"{name}: {key}={value!r} is not finite")
        # -0.0 equals 0.0 but is written otherwise: one form only, so that equal specs have equal keys.
        items = tuple((k, v + 0.0 if isinstance(v, float) else v) for k, v in checked.items())
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "seed", SEED.check(seed, name))

    @property
    def params(self) -> Mapping[str, object]:
        return MappingProxyType(dict(self._items))

    @property
    def key(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __repr__(self) -> str:
        return f"ModelSpec({self.name!r}, {dict(self._items)!r}, seed={self.seed})"

    def replace(self, *, seed: int | None = None, **params: object) -> ModelSpec:
        """A new spec with these parameters (and seed) changed.

        Parameters
        ----------
        seed : int, optional
            The new seed; unchanged when not given.
        **params
            The parameters that change.
        """
        return ModelSpec(self.name, {**self.params, **params}, self.seed if seed is None else seed)

    @property
    def lookback(self) -> int:
        """Rows before its own whose features a prediction reads, beyond what the features themselves look back."""
        reach = models[self.name].lookback
        return 0 if reach is None else int(reach(**self.params))

    def build(self):
        """A new, unfitted scikit-learn estimator."""
        return models[self.name].factory(dict(self._items), self.seed)

    def to_json(self) -> str:
        """Compact JSON with sorted keys: equal specs give equal text."""
        content = {"name": self.name, "params": dict(self._items), "seed": self.seed}
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelSpec:
        """The spec that `to_json` wrote.

        Raises
        ------
        DataError
            The text is no JSON, or not that of a spec.
        UnknownNameError, ParameterError
            As at construction.
        """
        try:
            content = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"a model spec is not JSON: {error}", hint="ModelSpec.to_json writes it") from error
        if not isinstance(content, dict) or "name" not in content:
            raise DataError(f"the JSON of a model spec is an object with a name, found {str(text)[:80]!r}")
        unknown = sorted(set(content) - _RESERVED)
        if unknown:
            hint = UnknownNameError.of("entry", unknown[0], _RESERVED).hint
            raise DataError(f"the JSON of a model spec has no entry {unknown[0]!r}", hint=hint)
        return cls(content["name"], content.get("params"), content.get("seed", 0))


def _described(param: Param) -> str:
    """``alpha=1.0 [1e-06, 1e+12]``: a parameter's default and range, for the catalogue."""
    extent = ""
    if param.choices:
        extent = " {" + ", ".join(map(str, param.choices)) + "}"
    elif param.low is not None or param.high is not None:
        low, high = "-inf" if param.low is None else param.low, "inf" if param.high is None else param.high
        extent = f" [{low}, {high}]"
    return f"{param.name}={param.default!r}{extent}{' or None' if param.optional else ''}"


def catalog():
    """Every registered model, one a row.

    Returns
    -------
    DataFrame
        Columns name, task, library, cost, params (name=default [range], parted by semicolons), summary.
    """
    import pandas as pd

    columns = ["name", "task", "library", "cost", "params", "summary"]
    rows = [
        (m.name, m.task, m.library, m.cost, "; ".join(map(_described, m.params)), m.summary) for m in models.values()
    ]
    return pd.DataFrame(rows, columns=columns)
