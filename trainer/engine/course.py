"""What a run does at each step as far as its length decides it, and up to which step a longer run does the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from ..packages import constraints
from ..rules.target import Target
from ..settings.run import RunSettings
from ..settings.timeline import Timeline

# [n] steps -> [n] numbers.
Course = Callable[[np.ndarray], np.ndarray]
# Steps that are looked at in one go.
_MANY = 100_000


def courses(
    targets: Iterable[Target], rate: Callable[[tf.Tensor], tf.Tensor], intervals: Mapping[str, int], total_steps: int
) -> dict[str, Course]:
    """What a run does, as functions of the step.

    Args:
      targets: the variables and their rules, see `trainer.engine.projector` for when and how far they are projected.
      rate: the learning rate as a function of the number of steps made.
      intervals: steps between two repetitions, the last step is one as well; name -> number.
      total_steps: the last step of the run.

    Returns:
      What differs, for a message -> its course; step 0 is what training starts from.
    """
    found: dict[str, Course] = {"the learning rate": functools.partial(_rate, rate)}
    for name, interval in intervals.items():
        found[name] = functools.partial(_repeats, interval, total_steps)
    for target in targets:
        if target.name != "none":
            rule = f"rule {target.rule_index} ({target.name}) on {target.label}"
            found[f"the projection of {rule}"] = functools.partial(_share, target, total_steps)
            for field, value in target.constraint.bounds().items():
                if isinstance(value, constraints.schedules.Schedule):
                    found[f"{field} of {rule}"] = functools.partial(_bound, target, value)
    return found


def intervals(settings: RunSettings, timeline: Timeline) -> dict[str, int]:
    """What may change training beside what it is there for -> the steps between two repetitions, for `courses`."""
    counts = {
        "eval_every": settings.early_stopping is not None,
        "summary_every": settings.max_spike is not None,
        "checkpoint_every": settings.max_spike is not None or settings.on_nonfinite == "rollback",
    }
    return {
        f"what --{name} does": timeline.interval(getattr(settings, name), f"--{name}")
        for name, counted in counts.items()
        if counted
    }


def same_until(before: Mapping[str, Course], now: Mapping[str, Course], last: int) -> tuple[int, str]:
    """The last step up to which two runs do the same, at most `last`, and what differs at the next.

    Args:
      before: the courses of the one.
      now: those of the other, under the same names.
      last: the step to stop looking at.

    Returns:
      The step, -1 where they differ from the start, and the name of a course that differs; "" where none does.
    """
    step, what = last, ""
    for name, course in before.items():
        for begin in range(0, step + 1, _MANY):
            steps = np.arange(begin, min(begin + _MANY, step + 1))
            differ = np.flatnonzero(course(steps) != now[name](steps))
            if differ.size:
                step, what = int(steps[differ[0]]) - 1, name
                break
    return step, what


def _rate(rate: Callable[[tf.Tensor], tf.Tensor], steps: np.ndarray) -> np.ndarray:
    """The learning rate of each step, which is that after the steps before it."""
    return rate(tf.constant(np.maximum(steps - 1, 0))).numpy()


def _bound(target: Target, value: constraints.schedules.Schedule, steps: np.ndarray) -> np.ndarray:
    """The bound of each step; 0 where the rule does not hold."""
    return np.where(target.holds(steps), value(tf.constant(steps)).numpy(), 0.0)


def _share(target: Target, total_steps: int, steps: np.ndarray) -> np.ndarray:
    """The share of the way to the projection that is taken after each step; 0 where none is."""
    last = steps == target.last(total_steps)
    due = (steps % target.project_every == 0) | (steps == target.begin) | last
    rate = target.relaxation if target.constraint.proximal else np.where(last, 1.0, target.relaxation)
    return np.where(due & target.holds(steps), rate, 0.0)


def _repeats(interval: int, total_steps: int, steps: np.ndarray) -> np.ndarray:
    """Whether something that is repeated, and done at the end, is done at each step."""
    return (steps % interval == 0) | (steps == total_steps)
