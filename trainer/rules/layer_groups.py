"""Which weights of a layer share one norm: a unit's fan-in, whatever the layer, or another of the named groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import keras

from ..packages import constraints
from ..runtime.keras_internals import every_layer
from ..settings.rule import sets_of
from . import kernel_axes

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
      along: axis of the view along which windows of consecutive inputs run, for a set that has windows.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]
    each: tuple[int, ...] = ()
    along: int | None = None


def owners(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, keras.Variable]]:
    """Yields each trainable variable once, with the layer that made it, in the model's order.

    Other layers may hold it too: those around its maker, and those that keep it as an attribute, such as an output
    layer that is tied to an embedding.
    """
    holders: dict[int, list[keras.layers.Layer]] = {}
    for layer in every_layer(model):
        for variable in layer.variables:
            holders.setdefault(id(variable), []).append(layer)
    for variable in model.trainable_variables:
        yield _maker(variable, holders[id(variable)]), variable


def _maker(variable: keras.Variable, holders: Sequence[keras.layers.Layer]) -> keras.layers.Layer:
    """The layer whose scope stands in the variable's path, else the first that no other holder is part of."""
    *scope, _ = variable.path.split("/")
    for layer in holders:
        if scope and layer.path == "/".join(scope):
            return layer
    # A weight added before `build` has another scope, which still ends in its layer's name.
    innermost = [layer for layer in holders if not any(part in holders for part in _parts(layer))]
    named = [layer for layer in (*innermost, *holders) if scope and layer.name == scope[-1]]
    return (named or innermost)[0]


# Keras has no public names for the next two, which have stood since its first release 3.


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """All layers within a layer."""
    return list(layer._flatten_layers(include_self=False))


def attention_heads(model: keras.Model) -> dict[int, int]:
    """Where attention layers keep their heads: id of a variable -> the axis of its heads."""
    axes = {}
    for layer in every_layer(model):
        for name in ("_query_dense", "_key_dense", "_value_dense", "_gate_dense", "_output_dense"):
            dense = getattr(layer, name, None)
            if not isinstance(dense, keras.layers.EinsumDense):
                continue
            # [width, heads, length] and [heads, length] in, [heads, length, width] out, whose bias belongs to no head.
            axes[id(dense.kernel)] = 0 if name == "_output_dense" else 1
            if dense.bias is not None and name != "_output_dense":
                axes[id(dense.bias)] = 0
    return axes


def fan_in_axes(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...]:
    """The axes along which a unit's incoming weights lie.

    Args:
      layer: the layer that made the variable.
      variable: one of its weights, of any rank.

    Returns:
      Axes of the variable; a group is the weights that differ in these axes only. A vector is one
      group, and so is a bias of any rank.
    """
    return kernel_axes.axes_of(layer, variable).fan_in


def grouped(
    layer: keras.layers.Layer,
    variable: keras.Variable,
    grouping: str | tuple[int, ...],
    constraint: constraints.Constraint,
    heads: dict[int, int],
    label: str,
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
      label: what messages call the variable.

    Raises:
      ValueError: the variable has no such groups, or the constraint cannot be told for them.
    """
    axes = kernel_axes.axes_of(layer, variable)
    if _has(constraint, constraints.NM):
        return _with_windows(_grouped(axes, layer, variable, grouping, constraint, heads, label), axes, grouping, label)
    return _grouped(axes, layer, variable, grouping, constraint, heads, label)


def _grouped(
    axes: kernel_axes.Axes,
    layer: keras.layers.Layer,
    variable: keras.Variable,
    grouping: str | tuple[int, ...],
    constraint: constraints.Constraint,
    heads: dict[int, int],
    label: str,
) -> Groups:
    shape = tuple(variable.shape)
    matrices = any(isinstance(part, constraints.MatrixSet) and part.matrices for part in sets_of(constraint))
    if isinstance(grouping, tuple):
        return _by_axes(axes, shape, grouping, matrices, label)
    if grouping == "unit" or (grouping == "tensor" and matrices):
        return Groups(axes.view, axes.fan_in, axes.blocks if matrices else ())
    if grouping == "element":
        return Groups(shape, ())
    if grouping == "row":
        if axes.row is None:
            raise ValueError(
                f"group=row: `{label}` is no kernel, so no input's weights can be told apart; narrow `variables` to "
                "kernels."
            )
        return Groups(axes.view, axes.row)
    if grouping in ("head", "gate"):
        view, apart = _apart(layer, variable, grouping, heads, label)
        if matrices:
            # Of a matrix of units that a variable holds side by side, or that a head contributes to.
            inside = axes.fan_in if axes.row is not None else tuple(range(len(view)))
            return Groups(view, tuple(axis for axis in inside if axis != apart), (apart,))
        return Groups(view, tuple(axis for axis in range(len(view)) if axis != apart))
    return Groups(axes.view, tuple(range(len(axes.view))))


def _by_axes(
    axes: kernel_axes.Axes, shape: tuple[int, ...], grouping: tuple[int, ...], matrices: bool, label: str
) -> Groups:
    """Groups by the axes themselves."""
    rank = len(shape)
    written = f"group={','.join(map(str, grouping))}"
    outside = [axis for axis in grouping if not -rank <= axis < rank]
    if outside:
        raise ValueError(
            f"{written}: axis {outside[0]} does not exist in `{label}` of shape {shape}; use {-rank} to {rank - 1}."
        )
    if matrices and axes.blocks:
        raise ValueError(
            f"{written}: `{label}` holds several matrices, one for each group of its channels, which axes cannot "
            "tell apart; leave `group` out."
        )
    return Groups(shape, tuple(sorted(axis % rank for axis in grouping)))


def _with_windows(groups: Groups, axes: kernel_axes.Axes, grouping: str | tuple[int, ...], label: str) -> Groups:
    """The groups with the axis of their windows, which follow a unit's inputs whatever the group."""
    if axes.inputs is None:
        raise ValueError(
            f"nm: the units of `{label}` read no more than one input channel, so there are no windows of several; "
            "narrow `variables` to other kernels."
        )
    if axes.inputs not in groups.axes:
        shown = grouping if isinstance(grouping, str) else ",".join(map(str, grouping))
        raise ValueError(
            f"group={shown}: the windows of nm follow the inputs of `{label}`, its axis {axes.inputs}, which its "
            "groups cut apart; use group=unit, or axes with that one."
        )
    return dataclasses.replace(groups, along=axes.inputs)


def _has(constraint: constraints.Constraint, kind: type[constraints.Constraint]) -> bool:
    return any(isinstance(part, kind) for part in sets_of(constraint))


def joins_units(constraint: constraints.Constraint) -> bool:
    """Whether the constraint, or one of several sets, holds for all units of a kernel together."""
    return _has(constraint, constraints.MatrixSet)


def has_windows(constraint: constraints.Constraint) -> bool:
    """Whether the constraint, or one of several sets, counts weights in windows of consecutive inputs."""
    return _has(constraint, constraints.NM)


def _apart(
    layer: keras.layers.Layer, variable: keras.Variable, grouping: str, heads: dict[int, int], label: str
) -> tuple[tuple[int, ...], int]:
    """The view in which heads or gates have an axis of their own, and that axis."""
    shape = tuple(variable.shape)
    if grouping == "head":
        if id(variable) not in heads:
            raise ValueError(
                f"group=head: `{label}` has no attention heads; narrow `variables` to the query, key, "
                "value and attention_output of attention layers."
            )
        return shape, heads[id(variable)]
    gates = next((_GATES[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in _GATES), None)
    if gates is None:
        raise ValueError(
            f"group=gate: `{label}` has no gates; narrow `variables` to the kernels of lstm and gru layers."
        )
    return (*shape[:-1], gates, shape[-1] // gates), len(shape) - 1
