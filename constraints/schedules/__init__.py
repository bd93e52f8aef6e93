"""Schedules: numbers that depend on the step.

Every numeric hyperparameter of a constraint may be one, and the learning rate of a Keras optimizer too:

    bound = cosine(4.0, 0.5, begin=0, end=1000)
    bound(step)  # a float64 scalar, nothing retraces whatever the step

A place in a run is a step (500), a share of the run ("10%") or epochs ("3ep"); `resolve` turns places into steps. A
schedule prints, compares, hashes, and survives `from_dict(schedule.to_dict())` and Keras's serialisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .others import Constant, Piecewise, Through, Warmup
from .places import Place, Timeline, checked_place, parse, resolve_span
from .ramps import Cosine, Exponential, Linear, Polynomial, Ramp
from .schedule import Schedule, from_dict

__all__ = [
    "SCHEDULES",
    "Place",
    "Ramp",
    "Schedule",
    "Timeline",
    "checked_place",
    "constant",
    "cosine",
    "exponential",
    "from_dict",
    "linear",
    "parse",
    "piecewise",
    "polynomial",
    "resolve_span",
    "through",
    "with_warmup",
]


# The classes say what the arguments mean.


def constant(value: float) -> Constant:
    """The same value at every step, see `Constant`."""
    return Constant(value)


def linear(initial: float, final: float, *, begin: Place = 0, end: Place = "100%") -> Linear:
    """A straight line, see `Linear`."""
    return Linear(initial, final, begin=begin, end=end)


def polynomial(
    initial: float, final: float, *, begin: Place = 0, end: Place = "100%", power: float = 3.0
) -> Polynomial:
    """Fast, then slow, see `Polynomial`."""
    return Polynomial(initial, final, begin=begin, end=end, power=power)


def cosine(initial: float, final: float, *, begin: Place = 0, end: Place = "100%") -> Cosine:
    """Half a wave, see `Cosine`."""
    return Cosine(initial, final, begin=begin, end=end)


def exponential(initial: float, final: float, *, begin: Place = 0, end: Place = "100%") -> Exponential:
    """The same ratio at each step, see `Exponential`."""
    return Exponential(initial, final, begin=begin, end=end)


def piecewise(boundaries: Sequence[Place], values: Sequence[float]) -> Piecewise:
    """A value for each part of the run, see `Piecewise`."""
    return Piecewise(boundaries, values)


def with_warmup(schedule: Schedule, steps: Place) -> Warmup:
    """Another schedule that rises from 0 first, see `Warmup`."""
    return Warmup(schedule, steps)


def through(schedule: Schedule, inputs: Sequence[float], outputs: Sequence[float]) -> Through:
    """Another schedule's value looked up on a line, see `Through`."""
    return Through(schedule, inputs, outputs)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
    "linear": linear,
    "piecewise": piecewise,
    "polynomial": polynomial,
}
