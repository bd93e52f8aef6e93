"""Data sets whose examples have weights: what is read, what is refused, and the numbers of Keras."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.support import fake_tfds, tiny_experiment
from tests.support.suites import fast
from trainer.data import dataset as data

every_limit = pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 0], ids=["memory", "streamed"])


def prepared(folder: Path, weights: list[Any], dtype: Any = np.float32, shape: tuple[int, ...] = ()) -> None:
    features = {
        **fake_tfds.row_features((2, 2)),
        "weight": tfds.features.Tensor(shape=shape, dtype=dtype) if shape else tfds.features.Scalar(dtype),
    }
    examples = [
        {
            "row": np.full((2, 2), weight, np.float32),
            "label": i % 2,
            "weight": np.reshape(np.array(weight, dtype), shape),
        }
        for i, weight in enumerate(weights)
    ]
    # What is not finite is refused as a feature too.
    for example in examples:
        example["row"] = np.nan_to_num(example["row"], nan=-1.0, posinf=-1.0)
    splits = {"train": examples, "test": examples[:4]}
    fake_tfds.prepare(folder, "toy_weights", features, splits, supervised_keys=("row", "label", "weight"))


def load(folder: Path, **options: Any) -> data.Dataset:
    return data.load("toy_weights", data_dir=folder, num_classes=2, **options)


KINDS: list[tuple[Any, ...]] = [(np.float32, ()), (np.int64, ()), (np.float64, (1,))]


@every_limit
@pytest.mark.parametrize("kind", fast(KINDS, KINDS[-1]), ids=str)
def test_weights_belong_to_their_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, kind: tuple[Any, ...]
) -> None:
    prepared(tmp_path, [1, 2, 100, 0, 3, 5, 7, 9], *kind)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    dataset = load(tmp_path, validation_split="0.25")
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.weighted
        for row, _, weight in split.examples().as_numpy_iterator():
            assert (weight.shape, weight.dtype, weight) == ((), np.float32, row[0, 0])


@every_limit
@pytest.mark.parametrize("bad", fast([-1.0, np.nan, np.inf], -1.0))
def test_what_is_no_weight_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, bad: float) -> None:
    prepared(tmp_path, [1.0] * 9 + [bad])
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    with pytest.raises(
        ValueError, match=rf"split `train`: example \d has the weight {bad:g}; expected a finite number"
    ):
        load(tmp_path)


@every_limit
def test_weights_that_are_all_zero_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    prepared(tmp_path, [0.0] * 6)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    with pytest.raises(ValueError, match="split `train`: every example has the weight 0"):
        load(tmp_path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    features = {**fake_tfds.row_features((2, 2)), "weight": tfds.features.Text()}
    examples = [{"row": np.ones((2, 2), np.float32), "label": i, "weight": "heavy"} for i in (0, 1)]
    splits = {"train": examples, "test": examples}
    fake_tfds.prepare(tmp_path, "toy_weights", features, splits, supervised_keys=("row", "label", "weight"))
    with pytest.raises(ValueError, match="weights `weight` that are not one number for each example"):
        load(tmp_path)


def weighted() -> data.Split:
    weights = np.random.default_rng(1).exponential(2.0, tiny_experiment.EXAMPLES).astype(np.float32)
    weights[::5] = 0.0
    return dataclasses.replace(tiny_experiment.split(), weights=weights)


KERAS = [(1, "memory", False), (2, "stream", False), (2, "memory", False), (1, "memory", True)]


@pytest.mark.parametrize("case", fast(KERAS, *KERAS[:2]), ids=str)
def test_training_and_evaluation_have_the_numbers_of_keras(case: tuple[int, str, bool]) -> None:
    replicas, kind, jit = case
    memory = weighted()
    split = memory if kind == "memory" else tiny_experiment.streamed(memory)
    plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    parts = tiny_experiment.parts(replicas=replicas, memory=memory, train=split, judge=split, **plain)
    parts.steps.jit = jit
    model = keras.models.clone_model(parts.model)
    model.set_weights(parts.model.get_weights())
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    parts.source.seek(0)
    batches = []
    for step in range(3):
        batch = parts.source.train_batch(parts.source.arrays, tf.constant(step, tf.int64))
        batches.append(
            [array[batch.numpy()] for array in (memory.features, memory.labels, memory.weights)]
            if kind == "memory"
            else [part.numpy() for part in batch]
        )
    dataset = tf.data.Dataset.from_tensor_slices(tuple(np.stack(parts) for parts in zip(*batches, strict=True)))
    history = model.fit(dataset, epochs=1, verbose=0, shuffle=False).history
    expected = {name: values[0] for name, values in history.items()}
    parts.source.seek(0)
    means = parts.steps.training_results(parts.train(3).totals.numpy())
    for variable, value in zip(parts.model.trainable_variables, model.get_weights(), strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)
    assert [means["loss"], means["accuracy"]] == pytest.approx([expected["loss"], expected["accuracy"]], rel=1e-5)
    expected = model.evaluate(
        memory.features, memory.labels, sample_weight=memory.weights, batch_size=5, verbose=0, return_dict=True
    )
    assert parts.steps.evaluate() == pytest.approx({key: expected[key] for key in ("loss", "accuracy")}, rel=1e-5)


def test_weights_of_one_change_nothing() -> None:
    plain, ones = (
        tiny_experiment.split(),
        dataclasses.replace(tiny_experiment.split(), weights=np.ones(tiny_experiment.EXAMPLES, np.float32)),
    )
    results = []
    for memory in (plain, ones):
        parts = tiny_experiment.parts(memory=memory)
        results.append((parts.train(4).totals.numpy(), parts.steps.evaluate()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-6)


def test_as_many_weights_as_examples() -> None:
    with pytest.raises(ValueError, match="weights of shape"):
        dataclasses.replace(tiny_experiment.split(), weights=np.ones(3, np.float32))
