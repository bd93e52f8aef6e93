"""How the settings of two runs differ, in the words of the command line."""

from __future__ import annotations

from typing import Any

from .rule import flag_of

# Flags that a refusal lists; more of them are another run, not a slip.
MOST = 10


def as_flags(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings in the words of the command line: one entry a flag, rules told apart by their number."""
    flags = {name: value for name, value in settings.items() if name not in ("rules", "model_options")}
    flags |= settings.get("model_options", {})
    for number, rule in enumerate(settings["rules"], start=1):
        prefix = f"rule {number}: " if len(settings["rules"]) > 1 else ""
        schedules = [key for key, value in rule.items() if isinstance(value, dict)]
        for key, value in rule.items():
            if not isinstance(value, dict):
                flags[prefix + flag_of(key)] = value
                continue
            # Flags know one schedule; only a file of rules can have more, and theirs must not hide each other.
            own = f"{prefix}{key}: " if len(schedules) > 1 else prefix
            flags |= {own + flag_of(name, key): part for name, part in value.items()}
    return flags


def described(earlier: dict[str, Any], settings: dict[str, Any]) -> str:
    """The flags in which the settings of an earlier run differ from these: a line each, `MOST` at the most."""
    try:
        before, now = as_flags(earlier), as_flags(settings)
        shown = {name: (_shown(before.get(name)), _shown(now.get(name))) for name in sorted(before.keys() | now.keys())}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return "its settings are not readable by this version"
    lines = [
        f"{'' if ': ' in name else '--'}{name}: {there} there, {here} here"
        for name, (there, here) in shown.items()
        if there != here
    ]
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return "\n  ".join(lines[:MOST] + more)


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
