"""Tests of the box."""

import numpy as np
import pytest

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.oracles import DTYPES, bits

Box = REGISTRY["box"]

CASES = [{"max_value": 0.3, "min_value": -0.7}]


def oracle(x, min_value, max_value):
    return np.clip(x, min_value, max_value)


def violation(x, min_value, max_value):
    return max((oracles.outside(weight, min_value, max_value) for weight in x), default=0.0)


def norm(x):
    return np.max(np.abs(x))


def test_exact_cases():
    w = np.float32([[-3.0, -1.0, 0.5, np.inf], [2.0, 0.0, 0.25, -np.inf]])
    constraint = Box(min_value=-1.0, max_value=0.5)
    np.testing.assert_array_equal(constraint(w), np.float32([[-1.0, -1.0, 0.5, 0.5], [0.5, 0.0, 0.25, -1.0]]))
    np.testing.assert_array_equal(constraint.distance(w), [2.5, 0.0, 0.0, np.inf])
    np.testing.assert_array_equal(constraint.norm(w), [3.0, 1.0, 0.5, np.inf])
    np.testing.assert_array_equal(constraint.active(w[:, :3]), [True, True, True])
    np.testing.assert_array_equal(constraint.active(np.float32([[0.1, 0.5]])), [False, True])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-0.7, -0.1), (-0.3, 0.3), (1 / 3, 1 / 3 + 1e-2), (0.0, 0.1)])
def test_clipped_weights_obey_the_bounds_in_float64(dtype, low, high):
    w = np.linspace(-1, 1, 101).astype(DTYPES[dtype])
    p = Box(min_value=low, max_value=high)(w).numpy().astype(np.float64)
    assert p.min() >= low * (1 - 1e-14 * np.sign(low))
    assert p.max() <= high * (1 + 1e-14 * np.sign(high))
    representable = np.unique(w[(w.astype(np.float64) >= low) & (w.astype(np.float64) <= high)]).astype(np.float64)
    assert set(representable) <= set(p), "a representable weight between the bounds was moved"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_bounds_with_nothing_between_them_give_the_nearest_number(dtype):
    value = 0.1 + 1e-9
    p = Box(min_value=value, max_value=value)(np.array([-1.0, 0.1, 1.0]).astype(DTYPES[dtype])).numpy()
    np.testing.assert_array_equal(p, np.full(3, value).astype(DTYPES[dtype]))
    np.testing.assert_array_equal(bits(Box(min_value=value, max_value=value)(p)), bits(p))
    assert Box(min_value=value, max_value=value).distance(p) == 0


def test_bounds_beyond_the_type_clip_inf_to_its_largest_number():
    p = Box(min_value=-1e300, max_value=1e300)(np.array([np.inf, -np.inf, 3.0], np.float16))
    np.testing.assert_array_equal(p, np.array([65504, -65504, 3], np.float16))


def test_bounds_must_be_in_order():
    with pytest.raises(ValueError, match="min_value=1 is above max_value=-1"):
        Box(min_value=1.0, max_value=-1.0)
    with pytest.raises(ValueError, match="at step 51"):
        Box(min_value=0.5, max_value=schedules.linear(1.0, 0.0, end=100))
    Box(min_value=0.0, max_value=0.0)


def test_bounds_are_named():
    with pytest.raises(TypeError):
        Box(-1.0, 1.0)
