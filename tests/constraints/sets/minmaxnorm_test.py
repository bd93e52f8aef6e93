"""Tests of the l2 shell."""

import keras
import numpy as np
import pytest

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import bits

MinMaxNorm = REGISTRY["minmaxnorm"]

CASES = [{"max_value": 1.3, "min_value": 0.4}, {"max_value": 0.9, "min_value": 0.9}]


def oracle(x, min_value, max_value):
    length = oracles.norm(x)
    return x if min_value <= length <= max_value else oracles.scaled_to(x, min(max(length, min_value), max_value))


def violation(x, min_value, max_value):
    return oracles.outside(oracles.norm(x), min_value, max_value)


def test_exact_cases():
    w = np.float32([[0.5, 1.5, 6.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    expected = np.float32([[1.0, 1.5, 2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    constraint = MinMaxNorm(min_value=1.0, max_value=2.0)
    np.testing.assert_array_equal(constraint(w), expected)
    np.testing.assert_array_equal(constraint.active(constraint(w)), [True, False, True, True, True])
    np.testing.assert_array_equal(constraint.distance(w), [0.5, 0.0, 4.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_both_bounds_hold_in_float64(dtype):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((200, 100)) * rng.uniform(0.001, 1, 100)).astype(oracles.DTYPES[dtype])
    constraint = MinMaxNorm(min_value=0.7, max_value=1.1)
    norms = np.linalg.norm(constraint(w).numpy().astype(np.float64), axis=0)
    assert norms.min() >= 0.7 * (1 - 1e-13)
    assert norms.max() <= 1.1 * (1 + 1e-13)
    # Both spheres and the shell between them were met.
    assert norms.min() < 0.71
    assert norms.max() > 1.09
    assert np.any((norms > 0.75) & (norms < 1.05))


def test_a_zero_column_becomes_the_documented_point():
    zero = np.zeros((16, 2), np.float32)
    np.testing.assert_array_equal(MinMaxNorm(min_value=1.0, max_value=2.0)(zero), np.full((16, 2), 0.25))
    np.testing.assert_array_equal(MinMaxNorm(min_value=0.0, max_value=2.0)(zero), zero)
    assert not np.any(keras.constraints.MinMaxNorm(1.0, 2.0)(zero)), "stock Keras leaves an infeasible zero column"


def test_without_a_lower_bound_it_is_maxnorm():
    w = np.random.default_rng(0).standard_normal((30, 10)).astype(np.float32)
    shell, ball = MinMaxNorm(min_value=0.0, max_value=2.0), REGISTRY["maxnorm"](2.0)
    np.testing.assert_array_equal(bits(shell(w)), bits(ball(w)))
    np.testing.assert_array_equal(shell.active(np.zeros((3, 1), np.float32)), [False])


@pytest.mark.parametrize("dtype", oracles.DTYPES)
@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0, 3.9, 4.1, 10.0])
def test_a_shell_thinner_than_rounding_is_a_sphere(dtype, gap):
    eps = oracles.epsilon(dtype)
    constraint = MinMaxNorm(min_value=1.0, max_value=1.0 + gap * eps)
    w = np.random.default_rng(0).standard_normal((50, 30)).astype(oracles.DTYPES[dtype])
    for scale in (0.01, 1.0):
        p = constraint((w * oracles.DTYPES[dtype](scale)).astype(oracles.DTYPES[dtype])).numpy()
        norms = np.linalg.norm(p.astype(np.float64), axis=0)
        room = 1.1 * eps + oracles.quantum(dtype) * 50**0.5 + 1e-14
        assert norms.min() >= 1 - room
        assert norms.max() <= 1 + gap * eps + room
        np.testing.assert_array_equal(bits(constraint(p)), bits(p))


def test_small_norms_in_float16_come_to_rest():
    w = np.random.default_rng(1).standard_normal((300, 20)).astype(np.float16)
    for low, high in ((1e-3, 1.0005e-3), (1e-3, 1.2e-3), (0.0, 1e-3)):
        constraint = MinMaxNorm(min_value=low, max_value=high)
        p = constraint(w).numpy()
        np.testing.assert_array_equal(bits(constraint(p)), bits(p))


def test_bounds_must_be_in_order_at_every_step():
    with pytest.raises(ValueError, match="min_value=3 is above max_value=2, so no weights are feasible"):
        MinMaxNorm(min_value=3.0, max_value=2.0)
    with pytest.raises(ValueError, match="above max_value=1 at step 5"):
        MinMaxNorm(min_value=schedules.linear(0.0, 2.0, end=9), max_value=1.0)
    with pytest.raises(ValueError, match="at step"):
        MinMaxNorm(
            min_value=schedules.piecewise([40, 50], [0.1, 1.0, 0.1]),
            max_value=schedules.linear(2.0, 0.5, begin=10, end=60),
        )
    MinMaxNorm(min_value=schedules.linear(0.0, 1.0, end=9), max_value=schedules.linear(1.0, 2.0, end=9))
    with pytest.raises(ValueError, match="min_value=-1 is out of range"):
        MinMaxNorm(min_value=-1.0, max_value=2.0)


def test_max_value_is_the_primary_bound():
    assert list(MinMaxNorm().bounds()) == ["max_value", "min_value"]


@pytest.mark.parametrize("size", [5, 300, 20_000])
def test_a_small_inner_sphere_beside_a_large_outer_one_is_reached(size):
    constraint = MinMaxNorm(min_value=1e-9, max_value=1e6)
    w = np.random.default_rng(0).standard_normal((size, 1)).astype(np.float32)
    w *= np.float32(1e-10 / np.linalg.norm(w))
    np.testing.assert_allclose(constraint.norm(constraint(w)), 1e-9, rtol=1e-6)
    assert constraint.distance(w) > 0.0
