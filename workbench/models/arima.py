"""ARIMA, one model a symbol."""

from __future__ import annotations

import importlib.util

from ..registry import Param
from .spec import model


def _searcher(params) -> str | None:
    """Who searches, where it isn't said: looked up and not imported, for the spec and not for the machine that fits."""
    if params["select"] == "none":
        return None
    return "grid" if importlib.util.find_spec("statsforecast") is None else "statsforecast"


@model(
    "arima",
    library="statsmodels",
    cost="high",
    how="processes",  # statsmodels' filter holds the GIL: two threads took 1.35 times as long as one
    params=(
        Param("p", 1, low=0, high=24, doc="Autoregressive terms, count; with select: the most that are tried."),
        Param("d", 0, low=0, high=2, doc="Differences from row to row, count."),
        Param("q", 1, low=0, high=24, doc="Moving average terms, count; with select: the most that are tried."),
        Param("P", 0, low=0, high=4, doc="Seasonal autoregressive terms, count; with select: the most tried."),
        Param("D", 0, low=0, high=1, doc="Differences from season to season, count."),
        Param("Q", 0, low=0, high=4, doc="Seasonal moving average terms, count; with select: the most tried."),
        Param("period", 1, low=1, high=366, doc="Rows of a season; 1: none."),
        Param(
            "constant",
            None,
            kind=bool,
            optional=True,
            doc="Whether the differenced series has a mean; None: where nothing is differenced.",
        ),
        Param("select", "none", choices=("none", "aic", "aicc", "bic"), doc="Criterion that chooses p, q, P and Q."),
        Param(
            "search",
            None,
            kind=str,
            optional=True,
            choices=("grid", "statsforecast"),
            resolve=_searcher,
            doc="Who chooses them; None: with select statsforecast where the spec is made and has it, else grid.",
        ),
        Param("refit", 0, low=0, high=1_000_000, doc="Rows between estimations within a test; 0: none."),
    ),
)
def arima(params, seed):
    """The labels of each symbol forecast from their own past by a seasonal ARIMA; reads no feature.

    Each symbol has a model of its own, estimated by exact maximum likelihood on its training labels; a missing label
    costs one label. On each row of a test the forecast uses the labels that are known there and no other: with
    labels of horizon h it is made h rows ahead. From row to row only the filter moves on; every `refit` rows the
    parameters are estimated again on what is known by then, from the first training row on; the orders stay.

    With `select`, orders up to p, q, P and Q are tried and the lowest criterion of those that converged is taken, for
    each symbol. d and D are not chosen: criteria of unlike differencing can't be compared. With `search`
    "statsforecast" its AutoARIMA tries them, for series without gaps; where `search` isn't given, a spec that is made
    where statsforecast is installed says so, and any other says "grid": one spec means one search everywhere.
    AutoARIMA takes a half to a fifth of the grid's time, and refuses models close to the unit circle: of 20 simulated
    series it found the grid's orders in 20 by bic and in 14 by aicc, and never a lower criterion.

    A symbol with too few labels (fewer than 10, or than 3 a parameter, after differencing) or with labels that are all
    alike gets their mean, or with d or D a random walk; one without any gets the mean of all others. What wasn't
    estimated, or whose maximum wasn't found, has False in ``converged_``. `fit` warns of maxima not found, and of
    orders that are too large for a symbol with 10 labels or more. Contradicting orders are a ParameterError, NaN or
    infinite features a ValueError. With more terms than the labels bear out the likelihood has several maxima, and the
    one found may be a lower one. It takes no weights: a filter has no place for them. No random draw is made.

    Source: Box and Jenkins, 1970, Time Series Analysis; Durbin and Koopman, 2012, Time Series Analysis by State
    Space Methods (exact diffuse start); Hyndman and Khandakar, 2008 (order search).
    """
    from ._arima import ArimaRegressor

    return ArimaRegressor(**params)
