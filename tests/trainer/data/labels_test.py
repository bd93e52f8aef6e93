"""Labels of every kind that a data set may have: taken, or refused with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.support import fake_tfds
from tests.support.suites import fast
from trainer.data import dataset as data

SHAPE = (2, 2)
every_limit = pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 0], ids=["memory", "streamed"])


def prepared(folder: Path, label: Any, labels: list[Any]) -> None:
    features = {"row": tfds.features.Tensor(shape=SHAPE, dtype=np.float32), "label": label}
    examples = [{"row": np.full(SHAPE, i, np.float32), "label": value} for i, value in enumerate(labels)]
    splits = {"train": examples, "test": examples}
    fake_tfds.prepare(folder, "toy_rows", features, splits, supervised_keys=("row", "label"))


def load(folder: Path, **options: Any) -> data.Dataset:
    return data.load("toy_rows", data_dir=folder, **options)


TAKEN = {
    "of shape [1]": (tfds.features.Tensor(shape=(1,), dtype=np.int64), [[2], [0], [1], [2]], 3),
    "of shape [1, 1]": (tfds.features.Tensor(shape=(1, 1), dtype=np.int32), [[[1]], [[0]]], 2),
    "bool": (tfds.features.Scalar(np.bool_), [True, False, True], None),
    "uint8": (tfds.features.Scalar(np.uint8), [0, 1, 200], 201),
    "int64": (tfds.features.Scalar(np.int64), [3, 0, 1], 4),
    "names": (tfds.features.ClassLabel(names=["cat", "dog"]), ["dog", "cat", "dog"], None),
}


@every_limit
@pytest.mark.parametrize("kind", fast(TAKEN, "of shape [1]", "bool", "names"))
def test_a_class_number_of_any_kind_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, kind: str
) -> None:
    label, labels, classes = TAKEN[kind]
    prepared(tmp_path, label, labels)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    dataset = load(tmp_path, num_classes=classes)
    found = {int(row[0, 0]): (number.shape, number.dtype, int(number)) for row, number in _examples(dataset)}
    names = ["cat", "dog"]
    plain = [names.index(value) if value in names else int(np.ravel(value)[0]) for value in labels]
    assert found == {i: ((), np.int32, value) for i, value in enumerate(plain)}
    assert dataset.num_classes == (classes or 2)


def _examples(dataset: data.Dataset) -> Any:
    return dataset.train.examples().as_numpy_iterator()


# What labels other than class numbers become: the feature, labels, options, the task, classes, and training's labels.
OF_ANOTHER_KIND = {
    "one-hot": (
        *(tfds.features.Tensor(shape=(3,), dtype=np.int64), [[0, 1, 0], [1, 0, 0], [0, 0, 1]], {}),
        *("classification", ("0", "1", "2"), [1, 0, 2]),
    ),
    "multi-hot": (
        *(tfds.features.Tensor(shape=(2,), dtype=np.uint8), [[0, 1], [1, 1], [0, 0]], {}),
        *("multilabel", ("0", "1"), [[0, 1], [1, 1], [0, 0]]),
    ),
    "fractions": (tfds.features.Scalar(np.float32), [0.5, 1.5, 2.5], {}, "regression", (), np.array([[-1], [0], [1]])),
    "several": (
        *(tfds.features.Tensor(shape=(2,), dtype=np.float64), [[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]], {}),
        *("regression", (), np.array([[-1, 0], [0, 0], [1, 0]])),
    ),
    "numbers of classes": (
        *(tfds.features.Scalar(np.int64), [3, 4, 5], {"task": "regression"}, "regression", ()),
        np.array([[-1], [0], [1]]),
    ),
    "text": (tfds.features.Text(), ["dog", "cat", "dog"], {}, "classification", ("cat", "dog"), [1, 0, 1]),
}


@every_limit
@pytest.mark.parametrize("kind", fast(OF_ANOTHER_KIND, "one-hot", "fractions", "text"))
def test_labels_of_another_kind_have_a_task_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, kind: str
) -> None:
    label, labels, options, task, classes, expected = OF_ANOTHER_KIND[kind]
    prepared(tmp_path, label, labels)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    dataset = load(tmp_path, **options)
    assert (dataset.task.name, dataset.task.classes) == (task, classes)
    assert dataset.num_classes == len(classes) * (task == "classification")
    for part in (dataset.train, dataset.test):
        found = {int(row[0, 0]): number for row, number in part.examples().as_numpy_iterator()}
        if task == "regression":
            # The deviation of three numbers at equal distances is the distance times the root of 2/3.
            expected = np.asarray(expected) if np.abs(expected).max() > 1 else np.asarray(expected) * np.sqrt(1.5)
        np.testing.assert_allclose([found[i] for i in range(len(labels))], expected, rtol=1e-6)


@every_limit
def test_the_inputs_themselves_may_be_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    prepared(tmp_path, tfds.features.Scalar(np.int64), [-1, -1, -1])
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    dataset = load(tmp_path, task="reconstruction")
    assert (dataset.task.name, dataset.task.num_outputs, dataset.num_classes) == ("reconstruction", 4, 0)
    assert dataset.train.labels is None
    if limit:
        np.testing.assert_array_equal(dataset.train.y, dataset.train.x.reshape(3, 4))


REFUSED = {
    "of different lengths": (
        *(tfds.features.Sequence(tfds.features.ClassLabel(num_classes=3)), [[0, 1], [2]], {}),
        "labels `label` that nothing can be learnt from, .*a row of zeros and ones",
    ),
    "a number of classes that are none": (
        *(tfds.features.Scalar(np.float32), [0.5, 1.0], {"num_classes": 3}),
        "--num_classes=3 means nothing to regression",
    ),
    "rows of no single 1": (
        *(tfds.features.Tensor(shape=(2,), dtype=np.int64), [[1, 1], [0, 1]], {"task": "classification"}),
        "--task=classification needs one class for each example",
    ),
    "not finite": (
        tfds.features.Scalar(np.float32),
        [0.5, np.nan],
        {},
        "label nan of training example . is not finite",
    ),
    "classes that are no numbers": (
        *(tfds.features.ClassLabel(names=["a", "b"]), ["a", "b"], {"task": "multilabel"}),
        "--task=multilabel needs rows of zeros and ones",
    ),
    "no task": (tfds.features.Scalar(np.float32), [0.5, 1.0], {"task": "regresion"}, "did you mean regression"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_task_is_refused_with_a_remedy(tmp_path: Path, kind: str) -> None:
    label, labels, options, words = REFUSED[kind]
    prepared(tmp_path, label, labels)
    with pytest.raises(ValueError, match=words):
        load(tmp_path, **options)


def test_a_data_set_of_one_class_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, tfds.features.ClassLabel(num_classes=1), [0, 0, 0])
    for options in ({}, {"num_classes": 2}):
        with pytest.raises(
            ValueError, match=r"a single class in its labels `label`.*choose a data set of at least two"
        ):
            load(tmp_path, **options)


@every_limit
def test_a_training_split_of_one_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    prepared(tmp_path, tfds.features.ClassLabel(num_classes=3), [1] * 9)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    monkeypatch.setattr("trainer.data.tfds_reader.BATCH", 4)
    with pytest.raises(ValueError, match="split `train`: every label is 1, so there is nothing to tell apart"):
        load(tmp_path)


@every_limit
def test_labels_that_begin_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    prepared(tmp_path, tfds.features.Scalar(np.int64), [1, 2, 3])
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    with pytest.raises(ValueError, match="num_classes=4 would hold them all, with class 0 empty, as labels begin at 1"):
        load(tmp_path, num_classes=3)
    warnings = load(tmp_path, num_classes=4).warnings
    assert (limit == 0) == (warnings == ())
    assert all(line.startswith("no training example is of class 0,") for line in warnings)
