"""How the nearest point of an intersection is found: a formula where one is known, else Dykstra's algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ..base import Constraint
from ..sets._affine import Translation
from ..sets._matrix import Joint
from ..sets._radial import Rescaling
from ..sets.box import Box
from ..sets.l1ball import L1Ball
from ..sets.maxnorm import MaxNorm
from ..sets.nonneg import NonNeg
from ..sets.simplex import Simplex
from ..sets.topk import TopK
from .closed_forms import IntervalL1, IntervalSum, OfNorm, limits
from .dykstra import Dykstra
from .lagrange import InBall, WithSum
from .per_unit import Stage, placed

KNOWN = (
    "one of topk and nm, or both, goes with nonneg, maxnorm, l1ball and a box from -b to b; unitnorm and minmaxnorm go "
    "with nonneg, topk and nm, or zerosum, and each other and maxnorm; other sets that are not convex go with nonneg "
    "if no sign matters to them"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which parts are projected onto one after the other, and which have to be met together.

    Attributes:
      lead: indices of parts whose projections, in this order, come first; they only select and clip, so that nothing
        is rounded.
      core: indices of the parts that are met together, after those.
    """

    lead: tuple[int, ...] = ()
    core: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Chain:
    """Projections one after the other.

    Attributes:
      stages: the first one first.
    """

    stages: Sequence[Stage]

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        for stage in self.stages:
            x = stage.project(x, dtype)
        return x

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        points = [x]
        for stage in self.stages[:-1]:
            points.append(stage.project(points[-1], dtype))
        for stage, point in zip(reversed(self.stages), reversed(points), strict=True):
            upstream = stage.pullback(point, upstream, dtype)
        return upstream


def planned(parts: Sequence[Constraint]) -> Plan | None:
    """The plan for several sets; None where some are not convex and no formula is known.

    Intervals for each weight: in one dimension, projecting onto two that meet, one after the other, is projecting onto
    what they share.

    Non-negative weights, or others of which some are held at 0 or at one sign, and then a solid set C: a feasible y
    whose entries are set to 0 where x has the wrong sign stays in C and is no further from x. With those entries gone,
    x is P_+(x), whose nearest point of C has its signs and zeros, or it could be made so and be nearer.

    Selecting sets (topk, nm) before a convex, solid and exchangeable C: on a support S the nearest point is P_C(x_S),
    at the squared distance ||x||^2 - g(x_S) from x, g(y) = ||y||^2 - ||y - P_C(y)||^2. The gradient of g is 2 P_C(y),
    which has the signs of y, so that g never falls when a magnitude grows, and exchanging a member of S for a larger
    weight never adds to the distance (Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex",
    2013). The supports of nm, cut to k, are a matroid too, of which keeping the largest of each window and then of all
    finds the heaviest (Edmonds, "Matroids and the greedy algorithm", 1971).

    Cones with balls, spheres and shells: see `constraints.intersection.closed_forms.OfNorm`.
    """
    every = range(len(parts))
    signs = [i for i in every if parts[i].per_weight and parts[i].cone]
    rest = [i for i in every if i not in signs]
    solid = all(parts[i].solid for i in rest)
    if all(part.per_weight for part in parts):
        return Plan(lead=tuple(every))
    if all(part.convex for part in parts):
        return Plan(tuple(signs), tuple(rest)) if solid else Plan(core=tuple(every))
    selecting = _in_order(parts, [i for i in rest if parts[i].selects])
    others = [i for i in rest if not parts[i].selects]
    if selecting is None:
        return None
    if solid and all(parts[i].convex and parts[i].exchangeable for i in others):
        return Plan((*signs, *selecting), tuple(others))
    if solid and len(rest) == 1:
        return Plan(tuple(signs), tuple(rest))
    if any(isinstance(part, Joint) for part in parts):
        return None
    norms = [i for i in others if isinstance(parts[i], Rescaling)]
    cones = [i for i in others if not isinstance(parts[i], Rescaling)]
    chained = len(cones) + bool(selecting) <= 1 and (not signs or all(parts[i].solid for i in (*selecting, *cones)))
    if norms and chained and all(parts[i].cone for i in cones):
        return Plan(core=(*signs, *selecting, *cones, *norms))
    return None


def met_together(parts: Sequence[Constraint], mixed: bool, accuracy: float, max_iterations: int) -> Stage:
    """The projection onto the core of a plan.

    Args:
      parts: its sets, in its order.
      mixed: whether the layout is that of `Joint` sets.
      accuracy: see `Dykstra`.
      max_iterations: see `Dykstra`.
    """

    def together(stages: Sequence[Stage]) -> Stage:
        return stages[0] if len(stages) == 1 else Dykstra(tuple(stages), accuracy, max_iterations)

    if len(parts) == 1 or mixed:
        return together([placed(part, mixed) for part in parts])
    norms = [part for part in parts if isinstance(part, Rescaling)]
    rest = [part for part in parts if not isinstance(part, Rescaling)]
    if norms and (not all(part.convex for part in parts) or (len(rest) <= 1 and all(part.cone for part in rest))):
        return OfNorm(tuple(rest), tuple(norms))
    inner = _without_ball(rest, together)
    for ball in norms:
        assert isinstance(ball, MaxNorm)
        if isinstance(inner, Dykstra):
            return together((*inner.stages, *norms))
        inner = InBall(inner, ball)
    return inner


def _without_ball(parts: Sequence[Constraint], together: Any) -> Stage:
    intervals = tuple(part for part in parts if isinstance(part, (Box, NonNeg)))
    sums = [part for part in parts if isinstance(part, (Translation, Simplex))]
    balls = [part for part in parts if isinstance(part, L1Ball) and part.convex]
    if len(intervals) + len(sums) + len(balls) < len(parts) or len(sums) > 1 or len(balls) > 1:
        return together(parts)
    if len(parts) == 1:
        return parts[0]
    if not sums:
        return IntervalL1(intervals, balls[0]) if balls else Chain(intervals)
    (plane,) = sums
    if isinstance(plane, Simplex) and intervals:
        return together([IntervalSum((*intervals, plane), plane), *balls])
    if isinstance(plane, Simplex):
        return together(parts)
    if not balls:
        return IntervalSum(intervals, plane)

    def reach(dtype: tf.DType) -> tf.Tensor:
        """Where all weights are so far beyond the bounds, their sum is as large as it can be."""
        bounds = tf.stack(limits(intervals, dtype))
        finite = tf.where(tf.math.is_finite(bounds), tf.abs(bounds), tf.zeros_like(bounds))
        return balls[0].value("max_value") + tf.reduce_max(finite)

    return WithSum(IntervalL1(intervals, balls[0]) if intervals else balls[0], plane, reach)


def _in_order(parts: Sequence[Constraint], selecting: list[int]) -> tuple[int, ...] | None:
    """Sets that select, those of which the next one's choice undoes nothing first; None if there are none such."""
    first = [i for i in selecting if not isinstance(parts[i], TopK)]
    return None if len(first) > 1 else (*first, *(i for i in selecting if isinstance(parts[i], TopK)))


def name(part: Constraint) -> str:
    """A set's key in the registry."""
    return type(part).__module__.rsplit(".", 1)[-1]


def listed(parts: Sequence[Constraint]) -> str:
    """Several sets, as a sentence names them."""
    names = [name(part) for part in parts]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def unknown(parts: tuple[Constraint, ...]) -> str:
    """The message for sets without a plan, which names those that stand in each other's way."""
    subject = listed(parts)
    for part in parts:
        for other in parts:
            if part is not other and not part.convex and planned((part, other)) is None:
                subject = f"{name(part)} and {name(other)}"
    return (
        f"{subject} together have no known nearest point, as not all are convex; {KNOWN}. Sets such as l1topk "
        "and simplextopk are intersections themselves."
    )
