"""Where a model, its optimizer and its metrics lie: on the replicas of one strategy."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ..runtime import replicas
from ..settings.run import RunSettings


def placed(model: Any, settings: RunSettings) -> tuple[keras.Model, tf.distribute.Strategy]:
    """The model and the strategy whose replicas hold its variables."""
    num_replicas = settings.num_replicas
    if isinstance(model, keras.Model):
        mirrored = [one for one in model.variables if hasattr(one.value, "values")]
        strategy = mirrored[0].value.distribute_strategy if mirrored else tf.distribute.get_strategy()
        count = strategy.num_replicas_in_sync
        if (num_replicas or count) != count or (model.variables and not mirrored and count > 1):
            wanted = num_replicas or count
            raise ValueError(
                f"the model `{model.name}` was made for {1 if not mirrored else count} replica(s), not for {wanted}; "
                "pass a function that builds it, such as Trainer(lambda: make_model(), ...), or make it in the "
                "strategy's scope."
            )
        return model, strategy
    if not callable(model):
        raise TypeError(f"model={model!r} is neither a Keras model nor a function that builds one.")
    strategy = tf.distribute.get_strategy()
    several = (num_replicas or len(tf.config.list_physical_devices("GPU"))) > 1
    if several and not tf.distribute.has_strategy():
        strategy = replicas.strategy(num_replicas)
    with strategy.scope():
        keras.utils.set_random_seed(settings.seed)
        made = model()
    if not isinstance(made, keras.Model):
        raise TypeError(f"model: the function returned {made!r}, which is no Keras model.")
    return made, strategy


def in_scope(given: Any, strategy: tf.distribute.Strategy) -> Any:
    """Metrics, alone or in a structure, made again where their variables belong to another strategy."""
    if isinstance(given, dict):
        return {name: in_scope(value, strategy) for name, value in given.items()}
    if isinstance(given, (list, tuple)):
        return [in_scope(value, strategy) for value in given]
    if not isinstance(given, keras.metrics.Metric) or not given.variables:
        return given
    holder = getattr(given.variables[0].value, "distribute_strategy", None)
    if holder is strategy or (holder is None and not isinstance(strategy, tf.distribute.MirroredStrategy)):
        return given
    return type(given).from_config(given.get_config())


def has_own_loss(model: keras.Model) -> bool:
    """Whether a model says itself what it minimises."""
    return type(model).compute_loss is not keras.Model.compute_loss or bool(model.losses)
