"""Tests of the l2,1 ball."""

import cvxpy
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits

L21Ball = REGISTRY["l21ball"]

CASES = [{"max_value": 1.7}]


def oracle(x, max_value):
    """Sorts the norms and tries each number of units: the largest whose threshold lies below its smallest norm."""
    lengths = np.array([oracles.norm(unit) for unit in x.T])
    if np.sum(lengths) <= max_value:
        return x
    descending = np.sort(lengths)[::-1]
    excess = descending - descending[0]
    threshold = 0.0
    for count in range(1, lengths.size + 1):
        candidate = (np.sum(excess[:count]) - max_value) / count
        if excess[count - 1] > candidate:
            threshold = candidate
    # A sum that is above the bound by its rounding alone gives a threshold below zero, which would lengthen units.
    shrunk = np.clip(lengths - descending[0] - threshold, 0.0, lengths)
    return x * np.divide(shrunk, lengths, out=np.zeros_like(lengths), where=shrunk > 0)


def violation(x, max_value):
    return oracles.outside(norm(x), 0.0, max_value)


def norm(x):
    return float(sum(oracles.norm(unit) for unit in x.T))


def dual(x):
    return np.max(np.linalg.norm(x, axis=0))


def test_exact_cases():
    w = np.array([[3.0, 0.0, 0.0], [4.0, -1.0, 0.0]])
    # Norms 5, 1 and 0 on the ball of 2: 2, 0 and 0; of 4.5: 4.25, 0.25 and 0.
    np.testing.assert_allclose(L21Ball(2.0)(w), [[1.2, 0, 0], [1.6, 0, 0]], rtol=1e-15)
    np.testing.assert_allclose(L21Ball(4.5)(w), [[2.55, 0, 0], [3.4, -0.25, 0]], rtol=1e-15)
    np.testing.assert_array_equal(bits(L21Ball(6.0)(w)), bits(w))
    np.testing.assert_allclose(L21Ball(2.0).distance(w), np.sqrt(3**2 + 1))
    np.testing.assert_allclose(L21Ball(2.0).norm(w), 6.0)
    assert [bool(L21Ball(bound).active(w)) for bound in (5.9, 6.0, 6.1)] == [True, True, False]


@pytest.mark.parametrize("share", [1e-30, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-9])
def test_the_nearest_point_has_a_certificate(share):
    rng = np.random.default_rng(0)
    for size, units, spread in ((1, 1, 0), (1, 9, 1), (20, 1, 0), (12, 30, 2), (40, 25, 0)):
        w = rng.standard_normal((size, units)) * 10.0 ** rng.uniform(-spread, spread, units)
        bound = share * np.sum(np.linalg.norm(w, axis=0))
        p = L21Ball(bound)(w).numpy()
        np.testing.assert_allclose(np.sum(np.linalg.norm(p, axis=0)), bound, rtol=1e-14)
        assert matrix_oracles.optimality_gap(w, p, dual, bound) <= 1e-12
        expected = oracles.project("l21ball", w, max_value=bound)
        np.testing.assert_allclose(p, expected, rtol=0, atol=1e-14 * np.max(np.abs(expected)))


def test_a_sum_that_is_above_the_bound_by_its_rounding():
    rng = np.random.default_rng(0)
    for _ in range(200):
        w = rng.standard_normal((6, 6))
        w[:, 1:] *= rng.random(5) < 0.5
        bound = float(np.nextafter(norm(w), 0.0))
        expected = oracles.project("l21ball", w, max_value=bound)
        np.testing.assert_allclose(L21Ball(bound)(w), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_solver_of_convex_problems_finds_the_same(seed):
    w = np.random.default_rng(seed).standard_normal((5, 4))
    x = cvxpy.Variable(w.shape)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - w)), [cvxpy.sum(cvxpy.norm(x, 2, axis=0)) <= 3.0])
    problem.solve(solver=cvxpy.CLARABEL)
    np.testing.assert_allclose(L21Ball(3.0)(w), x.value, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [False, True])
def test_units_below_the_threshold_are_exactly_zero_and_never_negative(dtype, compiled):
    w = (np.random.default_rng(1).standard_normal((30, 20)) * np.linspace(0.1, 2, 20)).astype(DTYPES[dtype])
    p = tf.function(L21Ball(30.0), jit_compile=compiled)(w).numpy()
    gone = np.all(p == 0, axis=0)
    assert 0 < np.count_nonzero(gone) < 20
    assert not np.any(np.signbit(p[:, gone]))
    assert np.all(p[:, ~gone] != 0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_equal_units_share_the_budget(scale):
    column = np.random.default_rng(2).standard_normal(9) * scale
    w = np.stack([column, column, -column, column / 1024], axis=1)
    p = L21Ball(3.0 * scale * 0.1)(w).numpy()
    np.testing.assert_allclose(np.linalg.norm(p / scale, axis=0), [0.1, 0.1, 0.1, 0.0], rtol=1e-14)


def test_each_matrix_has_a_budget_of_its_own():
    w = np.random.default_rng(4).standard_normal((40, 3, 20)).astype(np.float32)
    w[:, 1] *= 0.01
    w[5, 2, 3] = np.inf
    constraint = L21Ball(9.0, each=1)
    p = constraint(w).numpy()
    for place in range(3):
        np.testing.assert_allclose(p[:, place], L21Ball(9.0)(w[:, place]), rtol=2.4e-7)
    np.testing.assert_array_equal(bits(p[:, 1:]), bits(w[:, 1:]))
    np.testing.assert_allclose(constraint.norm(w), np.sum(np.linalg.norm(w.astype(np.float64), axis=0), axis=1))
    np.testing.assert_array_equal(constraint.active(p), [True, False, True])


def test_the_derivative_next_to_zero_units_and_on_several_matrices():
    rng = np.random.default_rng(5)
    w, upstream, direction = (rng.standard_normal((2, 6, 5)) for _ in range(3))
    w[:, :, 2] = 0.0
    for bound in (4.0, 100.0):
        constraint = L21Ball(bound, each=0)
        moved = (constraint(w + 1e-6 * direction) - constraint(w - 1e-6 * direction)).numpy() / 2e-6
        pulled = constraint.vjp(w, upstream).numpy()
        np.testing.assert_allclose(np.sum(pulled * direction), np.sum(moved * upstream), rtol=1e-7)
        np.testing.assert_allclose(np.sum(constraint.vjp(w, direction) * upstream), np.sum(moved * upstream), rtol=1e-7)


def test_a_budget_that_is_annealed_to_zero_leaves_zeros():
    w = np.random.default_rng(6).standard_normal((30, 20)).astype(np.float32)
    p = L21Ball(schedules.linear(10.0, 0.0, end=5)).at(5)(w)
    np.testing.assert_array_equal(bits(p), bits(np.zeros_like(w)))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), "2", schedules.linear(1.0, -1.0, end=3)])
def test_the_budget_is_above_0(bad):
    with pytest.raises(ValueError, match="max_value="):
        L21Ball(bad)
