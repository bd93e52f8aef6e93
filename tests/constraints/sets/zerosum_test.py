"""Tests of groups that sum to zero."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

ZeroSum = REGISTRY["zerosum"]

CASES = [{}]


def oracle(x):
    return oracles.summing_to(x, 0.0)


def violation(x):
    return abs(oracles.excess(x, 0.0))


def test_exact_cases():
    w = np.float32([[3.0, 1.0, 0.1, 0.0], [1.0, -2.0, 0.1, -0.0], [-1.0, 1.0, 0.1, 0.0]])
    expected = np.float32([[2.0, 1.0, 0.0, 0.0], [0.0, -2.0, 0.0, -0.0], [-2.0, 1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(bits(ZeroSum()(w)), bits(expected))
    np.testing.assert_array_equal(ZeroSum().active(w), [True] * 4)
    np.testing.assert_allclose(ZeroSum().distance(w), [3**0.5, 0.0, np.float32(0.1) * 3**0.5, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("shape", [(7, 5), (300, 40)])
def test_the_sum_is_zero_to_a_rounding_and_all_weights_move_alike(dtype, offset, shape):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal(shape) + offset).astype(DTYPES[dtype])
    p = ZeroSum()(w).numpy()
    wide = p.astype(np.float64)
    magnitude = np.abs(wide).sum(0)
    room = (oracles.epsilon(dtype) + 1e-14) * magnitude + oracles.quantum(dtype) * len(w)
    assert np.all(np.abs(wide.sum(0)) <= room)
    # The normal of the plane is all ones, so a nearest point differs from w by one number per group.
    moved = w.astype(np.float64) - wide
    room = 4 * oracles.epsilon(dtype) * np.abs(wide).max(0) + oracles.quantum(dtype) + 1e-15 * offset
    assert np.all(np.ptp(moved, axis=0) <= room)
    np.testing.assert_array_equal(bits(ZeroSum()(p)), bits(p))


def test_differences_of_nearly_equal_float64_survive():
    # All that tells the weights apart is in their last bits: the exact answer is a handful of roundings of 1e8.
    ulp = np.spacing(1e8)
    w = 1e8 + ulp * np.array([[0.0], [1.0], [2.0], [5.0]])
    np.testing.assert_array_equal(ZeroSum()(w), ulp * np.array([[-2.0], [-1.0], [0.0], [3.0]]))


def test_float64_is_the_same_to_the_bit_in_a_graph():
    # Whose optimizer multiplies by the reciprocal of a constant where it should divide.
    for size in (3, 7, 11):
        w = np.random.default_rng(size).standard_normal((size, 200))
        np.testing.assert_array_equal(bits(tf.function(ZeroSum())(w)), bits(ZeroSum()(w)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_equal_weights_become_exactly_zero(dtype, size):
    for value in (0.1, -7.3, 1e4):
        p = ZeroSum()(np.full((size, 2), value).astype(DTYPES[dtype])).numpy()
        np.testing.assert_array_equal(p.astype(np.float64), 0.0)


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_that_stay_do_so_among_many(compiled):
    w = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    w[20:, ::2] = -w[:20, ::2]
    w[3, 4], w[23, 4] = -0.0, 0.0
    w[5, 1], w[6, 3] = np.nan, np.inf
    p = tf.function(ZeroSum(), jit_compile=compiled)(w).numpy()
    for column in [*range(0, 30, 2), 1, 3]:
        np.testing.assert_array_equal(bits(p[:, column]), bits(w[:, column]))
    assert not np.any(p[:, 5] == w[:, 5])


def test_one_group_of_many_weights():
    w = (np.random.default_rng(0).standard_normal(50_000) + 3.0).astype(np.float32)
    p = ZeroSum()(w).numpy()
    np.testing.assert_allclose(p, oracles.project("zerosum", w), rtol=1.2e-7, atol=1e-12)
    np.testing.assert_array_equal(bits(tf.function(ZeroSum(), jit_compile=True)(w)), bits(p))
