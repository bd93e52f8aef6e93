"""Tiny data and networks, and the trainer's parts put together around them as `trainer.training.experiment` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import constraints
import models
from tests.support.rules import rule_of
from trainer.data import batches, dataset
from trainer.data.source import Source
from trainer.engine import optimizers
from trainer.engine.objective import CrossEntropy
from trainer.engine.optimizer_state import OptimizerState
from trainer.engine.projector import Projector
from trainer.engine.train_step import Steps
from trainer.rules import matching
from trainer.rules import target as targets
from trainer.rules.target import Target
from trainer.runtime import replicas as devices
from trainer.runtime.keras_internals import learning_rate
from trainer.settings.config import Config
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline

EXAMPLES, FEATURES, CLASSES, BATCH = 26, 4, 3, 8
STEPS_PER_EPOCH = EXAMPLES // BATCH

# What lets a set take kernels of any size, or bind on small ones, where its default does not.
OPTIONS: dict[str, dict[str, Any]] = {"block": {"block": (1, 1)}, "lowrank": {"rank": 2}}


def split(num_examples: int = EXAMPLES, shape: Sequence[int] = (FEATURES,), classes: int = CLASSES) -> dataset.Split:
    """Random examples around one mean per class."""
    rng = np.random.default_rng(num_examples)
    labels = (np.arange(num_examples) % classes).astype(np.int32)
    means = 2 * rng.standard_normal((classes, *shape))
    features = means[labels] + rng.standard_normal((num_examples, *shape))
    return dataset.Split(num_examples, features.astype(np.float32), labels)


def streamed(memory: dataset.Split) -> dataset.Split:
    """The same examples, from a stream."""

    return dataset.Split(memory.num_examples, None, None, stream=memory.examples, weighted=memory.weighted)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What an experiment holds, without its directory."""

    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    targets: list[Target]
    projector: Projector
    source: Source
    steps: Steps

    def train(self, num_steps: int, measure: bool = False, totals: Any = None) -> Any:
        """Makes steps, with totals from zero unless some are given."""
        return self.steps.train(num_steps, np.zeros(5) if totals is None else totals, np.zeros(2), measure)

    def variables(self) -> list[Any]:
        """Weights, dropout seeds and optimizer state."""
        return [*self.model.variables, *self.optimizer.variables]

    def state(self) -> list[np.ndarray]:
        """The values of `variables`."""
        return [variable.numpy() for variable in self.variables()]

    def reset(self, state: Sequence[np.ndarray]) -> None:
        """Goes back to a state, as a restored checkpoint does; nothing is traced again."""
        for variable, value in zip(self.variables(), state, strict=True):
            variable.assign(value)


def parts(
    *rule_settings: Rule,
    replicas: int = 1,
    total_steps: int = 60,
    memory: dataset.Split | None = None,
    train: dataset.Split | None = None,
    judge: dataset.Split | None = None,
    hidden_units: tuple[int, ...] = (5,),
    dropout: float = 0.0,
    **settings: Any,
) -> Parts:
    """Builds an mlp and everything that trains it; `settings` are those of `Config`."""
    config = Config(rules=rule_settings or (rule_of(),), batch_size=BATCH, train_steps=total_steps, **settings)
    memory = memory or split()
    keras.utils.set_random_seed(config.seed)
    strategy = devices.strategy(replicas)
    timeline = Timeline(total_steps, STEPS_PER_EPOCH)
    with strategy.scope():
        model = models.REGISTRY["mlp"](memory.features.shape[1:], CLASSES, hidden_units=hidden_units, dropout=dropout)
        targets = matching.match(config.rules, model, timeline)
        for target in targets:
            for variable in target.variables if config.l1 or config.l2 else ():
                variable.regularizer = keras.regularizers.L1L2(config.l1, config.l2)
        optimizer = optimizers.build(config, timeline)
        optimizer.build(model.trainable_variables)
    projector = Projector(
        targets, total_steps, OptimizerState(optimizer, model.trainable_variables), learning_rate(optimizer)
    )
    source = batches.source(train or memory, BATCH, config.seed, strategy)
    # Larger than what is left over, so that the last batch of an evaluation is padded.
    judged = batches.source(judge or memory, 12, config.seed, strategy)
    objective = CrossEntropy(model, BATCH, replicas)
    steps = Steps(strategy, objective, optimizer, projector, source, judged, config.clip_norm)
    return Parts(strategy, model, optimizer, targets, projector, source, steps)


def target(name: str, variable: Any, axes: Sequence[int] = (0,), **settings: Any) -> Target:
    """A target of one variable; settings that `Target` does not have are the constraint's."""
    own = {key: settings.pop(key) for key in list(settings) if key in Target.__dataclass_fields__}
    constraint = own.pop("constraint", None) or constraints.REGISTRY[name](**settings)
    constraint = dataclasses.replace(constraint, axis=tuple(axes))
    shape = tuple(variable.shape)
    fields = {"rule_index": 1, "label": variable.path, **own}
    packing = targets.reshape(shape, shape)
    return Target(name=name, variables=(variable,), packing=packing, constraint=constraint, **fields)


def same_bits(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether two lists of arrays are equal to the last bit."""
    return [np.asarray(value).tobytes() for value in left] == [np.asarray(value).tobytes() for value in right]
