"""A model becomes a list of calls, and the list a model that does the same."""

from __future__ import annotations

import keras
import pytest

from tests.support.compacted import CLOSE, checked, difference, lost, randomized, set_units
from trainer.export.compact import compact, graph

layers = keras.layers


@pytest.mark.slow
def test_nested_models_are_expanded_and_names_stay_unique():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")], name="inner")
    other = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")], name="other")
    model = randomized(keras.Model(inputs, other(inner(inner(inputs)))))
    calls = graph.flatten(model)
    assert [calls.names[id(call.operation)] for call in calls.calls] == ["dense", "dense", "other_dense"]
    assert difference(model, compact(model).model) <= CLOSE


@pytest.mark.slow
def test_a_unit_of_a_shared_layer_goes_where_all_calls_agree():
    inputs = keras.Input((4,))
    shared = layers.Dense(6, activation="sigmoid", name="shared")
    left, right = layers.Dense(5, name="left")(inputs), layers.Dense(5, name="right")(inputs)
    x = layers.Concatenate()([shared(left), shared(right)])
    model = randomized(keras.Model(inputs, layers.Dense(2, name="out")(x)))
    set_units(shared.kernel, (1, 2))
    for name in ("left", "right"):
        set_units(model.get_layer(name).kernel, (0, 3))
    # The two constants of channel 3 are equal, those of channel 0 are not.
    for name in ("left", "right"):
        set_units(model.get_layer(name).bias, (3,), value=0.5)
    assert lost(checked(model)) == {"shared": (6, 4), "left": (5, 4), "right": (5, 4)}


@pytest.mark.slow
def test_inputs_and_outputs_keep_their_structure():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b", dtype="int32")}
    x = layers.Dense(6, activation="relu", name="hidden")(inputs["a"])
    y = layers.Flatten()(layers.Embedding(6, 4, name="table")(inputs["b"]))
    outputs = {"sum": layers.Dense(2)(layers.Concatenate()([x, y])), "parts": [x, layers.Dense(1)(y)]}
    model = randomized(keras.Model(inputs, outputs))
    set_units(model.get_layer("table").embeddings, (1,))
    set_units(model.get_layer("hidden").kernel, (1,))
    compacted = checked(model)
    assert lost(compacted) == {"table": (4, 3)}
    assert compacted.model.input.keys() == {"a", "b"}


@pytest.mark.slow
def test_a_nested_model_of_two_inputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model([a, b], [layers.Dense(5, name="one")(a), layers.Dense(5, name="two")(b)])
    inputs = keras.Input((4,))
    x = layers.Add()(inner([inputs, layers.Dense(4, name="pre")(inputs)]))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    for name in ("one", "two"):
        set_units(inner.get_layer(name).kernel, (1,))
    assert lost(checked(model)) == {"one": (5, 4), "two": (5, 4)}


def test_models_that_cannot_be_listed_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="expected a functional or Sequential"):
        compact(Own(name="own"))
    with pytest.raises(ValueError, match="is not built"):
        compact(keras.Sequential([layers.Dense(2)]))


@pytest.mark.slow
def test_layers_that_share_a_weight_stay_as_they_are():
    inputs = keras.Input((3, 4))
    inner = layers.Dense(4, activation="relu", name="inner")
    x = layers.Dense(4, activation="sigmoid", name="free")(layers.TimeDistributed(inner, name="steps")(inputs))
    x = layers.Dense(4, name="next")(inner(x))
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    set_units(inner.kernel, (1,))
    set_units(model.get_layer("next").kernel, (2,))
    compacted = checked(model)
    assert lost(compacted) == {"next": (4, 3)}
    assert {"steps", "inner"} <= {one.layer for one in compacted.kept if "shares weights" in one.reason}


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_called_in_training_mode_stays(nested):
    inputs = keras.Input((4,))
    x = layers.Dense(6, name="hidden")(inputs)
    norm = layers.BatchNormalization(name="norm")
    if nested:
        norm = keras.Sequential([keras.Input((6,)), norm], name="norm")
    x = norm(x, training=True)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("hidden").kernel, (1,))
    # No `checked`: a call updates the statistics.
    compacted = compact(model)
    assert compacted.removed == ()
    assert any(one.layer == "norm" for one in compacted.kept)


@pytest.mark.slow
def test_a_masked_nested_model_is_named():
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(6, 4, mask_zero=True, name="table")(ids)
    inner = keras.Sequential([keras.Input((5, 4)), layers.LSTM(4, name="cell")], name="inner")
    model = randomized(keras.Model(ids, layers.Dense(2)(inner(x))))
    set_units(model.get_layer("table").embeddings, (1,))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert any(one.layer == "inner" for one in compacted.kept)


@pytest.mark.slow
def test_names_that_two_nested_models_use():
    def nested(name: str, middle) -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(4, name="twice")(middle(inputs)), name=name)

    def network(one, other) -> keras.Model:
        models = []
        for name, middle in (("a", one), ("b", other)):
            keras.backend.clear_session()
            models.append(nested(name, middle))
        inputs = keras.Input((4,))
        return randomized(keras.Model(inputs, models[1](models[0](inputs))))

    # Operations and stock layers are made again under another name; what is handed on as it is keeps its own.
    compacted = checked(network(lambda x: keras.ops.relu(x) + x, lambda x: keras.ops.relu(x) + x))
    assert {"twice", "b_twice"} <= {layer.name for layer in compacted.model.layers}
    assert {"add", "b_add"} <= {operation.name for operation in compacted.model.operations}
    strange = layers.Lambda(lambda x: x + 1, name="b_twice")
    compacted = checked(network(strange, layers.ReLU()))
    assert strange in compacted.model.layers
    assert {"twice", "b_twice_1"} <= {layer.name for layer in compacted.model.layers}
    same = [layers.Lambda(lambda x: x + 1, name="same") for _ in range(2)]
    with pytest.raises(ValueError, match="give them different names"):
        compact(network(*same))
