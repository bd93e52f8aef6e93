"""Intersections of sets."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..layout import Columns, Matrices
from ..sets._matrix import MatrixSet
from . import per_unit, strategy
from .closed_forms import ConeAndNorm
from .dykstra import Dykstra

# Passes of projecting onto one set after the other in the weights' own type, which usually settle after one or two.
_MAX_PASSES = 8
# Largest distance from each set, in roundings of the weights' type relative to a group, that counts as none.
_ROUNDINGS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Intersection(Constraint):
    """Groups that are in several sets at once: argmin_p ||p - x|| over { p : p in C_1, ..., p in C_m }.

    The nearest point of x has a formula for many sets:

    - nonneg, or boxes, with each other;
    - nonneg with a solid set (maxnorm, l1ball, topk, nm, l1topk, a box from -b to b);
    - topk or nm with those of them that are convex;
    - a cone (nonneg, topk, nm, zerosum) with maxnorm, unitnorm or minmaxnorm;
    - boxes or nonneg with hyperplane, halfspace, zerosum or simplex, or with l1ball;

    and follows from one multiplier, found by Newton's method, for all of these that are convex with maxnorm, and for
    l1ball with hyperplane, halfspace or zerosum. For other convex sets Dykstra's algorithm finds it, to within
    `accuracy` relative to the group. A set that is not convex must have a formula with the others. Proofs:
    docs/math/intersections.md.

    Convex if all sets are, and unique then; ties and zero groups are those of the set that decides them.

    Unless the sets only select and clip and at most the last one scales, the result is rounded to the weights' type and
    then projected onto one set after the other in that type, until it is in all of them to the last bit. If that never
    happens, because they share a single point that the type does not have, a point counts as feasible that is within
    four roundings of the group's norm, or `accuracy`, of each set, and the point before stays.

    All sets have the same groups. If some are matrix sets, a matrix is one group: `distance`, `norm` and `active` are
    then per matrix. A group that holds NaN or inf stays as it is.

    Attributes:
      sets: the sets, at least one; the first is the primary one. Intersections among them are flattened; they have no
        `axis` of their own.
      accuracy: where there is no formula, the change at which Dykstra's algorithm ends, relative to the group's norm.
      max_iterations: bound on its cycles; `solve` tells what was reached.

    References:
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017.
    """

    sets: tuple[Constraint, ...]
    accuracy: float = dataclasses.field(default=1e-10, kw_only=True)
    max_iterations: int = dataclasses.field(default=1000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("sets", self._checked_sets())
        if not (isinstance(self.accuracy, float) and 0.0 < self.accuracy < 1e-2):
            raise ValueError(f"accuracy={self.accuracy!r} must be a number above 0 and below 0.01, such as 1e-10.")
        if isinstance(self.max_iterations, bool) or not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise ValueError(f"max_iterations={self.max_iterations!r} must be a whole number of at least 1.")
        different = tuple(member for i, member in enumerate(self.sets) if member not in self.sets[:i])
        chosen = strategy.choose_strategy(different)
        if chosen is None:
            raise ValueError(strategy.unknown(different))
        self._set("_different", tuple(self.sets.index(member) for member in different))
        self._set("_strategy", chosen)
        self._set("convex", all(member.convex for member in self.sets))
        for trait in ("cone", "solid", "permutation_invariant", "separable"):
            self._set(trait, all(getattr(member, trait) for member in self.sets))
        common = tuple(name for name in self.sets[0].groupings if all(name in member.groupings for member in self.sets))
        if not common:
            raise ValueError(
                f"{strategy.listed(self.sets)} have no grouping in common, so no group of weights can be in all."
            )
        self._set("groupings", common)
        self._set("grouping", next((member.grouping for member in self.sets if member.grouping in common), common[0]))

    def solve(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Projects, and tells how well that went.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point, shape and type of `w`; float64, per group the largest distance from any set, of
          the point before it was rounded (inf for a group that holds NaN or inf); and the number of cycles of Dykstra's
          algorithm, an int32 scalar, 0 for a formula.
        """
        w, layout, constraint = self._grouped(w, axes)
        columns = layout.columns(w)
        x = tf.cast(columns, tf.float64)
        finite = numerics.finite_groups(self.flatten_groups(x))
        point = tf.where(self.broadcast_over_groups(finite), x, tf.zeros_like(x))
        stages = constraint._stages()
        iterations = tf.constant(0)
        for stage in stages:
            if isinstance(stage, Dykstra):
                point, _, iterations = stage.solve(point)
            else:
                point = stage._project(point, tf.float64)
        residual = tf.where(finite, constraint._furthest(point), math.inf)
        return layout.restore(constraint._project_in_dtype(columns)), layout.per_group(residual), iterations

    def residual(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The distance of each group from the set that it is furthest from.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes; inf for a group that holds NaN or inf.
        """
        w, layout, constraint = self._grouped(w, axes)
        x = tf.cast(layout.columns(w), tf.float64)
        return layout.per_group(
            tf.where(numerics.finite_groups(self.flatten_groups(x)), constraint._furthest(x), math.inf)
        )

    def at(self, step: Any) -> Intersection:
        return self._with(tuple(member.at(step) for member in self.sets))

    def bounds(self) -> dict[str, Any]:
        """Every set's hyperparameters, the primary one first. A name that an earlier set has gets the set's name as a
        prefix, as in `box_max_value`."""
        return {name: getattr(self.sets[i], field) for name, (i, field) in self._named().items()}

    def value(self, name: str) -> tf.Tensor:
        index, field = self._named()[name]
        return self.sets[index].value(field)

    def tolerance(self, dtype: tf.DType) -> float:
        room = 0.0 if self._is_exact() else max(_ROUNDINGS * numerics.epsilon(dtype), self.accuracy)
        return room + max(member.tolerance(dtype) for member in self.sets)

    def get_config(self) -> dict[str, Any]:
        sets = [keras.saving.serialize_keras_object(member) for member in self.sets]
        own = {"accuracy": self.accuracy, "max_iterations": self.max_iterations}
        return {"sets": sets, **own, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Intersection:
        config = {"sets" if key == "parts" else key: value for key, value in config.items()}  # Its earlier name.
        sets = tuple(keras.saving.deserialize_keras_object(member) for member in config["sets"])
        return super().from_config({**config, "sets": sets})

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        if 0 in x.shape:
            return x
        finite = self.broadcast_over_groups(numerics.finite_groups(self.flatten_groups(x)))
        p = tf.where(finite, x, tf.zeros_like(x))
        *first, solver = self._stages()
        for stage in first:
            p = stage._project(p, dtype)
        p = solver._project(p, dtype) if self._is_exact() else self._moved(p, solver, dtype)
        return tf.where(finite, p, x)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        if 0 in x.shape:
            return upstream
        return strategy.Chain(self._stages())._vjp(x, upstream, dtype)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        if 0 in w.shape:
            return w
        finite = self.broadcast_over_groups(numerics.finite_groups(self.flatten_groups(w)))
        first, solver = self._placed(self._strategy.first), self._stages()[-1]
        p = w
        for member in first:
            p = member._project_in_dtype(p)
        if isinstance(solver, ConeAndNorm) and self._is_exact():
            x = tf.cast(p, tf.float64)
            p = _unless_same(solver.before(x, w.dtype), x, p)
            for norm in solver.norms:
                p = norm._project_in_dtype(p)
        elif self._strategy.joint and self._is_exact():
            p = solver._project_in_dtype(p)
        elif self._strategy.joint:
            p = self._settled(tf.where(finite, p, tf.zeros_like(p)), solver)
        return tf.where(finite, p, w)

    def flatten_groups(self, x: tf.Tensor) -> tf.Tensor:
        return per_unit.flatten_groups(x)

    def broadcast_over_groups(self, values: tf.Tensor) -> tf.Tensor:
        return values[:, tf.newaxis, tf.newaxis] if self._mixed() else values

    def check_layout(self, layout: Columns) -> None:
        for member in self.sets:
            member.check_layout(layout if isinstance(member, MatrixSet) else Columns(layout.shape, layout.axes))

    def for_layout(self, layout: Columns) -> Intersection:
        plain = Columns(layout.shape, layout.axes)
        return self._with(
            tuple(member.for_layout(layout if isinstance(member, MatrixSet) else plain) for member in self.sets)
        )

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Of the first set with a `max_value` or a `total`, else of the first; the largest of a matrix's units."""
        bounded = [i for i, member in enumerate(self.sets) if {"max_value", "total"} & set(member.bounds())]
        return per_unit.placed(self.sets[bounded[0] if bounded else 0], self._mixed()).column_norms(x, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        sets = [per_unit.placed(member, self._mixed()) for member in self.sets]
        return tf.reduce_any(tf.stack([member.on_boundary(w) for member in sets]), axis=0)

    def _checked_sets(self) -> tuple[Constraint, ...]:
        given = tuple(self.sets) if isinstance(self.sets, (tuple, list)) else (self.sets,)
        wrong = [member for member in given if not isinstance(member, Constraint) or member.proximal]
        if wrong or not given:
            raise ValueError(f"sets={given!r} must be one set or more from `constraints`; {wrong or 'none'} is no set.")
        sets: list[Constraint] = []
        for member in given:
            sets += member.sets if isinstance(member, Intersection) else [member]
        for member in given:
            if member.axis is not None and member.axis != self.axis:
                raise ValueError(
                    f"axis={member.axis!r} of {strategy.name(member)} would group weights otherwise than axis="
                    f"{self.axis!r} of the intersection; give it to the intersection alone."
                )
        several = {member.each for member in sets if isinstance(member, MatrixSet)}
        if len(several) > 1:
            raise ValueError(
                f"each={' and each='.join(map(repr, several))} of {strategy.listed(sets)} make different groups; give "
                "all the same."
            )
        return tuple(sets)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _with(self, sets: tuple[Constraint, ...]) -> Intersection:
        """The same sets with other numbers. The strategy stays, because it rests on traits that hold at every step."""
        other = copy.copy(self)
        other._set("sets", sets)
        return other

    def _fixed(self) -> Intersection:
        return self._with(tuple(member._fixed() for member in self.sets))

    def _key(self) -> tuple:
        return type(self), self.axis, self.sets, self.accuracy, self.max_iterations

    def _named(self) -> dict[str, tuple[int, str]]:
        named: dict[str, tuple[int, str]] = {}
        for i, member in enumerate(self.sets):
            for field in member.bounds():
                candidates = (field, f"{strategy.name(member)}_{field}", f"{strategy.name(member)}_{i + 1}_{field}")
                named[next(name for name in candidates if name not in named)] = i, field
        return named

    def _mixed(self) -> bool:
        return any(isinstance(member, MatrixSet) for member in self.sets)

    def _layout(self, shape: tf.TensorShape, axes: Any) -> Columns:
        each = [member.each for member in self.sets if isinstance(member, MatrixSet)]
        return (
            Matrices.of(shape, self.axis if axes is None else axes, each[0]) if each else super()._layout(shape, axes)
        )

    def _placed(self, indices: tuple[int, ...]) -> list:
        return [per_unit.placed(self.sets[self._different[i]], self._mixed()) for i in indices]

    def _stages(self) -> list:
        """The projections of the strategy, in order: the first sets, and the joint solver."""
        joint = [self.sets[self._different[i]] for i in self._strategy.joint]
        solver = [strategy.joint_solver(joint, self._mixed(), self.accuracy, self.max_iterations)] if joint else []
        return [*self._placed(self._strategy.first), *solver]

    def _is_exact(self) -> bool:
        """Whether the sets' own rounding, one after the other, keeps the result in all of them."""
        joint = [self.sets[self._different[i]] for i in self._strategy.joint]
        rest = [member for member in joint if not (member.separable or member.matroid)]
        return len(joint) <= 1 or (
            all(isinstance(member, strategy.RadialSet) for member in rest)
            and isinstance(self._stages()[-1], ConeAndNorm)
        )

    def _furthest(self, x: tf.Tensor) -> tf.Tensor:
        """The largest distance from any set: [groups]."""
        sets = [per_unit.placed(member, self._mixed()) for member in self.sets]
        gaps = [numerics.l2(self.flatten_groups(x - member._project(x, tf.float64)), tf.float64) for member in sets]
        return tf.reduce_max(tf.stack(gaps), axis=0)

    def _near(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Whether each group counts as in all sets: [groups]."""
        room = max(_ROUNDINGS * numerics.epsilon(dtype), self.accuracy)
        size = numerics.l2(self.flatten_groups(x), tf.float64)
        return self._furthest(x) <= room * size + numerics.quantum(dtype) * self.flatten_groups(x).shape[0] ** 0.5

    def _moved(self, x: tf.Tensor, solver: Any, dtype: tf.DType) -> tf.Tensor:
        near = self._near(x, dtype)
        return tf.cond(
            tf.reduce_all(near),
            lambda: x,
            lambda: tf.where(self.broadcast_over_groups(near), x, solver._project(x, dtype)),
        )

    def _settled(self, w: tf.Tensor, solver: Any) -> tf.Tensor:
        """Solves and rounds: into all sets where that can be, else close to the nearest point."""
        x = tf.cast(w, tf.float64)
        start = _unless_same(self._moved(x, solver, w.dtype), x, w)
        sets = self._placed(self._strategy.joint)

        def onto_each(p: tf.Tensor, still: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            after = p
            for member in sets:
                after = member._project_in_dtype(after)
            unmoved = tf.equal(numerics.magnitude_bits(after), numerics.magnitude_bits(p))
            return after, tf.reduce_all(self.flatten_groups(unmoved), axis=0), count + 1

        start_state = start, tf.zeros([self.flatten_groups(x).shape[1]], tf.bool), tf.constant(0)
        p, still, _ = tf.while_loop(
            lambda _, still, count: ~tf.reduce_all(still) & (count < _MAX_PASSES), onto_each, start_state
        )
        return tf.where(self.broadcast_over_groups(still), p, start)


def _unless_same(p: tf.Tensor, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """p rounded to the type of w, and w itself, subnormals and all, where p is still its copy x."""
    same = tf.equal(tf.bitcast(p, tf.int64), tf.bitcast(x, tf.int64))
    return tf.where(same, w, numerics.nearest(p, w.dtype))
