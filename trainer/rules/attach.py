"""Constraints for a model that Keras trains: on each variable with the groups that its layer asks for."""

from __future__ import annotations

from typing import Any

import keras

from ..packages import constraints
from . import layer_groups, matching


def attach(model: keras.Model, constraint: constraints.Constraint, variables: str = "*kernel") -> list[str]:
    """Has Keras keep a constraint after each optimizer step, grouped by layer as the command line groups it.

    A `kernel_constraint=` has to guess where a kernel's units are; here the layer says it, for depthwise and transposed
    convolutions, embeddings and attention too. Call it on a built model before the first `fit`, which compiles the
    step. Saving keeps the weights but not this: call it again on a model that was loaded.

    Args:
      model: a built model.
      constraint: the set, without `axis`.
      variables: shell pattern over paths, or their last parts, of the variables to constrain.

    Returns:
      The paths of the variables, in the model's order.

    Raises:
      ValueError: the constraint has an axis, the pattern matches nothing, or the set cannot take a variable's shape.
    """
    if constraint.axis is not None:
        raise ValueError(f"axis={constraint.axis!r} would be the same for all layers; leave it out.")
    found = [pair for pair in layer_groups.owners(model) if matching.matches(pair[1].path, variables)]
    if not found:
        paths = ", ".join(variable.path for _, variable in layer_groups.owners(model))
        raise ValueError(f"`{variables}` matches no trainable variable; the paths are {paths}.")
    placed: list[tuple[keras.Variable, Any]] = []
    for layer, variable in found:
        own = layer_groups.grouped(layer, variable, constraint.grouping, constraint, {}, variable.path)
        if own.view != tuple(variable.shape):
            raise ValueError(
                f"`{variable.path}` holds several matrices side by side, which Keras cannot keep apart; narrow "
                "`variables`, or train with a rule."
            )
        placed.append((variable, matching.with_groups(constraint, own)))
        placed[-1][1].check_shape(variable.value.shape)
    for variable, there in placed:
        variable.constraint = there
    return [variable.path for variable, _ in placed]
