"""Tests of the decomposition that sets of matrices rest on."""

import numpy as np
import pytest
import tensorflow as tf

from constraints.numerics import svd


def matrices():
    """A batch of one shape, so that XLA compiles once: generic, degenerate and badly scaled."""
    rng = np.random.default_rng(0)
    square = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    return np.stack(
        [
            rng.standard_normal((12, 7)),
            np.zeros((12, 7)),
            np.ones((12, 7)),
            np.eye(12, 7),
            square[:, :7] * 0.9,
            rng.standard_normal((12, 2)) @ rng.standard_normal((2, 7)),
            rng.standard_normal((12, 7)) * 10.0 ** np.linspace(0, -150, 7),
            rng.standard_normal((12, 7)) * 10.0 ** np.linspace(0, -30, 12)[:, None],
            rng.standard_normal((12, 7)) * (np.arange(7) % 3 > 0),
            1 / (np.arange(12)[:, None] + np.arange(7) + 1.0),
        ]
    )


def check(x, s, u, v):
    s, u, v = (part.numpy() for part in (s, u, v))
    largest = np.maximum(np.max(np.abs(x), axis=(1, 2)), 1e-300)[:, None, None]
    units = x.shape[2]
    np.testing.assert_allclose((u * s[:, None, :]) @ v.swapaxes(1, 2) / largest, x / largest, atol=1e-13)
    np.testing.assert_allclose(v.swapaxes(1, 2) @ v, np.broadcast_to(np.eye(units), v.shape), atol=1e-13)
    np.testing.assert_allclose(
        s / largest[:, 0], np.linalg.svd(x / largest, compute_uv=False), atol=1e-13, err_msg="singular values"
    )
    assert np.all(np.diff(s, axis=1) <= 0)
    for columns, values in zip(u, s, strict=True):
        kept = columns[:, values > 1e-140]  # Of smaller ones, squares vanish.
        np.testing.assert_allclose(kept.T @ kept, np.eye(kept.shape[1]), atol=1e-13)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_exact_in_and_outside_xla(compiled):
    x = matrices()
    check(x, *tf.function(svd.svd, jit_compile=compiled)(tf.constant(x)))
    np.testing.assert_allclose(
        tf.function(svd.singular_values, jit_compile=compiled)(tf.constant(x)),
        np.linalg.svd(x, compute_uv=False),
        atol=1e-13,
    )


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (2, 2), (40, 40)], ids=str)
def test_shapes_under_xla(shape):
    x = np.random.default_rng(1).standard_normal((2, *shape))
    check(x, *tf.function(svd.svd, jit_compile=True)(tf.constant(x)))


@pytest.mark.parametrize("scale", [1e-300, 1e-60, 1.0, 1e300])
def test_the_bound_on_the_spectral_norm_is_one_and_near(scale):
    x = matrices()
    bound = svd.spectral_bound(tf.constant(x * scale)).numpy() / scale
    largest = np.linalg.svd(x, compute_uv=False)[:, 0]
    assert np.all(bound >= largest * (1 - 1e-15))
    assert np.all(bound <= largest * 7**0.125 * (1 + 1e-11))


def test_the_unit_is_a_signed_power_of_two_near_the_largest():
    x = np.zeros((6, 3, 2))
    x[0, 1, 1], x[1, 2, 0], x[2, 0, 0], x[3, 0, 1] = 5.0, -3.0, 1e300, -1e-300
    x[4, 0], x[4, 1] = (-2.0, 1.0), (2.0, 0.0)
    unit = svd.unit_of(tf.constant(x)).numpy()[:, 0, 0]
    np.testing.assert_array_equal(np.frexp(np.abs(unit))[0], 0.5)
    np.testing.assert_array_equal(np.sign(unit), [1, -1, 1, -1, -1, 1])
    np.testing.assert_array_equal(unit[[0, 1, 4, 5]], [4.0, -2.0, -2.0, 1.0])
    assert np.all(np.isfinite(x / unit[:, None, None]))
