"""Rules in one line, as a table of a file describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.settings import rules
from trainer.settings.rule import FLAGS, Rule


def rule_of(
    constraint: str = "none", values: Mapping[str, Any] | None = None, variables: Sequence[str] = (), **keys: Any
) -> Rule:
    """The rule that flags would make: keys of the registry joined by commas, and their values, numbers or tables."""
    table = {"constraint": constraint.split(","), **(values or {}), **keys}
    return rules.rule_from_table(table | ({"variables": list(variables)} if variables else {}), FLAGS)
