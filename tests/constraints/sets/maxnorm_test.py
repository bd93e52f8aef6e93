"""Tests of the l2 ball, and of what the stock `keras.constraints.MaxNorm` gets wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import bits

MaxNorm = REGISTRY["maxnorm"]

CASES = [{"max_value": 1.3}]


def oracle(x, max_value):
    return x if oracles.norm(x) <= max_value else oracles.scaled_to(x, max_value)


def violation(x, max_value):
    return oracles.outside(oracles.norm(x), 0.0, max_value)


def test_exact_cases_are_exact():
    w = tf.constant([[4.0, 6.0, 0.0, 1.0], [0.0, 0.0, -7.0, 1.0]])
    np.testing.assert_array_equal(MaxNorm(2.0)(w), [[2.0, 2.0, 0.0, 1.0], [0.0, 0.0, -2.0, 1.0]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_float64_rounding_costs_no_ulp(dtype):
    # 2 / 49 * 49 is 2 - 2^-52 in float64; rounded toward zero it must not become the number below 2.
    for start in range(1, 2001, 100):
        w = np.stack([np.arange(start, start + 100), np.zeros(100)]).astype(oracles.DTYPES[dtype])
        p = MaxNorm(2.0)(w).numpy().astype(np.float64)
        np.testing.assert_array_equal(p[0], np.minimum(w[0].astype(np.float64), 2.0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("max_value", [1.0, 2.0, 0.1, 1.0 / 3.0, 3.14159])
def test_norm_in_float64_never_exceeds_the_bound_and_reaches_it(dtype, max_value):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((300, 200)) * rng.uniform(0.01, 10, 200)).astype(oracles.DTYPES[dtype])
    p = MaxNorm(max_value)(w).numpy().astype(np.float64)
    norms, before = np.linalg.norm(p, axis=0), np.linalg.norm(w.astype(np.float64), axis=0)
    assert norms.max() <= max_value * (1 + 1e-13)
    # float16 drops up to a quantum from weights this small.
    # The factor and its product with float32 weights are each rounded down by up to a unit in the last place.
    units = 2.0 if dtype == "float32" else 1.0
    lost = units * oracles.epsilon(dtype) + oracles.quantum(dtype) * 300**0.5 / max_value
    assert norms[before > max_value].min() >= max_value * (1 - lost)


@pytest.mark.parametrize("size", [1, 64, 784, 20_000])
def test_columns_a_hair_from_the_bound_are_told_apart(size):
    rng = np.random.default_rng(size)
    shares = [0.5, 1 - 1e-3, 1 - 3e-5, 1 - 1e-6, 1.0, 1 + 1e-6, 1 + 3e-5, 2.0]
    direction = rng.standard_normal((size, len(shares)))
    w = (direction / np.linalg.norm(direction, axis=0) * 2.0 * shares).astype(np.float32)
    inside = np.linalg.norm(w.astype(np.float64), axis=0) <= 2.0
    # Alone, so that each takes the short cut or does not; and together.
    for project in (MaxNorm(2.0), lambda w: tf.concat([MaxNorm(2.0)(w[:, i : i + 1]) for i in range(len(shares))], 1)):
        p = project(w).numpy()
        np.testing.assert_array_equal(bits(p[:, inside]), bits(w[:, inside]))
        assert np.all(np.linalg.norm(p.astype(np.float64), axis=0) <= 2.0)
        np.testing.assert_allclose(p, oracles.project("maxnorm", w, max_value=2.0), rtol=2.4e-7)


@pytest.mark.parametrize("bound", [1e-30, 1e-25, 1e-19, 1e-16])
def test_a_bound_far_below_what_float32_can_square(bound):
    w = np.full((100, 3), bound, np.float32) * np.float32([1.0, 0.05, 0.2])
    p = MaxNorm(bound)(w).numpy()
    np.testing.assert_allclose(p, oracles.project("maxnorm", w, max_value=bound), rtol=2.4e-7)
    assert oracles.violation("maxnorm", p, max_value=bound) <= 1e-12


def test_a_bound_annealed_to_zero_leaves_zeros():
    constraint = MaxNorm(schedules.linear(1.0, 0.0, end=10))
    w = tf.random.stateless_normal([20, 5], [0, 0])
    np.testing.assert_array_equal(constraint.at(10)(w), np.zeros((20, 5)))
    np.testing.assert_array_equal(constraint.at(10)(tf.zeros([4, 2])), np.zeros((4, 2)))
    assert np.all(np.isfinite(constraint.at(10).distance(w)))


def test_active_is_the_boundary():
    w = tf.constant([[4.0, 2.0, 1.9, 0.0]])
    np.testing.assert_array_equal(MaxNorm(2.0).active(w), [True, True, False, False])
    np.testing.assert_array_equal(MaxNorm(2.0).active(MaxNorm(2.0)(w)), [True, True, False, False])
    np.testing.assert_array_equal(MaxNorm(2.0).distance(w), [2.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("bad", [0, -1, True, "2", None, float("nan"), float("inf"), 10**400, [2.0]])
def test_a_bound_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="max_value="):
        MaxNorm(bad)


def test_a_bound_of_zero_is_told_what_to_do_instead():
    with pytest.raises(ValueError, match="anneal to it with a schedule"):
        MaxNorm(0.0)
    with pytest.raises(ValueError, match="reaches -1"):
        MaxNorm(schedules.linear(1.0, -1.0, end=3))


class TestAgainstTheStockConstraint:
    """Each flaw is first shown in Keras, so that the comparison stays honest when Keras mends it."""

    def test_an_interior_point_stays(self):
        w = tf.constant(np.random.default_rng(0).standard_normal((50, 4)) * 0.01, tf.float32)
        stock, ours = keras.constraints.MaxNorm(2.0), MaxNorm(2.0)
        assert np.any(bits(stock(w)) != bits(w))
        np.testing.assert_array_equal(bits(ours(w)), bits(w))

    def test_a_huge_column_is_scaled_to_the_bound(self):
        w = tf.constant([[1e20], [1e20]])
        np.testing.assert_array_equal(keras.constraints.MaxNorm(2.0)(w), [[0.0], [0.0]])
        np.testing.assert_allclose(MaxNorm(2.0)(w), [[2**0.5], [2**0.5]], rtol=2e-7)

    def test_a_filter_is_a_group(self):
        w = tf.random.stateless_normal([3, 3, 4, 5], [0, 1])

        def filter_norms(w):
            return np.linalg.norm(np.reshape(w, (-1, 5)).astype(np.float64), axis=0)

        assert filter_norms(keras.constraints.MaxNorm(1.0)(w)).max() > 3.0
        assert filter_norms(MaxNorm(1.0)(w)).max() <= 1.0

    def test_a_negative_bound_is_refused(self):
        assert not np.any(keras.constraints.MaxNorm(-1.0)(tf.ones([2, 2])))
        with pytest.raises(ValueError, match="max_value=-1"):
            MaxNorm(-1.0)


def test_a_bound_beyond_float32_holds():
    w = np.full((300, 1), 3e38, np.float32)
    constraint = MaxNorm(1e39)
    assert 0.99e39 < constraint.norm(constraint(w)) <= 1e39
