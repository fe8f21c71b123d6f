"""What scores are worth, measured against labels: pure functions of two (T, N) planes.

A sample counts where both its score and its label are there (not NaN). A measure that is not defined on what
is left (no sample, scores that are all the same) is NaN, never 0.
"""

from __future__ import annotations

import numpy as np

from ..errors import DataError, ParameterError
from ..indicators import rank
from ..kernels import kernels

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
    return _ic(*_pair(score, label))


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
    return _rank_ic(*_pair(score, label))


def hit_rate(score, label) -> float:
    """The share of samples whose score has the sign of the label.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
        On the same rows and symbols; NaN is missing. Labels with a sign: of classes counted from 0 all that are
        left are above it, and whoever forecasts a number above 0 is always right.

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
    return _hit_rate(*_pair(score, label))


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
    return _r2_oos(*_pair(score, label), benchmark)


def accuracy(chance, classes, label) -> float:
    """The share of samples whose most likely class is the label.

    Parameters
    ----------
    chance : ndarray of shape (n, K)
        The probability of each class; of equal ones the first counts.
    classes : ndarray of shape (K,)
    label : ndarray of shape (n,)
        NaN is missing.

    Returns
    -------
    float
        In [0, 1]; NaN without a label.
    """
    known = ~np.isnan(label)
    chosen = np.asarray(classes)[np.argmax(chance, axis=1)]
    return float(np.mean(chosen[known] == label[known])) if known.any() else float("nan")


def log_loss(chance, classes, label) -> float:
    """The mean of -log of the probability that was given to the class that came.

    Parameters
    ----------
    chance, classes, label
        As in `accuracy`. A label that is none of the classes had the probability 0.

    Returns
    -------
    float
        At least 0, in nats; log(2) for a coin. NaN without a label. A probability below 2.2e-16 counts as that, so
        that one sample does not make all others count for nothing.

    Notes
    -----
    Source: Good, 1952, Rational Decisions.
    """
    known = ~np.isnan(label)
    hit = np.asarray(label)[known, np.newaxis] == np.asarray(classes)
    given = np.where(hit, np.asarray(chance)[known], 0.0).sum(axis=1)
    return float(-np.log(np.maximum(given, np.finfo(float).eps)).mean()) if known.any() else float("nan")


def measured(score, label, signed: bool) -> dict[str, float]:
    """`ic`, `rank_ic`, `hit_rate` and `r2_oos` (as "r2") of scores and labels, by name.

    Parameters
    ----------
    score, label : array_like of shape (T, N), or (T,) for one symbol
    signed : bool
        Whether the sign of a label says something: `is_signed` of all labels of the study, not of one test alone.

    Returns
    -------
    dict
        ``hit_rate`` and ``r2`` are NaN where labels have no sign.
    """
    score, label = _pair(score, label)
    values = {name: measure(score, label) for name, measure in MEASURES.items()}
    return values | ({} if signed else dict.fromkeys(SIGNED, float("nan")))


def is_signed(label: np.ndarray) -> bool:
    """Whether labels lie about 0: False for whole numbers none of which is below 0, or none above.

    Such are classes (quantiles counted from 0, the touches of a single barrier, yes and no): their 0 is the lowest or
    the highest of them and no forecast, so that a constant gets every sign right and beats 0 by far. Returns are
    no whole numbers, and keep their sign where all of them rise. Asked of all labels of a study: in one test alone
    the touches of two barriers may all be upper ones.
    """
    known = label[~np.isnan(label)]
    if not len(known) or known.min() < 0 < known.max():
        return True
    return bool((known != np.round(known)).any())


def check_signed(owner: str, measure: str, signed: bool) -> None:
    """ParameterError for a measure that labels without a sign don't have."""
    if measure in SIGNED and not signed:
        raise ParameterError(
            f"{owner}: measure={measure!r} of labels that are whole numbers, all on one side of 0: such classes have "
            "no sign to hit, and no distance to 0",
            hint=f"{', '.join(name for name in MEASURES if name not in SIGNED)}; of a classifier also "
            f"{' and '.join(CLASS_MEASURES)}, in a sweep",
        )


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


def _ic(score: np.ndarray, label: np.ndarray) -> float:
    return _mean_correlation(score, label)


def _rank_ic(score: np.ndarray, label: np.ndarray) -> float:
    return _mean_correlation(rank(score), rank(label))


def _hit_rate(score: np.ndarray, label: np.ndarray) -> float:
    sided = ~np.isnan(score) & (score != 0) & (label != 0)
    return float(np.mean(np.sign(score[sided]) == np.sign(label[sided]))) if sided.any() else float("nan")


def _r2_oos(score: np.ndarray, label: np.ndarray, benchmark: float = 0.0) -> float:
    total = np.nansum((label - benchmark) ** 2)
    return float(1 - np.nansum((label - score) ** 2) / total) if total > 0 else float("nan")


# of planes that `_pair` has made alike
MEASURES = {"ic": _ic, "rank_ic": _rank_ic, "hit_rate": _hit_rate, "r2": _r2_oos}
SIGNED = ("hit_rate", "r2")  # those that take 0 for the middle of the labels
WHY_UNDEFINED = "scores that are all the same have no rank_ic, and scores of 0 no hit_rate"
CLASS_MEASURES = {"accuracy": accuracy, "log_loss": log_loss}


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The mean over rows of Pearson's correlation, of the rows on which it is defined; NaN of none."""
    rows, state = np.empty((len(x), 1)), np.empty((2, x.shape[1]))
    if x.size:
        kernels["correlation"].call([x, y], [FEWEST], state, [rows])
    defined = rows[~np.isnan(rows)]
    return float(defined.mean()) if x.size and len(defined) else float("nan")
