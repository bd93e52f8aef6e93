"""Tests of no constraint."""

import numpy as np

from constraints import REGISTRY
from tests.support.oracles import bits

CASES = [{}]


def oracle(x):
    return x


def violation(x):
    return 0.0


def test_everything_stays():
    constraint = REGISTRY["none"]()
    w = np.float32([[np.nan, 1.0], [-0.0, 1e-45], [np.inf, 3.0]])
    np.testing.assert_array_equal(bits(constraint(w)), bits(w))
    np.testing.assert_array_equal(constraint.active(w), [False, False])
    assert constraint.bounds() == {}
    assert constraint.hyperparameters() == ()


def test_it_still_measures():
    w = np.float32([[3.0, 0.0], [4.0, 1.0]])
    np.testing.assert_array_equal(REGISTRY["none"]().norm(w), [5.0, 1.0])
    np.testing.assert_array_equal(REGISTRY["none"]().distance(w), [0.0, 0.0])
