"""What only the future knows: each label is a Panel of its values and of the span that each looks ahead.

A label stands on the row where it would have to be predicted. Its field ``span`` counts the rows after that
one which the label looks at: a label on row ``t`` with span 5 is moved by rows ``t`` to ``t + 5`` and by no
other. Purging and embargo are derived from it. It is counted in rows of the panel, for each symbol, and is
NaN where the label is. What a label takes from the past, such as the volatility that its barriers are scaled
by, is known on its row; how far back it goes is the panel's `lookback`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import DataError, ParameterError, RegistrationError
from .indicators import roc, stddev
from .kernels import kernels
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
    lookback : callable
        From the parameters to the rows before its own that a label is computed from.
    """

    name: str
    fields: tuple[str, ...]
    params: tuple[Param, ...]
    function: Callable[..., tuple[np.ndarray, ...]]
    lookback: Callable[..., int]

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
        params = check_params(self.name, self.params, by_place | kwargs)
        planes = self.function(panel, **params)
        with np.errstate(over="ignore"):
            values = np.stack(planes).astype(panel.dtype, copy=False)
        values[:, np.isinf(values).any(axis=0)] = np.nan  # more than the dtype holds is no label, and spans nothing
        values.flags.writeable = False
        return panel.like(values, self.fields, panel.lookback + self.lookback(**params))

    def __repr__(self) -> str:
        return f"<label {self.name}({', '.join(f'{p.name}={p.default!r}' for p in self.params)})>"

    def __reduce__(self) -> str:
        return self.name  # pickled by name, as a function is


def label(
    *params: Param, fields: tuple[str, ...] = (), lookback: Callable[..., int] = lambda **params: 0
) -> Callable[[Callable], Label]:
    """Register the decorated function as a label: its panel has the fields (name, `fields`, ``"span"``).

    Parameters
    ----------
    params : Param
        What the function takes besides the panel, in its order.
    fields : tuple of str, optional
        What the function returns between the label and its span.
    lookback : callable, optional
        From the parameters to the rows before its own that a label is computed from. Default: none.

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
        entry = Label(name, (name, *fields, SPAN), params, function, lookback)
        for attribute in ("__doc__", "__module__", "__name__", "__qualname__"):
            object.__setattr__(entry, attribute, getattr(function, attribute))
        object.__setattr__(entry, "__signature__", signature)
        return labels.add(name, entry)

    return register


HORIZON = Param("horizon", 1, low=1, doc="rows between the two prices")
PRICE = Param("price", "close", doc="field that the return is taken from")
QUANTILES = Param("quantiles", 5, low=2, doc="number of classes")
BARRIERS = (
    Param("horizon", 10, low=1, doc="rows ahead of the vertical barrier"),
    Param("up", 2.0, low=0, doc="distance of the upper barrier, in volatilities; 0 leaves it out"),
    Param("down", 2.0, low=0, doc="distance of the lower barrier, in volatilities; 0 leaves it out"),
    Param("window", 20, low=2, doc="rows whose returns the volatility is taken from"),
    Param("touch", "close", choices=("close", "range"), doc="what touches: the price, or the bar's high and low"),
    PRICE,
)


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


@label(HORIZON, QUANTILES, PRICE)
def forward_quantile(panel: Panel, horizon: int = 1, quantiles: int = 5, price: str = "close"):
    """The quantile class of `forward_return` among the symbols of its row: 0 the lowest, `quantiles` - 1 the highest.

    The classes of `pandas.qcut`: a return belongs to the first of the row's sample quantiles (Hyndman and Fan, 1996,
    type 7) that it does not exceed, here by whole numbers, without rounding. Equal returns share a class, so that
    with ties a class may stay empty. A row with fewer known returns than classes has none. Adding a symbol may move
    the classes of the others.

    Parameters
    ----------
    panel : Panel
        At least as many symbols as classes.
    horizon : int, default 1
        Rows, at least 1 and less than the panel has.
    quantiles : int, default 5
        At least 2.
    price : str, default "close"

    Returns
    -------
    Panel
        Fields ``forward_quantile`` and ``span`` (`horizon` wherever there is a label), in the panel's dtype.

    Raises
    ------
    ParameterError
        More classes than symbols; or as `forward_return`.
    DataError, UnknownNameError
        As `forward_return`.
    """
    columns = len(panel.symbols)
    if quantiles > columns:
        raise ParameterError(
            f"forward_quantile: quantiles={quantiles} of a cross-section of {columns} symbols",
            hint=f"the nearest valid value is {columns}" if columns > 1 else "forward_sign needs no cross-section",
        )
    value, span = _forward("forward_quantile", panel, horizon, price)
    order = np.argsort(value, axis=1, kind="stable")  # NaN last
    ordered = np.take_along_axis(value, order, axis=1)
    place = np.broadcast_to(np.arange(columns), value.shape).copy()
    place[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0
    place = np.maximum.accumulate(place, axis=1)  # of the first of its equals
    known = np.isfinite(value).sum(axis=1, keepdims=True)
    classes = np.empty(value.shape)
    np.put_along_axis(classes, order, np.maximum((place * quantiles - 1) // np.maximum(known - 1, 1), 0), axis=1)
    missing = np.isnan(value) | (known < quantiles)
    return np.where(missing, np.nan, classes), np.where(missing, np.nan, span)


@label(*BARRIERS, fields=("touch_return", "width"), lookback=lambda window, **params: window)
def triple_barrier(
    panel: Panel,
    horizon: int = 10,
    up: float = 2.0,
    down: float = 2.0,
    window: int = 20,
    touch: str = "close",
    price: str = "close",
):
    """Which barrier the price touches first: 1 the upper, -1 the lower, 0 neither within `horizon` rows.

    The barriers stand at ``price[t] * (1 + up * width)`` and ``price[t] * (1 - down * width)``; `width` is the
    standard deviation (ddof=1) of the simple returns of the last `window` rows up to ``t``, one row each, as it is:
    it is not scaled to the horizon. A price that comes to stand on a barrier touches it. The span is the number of
    rows to the touch: of all that comes after it the label knows nothing.

    By ``touch="range"`` the high touches the upper barrier and the low the lower one, at the barrier, or at the
    nearest price of a bar that lies wholly beyond it. Where one bar touches both, the lower one counts: the order
    within a bar is not known, and a stop that may have been hit has been hit.

    There is no label where the volatility is missing (any of the last `window` + 1 prices is) or zero up to the
    rounding of prices, and on the last `horizon` rows, even where a barrier was touched: the quick ones alone would be
    no fair sample. A row ahead with a missing price touches nothing; where it is the last one and nothing was touched,
    there is no label.

    Parameters
    ----------
    panel : Panel
    horizon : int, default 10
        Rows, at least 1 and less than the panel has.
    up, down : float, default 2.0
        Distances in volatilities; 0 leaves that barrier out.
    window : int, default 20
        Rows, at least 2.
    touch : {"close", "range"}, default "close"
        Whether `price` has to come to the barrier, or the bar's high or low (fields ``high`` and ``low``).
    price : str, default "close"

    Returns
    -------
    Panel
        Fields ``triple_barrier``, ``touch_return`` (the simple return to the touch), ``width`` and ``span``, in the
        panel's dtype; `lookback` is `window` rows more than the panel's.

    Raises
    ------
    ParameterError
        Neither barrier, a horizon that is too short, or one that reaches over the end from every row.
    DataError
        A price that is zero, negative or infinite; by ``touch="range"`` one that lies outside its bar.
    UnknownNameError
        A price field that the panel does not have.

    Notes
    -----
    Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 3, whose code touches beyond a
    barrier only, gives the sign of the return where none was touched, and takes an exponentially weighted
    volatility, which has no end to its look-back.
    """
    _reaches("triple_barrier", panel, horizon)
    if up == down == 0:
        raise ParameterError(
            "triple_barrier: up=0.0 and down=0.0 leave out both barriers", hint="forward_return has none"
        )
    close = high = low = positive_prices(panel, price)
    if touch == "range":
        high, low = positive_prices(panel, "high"), positive_prices(panel, "low")
        _check_bars(panel, price, close, high, low)
    width = stddev(roc(close.astype(np.float64, copy=False), window=1) / 100, window=window, ddof=1)
    side, move, span = np.empty((3, *close.shape))
    width[width <= 4 * np.finfo(close.dtype).eps] = 0.0  # what the rounding of prices leaves of none
    state = np.empty((0, close.shape[1]))
    kernels["triple_barrier"].call([close, high, low, width], [horizon, up, down], state, [side, move, span])
    return side, move, np.where(np.isnan(side), np.nan, width), span


def _check_bars(panel: Panel, price: str, close: np.ndarray, high: np.ndarray, low: np.ndarray) -> None:
    """DataError where a price lies outside its bar: prices of two scales would touch where nothing was touched."""
    outside = (close > high) | (close < low)
    if outside.any():
        t, j = np.argwhere(outside)[0]
        raise DataError(
            f"triple_barrier: {price} of {panel.symbols[j]!r} at {panel.time[t]} is {close[t, j]}, outside its bar "
            f"from {low[t, j]} to {high[t, j]}; there are {int(outside.sum())} such prices",
            hint="adjust the whole bar (panel.adjusted()), correct the bar, or touch='close'",
        )


def _reaches(name: str, panel: Panel, horizon: int) -> None:
    """ParameterError where a horizon reaches over the end from every row."""
    rows = len(panel.time)
    if horizon >= rows:
        hint = f"the nearest valid value is {rows - 1}" if rows > 1 else "a label needs at least two rows"
        raise ParameterError(f"{name}: horizon={horizon} looks over the end from each of {rows} rows", hint=hint)


def _forward(name: str, panel: Panel, horizon: int, price: str) -> tuple[np.ndarray, np.ndarray]:
    """Forward return and its span, in double."""
    _reaches(name, panel, horizon)
    prices = positive_prices(panel, price).astype(np.float64, copy=False)
    value = np.full(prices.shape, np.nan)
    with np.errstate(over="ignore"):
        np.divide(prices[horizon:], prices[:-horizon], out=value[:-horizon])
    value -= 1
    value[np.isinf(value)] = np.nan
    return value, np.where(np.isnan(value), np.nan, float(horizon))


def uniqueness(label: Panel) -> Panel:
    """The average uniqueness of each label: how little of what it looks at other labels look at too.

    A label on row ``t`` with span ``s`` is made of the moves into rows ``t + 1`` to ``t + s``. The uniqueness of such
    a row is one over the number of the symbol's labels that it belongs to, that of the label the mean over its rows:
    1 where it shares none, 1 / `horizon` amidst forward returns of `horizon` rows. A label of span 0 is made of no
    move, and counts as 1. Other symbols are not looked at, however alike they move.

    Parameters
    ----------
    label : Panel
        As the labels of this module: the label first, and the field ``span``. Leave out, as NaN, what is not trained
        on: it crowds the others.

    Returns
    -------
    Panel
        Field ``weight``, in (0, 1], NaN where there is no label: weights for the samples of a fit.

    Raises
    ------
    DataError
        A panel without spans, or with impossible ones.

    Notes
    -----
    Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 4, as in the text and the example
    of section 4.5.3; its snippet 4.1 also counts the row that a label stands on.
    """
    values, span = label_planes(label)
    rows, columns = values.shape
    t, j = np.nonzero(~np.isnan(values))
    s = span[t, j].astype(np.intp)
    end = t + s
    shape = (int(end.max(initial=rows - 1)) + 2, columns)
    begins, ends = (np.bincount((at + 1) * columns + j, minlength=shape[0] * columns) for at in (t, end))
    crowd = np.cumsum((begins - ends).reshape(shape), axis=0)
    share = np.cumsum(np.divide(1.0, crowd, out=np.zeros(shape), where=crowd > 0), axis=0)
    weight = np.full((rows, columns), np.nan)
    weight[t, j] = np.where(s > 0, np.minimum((share[end, j] - share[t, j]) / np.maximum(s, 1), 1.0), 1.0)
    return label.like(weight.astype(label.dtype, copy=False), "weight")


def label_planes(label: Panel) -> tuple[np.ndarray, np.ndarray]:
    """The label and its span, both (T, N); DataError unless each known label has a possible span."""
    if not isinstance(label, Panel):
        raise ParameterError(f"the label is a {type(label).__name__}, expected a Panel", hint="forward_return(bars)")
    if SPAN not in label.fields or label.fields[0] == SPAN:
        raise DataError(
            f"a label is a panel of its values, first, and their span; found {', '.join(label.fields)}",
            hint="workbench.labels makes such panels: forward_return(bars, horizon=5)",
        )
    values, span = label.values[0].astype(float), label.plane(SPAN).astype(float)
    known = ~np.isnan(values)
    rounded = np.where(known, np.nan_to_num(span, nan=-1.0, posinf=-1.0), 0.0)
    for wrong, said in (
        (np.isinf(values), "is infinite"),
        ((rounded < 0) | (rounded != np.floor(rounded)), "has a span that is no number of rows"),
    ):
        if wrong.any():
            t, j = np.argwhere(wrong)[0]
            raise DataError(
                f"the label {label.fields[0]} of {label.symbols[j]} at {label.time[t]} {said}: "
                f"{values[t, j]}, span {span[t, j]}",
                hint="missing is NaN; a span counts the rows after its own that the label looks at",
            )
    return values, span


def last_rows(values: np.ndarray, span: np.ndarray) -> np.ndarray:
    """The last row that each label looks at, (T, N), of the planes of a label; -1 where there is none."""
    missing = np.isnan(values)
    rows = np.arange(len(values))[:, np.newaxis]
    return np.where(missing, -1, rows + np.where(missing, 0, span).astype(np.intp))
