"""Tests of soft thresholding."""

import numpy as np
import pytest

from constraints import REGISTRY
from tests.support.oracles import DTYPES, bits

SoftThreshold = REGISTRY["softthreshold"]


def test_exact_cases():
    w = np.float32([[3.0, 0.25, 0.5], [-4.0, -0.5, 0.0], [0.75, 0.0, 0.125]])
    expected = np.float32([[2.5, 0.0, 0.0], [-3.5, 0.0, 0.0], [0.25, 0.0, 0.0]])
    constraint = SoftThreshold(0.5)
    np.testing.assert_array_equal(bits(constraint(w)), bits(expected))
    np.testing.assert_array_equal(bits(constraint(np.tile(w, 60))), bits(np.tile(expected, 60)))
    np.testing.assert_array_equal(constraint.active(expected), [False, True, True])
    np.testing.assert_array_equal(constraint.norm(w), [7.75, 0.75, 0.625])
    np.testing.assert_allclose(constraint.distance(w), [0.75**0.5, 0.3125**0.5, 0.265625**0.5])


def test_each_weight_is_the_best_of_a_fine_grid():
    w = np.random.default_rng(0).standard_normal(50) * 2
    for step in (0.3, 1.0):
        p = SoftThreshold(0.7).stepped(step)(w).numpy()
        for weight, mapped in zip(w, p, strict=True):
            grid = np.concatenate([np.linspace(-abs(weight), abs(weight), 20_001), [0.0]])
            cost = (grid - weight) ** 2 / 2 + step * 0.7 * np.abs(grid)
            assert abs(grid[np.argmin(cost)] - mapped) <= abs(weight) / 10_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_taken_off_is_a_subgradient(dtype):
    w = np.random.default_rng(1).standard_normal((40, 30)).astype(dtype)
    p = SoftThreshold(0.6).stepped(0.5)(w).numpy().astype(np.float64)
    taken = w - p
    np.testing.assert_allclose(taken[p != 0], 0.3 * np.sign(p[p != 0]), rtol=1e-6)
    assert np.all(np.abs(w[p == 0]) <= 0.3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rest_is_the_projection_on_a_box(dtype):
    w = np.random.default_rng(2).standard_normal((30, 20)).astype(DTYPES[dtype])
    for step in (0.25, 0.5):
        box = REGISTRY["box"](min_value=-0.5 * step, max_value=0.5 * step)(w).numpy().astype(np.float64)
        p = SoftThreshold(0.5).stepped(step)(w).numpy()
        np.testing.assert_array_equal(p, (w.astype(np.float64) - box).astype(DTYPES[dtype]))


def test_two_steps_are_one_of_their_sum():
    w = np.random.default_rng(3).standard_normal((6, 5))
    twice = SoftThreshold(0.2)(SoftThreshold(0.3)(w))
    np.testing.assert_allclose(twice, SoftThreshold(0.5)(w), atol=1e-15)
    assert not SoftThreshold(0.2).active(np.ones((2, 1)))
    assert SoftThreshold.proximal
    assert SoftThreshold.convex


@pytest.mark.parametrize("penalty", [1e-12, 1e-18, 1e-25, 1e-40, 1e-300, 1e300])
def test_extreme_penalties_are_the_same_for_few_weights_and_for_many(penalty):
    w = np.float32([[1e-30, -1e-30, 1.0, -3e-12, 3e38, -0.5, 1e-38, -1e-38]])
    few = SoftThreshold(penalty)(w).numpy()
    np.testing.assert_array_equal(bits(SoftThreshold(penalty)(np.repeat(w, 100, axis=0))[7]), bits(few[0]))
    x = w.astype(np.float64)
    expected = (np.sign(x) * np.maximum(np.abs(x) - penalty, 0)).astype(np.float32)
    np.testing.assert_allclose(few, expected, rtol=0, atol=2.0**-126)
