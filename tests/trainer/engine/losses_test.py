"""Loss and hits of each example against NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.engine import losses


def test_softmax_where_there_are_several_logits():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((50, 4)) * 5, rng.integers(0, 4, 50).astype(np.int32)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(50), labels]
    loss = losses.cross_entropy(labels, tf.constant(logits, tf.float32))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)
    assert (
        losses.correct_predictions(labels, tf.constant(logits)).numpy().tolist()
        == (logits.argmax(axis=1) == labels).tolist()
    )


def test_sigmoid_where_there_is_one():
    logits, labels = np.array([[-2.0], [-0.5], [0.5], [2.0], [0.0]]), np.array([0, 1, 0, 1, 0], np.int32)
    probability = 1 / (1 + np.exp(-logits[:, 0]))
    expected = -np.log(np.where(labels == 1, probability, 1 - probability))
    np.testing.assert_allclose(losses.cross_entropy(labels, tf.constant(logits, tf.float32)), expected, rtol=1e-6)
    assert losses.correct_predictions(labels, tf.constant(logits)).numpy().tolist() == [1.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("classes", [1, 3])
def test_logits_far_out_and_narrow_stay_finite(classes):
    logits = tf.constant(np.full((2, classes), 3e4) * np.linspace(-1, 1, 2)[:, np.newaxis], tf.bfloat16)
    loss = losses.cross_entropy(np.zeros(2, np.int32), logits)
    assert loss.dtype == tf.float32
    assert np.isfinite(loss).all()


def test_two_classes_cost_the_same_through_either():
    logit, labels = np.linspace(-4, 4, 9)[:, np.newaxis], np.arange(9, dtype=np.int32) % 2
    two = np.concatenate([np.zeros_like(logit), logit], axis=1)
    one = losses.cross_entropy(labels, tf.constant(logit, tf.float32))
    np.testing.assert_allclose(one, losses.cross_entropy(labels, tf.constant(two, tf.float32)), rtol=1e-5, atol=1e-7)
