"""What `--help` prints: examples first, then the flags in groups."""

from __future__ import annotations

import pathlib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from .checks import suggestion

ASKING = ("--help", "-help", "-h", "-?", "--helpshort", "-helpshort", "--helpfull", "-helpfull")

_BEGINNING = """\
Trains a network whose weights obey exact constraints.

  PROGRAM --constraint=maxnorm --max_value=2
  PROGRAM --constraint=topk --sparsity=0.9 --schedule=polynomial --initial_value=0 --schedule_end=80%
  PROGRAM --dataset=prices.csv --label=price --model=mlp --constraint=l1ball
  PROGRAM --rules=annealed --run_dir=runs/annealed
  PROGRAM --flagfile=runs/annealed/flags.txt     # continues that run

"""
_ENDING = (
    "--flagfile=FILE reads flags from a file, one a line. --help=GROUP shows one group, --helpshort the names alone.\n"
)

_DATA = (
    *("dataset", "data_dir", "train_split", "validation_split", "test_split"),
    *("input_shape", "num_classes", "num_examples", "label", "text", "weight", "drop"),
    *("image_size", "skip_damaged", "augment", "vocabulary_size", "text_length"),
)
_TASK = ("task", "loss", "metrics", "class_weight", "label_smoothing")
_OPTIMIZER = (
    *("optimizer", "learning_rate", "learning_rate_schedule", "final_learning_rate", "warmup"),
    *("momentum", "weight_decay", "clip_norm"),
)
_RUN = (
    *("batch_size", "epochs", "train_steps", "steps_per_loop", "jit", "deterministic", "seed", "num_replicas"),
    *("run_dir", "resume", "overwrite", "dry_run", "checkpoint_every", "early_stopping"),
    *("on_nonfinite", "max_nonfinite_steps", "max_rollbacks", "max_spike"),
    *("save_model", "export", "export_with", "target"),
)
_REPORTING = ("summary_every", "histogram_every", "eval_every", "verbosity")


def groups(of_models: Iterable[str], of_rules: Iterable[str], of_schedules: Iterable[str]) -> dict[str, list[str]]:
    """The flags by topic: group -> names.

    Args:
      of_models: the flags that models take.
      of_rules: those that describe one rule.
      of_schedules: those of its schedule.
    """
    return {
        "data": [*_DATA],
        "task": [*_TASK],
        "model": ["model", *of_models, "init_from"],
        "rule": [*of_rules, "l1", "l2"],
        "schedule": [*of_schedules],
        "optimizer": [*_OPTIMIZER],
        "run": [*_RUN],
        "reporting": [*_REPORTING],
    }


def page(asked: str, group: str, of_group: Mapping[str, Iterable[str]], flags: Mapping[str, tuple[str, Any]]) -> str:
    """The whole text.

    Args:
      asked: which of `ASKING` was given.
      group: the one group to show; empty for all.
      of_group: group -> names of its flags.
      flags: name -> text and default.

    Raises:
      ValueError: there is no such group.
    """
    if group and group not in of_group:
        hint = suggestion(group, of_group)
        raise ValueError(f"{asked}={group} is no group of flags; {hint}choose from {', '.join(of_group)}.")
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)
    parts = []
    for title, names in of_group.items():
        if group in ("", title):
            shown = [_line(name, *flags[name], width) for name in names]
            if asked.endswith("short"):
                shown = [textwrap.fill(", ".join(f"--{name}" for name in names), width, **_indented(2))]
            parts.append("\n".join([f"{title}:", *shown, ""]))
    if group:
        return "\n".join(parts)
    called = pathlib.Path(sys.argv[0]).name
    program = called if called == "constrained-train" else "scripts/train.sh"
    return _BEGINNING.replace("PROGRAM", program) + "\n".join(parts) + "\n" + _ENDING


def _line(name: str, text: str, default: Any, width: int) -> str:
    head = f"--[no]{name}" if isinstance(default, bool) else f"--{name}"
    if default not in (None, ()) and "(default" not in text:
        text = f"{text} (default: {str(default).lower() if isinstance(default, bool) else default})"
    return textwrap.fill(f"{head:<24}  {text}", width, **_indented(2, 28))


def _indented(first: int, others: int | None = None) -> dict[str, Any]:
    return {"initial_indent": " " * first, "subsequent_indent": " " * (first if others is None else others)}
