"""A pattern of bools as a field: checked, compared, and saved as packed bits."""

from __future__ import annotations

import base64
import dataclasses
import math
from typing import Any, Self

import numpy as np
import tensorflow as tf

from ..base import Constraint
from ..hyperparameters import is_tensor
from ..layout import Columns


@dataclasses.dataclass(frozen=True, eq=False)
class PatternSet(Constraint):
    """A set with a pattern, a bool for each weight."""

    pattern: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", _checked(self.pattern))

    def check_layout(self, layout: Columns) -> None:
        if self.pattern is not None and tuple(self.pattern.shape) != layout.shape:
            raise ValueError(
                f"A pattern of shape {tuple(self.pattern.shape)} does not fit weights of shape {layout.shape}; "
                "make it of these weights, as with `Mask.of(w)`."
            )

    def get_config(self) -> dict[str, Any]:
        if self.pattern is None:
            return {"pattern": None, **super().get_config()}
        pattern = np.asarray(tf.convert_to_tensor(self.pattern))
        text = base64.b64encode(np.packbits(pattern).tobytes()).decode("ascii")
        return {"pattern": {"shape": list(pattern.shape), "bits": text}, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the set that `get_config` described.

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
