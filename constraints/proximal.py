"""Proximal maps: steps on a penalty that is no gradient's business, rather than sets to stay in."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from constraints.base import Constraint


@dataclasses.dataclass(frozen=True, eq=False)
class Proximal(Constraint):
    """A penalty h on the weights, and its proximal map: `argmin_p ||p - w||^2 / 2 + step h(p)`.

    Calling it makes a step of length 1; after an optimizer step of learning rate r, `stepped(r)` is the map to apply:
    together they are the proximal gradient method, which gives exact zeros where the gradient of a penalty never does.
    There is no set, so nothing is ever infeasible: `distance` is how far the map moves a group, and `active` tells
    which groups it holds at zero.

    A subclass multiplies its penalties by `self.value("step")`.

    Attributes:
      step: what all penalties are multiplied by.
    """

    proximal: ClassVar[bool] = True

    step: Any = dataclasses.field(default=1.0, kw_only=True)

    def stepped(self, length: Any) -> Proximal:
        """The map of a step.

        Args:
          length: its length, the learning rate: a number or a scalar tensor of at least 0.
        """
        return dataclasses.replace(self, step=tf.cast(length, tf.float64) * self.value("step"))

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        """h of each column, for a step of length 1: float64 [size, groups] -> float64 [groups]."""
        raise NotImplementedError(f"{type(self).__name__} must define `penalty_of`.")
