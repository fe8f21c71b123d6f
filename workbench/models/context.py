"""Where samples stand in their panel: for the models that need more than a row of numbers.

An estimator whose `fit` has a parameter `context` is given one, for `fit` and for `predict` alike: one that looks
back over past rows (a recurrent network), that goes symbol by symbol (ARIMA) or row by row (Fama-MacBeth), or that
sets aside the last rows to validate on. Used without one, as scikit-learn does, samples are the rows of one series.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..labels import label_planes, last_rows
from ..panel import Panel
from ..panel.core import Samples


@dataclass(frozen=True, eq=False)
class Context:
    """Where the samples stand that are handed over with it, and what surrounds them.

    Attributes
    ----------
    row, column : ndarray of shape (n,), of integers
        Numbers of the row in time and of the symbol of each sample.
    table : ndarray of shape (m, F)
        The features of every sample of the panel, time-major, read-only: what a model may look back into. A feature
        is known on its own row.
    table_row, table_column : ndarray of shape (m,), intp
        Where these stand.
    label : ndarray of shape (T, N)
        The labels that may be known: for `fit` those trained on, for `predict` all; NaN where there is none.
    end : ndarray of shape (T, N), intp
        The last row that each label looks at: at row t no label may be used but those with ``end <= t``; -1 where
        there is no label.
    """

    row: np.ndarray
    column: np.ndarray
    table: np.ndarray
    table_row: np.ndarray
    table_column: np.ndarray
    label: np.ndarray
    end: np.ndarray

    @classmethod
    def of_series(cls, X: np.ndarray, y: np.ndarray | None = None) -> Context:
        """The context of samples that are the rows of one series, each label known on the row after its own."""
        n = len(X)
        row, column = np.arange(n), np.zeros(n, dtype=np.intp)
        label = np.full((n, 1), np.nan) if y is None else np.asarray(y, dtype=float).reshape(n, 1)
        end = np.where(np.isnan(label), -1, row[:, np.newaxis] + 1)
        return cls(row, column, X, row, column, label, end)

    @classmethod
    def of_samples(cls, samples: Samples, label: Panel) -> Context:
        """The context for a fit by hand, of samples as `Panel.stack` gives them and the label of the same panel.

        Parameters
        ----------
        samples : Samples
            All that may be looked back at: of each, row and symbol are those of `label`.
        label : Panel
            As `workbench.labels` makes it; of the samples alone, for none other may be known.
        """
        values, span = label_planes(label)
        known = np.full(values.shape, np.nan)
        known[samples.row, samples.column] = values[samples.row, samples.column]
        X, row, column = samples
        return cls(row, column, X, row, column, known, last_rows(known, span))

    @cached_property
    def _place(self) -> np.ndarray:
        """(T, N): the number in `table` of each sample, -1 where there is none."""
        place = np.full(self.label.shape, -1, dtype=np.intp)
        place[self.table_row, self.table_column] = np.arange(len(self.table_row))
        return place

    def windows(self, length: int, samples: np.ndarray | slice = np.s_[:]) -> np.ndarray:
        """Numbers in `table` of the last `length` rows of each sample's symbol, its own last; -1 where none is.

        Parameters
        ----------
        length : int
        samples : ndarray of int or slice, default all
            Which of the n samples: a batch at a time takes little memory.

        Returns
        -------
        ndarray of shape (n, length), intp
        """
        rows = self.row[samples, np.newaxis] + np.arange(1 - length, 1)
        found = self._place[np.maximum(rows, 0), self.column[samples, np.newaxis]]
        return np.where(rows < 0, -1, found)

    @cached_property
    def sample_end(self) -> np.ndarray:
        """(n,): the last row that the label of each sample handed over looks at; its own row where there is none."""
        return np.maximum(self.end[self.row, self.column], self.row)
