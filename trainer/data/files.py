"""A data set of the user's own files: read, divided into parts, and prepared by what its training part shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..packages import models
from ..settings.splits import share
from . import dividing, inference, preprocessing
from . import task as tasks
from .examples import Examples, FileOptions, Raw
from .parts import Dataset, Split

# What is held out where the user says nothing.
VALIDATION, TEST = "0.1", "0.2"


def load(
    name: str,
    read: Callable[[str, FileOptions], Raw],
    options: FileOptions,
    *,
    train_split: str = "train",
    validation_split: str | None = VALIDATION,
    test_split: str | None = None,
    num_classes: int | None = None,
    task: str | None = None,
    loss: str | None = None,
) -> Dataset:
    """Reads a file or a folder.

    Args:
      name: the path.
      read: reads it.
      options: what the user says of it.
      train_split: `train`; a file has no slices.
      validation_split: a share of the training part where the file has no validation part; None: there is none.
      test_split: likewise for the test part; None: the file's own, else a fifth.
      num_classes: number of classes, where labels are numbers from 0.
      task: the task; None: the labels decide.
      loss: name of the loss, which decides whether the labels of a regression are standardised.

    Raises:
      ValueError: the file cannot be read or trained on, or an option does not fit it.
    """
    if train_split != "train":
        raise ValueError(
            f"--train_split={train_split} is a split of TensorFlow Datasets; `{name}` has one training part: leave "
            "--train_split out."
        )
    raw = read(name, options)
    where = f"Data set `{name}`"
    train = raw.parts["train"]
    found = inference.infer(
        None if task == tasks.RECONSTRUCTION else train.labels,
        task,
        classes=raw.classes,
        num_classes=num_classes,
        where=where,
    )
    numbers = _encoded(found, train, f"{where}, part `train`")
    warnings = list(raw.warnings)
    single = set() if numbers is None else set(np.flatnonzero(np.bincount(numbers) == 1).tolist())
    warnings += dividing.alone(sorted(single), found.classes)
    parts = dict(raw.parts)
    names: dict[str, str | None] = {"train": "train", "test": _chosen(raw, "test", test_split, TEST)}
    names["validation"] = None if validation_split is None else _chosen(raw, "validation", validation_split, VALIDATION)
    for role in ("test", "validation"):
        # The test part is held out first, so that it does not depend on what is held out for validation.
        split = names[role]
        held = None if split is None else share(split, f"--{role}_split")
        if held is not None:
            chosen = dividing.held_out(_encoded(found, parts["train"], where), held, parts["train"].num_examples)
            if not chosen.any() or chosen.all():
                raise ValueError(
                    f"{where} has {len(chosen)} training examples, of which none can be held out with "
                    f"--{role}_split={split}; add examples, or give the {role} examples in a part of their own."
                )
            parts[role], parts["train"] = parts["train"].rows(chosen), parts["train"].rows(~chosen)
        elif split is not None and split != role:
            parts[role] = raw.parts[split]
    parts = {role: parts[role] for role, split in names.items() if split is not None}
    learnt = preprocessing.learn(dataclasses.replace(raw, parts=parts), options)
    if found.name == tasks.RECONSTRUCTION:
        found = _reconstruction(found, learnt, where)
    if found.name == tasks.REGRESSION and inference.is_of_differences(loss):
        found = found.standardised(parts["train"].labels)
    splits = {role: _split(part, found, learnt, f"{where}, part `{role}`") for role, part in parts.items()}
    if found.name == tasks.CLASSIFICATION:
        seen = {role: set(found.encode(part.labels, where).tolist()) for role, part in parts.items()}
        # What was said of a class with a single example need not be said again.
        known = seen["train"] - single
        warnings += dividing.never(set(range(len(found.classes))) - seen["train"], found.classes)
        warnings += dividing.absent(known - seen.get("validation", known), found.classes)
    warnings += [*learnt.warnings]
    warnings += dividing.overlaps(names, lambda one, other: parts["test"].num_examples if one == other else 0)
    return Dataset(
        name,
        models.Tokens(learnt.input_shape[0], learnt.vocabulary_size) if learnt.vocabulary_size else learnt.input_shape,
        len(found.classes) if found.name == tasks.CLASSIFICATION else 0,
        splits["train"],
        splits["test"],
        splits.get("validation"),
        test_split=names["test"] or "test",
        validation_split=names["validation"],
        warnings=tuple(warnings),
        task=found,
        preprocessing=learnt,
        fingerprint=raw.fingerprint,
        kind=raw.kind,
    )


def _chosen(raw: Raw, role: str, asked: str | None, default: str) -> str:
    """The part of the file, or the share to hold out, that serves a purpose."""
    if asked is None or asked == default:
        return role if role in raw.parts else default
    if share(asked, f"--{role}_split") is None:
        if asked not in raw.parts:
            raise ValueError(
                f"Unknown split `{asked}`: `{raw.name}` has {', '.join(raw.parts)}; give one of them, or a share of "
                "the training part such as 0.2."
            )
        if asked == "train":
            raise ValueError(
                f"--{role}_split=train: the examples that are trained on judge nothing; give a share of them, such as "
                "0.2, which is held out."
            )
        return asked
    if role in raw.parts:
        raise ValueError(
            f"--{role}_split={asked} holds a share out of the training part, but `{raw.name}` has a {role} part of its "
            f"own; leave --{role}_split out."
        )
    return asked


def _encoded(task: tasks.Task, part: Examples, where: str) -> np.ndarray | None:
    """Labels as they decide what is held out: numbers of classes, or nothing."""
    if task.name != tasks.CLASSIFICATION or part.labels is None:
        return None
    return task.encode(part.labels, where)


def _reconstruction(task: tasks.Task, learnt: preprocessing.Preprocessing, where: str) -> tasks.Task:
    if learnt.vocabulary_size:
        raise ValueError(
            f"{where} is text, which --task=reconstruction cannot predict as numbers; choose another task."
        )
    size = int(np.prod(learnt.input_shape, dtype=np.int64))
    return dataclasses.replace(task, num_outputs=size, mean=(0.0,), deviation=(1.0,))


def _split(part: Examples, task: tasks.Task, learnt: preprocessing.Preprocessing, where: str) -> Split:
    """One part as training takes it."""
    alike = task.name == tasks.RECONSTRUCTION
    if alike and part.weights is not None:
        raise ValueError(f"{where} has weights, which --task=reconstruction does not take; leave --weight out.")
    if part.labels is None and not alike:
        raise ValueError(f"{where} has no labels; add them, or leave that part out.")
    labels = None if alike else task.encode(part.labels, where)
    if part.features is None:
        # Decoded when they are needed, so that preprocessing has nothing to do with them.
        stream: Any = part.stream
        return Split(part.num_examples, None, None, stream if alike else dataclasses.replace(stream, labels=labels))
    features = learnt(part.features)
    features = features.astype(np.int32, copy=False) if learnt.vocabulary_size else features
    return Split(part.num_examples, features, labels, weights=part.weights)
