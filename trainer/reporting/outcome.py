"""The last lines of a run: what came out, where it lies, and how to look at it."""

from __future__ import annotations

import pathlib
import shlex
import shutil
import sys
from typing import Any

from ..storage import run_directory
from .certificate import broken


def described(certificate: dict[str, Any], directory: pathlib.Path) -> str:
    """Accuracy, or what the task measures, on the test split, zeros, verdict, and the command that opens TensorBoard.

    Args:
      certificate: the content of `certificate.json`.
      directory: the run directory.

    Returns:
      A few lines.
    """
    evaluation, best, step = certificate["evaluation"], certificate["best"], certificate["step"]
    name = best["monitor"]
    of_best = _numbers(best["test"], name) if best["test"] else f"{name} not known"
    if not certificate["feasible"]:
        held = f"NOT FEASIBLE: {broken(certificate)}"
    elif any(entry["feasible"] for entry in certificate["variables"]):
        held = "every rule holds"
    else:
        held = "no rule to judge, as neither a penalty nor a rule that has ended has a verdict"
    sparsity = certificate["sparsity"]
    zeros = "" if sparsity is None else f"; {sparsity:.1%} of the weights under rules are exact zeros"
    model = certificate.get("model")
    kept = []
    if model is not None:
        why = ": those of the best checkpoint break a rule of the end" if model["weights"] == "last" else ""
        kept = [f"{directory / model['file']} holds the {model['weights']} weights, of step {model['step']:,}{why}"]
    chosen = f"best checkpoint, step {best['step']:,}: validation {_number(name, best[name])}"
    waited = certificate.get("waiting_share")
    waiting = [] if waited is None else [f"training waited for data {waited:.1%} of the time"]
    return "\n".join(
        [
            f"step {step:,}: {held}{zeros}",
            f"the last weights: test {_numbers(evaluation, name)}",
            f"{chosen}, test {of_best}",
            *waiting,
            *kept,
            f"{directory / run_directory.CERTIFICATE} says more, and TensorBoard shows the run: "
            f"{_tensorboard()} --logdir={shlex.quote(str(directory))}",
        ]
    )


def _numbers(results: dict[str, float | None], first: str) -> str:
    """The number that decides, and the others; a loss says little beside an accuracy."""
    names = [first, *(name for name in results if name not in (first, "loss"))]
    if first not in ("accuracy", "loss"):
        names.append("loss")
    return ", ".join(_number(name, results[name]) for name in names)


def _number(name: str, value: float | None) -> str:
    return f"{name} not finite" if value is None else f"{name} {value:.4f}"


def _tensorboard() -> str:
    """TensorBoard as it is called from here: by its name where that is this environment's own, else by its path."""
    own = pathlib.Path(sys.executable).with_name("tensorboard")
    found = shutil.which("tensorboard")
    return "tensorboard" if found is not None and pathlib.Path(found) == own else shlex.quote(str(own))
