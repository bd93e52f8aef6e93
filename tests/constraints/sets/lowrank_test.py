"""Tests of matrices of low rank."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits, epsilon
from tests.support.suites import fast

LowRank = REGISTRY["lowrank"]

CASES = [{"rank": 2}]


def oracle(x, rank):
    return matrix_oracles.with_singular_values(x, lambda s: np.where(np.arange(s.size) < rank, s, 0.0))


def violation(x, rank):
    s = matrix_oracles.singular_values(x)
    s = s / (s[0] or 1.0)
    return float(np.linalg.norm(s[int(rank) :]) / (np.linalg.norm(s) or 1.0))


def test_exact_cases():
    w = np.diag([1.0, -3.0, 2.0])
    np.testing.assert_allclose(LowRank(2)(w), np.diag([0.0, -3.0, 2.0]), atol=1e-15)
    np.testing.assert_allclose(LowRank(2).distance(w), 1.0)
    np.testing.assert_allclose(LowRank(2).norm(w), 14**0.5)
    assert bool(LowRank(3).active(w))
    assert not bool(LowRank(3).active(np.diag([1.0, 2.0, 0.0])))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_product_of_factors_is_nearer(rank):
    """Alternating least squares from many starts finds the best product of factors there is."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((6, 4))
    mine = np.linalg.norm(w - LowRank(rank)(w).numpy())
    assert np.linalg.matrix_rank(LowRank(rank)(w).numpy()) == rank
    best = np.inf
    for _ in range(10):
        right = rng.standard_normal((rank, 4))
        for _ in range(200):
            left = w @ np.linalg.pinv(right)
            right = np.linalg.pinv(left) @ w
        best = min(best, np.linalg.norm(w - left @ right))
        assert mine <= np.linalg.norm(w - left @ right) + 1e-12
    np.testing.assert_allclose(mine, best, rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_of_equal_singular_values_the_first_units_stay(compiled):
    twins = np.zeros((4, 4))
    twins[0, :2], twins[1, 2], twins[2, 3] = 2.0**-0.5, 1.0, 1.0
    w = np.stack([np.eye(4) * 3, -np.eye(4), np.diag([1.0, 1.0, 1.0, 4.0]), np.eye(4)[::-1], twins])
    expected = [np.diag(row) for row in ([3, 3, 0, 0], [-1, -1, 0, 0], [1, 0, 0, 4.0])]
    expected += [w[3] * [1, 1, 0, 0], twins * [1, 1, 1, 0]]
    p = tf.function(LowRank(2, each=0), jit_compile=compiled)(w)
    np.testing.assert_allclose(p, expected, atol=1e-15)


def test_of_equal_singular_values_the_first_weights_stay_where_units_are_more():
    np.testing.assert_allclose(LowRank(2)(np.eye(4, 6)), np.eye(4, 6) * [[1], [1], [0], [0]], atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(60, 50), (9, 30), (5, 3)], ids=str)
def test_rounding_leaves_no_more_than_its_own_level(dtype, shape):
    w = np.random.default_rng(1).standard_normal(shape).astype(DTYPES[dtype])
    p = LowRank(2)(w).numpy()
    s = np.linalg.svd(p.astype(np.float64), compute_uv=False)
    assert np.linalg.norm(s[2:]) <= (0.5 * epsilon(dtype) + 1e-15) * np.linalg.norm(s)
    np.testing.assert_array_equal(bits(LowRank(2)(p)), bits(p))
    assert LowRank(2).distance(p) == 0.0
    # Judged as float64 weights, as the certificate does, it is off by that level.
    wide = p.astype(np.float64)
    assert LowRank(2).distance(wide) <= LowRank(2).tolerance(tf.as_dtype(dtype)) * LowRank(2).norm(wide)


@pytest.mark.parametrize("rank", [4, 5, 100])
def test_any_matrix_has_a_rank_of_its_smaller_side(rank):
    w = np.random.default_rng(2).standard_normal((4, 9)).astype(np.float32)
    w[0, 0] = -0.0
    np.testing.assert_array_equal(bits(LowRank(rank)(w)), bits(w))
    assert LowRank(rank).distance(w) == 0.0
    np.testing.assert_allclose(LowRank(rank).vjp(w, w), w, rtol=1e-5, atol=1e-6)


def test_an_annealed_rank_is_rounded():
    constraint = LowRank(schedules.linear(4, 1, end=10))
    w = np.random.default_rng(3).standard_normal((6, 5))
    ranks = [np.linalg.matrix_rank(constraint.at(step)(w).numpy(), 1e-9) for step in (0, 2, 5, 10, 99)]
    assert ranks == [4, 3, 2, 1, 1]


def test_heads_have_a_rank_each():
    w = np.random.default_rng(4).standard_normal((6, 3, 4)).astype(np.float32)
    p = LowRank(1, axis=0, each=1)(w).numpy()
    for head in range(3):
        np.testing.assert_allclose(p[:, head], oracles.project("lowrank", w[:, head], rank=1), atol=1e-6)


def test_the_gradient_at_a_feasible_point_is_along_the_set():
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.standard_normal((size, 2)))[0] for size in (6, 4))
    upstream = rng.standard_normal((6, 4))
    expected = u @ u.T @ upstream + upstream @ v @ v.T - u @ u.T @ upstream @ v @ v.T
    np.testing.assert_allclose(LowRank(2).vjp(u * [3.0, 1.0] @ v.T, upstream), expected, atol=1e-13)


@pytest.mark.parametrize("bad", [0, -1, 1.5, float("nan"), True, "2"])
def test_a_rank_is_a_whole_number_of_at_least_1(bad):
    with pytest.raises(ValueError, match="rank="):
        LowRank(bad)


def large(shape, values, seed=8):
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in shape)
    return ((u * values) @ v.T).astype(np.float32)


@pytest.mark.parametrize("shape", fast([(300, 280), (260, 400)], (260, 400)), ids=str)
@pytest.mark.parametrize("kind", fast(["near the set", "flat", "equal", "far below"], "near the set", "flat"))
def test_large_kernels_keep_the_largest_singular_values(shape, kind):
    values = {
        "near the set": np.r_[np.linspace(2.0, 1.0, 4), np.linspace(0.05, 0.01, 200)],
        "flat": np.linspace(2.0, 1.0, 250),
        "equal": np.r_[np.ones(6), np.zeros(100)],
        "far below": np.r_[3.0, 2.0, 1.0, 1e-3, np.full(100, 1e-9)],
    }[kind]
    w = large(shape, values)
    p = LowRank(4)(w).numpy()
    if kind == "equal":
        assert np.linalg.matrix_rank(p.astype(np.float64), 1e-5) == 4
    else:
        np.testing.assert_allclose(p, oracles.project("lowrank", w, rank=4), atol=1e-9)
    np.testing.assert_array_equal(bits(LowRank(4)(p)), bits(p))
    np.testing.assert_array_equal(bits(tf.function(LowRank(4))(w)), bits(p))
    w[3, 4] = np.nan
    np.testing.assert_array_equal(bits(LowRank(4)(w)), bits(w))
