"""Reads a TOML file of several rules: an array of `[[rule]]` tables with the names of the flags."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from ..packages import constraints
from ..runtime import user_files
from . import timeline
from .config import RuleSettings, ScheduleSettings

KEYS = (
    "constraint",
    "variables",
    "layer_type",
    "group",
    "with_bias",
    "spread",
    "begin",
    "end",
    "project_every",
    "rate",
    "optimizer_state",
    "pattern_from",
)


@dataclasses.dataclass
class MissingOptionError(ValueError):
    """A schedule lacks an argument it cannot do without."""

    schedule: str
    option: str

    def __str__(self) -> str:
        return f"schedule {self.schedule!r} needs `{self.option}`"


@dataclasses.dataclass
class UnknownOptionError(ValueError):
    """A schedule was given an argument it does not take."""

    schedule: str
    option: str
    taken: tuple[str, ...]

    def __str__(self) -> str:
        return f"schedule {self.schedule!r} takes {', '.join(self.taken)}, not `{self.option}`"


def load(path: str) -> tuple[RuleSettings, ...]:
    """Reads the rules of a file.

    Args:
      path: the TOML file.

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
    return tuple(_rule(table, f"{path}, rule {number}") for number, table in enumerate(tables, start=1))


def fields_of(names: Sequence[str]) -> dict[str, dataclasses.Field]:
    """The hyperparameters and options that sets take, the first set's first.

    Args:
      names: keys of the registry.
    """
    kinds = [constraints.REGISTRY[name] for name in names]
    return {field.name: field for kind in kinds for field in (*kind.hyperparameters(), *kind.options())}


def scheduled_field(names: Sequence[str]) -> str:
    """The hyperparameter that a schedule drives when only one is named: the first set's bound.

    Args:
      names: keys of the registry.

    Raises:
      ValueError: the sets have no hyperparameter.
    """
    numbers = [name for name, field in fields_of(names).items() if "help" in field.metadata]
    if not numbers:
        raise ValueError(
            f"--constraint={','.join(names)} has no value that a schedule could change; leave --schedule out."
        )
    return numbers[0]


def schedule_settings(table: Mapping[str, Any]) -> ScheduleSettings:
    """Checks the arguments of a schedule against its signature.

    Args:
      table: `schedule` (the name) and its arguments.

    Returns:
      The schedule's settings; places in the run are still texts.

    Raises:
      MissingOptionError: an argument without a default was left out.
      UnknownOptionError: an argument the schedule does not take.
      ValueError: an unknown schedule, or an argument of the wrong type.
    """
    options = {key: value for key, value in table.items() if key != "schedule"}
    name = _one_of("schedule", table["schedule"], constraints.schedules.SCHEDULES)
    parameters = inspect.signature(constraints.schedules.SCHEDULES[name]).parameters
    for option, value in options.items():
        if option not in parameters:
            raise UnknownOptionError(name, option, tuple(parameters))
        _check_option(option, value)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in (*options, "begin", "end"):
            raise MissingOptionError(name, option)
    if "values" in options:
        options["values"] = tuple(_number("values", value) for value in options["values"])
    if "boundaries" in options:
        options["boundaries"] = tuple(options["boundaries"])
    return ScheduleSettings(name, options)


def _rule(table: Any, where: str) -> RuleSettings:
    try:
        if not isinstance(table, dict):
            raise ValueError("is not a table; write [[rule]] above its keys")
        if "constraint" not in table:
            raise ValueError(f"has no `constraint`; choose from {', '.join(constraints.REGISTRY)}")
        names = _sets(table["constraint"])
        own = fields_of(names)
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key in own:
                values[key] = _value(key, own[key], value)
            elif len(names) > 1 and key in names:
                values |= _values_of_one(key, value)
            elif key not in KEYS:
                raise ValueError(
                    f"has a key `{key}` that {' and '.join(names)} {'does' if len(names) == 1 else 'do'} not take; "
                    f"expected {', '.join((*KEYS, *own))}"
                )
        return RuleSettings(
            constraint=",".join(names),
            values=values,
            variables=_texts("variables", table["variables"], "a pattern over paths") if "variables" in table else (),
            layer_type=_texts("layer_type", table["layer_type"], "a class of layers") if "layer_type" in table else (),
            project_every=_typed(table, "project_every", int, "a whole number of steps", 1),
            rate=_number("rate", table.get("rate", 1.0)),
            group=_group(table.get("group")),
            with_bias=_typed(table, "with_bias", bool, "true or false", False),
            optimizer_state=_typed(table, "optimizer_state", str, "a name", "keep"),
            spread=_typed(table, "spread", str, "a name", None),
            pattern_from=_typed(table, "pattern_from", str, "the path of a run directory", None),
            source=where,
            begin=_place("begin", table.get("begin")),
            end=_place("end", table.get("end")),
        )
    except ValueError as error:
        message = str(error)
        raise ValueError(f"{where}: {message if message.endswith('.') else message + '.'}") from None


def _sets(value: Any) -> list[str]:
    """The names of a rule's sets: one, or a list."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise ValueError(f"has an empty list as `constraint`; choose from {', '.join(constraints.REGISTRY)}")
    known = [_one_of("constraint", name, constraints.REGISTRY) for name in names]
    twice = {name for name in known if known.count(name) > 1}
    if twice:
        raise ValueError(f"names {min(twice)} twice in `constraint` = {value!r}; name each set once")
    return known


def _values_of_one(name: str, table: Any) -> dict[str, Any]:
    """`box.max_value = 1` or `box = {max_value = 1}`: values of one of several sets."""
    own = fields_of([name])
    if not isinstance(table, dict):
        raise ValueError(f"has {name} = {table!r}; expected a table of {', '.join(own) or 'nothing'}")
    for key in table:
        if key not in own:
            raise ValueError(f"has a key `{name}.{key}`; {name} takes {', '.join(own) or 'no value'}")
    return {f"{name}.{key}": _value(f"{name}.{key}", own[key], value) for key, value in table.items()}


def _value(key: str, field: dataclasses.Field, value: Any) -> Any:
    if "option" in field.metadata:
        several, default = value if isinstance(value, list) else [value], list(cast(Any, field.default))
        if any(isinstance(one, bool) or not isinstance(one, int) for one in several):
            raise ValueError(f"`{key}` = {value!r} is not a list of whole numbers such as {default}")
        return tuple(several)
    return schedule_settings(value) if _is_schedule(value) else _number(key, value)


def _typed(table: Mapping[str, Any], key: str, kind: type, expected: str, default: Any) -> Any:
    value = table.get(key, default)
    if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ValueError(f"has {key} = {value!r}; expected {expected}")
    return value


def _group(value: Any) -> str | tuple[int, ...] | None:
    if value is None or isinstance(value, str):
        return value
    axes = value if isinstance(value, list) else [value]
    if any(isinstance(axis, bool) or not isinstance(axis, int) for axis in axes):
        raise ValueError(f"has group = {value!r}; expected a name such as unit, or axes such as [0, 1]")
    return tuple(axes)


def _place(key: str, value: Any) -> str | int | None:
    if value is not None:
        _check_option(key, value)
    return value


def _texts(key: str, value: Any, expected: str) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else (None,)
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"has {key} = {value!r}; expected {expected}, or a list of them")
    if not texts:
        raise ValueError(f"has an empty list of {key}; leave `{key}` out for all of them")
    return texts


def _is_schedule(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "schedule" not in value:
        raise ValueError(
            f"has a table {value!r} without `schedule`; choose from {', '.join(constraints.schedules.SCHEDULES)}"
        )
    return True


def _check_option(option: str, value: Any) -> None:
    if option in ("begin", "end"):
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"`{option}` = {value!r} is not a step (500), a share (10%) or epochs (3ep)")
        timeline.parse(value, option)
    elif option in ("boundaries", "values"):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{option}` = {value!r} is not a list")
        for point in value if option == "boundaries" else ():
            timeline.parse(point, option)
    else:
        _number(option, value)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"`{key}` = {value!r} is not a number")
    return value


def _one_of(key: str, name: Any, choices: Iterable[str]) -> str:
    names = list(choices)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"`{key}` = {name!r} is not known; {hint}choose from {', '.join(names)}")
    return name
