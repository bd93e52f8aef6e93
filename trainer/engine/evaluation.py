"""The compiled evaluation and prediction."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import source as sources
from ..data.source import Source
from .objective import Objective


class Evaluation:
    """Applies one model to all examples of a source.

    Args:
      strategy: where the replicas live.
      objective: what is measured, and the model.
    """

    def __init__(self, strategy: tf.distribute.Strategy, objective: Objective):
        self._strategy = strategy
        self._objective = objective
        # One function for each source, because a trace holds the source's `take`.
        self._evaluations: dict[Source, Any] = {}
        self._predictions: dict[Source, Any] = {}

    @property
    def num_traces(self) -> int:
        """How often the functions that evaluate were traced. Once for each source is the aim."""
        return sum(one.experimental_get_tracing_count() for one in self._evaluations.values())

    def evaluate(self, source: Source, report: Callable[[int], None] = lambda _: None) -> dict[str, float]:
        """The loss first, then the metrics by name, over all examples of a source.

        Args:
          source: the examples.
          report: told after each batch how many examples were gone through.

        Raises:
          ValueError: there are no examples.
        """
        if source not in self._evaluations:
            self._evaluations[source] = self._over(source, self._evaluate)
        sums, done = np.float64(0.0), 0
        with self._objective.evaluation():
            for batch, count in self._objective.eval_batches(source):
                sums = sums + self._evaluations[source](batch, source.arrays, tf.constant(count)).numpy()
                done += count
                report(done)
            if not done:
                raise ValueError("There is nothing to evaluate: the data set has no examples.")
            return self._objective.results(np.asarray(sums), source)

    def predict(self, source: Source) -> Any:
        """See `predict`; the compiled function stays for the next call."""
        if source not in self._predictions:
            self._predictions[source] = _compiled_prediction(self._strategy, self._objective.model, source)
        return _predicted(self._strategy, self._predictions[source], source)

    def _over(self, source: Source, function: Callable[..., Any]) -> Any:
        """A compiled function of the batches of a source; one trace serves all if their sizes differ."""
        return tf.function(
            functools.partial(function, source), autograph=False, reduce_retracing=source.batch_size is None
        )

    def _evaluate(self, source: Source, batch: Any, arrays: Any, count: tf.Tensor) -> tf.Tensor:
        def replica(arrays: Any, batch: Any, count: tf.Tensor) -> tf.Tensor:
            part = source.take(arrays, batch)
            return self._objective.evaluate(part, sources.first_row(part), count)

        sums = self._strategy.run(replica, args=(arrays, batch, count))
        return tf.cast(self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None), tf.float64)


def predict(strategy: tf.distribute.Strategy, model: keras.Model, source: Source) -> Any:
    """A model's outputs for all examples of a source, as NumPy arrays in the structure of the outputs.

    Args:
      strategy: where the replicas live.
      model: the network, built.
      source: the examples.

    Raises:
      ValueError: there are no examples.
    """
    return _predicted(strategy, _compiled_prediction(strategy, model, source), source)


def _compiled_prediction(strategy: tf.distribute.Strategy, model: keras.Model, source: Source) -> Any:
    def of_batch(batch: Any, arrays: Any) -> Any:
        return strategy.run(
            lambda arrays, batch: model.predict_step((source.take(arrays, batch)[0],)), args=(arrays, batch)
        )

    return tf.function(of_batch, autograph=False, reduce_retracing=source.batch_size is None)


def _predicted(strategy: tf.distribute.Strategy, of_batch: Any, source: Source) -> Any:
    found = []
    for batch in source.eval_batches():
        outputs = of_batch(batch, source.arrays)
        parts = zip(*map(strategy.experimental_local_results, tf.nest.flatten(outputs)), strict=True)
        found += [[values.numpy() for values in part] for part in parts]
    if not found:
        raise ValueError("There is nothing to predict: the data set has no examples.")
    joined = [np.concatenate(values) for values in zip(*found, strict=True)]
    return tf.nest.pack_sequence_as(outputs, joined)
