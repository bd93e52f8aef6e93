"""Tests of kernels with few units."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import fast

UnitSparse = REGISTRY["unitsparse"]

CASES = [{"sparsity": 0.6}]


def oracle(x, sparsity):
    return matrix_oracles.sparse(x, np.broadcast_to(np.arange(x.shape[1]), x.shape), sparsity)


def violation(x, sparsity):
    return matrix_oracles.too_many(x, np.broadcast_to(np.arange(x.shape[1]), x.shape), sparsity)


@functools.cache
def modes(sparsity, **options):
    """Eager, in a graph and by XLA, which one trace does for all weights of a shape."""
    constraint = UnitSparse(sparsity, **options)
    return constraint, tf.function(constraint), tf.function(constraint, jit_compile=True)


def test_exact_cases():
    w = np.float32([[3.0, 0.0, 1.0, -5.0], [-4.0, 0.5, 1.0, 0.0]])
    # The first and the last unit are of norm 5.
    np.testing.assert_array_equal(bits(UnitSparse(0.5)(w)), bits(w * np.float32([1, 0, 0, 1]) + 0.0))
    np.testing.assert_array_equal(bits(UnitSparse(0.75)(w)), bits(w * np.float32([1, 0, 0, 0]) + 0.0))
    np.testing.assert_allclose(UnitSparse(0.75).distance(w), np.sqrt(25 + 2 + 0.25))
    np.testing.assert_allclose(UnitSparse(0.75).norm(w), np.linalg.norm(w))
    assert bool(UnitSparse(0.5).active(w))
    assert not bool(UnitSparse(0.0).active(w * np.float32([1, 0, 1, 1])))


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.95])
def test_no_choice_of_units_is_nearer(sparsity):
    rng = np.random.default_rng(0)
    for _ in range(5):
        w = rng.standard_normal((3, 8))
        kept = 8 - round(sparsity * 8)
        best = min(
            np.sum(np.delete(w, keep, axis=1) ** 2) for keep in map(list, itertools.combinations(range(8), kept))
        )
        p = UnitSparse(sparsity)(w).numpy()
        assert np.count_nonzero(np.any(p != 0, axis=0)) <= kept
        np.testing.assert_allclose(np.sum((w - p) ** 2), best)


@pytest.mark.parametrize("dtype", fast(DTYPES, "bfloat16", "float32"))
@pytest.mark.parametrize("scale", [1.0, "smallest", "largest"])
def test_units_that_differ_by_order_and_sign_are_ties(dtype, scale):
    rng = np.random.default_rng(1)
    info = oracles.ml_dtypes.finfo(DTYPES[dtype])
    column = rng.standard_normal(500)
    if scale == "smallest":
        column = np.round(9 * column) * float(info.smallest_normal)
    elif scale == "largest":
        column = column / np.max(np.abs(column)) * float(info.max)
    column = column.astype(DTYPES[dtype])
    w = np.stack([rng.permutation(column) * rng.choice([-1, 1], 500).astype(column.dtype) for _ in range(9)], axis=1)
    w[:, 4] = 0
    for project in modes(0.5):
        p = project(w).numpy()
        np.testing.assert_array_equal(np.any(p != 0, axis=0), [1, 1, 1, 1, 0, 1, 0, 0, 0])
        np.testing.assert_array_equal(bits(p[:, [0, 1, 2, 3, 5]]), bits(w[:, [0, 1, 2, 3, 5]]))
        np.testing.assert_array_equal(bits(project(p)), bits(p))


# In float64 it is below what sums of squares tell apart.
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_one_weight_of_the_last_place_decides(dtype):
    rng = np.random.default_rng(2)
    w = np.repeat(rng.uniform(0.5, 1, (20, 1)), 6, axis=1).astype(DTYPES[dtype])
    w[7, 4] = np.nextafter(w[7, 4], DTYPES[dtype](2))
    w[0, 4] = -w[0, 4]
    for project in modes(0.8):
        np.testing.assert_array_equal(np.any(project(w).numpy() != 0, axis=0), np.arange(6) == 4)


@pytest.mark.parametrize("kind", ["plain", "ties", "nearly ties", "feasible", "tiny", "huge", "few", "NaN", "inf"])
@pytest.mark.parametrize("sparsity", fast([0.0, 0.5, 0.9, 0.99], 0.9))
def test_many_float32_weights(kind, sparsity):
    rng = np.random.default_rng(3)
    w = rng.standard_normal((100, 20))
    if kind == "ties":
        w[:, 10:] = w[:, 9:10]
    elif kind == "nearly ties":
        w[:, 10:] = w[:, 9:10] * (1 + 1e-6 * rng.standard_normal((100, 10)))
    elif kind == "feasible":
        w[:, rng.permutation(20)[: round(sparsity * 20)]] = -0.0
    elif kind == "few":
        w[:, 3:] = -0.0
    elif kind in ("tiny", "huge"):
        w *= {"tiny": 1e-42, "huge": 1e37}[kind]
    w = w.astype(np.float32)
    expected = oracles.project("unitsparse", w, sparsity=sparsity).astype(np.float32)
    if kind in ("NaN", "inf"):
        w[3, 4] = {"NaN": np.nan, "inf": -np.inf}[kind]
        expected = w
    if kind in ("few", "feasible") and np.count_nonzero(np.any(w, axis=0)) <= 20 - round(sparsity * 20):
        expected = w
    for project in modes(sparsity):
        p = project(w).numpy()
        np.testing.assert_array_equal(bits(p), bits(expected))
        np.testing.assert_array_equal(bits(project(p)), bits(p))


def test_each_matrix_loses_a_share_of_its_own_units():
    w = np.random.default_rng(4).standard_normal((30, 3, 20)).astype(np.float32)
    w[:, 1] *= 1e-20
    w[5, 2, 3] = np.nan
    for project in modes(0.7, each=1):
        p = project(w).numpy()
        for place in range(2):
            np.testing.assert_array_equal(bits(p[:, place]), bits(UnitSparse(0.7)(w[:, place])))
        np.testing.assert_array_equal(bits(p[:, 2]), bits(w[:, 2]))
    np.testing.assert_array_equal(UnitSparse(0.7, each=1).active(p), [True, True, True])


def test_axes_say_what_a_unit_is():
    w = np.random.default_rng(5).standard_normal((6, 4, 5))
    heads = UnitSparse(0.5, axis=(0, 2))(w).numpy()
    assert np.count_nonzero(np.any(heads, axis=(0, 2))) == 2
    rows = UnitSparse(0.5, axis=(1, 2))(w).numpy()
    assert np.count_nonzero(np.any(rows, axis=(1, 2))) == 3


def test_the_derivative_is_a_mask():
    rng = np.random.default_rng(6)
    w, upstream = rng.standard_normal((2, 7, 10))
    w[:, 0] = 0.0
    kept = np.any(UnitSparse(0.6)(w).numpy() != 0, axis=0)
    np.testing.assert_array_equal(UnitSparse(0.6).vjp(w, upstream), upstream * kept)
    np.testing.assert_array_equal(UnitSparse(0.1).vjp(w, upstream), upstream)


def test_a_ramp_of_sparsity_ends_at_the_exact_share():
    constraint = UnitSparse(schedules.polynomial(0.0, 0.9, end=100))
    w = np.random.default_rng(7).standard_normal((30, 50)).astype(np.float32)
    shares = [np.mean(np.all(constraint.at(step)(w).numpy() == 0, axis=0)) for step in (0, 20, 50, 100, 200)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-2:] == [0.9, 0.9]


@pytest.mark.parametrize("bad", [1.0, 1.5, -0.1, float("nan"), True, "0.5", schedules.linear(0.0, 1.0, end=3)])
def test_sparsity_lies_from_0_to_below_1(bad):
    with pytest.raises(ValueError, match="sparsity="):
        UnitSparse(bad)
