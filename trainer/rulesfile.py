"""Reads a TOML file of several rules: an array of `[[rule]]` tables with the names of the flags."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import constraints
from constraints import schedules
from trainer import timeline
from trainer.config import RuleSettings, ScheduleSettings

KEYS = ("constraint", "variables", "project_every", "rate")


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
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"--rules={path} cannot be read: {error.strerror}; give the path of a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--rules={path} is not valid TOML: {error}.") from None
    tables = document.get("rule")
    if set(document) != {"rule"} or not isinstance(tables, list) or not tables:
        raise ValueError(
            f"{path} holds {', '.join(document) or 'nothing'}; expected an array of [[rule]] tables and nothing else."
        )
    return tuple(_rule(table, f"{path}, rule {number}") for number, table in enumerate(tables, start=1))


def scheduled_field(constraint: str) -> str:
    """The hyperparameter that a schedule drives when only one is named: the constraint's bound.

    Raises:
      ValueError: the constraint has no hyperparameter.
    """
    bounds = constraints.REGISTRY[constraint]().bounds()
    if not bounds:
        raise ValueError(f"--constraint={constraint} has no value that a schedule could change; leave --schedule out.")
    return next(iter(bounds))


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
    name = _one_of("schedule", table["schedule"], schedules.SCHEDULES)
    parameters = inspect.signature(schedules.SCHEDULES[name]).parameters
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
        name = _one_of("constraint", table["constraint"], constraints.REGISTRY)
        own = tuple(field.name for field in constraints.REGISTRY[name].hyperparameters())
        values = {}
        for key, value in table.items():
            if key in own:
                values[key] = schedule_settings(value) if _is_schedule(value) else _number(key, value)
            elif key not in KEYS:
                raise ValueError(f"has a key `{key}` that {name} does not take; it takes {', '.join((*KEYS, *own))}")
        project_every = table.get("project_every", 1)
        if not isinstance(project_every, int) or isinstance(project_every, bool):
            raise ValueError(f"has project_every = {project_every!r}; expected a whole number of steps")
        return RuleSettings(
            constraint=name,
            values=values,
            variables=_patterns(table["variables"]) if "variables" in table else (),
            project_every=project_every,
            rate=_number("rate", table.get("rate", 1.0)),
        )
    except ValueError as error:
        message = str(error)
        raise ValueError(f"{where}: {message if message.endswith('.') else message + '.'}") from None


def _patterns(value: Any) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else (None,)
    if not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise ValueError(f"has variables = {value!r}; expected a pattern over paths, or a list of them")
    if not patterns:
        raise ValueError("has an empty list of variables; leave `variables` out for every kernel")
    return patterns


def _is_schedule(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "schedule" not in value:
        raise ValueError(f"has a table {value!r} without `schedule`; choose from {', '.join(schedules.SCHEDULES)}")
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
