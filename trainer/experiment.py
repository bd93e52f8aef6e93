"""Puts a run together: from the settings to everything that trains, and back to a certificate."""

from __future__ import annotations

import dataclasses
import platform
import sys
from importlib import metadata
from typing import Any

import keras
import tensorflow as tf

from .data import batches, tfds_prepare
from .data import dataset as data
from .engine import optimizers
from .engine.jit_autotune import Rehearsal
from .engine.optimizer_state import Slots
from .engine.projector import Projector
from .engine.train_step import Steps
from .packages import constraints, models
from .reporting.text_table import table
from .rules import layer_groups, mask_source, matching
from .rules import target as targets
from .rules.target import Target
from .runtime import replicas, surroundings
from .settings.config import Config
from .settings.timeline import Timeline
from .storage.checkpoints import Progress

# Examples in one batch of an evaluation, per replica.
EVAL_BATCH = 256
PACKAGES = ("absl-py", "keras", "numpy", "tensorboard", "tensorflow", "tensorflow-datasets")


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
    train_source: batches.Source
    test_source: batches.Source
    splits: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]
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
        mask_source.take(targets, config.rules, model, network)
    eval_batch = EVAL_BATCH * strategy.num_replicas_in_sync
    train_source = batches.source(dataset.train, config.batch_size, config.seed, strategy)
    validation_source, test_source = (
        batches.source(split, eval_batch, config.seed, strategy) for split in (dataset.validation, dataset.test)
    )
    steps = Steps(
        strategy=strategy,
        model=model,
        optimizer=optimizer,
        projector=Projector(
            targets, timeline.total_steps, Slots(optimizer, model.trainable_variables), optimizer._learning_rate
        ),
        train_source=train_source,
        eval_source=validation_source,
        batch_size=config.batch_size,
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
        state=Progress(),
    )
    if config.jit == "on" and (obstacle := rehearsal(built, 0).obstacle()) is not None:
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
    held_out = data.share(validation["split"]) is not None
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


def rehearsal(experiment: Experiment, step: int) -> Rehearsal:
    """Steps from a given one that are taken back, see `trainer.engine.jit_autotune`."""
    remembered = [variable for target in experiment.targets for variable in target.state]
    changed = [*experiment.model.variables, *experiment.optimizer.variables, *remembered]
    return Rehearsal(experiment.steps, changed, experiment.train_source.seek, step)


def variable_table(experiment: Experiment) -> str:
    """The table of all trainable variables, and of what joins several: path, shape, rule, groups, bound, norm, zeros.

    Of rules that take turns on a variable, the first that holds from now on is shown.
    """
    now = int(experiment.optimizer.iterations.numpy())
    upcoming = [target for target in experiment.targets if target.end is None or target.end > now]
    of_variable = {id(variable): target for target in reversed(upcoming) for variable in target.variables}
    names = targets.labels(experiment.model.trainable_variables)
    rows = []
    for layer, variable in layer_groups.owners(experiment.model):
        target = of_variable.get(id(variable))
        if target is None or len(target.variables) > 1:
            free = constraints.REGISTRY["none"](axis=layer_groups.fan_in_axes(layer, variable))
            rows.append(_row(names[id(variable)], variable.shape, target, free, tf.convert_to_tensor(variable)))
        else:
            constraint = target.constraint.at(now)
            rows.append(_row(names[id(variable)], variable.shape, target, constraint, target.weights()))
    for target in upcoming:
        if len(target.variables) > 1:
            label = " + ".join(target.names[:3])
            label += f" + {len(target.variables) - 3} more" if len(target.variables) > 3 else ""
            weights = target.weights()
            rows.append(_row(f"{target.label}: {label}", weights.shape, target, target.constraint.at(now), weights))
    return table(["variable", "shape", "rule", "groups", "bound", "largest norm", "exact zeros"], rows)


def rules_table(experiment: Experiment) -> str:
    """The table of what each rule takes: variables, groups, times, and bounds at the run's start, middle and end."""
    last = experiment.timeline.total_steps
    rows = []
    for target in sorted(experiment.targets, key=lambda target: target.rule):
        rows.append(
            [
                str(target.rule),
                target.name,
                " + ".join(target.names),
                target.grouping,
                f"{target.num_groups:,}",
                f"{target.begin:,} to {last if target.end is None else target.end:,}",
                str(target.project_every),
                *(_bounds(target.constraint.at(step)) for step in (0, last // 2, last)),
            ]
        )
    header = ["rule", "constraint", "variables", "group", "groups", "steps", "every", "at the start", "middle", "end"]
    return table(header, rows)


def _row(
    label: str, shape: Any, target: Target | None, constraint: constraints.Constraint, weights: tf.Tensor
) -> list[str]:
    norms = constraint.norm(weights).numpy()
    return [
        label,
        "x".join(map(str, shape)),
        target.name if target and target.name != "none" else "",
        str(constraint.num_groups(weights.shape)),
        _bounds(constraint),
        f"{norms.max(initial=0):.4g}",
        f"{float(constraints.measures.sparsity(weights)):.1%}",
    ]


def _bounds(constraint: constraints.Constraint) -> str:
    values = " ".join(f"{float(value):g}" for value in constraint.bounds().values())
    # Nothing can violate a penalty, so its number is no bound.
    return f"penalty {values}" if constraint.proximal else values or "-"


def facts(experiment: Experiment) -> dict[str, Any]:
    """What `run.json` says beside the settings: lengths, sizes, devices, versions."""
    return {
        "total_steps": experiment.timeline.total_steps,
        "steps_per_epoch": experiment.timeline.steps_per_epoch,
        "splits": experiment.splits,
        "parameters": experiment.model.count_params(),
        "replicas": experiment.strategy.num_replicas_in_sync,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "environment": surroundings.noted(),
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
