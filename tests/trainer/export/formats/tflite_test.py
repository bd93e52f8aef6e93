"""TFLite files: zeros stay zeros, sparse tensors are stored sparse where that runs."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

import constraints
import trainer
from tests.support import exports
from trainer.export import recover, verify
from trainer.export.formats import tflite
from trainer.export.plain import plain

RNG = np.random.default_rng(0)
PATTERNS = {
    "blocks": constraints.Block(sparsity=0.9, block=(16, 1)),
    "small blocks": constraints.Block(sparsity=0.9, block=(4, 1)),
    "anywhere": constraints.TopK(sparsity=0.95),
    "dense": constraints.MaxNorm(2.0),
}
X = RNG.random((64, 128), dtype=np.float32)


@functools.cache
def network(pattern: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units, activation=act) for units, act in ((256, "relu"), (128, "relu"), (16, None))]
    model = keras.Sequential([keras.Input([128]), *layers])
    trainer.match(trainer.Rule(PATTERNS[pattern]), model, total_steps=1).project_fully()
    return plain(model)


def found(path, model):
    return recover.by_value({one.path: one.numpy() for one in model.weights}, tflite.read(str(path)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", tflite.KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_sparse_tensors_are_stored_sparse_where_that_runs(tmp_path, pattern, kind):
    model, path, dense = network(pattern), tmp_path / "sparse.tflite", tmp_path / "dense.tflite"
    tflite.write(model, str(dense), representative=[X], kind=kind)
    tflite.write(model, str(path), representative=[X], kind=kind, sparse=True)
    there = found(path, model)
    for name, one in there.items():
        if name.endswith("kernel"):
            assert one.zeros_kept
            stored = one.stored
            zeros = (model.get_layer(name.split("/")[0]).kernel.numpy() == 0).T
            point = 0 if stored.zero_point is None else stored.zero_point[0]
            assert np.all(stored.values.reshape(zeros.shape)[zeros] == point)
    outputs, expected = tflite.predict(str(path), [X]), verify.predictions(model, [X])
    assert verify.distance(outputs, expected) <= {"float32": 1e-6, "float16": 2e-3, "dynamic": 0.1, "int8": 0.1}[kind]
    assert path.stat().st_size <= dense.stat().st_size
    if kind == "float32" and pattern != "dense":
        assert all(one.stored.sparse for name, one in there.items() if name.endswith("kernel"))
        assert path.stat().st_size < dense.stat().st_size / 3
    if kind == "int8" and pattern == "blocks":
        assert path.stat().st_size < dense.stat().st_size / 4
    if pattern == "dense":
        assert not any(one.stored.sparse for name, one in there.items() if name.endswith("kernel"))


def test_int8_needs_examples(tmp_path):
    with pytest.raises(ValueError, match="tflite_int8 needs representative examples"):
        tflite.write(exports.ruled("mlp", "topk")[0], str(tmp_path / "x.tflite"), kind="int8")


@pytest.mark.slow
def test_outputs_keep_their_order(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input([4])
    model = keras.Model(inputs, [keras.layers.Dense(2 + place)(inputs) for place in range(11)])
    path = str(tmp_path / "x.tflite")
    tflite.write(model, path)
    x = [RNG.random((3, 4), dtype=np.float32)]
    for mine, its in zip(tflite.predict(path, x), model(x[0]), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)
