"""Tests of sparse vectors of the l1 ball."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.constraints.sets import l1ball_test, topk_test
from tests.support import oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import every_dtype_and_way

L1TopK = REGISTRY["l1topk"]

CASES = [{"max_value": 1.7, "sparsity": 0.6}]
norm = l1ball_test.norm


def oracle(x, max_value, sparsity):
    return l1ball_test.oracle(topk_test.oracle(x, sparsity), max_value)


def violation(x, max_value, sparsity):
    return l1ball_test.violation(x, max_value) + topk_test.violation(x, sparsity)


def test_exact_cases():
    w = np.float32([[3.0, 0.0, 1.0, 0.1], [-4.0, 0.5, 1.0, -0.2], [1.0, 0.0, -1.0, 0.3], [2.0, 0.25, 1.0, 0.4]])
    expected = np.float32([[0.0, 0.0, 0.5, 0.0], [-1.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 0.3], [0.0, 0.25, 0.0, 0.4]])
    constraint = L1TopK(1.0, sparsity=0.5)
    np.testing.assert_array_equal(bits(constraint(w)), bits(expected))
    np.testing.assert_array_equal(constraint.active(expected), [True] * 4)
    np.testing.assert_array_equal(constraint.active(w[:, 1:2] * [[1], [1], [1], [0]]), [False])
    np.testing.assert_allclose(constraint.distance(w), [23**0.5, 0.0, 2.5**0.5, 0.05**0.5], rtol=1e-6)


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.7, 0.9])
@pytest.mark.parametrize("max_value", [0.3, 1.0, 5.0])
def test_no_support_of_that_size_is_nearer(sparsity, max_value):
    rng = np.random.default_rng(1)
    for _ in range(5):
        w = rng.standard_normal(7)
        kept = 7 - round(sparsity * 7)
        best = np.inf
        for support in map(list, itertools.combinations(range(7), kept)):
            point = np.zeros(7)
            point[support] = oracles.project("l1ball", w[support], max_value=max_value)
            best = min(best, np.sum((w - point) ** 2))
        p = L1TopK(max_value, sparsity=sparsity)(w).numpy()
        assert np.count_nonzero(p) <= kept
        np.testing.assert_allclose(np.sum((w - p) ** 2), best, rtol=1e-12)


@every_dtype_and_way
def test_ties_are_kept_by_index(dtype, compiled):
    w = np.random.default_rng(0).choice([-2.0, -0.5, 0.0, 0.5, 2.0], (30, 8)).astype(DTYPES[dtype])
    p = tf.function(L1TopK(4.0, sparsity=0.7), jit_compile=compiled)(w).numpy().astype(np.float64)
    expected = oracles.project("l1topk", w, max_value=4.0, sparsity=0.7)
    np.testing.assert_array_equal(p != 0, expected != 0)
    np.testing.assert_allclose(p, expected, rtol=oracles.epsilon(dtype) + 1e-14)


def test_with_a_wide_ball_it_is_topk_and_without_sparsity_l1ball():
    w = np.random.default_rng(0).standard_normal((30, 10)).astype(np.float32)
    np.testing.assert_array_equal(bits(L1TopK(1e3, sparsity=0.7)(w)), bits(REGISTRY["topk"](0.7, axis=0)(w)))
    np.testing.assert_array_equal(bits(L1TopK(2.0, sparsity=0.0)(w)), bits(REGISTRY["l1ball"](2.0)(w)))


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), schedules.linear(0.0, 1.0, end=3)])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match="sparsity="):
        L1TopK(1.0, sparsity=bad)
    with pytest.raises(ValueError, match="max_value="):
        L1TopK(0.0)
