"""Weights that stay zero where a pattern says so."""

from __future__ import annotations

import base64
import dataclasses
import math
from typing import Any, Self

import numpy as np
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import is_tensor
from ..layout import Columns


@dataclasses.dataclass(frozen=True, eq=False)
class Mask(Constraint):
    """Weights that are zero wherever a pattern is: { x : x_i = 0 where not pattern_i }, a linear subspace.

    The nearest point of x is x with these weights set to 0, weight by weight, and all others as they are. Convex,
    unique. A masked weight becomes 0.0 whatever it was, NaN and inf too, and a -0.0 there stays; NaN and inf elsewhere
    stay in their own weight. O(n), no rounding.

    Attributes:
      pattern: bool, of the weights' own shape, an array, a tensor or a variable: True where a weight may be non-zero.
        None: the zeros of the weights themselves, so that it changes nothing by itself. An array is compared by its
        values, a tensor or a variable is equal to itself only.

    References:
      Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", 2015.
      Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", 2019.
    """

    pattern: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", _checked(self.pattern))

    @classmethod
    def of(cls, w: Any, axis: int | tuple[int, ...] | None = None) -> Self:
        """The mask that keeps the zeros of these weights.

        Args:
          w: floating-point weights; a subnormal is not zero.
          axis: axes whose weights share one group.
        """
        pattern = numerics.nonzero(tf.convert_to_tensor(w))
        return cls(pattern.numpy() if hasattr(pattern, "numpy") else pattern, axis=axis)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return x if self.pattern is None else tf.where(self.pattern, x, numerics.zeros_of(x))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return upstream if self.pattern is None else tf.where(self.pattern, upstream, tf.zeros_like(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return self.project(w, w.dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        pattern = numerics.nonzero(w) if self.pattern is None else self.pattern
        return tf.reduce_any(~pattern, axis=0)

    def check_layout(self, layout: Columns) -> None:
        if self.pattern is not None and tuple(self.pattern.shape) != layout.shape:
            raise ValueError(
                f"A pattern of shape {tuple(self.pattern.shape)} does not fit weights of shape {layout.shape}; "
                "make it of these weights, as with `Mask.of(w)`."
            )

    def laid_out(self, layout: Columns) -> Mask:
        if self.pattern is None:
            return self
        return dataclasses.replace(self, pattern=layout.columns(tf.convert_to_tensor(self.pattern)))

    def get_config(self) -> dict[str, Any]:
        if self.pattern is None:
            return {"pattern": None, **super().get_config()}
        pattern = np.asarray(tf.convert_to_tensor(self.pattern))
        text = base64.b64encode(np.packbits(pattern).tobytes()).decode("ascii")
        return {"pattern": {"shape": list(pattern.shape), "bits": text}, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Mask:
        """Makes the mask that `get_config` described.

        Raises:
          ValueError: the bits are not as many as the shape says.
        """
        saved = config["pattern"]
        if saved is None:
            return super().from_config(config)
        size = math.prod(saved["shape"])
        packed = np.frombuffer(base64.b64decode(saved["bits"], validate=True), np.uint8)
        if packed.size != -(-size // 8):
            raise ValueError(
                f"A pattern of shape {tuple(saved['shape'])} takes {-(-size // 8)} bytes, not {packed.size}; "
                "its text was cut or changed."
            )
        pattern = np.unpackbits(packed, count=size).astype(bool).reshape(saved["shape"])
        return super().from_config({**config, "pattern": pattern})

    def _key(self) -> tuple:
        if self.pattern is None or is_tensor(self.pattern):
            return *super()._key(), id(self.pattern)
        return *super()._key(), self.pattern.shape, np.packbits(self.pattern).tobytes()


def _checked(pattern: Any) -> Any:
    """A tensor or a variable as it is, anything else as an array that nobody can change."""
    if pattern is None:
        return None
    if not is_tensor(pattern):
        pattern = np.array(pattern)
        pattern.setflags(write=False)
    if tf.as_dtype(pattern.dtype) != tf.bool:
        raise ValueError(
            f"pattern of type {tf.as_dtype(pattern.dtype).name} must be bool, True where a weight may be non-zero; "
            "compare it with 0, or use `Mask.of(w)`."
        )
    return pattern
