"""Fixed splits that keep the share of every class."""

from __future__ import annotations

import numpy as np


def is_test(labels: np.ndarray, every: int = 5) -> np.ndarray:
    """Marks every fifth example of each class, in the order of the data; no random number, so the same everywhere.

    Args:
        labels: [n] integers.
        every: one of so many examples of a class is for testing.

    Returns:
        [n] bool, True for an example of the test split.
    """
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[every // 2 :: every]] = True
    return test


def held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """Marks a share of the examples of each class, evenly spaced in the order of the data; no random number.

    A class of at least two examples has one that is marked and one that is not; the only example of a class is not
    marked.

    Args:
        labels: [n] integers.
        share: of each class, above 0 and below 1.

    Returns:
        [n] bool, True for an example that is held out.
    """
    held = np.zeros(len(labels), dtype=bool)
    _, sizes = np.unique(labels, return_counts=True)
    for members in np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1]):
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[members[(np.arange(count) * 2 + 1) * len(members) // (2 * max(count, 1))]] = True
    return held
