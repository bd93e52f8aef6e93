"""Groups against brute force: perturb one weight, and see which outputs move, and which inputs reach them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from scripts import groups_table
from scripts.groups_table import LAYERS, PAGE, members, network, target
from tests.support.rules import rule_of
from tests.support.suites import fast
from trainer.rules import kernel_axes, layer_groups, matching
from trainer.settings.timeline import Timeline

layers = keras.layers
# Axes of a layer's output, after the batch, whose places are units; all others are positions. Elsewhere it is the last.
UNITS = {
    "EinsumDense abc,bcd->abd": (0, 1),
    "EinsumDense abc,dbc->abd": (0, 1),
    "EinsumDense abc,cde->abed": (1, 2),
    "EinsumDense abc,cde->abde, bias d": (1, 2),
    "EinsumDense abc,cd->adb, bias db": (0,),
}
FEATURES = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "PReLU")
FAST = ("EinsumDense abc,cde->abed", "EinsumDense abc,dbc->abd", "Embedding", "Conv1D, 2 groups", "Conv1DTranspose")
FAST += ("DepthwiseConv1D", "SeparableConv1D", "GRU", "MultiHeadAttention", "BatchNormalization")
every_layer = pytest.mark.parametrize("name", fast(LAYERS, *FAST))


class Probed:
    """One weight-owning layer, called on a batch: random features first, then each input alone."""

    def __init__(self, name: str, owner: keras.layers.Layer):
        self.owner, self.recorded = owner, []
        self.units = UNITS.get(name, (-1,))
        shape = LAYERS[name][1]
        self.cell = hasattr(owner, "recurrent_kernel")
        if self.cell:
            # The gates are told apart by what enters their activations, in the order of the calls.
            owner.activation = owner.recurrent_activation = self._record
            state = (*shape[1:-1], owner.filters if hasattr(owner, "filters") else owner.units)
            self.shapes = [shape[1:], state]
        elif isinstance(owner, layers.EinsumDense) and owner.name in ("query", "key", "value", "attention_output"):
            sizes = tuple(owner.kernel.shape)[: 2 if owner.name == "attention_output" else 1]
            self.shapes, self.units = [(3, *sizes)], (-1,) if owner.name == "attention_output" else (-2, -1)
        else:
            self.shapes = [shape]
        count = sum(int(np.prod(shape)) for shape in self.shapes)
        random = np.random.default_rng(3).uniform(0.5, 1.5, (1, count))
        self.inputs = np.concatenate([random, np.eye(count)]).astype(np.float32)
        self.tokens = isinstance(owner, layers.Embedding)
        if self.tokens:
            self.inputs = np.arange(owner.input_dim)[:, np.newaxis]

    def _record(self, x: tf.Tensor) -> tf.Tensor:
        self.recorded.append(x.numpy())
        return x

    def outputs(self) -> list[np.ndarray]:
        """What comes out, in the order in which it is computed: of a cell, what enters each activation."""
        if self.tokens:
            return [self.owner(self.inputs).numpy()]
        split = np.split(self.inputs, np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1], axis=1)
        given = [tf.constant(part.reshape(-1, *shape)) for part, shape in zip(split, self.shapes, strict=True)]
        if not self.cell:
            return [self.owner(given[0]).numpy()]
        self.recorded.clear()
        states = [given[1]] * (2 if "LSTM" in type(self.owner).__name__ else 1)
        self.owner.call(given[0], states)
        return list(self.recorded)

    def signatures(self, variable: keras.Variable) -> list[tuple[frozenset, frozenset, int]]:
        """The signature of each weight of a variable."""
        before = self.outputs()
        return [self._signature(variable, index, before) for index in np.ndindex(*variable.shape)]

    def _moved(self, variable: keras.Variable, index: tuple[int, ...], before: list) -> tuple[int, np.ndarray]:
        """Which call moves first when a weight is changed, and its outputs that move: bool [inputs, ...]."""
        value = variable.numpy()
        changed = value.copy()
        changed[index] += 0.25
        variable.assign(changed)
        after = self.outputs()
        variable.assign(value)
        for call, (one, other) in enumerate(zip(before, after, strict=True)):
            if np.any(one != other):
                return call, one != other
        raise AssertionError(f"{variable.path}{index} moves nothing")

    def _signature(self, variable: keras.Variable, index: tuple, before: list) -> tuple[frozenset, frozenset, int]:
        """The units that a weight moves; the inputs it reads, and where they go; and its call."""
        call, moved = self._moved(variable, index, before)
        if self.tokens:
            return (tokens := frozenset(np.flatnonzero(moved.any(axis=(1, 2))))), tokens, call
        axes = [axis % (moved.ndim - 1) for axis in self.units]
        places = [axis for axis in range(moved.ndim - 1) if axis not in axes]
        units = frozenset((call, *(place[axis] for axis in axes)) for place in np.argwhere(moved[0]))
        reads = frozenset(
            (int(place[0]), *(int(place[1 + axis]) for axis in places)) for place in np.argwhere(moved[1:])
        )
        return units, reads, call


def prepared(model: keras.Model) -> None:
    """Weights without zeros; of a separable convolution the second kernel passes on what the first makes."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))


@functools.cache
def signatures(name: str) -> tuple[keras.Model, dict[str, list]]:
    """The signature of every weight of every variable of a layer, by brute force."""
    model = network(name)
    prepared(model)
    found = {}
    for owner, variable in layer_groups.owners(model) if not name.startswith(FEATURES) else ():
        probed = Probed(name, owner)
        pointwise = getattr(owner, "pointwise_kernel", None)
        kept = None if pointwise is None else pointwise.numpy()
        if variable.name == "depthwise_kernel":
            pointwise.assign(np.eye(pointwise.shape[-1]).reshape(pointwise.shape))
        found[variable.path] = probed.signatures(variable)
        if kept is not None:
            pointwise.assign(kept)
    return model, found


def partition(keys) -> set[frozenset[int]]:
    """The places of equal keys."""
    places: dict = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return {frozenset(group) for group in places.values()}


def columns(found) -> set[frozenset[int]]:
    return {frozenset(column) for column in members(found).T.tolist()}


def is_kernel(name: str, variable: keras.Variable) -> bool:
    return variable.name != "bias" and not name.startswith(FEATURES)


def refused(model, variable, *arguments, **settings) -> str:
    with pytest.raises(ValueError, match=r"`|none of") as error:
        target(model, variable.path, *arguments, **settings)
    return str(error.value)


@every_layer
def test_a_unit_is_what_moves_the_same_output_and_a_row_what_reads_the_same_input(name):
    model, found = signatures(name)
    for _, variable in layer_groups.owners(model):
        size = int(np.prod(variable.shape))
        assert columns(target(model, variable.path, group="tensor")) == {frozenset(range(size))}
        assert columns(target(model, variable.path, group="element")) == {frozenset([i]) for i in range(size)}
        if not is_kernel(name, variable):
            assert columns(target(model, variable.path, group="unit")) == {frozenset(range(size))}
            assert "is no kernel" in refused(model, variable, group="row")
            continue
        units, reads, _ = zip(*found[variable.path], strict=True)
        assert all(len(moved) == 1 for moved in units)
        assert columns(target(model, variable.path, group="unit")) == partition(units)
        if (name, variable.name) != ("SeparableConv2D", "pointwise_kernel"):  # Its inputs come in pairs of one channel.
            assert columns(target(model, variable.path, group="row")) == partition(reads)


@every_layer
def test_heads_and_gates_are_what_brute_force_finds_or_refused(name):
    model, found = signatures(name)
    for owner, variable in layer_groups.owners(model):
        heads = {"query": 1, "key": 1, "value": 1, "attention_output": 0}.get(owner.name)
        if heads is None or (owner.name, variable.name) == ("attention_output", "bias"):
            assert "has no attention heads" in refused(model, variable, group="head")
        elif heads:
            keys = [min(units)[1] for units, *_ in found[variable.path]]
            assert columns(target(model, variable.path, group="head")) == partition(keys)
        else:
            _, per_head, _ = variable.shape
            # Inputs are [3 positions, heads, width of a head].
            keys = [min(reads)[0] // per_head % variable.shape[0] for _, reads, _ in found[variable.path]]
            assert columns(target(model, variable.path, group="head")) == partition(keys)
        if type(owner).__name__ in ("LSTMCell", "GRUCell", "ConvLSTMCell"):
            keys = [call for *_, call in found[variable.path]]
            assert columns(target(model, variable.path, group="gate")) == partition(keys)
        else:
            assert "has no gates" in refused(model, variable, group="gate")


@every_layer
def test_with_its_bias_a_unit_has_all_that_moves_its_output_or_is_refused(name):
    model, found = signatures(name)
    owned = list(layer_groups.owners(model))
    for owner, variable in owned:
        last = isinstance(owner, (layers.SeparableConv1D, layers.SeparableConv2D))
        bias = getattr(owner, "bias", None)
        if bias is None or variable.name != ("pointwise_kernel" if last else "kernel"):
            assert "none of" in refused(model, variable, with_bias=True)
            continue
        both = [units for path in (variable.path, bias.path) for units, *_ in found[path]]
        if all(len(units) == 1 for units in both):
            assert columns(target(model, variable.path, with_bias=True)) == partition(both)
            whole = {frozenset(range(len(both)))}
            assert columns(target(model, variable.path, constraint="topk", with_bias=True)) == whole
        else:
            assert "several units share one bias" in refused(model, variable, with_bias=True)


@every_layer
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_matrix_has_the_units_that_share_inputs_and_its_rows_are_inputs(name, with_bias):
    model, found = signatures(name)
    for owner, variable in layer_groups.owners(model):
        if not is_kernel(name, variable) or "Embedding" in name or variable.name == "pointwise_kernel":
            continue
        bias = getattr(owner, "bias", None)
        if with_bias and (bias is None or variable.name != "kernel" or "bias d" in name):
            continue
        units, reads, _ = zip(*found[variable.path], strict=True)
        both = [*units, *(units for units, *_ in found[bias.path])] if with_bias else units
        matrices = members(target(model, variable.path, "spectral", with_bias=with_bias))
        # Units belong together as soon as they read one input in common.
        merged: list[tuple[set, set]] = []
        for unit, read in zip(units, reads, strict=True):
            touching = [other for other in merged if unit in other[0] or read in other[1]]
            merged = [other for other in merged if other not in touching]
            merged.append(({unit}.union(*(one for one, _ in touching)), {read}.union(*(one for _, one in touching))))
        assert len(matrices) == len(merged)
        for matrix in matrices:
            assert all(len({both[place] for place in column}) == 1 for column in matrix.T)
            for row in matrix.tolist():
                assert len({reads[place] if place < len(reads) else "bias" for place in row}) == 1


@pytest.mark.slow
def test_the_page_shows_what_the_code_says():
    assert PAGE.read_text() == groups_table.written(PAGE.read_text()), "run python -m scripts.groups_table --write"


@pytest.mark.parametrize("name", ["EinsumDense abc,cde->abed", "Conv2D, 2 groups", "DepthwiseConv2D", "LSTM", "PReLU"])
def test_the_page_shows_what_the_code_says_of_some_layers(name):
    page = PAGE.read_text().splitlines()
    assert groups_table.rows_of(name) == [line for line in page if line.startswith(f"| {name} |")]


def test_an_embedding_that_is_not_tied_has_an_output_kernel_too():
    layer = layers.ReversibleEmbedding(6, 4, tie_weights=False)
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, layer(inputs))
    first, second = matching.match([rule_of("maxnorm")], model, Timeline(10, 10))
    assert [(one.size, one.num_groups) for one in (first, second)] == [(24, 6), (24, 6)]
    assert [one.constraint.axis for one in (first, second)] == [(1,), (0,)]


class Scaled(layers.Layer):
    """A layer of a user's own: a kernel, and one bias for all units."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")
        self.bias = self.add_weight(shape=(2,), name="bias")

    def call(self, x):
        return x @ self.kernel + tf.reduce_sum(self.bias)


def test_a_layer_of_ones_own_is_dense_and_a_bias_that_fits_no_unit_is_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Scaled(name="mine")(inputs))
    assert target(model, "mine/kernel").num_groups == 4
    with pytest.raises(ValueError, match=r"with_bias: `mine/kernel`: its bias of shape \(2,\) is not one weight .* 4"):
        target(model, "mine/kernel", with_bias=True)


def test_an_einsum_whose_bias_lies_behind_an_ellipsis():
    layer = layers.EinsumDense("ab...,bc->ac...", (3, 2), bias_axes="c")
    inputs = keras.Input((4, 2))
    keras.Model(inputs, layer(inputs))
    bias = kernel_axes.bias_of(layer, layer.kernel)
    assert (tuple(layer.bias.shape), bias.shape, bias.axes) == ((3, 1), (3,), (1,))
