"""How the settings of two runs differ, in the words of the command line."""

from __future__ import annotations

from typing import Any

from .config import Config

# Flags that a refusal lists; more of them are another run, not a slip.
MOST = 10


def as_flags(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings in the words of the command line: one entry a flag, rules told apart by their number."""
    flags = {name: value for name, value in settings.items() if name not in ("rules", "model_options")}
    flags |= settings["model_options"]
    for number, rule in enumerate(settings["rules"], start=1):
        prefix = f"rule {number}: " if len(settings["rules"]) > 1 else ""
        for name, value in rule.items():
            if name != "values":
                flags[prefix + name] = value
        several = sum(isinstance(value, dict) for value in rule["values"].values()) > 1
        for field, value in rule["values"].items():
            if isinstance(value, dict):
                # Flags know one schedule; only a file of rules can have more, and theirs must not hide each other.
                own = f"{prefix}{field}: " if several else prefix
                words = {"initial": "initial_value", "final": field, "value": field}
                flags[own + "schedule"] = value["name"]
                flags |= {own + words.get(option, option): part for option, part in value["options"].items()}
            else:
                flags[prefix + field] = value
    return flags


def described(settings: dict[str, Any], config: Config) -> str:
    """The flags in which the settings of an earlier run differ from these: a line each, `MOST` at the most."""
    try:
        before, now = as_flags(settings), as_flags(config.identity())
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
