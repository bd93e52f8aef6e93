"""What `--class_weight` means: `balanced`, or a weight for each class, as in `0:1,1:5`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .checks import check_number

BALANCED = "balanced"


def parsed(asked: str | Mapping[Any, float]) -> str | dict[str, float]:
    """Reads the weights of classes.

    Args:
      asked: what the user wrote, or in Python a mapping of classes to weights.

    Returns:
      `balanced`, or class -> weight; a class is named by its name or number.

    Raises:
      ValueError: it is neither, or a weight is negative or not finite.
    """
    if asked == BALANCED:
        return BALANCED
    pairs = (
        list(asked.items()) if isinstance(asked, Mapping) else [part.rpartition(":")[::2] for part in asked.split(",")]
    )
    weights: dict[str, float] = {}
    for name, text in pairs:
        name = str(name).strip()
        try:
            weight = float(text)
        except ValueError:
            weight = float("nan")
        if not name or weight != weight or name in weights:
            problem = f"names the class {name} twice" if name and name in weights else "is not understood"
            raise ValueError(
                f"--class_weight={asked} {problem}; write balanced, or class:weight pairs such as 0:1,1:5."
            )
        check_number(f"--class_weight={asked}: the weight of {name}", weight, {"minimum": 0})
        weights[name] = weight
    return weights
