"""Points and spans of a run, written as a step, a share of the run, or epochs."""

from __future__ import annotations

import dataclasses
import math
import re

# Of a length that every number type holds: no run has 10^12 steps, and only the ten digits of ASCII are meant.
_FORMS = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,12})?)(?P<unit>%|ep|)")


def parse(text: str | int, name: str) -> tuple[float, str]:
    """Splits `"500"`, `"10%"` or `"3ep"` into a number and its unit.

    Args:
      text: what the user wrote.
      name: the flag or key it was written for, for the message.

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


@dataclasses.dataclass(frozen=True)
class Timeline:
    """How long a run is.

    Attributes:
      total_steps: optimizer steps in the whole run.
      steps_per_epoch: optimizer steps in one pass over the training examples.
    """

    total_steps: int
    steps_per_epoch: int

    def step(self, text: str | int, name: str) -> int:
        """The step that `text` stands for, rounded to the nearest one."""
        number, unit = parse(text, name)
        scale = {"": 1, "%": self.total_steps / 100, "ep": self.steps_per_epoch}[unit]
        return math.floor(number * scale + 0.5)

    def interval(self, text: str | int, name: str) -> int:
        """The number of steps between two repetitions, at least one."""
        if parse(text, name)[0] == 0:
            raise ValueError(f"{name}={text} never comes round; expected at least 1 step (1, 10%, 1ep).")
        return max(1, self.step(text, name))
