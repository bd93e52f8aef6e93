"""Tests of the ball of the nuclear norm."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.constraints.sets import l1ball_test
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits, epsilon

Nuclear = REGISTRY["nuclear"]

CASES = [{"max_value": 3.1}]


def oracle(x, max_value):
    return matrix_oracles.with_singular_values(x, lambda s: l1ball_test.oracle(s, max_value))


def violation(x, max_value):
    return max(norm(x) / max_value - 1.0, 0.0)


def norm(x):
    return matrix_oracles.singular_values(x).sum()


def test_exact_cases():
    w = np.diag([4.0, -2.0, 0.5])
    np.testing.assert_allclose(Nuclear(3.0)(w), np.diag([2.5, -0.5, 0.0]), atol=1e-15)
    np.testing.assert_allclose(Nuclear(3.0).norm(w), 6.5)
    np.testing.assert_allclose(Nuclear(3.0).distance(w), (1.5**2 * 2 + 0.5**2) ** 0.5)
    assert bool(Nuclear(6.5).active(w))
    assert not bool(Nuclear(7.0).active(w))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (60, 50)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_feasible_matrix_is_nearer(shape, dtype):
    """Of all Y with sum c, <W - P, Y> is largest at c times the spectral norm of W - P; the nearest P attains it."""
    w = np.random.default_rng(0).standard_normal(shape).astype(DTYPES[dtype])
    p = Nuclear(5.0)(w).numpy().astype(np.float64)
    gap = w.astype(np.float64) - p
    highest = 5.0 * np.linalg.svd(gap, compute_uv=False)[0]
    assert np.sum(gap * p) <= highest * (1 + 1e-14)
    np.testing.assert_allclose(np.sum(gap * p), highest, rtol=4 * epsilon(dtype) + 1e-13)


def test_a_solver_of_convex_programs_finds_the_same():
    cvxpy = pytest.importorskip("cvxpy")
    w = np.random.default_rng(1).standard_normal((5, 4))
    p = cvxpy.Variable(w.shape)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(p - w)), [cvxpy.normNuc(p) <= 2.5])
    problem.solve(solver=cvxpy.SCS, eps=1e-9)
    np.testing.assert_allclose(Nuclear(2.5)(w), p.value, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (5, 3), (40, 30)], ids=str)
def test_the_bound_holds_after_rounding_and_little_is_lost(dtype, shape):
    rng = np.random.default_rng(2)
    count = 300 if shape != (40, 30) else 5
    w = (rng.standard_normal((count, *shape)) * 10.0 ** rng.uniform(-1, 2, (count, 1, 1))).astype(DTYPES[dtype])
    p = Nuclear(0.7, each=0)(w).numpy()
    after = np.sum(np.linalg.svd(p.astype(np.float64), compute_uv=False), axis=1)
    before = np.sum(np.linalg.svd(w.astype(np.float64), compute_uv=False), axis=1)
    assert np.all(after <= 0.7)
    assert np.all(after >= np.minimum(before, 0.7) * (1 - 4 * epsilon(dtype)))
    np.testing.assert_array_equal(bits(Nuclear(0.7, each=0)(p)), bits(p))


def test_it_makes_ranks_low():
    w = np.random.default_rng(3).standard_normal((40, 30)).astype(np.float32)
    s = np.linalg.svd(Nuclear(4.0)(w).numpy().astype(np.float64), compute_uv=False)
    expected = np.linalg.svd(oracles.project("nuclear", w, max_value=4.0), compute_uv=False)
    np.testing.assert_allclose(s, expected, atol=2e-6)
    assert np.count_nonzero(s > 1e-5) == np.count_nonzero(expected > 1e-5) < 8


def test_heads_have_a_bound_each():
    w = np.random.default_rng(4).standard_normal((6, 3, 4)).astype(np.float32)
    p = Nuclear(2.0, axis=0, each=1)(w).numpy()
    for head in range(3):
        np.testing.assert_allclose(p[:, head], oracles.project("nuclear", w[:, head], max_value=2.0), atol=1e-6)


def test_an_annealed_bound_ends_at_zero():
    constraint = Nuclear(schedules.linear(2.0, 0.0, end=10))
    w = np.random.default_rng(5).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_allclose(constraint.norm(constraint.at(5)(w)), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(bits(constraint.at(10)(w)), bits(np.zeros_like(w)))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_gradient_at_equal_singular_values(compiled):
    # Each is 2 and becomes 1: their sum stays, so that what is symmetric passes but for its mean on the diagonal.
    upstream = np.random.default_rng(6).standard_normal((4, 4))
    pull = tf.function(Nuclear(4.0).vjp, jit_compile=compiled)
    symmetric, antisymmetric = (upstream + upstream.T) / 2.0, (upstream - upstream.T) / 2.0
    expected = symmetric - np.eye(4) * np.trace(upstream) / 4.0 + antisymmetric / 2.0
    np.testing.assert_allclose(pull(2.0 * np.eye(4), upstream), expected, atol=1e-15)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), True, "2"])
def test_a_bound_is_above_zero(bad):
    with pytest.raises(ValueError, match="max_value="):
        Nuclear(bad)
