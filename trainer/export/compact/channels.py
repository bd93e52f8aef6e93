"""Channels of all tensors, as numbers that are joined where two channels can only go together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(eq=False)
class Fact:
    """What is known of a tensor along its last axis.

    Attributes:
      shape: with the batch axis.
      channels: [C] numbers of the channels; None where the size of the axis is unknown.
      values: [C] float64, the value that a channel has everywhere and for every input; NaN where it has none.
      framed: [C] the value that a channel has inside a frame of zeros that all have in common; NaN where it has none.
    """

    shape: tuple[int | None, ...]
    channels: np.ndarray | None
    values: np.ndarray | None
    framed: np.ndarray | None = None

    @property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """The channels and their values.

        Raises:
          Blocked: the size of the axis is unknown.
        """
        if self.channels is None or self.values is None:
            raise Blocked("the number of its channels is unknown")
        return self.channels, self.values


class Blocked(Exception):  # noqa: N818
    """A layer through which no channel can be followed; the message is the reason."""


class Channels:
    """Disjoint sets of channels (union-find)."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def new(self, number: int) -> np.ndarray:
        """Returns so many new channels."""
        start = len(self._parents)
        self._parents.extend(range(start, start + number))
        return np.arange(start, start + number)

    def join(self, one: np.ndarray, other: np.ndarray) -> None:
        """Joins the channels of two arrays of one shape pair by pair."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parents[self._root(a)] = self._root(b)

    def roots(self) -> np.ndarray:
        """One channel for each set, by channel."""
        return np.array([self._root(channel) for channel in range(len(self._parents))], dtype=np.int64)

    def _root(self, channel: int) -> int:
        parents = self._parents
        while parents[channel] != channel:
            parents[channel] = parents[parents[channel]]
            channel = parents[channel]
        return channel


def agreed(values: Any) -> np.ndarray:
    """The values [C] of several rows [n, C] where all rows have the same, else NaN."""
    rows = np.asarray(values)
    return np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)
