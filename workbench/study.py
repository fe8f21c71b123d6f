"""A study: one model on one label, beside its baselines, with what it has learned; all of it on rows not trained on."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Sequence

import pandas as pd

from .compute import CancelToken, apart, until
from .errors import DataError
from .evaluate import explain
from .evaluate.cells import How, title
from .evaluate.layout import Layout
from .evaluate.splits import Splits
from .evaluate.walk import Walk, as_ledger, baseline_specs, checked_spec, comparison, walks_of
from .ledger import Ledger
from .models import ModelSpec
from .panel import Panel


class Study:
    """One model, walked, compared and explained. Made by `study`.

    It pickles with its panels, and with its ledger by URL; `progress` and `cancel` are of the session and stay there.

    Attributes
    ----------
    spec : ModelSpec
    walk : Walk
        Of the model.
    baselines : dict of str to Walk
        Of each baseline, on the same folds.
    """

    def __init__(self, spec: ModelSpec, layout: Layout, ledger: Ledger, run: How, baselines: Sequence[str] | None):
        self.spec, self._layout, self._ledger, self._run = spec, layout, ledger, run
        specs = list(dict.fromkeys([spec, *baseline_specs(baselines, [spec])]))
        walks = walks_of(specs, layout, ledger, run)
        self.walk: Walk = walks[0]
        self.baselines: dict[str, Walk] = {walk.spec.name: walk for walk in walks[1:]}
        self._importance: dict[tuple, pd.DataFrame] = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_run": self._run._replace(progress=None, cancel=None)}

    @property
    def table(self) -> pd.DataFrame:
        """The model and its baselines, one row each, as `compare` gives them."""
        return comparison([self.walk, *self.baselines.values()])

    @property
    def folds(self) -> pd.DataFrame:
        """One row a fold, as ``walk.folds``."""
        return self.walk.folds

    @property
    def scores(self) -> Panel:
        """The score of each sample of a test row."""
        return self.walk.scores

    def importance(self, measure: str = "rank_ic", *, repeats: int = 5, seed: int = 0) -> pd.DataFrame:
        """By how much the scores of each test get worse when one feature is shuffled (permutation importance).

        Parameters
        ----------
        measure : {"ic", "rank_ic", "hit_rate", "r2"}, default "rank_ic"
            What is measured: the drop of it, on scores of a test fold. Labels that are classes on one side of 0
            have no hit_rate and no r2.
        repeats : int, default 5
            Shuffles of each feature in each fold.
        seed : int, default 0
            Of the shuffles.

        Returns
        -------
        DataFrame
            One row a feature, the most important first: ``drop`` (mean over folds), ``error`` (its standard error
            over folds, NaN of one fold), and a column ``fold k`` each.

        Notes
        -----
        A feature that others can stand in for has little importance, however much it says. Only test folds are
        shuffled, never the samples trained on. Source: Breiman, 2001, Random Forests.
        """
        key = measure, repeats, seed
        if key not in self._importance:
            self._importance[key] = explain.importance(
                self.spec, self._layout, self._ledger, self._run, measure, repeats, seed
            )
        return self._importance[key].copy()

    def dependence(self, feature: str, *, points: int = 20) -> pd.DataFrame:
        """How the mean score of a test follows one feature, all else as it is (partial dependence).

        Parameters
        ----------
        feature : str
        points : int, default 20
            Values of the feature, at quantiles of its samples from 1 % to 99 %.

        Returns
        -------
        DataFrame
            One row a value of the feature: ``mean`` over folds, and a column ``fold k`` each.

        Notes
        -----
        Source: Friedman, 2001, Greedy Function Approximation.
        """
        return explain.dependence(self.spec, self._layout, self._ledger, self._run, feature, points)

    def coefficients(self) -> pd.DataFrame:
        """The coefficients of each fold, in units of the features; of a curve its parameters.

        Returns
        -------
        DataFrame
            One row a coefficient: ``mean``, ``least`` and ``largest`` over folds, ``low`` and ``high`` of the 95 %
            interval of the last fold where the model has one (else NaN), and a column ``fold k`` each.

        Raises
        ------
        ParameterError
            The model has no coefficients.
        """
        return explain.coefficients(self.spec, self._layout, self._ledger, self._run)

    def figures(self) -> list:
        """The figures that a notebook shows: the folds, and the importances that were asked for.

        What can't be drawn, as its measure is known in no fold, is left out; the notebook says why.
        """
        return [figure for figure in self._shown() if not isinstance(figure, str)]

    def _shown(self) -> list:
        """The figures, and in place of one that can't be drawn a line that says why."""
        from .report.figures import importance

        return [folds_or_why(self.folds), *(drawn_or_why(importance, table) for table in self._importance.values())]

    def __repr__(self) -> str:
        beside = ", ".join(self.baselines) or "no baseline"
        return f"<Study of {title(self.spec)} on {self.walk.label}, beside {beside}: {self.walk!r}>"

    def _repr_html_(self) -> str:
        table = self.table.drop(columns="baseline")
        body = table.to_html(float_format="{:.4f}".format, na_rep="", border=0)
        return f"<div><b>{html.escape(title(self.spec))} beside its baselines</b>{body}</div>{self.walk._repr_html_()}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)
        for shown in self._shown():
            if isinstance(shown, str):
                display({"text/html": f"<div>{html.escape(shown)}</div>", "text/plain": shown}, raw=True)
            else:
                display(shown)


def drawn_or_why(draw: Callable, *args):
    """The figure that ``draw(*args)`` gives, or in a line why it can't be drawn."""
    try:
        return draw(*args)
    except DataError as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message


def folds_or_why(table: pd.DataFrame):
    """The figure of the folds by rank_ic, or by hit_rate where no fold has one; or in a line why there is none."""
    from .report.figures import folds

    return drawn_or_why(folds, table, ("rank_ic", "hit_rate"))


def study(
    spec: ModelSpec,
    features: Panel,
    label: Panel,
    *,
    baselines: Sequence[str] | None = None,
    splits: Splits | None = None,
    weights: Panel | None = None,
    ledger: Ledger | str | os.PathLike | None = None,
    how: str | None = None,
    workers: int | None = None,
    progress: bool | Callable[[int, int, str], object] | None = None,
    cancel: CancelToken | None = None,
) -> Study:
    """Walk a model beside its baselines, and have at hand what it has learned.

    Parameters
    ----------
    spec, features, label, baselines, splits, weights, ledger, how, workers, progress, cancel
        As in `compare`; what the study is asked later is computed in the same way.

    Returns
    -------
    Study
        In a notebook it shows its folds, its measures beside those of the baselines, and its figures.

    Raises
    ------
    DataError, TaskError, Cancelled
        As in `walk_forward`.
    """
    with until(cancel):
        layout = apart(Layout, features, label, splits, weights)
        return Study(checked_spec(spec), layout, as_ledger(ledger), How(how, workers, progress, cancel), baselines)
