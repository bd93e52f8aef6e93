"""What the axes of a layer's weights mean: a unit's inputs, matrices of their own, and the units of a bias."""

from __future__ import annotations

import dataclasses
import math

import keras

layers = keras.layers

# Kernels whose last axis is not the unit. All others (dense, convolutional, recurrent gate by gate) end in their units.
# Fan-in axes, and the axes whose places share neither inputs nor units.
_KERNELS: dict[tuple[type, str], tuple[tuple[int, ...], tuple[int, ...]]] = {
    # [height, width, channel, multiplier]: a filter sees one channel only.
    (layers.DepthwiseConv1D, "kernel"): ((0,), (1,)),
    (layers.DepthwiseConv2D, "kernel"): ((0, 1), (2,)),
    (layers.SeparableConv1D, "depthwise_kernel"): ((0,), (1,)),
    (layers.SeparableConv2D, "depthwise_kernel"): ((0, 1), (2,)),
    # [..., filters, channels]: transposed convolutions store the unit before its inputs.
    (layers.Conv1DTranspose, "kernel"): ((0, 2), ()),
    (layers.Conv2DTranspose, "kernel"): ((0, 1, 3), ()),
    (layers.Conv3DTranspose, "kernel"): ((0, 1, 2, 4), ()),
}
# Layers that scale and shift features one by one: their weights have no inputs to share, whatever their rank.
_FEATURES = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.PReLU,
    layers.RMSNormalization,
)


@dataclasses.dataclass(frozen=True)
class Axes:
    """What the axes of one variable mean.

    Attributes:
      view: the shape that the variable is taken in: its own, or one that gives the groups of a convolution an axis.
      fan_in: axes along which a unit's incoming weights lie, the same in the variable and in the view.
      inputs: the axis of the fan-in along which consecutive inputs lie; None where a unit reads one channel or nothing.
      blocks: axes of the view whose places share neither inputs nor units: groups of a convolution, channels of a
        depthwise one. Each place is a matrix of its own.
      row: axes of the view along which the weights that leave one input lie; None where no input reaches the weights.
    """

    view: tuple[int, ...]
    fan_in: tuple[int, ...]
    inputs: int | None
    blocks: tuple[int, ...] = ()
    row: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Bias:
    """A bias beside its kernel.

    Attributes:
      kernel: the kernel.
      variable: the bias.
      shape: the shape that it is taken in.
      axes: for each axis of `shape` the axis of the kernel's view with the same units; None where its places are
        several biases of one unit.
    """

    kernel: keras.Variable
    variable: keras.Variable
    shape: tuple[int, ...]
    axes: tuple[int | None, ...]


def axes_of(layer: keras.layers.Layer, variable: keras.Variable) -> Axes:
    """The axes of a variable.

    Args:
      layer: the layer that made the variable.
      variable: one of its weights, of any rank. A weight of a layer that is not Keras's is taken for a dense kernel, or
        for one group if it is a vector or is called bias.
    """
    shape = tuple(variable.shape)
    rank, name = len(shape), variable.name
    everything = tuple(range(rank))
    if name == "bias" or isinstance(layer, _FEATURES):
        return Axes(shape, everything, None)
    if rank <= 1:
        return Axes(shape, everything, 0 if rank else None)
    if isinstance(layer, layers.Embedding) and name == "embeddings":
        # [token, width]: a token is an input and a unit at once, and its vector is both.
        return Axes(shape, (1,), 1, row=(1,))
    if isinstance(layer, layers.EinsumDense) and name == "kernel":
        return _einsum(layer.equation, shape)
    for (kind, kernel), (fan_in, blocks) in _KERNELS.items():
        if isinstance(layer, kind) and name == kernel:
            return Axes(shape, fan_in, None if blocks else fan_in[-1], blocks, _others(rank, fan_in + blocks))
    groups = layer.groups if isinstance(layer, (layers.Conv1D, layers.Conv2D, layers.Conv3D)) else 1
    if groups > 1 and name == "kernel":
        # [..., channels of a group, filters]: each run of filters reads channels of its own.
        view = (*shape[:-1], groups, shape[-1] // groups)
        return Axes(view, everything[:-1], rank - 2, (rank - 1,), (rank,))
    return Axes(shape, everything[:-1], rank - 2, (), everything[-1:])


def bias_of(layer: keras.layers.Layer, kernel: keras.Variable) -> Bias | None:
    """The bias that is added to what a kernel makes; None where the layer has none, or for another of its weights.

    Args:
      layer: the layer that made the kernel.
      kernel: one of its weights.

    Raises:
      ValueError: several units share one weight of the bias, so that it is no unit's own.
    """
    separable = isinstance(layer, (layers.SeparableConv1D, layers.SeparableConv2D))
    bias = getattr(layer, "bias", None)
    if not isinstance(bias, keras.Variable) or kernel.name != ("pointwise_kernel" if separable else "kernel"):
        return None
    axes, shape = axes_of(layer, kernel), tuple(bias.shape)
    units = _others(len(axes.view), axes.fan_in)
    sizes = tuple(axes.view[axis] for axis in units)
    if isinstance(layer, layers.EinsumDense):
        return _einsum_bias(layer, kernel, units, axes.view)
    # [units], or [2, units] of a GRU, which adds one to what its inputs make and one to what its state makes.
    count = math.prod(sizes)
    if shape and count in (shape[-1], math.prod(shape)):
        return Bias(kernel, bias, (math.prod(shape) // max(count, 1), *sizes), (None, *units))
    raise ValueError(f"its bias of shape {shape} is not one weight for each of its {count} units")


def _others(rank: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if axis not in axes)


def _einsum(equation: str, shape: tuple[int, ...]) -> Axes:
    """Axes of an einsum's second operand ("abc,cde->abde": c is summed over, d and e are units)."""
    inputs, kernel, output = _letters(equation)
    fan_in = tuple(axis for axis, letter in enumerate(kernel) if letter not in output)
    blocks = tuple(axis for axis, letter in enumerate(kernel) if letter in output and letter in inputs)
    return Axes(shape, fan_in, fan_in[-1] if fan_in else None, blocks, _others(len(shape), fan_in + blocks))


def _einsum_bias(
    layer: keras.layers.EinsumDense, variable: keras.Variable, units: tuple[int, ...], view: tuple[int, ...]
) -> Bias:
    """The bias of an einsum: its axes lie as in the output, and a letter that the kernel lacks is a position."""
    bias, (_, kernel, output) = layer.bias, _letters(layer.equation)
    own = [letter for letter in output if letter in layer.bias_axes]
    shared = [kernel[axis] for axis in units if kernel[axis] not in own and view[axis] > 1]
    if shared:
        raise ValueError(
            f"its bias_axes={layer.bias_axes!r} leave out {', '.join(shared)}, so that several units share one bias"
        )
    # Keras gives each letter that it leaves out behind the first an axis of 1, and the axes of an ellipsis too.
    behind = output[output.index(own[0]) :]
    sizes = [size for size, letter in zip(bias.shape, behind, strict=False) if letter in own]
    alone = [axis for axis in units if kernel[axis] not in own]
    axes = [kernel.index(letter) if letter in kernel else None for letter in own]
    return Bias(variable, bias, (*sizes, *(1 for _ in alone)), (*axes, *alone))


def _letters(equation: str) -> tuple[str, str, str]:
    """Inputs, kernel and output of an einsum, without the ellipses, which stand for axes that a kernel never has."""
    operands, output = equation.replace(" ", "").replace("...", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output
