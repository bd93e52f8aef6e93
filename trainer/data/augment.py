"""Random changes of training images, by Keras's layers, which follow from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..packages import models
from ..settings.checks import check_choice
from .parts import Dataset
from .source import part

# Values of images as a model takes them.
_RANGE = (0.0, 1.0)
# What a layer is told beside how strong the change is. A generator of its own is never asked.
_COMMON = {"seed": 0, "dtype": "float32", "data_format": "channels_last"}


def _crop(strength: float) -> keras.layers.Layer:
    # The pad-and-crop of the literature: the nearest whole pixel, and zeros where the image has moved away.
    return keras.layers.RandomTranslation(strength, strength, fill_mode="constant", interpolation="nearest", **_COMMON)


# By name: how strong the change is unless the user says so, and the layer that makes it.
_LAYERS: dict[str, tuple[float | None, Callable[[float], keras.layers.Layer]]] = {
    "brightness": (0.2, lambda strength: keras.layers.RandomBrightness(strength, value_range=_RANGE, **_COMMON)),
    "contrast": (0.2, lambda strength: keras.layers.RandomContrast(strength, value_range=_RANGE, **_COMMON)),
    "crop": (0.125, _crop),
    "flip": (None, lambda _: keras.layers.RandomFlip("horizontal", **_COMMON)),
    "rotate": (0.05, lambda strength: keras.layers.RandomRotation(strength, fill_mode="constant", **_COMMON)),
    "zoom": (0.1, lambda strength: keras.layers.RandomZoom(strength, fill_mode="constant", **_COMMON)),
}
NAMES = tuple(_LAYERS)


class Augmentation:
    """Changes images at random, each in its own way.

    What a step draws follows from the seed, the step and the place of an image in the global batch. A run that is
    continued, goes back to a checkpoint, or has another number of replicas therefore draws the same.

    | name | change | strength, unless given as `name:strength` |
    |---|---|---|
    | `flip` | mirrored left to right, every second image | |
    | `crop` | moved up to this share of the sides, by whole pixels; what becomes free is 0 | 0.125 |
    | `rotate` | rotated up to this share of a full turn either way; what becomes free is 0 | 0.05 |
    | `zoom` | made larger or smaller up to this share; what becomes free is 0 | 0.1 |
    | `brightness` | up to this number is added or taken away, within [0, 1] | 0.2 |
    | `contrast` | distances from each channel's mean are scaled by up to this share more or less, within [0, 1] | 0.2 |

    Args:
      names: changes in the order in which they are made, such as `("flip", "rotate:0.1")`.
      seed: seed of what is drawn.
      input_shape: shape of one image, `(height, width, channels)`.

    Raises:
      ValueError: an unknown name, a name given twice, a strength out of range, or no images.
    """

    def __init__(self, names: Sequence[str], seed: int, input_shape: tuple[int, ...]):
        flag = f"--augment={','.join(names)}"
        if len(input_shape) != 3:
            raise ValueError(
                f"{flag} changes images, and an example has the shape {input_shape}, not (height, width, channels); "
                "leave it out."
            )
        kinds = [name.partition(":")[0] for name in names]
        for kind in kinds:
            check_choice(f"{flag}: `{kind}`", kind, NAMES)
            if kinds.count(kind) > 1:
                raise ValueError(f"{flag} has `{kind}` twice; give it once.")
        self._layers = [_layer(flag, name) for name in names]
        self._bounded = [kind for kind in kinds if kind in ("brightness", "contrast")]
        self._seed = seed
        self._shape = input_shape

    def check(self, features: np.ndarray) -> None:
        """Raises ValueError for images whose values a change would cut off; those of uint8 become [0, 1] later."""
        if self._bounded and features.dtype != np.uint8 and (features.min() < 0 or features.max() > 1):
            raise ValueError(
                f"--augment={self._bounded[0]} keeps values within [0, 1], and those of the images lie between "
                f"{features.min():g} and {features.max():g}; scale them, or leave it out."
            )

    def __call__(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Changes the calling replica's part of a batch.

        Args:
          images: float32 [n, height, width, channels] with values in [0, 1].
          step: the step's number, an integer scalar.

        Returns:
          Images of the same shape.
        """
        # Draw for the global batch, so that an image fares alike on any number of replicas.
        number = images.shape[0] * tf.distribute.get_replica_context().num_replicas_in_sync
        batch = keras.KerasTensor((number, *self._shape), "float32")
        seeds = _Seeds(self._seed, step)
        for layer in self._layers:
            drawn = layer.get_random_transformation(batch, training=True, seed=seeds)
            own = {name: part(value) if tf.is_tensor(value) else value for name, value in drawn.items()}
            images = layer.transform_images(images, own, training=True)
        return images


def of(dataset: Dataset, names: Sequence[str], seed: int) -> Augmentation | None:
    """The augmentation of a data set's training images; None if no change was asked for.

    Args:
      dataset: the data set.
      names: see `Augmentation`.
      seed: seed of what is drawn.

    Raises:
      ValueError: as `Augmentation` does, and for a data set of texts.
    """
    if not names:
        return None
    if isinstance(dataset.input_shape, models.Tokens):
        raise ValueError(f"--augment={','.join(names)} changes images, but `{dataset.name}` is text; leave it out.")
    return Augmentation(names, seed, dataset.input_shape)


class _Seeds(keras.random.SeedGenerator):
    """Seeds of the draws of one step. It has no variable that would have to be saved and restored."""

    def __init__(self, seed: int, step: tf.Tensor):
        # A variable as in the base class would remember how many steps this process made.
        self._base = tf.random.experimental.stateless_fold_in([seed % 2**31, 0], tf.cast(step, tf.int32))
        self._count = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The seed of the next draw, int32 [2]."""
        del ordered
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._base, self._count)


def _layer(flag: str, name: str) -> Any:
    kind, colon, written = name.partition(":")
    default, make = _LAYERS[kind]
    if default is None:
        if colon:
            raise ValueError(f"{flag}: `{kind}` has no strength; write `{kind}`.")
        return make(0.0)
    try:
        strength = float(written) if colon else default
    except ValueError:
        strength = float("nan")
    if not 0.0 < strength < 1.0:
        raise ValueError(f"{flag}: `{name}` has the strength `{written}`; expected a number between 0 and 1.")
    return make(strength)
