"""Weights of classes become weights of the training examples, in memory and in a stream."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.support import tiny_experiment
from trainer.data import dataset, weighting

WEIGHTS = {"0": 1.0, "2": 5.0}


def digits(**options):
    return dataset.load("digits", validation_split="0.1", **options)


def test_in_memory_the_training_part_alone_is_weighed():
    found = digits()
    weighted = weighting.weighted(found, WEIGHTS)
    expected = np.where(found.train.labels == 2, 5.0, 1.0)
    np.testing.assert_array_equal(weighted.train.weights, expected)
    assert weighted.train.weighted
    assert not weighted.validation.weighted
    twice = weighting.weighted(weighted, WEIGHTS)
    np.testing.assert_array_equal(twice.train.weights, expected**2)
    balanced = weighting.weighted(found, "balanced").train
    sums = np.bincount(balanced.labels, balanced.weights)
    np.testing.assert_allclose(sums, sums[0], rtol=1e-6)


def test_in_a_stream_each_example_gets_the_weight_of_its_class():
    found = digits()
    streamed = dataclasses.replace(found, train=tiny_experiment.streamed(found.train))
    weighted = weighting.weighted(streamed, WEIGHTS).train
    assert weighted.weighted
    examples = list(weighted.examples().take(50).as_numpy_iterator())
    assert [weight for _, _, weight in examples] == [5.0 if label == 2 else 1.0 for _, label, _ in examples]
    with pytest.raises(ValueError, match=r"--class_weight=balanced counts examples in memory.*give the weights"):
        weighting.weighted(streamed, "balanced")
