"""Activations that treat every channel alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.export.compact import activations

ALL = sorted(activations.ELEMENTWISE, key=lambda activation: activation.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ALL, ids=lambda activation: activation.__name__)
def test_a_value_alone_is_the_value_among_others(activation):
    values = np.array([-3.0, -0.4, 0.0, np.nan, 0.7, 2.5])
    found = activations.applied(activation, values)
    assert np.isnan(found[3])
    for value, one in zip(values, found, strict=True):
        if not np.isnan(value):
            alone = keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor([[value]], "float32")))
            np.testing.assert_allclose(one, alone[0, 0], rtol=1e-5, atol=1e-6)


def test_others_are_not_elementwise():
    for name in ("softmax", "log_softmax", "glu", "sparsemax"):
        assert not activations.elementwise(getattr(keras.activations, name))
    assert not activations.elementwise(lambda x: x)
    assert activations.elementwise(None)


def test_what_overflows_is_no_constant():
    assert np.isnan(activations.applied(keras.activations.exponential, np.array([1e4]))).all()
