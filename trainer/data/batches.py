"""Batches: which examples a step sees.

The order of the examples is a pure function of the seed and the step, so a run that is continued sees what it would
have seen, and a run on more replicas sees the same global batches. Every replica is handed the whole global batch (its
indices, where the data is in memory) and takes its own contiguous part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from . import dataset

# Examples a streamed shuffle holds at a time.
SHUFFLE_BUFFER = 10_000
# Stands for "no example": it fills up the last batch of an evaluation.
PADDING = -1


class Source(Protocol):
    """Where batches come from; `arrays` is passed to the compiled functions, for every replica its own copy.

    Attributes:
      indexed: whether a batch follows from its step alone, so that it may be asked for early, and again.
      weighted: whether examples have weights of their own.
      num_examples: how many examples there are.
      batch_size: how many a batch has.
    """

    indexed: bool
    weighted: bool
    num_examples: int
    batch_size: int

    @property
    def arrays(self) -> Any:
        """What `train_batch` and `take` read."""

    def seek(self, step: int, dropped: int = 0) -> None:
        """Makes ready to hand out the batch of this step next, so many batches of the order being left out before."""

    def train_batch(self, arrays: Any, step: tf.Tensor) -> Any:
        """The global batch of a step, in the form `take` understands."""

    def eval_batches(self) -> Iterator[Any]:
        """All examples once, in batches of one shape; the last is padded."""

    def take(self, arrays: Any, batch: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """This replica's features [b, ...], labels [b] and weights [b]: an example's own, else 1; 0 for padding."""


def source(split: dataset.Split, batch_size: int, seed: int, strategy: tf.distribute.Strategy) -> Source:
    """Chooses the source: memory where the split was loaded there, else its stream.

    Args:
      split: the examples.
      batch_size: examples in a global batch; a multiple of the number of replicas.
      seed: seed of the shuffle.
      strategy: the strategy whose replicas share each batch.
    """
    kind = Streamed if split.features is None else InMemory
    return kind(split, batch_size, seed, strategy)


class InMemory:
    """Examples held in memory and indexed by a permutation of each epoch that seed and epoch alone determine."""

    indexed = True

    def __init__(self, split: dataset.Split, batch_size: int, seed: int, strategy: tf.distribute.Strategy):
        self.weighted = split.weights is not None
        self.num_examples = split.num_examples
        weights = (split.weights,) if self.weighted else ()
        self._arrays = strategy.experimental_distribute_values_from_function(
            lambda _: (
                tf.constant(split.features),
                tf.constant(split.labels, tf.int32),
                *(tf.constant(values, tf.float32) for values in weights),
            )
        )
        self.batch_size = batch_size
        self._seed = seed
        # Both follow from the step, so neither is saved: the first batch after a restart finds no epoch and shuffles.
        self._permutation = tf.Variable(tf.range(split.num_examples), trainable=False)
        self._epoch = tf.Variable(np.int64(-1), trainable=False)
        self._dropped = tf.Variable(np.int64(0), trainable=False)

    @property
    def arrays(self) -> Any:
        """Features, labels and, if there are any, weights of all examples."""
        return self._arrays

    def seek(self, step: int, dropped: int = 0) -> None:
        """Little to do: a step's batch follows from its number."""
        del step
        self._dropped.assign(dropped)

    def train_batch(self, arrays: Any, step: tf.Tensor) -> tf.Tensor:
        """Indices of the step's examples, int32 [batch_size]; examples that do not fill a batch sit an epoch out."""
        del arrays
        step += self._dropped
        steps_per_epoch = self.num_examples // self.batch_size
        epoch, position = step // steps_per_epoch, step % steps_per_epoch

        def shuffle() -> tf.Tensor:
            order = tf.random.experimental.stateless_shuffle(tf.range(self.num_examples), seed=[self._seed, epoch])
            self._permutation.assign(order)
            self._epoch.assign(epoch)
            return tf.constant(True)

        tf.cond(tf.equal(epoch, self._epoch), lambda: tf.constant(False), shuffle)
        return tf.slice(self._permutation, [position * self.batch_size], [self.batch_size])

    def eval_batches(self) -> Iterator[tf.Tensor]:
        """Indices of consecutive examples, int32 [batch_size]."""
        for start in range(0, self.num_examples, self.batch_size):
            indices = np.arange(start, start + self.batch_size, dtype=np.int32)
            yield tf.constant(np.where(indices < self.num_examples, indices, PADDING))

    def take(self, arrays: Any, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gathers this replica's part of the batch."""
        features, labels, *weighed = arrays
        indices = _part(batch)
        rows = tf.maximum(indices, 0)
        weights = tf.cast(indices != PADDING, tf.float32)
        for values in weighed:
            weights *= tf.gather(values, rows)
        return dataset.to_float(tf.gather(features, rows)), tf.gather(labels, rows), weights


class Streamed:
    """Examples read from disk, shuffled through a buffer."""

    indexed = False

    def __init__(self, split: dataset.Split, batch_size: int, seed: int, strategy: tf.distribute.Strategy):
        del strategy
        self.weighted = split.weighted
        self.num_examples = split.num_examples
        self._split = split
        self.batch_size = batch_size
        self._seed = seed
        self._iterator: Any = None

    @property
    def arrays(self) -> Any:
        """The stream, once `seek` opened it: compiled functions go on with the new one after another `seek`."""
        return () if self._iterator is None else self._iterator

    def seek(self, step: int, dropped: int = 0) -> None:
        """Positions the stream at a step; the batches before it are read and dropped, which makes resuming exact."""
        batches = (
            self._split.examples()
            .shuffle(min(SHUFFLE_BUFFER, self._split.num_examples), seed=self._seed, reshuffle_each_iteration=True)
            .batch(self.batch_size, drop_remainder=True)
            .repeat()
            .skip(step + dropped)
        )
        self._iterator = iter(batches.prefetch(tf.data.AUTOTUNE))

    def train_batch(self, arrays: Any, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The next features [batch_size, ...], labels and, if there are any, weights [batch_size] of the stream."""
        del step
        features, labels, *weights = next(arrays)
        return features, tf.cast(labels, tf.int32), *weights

    def eval_batches(self) -> Iterator[tuple[tf.Tensor, ...]]:
        """Examples in the order on disk; the last batch is padded with zeros and the label `PADDING`."""
        for features, labels, *weights in self._split.examples().batch(self.batch_size).prefetch(tf.data.AUTOTUNE):
            missing = self.batch_size - labels.shape[0]
            rows = [[0, missing]] + [[0, 0]] * (len(features.shape) - 1)
            padded = tf.pad(tf.cast(labels, tf.int32), [[0, missing]], constant_values=PADDING)
            yield tf.pad(features, rows), padded, *(tf.pad(values, [[0, missing]]) for values in weights)

    def take(self, arrays: Any, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Slices this replica's part of the batch."""
        del arrays
        features, labels, *weighed = map(_part, batch)
        weights = weighed[0] if weighed else tf.cast(labels != PADDING, tf.float32)
        return dataset.to_float(features), tf.maximum(labels, 0), weights


def _part(batch: tf.Tensor) -> tf.Tensor:
    """The rows of a global batch that belong to the replica that asks."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return batch
    size = batch.shape[0] // context.num_replicas_in_sync
    first = tf.cast(context.replica_id_in_sync_group, tf.int32) * size
    return tf.slice(batch, [first] + [0] * (len(batch.shape) - 1), [size, *batch.shape[1:]])
