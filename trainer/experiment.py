"""Puts a run together: from the settings to everything that trains, and back to a certificate."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from .data import batches, tfds_prepare
from .data import dataset as data
from .data.source import Source
from .engine import optimizers
from .engine.jit_autotune import JitAutotune
from .engine.objective import CrossEntropy
from .engine.optimizer_state import OptimizerState
from .engine.projector import Projector
from .engine.run_state import RunState
from .engine.train_step import Steps
from .packages import models
from .rules import mask_source, matching
from .rules.target import Target
from .runtime import replicas
from .runtime.keras_internals import learning_rate
from .settings import splits
from .settings.config import Config
from .settings.timeline import Timeline

# Examples in one batch of an evaluation, per replica.
EVAL_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run needs, built from its settings and not yet begun: nothing has been written.

    Attributes:
      splits: `train`, `validation` and `test`, each with its `split` as the user wrote it and its number of `examples`.
      warnings: what the user should know of them, a sentence each.
    """

    config: Config
    timeline: Timeline
    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    targets: list[Target]
    steps: Steps
    train_source: Source
    test_source: Source
    splits: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]
    state: RunState


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
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = replicas.strategy(config.num_replicas)
    dataset = data.load(
        config.dataset,
        data_dir=config.data_dir,
        train_split=config.train_split,
        validation_split=config.validation_split,
        test_split=config.test_split,
        input_shape=config.input_shape,
        num_classes=config.num_classes,
        num_examples=config.num_examples,
        seed=config.seed,
        # Nothing stays of a command that is refused further down; `trainer.main` keeps the data of one that is not.
        keep=False,
        fetch=not config.dry_run,
    )
    assert dataset.validation is not None
    timeline = _timeline(config, dataset.train.num_examples, strategy.num_replicas_in_sync)
    with strategy.scope():
        num_outputs = 1 if dataset.num_classes == 2 else dataset.num_classes

        def network() -> keras.Model:
            return models.REGISTRY[config.model](dataset.input_shape, num_outputs, **config.model_options)

        model = network()
        targets = matching.match(config.rules, model, timeline)
        for target in targets:
            for variable in target.variables if config.l1 or config.l2 else ():
                variable.regularizer = keras.regularizers.L1L2(config.l1, config.l2)
        optimizer = optimizers.build(config, timeline)
        optimizer.build(model.trainable_variables)
        mask_source.initialize_masks(targets, config.rules, model, network)
    eval_batch = EVAL_BATCH * strategy.num_replicas_in_sync
    train_source = batches.source(dataset.train, config.batch_size, config.seed, strategy)
    validation_source, test_source = (
        batches.source(split, eval_batch, config.seed, strategy) for split in (dataset.validation, dataset.test)
    )
    steps = Steps(
        strategy=strategy,
        objective=CrossEntropy(model, config.batch_size, strategy.num_replicas_in_sync),
        optimizer=optimizer,
        projector=Projector(
            targets,
            timeline.total_steps,
            OptimizerState(optimizer, model.trainable_variables),
            learning_rate(optimizer),
        ),
        train_source=train_source,
        eval_source=validation_source,
        clip_norm=config.clip_norm,
        jit=config.jit == "on",
        max_nonfinite=config.nonfinite_in_a_row,
    )
    steps.project_fully()
    built = Experiment(
        config=config,
        timeline=timeline,
        strategy=strategy,
        model=model,
        optimizer=optimizer,
        targets=targets,
        steps=steps,
        train_source=train_source,
        test_source=test_source,
        splits=_splits(config, dataset),
        warnings=dataset.warnings,
        state=RunState(steps.num_totals, steps.objective.metric_copies),
    )
    if config.jit == "on" and (obstacle := jit_autotune(built, 0).obstacle()) is not None:
        raise ValueError(f"--jit=on: XLA cannot compile this model ({obstacle}); use --jit=off or --jit=auto.")
    return built


def _splits(config: Config, dataset: data.Dataset) -> dict[str, dict[str, Any]]:
    assert dataset.validation is not None
    return {
        "train": {"split": config.train_split, "examples": dataset.train.num_examples},
        "validation": {"split": config.validation_split, "examples": dataset.validation.num_examples},
        "test": {"split": dataset.test_split, "examples": dataset.test.num_examples},
    }


def data_line(experiment: Experiment) -> str:
    """What each part of the data is for, in a sentence."""
    train, validation, test = (experiment.splits[part] for part in ("train", "validation", "test"))
    held_out = splits.share(validation["split"]) is not None
    origin = "held out of it" if held_out else f"of {validation['split']}"
    return (
        f"data {experiment.config.dataset}: {train['examples']:,} examples of {train['split']} to train on, "
        f"{validation['examples']:,} {origin} to choose the best checkpoint on, "
        f"{test['examples']:,} of {test['split']} to report on, once, at the end"
    )


def keep_data(config: Config) -> None:
    """Leaves a data set on disk for the next run; this one has it in memory.

    Raises:
      ValueError: the disk does not take it.
    """
    tfds_prepare.keep(config.dataset, config.data_dir)


def jit_autotune(experiment: Experiment, step: int) -> JitAutotune:
    """Steps from a given one that are taken back, see `trainer.engine.jit_autotune`."""
    remembered = [variable for target in experiment.targets for variable in target.state]
    metrics = experiment.steps.objective.metric_copies
    changed = [*experiment.model.variables, *experiment.optimizer.variables, *remembered, *metrics]
    return JitAutotune(experiment.steps, changed, experiment.train_source.seek, step)


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
