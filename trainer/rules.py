"""Rules: which variables, which groups of weights, which constraint, on which schedule, when."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

import constraints
from constraints import Constraint, schedules
from constraints.joint import Joint
from trainer import groups, spread, targets
from trainer.config import RuleSettings, ScheduleSettings
from trainer.targets import Target
from trainer.timeline import Timeline

KERNELS = ("*kernel", "embeddings")

Owned = tuple[keras.layers.Layer, keras.Variable]


def match(rules: Sequence[RuleSettings], model: keras.Model, timeline: Timeline) -> list[Target]:
    """Finds the variables of each rule.

    Args:
      rules: the rules, in order.
      model: a built model.
      timeline: the length of the run, which percentages and epochs refer to.

    Returns:
      The targets in the model's order, one for each matched variable or for those that a rule joins.

    Raises:
      ValueError: a pattern matches nothing, two rules claim one variable at the same time, a set cannot take a
        variable's shape or groups, its sets do not meet, or a hyperparameter is out of range.
    """
    owned = list(groups.owners(model))
    heads = groups.attention_heads(model)
    order = {variable.path: place for place, (_, variable) in enumerate(owned)}
    made: list[Target] = []
    for number, rule in enumerate(rules, start=1):
        try:
            for target in _targets(number, rule, owned, heads, timeline, several=len(rules) > 1):
                _check_unclaimed(target, made)
                made.append(target)
        except ValueError as error:
            raise ValueError(f"rule {number} ({rule.constraint}): {error}" if len(rules) > 1 else str(error)) from None
    return sorted(made, key=lambda target: (order[target.variables[0].path], target.begin))


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
        options["begin"], options["end"] = _span(options.get("begin"), options.get("end"), timeline)
    return make(**options)


def matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern fits a variable's path, or the last parts of it: `kernel` fits `hidden_1/kernel`."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")


def _targets(
    number: int, rule: RuleSettings, owned: Sequence[Owned], heads: dict[int, int], timeline: Timeline, several: bool
) -> list[Target]:
    """The targets of one rule."""
    constraint = build_constraint(rule, timeline)
    claimed = _matched(rule, owned)
    grouping = rule.group or constraint.grouping
    if isinstance(grouping, str) and grouping not in constraint.groupings:
        raise ValueError(
            f"group={grouping} means nothing to {rule.constraint}; it takes {', '.join(constraint.groupings)}."
        )
    begin, end = _window(rule, timeline)

    def target(label: str, variables: Sequence[keras.Variable], join: targets.Join, placed: Constraint) -> Target:
        shape = join.join([tf.zeros(variable.shape) for variable in variables]).shape
        try:
            placed.check_shape(shape)
        except ValueError as error:
            raise ValueError(f"`{label}`: {error}") from None
        return Target(
            rule=number,
            name=rule.constraint,
            label=label,
            variables=tuple(variables),
            join=join,
            constraint=placed,
            project_every=rule.project_every,
            rate=rule.rate,
            begin=begin,
            end=end,
            optimizer_state=rule.optimizer_state,
            grouping=grouping if isinstance(grouping, str) else ",".join(map(str, grouping)),
        )

    if grouping == "network":
        return [target(f"network_{number}" if several else "network", *_network(constraint, claimed))]
    budgets = spread.shares(rule, constraint, [variable for _, variable in claimed])
    made = []
    for (layer, variable), budget in zip(claimed, budgets, strict=True):
        own = groups.grouped(layer, variable, grouping, budget, heads)
        bias = _bias(layer, variable) if rule.with_bias else None
        if bias is None:
            placed = dataclasses.replace(budget, axis=own.axes, **({"each": own.each} if own.each else {}))
            join = targets.alone(own.view, tuple(variable.shape))
            made.append(target(variable.path, [variable], join, placed))
        else:
            join = targets.with_bias(variable, own.axes, bias)
            made.append(target(variable.path, [variable, bias], join, dataclasses.replace(budget, axis=(0,))))
    if rule.with_bias and all(len(one.variables) == 1 for one in made):
        raise ValueError(f"with_bias: none of {', '.join(one.label for one in made)} has a bias; leave with_bias out.")
    return made


def _network(constraint: Constraint, claimed: Sequence[Owned]) -> tuple[list[keras.Variable], targets.Join, Constraint]:
    """All claimed variables as one group, or all their units as one budget."""
    variables = [variable for _, variable in claimed]
    shapes = [tuple(variable.shape) for variable in variables]
    if isinstance(constraint, Joint):
        axes = [groups.fan_in_axes(layer, variable) for layer, variable in claimed]
        return variables, targets.side_by_side(shapes, axes), dataclasses.replace(constraint, axis=(0,))
    return variables, targets.flat(shapes), constraint


def _bias(layer: keras.layers.Layer, kernel: keras.Variable) -> keras.Variable | None:
    """The bias of a layer's units, for the kernel that brings the layer's input to them."""
    bias = getattr(layer, "bias", None)
    return bias if bias is not None and kernel.name == "kernel" else None


def _check_unclaimed(target: Target, earlier: Sequence[Target]) -> None:
    """Raises ValueError where another rule holds for the same variable at the same time."""
    for other in earlier:
        both = {variable.path for variable in target.variables} & {variable.path for variable in other.variables}
        apart = (other.end is not None and other.end <= target.begin) or (
            target.end is not None and target.end <= other.begin
        )
        if both and not apart:
            raise ValueError(
                f"`{min(both)}` is claimed by rule {other.rule} ({other.name}) and rule {target.rule} ({target.name}); "
                "narrow the `variables` of one of them, let one end before the other begins, or write both as one "
                f'rule: constraint = ["{other.name}", "{target.name}"].'
            )


def _matched(rule: RuleSettings, owned: Sequence[Owned]) -> list[Owned]:
    typed = [pair for pair in owned if _is_of_type(pair[0], rule.layer_type)]
    if not typed:
        kinds = ", ".join(sorted({type(layer).__name__ for layer, _ in owned}))
        raise ValueError(
            f"--layer_type={','.join(rule.layer_type)} matches no layer with trainable weights; they are {kinds}."
        )
    for pattern in rule.variables or KERNELS[:1]:
        if not any(matches(variable.path, pattern) for _, variable in typed):
            paths = ", ".join(variable.path for _, variable in typed)
            raise ValueError(f"--variables={pattern} matches no trainable variable; the paths are {paths}.")
    patterns = rule.variables or KERNELS
    return [pair for pair in typed if any(matches(pair[1].path, pattern) for pattern in patterns)]


def _is_of_type(layer: keras.layers.Layer, names: Sequence[str]) -> bool:
    """Whether a layer is of one of the named types, itself or by inheritance; without names every layer is."""
    kinds = {kind.__name__ for kind in type(layer).__mro__ if issubclass(kind, keras.layers.Layer)}
    return not names or bool(kinds & set(names))


def _window(rule: RuleSettings, timeline: Timeline) -> tuple[int, int | None]:
    """The steps a rule holds at: from the first up to the second, or to the end of the run."""
    if rule.begin is None and rule.end is None:
        return 0, None
    begin, end = _span(rule.begin, rule.end, timeline)
    return begin, None if end == timeline.total_steps else end


def _span(begin_text: Any, end_text: Any, timeline: Timeline) -> tuple[int, int]:
    begin_text, end_text = 0 if begin_text is None else begin_text, "100%" if end_text is None else end_text
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
