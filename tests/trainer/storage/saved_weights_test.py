"""The weights of a checkpoint, whatever kind of network they are of."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.engine.run_state import RunState
from trainer.storage import checkpoint_folders, checkpoints, saved_weights

layers = keras.layers


class Listed(keras.Model):
    """Holds its layers in a list, which TensorFlow's graph of objects leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [layers.Dense(3), layers.Dense(2)]
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.parts[1](self.norm(self.parts[0](x)))


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.5)])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def saved(folder, model: keras.Model) -> None:
    model(np.zeros((1, 4), np.float32))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for place, variable in enumerate(model.weights):
        variable.assign(np.full(variable.shape, place))
    checkpoints.Checkpoints(folder, model, model.optimizer, RunState(5)).save()


@pytest.mark.parametrize("make", [nested, Listed])
def test_every_weight_with_its_path_and_no_state_of_anything_else(tmp_path, make):
    model = make()
    saved(tmp_path, model)
    found = saved_weights.read(saved_weights.newest(tmp_path, "x"), "x")
    fixed = [variable for variable in model.weights if not variable.trainable]
    for (path, value), variable in zip(found, [*model.trainable_variables, *fixed], strict=True):
        np.testing.assert_array_equal(value, variable.numpy())
        # TensorFlow's name for a layer in a list leaves the layer out.
        assert path == variable.path or make is Listed


def test_the_newest_that_is_whole(tmp_path):
    with pytest.raises(ValueError, match=r"x: no whole checkpoint in .*; give the directory of a run that saved one"):
        saved_weights.newest(tmp_path, "x")
    model = nested()
    saved(tmp_path, model)
    first = checkpoint_folders.path(tmp_path, 0)
    second = checkpoint_folders.path(tmp_path, 1)
    second.mkdir()
    assert saved_weights.newest(tmp_path, "x") == first
    (first / "state.index").write_bytes(b"")
    with pytest.raises(ValueError, match="no whole checkpoint"):
        saved_weights.newest(tmp_path, "x")
