"""Puts a run together: from the settings to everything that trains, and back to a certificate."""

from __future__ import annotations

import dataclasses
import platform
import sys
from importlib import metadata
from typing import Any

import keras
import tensorflow as tf

import models
from constraints import REGISTRY, measures
from trainer import batches, data, devices, groups, optimizers, rules
from trainer.checkpoints import Progress
from trainer.config import Config
from trainer.projector import Projector
from trainer.steps import Steps
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


def facts(experiment: Experiment) -> dict[str, Any]:
    """What `run.json` says beside the settings: lengths, sizes, devices, versions."""
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


def card(experiment: Experiment, settings: dict[str, Any]) -> str:
    """The run on one page of Markdown: its settings and its variables."""
    constraint = " and ".join(sorted({rule.constraint for rule in experiment.config.rules}))
    title = f"# {experiment.config.model} on {experiment.config.dataset} under {constraint}"
    rows = [f"| {name} | {value} |" for name, value in sorted(settings.items())]
    # The variables first: a card of TensorBoard shows ten lines before one has to scroll.
    return "\n".join(
        [title, "", "```", variable_table(experiment), "```", "", "| setting | value |", "|---|---|", *rows, ""]
    )


def _timeline(config: Config, num_examples: int, num_replicas: int) -> Timeline:
    if config.batch_size > num_examples:
        raise ValueError(
            f"--batch_size={config.batch_size} is more than the {num_examples} training examples; "
            f"use at most {num_examples}."
        )
    if config.batch_size % num_replicas:
        lower = config.batch_size - config.batch_size % num_replicas
        fitting = " or ".join(str(size) for size in (lower, lower + num_replicas) if size)
        raise ValueError(
            f"--batch_size={config.batch_size} cannot be shared out evenly among {num_replicas} replicas; "
            f"use {fitting}."
        )
    steps_per_epoch = num_examples // config.batch_size
    total_steps = config.train_steps or (config.epochs or 0) * steps_per_epoch
    return Timeline(total_steps, steps_per_epoch)
