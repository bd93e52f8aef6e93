"""Examples for training and evaluation: TFDS data sets by name, synthetic ones, and the user's own files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import operator
import os
from typing import Any

import numpy as np

from ..settings.checks import check_choice
from ..settings.splits import share
from . import builtin as datasets
from . import description, dividing, inference, readers, tfds_prepare
from . import task as tasks
from .builtin import synthetic
from .examples import FileOptions
from .parts import Dataset, Split, to_float
from .standardizer import Standardizer
from .tfds_reader import Reader

__all__ = ["Dataset", "Split", "load", "to_float"]

MOST_CLASSES = 10**6
MEMORY_LIMIT = 2**30  # bytes; a split whose features take more is streamed from disk


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
    task: str | None = None,
    loss: str | None = None,
    options: FileOptions | None = None,
    seed: int = 0,
    keep: bool = True,
    fetch: bool = True,
) -> Dataset:
    """Loads a data set, preparing it on disk the first time.

    Images of uint8 stay as they are; see `to_float`. Features of rank 1 are standardised with the mean and standard
    deviation of the training split, column by column; a column that is constant there becomes 0 in both splits. All
    else becomes float32 as it is. What becomes of files is said in `trainer.data.preprocessing`.

    Args:
        name: digits, breast_cancer, synthetic, a TFDS name, which may end in /config and :version, the folder of a
            prepared TFDS data set, or the path of a file or folder, see `trainer.data.readers`.
        data_dir: folder of prepared data sets; None: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
        train_split: a split of the data set, or a slice of one such as train[:80%].
        validation_split: how much of the training split is held out of it, such as 0.1 or 10%, or a split or slice of
            its own; None: there is no validation part. What is held out depends on nothing but the data: where it is
            in memory, the same share of every class, evenly spaced; else the last examples, as a slice.
        test_split: a split or slice; None: test, or where the data set has none, the validation split. Of a file it
            may be a share, as for validation_split; None: its own test part, or else 0.2.
        input_shape: shape of one synthetic example; None: (28, 28, 1).
        num_classes: number of classes; None: what the data set says, 10 for synthetic.
        num_examples: number of synthetic training examples; None: 10 000. A fifth as many more are for evaluation.
        task: classification, multilabel, regression or reconstruction; None: the labels decide.
        loss: name of the loss, which decides whether the labels of a regression are standardised.
        options: what the user says of a file.
        seed: synthetic examples depend on it and on nothing else.
        keep: whether a data set that needs no network is prepared in `data_dir`, or in a temporary folder.
        fetch: whether any other data set may be downloaded and prepared in `data_dir`.

    Raises:
        ValueError: for a data set that is unknown, neither prepared nor reachable, or damaged; for an unknown or empty
            split; for a label outside the classes or a feature that is not finite; for labels that do not fit the task;
            for an option of another data set.
    """
    if num_classes is not None and not 2 <= _index(num_classes) <= MOST_CLASSES:
        raise ValueError(f"num_classes={num_classes!r} must be an integer of at least 2 and at most {MOST_CLASSES}.")
    if name == datasets.SYNTHETIC:
        _refuse_options(name, options)
        names = {"train": train_split, "validation": validation_split, "test": test_split or "test"}
        return _as_asked(_synthetic(names, input_shape, num_classes, num_examples, seed), task)
    for option, value in (("input_shape", input_shape), ("num_examples", num_examples)):
        if value is not None:
            raise ValueError(
                f"{option}={value} belongs to the data set `synthetic`, but the data set is `{name}`; leave it out."
            )
    read = readers.reader_of(name)
    if read is not None:
        if data_dir is not None:
            raise ValueError(f"data_dir={data_dir} holds data sets of TFDS, but `{name}` is a path; leave it out.")
        from . import files

        return files.load(
            name,
            read,
            options or FileOptions(),
            train_split=train_split,
            validation_split=validation_split,
            test_split=test_split,
            num_classes=num_classes,
            task=task,
            loss=loss,
        )
    _refuse_options(name, options)

    with contextlib.ExitStack() as borrowed:
        found = tfds_prepare.builder(name, data_dir, None if keep else borrowed, fetch)
        source = description.describe(name, found, num_classes, task)
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
        chosen = _task(source, arrays, rest, task, num_classes)
        if chosen.name == tasks.CLASSIFICATION and source.num_classes is None:
            arrays = {split: (x, chosen.encode(y, source.where(split)), w) for split, (x, y, w) in arrays.items()}
        parts = dividing.in_memory(names, arrays, held)
    if chosen.name == tasks.REGRESSION and inference.is_of_differences(loss):
        chosen = chosen.standardised(source.labels(rest) if parts["train"] is None else parts["train"][1])
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
            if chosen.name == tasks.RECONSTRUCTION:
                labels = None
            elif chosen.name != tasks.CLASSIFICATION:
                labels = chosen.encode(labels, source.where(split or train_split))
            splits[role] = Split(len(features), features, labels, weights=weights)
            seen[role] = set(np.unique(labels).tolist()) if chosen.name == tasks.CLASSIFICATION else set()
        elif split is not None:
            # What is wrong is said of the split that the user knows, not of the slice that is left of it.
            seen[role] = source.check(train_split if role == "train" else split, every_label=role == "validation")
            stream = functools.partial(source.stream, split, standardizer, chosen)
            splits[role] = Split(source.num_examples(split), None, None, stream, weighted=source.weighted)
    of_classes = range(source.num_classes or 0)
    if source.num_classes is not None and len(seen["train"]) < 2:
        raise ValueError(
            f"Data set `{name}`, split `{train_split}`: every label is {min(seen['train'])}, so there is nothing to "
            "tell apart; choose a split with examples of at least two classes."
        )
    known = seen["train"] if parts["train"] is not None else set(of_classes)
    lines = []
    if source.num_classes is not None:
        lines = [*dividing.never(set(of_classes) - known), *dividing.absent(known - seen.get("validation", known))]
    dataset = Dataset(
        name,
        source.shape,
        len(chosen.classes) if chosen.name == tasks.CLASSIFICATION else 0,
        splits["train"],
        splits["test"],
        splits.get("validation"),
        test_split=test_split,
        standardizer=standardizer,
        warnings=(*dividing.overlaps(written, source.overlap), *lines),
        task=chosen,
        validation_split=validation_split,
        train_split=train_split,
    )
    return _as_asked(dataset, task)


def _task(source: Reader, arrays: dict[str, Any], train: str, asked: str | None, num_classes: int | None) -> tasks.Task:
    """What is learnt from the labels of a TFDS data set."""
    if source.num_classes is not None:
        return _of_classes(source.num_classes, "as the data set says")
    if asked == tasks.RECONSTRUCTION:
        return inference.infer(None, asked)
    labels = arrays[train][1] if train in arrays else source.labels(train)
    return inference.infer(labels, asked, num_classes=num_classes, where=f"Data set `{source.name}`")


def _of_classes(number: int, reason: str) -> tasks.Task:
    return tasks.Task(tasks.CLASSIFICATION, 1 if number == 2 else number, tuple(map(str, range(number))), reason=reason)


def _as_asked(dataset: Dataset, asked: str | None) -> Dataset:
    """A data set of classes for the task that the user chose."""
    if asked not in (None, dataset.task.name, tasks.RECONSTRUCTION):
        check_choice(f"--task={asked}", asked, tasks.TASKS)
        raise ValueError(
            f"--task={asked} does not fit the labels of `{dataset.name}`, which are classes; leave it out."
        )
    if asked != tasks.RECONSTRUCTION:
        return dataset if asked is None else dataclasses.replace(dataset, task=dataset.task.because("as --task says"))
    parts = [dataset.train, dataset.test, dataset.validation]
    if any(part is not None and part.weighted for part in parts):
        raise ValueError(
            f"`{dataset.name}` has weights, which --task=reconstruction does not take; choose another task."
        )
    plain: dict[str, Any] = {
        role: part and dataclasses.replace(part, labels=None)
        for role, part in zip(("train", "test", "validation"), parts, strict=True)
    }
    task = tasks.Task(tasks.RECONSTRUCTION, math.prod(dataset.input_shape), reason="as --task says")
    return dataclasses.replace(dataset, num_classes=0, task=task, **plain)


def _refuse_options(name: str, options: FileOptions | None) -> None:
    """Raises ValueError for an option of files where the data set is none."""
    for field in dataclasses.fields(FileOptions) if options is not None else ():
        if (value := getattr(options, field.name)) != field.default:
            value = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise ValueError(
                f"--{field.name}={value} belongs to files and folders of your own, but the data set is `{name}`; leave "
                "it out."
            )


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
    asked = names["validation"]
    held = None if asked is None else share(asked)
    if held is not None:
        names = names | {"validation": None}
    for split in names.values():
        if split is not None and split not in sizes:
            raise ValueError(
                f"Unknown split `{split}`: `synthetic` has train and test, without slices; set num_examples."
            )
    made = zip(sizes, synthetic.generate(shape, classes, tuple(sizes.values()), seed), strict=True)
    parts = dividing.in_memory(names, {split: (*arrays, None) for split, arrays in made}, held)
    splits = {role: Split(len(part[1]), *part[:2]) for role, part in parts.items() if part is not None}
    labels = {role: set(np.unique(part[1]).tolist()) for role, part in parts.items() if part is not None}
    warnings = (
        *dividing.overlaps(names, lambda split, other: sizes[split] if split == other else 0),
        *dividing.never(set(range(classes)) - labels["train"]),
        *dividing.absent(labels["train"] - labels.get("validation", labels["train"])),
    )
    return Dataset(
        datasets.SYNTHETIC,
        shape,
        classes,
        splits["train"],
        splits["test"],
        splits.get("validation"),
        test_split=names["test"] or "test",
        warnings=warnings,
        task=_of_classes(classes, "as the data set says"),
        validation_split=asked,
    )


def _index(value: Any) -> int:
    # An integer as it is, and what is none (True among them) as one that no check accepts.
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else -1
