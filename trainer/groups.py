"""Which weights of a layer's kernel share one norm: a unit's fan-in, whatever the layer."""

from __future__ import annotations

from collections.abc import Iterator

import keras

# Kernels whose last axis is not the unit. All others (dense, convolutional, recurrent gate by gate) end in their units.
_FAN_IN: dict[tuple[type, str], tuple[int, ...]] = {
    # [height, width, channel, multiplier]: a filter sees one channel only.
    (keras.layers.DepthwiseConv1D, "kernel"): (0,),
    (keras.layers.DepthwiseConv2D, "kernel"): (0, 1),
    (keras.layers.SeparableConv1D, "depthwise_kernel"): (0,),
    (keras.layers.SeparableConv2D, "depthwise_kernel"): (0, 1),
    # [..., filters, channels]: transposed convolutions store the unit before its inputs.
    (keras.layers.Conv1DTranspose, "kernel"): (0, 2),
    (keras.layers.Conv2DTranspose, "kernel"): (0, 1, 3),
    (keras.layers.Conv3DTranspose, "kernel"): (0, 1, 2, 4),
    # [token, width]: the unit is a token's whole vector.
    (keras.layers.Embedding, "embeddings"): (1,),
}


def owners(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, keras.Variable]]:
    """Yields each trainable variable once, with the innermost layer that made it, in the model's order."""
    made_by = {}
    # Inner layers come after the layers that hold them, so the last one to claim a variable is its maker.
    for layer in model._flatten_layers():
        for variable in layer.trainable_variables:
            made_by[id(variable)] = layer
    for variable in model.trainable_variables:
        yield made_by[id(variable)], variable


def fan_in_axes(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...]:
    """The axes along which a unit's incoming weights lie.

    Args:
      layer: the layer that made the variable.
      variable: one of its weights, of any rank.

    Returns:
      Axes of the variable; a group is the weights that differ in these axes only. A vector is one
      group, and so is a bias of any rank.
    """
    rank = len(variable.shape)
    if rank <= 1 or variable.name == "bias":
        return tuple(range(rank))
    if isinstance(layer, keras.layers.EinsumDense) and variable.name == "kernel":
        return _contracted(layer.equation)
    for (kind, name), axes in _FAN_IN.items():
        if isinstance(layer, kind) and variable.name == name:
            return axes
    return tuple(range(rank - 1))


def _contracted(equation: str) -> tuple[int, ...]:
    """Axes of an einsum's second operand that its output lacks: those a unit sums over ("abc,cde->abde": axis 0)."""
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1].replace("...", "")
    return tuple(axis for axis, letter in enumerate(kernel) if letter not in output)
