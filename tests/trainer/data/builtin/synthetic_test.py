"""The data set `synthetic`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.data import dataset as data


def load(**options: Any) -> Any:
    return data.load("synthetic", **options)


def test_defaults() -> None:
    dataset = load()
    assert (dataset.input_shape, dataset.num_classes) == ((28, 28, 1), 10)
    assert dataset.train.features.shape == (10_000, 28, 28, 1)
    assert dataset.test.features.shape == (2_000, 28, 28, 1)
    assert (dataset.train.features.dtype, dataset.train.labels.dtype) == (np.float32, np.int32)


def test_the_seed_decides_everything() -> None:
    one, same, other = (load(num_examples=50, seed=seed) for seed in (3, 3, 4))
    for split in ("train", "test"):
        np.testing.assert_array_equal(getattr(one, split).features, getattr(same, split).features)
        np.testing.assert_array_equal(getattr(one, split).labels, getattr(same, split).labels)
        assert np.any(getattr(one, split).features != getattr(other, split).features)


@pytest.mark.parametrize(("num_examples", "evaluation"), [(1, 7), (7, 7), (100, 20)])
def test_sizes_and_balance(num_examples: int, evaluation: int) -> None:
    dataset = load(input_shape=(4,), num_classes=7, num_examples=num_examples)
    assert (dataset.train.num_examples, dataset.test.num_examples) == (num_examples, evaluation)
    for split in (dataset.train, dataset.test):
        assert split.features.shape == (split.num_examples, 4)
        counts = np.bincount(split.labels, minlength=7)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(dataset.test.labels, minlength=7).min() >= 1


@pytest.mark.parametrize("shape", [(2,), (20,), (8, 8, 1), (28, 28, 1), (5, 6)])
def test_a_linear_model_learns_it(shape: tuple[int, ...]) -> None:
    dataset = load(input_shape=shape, num_classes=3, num_examples=600)
    train = dataset.train.features.reshape(600, -1)
    design = np.column_stack([train, np.ones(600)])
    weights = np.linalg.lstsq(design, np.eye(3)[dataset.train.labels], rcond=1e-3)[0]
    evaluation = dataset.test.features.reshape(dataset.test.num_examples, -1)
    guess = np.column_stack([evaluation, np.ones(len(evaluation))]) @ weights
    assert np.mean(guess.argmax(axis=1) == dataset.test.labels) > (0.6 if shape == (2,) else 0.9)


def test_splits_can_be_chosen_but_not_sliced() -> None:
    swapped = load(num_examples=20, train_split="test", test_split="train")
    assert (swapped.train.num_examples, swapped.test.num_examples) == (10, 20)
    with pytest.raises(ValueError, match=r"Unknown split `train\[:5\]`: `synthetic` has train and test"):
        load(train_split="train[:5]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": ()}, r"input_shape=\(\) must be positive integers"),
        ({"input_shape": (3, 0)}, "must be positive integers"),
        ({"input_shape": (3, -1)}, "must be positive integers"),
        ({"input_shape": (2.5,)}, "must be positive integers"),
        ({"num_examples": 0}, "num_examples=0 must be a positive integer"),
        ({"num_examples": -5}, "num_examples=-5 must be a positive integer"),
        ({"num_examples": 10**20}, "at most 342392 fit"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**options)
