"""Schedules: functions that return a function of the step.

Every numeric hyperparameter of a constraint may be one, and a learning rate too:

    bound = cosine(4.0, 0.5, begin=0, end=1000)
    bound(step)  # a float64 scalar, nothing retraces whatever the step

A schedule prints, compares, hashes, and survives `from_dict(schedule.to_dict())`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from . import curves

# From here on float64, in which a schedule is worked out, has not every whole number.
_LAST_STEP = 2**53


@dataclasses.dataclass(frozen=True, repr=False)
class Schedule:
    """A number that depends on the step.

    Made by the functions of this module rather than directly.

    Attributes:
      name: the function that made it.
      arguments: that function's arguments, in order.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, step: Any) -> tf.Tensor:
        """The value at a step.

        Args:
          step: an integer, or an integer tensor of any shape; up to 2^53, every step counts.

        Returns:
          float64, the shape of `step`.
        """
        # A number of Python as float64 at once: TensorFlow would make it a float32, which has no odd steps after 2^24.
        given = tf.constant(step, tf.float64) if isinstance(step, (int, float)) else tf.convert_to_tensor(step)
        return curves.FORMULAS[self.name](tf.cast(given, tf.float64), **dict(self.arguments))

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest value over all steps."""
        if self.name == "through":
            outputs = dict(self.arguments)["outputs"]
            return min(outputs), max(outputs)
        values = _key_values(dict(self.arguments))
        if self.name == "warmup":
            values += [0.0]
        return min(values), max(values)

    def span(self) -> tuple[int, int]:
        """The first and the last step between which the value changes; (0, 0) for a constant."""
        arguments = dict(self.arguments)
        if self.name == "warmup":
            return 0, max(arguments["steps"], arguments["schedule"].span()[1])
        if self.name == "through":
            return arguments["schedule"].span()
        if "boundaries" in arguments:
            return arguments["boundaries"][0], arguments["boundaries"][-1]
        return arguments.get("begin", 0), arguments.get("end", 0)

    def bends(self) -> tuple[int, ...]:
        """The steps at which the formula changes, increasing: both ends of `span`, and around each boundary."""
        arguments = dict(self.arguments)
        inner = arguments["schedule"].bends() if self.name in _OF_ANOTHER else ()
        jumps = arguments.get("boundaries", ())
        return tuple(sorted({*self.span(), *inner, *jumps, *(max(step - 1, 0) for step in jumps)}))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts, from which `from_dict` makes an equal schedule."""
        plain = {name: _plain(value) for name, value in self.arguments}
        return {"schedule": self.name, **({"of": plain.pop("schedule")} if self.name in _OF_ANOTHER else {}), **plain}

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments)})"


def constant(value: float) -> Schedule:
    """The same value at every step.

    Args:
      value: a finite number.

    Raises:
      ValueError: `value` is not a finite number.
    """
    return _schedule("constant", value=_number("constant", "value", value))


def linear(initial: float, final: float, *, begin: int = 0, end: int) -> Schedule:
    """A straight line: `initial + (final - initial) p`, where p = (step - begin) / (end - begin), held at both ends.

    Args:
      initial: value at `begin` and before.
      final: value at `end` and after.
      begin: the last step with the initial value.
      end: the first step with the final value.

    Raises:
      ValueError: a value is not finite, `begin` is negative, or `end` is not after `begin`.
    """
    return _ramp("linear", initial, final, begin, end)


def polynomial(initial: float, final: float, *, begin: int = 0, end: int, power: float = 3.0) -> Schedule:
    """Fast, then slow: `final + (initial - final) (1 - p)^power`, where p = (step - begin) / (end - begin).

    With power 3 it is the usual ramp of a sparsity, which removes many weights while there is time to recover from it.

    Args:
      initial: value at `begin` and before.
      final: value at `end` and after.
      begin: the last step with the initial value.
      end: the first step with the final value.
      power: exponent above 0; 1 is a straight line.

    Raises:
      ValueError: a value is not finite, `begin` is negative, `end` is not after `begin`, or `power` is not above 0.

    References:
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2018.
    """
    power = _number("polynomial", "power", power)
    if power <= 0.0:
        raise ValueError(f"polynomial: power={power:g} must be above 0; 1 is a straight line, 3 the usual choice.")
    return _ramp("polynomial", initial, final, begin, end, power=power)


def cosine(initial: float, final: float, *, begin: int = 0, end: int) -> Schedule:
    """Half a wave: `final + (initial - final) (1 + cos(pi p)) / 2`, where p = (step - begin) / (end - begin).

    Args:
      initial: value at `begin` and before.
      final: value at `end` and after.
      begin: the last step with the initial value.
      end: the first step with the final value.

    Raises:
      ValueError: a value is not finite, `begin` is negative, or `end` is not after `begin`.

    References:
      Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017.
    """
    return _ramp("cosine", initial, final, begin, end)


def exponential(initial: float, final: float, *, begin: int = 0, end: int) -> Schedule:
    """The same ratio at each step: `initial (final / initial)^p`, where p = (step - begin) / (end - begin).

    Args:
      initial: value at `begin` and before, not 0.
      final: value at `end` and after, not 0, of the same sign.
      begin: the last step with the initial value.
      end: the first step with the final value.

    Raises:
      ValueError: a value is not finite or 0, the signs differ, `begin` is negative, or `end` is not after `begin`.
    """
    schedule = _ramp("exponential", initial, final, begin, end)
    if min(initial, final) <= 0 <= max(initial, final):
        raise ValueError(
            f"exponential: initial={initial:g} and final={final:g} must both be above 0 (or both below): no ratio "
            f"leads from one to the other; use linear or polynomial to reach 0."
        )
    return schedule


def piecewise(boundaries: tuple[int, ...], values: tuple[float, ...]) -> Schedule:
    """Steps: `values[i]` up to but excluding step `boundaries[i]`, the last value from the last boundary on.

    Args:
      boundaries: increasing steps.
      values: one more than the boundaries.

    Raises:
      ValueError: the boundaries do not increase, the counts do not match, or a value is not finite.
    """
    if not isinstance(boundaries, (tuple, list)) or not isinstance(values, (tuple, list)):
        raise ValueError(f"piecewise: boundaries={boundaries!r} and values={values!r} must be lists of numbers.")
    steps = tuple(_step("piecewise", "boundaries", step) for step in boundaries)
    numbers_ = tuple(_number("piecewise", "values", value) for value in values)
    if not steps or any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(f"piecewise: boundaries={list(steps)} must be one or more increasing steps.")
    if len(numbers_) != len(steps) + 1:
        raise ValueError(
            f"piecewise: {len(numbers_)} values for {len(steps)} boundaries; give {len(steps) + 1} values, one before "
            f"the first boundary and one from each boundary on."
        )
    return _schedule("piecewise", boundaries=steps, values=numbers_)


def with_warmup(schedule: Schedule, steps: int) -> Schedule:
    """The schedule times min(step / steps, 1): from 0 up to the schedule itself, as learning rates are warmed up.

    Args:
      schedule: what to warm up to.
      steps: steps until the schedule is reached, at least 1.

    Raises:
      ValueError: `steps` is not a whole number of at least 1, or `schedule` is not a Schedule.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"with_warmup: {schedule!r} is not a schedule; wrap a number as constant({schedule!r}).")
    if _step("with_warmup", "steps", steps) < 1:
        raise ValueError(f"with_warmup: steps={steps} must be at least 1; leave the warm-up out for none.")
    return _schedule("warmup", schedule=schedule, steps=int(steps))


def through(schedule: Schedule, inputs: tuple[float, ...], outputs: tuple[float, ...]) -> Schedule:
    """The schedule's value looked up on a polygonal line: what one number of a run means for another.

    Args:
      schedule: what is looked up.
      inputs: values in increasing order (one that repeats the last is dropped), from the schedule's smallest to its
        largest; beyond the ends the line is level.
      outputs: the value at each input.

    Raises:
      ValueError: the counts differ, or `schedule` is not a Schedule.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"through: {schedule!r} is not a schedule; look a number up before.")
    if len(inputs) != len(outputs) or not inputs:
        raise ValueError(f"through: {len(inputs)} inputs and {len(outputs)} outputs; give as many, at least one.")
    x = tuple(_number("through", "inputs", value) for value in inputs)
    y = tuple(_number("through", "outputs", value) for value in outputs)
    new = [place for place in range(len(x)) if place == 0 or x[place] > x[place - 1]]
    return _schedule("through", schedule=schedule, inputs=tuple(x[i] for i in new), outputs=tuple(y[i] for i in new))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
    "linear": linear,
    "piecewise": piecewise,
    "polynomial": polynomial,
}


# Functions of another schedule.
_OF_ANOTHER = ("through", "warmup")


def from_dict(table: Mapping[str, Any]) -> Schedule:
    """Makes the schedule that `Schedule.to_dict` described.

    Args:
      table: `schedule`, a key of `SCHEDULES`, "warmup" or "through", and that function's arguments.

    Raises:
      ValueError: the name is unknown or an argument is missing, unknown or out of range.
    """
    arguments = dict(table)
    name = arguments.pop("schedule", None)
    if name not in _OF_ANOTHER and name not in SCHEDULES:
        raise ValueError(f"{dict(table)!r}: schedule={name!r} is not known; choose from {', '.join(SCHEDULES)}.")
    try:
        if name == "warmup":
            return with_warmup(from_dict(arguments["of"]), arguments["steps"])
        if name == "through":
            return through(from_dict(arguments["of"]), tuple(arguments["inputs"]), tuple(arguments["outputs"]))
        return SCHEDULES[name](**arguments)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{dict(table)!r} does not describe a schedule: {error}.") from None


def _ramp(name: str, initial: float, final: float, begin: int, end: int, **more: Any) -> Schedule:
    initial, final = _number(name, "initial", initial), _number(name, "final", final)
    begin, end = _step(name, "begin", begin), _step(name, "end", end)
    if end <= begin:
        raise ValueError(f"{name}: end={end} must come after begin={begin}.")
    return _schedule(name, initial=initial, final=final, begin=begin, end=end, **more)


def _schedule(name: str, **arguments: Any) -> Schedule:
    return Schedule(name, tuple(arguments.items()))


def _number(schedule: str, name: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{schedule}: {name}={value!r} must be a finite number.")
    return number + 0.0  # 0.0 for -0.0, which no end of a ramp could be equal to in all bits.


def _step(schedule: str, name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{schedule}: {name}={value!r} must be a step, a whole number of at least 0.")
    if int(value) > _LAST_STEP:
        raise ValueError(f"{schedule}: {name}={value} is beyond the last step that float64 tells apart, 2^53.")
    return int(value)


def _key_values(arguments: Mapping[str, Any]) -> list[float]:
    """The values between which a schedule moves; every formula is monotone between two of them."""
    if "schedule" in arguments:
        return list(arguments["schedule"].extremes())
    return [arguments[name] for name in ("value", "initial", "final") if name in arguments] or list(arguments["values"])


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value
