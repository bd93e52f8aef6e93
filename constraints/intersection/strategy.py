"""Chooses how to project onto an intersection: a formula where one is known, else Dykstra's algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ..base import Constraint
from ..sets._affine import SumConstraint
from ..sets._matrix import MatrixSet
from ..sets._radial import RadialSet
from ..sets.box import Box
from ..sets.l1ball import L1Ball
from ..sets.maxnorm import MaxNorm
from ..sets.nonneg import NonNeg
from ..sets.simplex import Simplex
from ..sets.topk import TopK
from .closed_forms import BoxAndL1Ball, BoxAndSum, ConeAndNorm, limits
from .dykstra import Dykstra
from .lagrange import BallMultiplier, SumMultiplier
from .per_unit import Stage, placed

KNOWN = (
    "one of topk and nm, or both, goes with nonneg, maxnorm, l1ball and a box from -b to b; unitnorm and minmaxnorm go "
    "with nonneg, topk and nm, or zerosum, and each other and maxnorm; other sets that are not convex go with nonneg "
    "if no sign matters to them"
)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """Which sets are projected onto one after the other, and which are solved jointly.

    Attributes:
      first: indices of the sets whose projections come first, in this order. They only select and clip, so nothing is
        rounded.
      joint: indices of the sets that are solved jointly after those.
    """

    first: tuple[int, ...] = ()
    joint: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Chain:
    """Projections one after the other.

    Attributes:
      stages: the first one first.
    """

    stages: Sequence[Stage]

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        for stage in self.stages:
            x = stage._project(x, dtype)
        return x

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        points = [x]
        for stage in self.stages[:-1]:
            points.append(stage._project(points[-1], dtype))
        for stage, point in zip(reversed(self.stages), reversed(points), strict=True):
            upstream = stage._vjp(point, upstream, dtype)
        return upstream


def choose_strategy(sets: Sequence[Constraint]) -> Strategy | None:
    """The strategy for several sets; None where some are not convex and no formula is known.

    *Intervals.* In one dimension, projecting onto two intersecting intervals in turn projects onto their intersection.

    *Sign constraints, then a solid set C.* Zeroing the entries of a feasible y where x has the wrong sign keeps y in C,
    because C is solid, and never increases the distance to x. The nearest point of C to P_+(x) has its signs and zeros.

    *Matroids (topk, nm), then a convex, solid, permutation-invariant C.* On a support S the squared distance is
    ||x||^2 - g(x_S) with g(y) = ||y||^2 - ||y - P_C(y)||^2. Its gradient 2 P_C(y) has the signs of y, so g never falls
    when a magnitude grows (Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", 2013). The
    supports of nm, cut to k, are a matroid too (Edmonds, "Matroids and the greedy algorithm", 1971).

    *Cones with balls, spheres and shells.* See `constraints.intersection.closed_forms.ConeAndNorm`.
    """
    every = range(len(sets))
    signs = [i for i in every if sets[i].separable and sets[i].cone]
    rest = [i for i in every if i not in signs]
    solid = all(sets[i].solid for i in rest)
    if all(member.separable for member in sets):
        return Strategy(first=tuple(every))
    if all(member.convex for member in sets):
        return Strategy(tuple(signs), tuple(rest)) if solid else Strategy(joint=tuple(every))
    selecting = _in_order(sets, [i for i in rest if sets[i].matroid])
    others = [i for i in rest if not sets[i].matroid]
    if selecting is None:
        return None
    if solid and all(sets[i].convex and sets[i].permutation_invariant for i in others):
        return Strategy((*signs, *selecting), tuple(others))
    if solid and len(rest) == 1:
        return Strategy(tuple(signs), tuple(rest))
    if any(isinstance(member, MatrixSet) for member in sets):
        return None
    norms = [i for i in others if isinstance(sets[i], RadialSet)]
    cones = [i for i in others if not isinstance(sets[i], RadialSet)]
    chained = len(cones) + bool(selecting) <= 1 and (not signs or all(sets[i].solid for i in (*selecting, *cones)))
    if norms and chained and all(sets[i].cone for i in cones):
        return Strategy(joint=(*signs, *selecting, *cones, *norms))
    return None


def joint_solver(sets: Sequence[Constraint], mixed: bool, accuracy: float, max_iterations: int) -> Stage:
    """The projection onto the joint sets of a strategy.

    Args:
      sets: its sets, in its order.
      mixed: whether the layout is that of matrix sets.
      accuracy: see `Dykstra`.
      max_iterations: see `Dykstra`.
    """

    def dykstra_unless_one(stages: Sequence[Stage]) -> Stage:
        return stages[0] if len(stages) == 1 else Dykstra(tuple(stages), accuracy, max_iterations)

    if len(sets) == 1 or mixed:
        return dykstra_unless_one([placed(member, mixed) for member in sets])
    norms = [member for member in sets if isinstance(member, RadialSet)]
    rest = [member for member in sets if not isinstance(member, RadialSet)]
    if norms and (
        not all(member.convex for member in sets) or (len(rest) <= 1 and all(member.cone for member in rest))
    ):
        return ConeAndNorm(tuple(rest), tuple(norms))
    inner = _without_ball(rest, dykstra_unless_one)
    for ball in norms:
        assert isinstance(ball, MaxNorm)
        if isinstance(inner, Dykstra):
            return dykstra_unless_one((*inner.stages, *norms))
        inner = BallMultiplier(inner, ball)
    return inner


def _without_ball(sets: Sequence[Constraint], dykstra_unless_one: Any) -> Stage:
    intervals = tuple(member for member in sets if isinstance(member, (Box, NonNeg)))
    sums = [member for member in sets if isinstance(member, (SumConstraint, Simplex))]
    balls = [member for member in sets if isinstance(member, L1Ball) and member.convex]
    if len(intervals) + len(sums) + len(balls) < len(sets) or len(sums) > 1 or len(balls) > 1:
        return dykstra_unless_one(sets)
    if len(sets) == 1:
        return sets[0]
    if not sums:
        return BoxAndL1Ball(intervals, balls[0]) if balls else Chain(intervals)
    (plane,) = sums
    if isinstance(plane, Simplex) and intervals:
        return dykstra_unless_one([BoxAndSum((*intervals, plane), plane), *balls])
    if isinstance(plane, Simplex):
        return dykstra_unless_one(sets)
    if not balls:
        return BoxAndSum(intervals, plane)

    def reach(dtype: tf.DType) -> tf.Tensor:
        """Where all weights are so far beyond the bounds, their sum is as large as it can be."""
        bounds = tf.stack(limits(intervals, dtype))
        finite = tf.where(tf.math.is_finite(bounds), tf.abs(bounds), tf.zeros_like(bounds))
        return balls[0].value("max_value") + tf.reduce_max(finite)

    return SumMultiplier(BoxAndL1Ball(intervals, balls[0]) if intervals else balls[0], plane, reach)


def _in_order(sets: Sequence[Constraint], selecting: list[int]) -> tuple[int, ...] | None:
    """Orders matroids so that no choice undoes an earlier one; None if that is impossible."""
    first = [i for i in selecting if not isinstance(sets[i], TopK)]
    return None if len(first) > 1 else (*first, *(i for i in selecting if isinstance(sets[i], TopK)))


def name(member: Constraint) -> str:
    """A set's key in the registry."""
    return type(member).__module__.rsplit(".", 1)[-1]


def listed(sets: Sequence[Constraint]) -> str:
    """Several sets, as a sentence names them."""
    names = [name(member) for member in sets]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def unknown(sets: tuple[Constraint, ...]) -> str:
    """The message for sets without a strategy; it names those that conflict."""
    subject = listed(sets)
    for member in sets:
        for other in sets:
            if member is not other and not member.convex and choose_strategy((member, other)) is None:
                subject = f"{name(member)} and {name(other)}"
    return (
        f"{subject} together have no known nearest point, as not all are convex; {KNOWN}. Sets such as l1topk "
        "and simplextopk are intersections themselves."
    )
