"""Tests of the l1 ball."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests import oracles
from tests.oracles import bits

L1Ball = REGISTRY["l1ball"]


def test_exact_cases():
    w = np.float32([[3.0, 0.25, 5.0, 1.0], [4.0, 0.5, 0.0, 1.0], [-3.0, 0.25, 0.0, -1.0], [0.0, 0.0, 0.0, 1.0]])
    expected = np.float32(
        [[0.0, 0.25, 1.0, 0.25], [1.0, 0.5, 0.0, 0.25], [0.0, 0.25, 0.0, -0.25], [0.0, 0.0, 0.0, 0.25]]
    )
    np.testing.assert_array_equal(L1Ball(1.0)(w), expected)
    np.testing.assert_array_equal(L1Ball(1.0).active(L1Ball(1.0)(w)), [True] * 4)
    np.testing.assert_array_equal(L1Ball(2.0).active(w[:, 1:2]), [False])
    np.testing.assert_array_equal(L1Ball(1.0).norm(w), [10.0, 1.0, 5.0, 4.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("max_value", [1e-3, 0.1, 1.0, 30.0])
def test_sum_in_float64_never_exceeds_the_bound_and_support_is_right(dtype, max_value):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((400, 40)) * rng.uniform(0.001, 30, 40)).astype(oracles.DTYPES[dtype])
    p = L1Ball(max_value)(w).numpy().astype(np.float64)
    assert np.abs(p).sum(0).max() <= max_value * (1 + 1e-13)
    expected = oracles.project("l1ball", w, max_value=max_value)
    np.testing.assert_array_equal(p != 0, np.abs(expected) >= max(oracles.quantum(dtype), 1e-15))
    # The optimality conditions: |w| - |p| is one number on the support, and at least |w| off it.
    residual = np.abs(w.astype(np.float64)) - np.abs(p)
    for column in range(w.shape[1]):
        support = p[:, column] != 0
        if np.abs(w[:, column].astype(np.float64)).sum() > max_value:
            threshold = residual[support, column]
            room = oracles.epsilon(dtype) * np.abs(p[:, column]).max() + oracles.quantum(dtype)
            assert np.ptp(threshold) <= room
            assert np.all(residual[~support, column] <= threshold.min() + room)


@pytest.mark.parametrize("scale", [1e-30, 1e18, 1e30])
def test_a_bound_far_from_the_weights(scale):
    w = np.float32([[3.0, 1.0, 1.0], [2.0, 1.0, -1.0], [1.0, 1.0, 0.5]]) * np.float32(scale)
    for max_value in (1e-30, 1.0, 1e30):
        p = L1Ball(max_value)(w).numpy()
        np.testing.assert_allclose(p, oracles.project("l1ball", w, max_value=max_value), rtol=2.4e-7, atol=0)
        assert oracles.violation("l1ball", p, max_value=max_value) <= 1e-12


def test_ties_shrink_together():
    for size in (2, 3, 7, 1000):
        p = L1Ball(1.0)(np.full((size, 1), 5.0, np.float32)).numpy()
        assert len(np.unique(p)) == 1
        np.testing.assert_allclose(p, 1.0 / size, rtol=1.2e-7)


def test_shrunk_weights_are_positive_zeros():
    p = L1Ball(1.0)(np.float32([[5.0], [-0.1], [0.1]])).numpy()
    np.testing.assert_array_equal(bits(p), bits(np.float32([[1.0], [0.0], [0.0]])))


def test_a_bound_annealed_to_zero_leaves_zeros():
    constraint = L1Ball(schedules.linear(1.0, 0.0, end=10)).at(10)
    w = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_array_equal(constraint(w), np.zeros((20, 5)))
    np.testing.assert_array_equal(constraint(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


def test_one_group_of_many_weights():
    w = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    p = L1Ball(100.0)(w).numpy()
    np.testing.assert_allclose(p, oracles.project("l1ball", w, max_value=100.0), rtol=1.3e-7, atol=1e-12)
    assert np.abs(p.astype(np.float64)).sum() <= 100.0 * (1 + 1e-10)
    np.testing.assert_array_equal(bits(tf.function(L1Ball(100.0), jit_compile=True)(w)), bits(p))


def test_a_bad_bound_is_refused():
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="max_value="):
            L1Ball(bad)
