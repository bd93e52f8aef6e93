"""Train Keras models whose weights obey exact constraints.

This is the package as it is installed. It holds `constraints`, `models`, `trainer` and `presets`, and gives the public
names of `trainer` and `constraints`: `from constrained_training import MaxNorm, attach`.
"""

from __future__ import annotations

import importlib
from typing import Any

_PACKAGES = ("constraints", "models", "trainer")


def __getattr__(name: str) -> Any:
    """Imports a name when it is asked for: the program listens to signals before it imports TensorFlow."""
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    for home in () if name.startswith("_") else ("trainer", "constraints"):
        module = importlib.import_module(f".{home}", __name__)
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    public = [importlib.import_module(f".{home}", __name__).__all__ for home in ("trainer", "constraints")]
    return sorted({*globals(), *_PACKAGES, *public[0], *public[1]})
