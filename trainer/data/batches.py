"""The batches of a split of a data set."""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf

from . import dataset
from .arrays import Arrays
from .augment import Augmentation
from .image_files import ImageFiles
from .source import Source
from .stream import Stream

# Examples a streamed shuffle holds at a time.
SHUFFLE_BUFFER = 10_000
# The most bytes of them that a checkpoint takes in, so that a run goes on without reading the data again.
POSITION_LIMIT = 2**30


def source(
    split: dataset.Split,
    batch_size: int,
    seed: int,
    strategy: tf.distribute.Strategy,
    augmentation: Augmentation | None = None,
) -> Source:
    """Makes the source of a split: memory if the split was loaded there, else its stream.

    Args:
      split: the examples.
      batch_size: examples in a global batch; a multiple of the number of replicas.
      seed: seed of the shuffle.
      strategy: the strategy whose replicas share each batch.
      augmentation: changes what is trained on, see `Source`.

    Raises:
      ValueError: the replicas cannot share a batch evenly, or the augmentation is of other images.
    """
    if split.features is not None:
        if augmentation is not None:
            augmentation.check(split.features)
        labels: tuple[np.ndarray, ...] = () if split.labels is None else (split.labels,)
        # Class numbers are int32 and all else is float32, whatever the caller's arrays are.
        labels = tuple(y if y.dtype == np.float32 else y.astype(np.int32) for y in labels)
        weights = () if split.weights is None else (split.weights.astype(np.float32),)
        data = (split.features, *labels, *weights)
        return Arrays(data, batch_size, strategy, seed=seed, convert=dataset.to_float, augmentation=augmentation)

    def shuffled() -> tf.data.Dataset:
        size = min(SHUFFLE_BUFFER, split.num_examples)
        examples = split.examples().shuffle(size, seed=seed, reshuffle_each_iteration=True)
        return examples.batch(batch_size, drop_remainder=True)

    examples = split.examples()
    files = split.stream
    if isinstance(files, ImageFiles):
        make_from = functools.partial(files.batches, batch_size, seed)
        return Stream(
            make_from,
            strategy,
            evaluation=examples.batch(batch_size),
            num_examples=split.num_examples,
            steps_per_epoch=split.num_examples // batch_size,
            convert=dataset.to_float,
            make_from=make_from,
            augmentation=augmentation,
        )
    each = sum(math.prod(spec.shape) * spec.dtype.size for spec in tf.nest.flatten(examples.element_spec))
    return Stream(
        shuffled,
        strategy,
        evaluation=examples.batch(batch_size),
        num_examples=split.num_examples,
        convert=dataset.to_float,
        saved=min(SHUFFLE_BUFFER, split.num_examples) * each <= POSITION_LIMIT,
        augmentation=augmentation,
    )
