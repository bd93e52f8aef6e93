"""Standardises rows of numbers, column by column."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Standardizer:
    """(x - mean) / deviation, column by column; a constant column has an infinite deviation and so becomes 0.

    Attributes:
        mean: [n] float64.
        deviation: [n] float64, the standard deviation.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, batches: Iterator[np.ndarray]) -> Standardizer:
        """Takes mean and deviation of the rows of all batches [b, n], in one pass and without cancellation.

        References:
            Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        """
        count, mean, squares, low, high = 0, np.zeros(()), np.zeros(()), np.array(np.inf), np.array(-np.inf)
        for batch in batches:
            rows = batch.astype(np.float64)
            shift = rows.mean(axis=0) - mean
            total = count + len(rows)
            squares = squares + rows.var(axis=0) * len(rows) + shift**2 * count * len(rows) / total
            mean, count = mean + shift * len(rows) / total, total
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        # Rounding leaves a constant column a deviation that is small, not 0; and so does an underflow of its squares.
        deviation = np.sqrt(squares / count)
        return cls(mean, np.where((low < high) & (deviation > 0), deviation, np.inf))

    def __call__(self, features: Any) -> Any:
        """Standardises float64 features [..., n], an array or a tensor."""
        return (features - self.mean) / self.deviation
