"""Whether several sets have a point in common."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from constraints import layouts, plans
from constraints.base import Constraint
from constraints.dykstra import Dykstra
from constraints.joint import Joint
from constraints.matrices import Matrices
from constraints.schedules import Schedule

if TYPE_CHECKING:
    from constraints.intersection import Intersection

# Distance from a set, relative to the size of both, below which there may be a point that both have.
_CLOSE = 1e-6
# Next to weights of about 1, what sums of float64 may leave where sets meet at 0.
_NOTHING = 1e-12
# A distance that falls by less than this share in as many cycles again is not on its way to 0; where curved sets touch,
# it falls by a third (like one over the number of cycles) or a fifth (like its square root).
_STALLED = 0.9
_CYCLES = 500


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
    scheduled = any(isinstance(value, Schedule) for value in whole.bounds().values())
    with tf.init_scope():
        for step in steps if scheduled else [0]:
            if _gap(whole.at(step), group) > 0.0:
                culprits, gap = _culprits(whole, step, group)
                raise ValueError(
                    f"{' and '.join(map(_described, (part.at(step) for part in culprits)))} have no point in common"
                    f"{f' at step {step}' if scheduled else ''} in {size}: none that is in one comes nearer than "
                    f"{gap:.3g} to the other{'s' if len(culprits) > 2 else ''}. Change a value so that they meet, or "
                    "leave one of the sets out."
                )


def _culprits(whole: Intersection, step: int, group: list[int]) -> tuple[tuple[Constraint, ...], float]:
    """The two sets that are furthest apart, all if each two meet; and how far."""
    worst: tuple[tuple[Constraint, ...], float] = whole.parts, _gap(whole.at(step), group)
    furthest = 0.0
    for i, one in enumerate(whole.parts):
        for other in whole.parts[:i]:
            if plans.planned((other, one)) is None:
                continue
            gap = _gap(type(whole)((other, one), axis=whole.axis).at(step), group)
            if gap > furthest:
                worst, furthest = ((other, one), gap), gap
    return worst


def _gap(whole: Intersection, group: list[int]) -> float:
    """How near the sets come to each other; 0 if there is nothing to say that they do not meet.

    The point that a projection leads to is in all sets if any is. If none is, a formula leads to the point of one set
    that is nearest to the others; else projecting to and fro leads to where it changes nothing.
    """
    x = np.random.default_rng(0).standard_normal(group)
    x[0 if whole._mixed() else (slice(None), 0)] = 0.0

    @tf.function(autograph=False)
    def led_to(point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        *lead, core = whole._stages()
        for stage in lead:
            point = stage.project(point, tf.float64)
        if isinstance(core, Dykstra):
            few = dataclasses.replace(core, max_iterations=_CYCLES)
            point = few.approached(point)
            return point, few.approached(point)
        return (core.project(point, tf.float64),) * 2

    point, later = led_to(tf.constant(x))
    gap, rest = whole._furthest(point).numpy(), whole._furthest(later).numpy()
    size = np.maximum(_size(whole, point), _size(whole, later))
    gap = np.where(rest < _STALLED * gap, 0.0, rest)
    # One of the two starts is enough: a group of zeros where sets meet at 0, or the other where sums are exact.
    return float(np.min(np.where(gap <= _CLOSE * size + _NOTHING, 0.0, gap)))


def _size(whole: Intersection, point: tf.Tensor) -> np.ndarray:
    """The largest norm of a point's projections onto the sets: [groups]."""
    parts = [layouts.placed(part, whole._mixed()).project(point, tf.float64) for part in whole.parts]
    norms = [tf.norm(layouts.together(p), axis=0) for p in parts]
    return np.max(np.stack([norm.numpy() for norm in norms]), axis=0)


def _described(part: Constraint) -> str:
    name = type(part).__module__.rsplit(".", 1)[-1]
    values = ", ".join(f"{field}={float(part.value(field)):.6g}" for field in part.bounds())
    each = f" (each={part.each})" if isinstance(part, Joint) and part.each is not None else ""
    return f"{name}{each}" + (f" with {values}" if values else "")
