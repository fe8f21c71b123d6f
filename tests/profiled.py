"""Work of which all is known, for the tests of profiles."""

from __future__ import annotations

import pandas as pd


def leaf(n: int) -> int:
    return sum(range(n))


def branch(times: int) -> None:
    for _ in range(times):
        leaf(10)


def whole() -> None:
    branch(3)
    branch(4)
    leaf(10)


def fails(*args: object) -> None:
    leaf(10)
    raise ZeroDivisionError("as it was told to")


def row(frame: pd.DataFrame, **known) -> pd.Series:
    """The one row of a frame with these values."""
    (found,) = [r for _, r in frame.iterrows() if all(r[k] == v for k, v in known.items())]
    return found
