"""Examples as a file holds them, before anything is learnt from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

IMAGE = "image"
NUMBERS = "numbers"
TABLE = "table"
TEXT = "text"


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """One part of a data set, in an order that never changes.

    Attributes:
      num_examples: number of examples.
      features: by the kind of the data set, [n, height, width, channels] uint8 images, [n, ...] numbers, [n] strings,
        or a column [n] for each name of a table; None where they are too large for memory.
      labels: [n] or [n, outputs] whole numbers, floats or strings; None where there are none, or the stream has them.
      weights: [n] float32, what the loss of each example is multiplied by; None where every example counts alike.
      stream: makes the data set of (features, label) one by one, where they are too large for memory; it has `labels`,
        `weights` and `rows` of its own, see `trainer.data.image_files`.
    """

    num_examples: int
    features: np.ndarray | dict[str, np.ndarray] | None = dataclasses.field(default=None, repr=False)
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    weights: np.ndarray | None = dataclasses.field(default=None, repr=False)
    stream: Any = dataclasses.field(default=None, repr=False)

    def rows(self, chosen: np.ndarray) -> Examples:
        """The examples of a mask [n] or of indices, in their order."""

        def taken(array: Any) -> Any:
            return None if array is None else array[chosen]

        features = self.features
        features = (
            {name: taken(column) for name, column in features.items()}
            if isinstance(features, dict)
            else taken(features)
        )
        labels = taken(self.labels)
        size = int(np.count_nonzero(chosen)) if chosen.dtype == bool else len(chosen)
        stream = None if self.stream is None else self.stream.rows(chosen)
        return Examples(size, features, labels, taken(self.weights), stream)


@dataclasses.dataclass(frozen=True, eq=False)
class Raw:
    """What a reader makes of a file or a folder.

    Attributes:
      name: the path as the user gave it.
      kind: IMAGE, NUMBERS, TABLE or TEXT.
      parts: "train", and "validation" and "test" where the source has them.
      classes: names of the classes, where labels are their numbers; empty where labels are what they are.
      fingerprint: changes whenever the content of the files does.
      warnings: what the user should know, a sentence each.
    """

    name: str
    kind: str
    parts: dict[str, Examples]
    classes: tuple[str, ...] = ()
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What the user says of a file.

    Attributes:
      label: columns of a table that are to be predicted.
      text: the column of a table that holds text, the only input then.
      weight: the column of a table that weighs examples.
      drop: columns of a table that are left out.
      image_size: height and width that images are resized to; None: all have one size already.
      skip_damaged: whether images that cannot be decoded are left out.
      vocabulary_size: the most words that a text's vocabulary keeps; None: 20 000.
      text_length: words of a text that are kept; None: decided by the training texts.
    """

    label: tuple[str, ...] = ()
    text: str | None = None
    weight: str | None = None
    drop: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    skip_damaged: bool = False
    vocabulary_size: int | None = None
    text_length: int | None = None
