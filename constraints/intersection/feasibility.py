"""Whether several sets have a point in common, found by projecting one group onto them.

At any scale, this finds sets that miss each other by more than a millionth of their size if the nearest point has a
formula, or if all are convex and planes between them show the gap after 1000 cycles of projecting. Of schedules it sees
the steps that are asked for, and those between them at which a formula changes. See docs/math/dykstra.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..layout import Matrices
from ..sets._matrix import MatrixSet
from . import per_unit, strategy
from .dykstra import Dykstra
from .intersection import Intersection

# Distance from a set, relative to the size of both, below which there may be a point that both have.
_CLOSE = 1e-6
# Relative to the weights that are projected, what sums of float64 may leave where sets meet at 0.
_NOTHING = 1e-12
# If doubling the cycles reduces the distance by less than 10 %, the sets do not intersect. Tangent sets still converge
# sublinearly, like 1/n or 1/sqrt(n), which reduces it by more.
_STALLED = 0.9
_CYCLES = 500
# Relative to the sets, how far away a point is that is projected to find a set's end in a direction; and how large a
# projection of it shows a set that has no end there.
_FAR, _ENDLESS = 1e8, 1e3
# Sets this much smaller than the weights that are projected onto them are looked at again with weights of their size.
_SMALL = 1e-3
# Most boundaries of piecewise schedules that are looked at.
_MAX_BENDS = 200


def check_nonempty(whole: Intersection, shape: Any, axes: Any = None, steps: Iterable[int] = (0,)) -> None:
    """Checks that the sets of an intersection have a point in common.

    Args:
      whole: the intersection.
      shape: static shape of the weights.
      axes: axes whose weights share one group; None for the field `axis`.
      steps: where to look if a hyperparameter is a schedule.

    Raises:
      ValueError: they have none; it names two that do not meet, or all if any two do.
    """
    layout = whole._layout(tf.TensorShape(shape), axes)
    whole.check_layout(layout)
    if not math.prod(layout.shape):
        return
    if isinstance(layout, Matrices):
        group = [2, layout.size, layout.units]
        size = f"matrices of {layout.size} x {layout.units} weights"
    else:
        group, size = [layout.size, 2], f"groups of {layout.size} weights"
    moving = [value for value in whole.bounds().values() if callable(value)]
    with tf.init_scope():
        gap_at = _infeasibility_gap(whole, group)
        for step in _looks(moving, steps) if moving else [0]:
            if gap_at(step) > 0.0:
                culprits, gap = _conflicting_pair(whole, step, group, gap_at(step))
                raise ValueError(
                    f"{' and '.join(map(_described, (member.at(step) for member in culprits)))} have no point in common"
                    f"{f' at step {step}' if moving else ''} in {size}: none that is in one comes nearer than "
                    f"{gap:.3g} to the other{'s' if len(culprits) > 2 else ''}. Change a value so that they meet, or "
                    "leave one of the sets out."
                )


def _looks(moving: Sequence[Any], steps: Iterable[int]) -> list[int]:
    """The steps given, and between the first and the last of them those at which a schedule's formula changes."""
    given = sorted(set(steps))
    bends = sorted({step for value in moving for step in value.bends() if given[0] <= step <= given[-1]})
    if len(bends) > _MAX_BENDS:
        bends = [bends[place] for place in np.linspace(0, len(bends) - 1, _MAX_BENDS).astype(int)]
    return sorted({*given, *bends})


def _conflicting_pair(
    whole: Intersection, step: int, group: list[int], gap: float
) -> tuple[tuple[Constraint, ...], float]:
    """The two sets that are furthest apart, or all if each two intersect; and the distance."""
    worst: tuple[tuple[Constraint, ...], float] = whole.sets, gap
    if len(whole.sets) == 2:
        return worst
    furthest = 0.0
    for i, one in enumerate(whole.sets):
        for other in whole.sets[:i]:
            if strategy.choose_strategy((other, one)) is None:
                continue
            gap = _infeasibility_gap(type(whole)((other, one), axis=whole.axis), group)(step)
            if gap > furthest:
                worst, furthest = ((other, one), gap), gap
    return worst


def _infeasibility_gap(whole: Intersection, group: list[int]) -> Callable[[int], float]:
    """How near the sets come to each other at a step; 0 unless the sets certainly do not intersect.

    If they do not, a formula leads to the point of one set that is nearest to the others; else alternating projections
    stall, or a plane separates the sets.
    """
    x = np.random.default_rng(0).standard_normal(group)
    x[0 if whole._mixed() else (slice(None), 0)] = 0.0

    @tf.function(autograph=False)
    def led_to(start: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        current = whole.at(step)
        sets = [per_unit.placed(member, current._mixed()) for member in current.sets]
        *first, solver = current._stages()
        point = start
        for stage in first:
            point = stage._project(point, tf.float64)
        if not isinstance(solver, Dykstra):
            later = point = solver._project(point, tf.float64)
        else:
            few = dataclasses.replace(solver, max_iterations=_CYCLES)
            point = few.approached(point)
            later = few.approached(point)
        size = tf.maximum(_size(sets, point), _size(sets, later))
        between = isinstance(solver, Dykstra) and current.convex
        return (
            current._furthest(point),
            current._furthest(later),
            size,
            _separation(sets, later, size) if between else tf.zeros_like(size),
        )

    def gap_at(step: int) -> float:
        start, scale = x, 1.0
        while True:
            gap, rest, size, between = (value.numpy() for value in led_to(start, tf.constant(step, tf.int64)))
            length = np.max(np.linalg.norm(start.reshape(-1)))
            shrunk = float(np.max(size, initial=0.0) / length)
            # Where sets meet at 0 alone, there is no end to this.
            if shrunk >= _SMALL or scale * shrunk < 1e-290:
                break
            scale *= shrunk
            start = x * scale
        gap = np.where(rest < _STALLED * gap, 0.0, rest)
        # One of the two starts is enough: a group of zeros where sets meet at 0, or the other where sums are exact.
        near = float(np.min(np.where(gap <= _CLOSE * size + _NOTHING * length, 0.0, gap)))
        return max(near, float(np.max(np.where(between > _CLOSE * size, between, 0.0))))

    return gap_at


def _separation(sets: Sequence[Any], z: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The width of the gap between planes that separate convex sets: float64 [groups], 0 if there are none.

    Projecting onto a set gives the normal n of a plane that it lies behind: <c, n> <= <p, n> for each point c. With one
    set left out, the others' planes bound <c, d> from below, d the negative sum of their normals. If the set that was
    left out ends before that bound, there is no common point. Projecting from far away in a direction finds its end.

    Args:
      sets: the sets, in the canonical layout.
      z: where projecting onto one after the other has led.
      size: the size of the sets, [groups].
    """
    here, normals, points = z, [], []
    for member in sets:
        points.append(member._project(here, tf.float64))
        normals.append(here - points[-1])
        here = points[-1]
    widest = tf.zeros_like(size)
    for left_out, member in enumerate(sets):
        others = [i for i in range(len(sets)) if i != left_out]
        outward = -tf.add_n([normals[i] for i in others])
        length = per_unit.broadcast_over_groups(numerics.l2(per_unit.flatten_groups(outward), tf.float64), z)
        direction = tf.math.divide_no_nan(outward, length)
        end = member._project(z + per_unit.broadcast_over_groups(_FAR * size, z) * direction, tf.float64)
        known = [points[i] * tf.math.divide_no_nan(normals[i], length) for i in others]
        width = -tf.reduce_sum(per_unit.flatten_groups(tf.add_n([*known, end * direction])), axis=0)
        ends = numerics.l2(per_unit.flatten_groups(end), tf.float64) <= _ENDLESS * size
        widest = tf.where(
            ends & tf.reduce_any(per_unit.flatten_groups(direction) != 0.0, axis=0), tf.maximum(widest, width), widest
        )
    return widest


def _size(sets: Sequence[Any], point: tf.Tensor) -> tf.Tensor:
    """The largest norm of a point's projections onto the sets: [groups]."""
    norms = [numerics.l2(per_unit.flatten_groups(member._project(point, tf.float64)), tf.float64) for member in sets]
    return tf.reduce_max(tf.stack(norms), axis=0)


def _described(member: Constraint) -> str:
    name = type(member).__module__.rsplit(".", 1)[-1]
    values = ", ".join(f"{field}={float(member.value(field)):.6g}" for field in member.bounds())
    each = f" (each={member.each})" if isinstance(member, MatrixSet) and member.each is not None else ""
    return f"{name}{each}" + (f" with {values}" if values else "")
