"""Updates the optimizer's state of weights that a projection moved.

- keep: changes nothing. The optimizer goes on as if its own step had been taken.
- mask: zeroes the momentum of weights that are exactly zero, so that it does not push them out again.
- reset: zeroes all of the optimizer's state of weights that moved.
- tangent: multiplies the momentum by the derivative of the projection, which keeps the part along the set and removes
  the part that leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..packages import constraints
from ..rules.target import Target
from ..runtime.keras_internals import state_lists


class OptimizerState:
    """The variables that an optimizer keeps for each of the model's variables.

    Args:
      optimizer: built on `variables`.
      variables: the model's trainable variables, in the order the optimizer was built with.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]):
        self._places = {id(variable): place for place, variable in enumerate(variables)}
        self._kinds: dict[str, list[keras.Variable | None]] = {}
        # Keras keeps a list for each kind, such as `momentums`, in the order of the variables.
        for name, kept in state_lists(optimizer).items():
            if _are_slots(kept, variables):
                self._kinds[name] = kept

    def momentums(self, variable: keras.Variable) -> list[keras.Variable]:
        """The running mean of the variable's gradients or steps, if the optimizer keeps one."""
        return self._of(variable, [name for name in self._kinds if name.startswith("momentum")])

    def all(self, variable: keras.Variable) -> list[keras.Variable]:
        """Everything the optimizer keeps for the variable."""
        return self._of(variable, list(self._kinds))

    def update(
        self,
        target: Target,
        constraint: constraints.Constraint,
        before: tf.Tensor,
        after: tf.Tensor,
        rate: tf.Tensor | float,
    ) -> None:
        """Applies the target's rule after a projection.

        Args:
          target: the target whose weights were projected.
          constraint: the target's set at this step.
          before: the packed weights as the optimizer left them.
          after: the projected weights.
          rate: share of the way to the projection that was taken.
        """
        if target.optimizer_state == "keep":
            return
        chosen = self.all if target.optimizer_state == "reset" else self.momentums
        kinds = [chosen(variable) for variable in target.variables]
        for slots in zip(*kinds, strict=True):
            joined = target.packing.pack([tf.convert_to_tensor(slot) for slot in slots])
            updated = _updated(target.optimizer_state, joined, constraint, before, after, rate)
            for slot, value in zip(slots, target.packing.unpack(updated), strict=True):
                slot.assign(value)

    def _of(self, variable: keras.Variable, kinds: Sequence[str]) -> list[keras.Variable]:
        slots = [self._kinds[kind][self._places[id(variable)]] for kind in kinds]
        return [slot for slot in slots if slot is not None]


def _are_slots(kept: list[Any], variables: Sequence[keras.Variable]) -> bool:
    """Whether a list holds a variable of the same shape for each variable, or None if the optimizer needs none."""
    return len(kept) == len(variables) and all(
        slot is None or (isinstance(slot, keras.Variable) and slot.shape == variable.shape)
        for slot, variable in zip(kept, variables, strict=True)
    )


def _updated(
    state: str,
    slot: tf.Tensor,
    constraint: constraints.Constraint,
    before: tf.Tensor,
    after: tf.Tensor,
    rate: tf.Tensor | float,
) -> tf.Tensor:
    if state == "mask":
        return tf.where(tf.equal(after, 0), tf.zeros_like(slot), slot)
    if state == "reset":
        return tf.where(tf.equal(after, before), slot, tf.zeros_like(slot))
    along = constraint.vjp(before, slot)
    return slot + tf.cast(rate, slot.dtype) * (along - slot)
