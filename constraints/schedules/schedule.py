"""What every schedule shares: places, checks, and the ways it is written down."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from .places import Timeline, checked_place

_PLACES = frozenset({"begin", "end", "boundaries", "steps"})
_SEVERAL = frozenset({"boundaries", "values", "inputs", "outputs"})
_KINDS: dict[str, type[Schedule]] = {}


@dataclasses.dataclass(frozen=True, repr=False)
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A number that depends on the step: a hyperparameter of a constraint, or a learning rate of Keras.

    A subclass is a frozen dataclass. Its fields are the arguments of the formula, and `_value` is the formula.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__.lower()
        _KINDS[cls.name] = cls
        keras.saving.register_keras_serializable(package="constraints")(cls)

    def __post_init__(self) -> None:
        for name, value in self.arguments:
            object.__setattr__(self, name, self._checked(name, value))

    def __call__(self, step: Any) -> tf.Tensor:
        """The value at a step.

        Args:
          step: an integer, or an integer tensor of any shape; up to 2^53, every step counts.

        Returns:
          float64, the shape of `step`.

        Raises:
          ValueError: a place is a share of the run or epochs; `resolve` turns it into a step.
        """
        self._check_resolved()
        # A number of Python as float64 at once: TensorFlow would make it a float32, which has no odd steps after 2^24.
        given = tf.constant(step, tf.float64) if isinstance(step, (int, float)) else tf.convert_to_tensor(step)
        return self._value(tf.cast(given, tf.float64))

    @property
    def arguments(self) -> tuple[tuple[str, Any], ...]:
        """The arguments of the formula by name, in order."""
        return tuple((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))

    @property
    def resolved(self) -> bool:
        """Whether every place is a step."""
        return not any(
            not value.resolved if isinstance(value, Schedule) else any(isinstance(one, str) for one in _listed(value))
            for _, value in self.arguments
        )

    def resolve(self, timeline: Timeline) -> Self:
        """The schedule with every place as a step.

        Args:
          timeline: how long the run is.

        Raises:
          ValueError: the places are out of order, or past the end of the run.
        """
        steps: dict[str, Any] = {}
        for name, value in self.arguments:
            if isinstance(value, Schedule):
                steps[name] = value.resolve(timeline)
            elif name in _PLACES:
                several = tuple(timeline.step(place, name) for place in _listed(value))
                steps[name] = several if name in _SEVERAL else several[0]
        return dataclasses.replace(self, **steps)

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest value over all steps."""
        raise NotImplementedError(f"{type(self).__name__} must define `extremes`.")

    def bends(self) -> tuple[int, ...]:
        """The steps at which the formula changes, increasing; (0,) for a constant."""
        self._check_resolved()
        return tuple(sorted(set(self._bends())))

    def span(self) -> tuple[int, int]:
        """The first and the last step between which the value changes; (0, 0) for a constant."""
        steps = self.bends()
        return steps[0], steps[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts, from which `from_dict` makes an equal schedule."""
        table: dict[str, Any] = {"schedule": self.name}
        for name, value in self.arguments:
            if isinstance(value, Schedule):
                table["of"] = value.to_dict()
            else:
                table[name] = list(value) if isinstance(value, tuple) else value
        return table

    def get_config(self) -> dict[str, Any]:
        """What Keras saves: see `to_dict`."""
        return self.to_dict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Makes the schedule that `get_config` described."""
        return from_dict(config)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments)})"

    def _value(self, step: tf.Tensor) -> tf.Tensor:
        """The formula: float64 of any shape -> float64 of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define `_value`.")

    def _bends(self) -> tuple[int, ...]:
        return (0,)

    def _check_resolved(self) -> None:
        if not self.resolved:
            raise ValueError(
                f"{self!r} depends on the length of the run; write its places as steps, or use what "
                "`resolve(timeline)` returns."
            )

    def _checked(self, name: str, value: Any) -> Any:
        if name == "schedule":
            if not isinstance(value, Schedule):
                raise ValueError(f"{self.name}: {value!r} is not a schedule; wrap a number as constant({value!r}).")
            return value
        check = checked_place if name in _PLACES else _finite
        if name not in _SEVERAL:
            return check(value, f"{self.name}: {name}")
        if not isinstance(value, (tuple, list)):
            raise ValueError(f"{self.name}: {name}={value!r} is no list; such arguments must be lists.")
        return tuple(check(one, f"{self.name}: {name}") for one in value)


def from_dict(table: Mapping[str, Any]) -> Schedule:
    """Makes the schedule that `Schedule.to_dict` described.

    Args:
      table: `schedule`, the name in lower case, and the schedule's arguments; `of` is the table of another schedule.

    Raises:
      ValueError: the name is unknown or an argument is missing, unknown or out of range.
    """
    arguments = dict(table)
    name = arguments.pop("schedule", None)
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"{dict(table)!r}: schedule={name!r} is not known; choose from {', '.join(sorted(_KINDS))}.")
    if "of" in arguments:
        arguments["schedule"] = from_dict(arguments.pop("of"))
    try:
        return _KINDS[name](**arguments)
    except TypeError as error:
        raise ValueError(f"{dict(table)!r} does not describe a schedule: {error}.") from None


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _finite(value: Any, name: str) -> float:
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r} must be a finite number.")
    return number + 0.0  # 0.0 for -0.0, which no end of a ramp could be equal to in all bits.
