"""The checks that settings, rules and flags share."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any


def suggestion(name: Any, choices: Iterable[str], prefix: str = "") -> str:
    """`did you mean X? ` where one of the choices is much like a name; empty where none is."""
    close = difflib.get_close_matches(str(name), list(choices), n=1)
    return f"did you mean {prefix}{close[0]}? " if close else ""


def check_choice(written: str, name: Any, choices: Iterable[str], others: str = "") -> None:
    """Raises ValueError where a name is none of the choices.

    Args:
      written: the setting and the name as the user wrote them.
      name: the name.
      choices: the names there are.
      others: what else the setting takes, for the message.
    """
    known = list(choices)
    if not isinstance(name, str) or name not in known:
        hint = suggestion(name, known)
        raise ValueError(f"{written} is not known; {hint}choose from {', '.join(known)}{others}.")


def check_number(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raises ValueError when a number is not finite or outside `above`, `minimum`, `below` or `maximum`."""
    expected = [
        f"{words} {limits[key]:,}".replace(",", "")
        for key, words in (("above", "above"), ("minimum", "at least"), ("below", "below"), ("maximum", "at most"))
        if key in limits
    ]
    inside = (
        -math.inf < value < math.inf
        and value > limits.get("above", -math.inf)
        and value >= limits.get("minimum", -math.inf)
        and value < limits.get("below", math.inf)
        and value <= limits.get("maximum", math.inf)
    )
    if not inside:
        raise ValueError(
            f"{name}={value} is out of range; expected a finite number {' and '.join(expected)}.".replace("  ", " ")
        )
