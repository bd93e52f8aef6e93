"""Weights of a run or a file in a new network: all of them, or none and a sentence that names both sides."""

from __future__ import annotations

import shutil

import h5py
import keras
import numpy as np
import pytest

import models
from tests.support import tiny_experiment
from tests.support.suites import fast
from trainer.engine.run_state import RunState
from trainer.runtime import replicas
from trainer.storage import checkpoints
from trainer.training import initial_weights

layers = keras.layers
KINDS = ("run", "net.keras", "net.weights.h5")
slow = pytest.mark.slow


def network(units=(6, 5), outputs: int = 3, **options) -> keras.Model:
    return models.REGISTRY["mlp"]((4,), outputs, hidden_units=units, **options)


def normed(first: int = 5) -> keras.Model:
    """Layers with names of Keras's making, which are others in every network of a process."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(first), layers.BatchNormalization(), layers.Dropout(0.5)])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def saved(folder, kind: str, model: keras.Model) -> str:
    rng = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(rng.random(variable.shape))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    if kind == "run":
        (folder / "run").mkdir()
        checkpoints.Checkpoints(folder / "run" / "checkpoints", model, model.optimizer, RunState(5)).save()
    elif kind == "net.keras":
        model.save(folder / kind)
    else:
        model.save_weights(folder / kind)
    return str(folder / kind)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.weights]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [network, normed])
def test_every_weight_is_copied(tmp_path, kind, make):
    other = make()
    source = saved(tmp_path, kind, other)
    model = make()
    initial_weights.load(source, model)
    assert tiny_experiment.same_bits(weights(model), weights(other))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(
            lambda: network((6, 4)), ["which has 6", "hidden_2/kernel` of shape (6, 4)", "of shape (6, 5)"], marks=slow
        ),
        (lambda: network((6,)), ["6 weights", "which has 4", "output/kernel` of shape (6, 3)", "of shape (5, 3)"]),
        pytest.param(
            lambda: network((6, 5, 5)), ["which has 8", "hidden_3/kernel` of shape (5, 5) in the model"], marks=slow
        ),
        (lambda: network((6, 5), 2), ["output/kernel` of shape (5, 2)", "`output/kernel` of shape (5, 3)"]),
        pytest.param(lambda: normed(6), ["which has 8"], marks=slow),
    ],
)
def test_another_network_is_named_and_nothing_is_copied(tmp_path, kind, make, said):
    source = saved(tmp_path, kind, network())
    model = make()
    before = weights(model)
    with pytest.raises(ValueError, match=r"\A--init_from=.*another network.*nothing was copied") as raised:
        initial_weights.load(source, model)
    assert all(words in str(raised.value) for words in said), str(raised.value)
    assert tiny_experiment.same_bits(weights(model), before)


@pytest.mark.parametrize("kind", fast(KINDS, "net.weights.h5"))
def test_weights_that_are_not_finite(tmp_path, kind):
    other = network()
    source = saved(tmp_path, kind, other)
    other.weights[2].assign(np.full((6, 5), np.nan))
    if kind == "run":
        # A run saves none; a checkpoint of somebody else's may hold them.
        folder = tmp_path / "run" / "checkpoints"
        shutil.rmtree(folder)
        keeper = checkpoints.Checkpoints(folder, other, other.optimizer, RunState(5))
        keeper._nonfinite = lambda: None
        keeper.save()
    else:
        (other.save if kind == "net.keras" else other.save_weights)(source, overwrite=True)
    model = network()
    before = weights(model)
    with pytest.raises(ValueError, match="`hidden_2/kernel` holds NaN or infinity"):
        initial_weights.load(source, model)
    assert tiny_experiment.same_bits(weights(model), before)


def test_what_is_no_source(tmp_path):
    model = network()

    def refused(source) -> str:
        with pytest.raises(ValueError, match=r"\A--init_from=") as raised:
            initial_weights.load(str(source), model)
        return str(raised.value)

    assert "no whole checkpoint in" in refused(tmp_path)
    assert "does not exist; give the directory of a run, FILE.keras or FILE.weights.h5" in refused(tmp_path / "none")
    assert "No such file" in refused(tmp_path / "none.weights.h5")
    assert "No such file" in refused(tmp_path / "none.keras")
    (tmp_path / "net.h5").touch()
    assert "is neither the directory of a run, nor FILE.keras" in refused(tmp_path / "net.h5")
    (tmp_path / "net.weights.h5").write_bytes(b"x" * 5000)
    assert "is damaged or no HDF5 file" in refused(tmp_path / "net.weights.h5")
    assert "is an address" in refused("gs://bucket/run")
    with h5py.File(tmp_path / "other.weights.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert "holds 1 weights of another network" in refused(tmp_path / "other.weights.h5")


def test_a_cut_file_of_weights(tmp_path):
    source = saved(tmp_path, "net.weights.h5", network())
    content = (tmp_path / "net.weights.h5").read_bytes()
    (tmp_path / "net.weights.h5").write_bytes(content[: len(content) // 2])
    model = network()
    before = weights(model)
    with pytest.raises(ValueError, match=r"\A--init_from="):
        initial_weights.load(source, model)
    assert tiny_experiment.same_bits(weights(model), before)


@pytest.mark.parametrize("kind", fast(KINDS, "run"))
def test_on_every_replica(tmp_path, kind):
    other = network()
    source = saved(tmp_path, kind, other)
    with replicas.strategy(2).scope():
        model = network()
    initial_weights.load(source, model)
    for one, expected in zip(model.weights, weights(other), strict=True):
        for copy in one.value.values:
            np.testing.assert_array_equal(copy.numpy(), expected)


@pytest.mark.parametrize("kind", fast(KINDS, "run"))
def test_the_fingerprint_changes_with_the_weights(tmp_path, kind):
    other = network()
    source = saved(tmp_path, kind, other)
    first = initial_weights.fingerprint(source)
    assert first == initial_weights.fingerprint(source)
    other.weights[0].assign(np.ones((4, 6)))
    if kind == "run":
        other.optimizer.iterations.assign(7)
        checkpoints.Checkpoints(tmp_path / "run" / "checkpoints", other, other.optimizer, RunState(5)).save()
    else:
        (other.save if kind == "net.keras" else other.save_weights)(source, overwrite=True)
    assert initial_weights.fingerprint(source) != first
