"""Examples from a `tf.data.Dataset`, and where in it a run is."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from .arrays import check_shared, convert_specs
from .source import convert_features, part
from .stopwatch import Stopwatch

# Batches between two looks at the clock, and seconds between two lines about them.
_READ_AT_ONCE = 100
_TELL_EVERY = 10.0
# The tensors of a saved position.
_NAMES = ["iterator", "place"]
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
      saved: whether checkpoints hold the position, and with it the examples in a shuffle buffer.
      make_from: makes the same batches from a given one on, in no time. Then nothing is saved and nothing read again.
      augmentation: see `Source`.

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
        saved: bool = True,
        make_from: Callable[[int], tf.data.Dataset] | None = None,
        augmentation: Callable[[Any, tf.Tensor], Any] | None = None,
    ):
        self._make = make
        batches = make()
        specs = check_elements(batches)
        self.num_examples = num_examples
        self.batch_size: int | None = tf.nest.flatten(specs)[0].shape[0]
        if self.batch_size is not None:
            check_shared(self.batch_size, strategy)
        self._convert = convert
        self.augmentation = augmentation
        self._specs = specs
        self.steps_per_epoch = steps_per_epoch or _cardinality(batches)
        self._evaluation = batches if evaluation is None else evaluation
        self._iterator: Any = None
        self._stopwatch = Stopwatch()
        self._passed_over = 0.0
        self._make_from = make_from
        self._saved = saved and make_from is None
        # Serialised iterators: before the first batch, and where a checkpoint was made, after so many batches.
        self._start: tf.Tensor | None = None
        self._located: tuple[tf.Tensor, int] | None = None

    @functools.cached_property
    def spec(self) -> tuple[Any, ...]:
        """The spec of every tensor of a global batch."""
        return convert_specs(self._specs, self._convert)

    @property
    def arrays(self) -> Any:
        """The open data set, once `seek` opened it: compiled functions go on with the new one after another `seek`."""
        return () if self._iterator is None else self._iterator

    @property
    def waited(self) -> float:
        """Seconds from when each batch was asked for until it came, but for those that `seek` passed over."""
        return self._stopwatch.seconds - self._passed_over

    def seek(self, step: int, dropped: int = 0, log: Callable[[str], None] = lambda text: None) -> None:
        """Opens the data set at a step: where the checkpoint says, else by reading the batches before it again."""
        place, located = step + dropped, self._located
        if self._make_from is not None:
            self._iterator = self._iter(self._make_from(place))
            return
        if located is not None and located[1] <= place:
            try:
                self._iterator = self._opened(located[0])
            except tf.errors.OpError:
                reason = "the position in the checkpoint is of another data set"
            else:
                self._read_past(place - located[1], log)
                return
        else:
            reason = "the checkpoint does not say where in the data it was made"
        self._iterator = self._opened(self._start)
        if self._start is None:
            reason = "the position of this data set cannot be saved"
        elif not self._saved:
            reason = "its shuffle buffer is too large to be saved"
        if place:
            log(f"the {place:,} batches before step {step:,} are read again, because {reason}")
        self._read_past(place, log)

    def record(self, place: int) -> Callable[[str], None] | None:
        """Takes down the present position; the function that is returned writes it to the files of a prefix.

        Args:
          place: how many batches come before the next one.

        Returns:
          The function, which another thread may call; None if the position cannot be saved.
        """
        self._located = None
        state = _serialized(self._iterator) if self._saved and self._iterator is not None else None
        if state is None:
            return None
        tensors = [state, tf.constant(place, tf.int64)]
        return lambda prefix: tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=_NAMES, shape_and_slices=["", ""], tensors=tensors
        )

    def locate(self, prefix: str | None) -> None:
        """Reads a position that `record` wrote, which the next `seek` uses; None: there is none."""
        self._located = None
        if prefix is not None:
            state, place = tf.raw_ops.RestoreV2(
                prefix=prefix, tensor_names=_NAMES, shape_and_slices=["", ""], dtypes=[tf.variant, tf.int64]
            )
            self._located = state, int(place)

    def _opened(self, state: tf.Tensor | None) -> Any:
        """A new iterator, as it was when it was serialised."""
        iterator = self._iter(self._make())
        if self._start is None:
            # A data set that is opened again may have another order, if it shuffles: this is the first one.
            self._start = _serialized(iterator)
        if state is not None:
            resource = iterator._iterator_resource
            with tf.device(resource.device):
                tf.raw_ops.DeserializeIterator(resource_handle=resource, serialized=state)
        return iterator

    def _iter(self, batches: tf.data.Dataset) -> Any:
        return iter(self._stopwatch.timed(_endless(batches).prefetch(tf.data.AUTOTUNE)))

    def _read_past(self, count: int, log: Callable[[str], None]) -> None:
        """Reads so many batches, and says how far it is."""

        def read(iterator: Any, number: tf.Tensor) -> None:
            def one(i: tf.Tensor) -> tf.Tensor:
                next(iterator)
                return i + 1

            tf.while_loop(lambda i: i < number, one, [tf.constant(0)])

        compiled, done, told = tf.function(read, autograph=False), 0, time.monotonic()
        waited = self.waited
        while done < count:
            number = min(count - done, _READ_AT_ONCE)
            try:
                compiled(self._iterator, tf.constant(number))
            except tf.errors.OutOfRangeError:
                raise ValueError(
                    f"The training data ended before batch {count:,}, at which the run is to go on; give the data set "
                    "that the run began with."
                ) from None
            done += number
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                log(f"read {done:,} of {count:,} batches")
        self._passed_over += self.waited - waited

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


def _serialized(iterator: Any) -> tf.Tensor | None:
    """The position of an iterator, a variant; None if a part of its data set has a state outside TensorFlow."""
    resource = iterator._iterator_resource
    try:
        with tf.device(resource.device):
            # 2: a state outside, such as that of a generator, is an error.
            return tf.raw_ops.SerializeIterator(resource_handle=resource, external_state_policy=2)
    except (tf.errors.FailedPreconditionError, tf.errors.UnimplementedError):
        return None


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
