"""A rule: one constraint on some variables of a network."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..packages import constraints
from . import user_files
from .checks import check_choice, check_number

# What becomes of the optimizer's state of weights that a projection moved, see `trainer.engine.optimizer_state`.
OPTIMIZER_STATES = ("keep", "mask", "reset", "tangent")
DISTRIBUTIONS = ("erk", "uniform")
# The `source` of a rule that the command line describes.
FLAGS = "--"
# Arguments of a schedule, and keys of a rule, whose flags have other names.
_FLAG_OF_ARGUMENT = {"initial": "initial_value", "begin": "schedule_begin", "end": "schedule_end"}
_FLAG_OF_KEY = {"begin": "rule_begin", "end": "rule_end"}


@dataclasses.dataclass(frozen=True)
class Rule:
    """One constraint on some variables.

    Attributes:
      constraint: a constraint, or a list of sets whose intersection is meant. Its schedules may hold places that depend
        on the run, such as "10%" and "3ep".
      variables: a pattern over variable paths, or several; empty means every kernel and embedding.
      layer_type: a class of layers whose variables are meant, or several; empty means all.
      group: the weights that share one norm, one of `constraints.GROUPINGS` or axes; None: the constraint's own.
      with_bias: whether a unit's bias belongs to its kernel's group.
      sparsity_distribution: how a sparsity is distributed over layers, "erk" or "uniform"; None: the same for all.
      begin: the place from which the rule holds; None: the first step.
      end: the place at which it ends; None: it holds to the end.
      project_every: the weights are projected every so many steps, and after the last one.
      relaxation: share of the way to the projection that is taken each time, in (0, 1].
      optimizer_state: what becomes of the optimizer's state of projected weights: "keep", "mask", "reset", "tangent".
      mask_from: for `mask`, a run directory whose newest checkpoint tells which weights are zero.
      source: where it was written, such as a file and a number, for messages; empty for Python.

    Raises:
      TypeError: a value of a type that the rule does not take.
      ValueError: a value out of range, or two that contradict each other.
    """

    constraint: Any
    variables: Sequence[str] = ()
    _: dataclasses.KW_ONLY
    layer_type: Sequence[str] = ()
    group: str | Sequence[int] | None = None
    with_bias: bool = False
    sparsity_distribution: str | None = None
    begin: constraints.schedules.Place | None = None
    end: constraints.schedules.Place | None = None
    project_every: int = 1
    relaxation: float = 1.0
    optimizer_state: str = "keep"
    mask_from: str | None = None
    source: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        changed: dict[str, Any] = {
            "constraint": _constraint(self.constraint),
            "variables": _texts("variables", self.variables, "a pattern over paths"),
            "layer_type": _texts("layer_type", self.layer_type, "a class of layers"),
            "group": _group(self.group),
        }
        for name in ("begin", "end"):
            if getattr(self, name) is not None:
                changed[name] = constraints.schedules.checked_place(getattr(self, name), name)
        if self.mask_from is not None:
            _check_type("mask_from", self.mask_from, (str, os.PathLike), "the path of a run directory")
            changed["mask_from"] = user_files.local(os.fspath(self.mask_from), "mask_from")
        for name, value in changed.items():
            object.__setattr__(self, name, value)
        _check_type("with_bias", self.with_bias, bool, "true or false")
        _check_type("project_every", self.project_every, int, "a whole number of steps")
        check_number("project_every", self.project_every, {"minimum": 1, "maximum": 10**9})
        _check_type("relaxation", self.relaxation, (int, float), "a number")
        check_number("relaxation", self.relaxation, {"above": 0, "maximum": 1})
        for name, choices in (("sparsity_distribution", DISTRIBUTIONS), ("optimizer_state", OPTIMIZER_STATES)):
            if (value := getattr(self, name)) is not None:
                check_choice(f"{name}={value}", value, choices)
        self._check_fits()

    @property
    def sets(self) -> tuple[constraints.Constraint, ...]:
        """The rule's sets, most often one."""
        return sets_of(self.constraint)

    @property
    def name(self) -> str:
        """The keys of the rule's sets in the registry, joined by commas."""
        return ",".join(map(_key, self.sets))

    @property
    def keeps_zeros(self) -> bool:
        """Whether one of its sets is `mask`, whose zeros are those of the weights or of another run."""
        return any(isinstance(one, constraints.Mask) for one in self.sets)

    def resolve(self, timeline: constraints.schedules.Timeline) -> Rule:
        """The rule with every place as a step.

        Args:
          timeline: how long the run is.

        Raises:
          ValueError: places are out of order, or past the end of the run.
        """
        begin, end = timeline.step(self.begin or 0, "begin"), None
        if self.end is not None or (begin and timeline.total_steps is not None):
            last = "100%" if self.end is None else self.end
            begin, end = constraints.schedules.resolve_span(self.begin or 0, last, timeline)
            end = None if end == timeline.total_steps else end
        return dataclasses.replace(self, constraint=self.constraint.resolve(timeline), begin=begin, end=end)

    def to_table(self) -> dict[str, Any]:
        """The rule as a `[[rule]]` table of plain values, from which the parser makes an equal rule.

        Every value of the constraint is in it, so that a recorded rule means the same when a default changes.
        """
        keys = [_key(one) for one in self.sets]
        own = [_values(one) for one in self.sets]
        table: dict[str, Any] = {"constraint": keys[0] if len(keys) == 1 else keys}
        for name in dict.fromkeys(name for values in own for name in values):
            found = [values[name] for values in own if name in values]
            if all(value == found[0] for value in found):
                table[name] = found[0]
            else:
                for key, values in zip(keys, own, strict=True):
                    if name in values:
                        table.setdefault(key, {})[name] = values[name]
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name != "source" and value is not None and value != ():
                table[field.name] = list(value) if isinstance(value, tuple) else value
        return table

    def _check_fits(self) -> None:
        """Raises ValueError for settings that contradict each other."""
        if self.with_bias and self.group not in (None, "unit"):
            group = self.group if isinstance(self.group, str) else ",".join(map(str, self.group or ()))
            raise ValueError(f"with_bias joins a unit's bias to its kernel; with group={group} there is no unit.")
        if self.sparsity_distribution is not None and self.group == "network":
            raise ValueError(
                f"sparsity_distribution={self.sparsity_distribution} shares a sparsity out to layers, which "
                "group=network does by magnitude; leave one of the two out."
            )
        if self.mask_from is not None and not self.keeps_zeros:
            raise ValueError(f"mask_from={self.mask_from} means nothing to {self.name}; it belongs to mask.")
        if self.optimizer_state != "keep" and self.name == "none":
            raise ValueError(f"optimizer_state={self.optimizer_state} means nothing to none, which projects nothing.")


def sets_of(constraint: constraints.Constraint) -> tuple[constraints.Constraint, ...]:
    """The sets of an intersection, or the constraint alone."""
    return constraint.sets if isinstance(constraint, constraints.Intersection) else (constraint,)


def flag_of(name: str, scheduled: str | None = None) -> str:
    """The flag of a rule's key.

    Args:
      name: the key, or the argument of a schedule.
      scheduled: for an argument of a schedule, the value that it changes.
    """
    if scheduled is None:
        return _FLAG_OF_KEY.get(name, name)
    return scheduled if name in ("final", "value") else _FLAG_OF_ARGUMENT.get(name, name)


def written(name: str, value: Any, source: str) -> str:
    """A key and its value as the user wrote them: a flag, a key of a file, or an argument in Python."""
    if source == FLAGS:
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        return f"--{flag_of(name)}={text}"
    return f"`{name}` = {value!r}" if source else f"{name}={value!r}"


def in_words_of(source: str, message: str, values: Mapping[str, Any]) -> str:
    """A message in the words of where the rule was written.

    Constraints, schedules and rules know their arguments only: `max_value=0 is ...`, `cosine: end=5 must ...`.

    Args:
      source: see `Rule`.
      message: what one of them says.
      values: the rule's values, of which one may be a schedule.
    """
    named = re.match(r"(?:(\w+): )?(\w+)=", message)
    if source != FLAGS or named is None:
        return message if message.endswith((".", "?")) else f"{message}."
    schedule, name = named.groups()
    scheduled = next((key for key, value in values.items() if isinstance(value, dict) and "schedule" in value), name)
    return f"--{flag_of(name, scheduled if schedule else None)}={message[named.end() :]}"


def _constraint(value: Any) -> constraints.Constraint:
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("constraint is an empty list; give at least one set, such as MaxNorm(2.0).")
        sets = [_constraint(one) for one in value]
        penalties = [_key(one) for one in sets if one.proximal]
        if penalties and len(sets) > 1:
            raise ValueError(
                f"{penalties[0]} is a penalty, which has no points in common with a set; give it a rule of its own."
            )
        value = sets[0] if len(sets) == 1 else constraints.Intersection(tuple(sets))
    if not isinstance(value, constraints.Constraint):
        kind = value if isinstance(value, type) else constraints.REGISTRY.get(value) if isinstance(value, str) else None
        known = kind is not None and issubclass(kind, constraints.Constraint)
        wanted = f"{kind.__name__}()" if kind is not None and known else "MaxNorm(2.0), or a list of them"
        raise TypeError(f"constraint={value!r} is no constraint; give an object such as {wanted}.")
    keys = [_key(one) for one in sets_of(value)]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"constraint={','.join(keys)} names {min(twice)} twice; name each set once.")
    for one in (value, *sets_of(value)):
        if one.axis is not None:
            raise ValueError(
                f"axis={one.axis!r} of {_key(one)} would be the same for all layers; leave it out, or give `group`."
            )
        if isinstance(one, constraints.Mask) and one.pattern is not None:
            raise ValueError("A rule takes mask's zeros from the weights, or from `mask_from`; leave pattern out.")
    return value


def _key(constraint: constraints.Constraint) -> str:
    kinds = {kind: key for key, kind in constraints.REGISTRY.items()}
    return kinds.get(type(constraint), type(constraint).__name__)


def _values(constraint: constraints.Constraint) -> dict[str, Any]:
    """The values of one set, as a table holds them."""
    options = {field.name: list(getattr(constraint, field.name)) for field in constraint.options()}
    return {name: constraints.hyperparameters.plain(value) for name, value in constraint.bounds().items()} | options


def _texts(name: str, value: Any, expected: str) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, (list, tuple)) or not all(isinstance(one, str) and one for one in several):
        raise TypeError(f"{name}={value!r} is not {expected}, or a list of them.")
    return tuple(several)


def _group(value: Any) -> str | tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}(,-?\d{1,9})*", value):
        return tuple(int(axis) for axis in value.split(","))
    if isinstance(value, str):
        check_choice(f"group={value}", value, constraints.GROUPINGS, " or axes such as 0,1")
        return value
    axes = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(axis, bool) or not isinstance(axis, int) for axis in axes):
        raise TypeError(f"group={value!r} is neither a name such as unit, nor axes such as [0, 1].")
    return tuple(axes)


def _check_type(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kinds) or (kinds is not bool and isinstance(value, bool)):
        raise TypeError(f"{name}={value!r} is not {expected}.")
