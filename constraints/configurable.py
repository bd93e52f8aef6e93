"""A set's fields: declared, checked, compared, scheduled, and saved by Keras."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import keras
import tensorflow as tf

from .hyperparameters import check_order, checked, checked_option, is_tensor, plain
from .layout import checked_axis
from .schedules import Schedule, Timeline, from_dict

# Begins the entry of a saved set that says what to import; see `Configurable.get_config`.
_NEEDS = "run `import "


@dataclasses.dataclass(frozen=True, eq=False)
class Configurable(keras.constraints.Constraint):
    """A dataclass (frozen, `eq=False` as tensors do not compare) whose fields are made by `hyperparameter` or `option`.

    It compares by value, saves and loads with a Keras layer, and any of its hyperparameters may be a schedule.

    Attributes:
      axis: axes whose weights share one group (one norm), as in Keras. None: what `grouping` says, which is all but the
        last, a unit's fan-in, or for some sets (topk) the whole tensor; a vector or a scalar is one group. A layer does
        not tell its constraint what it is, so give `axis` where the last axis is not the unit: `axis=(0, 1)` for
        `depthwise_constraint` of DepthwiseConv2D and `axis=0` of DepthwiseConv1D, `axis=1` for `embeddings_constraint`
        of Embedding, `axis=(0, 1, 3)` for `kernel_constraint` of Conv2DTranspose. MultiHeadAttention hands one
        constraint to kernels of both kinds; `trainer.attach` gives each the right axes.
    """

    axis: int | tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package="constraints")(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        for field in self.numbers():
            object.__setattr__(self, field.name, checked(field, getattr(self, field.name)))
        for field in self.options():
            object.__setattr__(self, field.name, checked_option(field, getattr(self, field.name)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configurable) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def at(self, step: Any) -> Self:
        """The set at a step: each schedule replaced by its value, a float64 scalar tensor.

        Args:
          step: an integer, or a scalar integer tensor.
        """
        moving = {name: value(step) for name, value in self._values().items() if isinstance(value, Schedule)}
        return dataclasses.replace(self, **moving) if moving else self

    def resolve(self, timeline: Timeline) -> Self:
        """The set with the places of its schedules as steps.

        Args:
          timeline: how long the run is, see `constraints.schedules`.

        Raises:
          ValueError: places are out of order or past the end of the run, or one bound crosses another.
        """
        given = [field.name for field in dataclasses.fields(self) if field.init]
        return dataclasses.replace(self, **{name: _resolved(getattr(self, name), timeline) for name in given})

    def bounds(self) -> dict[str, Any]:
        """Every hyperparameter's value (number, tensor or Schedule), the primary one first."""
        return {field.name: getattr(self, field.name) for field in self.hyperparameters()}

    @classmethod
    def numbers(cls) -> tuple[dataclasses.Field, ...]:
        """The fields made by `hyperparameter`, in order."""
        return tuple(field for field in dataclasses.fields(cls) if "help" in field.metadata)

    @classmethod
    def hyperparameters(cls) -> tuple[dataclasses.Field, ...]:
        """Those of `numbers` that are settings."""
        return cls.numbers()

    @classmethod
    def options(cls) -> tuple[dataclasses.Field, ...]:
        """The fields made by `option`, in order."""
        return tuple(field for field in dataclasses.fields(cls) if "option" in field.metadata)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves: plain numbers, schedules as tables, and an entry that says what to import.

        Without that import Keras falls back to its own class of the same name, such as `MaxNorm`, which is another
        set. No class of Keras takes the entry, so that loading fails with its words instead.
        """
        config = {name: plain(value) for name, value in self._values().items()}
        config |= {field.name: list(getattr(self, field.name)) for field in self.options()}
        config["axis"] = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        module, package = type(self).__module__, __name__.rpartition(".")[0]
        return {**config, f"{_NEEDS}{package if module.startswith(f'{package}.') else module}` before loading": True}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the constraint that `get_config` described, with or without the entry that says what to import."""
        values: dict[str, Any] = {
            name: from_dict(value) if isinstance(value, dict) else value
            for name, value in config.items()
            if not name.startswith(_NEEDS)
        }
        return cls(**values)

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
        return tf.cast(tf.convert_to_tensor(value), tf.float64) if is_tensor(value) else tf.constant(value, tf.float64)

    def check_order(self, low: str, high: str, consequence: str = "no weights are feasible") -> None:
        """Checks that one hyperparameter is never above another.

        Args:
          low: name of the smaller field.
          high: name of the larger field.
          consequence: what is wrong if it is, for the message.

        Raises:
          ValueError: it is, at some step.
        """
        check_order(low, getattr(self, low), high, getattr(self, high), consequence)

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in self.numbers()}

    def _key(self) -> tuple:
        """What makes two constraints equal; a tensor or a variable is equal to itself only."""
        values = (id(value) if is_tensor(value) else value for value in self._values().values())
        return type(self), self.axis, *values, *(getattr(self, field.name) for field in self.options())

    def _fixed(self) -> Self:
        """Itself with variables read, as a custom gradient must close over nothing that a tape watches."""
        read = {
            name: tf.convert_to_tensor(value)
            for name, value in self._values().items()
            if isinstance(value, (tf.Variable, keras.Variable))
        }
        return dataclasses.replace(self, **read) if read else self


def _resolved(value: Any, timeline: Timeline) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolved(one, timeline) for one in value)
    return value.resolve(timeline) if isinstance(value, (Schedule, Configurable)) else value
