"""What scores are worth, measured against labels: pure functions of two (T, N) planes.

A sample counts where both its score and its label are there (not NaN). A measure that is not defined on what
is left (no sample, scores that are all the same) is NaN, never 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError

FEWEST = 3  # symbols that make a cross-section: of two, a correlation is always 1 or -1


def ic(score, label) -> float:
    """Information coefficient: the mean over rows of the correlation of scores and labels across symbols.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
        On the same rows and symbols; NaN is missing.

    Returns
    -------
    float
        In [-1, 1]. Each row with at least three samples, in which neither scores nor labels are all the same,
        counts once. Planes of fewer than three symbols have no cross-section: there it is the one correlation
        over all samples together (through time). NaN where nothing is left.

    Raises
    ------
    DataError
        Shapes that differ, or infinite numbers.

    Notes
    -----
    Pearson's correlation. Source: Grinold and Kahn, 2000, Active Portfolio Management.
    """
    return _mean_correlation(*_pair(score, label))


def rank_ic(score, label) -> float:
    """As `ic`, with the correlation of ranks: only the order counts, and outliers no more than others.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
        On the same rows and symbols; NaN is missing.

    Returns
    -------
    float
        In [-1, 1], or NaN; ties share the mean of their ranks. Rows are left out, and planes of fewer than
        three symbols are taken together, as in `ic`.

    Raises
    ------
    DataError
        Shapes that differ, or infinite numbers.

    Notes
    -----
    Spearman's correlation. Source: Spearman, 1904.
    """
    score, label = _pair(score, label)
    return _mean_correlation(*(pd.DataFrame(x).rank(axis=1).to_numpy() for x in (score, label)))


def hit_rate(score, label) -> float:
    """The share of samples whose score has the sign of the label.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
        On the same rows and symbols; NaN is missing.

    Returns
    -------
    float
        In [0, 1]; NaN without a sample. A score of 0 takes no side and a label of 0 rewards none: both are
        left out, so that a coin comes to 0.5.

    Raises
    ------
    DataError
        Shapes that differ, or infinite numbers.
    """
    score, label = _pair(score, label)
    sided = ~np.isnan(score) & (score != 0) & (label != 0)
    return float(np.mean(np.sign(score[sided]) == np.sign(label[sided]))) if sided.any() else float("nan")


def r2_oos(score, label, benchmark: float = 0.0) -> float:
    """Out-of-sample R2: by how much the squared error of the scores is below that of a benchmark forecast.

    ``1 - sum((label - score)**2) / sum((label - benchmark)**2)`` over all samples together.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
        On the same rows and symbols, in the same unit; NaN is missing.
    benchmark : float, default 0.0
        What is forecast for every sample. 0 is the benchmark of Gu, Kelly and Xiu, and that of a walk: for
        single stocks the mean of the past is the worse forecast, and an R2 against it flatters. The mean of
        the training labels gives the R2 of Campbell and Thompson.

    Returns
    -------
    float
        At most 1; below 0 where the benchmark is better; NaN without a sample, or where the benchmark never
        errs.

    Raises
    ------
    DataError
        Shapes that differ, or infinite numbers.

    Notes
    -----
    Source: Gu, Kelly and Xiu, 2020, Empirical Asset Pricing via Machine Learning, eq. 19; Campbell and
    Thompson, 2008, Predicting Excess Stock Returns Out of Sample.
    """
    score, label = _pair(score, label)
    total = np.nansum((label - benchmark) ** 2)
    return float(1 - np.nansum((label - score) ** 2) / total) if total > 0 else float("nan")


MEASURES = {"ic": ic, "rank_ic": rank_ic, "hit_rate": hit_rate, "r2": r2_oos}


def _pair(score, label) -> tuple[np.ndarray, np.ndarray]:
    """Both as (T, N) float64 with NaN wherever either is; one row, pooled, where N makes no cross-section."""
    score, label = np.asarray(score, dtype=float), np.asarray(label, dtype=float)
    if score.shape != label.shape or score.ndim not in (1, 2):
        raise DataError(
            f"scores have shape {score.shape} and labels {label.shape}, expected the same (T, N) or (T,)",
            hint="both come from panels with the same time and symbols",
        )
    for name, plane in (("scores", score), ("labels", label)):
        if np.isinf(plane).any():
            raise DataError(f"{int(np.isinf(plane).sum())} of the {name} are infinite", hint="missing is NaN")
    missing = np.isnan(score) | np.isnan(label)
    score, label = (np.where(missing, np.nan, x) for x in (score, label))
    if score.ndim == 1 or score.shape[1] < FEWEST:
        return score.reshape(1, -1), label.reshape(1, -1)
    return score, label


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The mean over rows of Pearson's correlation, of the rows on which it is defined; NaN of none."""
    kept = (~np.isnan(x)).sum(axis=1) >= FEWEST
    x, y = x[kept], y[kept]
    # told by their ends: the mean of equal numbers may be off by a bit, and their deviation not 0
    varied = (np.nanmax(x, axis=1, initial=-np.inf) > np.nanmin(x, axis=1, initial=np.inf)) & (
        np.nanmax(y, axis=1, initial=-np.inf) > np.nanmin(y, axis=1, initial=np.inf)
    )
    if not varied.any():
        return float("nan")
    x, y = _deviation(x[varied]), _deviation(y[varied])
    rows = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return float(np.clip(rows, -1, 1).mean())


def _deviation(x: np.ndarray) -> np.ndarray:
    """Each row less its mean, scaled to at most 1 so that no square over- or underflows; 0 where missing."""
    x = x / np.nanmax(np.abs(x), axis=1, keepdims=True)
    x = x - np.nanmean(x, axis=1, keepdims=True)
    return np.nan_to_num(x / np.nanmax(np.abs(x), axis=1, keepdims=True), nan=0.0)
