"""Unitarily invariant sets: matrices decided by their singular values alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..numerics import svd
from ._matrix import MatrixSet

# What maps a distance to be kept from the bound, float64 [groups], to the point as near to it: [groups, size, units].
Point = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Matrices as the formulas take them: finite, scaled, and no wider than tall.

    Attributes:
      z: float64 [groups, tall, short].
      unit: float64 [groups, 1, 1], what the weights were divided by; see `svd.unit_of`.
      finite: bool [groups]; the others' z is zero.
      shape: size and units, as they were.
    """

    z: tf.Tensor
    unit: tf.Tensor
    finite: tf.Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, x: tf.Tensor) -> Matrix:
        finite = tf.reduce_all(tf.math.is_finite(x), axis=[1, 2])
        safe = tf.where(finite[:, tf.newaxis, tf.newaxis], x, tf.zeros_like(x))
        unit = svd.unit_of(safe)
        matrix = cls(safe, unit, finite, (x.shape[1], x.shape[2]))
        return dataclasses.replace(matrix, z=matrix.transposed(safe / unit))

    def transposed(self, x: tf.Tensor) -> tf.Tensor:
        """Transposes matrices that are wider than tall, and back."""
        return tf.transpose(x, [0, 2, 1]) if self.shape[0] < self.shape[1] else x

    def scaled(self, value: tf.Tensor) -> tf.Tensor:
        """A bound as it applies to z: float64 scalar -> [groups]."""
        return tf.minimum(value / tf.abs(self.unit[:, 0, 0]), 1e300)

    @property
    def slack(self) -> float:
        """Relative error that float64 may leave in singular values, and in matrices made of them."""
        return numerics.slack(sum(self.shape))


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralSet(MatrixSet):
    """A set whose matrices `U diag(s) V^T` are decided by s: the nearest point is `U diag(f(s)) V^T`.

    By von Neumann's trace inequality the nearest point shares the singular vectors, so projecting a matrix is
    projecting the vector of its singular values. A subclass says f, and what counts as feasible.
    """

    matrices: ClassVar[bool] = True
    grouping: ClassVar[str] = "tensor"
    groupings: ClassVar[tuple[str, ...]] = ("tensor", "head", "gate")

    def certainly_feasible(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        """Which matrices are certainly feasible, as far as products tell without a decomposition: bool [groups]."""
        raise NotImplementedError(f"{type(self).__name__} must define `certainly_feasible`.")

    def is_feasible(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Which matrices are feasible.

        Args:
          matrix: the matrices.
          s: float64 [groups, short], the singular values of `matrix.z`, descending.
          dtype: the weights' own type.

        Returns:
          bool [groups].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `is_feasible`.")

    def project_spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """f(s), and where its slope is 1 rather than 0.

        Args:
          matrix: the matrices.
          s: float64 [groups, short], the singular values of `matrix.z`, descending.
          room: float64 [groups], how far to stay below the bound, on the scale of `matrix.z`.

        Returns:
          float64 and bool [groups, short].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `project_spectrum`.")

    def reconstruct(
        self, matrix: Matrix, s: tf.Tensor, u: tf.Tensor, v: tf.Tensor, f: tf.Tensor, slope: tf.Tensor
    ) -> tf.Tensor:
        """U diag(f) V^T, where a set does not have to choose among several nearest points: [groups, tall, short]."""
        return tf.matmul(u * f[:, tf.newaxis, :], v, transpose_b=True)

    def round_inside(self, matrix: Matrix, point: Point, dtype: tf.DType) -> tf.Tensor:
        """The nearest point in the weights' own type: [groups, size, units] of `dtype`."""
        return numerics.nearest(point(tf.zeros_like(matrix.unit[:, 0, 0])), dtype)

    def spectrum_jvp(self, diagonal: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
        """The derivative of f at s applied to a change of s: both [groups, short]."""
        return tf.where(slope, diagonal, 0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self._moved(x, x, dtype, lambda matrix, point: point(tf.zeros_like(matrix.unit[:, 0, 0])))

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        def rounded(matrix: Matrix, point: Point) -> tf.Tensor:
            p = self.round_inside(matrix, point, w.dtype)
            return tf.where(tf.equal(p, 0.0), tf.zeros_like(p), p)  # No -0.0.

        return self._moved(tf.cast(w, tf.float64), w, w.dtype, rounded)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Loewner's formula, see docs/math/matrices.md; all limits are finite, because f has slope 0 or 1."""
        if 0 in x.shape:
            return upstream
        matrix = Matrix.of(x)
        s, u, v = svd.svd(matrix.z)
        f, slope = self.project_spectrum(matrix, s, tf.zeros_like(s[:, 0]))
        along = tf.matmul(matrix.transposed(upstream), v)
        g = tf.matmul(u, along, transpose_a=True)
        mirrored = tf.transpose(g, [0, 2, 1])
        symmetric, antisymmetric = (g + mirrored) / 2.0, (g - mirrored) / 2.0
        straight = tf.cast(slope, x.dtype)
        differences = tf.math.divide_no_nan(_outer(f, -f), _outer(s, -s))
        same = tf.equal(slope[:, :, tf.newaxis], slope[:, tf.newaxis, :])
        differences = tf.where(same, straight[:, :, tf.newaxis], differences)
        sums = tf.where(_outer(s, s) > 0.0, tf.math.divide_no_nan(_outer(f, f), _outer(s, s)), differences)
        inner = differences * symmetric + sums * antisymmetric
        inner = tf.linalg.set_diag(inner, self.spectrum_jvp(tf.linalg.diag_part(g), slope))
        ratio = tf.where(s > 0.0, tf.math.divide_no_nan(f, s), straight)
        rest = (along - tf.matmul(u, g)) * ratio[:, tf.newaxis, :]
        moved = matrix.transposed(tf.matmul(tf.matmul(u, inner) + rest, v, transpose_b=True))
        if self.thin:
            return moved
        return tf.where(self.broadcast_over_groups(self.is_feasible(matrix, s, dtype)), upstream, moved)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        if 0 in w.shape:
            return tf.zeros([w.shape[0]], tf.bool)
        matrix = Matrix.of(tf.cast(w, tf.float64))
        return matrix.finite & self.spectrum_on_boundary(matrix, svd.singular_values(matrix.z), w.dtype)

    def spectrum_on_boundary(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Which matrices lie on the boundary; as `inside`."""
        raise NotImplementedError(f"{type(self).__name__} must define `spectrum_on_boundary`.")

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l2(self.flatten_groups(x), dtype)

    def _moved(
        self, x: tf.Tensor, w: tf.Tensor, dtype: tf.DType, rounded: Callable[[Matrix, Point], tf.Tensor]
    ) -> tf.Tensor:
        """w where feasible or not finite, and elsewhere what `rounded` makes of the points near to x, its copy."""
        if 0 in x.shape:
            return w
        matrix = Matrix.of(x)

        def moved() -> tf.Tensor:
            s, u, v = svd.svd(matrix.z)

            def point(room: tf.Tensor) -> tf.Tensor:
                f, slope = self.project_spectrum(matrix, s, room)
                return matrix.unit * matrix.transposed(self.reconstruct(matrix, s, u, v, f, slope))

            stays = ~matrix.finite | self.is_feasible(matrix, s, dtype)
            return tf.where(self.broadcast_over_groups(stays), w, rounded(matrix, point))

        return tf.cond(tf.reduce_all(~matrix.finite | self.certainly_feasible(matrix, dtype)), lambda: w, moved)


class Bounded(SpectralSet):
    """A ball of a norm of the singular values, whose bound must hold after rounding to the weights' own type."""

    def perturbation(self, error: tf.Tensor) -> tf.Tensor:
        """An upper bound on what adding a matrix may add to the norm: float64 [groups, tall, short] -> [groups]."""
        raise NotImplementedError(f"{type(self).__name__} must define `perturbation`.")

    def worst(self, frobenius: tf.Tensor, short: int) -> tf.Tensor:
        """The same of any matrix with such a Frobenius norm: float64 [groups] -> [groups]."""
        raise NotImplementedError(f"{type(self).__name__} must define `worst`.")

    def round_inside(
        self, matrix: Matrix, point: Point, dtype: tf.DType, added: Callable[[tf.Tensor], tf.Tensor] | None = None
    ) -> tf.Tensor:
        """Rounds to nearest a point that lies inside by what rounding adds to the norm (`added` or `perturbation`).

        That is measured, and measured again at a point moved by half as much again. Where that was not enough, the
        point is moved by as much as rounding can ever add.
        """
        perturbation = added or self.perturbation

        def attempt(room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            p = point(room)
            r = numerics.nearest(p, dtype)
            return p, r, perturbation(matrix.transposed((tf.cast(r, tf.float64) - p) / matrix.unit))

        none = tf.zeros_like(matrix.unit[:, 0, 0])
        if dtype == tf.float64:
            return point(none)
        p, _, error = attempt(none)
        room = 1.5 * error
        _, r, error = attempt(room)
        enough = error <= room

        def moved_further() -> tf.Tensor:
            size, units = matrix.shape
            unit = tf.abs(matrix.unit[:, 0, 0])
            # Float64 reaches some narrower types by way of float32, which rounds twice.
            relative = 0.5 * numerics.epsilon(dtype) * (1.0 + 2.0**-10) * svd.frobenius(p / matrix.unit)
            absolute = numerics.quantum(dtype) * (size * units) ** 0.5 / unit
            surely = self.worst(relative + absolute, min(size, units))
            return tf.where(self.broadcast_over_groups(enough), r, attempt(surely)[1])

        return tf.cond(tf.reduce_all(enough), lambda: r, moved_further)


def singular_values(x: tf.Tensor) -> tf.Tensor:
    """Singular values of each matrix, NaN where it is not finite: float64 [groups, size, units] -> [groups, short]."""
    if 0 in x.shape:
        return tf.zeros([x.shape[0], 1], x.dtype)
    matrix = Matrix.of(x)
    s = svd.singular_values(matrix.z) * tf.abs(matrix.unit[:, 0])
    return tf.where(matrix.finite[:, tf.newaxis], s, math.nan)


def _outer(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Sums of each entry of one with each of the other: [groups, n] -> [groups, n, n]."""
    return a[:, :, tf.newaxis] + b[:, tf.newaxis, :]
