"""Examples in memory: any nested structure of arrays, and the order in which batches take their examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .source import convert_features, part

# The parts of a batch, by the names of `keras.Model.fit`.
_PARTS = ("x", "y", "sample_weight")


class Arrays:
    """Examples in memory, which a permutation of each epoch puts in order; seed and epoch alone determine it.

    Examples that do not fill a batch sit the epoch out. The next epoch has another order.

    Args:
      data: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as `prepare` makes it.
      batch_size: examples in a global batch; to train, at most as many as there are.
      strategy: the strategy whose replicas share each batch.
      seed: seed of the order.
      shuffle: whether an epoch has an order of its own, or that of the arrays.
      convert: applied to each tensor of the features of a batch.
      augmentation: see `Source`.

    Raises:
      ValueError: the replicas cannot share a batch evenly.
    """

    indexed = True
    waited = 0.0

    def __init__(
        self,
        data: tuple[Any, ...],
        batch_size: int,
        strategy: tf.distribute.Strategy,
        *,
        seed: int = 0,
        shuffle: bool = True,
        convert: Callable[[tf.Tensor], tf.Tensor] | None = None,
        augmentation: Callable[[Any, tf.Tensor], Any] | None = None,
    ):
        leaves = tf.nest.flatten(data)
        self.num_examples: int = len(leaves[0])
        check_shared(batch_size, strategy)
        self.batch_size: int = batch_size
        self._arrays = strategy.experimental_distribute_values_from_function(lambda _: tuple(map(tf.constant, leaves)))
        self._structure = tf.nest.map_structure(lambda _: 0, data)
        self._convert = convert
        self.augmentation = augmentation
        self._seed = seed
        self._shuffle = shuffle
        # Both follow from the step, so neither is saved: the first batch after a restart finds no epoch and shuffles.
        self._permutation = tf.Variable(tf.range(self.num_examples), trainable=False)
        self._epoch = tf.Variable(np.int64(-1), trainable=False)
        self._dropped = tf.Variable(np.int64(0), trainable=False)
        self._shapes = [(array.shape[1:], tf.constant(array[:1]).dtype) for array in leaves]

    @functools.cached_property
    def spec(self) -> tuple[Any, ...]:
        """The spec of every tensor of a global batch."""
        specs = [tf.TensorSpec((self.batch_size, *shape), dtype) for shape, dtype in self._shapes]
        return convert_specs(tf.nest.pack_sequence_as(self._structure, specs), self._convert)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.num_examples // self.batch_size

    @property
    def arrays(self) -> Any:
        """All examples, as a flat tuple of tensors."""
        return self._arrays

    def seek(self, step: int, dropped: int = 0, log: Callable[[str], None] = lambda text: None) -> None:
        """Remembers `dropped` only, because a step's batch follows from its number."""
        del step, log
        self._dropped.assign(dropped)

    def train_batch(self, arrays: Any, step: tf.Tensor) -> tf.Tensor:
        """Indices of the step's examples, int32 [batch_size]."""
        del arrays
        step += self._dropped
        epoch, position = step // self.steps_per_epoch, step % self.steps_per_epoch
        if not self._shuffle:
            return tf.cast(position * self.batch_size, tf.int32) + tf.range(self.batch_size)

        def shuffle() -> tf.Tensor:
            order = tf.random.experimental.stateless_shuffle(tf.range(self.num_examples), seed=[self._seed, epoch])
            self._permutation.assign(order)
            self._epoch.assign(epoch)
            return tf.constant(True)

        tf.cond(tf.equal(epoch, self._epoch), lambda: tf.constant(False), shuffle)
        return tf.slice(self._permutation, [position * self.batch_size], [self.batch_size])

    def eval_batches(self) -> Iterator[tf.Tensor]:
        """Indices of consecutive examples, int32 [batch_size], and fewer of the last ones."""
        for start in range(0, self.num_examples, self.batch_size):
            yield tf.constant(np.arange(start, min(start + self.batch_size, self.num_examples), dtype=np.int32))

    def take(self, arrays: Any, batch: tf.Tensor) -> tuple[Any, ...]:
        """Gathers this replica's part of the batch."""
        indices = part(batch)
        taken = tf.nest.pack_sequence_as(self._structure, [tf.gather(array, indices) for array in arrays])
        return convert_features(taken, self._convert)


def from_arrays(
    data: tuple[Any, ...],
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
) -> Arrays:
    """Makes a source of a user's arrays.

    Args:
      data: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as `prepare` makes it.
      strategy: the strategy whose replicas share each batch.
      batch_size: examples in a global batch; None: 32. If there are fewer examples, a batch has as many as there are.
      seed: seed of the order.
      shuffle: whether an epoch has an order of its own, or that of the arrays.

    Raises:
      ValueError: the replicas cannot share a batch evenly.
    """
    num_examples, num_replicas = len(tf.nest.flatten(data)[0]), strategy.num_replicas_in_sync
    size = 32 if batch_size is None else batch_size
    if size > num_examples >= num_replicas:
        size = num_examples - num_examples % num_replicas
    return Arrays(data, size, strategy, seed=seed, shuffle=shuffle)


def check_shared(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises ValueError if the replicas cannot share a batch evenly."""
    num_replicas = strategy.num_replicas_in_sync
    if batch_size < 1 or batch_size % num_replicas:
        lower = batch_size - batch_size % num_replicas
        fitting = " or ".join(str(size) for size in (lower, lower + num_replicas) if size > 0)
        raise ValueError(
            f"A batch of {batch_size} examples cannot be shared out evenly among {num_replicas} replicas; use "
            f"{fitting}."
        )


def convert_specs(specs: tuple[Any, ...], convert: Callable[[tf.Tensor], tf.Tensor] | None) -> tuple[Any, ...]:
    """What `convert_features` makes of the specs of a batch."""
    if convert is None:
        return specs

    def converted(spec: tf.TensorSpec) -> tf.TensorSpec:
        return tf.TensorSpec(spec.shape, tf.function(convert).get_concrete_function(spec).outputs[0].dtype)

    return tf.nest.map_structure(converted, specs[0]), *specs[1:]


def prepare(
    x: Any, y: Any = None, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None
) -> tuple[Any, ...]:
    """Makes NumPy arrays of what `keras.Model.fit` takes.

    Args:
      x: features: an array, a tensor, a data frame, a list of numbers, or a list, tuple or dict of such.
      y: targets, in the same forms; None if there are none.
      sample_weight: a weight for each example, or for each output a structure of them.
      class_weight: a weight for each class, which multiplies the weights of its examples; 1 for a class without one.

    Returns:
      `(x,)`, `(x, y)` or `(x, y, sample_weight)`. Floats have the type `keras.config.floatx()`; other types stay.

    Raises:
      TypeError: something is not made of numbers or strings.
      ValueError: there are no examples, or the parts have different numbers of them.
    """
    if y is None:
        if sample_weight is not None or class_weight is not None:
            raise ValueError("Weights of examples need targets; give y as well, or leave the weights out.")
        data: tuple[Any, ...] = (_arrays("x", x),)
    else:
        data = _arrays("x", x), _arrays("y", y)
        weights = None if sample_weight is None else _weights(_arrays("sample_weight", sample_weight), data[1])
        if class_weight is not None:
            of_class = _class_weights(data[1], class_weight)
            weights = of_class if weights is None else weights * of_class.reshape(-1, *[1] * (weights.ndim - 1))
        if weights is not None:
            data = (*data, weights)
    _check_lengths(data)
    return data


def _arrays(name: str, value: Any) -> Any:
    """The same structure with NumPy arrays as leaves."""
    if isinstance(value, Mapping):
        return {key: _arrays(f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not _is_plain(value):
        items = [_arrays(f"{name}[{place}]", item) for place, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    return _array(name, value)


def _is_plain(value: Any) -> bool:
    """Whether a list is one array: nothing but numbers or strings, however deep."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str, np.number, np.bool_))


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} cannot become an array ({error}); give numbers of one shape for each example."
        ) from None
    if array.dtype == object and array.size and all(isinstance(item, str) for item in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(keras.config.floatx(), copy=False)
    if array.dtype.kind not in "biuSU":
        what = type(value).__name__ if array.ndim == 0 else f"an array of {array.dtype}"
        raise TypeError(f"{name} is {what}; expected numbers, or strings, of one shape for each example.")
    return array


def _weights(weights: Any, y: Any) -> Any:
    """Weights in floats; a single array for several outputs serves each of them, as in Keras."""
    weights = tf.nest.map_structure(lambda array: array.astype(keras.config.floatx()), weights)
    if tf.nest.is_nested(y) and not tf.nest.is_nested(weights):
        return tf.nest.map_structure(lambda _: weights, y)
    if tf.nest.is_nested(weights):
        try:
            tf.nest.assert_same_structure(y, weights)
        except (TypeError, ValueError):
            raise ValueError(
                "sample_weight has another structure than y; give one array, or one for each array of y."
            ) from None
    return weights


def _class_weights(y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each example's class: floats [n]."""
    if tf.nest.is_nested(y):
        raise ValueError("class_weight serves a single output, but y has several; give sample_weight instead.")
    classes = y
    if y.ndim > 1:
        classes = y.argmax(axis=-1) if y.shape[-1] != 1 else y[..., 0]
    if classes.ndim != 1:
        raise ValueError(
            f"class_weight needs one class for each example, but y has shape {y.shape}; give sample_weight."
        )
    numbers, places = np.unique(np.round(classes).astype(np.int64), return_inverse=True)
    weights = [float(class_weight.get(int(number), 1.0)) for number in numbers]
    return np.asarray(weights, keras.config.floatx())[places]


def _check_lengths(data: tuple[Any, ...]) -> None:
    lengths: dict[str, int] = {}
    for name, value in zip(_PARTS, data, strict=False):
        for place, array in enumerate(tf.nest.flatten(value)):
            label = f"array {place + 1} of {name}" if tf.nest.is_nested(value) else name
            if array.ndim == 0:
                raise ValueError(f"{label} is the single value {array!r}; expected a row for each example.")
            lengths[label] = len(array)
    if not lengths:
        raise ValueError("x holds no arrays; give at least one.")
    (first, expected), *others = lengths.items()
    for label, length in others:
        if length != expected:
            raise ValueError(f"{first} has {expected:,} examples and {label} has {length:,}; expected equally many.")
    if not expected:
        raise ValueError(f"{first} is empty; give at least one example.")
