"""Does every weight obey its rule? Judged in float64 after training, as JSON and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from constraints import measures
from trainer.table import table
from trainer.targets import Target

# Weights smaller than this are counted as near zero: they contribute nothing a float32 network would notice.
NEAR_ZERO = 1e-3


def certify(targets: Sequence[Target], step: int) -> dict[str, Any]:
    """Checks every constrained variable against its rule.

    Args:
      targets: variables and rules.
      step: the step whose bounds hold.

    Returns:
      `feasible`, `step`, and for each target a dictionary: rule, set, path, variables, shape, bound, groups, largest
      violation (the distance to the set, relative to the group's norm), the tolerance it is held to, zeros, near zeros
      and norms. A rule that does not hold at the step, and a penalty, which nothing can violate, have no verdict:
      `feasible` and `largest_violation` are None.
    """
    entries = [_entry(target, step) for target in targets]
    return {
        "feasible": all(entry["feasible"] is not False for entry in entries),
        "step": step,
        "near_zero_below": NEAR_ZERO,
        "variables": entries,
    }


def printed(certificate: dict[str, Any]) -> str:
    """The certificate as a table, a line for each variable."""
    rows = [
        [
            entry["path"],
            entry["constraint"],
            f"penalty {_bounds(entry['bound'])}" if entry["unjudged"] == "a penalty" else _bounds(entry["bound"]),
            f"{entry['groups']}",
            _shown(entry["norm"]["max"], ".6g"),
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
        "largest norm",
        "violation",
        "exact zeros",
        "near zeros",
        "rule",
    ]
    return table(header, rows)


def _entry(target: Target, step: int) -> dict[str, Any]:
    constraint = target.constraint.at(step)
    weights = target.weights()
    # As float64 weights, so that nothing is forgiven for having been rounded to a narrower type.
    exact = tf.cast(weights, tf.float64)
    norms = constraint.norm(exact).numpy().ravel()
    distances = constraint.distance(exact).numpy().ravel()
    # A group of norm zero can be infeasible only on a sphere, where its distance is the radius: compare with that.
    scale = np.maximum(np.maximum(norms, distances), np.finfo(np.float64).tiny)
    with np.errstate(invalid="ignore"):
        violations = distances / scale
    finite = bool(np.isfinite(exact.numpy()).all())
    violation = float(violations.max(initial=0.0))
    tolerance = max(constraint.tolerance(weights.dtype), 1e-6)
    # Of the variables, as joined weights may be filled up with zeros.
    values = [variable.numpy() for variable in target.variables]
    size, zeros = target.size, sum(_zeros(value) for value in values)
    unjudged = "a penalty" if constraint.proximal else None if target.holds(step) else _window(target, step)
    return {
        "rule": target.rule,
        "constraint": target.name,
        "path": target.label,
        "variables": list(target.names),
        "shape": list(target.variables[0].shape) if len(values) == 1 else list(weights.shape),
        "bound": {name: float(value) for name, value in constraint.bounds().items()},
        "groups": target.num_groups,
        # What is not finite obeys nothing, not even a penalty.
        "feasible": finite and violation <= tolerance if unjudged is None else None if finite else False,
        "unjudged": unjudged,
        "largest_violation": None if unjudged else number(violation),
        "tolerance": tolerance,
        "zeros": zeros,
        "near_zeros": sum(int(np.sum(np.abs(value.astype(np.float64)) <= NEAR_ZERO)) for value in values),
        "sparsity": zeros / max(size, 1),
        "norm": {name: number(value) for name, value in _spread(norms).items()},
    }


def _zeros(value: np.ndarray) -> int:
    return round(float(measures.sparsity(value)) * value.size)


def _window(target: Target, step: int) -> str:
    return f"from step {target.begin:,}" if step < target.begin else f"ended at step {target.end:,}"


def _spread(norms: np.ndarray) -> dict[str, float]:
    if not norms.size:
        return {"min": 0.0, "mean": 0.0, "max": 0.0}
    return {"min": norms.min(), "mean": norms.mean(), "max": norms.max()}


def number(value: float) -> float | None:
    """The value as JSON can hold it, which knows neither NaN nor infinity."""
    return float(value) if math.isfinite(value) else None


def _shown(value: float | None, form: str) -> str:
    return "not finite" if value is None else f"{value:{form}}"


def _bounds(bound: dict[str, float]) -> str:
    return " ".join(f"{value:g}" for value in bound.values()) or "-"
