"""The task that labels show: a table of every kind, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data import inference

RNG = np.random.default_rng(0)
# Labels, options, and the task, its outputs and its classes.
CASES = {
    "two numbers": ([0, 1, 1], {}, ("classification", 1, ("0", "1"))),
    "three numbers": ([0, 2, 1], {}, ("classification", 3, ("0", "1", "2"))),
    "numbers with gaps": ([5, 7, 5, 9], {}, ("classification", 3, ("5", "7", "9"))),
    "numbers from 1": ([1, 2, 3, 1], {}, ("classification", 3, ("1", "2", "3"))),
    "a column": ([[0], [1], [2]], {}, ("classification", 3, ("0", "1", "2"))),
    "a class that does not occur": ([0, 2], {"num_classes": 3}, ("classification", 3, ("0", "1", "2"))),
    "text": (["b", "a", "b"], {}, ("classification", 1, ("a", "b"))),
    "text in objects": (np.array(["b", "a", "c"], object), {}, ("classification", 3, ("a", "b", "c"))),
    "bytes": (np.array([b"b", b"a"]), {}, ("classification", 1, ("a", "b"))),
    "a column of text": ([["b"], ["a"]], {}, ("classification", 1, ("a", "b"))),
    "true or false": ([True, False], {}, ("classification", 1, ("False", "True"))),
    "names": ([0, 1, 0], {"classes": ("cat", "dog")}, ("classification", 1, ("cat", "dog"))),
    "one-hot": ([[0, 1, 0], [1, 0, 0]], {}, ("classification", 3, ("0", "1", "2"))),
    "one-hot of floats": (np.eye(4, dtype=np.float32), {}, ("classification", 4, ("0", "1", "2", "3"))),
    "one-hot of two": ([[0, 1], [1, 0]], {}, ("classification", 1, ("0", "1"))),
    "several labels": ([[0, 1, 1], [1, 0, 0]], {}, ("multilabel", 3, ("0", "1", "2"))),
    "labels of floats": ([[0.0, 0.0], [1.0, 1.0]], {}, ("multilabel", 2, ("0", "1"))),
    "one-hot as labels": (np.eye(3), {"task": "multilabel"}, ("multilabel", 3, ("0", "1", "2"))),
    "fractions": ([0.5, 1.5], {}, ("regression", 1, ())),
    "whole numbers of floats": ([0.0, 1.0], {}, ("regression", 1, ())),
    "of which classes": ([0.0, 2.0, 0.0], {"task": "classification"}, ("classification", 1, ("0", "2"))),
    "several fractions": ([[0.5, 1.0], [2.0, 3.0]], {}, ("regression", 2, ())),
    "several whole numbers": ([[5, 7], [2, 3]], {}, ("regression", 2, ())),
    "counts": (RNG.integers(0, 300, 442), {}, ("regression", 1, ())),
    "21 values of few examples": (np.arange(21), {}, ("regression", 1, ())),
    "20 values of few examples": (np.arange(20), {}, ("classification", 20, tuple(map(str, range(20))))),
    "many classes": (np.repeat(np.arange(100), 10), {}, ("classification", 100, tuple(map(str, range(100))))),
    "numbers as they are": ([0, 1, 5], {"task": "regression"}, ("regression", 1, ())),
    "no labels": (None, {"task": "reconstruction"}, ("reconstruction", 0, ())),
}


@pytest.mark.parametrize("case", CASES)
def test_the_task_of(case):
    labels, options, expected = CASES[case]
    options = {"asked" if name == "task" else name: value for name, value in options.items()}
    task = inference.infer(labels, **options)
    assert (task.name, task.num_outputs, task.classes) == expected
    assert task.reason == ("as --task says" if "asked" in options else task.reason)
    assert task.reason


def test_the_reason_says_how_to_choose_another_task():
    counts, whole, fractions = (inference.infer(labels) for labels in (np.arange(30), [0, 1, 1], [0.5, 1.0]))
    assert counts.reason == "inferred from 30 different whole numbers in 30 examples"
    assert counts.other == "--task=classification makes classes of them"
    assert whole.other == "--task=regression predicts them as they are"
    assert fractions.other == ""


REFUSED = {
    "no labels": (None, {}, "has no labels; name their column with --label, or .*--task=reconstruction"),
    "no such task": ([0, 1], {"asked": "clasification"}, "--task=clasification.*did you mean classification"),
    "a single class": ([3, 3], {}, "every label is `3`, so there is nothing to tell apart"),
    "a single text": (["a", "a"], {}, "every label is `a`"),
    "a single class of names": ([1, 1], {"classes": ("cat", "dog")}, "every label is `dog`"),
    "a single one-hot class": ([[0, 1], [0, 1]], {}, "every label is `1`"),
    "one number": ([0.5, 0.5], {}, "every label is 0.5, so there is nothing to learn"),
    "not finite": ([0.5, np.inf], {}, "label inf of training example 1 is not finite"),
    "mixed types": (np.array(["a", 1], object), {}, "labels are of the types int, str; expected numbers alone"),
    "complex": ([1j, 2j], {}, "labels are of complex128"),
    "text to predict": (["a", "b"], {"asked": "regression"}, "--task=regression needs numbers"),
    "names to predict": ([0, 1], {"asked": "regression", "classes": ("a", "b")}, "names classes, such as a"),
    "fractions as classes": ([0.5, 1.0], {"asked": "classification"}, "needs one class for each example"),
    "numbers as labels": ([0, 1], {"asked": "multilabel"}, "needs rows of zeros and ones"),
    "outside": ([0, 5], {"num_classes": 3}, "label 5 is outside the classes 0..2"),
    "other names": (["a", "b"], {"num_classes": 3}, "--num_classes=3, but the labels .* are of 2 classes"),
    "classes of numbers": ([0.5, 1.0], {"num_classes": 3}, "--num_classes=3 means nothing to regression"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    labels, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        inference.infer(labels, where="Data set `x`", **options)


def test_labels_are_standardised_for_losses_of_differences_alone():
    assert all(map(inference.is_of_differences, (None, "mse", "huber", "mean_absolute_error")))
    assert not any(map(inference.is_of_differences, ("poisson", "mape", "msle")))
