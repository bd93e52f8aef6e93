"""How long a run is, which turns places in it into steps."""

from __future__ import annotations

import dataclasses
import math

from ..packages import constraints

parse = constraints.schedules.parse


@dataclasses.dataclass(frozen=True)
class Lengths:
    """What is known of how long a run is.

    Attributes:
      total_steps: optimizer steps in the whole run; None: nobody knows, so that no share of it can be meant.
      steps_per_epoch: optimizer steps in one pass over the training examples; None: nobody knows.
    """

    total_steps: int | None
    steps_per_epoch: int | None

    def step(self, text: str | int, name: str) -> int:
        """The step that `text` stands for, rounded to the nearest one.

        Raises:
          ValueError: `text` is no place in a run, or one that depends on a length that nobody knows.
        """
        if isinstance(text, int):
            return text
        number, unit = parse(text, name)
        if unit == "%":
            if self.total_steps is None:
                raise ValueError(f"{name}={text} is a share of a run of unknown length; give total_steps, or a step.")
            number *= self.total_steps / 100
        elif unit == "ep":
            if self.steps_per_epoch is None:
                raise ValueError(f"{name}={text} counts epochs of unknown length; give steps_per_epoch, or a step.")
            number *= self.steps_per_epoch
        return math.floor(number + 0.5)


@dataclasses.dataclass(frozen=True)
class Timeline(Lengths):
    """How long a run is: both lengths are known."""

    total_steps: int
    steps_per_epoch: int

    def interval(self, text: str | int, name: str) -> int:
        """The number of steps between two repetitions, at least one."""
        if parse(text, name)[0] == 0:
            raise ValueError(f"{name}={text} never comes round; expected at least 1 step (1, 10%, 1ep).")
        return max(1, self.step(text, name))
