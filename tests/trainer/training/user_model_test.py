"""A network from a file: what fits the data and the task, what its outputs are, and what is told of it."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

import constraints
import models
from trainer.runtime import replicas
from trainer.training import user_model

layers = keras.layers
TEXT = models.Tokens(5, 20)


def sequential(*stack: keras.layers.Layer, shape=(4,), **given) -> keras.Model:
    return keras.Sequential([keras.Input(shape, **given), *stack])


def saved(folder, model: keras.Model) -> str:
    path = str(folder / "net.keras")
    model.save(path)
    return path


def load(folder, model: keras.Model, shape=(4,), outputs=3, task="classification"):
    return user_model.load(saved(folder, model), shape, outputs, task)


def refused(folder, model: keras.Model, shape=(4,), outputs=3, task="classification") -> str:
    with pytest.raises(ValueError, match=r"\A--model=") as raised:
        load(folder, model, shape, outputs, task)
    return str(raised.value)


def functional(last) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, last(layers.Dense(3)(inputs)))


def nested(last) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Reshape((3,))(sequential(layers.Dense(3), last)(inputs)))


def averaged() -> keras.Model:
    inputs = keras.Input((4,))
    parts = [layers.Dense(3, activation="softmax")(inputs) for _ in range(2)]
    return keras.Model(inputs, layers.Average()(parts))


ENDINGS = {
    "dense": (lambda: sequential(layers.Dense(3)), "logits"),
    "relu": (lambda: sequential(layers.Dense(3, activation="relu")), "logits"),
    "softmax": (lambda: sequential(layers.Dense(3, activation="softmax")), "softmax"),
    "layer": (lambda: functional(layers.Softmax()), "softmax"),
    "activation": (lambda: functional(layers.Activation("softmax")), "softmax"),
    "layer as activation": (lambda: sequential(layers.Dense(3, activation=layers.Softmax())), "softmax"),
    "operation": (lambda: functional(keras.ops.softmax), "softmax"),
    "linear": (lambda: functional(layers.Activation("linear")), "logits"),
    "passed on": (lambda: sequential(layers.Dense(3, "softmax"), layers.Activation("linear")), "softmax"),
    "nested": (lambda: nested(layers.Softmax()), "softmax"),
    "nested logits": (lambda: nested(layers.Identity()), "logits"),
    "averaged": (averaged, "softmax"),
    "sigmoid": (lambda: sequential(layers.Dense(3, activation="sigmoid")), "sigmoid"),
    "hard sigmoid": (lambda: sequential(layers.Dense(3, activation="hard_sigmoid")), "sigmoid"),
    "operation sigmoid": (lambda: functional(keras.ops.sigmoid), "sigmoid"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_probabilities_are_told_from_logits(tmp_path, name):
    make, ending = ENDINGS[name]
    model = make()
    loaded, from_logits = load(tmp_path, model, task="multilabel" if ending == "sigmoid" else "classification")
    assert from_logits == (ending == "logits")
    x = np.random.default_rng(0).random((2, 4), np.float32)
    np.testing.assert_array_equal(loaded(x), model(x))
    outputs = loaded(x).numpy()
    if ending == "softmax":
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("stack", "outputs", "task", "said"),
    [
        ([layers.Dense(3)], 5, "classification", "outputs of shape (3,), and classification of these data takes (5,)"),
        ([layers.Dense(3)], 1, "classification", "classification of these data takes (1,) or (2,)"),
        ([layers.Dense(2)], 1, "regression", "outputs of shape (2,)"),
        ([layers.Dense(2, "sigmoid")], 1, "classification", "a sigmoid for each of 2 classes"),
        ([layers.Dense(3)], 1, "regression", "outputs of shape (3,), and regression of these data takes (1,)"),
        ([layers.Reshape((2, 2))], 4, "reconstruction", "has no trainable weights"),
        ([layers.Dense(4), layers.Reshape((2, 2))], 4, "reconstruction", "(end the network in a Flatten layer)"),
        ([layers.Dense(1, "softmax")], 1, "classification", "softmax over 1 outputs, which is 1 for every example"),
        ([layers.Dense(3, "softmax")], 3, "multilabel", "where labels exclude each other; end it in a sigmoid"),
        ([layers.Dense(3, "sigmoid")], 3, "classification", "end it in a softmax, or say --task=multilabel"),
    ],
)
def test_outputs_that_do_not_fit_the_task(tmp_path, stack, outputs, task, said):
    assert said in refused(tmp_path, sequential(*stack), outputs=outputs, task=task)


@pytest.mark.parametrize(
    ("last", "from_logits"), [((1, None), True), ((1, "sigmoid"), False), ((2, None), True), ((2, "softmax"), False)]
)
def test_two_classes_have_one_output_or_two(tmp_path, last, from_logits):
    assert load(tmp_path, sequential(layers.Dense(*last)), outputs=1)[1] is from_logits


@pytest.mark.parametrize("outputs", [1, 3])
def test_any_outputs_of_a_regression(tmp_path, outputs):
    model = sequential(layers.Dense(outputs, activation="sigmoid"))
    assert load(tmp_path, model, outputs=outputs, task="regression")[1] is False


def two_inputs() -> keras.Model:
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    return keras.Model([one, other], layers.Dense(3)(layers.Add()([one, other])))


def two_outputs() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(3)(inputs)])


def image(shape, **given) -> keras.Model:
    return sequential(layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(3), shape=shape, **given)


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (two_inputs, (4,), "has 2 inputs (one, other), and the data have one"),
        (two_outputs, (4,), "has 2 outputs, and the task classification takes one"),
        (
            lambda: sequential(layers.Dense(3)),
            (5,),
            "reads float32 of shape (4,), and an example of the data is float32 of shape (5,); choose data that fit",
        ),
        (lambda: image((8, 8, 1)), (8, 9, 1), "reads float32 of shape (8, 8, 1)"),
        (lambda: image((8, 8, 1)), (8, 8, 3), "is float32 of shape (8, 8, 3)"),
        (lambda: image((None, None, 3)), (8, 8), "reads float32 of shape (None, None, 3)"),
        (lambda: image(None, batch_shape=(32, 8, 8, 1)), (8, 8, 1), "takes batches of 32 alone"),
        (
            lambda: sequential(layers.Embedding(20, 3), layers.GlobalMaxPooling1D(), dtype="int32"),
            (4,),
            "reads int32 of shape (4,), and an example of the data is float32",
        ),
        (
            lambda: sequential(layers.Rescaling(1 / 255), layers.Dense(3), dtype="uint8"),
            (4,),
            "whose model.keras takes raw examples, name its directory by --init_from",
        ),
        (lambda: sequential(layers.Dense(3), shape=(5,)), TEXT, "and the data are texts of 5 token ids"),
        (
            lambda: sequential(layers.Embedding(20, 3), layers.GlobalMaxPooling1D(), shape=(6,), dtype="int32"),
            TEXT,
            "reads int32 of shape (6,), and the data are texts of 5 token ids",
        ),
        (
            lambda: sequential(layers.Embedding(19, 3), layers.GlobalMaxPooling1D(), shape=(5,), dtype="int32"),
            TEXT,
            "knows 19 token ids, and the data have 20; use --vocabulary_size=19",
        ),
        (lambda: keras.Sequential([layers.Dense(3)]), (4,), "was saved before it was built"),
    ],
)
def test_inputs_that_do_not_fit_the_data(tmp_path, make, shape, said):
    assert said in refused(tmp_path, make(), shape)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: image((8, 8, 1)), (8, 8, 1)),
        (lambda: image((8, 8, 1)), (8, 8)),
        (lambda: image((None, None, 1)), (9, 7, 1)),
        (lambda: sequential(layers.Flatten(), layers.Dense(3), shape=(8, 8)), (8, 8, 1)),
        (lambda: sequential(layers.Embedding(20, 3), layers.GlobalMaxPooling1D(), shape=(None,)), TEXT),
        (lambda: sequential(layers.Embedding(30, 3), layers.GlobalMaxPooling1D(), shape=(5,), dtype="int64"), TEXT),
    ],
)
def test_inputs_that_fit_the_data(tmp_path, make, shape):
    model, _ = load(tmp_path, make(), shape)
    given = np.ones((2, 5), np.int32) if shape is TEXT else np.ones((2, *shape), np.float32)
    assert model(given).shape == (2, 3)


def test_constraints_of_the_file_are_taken_off_and_told(tmp_path):
    rule = {"kernel_constraint": constraints.MaxNorm(0.5), "bias_constraint": "non_neg"}
    model = sequential(
        layers.Reshape((2, 2)),
        layers.Bidirectional(layers.LSTM(2, recurrent_constraint="unit_norm", name="cells")),
        layers.Dense(3, name="bound", **rule),
    )
    path = saved(tmp_path, model)
    loaded, _ = user_model.load(path, (4,), 3, "classification")
    assert all(variable.constraint is None for variable in loaded.variables)
    config = str(loaded.get_config())
    assert not re.search(r"constraint': (?!None)", config)
    (note,) = user_model.notes(path)
    assert "the constraints of" in note
    assert "bound" in note
    assert "cells" in note


def test_rescaling_is_told(tmp_path):
    model = sequential(layers.Rescaling(1 / 255), layers.Dense(3))
    (note,) = user_model.notes(saved(tmp_path, model))
    assert "come to it in [0, 1] already" in note
    assert user_model.notes(saved(tmp_path, sequential(layers.Dense(3)))) == ()


def test_the_trained_weights_are_there_on_every_replica(tmp_path):
    model = sequential(layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.5))
    for variable in model.weights:
        variable.assign(np.random.default_rng(0).random(variable.shape))
    path = saved(tmp_path, model)
    with replicas.strategy(2).scope():
        loaded, _ = user_model.load(path, (4,), 3, "classification")
    for one, other in zip(loaded.weights, model.weights, strict=True):
        assert len(one.value.values) == 2
        for copy in one.value.values:
            np.testing.assert_array_equal(copy.numpy(), other.numpy())


def test_every_model_of_this_project_can_be_pruned_from_its_file(tmp_path):
    for name in ("mlp", "textcnn"):
        shape = TEXT if name == "textcnn" else (4,)
        model, from_logits = load(tmp_path, models.REGISTRY[name](shape, 3), shape)
        assert from_logits
        assert model.name == name
