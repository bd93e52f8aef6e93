"""What is wrong with data is told in the same words whether it is held in memory or streamed, before any step."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.support import fake_tfds, processes, tiny_experiment
from trainer.data import dataset, tfds_reader
from trainer.runtime import errors
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.training import experiment
from trainer.training.experiment import directory_of
from trainer.training.session import Session

SIZE = 400


def prepared(folder, labels=None, promised: bool = False):
    """Prepares 8x8 images; their labels are promised to be in ten classes, or plain numbers."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, 8, 8, 1), np.uint8)
    labels = np.arange(SIZE) % 10 if labels is None else labels
    examples = [{"image": image, "label": int(label)} for image, label in zip(pixels, labels, strict=True)]
    kind = tfds.features.ClassLabel(num_classes=10) if promised else tfds.features.Scalar(np.int64)
    features = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": kind}
    return fake_tfds.prepare(
        folder, "toy_images", features, {"train": examples, "test": fake_tfds.images(9, (8, 8, 1))}
    )


def config(tmp_path, **settings) -> Config:
    return Config(
        dataset="toy_images",
        data_dir=str(tmp_path / "data"),
        run_dir=str(tmp_path / "run"),
        **{"num_classes": 10, "model": "logistic", "train_steps": 60, "checkpoint_every": "1", **settings},
    )


def one_label(value: int, at: int):
    labels = np.arange(SIZE) % 10
    labels[at] = value
    return labels


def flip(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def at_a_record(file) -> None:
    """Cuts a file between two records, which no checksum tells."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little") + tfds_reader.FRAME
    file.write_bytes(content[:size])


BEFORE = {
    "a label that is too large": (one_label(10, SIZE - 1), False, None),
    "a label below zero": (one_label(-7, SIZE - 1), False, None),
    "no labels": (np.full(SIZE, -1), True, None),
    "half a file": (None, True, lambda file: cut(file, 0.5)),
    "a file without its last byte": (None, True, lambda file: cut(file, 0.99999)),
    "an empty file": (None, True, lambda file: cut(file, 0.0)),
    "a file that ends between two records": (None, True, at_a_record),
    "no file": (None, True, lambda file: file.unlink()),
}


@pytest.mark.parametrize("name", BEFORE)
def test_in_the_same_words_before_anything_is_built(tmp_path, monkeypatch, name):
    labels, promised, damage = BEFORE[name]
    folder = prepared(tmp_path / "data", labels, promised)
    if damage:
        damage(next(folder.glob("*-train*")))
    messages = []
    for limit in (dataset.MEMORY_LIMIT, 0):
        monkeypatch.setattr(dataset, "MEMORY_LIMIT", limit)
        # In small batches, as a large split is read in many.
        monkeypatch.setattr(tfds_reader, "BATCH", 64)
        with pytest.raises(ValueError, match="Data set `toy_images`") as caught:
            experiment.build(config(tmp_path))
        messages.append(str(caught.value))
    same = [message.split("start again")[0] if damage else message for message in messages]
    assert same[0] == same[1]
    assert not (tmp_path / "run").exists()


def test_only_as_much_is_read_as_is_in_doubt(tmp_path, monkeypatch):
    prepared(tmp_path / "data", promised=True)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(tfds_reader, "BATCH", 64)
    seen = []
    original = tfds_reader.Reader._check_labels
    monkeypatch.setattr(
        tfds_reader.Reader, "_check_labels", lambda self, *rest: (seen.append(len(rest[1])), original(self, *rest))[1]
    )
    dataset.load("toy_images", data_dir=tmp_path / "data")
    assert sum(seen) == 64 + 9
    seen.clear()
    with pytest.raises(ValueError, match=r"outside the classes 0\.\.8"):
        dataset.load("toy_images", data_dir=tmp_path / "data", num_classes=9)
    assert sum(seen) >= 64


def test_a_count_of_another_version_of_tfds_is_no_damage(tmp_path, monkeypatch):
    prepared(tmp_path / "data", promised=True)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(tfds_reader, "FRAME", 16)
    monkeypatch.setattr(tfds.core.SplitInfo, "num_bytes", 5, raising=False)
    assert dataset.load("toy_images", data_dir=tmp_path / "data").train.num_examples == SIZE


WHILE_TRAINING = {
    "a flipped bit": (None, flip, "a record of the data set is damaged: corrupted record"),
    "a label missing among others": (
        one_label(-1, 390),
        None,
        r"label -1 of example \d+ is outside the classes 0\.\.9",
    ),
}


@pytest.mark.parametrize("name", WHILE_TRAINING)
def test_what_only_reading_shows_ends_the_run_and_what_was_saved_stays(tmp_path, monkeypatch, name):
    labels, damage, words = WHILE_TRAINING[name]
    folder = prepared(tmp_path / "data", labels, promised=True)
    if damage:
        damage(next(folder.glob("*-train*")))
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(tfds_reader, "BATCH", 64)
    monkeypatch.setattr("trainer.data.batches.SHUFFLE_BUFFER", 8)
    # Held out of the same file, validation examples would be read before training.
    settings = config(tmp_path, validation_split="test")
    directory = directory_of(settings)
    built = experiment.build(settings)
    session = Session(built, directory)
    session.begin("")
    with pytest.raises(tf.errors.OpError) as caught:
        session.run(Interrupt())
    session.close()
    message = errors.described(caught.value)
    with pytest.raises(ValueError, match=words):
        raise ValueError(message)
    # Every step before the fault was saved, and the weights are still those: the step of the fault moved none.
    weights = [variable.numpy() for variable in built.model.trainable_variables]
    again = session._checkpoints.restore()
    assert again > 0
    assert tiny_experiment.same_bits(weights, [variable.numpy() for variable in built.model.trainable_variables])
    assert not (tmp_path / "run" / "certificate.json").exists()


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (np.zeros((3, 2), np.float32), np.zeros(4, np.int32), "one of each for each example"),
        (np.zeros((3, 2), np.float32), np.zeros((3, 1), np.int32), "one of each for each example"),
        (np.zeros((3, 2), np.float32), np.zeros(3, np.float32), "one of each for each example"),
        (np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float64), "integers or rows of float32 as labels"),
        (np.zeros((3, 2), complex), np.zeros(3, np.int32), "expected numbers"),
        (np.array([["a"], ["b"], ["c"]]), np.zeros(3, np.int32), "expected numbers"),
        (np.zeros((0, 2), np.float32), np.zeros(0, np.int32), "at least one example"),
    ],
)
def test_arrays_that_do_not_belong_together_are_no_split(features, labels, words):
    with pytest.raises(ValueError, match=words):
        dataset.Split(len(features), features, labels)


@pytest.mark.slow
def test_the_program_says_it_in_one_line(tmp_path):
    folder = prepared(tmp_path / "data", one_label(10, 5))
    flags = ["--dataset=toy_images", f"--data_dir={tmp_path / 'data'}", "--num_classes=10", "--train_steps=5"]
    with contextlib.suppress(FileNotFoundError):
        (folder / "unused").unlink()
    result = processes.train(*flags, cwd=tmp_path)
    assert result.returncode == 2
    # Data sets are shuffled as they are written.
    words = r"error: .*label 10 of example \d+ is outside the classes 0\.\.9; num_classes=11 would hold them all\.\n"
    assert re.fullmatch(words, result.stderr)
    assert not (tmp_path / "runs").exists()
