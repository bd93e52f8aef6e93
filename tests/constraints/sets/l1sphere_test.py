"""Tests of the l1 sphere."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.constraints.sets import l1ball_test, simplex_test
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

L1Sphere = REGISTRY["l1sphere"]

CASES = [{"total": 1.7}]
norm = l1ball_test.norm


def oracle(x, total):
    return np.where(x < 0, -1.0, 1.0) * simplex_test.oracle(np.abs(x), total)


def violation(x, total):
    return oracles.outside(math.fsum(np.abs(x)), total, total) if x.size else 0.0


def test_exact_cases():
    w = np.float32([[3.0, 0.25, 0.0, -0.0, 5.0], [-4.0, -0.5, 0.0, 0.5, 0.0], [-3.0, -0.25, 0.0, -0.2, -0.0]])
    expected = np.float32([[0.0, 0.25, 1 / 3, 0.1, 1.0], [-1.0, -0.5, 1 / 3, 0.6, 0.0], [0.0, -0.25, 1 / 3, -0.3, 0.0]])
    np.testing.assert_allclose(L1Sphere()(w), expected, rtol=1e-7)
    np.testing.assert_array_equal(L1Sphere().active(w), [True] * 5)
    np.testing.assert_allclose(L1Sphere().norm(w), [10.0, 1.0, 0.0, 0.7, 5.0], rtol=1e-7)
    np.testing.assert_allclose(L1Sphere().distance(w[:, 1:4]), [0.0, 3**-0.5, 0.03**0.5], rtol=1e-6)


def test_weights_off_the_support_are_positive_zeros():
    np.testing.assert_array_equal(
        bits(L1Sphere()(np.float32([[5.0], [-0.1], [0.1]]))), bits(np.float32([[1.0], [0.0], [0.0]]))
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_outside_it_is_the_ball_and_the_sum_holds_on_either_side(dtype):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((100, 40)) * 10.0 ** rng.uniform(-4, 2, 40)).astype(DTYPES[dtype])
    p = L1Sphere(3.0)(w).numpy().astype(np.float64)
    room = oracles.epsilon(dtype) * 3.0 + oracles.quantum(dtype) * 100 + 1e-14
    np.testing.assert_allclose(np.abs(p).sum(0), 3.0, rtol=0, atol=room)
    outside = np.abs(w.astype(np.float64)).sum(0) > 3.0
    assert 5 < outside.sum() < 35
    ball = oracles.project("l1ball", w[:, outside], max_value=3.0)
    np.testing.assert_allclose(p[:, outside], ball, rtol=oracles.epsilon(dtype), atol=oracles.quantum(dtype) + 1e-14)


def test_no_signs_and_no_support_are_nearer():
    rng = np.random.default_rng(1)
    for scale in (0.01, 0.2, 1.0):
        for _ in range(5):
            w = rng.standard_normal(4) * scale
            best = np.inf
            for signs in itertools.product((-1.0, 1.0), repeat=4):
                for size in range(1, 5):
                    for support in map(list, itertools.combinations(range(4), size)):
                        point, along = np.zeros(4), np.array(signs)[support]
                        point[support] = w[support] + along * (1.0 - along @ w[support]) / size
                        if np.all(point[support] * along >= 0):
                            best = min(best, np.sum((w - point) ** 2))
            np.testing.assert_allclose(np.sum((w - L1Sphere()(w).numpy()) ** 2), best, rtol=1e-12)


def test_every_point_with_those_signs_is_as_near_to_zero():
    # The choice of signs at zero is free: the documented one is positive.
    p = L1Sphere(2.0)(np.zeros((8, 2), np.float32)).numpy()
    np.testing.assert_array_equal(p, np.full((8, 2), 0.25))
    np.testing.assert_array_equal(L1Sphere(2.0).distance(np.zeros((8, 2))), [0.5**0.5] * 2)


def test_ties_move_together():
    for size, value in itertools.product((2, 3, 7, 1000), (1e-6, 5.0)):
        p = L1Sphere(1.0)(np.full((size, 1), -value, np.float32)).numpy()
        np.testing.assert_array_equal(p, np.full((size, 1), -1.0 / size, np.float32))


def test_a_total_annealed_to_zero_leaves_zeros():
    constraint = L1Sphere(schedules.linear(1.0, 0.0, end=10)).at(10)
    w = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_array_equal(constraint(w), np.zeros((20, 5)))
    np.testing.assert_array_equal(constraint(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_one_group_of_many_weights(scale):
    w = (np.random.default_rng(0).standard_normal(50_000) * scale).astype(np.float32)
    p = L1Sphere(100.0)(w).numpy()
    np.testing.assert_allclose(p, oracles.project("l1sphere", w, total=100.0), rtol=1.2e-7, atol=1e-12)
    np.testing.assert_array_equal(bits(L1Sphere(100.0)(p)), bits(p))
    np.testing.assert_array_equal(bits(tf.function(L1Sphere(100.0), jit_compile=True)(w)), bits(p))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), "1", schedules.linear(1.0, -1.0, end=3)])
def test_a_bad_total_is_refused(bad):
    with pytest.raises(ValueError, match="total="):
        L1Sphere(bad)
