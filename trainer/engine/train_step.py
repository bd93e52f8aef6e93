"""The training step and the compiled chunk of steps; the compiled evaluation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ..data.batches import Source
from . import losses
from .fused_optimizer import Updates, all_finite, roughly_finite
from .projector import Projector


class Chunk(NamedTuple):
    """What a chunk of steps returns.

    Attributes:
      totals: float64 [5]: sums, over the finite steps since the totals were last zero, of the batches' mean loss, of
        the penalty, of the batches' mean hits and of their mean weights, and the number of these steps.
      nonfinite: int64 [3]: how many steps of the run had a loss or a gradient that is not finite, how many of these
        were the last ones in a row, and how many steps this chunk made: fewer than asked for where it ended at the
        limit, or was halted.
      measures: the projector's measures at the last step, zeros when they were not asked for.
      learning_rate: float32 scalar, the rate the last step used.
    """

    totals: tf.Tensor
    nonfinite: tf.Tensor
    measures: tf.Tensor
    learning_rate: tf.Tensor


def means(totals: np.ndarray) -> dict[str, float]:
    """Loss, accuracy and penalty over the steps that `Chunk.totals` sums up; NaN without a finite step.

    As in Keras, weights scale the losses, whose mean is over the examples; the accuracy is a mean by weight.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        loss, penalty, hits, weight, count = totals
        return {"loss": loss / count, "accuracy": hits / weight, "penalty": penalty / count}


class Steps:
    """Compiled training and evaluation of one model.

    Args:
      strategy: where the replicas live.
      model: the network, from features to logits.
      optimizer: built on the model's trainable variables.
      projector: projects the constrained variables after each optimizer step.
      train_source: batches to learn from.
      eval_source: batches to choose the best checkpoint by.
      batch_size: examples in a global training batch.
      clip_norm: largest norm of the whole gradient, or None.
      max_nonfinite: steps in a row without a finite loss and gradient at which a chunk ends; each leaves weights and
        optimizer as they are.
      jit: whether XLA compiles the forward and the backward pass and, where it can and no other replica is waited for,
        the optimizer's step; may be changed between two chunks. Not more than these: around the loop XLA is many times
        slower, and projections have better ways without it.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        projector: Projector,
        train_source: Source,
        eval_source: Source,
        batch_size: int,
        clip_norm: float | None = None,
        jit: bool = False,
        max_nonfinite: int = 10,
    ):
        self._strategy = strategy
        self._model = model
        self._optimizer = optimizer
        self._projector = projector
        self._train_source = train_source
        self._eval_source = eval_source
        self._batch_size = batch_size
        self._clip_norm = clip_norm
        self._updates = Updates(optimizer, model.trainable_variables)
        self._max_nonfinite = max_nonfinite
        # What the forward pass itself changes, such as the means of a batch normalization; but not dropout's seeds.
        self._statistics = [
            variable for variable in model.non_trainable_variables if variable.dtype.startswith("float")
        ]
        self.jit = jit
        self._halted = tf.Variable(False, trainable=False)
        self._jitted: dict[int, Any] = {}
        # Control flow is written out, so nothing is left for AutoGraph to convert, which doubles the time of a trace.
        self._chunks = {jit: tf.function(self._train, autograph=False) for jit in (False, True)}
        # One for each source: its trace holds that source's way to take a batch.
        self._judges: dict[Source, Any] = {}

    @property
    def num_traces(self) -> dict[str, int]:
        """How often each compiled function was traced; once is the aim."""
        return {
            "train": self._chunks[self.jit].experimental_get_tracing_count(),
            "evaluate": sum(judge.experimental_get_tracing_count() for judge in self._judges.values()),
        }

    def train(self, num_steps: int, totals: np.ndarray, nonfinite: np.ndarray, measure: bool) -> Chunk:
        """Makes `num_steps` optimizer steps; measures the constrained variables at the last of them if `measure`.

        Args:
          num_steps: how many, at least 1.
          totals: float64 [5], those of the chunk before, or zeros.
          nonfinite: int64 [2], the first two numbers of the chunk before, or zeros.
          measure: whether to measure.
        """
        # Tensors, not Python numbers: a number would be baked into the trace, and each new one would trace again.
        arguments = tf.constant(num_steps, tf.int64), tf.constant(totals, tf.float64), tf.constant(nonfinite, tf.int64)
        return self._chunks[self.jit](*arguments, tf.constant(measure), self._train_source.arrays)

    def halt(self) -> None:
        """Ends the chunk under way after the step it is in, or the next, and every later one before its first step.

        May be called from any thread.
        """
        self._halted.assign(True)

    def evaluate(
        self, source: Source | None = None, report: Callable[[int], None] = lambda _: None
    ) -> dict[str, float]:
        """Mean loss and accuracy over all examples of a source.

        Args:
          source: the examples; None: those to choose the best checkpoint by.
          report: told after each batch how many examples were gone through.
        """
        source = source or self._eval_source
        if source not in self._judges:
            self._judges[source] = tf.function(functools.partial(self._evaluate, source), autograph=False)
        sums, done = np.zeros(3), 0
        for batch in source.eval_batches():
            sums += self._judges[source](batch, source.arrays).numpy()
            done += source.batch_size
            report(min(done, source.num_examples))
        return {"loss": float(sums[0] / source.num_examples), "accuracy": float(sums[1] / sums[2])}

    @property
    def eval_source(self) -> Source:
        """The examples to choose the best checkpoint by."""
        return self._eval_source

    def project_fully(self) -> None:
        """Moves the weights to the nearest feasible point."""
        step = self._optimizer.iterations.value
        project = tf.function(lambda: self._strategy.run(self._projector.project_fully, args=(step,)), autograph=False)
        project()

    def _train(
        self, num_steps: tf.Tensor, totals: tf.Tensor, nonfinite: tf.Tensor, measure: tf.Tensor, arrays: Any
    ) -> Chunk:
        empty = tf.zeros([self._projector.num_rows(), self._projector.width()], tf.float64)

        begun = tf.convert_to_tensor(self._optimizer.iterations)
        early = self._train_source.indexed

        def step(
            i: tf.Tensor, totals: tf.Tensor, count: tf.Tensor, in_a_row: tf.Tensor, _: tf.Tensor, fetched: Any
        ) -> tuple[Any, ...]:
            # The next step's examples, while this step is busy; nothing here waits for them, nor they for the weights.
            ahead = self._fetch(arrays, begun + i + 1) if early else ()
            batches = fetched if early else self._fetch(arrays, begun + i)
            results = self._strategy.run(self._train_replica, args=(batches, measure & tf.equal(i, num_steps - 1)))
            # Summed over replicas already, or equal on all of them: one speaks for all.
            sums, bad, measured = (self._strategy.experimental_local_results(result)[0] for result in results)
            totals += tf.cast(sums, tf.float64)
            return i + 1, totals, count + bad, (in_a_row + 1) * bad, measured, ahead

        def going(i: tf.Tensor, _: tf.Tensor, count: tf.Tensor, in_a_row: tf.Tensor, *rest: Any) -> tf.Tensor:
            # Known once the gradients are: what does not wait for that would be read whole steps early.
            with tf.control_dependencies([in_a_row]):
                halted = tf.convert_to_tensor(self._halted)
            return (i < num_steps) & (in_a_row < self._max_nonfinite) & ~halted

        start = tf.zeros([], tf.int64)
        made, totals, count, in_a_row, measures, _ = tf.while_loop(
            going,
            step,
            [start, totals, nonfinite[0], nonfinite[1], empty, self._fetch(arrays, begun) if early else ()],
        )
        used = tf.convert_to_tensor(self._optimizer.iterations) - 1
        return Chunk(totals, tf.stack([count, in_a_row, made]), measures, self._updates.rate(used))

    def _fetch(self, arrays: Any, step: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], ...]:
        """Every replica's features, labels and, if there are any, weights of a step, in the order of the replicas."""
        batch = self._train_source.train_batch(arrays, step)
        taken = self._strategy.run(self._train_source.take, args=(arrays, batch))
        used = taken if self._train_source.weighted else taken[:2]
        each = (self._strategy.experimental_local_results(values) for values in used)
        return tuple(zip(*each, strict=True))

    def _train_replica(
        self, batches: Sequence[tuple[tf.Tensor, ...]], measure: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch = batches[_replica()]
        if self.jit and self._strategy.num_replicas_in_sync == 1 and self._updates.conditional:
            # One call, with fewer passes over the weights than its parts would make.
            sums, bad = self._compiled(self._moved_or_not)(*batch)
        else:
            sums, bad = self._moved(*batch)
        measured = self._projector.project(tf.convert_to_tensor(self._optimizer.iterations), measure)
        return sums, bad, measured

    def _moved(self, *batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes a step, and leaves all but the count of steps as it is if loss or gradient are not finite.

        Returns:
          Loss, penalty, hits, weight and 1, or zeros; and an int64 scalar, 1 if the step was left out.
        """
        before = [tf.convert_to_tensor(variable) for variable in self._statistics]
        sums, gradients = (self._compiled(self._gradients) if self.jit else self._gradients)(*batch)
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            sums, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [sums, *gradients])
        # Of the sums, so that one replica's gradient stops all of them.
        finite = all_finite(sums, gradients)
        sums = sums[:-1]

        def move() -> tf.Tensor:
            self._updates.apply(self._clipped(gradients))
            return tf.concat([sums, tf.ones([1], sums.dtype)], axis=0)

        def stay() -> tf.Tensor:
            self._updates.count()
            for variable, value in zip(self._statistics, before, strict=True):
                tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=value)
            return tf.zeros([5], sums.dtype)

        return tf.cond(finite, move, stay), 1 - tf.cast(finite, tf.int64)

    def _moved_or_not(self, *batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same without a condition around the optimizer, for XLA and one replica."""
        before = [tf.convert_to_tensor(variable) for variable in self._statistics]
        sums, gradients = self._gradients(*batch)
        finite = all_finite(sums, gradients)
        self._updates.apply(self._clipped(gradients), finite)
        for variable, value in zip(self._statistics, before, strict=True):
            kept = tf.where(finite, tf.convert_to_tensor(variable), value)
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=kept)
        sums = tf.concat([sums[:-1], tf.ones([1], sums.dtype)], axis=0)
        return tf.where(finite, sums, tf.zeros_like(sums)), 1 - tf.cast(finite, tf.int64)

    def _clipped(self, gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        if self._clip_norm is None:
            return gradients
        # The optimizer divides by the scale of the loss later.
        return tf.clip_by_global_norm(gradients, self._clip_norm * (self._optimizer.loss_scale_factor or 1.0))[0]

    def _compiled(self, function: Callable) -> Callable:
        """One of the methods here, compiled by XLA for the calling replica."""
        number = _replica()
        # One for each: its trace holds that replica's copies of the variables.
        if number not in self._jitted:
            self._jitted[number] = tf.function(function, jit_compile=True, autograph=False)
        return self._jitted[number]

    def _gradients(
        self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """This replica's share of the global batch's loss, penalty, hits, weight and `roughly_finite`; and gradients.

        Weights multiply the losses, whose sum is divided by the number of examples and not by the sum of the weights,
        as Keras does with `sample_weight`.
        """
        num_replicas = self._strategy.num_replicas_in_sync
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self._model(features, training=True)
            # Replicas' gradients are summed, so the mean is taken over the global batch, and the penalty, which every
            # replica computes in full, is shared out.
            loss = losses.total(losses.cross_entropy(labels, logits), weights) / self._batch_size
            penalty = tf.add_n(self._model.losses) / num_replicas if self._model.losses else tf.zeros([])
            objective = self._optimizer.scale_loss(loss + penalty)
        gradients = tape.gradient(objective, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        hits = losses.total(losses.hits(labels, logits), weights) / self._batch_size
        weight = tf.constant(1.0 / num_replicas) if weights is None else tf.reduce_sum(weights) / self._batch_size
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return tf.stack([loss, penalty, hits, weight, roughly_finite(gradients)]), gradients

    def _evaluate(self, source: Source, batch: Any, arrays: Any) -> tf.Tensor:
        sums = self._strategy.run(functools.partial(self._evaluate_replica, source), args=(arrays, batch))
        return tf.cast(self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None), tf.float64)

    def _evaluate_replica(self, source: Source, arrays: Any, batch: Any) -> tf.Tensor:
        features, labels, weights = source.take(arrays, batch)
        logits = self._model(features, training=False)
        values = losses.cross_entropy(labels, logits), losses.hits(labels, logits)
        return tf.stack([*(losses.total(value, weights) for value in values), tf.reduce_sum(weights)])


def _replica() -> int:
    """The number of the replica that asks."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(replica)) if tf.is_tensor(replica) else replica
