"""Whether several sets have a point in common: found out on one group, by projecting onto them.

At any scale, this finds sets that miss each other by more than a millionth of their size if the nearest point has a
formula, or if all are convex and planes between them show the gap after 1000 cycles of projecting. A narrow gap between
two curved sets may take more cycles, and is not told from sets that touch. Of schedules it sees the steps that are
asked for, and those between the first and the last of them at which a formula changes: the ends, and the boundaries of
a piecewise schedule. For a single bound that moves no other step matters; bounds that move at once may cross between.

Where nothing is found, a projection still ends, after `max_iterations` cycles. `Intersection.solve` tells how far from
the sets it ended, and a run's certificate does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..layout import Matrices
from ..schedules import Schedule
from ..sets._matrix import Joint
from . import per_unit, strategy
from .dykstra import Dykstra

if TYPE_CHECKING:
    from .intersection import Intersection

# Distance from a set, relative to the size of both, below which there may be a point that both have.
_CLOSE = 1e-6
# Relative to the weights that are projected, what sums of float64 may leave where sets meet at 0.
_NOTHING = 1e-12
# A distance that falls by less than this share in as many cycles again is not on its way to 0; where curved sets touch,
# it falls by a third (like one over the number of cycles) or a fifth (like its square root).
_STALLED = 0.9
_CYCLES = 500
# Relative to the sets, how far away a point is that is projected to find a set's end in a direction; and how large a
# projection of it shows a set that has no end there.
_FAR, _ENDLESS = 1e8, 1e3
# Sets this much smaller than the weights that are projected onto them are looked at again with weights of their size.
_SMALL = 1e-3
# Most boundaries of piecewise schedules that are looked at.
_MAX_BENDS = 200


def check_meets(whole: Intersection, shape: Any, axes: Any, steps: Iterable[int]) -> None:
    """See `Intersection.check_meets`."""
    layout = whole._layout(tf.TensorShape(shape), axes)
    whole.check_layout(layout)
    if not math.prod(layout.shape):
        return
    if isinstance(layout, Matrices):
        group = [2, layout.size, layout.units]
        size = f"matrices of {layout.size} x {layout.units} weights"
    else:
        group, size = [layout.size, 2], f"groups of {layout.size} weights"
    moving = [value for value in whole.bounds().values() if isinstance(value, Schedule)]
    with tf.init_scope():
        gap_at = _gap(whole, group)
        for step in _looks(moving, steps) if moving else [0]:
            if gap_at(step) > 0.0:
                culprits, gap = _culprits(whole, step, group, gap_at(step))
                raise ValueError(
                    f"{' and '.join(map(_described, (part.at(step) for part in culprits)))} have no point in common"
                    f"{f' at step {step}' if moving else ''} in {size}: none that is in one comes nearer than "
                    f"{gap:.3g} to the other{'s' if len(culprits) > 2 else ''}. Change a value so that they meet, or "
                    "leave one of the sets out."
                )


def _looks(moving: Sequence[Schedule], steps: Iterable[int]) -> list[int]:
    """The steps given, and between the first and the last of them those at which a schedule's formula changes."""
    given = sorted(set(steps))
    bends = sorted({step for value in moving for step in value.bends() if given[0] <= step <= given[-1]})
    if len(bends) > _MAX_BENDS:
        bends = [bends[place] for place in np.linspace(0, len(bends) - 1, _MAX_BENDS).astype(int)]
    return sorted({*given, *bends})


def _culprits(whole: Intersection, step: int, group: list[int], gap: float) -> tuple[tuple[Constraint, ...], float]:
    """The two sets that are furthest apart, all if each two meet; and how far."""
    worst: tuple[tuple[Constraint, ...], float] = whole.parts, gap
    if len(whole.parts) == 2:
        return worst
    furthest = 0.0
    for i, one in enumerate(whole.parts):
        for other in whole.parts[:i]:
            if strategy.planned((other, one)) is None:
                continue
            gap = _gap(type(whole)((other, one), axis=whole.axis), group)(step)
            if gap > furthest:
                worst, furthest = ((other, one), gap), gap
    return worst


def _gap(whole: Intersection, group: list[int]) -> Callable[[int], float]:
    """How near the sets come to each other at a step; 0 if there is nothing to say that they do not meet.

    The point that a projection leads to is in all sets if any is. If none is, a formula leads to the point of one set
    that is nearest to the others; else projecting to and fro leads to where it changes nothing, or there is a plane
    between the sets, see `_separation`.
    """
    x = np.random.default_rng(0).standard_normal(group)
    x[0 if whole._mixed() else (slice(None), 0)] = 0.0

    @tf.function(autograph=False)
    def led_to(start: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        there = whole.at(step)
        parts = [per_unit.placed(part, there._mixed()) for part in there.parts]
        *lead, core = there._stages()
        point = start
        for stage in lead:
            point = stage.project(point, tf.float64)
        if not isinstance(core, Dykstra):
            later = point = core.project(point, tf.float64)
        else:
            few = dataclasses.replace(core, max_iterations=_CYCLES)
            point = few.approached(point)
            later = few.approached(point)
        size = tf.maximum(_size(parts, point), _size(parts, later))
        between = isinstance(core, Dykstra) and there.convex
        return (
            there._furthest(point),
            there._furthest(later),
            size,
            _separation(parts, later, size) if between else tf.zeros_like(size),
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


def _separation(parts: Sequence[Any], z: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The width of the gap between planes that keep convex sets apart, if there are such: float64 [groups], or 0.

    What projecting onto a set takes off is the normal n of a plane that the set lies behind: <c, n> <= <p, n> for each
    of its points c, where p is the projection. With one set left out, the others' planes say that <c, d> is at least
    some number, d less the sum of their normals. If the set that was left out ends before that, there is no common c.
    Where it ends in a direction is where it is met from far away in that direction.

    Args:
      parts: the sets, in the canonical layout.
      z: where projecting onto one after the other has led.
      size: the size of the sets, [groups].
    """
    here, normals, points = z, [], []
    for part in parts:
        points.append(part.project(here, tf.float64))
        normals.append(here - points[-1])
        here = points[-1]
    widest = tf.zeros_like(size)
    for left_out, part in enumerate(parts):
        others = [i for i in range(len(parts)) if i != left_out]
        outward = -tf.add_n([normals[i] for i in others])
        length = per_unit.apart(numerics.l2(per_unit.together(outward), tf.float64), z)
        direction = tf.math.divide_no_nan(outward, length)
        end = part.project(z + per_unit.apart(_FAR * size, z) * direction, tf.float64)
        known = [points[i] * tf.math.divide_no_nan(normals[i], length) for i in others]
        width = -tf.reduce_sum(per_unit.together(tf.add_n([*known, end * direction])), axis=0)
        ends = numerics.l2(per_unit.together(end), tf.float64) <= _ENDLESS * size
        widest = tf.where(
            ends & tf.reduce_any(per_unit.together(direction) != 0.0, axis=0), tf.maximum(widest, width), widest
        )
    return widest


def _size(parts: Sequence[Any], point: tf.Tensor) -> tf.Tensor:
    """The largest norm of a point's projections onto the sets: [groups]."""
    norms = [numerics.l2(per_unit.together(part.project(point, tf.float64)), tf.float64) for part in parts]
    return tf.reduce_max(tf.stack(norms), axis=0)


def _described(part: Constraint) -> str:
    name = type(part).__module__.rsplit(".", 1)[-1]
    values = ", ".join(f"{field}={float(part.value(field)):.6g}" for field in part.bounds())
    each = f" (each={part.each})" if isinstance(part, Joint) and part.each is not None else ""
    return f"{name}{each}" + (f" with {values}" if values else "")
