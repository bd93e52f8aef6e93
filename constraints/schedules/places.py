"""Places in a run: a step (500), a share of the run ("10%") or epochs ("3ep")."""

from __future__ import annotations

import numbers
import re
from typing import Any, Protocol

import numpy as np

Place = int | str

# At most 12 digits, which every number type holds; ASCII alone, so not `\d`.
_FORMS = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,12})?)(?P<unit>%|ep|)")
# float64, in which schedules are computed, lacks some whole numbers above it.
_LAST_STEP = 2**53


class Timeline(Protocol):
    """What turns places into steps: it knows how long a run is; `total_steps` is None where nobody knows."""

    @property
    def total_steps(self) -> int | None:
        """The last step."""

    def step(self, text: Place, name: str) -> int:
        """The step that a place stands for; `name` is what messages call it."""


def parse(text: Place, name: str) -> tuple[float, str]:
    """Splits `"500"`, `"10%"` or `"3ep"` into a number and its unit.

    Args:
      text: what the user wrote.
      name: the argument, flag or key it was written for, for the message.

    Returns:
      The number and one of `""` (steps), `"%"` (of the whole run) and `"ep"` (epochs).

    Raises:
      ValueError: the text has none of the three forms, or is over 100 %.
    """
    match = _FORMS.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(
            f"{name}={text} is not a point in a run; write a step (500), a share of the run (10%) or epochs (3ep), "
            "with at most 12 digits."
        )
    number, unit = float(match["number"]), match["unit"]
    if unit == "%" and number > 100:
        raise ValueError(f"{name}={text} is past the end of the run; a share lies between 0% and 100%.")
    if unit == "" and not number.is_integer():
        raise ValueError(f"{name}={text} is not a whole step; write {round(number)}, or use 10% or 3ep.")
    return number, unit


def checked_place(value: Any, name: str) -> Place:
    """A place in its shortest form: an int for a step, a text for what depends on the run.

    Args:
      value: a whole number of at least 0, or a text that `parse` takes.
      name: what messages call it.

    Raises:
      ValueError: it is no place.
    """
    if isinstance(value, str):
        number, unit = parse(value, name)
        return value.strip() if unit else int(number)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(
            f"{name}={value!r} must be a step, a whole number of at least 0, a share of the run ('10%') or epochs "
            "('3ep')."
        )
    if int(value) > _LAST_STEP:
        raise ValueError(f"{name}={value} is beyond the last step that float64 tells apart, 2^53.")
    return int(value)


def resolve_span(begin: Place, end: Place, timeline: Timeline, whose: str = "") -> tuple[int, int]:
    """The steps of two places.

    Args:
      begin: the first place.
      end: the second place.
      timeline: how long the run is.
      whose: what messages begin with, such as `cosine: `.

    Raises:
      ValueError: `begin` is not before `end`, or `end` is past the end of the run.
    """
    first, last, total = timeline.step(begin, "begin"), timeline.step(end, "end"), timeline.total_steps
    if first >= last:
        length = "" if total is None else f"; the run has {total} steps"
        raise ValueError(f"{whose}begin={begin} (step {first}) is not before end={end} (step {last}){length}.")
    if total is not None and last > total:
        raise ValueError(
            f"{whose}end={end} (step {last}) is past the run's {total} steps, so the final value would never be "
            "reached; end at 100% or train longer."
        )
    return first, last
