"""What the trainer reads of Keras's optimizers, layers and graphs that has no public name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Lists of an optimizer that are the weights themselves, or their average over steps.
_NO_STATE = ("_trainable_variables", "_model_variables_moving_average")


def unwrapped(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer that changes the weights: the inner one of a `LossScaleOptimizer`, else the optimizer itself."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def of_strategy(optimizer: Any, strategy: tf.distribute.Strategy) -> Any:
    """The optimizer, made again where its variables belong to another strategy; a name stays as it is."""
    own = getattr(optimizer, "_distribution_strategy", strategy)
    if own is strategy or optimizer.built:
        return optimizer
    with strategy.scope():
        return type(optimizer).from_config(optimizer.get_config())


def step_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Counts batches, int64. `optimizer.iterations` differs if gradients are accumulated: it counts updates."""
    return unwrapped(optimizer)._iterations


def learning_rate(optimizer: keras.optimizers.Optimizer) -> Callable[[tf.Tensor], tf.Tensor]:
    """The learning rate of an optimizer as a function of the step, an int64 scalar; float32 scalars.

    Only a schedule depends on the step.
    """
    inner = unwrapped(optimizer)

    def rate(step: tf.Tensor) -> tf.Tensor:
        setting = inner._learning_rate
        if isinstance(setting, keras.optimizers.schedules.LearningRateSchedule):
            batches = inner.gradient_accumulation_steps
            setting = setting(step // batches if batches else step)
        elif callable(setting):
            setting = setting()
        return tf.cast(tf.convert_to_tensor(setting), tf.float32)

    return rate


def state_lists(optimizer: keras.optimizers.Optimizer) -> dict[str, list]:
    """The lists of an optimizer that may hold a variable for each weight, such as `momentums`, by name."""
    attributes = vars(unwrapped(optimizer)).items()
    return {name.strip("_"): kept for name, kept in attributes if isinstance(kept, list) and name not in _NO_STATE}


def every_layer(model: keras.Model) -> list[keras.layers.Layer]:
    """The model and all layers in it, those inside wrappers and nested models too, each once."""
    return list(model._flatten_layers())


def producer(tensor: Any) -> tuple[Any, list[Any], int]:
    """Where a symbolic tensor of a functional model comes from.

    Returns:
      The layer or operation that made it, the tensors that it was made of, and its place among the outputs.
    """
    operation, node, place = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors, place
