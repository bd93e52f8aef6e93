"""Tests of sparse groups."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from constraints.numerics import top_k_large
from tests.support import oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import every_dtype_and_way, fast

CASES = [{"sparsity": 0.6}]


def oracle(x, sparsity):
    result = np.zeros_like(x)
    chosen = sorted(range(x.size), key=lambda i: (-abs(x[i]), i))[: x.size - round(sparsity * x.size)]
    result[chosen] = x[chosen]
    return result


def violation(x, sparsity):
    return float(max(np.count_nonzero(x) - (x.size - round(sparsity * x.size)), 0))


# A group for each column; without an axis all weights are one.
TopK = functools.partial(REGISTRY["topk"], axis=0)


def test_exact_cases():
    w = np.float32([[3.0, 0.0, 1.0], [-4.0, 0.5, 1.0], [1.0, 0.0, -1.0], [2.0, 0.0, 1.0]])
    expected = np.float32([[3.0, 0.0, 1.0], [-4.0, 0.5, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(bits(TopK(0.5)(w)), bits(expected))
    np.testing.assert_array_equal(TopK(0.5).active(expected), [True, False, True])
    np.testing.assert_allclose(TopK(0.5).distance(w), [5**0.5, 0.0, 2**0.5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [False, True])
def test_ties_are_kept_by_index_and_the_share_is_exact(dtype, compiled):
    rng = np.random.default_rng(0)
    # Few distinct magnitudes of either sign, so that nearly every threshold is tied.
    w = rng.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], (30, 8)).astype(DTYPES[dtype])
    project = tf.function(lambda w, sparsity: TopK(sparsity)(w), jit_compile=compiled)
    for sparsity in (0.0, 0.1, 0.25, 0.5, 0.9, 0.99):
        p = project(w, tf.constant(sparsity, tf.float64)).numpy()
        np.testing.assert_array_equal(p.astype(np.float64), oracles.project("topk", w, sparsity=sparsity))


def test_ties_are_kept_in_the_order_of_the_tensor_whatever_the_order_of_the_axes():
    w = np.ones((2, 3, 1), np.float32)
    for axes in ((0, 1), (1, 0)):
        np.testing.assert_array_equal(TopK(0.5)(w, axes=axes)[..., 0], [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.95])
def test_no_support_of_that_size_is_nearer(sparsity):
    rng = np.random.default_rng(1)
    for _ in range(5):
        w = rng.standard_normal(8)
        kept = 8 - round(sparsity * 8)
        best = min(np.sum(np.delete(w, support) ** 2) for support in map(list, itertools.combinations(range(8), kept)))
        p = TopK(sparsity)(w).numpy()
        assert np.count_nonzero(p) <= kept
        np.testing.assert_allclose(np.sum((w - p) ** 2), best)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 784, 785])
def test_number_kept_is_rounded_half_to_even(size):
    w = np.random.default_rng(2).standard_normal((size, 3)).astype(np.float32)
    for sparsity in (0.1, 0.25, 0.5, 0.7, 0.9):
        kept = size - round(sparsity * size)
        np.testing.assert_array_equal(np.count_nonzero(TopK(sparsity)(w), axis=0), kept)


@every_dtype_and_way
def test_random_columns_of_very_different_sizes(dtype, compiled):
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((200, 12)) * 10.0 ** rng.uniform(-3, 3, 12)).astype(DTYPES[dtype])
    for sparsity in (0.2, 0.9):
        p = tf.function(TopK(sparsity), jit_compile=compiled)(w).numpy()
        np.testing.assert_array_equal(p.astype(np.float64), oracles.project("topk", w, sparsity=sparsity))


@pytest.mark.parametrize(
    "kind",
    fast(
        ["distinct", "some ties", "all equal", "sparse", "one dense", "tiny", "NaN and inf"],
        "some ties",
        "sparse",
        "NaN and inf",
    ),
)
@pytest.mark.parametrize("sparsity", fast([0.0, 0.3, 0.9], 0.3))
def test_many_float32_weights(kind, sparsity):
    rng = np.random.default_rng(5)
    w = rng.standard_normal((300, 20))
    if kind == "some ties":
        w[:, 4] = rng.choice([-2.0, 1.0, 2.0], 300)
    elif kind == "all equal":
        w = np.sign(w)
    elif kind in ("sparse", "one dense"):
        w *= rng.uniform(size=w.shape) < 0.02
        if kind == "one dense":
            w[:, 4] = rng.standard_normal(300)
    elif kind == "tiny":
        w *= 2.0**-126
    w = w.astype(np.float32)
    w[7, 2] = -0.0
    expected = oracles.project("topk", w, sparsity=sparsity).astype(np.float32)
    if kind == "NaN and inf":
        w[3, 2], w[3, 4] = np.nan, -np.inf
        expected[:, [2, 4]] = w[:, [2, 4]]
    for project in (TopK(sparsity), *(tf.function(TopK(sparsity), jit_compile=compiled) for compiled in (False, True))):
        p = project(w).numpy()
        np.testing.assert_array_equal(p, expected)
        assert not np.any(np.signbit(p[(p == 0) & (w != 0)]))
        np.testing.assert_array_equal(bits(project(p)), bits(p))


def test_a_ramp_of_sparsity_ends_at_the_exact_share():
    constraint = TopK(schedules.polynomial(0.0, 0.9, end=100))
    w = np.random.default_rng(4).standard_normal((100, 10)).astype(np.float32)
    shares = [np.mean(constraint.at(step)(w).numpy() == 0) for step in (0, 20, 50, 100, 200)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-2:] == [0.9, 0.9]


@pytest.mark.parametrize("bad", [1.0, 1.5, -0.1, float("nan"), True, "0.5", schedules.linear(0.0, 1.0, end=3)])
def test_sparsity_lies_from_0_to_below_1(bad):
    with pytest.raises(ValueError, match="sparsity="):
        TopK(bad)


LARGE = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_cauchy(shape),
    "few values": lambda rng, shape: rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], shape),
    "in order of size": lambda rng, shape: np.sort(rng.standard_normal(shape), axis=0),
    "very different sizes": lambda rng, shape: rng.standard_normal(shape) * 10.0 ** rng.uniform(-38, 30, shape),
    "some ties": lambda rng, shape: np.round(rng.standard_normal(shape), 3),
    "clustered": lambda rng, shape: 1.0 + 1e-6 * np.round(rng.standard_normal(shape)),
    "mostly zeros": lambda rng, shape: rng.standard_normal(shape) * (rng.uniform(size=shape) < 0.001),
}


@pytest.mark.parametrize("shape", fast([(140_001, 1), (20_000, 7)], (20_000, 7)), ids=str)
@pytest.mark.parametrize("kind", fast(LARGE, *list(LARGE)[::2]))
def test_large_tensors_keep_exactly_the_largest(kind, shape):
    w = LARGE[kind](np.random.default_rng(8), shape).astype(np.float32)
    for sparsity in (0.0, 0.5, 0.9, 0.99999):
        p = TopK(sparsity)(w).numpy()
        np.testing.assert_array_equal(p, oracles.project("topk", w, sparsity=sparsity).astype(np.float32))
        np.testing.assert_array_equal(bits(TopK(sparsity)(p)), bits(p))


def test_a_large_tensor_with_bad_groups():
    w = np.random.default_rng(9).standard_normal((20_000, 7)).astype(np.float32)
    expected = TopK(0.9)(w).numpy()
    w[5, 2], w[6, 4] = np.nan, np.inf
    p = TopK(0.9)(w).numpy()
    np.testing.assert_array_equal(bits(p[:, [2, 4]]), bits(w[:, [2, 4]]))
    others = [0, 1, 3, 5, 6]
    np.testing.assert_array_equal(bits(p[:, others]), bits(expected[:, others]))


def test_columns_whose_cut_the_passes_missed_are_selected_all_the_same(monkeypatch):
    w = np.random.default_rng(8).standard_normal((1 << 17, 1)).astype(np.float32) ** 5
    monkeypatch.setattr(top_k_large, "_MAX_PASSES", 0)
    p = TopK(0.9)(w).numpy()
    np.testing.assert_array_equal(p, oracles.project("topk", w, sparsity=0.9))
