"""What the training loop is held against: `keras.Model.fit`, and the barest loop that does the same mathematics.

Each contestant is compiled once and then run again and again, so that rounds can take turns: `run(n)` makes n steps and
returns the seconds that one took.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

import models
from trainer.data import dataset as data
from trainer.data.source import Source
from trainer.engine import fused_optimizer, loop
from trainer.rules import matching
from trainer.settings.config import Config
from trainer.settings.timeline import Timeline
from trainer.training import experiment
from trainer.training.session import Session

# A run that is to make next to no summaries makes them at intervals longer than this.
_SELDOM = 1_000


class Contestant(Protocol):
    """Something that trains."""

    def run(self, num_steps: int) -> float:
        """Makes steps; seconds for one."""


class Ours:
    """A whole run as the command line makes it: strategy, projection, summaries, checkpoints.

    Args:
      config: the settings; the run is kept in a temporary folder.
      still: whether every step sees the same batch, which nothing is done for; it tells what the input pipeline costs.

    Attributes:
      pauses: seconds that training has waited for each checkpoint.
    """

    def __init__(self, config: Config, still: bool = False):
        every = int(config.summary_every)
        self._first_summary = every if every <= _SELDOM else 0
        self._folder = tempfile.TemporaryDirectory()
        config = dataclasses.replace(config, run_dir=f"{self._folder.name}/run")
        directory = experiment.directory_of(config)
        built = experiment.build(config)
        if still:
            built.steps._train_source = Still(built.train_source, built.strategy)  # type: ignore[assignment]
        self._session = Session(built, directory)
        self._session.begin("")
        self._iterations = built.optimizer.iterations
        self._budget = Budget(built.optimizer)
        self.pauses: list[float] = []
        checkpoints = self._session._checkpoints
        assert checkpoints is not None
        save = checkpoints.save

        def timed(wait: bool = True) -> pathlib.Path:
            begun = time.perf_counter()
            path = save(wait)
            self.pauses.append(time.perf_counter() - begun)
            return path

        checkpoints.save = timed  # type: ignore[method-assign]

    def warm_up(self, num_steps: int) -> None:
        """Makes the first steps, the first summary among them: what that measures is compiled only then."""
        if self._first_summary:
            self._iterations.assign(self._first_summary - 1)
        self._budget.spent_on(self._session, num_steps, after=0)

    def run(self, num_steps: int) -> float:
        """Makes about so many steps: whole chunks, after the short ones that a session begins with."""
        return self._budget.spent_on(self._session, num_steps, after=2 * loop.FIRST_CHUNK)

    def close(self) -> None:
        """Drops the run."""
        self._session.close()
        self._folder.cleanup()


class Still:
    """A source of one batch, again and again.

    Args:
      source: where that is from.
      strategy: of one replica.
    """

    indexed = True
    augmentation = None
    waited = 0.0

    def __init__(self, source: Source, strategy: tf.distribute.Strategy):
        self._source = source
        batch = source.train_batch(source.arrays, tf.zeros([], tf.int64))
        taken = strategy.run(source.take, args=(source.arrays, batch))
        self._batch = tuple(strategy.experimental_local_results(values)[0] for values in taken)

    @property
    def arrays(self) -> Any:
        """Those of the source, which nobody reads."""
        return self._source.arrays

    def train_batch(self, arrays: Any, step: tf.Tensor) -> tf.Tensor:
        """Nothing."""
        del arrays
        return step

    def take(self, arrays: Any, batch: tf.Tensor) -> Any:
        """The batch."""
        del arrays, batch
        return self._batch


class Budget:
    """Stands in for an interrupt: stops a session after a number of steps, and times it up to there.

    Args:
      optimizer: the session's; it counts the steps.
    """

    name = "the end of a round"

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        # The first replica's own: Keras's way of reading it takes as long as a summary does, which no run would spend.
        self._step = tf.distribute.get_strategy().experimental_local_results(optimizer.iterations.value)[0]
        self._marks: list[tuple[int, float]] = []
        self._begin = self._count = 0

    def spent_on(self, running: Session, num_steps: int, after: int) -> float:
        """Seconds of a step, of those after some; saving at the end of the round is left out."""
        self._marks, self._begin, self._count = [], int(self._step.numpy()) + after, num_steps
        running.run(self)  # type: ignore[arg-type]
        (first, begun), (last, ended) = self._marks[0], self._marks[-1]
        return (ended - begun) / (last - first)

    def asked(self) -> bool:
        """Asked by the loop before each chunk."""
        step = int(self._step.numpy())
        if step < self._begin:
            return False
        self._marks.append((step, time.perf_counter()))
        return step - self._marks[0][0] >= self._count


class Fit:
    """`keras.Model.fit` with Keras's own constraint on the same kernels.

    Args:
      config: the settings, of one rule.
      steps_per_execution: steps in one call of the compiled function.
      jit: whether XLA compiles the step.
    """

    def __init__(self, config: Config, steps_per_execution: int, jit: bool):
        self._data, self._model = _network(config)
        self._batch, self._size = config.batch_size, steps_per_execution
        self._model.compile(
            optimizer=_optimizer(config),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=steps_per_execution,
            jit_compile=jit,
        )
        examples = tf.data.Dataset.from_tensor_slices((data.to_float(self._data.features), self._data.labels))
        shuffled = examples.shuffle(self._data.num_examples, seed=config.seed).repeat()
        self._batches = shuffled.batch(self._batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def run(self, num_steps: int) -> float:
        """One epoch of at least so many steps: of whole calls, as Keras makes no other."""
        num_steps = -(-num_steps // self._size) * self._size
        clock = Clock()
        self._model.fit(self._batches, epochs=1, steps_per_epoch=num_steps, verbose=0, callbacks=[clock])
        return clock.seconds / num_steps


class Clock(keras.callbacks.Callback):
    """Times an epoch from its first batch on: opening the data is left out."""

    seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the clock."""
        del logs
        if batch == 0:
            self.seconds = -time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops it."""
        del epoch, logs
        self.seconds += time.perf_counter()


class Floor:
    """A `tf.function` written by hand: no strategy, no summaries, no checkpoints.

    Args:
      config: the settings, of one rule.
      jit: whether XLA compiles the forward and the backward pass.
      looks: whether it leaves out steps whose gradient is not finite, as this project does.
    """

    def __init__(self, config: Config, jit: bool, looks: bool = False):
        split, self._model = _network(config)
        self._features, self._labels = tf.constant(split.features), tf.constant(split.labels, tf.int32)
        self._batch, self._steps_per_epoch = config.batch_size, split.num_examples // config.batch_size
        self._order = tf.Variable(tf.random.shuffle(tf.range(split.num_examples)))
        self._step = tf.Variable(0, dtype=tf.int64)
        self._optimizer, self._rate = _optimizer(config), config.learning_rate
        self._optimizer.build(self._model.trainable_variables)
        self._looks = looks
        learn = tf.function(self._gradients, jit_compile=True, autograph=False) if jit else self._gradients
        self._chunk = tf.function(lambda count: self._steps(learn, count), autograph=False)

    def run(self, num_steps: int) -> float:
        """One call of the compiled loop."""
        begun = time.perf_counter()
        self._chunk(tf.constant(num_steps, tf.int64)).numpy()
        return (time.perf_counter() - begun) / num_steps

    def _steps(self, learn: Any, count: tf.Tensor) -> tf.Tensor:
        def step(i: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            start = tf.cast(self._step % self._steps_per_epoch, tf.int32) * self._batch
            rows = tf.slice(self._order, [start], [self._batch])
            loss, gradients = learn(data.to_float(tf.gather(self._features, rows)), tf.gather(self._labels, rows))
            if self._looks:
                finite = fused_optimizer.all_finite(
                    tf.stack([loss, fused_optimizer.roughly_finite(gradients)]), gradients
                )
                tf.cond(finite, lambda: self._apply(gradients), lambda: None)
            else:
                self._apply(gradients)
            for variable in self._model.trainable_variables:
                if variable.constraint is not None:
                    norm = tf.math.reduce_euclidean_norm(variable.value, variable.constraint.axis, keepdims=True)
                    bound = variable.constraint.max_value
                    variable.value.assign(variable.value * (bound / tf.maximum(norm, bound)))
            self._step.assign_add(1)
            return i + 1, loss

        return tf.while_loop(lambda i, _: i < count, step, [tf.zeros([], tf.int64), tf.zeros([])])[1]

    def _gradients(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = self._model(features, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return loss, tape.gradient(loss, self._model.trainable_variables)

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        optimizer, adam = self._optimizer, isinstance(self._optimizer, keras.optimizers.Adam)
        count = tf.cast(self._step + 1, tf.float32)
        powers = tf.pow(0.9, count), tf.pow(0.999, count)
        for i, (variable, gradient) in enumerate(zip(self._model.trainable_variables, gradients, strict=True)):
            own, rate = variable.value.handle, tf.constant(self._rate)
            if adam:
                slots = optimizer._momentums[i].value.handle, optimizer._velocities[i].value.handle
                tf.raw_ops.ResourceApplyAdam(
                    var=own,
                    m=slots[0],
                    v=slots[1],
                    beta1_power=powers[0],
                    beta2_power=powers[1],
                    lr=rate,
                    beta1=0.9,
                    beta2=0.999,
                    epsilon=1e-7,
                    grad=gradient,
                )
            else:
                accum = optimizer.momentums[i].value.handle
                tf.raw_ops.ResourceApplyKerasMomentum(var=own, accum=accum, lr=rate, grad=gradient, momentum=0.9)


def _optimizer(config: Config) -> keras.optimizers.Optimizer:
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(config.learning_rate, momentum=config.momentum)
    return keras.optimizers.Adam(config.learning_rate)


def _network(config: Config) -> tuple[Any, keras.Model]:
    """The same examples and the same network, Keras's constraint on the kernels that the rule takes."""
    dataset = data.load(config.dataset, validation_split=config.validation_split, seed=config.seed)
    keras.utils.set_random_seed(config.seed)
    model = models.REGISTRY[config.model](dataset.input_shape, dataset.num_classes, **config.model_options)
    (rule,) = config.rules
    for target in matching.match(config.rules, model, Timeline(1, 1)):
        if rule.name == "maxnorm":
            (variable,) = target.variables
            axis = target.constraint.axis
            axes = list(range(len(variable.shape) - 1)) if axis is None else axis
            variable.constraint = keras.constraints.MaxNorm(rule.constraint.max_value, axis=axes)
    assert isinstance(dataset.train.features, np.ndarray)
    return dataset.train, model
