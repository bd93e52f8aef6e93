"""What every set shares: groups, rounding, derivatives and measures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf

from . import numerics
from .configurable import Declared
from .layout import Columns

# Which weights of a network's layers can share one group; what each means is said where layers are known.
GROUPINGS = ("unit", "tensor", "network", "element", "head", "gate", "row")


@dataclasses.dataclass(frozen=True, eq=False)
class Constraint(Declared):
    """A set of weights, and the nearest point in it.

    Calling it projects: `constraint(w)` is, for each group of weights, the nearest feasible point. A feasible point
    comes back bit for bit, projecting twice is projecting once, and the result obeys the set after rounding to the
    weights' own type. A group that holds NaN or inf has no nearest point; it comes back as it is and touches no other
    group.

    Norms and sums are taken in float64, and this is how exact that is, for groups of n weights:

    - A group counts as feasible if its norm or sum exceeds its bound by at most (64 + n) 2^-52 of it, the error that a
      float64 sum may have (`numerics.slack`); where weights of both signs are added, of the sum of their magnitudes.
      Spheres and planes, which rounding misses, say how close counts as on them.
    - Each weight of a result is within two units in its last place (four in float64) of the nearest point's, or within
      (64 + n) 2^-52 of the group's largest weight, whichever is more. The second counts where weights nearly cancel, as
      what is left of such a weight is mostly rounding. The largest weight is that before projecting where a sum over
      larger weights decides (`halfspace`, `hyperplane`, `zerosum`, sets of whole matrices), else that after it.
    - Eager, in a graph and on every replica the result is the same to the bit. XLA adds in another order, and so does a
      graph from 2^20 weights on: that result is within the same bounds of the eager one. In types narrower than float64
      it is the same to the bit unless a sum's last bits decide how a weight is rounded.

    Sets that only copy or drop weights, such as `topk` and `mask`, round nothing and are the same everywhere.

    A subclass is one file: a dataclass (frozen, `eq=False` as tensors do not compare) whose fields are made by
    `hyperparameter` and whose `project` is the formula. It works as `kernel_constraint=` in any Keras layer, and saves
    and loads with it. Calling it is differentiable; see `pullback`.

    Attributes:
      convex: whether the set is convex, so that the nearest point is unique and projecting brings no two points further
        apart.
      proximal: whether it is no set but a penalty, see `constraints.penalties._base`.
      cone: whether a feasible group times any number of at least 0 is feasible.
      solid: whether a feasible group is feasible with any signs, and with any magnitudes made smaller.
      exchangeable: whether the order of a group's weights, a unit's in a `Joint` set, does not matter.
      per_weight: whether it is an interval for each weight.
      selects: whether projecting keeps the largest magnitudes of what makes a matroid (such as k of all), and nothing
        else of a group. This and the last four are what `constraints.intersection.intersection` builds on.
      carried: how many numbers of each group `continued` carries from one call to the next; 0 where it gains nothing.
      grouping: the groups it has when none are named, in code and in a rule: "unit" or "tensor" of `GROUPINGS`.
      groupings: all that it can be given.
    """

    convex: ClassVar[bool] = True
    proximal: ClassVar[bool] = False
    cone: ClassVar[bool] = False
    solid: ClassVar[bool] = False
    exchangeable: ClassVar[bool] = False
    per_weight: ClassVar[bool] = False
    selects: ClassVar[bool] = False
    carried: ClassVar[int] = 0
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
        w, layout, there = self._grouped(w, axes)
        fixed = there._fixed()

        @tf.custom_gradient
        def project(w: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return layout.restore(fixed.pulled_back(layout.columns(w), layout.columns(upstream)))

            return layout.restore(fixed.nearest(layout.columns(w))), gradient

        return project(w)

    def projected(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The same as calling it, without a gradient: cheaper in a training step, where nothing asks for one."""
        w, layout, there = self._grouped(w, axes)
        return layout.restore(there.nearest(layout.columns(w)))

    def continued(
        self, w: Any, carried: tf.Tensor, axes: int | tuple[int, ...] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same as `projected`, begun where it ended the last time: faster while weights move little in between.

        Args:
          w: floating-point weights, any static shape.
          carried: float32 [`self.carried`, groups], from the last call; zeros at first, and anything finite will do.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          The nearest feasible point, but for rounding whatever was carried; what to carry to the next call.
        """
        w, layout, there = self._grouped(w, axes)
        p, carried = there.nearest_from(layout.columns(w), carried)
        return layout.restore(p), carried

    def pull(self, w: Any, upstream: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The derivative of the projection at `w` applied to a direction, as back-propagation does.

        For a convex set it is symmetric, so that it also says where a small step along the direction would lead.

        Args:
          w: floating-point weights, any static shape.
          upstream: shape and type of `w`.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          Shape and type of `w`.
        """
        w, layout, there = self._grouped(w, axes)
        return layout.restore(there.pulled_back(layout.columns(w), layout.columns(tf.convert_to_tensor(upstream))))

    def distance(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """How far each group is from the set, before any rounding: l2 norm of `w` minus its nearest feasible point.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes; 0 inside, inf for a group that holds NaN or inf.
        """
        w, columns, there = self._grouped(w, axes)
        x = tf.cast(columns.columns(w), tf.float64)
        distance = numerics.l2(self.together(x - there.project(x, w.dtype)), w.dtype)
        return columns.per_group(tf.where(numerics.finite_groups(self.together(x)), distance, math.inf))

    def norm(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """The norm this set speaks of, comparable with its bound where it has one.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          float64, the shape of `w` without the axes.
        """
        w, columns, there = self._grouped(w, axes)
        return columns.per_group(there.column_norms(tf.cast(columns.columns(w), tf.float64), w.dtype))

    def active(self, w: Any, axes: int | tuple[int, ...] | None = None) -> tf.Tensor:
        """Whether each group is on the boundary of the set, where the constraint holds it back.

        Args:
          w: floating-point weights, any static shape.
          axes: axes whose weights share one group; None for the field `axis`.

        Returns:
          bool, the shape of `w` without the axes.
        """
        w, columns, there = self._grouped(w, axes)
        return columns.per_group(there.on_boundary(columns.columns(w)))

    def tolerance(self, dtype: tf.DType) -> float:
        """Relative amount by which a projected group's norm may miss its bound, once rounded to the type.

        Args:
          dtype: the weights' type.
        """
        return 2.0**-31

    def num_groups(self, shape: tf.TensorShape) -> int:
        """How many groups weights of a shape have."""
        return math.prod(self._layout(shape, None).group_shape)

    def check_shape(self, shape: tf.TensorShape) -> None:
        """Raises ValueError when the set cannot take weights of this shape."""
        self.check_layout(self._layout(shape, None))

    # What a set defines, on the canonical layout: [size, groups], one group a column.

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The formula: the nearest feasible point of each column.

        Where x is feasible, or a group holds NaN or inf, it must return x itself, to the bit.

        Args:
          x: float64 [size, groups].
          dtype: the weights' own type, which says how close counts as on a sphere.

        Returns:
          float64 [size, groups].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `project`, the nearest point of each column.")

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The derivative of `project` at x, transposed, applied to what flows back: by differentiating the formula.

        A set overrides it where that is wrong or undefined: through a loop, or a norm of zero. Groups that are not
        finite are none of its business.

        Args:
          x: float64 [size, groups].
          upstream: float64 [size, groups].
          dtype: the weights' own type.

        Returns:
          float64 [size, groups].
        """
        with tf.GradientTape() as tape:
            tape.watch(x)
            p = self.project(x, dtype)
        return tape.gradient(p, x, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Rounds a projection to the weights' type; toward zero by default, which keeps a bound on a norm.

        Args:
          p: float64 [size, groups], the projection.
          x: float64 [size, groups], what was projected.
          dtype: the weights' own type.

        Returns:
          [size, groups] of `dtype`.
        """
        return numerics.toward_zero(p, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        """Projects in float64 and rounds back; a set that needs neither overrides it.

        Args:
          w: [size, groups] of the weights' own type.

        Returns:
          [size, groups], the type of `w`.
        """
        x = tf.cast(w, tf.float64)
        p = self.project(x, w.dtype)
        # The weights themselves, not their float64 copy, whose subnormals were flushed to zero; and bits, as NaN equals
        # nothing.
        same = tf.equal(tf.bitcast(p, tf.int64), tf.bitcast(x, tf.int64))
        if w.dtype == tf.float64:
            same |= tf.equal(p, x)  # Times 1 flushed subnormals too.
        return numerics.either(same, w, self.rounded(p, x, w.dtype))

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`nearest`, begun where it ended the last time; a set that gains by it overrides it and `carried`."""
        return self.nearest(w), carried

    def pulled_back(self, w: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """`pullback` in the weights' own type; what flows back passes unchanged where a group is not finite."""
        x, flowing = tf.cast(w, tf.float64), tf.cast(upstream, tf.float64)
        finite = self.apart(numerics.finite_groups(self.together(x)))
        safe = tf.where(finite, x, tf.zeros_like(x))
        return tf.cast(tf.where(finite, self.pullback(safe, flowing, w.dtype), flowing), w.dtype)

    def together(self, x: tf.Tensor) -> tf.Tensor:
        """The canonical layout -> [weights, groups], each group's weights in one column."""
        return x

    def apart(self, values: tf.Tensor) -> tf.Tensor:
        """[groups] -> a shape that broadcasts over the canonical layout."""
        return values

    def check_layout(self, layout: Columns) -> None:
        """Raises ValueError when the set cannot take weights of this shape, grouped like this."""
        # AutoGraph cannot read a body that is a docstring alone, and would warn.
        return

    def laid_out(self, layout: Columns) -> Constraint:
        """The set for the canonical layout of a tensor: itself, unless a field has the tensor's own shape."""
        return self

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """float64 [size, groups] -> float64 [groups]: the norm the set speaks of."""
        return numerics.l2(x, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        """[size, groups] of the weights' own type -> bool [groups]: whether each column is on the boundary."""
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
        return w, layout, self.laid_out(layout)
