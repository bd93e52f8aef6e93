"""The zeros that `mask` keeps: those of the weights when its rule begins, or those of another run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from ..packages import constraints
from ..settings.rule import Rule
from ..storage import checkpoints, run_directory
from .target import Target


def initialize_masks(
    targets: Sequence[Target], rules: Sequence[Rule], model: keras.Model, build: Callable[[], keras.Model]
) -> None:
    """Sets the mask of each target that has one, before the first step.

    A rule that begins later takes its mask then, see `trainer.engine.projector`; a continued run has it from its
    checkpoint.

    Args:
      targets: the targets.
      rules: the rules they were made of.
      model: the network.
      build: makes another of the same kind, for the weights of another run.

    Raises:
      ValueError: the other run has no checkpoint that is whole, or of another network.
    """
    for target in targets:
        if target.mask is None:
            continue
        source = rules[target.rule_index - 1].mask_from
        weights = target.weights() if source is None else _weights_of(source, target, model, build())
        target.mask.assign(constraints.numerics.nonzero(weights))


def _weights_of(source: str, target: Target, model: keras.Model, other: keras.Model) -> tf.Tensor:
    """The target's weights, joined, as they are in the newest checkpoint of another run."""
    checkpoints.read_weights(pathlib.Path(source) / run_directory.CHECKPOINTS, other, f"mask_from={source}")
    # By their place, as a second network of one kind may be given other names.
    places = {id(variable): place for place, variable in enumerate(model.trainable_variables)}
    theirs = [other.trainable_variables[places[id(variable)]] for variable in target.variables]
    return target.packing.pack([tf.convert_to_tensor(variable) for variable in theirs])
