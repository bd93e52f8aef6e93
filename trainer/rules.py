"""Rules: which variables, which groups of weights, which constraint, on which schedule, when."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import keras

import constraints
from constraints import schedules
from constraints.base import Constraint
from trainer import groups
from trainer.config import RuleSettings, ScheduleSettings
from trainer.timeline import Timeline

KERNELS = ("*kernel", "embeddings")


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A variable and the rule it obeys.

    Attributes:
      rule: number of the rule, from 1.
      name: the constraint's key in the registry.
      variable: a trainable variable of the model.
      axes: the axes whose weights share one norm.
      constraint: the set, its hyperparameters numbers or functions of the step.
      project_every: steps between projections.
      rate: share of the way to the projection.
    """

    rule: int
    name: str
    variable: keras.Variable
    axes: tuple[int, ...]
    constraint: Constraint
    project_every: int
    rate: float

    @property
    def num_groups(self) -> int:
        """Number of groups of weights that share one norm."""
        count = 1
        for axis, size in enumerate(self.variable.shape):
            count *= 1 if axis in self.axes else size
        return count


def match(rules: Sequence[RuleSettings], model: keras.Model, timeline: Timeline) -> list[Target]:
    """Finds the variables of each rule.

    Args:
      rules: the rules, in order.
      model: a built model.
      timeline: the length of the run, which percentages and epochs refer to.

    Returns:
      One target for each matched variable, in the model's order.

    Raises:
      ValueError: a pattern matches nothing, two rules claim one variable, or a hyperparameter is out of range.
    """
    owned = list(groups.owners(model))
    targets: dict[str, Target] = {}
    for number, rule in enumerate(rules, start=1):
        try:
            constraint = build_constraint(rule, timeline)
            claimed = _matched(rule, owned)
        except ValueError as error:
            raise ValueError(f"rule {number} ({rule.constraint}): {error}" if len(rules) > 1 else str(error)) from None
        for layer, variable in claimed:
            earlier = targets.get(variable.path)
            if earlier is not None:
                raise ValueError(
                    f"`{variable.path}` is claimed by rule {earlier.rule} ({earlier.name}) and rule {number} "
                    f"({rule.constraint}); narrow the `variables` of one of them."
                )
            targets[variable.path] = Target(
                rule=number,
                name=rule.constraint,
                variable=variable,
                axes=groups.fan_in_axes(layer, variable),
                constraint=constraint,
                project_every=rule.project_every,
                rate=rule.rate,
            )
    return [targets[variable.path] for _, variable in owned if variable.path in targets]


def build_constraint(rule: RuleSettings, timeline: Timeline) -> Constraint:
    """Makes the constraint of a rule, its schedules laid out over the run."""
    values: dict[str, Any] = {
        name: build_schedule(value, timeline) if isinstance(value, ScheduleSettings) else value
        for name, value in rule.values.items()
    }
    return constraints.REGISTRY[rule.constraint](**values)


def build_schedule(settings: ScheduleSettings, timeline: Timeline) -> schedules.Schedule:
    """Makes a schedule; it spans the whole run unless its begin and end say otherwise."""
    options: dict[str, Any] = dict(settings.options)
    make = schedules.SCHEDULES[settings.name]
    if "boundaries" in options:
        options["boundaries"] = tuple(timeline.step(text, "boundaries") for text in options["boundaries"])
    elif settings.name != "constant":
        options["begin"], options["end"] = _span(options, timeline)
    return make(**options)


def matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern fits a variable's path, or the last parts of it: `kernel` fits `hidden_1/kernel`."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")


def _matched(
    rule: RuleSettings, owned: Sequence[tuple[keras.layers.Layer, keras.Variable]]
) -> list[tuple[keras.layers.Layer, keras.Variable]]:
    for pattern in rule.variables or KERNELS[:1]:
        if not any(matches(variable.path, pattern) for _, variable in owned):
            paths = ", ".join(variable.path for _, variable in owned)
            raise ValueError(f"--variables={pattern} matches no trainable variable; the paths are {paths}.")
    patterns = rule.variables or KERNELS
    return [pair for pair in owned if any(matches(pair[1].path, pattern) for pattern in patterns)]


def _span(options: Mapping[str, Any], timeline: Timeline) -> tuple[int, int]:
    begin_text, end_text = options.get("begin", 0), options.get("end", "100%")
    begin, end = timeline.step(begin_text, "begin"), timeline.step(end_text, "end")
    if begin >= end:
        raise ValueError(
            f"begin={begin_text} (step {begin}) is not before end={end_text} (step {end}); "
            f"the run has {timeline.total_steps} steps."
        )
    if end > timeline.total_steps:
        raise ValueError(
            f"end={end_text} (step {end}) is past the run's {timeline.total_steps} steps, so the final value would "
            "never be reached; end at 100% or train longer."
        )
    return begin, end
