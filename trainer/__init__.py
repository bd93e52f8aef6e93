"""Trains Keras models whose weights obey exact constraints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rules.attach import attach
    from .settings.rule import Rule
    from .settings.run import RunSettings
    from .training.callback import Constrain
    from .training.load_data import load_data
    from .training.model_file import load
    from .training.targets import Targets, match
    from .training.trainer import Trainer

# Where each public name lies. It is imported when it is asked for: the program listens to signals before it imports
# TensorFlow.
_HOMES = {
    "Constrain": "training.callback",
    "Rule": "settings.rule",
    "RunSettings": "settings.run",
    "Targets": "training.targets",
    "Trainer": "training.trainer",
    "attach": "rules.attach",
    "load": "training.model_file",
    "load_data": "training.load_data",
    "match": "training.targets",
}
__all__ = ["Constrain", "Rule", "RunSettings", "Targets", "Trainer", "attach", "load", "load_data", "match"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
