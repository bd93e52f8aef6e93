"""Trains Keras models whose weights obey exact constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rules.attach import attach

__all__ = ["attach"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for: the program listens to signals before it imports TensorFlow."""
    if name == "attach":
        from .rules.attach import attach

        return attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
