"""A copy of a trained model that any process with Keras can load."""

from __future__ import annotations

from typing import Any

import keras


def plain(model: keras.Model) -> keras.Model:
    """Copies a model without its constraints, its optimizer and its distribution over replicas.

    Args:
      model: built; of stock layers, or of classes that Keras can make again from their configuration.

    Returns:
      A model with weights of the same paths, order and values, not compiled.

    Raises:
      ValueError: Keras cannot make the model again.
    """
    try:
        described = keras.saving.serialize_keras_object(model)
        copy = keras.saving.deserialize_keras_object(_without(described), safe_mode=True)
        if not copy.built:
            copy.build(model.input_shape)
        copy.set_weights(model.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"the model `{model.name}` cannot be copied for its export: {reason}; give its class a get_config() with "
            "the arguments of its constructor."
        ) from None
    return copy


def _without(described: Any) -> Any:
    """A description of a model without what only training needs."""
    if isinstance(described, dict):
        return {
            name: None if name.endswith("_constraint") else _without(value)
            for name, value in described.items()
            if name != "compile_config"
        }
    return [_without(value) for value in described] if isinstance(described, list) else described
