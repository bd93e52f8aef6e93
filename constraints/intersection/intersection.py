"""Intersections of sets."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..layout import Columns, Matrices
from ..sets._matrix import Joint
from . import feasibility, per_unit, strategy
from .closed_forms import OfNorm
from .dykstra import Dykstra

# Passes of projecting onto one set after the other in the weights' own type, which usually settle after one or two.
_MAX_PASSES = 8
# Largest distance from each set, in roundings of the weights' type relative to a group, that counts as none.
_ROUNDINGS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Intersection(Constraint):
    """Groups that are in several sets at once: { x : x in C_1, ..., x in C_m }.

    The nearest point of x has a formula for many sets:

    - nonneg, or boxes, with each other;
    - nonneg with what no sign matters to and shrinking a weight never leaves (maxnorm, l1ball, topk, nm, l1topk, a box
      from -b to b);
    - topk or nm with those of them that are convex;
    - a cone (nonneg, topk, nm, zerosum) with maxnorm, unitnorm or minmaxnorm;
    - boxes or nonneg with hyperplane, halfspace, zerosum or simplex, or with l1ball;

    and follows from one number, a multiplier found by Newton's method, for all of these that are convex with maxnorm,
    and for l1ball with hyperplane, halfspace or zerosum. Proofs are in the modules `strategy`, `closed_forms` and
    `lagrange`. For any other convex sets it is found by Dykstra's algorithm, to within `accuracy` relative to the
    group; see `dykstra`. A set that is not convex has to have a formula with the others.

    Convex if all parts are, and unique then; ties and zero groups are those of the part that knows them.

    Where parts do more than select, clip and end with one that scales or shrinks, the result is rounded to the weights'
    type and then projected onto one part after the other in that type, until it is in all of them to the last bit. If
    that never happens (as where they share a single point, which the type does not have), a point counts as feasible
    that is as close to each as four roundings of the group's norm, or `accuracy`, and the point before stays.

    All parts have the same groups, and if some are sets of matrices (`Joint`), a matrix is one group: `distance`,
    `norm` and `active` are then per matrix. A group that holds NaN or inf stays as it is.

    Attributes:
      parts: the sets, at least one; the first is the primary one. Intersections among them are taken apart; parts have
        no `axis` of their own.
      accuracy: where there is no formula, the change at which Dykstra's algorithm ends, relative to the group's norm.
      max_iterations: bound on its cycles; `solve` tells what was reached.

    References:
      Boyle and Dykstra, "A method for finding projections onto the intersection of convex sets in Hilbert spaces",
      1986.
      Birgin and Raydan, "Robust stopping criteria for Dykstra's algorithm", 2005.
      Bauschke, Bui and Wang, "Projecting onto the intersection of a cone and a sphere", 2018.
    """

    parts: tuple[Constraint, ...]
    accuracy: float = dataclasses.field(default=1e-10, kw_only=True)
    max_iterations: int = dataclasses.field(default=1000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("parts", self._checked_parts())
        if not (isinstance(self.accuracy, float) and 0.0 < self.accuracy < 1e-2):
            raise ValueError(f"accuracy={self.accuracy!r} must be a number above 0 and below 0.01, such as 1e-10.")
        if isinstance(self.max_iterations, bool) or not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise ValueError(f"max_iterations={self.max_iterations!r} must be a whole number of at least 1.")
        different = tuple(part for i, part in enumerate(self.parts) if part not in self.parts[:i])
        plan = strategy.planned(different)
        if plan is None:
            raise ValueError(strategy.unknown(different))
        self._set("_different", tuple(self.parts.index(part) for part in different))
        self._set("_plan", plan)
        self._set("convex", all(part.convex for part in self.parts))
        for trait in ("cone", "solid", "exchangeable", "per_weight"):
            self._set(trait, all(getattr(part, trait) for part in self.parts))
        common = tuple(name for name in self.parts[0].groupings if all(name in part.groupings for part in self.parts))
        if not common:
            raise ValueError(
                f"{strategy.listed(self.parts)} have no grouping in common, so no group of weights can be in all."
            )
        self._set("groupings", common)
        self._set("grouping", next((part.grouping for part in self.parts if part.grouping in common), common[0]))

    def solve(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Projects, and tells how well that went.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point, shape and type of `w`; float64, per group the largest distance from any part, of
          the point before it was rounded (inf for a group that holds NaN or inf); and the number of cycles of Dykstra's
          algorithm, an int32 scalar, 0 for a formula.
        """
        w, layout, there = self._grouped(w, axes)
        columns = layout.columns(w)
        x = tf.cast(columns, tf.float64)
        finite = numerics.finite_groups(self.together(x))
        point = tf.where(self.apart(finite), x, tf.zeros_like(x))
        stages = there._stages()
        iterations = tf.constant(0)
        for stage in stages:
            if isinstance(stage, Dykstra):
                point, _, iterations = stage.solve(point)
            else:
                point = stage.project(point, tf.float64)
        residual = tf.where(finite, there._furthest(point), math.inf)
        return layout.restore(there.nearest(columns)), layout.per_group(residual), iterations

    def residual(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """How far each group is from the part it is furthest from: what is left to do for Dykstra's algorithm.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes; inf for a group that holds NaN or inf.
        """
        w, layout, there = self._grouped(w, axes)
        x = tf.cast(layout.columns(w), tf.float64)
        return layout.per_group(tf.where(numerics.finite_groups(self.together(x)), there._furthest(x), math.inf))

    def check_meets(self, shape: Any, axes: Any = None, steps: Iterable[int] = (0,)) -> None:
        """Checks that the sets have a point in common; `constraints.intersection.feasibility` says what it finds.

        Args:
          shape: static shape of the weights.
          axes: axes whose weights share one group; None for the field `axis`.
          steps: where to look if a hyperparameter is a schedule.

        Raises:
          ValueError: they have none; it names two that do not meet, or all if any two do.
        """
        feasibility.check_meets(self, shape, axes, steps)

    def at(self, step: Any) -> Intersection:
        return self._with(tuple(part.at(step) for part in self.parts))

    def bounds(self) -> dict[str, Any]:
        """Every part's hyperparameters, the primary one first: named as in the part, and where an earlier part has the
        same name, after the part as well, as in `box_max_value`."""
        return {name: getattr(self.parts[i], field) for name, (i, field) in self._named().items()}

    def value(self, name: str) -> tf.Tensor:
        index, field = self._named()[name]
        return self.parts[index].value(field)

    def tolerance(self, dtype: tf.DType) -> float:
        room = 0.0 if self._is_exact() else max(_ROUNDINGS * numerics.epsilon(dtype), self.accuracy)
        return room + max(part.tolerance(dtype) for part in self.parts)

    def get_config(self) -> dict[str, Any]:
        parts = [keras.saving.serialize_keras_object(part) for part in self.parts]
        own = {"accuracy": self.accuracy, "max_iterations": self.max_iterations}
        return {"parts": parts, **own, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Intersection:
        parts = tuple(keras.saving.deserialize_keras_object(part) for part in config["parts"])
        return super().from_config({**config, "parts": parts})

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        if 0 in x.shape:
            return x
        finite = self.apart(numerics.finite_groups(self.together(x)))
        p = tf.where(finite, x, tf.zeros_like(x))
        *lead, core = self._stages()
        for stage in lead:
            p = stage.project(p, dtype)
        p = core.project(p, dtype) if self._is_exact() else self._moved(p, core, dtype)
        return tf.where(finite, p, x)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        if 0 in x.shape:
            return upstream
        return strategy.Chain(self._stages()).pullback(x, upstream, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if 0 in w.shape:
            return w
        finite = self.apart(numerics.finite_groups(self.together(w)))
        lead, core = self._placed(self._plan.lead), self._stages()[-1]
        p = w
        for part in lead:
            p = part.nearest(p)
        if isinstance(core, OfNorm) and self._is_exact():
            x = tf.cast(p, tf.float64)
            p = _unless_same(core.before(x, w.dtype), x, p)
            for norm in core.norms:
                p = norm.nearest(p)
        elif self._plan.core and self._is_exact():
            p = core.nearest(p)
        elif self._plan.core:
            p = self._settled(tf.where(finite, p, tf.zeros_like(p)), core)
        return tf.where(finite, p, w)

    def together(self, x: tf.Tensor) -> tf.Tensor:
        return per_unit.together(x)

    def apart(self, values: tf.Tensor) -> tf.Tensor:
        return values[:, tf.newaxis, tf.newaxis] if self._mixed() else values

    def check_layout(self, layout: Columns) -> None:
        for part in self.parts:
            part.check_layout(layout if isinstance(part, Joint) else Columns(layout.shape, layout.axes))

    def laid_out(self, layout: Columns) -> Intersection:
        plain = Columns(layout.shape, layout.axes)
        return self._with(tuple(part.laid_out(layout if isinstance(part, Joint) else plain) for part in self.parts))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Of the first part with a `max_value` or a `total`, else of the first; the largest where parts see units."""
        bounded = [i for i, part in enumerate(self.parts) if {"max_value", "total"} & set(part.bounds())]
        return per_unit.placed(self.parts[bounded[0] if bounded else 0], self._mixed()).column_norms(x, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        parts = [per_unit.placed(part, self._mixed()) for part in self.parts]
        return tf.reduce_any(tf.stack([part.on_boundary(w) for part in parts]), axis=0)

    def _checked_parts(self) -> tuple[Constraint, ...]:
        given = tuple(self.parts) if isinstance(self.parts, (tuple, list)) else (self.parts,)
        wrong = [part for part in given if not isinstance(part, Constraint) or part.proximal]
        if wrong or not given:
            raise ValueError(
                f"parts={given!r} must be one set or more from `constraints`; {wrong or 'none'} is no set."
            )
        parts: list[Constraint] = []
        for part in given:
            parts += part.parts if isinstance(part, Intersection) else [part]
        for part in given:
            if part.axis is not None and part.axis != self.axis:
                raise ValueError(
                    f"axis={part.axis!r} of {strategy.name(part)} would group weights otherwise than axis="
                    f"{self.axis!r} of the intersection; give it to the intersection alone."
                )
        several = {part.each for part in parts if isinstance(part, Joint)}
        if len(several) > 1:
            raise ValueError(
                f"each={' and each='.join(map(repr, several))} of {strategy.listed(parts)} make different groups; give "
                "all the same."
            )
        return tuple(parts)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _with(self, parts: tuple[Constraint, ...]) -> Intersection:
        """The same sets with other numbers: the plan stays, as it rests on what holds at every step."""
        other = copy.copy(self)
        other._set("parts", parts)
        return other

    def _fixed(self) -> Intersection:
        return self._with(tuple(part._fixed() for part in self.parts))

    def _key(self) -> tuple:
        return type(self), self.axis, self.parts, self.accuracy, self.max_iterations

    def _named(self) -> dict[str, tuple[int, str]]:
        named: dict[str, tuple[int, str]] = {}
        for i, part in enumerate(self.parts):
            for field in part.bounds():
                candidates = (field, f"{strategy.name(part)}_{field}", f"{strategy.name(part)}_{i + 1}_{field}")
                named[next(name for name in candidates if name not in named)] = i, field
        return named

    def _mixed(self) -> bool:
        return any(isinstance(part, Joint) for part in self.parts)

    def _layout(self, shape: tf.TensorShape, axes: Any) -> Columns:
        each = [part.each for part in self.parts if isinstance(part, Joint)]
        return (
            Matrices.of(shape, self.axis if axes is None else axes, each[0]) if each else super()._layout(shape, axes)
        )

    def _placed(self, indices: tuple[int, ...]) -> list:
        return [per_unit.placed(self.parts[self._different[i]], self._mixed()) for i in indices]

    def _stages(self) -> list:
        """What is projected onto one after the other: the plan's lead, and its core."""
        core = [self.parts[self._different[i]] for i in self._plan.core]
        met = [strategy.met_together(core, self._mixed(), self.accuracy, self.max_iterations)] if core else []
        return [*self._placed(self._plan.lead), *met]

    def _is_exact(self) -> bool:
        """Whether the parts' own rounding, one after the other, leaves none that came before."""
        core = [self.parts[self._different[i]] for i in self._plan.core]
        rest = [part for part in core if not (part.per_weight or part.selects)]
        return len(core) <= 1 or (
            all(isinstance(part, strategy.Rescaling) for part in rest) and isinstance(self._stages()[-1], OfNorm)
        )

    def _furthest(self, x: tf.Tensor) -> tf.Tensor:
        """The largest distance from any part: [groups]."""
        parts = [per_unit.placed(part, self._mixed()) for part in self.parts]
        gaps = [numerics.l2(self.together(x - part.project(x, tf.float64)), tf.float64) for part in parts]
        return tf.reduce_max(tf.stack(gaps), axis=0)

    def _near(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Whether each group counts as in all sets: [groups]."""
        room = max(_ROUNDINGS * numerics.epsilon(dtype), self.accuracy)
        size = numerics.l2(self.together(x), tf.float64)
        return self._furthest(x) <= room * size + numerics.quantum(dtype) * self.together(x).shape[0] ** 0.5

    def _moved(self, x: tf.Tensor, core: Any, dtype: tf.DType) -> tf.Tensor:
        near = self._near(x, dtype)
        return tf.cond(tf.reduce_all(near), lambda: x, lambda: tf.where(self.apart(near), x, core.project(x, dtype)))

    def _settled(self, w: tf.Tensor, core: Any) -> tf.Tensor:
        """Projects onto the core and rounds: into all sets where that can be, else close to the nearest point."""
        x = tf.cast(w, tf.float64)
        start = _unless_same(self._moved(x, core, w.dtype), x, w)
        parts = self._placed(self._plan.core)

        def onto_each(p: tf.Tensor, still: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            there = p
            for part in parts:
                there = part.nearest(there)
            unmoved = tf.equal(numerics.magnitude_bits(there), numerics.magnitude_bits(p))
            return there, tf.reduce_all(self.together(unmoved), axis=0), count + 1

        start_state = start, tf.zeros([self.together(x).shape[1]], tf.bool), tf.constant(0)
        p, still, _ = tf.while_loop(
            lambda _, still, count: ~tf.reduce_all(still) & (count < _MAX_PASSES), onto_each, start_state
        )
        return tf.where(self.apart(still), p, start)


def _unless_same(p: tf.Tensor, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """p rounded to the type of w, and w itself, subnormals and all, where p is still its copy x."""
    same = tf.equal(tf.bitcast(p, tf.int64), tf.bitcast(x, tf.int64))
    return numerics.either(same, w, numerics.nearest(p, w.dtype))
