"""How one fold is fitted and scored, and how folds of a model that sees only moments share their sums."""

from __future__ import annotations

import inspect
import time
from functools import partial

import numpy as np

from ..errors import DataError
from .table import Table, taken

MOST_CLASSES = 100


def takes(estimator, name: str) -> bool:
    """Whether the estimator's `fit` has a parameter of that name."""
    return name in inspect.signature(estimator.fit).parameters


def is_classifier(estimator) -> bool:
    return hasattr(estimator, "predict_proba")


def fitted(estimator, table: Table, train: np.ndarray):
    """The estimator, fitted on the samples in the runs `train`.

    By their labels alone where it has `fit_labels`, and row by row where it has `fit_rows`: then no sample is copied.
    """
    if hasattr(estimator, "fit_labels"):
        return estimator.fit_labels(table.labels(train), table.end)
    if hasattr(estimator, "fit_rows"):
        return estimator.fit_rows(partial(table.rows, train))
    X, y = taken(table.X, train), taken(table.y, train)
    weight = taken(table.weight, train) if len(table.weight) else None
    if is_classifier(estimator):
        _check_classes(y if weight is None else y[weight > 0])
    given = {}
    if weight is not None and takes(estimator, "sample_weight"):
        given["sample_weight"] = weight
    if takes(estimator, "context"):
        given["context"] = table.context(train, trained=True)
    return estimator.fit(X, y, **given)


def scored(estimator, table: Table, test: np.ndarray, X: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Scores of the samples in the runs `test`; of a classifier the expected label, and the chance of each class.

    Parameters
    ----------
    X : ndarray of shape (k, F), optional
        Features in place of theirs.
    """
    X = taken(table.X, test) if X is None else X
    given = {"context": table.context(test, trained=False)} if takes(estimator, "context") else {}
    result = {}
    if is_classifier(estimator):
        chance = np.asarray(estimator.predict_proba(X, **given), dtype=np.float64)
        result = {"chance": chance, "classes": np.asarray(estimator.classes_, dtype=np.float64)}
        score = chance @ result["classes"]
    else:
        score = np.asarray(estimator.predict(X, **given), dtype=np.float64)
    if score.shape != (len(X),):
        raise DataError(f"predict gave an array of shape {score.shape}, expected ({len(X)},)")
    if not np.isfinite(score).all():
        raise DataError(
            f"{int((~np.isfinite(score)).sum())} of {len(score)} predictions are not finite",
            hint="scale the features, or take a stronger penalty or a lower learning rate",
        )
    return {"score": score, **result}


def fit_fold(estimator, table: Table, train: np.ndarray, test: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Fit on the samples in the runs `train` and score those in `test`; also the seconds that it took."""
    begun = time.perf_counter()
    return tested(fitted(estimator, table, train), table, test), time.perf_counter() - begun


def tested(estimator, table: Table, test: np.ndarray) -> dict[str, np.ndarray]:
    """As `scored`; of a model that iterates also whether it converged."""
    result = scored(estimator, table, test)
    if hasattr(estimator, "converged_"):
        result["converged"] = np.atleast_1d(estimator.converged_)
    return result


def _check_classes(y: np.ndarray) -> None:
    found = np.unique(y)
    if len(found) > MOST_CLASSES or not np.array_equal(found, np.round(found)):
        raise DataError(
            f"a classifier got {len(found)} distinct labels such as {found[0]:.4g}, expected classes: whole numbers",
            hint="forward_sign, forward_quantile and triple_barrier give classes; forward_return is for a regression",
        )
    if len(found) < 2:
        raise DataError(
            f"all labels that may be trained on are {found[0]:.4g}: a classifier needs two classes",
            hint="take fewer folds, a longer window or another label",
        )


# ------------------------------------------------------------------------------------------- folds that share sums


def shared(masks: list[np.ndarray]) -> tuple[list[np.ndarray], list[list[int]]]:
    """The sets of samples that are trained on by just the same folds, and for each fold the sets that make it up.

    Parameters
    ----------
    masks : list of ndarray of bool, shape (n,)
        The samples that each fold trains on.

    Returns
    -------
    list of ndarray of shape (r, 2)
        The runs of samples of each set, in the order of their first sample; none is in two sets.
    list of list of int
        For each fold, the numbers of its sets.
    """
    changed = np.zeros(len(masks[0]), dtype=bool)
    changed[0] = True
    for mask in masks:
        changed[1:] |= mask[1:] != mask[:-1]
    starts = np.flatnonzero(changed)
    stops = np.append(starts[1:], len(changed))
    signatures = np.packbits(np.array([mask[starts] for mask in masks]), axis=0).T
    sets: dict[bytes, list[tuple[int, int]]] = {}
    for signature, a, b in zip(signatures, starts, stops, strict=True):
        if signature.any():
            sets.setdefault(signature.tobytes(), []).append((a, b))
    trained = np.unpackbits(
        np.frombuffer(b"".join(sets), dtype=np.uint8).reshape(len(sets), signatures.shape[1]),
        axis=1,
        count=len(masks),
    )
    return [np.array(at) for at in sets.values()], [np.flatnonzero(column).tolist() for column in trained.T]


def moments(table: Table, sets: list[np.ndarray]) -> list:
    """The moments of each set of samples."""
    from ..models._moments import Moments

    weight = table.weight if len(table.weight) else None
    return [
        Moments.of(taken(table.X, at), taken(table.y, at), None if weight is None else taken(weight, at)) for at in sets
    ]
