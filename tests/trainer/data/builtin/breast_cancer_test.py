"""The data set `breast_cancer` against scikit-learn's own arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets

from trainer.data import dataset as data


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("data")
    return data.load("breast_cancer", data_dir=folder), folder


def test_shape_and_size(cancer: tuple[Any, Path]) -> None:
    dataset, _ = cancer
    assert (dataset.input_shape, dataset.num_classes) == ((30,), 2)
    assert (dataset.train.num_examples, dataset.test.num_examples) == (456, 113)
    assert (dataset.train.features.dtype, dataset.train.labels.dtype) == (np.float32, np.int32)


def test_both_classes_are_split_in_proportion(cancer: tuple[Any, Path]) -> None:
    dataset, _ = cancer
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    np.testing.assert_array_equal(train + test, [212, 357])
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.003)


def test_nothing_is_lost_and_columns_are_standardised(cancer: tuple[Any, Path]) -> None:
    dataset, _ = cancer
    np.testing.assert_allclose(dataset.train.features.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.train.features.std(axis=0, dtype=np.float64), 1, atol=1e-6)
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    standardised = np.concatenate([dataset.train.features, dataset.test.features]).astype(np.float64)
    raw = standardised * dataset.standardizer.deviation + dataset.standardizer.mean
    found = np.column_stack([raw, np.concatenate([dataset.train.labels, dataset.test.labels])])
    expected = np.column_stack([features, labels])
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-4, atol=1e-5)


def test_it_is_a_tfds_data_set_in_raw_units(cancer: tuple[Any, Path]) -> None:
    builder = tfds.builder("breast_cancer", data_dir=cancer[1])
    assert builder.info.features["label"].names == ["malignant", "benign"]
    assert "Wolberg" in builder.info.citation
    largest = max(float(row.max()) for row, _ in tfds.as_numpy(builder.as_dataset("train", as_supervised=True)))
    assert largest > 1000
