"""Does every weight obey its rule? Judged in float64 after training, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..packages import constraints
from ..rules.target import Target
from . import lengths
from .definitions import DEFINITIONS
from .quantities import SUMS, Quantity, Seen, number
from .text_table import table

# Weights smaller than this are counted as near zero: they contribute nothing a float32 network would notice.
NEAR_ZERO = 1e-3
# Roundings of the weights' type that a point may be away from sets that it cannot be in all at once.
_ROUNDINGS = 4


class Certificate(dict[str, Any]):
    """What `certify` returns: a dictionary that prints as a table."""

    def __str__(self) -> str:
        return printed(self)


def certify(targets: Sequence[Target], step: int) -> Certificate:
    """Checks every constrained variable against its rule, by the definition of its set: see `definitions`.

    Args:
      targets: variables and rules.
      step: the step whose bounds hold.

    Returns:
      `feasible`, `step`, and for each target a dictionary: rule, set, path, variables, shape, bound, groups, zeros,
      near zeros and norms, and the verdict. `quantities` lists all that the set bounds: the set's name, the quantity in
      words, the value of the worst group, between which bounds it must be, where that group is, by how much it misses
      its bound (relative to it, or to what the definition says; 0 inside), the tolerance that is held against, and
      whether it is feasible. The worst of them stands in the entry itself. A rule that does not hold at the step, and a
      penalty, which nothing can violate, have no verdict: `feasible` and `largest_violation` are None.
    """
    entries = [_entry(target, step) for target in targets]
    return Certificate(
        feasible=all(entry["feasible"] is not False for entry in entries),
        step=step,
        near_zero_below=NEAR_ZERO,
        variables=entries,
    )


def printed(certificate: dict[str, Any]) -> str:
    """The certificate as a table, a line for each variable."""
    rows = [
        [
            entry["path"],
            entry["constraint"],
            f"penalty {_bounds(entry['bound'])}" if entry["unjudged"] == "a penalty" else _bounds(entry["bound"]),
            f"{entry['groups']}",
            entry["quantity"] or "-",
            "-" if entry["quantity"] is None else _shown(entry["worst_value"], ".6g"),
            "-" if entry["feasible"] is None else _shown(entry["largest_violation"], ".1e"),
            f"{entry['zeros']:,} ({entry['sparsity']:.1%})",
            f"{entry['near_zeros']:,}",
            {True: "holds", False: "VIOLATED", None: entry["unjudged"]}[entry["feasible"]],
        ]
        for entry in certificate["variables"]
    ]
    header = [
        "variable",
        "constraint",
        "bound",
        "groups",
        "quantity",
        "worst",
        "violation",
        "exact zeros",
        "near zeros",
        "rule",
    ]
    return table(header, rows)


def _entry(target: Target, step: int) -> dict[str, Any]:
    constraint = target.constraint.at(step)
    weights = target.weights().numpy()
    norms = norms_of(constraint, weights)
    # Of the variables, as joined weights may be filled up with zeros.
    values = [variable.numpy() for variable in target.variables]
    finite = all(bool(np.isfinite(value).all()) for value in values)
    size, zeros = target.size, sum(int(np.count_nonzero(value == 0)) for value in values)
    unjudged = "a penalty" if constraint.proximal else None if target.holds(step) else _window(target, step)
    quantities = [] if unjudged else judged(constraint, weights)
    feasible = finite and all(quantity["feasible"] for quantity in quantities)
    return {
        "rule": target.rule_index,
        "constraint": target.name,
        "path": target.label,
        "variables": list(target.names),
        "shape": list(target.variables[0].shape) if len(values) == 1 else list(weights.shape),
        "bound": {name: float(value) for name, value in constraint.bounds().items()},
        "groups": target.num_groups,
        # What is not finite obeys nothing, not even a penalty.
        "feasible": feasible if unjudged is None else None if finite else False,
        "unjudged": unjudged,
        **_worst(quantities, finite, unjudged),
        "quantities": quantities,
        "zeros": zeros,
        "near_zeros": sum(int(np.sum(np.abs(value.astype(np.float64)) <= NEAR_ZERO)) for value in values),
        "sparsity": zeros / max(size, 1),
        "norm": {name: number(value) for name, value in _spread(norms).items()},
    }


def _worst(quantities: Sequence[dict[str, Any]], finite: bool, unjudged: str | None) -> dict[str, Any]:
    """The quantity that is furthest from feasible, without its set and verdict."""
    names = ("quantity", "worst_value", "at_least", "at_most", "worst_group", "largest_violation", "tolerance")
    if not quantities:
        violation = None if unjudged or not finite else 0.0
        return {**dict.fromkeys(names), "largest_violation": violation, "tolerance": 0.0}

    def badness(quantity: dict[str, Any]) -> tuple[bool, float]:
        violation = quantity["largest_violation"]
        return not quantity["feasible"], math.inf if violation is None else violation

    worst = max(quantities, key=badness)
    found = {name: worst[name] for name in names}
    return found if finite else {**found, "largest_violation": None}


def judged(constraint: constraints.Constraint, w: np.ndarray) -> list[dict[str, Any]]:
    """The verdict on every quantity that a set bounds, or each of several sets, each by its own definition.

    Args:
      constraint: the set, without schedules.
      w: the weights, any shape and type that the set takes.

    Returns:
      For each quantity `set`, its name in the registry, and what `Quantity.judged` says; nothing for a set that bounds
      nothing.
    """
    parts, each = _parts(constraint)
    verdicts = []
    for part in parts:
        seen = Seen.of(
            part, w, constraint.axis, each, isinstance(part, constraints.MatrixSet), constraint.grouping == "tensor"
        )
        for quantity in DEFINITIONS.get(_name(part), _undefined)(seen):
            if len(parts) > 1 and quantity.tolerance:
                # Sets that meet in no point of the type are left by the point that is this close to each.
                near = max(quantity.tolerance, _ROUNDINGS * seen.epsilon)
                quantity = dataclasses.replace(quantity, tolerance=near)
            verdicts.append({"set": _name(part), **quantity.judged(seen.places)})
    return verdicts


def norms_of(constraint: constraints.Constraint, w: np.ndarray) -> np.ndarray:
    """The norm that a set speaks of; of several sets, that of the first that bounds one.

    Args:
      constraint: the set, without schedules.
      w: the weights, any shape and type that the set takes.

    Returns:
      float64 [groups]; where sets of matrices are among several, each matrix's, or the largest of its units.
    """
    parts, each = _parts(constraint)
    part = next((part for part in parts if {"max_value", "total"} & set(part.bounds())), parts[0])
    mixed = any(isinstance(one, constraints.MatrixSet) for one in parts)
    x = Seen.of(part, w, constraint.axis, each, mixed, constraint.grouping == "tensor").x
    if isinstance(part, constraints.MatrixSet):
        return lengths.NORMS.get(_name(part), lambda x: lengths.l2(lengths.whole(x)))(x)
    of_rows = lengths.NORMS.get(_name(part), lengths.l2)
    return np.max(of_rows(lengths.units(x)), axis=1, initial=0.0) if mixed else of_rows(x)


def _parts(constraint: constraints.Constraint) -> tuple[tuple[constraints.Constraint, ...], Any]:
    """The sets, and the axes whose places they keep apart."""
    parts = constraint.sets if isinstance(constraint, constraints.Intersection) else (constraint,)
    return parts, next((part.each for part in parts if isinstance(part, constraints.MatrixSet)), None)


def _name(part: constraints.Constraint) -> str:
    """The set's key in the registry; of one that has none, its class."""
    return next((name for name, kind in constraints.REGISTRY.items() if kind is type(part)), type(part).__name__)


def _undefined(seen: Seen) -> list[Quantity]:
    """A set of one's own defines itself by `definition`; without that nobody can certify it."""
    own = getattr(seen.part, "definition", None)
    if own is not None:
        words, values, low, high = own(seen.x, seen.bound)
        return [Quantity(words, values, low=low, high=high, tolerance=SUMS)]
    words = f"no definition of {_name(seen.part)} in trainer/reporting/definitions.py"
    return [Quantity(words, np.full(len(seen.x), math.nan))]


def _window(target: Target, step: int) -> str:
    return f"from step {target.begin:,}" if step < target.begin else f"ended at step {target.end:,}"


def _spread(norms: np.ndarray) -> dict[str, float]:
    if not norms.size:
        return {"min": 0.0, "mean": 0.0, "max": 0.0}
    return {"min": norms.min(), "mean": norms.mean(), "max": norms.max()}


def _shown(value: float | None, form: str) -> str:
    return "not finite" if value is None else f"{value:{form}}"


def _bounds(bound: dict[str, float]) -> str:
    return " ".join(f"{value:g}" for value in bound.values()) or "-"


def broken(certificate: dict[str, Any]) -> str:
    """What breaks a rule, in words; empty where every rule holds."""
    entries = [entry for entry in certificate["variables"] if entry["feasible"] is False]
    more = f" (and {len(entries) - 1} more marked VIOLATED)" if len(entries) > 1 else ""
    return f"{_broken(entries[0])}{more}" if entries else ""


def _broken(entry: dict[str, Any]) -> str:
    """What a variable's weights break, in words."""
    failed = [quantity for quantity in entry["quantities"] if not quantity["feasible"]]
    subject = f"`{entry['path']}`"
    if not failed:
        return f"{subject} holds NaN or infinity"
    sentences = []
    for quantity in failed:
        value, low, high = (quantity[name] for name in ("worst_value", "at_least", "at_most"))
        wrong = _limits(low, high)
        place = f" in group {quantity['worst_group']}" if quantity["worst_group"] else ""
        shown = _shown(value, ".9g")
        sentences.append(f"{quantity['set']}: {quantity['quantity']} is {shown}{place} but must be {wrong}")
    return f"{subject} breaks {'; '.join(sentences)}"


def _limits(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:.9g}" if low == high else f"from {low:.9g} to {high:.9g}"
    return f"at least {low:.9g}" if low is not None else "defined" if high is None else f"at most {high:.9g}"
