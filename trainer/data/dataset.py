"""Examples for training and evaluation: TFDS data sets by name, and synthetic ones."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import operator
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings.splits import share
from . import builtin as datasets
from . import description, tfds_prepare
from .builtin import stratified, synthetic
from .standardizer import Standardizer

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
        if self.weights is not None:
            if self.weights.shape != labels.shape:
                raise ValueError(
                    f"A split of {self.num_examples} examples has weights of shape {self.weights.shape}; expected one "
                    "for each example."
                )
            object.__setattr__(self, "weighted", True)

    def examples(self) -> tf.data.Dataset:
        """Returns (feature [*input_shape], label []) one by one, and a weight [] where there are weights.

        Features are as `to_float` takes them.
        """
        import tensorflow as tf

        if self.stream is not None:
            return self.stream()
        weights = () if self.weights is None else (self.weights,)
        return tf.data.Dataset.from_tensor_slices((self.features, self.labels, *weights))


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """What a run trains on, chooses its best checkpoint on, and is judged on.

    Attributes:
        name: the name it was asked for by.
        input_shape: shape of one example.
        num_classes: labels are 0 .. num_classes - 1.
        train: the examples to train on.
        test: the examples that the finished run is judged on.
        validation: the examples to choose the best checkpoint on; None where none were asked for.
        test_split: the split or slice that the examples of `test` are of.
        standardizer: mean and deviation of each column that tabular features were standardised with; None for others.
        warnings: what the user should know of the splits, a sentence each.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    train: Split
    test: Split
    validation: Split | None = None
    test_split: str = dataclasses.field(default="test", repr=False)
    standardizer: Standardizer | None = dataclasses.field(default=None, repr=False)
    warnings: tuple[str, ...] = dataclasses.field(default=(), repr=False)


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
    validation_split: str | None = None,
    test_split: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    num_classes: int | None = None,
    num_examples: int | None = None,
    seed: int = 0,
    keep: bool = True,
    fetch: bool = True,
) -> Dataset:
    """Loads a data set, preparing it on disk the first time.

    Images of uint8 stay as they are; see `to_float`. Features of rank 1 are standardised with the mean and standard
    deviation of the training split, column by column; a column that is constant there becomes 0 in both splits. All
    else becomes float32 as it is.

    Args:
        name: digits, breast_cancer, synthetic, or a TFDS name, which may end in /config and :version.
        data_dir: folder of prepared data sets; None: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
        train_split: a split of the data set, or a slice of one such as train[:80%].
        validation_split: how much of the training split is held out of it, such as 0.1 or 10%, or a split or slice of
            its own; None: there is no validation part. What is held out depends on nothing but the data: where it is
            in memory, the same share of every class, evenly spaced; else the last examples, as a slice.
        test_split: a split or slice; None: test, or where the data set has none, the validation split.
        input_shape: shape of one synthetic example; None: (28, 28, 1).
        num_classes: number of classes; None: what the data set says, 10 for synthetic.
        num_examples: number of synthetic training examples; None: 10 000. A fifth as many more are for evaluation.
        seed: synthetic examples depend on it and on nothing else.
        keep: whether a data set that needs no network is prepared in `data_dir`, or in a temporary folder.
        fetch: whether any other data set may be downloaded and prepared in `data_dir`.

    Raises:
        ValueError: for a data set that is unknown, neither prepared nor reachable, damaged, or not one of
            classification; for an unknown or empty split; for a label outside the classes or a feature that is not
            finite; for an option of another data set.
    """
    if num_classes is not None and not 2 <= _index(num_classes) <= MOST_CLASSES:
        raise ValueError(f"num_classes={num_classes!r} must be an integer of at least 2 and at most {MOST_CLASSES}.")
    if name == datasets.SYNTHETIC:
        names = {"train": train_split, "validation": validation_split, "test": test_split or "test"}
        return _synthetic(names, input_shape, num_classes, num_examples, seed)
    for option, value in (("input_shape", input_shape), ("num_examples", num_examples)):
        if value is not None:
            raise ValueError(
                f"{option}={value} belongs to the data set `synthetic`, but the data set is `{name}`; leave it out."
            )

    with contextlib.ExitStack() as borrowed:
        found = tfds_prepare.builder(name, data_dir, None if keep else borrowed, fetch)
        source = description.describe(name, found, num_classes)
        held = None if validation_split is None else share(validation_split)
        rest, own = train_split, validation_split if held is None else None
        if test_split is None:
            test_split = "test" if own is None or "test" in source.builder.info.splits else own
        written = {"train": train_split, "validation": own, "test": test_split}
        if held is not None and source.nbytes(train_split) > MEMORY_LIMIT:
            rest, own = source.divided(train_split, held)
            held = None
        names = {"train": rest, "validation": own, "test": test_split}
        asked = dict.fromkeys(split for split in names.values() if split is not None)
        arrays = source.arrays([split for split in asked if source.nbytes(split) <= MEMORY_LIMIT])
        parts = _parts(names, arrays, held)
    standardizer = None
    if source.tabular and parts["train"] is not None:
        standardizer = Standardizer.of(iter([parts["train"][0]]))
    elif source.tabular:
        standardizer = source.standardizer(rest)
    splits: dict[str, Split] = {}
    seen: dict[str, set[int]] = {}
    for role, split in names.items():
        if (part := parts[role]) is not None:
            features, labels, weights = part
            if standardizer:
                features = standardizer(features.astype(np.float64)).astype(np.float32)
            splits[role] = Split(len(labels), features, labels, weights=weights)
            seen[role] = set(np.unique(labels).tolist())
        elif split is not None:
            # What is wrong is said of the split that the user knows, not of the slice that is left of it.
            seen[role] = source.check(train_split if role == "train" else split, every_label=role == "validation")
            stream = functools.partial(source.stream, split, standardizer)
            splits[role] = Split(source.num_examples(split), None, None, stream, weighted=source.weighted)
    if len(seen["train"]) < 2:
        raise ValueError(
            f"Data set `{name}`, split `{train_split}`: every label is {min(seen['train'])}, so there is nothing to "
            "tell apart; choose a split with examples of at least two classes."
        )
    known = seen["train"] if parts["train"] is not None else set(range(source.num_classes))
    return Dataset(
        name,
        source.shape,
        source.num_classes,
        **splits,
        test_split=test_split,
        standardizer=standardizer,
        warnings=(
            *_overlaps(written, source.overlap),
            *_missing(source.num_classes, known, seen.get("validation")),
        ),
    )


def _parts(names: dict[str, str | None], arrays: dict[str, Any], held: float | None) -> dict[str, Any]:
    """The arrays of each part of the data that is in memory, after a share of the training split was held out."""
    parts: dict[str, Any] = {role: arrays.get(split) if split is not None else None for role, split in names.items()}
    if held is not None:
        whole = parts["train"]
        chosen = stratified.held_out(whole[1], held)
        if not chosen.any():
            raise ValueError(
                f"Split `{names['train']}` has {len(chosen)} examples, no two of one class, so that none can be held "
                "out for validation; take a larger training split, or name a split with --validation_split."
            )
        for role, mask in (("validation", chosen), ("train", ~chosen)):
            parts[role] = tuple(None if array is None else array[mask] for array in whole)
    return parts


def _overlaps(names: dict[str, str | None], overlap: Callable[[str, str], int]) -> list[str]:
    """What to say about examples that serve two purposes."""
    lines = []
    for role, other, consequence in (
        ("validation", "train", "the best checkpoint is chosen by what was learnt by heart"),
        ("test", "train", "the reported accuracy is better than that on new examples"),
        ("test", "validation", "the accuracy of the best checkpoint is better than that on new examples"),
    ):
        mine, others = names[role], names[other]
        if mine is not None and others is not None and (count := overlap(mine, others)):
            lines.append(
                f"{count:,} examples of --{role}_split={mine} are in --{other}_split={others} too: {consequence}."
            )
    return lines


def _missing(num_classes: int, known: set[int], validated: set[int] | None) -> list[str]:
    """What to say about classes without examples."""
    lines = []
    if never := sorted(set(range(num_classes)) - known):
        lines.append(f"no training example is of class {_listed(never)}, which the network cannot learn.")
    if validated is not None and (absent := sorted(known - validated)):
        lines.append(
            f"no validation example is of class {_listed(absent)}, which the best checkpoint is chosen without; "
            "hold more out with --validation_split."
        )
    return lines


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 5:,} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more


def _synthetic(
    names: dict[str, str | None],
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
    held = None if names["validation"] is None else share(names["validation"])
    if held is not None:
        names = names | {"validation": None}
    for split in names.values():
        if split is not None and split not in sizes:
            raise ValueError(
                f"Unknown split `{split}`: `synthetic` has train and test, without slices; set num_examples."
            )
    made = zip(sizes, synthetic.generate(shape, classes, tuple(sizes.values()), seed), strict=True)
    parts = _parts(names, {split: (*arrays, None) for split, arrays in made}, held)
    splits = {role: Split(len(part[1]), *part[:2]) for role, part in parts.items() if part is not None}
    labels = {role: set(np.unique(part[1]).tolist()) for role, part in parts.items() if part is not None}
    warnings = (
        *_overlaps(names, lambda split, other: sizes[split] if split == other else 0),
        *_missing(classes, labels["train"], labels.get("validation")),
    )
    chosen = names["test"] or "test"
    return Dataset(
        datasets.SYNTHETIC, shape, classes, **splits, test_split=chosen, standardizer=None, warnings=warnings
    )


def _index(value: Any) -> int:
    # An integer as it is, and what is none (True among them) as one that no check accepts.
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else -1
