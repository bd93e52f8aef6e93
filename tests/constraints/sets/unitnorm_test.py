"""Tests of the l2 sphere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support import oracles
from tests.support.oracles import bits

UnitNorm = REGISTRY["unitnorm"]

CASES = [{}]


def oracle(x):
    return oracles.scaled_to(x, 1.0)


def violation(x):
    return abs(oracles.norm(x) - 1.0) if x.size else 0.0


def test_exact_cases():
    np.testing.assert_array_equal(
        UnitNorm()(np.float32([[3.0, -5.0], [4.0, 0.0]])), np.float32([[0.6, -1.0], [0.8, 0.0]])
    )


def test_a_zero_column_becomes_the_documented_point():
    zero = np.zeros((16, 2), np.float32)
    np.testing.assert_array_equal(UnitNorm()(zero), np.full((16, 2), 0.25))
    np.testing.assert_array_equal(UnitNorm().distance(zero), [1.0, 1.0])
    assert not np.any(keras.constraints.UnitNorm()(zero)), "stock Keras leaves an infeasible zero column"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_column_of_subnormals_is_taken_for_zeros(compiled):
    for column, expected in (([-5e-324], 1.0), ([5e-324, -5e-324, 1e-310, 0.0], 0.5)):
        w = np.array(column)[:, np.newaxis]
        np.testing.assert_array_equal(tf.function(UnitNorm(), jit_compile=compiled)(w), np.full(w.shape, expected))


@pytest.mark.parametrize("dtype", oracles.DTYPES)
def test_a_column_is_on_the_sphere_to_within_rounding_and_stays(dtype):
    rng = np.random.default_rng(0)
    for size in (1, 3, 100, 5000):
        p = UnitNorm()(rng.standard_normal((size, 20)).astype(oracles.DTYPES[dtype])).numpy()
        assert oracles.violation("unitnorm", p) <= max(oracles.epsilon(dtype), 1e-14)
        np.testing.assert_array_equal(bits(UnitNorm()(p)), bits(p))
        assert np.all(UnitNorm().distance(p).numpy() == 0)


def test_a_column_just_off_the_sphere_is_moved():
    for norm in (1 - 3e-7, 1 + 3e-7):
        w = np.full((4, 1), 0.5 * norm, np.float32)
        np.testing.assert_allclose(UnitNorm()(w), 0.5, rtol=1e-7)
        assert UnitNorm().distance(w)[0] > 1e-7


def test_every_group_is_active():
    np.testing.assert_array_equal(UnitNorm().active(np.ones((3, 2), np.float32)), [True, True])


def test_a_filter_has_norm_one():
    w = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    norms = np.linalg.norm(UnitNorm()(w).numpy().reshape(-1, 5).astype(np.float64), axis=0)
    np.testing.assert_allclose(norms, 1.0, rtol=1.2e-7)
    stock = keras.constraints.UnitNorm()(w)
    assert np.linalg.norm(np.reshape(stock, (-1, 5)), axis=0).min() > 3.0


def test_it_takes_no_number():
    assert UnitNorm.hyperparameters() == ()
    assert UnitNorm().bounds() == {}
    with pytest.raises(TypeError):
        UnitNorm(2.0)


def test_large_tensors_reach_the_sphere():
    w = np.random.default_rng(8).standard_normal((2_000, 100)).astype(np.float32)
    w[:, 1] = 0.0
    p = UnitNorm()(w).numpy()
    np.testing.assert_allclose(np.linalg.norm(p.astype(np.float64), axis=0), 1.0, atol=2.4e-7)
    np.testing.assert_allclose(p, oracles.project("unitnorm", w), rtol=1.2e-7)
    np.testing.assert_array_equal(bits(UnitNorm()(p)), bits(p))
    np.testing.assert_array_equal(bits(tf.function(UnitNorm(), jit_compile=True)(w)), bits(p))
