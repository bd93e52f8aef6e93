"""ONNX files have only operations that ONNX has."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.export.formats import onnx

pytest.importorskip("tf2onnx")


@pytest.mark.slow
@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_written_with_operations_of_onnx(tmp_path, approximate):
    keras.utils.set_random_seed(0)
    inputs = keras.Input([6])
    x = keras.layers.Dense(20, lambda x: keras.activations.gelu(x, approximate=approximate))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, "gelu")(x))
    path = str(tmp_path / "model.onnx")
    onnx.write(model, path)
    x = np.random.default_rng(0).normal(scale=3, size=(50, 6)).astype(np.float32)
    (found,) = onnx.predict(path, [x])
    np.testing.assert_allclose(found, model(x), atol=1e-6 * np.abs(found).max())
