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
from ..settings.rule import FLAGS, Rule, in_words_of, written
from ..settings.timeline import Lengths
from . import kernel_axes, layer_groups, sparsity_distribution
from . import target as targets
from .target import Target

# What a rule takes unless it names variables.
KERNELS = ("*kernel", "*embeddings")

# Steps, over a run, at which sets with schedules are seen to have a point in common.
_LOOKS = 21

Owned = tuple[keras.layers.Layer, keras.Variable]


def match(rules: Sequence[Rule], model: keras.Model, timeline: Lengths) -> list[Target]:
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
            message = in_words_of(rule.source, str(error), rule.to_table())
            where = "" if rule.source == FLAGS else rule.source
            where = where or (f"rule {number}" if len(rules) > 1 else "")
            raise ValueError(f"{where} ({rule.name}): {message}" if where else message) from None
    return sorted(made, key=lambda target: (order[id(target.variables[0])], target.begin))


def matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern fits a variable's path, or the last parts of it: `kernel` fits `hidden_1/kernel`."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")


def _targets(
    number: int,
    rule: Rule,
    owned: Sequence[Owned],
    names: dict[int, str],
    heads: dict[int, int],
    timeline: Lengths,
    several: bool,
) -> list[Target]:
    """The targets of one rule."""
    rule = rule.resolve(timeline)
    constraint = rule.constraint
    claimed = _matched(rule, owned, names)
    grouping: Any = rule.group or constraint.grouping
    if isinstance(grouping, str) and grouping not in constraint.groupings:
        raise ValueError(
            f"{written('group', grouping, rule.source)} means nothing to {rule.name}; "
            f"it takes {', '.join(constraint.groupings)}."
        )
    begin = int(rule.begin or 0)

    def target(
        label: str, variables: Sequence[keras.Variable], packing: targets.Packing, placed: constraints.Constraint
    ) -> Target:
        shape = packing.pack([tf.zeros(variable.shape) for variable in variables]).shape
        try:
            placed.check_shape(shape)
            _check_meets(placed, shape, timeline.total_steps)
        except ValueError as error:
            raise ValueError(f"`{label}`: {error}") from None
        mask = None
        if rule.keeps_zeros:
            mask = tf.Variable(tf.ones(shape, tf.bool), trainable=False)
            placed = _keeping(placed, mask)
        warm_start = None
        if placed.warm_start and shape.num_elements() > constraints.numerics.SMALL_SIZE:
            zeros = tf.zeros([placed.warm_start, placed.num_groups(shape)])
            warm_start = tf.Variable(zeros, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        return Target(
            rule_index=number,
            name=rule.name,
            label=label,
            variables=tuple(variables),
            names=tuple(names[id(variable)] for variable in variables),
            packing=packing,
            constraint=placed,
            project_every=rule.project_every,
            relaxation=rule.relaxation,
            begin=begin,
            end=None if rule.end is None else int(rule.end),
            optimizer_state=rule.optimizer_state,
            grouping=grouping if isinstance(grouping, str) else ",".join(map(str, grouping)),
            mask=mask,
            # What the rules before it left, if there is a step before it, and no other run to take it from.
            mask_step=begin - 1 if begin > 0 and rule.mask_from is None else None,
            warm_start=warm_start,
        )

    if grouping == "network":
        return [target(f"network_{number}" if several else "network", *_network(constraint, claimed))]
    biases = _biases(claimed, constraint, names) if rule.with_bias else {}
    joined = {id(bias.variable) for bias in biases.values()}
    claimed = [pair for pair in claimed if id(pair[1]) not in joined]
    budgets = sparsity_distribution.distribute(rule, constraint, [variable for _, variable in claimed])
    made = []
    for (layer, variable), budget in zip(claimed, budgets, strict=True):
        label, bias = names[id(variable)], biases.get(id(variable))
        own = layer_groups.grouped(layer, variable, grouping, budget, heads, label)
        if bias is None:
            packing = targets.reshape(own.view, tuple(variable.shape))
            made.append(target(label, [variable], packing, with_groups(budget, own)))
        else:
            packing = targets.with_bias(own.view, own.axes, own.each, bias)
            below = layer_groups.Groups((), (1,), (0,)) if own.each else layer_groups.Groups((), (0,))
            made.append(target(label, [variable, bias.variable], packing, with_groups(budget, below)))
    if rule.with_bias and all(len(one.variables) == 1 for one in made):
        raise ValueError(f"with_bias: none of {', '.join(one.label for one in made)} has a bias; leave with_bias out.")
    return made


def _network(
    constraint: constraints.Constraint, claimed: Sequence[Owned]
) -> tuple[list[keras.Variable], targets.Packing, constraints.Constraint]:
    """All claimed variables as one group, or all their units as one budget."""
    variables = [variable for _, variable in claimed]
    shapes = [tuple(variable.shape) for variable in variables]
    if layer_groups.joins_units(constraint):
        axes = [layer_groups.fan_in_axes(layer, variable) for layer, variable in claimed]
        return variables, targets.stack_units(shapes, axes), with_groups(constraint, layer_groups.Groups((), (0,)))
    return variables, targets.concatenate(shapes), constraint


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
                f"`{min(both)}` is claimed by rule {other.rule_index} ({other.name}) and rule {target.rule_index} "
                f"({target.name}); narrow the `variables` of one of them, let one end before the other begins, or "
                f'write both as one rule: constraint = ["{other.name}", "{target.name}"].'
            )


def _matched(rule: Rule, owned: Sequence[Owned], names: dict[int, str]) -> list[Owned]:
    typed = [pair for pair in owned if _is_of_type(pair[0], rule.layer_type)]
    if not typed:
        kinds = ", ".join(sorted({type(layer).__name__ for layer, _ in owned}))
        raise ValueError(
            f"{written('layer_type', ','.join(rule.layer_type), rule.source)} matches no layer with trainable weights; "
            f"they are {kinds}."
        )

    def taken(pattern: str) -> list[Owned]:
        return [pair for pair in typed if matches(pair[1].path, pattern) or matches(names[id(pair[1])], pattern)]

    found = {pattern: taken(pattern) for pattern in rule.variables or KERNELS}
    paths = ", ".join(names[id(variable)] for _, variable in typed)
    for pattern in rule.variables:
        if not found[pattern]:
            raise ValueError(
                f"{written('variables', pattern, rule.source)} matches no trainable variable; the paths are {paths}."
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


def with_groups(constraint: Any, own: layer_groups.Groups) -> constraints.Constraint:
    """The constraint with its groups; several sets share them."""
    if isinstance(constraint, constraints.Intersection):
        parts = tuple(dataclasses.replace(with_groups(part, own), axis=None) for part in constraint.sets)
        return dataclasses.replace(constraint, sets=parts, axis=own.axes)
    options: dict[str, Any] = {"each": own.each} if own.each and isinstance(constraint, constraints.MatrixSet) else {}
    if isinstance(constraint, constraints.NM):
        options["along"] = own.along
    return dataclasses.replace(constraint, axis=own.axes, **options)


def _keeping(constraint: Any, mask: tf.Variable) -> constraints.Constraint:
    """The constraint with the zeros that its mask keeps."""
    if isinstance(constraint, constraints.Intersection):
        return dataclasses.replace(constraint, sets=tuple(_keeping(part, mask) for part in constraint.sets))
    return dataclasses.replace(constraint, pattern=mask) if isinstance(constraint, constraints.Mask) else constraint


def _check_meets(constraint: constraints.Constraint, shape: tf.TensorShape, total_steps: int | None) -> None:
    """Raises ValueError where several sets have no point in common, at any of some steps of their schedules."""
    if isinstance(constraint, constraints.Intersection):
        moving = [value for value in constraint.bounds().values() if isinstance(value, constraints.schedules.Schedule)]
        last = total_steps or max((value.bends()[-1] for value in moving), default=0)
        steps = sorted({0, *(int(step) for step in np.linspace(0, last, _LOOKS))}) if moving else [0]
        constraints.check_nonempty(constraint, shape, steps=steps)
