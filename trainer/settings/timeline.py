"""How long a run is, which turns places in it into steps."""

from __future__ import annotations

import dataclasses
import math

from ..packages import constraints

parse = constraints.schedules.parse


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
        if isinstance(text, int):
            return text
        number, unit = parse(text, name)
        scale = {"": 1, "%": self.total_steps / 100, "ep": self.steps_per_epoch}[unit]
        return math.floor(number * scale + 0.5)

    def interval(self, text: str | int, name: str) -> int:
        """The number of steps between two repetitions, at least one."""
        if parse(text, name)[0] == 0:
            raise ValueError(f"{name}={text} never comes round; expected at least 1 step (1, 10%, 1ep).")
        return max(1, self.step(text, name))
