"""Tests of the non-negative orthant."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

NonNeg = REGISTRY["nonneg"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_weights_become_zero_and_others_stay(dtype):
    w = np.array([-1.0, -1e-7, -0.0, 0.0, 2.0, np.inf, -np.inf]).astype(DTYPES[dtype])
    expected = np.array([0.0, 0.0, -0.0, 0.0, 2.0, np.inf, 0.0]).astype(DTYPES[dtype])
    np.testing.assert_array_equal(bits(NonNeg()(w)), bits(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("groups", [1, 300])
def test_subnormals_and_negative_zeros_are_told_apart(dtype, compiled, groups):
    tiny = float(oracles.ml_dtypes.finfo(DTYPES[dtype]).smallest_subnormal)
    if dtype == "float32" and groups > 1:
        pytest.skip("arithmetic may lose them there")
    w = np.tile([[-tiny], [-0.0], [0.0], [tiny], [np.nan], [-np.inf]], groups).astype(DTYPES[dtype])
    expected = np.tile([[0.0], [-0.0], [0.0], [tiny], [np.nan], [0.0]], groups).astype(DTYPES[dtype])
    p = tf.function(NonNeg(), jit_compile=compiled)(w).numpy()
    np.testing.assert_array_equal(bits(p), bits(expected))


def test_nan_stays_in_its_own_weight():
    p = NonNeg()(np.float32([[np.nan, 1.0], [-1.0, -2.0]])).numpy()
    np.testing.assert_array_equal(p, np.float32([[np.nan, 1.0], [0.0, 0.0]]))


def test_active_and_distance():
    w = np.float32([[-3.0, 1.0, 0.0], [-4.0, 2.0, 5.0]])
    np.testing.assert_array_equal(NonNeg().distance(w), [5.0, 0.0, 0.0])
    np.testing.assert_array_equal(NonNeg().active(NonNeg()(w)), [True, False, True])
    assert NonNeg().bounds() == {}
