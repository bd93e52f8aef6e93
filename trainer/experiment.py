"""Puts a run together: from the settings to everything that trains, and back to a certificate."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import models
from constraints import REGISTRY, measures
from trainer import batches, certificate, data, devices, groups, loop, optimizers, rundir, rules, summaries
from trainer.checkpoints import Checkpoints, Progress
from trainer.config import Config
from trainer.interrupts import Interrupt
from trainer.projector import Projector
from trainer.progress import Progress as Report
from trainer.steps import Chunk, Steps
from trainer.table import table
from trainer.timeline import Timeline

# Examples in one batch of an evaluation, per replica.
EVAL_BATCH = 256
PACKAGES = ("absl-py", "keras", "numpy", "tensorboard", "tensorflow", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run needs, built from its settings and not yet begun: nothing has been written."""

    config: Config
    timeline: Timeline
    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    targets: list[rules.Target]
    steps: Steps
    train_source: batches.Source
    state: Progress


def build(config: Config) -> Experiment:
    """Builds the run's parts.

    Args:
      config: the settings.

    Returns:
      The experiment, its weights already feasible.

    Raises:
      ValueError: settings that do not fit the data, the model or the machine; nothing has been written.
    """
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    strategy = devices.strategy(config.num_replicas)
    dataset = data.load(
        config.dataset,
        data_dir=config.data_dir,
        train_split=config.train_split,
        eval_split=config.eval_split,
        input_shape=config.input_shape,
        num_classes=config.num_classes,
        num_examples=config.num_examples,
        seed=config.seed,
    )
    timeline = _timeline(config, dataset.train.num_examples, strategy.num_replicas_in_sync)
    with strategy.scope():
        num_outputs = 1 if dataset.num_classes == 2 else dataset.num_classes
        model = models.REGISTRY[config.model](dataset.input_shape, num_outputs, **config.model_options)
        targets = rules.match(config.rules, model, timeline)
        for target in targets:
            if config.l1 or config.l2:
                target.variable.regularizer = keras.regularizers.L1L2(config.l1, config.l2)
        optimizer = optimizers.build(config, timeline)
        optimizer.build(model.trainable_variables)
    eval_batch = EVAL_BATCH * strategy.num_replicas_in_sync
    train_source = batches.source(dataset.train, config.batch_size, config.seed, strategy)
    steps = Steps(
        strategy=strategy,
        model=model,
        optimizer=optimizer,
        projector=Projector(targets, timeline.total_steps),
        train_source=train_source,
        eval_source=batches.source(dataset.eval, eval_batch, config.seed, strategy),
        batch_size=config.batch_size,
        clip_norm=config.clip_norm,
    )
    steps.project_fully()
    return Experiment(config, timeline, strategy, model, optimizer, targets, steps, train_source, Progress())


def variable_table(experiment: Experiment) -> str:
    """The table of all trainable variables: path, shape, rule, groups, bound, norm, sparsity."""
    targets = {target.variable.path: target for target in experiment.targets}
    rows = []
    for layer, variable in groups.owners(experiment.model):
        target = targets.get(variable.path)
        axes = groups.fan_in_axes(layer, variable)
        constraint = target.constraint.at(experiment.optimizer.iterations.value) if target else REGISTRY["none"]()
        weights = tf.convert_to_tensor(variable)
        norms = constraint.norm(weights, axes=axes).numpy()
        rows.append(
            [
                variable.path,
                "x".join(map(str, variable.shape)),
                target.name if target and target.name != "none" else "",
                str(norms.size),
                " ".join(f"{float(value):g}" for value in constraint.bounds().values()) or "-",
                f"{norms.max(initial=0):.4g}",
                f"{float(measures.sparsity(weights)):.1%}",
            ]
        )
    return table(["variable", "shape", "rule", "groups", "bound", "largest norm", "exact zeros"], rows)


def run(
    experiment: Experiment,
    directory: rundir.RunDirectory,
    flagfile: str,
    interrupt: Interrupt,
    say: Callable[[str], None] = print,
) -> dict[str, Any] | None:
    """Trains, or goes on training, to the end.

    Args:
      experiment: what `build` returned.
      directory: where the run is kept; opened here and closed at the end.
      flagfile: the flags that make this run.
      interrupt: asked between chunks whether to save and stop.
      say: prints a line.

    Returns:
      The certificate, also written as `certificate.json`; None when a signal stopped the run before its end.

    Raises:
      ValueError: the directory cannot be used, or none of its checkpoints is whole.
    """
    resumed = directory.open(flagfile, _facts(experiment))
    try:
        return _Run(experiment, directory, say).to_the_end(resumed, interrupt)
    finally:
        directory.close()


class _Run:
    """A run under way: the actions, and what they share."""

    def __init__(self, experiment: Experiment, directory: rundir.RunDirectory, say: Callable[[str], None]):
        self._experiment = experiment
        self._directory = directory
        self._say = say
        self._state = experiment.state
        self._summaries = summaries.Summaries(directory.path, experiment.targets)
        self._checkpoints = Checkpoints(
            directory.checkpoints, experiment.model, experiment.optimizer, self._state, log=say
        )
        self._last: dict[str, float] = {}

    def to_the_end(self, resumed: bool, interrupt: Interrupt) -> dict[str, Any] | None:
        experiment, config, timeline = self._experiment, self._experiment.config, self._experiment.timeline
        start = self._start(resumed)
        self._report = Report(timeline.total_steps)
        self._mark = start, time.monotonic()
        experiment.train_source.seek(start)
        actions = [
            loop.Every(timeline.interval(config.summary_every, "--summary_every"), self._summarise),
            loop.Every(timeline.interval(config.eval_every, "--eval_every"), self._evaluate),
            loop.Every(timeline.interval(config.histogram_every, "--histogram_every"), self._draw),
            # Last, so that a checkpoint holds what the others changed.
            loop.Every(timeline.interval(config.checkpoint_every, "--checkpoint_every"), self._save),
        ]
        step = loop.run(
            experiment.steps,
            self._state,
            actions,
            start=start,
            total_steps=timeline.total_steps,
            steps_per_loop=config.steps_per_loop,
            measure_every=actions[0].interval,
            report=self._report.step,
            stop=lambda: interrupt.asked() or self._patience_is_over(),
        )
        if step < timeline.total_steps and not self._patience_is_over():
            self._save(step, None)
            self._summaries.close()
            self._say(f"{interrupt.name}: saved at step {step:,}; the same command continues the run.")
            return None
        return self._finish(step)

    def _start(self, resumed: bool) -> int:
        settings = rundir.as_flags(self._experiment.config.identity())
        step = self._checkpoints.restore() if resumed else None
        if resumed:
            summaries.rewind(self._directory.path, -1 if step is None else step)
        if step is None:
            self._summaries.begin(settings, _card(self._experiment, settings))
        where = f"continues at step {step:,}" if step is not None else "starts at step 0"
        self._say(f"run directory {self._directory.path}: {where} of {self._experiment.timeline.total_steps:,}")
        return step or 0

    def _summarise(self, step: int, chunk: Chunk) -> None:
        loss, penalty, accuracy, count = np.asarray(self._state.totals)
        values = {
            "loss": loss / count,
            "accuracy": accuracy / count,
            "learning_rate": float(chunk.learning_rate),
            "steps_per_second": self._steps_per_second(step),
        }
        if self._experiment.config.l1 or self._experiment.config.l2:
            values["penalty"] = penalty / count
        self._last = values
        self._summaries.scalars("train", step, values | self._summaries.measures(chunk.measures.numpy()))
        self._state.totals.assign(tf.zeros_like(self._state.totals))

    def _steps_per_second(self, step: int) -> float:
        (step_then, time_then), self._mark = self._mark, (step, time.monotonic())
        return (step - step_then) / max(self._mark[1] - time_then, 1e-9)

    def _evaluate(self, step: int, chunk: Chunk | None) -> None:
        del chunk
        result = self._experiment.steps.evaluate()
        self._summaries.scalars("eval", step, result)
        best_accuracy, best_loss, _ = np.asarray(self._state.best)
        better = (result["accuracy"], -result["loss"]) > (best_accuracy, -best_loss)
        if better:
            self._state.best.assign([result["accuracy"], result["loss"], step])
            self._state.waited.assign(0)
            self._checkpoints.save_best()
        else:
            self._state.waited.assign_add(1)
        train = "".join(f"train {name} {self._last[name]:.4f}  " for name in ("loss", "accuracy") if name in self._last)
        self._report.line(
            step, f"{train}eval loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}{' *' if better else ''}"
        )

    def _draw(self, step: int, chunk: Chunk | None) -> None:
        del chunk
        self._summaries.histograms(step)

    def _save(self, step: int, chunk: Chunk | None) -> None:
        del step, chunk
        # What a checkpoint promises to be on disk must be there before it.
        self._summaries.flush()
        self._checkpoints.save()

    def _patience_is_over(self) -> bool:
        patience = self._experiment.config.early_stopping
        return patience is not None and int(self._state.waited.numpy()) >= patience

    def _finish(self, step: int) -> dict[str, Any]:
        experiment = self._experiment
        if step < experiment.timeline.total_steps:
            # Stopped early: the last step's full projection has not happened.
            experiment.steps.project_fully()
            self._say(f"stopped early at step {step:,}: no better evaluation for {experiment.config.early_stopping}.")
            self._save(step, None)
        best_accuracy, best_loss, best_step = np.asarray(self._state.best).tolist()
        evaluation = experiment.steps.evaluate()
        document = {
            **certificate.certify(experiment.targets, step),
            "evaluation": evaluation,
            "best": {"accuracy": best_accuracy, "loss": best_loss, "step": int(best_step)},
            "replicas": {
                "count": experiment.strategy.num_replicas_in_sync,
                "identical": devices.copies_equal(experiment.model.variables),
            },
        }
        self._summaries.close()
        rundir.write_atomically(self._directory.path / rundir.CERTIFICATE, json.dumps(document, indent=2) + "\n")
        return document


def _timeline(config: Config, num_examples: int, num_replicas: int) -> Timeline:
    if config.batch_size > num_examples:
        raise ValueError(
            f"--batch_size={config.batch_size} is more than the {num_examples} training examples; "
            f"use at most {num_examples}."
        )
    if config.batch_size % num_replicas:
        lower = config.batch_size - config.batch_size % num_replicas
        raise ValueError(
            f"--batch_size={config.batch_size} cannot be shared out evenly among {num_replicas} replicas; "
            f"use {lower or num_replicas} or {lower + num_replicas}."
        )
    steps_per_epoch = num_examples // config.batch_size
    total_steps = config.train_steps if config.train_steps is not None else config.epochs * steps_per_epoch
    return Timeline(total_steps, steps_per_epoch)


def _facts(experiment: Experiment) -> dict[str, Any]:
    return {
        "total_steps": experiment.timeline.total_steps,
        "steps_per_epoch": experiment.timeline.steps_per_epoch,
        "parameters": experiment.model.count_params(),
        "replicas": experiment.strategy.num_replicas_in_sync,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "command": sys.argv[1:],
    }


def _card(experiment: Experiment, settings: dict[str, Any]) -> str:
    lines = [f"# {experiment.config.model} on {experiment.config.dataset}", "", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in sorted(settings.items())]
    return "\n".join([*lines, "", "```", variable_table(experiment), "```", ""])
