"""The default groups of each set, said once; and layers whose kernels do not end in their units, trained by Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection
from constraints.layout import Columns
from constraints.sets._matrix import MatrixSet
from tests.support.rules import rule_of
from trainer.rules import layer_groups, matching
from trainer.rules.attach import attach
from trainer.settings.timeline import Timeline

BOUND = 0.3
MaxNorm = REGISTRY["maxnorm"]


@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "mask"])
def test_the_groups_of_a_rule_are_those_of_a_call_where_none_are_named(name):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 2, name="conv")])
    (target,) = matching.match([rule_of(name)], model, Timeline(10, 5))
    w = np.random.default_rng(0).standard_normal((2, 2, 2, 4)).astype(np.float32)
    np.testing.assert_array_equal(REGISTRY[name]()(w), target.constraint(w))
    np.testing.assert_array_equal(REGISTRY[name]().distance(w), target.constraint.distance(w))


def test_topk_is_a_share_of_the_whole_tensor_unless_an_axis_is_named():
    w = np.float32([[4.0, 0.1], [3.0, 0.2], [2.0, 0.3], [1.0, 0.4]])
    kept = np.float32([[1, 0], [1, 0], [1, 0], [1, 0]])
    np.testing.assert_array_equal(REGISTRY["topk"](0.5)(w), w * kept)
    per_unit = np.float32([[1, 0], [1, 0], [0, 1], [0, 1]])
    for p in (REGISTRY["topk"](0.5, axis=0)(w), REGISTRY["topk"](0.5)(w, axes=0)):
        np.testing.assert_array_equal(p, w * per_unit)
    both = Intersection((REGISTRY["topk"](0.5), REGISTRY["box"](max_value=9.0, min_value=-9.0)))
    np.testing.assert_array_equal(both(w), w * kept)
    assert REGISTRY["topk"]().num_groups(tf.TensorShape(w.shape)) == 1


def trained(layer, shape, tokens=False):
    """The layer after two epochs that push its weights outward, and its model before the first of them."""
    inputs = keras.Input(shape)
    outputs = layer(inputs, inputs) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(keras.layers.Reshape((-1, 4))(outputs)))
    return model, lambda: fitted(model, shape, tokens)


def fitted(model, shape, tokens):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 8, (16, *shape)) if tokens else rng.standard_normal((16, *shape)).astype(np.float32)
    model.compile(optimizer=keras.optimizers.SGD(3.0), loss="mse")
    model.fit(x, 9 * rng.standard_normal((16, 4)), batch_size=8, epochs=2, verbose=0)


def lengths(variable, axes):
    return np.sqrt(np.sum(np.square(variable.numpy().astype(np.float64)), axis=axes))


# The axes that the documentation of `axis` tells to give.
GIVEN = {
    "depthwise": (lambda c: keras.layers.DepthwiseConv2D(3, depthwise_constraint=c), (0, 1), (8, 8, 4)),
    "depthwise 1d": (lambda c: keras.layers.DepthwiseConv1D(3, depthwise_constraint=c), 0, (8, 4)),
    "embedding": (lambda c: keras.layers.Embedding(8, 4, embeddings_constraint=c), 1, (5,)),
    "transposed": (lambda c: keras.layers.Conv2DTranspose(4, 2, kernel_constraint=c), (0, 1, 3), (3, 3, 2)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_documented_axis_is_the_fan_in_and_holds_under_fit(name):
    make, axis, shape = GIVEN[name]
    layer = make(MaxNorm(BOUND, axis=axis))
    _, fit = trained(layer, shape, tokens=name == "embedding")
    (variable, *_) = layer.trainable_variables
    assert Columns.of(variable.value.shape, axis).axes == layer_groups.fan_in_axes(layer, variable)
    fit()
    found = lengths(variable, axis)
    assert found.max() <= BOUND
    assert np.isclose(found, BOUND).any()


@pytest.mark.parametrize("name", [*GIVEN, "attention"])
def test_attached_to_a_model_each_kernel_has_the_groups_of_its_layer(name):
    if name == "attention":
        layer, shape = keras.layers.MultiHeadAttention(2, 3, use_bias=False), (5, 4)
    else:
        make, _, shape = GIVEN[name]
        layer = make(None)
    model, fit = trained(layer, shape, tokens=name == "embedding")
    paths = attach(model, MaxNorm(BOUND), "embeddings" if name == "embedding" else "*kernel")
    assert len(paths) == (4 if name == "attention" else 1)
    fit()
    for owner, variable in layer_groups.owners(model):
        if variable.path in paths:
            found = lengths(variable, layer_groups.fan_in_axes(owner, variable))
            assert found.max() <= BOUND, variable.path


def test_several_sets_and_sets_of_matrices_can_be_attached():
    model, fit = trained(keras.layers.MultiHeadAttention(2, 3), (5, 4))
    attach(model, Intersection((REGISTRY["nonneg"](), MaxNorm(BOUND))), "query/kernel")
    attach(model, REGISTRY["l21ball"](BOUND), "attention_output/kernel")
    fit()
    found = {variable.path.split("/", 1)[-1]: (owner, variable) for owner, variable in layer_groups.owners(model)}
    owner, query = found["query/kernel"]
    assert query.numpy().min() >= 0
    assert lengths(query, layer_groups.fan_in_axes(owner, query)).max() <= BOUND
    owner, output = found["attention_output/kernel"]
    assert isinstance(output.constraint, MatrixSet)
    assert lengths(output, layer_groups.fan_in_axes(owner, output)).sum() <= BOUND * (1 + 1e-6)


def test_what_cannot_be_attached_changes_nothing():
    model, _ = trained(keras.layers.Dense(4), (3, 2))
    with pytest.raises(ValueError, match="`nowhere` matches no trainable variable; the paths are dense"):
        attach(model, MaxNorm(), "nowhere")
    with pytest.raises(ValueError, match="axis=0 would be the same for all layers"):
        attach(model, MaxNorm(axis=0))
    with pytest.raises(ValueError, match="block"):
        attach(model, REGISTRY["block"](block=(3, 1)))
    assert all(variable.constraint is None for variable in model.trainable_variables)
