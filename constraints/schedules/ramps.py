"""Schedules that lead from one value to another."""

from __future__ import annotations

import dataclasses
import math
from typing import Self

import tensorflow as tf

from .places import Place, Timeline, resolve_span
from .schedule import Schedule


@dataclasses.dataclass(frozen=True, repr=False)
class Ramp(Schedule):
    """From one value to another, held at both ends; p = (step - begin) / (end - begin) is the share of the way.

    Attributes:
      initial: value at `begin` and before.
      final: value at `end` and after.
      begin: the last place with the initial value.
      end: the first place with the final value.
    """

    initial: float
    final: float
    begin: Place = dataclasses.field(default=0, kw_only=True)
    end: Place = dataclasses.field(default="100%", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolved and int(self.begin) >= int(self.end):
            raise ValueError(f"{self.name}: end={self.end} must come after begin={self.begin}.")

    def resolve(self, timeline: Timeline) -> Self:
        begin, end = resolve_span(self.begin, self.end, timeline, f"{self.name}: ")
        return dataclasses.replace(self, begin=begin, end=end)

    def extremes(self) -> tuple[float, float]:
        return min(self.initial, self.final), max(self.initial, self.final)

    def _bends(self) -> tuple[int, ...]:
        return int(self.begin), int(self.end)

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        begin, end = int(self.begin), int(self.end)
        # Each share comes from the step, because 1 minus the other would lose the digits of a value next to zero.
        done, left = (step - begin) / (end - begin), (end - step) / (end - begin)
        # Clipped last: graphs would join the division with a product that follows, and miss the ends.
        value = self._mean(tf.clip_by_value(done, 0.0, 1.0), tf.clip_by_value(left, 0.0, 1.0))
        # Rounding must not lead beyond the ends, because hyperparameters check their range with them.
        return tf.clip_by_value(value, *self.extremes())

    def _mean(self, done: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """The formula, of p and 1 - p: exactly 0 and 1, or 1 and 0, at the ends.

        It is a weighted mean: `final + (initial - final) * left` would miss `initial` by a rounding error.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `_mean`.")


class Linear(Ramp):
    """A straight line: `initial + (final - initial) p`, where p = (step - begin) / (end - begin)."""

    def _mean(self, done: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        return self.initial * left + self.final * done


@dataclasses.dataclass(frozen=True, repr=False)
class Polynomial(Ramp):
    """Fast, then slow: `final + (initial - final) (1 - p)^power`, where p = (step - begin) / (end - begin).

    With power 3 it is the usual ramp of a sparsity, which removes many weights while there is time to recover from it.

    Attributes:
      power: exponent above 0; 1 is a straight line.

    References:
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2018.
    """

    power: float = dataclasses.field(default=3.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power <= 0.0:
            raise ValueError(
                f"polynomial: power={self.power:g} must be above 0; 1 is a straight line, 3 the usual choice."
            )

    def _mean(self, done: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        share = left**self.power
        return self.initial * share + self.final * (1.0 - share)


class Cosine(Ramp):
    """Half a wave: `final + (initial - final) (1 + cos(pi p)) / 2`, where p = (step - begin) / (end - begin).

    References:
      Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017.
    """

    def _mean(self, done: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        # (1 + cos(pi p)) / 2 as squares of sines, which keep their digits next to zero.
        done, left = (tf.square(tf.sin(0.5 * math.pi * share)) for share in (done, left))
        return self.initial * left + self.final * done


class Exponential(Ramp):
    """The same ratio at each step: `initial (final / initial)^p`, where p = (step - begin) / (end - begin)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.extremes()
        if low <= 0.0 <= high:
            raise ValueError(
                f"exponential: initial={self.initial:g} and final={self.final:g} must both be above 0 (or both below): "
                f"no ratio leads from one to the other; use linear or polynomial to reach 0."
            )

    def _mean(self, done: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        # From the nearer end and as a square: `exp` of the whole way would overflow where both ends do not.
        early = done < 0.5
        rate = 0.5 * (math.log(abs(self.final)) - math.log(abs(self.initial)))
        root = tf.exp(rate * tf.where(early, done, -left))
        near = tf.where(early, tf.constant(self.initial, tf.float64), tf.constant(self.final, tf.float64))
        return near * root * root
