"""Reads the examples of a prepared TFDS data set, into memory or as a stream, and checks each."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .standardizer import Standardizer
from .task import Task

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 4096  # examples read at a time
FRAME = 16  # bytes of a TFRecord file around each record: its length, and two checksums


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
    """The examples of one data set: a feature, a label and, where the data set has them, a weight.

    Attributes:
        name: name of the data set, for messages.
        builder: a prepared `tfds.core.DatasetBuilder`.
        shape: shape of one example.
        dtype: type of the features as the data set stores them.
        num_classes: labels are 0 .. num_classes - 1; None: they are not numbers of classes.
        weighted: whether each example has a weight, which its loss is multiplied by.
        label_shape: shape of one label, where it is no number of a class.
        label_dtype: type of the labels, where they are no numbers of classes; object: text.
    """

    name: str
    builder: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    num_classes: int | None
    weighted: bool = False
    label_shape: tuple[int, ...] = ()
    label_dtype: np.dtype = dataclasses.field(default_factory=lambda: np.dtype(np.int64))

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

    def divided(self, split: str, share: float) -> tuple[str, str]:
        """Divides a split that is too large for memory into slices: the last `share` of its examples, and the others.

        TFDS shuffles examples when it prepares a data set, so the last ones are as good as any; only a contiguous slice
        is read without reading the rest.

        Returns:
            The slice of the others and the slice of the last examples.
        """
        size = self.num_examples(split)
        held = round(share * size)
        if not 0 < held < size:
            raise ValueError(
                f"--validation_split={share:g} of the {size} examples of split `{split}` leaves none to train on or "
                "none to validate on; choose another share."
            )
        rest, last = [], []
        for name, begin, end in reversed(self._ranges(split)):
            middle = max(begin, end - held)
            held -= end - middle
            last += [f"{name}[{middle}:{end}]"] if middle < end else []
            rest += [f"{name}[{begin}:{middle}]"] if begin < middle else []
        return "+".join(reversed(rest)), "+".join(reversed(last))

    def overlap(self, split: str, other: str) -> int:
        """Returns how many examples two splits share."""
        return sum(
            max(0, min(end, other_end) - max(begin, other_begin))
            for name, begin, end in self._ranges(split)
            for other_name, other_begin, other_end in self._ranges(other)
            if name == other_name
        )

    def _ranges(self, split: str) -> list[tuple[str, int, int]]:
        import tensorflow_datasets as tfds

        splits = self.builder.info.splits
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)
        sizes = {part.splitname: splits[part.splitname].num_examples for part in parts}
        return [
            (part.splitname, part.from_ or 0, sizes[part.splitname] if part.to is None else part.to) for part in parts
        ]

    def nbytes(self, split: str) -> int:
        """Returns the size of a split's features in memory."""
        return self.num_examples(split) * math.prod(self.shape) * self.kept.itemsize

    def arrays(self, splits: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Reads splits into memory.

        Returns:
            For each split, features [n, *shape], tabular ones as they are stored and others as training gets them,
            labels [n] int32, or [n, *label_shape] as they are stored, and weights [n] float32 where the data set
            has them, else None.
        """
        if not splits:
            return {}
        sizes = {split: self.num_examples(split) for split in splits}
        total = sum(sizes.values())
        features = np.empty((total, *self.shape), self.dtype if self.tabular else self.kept)
        of_classes = self.num_classes is not None
        labels = np.empty(total, np.int64) if of_classes else np.empty((total, *self.label_shape), self.label_dtype)
        weights = np.empty(total, np.float32) if self.weighted else None
        start = 0
        # One pipeline for all splits: building one takes longer than reading a small data set.
        for batch, batch_labels, *batch_weights in self._batches("+".join(sizes)):
            end = start + len(batch_labels)
            features[start:end], labels[start:end] = self._scaled(batch), batch_labels
            if weights is not None:
                weights[start:end] = batch_weights[0]
            start = end
        if start != total:
            raise ValueError(f"{self._damaged()}: it holds {start} examples in place of {total}.")
        found, start = {}, 0
        for split, size in sizes.items():
            part = slice(start, start + size)
            own = None if weights is None else weights[part]
            self._check(split, features[part], labels[part])
            if own is not None:
                self._check_weights(split, own)
                self._check_total(split, float(own.max()))
            found[split] = features[part], labels[part].astype(np.int32) if of_classes else labels[part], own
            start += size
        return found

    def check(self, split: str, every_label: bool = False) -> set[int]:
        """Finds out before training what is wrong with a split that is too large for memory.

        Every file has its length, every label is inside the classes, and every weight is one. Where the data set
        promises its classes itself, a look at the first examples is enough, until two classes were seen: it can break
        its promise with labels that are missing, most often all. What else is wrong comes to light when it is read, see
        `stream`.

        Args:
            split: the split.
            every_label: whether to read all labels, whatever the data set promises.

        Returns:
            The labels that were read.

        Raises:
            ValueError: what `arrays` raises for the same fault.
        """
        import tensorflow_datasets as tfds

        self._check_lengths(split)
        feature, label = self.builder.info.supervised_keys[:2]
        promised = getattr(self.builder.info.features[label], "num_classes", None) or math.inf
        start, seen, largest = 0, set[int](), 0.0
        undecoded = {feature: tfds.decode.SkipDecoding()}
        for labels, *weights in self._numpy(split, lambda _, *others: others, undecoded):
            if self.num_classes is not None:
                labels = labels.reshape(-1).astype(np.int64)
                self._check_labels(split, labels, start)
                seen.update(np.unique(labels).tolist())
            if self.weighted:
                self._check_weights(split, _narrow(weights[0]), start)
                largest = max(largest, float(weights[0].max()))
            start += len(labels)
            known = self.num_classes is None or (promised <= self.num_classes and len(seen) > 1 and not every_label)
            if known and not self.weighted:
                break
        if self.weighted:
            self._check_total(split, largest)
        return seen

    def labels(self, split: str) -> np.ndarray:
        """Reads the labels of a split alone, [n, *label_shape], as they are stored."""
        import tensorflow_datasets as tfds

        undecoded = {self.builder.info.supervised_keys[0]: tfds.decode.SkipDecoding()}
        return np.concatenate([labels for (labels,) in self._numpy(split, lambda _, label, *__: (label,), undecoded)])

    def where(self, split: str) -> str:
        """A split of this data set, for messages."""
        return f"Data set `{self.name}`, split `{split}`"

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
            for features, labels, *_ in self._batches(split):
                self._check(split, features, labels, start)
                start += len(labels)
                yield features

        return Standardizer.of(checked())

    def stream(self, split: str, standardizer: Standardizer | None, task: Task) -> tf.data.Dataset:
        """Returns the checked examples of a split that is too large for memory, in the order of the files."""
        import tensorflow as tf

        where = f"{self.where(split)}: "

        def number(index: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
            if self.num_classes is None:
                return task.encode_tensor(label, self.where(split))
            label = tf.cast(tf.reshape(label, []), tf.int64)
            inside = (label >= 0) & (label < self.num_classes)
            words = f"{where}label {{}} of example {{}} is outside the classes 0..{self.num_classes - 1}"
            tf.debugging.Assert(inside, [tf.strings.format(words, (label, index))])
            return tf.cast(label, tf.int32)

        def checked(index: tf.Tensor, feature: tf.Tensor, label: tf.Tensor, *weight: tf.Tensor) -> tuple[Any, ...]:
            feature, label = tf.reshape(feature, self.shape), number(index, label)
            weight = tuple(tf.cast(tf.reshape(value, []), tf.float32) for value in weight)
            if self.kept == np.float32:
                finite = tf.reduce_all(tf.math.is_finite(tf.cast(feature, tf.float32)))
                words = f"{where}example {{}} has a feature that is not finite"
                tf.debugging.Assert(finite, [tf.strings.format(words, index)])
            if standardizer:
                feature = standardizer(tf.cast(feature, tf.float64))
            return tf.cast(self._scaled(feature), self.kept), label, *weight

        pairs = self.builder.as_dataset(split, as_supervised=True, read_config=_read_config(autotune=True))
        return pairs.enumerate().map(lambda index, example: checked(index, *example), tf.data.AUTOTUNE)

    def _batches(self, split: str) -> Iterator[tuple[np.ndarray, ...]]:
        for features, labels, *weights in self._numpy(split, lambda *example: example):
            narrow = (_narrow(weight) for weight in weights)
            if self.num_classes is None:
                labels = labels.reshape(-1, *self.label_shape)
            else:
                labels = labels.reshape(-1).astype(np.int64)
            yield features.reshape(-1, *self.shape), labels, *narrow

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
        assert self.num_classes is not None
        where = f"Data set `{self.name}`, split `{split}`: "
        outside = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if outside.size:
            label = labels[outside[0]]
            if labels.min() < 0:
                remedy = "choose a split whose examples all have labels"
            else:
                remedy = f"num_classes={labels.max() + 1} would hold them all"
                remedy += f", with class 0 empty, as labels begin at {labels.min()}" if labels.min() else ""
            raise ValueError(
                f"{where}label {label} of example {start + outside[0]} is outside the classes "
                f"0..{self.num_classes - 1}; "
                f"{remedy}."
            )

    def _check_weights(self, split: str, weights: np.ndarray, start: int = 0) -> None:
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            where = f"Data set `{self.name}`, split `{split}`: "
            raise ValueError(
                f"{where}example {start + bad[0]} has the weight {weights[bad[0]]:g}; expected a finite "
                "number of at least 0. Mend the data, or choose a split without such examples."
            )

    def _check_total(self, split: str, largest: float) -> None:
        if not largest > 0:
            raise ValueError(
                f"Data set `{self.name}`, split `{split}`: every example has the weight 0, so that none counts; mend "
                "the data, or choose another split."
            )

    def _check(self, split: str, features: np.ndarray, labels: np.ndarray, start: int = 0) -> None:
        if self.num_classes is not None:
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


def _narrow(weights: np.ndarray) -> np.ndarray:
    """Weights as training takes them, [n] float32; what float32 cannot hold becomes infinite, which is refused."""
    with np.errstate(over="ignore"):
        return weights.reshape(-1).astype(np.float32)


def _read_config(autotune: bool) -> Any:
    import tensorflow_datasets as tfds

    # One file after the other: the order of the examples is that of the splits asked for, whatever the number of files.
    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    config.options.deterministic = True
    config.options.autotune.enabled = autotune
    return config
