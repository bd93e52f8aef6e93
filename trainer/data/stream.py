"""Examples from a `tf.data.Dataset`, and where in it a run is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from .arrays import check_shared, convert_specs
from .source import convert_features, part

_SHAPE = "expected x, (x, y) or (x, y, sample_weight)"


class Stream:
    """Batches of a data set in its own order, which starts again at its end.

    Args:
      make: makes the data set of batches to train on; none smaller than the others where several replicas share them.
        A data set with a shuffle has another order each time it is opened, so each `seek` makes it anew.
      strategy: the strategy whose replicas share each batch.
      evaluation: batches to evaluate on; None: the same. Only the last one may be smaller than the others.
      num_examples: how many examples there are; None if that is unknown.
      steps_per_epoch: how many batches are an epoch; None: as many as the data set has.
      convert: applied to each tensor of the features of a batch.

    Raises:
      ValueError: the elements are no batches of tensors, or the replicas cannot share one evenly.
    """

    indexed = False

    def __init__(
        self,
        make: Callable[[], tf.data.Dataset],
        strategy: tf.distribute.Strategy,
        *,
        evaluation: tf.data.Dataset | None = None,
        num_examples: int | None = None,
        steps_per_epoch: int | None = None,
        convert: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ):
        self._make = make
        batches = make()
        specs = check_elements(batches)
        self.num_examples = num_examples
        self.batch_size: int | None = tf.nest.flatten(specs)[0].shape[0]
        if self.batch_size is not None:
            check_shared(self.batch_size, strategy)
        self._convert = convert
        self._specs = specs
        self.steps_per_epoch = steps_per_epoch or _cardinality(batches)
        self._evaluation = batches if evaluation is None else evaluation
        self._iterator: Any = None

    @functools.cached_property
    def spec(self) -> tuple[Any, ...]:
        """The spec of every tensor of a global batch."""
        return convert_specs(self._specs, self._convert)

    @property
    def arrays(self) -> Any:
        """The open data set, once `seek` opened it: compiled functions go on with the new one after another `seek`."""
        return () if self._iterator is None else self._iterator

    def seek(self, step: int, dropped: int = 0) -> None:
        """Opens the data set at a step; the batches before it are read and dropped, which makes resuming exact."""
        self._iterator = iter(_endless(self._make()).skip(step + dropped).prefetch(tf.data.AUTOTUNE))

    def train_batch(self, arrays: Any, step: tf.Tensor) -> tuple[Any, ...]:
        """The next batch."""
        del step
        return as_batch(next(arrays))

    def eval_batches(self) -> Iterator[tuple[Any, ...]]:
        """The batches to evaluate on."""
        return map(as_batch, self._evaluation.prefetch(tf.data.AUTOTUNE))

    def take(self, arrays: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Slices this replica's part of the batch."""
        del arrays
        return convert_features(tf.nest.map_structure(part, batch), self._convert)


def from_dataset(
    dataset: tf.data.Dataset,
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
) -> Stream:
    """Makes a source of a user's data set.

    Args:
      dataset: elements x, (x, y) or (x, y, sample_weight): batches, or single examples with a `batch_size`.
      strategy: the strategy whose replicas share each batch.
      batch_size: examples in a global batch; None: the data set is batched already.
      steps_per_epoch: how many batches are an epoch; None: as many as the data set has.

    Raises:
      ValueError: the data set cannot be trained on; the sentence says why and what to do.
    """
    check_elements(dataset, batched=batch_size is None)
    if batch_size is not None:
        return Stream(
            lambda: dataset.batch(batch_size, drop_remainder=True),
            strategy,
            evaluation=dataset.batch(batch_size),
            steps_per_epoch=steps_per_epoch,
        )
    batches = dataset
    if strategy.num_replicas_in_sync > 1 and tf.nest.flatten(dataset.element_spec)[0].shape[0] is None:
        # A batch of unknown size cannot be divided in a compiled step. The first one shows what size is meant.
        first = next(iter(dataset.take(1)), None)
        if first is None:
            raise ValueError("The data set is empty; give at least one batch.")
        size = int(tf.nest.flatten(first)[0].shape[0])
        check_shared(size, strategy)
        # A smaller batch at the end of a pass is filled up with the first examples of the next.
        batches = _endless(dataset).rebatch(size, drop_remainder=True)
        steps_per_epoch = steps_per_epoch or _cardinality(dataset)
    return Stream(lambda: batches, strategy, evaluation=dataset, steps_per_epoch=steps_per_epoch)


def _cardinality(dataset: tf.data.Dataset) -> int | None:
    """How many elements a data set has; None if it is endless or does not know."""
    number = int(dataset.cardinality())
    return number if number >= 0 else None


def _endless(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY else dataset.repeat()


def as_batch(element: Any) -> tuple[Any, ...]:
    """An element of a data set as `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
    return element if isinstance(element, tuple) else (element,)


def check_elements(dataset: tf.data.Dataset, batched: bool = True) -> tuple[Any, ...]:
    """The specs of a data set's batches; ValueError if a model cannot take its elements.

    Args:
      dataset: the data set.
      batched: whether its elements are batches, and not single examples.
    """
    specs = as_batch(dataset.element_spec)
    if not 1 <= len(specs) <= 3:
        raise ValueError(f"An element of the data set is a tuple of {len(specs)}; {_SHAPE}.")
    for spec in tf.nest.flatten(specs):
        if not isinstance(spec, tf.TensorSpec):
            kind = type(spec).__name__.removesuffix("Spec")
            raise ValueError(f"The data set has elements of type {kind}; {_SHAPE} of dense tensors.")
        if spec.shape.rank is None:
            raise ValueError(f"The data set has elements of unknown rank, {spec}; set their shape with `ensure_shape`.")
        if batched and spec.shape.rank == 0:
            raise ValueError("The data set has single examples; batch it with `batch`, or give a batch_size.")
    if not tf.nest.flatten(specs[0]):
        raise ValueError(f"An element of the data set has no features; {_SHAPE}.")
    return specs
