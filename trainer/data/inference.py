"""Finds the task from the labels of the training examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..settings.checks import check_choice
from .task import CLASSIFICATION, MULTILABEL, RECONSTRUCTION, REGRESSION, TASKS, Task, class_name, one_hot_rows

# Short names of Keras's losses and metrics.
ALIASES = {
    "bce": "binary_crossentropy",
    "f1": "f1_score",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "r2": "r2_score",
    "rmse": "root_mean_squared_error",
}
# Losses whose value does not depend on where labels have their zero.
_OF_DIFFERENCES = ("huber", "log_cosh", "mean_absolute_error", "mean_squared_error")
# Whole numbers are classes unless there are more of them than this, and fewer examples than that to each on average.
MANY_CLASSES, EXAMPLES_EACH = 20, 10


def infer(
    labels: Any,
    asked: str | None = None,
    *,
    classes: Sequence[str] = (),
    num_classes: int | None = None,
    where: str = "the data set",
) -> Task:
    """Decides what is to be learnt.

    Text, true or false, and whole numbers are classes. So are rows with a single 1 (one-hot). Other rows of 0 and 1 are
    several labels of one example; other numbers are predicted as they are. Whole numbers are predicted too where they
    have more than 20 values and fewer than 10 examples to each on average.

    Args:
      labels: of the training examples, [n] or [n, outputs]; None: there are none.
      asked: the task that the user chose; None: the labels decide.
      classes: names of the classes, where labels are their numbers.
      num_classes: how many classes there are, where labels are numbers from 0; None: those that occur.
      where: the data set, for messages.

    Raises:
      ValueError: the labels are of no task, or not of the one that was chosen.
    """
    if asked is not None:
        check_choice(f"--task={asked}", asked, TASKS)
    chosen = "as --task says"
    if asked == RECONSTRUCTION:
        # As many outputs as an example has numbers, which the caller knows.
        return Task(RECONSTRUCTION, 0, reason=chosen)
    if labels is None:
        raise ValueError(
            f"{where} has no labels; name their column with --label, or learn the inputs themselves with "
            "--task=reconstruction."
        )
    labels = _plain(np.asarray(labels), where)
    name, reason, other = (CLASSIFICATION, "as examples lie by class", "") if classes else _found(labels)
    if classes and asked not in (None, CLASSIFICATION):
        raise ValueError(f"--task={asked} needs numbers, but {where} names classes, such as {classes[0]}.")
    if asked is not None:
        if asked != name:
            _check_possible(labels, asked, name, where)
        name, reason, other = asked, chosen, ""
    if num_classes is not None and name != CLASSIFICATION:
        raise ValueError(f"--num_classes={num_classes} means nothing to {name}; leave it out.")
    if name == CLASSIFICATION:
        task = _classification(labels, tuple(classes), num_classes, where)
        return dataclasses.replace(task, reason=reason, other=other, numbered=bool(classes))
    outputs = int(np.prod(labels.shape[1:], dtype=int))
    if name == MULTILABEL:
        return Task(MULTILABEL, outputs, tuple(map(str, range(outputs))), reason=reason, other=other)
    numbers = labels.reshape(len(labels), outputs).astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])
        raise ValueError(f"{where}: label {labels[row]} of training example {row} is not finite; mend the data.")
    if (numbers == numbers[0]).all():
        raise ValueError(f"{where}: every label is {labels[0]}, so there is nothing to learn; mend the data.")
    zeros, ones = (0.0,) * outputs, (1.0,) * outputs
    return Task(REGRESSION, outputs, mean=zeros, deviation=ones, reason=reason, other=other)


def is_of_differences(loss: str | None) -> bool:
    """Whether labels may be standardised under a loss."""
    return loss is None or ALIASES.get(loss, loss) in _OF_DIFFERENCES


def _plain(labels: np.ndarray, where: str) -> np.ndarray:
    """Labels of text as str, columns of one number as [n]."""
    if labels.dtype == object:
        kinds = {type(value) for value in labels.reshape(-1)}
        if not kinds <= {str, bytes} and not kinds <= {bool, np.bool_}:
            found = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"{where}: labels are of the types {found}; expected numbers alone or text alone.")
        labels = np.array([class_name(value) for value in labels.reshape(-1)]).reshape(labels.shape)
    if labels.dtype.kind not in "biufSU":
        raise ValueError(f"{where}: labels are of {labels.dtype}; expected numbers or text.")
    if labels.ndim > 2 and labels.dtype.kind in "SU":
        raise ValueError(f"{where}: labels of text have the shape {labels.shape}; expected one for each example.")
    return labels.reshape(-1) if labels.ndim > 1 and labels[:1].size == 1 else labels


def _found(labels: np.ndarray) -> tuple[str, str, str]:
    """The task that the labels show, why, and how to choose another."""
    as_numbers = f"--task={REGRESSION} predicts them as they are"
    as_classes = f"--task={CLASSIFICATION} makes classes of them"
    if labels.ndim > 1 and labels.dtype.kind not in "SU":
        rows = labels.reshape(len(labels), -1)
        if labels.ndim == 2 and one_hot_rows(rows).all():
            return CLASSIFICATION, f"inferred from labels with a single 1 among {rows.shape[1]}", as_numbers
        if np.isin(rows, (0, 1)).all():
            return MULTILABEL, f"inferred from labels of {rows.shape[1]} zeros and ones", as_numbers
        return REGRESSION, f"inferred from labels of {rows.shape[1]} numbers", ""
    if labels.dtype.kind == "f":
        whole = bool(np.isfinite(labels).all() and (labels == np.floor(labels)).all())
        return REGRESSION, "inferred from labels of a type for fractions", as_classes if whole else ""
    if labels.dtype.kind in "iu":
        distinct = len(np.unique(labels))
        if distinct > MANY_CLASSES and len(labels) < EXAMPLES_EACH * distinct:
            reason = f"inferred from {distinct:,} different whole numbers in {len(labels):,} examples"
            return REGRESSION, reason, as_classes
        return CLASSIFICATION, f"inferred from {distinct:,} different whole numbers as labels", as_numbers
    what = "true or false" if labels.dtype.kind == "b" else "text"
    return CLASSIFICATION, f"inferred from labels that are {what}", ""


def _check_possible(labels: np.ndarray, asked: str, found: str, where: str) -> None:
    """Raises ValueError where the labels cannot serve the task that was chosen."""
    text = labels.dtype.kind in "SU"
    zeros_and_ones = not text and labels.ndim == 2 and np.isin(labels, (0, 1)).all()
    whole = not text and labels.ndim == 1 and np.isfinite(labels).all() and (labels == np.floor(labels)).all()
    possible = {
        CLASSIFICATION: (text and labels.ndim == 1) or whole,
        MULTILABEL: zeros_and_ones,
        REGRESSION: not text,
    }[asked]
    if not possible:
        needed = {
            CLASSIFICATION: "one class for each example: text, whole numbers, or rows with a single 1",
            MULTILABEL: "rows of zeros and ones",
            REGRESSION: "numbers",
        }[asked]
        raise ValueError(f"--task={asked} needs {needed}, but the labels of {where} are those of {found}.")


def _classification(labels: np.ndarray, classes: tuple[str, ...], num_classes: int | None, where: str) -> Task:
    if labels.ndim > 1:
        seen = np.unique(labels.argmax(axis=1))
        classes = classes or tuple(map(str, range(labels.shape[1])))
    elif classes:
        seen = np.unique(labels)
    else:
        values = np.unique(labels)
        seen, classes = np.arange(len(values)), tuple(map(class_name, values))
        if num_classes is not None and labels.dtype.kind in "biuf":
            outside = [value for value in values if not 0 <= value < num_classes]
            if outside:
                raise ValueError(
                    f"{where}: label {outside[0]} is outside the classes 0..{num_classes - 1}; leave --num_classes "
                    "out, or give a number that holds every label."
                )
            classes = tuple(map(str, range(num_classes)))
    if num_classes not in (None, len(classes)):
        raise ValueError(
            f"--num_classes={num_classes}, but the labels of {where} are of {len(classes)} classes; leave it out."
        )
    if len(seen) < 2:
        only = classes[int(seen[0])]
        raise ValueError(f"{where}: every label is `{only}`, so there is nothing to tell apart; mend the data.")
    return Task(CLASSIFICATION, 1 if len(classes) == 2 else len(classes), classes)
