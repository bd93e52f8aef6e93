"""Tests of the l1,inf ball."""

import bisect
import itertools
from fractions import Fraction

import cvxpy
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import every_dtype_and_way

L1InfBall = REGISTRY["l1infball"]

CASES = [{"max_value": 1.7}]


def oracle(x, max_value):
    """In fractions. What each unit loses, r, is bracketed by two of the values where some unit's bound b(r) bends.

    The largest k magnitudes of a unit, of sum s, exceed its bound while r lies from s - k times the k-th to s - k times
    the next; there b = (s - r) / k. Between two bends next to each other the sum of all bounds is a line.
    """
    if sum(map(Fraction, heights(x))) <= Fraction(max_value):
        return x
    units = []
    for column in np.abs(x).T:
        descending = [Fraction(value) for value in sorted(column, reverse=True)]
        sums = list(itertools.accumulate(descending))
        following = [*descending[1:], Fraction(0)]
        units.append(
            (sums, [total - k * after for k, (total, after) in enumerate(zip(sums, following, strict=True), 1)])
        )

    def bounds(r: Fraction) -> list[Fraction]:
        result = []
        for sums, bends in units:
            k = bisect.bisect_left(bends, r)
            result.append((sums[k] - r) / (k + 1) if k < len(bends) else Fraction(0))
        return result

    bends = sorted({Fraction(0)}.union(*(bends for _, bends in units)))
    last = bisect.bisect_left(bends, True, key=lambda r: sum(bounds(r)) <= Fraction(max_value))
    (low, more), (high, less) = ((r, sum(bounds(r))) for r in bends[last - 1 : last + 1])
    clipped = [float(b) for b in bounds(low + (high - low) * (more - Fraction(max_value)) / (more - less))]
    return np.sign(x) * np.minimum(np.abs(x), clipped)


def violation(x, max_value):
    return oracles.outside(norm(x), 0.0, max_value)


def norm(x):
    return float(np.sum(heights(x)))


def heights(x):
    return np.max(np.abs(x), axis=0, initial=0.0)


def dual(x):
    return np.max(np.sum(np.abs(x), axis=0))


def test_exact_cases():
    w = np.array([[3.0, 0.0, 1.0], [-4.0, -1.0, 0.0]])
    # All three at first: 4 - 0.5, 1 - 0.5 and 1 - 0.5 make 4.5.
    np.testing.assert_allclose(L1InfBall(4.5)(w), [[3.0, 0.0, 0.5], [-3.5, -0.5, 0.0]], rtol=1e-15)
    # Units of l1 norm 1 are gone once as much is taken off: 4 - 1 remains of the first, and (3 + 4 - 5) / 2 in the end.
    np.testing.assert_allclose(L1InfBall(3.0)(w), [[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]], rtol=1e-15)
    np.testing.assert_allclose(L1InfBall(1.0)(w), [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], rtol=1e-15)
    np.testing.assert_array_equal(bits(L1InfBall(6.0)(w)), bits(w))
    np.testing.assert_allclose(L1InfBall(1.0).distance(w), np.sqrt(4 + 9 + 1 + 1))
    np.testing.assert_allclose(L1InfBall(2.0).norm(w), 6.0)
    assert [bool(L1InfBall(bound).active(w)) for bound in (5.9, 6.0, 6.1)] == [True, True, False]


@pytest.mark.parametrize("share", [1e-30, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
@pytest.mark.parametrize("kind", ["normal", "spread", "whole", "equal", "sparse"])
def test_the_nearest_point_has_a_certificate(share, kind):
    rng = np.random.default_rng(0)
    for size, units in ((1, 1), (1, 9), (20, 1), (12, 30), (40, 25)):
        w = rng.standard_normal((size, units))
        if kind == "spread":
            w *= 10.0 ** rng.uniform(-2, 2, units)
        elif kind == "whole":
            w = np.round(2 * w) + (np.round(2 * w) == 0)
        elif kind == "equal":
            w[:, ::2] = w[:, :1] * np.sign(w[:, ::2])
        elif kind == "sparse":
            w[1:] *= rng.uniform(size=(size - 1, units)) < 0.2
        bound = share * np.sum(heights(w))
        p = L1InfBall(bound)(w).numpy()
        np.testing.assert_allclose(np.sum(heights(p)), bound, rtol=1e-14)
        assert matrix_oracles.optimality_gap(w, p, dual, bound) <= 1e-12
        expected = oracles.project("l1infball", w, max_value=bound)
        np.testing.assert_allclose(p, expected, rtol=0, atol=2e-14 * np.max(np.abs(expected)))


@pytest.mark.parametrize("seed", range(3))
def test_a_solver_of_convex_problems_finds_the_same(seed):
    w = np.random.default_rng(seed).standard_normal((5, 4))
    x = cvxpy.Variable(w.shape)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - w)), [cvxpy.sum(cvxpy.norm(x, "inf", axis=0)) <= 2.0])
    problem.solve(solver=cvxpy.CLARABEL)
    np.testing.assert_allclose(L1InfBall(2.0)(w), x.value, atol=1e-4)


@every_dtype_and_way
def test_weights_are_clipped_stay_as_they_are_or_vanish_with_their_unit(dtype, compiled):
    w = (np.random.default_rng(1).standard_normal((30, 20)) * np.linspace(0.1, 2, 20)).astype(DTYPES[dtype])
    p = tf.function(L1InfBall(6.0), jit_compile=compiled)(w).numpy()
    gone = np.all(p == 0, axis=0)
    assert 0 < np.count_nonzero(gone) < 20
    assert not np.any(np.signbit(p[:, gone]))
    highest = heights(p.astype(np.float64))
    clipped = np.abs(p) == highest.astype(p.dtype)
    assert np.all(np.count_nonzero(clipped[:, ~gone], axis=0) >= 1)
    np.testing.assert_array_equal(p[~clipped], w[~clipped])
    np.testing.assert_array_equal(np.sign(p[:, ~gone]), np.sign(w[:, ~gone]))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_equal_units_share_the_budget(scale):
    column = np.random.default_rng(2).standard_normal(9) * scale
    w = np.stack([column, column, -column, column / 1024], axis=1)
    p = L1InfBall(3.0 * scale * 0.1)(w).numpy()
    np.testing.assert_allclose(heights(p) / scale, [0.1, 0.1, 0.1, 0.0], rtol=1e-14)


@pytest.mark.parametrize("compiled", [False, True])
def test_budgets_far_below_the_weights_cancel_nothing(compiled):
    w = np.array([[1e30, 1e29, -1e30], [1e-30, 1e30, -3e29]])
    # The second unit has 1.1e30 to lose, the third 1.3e30, so that it alone is left.
    p = tf.function(L1InfBall(1e-5), jit_compile=compiled)(w).numpy()
    np.testing.assert_allclose(p, [[0.0, 0.0, -1e-5], [0.0, 0.0, -1e-5]], rtol=1e-15)


def test_each_matrix_has_a_budget_of_its_own():
    w = np.random.default_rng(4).standard_normal((40, 4, 20)).astype(np.float32)
    w[:, 1] *= 0.01
    w[5, 2, 3] = np.inf
    w[:, 3] = np.round(w[:, 3])
    constraint = L1InfBall(9.0, each=1)
    p = constraint(w).numpy()
    for place in range(4):
        np.testing.assert_array_equal(bits(p[:, place]), bits(L1InfBall(9.0)(w[:, place])))
    np.testing.assert_array_equal(bits(p[:, 1:3]), bits(w[:, 1:3]))
    np.testing.assert_allclose(constraint.norm(w), np.sum(np.max(np.abs(w), axis=0), axis=1, dtype=np.float64))
    np.testing.assert_array_equal(constraint.active(p), [True, False, True, True])


def test_the_derivative_next_to_zero_units_and_on_several_matrices():
    rng = np.random.default_rng(5)
    w, upstream, direction = (rng.standard_normal((2, 6, 5)) for _ in range(3))
    w[:, :, 2] = 0.0
    for bound in (1.0, 3.0, 100.0):
        constraint = L1InfBall(bound, each=0)
        moved = (constraint(w + 1e-6 * direction) - constraint(w - 1e-6 * direction)).numpy() / 2e-6
        pulled = constraint.vjp(w, upstream).numpy()
        np.testing.assert_allclose(np.sum(pulled * direction), np.sum(moved * upstream), rtol=1e-6)
        np.testing.assert_allclose(np.sum(constraint.vjp(w, direction) * upstream), np.sum(moved * upstream), rtol=1e-6)


def test_a_budget_that_is_annealed_to_zero_leaves_zeros():
    w = np.random.default_rng(6).standard_normal((30, 20)).astype(np.float32)
    p = L1InfBall(schedules.linear(10.0, 0.0, end=5)).at(5)(w)
    np.testing.assert_array_equal(bits(p), bits(np.zeros_like(w)))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), "2", schedules.linear(1.0, -1.0, end=3)])
def test_the_budget_is_above_0(bad):
    with pytest.raises(ValueError, match="max_value="):
        L1InfBall(bad)
