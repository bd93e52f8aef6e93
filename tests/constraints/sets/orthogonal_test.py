"""Tests of matrices with orthonormal columns."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support import matrix_oracles
from tests.support.oracles import DTYPES, bits, epsilon
from tests.support.suites import every_dtype_and_way

Orthogonal = REGISTRY["orthogonal"]

CASES = [{}]
# Which of several nearest points is taken depends on who decomposes the matrix.
UNIQUE = False


def fit(shape):
    """As many rows at least as columns, by turning over what has fewer."""
    wide = len(shape) > 1 and int(np.prod(shape[:-1])) < shape[-1] and 0 not in shape
    return (shape[-1], *shape[:-1]) if wide else shape


def oracle(x):
    return matrix_oracles.with_singular_values(x, np.ones_like)


def violation(x):
    # Root of the mean square, because rounding moves each of them.
    return float(np.sqrt(np.mean((matrix_oracles.singular_values(x) - 1.0) ** 2))) if x.size else 0.0


def off(p):
    """How far the columns are from orthonormal."""
    p = np.asarray(p).astype(np.float64)
    return np.linalg.norm(p.T @ p - np.eye(p.shape[1]))


def test_exact_cases():
    c = np.sqrt(0.5)
    np.testing.assert_allclose(Orthogonal()([[2.0, -2.0], [1.0, 1.0]]), [[c, -c], [c, c]], atol=1e-15)
    np.testing.assert_allclose(Orthogonal()(np.diag([3.0, -0.1])), np.diag([1.0, -1.0]), atol=1e-15)
    np.testing.assert_allclose(Orthogonal()([3.0, 4.0]), [0.6, 0.8])
    np.testing.assert_allclose(Orthogonal().distance(np.diag([3.0, -0.1])), (2.0**2 + 0.9**2) ** 0.5)
    np.testing.assert_allclose(Orthogonal().norm(np.eye(5, 4)), 2.0)
    assert bool(Orthogonal().active(np.eye(5, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(60, 50), (30, 30), (9, 2), (5, 1)], ids=str)
def test_columns_are_orthonormal_to_the_rounding_and_stay(dtype, shape):
    w = np.random.default_rng(0).standard_normal(shape).astype(DTYPES[dtype])
    p = Orthogonal()(w).numpy()
    assert off(p) <= (epsilon(dtype) + 1e-14) * shape[1] ** 0.5
    np.testing.assert_array_equal(bits(Orthogonal()(p)), bits(p))
    wide = p.astype(np.float64)
    assert Orthogonal().distance(wide) <= Orthogonal().tolerance(tf.as_dtype(dtype)) * Orthogonal().norm(wide)


def test_no_orthonormal_columns_are_nearer():
    rng = np.random.default_rng(1)
    for shape in ((4, 2), (3, 3)):
        w = rng.standard_normal(shape)
        p = Orthogonal()(w).numpy()
        # <W, Q> is at most the nuclear norm, and ||W - Q|| smallest where it is largest.
        np.testing.assert_allclose(np.sum(w * p), np.sum(np.linalg.svd(w, compute_uv=False)))
        for _ in range(200):
            other = np.linalg.qr(p + rng.standard_normal(shape) * rng.choice([0.01, 1.0]))[0]
            other = other * np.sign(np.sum(other * w, axis=0))
            assert np.linalg.norm(w - p) <= np.linalg.norm(w - other) + 1e-12


def deficient():
    rng = np.random.default_rng(2)
    dead = rng.standard_normal((7, 5))
    dead[:, [1, 4]] = 0.0
    twins = rng.standard_normal((7, 5))
    twins[:, 3] = twins[:, 0]
    return np.stack(
        [
            np.zeros((7, 5)),
            dead,
            twins,
            np.ones((7, 5)),
            np.eye(7, 5, -1) * 2,
            np.eye(7, 5) * [0, 0, 1, 0, 1],
            dead * -1,
        ]
    )


@every_dtype_and_way
def test_matrices_without_full_rank_are_completed(dtype, compiled):
    w = deficient().astype(DTYPES[dtype])
    p = tf.function(Orthogonal(each=0), jit_compile=compiled)(w).numpy()
    for given, made in zip(w, p, strict=True):
        s = np.linalg.svd(given.astype(np.float64), compute_uv=False)
        assert off(made) <= 3 * epsilon(dtype) + 1e-14
        # As near as any: <W, P> is the nuclear norm.
        np.testing.assert_allclose(np.sum(given * made.astype(np.float64)), np.sum(s), rtol=epsilon(dtype), atol=1e-13)
    room = 2 * epsilon(dtype) + 1e-13
    np.testing.assert_allclose(p[0].astype(np.float64), np.eye(7, 5), atol=1e-15)
    np.testing.assert_allclose(p[5].astype(np.float64), np.eye(7, 5), atol=1e-15)
    np.testing.assert_allclose(p.astype(np.float64), Orthogonal(each=0)(w).numpy().astype(np.float64), atol=room)
    np.testing.assert_allclose(p[6].astype(np.float64), -p[1].astype(np.float64), atol=room)
    np.testing.assert_array_equal(bits(Orthogonal(each=0)(p)), bits(p))


def test_a_matrix_wider_than_tall_is_refused_and_told_what_to_do():
    w = np.random.default_rng(3).standard_normal((4, 7)).astype(np.float32)
    with pytest.raises(ValueError, match=r"\(4, 7\) make matrices of 4 rows and 7 columns.*axis=1.*`each`"):
        Orthogonal()(w)
    for method in (Orthogonal().distance, Orthogonal().norm, Orthogonal().active, Orthogonal().project):
        with pytest.raises(ValueError, match="cannot be orthonormal"):
            method(w)
    assert off(Orthogonal(axis=1)(w).numpy().T) <= 1e-6
    heads = np.random.default_rng(4).standard_normal((4, 2, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="cannot be orthonormal"):
        Orthogonal(axis=0)(heads)
    p = Orthogonal(axis=0, each=1)(heads).numpy()
    assert all(off(p[:, head]) <= 1e-6 for head in range(2))


def test_the_gradient_at_a_feasible_point_is_along_the_set():
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.standard_normal((6, 4)))[0]
    upstream = rng.standard_normal((6, 4))
    inner = q.T @ upstream
    np.testing.assert_allclose(
        Orthogonal().vjp(q, upstream), upstream - q @ (inner + inner.T) / 2.0, atol=1e-13, err_msg="tangent space"
    )


def test_the_gradient_of_a_matrix_without_full_rank_is_finite():
    w = deficient()
    assert np.all(np.isfinite(Orthogonal(each=0).vjp(w, np.ones_like(w))))


def test_extreme_float64_weights():
    w = np.random.default_rng(6).standard_normal((6, 4))
    expected = Orthogonal()(w).numpy()
    for scale in (1e-250, 1e250, 1e305):
        np.testing.assert_allclose(Orthogonal()(w * scale), expected, atol=1e-13)
