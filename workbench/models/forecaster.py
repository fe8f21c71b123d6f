"""A series, or several, and what a model of their own past says comes next: for macro data, beside the walk."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, ParameterError, UnknownNameError
from ..panel import Panel
from .spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd


class Forecaster:
    """A model of its own past for each of one or several series.

    Parameters
    ----------
    data : Series, DataFrame or Panel of one field
        One column a series, over a regular index of dates, periods or numbers; missing is NaN. Prices and levels go in
        as they are, with ``d=1``, or as logarithms.
    spec : ModelSpec, optional
        Default: ``ModelSpec("arima")``, the only model that forecasts series.

    Attributes
    ----------
    history : DataFrame of shape (T, N)
        What it was fitted to.
    estimator : ArimaRegressor
        With ``converged_`` and all else that was found.

    Raises
    ------
    DataError
        Data that are no numbers, infinite, out of order, or not one value known; an index without a step.
    ParameterError
        A spec of another model, or orders that contradict each other.

    Warns
    -----
    UserWarning
        A series is too short for any ARMA term: its mean, or a random walk, is forecast.

    Examples
    --------
    >>> cpi = pd.Series(..., index=pd.period_range("1990-01", periods=400, freq="M"))
    >>> model = Forecaster(np.log(cpi), ModelSpec("arima", {"d": 1, "P": 1, "period": 12, "select": "aicc"}))
    >>> model.forecast(12, level=0.8)
    """

    def __init__(self, data: pd.Series | pd.DataFrame | Panel, spec: ModelSpec | None = None):
        self.spec = ModelSpec("arima") if spec is None else spec
        if not isinstance(self.spec, ModelSpec) or self.spec.name != "arima":
            raise ParameterError(
                f"Forecaster: {spec!r} forecasts no series", hint="ModelSpec('arima', {'d': 1}), or leave it out"
            )
        self.history, self._single = _frame(data)
        self._step = _step(self.history.index)
        label = self.history.to_numpy(np.float64)
        there = ~np.isnan(label)
        if not there.any():
            raise DataError("Forecaster: not one value is known", hint="missing is NaN; load more rows")
        # trailing rows without a value stay: the forecast starts after the last row of the index
        end = np.where(there, np.arange(1, len(label) + 1)[:, np.newaxis], -1)
        self.estimator = self.spec.build().fit_labels(label, end)
        self._say_what_is_short(label)

    def _say_what_is_short(self, label: np.ndarray) -> None:
        """Warn of series too short for any order; a walk, whose first folds often are, leaves them to `converged_`."""
        from ._sarimax import LEAST_LABELS, differences

        fits = zip(self.history.columns, self.estimator.series_, label.T, strict=True)
        short = [
            f"{name} ({fit.labels} values)"
            for name, fit, y in fits
            if not (fit.estimated or fit.converged) and differences(y, fit.orders).size < LEAST_LABELS
        ]
        if short:
            instead = "a random walk" if self.estimator.series_[0].orders.diffuse else "the mean"
            warnings.warn(
                f"Forecaster: too few values for ARMA terms in {', '.join(short[:6])}{', ...' if short[6:] else ''}: "
                f"{LEAST_LABELS} differences are the least; {instead} is forecast there",
                stacklevel=3,
            )

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.history.columns[:6])) + (", ..." if self.history.shape[1] > 6 else "")
        return f"<Forecaster {self.spec!r} of {names}: {len(self.history)} rows to {self.history.index[-1]}>"

    def forecast(self, steps: int = 1, level: float = 0.95) -> pd.DataFrame | Panel:
        """Mean and interval of the rows that come next.

        The interval is that of the model: normal, and as sure of its parameters as if they were known. It is wider the
        further ahead.

        Parameters
        ----------
        steps : int, default 1
            Rows ahead, at least 1.
        level : float, default 0.95
            Share of the outcomes that the interval shall hold, above 0 and below 1.

        Returns
        -------
        DataFrame or Panel
            Of a Series: a DataFrame with the columns ``mean``, ``lower`` and ``upper``. Of a DataFrame or a Panel: a
            Panel with these fields, so that ``["mean"]`` is a DataFrame with a column a series.

        Raises
        ------
        ParameterError
            `steps` or `level` outside its range.
        """
        import pandas as pd

        late = len(self.history) - len(self.estimator.label_)
        values = self.estimator.forecast(steps, level, skip=late)
        index, fields = self._future(values.shape[1]), ("mean", "lower", "upper")
        if self._single:
            return pd.DataFrame(values[:, :, 0].T, index=index, columns=list(fields))
        if isinstance(index, pd.PeriodIndex):
            index = index.to_timestamp()
        if not isinstance(index, pd.DatetimeIndex):
            raise DataError(
                f"Forecaster: a Panel needs dates, found an index of {index.dtype}",
                hint="forecast one column: Forecaster(frame['name'])",
            )
        return Panel(values, index, [str(name) for name in self.history.columns], fields)

    def diagnostics(self) -> pd.DataFrame:
        """What the residuals say of each model: one row a series; see `ArimaRegressor.diagnostics`."""
        return self.estimator.diagnostics().set_index(self._names())

    def tried(self) -> pd.DataFrame:
        """Every order that was tried, with its criteria and the one that was chosen; best first, for each series."""
        table = self.estimator.tried_
        by = self.spec.params["select"]
        table = table.sort_values(["symbol", "aicc" if by == "none" else by], kind="stable")
        return table.assign(symbol=np.asarray(self._names())[table["symbol"]]).reset_index(drop=True)

    def summary(self, name: object = None):
        """statsmodels' table of one series: coefficients with standard errors, and tests.

        Parameters
        ----------
        name : optional
            Which column; needed where there are several.

        Raises
        ------
        UnknownNameError
            No such column; the hint names the nearest.
        ParameterError
            Several series, and no name.
        """
        columns = list(self.history.columns)
        if name is None and len(columns) > 1:
            raise ParameterError(f"summary: {len(columns)} series, expected the name of one", hint=f"{columns[0]!r}")
        if name is not None and name not in columns:
            raise UnknownNameError.of("series", name, columns)
        return self.estimator.summary(0 if name is None else columns.index(name))

    def _names(self) -> pd.Index:
        return self.history.columns.rename("series")

    def _future(self, steps: int) -> pd.Index:
        """The index of the rows that come next."""
        import pandas as pd

        index = self.history.index
        if isinstance(index, pd.PeriodIndex):
            return pd.period_range(index[-1], periods=steps + 1, freq=index.freq)[1:]
        if isinstance(index, pd.DatetimeIndex):
            return pd.date_range(index[-1], periods=steps + 1, freq=self._step)[1:]
        return pd.RangeIndex(index[-1] + self._step, index[-1] + self._step * (steps + 1), self._step, name=index.name)


def _frame(data) -> tuple[pd.DataFrame, bool]:
    """`data` as floats, one column a series, and whether it was one Series."""
    import pandas as pd

    single = isinstance(data, pd.Series)
    if isinstance(data, Panel):
        if len(data.fields) != 1:
            raise DataError(
                f"Forecaster: the panel has {len(data.fields)} fields, expected one",
                hint=f"pick one of them: panel[{data.fields[0]!r}]",
            )
        data = data[data.fields[0]]
    if single:
        data = data.to_frame("value" if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"Forecaster: found a {type(data).__name__}, expected a Series, a DataFrame or a Panel")
    for name, kind in data.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind):
            raise DataError(f"Forecaster: column {str(name)!r} holds {kind}, expected numbers")
    if not data.columns.is_unique:
        raise DataError("Forecaster: two columns have the same name", hint="rename one of them")
    frame = pd.DataFrame(data.to_numpy(np.float64, na_value=np.nan), index=data.index, columns=data.columns)
    infinite = np.isinf(frame.to_numpy())
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise DataError(
            f"Forecaster: {frame.columns[column]} at {frame.index[row]} is infinite ({int(infinite.sum())} such)",
            hint="a logarithm of zero, or a division by it? missing is NaN",
        )
    return frame, single


def _step(index: pd.Index) -> object:
    """What parts the rows of a regular index: a frequency, or a number."""
    import pandas as pd

    if not index.is_monotonic_increasing or not index.is_unique:
        raise DataError("Forecaster: the index is out of order, or holds a time twice", hint="series.sort_index()")
    if isinstance(index, pd.PeriodIndex):
        steps = index.asi8[1:] - index.asi8[:-1]
        if (steps == 1).all():
            return index.freq
    elif isinstance(index, pd.DatetimeIndex):
        step = index.freq or (pd.DatetimeIndex(index, freq="infer").freq if len(index) > 2 else None)
        if step is not None:
            return step
    elif pd.api.types.is_integer_dtype(index.dtype):
        steps = np.diff(index.to_numpy())
        if len(steps) and (steps == steps[0]).all():
            return int(steps[0])
    else:
        raise DataError(f"Forecaster: the index holds {index.dtype}, expected dates, periods or whole numbers")
    raise DataError(
        f"Forecaster: {len(index)} rows without one step between them, so that the next row has no date",
        hint="series.asfreq('MS'), 'B' or 'QS': rows that were left out become NaN, which the model can bear",
    )
