"""Cross-entropy and correct predictions of each example, from logits; and their sum by weight."""

from __future__ import annotations

import tensorflow as tf


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each example: of a sigmoid where there is one logit, of a softmax where there are more.

    Args:
      labels: int [batch], in [0, classes).
      logits: [batch, 1] for two classes, else [batch, classes].

    Returns:
      float32 [batch], in nats.
    """
    logits = tf.cast(logits, tf.float32)
    if logits.shape[-1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def correct_predictions(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """1.0 for each example whose likeliest class is its label, else 0.0: float32 [batch]."""
    if logits.shape[-1] == 1:
        predicted = tf.cast(logits[:, 0] > 0, labels.dtype)
    else:
        predicted = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    return tf.cast(predicted == labels, tf.float32)


def total(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Sum of the values [batch], each times its weight [batch]; None: each weight is 1."""
    return tf.reduce_sum(values if weights is None else weights * values)
