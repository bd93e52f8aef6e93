"""What training minimises, and what it measures."""

from __future__ import annotations

import abc
import contextlib
import inspect
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import source as sources
from ..data.source import Source
from ..runtime import replicas
from . import losses

# What TensorFlow writes around the words of an error.
_NODES = re.compile(r"\{\{.*?\}\} ?| ?\[Op:.*")


class Objective(abc.ABC):
    """The loss of a batch, and the sums and metrics that describe how training and evaluation go.

    All methods but `results`, `training_results` and `eval_batches` are called in a replica, with its part of a batch.

    Attributes:
      model: the network.
      num_sums: how many numbers `sums` returns.
      metrics: variables beside the model's own that `sums` and `evaluate` change: the state of metrics.
    """

    model: keras.Model
    num_sums: int
    metrics: Sequence[keras.Variable] = ()

    @property
    def metric_copies(self) -> list[tf.Variable]:
        """Each replica's own copy of `metrics`."""
        return [copy for variable in self.metrics for copy in replicas.copies(variable)]

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """Starts `metrics` from their initial state, and ends with the state they had before."""
        before = [copy.numpy() for copy in self.metric_copies]
        self.reset()
        try:
            yield
        finally:
            for copy, value in zip(self.metric_copies, before, strict=True):
                copy.assign(value)

    @abc.abstractmethod
    def reset(self) -> None:
        """Sets `metrics` to their initial state."""

    @abc.abstractmethod
    def loss(self, batch: tuple[Any, ...]) -> tuple[tf.Tensor, Any]:
        """This replica's share of the loss to minimise, a scalar, and what `sums` needs to know of the forward pass.

        The gradients of all replicas are summed.
        """

    @abc.abstractmethod
    def sums(self, batch: tuple[Any, ...], seen: Any) -> tf.Tensor:
        """What a step adds to the totals, float32 [num_sums]; summed over the replicas. Updates `metrics`."""

    @abc.abstractmethod
    def training_results(self, totals: np.ndarray) -> dict[str, float]:
        """The loss first, then other numbers by name, over the steps that were summed up; NaN without a finite step.

        Args:
          totals: float64 [num_sums + 1]: sums of `sums`, and the number of finite steps.
        """

    @abc.abstractmethod
    def eval_batches(self, source: Source) -> Iterator[tuple[Any, int]]:
        """The batches of an evaluation, in the form that `Source.take` understands, and the examples in each."""

    @abc.abstractmethod
    def evaluate(self, batch: tuple[Any, ...], first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """What a batch adds to the sums of an evaluation; summed over the replicas. Updates `metrics`.

        Args:
          batch: this replica's part of the batch.
          first: place in the whole batch of the first example of the part.
          count: examples in the whole batch; those from this place on are padding.
        """

    @abc.abstractmethod
    def results(self, sums: np.ndarray, source: Source) -> dict[str, float]:
        """The loss first, then the metrics by name, of all examples of a source.

        Args:
          sums: what `evaluate` returned, summed over batches and replicas.
          source: where the batches came from.
        """


class CrossEntropy(Objective):
    """Cross-entropy of classes from logits, penalties of the model, and the share of correct predictions.

    As in Keras, weights scale the losses, whose mean is over the examples. The accuracy is a mean by weight.

    Args:
      model: the network, from features to logits.
      batch_size: examples in a global training batch.
      num_replicas: how many replicas share a batch.
    """

    num_sums = 4

    def __init__(self, model: keras.Model, batch_size: int, num_replicas: int):
        self.model = model
        self._batch_size = batch_size
        self._num_replicas = num_replicas

    def reset(self) -> None:
        """Does nothing, because the totals hold all that is measured."""

    def loss(self, batch: tuple[Any, ...]) -> tuple[tf.Tensor, Any]:
        """The mean over the global batch of the weighted losses, and an equal share of the penalties."""
        features, labels, *weights = batch
        logits = self.model(features, training=True)
        # Replicas' gradients are summed, so the mean is taken over the global batch, and the penalty, which every
        # replica computes in full, is shared out.
        loss = losses.total(losses.cross_entropy(labels, logits), *weights or (None,)) / self._batch_size
        penalty = tf.add_n(self.model.losses) / self._num_replicas if self.model.losses else tf.zeros([])
        return loss + penalty, (logits, loss, penalty)

    def sums(self, batch: tuple[Any, ...], seen: Any) -> tf.Tensor:
        """Loss, penalty, share of correct predictions and mean weight."""
        _, labels, *weights = batch
        logits, loss, penalty = seen
        correct = losses.total(losses.correct_predictions(labels, logits), *weights or (None,)) / self._batch_size
        weight = tf.reduce_sum(weights[0]) / self._batch_size if weights else tf.constant(1.0 / self._num_replicas)
        return tf.stack([loss, penalty, correct, weight])

    def training_results(self, totals: np.ndarray) -> dict[str, float]:
        """Loss, accuracy and penalty."""
        with np.errstate(invalid="ignore", divide="ignore"):
            loss, penalty, correct, weight, count = totals
            return {"loss": loss / count, "accuracy": correct / weight, "penalty": penalty / count}

    def eval_batches(self, source: Source) -> Iterator[tuple[Any, int]]:
        """Batches of one size, so that one trace serves all; the last one is padded."""
        assert source.batch_size is not None
        for batch in source.eval_batches():
            count = sources.rows(batch)
            yield sources.padded(batch, source.batch_size - count), count

    def evaluate(self, batch: tuple[Any, ...], first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Weighted losses, weighted correct predictions and weights of the batch."""
        features, labels, *given = batch
        weights = tf.cast(first + tf.range(labels.shape[0]) < count, tf.float32)
        for weight in given:
            weights *= weight
        logits = self.model(features, training=False)
        values = losses.cross_entropy(labels, logits), losses.correct_predictions(labels, logits)
        return tf.stack([*(losses.total(value, weights) for value in values), tf.reduce_sum(weights)])

    def results(self, sums: np.ndarray, source: Source) -> dict[str, float]:
        """Loss and accuracy."""
        return {"loss": float(sums[0] / source.num_examples), "accuracy": float(sums[1] / sums[2])}


class Compiled(Objective):
    """The loss and the metrics that a Keras model was compiled with.

    Losses are what `model.compute_loss` returns, so penalties, `add_loss` and a model's own `compute_loss` count.
    Keras divides its losses by the number of replicas; a `compute_loss` of one's own has to do that by itself, as in
    `fit`. The optimizer that the model was compiled with plays no part.

    Args:
      model: a compiled model, made in the scope of the strategy.
      strategy: where the replicas live.
      spec: the specs of a global batch, see `Source.spec`.
      reconstructs: whether the labels are the features, as rows of numbers, whatever labels a batch has.

    Attributes:
      output_shape: shape of the model's outputs for a batch; None where it has several.

    Raises:
      ValueError: the model was not compiled, has a training step of its own, or does not fit the batches.
    """

    num_sums = 2

    def __init__(
        self, model: keras.Model, strategy: tf.distribute.Strategy, spec: tuple[Any, ...], reconstructs: bool = False
    ):
        if not model.compiled:
            raise ValueError("The model has no loss; call `compile(loss=...)` first.")
        for name in ("train_step", "test_step"):
            if getattr(type(model), name) is not getattr(keras.Model, name):
                raise ValueError(
                    f"{type(model).__name__} overrides `{name}`, which is never called here; override `compute_loss` "
                    "and `compute_metrics` instead, or `call`."
                )
        self.model = model
        self.reconstructs = reconstructs
        self._num_replicas = strategy.num_replicas_in_sync
        self._takes_training = _has_training(model.call)
        self._loss_takes_training = _has_training(model.compute_loss)
        self.output_shape: tuple[int, ...] | None = None
        with strategy.scope():
            self._build(spec)
        self.metrics = model.metrics_variables

    def reset(self) -> None:
        """Sets the metrics to their initial state."""
        self.model.reset_metrics()

    def loss(self, batch: tuple[Any, ...]) -> tuple[tf.Tensor, Any]:
        """What `model.compute_loss` returns."""
        x, y, weights = self._unpacked(batch)
        outputs = self._outputs(x, training=True)
        loss = self._compute_loss(x, y, outputs, weights, training=True)
        return loss, (outputs, loss)

    def sums(self, batch: tuple[Any, ...], seen: Any) -> tf.Tensor:
        """The loss times the number of examples, and that number."""
        outputs, loss = seen
        return self._measure(batch, outputs, loss)

    def training_results(self, totals: np.ndarray) -> dict[str, float]:
        """The loss, and the metrics by their names in Keras."""
        return self._results(totals)

    def eval_batches(self, source: Source) -> Iterator[tuple[Any, int]]:
        """The batches as they are: a metric need not know weights, so there is no padding that counts for nothing."""
        for batch in source.eval_batches():
            yield batch, sources.rows(batch)

    def evaluate(self, batch: tuple[Any, ...], first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The loss times the number of examples, and that number."""
        del first, count
        x, y, weights = self._unpacked(batch)
        if tf.nest.flatten(x)[0].shape[0] == 0:
            # Another replica has all of the batch. A mean over no examples would be NaN.
            return tf.zeros([self.num_sums])
        outputs = self._outputs(x, training=False)
        return self._measure(batch, outputs, self._compute_loss(x, y, outputs, weights, training=False))

    def results(self, sums: np.ndarray, source: Source) -> dict[str, float]:
        """The loss, and the metrics by their names in Keras."""
        del source
        return self._results(sums)

    def _unpacked(self, batch: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Features, labels and weights."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        return x, tf.reshape(x, [-1, math.prod(x.shape[1:])]) if self.reconstructs else y, weights

    def _outputs(self, x: Any, training: bool) -> Any:
        return self.model(x, training=training) if self._takes_training else self.model(x)

    def _compute_loss(self, x: Any, y: Any, outputs: Any, weights: Any, training: bool) -> tf.Tensor:
        known = {"training": training} if self._loss_takes_training else {}
        return self.model.compute_loss(x, y, outputs, weights, **known)

    def _measure(self, batch: tuple[Any, ...], outputs: Any, loss: tf.Tensor) -> tf.Tensor:
        x, y, weights = self._unpacked(batch)
        self.model.compute_metrics(x, y, outputs, sample_weight=weights)
        count = tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], tf.float32)
        # As Keras reports it: the replicas' losses are shares of the mean.
        return tf.stack([tf.cast(loss, tf.float32) * self._num_replicas * count, count])

    def _results(self, sums: np.ndarray) -> dict[str, float]:
        with np.errstate(invalid="ignore", divide="ignore"):
            loss = float(np.float64(sums[0]) / sums[1])
        results = {"loss": loss}
        for name, value in self.model.get_metrics_result().items():
            values = np.asarray(value)
            entries = {name: values} if values.ndim == 0 else {f"{name}_{i}": v for i, v in enumerate(values.flat)}
            results.update({name: float(entry) for name, entry in entries.items()})
        # Keras's own tracker of the loss is fed by its `train_step` alone; a tracker of the model's own counts.
        return results if type(self.model).metrics is not keras.Model.metrics else results | {"loss": loss}

    def _build(self, spec: tuple[Any, ...]) -> None:
        """Makes the variables of metrics, on a batch of zeros that leaves no trace, and finds what does not fit."""
        batch = tf.nest.map_structure(lambda one: tf.zeros([size or 1 for size in one.shape], one.dtype), spec)
        x, y, weights = self._unpacked(batch)
        given = f"x of {_described(spec[0])}" + (f" and y of {_described(spec[1])}" if len(spec) > 1 else "")
        doing = f"The model cannot be called on {given}"
        try:
            with keras.StatelessScope(
                [(variable, tf.convert_to_tensor(variable)) for variable in self.model.variables]
            ):
                outputs = self._outputs(x, training=False)
                self.output_shape = tuple(outputs.shape) if tf.is_tensor(outputs) else None
                given = f"outputs of {_described(outputs)}, {given}"
                doing = f"The loss cannot be computed from {given}"
                loss = self._compute_loss(x, y, outputs, weights, training=False)
                if tf.convert_to_tensor(loss).shape.rank != 0:
                    raise ValueError(f"it has shape {tuple(loss.shape)}, and not one number for a batch")
                doing = f"A metric cannot be computed from {given}"
                self.model.compute_metrics(x, y, outputs, sample_weight=weights)
        except Exception as error:
            reason = _NODES.sub("", " ".join(str(getattr(error, "message", error)).split()))
            raise ValueError(f"{doing}: {reason}") from error


def _has_training(function: Any) -> bool:
    return "training" in inspect.signature(function).parameters


def _described(structure: Any) -> str:
    """Shapes in the words of an error: `(None, 28, 28)`, or a structure of such."""
    shapes = tf.nest.map_structure(lambda one: tuple(one.shape), structure)
    return f"shape {shapes}" if not tf.nest.is_nested(structure) else f"shapes {shapes}"
