"""Projects the constrained variables at a step, and measures what the projection did."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from constraints import measures, numerics
from trainer.rules import Target

# Measures of one variable, in the order of the vector that `measured` returns; its bounds follow them.
MEASURES = ("sparsity", "norm_mean", "norm_max", "distance", "active")


class Projector:
    """Moves each target's variable to the nearest feasible point.

    Everything here is a function of the step and of a replica's own copy of the weights. The copies are equal and the
    projections deterministic, so the copies stay equal without a word between replicas.

    Args:
      targets: the variables and their rules.
      total_steps: the last step; it always projects, and fully, so that a run ends feasible.
    """

    def __init__(self, targets: Sequence[Target], total_steps: int):
        self._targets = [target for target in targets if target.name != "none"]
        self._measured = list(targets)
        self._total_steps = total_steps

    def project_fully(self, step: tf.Tensor) -> None:
        """Projects every variable whatever its interval and rate: to the feasible point that training starts from."""
        for target in self._targets:
            target.variable.assign(_projection(target, target.variable.value, step))

    def project(self, step: tf.Tensor, measure: tf.Tensor) -> tf.Tensor:
        """Projects the variables that are due.

        Args:
          step: the step just made, an int64 scalar.
          measure: a bool scalar; the measures are computed only where it is true.

        Returns:
          float64 [`num_rows()`, `width()`]: each target's `MEASURES` and then its bounds, zeros when not measured.
        """
        last = tf.equal(step, self._total_steps)
        pairs = []
        for target in self._measured:
            before = after = tf.convert_to_tensor(target.variable)
            if target.name != "none":
                after = self._projected(target, before, step, last)
                target.variable.assign(after)
            pairs.append((before, after))
        return tf.cond(measure, numerics.rarely(lambda: self._rows(pairs, step)), self._nothing)

    def num_rows(self) -> int:
        """Number of measured variables."""
        return len(self._measured)

    def width(self) -> int:
        """Length of a row of measures."""
        return len(MEASURES) + max((len(target.constraint.bounds()) for target in self._measured), default=0)

    def _projected(self, target: Target, before: tf.Tensor, step: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        def fully() -> tf.Tensor:
            return _projection(target, before, step)

        def partly() -> tf.Tensor:
            if target.rate == 1.0:
                return fully()
            return before + tf.cast(target.rate, before.dtype) * (fully() - before)

        after = partly if target.rate == 1.0 else _either(last, fully, partly)
        if target.project_every == 1:
            return after()
        due = tf.equal(step % target.project_every, 0)
        return tf.cond(due | last, after, lambda: before)

    def _rows(self, pairs: Sequence[tuple[tf.Tensor, tf.Tensor]], step: tf.Tensor) -> tf.Tensor:
        rows = []
        for target, (before, after) in zip(self._measured, pairs, strict=True):
            constraint = target.constraint.at(step)
            values = measures.measure(constraint, before, after, target.axes)
            numbers = [values[name] for name in MEASURES] + [constraint.value(name) for name in constraint.bounds()]
            rows.append(tf.pad(tf.stack(numbers), [[0, self.width() - len(numbers)]]))
        return tf.stack(rows) if rows else self._nothing()

    def _nothing(self) -> tf.Tensor:
        return tf.zeros([self.num_rows(), self.width()], tf.float64)


def _projection(target: Target, weights: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    return target.constraint.at(step)(weights, axes=target.axes)


def _either(condition: tf.Tensor, yes: Callable, no: Callable) -> Callable:
    return lambda: tf.cond(condition, yes, no)
