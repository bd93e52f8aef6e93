"""What every set shares: groups, rounding, derivatives and measures."""

from __future__ import annotations

import dataclasses
import importlib
import math
from types import ModuleType
from typing import Any, ClassVar

import tensorflow as tf

from . import numerics
from .configurable import Configurable
from .layout import Columns

# Which weights of a network's layers can share one group; what each means is said where layers are known.
GROUPINGS = ("unit", "tensor", "network", "element", "head", "gate", "row")

# Fast paths: the module that defines a formula -> its module in `constraints.fast`, imported at the first projection.
# A fast path equals the formula within two units in the last place. To delete one, delete its file and its line.
FAST_PATHS = {
    "penalties.elasticnet": "softthreshold",
    "penalties.groupsoft": "softthreshold",
    "penalties.softthreshold": "softthreshold",
    "sets._radial": "radial",
    "sets.block": "block",
    "sets.box": "interval",
    "sets.l1ball": "l1ball",
    "sets.l1infball": "l1infball",
    "sets.l1topk": "l1topk",
    "sets.l21ball": "l21ball",
    "sets.lowrank": "lowrank",
    "sets.nm": "nm",
    "sets.nonneg": "interval",
    "sets.simplex": "simplex",
    "sets.spectral": "spectral",
    "sets.topk": "topk",
    "sets.unitsparse": "unitsparse",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Constraint(Configurable):
    """A set of weights, and the nearest point in it.

    Calling it projects: `constraint(w)` is, for each group of weights, the nearest feasible point. A feasible point
    comes back bit for bit, projecting twice is projecting once, and the result obeys the set after rounding to the
    weights' own type. A group that holds NaN or inf has no nearest point; it comes back as it is and touches no other
    group. Subnormal weights may become 0, and -0.0 may become 0.0, because TensorFlow's arithmetic flushes them.

    Norms and sums are taken in float64. Each weight of a result is within two units in its last place (four in float64)
    of the nearest point's, or within (64 + n) 2^-52 of the largest of the group's n weights. Eager, in a graph and on
    every replica the result is the same to the bit; XLA, and a graph from 2^20 weights on, add in another order. See
    docs/concepts/feasibility.md.

    A subclass is one file: a dataclass (frozen, `eq=False` because tensors do not compare) whose fields are made by
    `hyperparameter`, with the formula `_project` and the boundary `on_boundary`. It works as `kernel_constraint=` in
    any Keras layer, and saves and loads with it. Calling it is differentiable; see `vjp`.

    Attributes:
      convex: whether the set is convex. Then the nearest point is unique and projecting brings no points further apart.
      proximal: whether it is a penalty rather than a set, see `constraints.penalties._base`.
      cone: whether a feasible group times any number of at least 0 is feasible.
      solid: whether a feasible group stays feasible when signs change or magnitudes shrink.
      permutation_invariant: whether the order of a group's weights (of a unit's in a `MatrixSet`) does not matter.
      thin: whether the set has no interior, so that every feasible group is on the boundary and rounding misses it.
      separable: whether the set is an interval for each weight.
      matroid: whether the projection keeps the largest-magnitude independent set of a matroid (for topk, any k
        weights) and zeroes the rest. `constraints.intersection` builds on this and the last four.
      warm_start: how many numbers of each group `project_warm` hands from one call to the next; 0 where it gains
        nothing.
      grouping: the groups that it has when none are named, in code and in a rule: "unit" or "tensor" of `GROUPINGS`.
      groupings: all that it can be given.
    """

    convex: ClassVar[bool] = True
    proximal: ClassVar[bool] = False
    cone: ClassVar[bool] = False
    solid: ClassVar[bool] = False
    permutation_invariant: ClassVar[bool] = False
    thin: ClassVar[bool] = False
    separable: ClassVar[bool] = False
    matroid: ClassVar[bool] = False
    warm_start: ClassVar[int] = 0
    grouping: ClassVar[str] = "unit"
    groupings: ClassVar[tuple[str, ...]] = GROUPINGS

    def __call__(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """Projects weights onto the set.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point: shape and type of `w`.

        Raises:
          ValueError: a hyperparameter is a schedule (use `at(step)`), an axis does not exist, or `w` is not
            floating-point.
        """
        w, layout, constraint = self._grouped(w, axes)
        fixed = constraint._fixed()

        @tf.custom_gradient
        def project(w: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return layout.restore(fixed._vjp_in_dtype(layout.columns(w), layout.columns(upstream)))

            return layout.restore(fixed._project_in_dtype(layout.columns(w))), gradient

        return project(w)

    def project(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The same as calling it, without a gradient, which makes it cheaper in a training step."""
        w, layout, constraint = self._grouped(w, axes)
        return layout.restore(constraint._project_in_dtype(layout.columns(w)))

    def project_warm(
        self, w: Any, warm_start: tf.Tensor, axes: int | tuple[int, ...] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same as `project`, started where the last call ended: faster while weights move little in between.

        Args:
          w: floating-point weights, any static shape.
          warm_start: float32 [`self.warm_start`, groups] from the last call; zeros at first. Any finite numbers give
            the same point up to rounding.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point, and the warm start of the next call.
        """
        w, layout, constraint = self._grouped(w, axes)
        p, warm_start = constraint._project_warm(layout.columns(w), warm_start)
        return layout.restore(p), warm_start

    def vjp(self, w: Any, upstream: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The transposed derivative of the projection at `w`, applied to a direction, as back-propagation does.

        For a convex set the derivative is symmetric, so this is also where a small step along the direction leads.

        Args:
          w: floating-point weights, any static shape.
          upstream: shape and type of `w`.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          Shape and type of `w`.
        """
        w, layout, constraint = self._grouped(w, axes)
        return layout.restore(
            constraint._vjp_in_dtype(layout.columns(w), layout.columns(tf.convert_to_tensor(upstream)))
        )

    def distance(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """How far each group is from the set, before any rounding: l2 norm of `w` minus its nearest feasible point.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes; 0 inside, inf for a group that holds NaN or inf.
        """
        w, columns, constraint = self._grouped(w, axes)
        x = tf.cast(columns.columns(w), tf.float64)
        distance = numerics.l2(self.flatten_groups(x - constraint._project(x, w.dtype)), w.dtype)
        return columns.per_group(tf.where(numerics.finite_groups(self.flatten_groups(x)), distance, math.inf))

    def norm(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The norm this set speaks of, comparable with its bound where it has one.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes.
        """
        w, columns, constraint = self._grouped(w, axes)
        return columns.per_group(constraint.column_norms(tf.cast(columns.columns(w), tf.float64), w.dtype))

    def active(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """Whether each group is on the boundary of the set, where the constraint holds it back.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          bool, the shape of `w` without the axes.
        """
        w, columns, constraint = self._grouped(w, axes)
        return columns.per_group(constraint.on_boundary(columns.columns(w)))

    def tolerance(self, dtype: tf.DType) -> float:
        """Relative amount by which a projected group's norm may miss its bound, once rounded to the type.

        Args:
          dtype: the weights' type.
        """
        return 2.0**-31 + (2.0 * numerics.epsilon(dtype) if self.thin else 0.0)

    def num_groups(self, shape: tf.TensorShape) -> int:
        """How many groups weights of a shape have."""
        return math.prod(self._layout(shape, None).group_shape)

    def check_shape(self, shape: tf.TensorShape) -> None:
        """Raises ValueError when the set cannot take weights of this shape."""
        self.check_layout(self._layout(shape, None))

    # What a set defines, on the canonical layout: [size, groups], one group a column.

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The formula: the nearest feasible point of each column.

        Where x is feasible, or a group holds NaN or inf, it must return x itself, to the bit.

        Args:
          x: float64 [size, groups].
          dtype: the weights' own type, which says how close counts as on a sphere.

        Returns:
          float64 [size, groups].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `_project`, the nearest point of each column.")

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The transposed derivative of `_project` at x applied to `upstream`, by differentiating the formula.

        A set overrides it where automatic differentiation fails: through a loop, or a norm of zero. Groups that are not
        finite are ignored.

        Args:
          x: float64 [size, groups].
          upstream: float64 [size, groups].
          dtype: the weights' own type.

        Returns:
          float64 [size, groups].
        """
        with tf.GradientTape() as tape:
            tape.watch(x)
            p = self._project(x, dtype)
        return tape.gradient(p, x, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Rounds a projection to the weights' type; toward zero by default, which keeps a bound on a norm.

        Args:
          p: float64 [size, groups], the projection.
          x: float64 [size, groups], what was projected.
          dtype: the weights' own type.

        Returns:
          [size, groups] of `dtype`.
        """
        return numerics.toward_zero(p, dtype)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        """Projects in float64 and rounds back; a set that only selects weights overrides it.

        Args:
          w: [size, groups] of the weights' own type.

        Returns:
          [size, groups], the type of `w`.
        """
        x = tf.cast(w, tf.float64)
        p = self._project(x, w.dtype)
        # Compare bits, because NaN equals nothing.
        same = tf.equal(tf.bitcast(p, tf.int64), tf.bitcast(x, tf.int64))
        return tf.where(same, w, self._round(p, x, w.dtype))

    def _project_in_dtype(self, w: tf.Tensor) -> tf.Tensor:
        """`_project_reference`, or the set's fast path where one takes these weights."""
        fast = _fast_path(type(self))
        p = fast.project(self, w) if fast else None
        return self._project_reference(w) if p is None else p

    def _project_warm(self, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`_project_in_dtype`, started where the last call ended if the set's fast path can."""
        fast = _fast_path(type(self)) if self.warm_start else None
        return fast.project_warm(self, w, warm_start) if fast else (self._project_in_dtype(w), warm_start)

    def _vjp_in_dtype(self, w: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """`_vjp` in the weights' own type; `upstream` passes unchanged where a group is not finite."""
        x, flowing = tf.cast(w, tf.float64), tf.cast(upstream, tf.float64)
        finite = self.broadcast_over_groups(numerics.finite_groups(self.flatten_groups(x)))
        safe = tf.where(finite, x, tf.zeros_like(x))
        return tf.cast(tf.where(finite, self._vjp(safe, flowing, w.dtype), flowing), w.dtype)

    def flatten_groups(self, x: tf.Tensor) -> tf.Tensor:
        """The canonical layout -> [weights, groups], each group's weights in one column."""
        return x

    def broadcast_over_groups(self, values: tf.Tensor) -> tf.Tensor:
        """[groups] -> a shape that broadcasts over the canonical layout."""
        return values

    def check_layout(self, layout: Columns) -> None:
        """Raises ValueError when the set cannot take weights of this shape, grouped like this."""
        # AutoGraph cannot read a body that is a docstring alone, and would warn.
        return

    def for_layout(self, layout: Columns) -> Constraint:
        """The set for the canonical layout of a tensor: itself, unless a field has the tensor's own shape."""
        return self

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """float64 [size, groups] -> float64 [groups]: the norm the set speaks of."""
        return numerics.l2(x, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        """[size, groups] of the weights' own type -> bool [groups]: whether each column is on the boundary."""
        if self.thin:
            return tf.ones([w.shape[1]], tf.bool)
        raise NotImplementedError(f"{type(self).__name__} must define `on_boundary`.")

    def _layout(self, shape: tf.TensorShape, axes: Any) -> Columns:
        axes = self.axis if axes is None else axes
        if axes is None and self.grouping == "tensor":
            axes = tuple(range(shape.rank or 0))
        return Columns.of(shape, axes)

    def _grouped(self, w: Any, axes: Any) -> tuple[tf.Tensor, Columns, Constraint]:
        w = tf.convert_to_tensor(w)
        if not w.dtype.is_floating:
            raise ValueError(f"Weights of type {w.dtype.name} cannot be projected; cast them to a floating-point type.")
        layout = self._layout(w.shape, axes)
        self.check_layout(layout)
        return w, layout, self.for_layout(layout)


def _fast_path(kind: type[Constraint]) -> ModuleType | None:
    """The fast path of a class's formula; a class that changes how an inherited set projects has none."""
    package = __name__.rpartition(".")[0]
    for base in kind.__mro__:
        name = FAST_PATHS.get(base.__module__.removeprefix(f"{package}."))
        if name:
            return importlib.import_module(f"{package}.fast.{name}")
        if {"_project", "_project_reference", "_round"} & vars(base).keys():
            return None
    return None
