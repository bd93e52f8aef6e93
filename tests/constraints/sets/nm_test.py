"""Tests of n:m sparsity."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, schedules
from tests.support import oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import fast

NM = REGISTRY["nm"]

CASES = [{"n": 2, "m": 4}]


def oracle(x, n, m):
    result = np.zeros_like(x)
    for start in range(0, x.size, int(m)):
        window = range(start, min(start + int(m), x.size))
        chosen = sorted(window, key=lambda i: (-abs(x[i]), i))[: int(n)]
        result[chosen] = x[chosen]
    return result


def violation(x, n, m):
    return float(any(np.count_nonzero(x[start : start + int(m)]) > n for start in range(0, x.size, int(m))))


def test_exact_cases():
    w = np.float32([[3, 0, 1], [-4, 0.5, 1], [1, 0, -1], [2, 0, 1], [0.5, 7, -0.0], [-0.1, 8, 1], [0.2, -9, 0]])
    expected = np.float32([[3, 0, 1], [-4, 0.5, 1], [0, 0, 0], [0, 0, 0], [0.5, 0, -0.0], [0, 8, 1], [0.2, -9, 0]])
    np.testing.assert_array_equal(bits(NM()(w)), bits(expected))
    np.testing.assert_array_equal(NM().active(w), [True] * 3)
    np.testing.assert_array_equal(NM().active(w[:4]), [True, False, True])
    np.testing.assert_allclose(NM().distance(w), [5.01**0.5, 7.0, 2**0.5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [False, True])
def test_ties_are_kept_by_index_whatever_the_window(dtype, compiled):
    rng = np.random.default_rng(0)
    # Few distinct magnitudes of either sign, so that nearly every window has ties.
    w = rng.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], (30, 8)).astype(DTYPES[dtype])
    project = tf.function(lambda w, n, m: NM(n=n, m=m)(w), jit_compile=compiled)
    for n, m in ((1, 1), (1, 2), (2, 4), (4, 4), (3, 7), (4, 8), (2, 29), (10, 30), (10, 100)):
        p = project(w, tf.constant(n), tf.constant(m)).numpy()
        np.testing.assert_array_equal(p.astype(np.float64), oracles.project("nm", w, n=n, m=m))


def windows_are_full(p: np.ndarray, along: int, n: int = 2, m: int = 4) -> None:
    """Whether each window along an axis has n non-zeros, and the rest of it as many as fit."""
    runs = np.moveaxis(p, along, 0).reshape(p.shape[along], -1)
    for start in range(0, len(runs), m):
        window = runs[start : start + m]
        np.testing.assert_array_equal(np.count_nonzero(window, axis=0), min(n, len(window)))


@pytest.mark.parametrize("shape", [(3, 3, 8, 5), (40, 6), (7,), (3, 3, 3, 2), (2, 3, 6, 4), (3, 5, 2)])
def test_every_window_of_the_fan_in_is_full_and_zeros_are_exact(shape):
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    p = NM(n=2, m=4)(w).numpy()
    windows_are_full(p, p.ndim - 2 if p.ndim > 1 else 0)
    np.testing.assert_array_equal(bits(p[p == 0]), 0)
    np.testing.assert_array_equal(p[p != 0], w[p != 0])


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (2, 5)])
def test_no_support_of_that_size_is_nearer(n, m):
    rng = np.random.default_rng(1)
    for _ in range(5):
        w = rng.standard_normal(8)
        best = 0.0
        for start in range(0, 8, m):
            window = w[start : start + m]
            kept = min(n, len(window))
            supports = map(list, itertools.combinations(range(len(window)), kept))
            best += min(np.sum(np.delete(window, support) ** 2) for support in supports)
        np.testing.assert_allclose(np.sum((w - NM(n=n, m=m)(w).numpy()) ** 2), best)


def test_one_window_over_all_is_topk():
    w = np.random.default_rng(2).standard_normal((50, 6)).astype(np.float32)
    np.testing.assert_array_equal(bits(NM(n=10, m=50)(w)), bits(REGISTRY["topk"](0.8)(w, axes=0)))


def test_a_schedule_goes_through_whole_numbers():
    constraint = NM(n=schedules.linear(4, 2, end=10), m=4)
    w = np.random.default_rng(3).standard_normal((8, 3)).astype(np.float32)
    for step, n in ((0, 4), (2, 4), (5, 3), (8, 2), (10, 2)):
        np.testing.assert_array_equal(bits(constraint.at(step)(w)), bits(NM(n=n, m=4)(w)))


def test_more_non_zeros_than_weights_are_refused():
    with pytest.raises(ValueError, match=r"n=5 is above m=4, so no window has room for its non-zeros; lower n"):
        NM(n=5, m=4)
    with pytest.raises(ValueError, match=r"n=4 is above m=3.* at step \d+"):
        NM(n=4, m=schedules.linear(4, 2, end=10))


@pytest.mark.parametrize("bad", [0, -1, 1.5, float("nan"), True, "2", schedules.linear(4, 1.5, end=3)])
def test_both_are_whole_numbers_of_at_least_1(bad):
    with pytest.raises(ValueError, match="n="):
        NM(n=bad, m=8)
    with pytest.raises(ValueError, match="m="):
        NM(n=1, m=bad)


@pytest.mark.parametrize("shape", fast([(2_001, 70), (140_003,)], (2_001, 70)), ids=str)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 5), (3, 3)])
def test_large_tensors_keep_the_same_weights(shape, n, m):
    w = np.random.default_rng(8).choice([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0], shape).astype(np.float32)
    p = NM(n=n, m=m)(w).numpy()
    np.testing.assert_array_equal(p, oracles.project("nm", w, n=n, m=m).astype(np.float32))
    for other in (tf.constant(m), m):
        same = tf.function(NM(n=n, m=other), jit_compile=other is m)(w)
        np.testing.assert_array_equal(bits(same), bits(p))
    if w.ndim > 1:
        w[5, 3] = np.nan
        again = NM(n=n, m=m)(w).numpy()
        np.testing.assert_array_equal(bits(again[:, 3]), bits(w[:, 3]))
        np.testing.assert_array_equal(bits(np.delete(again, 3, axis=1)), bits(np.delete(p, 3, axis=1)))


@pytest.mark.parametrize("shape", [(3, 3, 6, 5), (2, 3, 5, 6_000)], ids=str)
def test_windows_stay_in_one_tap_whatever_the_group(shape):
    w = np.random.default_rng(9).standard_normal(shape).astype(np.float32)
    p = NM()(w).numpy()
    windows_are_full(p, 2)
    # All weights in one group, each tap alone, and the inputs named, lead to the same windows.
    for constraint in (NM(axis=(0, 1, 2, 3)), NM(axis=2), NM(axis=(0, 2)), NM(axis=(0, 1, 2, 3), along=-2)):
        np.testing.assert_array_equal(bits(constraint(w)), bits(p))
        assert constraint.distance(p).numpy().max() == 0.0
    compiled = tf.function(NM(axis=(0, 1, 2, 3)), jit_compile=True)(w)
    np.testing.assert_array_equal(bits(compiled), bits(p))


@pytest.mark.parametrize("size", fast([3, 3_000], 3))
def test_windows_along_an_axis_in_the_middle_of_a_group(size):
    w = np.random.default_rng(10).standard_normal((2, 6, 4, size)).astype(np.float32)
    for axes in ((0, 1, 2), (0, 1, 2, 3), (1, 3)):
        p = NM(axis=axes, along=1)(w).numpy()
        windows_are_full(p, 1)
        np.testing.assert_array_equal(bits(p), bits(NM(axis=1)(w)))
    w[0, 2, 1, 0] = np.nan
    again = NM(axis=(1, 2), along=1)(w).numpy()
    np.testing.assert_array_equal(bits(again[0, :, :, 0]), bits(w[0, :, :, 0]))
    np.testing.assert_array_equal(bits(again[1:]), bits(p[1:]))
    np.testing.assert_array_equal(bits(again[:, :, :, 1:]), bits(p[:, :, :, 1:]))


def test_a_transposed_convolution_says_where_its_inputs_lie():
    w = np.random.default_rng(11).standard_normal((3, 3, 5, 8)).astype(np.float32)
    with pytest.raises(ValueError, match=r"axes \(0, 1, 3\); say along which .* along=3 for a transposed"):
        NM(axis=(0, 1, 3))(w)
    constraint = NM(axis=(0, 1, 3), along=3)
    windows_are_full(constraint(w).numpy(), 3)
    layer = keras.layers.Conv2DTranspose(5, 3, kernel_constraint=constraint)
    again = keras.layers.Conv2DTranspose.from_config(layer.get_config()).kernel_constraint
    assert again == constraint != NM(axis=(0, 1, 3))
    np.testing.assert_array_equal(bits(again(w)), bits(constraint(w)))


def test_an_axis_that_the_group_lacks():
    with pytest.raises(ValueError, match=r"along=0 is no axis of a group of weights of shape \(4, 6\), .* \(1,\)"):
        NM(axis=1, along=0)(np.ones((4, 6), np.float32))
    with pytest.raises(ValueError, match="along=2 is no axis"):
        NM(along=2)(np.ones((4, 6), np.float32))
    with pytest.raises(ValueError, match=r"along=\(0, 1\) must be one axis"):
        NM(along=(0, 1))


def test_a_layer_keeps_windows_of_its_input_channels():
    layer = keras.layers.Conv2D(5, 3, kernel_constraint=NM())
    layer.build((None, 8, 8, 6))
    windows_are_full(layer.kernel_constraint(layer.kernel).numpy(), 2)


def test_an_intersection_has_the_same_windows():
    w = 3 * np.random.default_rng(12).standard_normal((3, 3, 6, 5)).astype(np.float32)
    whole = Intersection((NM(along=2), REGISTRY["maxnorm"](1.0)), axis=(0, 1, 2, 3))
    p = whole(w).numpy()
    windows_are_full(p, 2)
    assert np.linalg.norm(p) <= 1.0
