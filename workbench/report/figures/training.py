"""How a training went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError
from .core import _table, lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def loss_curve(estimator: object, *, title: str = "Loss by epoch", log: bool = False) -> Figure:
    """The losses of a network in each epoch of its training, and the epoch whose weights were kept.

    Parameters
    ----------
    estimator : estimator or DataFrame
        A fitted network (its ``losses_`` and ``best_epoch_``), or losses, one row an epoch.
    title : str, default "Loss by epoch"
    log : bool, default False
        Whether equal heights are equal ratios.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    DataError
        The estimator isn't fitted, or keeps no losses.
    """
    if not hasattr(estimator, "losses_") and hasattr(estimator, "fit"):
        raise DataError(
            f"loss_curve: {type(estimator).__name__} has no losses_, expected a network that is fitted",
            hint="fit it first: loss_curve(ModelSpec('lstm').build().fit(X, y)); only networks keep losses",
        )
    frame = _table(estimator, "loss_curve", "losses_")
    figure = lines(frame, title=title, y="mean squared error (standardised)", log=log)
    best = getattr(estimator, "best_epoch_", None)
    if best is not None:
        mark = {"text": f"kept: epoch {best}", "showarrow": False, "xanchor": "left", "yanchor": "top"}
        figure.add_vline(x=best, line={"width": 1.2, "dash": "dash"}, annotation=mark, annotation_position="top")
    return figure
