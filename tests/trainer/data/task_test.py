"""What labels become, in memory and in a graph, and the weights of classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from trainer.data import inference
from trainer.data.task import Task

KINDS = {
    "numbers": [5, 7, 5, 9],
    "two": [False, True, True],
    "text": ["dog", "cat", "cow"],
    "one-hot": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    "labels": [[0, 1], [1, 1]],
    "fractions": [0.5, 2.5, 1.5],
    "several": [[0.5, 3.0], [2.5, 9.0]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_encoded_alike_in_memory_and_in_a_graph(kind):
    labels = np.array(KINDS[kind])
    task = inference.infer(labels)
    task = task.standardised(labels) if task.name == "regression" else task
    encoded = task.encode(labels)
    assert encoded.dtype == (np.int32 if task.name == "classification" else np.float32)
    assert encoded.shape == ((len(labels),) if task.name == "classification" else (len(labels), task.num_outputs))
    one_by_one = [task.encode_tensor(tf.constant(label)) for label in labels]
    assert all(one.dtype == encoded.dtype for one in one_by_one)
    np.testing.assert_array_equal(one_by_one, encoded)


def test_classes_have_the_order_of_their_values():
    assert inference.infer([10, 9, 100]).encode([9, 10, 100]).tolist() == [0, 1, 2]
    assert inference.infer(["b", "a"]).encode(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert inference.infer([1, 0], classes=("cat", "dog")).encode([1, 0]).tolist() == [1, 0]


def test_regression_is_standardised_and_a_constant_number_is_not():
    labels = np.array([[1.0, 5.0], [3.0, 5.0]])
    task = inference.infer(labels).standardised(labels)
    assert (task.mean, task.deviation) == ((2.0, 5.0), (1.0, 1.0))
    np.testing.assert_array_equal(task.encode([[4.0, 5.0]]), [[2.0, 0.0]])


UNKNOWN = {
    "class": ([0, 1], [0, 2], "part `test`: label `2` of example 1 is no class of the training part, which has 0, 1"),
    "text": (["a", "b"], ["c"], "label `c` of example 0"),
    "row": (np.eye(3), [[1, 1, 0]], r"label \[1 1 0\] of example 0 is not one of 3 classes"),
    "no label": ([[0, 1], [1, 1]], [[0, 2]], "is no row of 0 and 1"),
    "another number": ([[0.5, 1.0], [1.5, 2.0]], [0.5], "a label has 1 numbers; expected 2"),
    "not finite": ([0.5, 1.0], [np.nan], "label nan of example 0 is not finite"),
    "text as number": ([0.5, 1.0], ["a"], "labels are text, and regression needs numbers"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_label_that_training_does_not_know_is_named(kind):
    train, other, words = UNKNOWN[kind]
    with pytest.raises(ValueError, match=words):
        inference.infer(train).encode(other, "part `test`")
    if kind in ("class", "text"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="is no class of the training part"):
            inference.infer(train).encode_tensor(tf.constant(other[-1]))


def test_weights_of_classes():
    task = inference.infer(["a", "a", "a", "b"])
    labels = task.encode(["a", "a", "a", "b"])
    balanced = task.weights_of_classes("balanced", labels)
    np.testing.assert_allclose(balanced, [4 / 6, 2])
    assert balanced[labels].mean() == pytest.approx(1)
    assert task.weights_of_classes({"b": 5.0}, labels).tolist() == [1, 5]
    with pytest.raises(ValueError, match="--class_weight=c:2: there is no class `c`; there are a, b"):
        task.weights_of_classes({"c": 2.0}, labels)
    with pytest.raises(ValueError, match="--class_weight needs classes, but the task is regression"):
        inference.infer([0.5, 1.0]).weights_of_classes("balanced", labels)


def test_two_classes_may_have_two_outputs():
    task = inference.infer([0, 1])
    assert task.for_outputs(1) is task
    assert task.for_outputs(2).num_outputs == 2
    with pytest.raises(ValueError, match="the network has 3 outputs, but classification of 2 classes needs 1 or 2"):
        task.for_outputs(3)


def test_what_run_json_says():
    assert json.loads(json.dumps(inference.infer(["a", "b"]).recorded())) == {
        "name": "classification",
        "num_outputs": 1,
        "classes": ["a", "b"],
        "mean": [],
        "deviation": [],
    }
    assert Task("classification", 5000, tuple(map(str, range(5000)))).recorded()["classes"] == []
