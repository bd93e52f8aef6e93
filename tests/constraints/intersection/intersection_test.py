"""Intersections: the nearest point of several sets, against a convex solver and against every support."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, check_nonempty
from tests.support import oracles
from tests.support.oracles import bits
from tests.support.suites import fast

BALL, L1, BOX = ("maxnorm", 0.9), ("l1ball", 1.5), ("box", 0.5, -0.3)
PLANE, BELOW, ZERO, SIMPLEX, NONNEG = (
    ("hyperplane", 0.4),
    ("halfspace", 0.2),
    ("zerosum",),
    ("simplex", 1.2),
    ("nonneg",),
)
CONVEX = [
    *itertools.combinations((BALL, L1, BOX, NONNEG), 2),
    *((one, plane) for one in (BALL, L1, BOX, NONNEG) for plane in (PLANE, BELOW, ZERO, SIMPLEX)),
    (BALL, L1, BOX),
    (BALL, BOX, PLANE),
    (L1, BOX, BELOW),
]


def made(*sets):
    parts = [
        REGISTRY[name](max_value=values[0], min_value=values[1]) if name == "box" else REGISTRY[name](*values)
        for name, *values in sets
    ]
    return Intersection(tuple(parts))


def solved(sets, x):
    cp = pytest.importorskip("cvxpy")
    p = cp.Variable(len(x))
    conditions = {
        "maxnorm": lambda c: [cp.norm2(p) <= c],
        "l1ball": lambda c: [cp.norm1(p) <= c],
        "box": lambda b, a: [p >= a, p <= b],
        "nonneg": lambda: [p >= 0],
        "hyperplane": lambda s: [cp.sum(p) == s],
        "halfspace": lambda s: [cp.sum(p) <= s],
        "zerosum": lambda: [cp.sum(p) == 0],
        "simplex": lambda s: [p >= 0, cp.sum(p) == s],
    }
    conditions = [one for name, *values in sets for one in conditions[name](*values)]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(p - x)), conditions)
    problem.solve(solver="CLARABEL")
    return p.value


@pytest.mark.parametrize("sets", fast(CONVEX, *CONVEX[::2]), ids=lambda sets: "-".join(one[0] for one in sets))
def test_nearest_of_convex_sets_is_what_a_solver_finds(sets):
    x = np.random.default_rng(0).standard_normal((10, 4)) * [0.3, 1.0, 1.0, 3.0]
    point, residual, _ = made(*sets).solve(x)
    assert np.max(residual) <= 1e-12
    for ours, group in zip(point.numpy().T, x.T, strict=True):
        other = solved(sets, group)
        assert np.linalg.norm(group - ours) <= np.linalg.norm(group - other) * (1 + 1e-6) + 1e-7
        np.testing.assert_allclose(ours, other, atol=2e-4)
    np.testing.assert_array_equal(bits(made(*sets)(point)), bits(point))


@pytest.mark.parametrize("last", ["maxnorm", "l1ball", "unitnorm"])
@pytest.mark.parametrize("signed", [False, True])
def test_sparse_points_are_nearest_over_all_supports(last, signed):
    values = {} if last == "unitnorm" else {"max_value": 0.8}
    parts = [REGISTRY["topk"](0.5), REGISTRY[last](**values)] + ([REGISTRY["nonneg"]()] if signed else [])
    x = np.random.default_rng(1).standard_normal((6, 8))
    x[:, 0] = -np.abs(x[:, 0])
    p = Intersection(tuple(parts), axis=0)(x).numpy()
    for ours, group in zip(p.T, x.T, strict=True):
        nearest = np.inf
        for support in itertools.combinations(range(6), 3):
            y = np.zeros(6)
            y[list(support)] = group[list(support)]
            if signed and last == "unitnorm" and np.max(y) <= 0:
                y = np.eye(6)[max(support, key=lambda i: group[i])]
            y = oracles.project(last, np.maximum(y, 0) if signed else y, **values)
            nearest = min(nearest, np.linalg.norm(group - y))
        np.testing.assert_allclose(np.linalg.norm(group - ours), nearest, rtol=1e-12)


@pytest.mark.parametrize("sets", [(BOX, PLANE), (BOX, L1), (BALL, BOX)], ids=str)
def test_extreme_scales_and_nan_stay_apart(sets):
    w = np.random.default_rng(0).standard_normal((12, 4)) * [1e-30, 1.0, 1.0, 1e30]
    w = w.astype(np.float32)
    w[3, 1] = np.nan
    p = made(*sets)(w).numpy()
    np.testing.assert_array_equal(bits(p[:, 1]), bits(w[:, 1]))
    np.testing.assert_array_equal(bits(made(*sets)(p)), bits(p))


@pytest.mark.parametrize(
    ("sets", "meet"),
    [
        ((("box", 1.0, 0.5), ("maxnorm", 1.4)), False),
        ((("box", 1.0, 0.5), ("maxnorm", 1.5)), True),
        ((("nonneg",), ("halfspace", -0.01)), False),
        ((("nonneg",), ("zerosum",)), True),
        ((("unitnorm",), ("maxnorm", 0.5)), False),
        ((("maxnorm", 1 / 3), ("hyperplane", 1.0)), True),
    ],
)
def test_sets_that_cannot_meet_are_named(sets, meet):
    if meet:
        check_nonempty(made(*sets), (9, 4))
    else:
        with pytest.raises(ValueError, match=f"{sets[0][0]}.* and {sets[1][0]}.* in groups of 9 weights"):
            check_nonempty(made(*sets), (9, 4))


@pytest.mark.parametrize("sets", [(BALL, BOX), (BOX, PLANE), (L1, BELOW)], ids=str)
def test_derivative_agrees_with_differences(sets):
    rng = np.random.default_rng(3)
    x, u, v = (tf.constant(rng.standard_normal((7, 4))) for _ in range(3))
    c, h = made(*sets), 1e-6
    slope = tf.reduce_sum((c._project(x + h * v, x.dtype) - c._project(x - h * v, x.dtype)) * u) / (2 * h)
    np.testing.assert_allclose(tf.reduce_sum(c.vjp(x, u) * v), slope, atol=1e-6)


def test_saved_and_loaded_it_is_equal_and_names_stay_apart():
    c = made(BALL, BOX)
    assert keras.constraints.deserialize(keras.constraints.serialize(c)) == c
    assert list(c.bounds()) == ["max_value", "box_max_value", "min_value"]


def test_a_set_that_is_not_convex_needs_a_formula():
    with pytest.raises(ValueError, match="topk and zerosum together have no known nearest point"):
        made(("topk", 0.5), ("zerosum",))
