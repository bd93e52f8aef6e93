"""Inputs are treated alike in training, later, and in a process without this project."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.preprocessing import StandardScaler

from trainer.data import dataset, preprocessing
from trainer.data.examples import IMAGE, NUMBERS, TEXT, Examples, FileOptions, Raw

RNG = np.random.default_rng(0)


def learnt(kind: str, features, **raw):
    part = Examples(len(next(iter(features.values())) if isinstance(features, dict) else features), features)
    return preprocessing.learn(Raw("a", kind, {"train": part}, **raw), FileOptions())


def test_rows_are_standardised_as_scikit_learn_does():
    train = RNG.normal(size=(500, 4)) * [1, 1e3, 1e-9, 1e-3] + [0, 5e4, 1e-9, 2]
    other = RNG.normal(size=(9000, 4)) * [1, 1e3, 1e-9, 1e-3] + [0, 5e4, 1e-9, 2]
    found = learnt(NUMBERS, train)
    oracle = StandardScaler().fit(train)
    assert found.input_shape == (4,)
    for rows in (train, other):
        features = found(rows)
        assert features.dtype == np.float32
        # Near 2, float32 has steps of 1e-4 standard deviations of the last column.
        np.testing.assert_allclose(features, oracle.transform(rows), atol=3e-4)
        np.testing.assert_allclose(features[:, 0], oracle.transform(rows)[:, 0], atol=1e-6)


def test_a_constant_column_becomes_0():
    train = np.ones((5, 3)) * [0, 7, 0.1] + np.arange(5)[:, None] * [1, 0, 0]
    features = learnt(NUMBERS, train)(np.vstack([train, [[2, 8, 1e30]]]))
    np.testing.assert_array_equal(features[:, 1:], 0)
    assert features[:, 0].std() > 0


def test_whole_numbers_are_standardised_too():
    train = RNG.integers(0, 16, (50, 3), np.uint8)
    np.testing.assert_allclose(learnt(NUMBERS, train)(train), StandardScaler().fit_transform(train), atol=1e-5)


def test_images_stay_uint8_and_the_model_divides_as_training_does():
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    found = learnt(IMAGE, pixels)
    assert found.input_shape == (8, 8, 1)
    np.testing.assert_array_equal(found(pixels), pixels)
    assert found(pixels[..., 0]).shape == pixels.shape
    np.testing.assert_array_equal(found.model(pixels), dataset.to_float(pixels))


def test_other_numbers_stay_as_they_are():
    values = RNG.normal(size=(5, 4, 3))
    found = learnt(NUMBERS, values)
    np.testing.assert_array_equal(found(values), values.astype(np.float32))


@pytest.mark.parametrize("shape", [(50, 3), (5, 4, 3)])
def test_a_policy_of_lower_precision_does_not_reach_it(shape):
    train = RNG.normal(size=shape) + 1000
    expected = learnt(NUMBERS, train)(train)
    policy = tf.keras.config.dtype_policy()
    tf.keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(learnt(NUMBERS, train)(train), expected)
    finally:
        tf.keras.config.set_dtype_policy(policy)


def test_other_inputs_than_those_learnt_from_are_refused():
    rows = learnt(NUMBERS, np.eye(3))
    pixels = learnt(IMAGE, np.zeros((2, 4, 4, 1), np.uint8))
    for found, features, words in (
        (rows, np.zeros((2, 4)), r"shape \(4,\); expected \(3,\)"),
        (rows, np.array([["a", "b", "c"]]), "expected numbers"),
        (pixels, np.zeros((2, 4, 4, 1)), "float64; expected uint8"),
        (pixels, np.zeros((2, 5, 5, 1), np.uint8), r"expected \(4, 4, 1\)"),
    ):
        with pytest.raises(ValueError, match=words):
            found(features)


def test_a_folder_without_a_whole_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no preprocessing\.keras in"):
        preprocessing.load(tmp_path)
    (tmp_path / "preprocessing.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged"):
        preprocessing.load(tmp_path)


@pytest.mark.parametrize(
    "features",
    [RNG.normal(size=(50, 3)) * 7, RNG.normal(size=(5, 4, 3)), RNG.integers(0, 256, (5, 8, 8, 3), np.uint8)],
)
def test_it_comes_back_from_disk(tmp_path, features):
    kind = IMAGE if features.dtype == np.uint8 else NUMBERS
    found = learnt(kind, features)
    found.save(tmp_path)
    back = preprocessing.load(tmp_path)
    assert (back.kind, back.input_shape, back.vocabulary_size) == (kind, found.input_shape, 0)
    np.testing.assert_array_equal(back(features), found(features))
    np.testing.assert_array_equal(back.model(features), found.model(features))


def test_texts_become_numbers_of_words(tmp_path):
    layer = tf.keras.layers.TextVectorization(output_sequence_length=3, vocabulary=["cat", "dog"])
    model = tf.keras.Sequential([tf.keras.Input((), dtype="string"), layer], name="preprocessing")
    preprocessing.Preprocessing(TEXT, (3,), model, 4).save(tmp_path)
    back = preprocessing.load(tmp_path)
    assert (back.kind, back.input_shape, back.vocabulary_size) == (TEXT, (3,), 4)
    for texts in (["Dog bird", ""], np.array(["Dog bird", ""])):
        ids = back(texts)
        assert (ids.tolist(), ids.dtype) == ([[3, 1, 0], [0, 0, 0]], np.int32)
