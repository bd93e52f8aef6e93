"""Examples for training and evaluation: TFDS data sets by name, and synthetic ones."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import datasets
from trainer.datasets import prepare, reader, synthetic

if TYPE_CHECKING:
    import tensorflow as tf

MOST_CLASSES = 10**6
MEMORY_LIMIT = 2**30  # bytes; a split whose features take more is streamed from disk


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in an order that never changes.

    Attributes:
        num_examples: number of examples.
        features: [num_examples, *input_shape], uint8 images or float32; None where they are too large for memory.
        labels: [num_examples] int32; None where the features are.
        stream: makes the data set of examples where they are too large for memory.
    """

    num_examples: int
    features: np.ndarray | None = dataclasses.field(repr=False)
    labels: np.ndarray | None = dataclasses.field(repr=False)
    stream: Callable[[], tf.data.Dataset] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.features is None or self.labels is None:
            return
        features, labels = np.asarray(self.features), np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or features.dtype.kind not in "uif":
            raise ValueError(
                f"A split has features of {features.dtype} and labels of {labels.dtype}; expected numbers, and "
                "integers as labels."
            )
        if labels.shape != (self.num_examples,) or features.shape[:1] != labels.shape or not self.num_examples:
            raise ValueError(
                f"A split of {self.num_examples} examples has features of shape {features.shape} and labels of shape "
                f"{labels.shape}; expected one of each for each example, and at least one example."
            )

    def examples(self) -> tf.data.Dataset:
        """Returns the pairs (feature [*input_shape], label []) one by one, features as `to_float` takes them."""
        import tensorflow as tf

        if self.stream is not None:
            return self.stream()
        return tf.data.Dataset.from_tensor_slices((self.features, self.labels))


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """What a run trains on and evaluates on.

    Attributes:
        name: the name it was asked for by.
        input_shape: shape of one example.
        num_classes: labels are 0 .. num_classes - 1.
        train: the examples to train on.
        eval: the examples to evaluate on.
        standardizer: mean and deviation of each column that tabular features were standardised with; None for others.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    train: Split
    eval: Split
    standardizer: reader.Standardizer | None = dataclasses.field(default=None, repr=False)


def to_float(features: Any) -> tf.Tensor:
    """Returns features as a model takes them: uint8 as float32 in [0, 1], anything else cast to float32."""
    import tensorflow as tf

    features = tf.convert_to_tensor(features)
    scale = 255.0 if features.dtype == tf.uint8 else 1.0
    return tf.cast(features, tf.float32) / scale


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    train_split: str = "train",
    eval_split: str = "test",
    input_shape: tuple[int, ...] | None = None,
    num_classes: int | None = None,
    num_examples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads a data set, preparing it on disk the first time.

    Images of uint8 stay as they are; see `to_float`. Features of rank 1 are standardised with the mean and standard
    deviation of the training split, column by column; a column that is constant there becomes 0 in both splits. All
    else becomes float32 as it is.

    Args:
        name: digits, breast_cancer, synthetic, or a TFDS name, which may end in /config and :version.
        data_dir: folder of prepared data sets; None: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
        train_split: a split of the data set, or a slice of one such as train[:80%].
        eval_split: likewise.
        input_shape: shape of one synthetic example; None: (28, 28, 1).
        num_classes: number of classes; None: what the data set says, 10 for synthetic.
        num_examples: number of synthetic training examples; None: 10 000. A fifth as many more are for evaluation.
        seed: synthetic examples depend on it and on nothing else.

    Raises:
        ValueError: for a data set that is unknown, neither prepared nor reachable, damaged, or not one of
            classification; for an unknown or empty split; for a label outside the classes or a feature that is not
            finite; for an option of another data set.
    """
    if num_classes is not None and not 2 <= _index(num_classes) <= MOST_CLASSES:
        raise ValueError(f"num_classes={num_classes!r} must be an integer of at least 2 and at most {MOST_CLASSES}.")
    if name == datasets.SYNTHETIC:
        return _synthetic(train_split, eval_split, input_shape, num_classes, num_examples, seed)
    for option, value in (("input_shape", input_shape), ("num_examples", num_examples)):
        if value is not None:
            raise ValueError(
                f"{option}={value} belongs to the data set `synthetic`, but the data set is `{name}`; leave it out."
            )

    source = reader.describe(name, prepare.builder(name, data_dir), num_classes)
    fitting = [split for split in {train_split: 0, eval_split: 0} if source.nbytes(split) <= MEMORY_LIMIT]
    arrays = source.arrays(fitting)
    standardizer = None
    if source.tabular and train_split in arrays:
        standardizer = reader.Standardizer.of(iter([arrays[train_split][0]]))
    elif source.tabular:
        standardizer = source.standardizer(train_split)
    train, evaluation = (_split(source, split, arrays, standardizer) for split in (train_split, eval_split))
    return Dataset(name, source.shape, source.num_classes, train, evaluation, standardizer)


def _split(
    source: reader.Reader, split: str, arrays: dict[str, Any], standardizer: reader.Standardizer | None
) -> Split:
    size = source.num_examples(split)
    if split not in arrays:
        source.check(split)
        return Split(size, None, None, stream=lambda: source.stream(split, standardizer))
    features, labels = arrays[split]
    if standardizer:
        features = standardizer(features.astype(np.float64)).astype(np.float32)
    return Split(size, features, labels)


def _synthetic(
    train_split: str,
    eval_split: str,
    input_shape: tuple[int, ...] | None,
    num_classes: int | None,
    num_examples: int | None,
    seed: int,
) -> Dataset:
    shape = (28, 28, 1) if input_shape is None else tuple(input_shape)
    classes = 10 if num_classes is None else num_classes
    size = 10_000 if num_examples is None else num_examples
    if not shape or not all(_index(side) > 0 for side in shape):
        raise ValueError(f"input_shape={input_shape!r} must be positive integers, like (28, 28, 1).")
    if _index(size) < 1:
        raise ValueError(f"num_examples={num_examples!r} must be a positive integer.")
    bytes_each = 4 * math.prod(shape)
    if bytes_each > MEMORY_LIMIT:
        raise ValueError(
            f"input_shape={shape} makes one example take {bytes_each} bytes, and all synthetic examples together may "
            f"take {MEMORY_LIMIT}; choose a smaller shape."
        )
    if size * bytes_each > MEMORY_LIMIT:
        raise ValueError(
            f"num_examples={size} of shape {shape} take more than {MEMORY_LIMIT} bytes, the most for synthetic "
            f"examples; at most {MEMORY_LIMIT // bytes_each} fit."
        )
    sizes = {"train": size, "test": max(size // 5, classes)}
    for split in (train_split, eval_split):
        if split not in sizes:
            raise ValueError(
                f"Unknown split `{split}`: `synthetic` has train and test, without slices; set num_examples."
            )
    made = dict(zip(sizes, synthetic.generate(shape, classes, tuple(sizes.values()), seed), strict=True))
    train, evaluation = (Split(sizes[split], *made[split]) for split in (train_split, eval_split))
    return Dataset(datasets.SYNTHETIC, shape, classes, train, evaluation)


def _index(value: Any) -> int:
    # An integer as it is, and what is none (True among them) as one that no check accepts.
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else -1
