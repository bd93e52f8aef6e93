"""Where batches come from, and each replica's part of a batch.

The order of the examples depends on the seed and the step alone. A run that is continued therefore sees what it would
have seen, and a run on more replicas sees the same global batches. Every replica is handed the whole global batch (its
indices, where the data is in memory) and takes its own contiguous part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import tensorflow as tf


class Source(Protocol):
    """Where batches come from.

    A batch is `(x,)`, `(x, y)` or `(x, y, sample_weight)`. Each part is a tensor or a nested structure of tensors. The
    first axis of every tensor counts the examples.

    Attributes:
      indexed: whether a batch follows from its step alone, so that it may be asked for early, and again.
      augmentation: changes the features of a part of a batch before it is trained on, given them and the step; nothing
        else sees its result. None: nothing does.
    """

    indexed: bool
    augmentation: Callable[[Any, tf.Tensor], Any] | None

    @property
    def num_examples(self) -> int | None:
        """How many examples there are; None if that is unknown."""

    @property
    def batch_size(self) -> int | None:
        """How many examples a batch has; None if batches differ."""

    @property
    def steps_per_epoch(self) -> int | None:
        """How many batches an epoch has; None if that is unknown."""

    @property
    def spec(self) -> tuple[Any, ...]:
        """The `tf.TensorSpec` of every tensor of a global batch, as the model sees it."""

    @property
    def arrays(self) -> Any:
        """What `train_batch` and `take` read. Compiled functions get it as an argument, one copy for each replica."""

    @property
    def waited(self) -> float:
        """Seconds for which training waited for its batches; 0 where the examples are in memory."""

    def seek(self, step: int, dropped: int = 0, log: Callable[[str], None] = lambda text: None) -> None:
        """Makes the batch of this step the next one, after `dropped` more batches of the order were left out.

        Args:
          step: the number of the next step, from 0.
          dropped: batches that were left out so far.
          log: told if this takes long, and how far it is.
        """

    def train_batch(self, arrays: Any, step: tf.Tensor) -> Any:
        """The global batch of a step, in the form that `take` understands."""

    def eval_batches(self) -> Iterator[Any]:
        """All examples once and in order, in the form that `take` understands. The last batch may be smaller."""

    def take(self, arrays: Any, batch: Any) -> tuple[Any, ...]:
        """This replica's part of a batch. The first replica takes all of a batch that cannot be shared evenly."""


def rows(batch: Any) -> int:
    """How many examples a batch has, in the form that `take` understands."""
    return int(tf.nest.flatten(batch)[0].shape[0])


def padded(batch: Any, missing: int) -> Any:
    """A batch with so many more examples, of zeros."""
    if not missing:
        return batch
    return tf.nest.map_structure(
        lambda values: tf.pad(values, [[0, missing]] + [[0, 0]] * (len(values.shape) - 1)), batch
    )


def convert_features(batch: tuple[Any, ...], convert: Callable[[tf.Tensor], tf.Tensor] | None) -> tuple[Any, ...]:
    """A batch with a function applied to every tensor of its features."""
    return batch if convert is None else (tf.nest.map_structure(convert, batch[0]), *batch[1:])


def part(values: tf.Tensor) -> tf.Tensor:
    """The rows of a global batch that belong to the calling replica."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    if values.shape[0] % context.num_replicas_in_sync:
        return values if replica_number() == 0 else values[:0]
    size = values.shape[0] // context.num_replicas_in_sync
    first = tf.cast(context.replica_id_in_sync_group, tf.int32) * size
    return tf.slice(values, [first] + [0] * (len(values.shape) - 1), [size, *values.shape[1:]])


def first_row(batch: Any) -> int:
    """The place in the whole batch of the first example of the calling replica's part, an equal one."""
    return replica_number() * int(tf.nest.flatten(batch)[0].shape[0] or 0)


def replica_number() -> int:
    """The number of the calling replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(replica)) if tf.is_tensor(replica) else replica
