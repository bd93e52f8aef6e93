"""Makes a run of the command line's settings: data set, network, optimizer and rules for a `Trainer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ..data import augment, batches, tfds_prepare, weighting
from ..data import dataset as data
from ..data import task as tasks
from ..data.examples import FileOptions
from ..engine import course, optimizers
from ..engine.objective import Compiled, CrossEntropy, Objective
from ..packages import models
from ..rules import matching
from ..runtime import replicas
from ..settings import class_weight, differences, naming
from ..settings.config import Config
from ..settings.timeline import Timeline
from ..storage import checkpoint_folders
from ..storage.run_directory import RunDirectory
from . import initial_weights, serving, target_notes, user_model
from .inputs import EVAL_BATCH
from .run import Run
from .trainer import Trainer


def build(config: Config) -> Run:
    """Puts the run together.

    Args:
      config: the settings.

    Returns:
      The run, its weights already feasible; nothing has been written.

    Raises:
      ValueError: settings that do not fit the data, the model or the machine; nothing has been written.
    """
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = replicas.strategy(config.num_replicas)
    dataset = _loaded(config)
    timeline = _timeline(config, dataset.train.num_examples, strategy.num_replicas_in_sync)
    with strategy.scope():
        model, from_logits = _model(config, dataset)
        task = dataset.task.for_outputs(model.output_shape[-1]) if isinstance(model, keras.Model) else dataset.task
        dataset = dataclasses.replace(dataset, task=task)
        loss = task.loss(config.loss, label_smoothing=config.label_smoothing, from_logits=from_logits)
        # The fused objective computes the plain cross-entropy of logits, and nothing else.
        usual = config.loss is None and not config.metrics and not config.label_smoothing and from_logits
        fused = usual and task.name == tasks.CLASSIFICATION
        trainer = Trainer(
            (lambda: model) if isinstance(model, keras.Model) else model,
            config.rules,
            optimizer=optimizers.build(config, timeline),
            loss=loss,
            metrics=None if fused else task.metrics(config.metrics, from_logits=from_logits),
            settings=config,
        )
    initial = _begin(config, trainer.model)
    assert dataset.validation is not None
    eval_batch = EVAL_BATCH * strategy.num_replicas_in_sync
    augmentation = augment.of(dataset, config.augment, config.seed)
    train_source = batches.source(dataset.train, config.batch_size, config.seed, strategy, augmentation)
    if fused:
        objective: Objective = CrossEntropy(trainer.model, config.batch_size, strategy.num_replicas_in_sync)
    else:
        objective = Compiled(trainer.model, strategy, train_source.spec, task.name == tasks.RECONSTRUCTION)

    def courses(recorded: dict[str, Any], timeline: Timeline) -> dict[str, course.Course]:
        as_recorded = config.as_recorded(recorded)
        return course.courses(
            matching.match(as_recorded.rules, trainer.model, timeline),
            optimizers.learning_rate(as_recorded, timeline),
            course.intervals(config, timeline),
            timeline.total_steps,
        )

    names = " and ".join(sorted({rule.name for rule in config.rules}))
    with target_notes.explained(config.target):
        run = trainer.prepare(
            train_source=train_source,
            validation_source=batches.source(dataset.validation, eval_batch, config.seed, strategy),
            test_source=batches.source(dataset.test, eval_batch, config.seed, strategy),
            timeline=timeline,
            objective=objective,
            regularizer=keras.regularizers.L1L2(config.l1, config.l2) if config.l1 or config.l2 else None,
            title=f"{config.model} on {config.dataset} under {names}",
            identity=config.identity(),
            courses=courses,
            shown=_shown(config),
            **_described(config, dataset, initial),
            serving=serving.of(dataset, from_logits),
        )
    return dataclasses.replace(run, warnings=(*run.warnings, *target_notes.notes(config.target, run.targets)))


def _loaded(config: Config) -> data.Dataset:
    """The data set, its training examples weighed by their class where that was asked for."""
    dataset = data.load(
        config.dataset,
        data_dir=config.data_dir,
        train_split=config.train_split,
        validation_split=config.validation_split,
        test_split=config.test_split,
        input_shape=config.input_shape,
        num_classes=config.num_classes,
        num_examples=config.num_examples,
        task=config.task,
        loss=config.loss,
        options=FileOptions(**{field.name: getattr(config, field.name) for field in dataclasses.fields(FileOptions)}),
        seed=config.seed,
        # Nothing stays of a command that is refused further down; `trainer.main` keeps the data of one that is not.
        keep=False,
        fetch=not config.dry_run,
    )
    if config.class_weight is None:
        return dataset
    return weighting.weighted(dataset, class_weight.parsed(config.class_weight))


def _model(config: Config, dataset: data.Dataset) -> tuple[keras.Model | Callable[[], keras.Model], bool]:
    """The network of a file or what makes one, and whether its outputs are logits."""
    shape, outputs = dataset.input_shape, dataset.task.num_outputs
    if config.model not in models.REGISTRY:
        return user_model.load(config.model, shape, outputs, dataset.task.name)
    return lambda: models.REGISTRY[config.model](shape, outputs, **config.model_options), True


def _begin(config: Config, model: keras.Model) -> dict[str, str]:
    """Gives a new run its first weights, and returns where they are from, with a fingerprint."""
    if config.init_from is None:
        return {}
    directory = directory_of(config)
    if directory.check() and checkpoint_folders.steps(directory.checkpoints):
        # A continued run has all its weights, whatever has become of the source.
        return {config.init_from: directory.read.get(config.init_from, "")}
    initial_weights.load(config.init_from, model)
    return {config.init_from: initial_weights.fingerprint(config.init_from)}


def _described(config: Config, dataset: data.Dataset, initial: dict[str, str]) -> dict[str, Any]:
    """What the run says of the files that it reads: data, network and first weights."""
    told = dataset.described()
    if config.model not in models.REGISTRY:
        told["files"] = {**told["files"], config.model: user_model.fingerprint(config.model)}
        told["warnings"] = (*told["warnings"], *user_model.notes(config.model))
    told["files"] = {**told["files"], **initial}
    return told


def directory_of(config: Config) -> RunDirectory:
    """The directory of the run that the settings describe; nothing is written yet."""
    return RunDirectory(
        config.directory(),
        config.identity(),
        described=differences.described,
        resume=config.resume,
        overwrite=config.overwrite,
        dry_run=config.dry_run,
    )


def keep_data(config: Config) -> None:
    """Leaves a data set on disk for the next run; this one has it in memory.

    Raises:
      ValueError: the disk does not take it.
    """
    tfds_prepare.keep(config.dataset, config.data_dir)


def _shown(config: Config) -> dict[str, Any]:
    """What a dashboard shows of the settings."""
    shown = differences.as_flags(config.identity())
    # Several rules have a constraint each; one column tells such runs from those of a single rule.
    shown["constraint"] = "+".join(rule.name for rule in config.rules)
    # TensorBoard sorts columns by name, after those that differ: these two, what the run is, come first.
    shown["(rules)"] = "; ".join(" ".join(naming.rule(rule)) for rule in config.rules)
    shown["(settings)"] = " ".join(naming.changed(config)) or "defaults"
    return shown


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
