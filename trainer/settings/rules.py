"""The parser of rules: a table, from a TOML file or made of flags, becomes a `Rule`."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ..packages import constraints
from . import user_files
from .checks import check_choice, suggestion
from .rule import FLAGS, Rule, flag_of, in_words_of, written

KEYS = tuple(field.name for field in dataclasses.fields(Rule) if field.name != "source")
# Old names of keys and flags that still work.
RENAMED = {"spread": "sparsity_distribution", "rate": "relaxation", "pattern_from": "mask_from"}
# The options of sets that make the pattern of zeros that a target runs fastest, see docs/reference/export.md.
PATTERNS: dict[str, dict[str, Any]] = {"tflite": {"block": (16, 1)}}
TARGETS = tuple(PATTERNS)


def load(path: str, target: str | None = None) -> tuple[Rule, ...]:
    """Reads the rules of a file: an array of `[[rule]]` tables.

    Args:
      path: the TOML file.
      target: one of `TARGETS`, whose pattern is the default of sets that take one.

    Returns:
      The rules in the file's order, at least one.

    Raises:
      ValueError: the file cannot be read, is not TOML, or a rule has an unknown key, a missing key or a value of the
        wrong type; the message names file, rule and key.
    """
    text = user_files.read_text(path, "--rules", "a TOML file")
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        # Not TOML, or a number of more digits than Python reads.
        raise ValueError(f"--rules={path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ValueError(f"--rules={path} is nested too deeply; expected an array of [[rule]] tables.") from None
    tables = document.get("rule")
    if set(document) != {"rule"} or not isinstance(tables, list) or not tables:
        raise ValueError(
            f"{path} holds {', '.join(document) or 'nothing'}; expected an array of [[rule]] tables and nothing else."
        )
    return rules_from_tables([_aimed(table, target) for table in tables], path)


def pattern(names: Sequence[str], target: str | None) -> dict[str, Any]:
    """The options that sets have by default for a target.

    Args:
      names: keys of the registry.
      target: one of `TARGETS`; None: no option has another default.
    """
    own = fields_of(names)
    return {name: value for name, value in PATTERNS.get(target or "", {}).items() if name in own}


def _aimed(table: Any, target: str | None) -> Any:
    """A `[[rule]]` table with the options for a target, where it is a table that leaves them out."""
    if not isinstance(table, Mapping):
        return table
    named = table.get("constraint")
    # Whatever else stands there is refused later, with a message.
    names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
    return {**pattern([name for name in names if name in constraints.REGISTRY], target), **table}


def rules_from_tables(tables: Sequence[Any], file: str = "") -> tuple[Rule, ...]:
    """Makes the rule of each table.

    Args:
      tables: the tables, with the keys of a rule and of its constraint.
      file: where they stand, for messages.

    Raises:
      ValueError: a table is no rule; the message names the key.
    """
    where = f"{file}, rule " if file else "rule "
    return tuple(rule_from_table(table, f"{where}{number}") for number, table in enumerate(tables, start=1))


def rule_from_table(table: Any, source: str) -> Rule:
    """Makes the rule of a table.

    Args:
      table: `constraint`, a key of the registry or a list of them; the values of these sets, numbers or tables of a
        schedule; and any of `KEYS`.
      source: where it stands, or `FLAGS`.

    Raises:
      ValueError: the table is no rule; the message names the key.
    """
    values = table if isinstance(table, Mapping) else {}
    try:
        return _rule(table, source)
    except (TypeError, ValueError) as error:
        message = in_words_of(source, str(error), values)
        raise ValueError(message if source == FLAGS else f"{source}: {message}") from None


def sets_named(value: Any, source: str) -> list[str]:
    """The keys of a rule's sets, from one name or a list.

    Raises:
      ValueError: there are none, or one is not in the registry.
    """
    names = list(value) if isinstance(value, (list, tuple)) else [value]
    if not any(names):
        raise ValueError(
            f"{_shown('constraint', source)} is empty; leave it out, or choose from {', '.join(constraints.REGISTRY)}."
        )
    for name in names:
        check_choice(written("constraint", name, source), name, constraints.REGISTRY)
    return names


def fields_of(names: Sequence[str]) -> dict[str, dataclasses.Field]:
    """The hyperparameters and options that sets take, the first set's first.

    Args:
      names: keys of the registry.
    """
    kinds = [constraints.REGISTRY[name] for name in names]
    return {field.name: field for kind in kinds for field in (*kind.hyperparameters(), *kind.options())}


def _rule(table: Any, source: str) -> Rule:
    if not isinstance(table, Mapping):
        raise ValueError("is not a table; write [[rule]] above its keys.")
    table = _renamed(table, source)
    if "constraint" not in table:
        raise ValueError(f"has no `constraint`; choose from {', '.join(constraints.REGISTRY)}.")
    names = sets_named(table["constraint"], source)
    own = fields_of(names)
    for key, value in table.items():
        if key not in (*KEYS, *own) and not (len(names) > 1 and key in names):
            raise ValueError(_foreign(key, value, names, source))
        if key in ("variables", "layer_type") and value == []:
            raise ValueError(f"{_shown(key, source)} is an empty list; leave it out for all of them.")
    sets = [_set(name, table, names, source) for name in names]
    options = {key: value for key, value in table.items() if key in KEYS and key != "constraint"}
    return Rule(sets, **options, source=source)


def _renamed(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    for old, new in RENAMED.items():
        if old in table and new in table:
            raise ValueError(f"{_shown(old, source)} is the old name of {_shown(new, source)}; leave it out.")
    return {RENAMED.get(key, key): value for key, value in table.items()}


def _set(name: str, table: Mapping[str, Any], names: Sequence[str], source: str) -> constraints.Constraint:
    """One set of a rule, with the values for all that take them and those for it alone (`box.max_value = 1`)."""
    own = fields_of([name])
    values = {key: _value(key, own[key], value, source) for key, value in table.items() if key in own}
    alone = table[name] if len(names) > 1 and name in table and name not in fields_of(names) else {}
    if not isinstance(alone, Mapping):
        raise ValueError(f"{written(name, alone, source)} is not a table of {', '.join(own) or 'nothing'}.")
    for key, value in alone.items():
        if key not in own:
            raise ValueError(f"`{name}.{key}` is not known; {name} takes {', '.join(own) or 'no value'}.")
        values[key] = _value(f"{name}.{key}", own[key], value, source)
    return constraints.REGISTRY[name](**values)


def _value(key: str, field: dataclasses.Field, value: Any, source: str) -> Any:
    if "option" in field.metadata:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(value, Mapping):
        return _schedule(key, value, source)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{written(key, value, source)} is not a number.")
    return value


def _schedule(key: str, table: Mapping[str, Any], source: str) -> constraints.schedules.Schedule:
    """The schedule of a value; its places stay as they are written."""
    makers = constraints.schedules.SCHEDULES
    if "schedule" not in table:
        raise ValueError(f"{written(key, table, source)} has no `schedule`; choose from {', '.join(makers)}.")
    if "of" in table:
        return constraints.schedules.from_dict(table)
    options = dict(table)
    name = options.pop("schedule")
    check_choice(written("schedule", name, source), name, makers)
    parameters = inspect.signature(makers[name]).parameters
    takes = ", ".join(_shown(option, source, key) for option in parameters)
    for option in options:
        if option not in parameters:
            raise ValueError(
                f"{_shown(option, source, key)} means nothing to {written('schedule', name, source)}, which takes "
                f"{takes}."
            )
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"{written('schedule', name, source)} needs {_shown(option, source, key)}.")
    return makers[name](**options)


def _foreign(key: str, value: Any, names: Sequence[str], source: str) -> str:
    """Says what takes a key that the rule's sets do not."""
    shown, own = _shown(key, source), fields_of(names)
    takers = [name for name, kind in constraints.REGISTRY.items() if key in fields_of([name])]
    if not takers:
        known = [*KEYS, *own]
        return f"{shown} is not known; {suggestion(key, known)}expected one of {', '.join(known)}."
    takes = ", ".join(_shown(name, source) for name in own) or "no value"
    sets = f"--constraint={','.join(names)}" if source == FLAGS else " and ".join(names)
    return (
        f"{written(key, value, source)} means nothing to {sets}, which takes {takes}; "
        f"{shown} belongs to {', '.join(takers)}."
    )


def _shown(name: str, source: str, scheduled: str | None = None) -> str:
    return f"--{flag_of(name, scheduled)}" if source == FLAGS else f"`{name}`"
