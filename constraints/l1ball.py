"""The l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint
from constraints.fields import hyperparameter
from constraints.threshold import below_largest, onto_simplex, pulled_back

# Bounds, and multiples of them that a group may sum to, for which float32 passes steered in float64 lose nothing.
_USUAL_BOUND = 2.0**-30, 2.0**60
_USUAL_RATIO = 128.0

# Excess over the bound, relative to it, at which float32 has no more to say.
_ROUGH = 2.0**-17
_MAX_PASSES = 30
_TINY = 2.0**-120


@dataclasses.dataclass(frozen=True, eq=False)
class L1Ball(Constraint):
    """Groups whose magnitudes sum to at most `max_value`: the ball { x : sum |x_i| <= c }.

    The nearest point of x is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to c; weights below t become
    exactly 0. Convex, unique; inside the ball x stays. t is found without a sort, O(n) a pass; see
    `constraints.threshold`.

    All of this is done in float64. For more than a few float32 weights, where that would cost several training steps,
    only t is found in float64, and the passes are float32 arithmetic: the result is then within two units in the last
    place of the nearest point, and its sum still never above c. Where a group is NaN or inf, or its sum above 128 c,
    or c itself extreme, the variable is left to float64 all the same.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    solid: ClassVar[bool] = True
    exchangeable: ClassVar[bool] = True

    max_value: Any = hyperparameter(1.0, "Largest sum of magnitudes of a unit's incoming weights.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound = self.value("max_value")
        magnitude = tf.abs(x)
        total = tf.reduce_sum(magnitude, axis=0)
        inside = (total <= bound * (1.0 + numerics.slack(x.shape[0]))) | ~tf.math.is_finite(total)
        shrunk = onto_simplex(magnitude, bound, ~inside)
        outside = tf.where(shrunk > 0.0, tf.sign(x) * shrunk, 0.0)
        return tf.where(inside, x, outside)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        p = self.project(x, dtype)
        stays = tf.reduce_all(tf.equal(p, x), axis=0)
        return tf.where(stays, upstream, pulled_back(upstream, tf.sign(p)))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w):
            return super().nearest(w)
        bound = self.value("max_value")
        magnitude = tf.abs(w)
        total, error = numerics.column_sums(magnitude)
        rough = tf.cast(bound, tf.float32)
        # Next to lesser bounds, the subnormals that float32 flushes to zero could count.
        bounded = (bound > _USUAL_BOUND[0]) & (bound < _USUAL_BOUND[1])
        usual = bounded & tf.reduce_all(total <= rough * _USUAL_RATIO)  # Which NaN never is.

        def moved() -> tf.Tensor:
            exactly = numerics.rarely(lambda: super(L1Ball, self).nearest(w))
            return tf.cond(usual, lambda: _shrunk(w, magnitude, total, bound), exactly)

        # While all groups are well inside, which one sum in float32 can tell, there is nothing to do.
        return tf.cond(bounded & tf.reduce_all(total <= rough * (1.0 - error)), lambda: w, moved)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.l1(tf.cast(w, tf.float64)) >= self.value("max_value") * (1.0 - 1e-6)


def _shrunk(w: tf.Tensor, magnitude: tf.Tensor, total: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
    """Projects by float32 arithmetic, with thresholds of float64.

    Args:
      w: float32 [size, groups].
      magnitude: its magnitudes.
      total: float32 [groups], their sums, which are usual.
      bound: float64 scalar, above 0.

    Returns:
      float32 [size, groups].
    """
    if numerics.in_xla():
        threshold, excess, count = _exact(magnitude, bound)
    else:
        threshold, excess, count = _quick(magnitude, total, bound)
    # The excess was rounded twice, each time by up to half a unit in the last place; this factor takes one or two units
    # off, so that the sum stays within the bound.
    shrunk = excess * (1.0 - 2.0**-23)
    # One kernel for sign(w) * shrunk; then -0.0 becomes 0.0 by adding zeros that no optimizer knows to be zeros.
    signed = tf.raw_ops.LeakyReluGrad(gradients=shrunk, features=w, alpha=-1.0)
    outside = tf.nn.bias_add(signed, tf.cast(tf.nn.relu(-count), w.dtype))
    inside = threshold * count <= bound * numerics.slack(w.shape[0])
    return tf.cond(tf.reduce_any(inside), numerics.rarely(lambda: tf.where(inside, w, outside)), lambda: outside)


def _quick(magnitude: tf.Tensor, total: tf.Tensor, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Each column's threshold (0 inside), and what exceeds it: `_exact` in fewer passes.

    The secant method in float32, as sums cost less than counts, then one step of Newton's in float64: exact where it
    leaves the support as it was. The few columns where it does not are taken out and solved.

    Args:
      magnitude: float32 [size, groups], at least 0.
      total: float32 [groups], their sums.
      bound: float64 scalar, above 0.

    Returns:
      float64 [groups], the thresholds; float32 [size, groups], the excess; float64 [groups], its non-zeros.
    """
    near = _nearly(magnitude, total, tf.cast(bound, tf.float32))
    before = _support(near)
    chosen = tf.cast(tf.raw_ops.ReluGrad(gradients=magnitude, features=near), tf.float64)
    threshold = tf.nn.relu(tf.reduce_sum(chosen, axis=0) - bound) / tf.maximum(before, 1.0)
    excess = _excess(magnitude, threshold)
    count = _support(excess)
    wrong = tf.not_equal(count, before)

    def mended() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        columns = tf.where(wrong)
        exact, _, _ = _exact(tf.gather(magnitude, columns[:, 0], axis=1), bound)
        better = tf.tensor_scatter_nd_update(threshold, columns, exact)
        excess = _excess(magnitude, better)
        return better, excess, _support(excess)

    return tf.cond(tf.reduce_any(wrong), numerics.rarely(mended), lambda: (threshold, excess, count))


def _exact(magnitude: tf.Tensor, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The same in float64 throughout."""
    x = tf.cast(magnitude, tf.float64)
    largest = tf.reduce_max(x, axis=0)
    threshold = tf.nn.relu(largest + below_largest(x - largest, bound, tf.ones_like(largest, tf.bool)))
    excess = _excess(magnitude, threshold)
    return threshold, excess, _support(excess)


def _nearly(magnitude: tf.Tensor, total: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
    """What exceeds a threshold just below the true one.

    The secant method from below: the sum of the excess is convex and decreasing in the threshold, so that a secant
    falls more steeply than the curve beyond it and no step goes too far. The excess over one threshold is all that the
    next one needs, so it is shrunk in place.

    Args:
      magnitude: float32 [size, groups], at least 0.
      total: float32 [groups], their sums.
      bound: float32 scalar.

    Returns:
      float32 [size, groups].
    """

    def improve(excess: tf.Tensor, total: tf.Tensor, slope: tf.Tensor, passes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        step = tf.nn.relu(total - bound) / slope
        less = tf.nn.relu(tf.nn.bias_add(excess, -step))
        rest, _ = numerics.column_sums(less)
        return less, rest, tf.clip_by_value((total - rest) / tf.maximum(step, _TINY), 1.0, slope), passes + 1

    def far(excess: tf.Tensor, total: tf.Tensor, slope: tf.Tensor, passes: tf.Tensor) -> tf.Tensor:
        return (tf.reduce_max(total) > bound * (1.0 + _ROUGH)) & (passes < _MAX_PASSES)

    start = magnitude, total, tf.fill(total.shape, float(magnitude.shape[0])), 0
    return tf.while_loop(far, improve, start)[0]


def _excess(magnitude: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """max(magnitude - threshold, 0) within a unit in the last place: float32 from float32 and float64 [groups]."""
    high = tf.cast(threshold, tf.float32)
    # Never too low, so that no sum grows.
    rest = threshold - tf.cast(high, tf.float64)
    low = tf.cast(rest + tf.abs(rest) * 2.0**-23, tf.float32)
    return tf.nn.relu(tf.nn.bias_add(tf.nn.bias_add(magnitude, -high), -low))


def _support(excess: tf.Tensor) -> tf.Tensor:
    """Number of entries above 0 of each column: float64 [groups]."""
    return tf.cast(numerics.column_sums(tf.sign(excess))[0], tf.float64)
