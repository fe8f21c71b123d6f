"""What only the future knows: each label is a Panel of its values and of the span that each looks ahead.

A label stands on the row where it would have to be predicted. Its field ``span`` counts the rows after that
one which the label looks at: a label on row ``t`` with span 5 is moved by rows ``t`` to ``t + 5`` and by no
other. Purging and embargo are derived from it. It is counted in rows of the panel, for each symbol, and is
NaN where the label is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import ParameterError, RegistrationError
from .panel import Panel, positive_prices
from .registry import Param, Registry, check_params

SPAN = "span"
labels: Registry[Label] = Registry("label")


@dataclass(frozen=True, eq=False)
class Label:
    """One registered kind of label; call it with a panel and its parameters.

    Parameters
    ----------
    name : str
        Also the first field of the panel that it gives.
    fields : tuple of str
        Of that panel; the last is ``"span"``.
    params : tuple of Param
    function : callable
        From a panel and checked parameters to one (T, N) array a field.
    """

    name: str
    fields: tuple[str, ...]
    params: tuple[Param, ...]
    function: Callable[..., tuple[np.ndarray, ...]]

    def __call__(self, panel: Panel, *args, **kwargs) -> Panel:
        if not isinstance(panel, Panel):
            raise ParameterError(
                f"{self.name}: found a {type(panel).__name__}, expected a Panel", hint="Panel.from_frame(df)"
            )
        if len(args) > len(self.params):
            names = ", ".join(p.name for p in self.params)
            raise ParameterError(f"{self.name} takes {len(self.params)} parameters ({names}), found {len(args)}")
        by_place = {p.name: value for p, value in zip(self.params, args, strict=False)}
        twice = by_place.keys() & kwargs.keys()
        if twice:
            raise ParameterError(f"{self.name}: {min(twice)} is given twice", hint="give parameters by name")
        planes = self.function(panel, **check_params(self.name, self.params, by_place | kwargs))
        with np.errstate(over="ignore"):
            values = np.stack(planes).astype(panel.dtype, copy=False)
        values[:, np.isinf(values).any(axis=0)] = np.nan  # more than the dtype holds is no label, and spans nothing
        values.flags.writeable = False
        return panel.like(values, self.fields)

    def __repr__(self) -> str:
        return f"<label {self.name}({', '.join(f'{p.name}={p.default!r}' for p in self.params)})>"

    def __reduce__(self) -> str:
        return self.name  # pickled by name, as a function is


def label(*params: Param, fields: tuple[str, ...] = ()) -> Callable[[Callable], Label]:
    """Register the decorated function as a label: its panel has the fields (name, `fields`, ``"span"``).

    Parameters
    ----------
    params : Param
        What the function takes besides the panel, in its order.
    fields : tuple of str, optional
        What the function returns between the label and its span.

    Raises
    ------
    RegistrationError
        Where the function has no docstring, or takes other parameters than it declares.
    """

    def register(function: Callable) -> Label:
        name = function.__name__
        signature = inspect.signature(function)
        if not function.__doc__:
            raise RegistrationError(f"label {name!r} says nothing of itself", hint="give it a docstring")
        if [*signature.parameters][1:] != [p.name for p in params]:
            raise RegistrationError(f"label {name!r} takes {signature}, which is not what it declares")
        entry = Label(name, (name, *fields, SPAN), params, function)
        for attribute in ("__doc__", "__module__", "__name__", "__qualname__"):
            object.__setattr__(entry, attribute, getattr(function, attribute))
        object.__setattr__(entry, "__signature__", signature)
        return labels.add(name, entry)

    return register


HORIZON = Param("horizon", 1, low=1, doc="rows between the two prices")
PRICE = Param("price", "close", doc="field that the return is taken from")


@label(HORIZON, PRICE)
def forward_return(panel: Panel, horizon: int = 1, price: str = "close") -> tuple[np.ndarray, ...]:
    """The simple return from a row's price to the price `horizon` rows later.

    ``price[t + horizon] / price[t] - 1``, as a fraction; NaN where either price is missing, on the last
    `horizon` rows, and where it is more than the panel's dtype can hold. Prices in between play no part. Taken
    from prices as they are: adjust them for splits first (``panel.adjusted()``).

    Parameters
    ----------
    panel : Panel
    horizon : int, default 1
        Rows, at least 1 and less than the panel has.
    price : str, default "close"

    Returns
    -------
    Panel
        Fields ``forward_return`` and ``span`` (`horizon` wherever there is a label), in the panel's dtype.

    Raises
    ------
    ParameterError
        A horizon that is too short, or that reaches over the end from every row.
    DataError
        A price that is zero, negative or infinite.
    UnknownNameError
        A price field that the panel does not have.
    """
    return _forward("forward_return", panel, horizon, price)


@label(HORIZON, PRICE)
def forward_sign(panel: Panel, horizon: int = 1, price: str = "close") -> tuple[np.ndarray, ...]:
    """The direction of `forward_return`: 1 up, -1 down, 0 unchanged, NaN where there is no return.

    Parameters
    ----------
    panel : Panel
    horizon : int, default 1
        Rows, at least 1 and less than the panel has.
    price : str, default "close"

    Returns
    -------
    Panel
        Fields ``forward_sign`` and ``span`` (`horizon` wherever there is a label), in the panel's dtype.

    Raises
    ------
    ParameterError, DataError, UnknownNameError
        As `forward_return`.
    """
    value, span = _forward("forward_sign", panel, horizon, price)
    return np.sign(value), span


def _forward(name: str, panel: Panel, horizon: int, price: str) -> tuple[np.ndarray, np.ndarray]:
    """Forward return and its span, in double."""
    rows = len(panel.time)
    if horizon >= rows:
        hint = f"the nearest valid value is {rows - 1}" if rows > 1 else "a label needs at least two rows"
        raise ParameterError(f"{name}: horizon={horizon} looks over the end from each of {rows} rows", hint=hint)
    prices = positive_prices(panel, price).astype(np.float64, copy=False)
    value = np.full(prices.shape, np.nan)
    with np.errstate(over="ignore"):
        np.divide(prices[horizon:], prices[:-horizon], out=value[:-horizon])
    value -= 1
    value[np.isinf(value)] = np.nan
    return value, np.where(np.isnan(value), np.nan, float(horizon))
