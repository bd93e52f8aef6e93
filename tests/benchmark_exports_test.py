"""The benchmark of exports: what it compares computes the same, and files are as small as its page says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import models
from scripts.benchmark import blocks, compacted, turns
from tests.support.compacted import checked
from trainer.export import verify
from trainer.export.formats import flatbuffer, tflite


def test_every_call_has_its_turn():
    made: list[str] = []
    calls = {"one": lambda: made.append("one"), "two": lambda: made.append("two")}
    found = turns.quartiles(calls, rounds=3, seconds=0.0)
    # Two calls of each that are not timed, and three rounds of one call each.
    assert made == ["one", "one", "two", "two", *["one", "two"] * 3]
    assert all(low <= median <= high for low, median, high in found.values())
    assert turns.shown([1000.0, 2000.0, 3000.0], 1e3) == "2.00 (1.00 to 3.00)"


@pytest.mark.slow
def test_filters_that_an_addition_joins_go_if_they_are_zero_in_all_branches():
    model = models.REGISTRY["resnet"]((16, 16, 3), 10, depth=8, filters=(8, 8, 16))
    names = compacted.zero_together(model, 0.5)
    # Without a 1x1 convolution where neither the size nor the number of filters changes.
    assert len(names) == 1 + 3 * 1 + 2
    found = checked(model)
    after = {one.layer: one.after for one in found.removed if one.noun == "filters"}
    assert after == {name: 8 if name.startswith("stage_3") else 4 for name in names}
    assert not any(one.noun == "filters" for one in found.kept)


@pytest.mark.slow
def test_files_of_blocks_are_as_small_as_promised(tmp_path):
    paths, x = blocks.written(tmp_path)
    size = {name: path.stat().st_size for name, path in paths.items()}
    assert size["dense"] >= 9 * size["sparse"]
    assert size["dense"] >= 30 * size["int8, sparse"]
    expected = tflite.predict(str(paths["dense"]), [x])
    assert verify.distance(tflite.predict(str(paths["sparse"]), [x]), expected) <= 1e-6
    assert verify.distance(tflite.predict(str(paths["int8, sparse"]), [x]), expected) <= 0.1


@pytest.mark.slow
def test_vectors_that_are_stored_once_change_nothing(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([32]), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(64)])
    for layer in model.layers:
        layer.bias.assign(keras.random.normal(layer.bias.shape, seed=0))
    x = np.random.default_rng(0).random((64, 32), dtype=np.float32)
    one, other = tmp_path / "one.tflite", tmp_path / "other.tflite"
    tflite.write(model, str(one), representative=[x], kind="int8")
    content = one.read_bytes()
    other.write_bytes(flatbuffer.shared(content))
    # Three vectors of 64 zero points less.
    assert other.stat().st_size <= len(content) - 3 * 64 * 8
    np.testing.assert_array_equal(tflite.predict(str(other), [x])[0], tflite.predict(str(one), [x])[0])
    for mine, its in zip(tflite.read(str(other)), tflite.read(str(one)), strict=True):
        assert (mine.name, mine.axis) == (its.name, its.axis)
        for part in ("values", "scale", "zero_point"):
            np.testing.assert_array_equal(getattr(mine, part), getattr(its, part))
