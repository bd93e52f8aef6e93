"""Tests of the elastic net."""

import numpy as np

from constraints import REGISTRY
from tests.support.oracles import bits

ElasticNet, SoftThreshold = REGISTRY["elasticnet"], REGISTRY["softthreshold"]


def test_exact_cases():
    w = np.float32([[3.0, 0.25], [-4.5, -0.5], [0.75, 0.0]])
    expected = np.float32([[1.25, 0.0], [-2.0, 0.0], [0.125, 0.0]])
    constraint = ElasticNet(penalty=0.5, ridge=1.0)
    np.testing.assert_array_equal(bits(constraint(w)), bits(expected))
    np.testing.assert_array_equal(bits(constraint(np.tile(w, 60))), bits(np.tile(expected, 60)))
    np.testing.assert_array_equal(constraint.active(expected), [False, True])
    np.testing.assert_array_equal(constraint.norm(w), [8.25, 0.75])


def test_each_weight_is_the_best_of_a_fine_grid():
    w = np.random.default_rng(0).standard_normal(50) * 2
    for step in (0.3, 1.0):
        p = ElasticNet(0.7, 0.9).stepped(step)(w).numpy()
        for weight, mapped in zip(w, p, strict=True):
            grid = np.concatenate([np.linspace(-abs(weight), abs(weight), 20_001), [0.0]])
            cost = (grid - weight) ** 2 / 2 + step * (0.7 * np.abs(grid) + 0.45 * grid**2)
            assert abs(grid[np.argmin(cost)] - mapped) <= abs(weight) / 10_000


def test_what_is_taken_off_is_a_subgradient():
    w = np.random.default_rng(1).standard_normal((40, 30))
    p = ElasticNet(0.6, 0.8).stepped(0.5)(w).numpy()
    np.testing.assert_allclose((w - p)[p != 0], (0.3 * np.sign(p) + 0.4 * p)[p != 0], atol=1e-15)
    assert np.all(np.abs(w[p == 0]) <= 0.3)


def test_one_penalty_alone():
    w = np.random.default_rng(2).standard_normal((30, 20)).astype(np.float32)
    np.testing.assert_array_equal(bits(ElasticNet(0.3, 0.0)(w)), bits(SoftThreshold(0.3)(w)))
    decayed = (w.astype(np.float64) / 1.25).astype(np.float32)
    np.testing.assert_array_equal(bits(ElasticNet(0.0, 0.25)(w)), bits(decayed))
    w[3] = 0.0
    assert not np.any(ElasticNet(0.0, 0.25).active(w)), "squares alone hold nothing at zero"
    np.testing.assert_allclose(ElasticNet(0.0, 0.25).vjp(w, np.ones_like(w)), 0.8)
    assert ElasticNet(0.1, 0.2) != SoftThreshold(0.1)
