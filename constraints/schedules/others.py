"""Schedules that are no ramps: constant, in steps, and those that change another schedule."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import tensorflow as tf

from .places import Place
from .schedule import Schedule


@dataclasses.dataclass(frozen=True, repr=False)
class Constant(Schedule):
    """The same value at every step.

    Attributes:
      value: a finite number.
    """

    value: float

    def extremes(self) -> tuple[float, float]:
        return self.value, self.value

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(step), tf.constant(self.value, tf.float64))


@dataclasses.dataclass(frozen=True, repr=False)
class Piecewise(Schedule):
    """Steps: `values[i]` up to but excluding `boundaries[i]`, the last value from the last boundary on.

    Attributes:
      boundaries: increasing places.
      values: one more than the boundaries.
    """

    boundaries: Sequence[Place]
    values: Sequence[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.boundaries if self.resolved else ()
        if not self.boundaries or any(int(later) <= int(earlier) for earlier, later in itertools.pairwise(steps)):
            raise ValueError(f"piecewise: boundaries={list(self.boundaries)} must be one or more increasing steps.")
        if len(self.values) != (count := len(self.boundaries)) + 1:
            raise ValueError(
                f"piecewise: {len(self.values)} values for {count} boundaries; give {count + 1} values, one before "
                "the first boundary and one from each boundary on."
            )

    def extremes(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def _bends(self) -> tuple[int, ...]:
        steps = [int(step) for step in self.boundaries]
        return *steps, *(max(step - 1, 0) for step in steps)

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        passed = tf.cast(step[..., tf.newaxis] >= tf.constant(self.boundaries, tf.float64), tf.int32)
        return tf.gather(tf.constant(self.values, tf.float64), tf.reduce_sum(passed, axis=-1))


@dataclasses.dataclass(frozen=True, repr=False)
class Warmup(Schedule):
    """Another schedule times min(step / steps, 1): from 0 up to it, as learning rates are warmed up.

    Attributes:
      schedule: what to warm up to.
      steps: the place at which it is reached, at least step 1.
    """

    schedule: Schedule
    steps: Place

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == 0:
            raise ValueError("warmup: steps=0 must be at least 1; leave the warm-up out for none.")

    def extremes(self) -> tuple[float, float]:
        low, high = self.schedule.extremes()
        return min(low, 0.0), max(high, 0.0)

    def _bends(self) -> tuple[int, ...]:
        inner = self.schedule.bends()
        return 0, *inner, max(int(self.steps), inner[-1])

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        return self.schedule(step) * tf.clip_by_value(step / int(self.steps), 0.0, 1.0)


@dataclasses.dataclass(frozen=True, repr=False)
class Through(Schedule):
    """Another schedule's value looked up on a polygonal line: what one number of a run means for another.

    Attributes:
      schedule: what is looked up.
      inputs: values in increasing order (one that repeats the last is dropped), from the schedule's smallest to its
        largest; beyond the ends the line is level.
      outputs: the value at each input.
    """

    schedule: Schedule
    inputs: Sequence[float]
    outputs: Sequence[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        x, y = self.inputs, self.outputs
        if len(x) != len(y) or not x:
            raise ValueError(f"through: {len(x)} inputs and {len(y)} outputs; give as many, at least one.")
        new = [place for place in range(len(x)) if place == 0 or x[place] > x[place - 1]]
        object.__setattr__(self, "inputs", tuple(x[place] for place in new))
        object.__setattr__(self, "outputs", tuple(y[place] for place in new))

    def extremes(self) -> tuple[float, float]:
        return min(self.outputs), max(self.outputs)

    def _bends(self) -> tuple[int, ...]:
        return self.schedule.bends()

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        x, y = tf.constant(self.inputs, tf.float64), tf.constant(self.outputs, tf.float64)
        value = self.schedule(step)
        if len(self.inputs) == 1:
            return tf.fill(tf.shape(value), y[0])
        # Not tf.searchsorted, which XLA lacks.
        left = tf.reduce_sum(tf.cast(value[..., tf.newaxis] >= x[1:-1], tf.int32), axis=-1)
        x0, x1, y0, y1 = (tf.gather(*pair) for pair in ((x, left), (x, left + 1), (y, left), (y, left + 1)))
        share = tf.clip_by_value((value - x0) / (x1 - x0), 0.0, 1.0)
        return y0 * (1.0 - share) + y1 * share
