"""The data set `digits` against scikit-learn's own arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets

from trainer.data import dataset as data


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("data")
    return data.load("digits", data_dir=folder), folder


def test_shape_and_size(digits: tuple[Any, Path]) -> None:
    dataset, _ = digits
    assert (dataset.name, dataset.input_shape, dataset.num_classes) == ("digits", (8, 8, 1), 10)
    assert (dataset.train.num_examples, dataset.test.num_examples) == (1438, 359)
    for split in (dataset.train, dataset.test):
        assert split.features is not None
        assert split.labels is not None
        assert split.features.shape == (split.num_examples, 8, 8, 1)
        assert (split.features.dtype, split.labels.dtype) == (np.uint8, np.int32)
    assert dataset.standardizer is None


def test_nothing_is_lost_or_doubled(digits: tuple[Any, Path]) -> None:
    dataset, _ = digits
    levels, labels = datasets.load_digits(return_X_y=True)
    expected = sorted((*row, label) for row, label in zip(levels.astype(int).tolist(), labels.tolist(), strict=True))
    found = []
    for split in (dataset.train, dataset.test):
        grey = np.rint(split.features / 255 * 16).astype(int).reshape(-1, 64)
        found += [(*row, label) for row, label in zip(grey.tolist(), split.labels.tolist(), strict=True)]
    assert sorted(found) == expected


def test_every_class_is_split_in_proportion(digits: tuple[Any, Path]) -> None:
    dataset, _ = digits
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    assert len(train) == len(test) == 10
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.003)


def test_the_order_is_mixed_and_fixed(digits: tuple[Any, Path], tmp_path: Path) -> None:
    dataset, folder = digits
    assert len(set(dataset.train.labels[:20].tolist())) >= 5
    for again in (data.load("digits", data_dir=folder), data.load("digits", data_dir=tmp_path)):
        np.testing.assert_array_equal(again.train.features, dataset.train.features)
        np.testing.assert_array_equal(again.test.labels, dataset.test.labels)


def test_it_is_a_tfds_data_set_with_its_papers(digits: tuple[Any, Path]) -> None:
    info = tfds.builder("digits", data_dir=digits[1]).info
    assert str(info.version) == "1.0.0"
    assert info.supervised_keys == ("image", "label")
    assert "8x8" in info.description
    assert info.homepage.startswith("https://archive.ics.uci.edu/")
    assert "Alpaydin" in info.citation
    assert info.release_notes["1.0.0"]
