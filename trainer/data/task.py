"""What a network learns from labels: their task, the numbers that training gets in their place, and their measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

CLASSIFICATION = "classification"
MULTILABEL = "multilabel"
REGRESSION = "regression"
RECONSTRUCTION = "reconstruction"
TASKS = (CLASSIFICATION, MULTILABEL, REGRESSION, RECONSTRUCTION)
# The most names of classes that `run.json` and messages list.
MOST_LISTED = 1000


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learnt from labels.

    Attributes:
      name: classification, multilabel, regression or reconstruction.
      num_outputs: numbers that a network gives for an example: a logit for each class (a single one for two classes),
        for each label, or a number for each that is predicted.
      classes: names of the classes or labels, in the order of their numbers.
      mean: of each number that is predicted, over the training examples; labels are standardised with it.
      deviation: likewise; 1 where labels are not standardised.
      reason: how the task was found, for the first lines of a run.
      other: how to choose another one; empty where there is none.
      numbered: whether labels are the numbers of the classes, and not their names.
    """

    name: str
    num_outputs: int
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    reason: str = ""
    other: str = ""
    numbered: bool = False

    def loss(self, name: str | None = None, *, label_smoothing: float = 0.0, from_logits: bool = True) -> Any:
        """The Keras loss.

        Args:
          name: name of a Keras loss, such as huber; None: the task's own, cross-entropy or the mean squared error.
          label_smoothing: share of a label that goes to the other classes.
          from_logits: whether the network's outputs are logits; False: they are probabilities.

        Raises:
          ValueError: an unknown loss, or one that does not fit the task.
        """
        from . import measures

        return measures.loss(self.name, self.num_outputs, name, label_smoothing, from_logits)

    def metrics(self, names: tuple[str, ...] = (), *, from_logits: bool = True) -> list[keras.metrics.Metric]:
        """The Keras metrics.

        Args:
          names: names of Keras metrics, such as auc; empty: the task's own, accuracy, F1 or R2.
          from_logits: as in `loss`.

        Raises:
          ValueError: an unknown metric, or one that does not fit the task.
        """
        from . import measures

        return measures.metrics(self.name, self.num_outputs, names, from_logits)

    def for_outputs(self, num_outputs: int) -> Task:
        """The same task for a network of so many outputs; two classes may have two outputs in place of one.

        Raises:
          ValueError: the task needs another number.
        """
        if num_outputs == self.num_outputs:
            return self
        if self.name == CLASSIFICATION and num_outputs == len(self.classes) == 2:
            return dataclasses.replace(self, num_outputs=2)
        expected = "1 or 2" if self.name == CLASSIFICATION and len(self.classes) == 2 else str(self.num_outputs)
        raise ValueError(
            f"the network has {num_outputs} outputs, but {self.described()} needs {expected}; give a network of that "
            "many outputs, or choose another --task."
        )

    def standardised(self, labels: Any) -> Task:
        """The same task, with the mean and deviation of the labels [n] or [n, outputs] of the training part."""
        rows = np.asarray(labels).reshape(len(labels), -1).astype(np.float64)
        deviation = rows.std(axis=0)
        deviation = np.where((rows == rows[0]).all(axis=0) | ~(deviation > 0), 1.0, deviation)
        return dataclasses.replace(self, mean=tuple(rows.mean(axis=0).tolist()), deviation=tuple(deviation.tolist()))

    def encode(self, labels: Any, where: str = "labels") -> np.ndarray:
        """Labels as training takes them.

        Args:
          labels: [n] or [n, outputs], as `infer` was given them.
          where: data set and part, for messages.

        Returns:
          Class numbers [n] int32, or float32 [n, num_outputs].

        Raises:
          ValueError: a label that training does not know, or that is no number.
        """
        labels = np.asarray(labels)
        if self.name == CLASSIFICATION:
            return self._class_numbers(labels, where)
        rows = labels.reshape(len(labels), -1)
        if rows.shape[1] != self.num_outputs:
            raise ValueError(
                f"{where}: a label has {rows.shape[1]} numbers; expected {self.num_outputs}, as in the training part."
            )
        try:
            rows = rows.astype(np.float64)
        except ValueError:
            raise ValueError(
                f"{where}: labels are text, and {self.name} needs numbers; choose another --task."
            ) from None
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise ValueError(f"{where}: label {labels[bad[0]]} of example {bad[0]} is not finite; mend the data.")
        if self.name == MULTILABEL:
            wrong = np.flatnonzero(~np.isin(rows, (0, 1)).all(axis=1))
            if wrong.size:
                raise ValueError(
                    f"{where}: label {labels[wrong[0]]} of example {wrong[0]} is no row of 0 and 1, which multilabel "
                    "needs; choose another --task or mend the data."
                )
            return rows.astype(np.float32)
        return ((rows - np.asarray(self.mean)) / np.asarray(self.deviation)).astype(np.float32)

    def encode_tensor(self, label: tf.Tensor, where: str = "labels") -> tf.Tensor:
        """What `encode` makes of the label of one example, in a graph."""
        import tensorflow as tf

        if self.name == RECONSTRUCTION:
            return tf.zeros([], tf.int32)
        if self.name != CLASSIFICATION:
            row = tf.cast(tf.reshape(label, [self.num_outputs]), tf.float64)
            tf.debugging.assert_all_finite(row, f"{where}: a label is not finite")
            if self.name == REGRESSION:
                row = (row - tf.constant(self.mean, tf.float64)) / tf.constant(self.deviation, tf.float64)
            return tf.cast(row, tf.float32)
        if label.shape.num_elements() != 1:
            return tf.argmax(tf.reshape(label, [-1]), output_type=tf.int32)
        text = tf.reshape(label, [])
        if text.dtype == tf.bool:
            return tf.cast(text, tf.int32)
        text = text if text.dtype == tf.string else tf.strings.as_string(tf.cast(text, tf.int64))
        found = tf.equal(tf.constant(self.classes), text)
        words = f"{where}: label {{}} is no class of the training part"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(found), [tf.strings.format(words, text)])]):
            return tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32)

    def weights_of_classes(self, asked: Mapping[str, float] | str, labels: np.ndarray) -> np.ndarray:
        """What the loss of each example is multiplied by for its class.

        Args:
          asked: "balanced", which gives every class the same weight in all, or class -> weight; 1 for a class without.
          labels: the encoded labels of the training examples, [n].

        Returns:
          float32 [classes].

        Raises:
          ValueError: there are no classes, or none of that name.
        """
        if self.name != CLASSIFICATION:
            raise ValueError(f"--class_weight needs classes, but the task is {self.name}; leave it out.")
        number = len(self.classes)
        if isinstance(asked, str):
            counts = np.bincount(labels, minlength=number)
            present = np.count_nonzero(counts)
            return (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)
        weights = np.ones(number, np.float32)
        for name, weight in asked.items():
            if str(name) not in self.classes:
                raise ValueError(
                    f"--class_weight={name}:{weight:g}: there is no class `{name}`; there are {self.listed()}."
                )
            weights[self.classes.index(str(name))] = weight
        return weights

    def because(self, reason: str) -> Task:
        """The same task, found in another way."""
        return dataclasses.replace(self, reason=reason)

    def described(self) -> str:
        """The task in a few words: `classification of 6 classes`."""
        one = self.num_outputs == 1
        return {
            CLASSIFICATION: f"classification of {len(self.classes)} classes",
            MULTILABEL: f"multilabel of {self.num_outputs} labels",
            REGRESSION: f"regression of {self.num_outputs} number{'' if one else 's'}",
            RECONSTRUCTION: f"reconstruction of {self.num_outputs} number{'' if one else 's'}",
        }[self.name]

    def recorded(self) -> dict[str, Any]:
        """The task as plain JSON values."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("reason", "other", "numbered")
        }
        own["classes"] = self.classes if len(self.classes) <= MOST_LISTED else ()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}

    def listed(self) -> str:
        """The first classes by name."""
        more = f" and {len(self.classes) - 10:,} more" if len(self.classes) > 10 else ""
        return ", ".join(self.classes[:10]) + more

    def _class_numbers(self, labels: np.ndarray, where: str) -> np.ndarray:
        if labels.ndim > 1 and labels.shape[1:] != (1,):
            wrong = np.flatnonzero(~one_hot_rows(labels)) if labels.ndim == 2 else np.zeros(1, int)
            if wrong.size or labels.shape[1] != len(self.classes):
                row = int(wrong[0]) if wrong.size else 0
                raise ValueError(
                    f"{where}: label {labels[row]} of example {row} is not one of {len(self.classes)} classes, written "
                    "as a row with a single 1; mend the data, or choose --task=multilabel."
                )
            return labels.argmax(axis=1).astype(np.int32)
        names = map(str, range(len(self.classes))) if self.numbered else self.classes
        known = {name: number for number, name in enumerate(names)}
        values, places = np.unique(labels.reshape(-1), return_inverse=True)
        numbers = np.array([known.get(class_name(value), -1) for value in values], np.int32)[places]
        unknown = np.flatnonzero(numbers < 0)
        if unknown.size:
            name = class_name(labels.reshape(-1)[unknown[0]])
            raise ValueError(
                f"{where}: label `{name}` of example {unknown[0]} is no class of the training part, which has "
                f"{self.listed()}; mend the data, or leave such examples out."
            )
        return numbers


def class_name(value: Any) -> str:
    """The name of the class that a label stands for."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def one_hot_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows [n, classes] have a single 1 and nothing else but 0: bool [n]."""
    return (np.isin(labels, (0, 1)).all(axis=1)) & (labels.sum(axis=1) == 1)
