"""Tests of groups whose sum is bounded."""

import math

import numpy as np
import pytest

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

Halfspace = REGISTRY["halfspace"]

CASES = [{"total": 0.4}]


def oracle(x, total):
    return oracles.summing_to(x, total) if math.fsum(x) > total else x


def violation(x, total):
    return max(oracles.excess(x, total), 0.0)


def test_exact_cases():
    w = np.float32([[3.0, 1.0, -1.0, 5.0], [1.0, -2.0, 0.0, 5.0], [-1.0, 1.0, 0.0, 5.0], [1.0, 0.0, -0.0, 5.0]])
    expected = np.float32([[2.0, 1.0, -1.0, 0.0], [0.0, -2.0, 0.0, 0.0], [-2.0, 1.0, 0.0, 0.0], [0.0, 0.0, -0.0, 0.0]])
    np.testing.assert_array_equal(bits(Halfspace()(w)), bits(expected))
    np.testing.assert_array_equal(Halfspace().active(w), [True, True, False, True])
    np.testing.assert_array_equal(Halfspace().distance(w), [2.0, 0.0, 0.0, 10.0])
    np.testing.assert_array_equal(Halfspace(20.0)(w), w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("total", [-30.0, -0.1, 0.0, 1e-3, 1.0, 25.0])
@pytest.mark.parametrize("shape", [(7, 5), (300, 40)])
def test_the_sum_never_exceeds_the_bound_and_reaches_it(dtype, total, shape):
    w = (np.random.default_rng(0).standard_normal(shape) + 0.1).astype(DTYPES[dtype])
    p = Halfspace(total)(w).numpy()
    wide, x = p.astype(np.float64), w.astype(np.float64)
    magnitude = np.abs(wide).sum(0)
    assert np.all(wide.sum(0) - total <= 1e-14 * (1 + magnitude))
    outside = x.sum(0) > total + 1e-12
    lost = (2 * oracles.epsilon(dtype) + 1e-14) * magnitude + oracles.quantum(dtype) * len(w)
    assert np.all(wide.sum(0)[outside] >= (total - lost)[outside])
    np.testing.assert_array_equal(bits(p[:, ~outside]), bits(w[:, ~outside]))
    # The normal of the plane is all ones, so a nearest point differs from w by one number per group.
    room = 4 * oracles.epsilon(dtype) * np.abs(wide).max(0) + oracles.quantum(dtype)
    assert np.all(np.ptp(x - wide, axis=0) <= room)
    np.testing.assert_array_equal(bits(Halfspace(total)(p)), bits(p))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("total", [-1e30, 1e-30, 1.0])
def test_a_bound_far_from_the_weights(scale, total):
    w = np.float32([[3.0, 1.0, 1.0], [2.0, 1.0, -1.0], [1.0, 1.0, 0.5]]) * np.float32(scale)
    p = Halfspace(total)(w).numpy()
    expected = oracles.project("halfspace", w, total=total)
    np.testing.assert_allclose(p, expected, rtol=2.4e-7, atol=1e-7 * np.abs(expected).max())
    assert oracles.violation("halfspace", p, total=total) <= 1e-13


def test_on_its_boundary_it_is_the_hyperplane():
    w = np.random.default_rng(0).standard_normal((30, 10)) + 1.0
    np.testing.assert_array_equal(Halfspace(0.5)(w), REGISTRY["hyperplane"](0.5)(w))


def test_a_bound_may_change_its_sign_on_a_schedule():
    constraint = Halfspace(schedules.linear(1.0, -1.0, end=10))
    w = np.full((4, 1), 2.0)
    for step, total in ((0, 1.0), (5, 0.0), (10, -1.0)):
        np.testing.assert_array_equal(constraint.at(step)(w), np.full((4, 1), total / 4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", None, True])
def test_a_bad_bound_is_refused(bad):
    with pytest.raises(ValueError, match="total="):
        Halfspace(bad)
