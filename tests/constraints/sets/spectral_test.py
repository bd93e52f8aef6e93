"""Tests of the ball of the spectral norm."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from constraints.numerics import svd
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits, epsilon
from tests.support.suites import fast

Spectral = REGISTRY["spectral"]

CASES = [{"max_value": 1.3}]


def oracle(x, max_value):
    return matrix_oracles.with_singular_values(x, lambda s: np.minimum(s, max_value))


def violation(x, max_value):
    return max(norm(x) / max_value - 1.0, 0.0)


def norm(x):
    return matrix_oracles.singular_values(x)[0]


def test_exact_cases():
    w = np.diag([3.0, -0.5, 1.0])
    np.testing.assert_allclose(Spectral(1.0)(w), np.diag([1.0, -0.5, 1.0]), atol=1e-15)
    np.testing.assert_allclose(Spectral(1.0).distance(w), 2.0)
    np.testing.assert_allclose(Spectral(1.0).norm(w), 3.0)
    assert bool(Spectral(3.0).active(w))
    assert not bool(Spectral(3.1).active(w))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (60, 50)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_feasible_matrix_is_nearer(shape, dtype):
    """Of all Y with norm c, <W - P, Y> is largest at c times the nuclear norm of W - P; the nearest P attains it."""
    w = np.random.default_rng(0).standard_normal(shape).astype(DTYPES[dtype])
    p = Spectral(1.5)(w).numpy().astype(np.float64)
    gap = w.astype(np.float64) - p
    highest = 1.5 * np.sum(np.linalg.svd(gap, compute_uv=False))
    assert np.sum(gap * p) <= highest * (1 + 1e-14)
    np.testing.assert_allclose(np.sum(gap * p), highest, rtol=4 * epsilon(dtype) + 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (5, 3), (40, 30)], ids=str)
def test_the_bound_holds_after_rounding_and_little_is_lost(dtype, shape):
    rng = np.random.default_rng(1)
    count = 300 if shape != (40, 30) else 5
    w = (rng.standard_normal((count, *shape)) * 10.0 ** rng.uniform(-1, 2, (count, 1, 1))).astype(DTYPES[dtype])
    p = Spectral(0.7, each=0)(w).numpy()
    after = np.linalg.svd(p.astype(np.float64), compute_uv=False)[:, 0]
    before = np.linalg.svd(w.astype(np.float64), compute_uv=False)[:, 0]
    assert np.all(after <= 0.7)
    assert np.all(after >= np.minimum(before, 0.7) * (1 - 4 * epsilon(dtype)))
    np.testing.assert_array_equal(bits(Spectral(0.7, each=0)(p)), bits(p))


def test_rounding_that_adds_more_than_expected():
    # Rounding the projection changes nothing, that of any point further inside does.
    w = np.float32([[1.5], [2.0]])
    for bound in (2.5, 1.25, 0.625, 2.5 * (1 - 2.0**-22)):
        p = Spectral(bound)(w).numpy()
        assert np.hypot(*p.astype(np.float64)[:, 0]) <= bound
        np.testing.assert_allclose(p, w * bound / 2.5, rtol=4e-7)


def test_a_clearly_feasible_kernel_needs_no_decomposition(monkeypatch):
    def none(x):
        raise AssertionError("decomposed")

    monkeypatch.setattr(svd, "svd", none)
    w = np.random.default_rng(2).standard_normal((50, 40)).astype(np.float32)
    w /= np.linalg.svd(w, compute_uv=False)[0]
    # Its Frobenius norm is far above the bound.
    np.testing.assert_array_equal(bits(Spectral(1.5)(w)), bits(w))
    assert Spectral(1.5).distance(w) == 0.0
    with pytest.raises(AssertionError, match="decomposed"):
        Spectral(0.9)(w)


def test_heads_convolutions_and_embeddings_are_matrices_of_their_own():
    rng = np.random.default_rng(3)
    heads = rng.standard_normal((6, 3, 4)).astype(np.float32)  # in, heads, depth
    p = Spectral(1.2, axis=0, each=1)(heads).numpy()
    for head in range(3):
        expected = oracles.project("spectral", heads[:, head], max_value=1.2)
        np.testing.assert_allclose(p[:, head], expected, atol=1e-6)
    assert Spectral(1.2, axis=0, each=1).norm(heads).shape == (3,)
    kernel = rng.standard_normal((2, 3, 3, 2, 5)).astype(np.float32)
    expected = oracles.project("spectral", kernel.reshape(36, 5), max_value=1.2).reshape(kernel.shape)
    np.testing.assert_allclose(Spectral(1.2)(kernel), expected, atol=1e-6)
    embeddings = rng.standard_normal((40, 3)).astype(np.float32)
    np.testing.assert_allclose(
        Spectral(1.2, axis=-1)(embeddings), oracles.project("spectral", embeddings, max_value=1.2), atol=1e-6
    )


def test_a_bad_matrix_leaves_the_others_alone():
    w = np.random.default_rng(4).standard_normal((3, 6, 4)).astype(np.float32)
    expected = Spectral(each=0)(w).numpy()
    w[1, 2, 3] = np.nan
    p = Spectral(each=0)(w).numpy()
    np.testing.assert_array_equal(bits(p[1]), bits(w[1]))
    np.testing.assert_array_equal(bits(p[[0, 2]]), bits(expected[[0, 2]]))
    assert np.isnan(Spectral(each=0).norm(w)[1])


def test_an_annealed_bound_ends_at_zero():
    constraint = Spectral(schedules.linear(1.0, 0.0, end=10))
    w = np.random.default_rng(5).standard_normal((5, 4)).astype(np.float32)
    norms = [matrix_oracles.singular_values(constraint.at(step)(w).numpy().astype(np.float64))[0] for step in (0, 5)]
    np.testing.assert_allclose(norms, [1.0, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(bits(constraint.at(10)(w)), bits(np.zeros_like(w)))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_gradient_at_equal_singular_values(compiled):
    # All are 2 and above the bound: W turns as a polar factor does, and nothing else gets through.
    upstream = np.random.default_rng(6).standard_normal((4, 4))
    pull = tf.function(Spectral(1.0).vjp, jit_compile=compiled)
    np.testing.assert_allclose(pull(2.0 * np.eye(4), upstream), (upstream - upstream.T) / 4.0, atol=1e-15)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), True, "2"])
def test_a_bound_is_above_zero(bad):
    with pytest.raises(ValueError, match="max_value="):
        Spectral(bad)


@pytest.mark.parametrize("shape", fast([(300, 280), (260, 400)], (260, 400)), ids=str)
@pytest.mark.parametrize(
    "kind", fast(["few above", "many above", "close to the bound", "inside"], "few above", "many above")
)
def test_large_kernels_are_cut_at_the_bound(shape, kind):
    values = {
        "few above": np.r_[np.linspace(2.0, 1.2, 6), np.linspace(0.5, 0.1, 200)],
        "many above": np.linspace(2.0, 0.1, 250),
        "close to the bound": np.r_[2.0, 1.0 + 1e-5, 1.0 + 1e-7, 1.0, 1.0 - 1e-7, np.full(100, 0.2)],
        "inside": np.r_[np.linspace(0.99, 0.9, 6), np.full(200, 0.3)],
    }[kind]
    rng = np.random.default_rng(9)
    u, v = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in shape)
    w = ((u * values) @ v.T).astype(np.float32)
    p = Spectral(1.0)(w).numpy()
    assert np.linalg.svd(p.astype(np.float64), compute_uv=False)[0] <= 1.0
    np.testing.assert_allclose(p, oracles.project("spectral", w, max_value=1.0), atol=3e-7)
    np.testing.assert_array_equal(bits(Spectral(1.0)(p)), bits(p))
    if kind == "inside":
        np.testing.assert_array_equal(bits(p), bits(w))
    w[3, 4] = np.inf
    np.testing.assert_array_equal(bits(Spectral(1.0)(w)), bits(w))
