"""Data sets that need no network: TFDS builders over what ships inside scikit-learn, and a synthetic one.

`python -m trainer.data NAME [--data_dir=DIR]` prepares a data set, downloading it where that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["REGISTRY", "SYNTHETIC"]

SYNTHETIC = "synthetic"


# The classes are imported when they are asked for: their base class lives in tensorflow_datasets, which is slow to
# import.
def _breast_cancer() -> Any:
    from .breast_cancer import BreastCancer

    return BreastCancer


def _digits() -> Any:
    from .digits import Digits

    return Digits


REGISTRY: dict[str, Callable[[], Any]] = {
    "breast_cancer": _breast_cancer,
    "digits": _digits,
}
