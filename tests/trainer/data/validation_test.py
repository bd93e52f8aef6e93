"""The part of the training split that the best checkpoint is chosen on, and the test split, reported on once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import fake_tfds, tiny_experiment
from tests.support.suites import fast
from tests.trainer.training.experiment_test import At, trained, weights
from trainer.data import dataset as data
from trainer.data import tfds_prepare
from trainer.data.builtin import stratified
from trainer.engine.train_step import Steps
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.training import experiment
from trainer.training.experiment import directory_of
from trainer.training.session import Session

TWO_CLASSES = {"num_classes": 2}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that tell their number; TFDS shuffles them."""
    folder = tmp_path_factory.mktemp("rows")
    numbers = np.arange(100, dtype=np.float32).reshape(-1, 1, 1)
    fake_tfds.prepare_rows(folder, numbers, numbers[:30], num_shards=3)
    return folder


def load(folder: Path, **options: Any) -> data.Dataset:
    return data.load("toy_rows", data_dir=folder, **TWO_CLASSES, **options)


def numbers_of(split: data.Split | None) -> list[int]:
    assert split is not None
    return [int(feature.ravel()[0]) for feature, _ in split.examples().as_numpy_iterator()]


@pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 50, 0], ids=["memory", "validation in memory", "streamed"])
@pytest.mark.parametrize(
    "train_split", fast(["train", "train[:50%]", "train[10:40]+test[5:]"], "train[10:40]+test[5:]")
)
def test_a_share_is_held_out_of_the_training_split(
    rows: Path, monkeypatch: pytest.MonkeyPatch, limit: int, train_split: str
) -> None:
    whole = load(rows, train_split=train_split).train
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    parts, again = (load(rows, train_split=train_split, validation_split="0.2") for _ in range(2))
    train, validation = numbers_of(parts.train), numbers_of(parts.validation)
    assert len(validation) == parts.validation.num_examples == round(0.2 * whole.num_examples)
    assert len(train) == parts.train.num_examples
    assert sorted(train + validation) == sorted(numbers_of(whole))
    assert (numbers_of(again.train), numbers_of(again.validation)) == (train, validation)
    assert (parts.train.features is None) == (limit < whole.num_examples * 4)


def test_every_class_keeps_its_share_and_no_random_number_decides() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3, 4], [500, 40, 4, 2, 1]))
    held = stratified.held_out(labels, 0.1)
    assert np.bincount(labels[held], minlength=5).tolist() == [50, 4, 1, 1, 0]
    np.testing.assert_array_equal(stratified.held_out(labels, 0.1), held)
    # From everywhere in the data, as its order may mean something.
    places = np.flatnonzero(held & (labels == 0))
    assert np.all(np.histogram(places, 5, (0, len(labels)))[0] >= 7)
    assert np.bincount(labels[stratified.held_out(labels, 0.999)], minlength=5).tolist() == [499, 39, 3, 1, 0]


@pytest.mark.parametrize(("name", "size", "classes"), [("digits", 1438, 10), ("breast_cancer", 456, 2)])
def test_bundled_data(name: str, size: int, classes: int) -> None:
    dataset = data.load(name, validation_split="0.1")
    assert dataset.train.num_examples + dataset.validation.num_examples == size
    share = np.bincount(dataset.validation.labels) / np.bincount(
        np.concatenate([dataset.train.labels, dataset.validation.labels])
    )
    assert len(share) == classes
    np.testing.assert_allclose(share, 0.1, atol=0.006)
    assert dataset.test.num_examples == data.load(name).test.num_examples
    if name == "breast_cancer":
        # The validation part is as new to the standardisation as it is to the network.
        np.testing.assert_allclose(dataset.train.features.mean(axis=0, dtype=np.float64), 0, atol=1e-6)
        assert np.abs(dataset.validation.features.mean(axis=0, dtype=np.float64)).max() > 1e-3
    assert dataset.warnings == ()


def test_synthetic_data() -> None:
    options = {"input_shape": (3,), "num_classes": 4, "num_examples": 400}
    dataset, whole = (data.load("synthetic", validation_split=share, **options) for share in ("25%", None))
    assert (dataset.train.num_examples, dataset.validation.num_examples) == (300, 100)
    np.testing.assert_array_equal(dataset.test.features, whole.test.features)
    assert data.load("synthetic", validation_split="test", **options).train.num_examples == 400


def test_the_seed_does_not_change_what_is_held_out(rows: Path) -> None:
    """Runs of other seeds are compared on the same examples."""
    assert numbers_of(load(rows, validation_split="0.1", seed=5).validation) == numbers_of(
        load(rows, validation_split="0.1").validation
    )


def test_a_split_of_its_own(rows: Path) -> None:
    dataset = load(rows, train_split="train[:80%]", validation_split="train[80%:]")
    assert (dataset.train.num_examples, dataset.validation.num_examples) == (80, 20)
    assert (dataset.test.num_examples, dataset.test_split, dataset.warnings) == (30, "test", ())


@pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 0])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_split": "test"}, ["30 examples of --test_split=test are in --validation_split=test too"]),
        (
            {"validation_split": "train[90%:]"},
            ["10 examples of --validation_split=train[90%:] are in --train_split=train"],
        ),
        (
            {"validation_split": "0.1", "test_split": "train[:5]"},
            ["of --test_split=train[:5] are in --train_split=train"],
        ),
    ],
)
def test_examples_that_serve_two_purposes_are_told(
    rows: Path, monkeypatch: pytest.MonkeyPatch, limit: int, options: dict[str, str], words: list[str]
) -> None:
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    warnings = "\n".join(load(rows, **options).warnings)
    for word in words:
        assert word in warnings


def test_a_class_that_is_missing_is_told(tmp_path: Path) -> None:
    labels = [0] * 20 + [1] * 20 + [3]
    fake_tfds.prepare_rows(tmp_path, np.zeros((41, 2, 2), np.float32), labels=labels)
    found = data.load("toy_rows", data_dir=tmp_path, num_classes=5, validation_split="0.1").warnings
    assert [line.split(",")[0] for line in found] == [
        "no training example is of class 2",
        "no validation example is of class 3",
    ]


@pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 0])
def test_nothing_to_hold_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    fake_tfds.prepare_rows(tmp_path, np.zeros((2, 2, 2), np.float32), labels=[0, 1])
    with pytest.raises(ValueError, match="--validation_split"):
        data.load("toy_rows", data_dir=tmp_path, validation_split="0.1", **TWO_CLASSES)


def test_a_data_set_without_a_test_split(tmp_path: Path) -> None:
    splits = {name: fake_tfds.images(20, (2, 2, 1)) for name in ("train", "validation")}
    fake_tfds.prepare(tmp_path, "toy_images", fake_tfds.image_features((2, 2, 1)), splits)
    dataset = data.load("toy_images", data_dir=tmp_path, validation_split="validation")
    assert dataset.test_split == "validation"
    assert "--test_split=validation are in --validation_split=validation" in dataset.warnings[0]
    with pytest.raises(ValueError, match=r"Unknown split `test`.*validation"):
        data.load("toy_images", data_dir=tmp_path, validation_split="0.1")


def config(path: Path, **settings: Any) -> Config:
    own = {"dataset": "synthetic", "input_shape": (6,), "num_classes": 3, "num_examples": 60, "model": "logistic"}
    short = {"batch_size": 8, "train_steps": 12, "eval_every": "4", "checkpoint_every": "6"}
    return Config(run_dir=str(path), **{**own, **short, **settings})


def begun(settings: Config) -> tuple[experiment.Experiment, Session]:
    built = experiment.build(settings)
    session = Session(built, directory_of(settings))
    session.begin("")
    return built, session


def test_the_best_is_chosen_on_the_validation_part_and_the_test_split_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, session = begun(config(tmp_path / "run"))
    calls: list[tuple[str, list[np.ndarray]]] = []
    original = Steps.evaluate

    def evaluate(self: Steps, source: Any = None, report: Any = None) -> dict[str, float]:
        calls.append(
            ("test" if source is built.test_source else "validation", [v.numpy() for v in built.model.variables])
        )
        result = original(self, source)
        # The first evaluation is the best, which no test example may change.
        return result if source is built.test_source else {"loss": float(len(calls)), "accuracy": 0.5}

    monkeypatch.setattr(Steps, "evaluate", evaluate)
    result = session.run(Interrupt())
    session.close()
    assert [split for split, _ in calls] == ["validation"] * 3 + ["test"] * 2
    assert result["best"]["step"] == 4
    # Of the last weights, then of the best, and the last are what is left.
    assert tiny_experiment.same_bits(calls[3][1], [variable.numpy() for variable in built.model.variables])
    assert tiny_experiment.same_bits(calls[4][1], calls[0][1])
    assert result["evaluation"] == original(built.steps, built.test_source)
    assert result["best"]["test"] != result["evaluation"]
    assert {part: split["examples"] for part, split in result["splits"].items()} == {
        "train": 54,
        "validation": 6,
        "test": 12,
    }


def test_a_run_says_what_each_split_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, session = begun(config(tmp_path / "run"))
    session.close()
    said = capsys.readouterr().out
    assert "54 examples of train to train on, 6 held out of it to choose the best checkpoint on" in said
    assert "12 of test to report on" in said


def test_a_best_checkpoint_that_is_gone_is_told_and_leaves_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built, session = begun(config(tmp_path / "run"))
    judged = session._judged

    def gone(name: str, source: Any) -> dict[str, float]:
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "best", ignore_errors=True)
        built.state.best.assign([1.0, 0.0, 1.0])
        return judged(name, source)

    monkeypatch.setattr(session, "_judged", gone)
    monkeypatch.setattr(session, "_keep_best", lambda step, result: False)
    built.state.best.assign([1.0, 0.0, 1.0])
    result = session.run(Interrupt())
    session.close()
    assert result["best"]["test"] is None
    assert "the best checkpoint is not judged on the test split" in capsys.readouterr().out
    assert built.steps.evaluate(built.test_source) == result["evaluation"]


@pytest.mark.parametrize("limit", fast([data.MEMORY_LIMIT, 0], 0))
def test_a_stopped_run_goes_on_bit_for_bit_with_the_same_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    # On disk, because a data set that was prepared for one run alone is read into memory.
    tfds_prepare.keep("breast_cancer", tmp_path / "data")
    settings = {"dataset": "breast_cancer", "data_dir": str(tmp_path / "data")}
    settings |= {"input_shape": None, "num_classes": None, "num_examples": None}
    whole, expected = trained(config(tmp_path / "whole", **settings))
    assert trained(config(tmp_path / "broken", **settings), At(6))[1] is None
    broken, result = trained(config(tmp_path / "broken", **settings))
    assert tiny_experiment.same_bits(weights(broken), weights(whole))
    # How long a stream kept a run waiting is no result.
    for document in (result, expected):
        document.pop("waiting_share", None)
    assert result == expected
