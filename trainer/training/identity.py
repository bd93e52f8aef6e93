"""What a `Trainer`'s run computes, in words that another process can compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras

from ..engine import course
from ..rules import matching
from ..runtime.keras_internals import learning_rate
from ..settings import naming
from ..settings.rule import Rule
from ..settings.rules import rule_from_table
from ..settings.run import RunSettings
from ..settings.timeline import Timeline
from .inputs import Inputs


def of_trainer(
    model: keras.Model,
    rules: Sequence[Rule],
    settings: RunSettings,
    timeline: Timeline,
    given: Inputs,
    steps: int | None,
) -> dict[str, Any]:
    """The `title`, `identity`, `shown` and `courses` of a `trainer.training.run.Run`.

    Args:
      model: compiled and built.
      rules: what its weights obey.
      settings: how it is trained.
      timeline: the length of the run.
      given: the examples.
      steps: the length where it was given in steps; None: it was in epochs.
    """
    # Without paths: Keras numbers the names of a process's second model and its layers.
    variables = [[variable.name, list(variable.shape), str(variable.dtype)] for variable in model.variables]
    compiled = _compiled(model)
    optimizer = keras.saving.serialize_keras_object(model.optimizer)["config"]
    optimizer = {name: value for name, value in optimizer.items() if name != "name"}
    identity = {
        "model": f"{type(model).__name__}, {model.count_params():,} weights, {_digest(variables)}",
        "optimizer": f"{type(model.optimizer).__name__}, {_digest(optimizer)}",
        **{name: _plain(compiled.get(name)) for name in ("loss", "loss_weights", "metrics", "weighted_metrics")},
        "data": given.description,
        "batch_size": given.train.batch_size,
        "epochs": None if steps else timeline.total_steps // timeline.steps_per_epoch,
        "train_steps": steps,
        "steps_per_epoch": timeline.steps_per_epoch,
        **settings.identity(),
        "rules": [rule.to_table() for rule in rules],
    }
    names = "+".join(rule.name for rule in rules) or "no rule"
    shown = {name: value for name, value in identity.items() if name != "rules"}
    shown["constraint"] = names
    shown["(rules)"] = "; ".join(" ".join(naming.rule(rule)) for rule in rules)

    def courses(recorded: dict[str, Any], timeline: Timeline) -> dict[str, course.Course]:
        tables = enumerate(recorded["rules"], start=1)
        of_record = [rule_from_table(table, f"run.json, rule {number}") for number, table in tables]
        return course.courses(
            matching.match(of_record, model, timeline),
            learning_rate(model.optimizer),
            course.intervals(settings, timeline),
            timeline.total_steps,
        )

    return {"title": f"{model.name} under {names}", "identity": identity, "shown": shown, "courses": courses}


def _compiled(model: keras.Model) -> dict[str, Any]:
    """What a model was compiled with; by names alone where Keras cannot write it down, as a lambda of a shell."""
    try:
        return model.get_compile_config() or {}
    except (NotImplementedError, OSError, TypeError, ValueError):
        return {"loss": model.loss, "metrics": [metric.name for metric in model.metrics]}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    """A value as JSON holds it; functions and objects by their names."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "name", None) or getattr(value, "__name__", None) or type(value).__name__
