"""Tests of groups with a given sum."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

Hyperplane = REGISTRY["hyperplane"]

CASES = [{"total": 1.3}]


def oracle(x, total):
    return oracles.summing_to(x, total)


def violation(x, total):
    return abs(oracles.excess(x, total))


def test_exact_cases():
    w = np.float32([[3.0, 1.0, 0.0, 5.0], [1.0, -2.0, 0.0, 5.0], [-1.0, 1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 5.0]])
    expected = np.float32([[2.25, 1.25, 0.25, 0.25], [0.25, -1.75, 0.25, 0.25], [-1.75, 1.25, 0.25, 0.25]])
    np.testing.assert_array_equal(Hyperplane(1.0)(w)[:3], expected)
    np.testing.assert_array_equal(Hyperplane(4.0)(w)[:, 0], w[:, 0])
    np.testing.assert_array_equal(Hyperplane(1.0).active(w), [True] * 4)
    np.testing.assert_array_equal(Hyperplane(1.0).distance(w), [1.5, 0.5, 0.5, 9.5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("total", [-30.0, -0.1, 0.0, 1e-3, 1.0])
@pytest.mark.parametrize("shape", [(7, 5), (300, 40)])
def test_the_sum_is_right_to_a_rounding_and_all_weights_move_alike(dtype, total, shape):
    w = (np.random.default_rng(0).standard_normal(shape) + 0.3).astype(DTYPES[dtype])
    p = Hyperplane(total)(w).numpy()
    wide = p.astype(np.float64)
    magnitude = np.abs(wide).sum(0)
    room = (oracles.epsilon(dtype) + 1e-14) * magnitude + oracles.quantum(dtype) * len(w)
    assert np.all(np.abs(wide.sum(0) - total) <= room)
    moved = w.astype(np.float64) - wide
    assert np.all(np.ptp(moved, axis=0) <= 4 * oracles.epsilon(dtype) * np.abs(wide).max(0) + oracles.quantum(dtype))
    np.testing.assert_array_equal(bits(Hyperplane(total)(p)), bits(p))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("total", [-1e30, 1e-30, 1.0])
def test_a_total_far_from_the_weights(scale, total):
    w = np.float32([[3.0, 1.0, 1.0], [2.0, 1.0, -1.0], [1.0, 1.0, 0.5]]) * np.float32(scale)
    p = Hyperplane(total)(w).numpy()
    expected = oracles.project("hyperplane", w, total=total)
    np.testing.assert_allclose(p, expected, rtol=1.2e-7, atol=1e-7 * np.abs(expected).max())
    assert oracles.violation("hyperplane", p, total=total) <= 1.2e-7


def test_with_a_total_of_zero_it_is_zerosum():
    w = np.random.default_rng(0).standard_normal((30, 10)).astype(np.float32)
    np.testing.assert_array_equal(bits(Hyperplane(0.0)(w)), bits(REGISTRY["zerosum"]()(w)))


def test_a_total_may_change_its_sign_on_a_schedule():
    constraint = Hyperplane(schedules.linear(-1.0, 1.0, end=10))
    w = tf.random.stateless_normal([20, 5], [0, 0])
    for step, total in ((0, -1.0), (5, 0.0), (10, 1.0)):
        np.testing.assert_allclose(np.sum(constraint.at(step)(w).numpy().astype(np.float64), 0), total, atol=2e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", None, True])
def test_a_bad_total_is_refused(bad):
    with pytest.raises(ValueError, match="total="):
        Hyperplane(bad)
