"""Makes a trained Keras model smaller without changing what it computes."""

from __future__ import annotations

from .compacting import Compacted, Kept, Removed, compact
from .multiply_adds import multiply_adds

__all__ = ["Compacted", "Kept", "Removed", "compact", "multiply_adds"]
