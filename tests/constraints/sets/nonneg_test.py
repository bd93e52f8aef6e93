"""Tests of the non-negative orthant."""

import numpy as np
import pytest

from constraints import REGISTRY
from tests.support.oracles import DTYPES, bits

NonNeg = REGISTRY["nonneg"]

CASES = [{}]


def oracle(x):
    return np.where(x < 0, 0.0, x)


def violation(x):
    return float(np.any(x < 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_weights_become_zero_and_others_stay(dtype):
    w = np.array([-1.0, -1e-7, -0.0, 0.0, 2.0, np.inf, -np.inf]).astype(DTYPES[dtype])
    expected = np.array([0.0, 0.0, -0.0, 0.0, 2.0, np.inf, 0.0]).astype(DTYPES[dtype])
    np.testing.assert_array_equal(bits(NonNeg()(w)), bits(expected))


def test_nan_stays_in_its_own_weight():
    p = NonNeg()(np.float32([[np.nan, 1.0], [-1.0, -2.0]])).numpy()
    np.testing.assert_array_equal(p, np.float32([[np.nan, 1.0], [0.0, 0.0]]))


def test_active_and_distance():
    w = np.float32([[-3.0, 1.0, 0.0], [-4.0, 2.0, 5.0]])
    np.testing.assert_array_equal(NonNeg().distance(w), [5.0, 0.0, 0.0])
    np.testing.assert_array_equal(NonNeg().active(NonNeg()(w)), [True, False, True])
    assert NonNeg().bounds() == {}
