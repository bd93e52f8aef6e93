"""Examples as `fit`, `evaluate` and `predict` are given them, and the sources made of them."""

from __future__ import annotations

import dataclasses
import operator
import zlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import augment, batches, weighting
from ..data.arrays import Arrays, prepare
from ..data.parts import Dataset, Split
from ..data.source import Source
from ..data.stream import from_dataset
from ..data.task import RECONSTRUCTION
from ..settings import class_weight as class_weights

BATCH_SIZE = 32
# Examples in one batch of an evaluation, per replica.
EVAL_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What `fit` trains and validates on.

    Attributes:
      train: batches to learn from.
      validation: examples to choose the best weights on; None: there are none.
      description: tells these examples from others, as plain JSON values.
      test: examples to judge the finished run on; None: there are none.
      reconstructs: whether the labels are the features.
      told: what a `trainer.training.run.Run` says of the examples.
      classes: the lowest and highest label, where labels are whole numbers in memory; None elsewhere.
    """

    train: Source
    validation: Source | None
    description: dict[str, Any]
    test: Source | None = None
    reconstructs: bool = False
    told: dict[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[int, int] | None = None

    def check_classes(self, loss: Any, outputs: tuple[int, ...] | None) -> None:
        """Raises ValueError for a label that is no class of a sparse cross-entropy.

        TensorFlow would refuse it in the middle of a step, and may name another operation than the loss.

        Args:
          loss: as in `compile`.
          outputs: shape of the model's output; None where it has several.
        """
        sparse = keras.losses.SparseCategoricalCrossentropy
        if loss == "sparse_categorical_crossentropy":
            loss = sparse()
        if self.classes is None or not outputs or type(loss) is not sparse or loss.get_config().get("ignore_class"):
            return
        number = outputs[-1]
        for label in self.classes:
            if not 0 <= label < number:
                raise ValueError(
                    f"y holds the class {label}, but the model has {number} outputs, for the classes 0 to "
                    f"{number - 1}; mend y, or the model's last layer."
                )


def given(
    x: Any,
    y: Any,
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_batch_size: int | None,
    seed: int,
) -> Inputs:
    """Makes sources of the arguments of `fit`.

    Raises:
      ValueError: they contradict each other, or the examples cannot be trained on.
      TypeError: something is not made of numbers.
    """
    steps_per_epoch = None if steps_per_epoch is None else whole("steps_per_epoch", steps_per_epoch)
    share = _share(validation_split)
    if isinstance(x, Dataset):
        own = {"y": y, "validation_data": validation_data, "sample_weight": sample_weight}
        for name, value in {**own, "validation_split": share or None, "steps_per_epoch": steps_per_epoch}.items():
            if value is not None:
                raise ValueError(
                    f"{name} means nothing beside what load_data returns, which has its parts; leave it out."
                )
        weighed = x if class_weight is None else weighting.weighted(x, class_weights.parsed(class_weight))
        per_step = whole("batch_size", BATCH_SIZE if batch_size is None else batch_size)
        return _of_dataset(weighed, strategy, per_step, _eval_size(validation_batch_size, strategy), seed, shuffle)
    held: tuple[Any, ...] | None = None
    classes = None
    if isinstance(x, tf.data.Dataset):
        for name, value in {"y": y, "sample_weight": sample_weight, "class_weight": class_weight}.items():
            if value is not None:
                raise ValueError(f"{name} is part of a data set's elements, (x, y, sample_weight); leave it out.")
        if share:
            raise ValueError(f"validation_split={share} needs arrays; give validation_data with a data set.")
        size = None if batch_size is None else whole("batch_size", batch_size)
        train: Source = from_dataset(x, strategy, batch_size=size, steps_per_epoch=steps_per_epoch)
        description: dict[str, Any] = {"elements": str(x.element_spec)}
    else:
        if x is None:
            raise ValueError("there is nothing to train on; give x, and y, or a tf.data.Dataset.")
        data = prepare(x, y, sample_weight, class_weight)
        number = len(tf.nest.flatten(data)[0])
        if len(data) > 1 and isinstance(data[1], np.ndarray) and data[1].dtype.kind in "iu":
            classes = int(data[1].min()), int(data[1].max())
        if share:
            # The last ones, as in Keras, before any shuffle.
            first = number - int(number * share)
            if not 0 < first < number:
                raise ValueError(f"validation_split={share} leaves {first} of {number} examples to train on.")
            data, held = _rows(data, slice(0, first)), _rows(data, slice(first, None))
        size = whole("batch_size", BATCH_SIZE if batch_size is None else batch_size)
        train = Arrays(data, size, strategy, seed=seed, shuffle=bool(shuffle))
        description = _checksums(data)
    validation = None
    if validation_data is not None:
        several = validation_data if isinstance(validation_data, tuple) else (validation_data,)
        if not isinstance(validation_data, (tuple, list, tf.data.Dataset)):
            raise TypeError("validation_data is neither a tf.data.Dataset nor a tuple (x, y).")
        if not 1 <= len(several) <= 3:
            raise ValueError(f"validation_data has {len(several)} parts; expected (x, y) or (x, y, sample_weight).")
        features, labels, weights = (*several, None, None)[:3]
        size = validation_batch_size or batch_size
        validation = evaluated(features, labels, weights, size, validation_steps, strategy)
    elif held is not None:
        validation = Arrays(held, _eval_size(validation_batch_size, strategy), strategy, shuffle=False)
    return Inputs(train, validation, description, classes=classes)


def _of_dataset(
    dataset: Dataset, strategy: tf.distribute.Strategy, batch_size: int, eval_size: int, seed: int, shuffle: bool
) -> Inputs:
    """Makes sources of the parts of a data set."""
    if not shuffle:
        raise ValueError(
            "shuffle=False means nothing beside what load_data returns; give data.train.x and data.train.y."
        )
    if batch_size > dataset.train.num_examples:
        raise ValueError(f"batch_size={batch_size} is more than the {dataset.train.num_examples} training examples.")
    test, validation = (
        None if part is None else batches.source(part, eval_size, seed, strategy)
        for part in (dataset.test, dataset.validation)
    )
    told = dataset.described()
    description = {"dataset": dataset.name, "parts": told["splits"]}
    description |= {"augment": list(dataset.augment)} if dataset.augment else {}
    arrays = [array for array in (dataset.train.features, dataset.train.labels) if array is not None]
    if not dataset.fingerprint and arrays:
        description |= _checksums(arrays)
    return Inputs(
        batches.source(dataset.train, batch_size, seed, strategy, augment.of(dataset, dataset.augment, seed)),
        validation,
        description,
        test,
        dataset.task.name == RECONSTRUCTION,
        told,
    )


def evaluated(
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int | None,
    steps: int | None,
    strategy: tf.distribute.Strategy,
) -> Source:
    """Makes a source of the arguments of `evaluate` and `predict`; raises as `given`."""
    if isinstance(x, Split):
        return batches.source(x, _eval_size(batch_size, strategy), 0, strategy)
    if isinstance(x, tf.data.Dataset):
        size = None if steps is None else whole("steps", steps)
        if size is None and int(x.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "the data set has no end; say how many of its batches to evaluate: steps, validation_steps."
            )
        return from_dataset(x if size is None else x.take(size), strategy)
    return Arrays(prepare(x, y, sample_weight), _eval_size(batch_size, strategy), strategy, shuffle=False)


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1; raises TypeError or ValueError for any other."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} is not a whole number.") from None
    if number < 1 or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is out of range; expected a whole number of at least 1.")
    return number


def _share(value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise ValueError(f"validation_split={value!r} is no share; expected a number of at least 0 and below 1.")
    return float(value)


def _eval_size(batch_size: int | None, strategy: tf.distribute.Strategy) -> int:
    if batch_size is None:
        return EVAL_BATCH * strategy.num_replicas_in_sync
    return whole("batch_size", batch_size)


def _rows(data: Any, rows: slice) -> Any:
    return tf.nest.map_structure(lambda array: array[rows], data)


def _checksums(data: Any) -> dict[str, Any]:
    """The number of examples and a checksum of all of them: another data set is another run."""
    arrays = tf.nest.flatten(data)
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, checksum)
    shapes = [f"{array.dtype} {list(array.shape)}" for array in arrays]
    return {"arrays": shapes, "crc32": f"{checksum:08x}"}
