"""Projects the constrained variables at a step, and measures what the projection did."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from ..packages import constraints
from ..rules.target import Target
from .optimizer_state import OptimizerState

# Columns of a target's row of measures; its bounds follow. `residual` is the largest distance of a projected group from
# any set of an intersection.
MEASURES = ("sparsity", "norm_mean", "norm_max", "distance", "active", "residual")


class Projector:
    """Moves each target's weights to the nearest feasible point.

    A rule projects at its first step, at every multiple of its interval, and at its last step. The last projection is
    full whatever the rule's rate, so that a run ends feasible and a later rule starts from a feasible point.

    Each replica projects its own copy of the weights. The copies are equal and the projections deterministic, so the
    copies stay equal without communication.

    Args:
      targets: the variables and their rules.
      total_steps: the last step of the run.
      optimizer_state: what the optimizer keeps beside each weight, for rules that change it.
      learning_rate: a function of the step, which proximal maps are stepped by.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        total_steps: int,
        optimizer_state: OptimizerState | None = None,
        learning_rate: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ):
        self._targets = [target for target in targets if target.name != "none"]
        self._measured = list(targets)
        self._total_steps = total_steps
        self._optimizer_state = optimizer_state
        self._learning_rate = learning_rate

    def project_fully(self, step: tf.Tensor) -> None:
        """Projects every variable whatever its interval and rate, to the feasible point that training starts from.

        The weights of a proximal map stay, because it projects only after a step.
        """
        for target in self._targets:
            if target.constraint.proximal:
                continue
            weights = target.weights()
            nearest = target.constraint.at(step).project(weights)
            _assign(target, nearest if target.always else tf.where(target.holds(step), nearest, weights))
        self._remember(step)

    def project(self, step: tf.Tensor, measure: tf.Tensor) -> tf.Tensor:
        """Projects the variables that are due.

        Args:
          step: the step just made, an int64 scalar.
          measure: a bool scalar; the measures are computed only where it is true.

        Returns:
          float64 [`num_rows()`, `width()`]: each target's `MEASURES` and then its bounds, zeros when not measured.
        """
        pairs = []
        for target in self._measured:
            before = after = target.weights()
            if target.name != "none":
                after = self._projected(target, before, step)
                _assign(target, after)
            pairs.append((before, after))
        self._remember(step)
        return tf.cond(measure, constraints.numerics.outlined(lambda: self._rows(pairs, step)), self._nothing)

    def measure(self, step: tf.Tensor) -> tf.Tensor:
        """The rows of `project`, of the weights as they are."""
        pairs = [(weights, weights) for weights in (target.weights() for target in self._measured)]
        return self._rows(pairs, step)

    def num_rows(self) -> int:
        """Number of measured targets."""
        return len(self._measured)

    def width(self) -> int:
        """Length of a row of measures."""
        return len(MEASURES) + max((len(target.constraint.bounds()) for target in self._measured), default=0)

    def _projected(self, target: Target, before: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        last = tf.equal(step, target.last(self._total_steps))

        def move() -> tf.Tensor:
            constraint = self._at(target, step)
            after = self._nearest(target, constraint, before)
            rate: tf.Tensor | float = target.relaxation
            if target.relaxation != 1.0 and not constraint.proximal:
                rate = tf.where(last, 1.0, target.relaxation)
                # Take the projection itself at the last step, because the weighted mean may round away from it.
                partly = before + tf.cast(rate, before.dtype) * (after - before)
                after = tf.where(last, after, partly)
            if self._optimizer_state is not None:
                self._optimizer_state.update(target, constraint, before, after, rate)
            return after

        if target.project_every == 1 and target.always:
            return move()
        due = tf.equal(step % target.project_every, 0) | tf.equal(step, target.begin) | last
        return tf.cond(due & target.holds(step), move, lambda: before)

    def _nearest(self, target: Target, constraint: constraints.Constraint, weights: tf.Tensor) -> tf.Tensor:
        if target.warm_start is None:
            return constraint.project(weights)
        nearest, warm_start = constraint.project_warm(weights, target.warm_start)
        # Write this replica's copy. `assign` waits for the other replicas.
        tf.raw_ops.AssignVariableOp(resource=target.warm_start.handle, value=warm_start)
        return nearest

    def _at(self, target: Target, step: tf.Tensor) -> constraints.Constraint:
        """The target's set at a step. A proximal map gets the length of all steps since its last turn."""
        constraint = target.constraint.at(step)
        if not constraint.proximal or self._learning_rate is None:
            return constraint
        # The optimizer counted this step already when the rate it used, a float32, is asked for.
        rate = tf.cast(tf.cast(self._learning_rate(step - 1), tf.float32), tf.float64)
        steps = (step - 1) % target.project_every + 1
        if target.begin > 0:
            # Steps before the rule's first step do not count.
            steps = tf.minimum(steps, tf.maximum(step - target.begin, 1))
        return constraint.stepped(rate * tf.cast(steps, tf.float64) * target.relaxation)

    def _remember(self, step: tf.Tensor) -> None:
        """Stores the zeros that a later rule keeps, after the rules before it have projected."""
        for target in self._targets:
            if target.mask is not None and target.mask_step is not None:
                mask, weights = target.mask, target.weights()
                now = tf.equal(step, target.mask_step)
                mask.assign(tf.where(now, constraints.numerics.magnitude_bits(weights) > 0, tf.convert_to_tensor(mask)))

    def _rows(self, pairs: Sequence[tuple[tf.Tensor, tf.Tensor]], step: tf.Tensor) -> tf.Tensor:
        rows = []
        for target, (before, after) in zip(self._measured, pairs, strict=True):
            constraint = self._at(target, step)
            values = constraints.measures.measure(constraint, before, after)
            residual = (
                constraint.residual(after)
                if isinstance(constraint, constraints.Intersection)
                else tf.zeros([0], tf.float64)
            )
            values["residual"] = tf.reduce_max(tf.pad(tf.reshape(residual, [-1]), [[1, 0]]))
            bounds = target.constraint.at(step)
            numbers = [values[name] for name in MEASURES] + [bounds.value(name) for name in bounds.bounds()]
            rows.append(tf.pad(tf.stack(numbers), [[0, self.width() - len(numbers)]]))
        return tf.stack(rows) if rows else self._nothing()

    def _nothing(self) -> tf.Tensor:
        return tf.zeros([self.num_rows(), self.width()], tf.float64)


def _assign(target: Target, weights: tf.Tensor) -> None:
    for variable, value in zip(target.variables, target.packing.unpack(weights), strict=True):
        variable.assign(value)
