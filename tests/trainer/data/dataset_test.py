"""Loading: what comes out for each kind of data set, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.support import fake_tfds
from trainer.data import dataset as data


@pytest.fixture(scope="module")
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    grey = {"train": fake_tfds.images(100), "test": fake_tfds.images(30, seed=1)}
    fake_tfds.prepare(folder, "mnist", fake_tfds.image_features(), grey, version="3.0.1", num_shards=3)
    colour = {"train": fake_tfds.images(50, (32, 32, 3)), "test": fake_tfds.images(20, (32, 32, 3), seed=1)}
    # Like the real one, with a feature that the trainer does not read.
    features = {"id": tfds.features.Text(), **fake_tfds.image_features((32, 32, 3))}
    named = {split: [{"id": str(i), **one} for i, one in enumerate(many)] for split, many in colour.items()}
    fake_tfds.prepare(folder, "cifar10", features, named, version="3.0.2")
    return folder


def load(*args: Any, **options: Any) -> Any:
    return data.load(*args, **options)


def numbers(values: Any) -> Any:
    return np.array(values, np.float32)


def stacked(split: data.Split) -> tuple[np.ndarray, np.ndarray]:
    features, labels = zip(*split.examples().as_numpy_iterator(), strict=True)
    return np.stack(features), np.stack(labels)


def as_set(features: Any, labels: Any) -> set[tuple[bytes, int]]:
    return {(np.asarray(feature).tobytes(), int(label)) for feature, label in zip(features, labels, strict=True)}


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_images_stay_uint8_and_keep_their_labels(image_dir: Path, name: str, shape: tuple[int, ...]) -> None:
    dataset = load(name, data_dir=image_dir)
    assert (dataset.name, dataset.input_shape, dataset.num_classes) == (name, shape, 10)
    for split, count, seed in ((dataset.train, {"mnist": 100, "cifar10": 50}[name], 0), (dataset.test, None, 1)):
        count = count or {"mnist": 30, "cifar10": 20}[name]
        assert split.num_examples == count
        assert split.features.shape == (count, *shape)
        assert (split.features.dtype, split.labels.dtype) == (np.uint8, np.int32)
        made = fake_tfds.images(count, shape, seed)
        expected = as_set([one["image"] for one in made], [one["label"] for one in made])
        assert as_set(split.features, split.labels) == expected


def test_examples_are_the_arrays_one_by_one(image_dir: Path) -> None:
    split = load("mnist", data_dir=image_dir).train
    features, labels = stacked(split)
    np.testing.assert_array_equal(features, split.features)
    np.testing.assert_array_equal(labels, split.labels)
    assert split.examples().element_spec == (tf.TensorSpec((28, 28, 1), tf.uint8), tf.TensorSpec((), tf.int32))


def test_slices_are_those_of_the_whole(image_dir: Path) -> None:
    whole = load("mnist", data_dir=image_dir).train
    parts = load("mnist", data_dir=image_dir, train_split="train[:80%]", test_split="train[80%:]")
    assert (parts.train.num_examples, parts.test.num_examples) == (80, 20)
    np.testing.assert_array_equal(np.concatenate([parts.train.features, parts.test.features]), whole.features)
    both = load("mnist", data_dir=image_dir, train_split="train+test", test_split="train[-10:]")
    assert both.train.num_examples == 130
    np.testing.assert_array_equal(both.train.labels[:100], whole.labels)
    np.testing.assert_array_equal(both.test.labels, whole.labels[-10:])
    same = load("mnist", data_dir=image_dir, test_split="train")
    np.testing.assert_array_equal(same.test.features, whole.features)


@pytest.mark.parametrize("limit", [0, 100 * 784 - 1])
def test_what_does_not_fit_is_streamed_in_the_same_order(
    image_dir: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load("mnist", data_dir=image_dir)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    dataset = load("mnist", data_dir=image_dir)
    assert dataset.train.num_examples == 100
    assert dataset.train.features is None
    assert dataset.train.labels is None
    assert (dataset.test.features is None) == (limit == 0)
    for split, other in ((dataset.train, expected.train), (dataset.test, expected.test)):
        assert split.examples().element_spec == other.examples().element_spec
        for _ in range(2):
            features, labels = stacked(split)
            np.testing.assert_array_equal(features, other.features)
            np.testing.assert_array_equal(labels, other.labels)


def test_the_limit_itself_fits(image_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MEMORY_LIMIT", 100 * 784)
    assert load("mnist", data_dir=image_dir).train.features is not None


def test_to_float_scales_bytes_only() -> None:
    np.testing.assert_array_equal(data.to_float(np.array([0, 51, 255], np.uint8)), numbers([0, 0.2, 1]))
    np.testing.assert_array_equal(data.to_float(numbers([-3, 300])), numbers([-3, 300]))
    assert data.to_float(np.array([1.0])).dtype == tf.float32
    compiled = tf.function(data.to_float, jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant([255], tf.uint8)), [1])


def test_rows_are_standardised_by_the_training_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = np.column_stack([1e6 + rng.normal(size=40), rng.normal(size=40) * 1e-30, np.full(40, 0.1), np.arange(40)])
    test = numbers([[1e6, 0, 0.1, 0], [1e6, 0, 7, -1]])
    fake_tfds.prepare_rows(tmp_path, train.astype(np.float32), test)
    dataset = load("toy_rows", data_dir=tmp_path, num_classes=2)
    assert (dataset.input_shape, dataset.train.features.dtype) == ((4,), np.float32)
    columns = dataset.train.features.astype(np.float64)
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(columns.std(axis=0), [1, 1, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(dataset.test.features[:, 2], 0)
    expected = (np.array([-1, 0]) - np.mean(np.arange(40))) / np.std(np.arange(40))
    np.testing.assert_allclose(np.sort(dataset.test.features[:, 3]), expected, rtol=1e-6)

    monkeypatch.setattr(data, "MEMORY_LIMIT", 100)
    monkeypatch.setattr("trainer.data.tfds_reader.BATCH", 7)
    streamed = load("toy_rows", data_dir=tmp_path, num_classes=2)
    assert streamed.train.features is None
    np.testing.assert_allclose(stacked(streamed.train)[0], dataset.train.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed.test.features, dataset.test.features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float64, np.bool_])
def test_rows_of_any_number_become_float32(tmp_path: Path, dtype: Any) -> None:
    fake_tfds.prepare_rows(tmp_path, np.array([[0, 1], [1, 1], [1, 0], [0, 0]]).astype(dtype), dtype=dtype)
    features = load("toy_rows", data_dir=tmp_path, num_classes=2).train.features
    assert features.dtype == np.float32
    np.testing.assert_array_equal(np.sort(features[:, 0]), [-1, -1, 1, 1])


def test_numbers_of_higher_rank_stay_as_they_are(tmp_path: Path) -> None:
    fake_tfds.prepare_rows(tmp_path, numbers([[[1, 2], [3, 4]]] * 4))
    dataset = load("toy_rows", data_dir=tmp_path, num_classes=2)
    assert (dataset.input_shape, dataset.standardizer) == ((2, 2), None)
    np.testing.assert_array_equal(dataset.train.features, [[[1, 2], [3, 4]]] * 4)


def test_a_single_number_is_a_row_of_one(tmp_path: Path) -> None:
    fake_tfds.prepare_rows(tmp_path, numbers([1, 2, 3, 4]))
    dataset = load("toy_rows", data_dir=tmp_path, num_classes=2)
    assert (dataset.input_shape, dataset.train.features.shape) == ((1,), (4, 1))


def test_images_of_16_bits_are_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.array([[[0]], [[65535]]], np.uint16)
    features = {**fake_tfds.image_features(), "image": tfds.features.Image(shape=(2, 1, 1), dtype=np.uint16)}
    examples = [{"image": image, "label": label} for label in (3, 4)]
    fake_tfds.prepare(tmp_path, "toy_deep", features, dict.fromkeys(("train", "test"), examples))
    expected = numbers([[[[0]], [[1]]]] * 2)
    np.testing.assert_array_equal(load("toy_deep", data_dir=tmp_path).train.features, expected)
    monkeypatch.setattr(data, "MEMORY_LIMIT", 0)
    np.testing.assert_array_equal(stacked(load("toy_deep", data_dir=tmp_path).train)[0], expected)


@pytest.mark.parametrize("split", ["trian", "train[:80", "train[:200%]", "train[5:999]", "", "validation"])
def test_an_unknown_split_lists_the_splits(image_dir: Path, split: str) -> None:
    with pytest.raises(ValueError, match=r"Unknown split .*`mnist` has train \(100 examples\), test \(30 examples\)"):
        load("mnist", data_dir=image_dir, train_split=split)


@pytest.mark.parametrize("split", ["train[:0]", "train[10:5]", "train[:0%]"])
def test_an_empty_split_is_refused(image_dir: Path, split: str) -> None:
    with pytest.raises(ValueError, match="holds no examples: `mnist` has train"):
        load("mnist", data_dir=image_dir, test_split=split)


def test_labels_outside_the_classes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tfds.prepare_rows(tmp_path, np.eye(6, dtype=np.float32), labels=[0, 1, 2, 1, 7, 1])
    raw = load("toy_rows", data_dir=tmp_path, num_classes=8).train.labels
    pattern = r"split `train`: label {} of example {} is outside the classes 0\.\.{}; num_classes=8 would hold them all"
    for num_classes in (2, 5):
        first = int(np.flatnonzero(raw >= num_classes)[0])
        with pytest.raises(ValueError, match=pattern.format(raw[first], first, num_classes - 1)):
            load("toy_rows", data_dir=tmp_path, num_classes=num_classes)
    monkeypatch.setattr(data, "MEMORY_LIMIT", 0)
    with pytest.raises(ValueError, match=r"label 7 of example \d is outside the classes 0\.\.4"):
        load("toy_rows", data_dir=tmp_path, num_classes=5)


def test_a_missing_label_has_no_number_of_classes_as_remedy(tmp_path: Path) -> None:
    fake_tfds.prepare_rows(tmp_path, np.eye(4, dtype=np.float32), labels=[0, 1, -1, 1])
    with pytest.raises(ValueError, match=r"label -1 of .*choose a split whose examples all have labels"):
        load("toy_rows", data_dir=tmp_path, num_classes=3)


def test_a_streamed_label_is_checked_before_training(image_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = []
    for limit in (data.MEMORY_LIMIT, 0):
        monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
        with pytest.raises(ValueError, match=r"Data set `mnist`, split `train`: label \d of example \d") as caught:
            load("mnist", data_dir=image_dir, num_classes=5)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_the_number_of_classes_given_wins(image_dir: Path) -> None:
    assert load("mnist", data_dir=image_dir, num_classes=12).num_classes == 12
    with pytest.raises(ValueError, match=r"outside the classes 0\.\.4"):
        load("mnist", data_dir=image_dir, num_classes=5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_features_that_are_not_finite_are_refused(
    tmp_path: Path, bad: float, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = np.ones((5, *shape), np.float32)
    train[3, 0] = bad
    fake_tfds.prepare_rows(tmp_path, train, np.ones((2, *shape), np.float32))
    with pytest.raises(ValueError, match=r"split `train`: example \d has a feature that is not finite \(1 such"):
        load("toy_rows", data_dir=tmp_path, num_classes=2)
    with pytest.raises(ValueError, match=r"split `train`: example \d has a feature that is not finite \(1 such"):
        load("toy_rows", data_dir=tmp_path, train_split="test", test_split="train", num_classes=2)
    monkeypatch.setattr(data, "MEMORY_LIMIT", 0)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"split `train`: .*not finite"):
        stacked(load("toy_rows", data_dir=tmp_path, num_classes=2).train)


LABEL = tfds.features.ClassLabel(num_classes=2)
PIXEL = np.zeros((1, 1, 1), np.uint8)


@pytest.mark.parametrize(
    ("features", "example", "keys", "message"),
    [
        (
            {"image": fake_tfds.image_features((1, 1, 1))["image"], "label": LABEL},
            (PIXEL, 0),
            None,
            "does not say which",
        ),
        (
            {"image": tfds.features.Text(), "label": LABEL},
            ("hello", 0),
            ("image", "label"),
            "`image` that is not numbers",
        ),
        (
            {"image": tfds.features.FeaturesDict({"age": np.float32}), "label": LABEL},
            ({"age": 3}, 0),
            ("image", "label"),
            "`image` that is not numbers",
        ),
        (
            {"image": tfds.features.Image(shape=(None, None, 1)), "label": LABEL},
            (PIXEL, 0),
            ("image", "label"),
            "of different sizes",
        ),
        (
            {"image": tfds.features.Image(shape=(1, 1, 1)), "label": tfds.features.Sequence(np.int64)},
            (PIXEL, [0, 1]),
            ("image", "label"),
            "labels `label` that nothing can be learnt from",
        ),
        (
            {"image": tfds.features.Image(shape=(1, 1, 1)), "label": tfds.features.Scalar(np.int64)},
            (PIXEL, 0),
            ("image", "label"),
            "does not say how many classes it has; say it with num_classes",
        ),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    tmp_path: Path, features: dict[str, Any], example: tuple[Any, Any], keys: Any, message: str
) -> None:
    splits = {split: [dict(zip(("image", "label"), example, strict=True))] for split in ("train", "test")}
    fake_tfds.prepare(tmp_path, "toy_odd", features, splits, supervised_keys=keys)
    with pytest.raises(ValueError, match=f"Data set `toy_odd` .*{message}"):
        load("toy_odd", data_dir=tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing", "overwritten"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    folder = fake_tfds.prepare(
        tmp_path,
        "mnist",
        fake_tfds.image_features(),
        {"train": fake_tfds.images(20), "test": fake_tfds.images(5)},
        version="3.0.1",
    )
    (file,) = folder.glob("mnist-train*")
    if damage == "missing":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] + (b"" if damage == "truncated" else bytes(len(content) // 2)))
    with pytest.raises(ValueError, match=f"Data set `mnist` in {folder} is damaged; remove that folder"):
        load("mnist", data_dir=tmp_path)


def test_options_of_synthetic_are_refused_elsewhere() -> None:
    for option, value in (("input_shape", (3,)), ("num_examples", 5)):
        with pytest.raises(
            ValueError, match=f"{option}=.* belongs to the data set `synthetic`, but the data set is `digits`"
        ):
            load("digits", **{option: value})


@pytest.mark.parametrize("num_classes", [1, 0, -3, 2.5, True])
def test_number_of_classes_is_checked(num_classes: Any) -> None:
    for name in ("digits", "synthetic"):
        with pytest.raises(ValueError, match=r"num_classes=.* must be an integer of at least 2"):
            load(name, num_classes=num_classes)


def test_importing_is_cheap() -> None:
    slow = ("tensorflow", "keras", "tensorflow_datasets", "sklearn")
    code = f"import sys, trainer.data.dataset; print([name for name in {slow} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(data.__file__).parents[2]
    )
    assert result.stdout.strip() == "[]"


def test_a_data_set_is_printed_in_a_line(image_dir: Path) -> None:
    assert len(repr(load("mnist", data_dir=image_dir))) < 200
