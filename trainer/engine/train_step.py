"""The training step and the compiled chunk of steps."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ..data.source import Source, replica_number
from ..runtime.keras_internals import learning_rate, step_counter
from .evaluation import Evaluation
from .fused_optimizer import Updates, all_finite, present, roughly_finite
from .objective import Objective
from .projector import Projector


class Chunk(NamedTuple):
    """What a chunk of steps returns.

    Attributes:
      totals: float64 [num_totals]: sums, over the finite steps since the totals were last zero, of what the objective
        sums up, and the number of these steps.
      nonfinite: int64 [3]: how many steps of the run had a loss or a gradient that is not finite; how many of these
        came last in a row; how many steps this chunk made. A chunk at the limit or a halted one makes fewer than asked.
      measures: the projector's measures at the last step, zeros when they were not asked for.
      learning_rate: float32 scalar, the rate the last step used.
    """

    totals: tf.Tensor
    nonfinite: tf.Tensor
    measures: tf.Tensor
    learning_rate: tf.Tensor


class Steps:
    """Compiled training and evaluation of one model.

    Args:
      strategy: where the replicas live.
      objective: what is minimised and measured, and the model.
      optimizer: built on the model's trainable variables.
      projector: projects the constrained variables after each optimizer step.
      train_source: batches to learn from.
      eval_source: batches to choose the best checkpoint by; None: there are none.
      clip_norm: largest norm of the whole gradient, or None.
      jit: whether XLA compiles the forward and the backward pass and, on one replica, the fused optimizer's step. It
        may change between two chunks. XLA does not compile the loop, which it makes many times slower, nor projections,
        which have faster ways without it.
      max_nonfinite: a chunk ends after this many steps in a row without a finite loss and gradient. Such a step leaves
        weights and optimizer as they are.

    Attributes:
      jit: as above.
      seconds: how long all chunks took.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        objective: Objective,
        optimizer: keras.optimizers.Optimizer,
        projector: Projector,
        train_source: Source,
        eval_source: Source | None = None,
        clip_norm: float | None = None,
        jit: bool = False,
        max_nonfinite: int = 10,
    ):
        self._strategy = strategy
        self._objective = objective
        self._model = objective.model
        self._optimizer = optimizer
        self._counter = step_counter(optimizer)
        self._projector = projector
        self._train_source = train_source
        self._eval_source = eval_source
        self._clip_norm = clip_norm
        self._variables = self._model.trainable_variables
        self._updates = Updates(optimizer, self._variables)
        self._max_nonfinite = max_nonfinite
        # The forward pass changes these, such as the means of a batch normalization. Dropout's seeds may move on.
        self._statistics = [
            *(variable for variable in self._model.non_trainable_variables if variable.dtype.startswith("float")),
            *objective.metrics,
        ]
        self.jit = jit
        self.seconds = 0.0
        self._halted = tf.Variable(False, trainable=False)
        self._jitted: dict[int, Any] = {}
        # Control flow is written out, because AutoGraph doubles the time of a trace.
        self._chunks = {jit: tf.function(self._train, autograph=False) for jit in (False, True)}
        self._evaluation = Evaluation(strategy, objective)

    @property
    def objective(self) -> Objective:
        """What is minimised and measured."""
        return self._objective

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        """What changes the weights."""
        return self._optimizer

    @property
    def num_totals(self) -> int:
        """Length of `Chunk.totals`."""
        return self._objective.num_sums + 1

    @property
    def num_traces(self) -> dict[str, int]:
        """How often each compiled function was traced. Once is the aim."""
        return {
            "train": self._chunks[self.jit].experimental_get_tracing_count(),
            "evaluate": self._evaluation.num_traces,
        }

    def train(self, num_steps: int, totals: np.ndarray, nonfinite: np.ndarray, measure: bool) -> Chunk:
        """Makes `num_steps` optimizer steps; measures the constrained variables at the last of them if `measure`.

        Args:
          num_steps: how many, at least 1.
          totals: float64 [num_totals], those of the chunk before, or zeros.
          nonfinite: int64 [2], the first two numbers of the chunk before, or zeros.
          measure: whether to measure.
        """
        # Pass tensors, because TensorFlow traces again for each new Python number.
        arguments = tf.constant(num_steps, tf.int64), tf.constant(totals, tf.float64), tf.constant(nonfinite, tf.int64)
        begun = time.monotonic()
        chunk = self._chunks[self.jit](*arguments, tf.constant(measure), self._train_source.arrays)
        self.seconds += time.monotonic() - begun
        return chunk

    @property
    def step(self) -> int:
        """How many steps were made, finite or not."""
        return int(self._counter.numpy())

    def halt(self) -> None:
        """Ends the present chunk within a step or two, and every later chunk before its first step.

        Any thread may call it.
        """
        self._halted.assign(True)

    def training_results(self, totals: np.ndarray) -> dict[str, float]:
        """The loss first, then the metrics by name, of the steps that `Chunk.totals` sums up.

        The state of Keras's metrics is not in the totals: they speak of the steps since `Objective.reset`.
        """
        return self._objective.training_results(totals)

    def evaluate(
        self, source: Source | None = None, report: Callable[[int], None] = lambda _: None
    ) -> dict[str, float]:
        """The loss first, then the metrics by name, over all examples of a source.

        Args:
          source: the examples; None: those to choose the best checkpoint by.
          report: told after each batch how many examples were gone through.
        """
        source = source or self._eval_source
        if source is None:
            raise ValueError("There is nothing to evaluate: give a source.")
        return self._evaluation.evaluate(source, report)

    def predict(self, source: Source) -> Any:
        """The model's outputs for all examples of a source, as NumPy arrays in the structure of the outputs."""
        return self._evaluation.predict(source)

    @property
    def eval_source(self) -> Source | None:
        """The examples to choose the best checkpoint by."""
        return self._eval_source

    def project_fully(self) -> None:
        """Moves the weights to the nearest feasible point."""
        step = self._counter.value
        project = tf.function(lambda: self._strategy.run(self._projector.project_fully, args=(step,)), autograph=False)
        project()

    def _train(
        self, num_steps: tf.Tensor, totals: tf.Tensor, nonfinite: tf.Tensor, measure: tf.Tensor, arrays: Any
    ) -> Chunk:
        empty = tf.zeros([self._projector.num_rows(), self._projector.width()], tf.float64)

        begun = tf.convert_to_tensor(self._counter)
        early = self._train_source.indexed

        def step(
            i: tf.Tensor, totals: tf.Tensor, count: tf.Tensor, in_a_row: tf.Tensor, _: tf.Tensor, fetched: Any
        ) -> tuple[Any, ...]:
            # Fetch the next step's examples now: neither depends on the other, so TensorFlow runs both at once.
            ahead = self._fetch(arrays, begun + i + 1) if early else ()
            batches = fetched if early else self._fetch(arrays, begun + i)
            results = self._strategy.run(self._train_replica, args=(batches, measure & tf.equal(i, num_steps - 1)))
            # These are summed over the replicas or equal on all of them, so the first replica's are read.
            sums, bad, measured = (self._strategy.experimental_local_results(result)[0] for result in results)
            totals += tf.cast(sums, tf.float64)
            return i + 1, totals, count + bad, (in_a_row + 1) * bad, measured, ahead

        def going(i: tf.Tensor, _: tf.Tensor, count: tf.Tensor, in_a_row: tf.Tensor, *rest: Any) -> tf.Tensor:
            # Read the halt flag only after the gradients. Without this dependency it may be read several steps early.
            with tf.control_dependencies([in_a_row]):
                halted = tf.convert_to_tensor(self._halted)
            return (i < num_steps) & (in_a_row < self._max_nonfinite) & ~halted

        start = tf.zeros([], tf.int64)
        made, totals, count, in_a_row, measures, _ = tf.while_loop(
            going,
            step,
            [start, totals, nonfinite[0], nonfinite[1], empty, self._fetch(arrays, begun) if early else ()],
        )
        used = tf.convert_to_tensor(self._counter) - 1
        return Chunk(totals, tf.stack([count, in_a_row, made]), measures, learning_rate(self._optimizer)(used))

    def _fetch(self, arrays: Any, step: tf.Tensor) -> tuple[Any, ...]:
        """Every replica's part of the batch of a step, in the order of the replicas."""
        batch = self._train_source.train_batch(arrays, step)
        if self._train_source.augmentation is None:
            taken = self._strategy.run(self._train_source.take, args=(arrays, batch))
        else:
            taken = self._strategy.run(self._augmented, args=(arrays, batch, step))
        parts = zip(*map(self._strategy.experimental_local_results, tf.nest.flatten(taken)), strict=True)
        return tuple(tf.nest.pack_sequence_as(taken, part) for part in parts)

    def _augmented(self, arrays: Any, batch: Any, step: tf.Tensor) -> tuple[Any, ...]:
        """The calling replica's part of a batch, changed at random."""
        features, *others = self._train_source.take(arrays, batch)
        assert self._train_source.augmentation is not None
        return self._train_source.augmentation(features, step), *others

    def _train_replica(self, batches: Sequence[Any], measure: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch = batches[replica_number()]
        if self.jit and self._strategy.num_replicas_in_sync == 1 and self._updates.conditional:
            # One compiled call needs fewer passes over the weights than its parts.
            sums, bad = self._compiled(functools.partial(self._step, self._gradients, False))(batch)
        else:
            sums, bad = self._step(self._compiled(self._gradients) if self.jit else self._gradients, True, batch)
        measured = self._projector.project(tf.convert_to_tensor(self._counter), measure)
        return sums, bad, measured

    def _step(
        self, gradients_of: Callable[[Any], tuple[tf.Tensor, list[Any]]], branch: bool, batch: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes a step, and leaves all but the count of steps as it is if loss or gradient are not finite.

        Args:
          gradients_of: `_gradients`, or the same compiled.
          branch: whether a condition leaves the step out. XLA is faster without one.
          batch: this replica's part of the batch.

        Returns:
          What the objective sums up and 1, or zeros; and an int64 scalar, 1 if the step was left out.
        """
        before = [tf.convert_to_tensor(variable) for variable in self._statistics]
        sums, gradients = gradients_of(batch)
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            reduced = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [sums, *present(gradients)]))
            sums, gradients = next(reduced), [None if one is None else next(reduced) for one in gradients]
        # Test the summed gradients, so that one replica's gradient stops all replicas.
        finite = all_finite(sums, present(gradients))

        def move() -> tf.Tensor:
            self._updates.apply(self._clipped(gradients), None if branch else finite)
            return finite

        def stay() -> tf.Tensor:
            self._updates.skip()
            self._restore(before)
            return finite

        if branch:
            tf.cond(finite, move, stay)
        else:
            move()
            self._restore(before, unless=finite)
        sums = tf.concat([sums[:-1], tf.ones([1], sums.dtype)], axis=0)
        return tf.where(finite, sums, tf.zeros_like(sums)), 1 - tf.cast(finite, tf.int64)

    def _restore(self, before: Sequence[tf.Tensor], unless: tf.Tensor | None = None) -> None:
        """Takes back what the forward pass changed."""
        for variable, value in zip(self._statistics, before, strict=True):
            if unless is not None:
                value = tf.where(unless, tf.convert_to_tensor(variable), value)
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=value)

    def _clipped(self, gradients: Sequence[tf.Tensor | None]) -> Sequence[tf.Tensor | None]:
        if self._clip_norm is None:
            return gradients
        # The optimizer divides by the scale of the loss later.
        return tf.clip_by_global_norm(gradients, self._clip_norm * self._updates.scale)[0]

    def _compiled(self, function: Callable) -> Callable:
        """A function that XLA compiles for the calling replica."""
        number = replica_number()
        # One function for each replica, because a trace holds the replica's copies of the variables.
        if number not in self._jitted:
            self._jitted[number] = tf.function(function, jit_compile=True, autograph=False)
        return self._jitted[number]

    def _gradients(self, batch: Any) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
        """What the objective sums up and `roughly_finite`; and the gradients of this replica's share of the loss."""
        with tf.GradientTape() as tape:
            loss, seen = self._objective.loss(batch)
            scaled = self._optimizer.scale_loss(loss)
        gradients = [
            None if gradient is None else tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(scaled, self._variables)
        ]
        if not present(gradients):
            raise ValueError("The loss depends on no trainable weight of the model; check the loss, and `trainable`.")
        rough = roughly_finite(present(gradients))
        return tf.concat([self._objective.sums(batch, seen), [rough]], axis=0), gradients
