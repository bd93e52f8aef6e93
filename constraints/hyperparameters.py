"""The numbers and options a set depends on: declared once, checked, and written down for Keras."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .schedules import Schedule

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


def option(default: Any, help: str) -> Any:
    """Declares what a set depends on beside numbers: whole numbers that give it its form, which no schedule changes.

    Args:
      default: a tuple of whole numbers of at least 1, one for each that must be given.
      help: one sentence for `--help`.

    Returns:
      A dataclass field, to be named in the constructor.
    """
    return dataclasses.field(default=default, kw_only=True, metadata={"option": help})


def check_order(low: str, below: Any, high: str, above: Any, consequence: str) -> None:
    """Checks that one hyperparameter is never above another.

    Args:
      low: name of the smaller field.
      below: its value, number, schedule or tensor.
      high: name of the larger field.
      above: its value.
      consequence: what is wrong if it is, for the message.

    Raises:
      ValueError: it is, at some step.
    """
    values = below, above
    # What is not known yet is checked when it is: a tensor never, a schedule once its places are steps.
    if any(is_tensor(value) or (isinstance(value, Schedule) and not value.resolved) for value in values):
        return
    scheduled = [value for value in values if isinstance(value, Schedule)]
    steps = sorted({step for schedule in scheduled for step in schedule.bends()} or {0})
    # Two curves may cross between their bends, so evenly spaced steps are looked at too.
    steps = sorted({*steps, *np.linspace(steps[0], steps[-1], _CHECKED_STEPS).astype(np.int64).tolist()})
    with tf.init_scope():
        lows, highs = (
            value(tf.constant(steps, tf.int64)).numpy() if isinstance(value, Schedule) else np.full(len(steps), value)
            for value in values
        )
    wrong = np.flatnonzero(lows > highs)
    if wrong.size:
        when = f" at step {steps[wrong[0]]}" if scheduled else ""
        raise ValueError(
            f"{low}={lows[wrong[0]]:g} is above {high}={highs[wrong[0]]:g}{when}, so {consequence}; "
            f"lower {low} or raise {high}."
        )


def is_tensor(value: Any) -> bool:
    """Whether a hyperparameter is a tensor or a variable, whose value is not known until it is used."""
    return tf.is_tensor(value) or isinstance(value, (tf.Variable, keras.Variable))


def checked_option(field: dataclasses.Field, value: Any) -> tuple[int, ...]:
    """Checks an option's whole numbers.

    Raises:
      ValueError: they are not whole numbers of at least 1, or not as many as in the default.
    """
    several = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    whole = tuple(
        one for one in several if isinstance(one, (int, np.integer)) and not isinstance(one, bool) and one >= 1
    )
    default: Any = field.default
    if len(whole) < len(several) or len(several) != len(default):
        example = ",".join(map(str, default))
        raise ValueError(
            f"{field.name}={value!r} must be {len(default)} whole numbers of at least 1, such as {example}."
        )
    return tuple(int(one) for one in whole)


def checked(field: dataclasses.Field, value: Any) -> Any:
    """Checks a number or a schedule; a tensor's value is not known until it is used."""
    if is_tensor(value):
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


def plain(value: Any) -> Any:
    """A hyperparameter as Keras saves it: a number or, for a schedule, a table."""
    if isinstance(value, Schedule):
        return value.to_dict()
    return float(tf.convert_to_tensor(value)) if is_tensor(value) else value
