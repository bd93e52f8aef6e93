"""What a rule acts on: a variable, or several whose weights are joined, and the rule they obey."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..packages import constraints
from .kernel_axes import Bias


@dataclasses.dataclass(frozen=True)
class Packing:
    """Weights of several variables as one tensor, and back.

    Attributes:
      pack: the variables' tensors -> one.
      unpack: one -> the variables' tensors.
    """

    pack: Callable[[Sequence[tf.Tensor]], tf.Tensor]
    unpack: Callable[[tf.Tensor], list[tf.Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """Variables that obey one rule together, most often one alone.

    Attributes:
      rule_index: number of the rule, from 1.
      name: the constraint's key in the registry; several are joined by +.
      label: what tables and tags call it: its variable's name, or what joins several.
      variables: trainable variables of the model.
      packing: how their weights become the tensor that the constraint takes.
      constraint: the set, its groups those of that tensor, its hyperparameters numbers or functions of the step.
      names: what messages, tables and tags call each variable, see `labels`; by default their paths.
      project_every: steps between projections.
      relaxation: share of the way to the projection.
      begin: the first step the rule holds at.
      end: the step from which it no longer holds; None: it holds to the end.
      optimizer_state: see `trainer.engine.optimizer_state`.
      grouping: the name of its groups.
      mask: for `mask`, where weights may be non-zero: a bool variable.
      mask_step: the step whose weights it is taken from; None: it was there before the first.
      warm_start: where the constraint's next projection starts, see `Constraint.project_warm`: each replica's
        own float32 [numbers, groups]; None where it carries nothing.
    """

    rule_index: int
    name: str
    label: str
    variables: tuple[keras.Variable, ...]
    packing: Packing
    constraint: constraints.Constraint
    names: tuple[str, ...] = ()
    project_every: int = 1
    relaxation: float = 1.0
    begin: int = 0
    end: int | None = None
    optimizer_state: str = "keep"
    grouping: str = "unit"
    mask: tf.Variable | None = None
    mask_step: int | None = None
    warm_start: tf.Variable | None = None

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", tuple(variable.path for variable in self.variables))

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    @property
    def num_groups(self) -> int:
        """Number of groups of weights that share one norm."""
        shape = self.packing.pack([tf.zeros(variable.shape) for variable in self.variables]).shape
        return self.constraint.num_groups(shape)

    @property
    def state(self) -> list[tf.Variable]:
        """What a run must remember of it beside the weights."""
        return [variable for variable in (self.mask, self.warm_start) if variable is not None]

    def weights(self) -> tf.Tensor:
        """The present weights as the tensor that the constraint takes."""
        return self.packing.pack([tf.convert_to_tensor(variable) for variable in self.variables])

    def holds(self, step: Any) -> Any:
        """Whether the rule holds at a step: bool, or a bool tensor for a tensor."""
        begun = step >= self.begin
        return begun if self.end is None else begun & (step < self.end)

    def last(self, total_steps: int) -> int:
        """The last step the rule holds at, in a run of so many."""
        return total_steps if self.end is None else self.end - 1

    @property
    def always(self) -> bool:
        """Whether the rule holds from the first step to the last."""
        return self.begin == 0 and self.end is None


def labels(variables: Sequence[keras.Variable]) -> dict[int, str]:
    """What messages, tables and tags call the variables of a model: id of each -> its path.

    The name of the model, which begins the path of every variable of a `Sequential`, is left out. Keras lets several
    variables have one path, as two networks of one builder do; those after the first are numbered, as in `PATH#2`.
    """
    paths = [variable.path.split("/") for variable in variables]
    inside = len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 2
    counts: dict[str, int] = {}
    found = {}
    for variable, parts in zip(variables, paths, strict=True):
        path = "/".join(parts[inside:])
        number = counts[path] = counts.get(path, 0) + 1
        found[id(variable)] = path if number == 1 else f"{path}#{number}"
    return found


def reshape(view: tuple[int, ...], shape: tuple[int, ...]) -> Packing:
    """One variable, taken in the shape `view`."""
    if view == shape:
        return Packing(lambda tensors: tensors[0], lambda joined: [joined])
    return Packing(lambda tensors: tf.reshape(tensors[0], view), lambda joined: [tf.reshape(joined, shape)])


def with_bias(view: tuple[int, ...], axes: tuple[int, ...], each: tuple[int, ...], bias: Bias) -> Packing:
    """A kernel as a matrix [fan-in, units] over its bias: a unit's column ends in what is added to it.

    Args:
      view: the shape that the kernel is taken in.
      axes: axes of the view along which the weights of one group lie.
      each: axes of the view whose places have a matrix of their own; if there are any, the result is [matrices, fan-in
        and bias, units].
      bias: the bias and where its units lie, see `trainer.rules.kernel_axes`.
    """
    rest = tuple(axis for axis in range(len(view)) if axis not in axes + each)
    order = (*each, *axes, *rest)
    size, units = (math.prod(view[axis] for axis in some) for some in (axes, rest))
    shape = [math.prod(view[axis] for axis in each)] if each else []
    inside = [place for place, axis in enumerate(bias.axes) if axis is None or axis in axes]
    below = [*map(bias.axes.index, each), *inside, *map(bias.axes.index, rest)]
    rows = math.prod(bias.shape[place] for place in inside)
    kernel_shape, bias_shape = bias.kernel.shape, tuple(bias.variable.shape)

    def pack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        top = tf.reshape(tf.transpose(tf.reshape(tensors[0], view), order), [*shape, size, units])
        bottom = tf.reshape(tf.transpose(tf.reshape(tensors[1], bias.shape), below), [*shape, rows, units])
        return tf.concat([top, bottom], axis=-2)

    def unpack(joined: tf.Tensor) -> list[tf.Tensor]:
        top, bottom = tf.split(joined, [size, rows], axis=-2)
        kernel = _turned_back(top, [view[axis] for axis in order], order)
        added = _turned_back(bottom, [bias.shape[place] for place in below], below)
        return [tf.reshape(kernel, kernel_shape), tf.reshape(added, bias_shape)]

    return Packing(pack, unpack)


def _turned_back(x: tf.Tensor, shape: Sequence[int], order: Sequence[int]) -> tf.Tensor:
    """Undoes a transpose to `order`, whose result had `shape` before it was reshaped to x."""
    return tf.transpose(tf.reshape(x, shape), [order.index(axis) for axis in range(len(order))])


def concatenate(shapes: Sequence[tuple[int, ...]]) -> Packing:
    """All weights of all variables, end to end: one vector, which is one group."""
    sizes = [math.prod(shape) for shape in shapes]

    def pack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)

    def unpack(joined: tf.Tensor) -> list[tf.Tensor]:
        return [tf.reshape(part, shape) for part, shape in zip(tf.split(joined, sizes), shapes, strict=True)]

    return Packing(pack, unpack)


def stack_units(shapes: Sequence[tuple[int, ...]], axes: Sequence[tuple[int, ...]]) -> Packing:
    """All units of all variables as the columns of one matrix, filled up with zeros, which change no norm.

    Args:
      shapes: shape of each variable.
      axes: its fan-in axes.
    """
    pairs = list(zip(shapes, axes, strict=True))
    orders = [(*own, *(axis for axis in range(len(shape)) if axis not in own)) for shape, own in pairs]
    sizes = [math.prod(shape[axis] for axis in own) for shape, own in pairs]
    units = [math.prod(size for axis, size in enumerate(shape) if axis not in own) for shape, own in pairs]
    height = max(sizes)

    def pack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        columns = []
        for tensor, order, size in zip(tensors, orders, sizes, strict=True):
            matrix = tf.reshape(tf.transpose(tensor, order), [size, -1])
            columns.append(tf.pad(matrix, [[0, height - size], [0, 0]]))
        return tf.concat(columns, axis=1)

    def unpack(joined: tf.Tensor) -> list[tf.Tensor]:
        parts = zip(tf.split(joined, units, axis=1), shapes, orders, sizes, strict=True)
        return [_turned_back(part[:size], [shape[axis] for axis in order], order) for part, shape, order, size in parts]

    return Packing(pack, unpack)
