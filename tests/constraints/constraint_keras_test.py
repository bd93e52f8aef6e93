"""Every constraint as Keras uses one: in a layer under `fit`, and saved and loaded with the model."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from constraints.sets._matrix import MatrixSet
from tests.support import oracles
from tests.support.oracles import bits
from tests.support.suites import KINDS, fast

VALUES = {
    "block": {"sparsity": 0.7, "block": (2, 1)},
    "box": {"max_value": 0.2, "min_value": -0.1},
    "elasticnet": {"penalty": 0.02, "ridge": 0.1},
    "groupsoft": {"penalty": 0.05},
    "halfspace": {"total": -0.1},
    "hardthreshold": {"penalty": 0.005},
    "hyperplane": {"total": 0.5},
    "l1ball": {"max_value": 0.5},
    "l1infball": {"max_value": 0.5},
    "l1sphere": {"total": 0.5},
    "l1topk": {"max_value": 0.5, "sparsity": 0.7},
    "l21ball": {"max_value": 0.5},
    "lowrank": {"rank": 2},
    "mask": {},
    "maxnorm": {"max_value": 0.5},
    "minmaxnorm": {"max_value": 0.6, "min_value": 0.5},
    "nm": {"n": 1, "m": 4},
    "none": {},
    "nonneg": {},
    "nuclear": {"max_value": 1.5},
    "orthogonal": {},
    "simplex": {"total": 0.5},
    "simplextopk": {"total": 0.5, "sparsity": 0.7},
    "softthreshold": {"penalty": 0.02},
    "spectral": {"max_value": 0.5},
    "topk": {"sparsity": 0.7},
    "unitnorm": {},
    "unitsparse": {"sparsity": 0.4},
    "zerosum": {},
}
# Sets that rounded weights can only come within a unit in the last place of.
ON_A_SPHERE = ("hyperplane", "l1sphere", "lowrank", "orthogonal", "simplex", "simplextopk", "unitnorm", "zerosum")
ROOT = Path(__file__).resolve().parents[2]

every_set = pytest.mark.parametrize("name", fast(REGISTRY, *KINDS[::2]))


def data(size=32):
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, 6, 6, 2)).astype(np.float32), rng.integers(0, 3, size)


def model(constraint):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu", kernel_constraint=constraint, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_constraint=constraint, name="dense"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)
    return network


def kernels(network):
    return [network.get_layer(name).kernel.numpy() for name in ("conv", "dense")]


def feasible(name, network):
    if REGISTRY[name].proximal:
        # There is no set; what tells a map at work is its zeros, or for whole groups what it takes off.
        return name == "groupsoft" or all(np.any(kernel == 0) for kernel in kernels(network))
    room = 1.2e-7 if name in ON_A_SPHERE else 1e-12
    whole = REGISTRY[name].grouping == "tensor" and not issubclass(REGISTRY[name], MatrixSet)
    return all(
        oracles.violation(name, kernel, tuple(range(kernel.ndim)) if whole else None, **VALUES[name]) <= room
        for kernel in kernels(network)
    )


def test_every_set_is_tried():
    assert set(VALUES) == set(REGISTRY)


@every_set
def test_fit_keeps_kernels_feasible_and_a_saved_model_goes_on_as_if_it_had_not_been(name, tmp_path):
    constraint = REGISTRY[name](**VALUES[name])
    network = model(constraint)
    before = kernels(network)
    network.fit(*data(), epochs=2, batch_size=16, verbose=0)
    assert feasible(name, network)
    assert all(np.any(bits(old) != bits(new)) for old, new in zip(before, kernels(network), strict=True))
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("conv").kernel_constraint == again.get_layer("dense").kernel_constraint == constraint
    for old, new in zip(kernels(network), kernels(again), strict=True):
        np.testing.assert_array_equal(bits(old), bits(new))
    for one in (network, again):
        one.fit(*data(), epochs=1, batch_size=16, verbose=0, shuffle=False)
    for old, new in zip(kernels(network), kernels(again), strict=True):
        np.testing.assert_array_equal(bits(old), bits(new))


@pytest.mark.slow
def test_models_load_and_train_under_xla_in_a_new_process(tmp_path):
    # Keras leaves XLA aside in this process, where operations were made deterministic.
    for name in REGISTRY:
        model(REGISTRY[name](**VALUES[name])).save(tmp_path / f"{name}.keras")
    script = f"""
from tests.constraints.constraint_keras_test import *
for name in REGISTRY:
    network = keras.models.load_model({str(tmp_path)!r} + f"/{{name}}.keras")
    assert network.get_layer("conv").kernel_constraint == REGISTRY[name](**VALUES[name]), name
    network.compile(optimizer="adam", loss=network.loss, jit_compile=True)
    network.fit(*data(), epochs=1, batch_size=16, verbose=0)
    assert network.jit_compile and feasible(name, network), name
print("all", len(REGISTRY))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"all {len(REGISTRY)}" in done.stdout


def test_axes_are_saved_with_the_layer(tmp_path):
    constraint = REGISTRY["maxnorm"](0.5, axis=-2)
    model(constraint).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("conv").kernel_constraint == constraint
    assert again.get_layer("conv").kernel_constraint.axis == -2


def test_a_schedule_is_saved_with_the_layer():
    constraint = REGISTRY["maxnorm"](schedules.cosine(4.0, 0.5, end=100))
    again = keras.constraints.deserialize(keras.constraints.serialize(constraint))
    assert again == constraint
    assert again.bounds()["max_value"] == schedules.cosine(4.0, 0.5, end=100)


def test_a_variable_anneals_under_fit():
    bound = tf.Variable(2.0)

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            bound.assign(2.0 / (epoch + 1))

    network = model(REGISTRY["maxnorm"](bound))
    network.fit(*data(), epochs=4, batch_size=16, verbose=0, callbacks=[Anneal()])
    assert all(oracles.violation("maxnorm", kernel, max_value=0.5) <= 1e-12 for kernel in kernels(network))


def test_a_schedule_without_a_step_says_so_under_fit():
    network = model(REGISTRY["maxnorm"](schedules.cosine(4.0, 0.5, end=100)))
    with pytest.raises(ValueError, match="depends on the step"):
        network.fit(*data(), verbose=0)


@pytest.mark.parametrize(
    "layer",
    [
        lambda c: keras.layers.Conv1D(3, 2, kernel_constraint=c),
        lambda c: keras.layers.LSTM(3, kernel_constraint=c, recurrent_constraint=c),
        lambda c: keras.layers.GRU(3, kernel_constraint=c, recurrent_constraint=c),
        lambda c: keras.layers.EinsumDense("abc,cd->abd", (5, 3), kernel_constraint=c),
        lambda c: keras.layers.Dense(3, kernel_constraint=c, bias_constraint=c),
    ],
)
def test_other_layers_take_it_too(layer):
    constraint = REGISTRY["maxnorm"](0.3)
    network = keras.Sequential([keras.Input((5, 4)), layer(constraint), keras.layers.Flatten(), keras.layers.Dense(1)])
    network.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    rng = np.random.default_rng(0)
    network.fit(rng.standard_normal((16, 5, 4)), rng.standard_normal((16, 1)), verbose=0, epochs=2)
    for variable in network.layers[0].trainable_variables:
        if "kernel" in variable.name or isinstance(network.layers[0], keras.layers.Dense):
            assert oracles.violation("maxnorm", variable.numpy(), max_value=0.3) <= 1e-12
