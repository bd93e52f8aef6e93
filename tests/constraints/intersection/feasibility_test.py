"""Sets without a point in common: which are refused, at which scales and steps, and that projecting onto them ends."""

import math

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, check_nonempty, schedules
from constraints.intersection import dykstra
from constraints.intersection.per_unit import placed
from tests.support.suites import fast

# Of kernels [5, 3], the largest sum of each unit's weights that the set reaches.
SIZE, UNITS = 5, 3
REACH = {"spectral": math.sqrt(SIZE / UNITS), "l21ball": math.sqrt(SIZE) / UNITS, "maxnorm": math.sqrt(SIZE)}
BEYOND = "have no point in common"


def with_sum(name, share, scale=1.0):
    """A ball, and the plane at a share of its reach."""
    return Intersection((REGISTRY[name](scale), REGISTRY["hyperplane"](REACH[name] * share * scale)))


@pytest.mark.parametrize("case", fast([("spectral", 1.001), ("l21ball", 1.0001)], ("l21ball", 1.0001)))
def test_a_plane_a_little_beyond_a_curved_set_is_refused(case):
    name, share = case
    with pytest.raises(ValueError, match=BEYOND):
        check_nonempty(with_sum(name, share), (SIZE, UNITS))


@pytest.mark.parametrize("share", fast([0.999999, 0.99, 0.5], 0.999999))
@pytest.mark.parametrize("name", REACH)
def test_a_plane_that_is_just_reached_is_not(name, share):
    check_nonempty(with_sum(name, share), (SIZE, UNITS))


@pytest.mark.parametrize("scale", fast([1e-30, 1e-13, 1e20], 1e-30))
@pytest.mark.parametrize("name", fast(REACH, "maxnorm"))
def test_scale_changes_nothing(name, scale):
    check_nonempty(with_sum(name, 0.9, scale), (SIZE, UNITS))
    with pytest.raises(ValueError, match=BEYOND):
        check_nonempty(with_sum(name, 1.1, scale), (SIZE, UNITS))


def test_sets_that_meet_at_zero_alone_are_not_refused():
    for sets in (("nonneg", "zerosum"), ("zerosum", "nonneg", "l1ball")):
        check_nonempty(Intersection(tuple(REGISTRY[name]() for name in sets)), (SIZE, UNITS))


def test_a_step_between_the_looks_at_which_a_bound_is_out_of_reach_is_found():
    spike = schedules.piecewise([51, 52], [0.5, 9.0, 0.5])
    sets = Intersection((REGISTRY["maxnorm"](1.0), REGISTRY["hyperplane"](spike)))
    with pytest.raises(ValueError, match=f"{BEYOND} at step 51 in groups of 5 weights"):
        check_nonempty(sets, (SIZE, UNITS), steps=range(0, 101, 10))
    # A run that ends before never gets there.
    check_nonempty(sets, (SIZE, UNITS), steps=range(0, 51, 10))


def test_many_boundaries_do_not_take_many_looks():
    moving = schedules.piecewise(list(range(1, 5001)), np.linspace(0.1, 0.5, 5001).tolist())
    check_nonempty(
        Intersection((REGISTRY["maxnorm"](1.0), REGISTRY["hyperplane"](moving))), (SIZE, UNITS), steps=(0, 6000)
    )


def counted(counts, project):
    def counting(x, dtype):
        counts.append(tf.executing_eagerly())
        return project(x, dtype)

    return counting


@pytest.mark.parametrize("max_iterations", [10, 100])
def test_projecting_onto_sets_that_do_not_meet_ends_and_tells_what_is_left(max_iterations, monkeypatch):
    sets = Intersection((REGISTRY["l21ball"](1.0), REGISTRY["hyperplane"](9.0)), max_iterations=max_iterations)
    w = np.random.default_rng(0).standard_normal((SIZE, UNITS)).astype(np.float32)
    counts: list[bool] = []
    monkeypatch.setattr(dykstra, "_projected", lambda stage, x: counted(counts, stage._project)(x, tf.float64))
    p, residual, iterations = sets.solve(w)
    assert iterations == max_iterations
    assert np.all(np.isfinite(p))
    assert residual > 1.0
    # Eagerly no more than a bounded number; the graph of the others counts once for each set and loop.
    assert sum(counts) <= 2 * 2 * 2 * min(max_iterations, dykstra._ONE_BY_ONE)


def test_one_by_one_and_in_a_graph_the_same_point_is_found(monkeypatch):
    sets = Intersection((REGISTRY["spectral"](1.0), REGISTRY["nonneg"](), REGISTRY["box"](max_value=0.3, min_value=-1)))
    w = np.random.default_rng(0).standard_normal((SIZE, UNITS))
    found = sets(w).numpy()
    monkeypatch.setattr(dykstra, "_ONE_BY_ONE", 0)
    np.testing.assert_allclose(sets(w), found, rtol=1e-9, atol=1e-12)
    assert (
        placed(sets.sets[1], True)._project_in_dtype(tf.constant(found[np.newaxis])).numpy().tobytes()
        == found.tobytes()
    )
