"""Groups by name: what `--group` makes of each kind of layer, and for each kind of set."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from constraints.joint import Joint
from trainer import groups, rules
from trainer.config import RuleSettings
from trainer.timeline import Timeline

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
    (found,) = rules.match([RuleSettings(constraint, values, (pattern,), group=group)], model, TIMELINE)
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
    projected = found.join.split(found.constraint(found.weights()))[0]
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
    (found,) = rules.match([RuleSettings("maxnorm", {"max_value": 1.0}, group="network")], model, TIMELINE)
    assert [variable.path for variable in found.variables] == ["one/kernel", "two/kernel"]
    assert (found.label, found.num_groups, found.size) == ("network", 1, 4 * 6 + 6 * 3)
    values = [variable.numpy() for variable in found.variables]
    np.testing.assert_allclose(norms(found), np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in values)))


def test_a_network_is_ranked_by_magnitude_over_its_layers():
    model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two"))
    (found,) = rules.match([RuleSettings("topk", {"sparsity": 0.9}, group="network")], model, TIMELINE)
    found.variables[0].assign(np.full((4, 6), 0.5))
    found.variables[1].assign(np.full((6, 3), 1.0))
    one, two = found.join.split(found.constraint(found.weights()))
    # Of 42 weights 38 are zero, and those left are all where the weights are large.
    assert (np.count_nonzero(one), np.count_nonzero(two)) == (0, 4)


def test_with_its_bias_a_unit_has_one_norm():
    model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two", use_bias=False))
    one, two = rules.match([RuleSettings("maxnorm", {"max_value": 1.0}, with_bias=True)], model, TIMELINE)
    assert [variable.path for variable in one.variables] == ["one/kernel", "one/bias"]
    assert [variable.path for variable in two.variables] == ["two/kernel"]
    rng = np.random.default_rng(0)
    for variable in one.variables:
        variable.assign(rng.standard_normal(variable.shape))
    kernel, bias = (variable.numpy().astype(np.float64) for variable in one.variables)
    length = np.sqrt(np.sum(kernel**2, axis=0) + bias**2)
    np.testing.assert_allclose(norms(one), length)
    projected = one.join.split(one.constraint(one.weights()))
    np.testing.assert_allclose(projected[0], kernel * np.minimum(1, 1 / length), rtol=1e-6)
    np.testing.assert_allclose(projected[1], bias * np.minimum(1, 1 / length), rtol=1e-6)


def test_a_bias_can_be_claimed_once():
    model = network(layers.Dense(6, name="one"))
    with pytest.raises(ValueError, match="`one/bias` is claimed by rule 1"):
        rules.match([RuleSettings("maxnorm", with_bias=True), RuleSettings("nonneg", {}, ("bias",))], model, TIMELINE)
    with pytest.raises(ValueError, match=r"with_bias: none of one/kernel has a bias"):
        rules.match(
            [RuleSettings("maxnorm", with_bias=True)], network(layers.Dense(6, name="one", use_bias=False)), TIMELINE
        )


@pytest.mark.parametrize("name", REGISTRY)
def test_every_set_takes_the_groups_it_says_and_no_others(name):
    kind = REGISTRY[name]
    assert kind.grouping in kind.groupings
    model = network(layers.Dense(4, name="one"), layers.Dense(4, name="two"), shape=(4,))
    for group in ("unit", "tensor", "network", "element", "row"):
        if group not in kind.groupings:
            with pytest.raises(ValueError, match=f"group={group} means nothing to {name}; it takes "):
                rules.match([RuleSettings(name, group=group)], model, TIMELINE)
            continue
        for found in rules.match([RuleSettings(name, group=group)], model, TIMELINE):
            projected = found.constraint(found.weights())
            assert kind.proximal or np.all(found.constraint.distance(projected).numpy() <= 1e-5)
            back = found.join.split(projected)
            assert [value.shape for value in back] == [variable.shape for variable in found.variables]


@pytest.mark.parametrize(
    "name", [name for name, kind in REGISTRY.items() if issubclass(kind, Joint) and "gate" in kind.groupings]
)
def test_sets_of_matrices_take_each_head_and_gate_alone(name):
    kind = REGISTRY[name]
    model = network(layers.LSTM(4, name="cell"))
    (found,) = rules.match([RuleSettings(name, {}, ("*/recurrent_kernel",), group="gate")], model, TIMELINE)
    rng = np.random.default_rng(1)
    found.variables[0].assign(2 * rng.standard_normal(found.variables[0].shape))
    projected = found.join.split(found.constraint(found.weights()))[0].numpy()
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
    found = rules.match([RuleSettings("maxnorm", {}, ("query/kernel",), group="head")], model, TIMELINE)
    assert [one.num_groups for one in found] == [2, 4]
    assert len(groups.attention_heads(model)) == 14


def test_a_network_of_units_is_one_budget():
    for name, kind in REGISTRY.items():
        if not issubclass(kind, Joint) or "network" not in kind.groupings:
            continue
        model = network(layers.Dense(6, name="one"), layers.Dense(3, name="two"))
        (found,) = rules.match([RuleSettings(name, group="network")], model, TIMELINE)
        assert found.num_groups == 9, name
        matrix = found.constraint(found.weights())
        for value, variable in zip(found.join.split(matrix), found.variables, strict=True):
            assert value.shape == variable.shape
        assert float(tf.reduce_max(found.constraint.distance(matrix))) == 0.0
