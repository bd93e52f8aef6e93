"""A run on one page: the tables of its variables and rules, and what `run.json` notes of the machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import keras
import tensorflow as tf

from ..packages import constraints
from ..rules import layer_groups
from ..rules import target as targets
from ..rules.target import Target
from ..runtime import surroundings
from .text_table import table

PACKAGES = ("absl-py", "keras", "numpy", "tensorboard", "tensorflow", "tensorflow-datasets")


def variable_table(model: keras.Model, rules: Sequence[Target], step: int) -> str:
    """The table of all trainable variables, and of what joins several: path, shape, rule, groups, bound, norm, zeros.

    Args:
      model: the network.
      rules: its targets. Of those that take turns on a variable, the first that holds after `step` is shown.
      step: where the run is.
    """
    upcoming = [target for target in rules if target.end is None or target.end > step]
    of_variable = {id(variable): target for target in reversed(upcoming) for variable in target.variables}
    names = targets.labels(model.trainable_variables)
    rows = []
    for layer, variable in layer_groups.owners(model):
        target = of_variable.get(id(variable))
        if target is None or len(target.variables) > 1:
            free = constraints.REGISTRY["none"](axis=layer_groups.fan_in_axes(layer, variable))
            rows.append(_row(names[id(variable)], variable.shape, target, free, tf.convert_to_tensor(variable)))
        else:
            constraint = target.constraint.at(step)
            rows.append(_row(names[id(variable)], variable.shape, target, constraint, target.weights()))
    for target in upcoming:
        if len(target.variables) > 1:
            label = " + ".join(target.names[:3])
            label += f" + {len(target.variables) - 3} more" if len(target.variables) > 3 else ""
            weights = target.weights()
            rows.append(_row(f"{target.label}: {label}", weights.shape, target, target.constraint.at(step), weights))
    return table(["variable", "shape", "rule", "groups", "bound", "largest norm", "exact zeros"], rows)


def rules_table(rules: Sequence[Target], total_steps: int) -> str:
    """The table of what each rule takes: variables, groups, times, and bounds at the run's start, middle and end."""
    rows = []
    for target in sorted(rules, key=lambda target: target.rule_index):
        rows.append(
            [
                str(target.rule_index),
                target.name,
                " + ".join(target.names),
                target.grouping,
                f"{target.num_groups:,}",
                f"{target.begin:,} to {total_steps if target.end is None else target.end:,}",
                str(target.project_every),
                *(_bounds(target.constraint.at(step)) for step in (0, total_steps // 2, total_steps)),
            ]
        )
    header = ["rule", "constraint", "variables", "group", "groups", "steps", "every", "at the start", "middle", "end"]
    return table(header, rows)


def card(title: str, settings: Mapping[str, Any], variables: str) -> str:
    """The run as Markdown.

    Args:
      title: one line.
      settings: what makes the run.
      variables: the table of `variable_table`.
    """
    rows = [f"| {name} | {value} |" for name, value in sorted(settings.items())]
    # The variables first: a card of TensorBoard shows ten lines before one has to scroll.
    return "\n".join([f"# {title}", "", "```", variables, "```", "", "| setting | value |", "|---|---|", *rows, ""])


def facts(model: keras.Model, num_replicas: int) -> dict[str, Any]:
    """What `run.json` says of the network's size, the machine, the versions and the command."""
    return {
        "parameters": model.count_params(),
        "replicas": num_replicas,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "environment": surroundings.noted(),
        "command": sys.argv[1:],
    }


def _row(
    label: str, shape: Any, target: Target | None, constraint: constraints.Constraint, weights: tf.Tensor
) -> list[str]:
    norms = constraint.norm(weights).numpy()
    return [
        label,
        "x".join(map(str, shape)),
        target.name if target and target.name != "none" else "",
        str(constraint.num_groups(weights.shape)),
        _bounds(constraint),
        f"{norms.max(initial=0):.4g}",
        f"{float(constraints.measures.sparsity(weights)):.1%}",
    ]


def _bounds(constraint: constraints.Constraint) -> str:
    values = " ".join(f"{float(value):g}" for value in constraint.bounds().values())
    # Nothing can violate a penalty, so its number is no bound.
    return f"penalty {values}" if constraint.proximal else values or "-"
