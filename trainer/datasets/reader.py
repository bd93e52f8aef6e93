"""Reads the (feature, label) pairs of a prepared TFDS data set, into memory or as a stream, and checks each."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 4096  # examples read at a time
FRAME = 16  # bytes of a TFRecord file around each record: its length, and two checksums


@dataclasses.dataclass(frozen=True, eq=False)
class Standardizer:
    """(x - mean) / deviation, column by column; a constant column has an infinite deviation and so becomes 0.

    Attributes:
        mean: [n] float64.
        deviation: [n] float64, the standard deviation.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, batches: Iterator[np.ndarray]) -> Standardizer:
        """Takes mean and deviation of the rows of all batches [b, n], in one pass and without cancellation.

        References:
            Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        """
        count, mean, squares, low, high = 0, np.zeros(()), np.zeros(()), np.array(np.inf), np.array(-np.inf)
        for batch in batches:
            rows = batch.astype(np.float64)
            shift = rows.mean(axis=0) - mean
            total = count + len(rows)
            squares = squares + rows.var(axis=0) * len(rows) + shift**2 * count * len(rows) / total
            mean, count = mean + shift * len(rows) / total, total
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        # Rounding leaves a constant column a deviation that is small, not 0; and so does an underflow of its squares.
        deviation = np.sqrt(squares / count)
        return cls(mean, np.where((low < high) & (deviation > 0), deviation, np.inf))

    def __call__(self, features: Any) -> Any:
        """Standardises float64 features [..., n], an array or a tensor."""
        return (features - self.mean) / self.deviation


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
    """The pairs of one data set.

    Attributes:
        name: name of the data set, for messages.
        builder: a prepared `tfds.core.DatasetBuilder`.
        shape: shape of one example.
        dtype: type of the features as the data set stores them.
        num_classes: labels are 0 .. num_classes - 1.
    """

    name: str
    builder: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    num_classes: int

    @property
    def tabular(self) -> bool:
        """Whether an example is a row of numbers, to be standardised."""
        return len(self.shape) == 1

    @property
    def kept(self) -> np.dtype:
        """Type of the features that training gets: uint8 images stay as small as they are, the rest is float32."""
        return np.dtype(np.uint8 if self.dtype == np.uint8 and not self.tabular else np.float32)

    def num_examples(self, split: str) -> int:
        """Returns the number of examples of a split or slice; ValueError where there is none."""
        splits = self.builder.info.splits
        listed = (
            f"`{self.name}` has {', '.join(f'{key} ({value.num_examples} examples)' for key, value in splits.items())}"
        )
        try:
            size = splits[split].num_examples
        except Exception as error:  # ValueError, KeyError or AssertionError, by the kind of mistake.
            raise ValueError(
                f"Unknown split `{split}`: {listed}; slices are written train[:80%], train[80%:]."
            ) from error
        if size < 1:  # TFDS counts backwards in train[10:5].
            raise ValueError(f"Split `{split}` holds no examples: {listed}; choose another split or slice.")
        return size

    def nbytes(self, split: str) -> int:
        """Returns the size of a split's features in memory."""
        return self.num_examples(split) * math.prod(self.shape) * self.kept.itemsize

    def arrays(self, splits: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Reads splits into memory.

        Returns:
            For each split, features [n, *shape], tabular ones as they are stored and others as training gets them, and
            labels [n] int32.
        """
        if not splits:
            return {}
        sizes = {split: self.num_examples(split) for split in splits}
        total = sum(sizes.values())
        features = np.empty((total, *self.shape), self.dtype if self.tabular else self.kept)
        labels = np.empty(total, np.int64)
        start = 0
        # One pipeline for all splits: building one takes longer than reading a small data set.
        for batch, batch_labels in self._batches("+".join(sizes)):
            end = start + len(batch_labels)
            features[start:end], labels[start:end] = self._scaled(batch), batch_labels
            start = end
        if start != total:
            raise ValueError(f"{self._damaged()}: it holds {start} examples in place of {total}.")
        found, start = {}, 0
        for split, size in sizes.items():
            part = slice(start, start + size)
            self._check(split, features[part], labels[part])
            found[split] = features[part], labels[part].astype(np.int32)
            start += size
        return found

    def check(self, split: str) -> None:
        """Finds out before training what is wrong with a split that is too large for memory.

        Every file has its length, and every label is inside the classes. Where the data set promises that itself, a
        look at the first examples is enough: it can break its promise with labels that are missing, most often all.
        What else is wrong comes to light when it is read, see `stream`.

        Raises:
            ValueError: what `arrays` raises for the same fault.
        """
        import tensorflow_datasets as tfds

        self._check_lengths(split)
        feature, label = self.builder.info.supervised_keys[:2]
        promised = getattr(self.builder.info.features[label], "num_classes", None) or math.inf
        start = 0
        undecoded = {feature: tfds.decode.SkipDecoding()}
        for (labels,) in self._numpy(split, lambda _, label, *others: (label,), undecoded):
            self._check_labels(split, labels, start)
            start += len(labels)
            if promised <= self.num_classes:
                break

    def _check_lengths(self, split: str) -> None:
        import tensorflow_datasets as tfds

        if self.builder.info.file_format != tfds.core.FileFormat.TFRECORD:
            return
        read = {str(instruction.filename) for instruction in self.builder.info.splits[split].file_instructions}
        for one in self.builder.info.splits.values():
            files = [str(path) for path in one.filepaths]
            if not read.intersection(files):
                continue
            missing = [path for path in files if not os.path.isfile(path)]
            if missing:
                raise ValueError(f"{self._damaged()}: {missing[0]} is missing.")
            if sum(map(os.path.getsize, files)) == one.num_bytes + FRAME * one.num_examples:
                continue
            # A version of TFDS may have counted otherwise; only the files themselves can tell for certain.
            for path, expected in zip(files, one.shard_lengths, strict=True):
                if _records(path) != expected:
                    raise ValueError(f"{self._damaged()}: {path} is cut short.")

    def standardizer(self, split: str) -> Standardizer:
        """Takes mean and deviation of a tabular split that is too large for memory."""

        def checked() -> Iterator[np.ndarray]:
            start = 0
            for features, labels in self._batches(split):
                self._check(split, features, labels, start)
                start += len(labels)
                yield features

        return Standardizer.of(checked())

    def stream(self, split: str, standardizer: Standardizer | None) -> tf.data.Dataset:
        """Returns the checked pairs of a split that is too large for memory, in the order of the files."""
        import tensorflow as tf

        where = f"Data set `{self.name}`, split `{split}`: "

        def checked(index: tf.Tensor, feature: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            feature, label = tf.reshape(feature, self.shape), tf.cast(label, tf.int64)
            inside = (label >= 0) & (label < self.num_classes)
            words = f"{where}label {{}} of example {{}} is outside the classes 0..{self.num_classes - 1}"
            tf.debugging.Assert(inside, [tf.strings.format(words, (label, index))])
            if self.kept == np.float32:
                finite = tf.reduce_all(tf.math.is_finite(tf.cast(feature, tf.float32)))
                words = f"{where}example {{}} has a feature that is not finite"
                tf.debugging.Assert(finite, [tf.strings.format(words, index)])
            if standardizer:
                feature = standardizer(tf.cast(feature, tf.float64))
            return tf.cast(self._scaled(feature), self.kept), tf.cast(label, tf.int32)

        pairs = self.builder.as_dataset(split, as_supervised=True, read_config=_read_config(autotune=True))
        return pairs.enumerate().map(lambda index, pair: checked(index, pair[0], pair[1]), tf.data.AUTOTUNE)

    def _batches(self, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for features, labels in self._numpy(split, lambda feature, label, *others: (feature, label)):
            yield features.reshape(-1, *self.shape), labels

    def _numpy(self, split: str, taken: Callable[..., Any], decoders: Any = None) -> Iterator[tuple[np.ndarray, ...]]:
        import tensorflow as tf

        try:
            # Tuning pays in a pipeline that runs for minutes; here it only takes time.
            pairs = self.builder.as_dataset(
                split, as_supervised=True, read_config=_read_config(autotune=False), decoders=decoders
            )
            yield from pairs.map(taken).batch(BATCH).as_numpy_iterator()
        except tf.errors.OpError as error:
            raise ValueError(f"{self._damaged()}: {error.message}") from error

    def _scaled(self, features: Any) -> Any:
        # Images of 16 bits have no reason to stay small; they are scaled here as uint8 ones are in the step.
        return features / np.float32(65535) if self.dtype == np.uint16 and not self.tabular else features

    def _damaged(self) -> str:
        return f"Data set `{self.name}` in {self.builder.data_dir} is damaged; remove that folder and start again"

    def _check_labels(self, split: str, labels: np.ndarray, start: int) -> None:
        where = f"Data set `{self.name}`, split `{split}`: "
        outside = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if outside.size:
            label = labels[outside[0]]
            remedy = (
                "choose a split whose examples all have labels"
                if labels.min() < 0
                else f"num_classes={labels.max() + 1} would hold them all"
            )
            raise ValueError(
                f"{where}label {label} of example {start + outside[0]} is outside the classes "
                f"0..{self.num_classes - 1}; "
                f"{remedy}."
            )

    def _check(self, split: str, features: np.ndarray, labels: np.ndarray, start: int = 0) -> None:
        self._check_labels(split, labels, start)
        where = f"Data set `{self.name}`, split `{split}`: "
        if features.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(features).reshape(len(features), -1).all(axis=1))
            if bad.size:
                raise ValueError(
                    f"{where}example {start + bad[0]} has a feature that is not finite ({bad.size} such examples); "
                    "choose a split without them or mend the data."
                )


def _records(path: str) -> int:
    """Counts the records of a TFRecord file from their lengths alone; -1 where the last is cut short."""
    size, position, count = os.path.getsize(path), 0, 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8:
                return -1
            position += struct.unpack("<Q", head)[0] + FRAME
            count += 1
    return count if position == size else -1


def describe(name: str, builder: Any, num_classes: int | None) -> Reader:
    """Finds what a model sees of a data set.

    Args:
        name: name of the data set, for messages.
        builder: a prepared `tfds.core.DatasetBuilder`.
        num_classes: number of classes; None: what the data set says.

    Raises:
        ValueError: for a data set that has no pairs of numbers of one shape and an integer label.
    """
    import tensorflow_datasets as tfds

    features, keys = builder.info.features, builder.info.supervised_keys
    if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"Data set `{name}` does not say which feature is the input and which the label (supervised_keys={keys}); "
            f"its features are {', '.join(features)}. Choose one that does, such as digits or mnist."
        )
    feature, label = features[keys[0]], features[keys[1]]
    if (
        not isinstance(label.get_tensor_info(), tfds.features.TensorInfo)
        or label.shape
        or np.dtype(label.np_dtype).kind not in "iu"
    ):
        raise ValueError(
            f"Data set `{name}` has labels `{keys[1]}` that are not integers, {label}; choose a data set of classes."
        )
    num_classes = num_classes or getattr(label, "num_classes", None)
    if not num_classes:
        raise ValueError(f"Data set `{name}` does not say how many classes it has; say it with num_classes.")
    if (
        not isinstance(feature.get_tensor_info(), tfds.features.TensorInfo)
        or np.dtype(feature.np_dtype).kind not in "biuf"
    ):
        raise ValueError(
            f"Data set `{name}` has an input `{keys[0]}` that is not numbers, {feature}; choose images or numbers."
        )
    if None in feature.shape:
        raise ValueError(
            f"Data set `{name}` has inputs `{keys[0]}` of different sizes, {feature.shape}; choose one of equal sizes."
        )
    return Reader(name, builder, tuple(feature.shape) or (1,), np.dtype(feature.np_dtype), int(num_classes))


def _read_config(autotune: bool) -> Any:
    import tensorflow_datasets as tfds

    # One file after the other: the order of the examples is that of the splits asked for, whatever the number of files.
    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    config.options.deterministic = True
    config.options.autotune.enabled = autotune
    return config
