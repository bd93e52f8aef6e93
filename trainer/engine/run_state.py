"""What a run knows beside weights and optimizer state."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class RunState(tf.train.Checkpoint):
    """The state of the training loop; a checkpoint holds it.

    Args:
      num_totals: length of `totals`, see `Steps.num_totals`.
      metrics: each replica's own copy of the state of the training metrics.

    Attributes:
      totals: float64 [num_totals], see `trainer.engine.train_step.Chunk`.
      nonfinite: int64 [2], see `trainer.engine.train_step.Chunk`.
      dropped: int64, batches left out after the run returned to an earlier step.
      since_evaluation: float64 [num_totals]: what summaries took of the totals since the last evaluation.
      best: float64 [3]: score, loss and step of the best evaluation so far; a score of -inf is none.
      waited: int64, evaluations since then.
      recent: float64, see `trainer.engine.divergence`.
      jit: int64, whether XLA compiles the step: 1 or 0, and -1 while that is undecided.
    """

    def __init__(self, num_totals: int = 5, metrics: Sequence[tf.Variable] = ()) -> None:
        super().__init__(
            totals=tf.Variable(tf.zeros([num_totals], tf.float64), trainable=False),
            nonfinite=tf.Variable(tf.zeros([2], tf.int64), trainable=False),
            dropped=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            since_evaluation=tf.Variable(tf.zeros([num_totals], tf.float64), trainable=False),
            best=tf.Variable(tf.constant([-float("inf"), float("inf"), 0.0], tf.float64), trainable=False),
            waited=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            recent=tf.Variable(tf.zeros([], tf.float64), trainable=False),
            jit=tf.Variable(-tf.ones([], tf.int64), trainable=False),
            # An empty list would be saved as an object too, which older checkpoints do not hold.
            **({"metrics": list(metrics)} if metrics else {}),
        )
