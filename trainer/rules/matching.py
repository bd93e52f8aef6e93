"""Rules: which variables, which groups of weights, which constraint, on which schedule, when."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..packages import constraints
from ..settings.config import RuleSettings, ScheduleSettings
from ..settings.timeline import Timeline
from . import kernel_axes, layer_groups, sparsity_distribution
from . import target as targets
from .target import Target

# What a rule takes unless it names variables.
KERNELS = ("*kernel", "*embeddings")

# Steps, over a run, at which sets with schedules are seen to have a point in common.
_LOOKS = 21

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
    owned = list(layer_groups.owners(model))
    heads = layer_groups.attention_heads(model)
    names = targets.labels([variable for _, variable in owned])
    order = {id(variable): place for place, (_, variable) in enumerate(owned)}
    made: list[Target] = []
    for number, rule in enumerate(rules, start=1):
        try:
            for target in _targets(number, rule, owned, names, heads, timeline, several=len(rules) > 1):
                _check_unclaimed(target, made)
                made.append(target)
        except ValueError as error:
            where = rule.source or (f"rule {number}" if len(rules) > 1 else "")
            message = str(error)
            if not where and message.partition("=")[0] in rule.values:
                message = f"--{message}"  # As it was written: a hyperparameter does not know that it came from a flag.
            raise ValueError(f"{where} ({rule.constraint}): {message}" if where else message) from None
    return sorted(made, key=lambda target: (order[id(target.variables[0])], target.begin))


def build_constraint(rule: RuleSettings, timeline: Timeline) -> constraints.Constraint:
    """Makes the constraint of a rule, its schedules laid out over the run; of several sets, their intersection."""
    parts: list[Any] = []
    for name in rule.sets:
        values: dict[str, Any] = {
            field: build_schedule(value, timeline) if isinstance(value, ScheduleSettings) else value
            for field, value in _values_of(name, rule).items()
        }
        parts.append(constraints.REGISTRY[name](**values))
    penalties = [name for name, part in zip(rule.sets, parts, strict=True) if part.proximal]
    if penalties and len(parts) > 1:
        raise ValueError(
            f"{penalties[0]} is a penalty, which has no points in common with a set; give it a rule of its own."
        )
    return parts[0] if len(parts) == 1 else constraints.Intersection(tuple(parts))


def build_schedule(settings: ScheduleSettings, timeline: Timeline) -> constraints.schedules.Schedule:
    """Makes a schedule; it spans the whole run unless its begin and end say otherwise."""
    options: dict[str, Any] = dict(settings.options)
    make = constraints.schedules.SCHEDULES[settings.name]
    if "boundaries" in options:
        options["boundaries"] = tuple(timeline.step(text, "boundaries") for text in options["boundaries"])
    elif settings.name != "constant":
        options["begin"], options["end"] = _span(options.get("begin"), options.get("end"), timeline)
    return make(**options)


def matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern fits a variable's path, or the last parts of it: `kernel` fits `hidden_1/kernel`."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")


def _targets(
    number: int,
    rule: RuleSettings,
    owned: Sequence[Owned],
    names: dict[int, str],
    heads: dict[int, int],
    timeline: Timeline,
    several: bool,
) -> list[Target]:
    """The targets of one rule."""
    constraint = build_constraint(rule, timeline)
    claimed = _matched(rule, owned, names)
    grouping = rule.group or constraint.grouping
    if isinstance(grouping, str) and grouping not in constraint.groupings:
        raise ValueError(
            f"{rule.written('group', grouping)} means nothing to {rule.constraint}; "
            f"it takes {', '.join(constraint.groupings)}."
        )
    begin, end = _window(rule, timeline)

    def target(
        label: str, variables: Sequence[keras.Variable], join: targets.Join, placed: constraints.Constraint
    ) -> Target:
        shape = join.join([tf.zeros(variable.shape) for variable in variables]).shape
        try:
            placed.check_shape(shape)
            _check_meets(placed, shape, timeline.total_steps)
        except ValueError as error:
            raise ValueError(f"`{label}`: {error}") from None
        pattern = None
        if "mask" in rule.sets:
            pattern = tf.Variable(tf.ones(shape, tf.bool), trainable=False)
            placed = _keeping(placed, pattern)
        carried = None
        if placed.carried and shape.num_elements() > constraints.numerics.FEW:
            zeros = tf.zeros([placed.carried, placed.num_groups(shape)])
            carried = tf.Variable(zeros, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        return Target(
            rule=number,
            name=rule.constraint,
            label=label,
            variables=tuple(variables),
            names=tuple(names[id(variable)] for variable in variables),
            join=join,
            constraint=placed,
            project_every=rule.project_every,
            rate=rule.rate,
            begin=begin,
            end=end,
            optimizer_state=rule.optimizer_state,
            grouping=grouping if isinstance(grouping, str) else ",".join(map(str, grouping)),
            pattern=pattern,
            # What the rules before it left, if there is a step before it, and no other run to take it from.
            pattern_step=begin - 1 if begin > 0 and rule.pattern_from is None else None,
            carried=carried,
        )

    if grouping == "network":
        return [target(f"network_{number}" if several else "network", *_network(constraint, claimed))]
    biases = _biases(claimed, constraint, names) if rule.with_bias else {}
    joined = {id(bias.variable) for bias in biases.values()}
    claimed = [pair for pair in claimed if id(pair[1]) not in joined]
    budgets = sparsity_distribution.shares(rule, constraint, [variable for _, variable in claimed])
    made = []
    for (layer, variable), budget in zip(claimed, budgets, strict=True):
        label, bias = names[id(variable)], biases.get(id(variable))
        own = layer_groups.grouped(layer, variable, grouping, budget, heads, label)
        if bias is None:
            join = targets.alone(own.view, tuple(variable.shape))
            made.append(target(label, [variable], join, with_groups(budget, own)))
        else:
            join = targets.with_bias(own.view, own.axes, own.each, bias)
            below = layer_groups.Groups((), (1,), (0,)) if own.each else layer_groups.Groups((), (0,))
            made.append(target(label, [variable, bias.variable], join, with_groups(budget, below)))
    if rule.with_bias and all(len(one.variables) == 1 for one in made):
        raise ValueError(f"with_bias: none of {', '.join(one.label for one in made)} has a bias; leave with_bias out.")
    return made


def _network(
    constraint: constraints.Constraint, claimed: Sequence[Owned]
) -> tuple[list[keras.Variable], targets.Join, constraints.Constraint]:
    """All claimed variables as one group, or all their units as one budget."""
    variables = [variable for _, variable in claimed]
    shapes = [tuple(variable.shape) for variable in variables]
    if layer_groups.joins_units(constraint):
        axes = [layer_groups.fan_in_axes(layer, variable) for layer, variable in claimed]
        return variables, targets.side_by_side(shapes, axes), with_groups(constraint, layer_groups.Groups((), (0,)))
    return variables, targets.flat(shapes), constraint


def _biases(
    claimed: Sequence[Owned], constraint: constraints.Constraint, names: dict[int, str]
) -> dict[int, kernel_axes.Bias]:
    """The trainable biases that go with kernels: id of the kernel -> its bias."""
    found = {}
    for layer, variable in claimed:
        label = names[id(variable)]
        try:
            bias = kernel_axes.bias_of(layer, variable)
        except ValueError as error:
            raise ValueError(f"with_bias: `{label}`: {error}; narrow `variables`, or leave with_bias out.") from None
        if bias is not None and id(bias.variable) in names:
            if layer_groups.has_windows(constraint):
                raise ValueError(f"with_bias: a bias is in no window of nm, as with `{label}`; leave with_bias out.")
            found[id(variable)] = bias
    return found


def _check_unclaimed(target: Target, earlier: Sequence[Target]) -> None:
    """Raises ValueError where another rule holds for the same variable at the same time."""
    for other in earlier:
        others = {id(variable) for variable in other.variables}
        both = [name for name, one in zip(target.names, target.variables, strict=True) if id(one) in others]
        apart = (other.end is not None and other.end <= target.begin) or (
            target.end is not None and target.end <= other.begin
        )
        if both and not apart:
            raise ValueError(
                f"`{min(both)}` is claimed by rule {other.rule} ({other.name}) and rule {target.rule} ({target.name}); "
                "narrow the `variables` of one of them, let one end before the other begins, or write both as one "
                f'rule: constraint = ["{other.name}", "{target.name}"].'
            )


def _matched(rule: RuleSettings, owned: Sequence[Owned], names: dict[int, str]) -> list[Owned]:
    typed = [pair for pair in owned if _is_of_type(pair[0], rule.layer_type)]
    if not typed:
        kinds = ", ".join(sorted({type(layer).__name__ for layer, _ in owned}))
        raise ValueError(
            f"{rule.written('layer_type', ','.join(rule.layer_type))} matches no layer with trainable weights; "
            f"they are {kinds}."
        )

    def taken(pattern: str) -> list[Owned]:
        return [pair for pair in typed if matches(pair[1].path, pattern) or matches(names[id(pair[1])], pattern)]

    found = {pattern: taken(pattern) for pattern in rule.variables or KERNELS}
    paths = ", ".join(names[id(variable)] for _, variable in typed)
    for pattern in rule.variables:
        if not found[pattern]:
            raise ValueError(
                f"{rule.written('variables', pattern)} matches no trainable variable; the paths are {paths}."
            )
    chosen = {id(variable) for pairs in found.values() for _, variable in pairs}
    if not chosen:
        raise ValueError(
            "A rule takes kernels and embeddings unless it names others, and there are none among the trainable "
            f"variables; name some by `variables`. The paths are {paths}."
        )
    return [pair for pair in typed if id(pair[1]) in chosen]


def _is_of_type(layer: keras.layers.Layer, names: Sequence[str]) -> bool:
    """Whether a layer is of one of the named types, itself or by inheritance; without names every layer is."""
    kinds = {kind.__name__ for kind in type(layer).__mro__ if issubclass(kind, keras.layers.Layer)}
    return not names or bool(kinds & set(names))


def _values_of(name: str, rule: RuleSettings) -> dict[str, Any]:
    """A set's values: those meant for all sets of the rule that take them, then its own."""
    kind = constraints.REGISTRY[name]
    taken = {field.name for field in (*kind.hyperparameters(), *kind.options())}
    shared = {field: value for field, value in rule.values.items() if field in taken}
    return shared | {
        field.removeprefix(f"{name}."): value for field, value in rule.values.items() if field.startswith(f"{name}.")
    }


def with_groups(constraint: Any, own: layer_groups.Groups) -> constraints.Constraint:
    """The constraint with its groups; several sets share them."""
    if isinstance(constraint, constraints.Intersection):
        parts = tuple(dataclasses.replace(with_groups(part, own), axis=None) for part in constraint.parts)
        return dataclasses.replace(constraint, parts=parts, axis=own.axes)
    options: dict[str, Any] = {"each": own.each} if own.each and isinstance(constraint, constraints.Joint) else {}
    if isinstance(constraint, constraints.NM):
        options["along"] = own.along
    return dataclasses.replace(constraint, axis=own.axes, **options)


def _keeping(constraint: Any, pattern: tf.Variable) -> constraints.Constraint:
    """The constraint with the pattern of zeros that its mask keeps."""
    if isinstance(constraint, constraints.Intersection):
        return dataclasses.replace(constraint, parts=tuple(_keeping(part, pattern) for part in constraint.parts))
    return dataclasses.replace(constraint, pattern=pattern) if isinstance(constraint, constraints.Mask) else constraint


def _check_meets(constraint: constraints.Constraint, shape: tf.TensorShape, total_steps: int) -> None:
    """Raises ValueError where several sets have no point in common, at any of some steps of their schedules."""
    if isinstance(constraint, constraints.Intersection):
        moving = [value for value in constraint.bounds().values() if isinstance(value, constraints.schedules.Schedule)]
        steps = sorted({0, *(int(step) for step in np.linspace(0, total_steps, _LOOKS))}) if moving else [0]
        constraint.check_meets(shape, steps=steps)


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
