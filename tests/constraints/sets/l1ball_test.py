"""Tests of the l1 ball."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, numerics, schedules
from constraints.numerics import simplex_threshold_large
from tests.support import oracles
from tests.support.oracles import bits
from tests.support.suites import fast

L1Ball = REGISTRY["l1ball"]

CASES = [{"max_value": 1.7}]


def oracle(x, max_value):
    """Sorts; the largest support whose threshold lies below its smallest member is right."""
    if np.sum(np.abs(x)) <= max_value:
        return x
    descending = np.sort(np.abs(x))[::-1]
    # Relative to the largest, because 1e30 - 1 has no float64 of its own.
    excess = (descending - descending[0]).astype(np.longdouble)
    thresholds = (np.cumsum(excess) - max_value) / np.arange(1, x.size + 1)
    below = thresholds[excess > thresholds]
    return np.sign(x) * np.maximum(np.abs(x) - descending[0] - float(below[-1] if below.size else 0.0), 0.0)


def violation(x, max_value):
    return oracles.outside(float(np.sum(np.abs(x))), 0.0, max_value)


def norm(x):
    return np.sum(np.abs(x))


@functools.cache
def compiled(jit):
    """The projection as a function of weights and bound, so that it is compiled once for all bounds."""
    return tf.function(lambda w, bound: L1Ball(bound)(w), autograph=False, jit_compile=jit)


def test_exact_cases():
    w = np.float32([[3.0, 0.25, 5.0, 1.0], [4.0, 0.5, 0.0, 1.0], [-3.0, 0.25, 0.0, -1.0], [0.0, 0.0, 0.0, 1.0]])
    expected = np.float32(
        [[0.0, 0.25, 1.0, 0.25], [1.0, 0.5, 0.0, 0.25], [0.0, 0.25, 0.0, -0.25], [0.0, 0.0, 0.0, 0.25]]
    )
    np.testing.assert_array_equal(L1Ball(1.0)(w), expected)
    np.testing.assert_array_equal(L1Ball(1.0).active(L1Ball(1.0)(w)), [True] * 4)
    np.testing.assert_array_equal(L1Ball(2.0).active(w[:, 1:2]), [False])
    np.testing.assert_array_equal(L1Ball(1.0).norm(w), [10.0, 1.0, 5.0, 4.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("max_value", [1e-3, 0.1, 1.0, 30.0])
def test_sum_in_float64_never_exceeds_the_bound_and_support_is_right(dtype, max_value):
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((400, 40)) * rng.uniform(0.001, 30, 40)).astype(oracles.DTYPES[dtype])
    p = L1Ball(max_value)(w).numpy().astype(np.float64)
    assert np.abs(p).sum(0).max() <= max_value * (1 + 1e-13)
    expected = oracles.project("l1ball", w, max_value=max_value)
    np.testing.assert_array_equal(p != 0, np.abs(expected) >= max(oracles.quantum(dtype), 1e-15))
    # The optimality conditions: |w| - |p| is one number on the support, and at least |w| off it.
    residual = np.abs(w.astype(np.float64)) - np.abs(p)
    for column in range(w.shape[1]):
        support = p[:, column] != 0
        if np.abs(w[:, column].astype(np.float64)).sum() > max_value:
            threshold = residual[support, column]
            room = oracles.epsilon(dtype) * np.abs(p[:, column]).max() + oracles.quantum(dtype)
            assert np.ptp(threshold) <= room
            assert np.all(residual[~support, column] <= threshold.min() + room)


@pytest.mark.parametrize("scale", [1e-30, 1e18, 1e30])
def test_a_bound_far_from_the_weights(scale):
    w = np.float32([[3.0, 1.0, 1.0], [2.0, 1.0, -1.0], [1.0, 1.0, 0.5]]) * np.float32(scale)
    for max_value in (1e-30, 1.0, 1e30):
        p = L1Ball(max_value)(w).numpy()
        np.testing.assert_allclose(p, oracles.project("l1ball", w, max_value=max_value), rtol=2.4e-7, atol=0)
        assert oracles.violation("l1ball", p, max_value=max_value) <= 1e-12


def test_float64_is_the_same_to_the_bit_in_a_graph():
    # Whose optimizer multiplies by the reciprocal of a constant where it should divide.
    for size in (3, 7, 11):
        w = np.random.default_rng(size).standard_normal((size, 200))
        np.testing.assert_array_equal(bits(tf.function(L1Ball(1.7))(w)), bits(L1Ball(1.7)(w)))


def test_ties_shrink_together():
    for size in (2, 3, 7, 1000):
        p = L1Ball(1.0)(np.full((size, 1), 5.0, np.float32)).numpy()
        assert len(np.unique(p)) == 1
        np.testing.assert_allclose(p, 1.0 / size, rtol=1.2e-7)


def test_shrunk_weights_are_positive_zeros():
    p = L1Ball(1.0)(np.float32([[5.0], [-0.1], [0.1]])).numpy()
    np.testing.assert_array_equal(bits(p), bits(np.float32([[1.0], [0.0], [0.0]])))


def test_a_bound_annealed_to_zero_leaves_zeros():
    constraint = L1Ball(schedules.linear(1.0, 0.0, end=10)).at(10)
    w = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_array_equal(constraint(w), np.zeros((20, 5)))
    np.testing.assert_array_equal(constraint(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


def test_one_group_of_many_weights():
    w = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    p = L1Ball(100.0)(w).numpy()
    np.testing.assert_allclose(p, oracles.project("l1ball", w, max_value=100.0), rtol=1.3e-7, atol=1e-12)
    assert np.abs(p.astype(np.float64)).sum() <= 100.0 * (1 + 1e-10)
    np.testing.assert_array_equal(bits(tf.function(L1Ball(100.0), jit_compile=True)(w)), bits(p))


@pytest.mark.parametrize("size", fast([400, 131_072, 1_100_000], 400))
@pytest.mark.parametrize("how", ["eager", "graph", "xla", "continued"])
def test_crumbs_below_the_threshold_count(size, how):
    """One weight at the bound, and very many so small that all which exceed the threshold are within the slack."""
    slack = numerics.slack(size)
    w = np.full((size, 1), 0.485 * slack, np.float32)
    w[:2, 0] = 1.0, 0.99 * slack
    project = L1Ball(1.0).project
    if how == "continued":
        p, _ = L1Ball(1.0).project_warm(w, tf.constant([[0.4 * slack]], tf.float32))
    else:
        p = (project if how == "eager" else tf.function(project, autograph=False, jit_compile=how == "xla"))(w)
    assert np.abs(p.numpy().astype(np.float64)).sum() <= 1.0 + slack
    np.testing.assert_array_equal(np.flatnonzero(p), [0, 1])
    np.testing.assert_allclose(p[:2, 0], [1.0, 0.495 * slack], rtol=2.0**-23, atol=2.0**-52)


@pytest.mark.parametrize("met", ["l1topk", "nonneg"])
def test_crumbs_count_in_sets_made_of_the_ball(met):
    slack = numerics.slack(400)
    w = np.full((400, 1), 0.485 * slack, np.float32)
    w[:2, 0] = 1.0, 0.99 * slack
    sets = {
        "l1topk": REGISTRY["l1topk"](1.0, sparsity=0.1),
        "nonneg": Intersection((REGISTRY["nonneg"](), L1Ball(1.0))),
    }
    np.testing.assert_array_equal(np.flatnonzero(sets[met](w)), [0, 1])


def many(kind: str) -> np.ndarray:
    """Float32 columns of more weights than are projected in float64."""
    rng = np.random.default_rng(6)
    w = rng.standard_normal((500, 40)) * 0.05
    if kind == "sparse and a small step":
        w = w * (rng.uniform(size=w.shape) < 0.1) + 1e-4 * rng.standard_normal(w.shape)
    elif kind == "ties":
        w = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], w.shape)
    elif kind == "equal":
        w = np.full_like(w, -0.3) * rng.uniform(0.1, 3.0, 40)
    elif kind == "one outside":
        w[:, np.arange(40) != 7] *= 0.01
    elif kind == "very different sizes":
        w *= 10.0 ** rng.uniform(-4, 0.5, 40)
    elif kind == "far outside":
        w *= 1e4
    w[:, 3] = 0.0
    w[5, 7] = w[5, 8] = -0.0
    return w.astype(np.float32)


@pytest.mark.parametrize("max_value", fast([0.3, 3.0, 40.0], 3.0))
@pytest.mark.parametrize(
    "kind",
    fast(
        ["dense", "sparse and a small step", "ties", "equal", "one outside", "very different sizes", "far outside"],
        "dense",
        "ties",
        "one outside",
    ),
)
def test_many_float32_weights(kind, max_value):
    w = many(kind)
    constraint = L1Ball(max_value)
    p = constraint(w).numpy()
    expected = oracles.project("l1ball", w, max_value=max_value)
    assert np.all(np.abs(p - expected) <= 2.0**-22 * np.abs(expected) + 1e-14)
    assert oracles.violation("l1ball", p, max_value=max_value) <= 1e-12
    np.testing.assert_array_equal(bits(constraint(p)), bits(p))
    inside = np.abs(w.astype(np.float64)).sum(0) <= max_value
    np.testing.assert_array_equal(bits(p[:, inside]), bits(w[:, inside]))
    for jit in (False, True):
        np.testing.assert_array_equal(bits(compiled(jit)(w, tf.constant(max_value, tf.float64))), bits(p))


def test_many_weights_that_shrink_to_zero_are_positive_zeros():
    p = L1Ball(0.5)(np.delete(many("dense"), 3, axis=1)).numpy()
    assert np.mean(p == 0) > 0.5
    assert not np.any(np.signbit(p[p == 0]))


def test_a_group_of_nan_leaves_many_others_projected():
    w = many("dense")
    w[1, 2] = np.nan
    w[1, 4] = -np.inf
    p = L1Ball(1.0)(w).numpy()
    np.testing.assert_array_equal(bits(p[:, [2, 4]]), bits(w[:, [2, 4]]))
    others = np.delete(w, [2, 4], axis=1)
    expected = oracles.project("l1ball", others, max_value=1.0)
    np.testing.assert_allclose(np.delete(p, [2, 4], axis=1), expected, rtol=2.4e-7, atol=1e-14)


@pytest.mark.parametrize("kind", ["dense", "sparse and a small step", "one outside"])
def test_columns_whose_threshold_the_passes_missed_are_solved_all_the_same(kind, monkeypatch):
    w = many(kind)[:, :39]  # Of another shape, so that nothing compiled before is used.
    expected = L1Ball(3.0)(many(kind))[:, :39].numpy()
    monkeypatch.setattr(simplex_threshold_large, "_MAX_PASSES", 1)
    for project in (L1Ball(3.0), tf.function(L1Ball(3.0))):
        np.testing.assert_array_equal(bits(project(w)), bits(expected))


LARGE = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_cauchy(shape),
    "few values": lambda rng, shape: rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], shape),
    "in order of size": lambda rng, shape: np.sort(rng.standard_normal(shape), axis=0),
    "one large": lambda rng, shape: np.where(np.arange(shape[0])[:, np.newaxis] == 1234, 1e6, rng.uniform(size=shape)),
    "mostly zeros": lambda rng, shape: rng.standard_normal(shape) * (rng.uniform(size=shape) < 0.001),
}


@pytest.mark.parametrize("shape", [pytest.param((70_001, 1), marks=pytest.mark.slow), (9_000, 7)], ids=str)
@pytest.mark.parametrize("kind", fast(LARGE, *list(LARGE)[::2]))
def test_large_tensors_are_projected_exactly(kind, shape):
    w = LARGE[kind](np.random.default_rng(7), shape).astype(np.float32)
    w[:, 0] *= 3.0
    for share in (0.001, 0.3, 0.999):
        max_value = share * np.abs(w.astype(np.float64)).sum(0).max()
        p = L1Ball(max_value)(w).numpy()
        expected = oracles.project("l1ball", w, max_value=max_value)
        assert np.all(np.abs(p - expected) <= 1.01 * 2.0**-23 * np.abs(expected) + 1e-13 * max_value)
        assert oracles.violation("l1ball", p, max_value=max_value) <= 1e-12
        np.testing.assert_array_equal(bits(L1Ball(max_value)(p)), bits(p))
        np.testing.assert_array_equal(bits(compiled(True)(w, tf.constant(max_value, tf.float64))), bits(p))


def test_a_bad_bound_is_refused():
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="max_value="):
            L1Ball(bad)
