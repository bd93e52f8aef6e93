"""A group is the weights that one scalar output reads: shown by differentiating the output, layer by layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.rules import rule_of
from trainer.rules import layer_groups, matching
from trainer.settings.timeline import Timeline

layers = keras.layers
SIGNAL, IMAGE, VOLUME, SEQUENCE = (5, 4), (5, 5, 4), (3, 3, 3, 2), (3, 4)

# Every weight of these layers is read alone: one output, one group.
LINEAR = {
    "dense": (layers.Dense(3), (4,)),
    "dense_on_a_sequence": (layers.Dense(3), SEQUENCE),
    "conv1d": (layers.Conv1D(3, 3), SIGNAL),
    "conv2d": (layers.Conv2D(3, 3), IMAGE),
    "conv2d_grouped": (layers.Conv2D(6, 3, groups=2), IMAGE),
    "conv3d": (layers.Conv3D(3, 2), VOLUME),
    "depthwise1d": (layers.DepthwiseConv1D(3, depth_multiplier=2), SIGNAL),
    "depthwise2d": (layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    "transposed1d": (layers.Conv1DTranspose(3, 3, padding="same"), SIGNAL),
    "transposed2d": (layers.Conv2DTranspose(3, 3, padding="same"), IMAGE),
    "transposed3d": (layers.Conv3DTranspose(3, 3, padding="same"), VOLUME),
    "einsum_dense": (layers.EinsumDense("abc,cd->abd", output_shape=(None, 3)), SEQUENCE),
    "einsum_one_kernel_a_position": (layers.EinsumDense("abc,bcd->abd", output_shape=(3, 5)), SEQUENCE),
    "einsum_two_axes_out": (layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 2)), SEQUENCE),
    "einsum_two_axes_in": (layers.EinsumDense("abc,bcd->ad", output_shape=(5,)), SEQUENCE),
    "einsum_ellipsis": (layers.EinsumDense("...x,xy->...y", output_shape=(5,)), SEQUENCE),
    "time_distributed": (layers.TimeDistributed(layers.Dense(3)), SEQUENCE),
    "nested": (keras.Sequential([keras.Input((4,)), layers.Dense(3, name="inside")]), (4,)),
    "nested_twice": (keras.Sequential([keras.Sequential([layers.Conv2D(3, 2), layers.Flatten()])]), IMAGE),
}


def built(layer: keras.layers.Layer, shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape))
    return model


def kernels(model: keras.Model):
    return [
        (layer, variable)
        for layer, variable in layer_groups.owners(model)
        if variable.name.endswith(("kernel", "embeddings"))
    ]


def group_of(index, variable, axes) -> np.ndarray:
    """Marks the group that the weight at `index` belongs to."""
    mask = np.zeros(variable.shape, bool)
    mask[tuple(slice(None) if axis in axes else i for axis, i in enumerate(index))] = True
    return mask


def features(shape: tuple[int, ...]) -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).standard_normal((1, *shape)), tf.float32)


def read_by_each_output(outputs, tape, variable) -> list[np.ndarray]:
    """For each scalar output, which weights it reads: where its derivative is not zero."""
    jacobian = tape.jacobian(outputs, variable.value, experimental_use_pfor=False).numpy()
    return list(jacobian.reshape(-1, *variable.shape) != 0)


@pytest.mark.parametrize("name", LINEAR)
def test_a_group_is_what_one_output_reads(name):
    layer, shape = LINEAR[name]
    model = built(layer, shape)
    ((owner, variable),) = kernels(model)
    axes = layer_groups.fan_in_axes(owner, variable)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(features(shape))
    seen = set()
    for mask in read_by_each_output(outputs, tape, variable):
        assert mask.any()
        group = group_of(np.argwhere(mask)[0], variable, axes)
        # At the border of a padded image a filter reads part of its weights, never those of another.
        assert not (mask & ~group).any()
        if (mask == group).all():
            seen.add(group.tobytes())
    count = np.prod([size for axis, size in enumerate(variable.shape) if axis not in axes])
    assert len(seen) == count, "some group is read whole by no output"


@pytest.mark.parametrize("kind", [layers.SeparableConv1D, layers.SeparableConv2D])
def test_separable_convolution(kind):
    shape = (4, 3) if kind is layers.SeparableConv1D else (4, 4, 3)
    model = built(kind(5, 2, depth_multiplier=2), shape)
    (owner, depthwise), (_, pointwise) = kernels(model)
    assert (depthwise.name, pointwise.name) == ("depthwise_kernel", "pointwise_kernel")
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(features(shape))[..., 0]
    # One output reads one column of the second kernel and, through it, every filter of the first.
    mask = read_by_each_output(outputs, tape, pointwise)[0]
    axes = layer_groups.fan_in_axes(owner, pointwise)
    assert (mask == group_of(np.argwhere(mask)[0], pointwise, axes)).all()
    # With all but one pointwise weight at zero, one filter of the first kernel is left.
    alone = np.zeros(pointwise.shape)
    alone.reshape(-1, 5)[3, 0] = 1.0
    pointwise.assign(alone)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(features(shape))[..., 0]
    mask = read_by_each_output(outputs, tape, depthwise)[0]
    axes = layer_groups.fan_in_axes(owner, depthwise)
    assert (mask == group_of(np.argwhere(mask)[0], depthwise, axes)).all()


RECURRENT = {"simple_rnn": (layers.SimpleRNN, 1), "lstm": (layers.LSTM, 4), "gru": (layers.GRU, 3)}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_unit_has_one_group_in_each_gate(name):
    kind, gates = RECURRENT[name]
    layer = kind(3)
    model = built(layer, SEQUENCE)
    cells = {variable.name: (owner, variable) for owner, variable in kernels(model)}
    assert cells.keys() == {"kernel", "recurrent_kernel"}
    state = tf.constant([[0.3, -0.4, 0.5]])
    states = [state, state] if kind is layers.LSTM else [state]
    for owner, variable in cells.values():
        axes = layer_groups.fan_in_axes(owner, variable)
        with tf.GradientTape(persistent=True) as tape:
            # One step from a state that is not zero: every gate is open a little.
            outputs, _ = layer.cell(features((4,)), states)
        for unit, mask in enumerate(read_by_each_output(outputs, tape, variable)):
            columns = np.flatnonzero(mask.any(axis=0))
            own = [gate * 3 + unit for gate in range(gates)]
            if kind is layers.GRU and variable.name == "recurrent_kernel":
                assert set(own) <= set(columns)
            else:
                assert columns.tolist() == own
            for column in own:
                assert mask[:, column].all()
                assert (group_of((0, column), variable, axes)[:, column]).all()
                assert group_of((0, column), variable, axes).sum() == len(mask)


def test_both_directions_of_a_bidirectional_layer_have_their_own_groups():
    model = built(layers.Bidirectional(layers.LSTM(2)), SEQUENCE)
    found = {variable.path: layer_groups.fan_in_axes(owner, variable) for owner, variable in kernels(model)}
    assert len(found) == 4
    assert set(found.values()) == {(0,)}


def test_attention_has_a_group_for_each_dimension_of_each_head_and_for_each_output():
    inputs = keras.Input(SEQUENCE)
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=5)
    model = keras.Model(inputs, attention(inputs, inputs))
    found = {owner.name: (owner, variable) for owner, variable in kernels(model)}
    assert found.keys() == {"query", "key", "value", "attention_output"}
    for name, (owner, variable) in found.items():
        axes = layer_groups.fan_in_axes(owner, variable)
        x = features(SEQUENCE if name != "attention_output" else (3, 2, 5))
        with tf.GradientTape(persistent=True) as tape:
            outputs = owner(x)
        masks = read_by_each_output(outputs, tape, variable)
        assert all((mask == group_of(np.argwhere(mask)[0], variable, axes)).all() for mask in masks)
        count = {"query": 6, "key": 6, "value": 10, "attention_output": 4}[name]
        assert len({mask.tobytes() for mask in masks}) == count
        assert np.prod([size for axis, size in enumerate(variable.shape) if axis not in axes]) == count


def test_an_embedding_has_a_group_for_each_token():
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, layers.Embedding(6, 3)(inputs))
    ((owner, variable),) = kernels(model)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(np.array([[4, 4]]))
    read = tf.convert_to_tensor(tape.gradient(outputs, variable.value)).numpy() != 0
    assert (read == group_of((4, 0), variable, layer_groups.fan_in_axes(owner, variable))).all()


def test_a_vector_and_a_scalar_are_one_group():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    for owner, variable in layer_groups.owners(model):
        if len(variable.shape) == 1:
            assert layer_groups.fan_in_axes(owner, variable) == (0,)
    assert layer_groups.fan_in_axes(layers.Dense(1), keras.Variable(2.0)) == ()


def test_each_variable_comes_once_with_the_layer_that_made_it():
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), shared, layers.Dense(4, name="own")], name="inner")
    inputs = keras.Input((4,))
    frozen = layers.Dense(4, name="frozen", trainable=False)
    model = keras.Model(inputs, layers.Dense(2, name="head")(frozen(shared(inner(inner(inputs))))))
    pairs = list(layer_groups.owners(model))
    assert [id(variable) for _, variable in pairs] == [id(variable) for variable in model.trainable_variables]
    assert [owner.name for owner, _ in pairs] == ["shared", "shared", "own", "own", "head", "head"]


def test_the_maker_of_a_recurrent_kernel_is_the_cell():
    model = built(layers.TimeDistributed(keras.Sequential([layers.GRU(2)])), (2, 3, 4))
    assert {type(owner) for owner, _ in layer_groups.owners(model)} == {layers.GRUCell}


class Tied(layers.Layer):
    """An output layer that reads the vectors of an embedding: it holds the variable, and with `whole` the layer too."""

    def __init__(self, embedding, whole, **options):
        super().__init__(**options)
        if whole:
            self.embedding = embedding
        self.kernel = embedding.embeddings

    def call(self, x):
        return x @ keras.ops.transpose(self.kernel)


class Around(layers.Layer):
    """A layer that keeps another inside, and its kernel as an attribute."""

    def __init__(self, inside, **options):
        super().__init__(**options)
        self.inside = inside

    def build(self, shape):
        if not self.inside.built:
            self.inside.build(shape)
        self.kernel = self.inside.kernel

    def call(self, x):
        return self.inside(x)


class Lending(layers.Layer):
    """A layer that makes a kernel and lets a part of it use it."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")
        self.part = Borrowing(self.kernel)

    def call(self, x):
        return self.part(x)


class Borrowing(layers.Layer):
    def __init__(self, kernel):
        super().__init__()
        self.weight = kernel

    def call(self, x):
        return x @ self.weight


class Eager(keras.Model):
    """A model with weights of its own, one of them made before it is built, in a layer called twice."""

    def __init__(self):
        super().__init__(name="eager")
        self.start = self.add_weight(shape=(3,), name="start")
        self.dense = layers.Dense(3)
        self.again = self.dense

    def call(self, x):
        return self.again(self.dense(x)) + self.start


def tokens(*outputs_of) -> keras.Model:
    """A model of token numbers in several ways."""
    inputs = keras.Input((3, 2), dtype="int32")
    return keras.Model(inputs, [output(inputs) for output in outputs_of])


def embedded_twice(first: bool) -> keras.Model:
    embedding = layers.Embedding(10, 4)
    each = layers.TimeDistributed(embedding)
    return tokens(*((embedding, each) if first else (each, embedding)))


def tied(whole: bool, first: bool) -> keras.Model:
    embedding = layers.Embedding(10, 4)
    embedding.build(())
    output = Tied(embedding, whole)
    vectors = keras.Input((4,))
    outputs = [output(vectors), embedding(inputs := keras.Input((3,), dtype="int32"))]
    return keras.Model([vectors, inputs], outputs if first else outputs[::-1])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    "build",
    [embedded_twice, lambda first: tied(False, first), lambda first: tied(True, first)],
    ids=["in_time_distributed", "tied_variable", "tied_layer"],
)
def test_an_embedding_that_another_layer_holds_too_keeps_a_group_for_each_token(build, first):
    model = build(first)
    ((owner, _),) = layer_groups.owners(model)
    assert type(owner) is layers.Embedding
    (found,) = matching.match([rule_of("unitnorm", variables=("embeddings",))], model, Timeline(10, 10))
    assert found.num_groups == 10
    projected = found.packing.unpack(found.constraint(found.weights()))[0].numpy()
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("alone_too", [False, True])
@pytest.mark.parametrize(
    ("inside", "axes"), [(layers.DepthwiseConv2D(2), (0, 1)), (layers.Conv2DTranspose(3, 2), (0, 1, 3))]
)
def test_a_kernel_that_a_layer_around_holds_too_belongs_to_the_layer_inside(inside, axes, alone_too):
    inputs = keras.Input((4, 4, 3))
    outputs = [Around(inside)(inputs)] + ([inside(inputs)] if alone_too else [])
    for model in (keras.Model(inputs, outputs), keras.Model(inputs, outputs[::-1])):
        found = {variable.name: (owner, variable) for owner, variable in layer_groups.owners(model)}
        assert found["kernel"][0] is inside
        assert layer_groups.fan_in_axes(*found["kernel"]) == axes


def test_a_kernel_that_a_part_borrows_belongs_to_the_layer_that_made_it():
    model = built(Lending(name="lending"), (4,))
    ((owner, _),) = layer_groups.owners(model)
    assert type(owner) is Lending


def test_weights_of_a_subclassed_model():
    model = Eager()
    model(np.ones((1, 3), np.float32))
    found = {variable.name: owner for owner, variable in layer_groups.owners(model)}
    assert found["start"] is model
    assert found["kernel"] is found["bias"] is model.dense
