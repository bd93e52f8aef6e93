"""Recurrent layers: a unit whose state never leaves zero, or that nothing reads, goes from every gate."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers
UNITS = 5


def network(layer: layers.Layer) -> keras.Model:
    inputs = keras.Input((4, 3))
    x = layers.Dense(6, activation="sigmoid", name="before")(inputs)
    x = layer(x)
    x = layers.Flatten()(x[0] if isinstance(x, list | tuple) else x)
    return randomized(keras.Model(inputs, layers.Dense(2, name="out")(x)))


def gate(weight, gates: int, which: int, units: tuple[int, ...]) -> None:
    set_units(weight, [which * (np.shape(weight)[-1] // gates) + unit for unit in units])


def silence(layer, gates: int, candidate: int, units: tuple[int, ...]) -> None:
    """Makes the candidate of some units zero, whatever the other gates do."""
    for weight in layer.weights:
        gate(weight, gates, candidate, units)


def test_an_lstm_unit_without_a_candidate_goes_from_all_gates():
    model = network(layers.LSTM(UNITS, name="cell"))
    silence(model.get_layer("cell"), 4, 2, (1, 3))
    compacted = checked(model)
    assert lost(compacted) == {"cell": (UNITS, 3)}
    assert [tuple(weight.shape) for weight in compacted.model.get_layer("cell").weights] == [(6, 12), (3, 12), (12,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "gates", "candidate", "options"),
    [
        ("SimpleRNN", 1, 0, {}),
        ("SimpleRNN", 1, 0, {"activation": "relu", "return_sequences": True, "use_bias": False}),
        ("LSTM", 4, 2, {"return_sequences": True, "use_bias": False, "go_backwards": True}),
        ("GRU", 3, 2, {}),
        ("GRU", 3, 2, {"reset_after": False, "return_sequences": True}),
        ("GRU", 3, 2, {"use_bias": False, "return_state": True}),
    ],
)
def test_units_that_stay_at_zero(kind, gates, candidate, options):
    model = network(getattr(layers, kind)(UNITS, name="cell", **options))
    silence(model.get_layer("cell"), gates, candidate, (1, 3))
    assert lost(checked(model)) == {"cell": (UNITS, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(("weight", "units"), [(0, (1,)), (1, (1,)), (2, (1,))])
def test_one_weight_of_the_candidate_keeps_a_unit(weight, units):
    model = network(layers.GRU(UNITS, name="cell"))
    cell = model.get_layer("cell")
    silence(cell, 3, 2, units)
    array = np.array(cell.weights[weight][:])
    array[..., -1, 2 * UNITS + 1] = 0.5
    if weight == 2:
        # The two biases cancel in a sum, but not in the candidate, where the reset gate multiplies one of them.
        array[0, 2 * UNITS + 1] = -0.5
    cell.weights[weight].assign(array)
    assert lost(checked(model)) == {}


@pytest.mark.slow
def test_an_activation_that_moves_zero_keeps_a_unit():
    model = network(layers.LSTM(UNITS, activation="sigmoid", name="cell"))
    silence(model.get_layer("cell"), 4, 2, (1,))
    assert lost(checked(model)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_units_that_only_feed_each_other(kind):
    model = network(getattr(layers, kind)(UNITS, name="cell"))
    set_units(model.get_layer("out").kernel, (0, 2), axis=0)
    # Units 1, 3, 4 read nothing of units 0 and 2, which go on reading everything.
    weight = model.get_layer("cell").weights[1]
    recurrent = np.array(weight[:]).reshape(UNITS, -1, UNITS)
    recurrent[np.ix_((0, 2), range(recurrent.shape[1]), (1, 3, 4))] = 0
    weight.assign(recurrent.reshape(weight.shape))
    assert lost(checked(model)) == {"cell": (UNITS, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "after"),
    [
        ("SimpleRNN", {"use_bias": False}, 4),
        ("LSTM", {}, 4),
        ("LSTM", {"use_bias": False}, 4),
        ("GRU", {}, 4),
        ("GRU", {"reset_after": False}, 4),
        # It would need two rows of biases for each row of weights.
        ("GRU", {"use_bias": False}, 6),
    ],
)
def test_constant_inputs_move_into_the_bias(kind, options, after):
    model = network(getattr(layers, kind)(UNITS, name="cell", **options))
    set_units(model.get_layer("before").kernel, (0, 5))
    compacted = checked(model)
    assert lost(compacted) == ({"before": (6, after)} if after < 6 else {})
    assert ("no bias" in reasons(compacted, "before")) == (after == 6)


@pytest.mark.slow
def test_states_are_handed_on():
    inputs = keras.Input((4, 3))
    x, *state = layers.LSTM(UNITS, return_state=True, name="encoder")(inputs)
    x = layers.LSTM(UNITS, name="decoder")(inputs, initial_state=state)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    silence(model.get_layer("decoder"), 4, 2, (1, 2))
    # Unit 1 starts from zero; unit 2 starts from what the encoder found.
    silence(model.get_layer("encoder"), 4, 2, (1,))
    assert lost(checked(model)) == {"encoder": (UNITS, 4), "decoder": (UNITS, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul"])
@pytest.mark.parametrize("kind", [("LSTM", 4, 2), ("GRU", 3, 2)])
def test_both_directions(mode, kind):
    name, gates, candidate = kind
    model = network(layers.Bidirectional(getattr(layers, name)(UNITS), merge_mode=mode, name="both"))
    both = model.get_layer("both")
    silence(both.forward_layer, gates, candidate, (0, 1))
    silence(both.backward_layer, gates, candidate, (1, 2, 3))
    compacted = checked(model)
    # Concatenated directions keep equal sizes. Else a unit goes where it is zero, or unread, in both directions.
    after = 3 if mode == "concat" else 4
    assert lost(compacted) == {f"both units {way}": (UNITS, after) for way in ("forward", "backward")}


@pytest.mark.slow
def test_a_stateful_layer_is_named():
    inputs = keras.Input(batch_shape=(4, 4, 3))
    x = layers.LSTM(UNITS, stateful=True, name="cell")(layers.Dense(6, name="before")(inputs))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    silence(model.get_layer("cell"), 4, 2, (1, 3))
    from trainer.export.compact import compact

    compacted = compact(model)
    assert lost(compacted) == {}
    assert "state between batches" in reasons(compacted, "cell")


@pytest.mark.slow
def test_masked_steps():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(6, 5, mask_zero=True, name="table")(inputs)
    x = layers.LSTM(UNITS, return_sequences=True, name="one")(x)
    x = layers.Bidirectional(layers.GRU(UNITS), name="two")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("table").embeddings, (2,), value=0.5)
    silence(model.get_layer("one"), 4, 2, (1, 3))
    assert lost(checked(model)) == {"table": (5, 4), "one": (UNITS, 3)}
