"""Tests of sparse vectors of the simplex."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.constraints.sets import simplex_test
from tests.support import oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import every_dtype_and_way

SimplexTopK = REGISTRY["simplextopk"]

CASES = [{"total": 1.7, "sparsity": 0.6}]
norm = simplex_test.norm


def oracle(x, total, sparsity):
    result = np.zeros_like(x)
    k = max(x.size - round(sparsity * x.size), 1)
    chosen = sorted(range(x.size), key=lambda i: (-x[i], i))[:k]
    result[chosen] = simplex_test.oracle(x[chosen], total)
    return result


def violation(x, total, sparsity):
    k = max(x.size - round(sparsity * x.size), 1)
    return simplex_test.violation(x, total) + max(np.count_nonzero(x) - k, 0)


def test_exact_cases():
    w = np.float32([[3.0, 0.0, 1.0, -5.0], [-4.0, 0.75, 1.0, -4.0], [1.0, 0.0, 1.0, -3.5], [2.5, 0.25, 1.0, -9.0]])
    expected = np.float32(
        [[0.75, 0.0, 0.5, 0.0], [0.0, 0.75, 0.5, 0.25], [0.0, 0.0, 0.0, 0.75], [0.25, 0.25, 0.0, 0.0]]
    )
    constraint = SimplexTopK(1.0, sparsity=0.5)
    np.testing.assert_array_equal(bits(constraint(w)), bits(expected))
    np.testing.assert_array_equal(constraint.active(w), [True] * 4)
    np.testing.assert_array_equal(constraint.distance(expected), [0.0] * 4)


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.7, 0.9])
@pytest.mark.parametrize("total", [0.3, 1.0, 5.0])
def test_no_support_of_that_size_is_nearer(sparsity, total):
    rng = np.random.default_rng(1)
    for _ in range(5):
        w = rng.standard_normal(7) - 0.5
        kept = max(7 - round(sparsity * 7), 1)
        best = np.inf
        for support in map(list, itertools.combinations(range(7), kept)):
            point = np.zeros(7)
            point[support] = oracles.project("simplex", w[support], total=total)
            best = min(best, np.sum((w - point) ** 2))
        p = SimplexTopK(total, sparsity=sparsity)(w).numpy()
        assert np.count_nonzero(p) <= kept
        np.testing.assert_allclose(np.sum((w - p) ** 2), best, rtol=1e-12)


@every_dtype_and_way
def test_ties_are_kept_by_index(dtype, compiled):
    w = np.random.default_rng(0).choice([-2.0, -0.5, 0.0, 0.5, 2.0], (30, 8)).astype(DTYPES[dtype])
    p = tf.function(SimplexTopK(4.0, sparsity=0.7), jit_compile=compiled)(w).numpy().astype(np.float64)
    expected = oracles.project("simplextopk", w, total=4.0, sparsity=0.7)
    np.testing.assert_array_equal(p != 0, expected != 0)
    np.testing.assert_allclose(p, expected, rtol=oracles.epsilon(dtype) + 1e-14)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_weights_that_differ_by_less_than_their_distance_from_the_largest_shows_are_no_ties(dtype, compiled):
    w = np.array([[-1e-20, -1.0, 3e-20], [1.0, -1.0, 1.0], [0.0, 1.0, 4e-20], [-0.5, 0.9, 0.0]]).astype(DTYPES[dtype])
    p = tf.function(SimplexTopK(1.5, sparsity=0.5), jit_compile=compiled)(w).numpy()
    np.testing.assert_array_equal(
        p != 0, [[False, False, False], [True, False, True], [True, True, True], [False, True, False]]
    )


def test_one_weight_is_always_left_to_hold_the_total():
    np.testing.assert_array_equal(SimplexTopK(2.0, sparsity=0.9)(np.zeros((3, 1))), [[2.0], [0.0], [0.0]])
    np.testing.assert_array_equal(SimplexTopK(2.0, sparsity=0.9)(np.float32([[-1.0]])), [[2.0]])


def test_without_sparsity_it_is_simplex():
    w = np.random.default_rng(0).standard_normal((30, 10)).astype(np.float32)
    np.testing.assert_array_equal(bits(SimplexTopK(2.0, sparsity=0.0)(w)), bits(REGISTRY["simplex"](2.0)(w)))


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), schedules.linear(0.0, 1.0, end=3)])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match="sparsity="):
        SimplexTopK(1.0, sparsity=bad)
    with pytest.raises(ValueError, match="total="):
        SimplexTopK(0.0)
