"""Tests of group soft thresholding."""

import numpy as np
import pytest

from constraints import REGISTRY
from tests.support.oracles import DTYPES, bits

GroupSoft = REGISTRY["groupsoft"]


def test_exact_cases():
    w = np.float32([[3.0, 0.3, 0.0, 5.0], [-4.0, -0.4, 0.0, -0.0]])
    expected = np.float32([[2.4, 0.0, 0.0, 4.0], [-3.2, 0.0, 0.0, -0.0]])
    np.testing.assert_array_equal(bits(GroupSoft(1.0)(w)), bits(expected))
    np.testing.assert_array_equal(bits(GroupSoft(1.0)(np.tile(w, 60))), bits(np.tile(expected + 0.0, 60)))
    np.testing.assert_array_equal(GroupSoft(1.0).active(expected), [False, True, True, False])
    np.testing.assert_allclose(GroupSoft(1.0).distance(w), [1.0, 0.5, 0.0, 1.0])
    np.testing.assert_array_equal(bits(GroupSoft(5.0)(w)), bits(np.float32([[0, 0, 0, 0], [0, 0, 0, -0.0]])))


def test_the_length_is_the_best_of_a_fine_grid():
    rng = np.random.default_rng(0)
    for step in (0.3, 1.0):
        for _ in range(20):
            w = rng.standard_normal(5) * rng.choice([0.2, 1.0])
            share = np.linspace(0, 1, 10_001)
            length = np.linalg.norm(w)
            cost = ((1 - share) * length) ** 2 / 2 + step * 0.7 * share * length
            p = GroupSoft(0.7).stepped(step)(w).numpy()
            np.testing.assert_allclose(p, share[np.argmin(cost)] * w, atol=2e-4 * length)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_taken_off_is_a_subgradient(dtype):
    w = np.random.default_rng(1).standard_normal((8, 60)).astype(dtype)
    p = GroupSoft(5.0).stepped(0.5)(w).numpy().astype(np.float64)
    lengths = np.linalg.norm(p, axis=0)
    gone = lengths == 0
    assert 10 < np.sum(gone) < 50
    np.testing.assert_allclose((w - p)[:, ~gone], 2.5 * (p / np.where(gone, 1, lengths))[:, ~gone], rtol=2e-5)
    assert np.all(np.linalg.norm(w[:, gone].astype(np.float64), axis=0) <= 2.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rest_is_the_projection_on_a_ball(dtype):
    w = np.random.default_rng(2).standard_normal((30, 20)).astype(DTYPES[dtype])
    for step in (0.5, 1.0):
        ball = REGISTRY["maxnorm"](5.0 * step)(w.astype(np.float64)).numpy()
        p = GroupSoft(5.0).stepped(step)(w).numpy()
        room = np.finfo(np.float16).eps if dtype == "float16" else 2.0**-7 if dtype == "bfloat16" else 1e-6
        np.testing.assert_allclose(p.astype(np.float64), w.astype(np.float64) - ball, rtol=room, atol=1e-7)


def test_groups_of_one_weight_are_thresholded_each():
    w = np.random.default_rng(3).standard_normal((6, 5)).astype(np.float32)
    np.testing.assert_allclose(GroupSoft(0.5)(w, axes=()), REGISTRY["softthreshold"](0.5)(w), rtol=1e-6, atol=1e-8)


def test_a_norm_that_overflows_leaves_its_group():
    w = np.array([[1e308, 1.0]] * 8)
    np.testing.assert_array_equal(GroupSoft(1.0)(w)[:, 0], w[:, 0])
    many = np.tile(np.float32([[3e38], [-3e38]]), (4, 100))
    np.testing.assert_array_equal(GroupSoft(1.0)(many), many)
