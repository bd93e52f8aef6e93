"""The parts of a data set: what a run trains on, chooses its best checkpoint on, and is judged on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings.splits import share
from .standardizer import Standardizer
from .task import Task

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, in an order that never changes.

    Attributes:
        num_examples: number of examples.
        features: [num_examples, *input_shape], uint8 images, int32 token ids or float32; None where they are too large
            for memory.
        labels: [num_examples] int32 numbers of classes, or float32 [num_examples, outputs]; None where the features
            are, and where the features are to be reconstructed.
        stream: makes the data set of examples where they are too large for memory.
        weights: [num_examples] float32, what the loss of each example is multiplied by; None where the features are,
            and where every example counts alike.
        weighted: whether the examples of the stream have weights.
    """

    num_examples: int
    features: np.ndarray | None = dataclasses.field(repr=False)
    labels: np.ndarray | None = dataclasses.field(repr=False)
    stream: Callable[[], tf.data.Dataset] | None = dataclasses.field(default=None, repr=False)
    weights: np.ndarray | None = dataclasses.field(default=None, repr=False)
    weighted: bool = False

    def __post_init__(self) -> None:
        if self.features is None:
            return
        features = np.asarray(self.features)
        labels = np.zeros(len(features), np.int32) if self.labels is None else np.asarray(self.labels)
        if features.dtype.kind not in "uif" or (labels.dtype.kind not in "iu" and labels.dtype != np.float32):
            raise ValueError(
                f"A split has features of {features.dtype} and labels of {labels.dtype}; expected numbers, and "
                "integers or rows of float32 as labels."
            )
        one_each = labels.ndim == (1 if labels.dtype.kind in "iu" else 2) and len(labels) == self.num_examples
        if not one_each or len(features) != len(labels) or not self.num_examples:
            raise ValueError(
                f"A split of {self.num_examples} examples has features of shape {features.shape} and labels of shape "
                f"{labels.shape}; expected one of each for each example, and at least one example."
            )
        if self.weights is not None:
            if self.weights.shape != labels.shape[:1]:
                raise ValueError(
                    f"A split of {self.num_examples} examples has weights of shape {self.weights.shape}; expected one "
                    "for each example."
                )
            object.__setattr__(self, "weighted", True)

    @property
    def x(self) -> np.ndarray:
        """The features as a model takes them: [num_examples, *input_shape] float32, images in [0, 1], or int32 tokens.

        Raises:
            ValueError: they are too large for memory; `examples` has them one by one.
        """
        if self.features is None:
            raise ValueError("The examples are too large for memory; take `examples()`, a tf.data.Dataset.")
        if self.features.dtype == np.int32:
            return self.features
        scale = np.float32(255.0 if self.features.dtype == np.uint8 else 1.0)
        return self.features.astype(np.float32) / scale

    @property
    def y(self) -> np.ndarray:
        """The labels as a loss takes them; where the features are to be reconstructed, these as rows."""
        return self.x.reshape(self.num_examples, -1) if self.labels is None else self.labels

    def examples(self) -> tf.data.Dataset:
        """Returns (feature [*input_shape], label []) one by one, and a weight [] where there are weights.

        Features are as `to_float` takes them. There is no label where features are to be reconstructed.
        """
        import tensorflow as tf

        if self.stream is not None:
            return self.stream()
        parts = (self.features, self.labels, self.weights)
        return tf.data.Dataset.from_tensor_slices(tuple(part for part in parts if part is not None))


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """What a run trains on, chooses its best checkpoint on, and is judged on.

    Attributes:
        name: the name or path it was asked for by.
        input_shape: shape of one example; of text, a `models.Tokens`.
        num_classes: labels are 0 .. num_classes - 1; 0 where they are no classes.
        train: the examples to train on.
        test: the examples that the finished run is judged on.
        validation: the examples to choose the best checkpoint on; None where none were asked for.
        test_split: the split or slice that the examples of `test` are of.
        standardizer: mean and deviation of each column that tabular features of TFDS were standardised with.
        warnings: what the user should know of the splits, a sentence each.
        task: what is learnt from the labels.
        preprocessing: what was learnt from the training examples of a file, see `trainer.data.preprocessing`.
        fingerprint: changes whenever the content of the files does; empty for data sets of TFDS.
        kind: image, numbers, table or text; empty for data sets of TFDS.
        validation_split: what the examples of `validation` are of; None where there are none.
        train_split: what the examples of `train` are of.
        augment: how the images of `train` change at random, see `augment.Augmentation`; empty: they do not.
    """

    name: str
    input_shape: Any
    num_classes: int
    train: Split
    test: Split
    validation: Split | None = None
    test_split: str = dataclasses.field(default="test", repr=False)
    standardizer: Standardizer | None = dataclasses.field(default=None, repr=False)
    warnings: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    task: Task = dataclasses.field(kw_only=True, repr=False)
    preprocessing: Any = dataclasses.field(default=None, repr=False)
    fingerprint: str = dataclasses.field(default="", repr=False)
    kind: str = ""
    validation_split: str | None = dataclasses.field(default=None, repr=False)
    train_split: str = dataclasses.field(default="train", repr=False)
    augment: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def described(self) -> dict[str, Any]:
        """What a `trainer.training.run.Run` says of its data."""
        parts = {"train": (self.train_split, self.train), "validation": (self.validation_split, self.validation)}
        parts["test"] = (self.test_split, self.test)
        splits: dict[str, dict[str, Any]] = {
            role: {"split": split, "examples": part.num_examples}
            for role, (split, part) in parts.items()
            if part is not None
        }
        purposes = {"validation": "to choose the best checkpoint on", "test": "to report on, once, at the end"}
        line = f"data {self.name}: {self.train.num_examples:,} examples of {self.train_split} to train on"
        for role, purpose in purposes.items():
            if role in splits:
                split, number = splits[role]["split"], splits[role]["examples"]
                origin = "held out of it" if share(split, f"--{role}_split") is not None else f"of {split}"
                line += f", {number:,} {origin} {purpose}"
        task = self.task
        return {
            "splits": splits,
            "data_line": line,
            "task_line": f"task: {task.described()}, {task.reason}" + (task.other and f"; {task.other}"),
            "task": task.recorded(),
            "files": {self.name: self.fingerprint} if self.fingerprint else {},
            "warnings": self.warnings,
        }


def to_float(features: Any) -> tf.Tensor:
    """Features as a model takes them: uint8 as float32 in [0, 1], int32 tokens as they are, else cast to float32."""
    import tensorflow as tf

    features = tf.convert_to_tensor(features)
    if features.dtype == tf.int32:
        return features
    scale = 255.0 if features.dtype == tf.uint8 else 1.0
    return tf.cast(features, tf.float32) / scale
