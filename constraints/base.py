"""What every set shares: groups, schedules, rounding, measures, and Keras."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from constraints import numerics
from constraints.columns import Columns, checked_axis
from constraints.schedules import Schedule, from_dict

# Steps at which two schedules are compared to see that one stays below the other.
_CHECKED_STEPS = 1001


def hyperparameter(
    default: float,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    integer: bool = False,
    kw_only: bool = False,
) -> Any:
    """Declares a number that a set depends on: its constructor argument, its flag, its `--help` and its error at once.

    Args:
      default: value when none is given.
      help: one sentence with the unit, for `--help`.
      minimum: smallest value allowed.
      above: every value must be above it, but a schedule may touch it: a bound may be annealed to 0.
      maximum: largest value allowed.
      below: every value must be below it, a schedule's too.
      integer: whether only whole numbers are allowed.
      kw_only: whether it must be named in the constructor, as it should be where a set has several.

    Returns:
      A dataclass field.
    """
    limits = {"minimum": minimum, "above": above, "maximum": maximum, "below": below, "integer": integer}
    return dataclasses.field(default=default, kw_only=kw_only, metadata={"help": help, **limits})


@dataclasses.dataclass(frozen=True, eq=False)
class Constraint(keras.constraints.Constraint):
    """A set of weights, and the nearest point in it.

    Calling it projects: `constraint(w)` is, for each group of weights, the nearest feasible point. A feasible point
    comes back bit for bit, projecting twice is projecting once, and the result obeys the set after rounding to the
    weights' own type. A group that holds NaN or inf has no nearest point; it comes back as it is and touches no other
    group.

    A subclass is one file: a dataclass (frozen, `eq=False` as tensors do not compare) whose fields are made by
    `hyperparameter` and whose `project` is the formula. It works as `kernel_constraint=` in any Keras layer, and saves
    and loads with it.

    Attributes:
      axis: axes whose weights share one group (one norm), as in Keras. None: all but the last, a unit's fan-in; a
        vector or a scalar is one group.
    """

    axis: int | tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package="constraints")(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        for field in self.hyperparameters():
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constraint) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __call__(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """Projects weights onto the set.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point: shape and type of `w`.

        Raises:
          ValueError: a hyperparameter is a schedule (use `at(step)`), an axis does not exist, or `w` is not
            floating-point.
        """
        w, columns = self._grouped(w, axes)
        return columns.restore(self.nearest(columns.columns(w)))

    def distance(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """How far each group is from the set, before any rounding: l2 norm of `w` minus its nearest feasible point.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes; 0 inside, inf for a group that holds NaN or inf.
        """
        w, columns = self._grouped(w, axes)
        x = tf.cast(columns.columns(w), tf.float64)
        distance = numerics.l2(x - self.project(x, w.dtype), w.dtype)
        return columns.per_group(tf.where(numerics.finite_groups(x), distance, math.inf))

    def norm(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The norm this set speaks of, comparable with its bound where it has one.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes.
        """
        w, columns = self._grouped(w, axes)
        return columns.per_group(self.column_norms(tf.cast(columns.columns(w), tf.float64), w.dtype))

    def active(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """Whether each group is on the boundary of the set, where the constraint holds it back.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          bool, the shape of `w` without the axes.
        """
        w, columns = self._grouped(w, axes)
        return columns.per_group(self.on_boundary(columns.columns(w)))

    def at(self, step: Any) -> Constraint:
        """The set at a step: each schedule replaced by its value, a float64 scalar tensor.

        Args:
          step: an integer, or a scalar integer tensor.
        """
        moving = {name: value(step) for name, value in self.bounds().items() if isinstance(value, Schedule)}
        return dataclasses.replace(self, **moving) if moving else self

    def bounds(self) -> dict[str, Any]:
        """Every hyperparameter's value (number, tensor or Schedule), the primary one first."""
        return {field.name: getattr(self, field.name) for field in self.hyperparameters()}

    def tolerance(self, dtype: tf.DType) -> float:
        """Relative amount by which a projected group's norm may miss its bound, once rounded to the type.

        Args:
          dtype: the weights' type.
        """
        return 2.0**-31

    @classmethod
    def hyperparameters(cls) -> tuple[dataclasses.Field, ...]:
        """The fields made by `hyperparameter`, in order."""
        return tuple(field for field in dataclasses.fields(cls) if "help" in field.metadata)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves: plain numbers, and schedules as tables."""
        config = {name: _plain(value) for name, value in self.bounds().items()}
        return {**config, "axis": list(self.axis) if isinstance(self.axis, tuple) else self.axis}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """Makes the constraint that `get_config` described."""
        values: dict[str, Any] = {
            name: from_dict(value) if isinstance(value, dict) else value for name, value in config.items()
        }
        return cls(**values)

    # What a set defines, on the canonical layout: [size, groups], one group a column.

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The formula: the nearest feasible point of each column.

        Where x is feasible, or a group holds NaN or inf, it must return x itself, to the bit.

        Args:
          x: float64 [size, groups].
          dtype: the weights' own type, which says how close counts as on a sphere.

        Returns:
          float64 [size, groups].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `project`, the nearest point of each column.")

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Rounds a projection to the weights' type; toward zero by default, which keeps a bound on a norm.

        Args:
          p: float64 [size, groups], the projection.
          x: float64 [size, groups], what was projected.
          dtype: the weights' own type.

        Returns:
          [size, groups] of `dtype`.
        """
        return numerics.toward_zero(p, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        """Projects in float64 and rounds back; a set that needs neither overrides it.

        Args:
          w: [size, groups] of the weights' own type.

        Returns:
          [size, groups], the type of `w`.
        """
        x = tf.cast(w, tf.float64)
        p = self.project(x, w.dtype)
        # The weights themselves, not their float64 copy, whose subnormals were flushed to zero; and bits, as NaN equals
        # nothing.
        same = tf.equal(tf.bitcast(p, tf.int64), tf.bitcast(x, tf.int64))
        if w.dtype == tf.float64:
            same |= tf.equal(p, x)  # Times 1 flushed subnormals too.
        return tf.where(same, w, self.rounded(p, x, w.dtype))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """float64 [size, groups] -> float64 [groups]: the norm the set speaks of."""
        return numerics.l2(x, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        """[size, groups] of the weights' own type -> bool [groups]: whether each column is on the boundary."""
        raise NotImplementedError(f"{type(self).__name__} must define `on_boundary`.")

    def value(self, name: str) -> tf.Tensor:
        """A hyperparameter as a float64 scalar.

        Args:
          name: the field.

        Raises:
          ValueError: it is a schedule, whose value depends on the step.
        """
        value = getattr(self, name)
        if isinstance(value, Schedule):
            raise ValueError(f"{name}={value!r} depends on the step; project with `constraint.at(step)(w)`.")
        return tf.cast(tf.convert_to_tensor(value), tf.float64) if _is_tensor(value) else tf.constant(value, tf.float64)

    def check_order(self, low: str, high: str, consequence: str = "no weights are feasible") -> None:
        """Checks that one hyperparameter is never above another.

        Args:
          low: name of the smaller field.
          high: name of the larger field.
          consequence: what is wrong if it is, for the message.

        Raises:
          ValueError: it is, at some step.
        """
        values = getattr(self, low), getattr(self, high)
        if any(_is_tensor(value) for value in values):
            return
        scheduled = [value for value in values if isinstance(value, Schedule)]
        steps = sorted({step for schedule in scheduled for step in schedule.span()} or {0})
        # Bends and steps of either schedule fall between its ends, so these are looked at too.
        steps = sorted({*steps, *np.linspace(steps[0], steps[-1], _CHECKED_STEPS).astype(np.int64).tolist()})
        with tf.init_scope():
            lows, highs = (
                value(tf.constant(steps, tf.int64)).numpy()
                if isinstance(value, Schedule)
                else np.full(len(steps), value)
                for value in values
            )
        wrong = np.flatnonzero(lows > highs)
        if wrong.size:
            when = f" at step {steps[wrong[0]]}" if scheduled else ""
            raise ValueError(
                f"{low}={lows[wrong[0]]:g} is above {high}={highs[wrong[0]]:g}{when}, so {consequence}; "
                f"lower {low} or raise {high}."
            )

    def _key(self) -> tuple:
        """What makes two constraints equal; a tensor or a variable is equal to itself only."""
        values = (id(value) if _is_tensor(value) else value for value in self.bounds().values())
        return type(self), self.axis, *values

    def _grouped(self, w: Any, axes: Any) -> tuple[tf.Tensor, Columns]:
        w = tf.convert_to_tensor(w)
        if not w.dtype.is_floating:
            raise ValueError(f"Weights of type {w.dtype.name} cannot be projected; cast them to a floating-point type.")
        return w, Columns.of(w.shape, self.axis if axes is None else axes)


def _is_tensor(value: Any) -> bool:
    return tf.is_tensor(value) or isinstance(value, (tf.Variable, keras.Variable))


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """Checks a number or a schedule; a tensor's value is not known until it is used."""
    if _is_tensor(value):
        return value
    if isinstance(value, Schedule):
        for extreme in value.extremes():
            _check_range(field, extreme, f"{field.name}={value!r} reaches {extreme:g}, which", touching=True)
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise ValueError(
            f"{field.name}={value!r} must be a number, a schedule or a tensor, not {type(value).__name__}."
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{field.name}={value} must be finite; {_expected(field)}.")
    _check_range(field, number, f"{field.name}={number:g}", touching=False)
    return int(number) if field.metadata["integer"] else number


def _check_range(field: dataclasses.Field, value: float, subject: str, touching: bool) -> None:
    limits = field.metadata
    if limits["above"] is not None and value == limits["above"] and not touching:
        raise ValueError(
            f"{subject} is too small: it would leave a single point, whatever is learnt; give a value above "
            f"{limits['above']:g}, or anneal to it with a schedule."
        )
    if (
        (limits["minimum"] is not None and value < limits["minimum"])
        or (limits["above"] is not None and value < limits["above"])
        or (limits["maximum"] is not None and value > limits["maximum"])
        or (limits["below"] is not None and value >= limits["below"])
        or (limits["integer"] and not float(value).is_integer())
    ):
        raise ValueError(f"{subject} is out of range; {_expected(field)}.")


def _expected(field: dataclasses.Field) -> str:
    words = {"minimum": "at least", "above": "above", "maximum": "at most", "below": "below"}
    limits = [f"{word} {field.metadata[key]:g}" for key, word in words.items() if field.metadata[key] is not None]
    kind = "whole number" if field.metadata["integer"] else "finite number"
    return f"{field.name} takes a {kind} {' and '.join(limits)}".rstrip()


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.to_dict()
    return float(tf.convert_to_tensor(value)) if _is_tensor(value) else value
