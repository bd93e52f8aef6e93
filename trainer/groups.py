"""Which weights of a layer share one norm: a unit's fan-in, whatever the layer, or another of the named groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras

from constraints import Constraint
from constraints.intersection import Intersection
from constraints.joint import Joint

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


# Recurrent cells lay the gates' units side by side in the last axis of their weights. By name, as Keras exports no
# class for the last.
_GATES = {"LSTMCell": 4, "GRUCell": 3, "ConvLSTMCell": 4}


@dataclasses.dataclass(frozen=True)
class Groups:
    """How a variable's weights are told apart.

    Attributes:
      view: the shape that the variable is taken in, which may split an axis.
      axes: axes of the view along which the weights of one group lie (one unit's, for a set that joins units).
      each: axes of the view whose places have a matrix of their own, for a set of matrices.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]
    each: tuple[int, ...] = ()


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


def grouped(
    layer: keras.layers.Layer,
    variable: keras.Variable,
    grouping: str | tuple[int, ...],
    constraint: Constraint,
    heads: dict[int, int],
) -> Groups:
    """The groups of a variable by their name.

    Args:
      layer: the layer that made the variable.
      variable: one of its weights.
      grouping: "unit" (a unit's incoming weights), "tensor" (all of them), "element" (each weight alone), "row" (the
        weights that leave one input), "head" (of attention), "gate" (of a recurrent cell), or the axes themselves.
      constraint: what the groups are for: a set that joins units takes the groups as its units, a set of matrices as
        matrices of their own.
      heads: see `attention_heads`.

    Raises:
      ValueError: the variable has no such groups.
    """
    shape = tuple(variable.shape)
    rank, fan_in = len(shape), fan_in_axes(layer, variable)
    everything = tuple(range(rank))
    matrices = joins_units(constraint) and "tensor" in constraint.groupings
    if isinstance(grouping, tuple):
        outside = [axis for axis in grouping if not -rank <= axis < rank]
        if outside:
            raise ValueError(
                f"group={','.join(map(str, grouping))}: axis {outside[0]} does not exist in `{variable.path}` of shape "
                f"{shape}; use {-rank} to {rank - 1}."
            )
        return Groups(shape, tuple(sorted(axis % rank for axis in grouping)))
    if grouping == "unit" or (grouping == "tensor" and matrices):
        return Groups(shape, fan_in)
    if grouping == "element":
        return Groups(shape, ())
    if grouping == "row":
        return Groups(shape, tuple(axis for axis in everything if axis not in fan_in))
    if grouping in ("head", "gate"):
        view, apart = _apart(layer, variable, grouping, heads)
        if matrices:
            # Of a matrix of units that a variable holds side by side, or that a head contributes to.
            inside = fan_in_axes(layer, variable)
            return Groups(view, tuple(axis for axis in inside if axis != apart), (apart,))
        return Groups(view, tuple(axis for axis in range(len(view)) if axis != apart))
    return Groups(shape, everything)


def joins_units(constraint: Constraint) -> bool:
    """Whether the constraint, or one of several sets, holds for all units of a kernel together."""
    parts = constraint.parts if isinstance(constraint, Intersection) else (constraint,)
    return any(isinstance(part, Joint) for part in parts)


def attention_heads(model: keras.Model) -> dict[int, int]:
    """Where attention layers keep their heads: id of a variable -> the axis of its heads."""
    axes = {}
    for layer in model._flatten_layers():
        # What they share of public names is nothing; these have stood since the first Keras 3.
        for name in ("_query_dense", "_key_dense", "_value_dense", "_output_dense"):
            dense = getattr(layer, name, None)
            if not isinstance(dense, keras.layers.EinsumDense):
                continue
            # [width, heads, length] and [heads, length] in, [heads, length, width] out, whose bias belongs to no head.
            axes[id(dense.kernel)] = 0 if name == "_output_dense" else 1
            if dense.bias is not None and name != "_output_dense":
                axes[id(dense.bias)] = 0
    return axes


def _apart(
    layer: keras.layers.Layer, variable: keras.Variable, grouping: str, heads: dict[int, int]
) -> tuple[tuple[int, ...], int]:
    """The view in which heads or gates have an axis of their own, and that axis."""
    shape = tuple(variable.shape)
    if grouping == "head":
        if id(variable) not in heads:
            raise ValueError(
                f"group=head: `{variable.path}` has no attention heads; narrow `variables` to the query, key, "
                "value and attention_output of attention layers."
            )
        return shape, heads[id(variable)]
    gates = next((_GATES[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in _GATES), None)
    if gates is None:
        raise ValueError(
            f"group=gate: `{variable.path}` has no gates; narrow `variables` to the kernels of lstm and gru layers."
        )
    return (*shape[:-1], gates, shape[-1] // gates), len(shape) - 1
