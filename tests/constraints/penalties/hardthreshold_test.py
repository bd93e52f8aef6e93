"""Tests of hard thresholding."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support.oracles import DTYPES, bits

HardThreshold = REGISTRY["hardthreshold"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_cases(dtype):
    w = np.array([[3.0, 0.25, 1.0], [-4.0, -0.5, -1.0], [1.25, 0.0, 0.75]]).astype(DTYPES[dtype])
    expected = np.array([[3.0, 0.0, 0.0], [-4.0, 0.0, 0.0], [1.25, 0.0, 0.0]]).astype(DTYPES[dtype])
    constraint = HardThreshold(0.5)  # Magnitudes of up to 1 go, 1 itself too.
    np.testing.assert_array_equal(bits(constraint(w)), bits(expected))
    np.testing.assert_array_equal(bits(constraint(np.tile(w, 60))), bits(np.tile(expected, 60)))
    np.testing.assert_array_equal(constraint.active(expected), [False, True, True])
    np.testing.assert_array_equal(constraint.norm(w), [3.0, 2.0, 3.0])
    np.testing.assert_allclose(constraint.distance(w), [0.0, 0.3125**0.5, 2.5625**0.5])


def test_no_support_costs_less():
    rng = np.random.default_rng(0)
    for step in (0.3, 1.0):
        for _ in range(10):
            w = rng.standard_normal(8)
            costs = [
                np.sum((w * kept - w) ** 2) / 2 + step * 0.4 * sum(kept)
                for kept in map(np.array, itertools.product([0, 1], repeat=8))
            ]
            p = HardThreshold(0.4).stepped(step)(w).numpy()
            np.testing.assert_allclose(np.sum((p - w) ** 2) / 2 + step * 0.4 * np.count_nonzero(p), min(costs))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_numbers_next_to_the_threshold_are_told_apart(dtype, compiled):
    apply = tf.function(lambda w, penalty: HardThreshold(penalty)(w), jit_compile=compiled)
    for threshold in (0.2, 1 / 3, 1.5, 700.0):
        below = np.array(threshold).astype(DTYPES[dtype])
        if below.astype(np.float64) > threshold:
            below = np.nextafter(below, DTYPES[dtype](0))
        above = np.nextafter(below, DTYPES[dtype](np.inf))
        p = apply(np.stack([below, above, -below, -above]), tf.constant(threshold**2 / 2, tf.float64)).numpy()
        np.testing.assert_array_equal(p, np.stack([0 * below, above, 0 * below, -above]))


@pytest.mark.parametrize("penalty", [1e-90, 1e-60, 1e300])
@pytest.mark.parametrize("compiled", [False, True])
def test_extreme_penalties(penalty, compiled):
    w = np.float32([1e-30, -1e-30, 1.0, 3e38, 1e-40, -1e-44, 0.0, -0.0, np.inf, -np.inf])
    wide = w.astype(np.float64)
    expected = np.where((np.abs(wide) > np.sqrt(2 * penalty)) & (np.abs(wide) > 2.0**-126), w, np.float32(0))
    expected[-2:] = w[-2:]
    expected[7] = -0.0
    np.testing.assert_array_equal(bits(tf.function(HardThreshold(penalty), jit_compile=compiled)(w)), bits(expected))


def test_a_second_step_of_the_same_length_changes_nothing():
    w = np.random.default_rng(3).standard_normal((30, 20)).astype(np.float32)
    p = HardThreshold(0.3)(w)
    np.testing.assert_array_equal(bits(HardThreshold(0.3)(p)), bits(p))
    assert not HardThreshold.convex
