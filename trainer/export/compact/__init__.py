"""Makes a trained Keras model smaller without changing what it computes."""

from __future__ import annotations

from .compacting import Compacted, Kept, Removed, compact
from .low_rank import Factored, LowRank, low_rank
from .multiply_adds import multiply_adds

__all__ = ["Compacted", "Factored", "Kept", "LowRank", "Removed", "compact", "low_rank", "multiply_adds"]
