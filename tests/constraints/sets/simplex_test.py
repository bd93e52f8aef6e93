"""Tests of the simplex."""

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import fast

Simplex = REGISTRY["simplex"]

CASES = [{"total": 1.7}]


def oracle(x, total):
    """Sorts; the largest support of which every member stays above zero when its sum is made the total is right."""
    if not x.size:
        return x
    # Relative to the largest, because 1e30 - 1 has no float64 of its own.
    z = x - np.max(x)
    descending = np.sort(z)[::-1]
    thresholds = (np.cumsum(descending.astype(np.longdouble)) - total) / np.arange(1, x.size + 1)
    return np.maximum(z - float(thresholds[descending > thresholds][-1]), 0.0)


def violation(x, total):
    return oracles.outside(math.fsum(x), total, total) + float(np.any(x < 0)) if x.size else 0.0


def norm(x):
    return np.sum(np.abs(x))


def test_exact_cases():
    w = np.float32([[3.0, 0.25, -5.0, 0.0, 1.0], [4.0, 0.5, -5.0, 0.0, -1.0], [-3.0, 0.25, -9.0, 0.0, 0.5]])
    expected = np.float32([[0.0, 0.25, 0.5, 1 / 3, 0.75], [1.0, 0.5, 0.5, 1 / 3, 0.0], [0.0, 0.25, 0.0, 1 / 3, 0.25]])
    np.testing.assert_array_equal(bits(Simplex()(w)), bits(expected))
    np.testing.assert_array_equal(Simplex().active(w), [True] * 5)
    np.testing.assert_array_equal(Simplex().norm(w), [10.0, 1.0, 19.0, 0.0, 2.5])
    np.testing.assert_array_equal(Simplex().distance(w[:, 1:2]), [0.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("total", [1e-3, 0.1, 1.0, 30.0])
def test_the_conditions_of_the_nearest_point_hold(dtype, total):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((200, 40)) * rng.uniform(0.001, 30, 40) + rng.uniform(-1, 1, 40)).astype(DTYPES[dtype])
    p = Simplex(total)(w).numpy().astype(np.float64)
    x = w.astype(np.float64)
    assert np.all(p >= 0)
    room = oracles.epsilon(dtype) * total + oracles.quantum(dtype) * len(w) + 1e-14 * total
    np.testing.assert_allclose(p.sum(0), total, rtol=0, atol=room)
    # w - p is one number on the support, and at most that number off it.
    for column in range(w.shape[1]):
        support = p[:, column] > 0
        residual = x[:, column] - p[:, column]
        near = oracles.epsilon(dtype) * p[:, column].max() + oracles.quantum(dtype) + 1e-15 * np.abs(x).max()
        assert np.ptp(residual[support]) <= 2 * near
        assert np.all(residual[~support] <= residual[support].min() + near)


def test_no_support_is_nearer():
    rng = np.random.default_rng(1)
    for _ in range(20):
        w = rng.standard_normal(6)
        best = np.inf
        for size in range(1, 7):
            for support in map(list, itertools.combinations(range(6), size)):
                point = np.zeros(6)
                point[support] = w[support] + (1.0 - w[support].sum()) / size
                if point.min() >= 0:
                    best = min(best, np.sum((w - point) ** 2))
        np.testing.assert_allclose(np.sum((w - Simplex()(w).numpy()) ** 2), best, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e18, 1e30])
def test_a_total_far_from_the_weights(scale):
    w = np.float32([[3.0, 1.0, 1.0], [2.0, 1.0, -1.0], [1.0, 1.0, 0.5]]) * np.float32(scale)
    for total in (1e-30, 1.0, 1e30):
        p = Simplex(total)(w).numpy()
        np.testing.assert_allclose(p, oracles.project("simplex", w, total=total), rtol=1.2e-7, atol=0)
        assert oracles.violation("simplex", p, total=total) <= 1.2e-7


def test_equal_weights_stay_equal():
    for size, value in itertools.product((1, 2, 3, 7, 1000), (-5.0, 0.0, 5.0)):
        p = Simplex(2.0)(np.full((size, 1), value, np.float32)).numpy()
        np.testing.assert_array_equal(p, np.full((size, 1), 2.0 / size, np.float32))


def test_a_total_annealed_to_zero_leaves_zeros():
    constraint = Simplex(schedules.linear(1.0, 0.0, end=10)).at(10)
    w = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_array_equal(constraint(w), np.zeros((20, 5)))
    np.testing.assert_array_equal(constraint(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


@pytest.mark.slow
def test_one_group_of_many_weights():
    w = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    p = Simplex(100.0)(w).numpy()
    np.testing.assert_allclose(p, oracles.project("simplex", w, total=100.0), rtol=1.2e-7, atol=1e-12)
    np.testing.assert_array_equal(bits(tf.function(Simplex(100.0), jit_compile=True)(w)), bits(p))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), "1", schedules.linear(1.0, -1.0, end=3)])
def test_a_bad_total_is_refused(bad):
    with pytest.raises(ValueError, match="total="):
        Simplex(bad)


@functools.partial(tf.function, autograph=False, jit_compile=True)
def compiled(w, total):
    """The projection as a function of weights and total, so that it is compiled once for all totals."""
    return Simplex(total)(w)


@pytest.mark.parametrize("shape", [pytest.param((70_001, 1), marks=pytest.mark.slow), (9_000, 7)], ids=str)
@pytest.mark.parametrize("total", fast([1e-3, 1.0, 1e4], 1.0))
def test_large_tensors_are_projected_exactly(shape, total):
    w = np.random.default_rng(8).standard_normal(shape).astype(np.float32)
    w[:, 0] *= 3.0
    for shift in (0.0, 5.0, -5.0):
        p = Simplex(total)(w + np.float32(shift)).numpy()
        expected = oracles.project("simplex", w + np.float32(shift), total=total)
        assert np.all(np.abs(p - expected) <= 2.0**-24 * np.abs(expected) + 1e-13 * max(total, 1.0))
        assert p.min() >= 0.0
        np.testing.assert_array_equal(bits(Simplex(total)(p)), bits(p))
        np.testing.assert_array_equal(bits(compiled(w + np.float32(shift), tf.constant(total, tf.float64))), bits(p))
