"""Weights of classes, as weights of the training examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .parts import Dataset, Split


def weighted(dataset: Dataset, class_weight: Mapping[str, float] | str) -> Dataset:
    """A data set whose training examples count by their class; the others count as before.

    Args:
      dataset: a data set of classes.
      class_weight: "balanced", or class -> weight; 1 for a class without one.

    Raises:
      ValueError: there are no classes, none of that name, or they cannot be counted.
    """
    train = dataset.train
    labels: Any = train.labels if train.stream is None else getattr(train.stream, "labels", None)
    if labels is None and isinstance(class_weight, str):
        if dataset.task.name == "classification":
            raise ValueError(
                f"--class_weight={class_weight} counts examples in memory, but those of `{dataset.name}` are too many; "
                "give the weights, such as 0:1,1:5."
            )
        labels = np.zeros(0, np.int32)
    weights = dataset.task.weights_of_classes(class_weight, labels)
    return dataclasses.replace(dataset, train=_of_examples(train, weights))


def _of_examples(train: Split, weights: np.ndarray) -> Split:
    if train.labels is not None:
        own = weights[train.labels]
        return dataclasses.replace(train, weights=own if train.weights is None else train.weights * own)
    stream: Any = train.stream
    if hasattr(stream, "labels"):
        own = weights[stream.labels]
        whole = dataclasses.replace(stream, weights=own if stream.weights is None else stream.weights * own)
        return dataclasses.replace(train, stream=whole, weighted=True)

    def mapped() -> Any:
        import tensorflow as tf

        of_class = tf.constant(weights)
        return stream().map(lambda x, y, w=1.0: (x, y, w * tf.gather(of_class, y)), tf.data.AUTOTUNE)

    return dataclasses.replace(train, stream=mapped, weighted=True)
