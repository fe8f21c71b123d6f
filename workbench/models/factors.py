"""Factor regressions: what an asset loads on over time, and what a characteristic earns across assets."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..errors import DataError, UnknownNameError
from ..panel import Panel
from ..registry import Param
from .spec import model


@model(
    "fama_macbeth",
    library="linearmodels",
    cost="high",
    how="processes",
    params=(
        Param("cov", "nonrobust", choices=("nonrobust", "HAC"), doc="Covariance of the averages over rows."),
        Param("lags", None, low=0, high=10_000, optional=True, kind=int, doc="Of HAC, rows; None: by their number."),
    ),
)  # fmt: skip
def fama_macbeth(params, seed):
    """One regression across symbols on each row, and the average of their coefficients over rows.

    A prediction is the constant plus features times average coefficients. Errors come from the scatter of the
    coefficients over rows; ``cov="HAC"`` allows for averages that depend on each other over `lags` rows (Newey and
    West), as those of overlapping labels do. Rows with fewer samples than coefficients are left out, and so are those
    whose features are collinear, unless all are: then there are no errors (`periods_` counts the others). No row with
    samples enough is a DataError. A feature that differs between symbols on no row gets weight 0 and the error NaN;
    that no feature does is a DataError. Without a context all samples are one row: its regression, without errors.
    Sample weights are inversely proportional to the variance of the errors. NaN or infinite input is a ValueError. No
    random draw is made.

    Source: Fama and MacBeth, 1973, Risk, Return, and Equilibrium: Empirical Tests.
    """
    import linearmodels.panel  # noqa: F401 - now: on a thread, others would see it half imported

    from ._factors import FamaMacBethRegressor

    return FamaMacBethRegressor(**params)


@dataclass(frozen=True, eq=False, repr=False)
class Loadings:
    """Time-series regressions of assets on factors, one an asset.

    Attributes
    ----------
    table : DataFrame
        One row an asset: for ``alpha`` and each factor the estimate, its standard error (``_se``) and t statistic
        (``_t``); then ``r2`` and the number of ``samples``.
    fits : dict
        The fitted `LeastSquares` of each asset.
    """

    table: pd.DataFrame
    fits: dict[object, object]

    def summary(self, asset):
        """The regression table of one asset, as statsmodels prints it.

        Raises
        ------
        UnknownNameError
            No such asset.
        DataError
            Its factors can't be told apart.
        """
        return self._fit(asset).summary()

    def intervals(self, asset, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of one asset's alpha (``const``) and loadings; as `LeastSquares.intervals`."""
        return self._fit(asset).intervals(level)

    def _fit(self, asset):
        try:
            return self.fits[asset]
        except (KeyError, TypeError):
            raise UnknownNameError.of("asset", asset, self.fits) from None

    def __repr__(self) -> str:
        return f"<Loadings of {len(self.fits)} assets>\n{self.table!r}"

    def _repr_html_(self) -> str:
        return self.table.to_html(float_format="{:.4f}".format, border=0)


def factor_loadings(
    returns: pd.DataFrame | pd.Series | Panel,
    factors: pd.DataFrame | pd.Series,
    *,
    risk_free: pd.Series | None = None,
    cov: str = "HAC",
    lags: int | None = None,
) -> Loadings:
    """Regress the returns of each asset on factors over time: alpha, loadings, and errors that hold up.

    Parameters
    ----------
    returns : DataFrame of shape (T, N), Series or Panel of one field
        Returns per row, in the unit of the factors: both fractions, or both percent.
    factors : DataFrame of shape (T, K) or Series
        On exactly the same rows. Rows on which an asset or a factor is missing are left out for that asset.
    risk_free : Series of shape (T,), optional
        Subtracted from the returns; the factors are taken as they are.
    cov : {"HAC", "HC1", "nonrobust"}, default "HAC"
        Covariance of the estimates; "HAC" is Newey and West's, with Bartlett weights.
    lags : int, optional
        Of "HAC", rows. Default ``floor(4 * (T / 100) ** (2 / 9))``.

    Returns
    -------
    Loadings

    Raises
    ------
    DataError
        Rows that differ, no factor, infinite values, or an asset with no more rows than coefficients.
    ParameterError
        Another `cov`, or lags below 0.

    Notes
    -----
    Source: Jensen, 1968 (alpha); Newey and West, 1987 (errors).
    """
    from ._factors import loadings_table

    if isinstance(returns, Panel):
        if len(returns.fields) != 1:
            raise DataError(
                f"returns is a panel of {len(returns.fields)} fields ({', '.join(returns.fields)}), expected one",
                hint="pass panel['return'], the DataFrame of one field",
            )
        returns = returns[returns.fields[0]]
    returns = _framed(returns, "returns", "return")
    factors = _framed(factors, "factors", "factor")
    other = {"factors": factors.index} | ({} if risk_free is None else {"risk_free": risk_free.index})
    for what, index in other.items():
        if not returns.index.equals(index):
            shared = len(returns.index.intersection(index))
            raise DataError(
                f"{what} has {len(index)} rows and returns {len(returns)}, of which {shared} are shared: "
                "expected the same rows in the same order",
                hint="rows = returns.index.intersection(factors.index), then both .loc[rows]",
            )
    if risk_free is not None:
        returns = returns.sub(risk_free, axis=0)
    return Loadings(*loadings_table(returns, factors, cov, lags))


def _framed(data, what: str, name: str) -> pd.DataFrame:
    """`data` as a DataFrame of floats with columns that are named once."""
    if isinstance(data, pd.Series):
        data = data.to_frame(name if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"{what} is a {type(data).__name__}, expected a DataFrame or a Series")
    if not data.shape[1] or not data.columns.is_unique or not data.index.is_unique:
        raise DataError(f"{what} of shape {data.shape} must have a column or more, and names and rows that occur once")
    try:
        return data.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} holds something that is no number: {error}") from error
