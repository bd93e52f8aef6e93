"""Groups by name: what `--group` makes of each kind of layer, and for each kind of set."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from constraints import REGISTRY
from constraints.sets._matrix import MatrixSet
from tests.support.rules import rule_of
from trainer.rules import layer_groups, matching
from trainer.settings.timeline import Timeline

layers = keras.layers
TIMELINE = Timeline(total_steps=100, steps_per_epoch=10)
UNITS = {"dense": (4, 6), "conv": (3, 3, 4, 5)}


def network(*stack, shape=(4, 4)) -> keras.Model:
    inputs = keras.Input(shape)
    x = inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


def attention() -> keras.Model:
    inputs = keras.Input((5, 8), name="features")
    return keras.Model(inputs, layers.MultiHeadAttention(num_heads=2, key_dim=3, name="attention")(inputs, inputs))


def target(model, pattern, group, constraint="maxnorm", **values):
    (found,) = matching.match([rule_of(constraint, values, (pattern,), group=group)], model, TIMELINE)
    found.variables[0].assign(np.random.default_rng(0).standard_normal(found.variables[0].shape))
    return found


def norms(found) -> np.ndarray:
    return found.constraint.norm(found.weights()).numpy()


@pytest.mark.parametrize(
    ("group", "axes"),
    [("unit", (0,)), ("tensor", (0, 1)), ("element", ()), ("row", (1,)), ((1,), (1,)), ((-2,), (0,)), ((1, 0), (0, 1))],
)
def test_a_dense_kernel(group, axes):
    found = target(network(layers.Dense(6, name="dense")), "dense/kernel", group)
    value = found.variables[0].numpy().astype(np.float64)
    np.testing.assert_allclose(norms(found), np.sqrt(np.sum(value**2, axis=axes)))
    assert found.num_groups == norms(found).size


@pytest.mark.parametrize(("group", "axes"), [("unit", (0, 1, 2)), ("row", (3,)), ("tensor", (0, 1, 2, 3))])
def test_a_convolution(group, axes):
    found = target(network(layers.Conv2D(5, 3, name="conv"), shape=(6, 6, 4)), "conv/kernel", group)
    value = found.variables[0].numpy().astype(np.float64)
    np.testing.assert_allclose(norms(found), np.sqrt(np.sum(value**2, axis=axes)))


@pytest.mark.parametrize(
    ("model", "shape", "path", "axes"),
    [
        ("mobilenet", (8, 8, 1), "conv/kernel", (0, 1, 2)),
        # A filter of a depthwise convolution reads one channel.
        ("mobilenet", (8, 8, 1), "block_1_depthwise/kernel", (0, 1)),
        ("mobilenet", (8, 8, 1), "block_1_pointwise/kernel", (0, 1, 2)),
        ("textcnn", models.Tokens(7, 20), "conv_2/kernel", (0, 1)),
        # A token is a unit.
        ("textcnn", models.Tokens(7, 20), "embedding/embeddings", (1,)),
        ("transformer", models.Tokens(7, 20), "patch_embedding/kernel", (0,)),
        ("lenet5", (8, 8, 1), "conv_2/kernel", (0, 1, 2)),
        ("autoencoder", (6,), "encoder_1/kernel", (0,)),
    ],
)
def test_the_units_of_a_network(model, shape, path, axes):
    options = {"mobilenet": {"filters": (4, 6)}, "transformer": {"depth": 1}}.get(model, {})
    found = target(models.REGISTRY[model](shape, 3, **options), path, "unit")
    value = found.variables[0].numpy().astype(np.float64)
    expected = np.sqrt(np.sum(value**2, axis=axes))
    np.testing.assert_allclose(norms(found).ravel(), expected.ravel())
    assert found.num_groups == expected.size


@pytest.mark.parametrize(
    ("path", "axes"),
    [
        ("query/kernel", (0, 2)),
        ("key/kernel", (0, 2)),
        ("value/kernel", (0, 2)),
        ("attention_output/kernel", (1, 2)),
        ("query/bias", (1,)),
    ],
)
def test_a_head_is_all_that_one_head_reads_or_writes(path, axes):
    found = target(attention(), path, "head")
    value = found.variables[0].numpy().astype(np.float64)
    np.testing.assert_allclose(norms(found), np.sqrt(np.sum(value**2, axis=axes)))
    assert found.num_groups == 2


@pytest.mark.parametrize(("layer", "gates"), [(layers.LSTM, 4), (layers.GRU, 3)])
@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias"])
def test_a_gate_is_the_weights_of_all_its_units(layer, gates, name):
    model = network(layer(5, name="cell"))
    found = target(model, f"*/{name}", "gate")
    value = found.variables[0].numpy().astype(np.float64)
    parts = np.split(value, gates, axis=-1)
    np.testing.assert_allclose(norms(found), [np.sqrt(np.sum(part**2)) for part in parts])
    projected = found.packing.unpack(found.constraint(found.weights()))[0]
    assert projected.shape == value.shape
    limited = [part * min(1.0, 2.0 / np.linalg.norm(part)) for part in parts]
    np.testing.assert_allclose(projected, np.concatenate(limited, axis=-1), rtol=1e-6)


@pytest.mark.parametrize("group", ["head", "gate"])
def test_layers_without_such_groups(group):
    with pytest.raises(ValueError, match=rf"group={group}: `dense/kernel` has no .*narrow `variables`"):
        target(network(layers.Dense(6, name="dense")), "dense/kernel", group)


def test_the_output_bias_of_attention_belongs_to_no_head():
    with pytest.raises(ValueError, match="attention_output/bias` has no attention heads"):
        target(attention(), "attention_output/bias", "head")


def test_an_axis_that_a_variable_lacks():
    with pytest.raises(ValueError, match=r"group=0,2: axis 2 does not exist in `dense/kernel` of shape \(4, 6\)"):
        target(network(layers.Dense(6, name="dense")), "dense/kernel", (0, 2))


def test_a_network_is_one_group():
    model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two"))
    (found,) = matching.match([rule_of("maxnorm", {"max_value": 1.0}, group="network")], model, TIMELINE)
    assert [variable.path for variable in found.variables] == ["one/kernel", "two/kernel"]
    assert (found.label, found.num_groups, found.size) == ("network", 1, 4 * 6 + 6 * 3)
    values = [variable.numpy() for variable in found.variables]
    np.testing.assert_allclose(norms(found), np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in values)))


def test_a_network_is_ranked_by_magnitude_over_its_layers():
    model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two"))
    (found,) = matching.match([rule_of("topk", {"sparsity": 0.9}, group="network")], model, TIMELINE)
    found.variables[0].assign(np.full((4, 6), 0.5))
    found.variables[1].assign(np.full((6, 3), 1.0))
    one, two = found.packing.unpack(found.constraint(found.weights()))
    # Of 42 weights 38 are zero, and those left are all where the weights are large.
    assert (np.count_nonzero(one), np.count_nonzero(two)) == (0, 4)


def test_with_its_bias_a_unit_has_one_norm():
    model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two", use_bias=False))
    one, two = matching.match([rule_of("maxnorm", {"max_value": 1.0}, with_bias=True)], model, TIMELINE)
    assert [variable.path for variable in one.variables] == ["one/kernel", "one/bias"]
    assert [variable.path for variable in two.variables] == ["two/kernel"]
    rng = np.random.default_rng(0)
    for variable in one.variables:
        variable.assign(rng.standard_normal(variable.shape))
    kernel, bias = (variable.numpy().astype(np.float64) for variable in one.variables)
    length = np.sqrt(np.sum(kernel**2, axis=0) + bias**2)
    np.testing.assert_allclose(norms(one), length)
    projected = one.packing.unpack(one.constraint(one.weights()))
    np.testing.assert_allclose(projected[0], kernel * np.minimum(1, 1 / length), rtol=1e-6)
    np.testing.assert_allclose(projected[1], bias * np.minimum(1, 1 / length), rtol=1e-6)


def test_a_bias_can_be_claimed_once():
    model = network(layers.Dense(6, name="one"))
    with pytest.raises(ValueError, match="`one/bias` is claimed by rule 1"):
        matching.match([rule_of("maxnorm", with_bias=True), rule_of("nonneg", {}, ("bias",))], model, TIMELINE)
    with pytest.raises(ValueError, match=r"with_bias: none of one/kernel has a bias"):
        matching.match(
            [rule_of("maxnorm", with_bias=True)], network(layers.Dense(6, name="one", use_bias=False)), TIMELINE
        )


def test_a_bias_that_goes_with_its_kernel_is_not_taken_alone_too_and_a_frozen_one_not_at_all():
    model = network(layers.Dense(6, name="one"), layers.LayerNormalization(name="norm"))
    found = matching.match([rule_of("maxnorm", {}, ("*",), with_bias=True)], model, TIMELINE)
    assert [one.names for one in found] == [("one/kernel", "one/bias"), ("norm/gamma",), ("norm/beta",)]
    model.get_layer("one").bias.trainable = False
    found = matching.match([rule_of("maxnorm", {}, ("one/*", "gamma"))], model, TIMELINE)
    assert [one.names for one in found] == [("one/kernel",), ("norm/gamma",)]
    with pytest.raises(ValueError, match="with_bias: none of one/kernel has a bias"):
        matching.match([rule_of("maxnorm", {}, ("one/*",), with_bias=True)], model, TIMELINE)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_set_takes_the_groups_it_says_and_no_others(name):
    kind = REGISTRY[name]
    assert kind.grouping in kind.groupings
    model = network(layers.Dense(4, name="one"), layers.Dense(4, name="two"), shape=(4,))
    for group in ("unit", "tensor", "network", "element", "row"):
        if group not in kind.groupings:
            with pytest.raises(ValueError, match=f"group={group} means nothing to {name}; it takes "):
                matching.match([rule_of(name, group=group)], model, TIMELINE)
            continue
        for found in matching.match([rule_of(name, group=group)], model, TIMELINE):
            projected = found.constraint(found.weights())
            assert kind.proximal or np.all(found.constraint.distance(projected).numpy() <= 1e-5)
            back = found.packing.unpack(projected)
            assert [value.shape for value in back] == [variable.shape for variable in found.variables]


@pytest.mark.parametrize(
    "name", [name for name, kind in REGISTRY.items() if issubclass(kind, MatrixSet) and "gate" in kind.groupings]
)
def test_sets_of_matrices_take_each_head_and_gate_alone(name):
    kind = REGISTRY[name]
    model = network(layers.LSTM(4, name="cell"))
    (found,) = matching.match([rule_of(name, {}, ("*/recurrent_kernel",), group="gate")], model, TIMELINE)
    rng = np.random.default_rng(1)
    found.variables[0].assign(2 * rng.standard_normal(found.variables[0].shape))
    projected = found.packing.unpack(found.constraint(found.weights()))[0].numpy()
    if "tensor" in kind.groupings:
        parts = np.split(found.variables[0].numpy(), 4, axis=-1)
        expected = np.concatenate([kind()(part) for part in parts], axis=-1)
        np.testing.assert_allclose(projected, expected, atol=1e-5)
    else:
        assert found.num_groups == 4


def test_two_outer_layers_do_not_share_their_heads():
    inputs = keras.Input((5, 8), name="features")
    x = layers.MultiHeadAttention(num_heads=2, key_dim=3, name="first")(inputs, inputs)
    model = keras.Model(inputs, layers.MultiHeadAttention(num_heads=4, key_dim=2, name="second")(x, x))
    found = matching.match([rule_of("maxnorm", {}, ("query/kernel",), group="head")], model, TIMELINE)
    assert [one.num_groups for one in found] == [2, 4]
    assert len(layer_groups.attention_heads(model)) == 14


def test_a_network_of_units_is_one_budget():
    for name, kind in REGISTRY.items():
        if not issubclass(kind, MatrixSet) or "network" not in kind.groupings:
            continue
        model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two"))
        (found,) = matching.match([rule_of(name, group="network")], model, TIMELINE)
        assert found.num_groups == 9, name
        matrix = found.constraint(found.weights())
        for value, variable in zip(found.packing.unpack(matrix), found.variables, strict=True):
            assert value.shape == variable.shape
        assert float(tf.reduce_max(found.constraint.distance(matrix))) == 0.0


def full_windows(value: np.ndarray, along: int, n: int = 1, m: int = 2) -> None:
    """Whether each window along an axis has at most n non-zeros of m, and some have as many."""
    runs = np.moveaxis(value, along, 0).reshape(value.shape[along], -1)
    counts = [np.count_nonzero(runs[start : start + m], axis=0) for start in range(0, len(runs), m)]
    assert np.max(counts) == n


RECURRENT = [(layers.LSTM(5, name="cell"), (4, 6)), (layers.ConvLSTM1D(2, 3, name="cell"), (4, 5, 6))]
WINDOWS = [
    *((layer, shape, "*/kernel", group, -2) for layer, shape in RECURRENT for group in ("unit", "tensor", "gate")),
    *(
        (layers.Conv2D(4, 3, name="cell"), (5, 5, 6), "*/kernel", group, -2)
        for group in ("unit", "tensor", (2,), (2, 3))
    ),
    *((layers.Conv2D(4, 3, groups=2), (5, 5, 6), "*/kernel", group, -2) for group in ("unit", "tensor")),
    *((layers.Conv2DTranspose(4, 3), (5, 5, 6), "*/kernel", group, -1) for group in ("unit", "tensor", (0, 3))),
    *(
        (layers.EinsumDense("abc,cde->abde", (None, 3, 2)), (4, 6), "*/kernel", group, 0)
        for group in ("unit", "tensor")
    ),
    *((layers.SeparableConv2D(4, 3), (5, 5, 6), "*/pointwise_kernel", group, -2) for group in ("unit", "tensor")),
]


@pytest.mark.parametrize(("layer", "shape", "pattern", "group", "along"), WINDOWS)
def test_windows_run_along_the_inputs_whatever_the_group(layer, shape, pattern, group, along):
    found = target(network(layer, shape=shape), pattern, group, "nm", n=1, m=2)
    projected = found.packing.unpack(found.constraint(found.weights()))[0].numpy()
    full_windows(projected, along)
    (by_unit,) = matching.match([rule_of("nm", {"n": 1, "m": 2}, (pattern,))], network(layer, shape=shape), TIMELINE)
    np.testing.assert_array_equal(projected, by_unit.packing.unpack(by_unit.constraint(by_unit.weights()))[0])


@pytest.mark.parametrize(("path", "along"), [("query/kernel", 0), ("value/kernel", 0), ("attention_output/kernel", 1)])
def test_windows_of_a_head_run_along_its_inputs(path, along):
    found = target(attention(), path, "head", "nm", n=1, m=2)
    full_windows(found.packing.unpack(found.constraint(found.weights()))[0].numpy(), along)


def test_windows_that_a_group_would_cut_or_that_do_not_exist_are_refused():
    dense, depthwise = network(layers.Dense(6, name="dense")), network(layers.DepthwiseConv1D(2, name="deep"))
    with pytest.raises(ValueError, match=r"group=1: the windows of nm follow the inputs of `dense/kernel`, its axis 0"):
        target(dense, "dense/kernel", (1,), "nm")
    with pytest.raises(ValueError, match="group=row means nothing to nm; it takes unit, tensor, head, gate"):
        target(dense, "dense/kernel", "row", "nm")
    for model, path in ((depthwise, "deep/kernel"), (dense, "dense/bias")):
        with pytest.raises(ValueError, match=f"nm: the units of `{path}` read no more than one input channel"):
            target(model, path, None, "nm")
    with pytest.raises(ValueError, match="with_bias: a bias is in no window of nm, as with `dense/kernel`"):
        matching.match([rule_of("nm,maxnorm", {}, ("dense/kernel",), with_bias=True)], dense, TIMELINE)


GROUPED = {
    "conv1d": (layers.Conv1D(4, 2, groups=2), (5, 4), 2),
    "conv2d": (layers.Conv2D(4, 1, groups=2), (5, 5, 4), 2),
    "conv3d": (layers.Conv3D(4, 1, groups=2), (3, 3, 3, 4), 2),
    "depthwise1d": (layers.DepthwiseConv1D(2), (5, 16), 16),
    "depthwise2d": (layers.DepthwiseConv2D(2, depth_multiplier=2), (5, 5, 8), 8),
    "separable": (layers.SeparableConv2D(3, 2), (5, 5, 8), 8),
    "einsum": (layers.EinsumDense("abc,bcd->abd", (3, 2)), (3, 4), 3),
}


@pytest.mark.parametrize("name", ["spectral", "orthogonal", "nuclear", "lowrank"])
@pytest.mark.parametrize("kind", GROUPED)
def test_matrices_side_by_side_are_projected_each_alone(name, kind):
    layer, shape, count = GROUPED[kind]
    rule = rule_of(
        name, {"rank": 1} if name == "lowrank" else {}, ("kernel", "depthwise_kernel")[kind == "separable" :][:1]
    )
    (found,) = matching.match([rule], network(layer, shape=shape), TIMELINE)
    variable = found.variables[0]
    variable.assign(2 * np.random.default_rng(1).standard_normal(variable.shape))
    projected = found.packing.unpack(found.constraint(found.weights()))[0].numpy()
    axis = {"einsum": 0, "separable": -2}.get(kind, -2 if "depthwise" in kind else -1)
    alone = rule.constraint
    parts = [np.split(value, count, axis=axis) for value in (variable.numpy(), projected)]
    for part, expected in zip(*parts, strict=True):
        matrix = np.squeeze(part, axis).reshape(-1, 2) if kind == "einsum" else part.reshape(-1, part.shape[-1])
        np.testing.assert_allclose(np.ravel(expected), np.ravel(alone(matrix)), atol=1e-5)
    assert found.num_groups == count


def test_isometric_grouped_kernels_stay():
    for layer, shape in ((layers.Conv2D(4, 1, groups=2), (5, 5, 4)), (layers.DepthwiseConv2D(4), (5, 5, 16))):
        (found,) = matching.match([rule_of("spectral")], network(layer, shape=shape), TIMELINE)
        value = np.random.default_rng(0).standard_normal(found.variables[0].shape)
        if isinstance(layer, layers.DepthwiseConv2D):
            value /= np.sqrt(np.sum(value**2, axis=(0, 1), keepdims=True))
        else:
            value = np.tile(np.eye(2), 2)[np.newaxis, np.newaxis]
        found.variables[0].assign(0.999999 * value)
        same = found.packing.unpack(found.constraint(found.weights()))[0]
        np.testing.assert_array_equal(same, found.variables[0].numpy())


def test_blocks_do_not_straddle_the_groups_of_a_convolution():
    model = network(layers.Conv2D(12, 1, groups=2, name="conv"), shape=(5, 5, 8))
    (found,) = matching.match([rule_of("block", {"block": (4, 3)})], model, TIMELINE)
    found.variables[0].assign(np.random.default_rng(0).standard_normal(found.variables[0].shape))
    projected = found.packing.unpack(found.constraint(found.weights()))[0].numpy()
    halves = [half.reshape(4, 6) for half in np.split(projected, 2, axis=-1)]
    for half in halves:
        assert np.count_nonzero(half) == 12
        assert {np.count_nonzero(half[:, :3]), np.count_nonzero(half[:, 3:])} == {0, 12}
    with pytest.raises(ValueError, match="block=4,4 does not divide"):
        matching.match([rule_of("block", {"block": (4, 4)})], model, TIMELINE)


def test_axes_cannot_name_matrices_that_lie_side_by_side():
    model = network(layers.Conv2D(4, 1, groups=2, name="conv"), shape=(5, 5, 4))
    with pytest.raises(ValueError, match="group=0,1,2: `conv/kernel` holds several matrices"):
        matching.match([rule_of("spectral", group=(0, 1, 2))], model, TIMELINE)


def test_the_bias_of_an_einsum_whose_units_come_in_another_order():
    model = network(layers.EinsumDense("abc,cde->abed", (None, 2, 3), bias_axes="ed", name="einsum"), shape=(5, 4))
    (found,) = matching.match([rule_of("maxnorm", {"max_value": 1.0}, with_bias=True)], model, TIMELINE)
    rng = np.random.default_rng(0)
    for variable in found.variables:
        variable.assign(rng.standard_normal(variable.shape))
    kernel, bias = (variable.numpy().astype(np.float64) for variable in found.variables)
    length = np.sqrt(np.sum(kernel**2, axis=0) + bias.T**2)
    np.testing.assert_allclose(norms(found), length.ravel())
    projected = found.packing.unpack(found.constraint(found.weights()))
    np.testing.assert_allclose(projected[1], bias * np.minimum(1, 1 / length.T), rtol=1e-6)


def test_a_bias_that_several_units_share_is_refused():
    model = network(layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="d", name="einsum"), shape=(5, 4))
    with pytest.raises(ValueError, match=r"with_bias: `einsum/kernel`: its bias_axes='d' leave out e, so that several"):
        matching.match([rule_of("maxnorm", with_bias=True)], model, TIMELINE)


def test_the_bias_of_a_separable_convolution_goes_with_its_second_kernel():
    model = network(layers.SeparableConv1D(3, 2, name="conv"))
    first, second = matching.match([rule_of("maxnorm", with_bias=True)], model, TIMELINE)
    assert (first.names, second.names) == (("conv/depthwise_kernel",), ("conv/pointwise_kernel", "conv/bias"))


def test_the_weights_of_one_token_are_its_row_and_a_bias_has_none():
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, layers.Embedding(6, 3, name="tokens")(inputs))
    assert target(model, "embeddings", "row").num_groups == 6
    with pytest.raises(ValueError, match="group=row: `dense/bias` is no kernel"):
        target(network(layers.Dense(6, name="dense")), "dense/bias", "row")
