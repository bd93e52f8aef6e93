"""Proximal maps: steps on a penalty that is no gradient's business, rather than sets to stay in."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import checked, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class Proximal(Constraint):
    """A penalty h on the weights, and its proximal map: `argmin_p ||p - w||^2 / 2 + step h(p)`.

    Calling it makes a step of length 1; after an optimizer step of learning rate r, `stepped(r)` is the map to apply:
    together they are the proximal gradient method, which gives exact zeros where the gradient of a penalty never does.
    There is no set, so nothing is ever infeasible, and a second step shrinks further: `distance` is how far the map
    moves a group, `norm` is what the penalty measures, and `active` tells which groups hold zeros that the map keeps.

    Results are rounded to nearest. A weight that the map does not move comes back bit for bit. Subnormals become 0.

    A subclass multiplies its penalties by the step, as `scaled` does. For a penalty that is not convex, `convex` is
    False and the map is not continuous.

    Attributes:
      step: what all penalties are multiplied by, at least 0.

    References:
      Moreau, "Proximité et dualité dans un espace hilbertien", 1965.
      Parikh and Boyd, "Proximal Algorithms", 2014.
    """

    proximal: ClassVar[bool] = True

    step: Any = hyperparameter(1.0, "What all penalties are multiplied by.", minimum=0.0, kw_only=True)

    @classmethod
    def hyperparameters(cls) -> tuple[dataclasses.Field, ...]:
        """The penalties; the step is no setting but the learning rate's."""
        return tuple(field for field in cls.numbers() if field.name != "step")

    def stepped(self, length: Any) -> Self:
        """The map of a step; of a map that has one already, the product of both.

        Args:
          length: its length, the learning rate: a number or a scalar tensor of at least 0.
        """
        (field,) = (field for field in self.numbers() if field.name == "step")
        length = checked(field, length)
        if isinstance(length, float) and isinstance(self.step, float):
            return dataclasses.replace(self, step=length * self.step)
        return dataclasses.replace(self, step=tf.cast(tf.convert_to_tensor(length), tf.float64) * self.value("step"))

    def scaled(self, name: str) -> tf.Tensor:
        """A penalty times the step: float64 scalar.

        Args:
          name: the penalty's field.
        """
        return self.value("step") * self.value(name)

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        """h of each column, for a step of length 1: float64 [size, groups] -> float64 [groups]."""
        raise NotImplementedError(f"{type(self).__name__} must define `penalty_of`.")

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        rounded = numerics.nearest(p, dtype)
        return tf.where(tf.equal(rounded, 0), tf.zeros_like(rounded), rounded)  # A flushed result may be -0.0.

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        # Arithmetic takes subnormals for zeros, which the map keeps.
        return numerics.without_subnormals(super()._project_reference(w))


def holds_a_zero(w: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Whether each column has a weight of exactly 0 and the threshold is above 0: [size, groups] -> bool [groups]."""
    return tf.reduce_any(~numerics.nonzero(w), axis=0) & (threshold > 0.0)
