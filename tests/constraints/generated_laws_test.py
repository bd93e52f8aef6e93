"""The laws, on weights that hypothesis draws for every case of the catalogue.

A generated case is one group with its contents: a column, or a matrix of a set that joins units. Every law is tried on
each. The fast suite takes at least 200 for each set, always the same; the slow suite at least 10 000, in every type and
many shapes, new ones each time. What is counted are groups that differ from all others counted.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings

from constraints import base, numerics
from tests.support import strategies
from tests.support.cases import CASES, SLACK, Case, close
from tests.support.oracles import DTYPES, bits, epsilon, largest, quantum
from tests.support.strategies import Stack
from tests.support.suites import KINDS

every_case = pytest.mark.parametrize("case", CASES, ids=str)

QUIET = settings(deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
# Size and units; sets of columns have `groups` of them instead of units.
FEW_SHAPES = [(5, 3)]
MANY_SHAPES = [(1, 1), (3, 4), (6, 6), (17, 3)]


@every_case
def test_a_few_hundred_generated_groups_obey_the_laws(case):
    # XLA takes as long to compile as all else; graphs and two replicas are left to the slow suite and to `laws_test`.
    compiled = {("float32", FEW_SHAPES[0]): ("xla",)} if case.name in KINDS else {}
    assert _checked(case, settings(QUIET, max_examples=10, derandomize=True), FEW_SHAPES, 26, compiled) >= 200


@pytest.mark.slow
@every_case
def test_ten_thousand_generated_groups_obey_the_laws(case):
    compiled = {(dtype, shape): ("graph", "xla", "replicas") for dtype in DTYPES for shape in MANY_SHAPES[1:]}
    assert _checked(case, settings(QUIET, max_examples=260), MANY_SHAPES, 60, compiled) >= 10_000


def _checked(case: Case, how: settings, shapes: list, groups: int, compiled: dict) -> int:
    """Tries all laws; returns how many different groups they were tried on.

    Args:
      case: the set.
      how: the number of examples.
      shapes: of a group.
      groups: in an example.
      compiled: (type, shape) -> the ways in which it is compiled, each of them a trace.
    """
    seen = set()

    @how
    @given(strategies.stacks(case, list(DTYPES), shapes, groups))
    def obey(drawn: strategies.Drawn) -> None:
        stack, w = drawn.stack, drawn.w
        p = stack.project(w)
        for law in LAWS:
            law(stack, w, p)
        for way in compiled.get((stack.dtype, stack.shape), ()):
            compiled_is_eager(stack, w, p, way)
        seen.update((stack.dtype, stack.size, stack.units, group.tobytes()) for group in w)

    obey()
    return len(seen)


# The laws. Each takes the stack, its groups [groups, weights] in their type, and their projections.


def feasible(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    case, dtype = stack.case, stack.dtype
    # What sums of float64 cannot tell counts as feasible.
    allowed = max(SLACK[dtype], numerics.slack(stack.weights), 0.0 if case.exact else epsilon(dtype) * 1.01)
    if case.spectral:
        allowed += numerics.slack(stack.size + stack.units)
    room = np.full(len(p), allowed)
    if not case.exact:
        # Below the normal numbers, rounding is relative to nothing.
        room += 2.0 * stack.weights * quantum(dtype) / np.maximum(np.abs(wide(p)).sum(1), quantum(dtype))
    hold(stack.violations(p) <= room, "infeasible", w, p)


def final(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    hold(same(stack.project(p), p), "projecting twice moved it", w, p)
    hold(stack.constraint.distance(stack.stacked(p)).numpy() == 0, "a distance of feasible weights", w, p)


def feasible_stays(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    inside = stack.violations(w) == 0
    hold(~inside | same(w, p), "a feasible group moved", w, p)


def nearest(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    """As near as the oracle's point, and equal to it where that is the only one; in float64, as near as any sampled."""
    expected = stack.nearest(w)
    # A group that is in the set to within rounding stays, as the others' results must, but for subnormals it may lose.
    stays = (np.abs(wide(p) - wide(w)) < quantum(stack.dtype)).all(axis=1)
    expected = np.where(stays[:, np.newaxis], wide(w), expected)
    if tells_apart(stack):
        equal(stack, p, expected, "not the oracle's point", w)
    hold(lengths(wide(w) - p) <= lengths(wide(w) - expected) + rounding(stack, w, p), "the oracle is nearer", w, p)
    sets = dataclasses.replace(stack, dtype="float64")
    x = wide(w)
    exact = sets.project(x)
    mine = lengths(x - exact)
    rng = np.random.default_rng(0)
    others = [*(np.roll(exact, shift, axis=0) for shift in range(1, 12))]
    for share in (1e-6, 1e-3, 0.1):
        spread = share * (lengths(exact) + 1e-3)[:, np.newaxis]
        others.append(sets.project(exact + spread * rng.standard_normal(exact.shape)))
    for point in others:
        room = 1e-12 * lengths(point) + 1e-15 * lengths(x) + quantum("float64")
        hold(mine <= lengths(x - point) + room, "a feasible point is nearer", w, point)


def distance_is_consistent(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    distance = stack.constraint.distance(stack.stacked(w)).numpy()
    expected = lengths(wide(w) - stack.nearest(w))
    # What is within rounding of the set counts as in it.
    room = 1e-12 * lengths(w) + 1e-9 * expected + stack.weights * quantum(stack.dtype)
    if not stack.case.exact or stack.case.separable:
        # So does, for one weight, the number of its type next to a bound.
        room += 2.0 * epsilon(stack.dtype) * lengths(p)
    hold(np.abs(distance - expected) <= room, "distance is wrong", w, p)


def convex_projections_bring_points_no_further_apart(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    if not stack.case.convex:
        return
    rounded = 2.0 * rounding(stack, w, p)
    for shift in range(1, len(w) // 2):
        a, b = wide(w), np.roll(wide(w), shift, axis=0)
        moved = lengths(wide(p) - np.roll(wide(p), shift, axis=0))
        room = rounded + np.roll(rounded, shift) + 1e-14 * lengths(a - b)
        hold(moved <= lengths(a - b) + room, f"further apart, with the group {shift} before", w, p)


def order_does_not_matter(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(len(w))
    hold(same(stack.project(w[order]), p[order]), "groups in another order", w[order], p[order])
    if stack.case.ordered:
        return
    within = np.random.default_rng(2).permutation(stack.size)
    matrices = np.array(stack.matrices(w))[:, within]
    again = stack.project(matrices.reshape(len(w), -1))
    expected = np.array(stack.matrices(p))[:, within].reshape(len(w), -1)
    if not tells_apart(stack):
        matrices = wide(matrices.reshape(len(w), -1))
        hold(as_near(stack, matrices, again, expected), "weights in another order", matrices, again)
        return
    if not stack.case.convex:
        # Ties are broken by place, so that only the sizes of what is left are the same.
        again, expected = (np.sort(np.abs(wide(points)), axis=1) for points in (again, expected))
    equal(stack, again, expected, "weights in another order", w)


def signs_do_not_matter(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    if not stack.case.odd:
        return
    # A zero, or what arithmetic takes for one, has no sign to hand on to what it becomes.
    zeros = np.abs(wide(w)) < quantum(stack.dtype)
    turned, expected = (
        np.where(zeros, np.abs(x) * (np.abs(x) >= quantum(stack.dtype)), x) for x in (-wide(stack.project(-w)), wide(p))
    )
    if stack.case.spectral:
        equal(stack, turned, expected, "signs matter", w)
    else:
        hold((turned == expected).all(axis=1), "signs matter", w, p)


def bad_groups_touch_no_other(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    spoilt = w.copy()
    for group in range(0, len(w), 2):
        spoilt[group, group % stack.weights] = (np.nan, np.inf, -np.inf)[group // 2 % 3]
    again = stack.project(spoilt)
    distance = stack.constraint.distance(stack.stacked(spoilt)).numpy()
    assert np.isinf(distance[::2]).all()
    assert np.isfinite(distance[1::2]).all()
    if stack.case.separable:
        good = np.isfinite(spoilt)
        hold(same(np.where(good, again, p), p), "a bad weight touched another", spoilt, again)
        return
    hold(same(again, spoilt)[::2], "a bad group moved", spoilt[::2], again[::2])
    if stack.many:
        # Float64 may take over from float32 for all: two units in the last place.
        equal(stack, again[1::2], p[1::2], "a bad group touched another", w[1::2])
    else:
        hold(same(again, p)[1::2], "a bad group touched another", spoilt[1::2], again[1::2])


def gradients_are_finite(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    """And those of a convex set, being symmetric with eigenvalues from 0 to 1, neither grow nor turn back."""
    upstream = np.random.default_rng(3).standard_normal(w.shape).astype(w.dtype)
    pulled, exact = (
        wide(each.flat(each.constraint.vjp(each.stacked(w), each.stacked(upstream))))
        for each in (stack, dataclasses.replace(stack, dtype="float64"))
    )
    # Next to zero, the derivative of a direction may be beyond what the type can hold.
    hold((np.isfinite(pulled) | (np.abs(exact) > largest(stack.dtype))).all(axis=1), "no finite gradient", w, pulled)
    hold(np.isfinite(exact).all(axis=1), "no finite gradient in float64", w, exact)
    if stack.case.convex:
        size = lengths(upstream)
        room = 4.0 * epsilon(stack.dtype) + 1e-12
        hold(lengths(pulled) <= size * (1 + room), "a gradient grew", w, pulled)
        hold(np.sum(pulled * wide(upstream), axis=1) >= -room * size**2, "a gradient turned back", w, pulled)


def fast_path_is_the_reference(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    if base._fast_path(type(stack.constraint)):
        reference = stack.flat(stack.constraint._project_reference(tf.constant(stack.stacked(w))))
        equal(stack, p, wide(reference), "the fast path is not the reference", w)


LAWS: tuple[Callable[[Stack, np.ndarray, np.ndarray], None], ...] = (
    feasible,
    final,
    feasible_stays,
    nearest,
    distance_is_consistent,
    convex_projections_bring_points_no_further_apart,
    order_does_not_matter,
    signs_do_not_matter,
    bad_groups_touch_no_other,
    gradients_are_finite,
    fast_path_is_the_reference,
)


def compiled_is_eager(stack: Stack, w: np.ndarray, p: np.ndarray, how: str) -> None:
    """A graph, XLA or two replicas; each is traced once for a stack's shape and type."""
    case, complaint = stack.case, f"eager and {how} differ"
    results = [stack.flat(result) for result in _compiled(stack, how)(tf.constant(stack.stacked(w)))]
    assert len(results) == (2 if how == "replicas" else 1)
    for result in results:
        hold(same(result, results[0]), "replicas differ", w, result)
        if how == "xla" and case.shifts:
            # XLA fuses a product into a difference. What is left of a weight far larger than the set may be float64's
            # rounding of it, which is then another.
            noise = 2.0**-51 * lengths(w)[:, np.newaxis]
            result = np.where(np.abs(wide(result) - wide(p)) <= noise, p, result)
        if case.spectral and not tells_apart(stack):
            hold(as_near(stack, w, result, p), complaint, w, result)
        elif case.spectral or (how == "xla" and (stack.dtype == "float64" or (case.joint and case.convex))):
            # XLA adds in another order, and float64 has no wider type to hide it.
            equal(stack, result, p, complaint, w, ulps=4.0)
        elif how == "xla" and not case.exact:
            # So may it where rounding to nearest could go either way.
            exact = dataclasses.replace(stack, dtype="float64").project(wide(w))
            below, above = (
                numerics.nearest(exact * nudge, tf.as_dtype(stack.dtype)).numpy() for nudge in (1 - 1e-13, 1 + 1e-13)
            )
            halfway = (below != above).any(axis=1)
            hold(halfway | same(result, p), complaint, w, result)
            equal(stack, result, p, complaint, w, ulps=1.0)
        else:
            hold(same(result, p), complaint, w, result)


def continued_is_projected(stack: Stack, w: np.ndarray, p: np.ndarray) -> None:
    """Begun from nothing, from where it ended, and from elsewhere, it ends there, in a graph."""
    constraint = stack.constraint
    if not constraint.warm_start:
        return
    go_on = tf.function(constraint.project_warm, autograph=False)
    warm_start = tf.zeros([constraint.warm_start, stack.groups])
    for begun in ("from nothing", "where it ended", "elsewhere"):
        again, warm_start = go_on(tf.constant(stack.stacked(w)), warm_start)
        equal(stack, stack.flat(again), wide(p), f"begun {begun}, it ends elsewhere", w, ulps=1.0)
        hold(stack.violations(stack.flat(again)) <= stack.violations(p) + SLACK[stack.dtype], "infeasible", w, p)
        if begun == "where it ended":
            warm_start = 0.7 * warm_start[:, ::-1]


@functools.cache
def _compiled(stack: Stack, how: str) -> Callable[[tf.Tensor], tuple]:
    def project(w: tf.Tensor) -> tf.Tensor:
        return tf.identity(stack.constraint.project(w))

    if how != "replicas":
        return tf.function(lambda w: (project(w),), autograph=False, jit_compile=how == "xla")
    strategy = tf.distribute.MirroredStrategy(
        tf.config.list_logical_devices("CPU")[:2], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    run = tf.function(lambda w: strategy.run(project, (w,)), autograph=False)
    return lambda w: strategy.experimental_local_results(run(w))


def wide(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def lengths(x: np.ndarray) -> np.ndarray:
    """The l2 norm of each group, without overflow."""
    x = wide(x)
    largest = np.max(np.abs(x), axis=1, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    return largest * np.linalg.norm(x / unit[:, np.newaxis], axis=1)


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[groups]: whether two results are equal to the bit, except for subnormals and the sign of zero."""
    a, b = (bits(x).reshape(len(x), -1) for x in (a, b))
    return (a == b).all(axis=1)


def tells_apart(stack: Stack) -> bool:
    """Whether there is one nearest point, whoever computes it.

    Without convexity, sums of squares and singular values that are equal but for their last bits leave several, of
    which rounding takes one.
    """
    return stack.case.unique and (stack.case.convex or not stack.case.joint)


def rounding(stack: Stack, w: np.ndarray, p: np.ndarray) -> np.ndarray:
    """[groups]: how much further than the nearest point a rounded one may be."""
    own = (2.0 * epsilon(stack.dtype) + SLACK[stack.dtype]) * lengths(p) + stack.weights * quantum(stack.dtype)
    return own + 1e-14 * lengths(w)


def as_near(stack: Stack, w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[groups]: whether two results are equally far from the weights, but for rounding."""
    gap = np.abs(lengths(wide(w) - wide(a)) - lengths(wide(w) - wide(b)))
    return gap <= rounding(stack, w, a) + rounding(stack, w, b)


def equal(
    stack: Stack, actual: np.ndarray, expected: np.ndarray, complaint: str, w: np.ndarray, ulps: float = 2.0
) -> None:
    """Fails with the first group that is not what is expected, but for rounding.

    A set that joins units is given sums over weights, of which float64 knows 1e-16 of the largest; as projecting onto a
    convex set brings no points further apart, that is also how far the result may be off. It counts where weights are
    far larger than the set.
    """
    known = 1e-15 * stack.weights * np.max(np.abs(wide(w)), axis=1) if stack.case.joint else np.zeros(len(w))
    matrices = zip(stack.matrices(actual), stack.matrices(wide(expected)), known, strict=True)
    for mine, best, room in matrices:
        mine = np.where(np.abs(wide(mine) - best) <= room, best, wide(mine))
        try:
            close(stack.case, mine, best, stack.dtype, ulps)
        except AssertionError as error:
            raise AssertionError(f"{complaint}: {error}; {mine.tolist()}, not {best.tolist()}") from None


def hold(obeyed: np.ndarray, complaint: str, w: np.ndarray, p: np.ndarray) -> None:
    """Fails with the first group that does not obey."""
    broken = np.flatnonzero(~np.asarray(obeyed))
    if broken.size:
        first = broken[0]
        raise AssertionError(f"{complaint}: group {first}, {w[first].tolist()} -> {p[first].tolist()}")
