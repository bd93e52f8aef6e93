"""Weights of a run or a file in a new network: all of them, or none and a sentence that names both sides."""

from __future__ import annotations

import shutil

import h5py
import keras
import numpy as np
import pytest

import models
from tests.support import tiny_experiment
from tests.support.rules import rule_of
from tests.support.suites import fast
from trainer.engine.run_state import RunState
from trainer.runtime import replicas
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.storage import checkpoints
from trainer.training import experiment, initial_weights
from trainer.training.session import Session

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


def trained(folder, name: str, *rules, **settings):
    """A whole run, as the command makes it: what was built, and the certificate."""
    usual = {
        "input_shape": (6,),
        "num_classes": 3,
        "num_examples": 46,
        "batch_size": 8,
        "train_steps": 10,
        "jit": "off",
    }
    options = {"model_options": {"hidden_units": (6,), "dropout": 0.0}} if "model" not in settings else {}
    config = Config(
        run_dir=str(folder / name), dataset="synthetic", rules=rules or (rule_of(),), **{**usual, **options, **settings}
    )
    directory = experiment.directory_of(config)
    directory.check()
    built = experiment.build(config)
    begun = [variable.numpy() for variable in built.model.weights]
    session = Session(built, directory)
    try:
        session.begin("--flag=1\n")
        return built, begun, session.run(Interrupt())
    finally:
        session.close()


@pytest.mark.slow
def test_a_trained_network_is_pruned_and_goes_on_with_its_zeros_frozen(tmp_path):
    dense, _, _ = trained(tmp_path, "dense")
    source = {"init_from": str(tmp_path / "dense")}
    half = rule_of("topk", {"sparsity": 0.5}, group="network")
    sparse, begun, result = trained(tmp_path, "sparse", half, **source)
    assert result["feasible"]
    kept = [value != 0 for value in begun]
    # The first projection leaves the largest half of the trained weights as they are.
    for value, marks, variable in zip(begun, kept, dense.model.weights, strict=True):
        np.testing.assert_array_equal(value[marks], variable.numpy()[marks])
    zeros = [variable.numpy() == 0 for variable in sparse.model.trainable_variables[::2]]
    assert sum(map(np.sum, zeros)) == (6 * 6 + 6 * 3) // 2
    frozen = {"init_from": str(tmp_path / "sparse"), "learning_rate": 0.1}
    again, begun, result = trained(tmp_path, "frozen", rule_of("mask"), **frozen)
    assert result["feasible"]
    assert tiny_experiment.same_bits(begun, weights(sparse.model))
    # Its own steps were counted from zero, by an optimizer that knows nothing of the first run.
    assert int(again.optimizer.iterations.numpy()) == 10
    ended = [variable.numpy() == 0 for variable in again.model.trainable_variables[::2]]
    assert tiny_experiment.same_bits(ended, zeros)
    assert not tiny_experiment.same_bits(weights(again.model), begun)


@pytest.mark.slow
def test_a_continued_run_needs_its_source_no_more(tmp_path):
    trained(tmp_path, "dense")
    source = {"init_from": str(tmp_path / "dense"), "checkpoint_every": "5"}
    whole, _, _ = trained(tmp_path, "whole", **source)
    # Stopped before its first checkpoint, it begins again with the weights of the source.
    shutil.copytree(tmp_path / "whole", tmp_path / "early")
    shutil.rmtree(tmp_path / "early" / "checkpoints")
    for name in ("saved.json", "certificate.json"):
        (tmp_path / "early" / name).unlink()
    early, _, _ = trained(tmp_path, "early", **source)
    assert tiny_experiment.same_bits(weights(early.model), weights(whole.model))
    shutil.copytree(tmp_path / "whole", tmp_path / "late")
    shutil.rmtree(tmp_path / "late" / "checkpoints" / "step-00000010")
    shutil.rmtree(tmp_path / "dense")
    late, _, _ = trained(tmp_path, "late", **source)
    assert tiny_experiment.same_bits(weights(late.model), weights(whole.model))
    with pytest.raises(ValueError, match="does not exist; give the directory of a run"):
        trained(tmp_path, "new", **source)
    assert not (tmp_path / "new").exists()


def test_a_network_of_a_file_is_pruned(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3, "softmax")])
    path = str(tmp_path / "net.keras")
    model.save(path)
    built, begun, result = trained(tmp_path, "run", rule_of("topk", {"sparsity": 0.9}, group="network"), model=path)
    assert result["feasible"]
    kernels = begun[::2]
    kept = np.concatenate([value[value != 0] for value in kernels])
    assert set(kept.tolist()) <= set(np.concatenate([value.ravel() for value in model.get_weights()[::2]]).tolist())
    assert np.isfinite(result["evaluation"]["loss"])
    assert built.model.name == model.name
