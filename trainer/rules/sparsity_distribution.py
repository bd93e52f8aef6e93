"""Distributes a sparsity over the layers of a network: the same for all, or less where there are few weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..packages import constraints
from ..settings.rule import Rule

# Sparsities at which the distribution is computed; between them it is linear up to 1 / n^2, and exact at both ends.
_POINTS = 1001


def distribute(
    rule: Rule, constraint: constraints.Constraint, variables: Sequence[keras.Variable]
) -> list[constraints.Constraint]:
    """The constraint of each variable: the rule's own, or one with the variable's share of its sparsity.

    Args:
      rule: the rule.
      constraint: what it asks for over all variables together.
      variables: the variables it claims.

    Raises:
      ValueError: the rule distributes the sparsity of a constraint that has no sparsity.
    """
    if rule.sparsity_distribution is None:
        return [constraint] * len(variables)
    if "sparsity" not in constraint.bounds():
        raise ValueError(
            f"sparsity_distribution={rule.sparsity_distribution} means nothing to {rule.name}, which has no sparsity."
        )
    if rule.sparsity_distribution == "uniform":
        return [constraint] * len(variables)
    wanted = constraint.bounds()["sparsity"]
    shapes = [tuple(variable.shape) for variable in variables]
    own: list[Any]
    if isinstance(wanted, constraints.schedules.Schedule):
        grid = np.linspace(*wanted.extremes(), _POINTS)
        table = np.array([erdos_renyi(shapes, float(value)) for value in grid])
        own = [constraints.schedules.through(wanted, tuple(grid), tuple(column)) for column in table.T]
    else:
        own = erdos_renyi(shapes, float(wanted))
    given: Any = constraint
    return [dataclasses.replace(given, sparsity=value) for value in own]


def erdos_renyi(shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[float]:
    """Sparsity of each kernel whose density is proportional to (sum of its shape) / (product of its shape).

    Kernels that would be more than full are full, and the others share what is left, so that the densities leave
    `1 - sparsity` of all weights.

    Args:
      shapes: shapes of the kernels.
      sparsity: share of all weights that are zero, in [0, 1).

    Returns:
      Sparsities in [0, 1), one for each shape.

    References:
      Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
      network science", 2018.
      Evci, Gale, Menick, Castro and Elsen, "Rigging the Lottery: Making All Tickets Winners", 2020.
    """
    sizes = np.array([math.prod(shape) for shape in shapes], np.float64)
    raw = np.array([sum(shape) for shape in shapes], np.float64) / np.maximum(sizes, 1)
    full = np.zeros(len(shapes), bool)
    while True:
        room = (1.0 - sparsity) * sizes.sum() - sizes[full].sum()
        scale = room / max((raw * sizes)[~full].sum(), 1e-300)
        over = ~full & (raw * scale > 1.0)
        if not over.any():
            break
        full |= over
    return [0.0 if own else float(1.0 - density) for own, density in zip(full, raw * scale, strict=True)]
