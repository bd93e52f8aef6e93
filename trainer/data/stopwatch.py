"""How long the reader of a data set waits for its elements."""

from __future__ import annotations

import itertools
from typing import Any

import tensorflow as tf

_TAG = "wait"
# TensorFlow finds an aggregator by its name.
_NUMBERS = itertools.count()


class Stopwatch:
    """Measures within TensorFlow how long each element of a data set takes to come.

    A compiled step cannot look at the clock itself: `tf.timestamp` is refused where operations are deterministic, and a
    call of Python takes as long as a small step.
    """

    def __init__(self) -> None:
        name = f"stopwatch_{next(_NUMBERS)}"
        with tf.device("CPU:0"):
            self._aggregator = tf.raw_ops.StatsAggregatorHandle(container="", shared_name=name)

    def timed(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same data set; `seconds` grows by the time that its reader waits."""
        specs = tf.nest.flatten(dataset.element_spec)
        outputs: dict[str, Any] = {
            "output_types": [spec.dtype for spec in specs],
            "output_shapes": [spec.shape for spec in specs],
        }
        with tf.device("CPU:0"):
            variant = tf.data.experimental.to_variant(dataset)
            variant = tf.raw_ops.LatencyStatsDataset(input_dataset=variant, tag=_TAG, **outputs)
            variant = tf.raw_ops.SetStatsAggregatorDataset(
                input_dataset=variant, stats_aggregator=self._aggregator, tag="", counter_prefix="", **outputs
            )
        return tf.data.experimental.from_variant(variant, dataset.element_spec)

    @property
    def seconds(self) -> float:
        """How long readers waited for all elements so far."""
        with tf.device("CPU:0"):
            written = tf.raw_ops.StatsAggregatorSummary(iterator=self._aggregator)
        summary = tf.compat.v1.Summary.FromString(written.numpy())
        # Microseconds.
        return sum(value.histo.sum for value in summary.value if value.tag.endswith(_TAG)) / 1e6
