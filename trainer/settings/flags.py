"""The command line: the only file that defines or reads flags.

Flags are made of what is declared elsewhere: the fields of `Config`, each constraint's hyperparameters, each model's
keyword options.
"""

from __future__ import annotations

import collections.abc
import csv
import dataclasses
import inspect
import io
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags

from ..packages import constraints, models
from . import flag_files, flag_types, rules, user_files
from . import help_text as helptext
from .checks import check_choice
from .config import Config
from .rule import FLAGS, OPTIMIZER_STATES, Rule, flag_of

# Flags of a single rule that are no hyperparameter of a constraint, with the texts for --help.
RULE_FLAGS: dict[str, tuple[type, str]] = {
    "constraint": (
        list,
        f"Set the weights are kept in, or several with commas for what they have in common: "
        f"{', '.join(constraints.REGISTRY)}.",
    ),
    "variables": (
        list,
        "Patterns over variable paths, such as 'hidden_*/kernel' (default: every kernel and embedding).",
    ),
    "layer_type": (list, "Classes of layers whose variables are meant, such as Dense,Conv2D (default: all)."),
    "group": (str, f"Weights that share one norm: {', '.join(constraints.GROUPINGS)}, or axes such as 0,1."),
    "with_bias": (bool, "Whether a unit's bias belongs to its kernel's group (default: false)."),
    "sparsity_distribution": (
        str,
        "How layers share --sparsity: uniform, or erk for less in small ones.",
    ),
    "rule_begin": (str, "Where the rule begins to hold: a step, 10% or 3ep (default: 0)."),
    "rule_end": (str, "Where the rule ends: a step, 80% or 30ep (default: it holds to the end)."),
    "project_every": (int, "Project every so many steps, and after the last (default: 1)."),
    "relaxation": (float, "Share of the way to the projection taken each time, in (0, 1] (default: 1)."),
    "optimizer_state": (
        str,
        f"What becomes of the optimizer's state of projected weights: {', '.join(OPTIMIZER_STATES)} (default: keep).",
    ),
    "mask_from": (str, "Run directory whose newest checkpoint tells mask which weights are zero."),
}
SCHEDULE_FLAGS: dict[str, tuple[type, str]] = {
    "schedule": (str, f"How the constraint's value changes: {', '.join(constraints.schedules.SCHEDULES)}."),
    "initial_value": (
        float,
        "Value at the schedule's begin; the constraint's own flag (--max_value, ...) is that at its end.",
    ),
    "schedule_begin": (str, "Where the schedule begins: a step, 10% or 3ep (default: 0)."),
    "schedule_end": (str, "Where the schedule ends: a step, 80% or 30ep (default: 100%)."),
    "power": (float, "Exponent of the polynomial schedule (default: 3)."),
    "boundaries": (list, "Where the piecewise schedule changes: 10%,50%."),
    "values": (flag_types.Numbers, "Values of the piecewise schedule, one more than --boundaries."),
}

# Old names of flags that still work.
RENAMED = {
    **rules.RENAMED,
    "begin": "schedule_begin",
    "end": "schedule_end",
    "eval_split": "validation_split",
    "max_nonfinite": "max_nonfinite_steps",
}
# What libraries say is no part of a run, so that `flags.txt` leaves it out.
VERBOSITY = "verbosity"
OTHER_FLAGS: dict[str, tuple[type, str]] = {
    "rules": (str, "TOML file of several rules, in place of the flags of one."),
    VERBOSITY: (int, "What TensorFlow and TFDS say: 0 for information, 1 for debugging (default: warnings alone)."),
}

# What the name of a file with a Keras model ends in.
SAVED_MODEL = ".keras"
# A learning rate has no flags for the values of a piecewise schedule.
_RATE_SCHEDULES = tuple(name for name in constraints.schedules.SCHEDULES if name != "piecewise")


def define(flag_values: flags.FlagValues) -> None:
    """Defines every flag of the program; nothing where they are defined already."""
    if "constraint" in flag_values:
        return
    for field in dataclasses.fields(Config):
        if "help" in field.metadata:
            kind = _element_type(typing.get_type_hints(Config)[field.name])
            flag_types.define(field.name, kind, field.default, _help(field), flag_values, __name__)
    for name, (kind, text) in {**RULE_FLAGS, **SCHEDULE_FLAGS}.items():
        flag_types.define(name, kind, None, text, flag_values, __name__)
    for name, (kind, text) in OTHER_FLAGS.items():
        if name not in flag_values:
            flag_types.define(name, kind, None, text, flag_values, __name__)
    for old, new in RENAMED.items():
        # Filed under another module, so that --help shows the new name alone.
        flags.DEFINE_alias(old, new, flag_values, module_name=f"{__name__}.renamed")
    for name, takers in _hyperparameters().items():
        texts: dict[str, list[str]] = {}
        for constraint, field in takers:
            help_text = field.metadata.get("help") or field.metadata["option"]
            texts.setdefault(f"{help_text} (default: {_written(field.default)})", []).append(constraint)
        text = " ".join(f"{', '.join(names)}: {words}" for words, names in texts.items())
        flag_types.define(name, float if "help" in takers[0][1].metadata else tuple, None, text, flag_values, __name__)
    for name, options in _model_options().items():
        defaults = "; ".join(f"{model} {_written(default)}" for model, _, default in options)
        flag_types.define(name, options[0][1], None, f"Model option (default: {defaults}).", flag_values, __name__)


def parse(arguments: Iterable[str]) -> flags.FlagValues:
    """Reads a command line.

    Args:
      arguments: the command line, without the program's name.

    Returns:
      Flags of their own: a second command in one process knows nothing of the first.

    Raises:
      ValueError: a word that is no flag, a value of the wrong type, or a flag file that cannot be read.
    """
    flag_values = flags.FlagValues()
    define(flag_values)
    expanded = flag_files.expand(arguments)
    for argument in expanded:
        name, equals, text = argument.partition("=")
        user_files.check_text(text if equals else argument, name if equals else "the word")
    try:
        _, *words = flag_values(["", *expanded])
    except flags.Error as error:
        raise ValueError(flag_types.told(error, _own_names())) from None
    if words:
        raise ValueError(f"{user_files.shown(words[0])} is not a flag; write --name=value.")
    return flag_values


def verbosity(flag_values: flags.FlagValues) -> int:
    """How much TensorFlow and TFDS narrate, as absl counts: 0 for information, -1 for warnings alone."""
    return -1 if flag_values[VERBOSITY].value is None else flag_values[VERBOSITY].value


def help_asked(arguments: Sequence[str]) -> str | None:
    """The text for `--help`, `--help=GROUP`, `--helpshort` or `--helpfull`; None where the command line has none.

    Raises:
      ValueError: there is no such group.
    """
    for argument in arguments:
        if argument == "--":
            break
        name, _, group = argument.partition("=")
        if name in helptext.ASKING:
            flag_values = flags.FlagValues()
            define(flag_values)
            texts = {name: (flag_values[name].help, flag_values[name].default) for name in flag_values}
            of_rules = [*RULE_FLAGS, "rules", *_hyperparameters()]
            groups = helptext.groups(_model_options(), of_rules, SCHEDULE_FLAGS)
            return helptext.page(name, group, groups, texts)
    return None


def config(flag_values: flags.FlagValues) -> Config:
    """Reads the flags.

    Returns:
      The settings of the run.

    Raises:
      ValueError: an unknown name, a value out of range, or a flag that the chosen constraint, schedule or model does
        not take; the message names the flag and the alternatives.
    """
    given = {name: flag_values[name].value for name in flag_values if flag_values[name].value is not None}
    for name, value in given.items():
        # A line of `flags.txt` would not give it back.
        if isinstance(value, str) and value != value.strip():
            raise ValueError(f"--{name}={user_files.shown(value)!r} begins or ends with a space; write it without.")
    names = [field.name for field in dataclasses.fields(Config) if "help" in field.metadata]
    values = {name: given[name] for name in names if name in given}
    # A network in a file is looked at when it is opened.
    if not values["model"].endswith(SAVED_MODEL):
        check_choice(
            f"--model={values['model']}", values["model"], models.REGISTRY, f", or the path of a {SAVED_MODEL} file"
        )
    rate = values["learning_rate_schedule"]
    check_choice(f"--learning_rate_schedule={rate}", rate, _RATE_SCHEDULES)
    return Config(**values, model_options=_chosen_model_options(values["model"], given), rules=_rules(given))


def as_flagfile(flag_values: flags.FlagValues, **overrides: Any) -> str:
    """The flags of this run, one a line, so that `--flagfile` makes the same run again."""
    lines = []
    for name in _own_names():
        value = overrides.get(name, flag_values[name].value)
        unset = value is None or (value == () and flag_values[name].default == ())
        if unset or name in ("overwrite", "dry_run"):
            continue
        if isinstance(value, bool):
            lines.append(f"--{'' if value else 'no'}{name}")
        else:
            lines.append(f"--{name}={_written(value)}")
    return "\n".join(sorted(lines)) + "\n"


def _rules(given: dict[str, Any]) -> tuple[Rule, ...]:
    single = [*RULE_FLAGS, *SCHEDULE_FLAGS, *_hyperparameters()]
    if "rules" in given:
        both = [f"--{name}" for name in single if name in given]
        if both:
            raise ValueError(
                f"--rules={given['rules']} and {', '.join(both)} both describe rules; move the flags into the file."
            )
        return rules.load(given["rules"], given.get("target"))
    return (rules.rule_from_table(_table(given), FLAGS),)


def _table(given: dict[str, Any]) -> dict[str, Any]:
    """The flags of a rule as a `[[rule]]` table."""
    table: dict[str, Any] = {"constraint": ["none"]}
    table |= {key: given[flag_of(key)] for key in rules.KEYS if flag_of(key) in given}
    names = rules.sets_named(table["constraint"], FLAGS)
    own = rules.fields_of(names)
    # A default that several sets share is that of the last of them.
    table |= {name: field.default for name, field in own.items()}
    table |= rules.pattern(names, given.get("target"))
    table |= {name: given[name] for name in _hyperparameters() if name in given}
    extra = [flag for flag in SCHEDULE_FLAGS if flag in given]
    if extra and "schedule" not in given:
        raise ValueError(
            f"--{extra[0]}={_written(given[extra[0]])} needs a schedule; add --schedule=cosine, or leave it out."
        )
    if extra:
        scheduled = next((name for name, field in own.items() if "help" in field.metadata), None)
        if scheduled is None:
            raise ValueError(
                f"--constraint={','.join(names)} has no value that a schedule could change; leave --schedule out."
            )
        options = ("schedule", "initial", "begin", "end", "power", "boundaries", "values")
        schedule = {name: given[flag] for name in options if (flag := flag_of(name, scheduled)) in given}
        # A bound is where a schedule ends, unless it is piecewise, which has values of its own.
        if given["schedule"] != "piecewise" or scheduled in given:
            schedule["value" if given["schedule"] == "constant" else "final"] = table[scheduled]
        table[scheduled] = schedule
    return table


def _chosen_model_options(model: str, given: dict[str, Any]) -> dict[str, Any]:
    every = _model_options()
    chosen = {}
    for flag, takers in every.items():
        defaults = {taker: default for taker, _, default in takers}
        if model in defaults:
            chosen[flag] = given.get(flag, defaults[model])
        elif flag in given:
            own = [f"--{name}" for name, others in every.items() if model in {taker for taker, *_ in others}]
            raise ValueError(
                f"--{flag}={_written(given[flag])} means nothing to --model={model}, which takes "
                f"{', '.join(own) or 'no option'}; --{flag} belongs to {', '.join(defaults)}."
            )
    return chosen


def _hyperparameters() -> dict[str, list[tuple[str, dataclasses.Field]]]:
    """Hyperparameter -> the constraints that take it."""
    takers: dict[str, list[tuple[str, dataclasses.Field]]] = {}
    for name, constraint in constraints.REGISTRY.items():
        for field in (*constraint.hyperparameters(), *constraint.options()):
            takers.setdefault(field.name, []).append((name, field))
    return takers


def _model_options() -> dict[str, list[tuple[str, type, Any]]]:
    """Option -> the models that take it, with its type and default there."""
    takers: dict[str, list[tuple[str, type, Any]]] = {}
    for model, build in models.REGISTRY.items():
        hints = typing.get_type_hints(build)
        for name, parameter in inspect.signature(build).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                takers.setdefault(name, []).append((model, _element_type(hints[name]), parameter.default))
    return takers


def _own_names() -> set[str]:
    settings = {field.name for field in dataclasses.fields(Config) if "help" in field.metadata}
    return settings | {*RULE_FLAGS, *SCHEDULE_FLAGS, "rules"} | _hyperparameters().keys() | _model_options().keys()


def _element_type(hint: Any) -> type:
    """`int | None` -> int, `tuple[int, ...]` -> tuple, `tuple[str, ...]` -> a parser of texts."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(argument for argument in typing.get_args(hint) if argument is not types.NoneType)
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is str:
        return flag_types.Words
    return tuple if typing.get_origin(hint) in (tuple, list, collections.abc.Sequence) else hint


def _help(field: dataclasses.Field) -> str:
    registries: dict[str, typing.Iterable[str]] = {"model": models.REGISTRY, "learning_rate_schedule": _RATE_SCHEDULES}
    choices = field.metadata.get("choices") or registries.get(field.name)
    return f"{field.metadata['help']} One of {', '.join(choices)}." if choices else field.metadata["help"]


def _written(value: Any) -> str:
    """A value as a flag takes it; a text with a comma or a quotation mark is quoted, as in CSV."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(map(str, value))
    return row.getvalue()
