"""Evaluation and prediction go through each example once, whatever the batches and the replicas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from tests.trainer.engine.train_step_test import Reference
from trainer.data.stream import from_dataset
from trainer.engine.evaluation import Evaluation


@pytest.mark.parametrize("replicas", [1, 2])
def test_evaluation_is_the_mean_over_all_examples_and_changes_nothing(replicas):
    parts = tiny_experiment.parts(replicas=replicas, dropout=0.5)
    # Everything is taken for class 0, as the example that padding repeats truly is: counting it would show.
    parts.model.get_layer("output").bias.assign([9.0, 0.0, 0.0])
    before = parts.state()
    weights = [variable.numpy() for variable in parts.model.trainable_variables]
    split = tiny_experiment.split()
    _, expected = Reference(weights).gradients(split.features, split.labels)
    result = parts.steps.evaluate()
    np.testing.assert_allclose([result["loss"], result["accuracy"]], expected[[0, 2]], rtol=1e-6)
    assert tiny_experiment.same_bits(parts.state(), before)
    assert 0 < result["accuracy"] < 1


@pytest.mark.parametrize("replicas", [1, 2])
def test_prediction_is_in_the_order_of_the_examples(replicas):
    parts = tiny_experiment.parts(replicas=replicas, dropout=0.5)
    # 26 examples in batches of 12, of which two replicas share all.
    outputs = parts.steps.predict(parts.steps.eval_source)
    expected = parts.model(tiny_experiment.split().features, training=False)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_data_without_examples_is_refused():
    parts = tiny_experiment.parts()
    features = tf.zeros([0, tiny_experiment.FEATURES])
    empty = from_dataset(
        tf.data.Dataset.from_tensor_slices((features, tf.zeros([0], tf.int32))).batch(4), parts.strategy
    )
    evaluation = Evaluation(parts.strategy, parts.steps.objective)
    with pytest.raises(ValueError, match="There is nothing to predict: the data set has no examples"):
        evaluation.predict(empty)
