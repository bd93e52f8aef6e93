"""Every format keeps the order of several inputs and outputs."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from trainer.export import fresh, verify
from trainer.export.formats import FORMATS
from trainer.export.plain import plain
from trainer.reporting.certificate import certify

RNG = np.random.default_rng(0)
# Of one shape, so that no shape tells them apart, and whole numbers.
X = [RNG.random((40, 6), dtype=np.float32), RNG.random((40, 6), dtype=np.float32)]
TOKENS = RNG.integers(0, 5, (40, 3)).astype(np.int32)


def two_of_each(structure: str) -> tuple[keras.Model, list[np.ndarray]]:
    """A network whose inputs and outputs are named against the alphabet; the examples in the order of its inputs."""
    keras.utils.set_random_seed(0)
    first, second = keras.Input([6], name="z"), keras.Input([6], name="a")
    x = [first, second]
    examples = X
    merged = keras.layers.Concatenate()([keras.layers.Dense(5, "relu")(first), keras.layers.Dense(7, "tanh")(second)])
    if structure == "tokens":
        x = [keras.Input([3], dtype="int32", name="m"), *x]
        examples = [TOKENS, *X]
        merged = keras.layers.Concatenate()([merged, keras.layers.Flatten()(keras.layers.Embedding(5, 2)(x[0]))])
    outputs = [keras.layers.Dense(3, name="y")(merged), keras.layers.Dense(3, name="b")(merged)]
    given = {one.name: one for one in x} if structure == "dict" else x
    if structure == "dict":
        outputs = dict(zip(("y", "b"), outputs, strict=True))
        # Keras goes through a dictionary in the order of its keys.
        examples = [X[1], X[0]]
    return keras.Model(given, outputs), examples


@functools.cache
def subject(structure: str) -> verify.Subject:
    model, examples = two_of_each(structure)
    copy = plain(model)
    return verify.Subject(
        model=copy,
        examples=examples,
        outputs=verify.predictions(model, examples),
        certificate=certify([], 0),
        certify=None,
        score=lambda outputs: {},
        representative=examples,
    )


@pytest.fixture(scope="module")
def one_import():
    with fresh.one_import():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("one_import")
@pytest.mark.parametrize("structure", ["list", "dict", "tokens"])
@pytest.mark.parametrize("name", FORMATS)
def test_several_inputs_and_outputs_keep_their_order(tmp_path, name, structure):
    report = verify.export(subject(structure), name, tmp_path / FORMATS[name].file)
    # Outputs in another order would be as far apart as outputs are.
    assert report["difference"] <= (verify.TOLERANCE if FORMATS[name].exact else 0.05)


@pytest.mark.parametrize("structure", ["list", "dict", "tokens"])
def test_another_order_would_be_seen(structure):
    held = subject(structure)
    assert verify.distance(held.outputs[::-1], held.outputs) > 0.1
    swapped = verify.predictions(held.model, [*held.examples[:-2], held.examples[-1], held.examples[-2]])
    assert verify.distance(swapped, held.outputs) > 0.1


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_sequence_of_layers_that_was_never_called(tmp_path, name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([6]), keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
    outputs = verify.predictions(plain(model), X[:1])
    never_called = keras.Sequential.from_config(model.get_config())
    never_called.set_weights(model.get_weights())
    held = verify.Subject(
        never_called, X[:1], outputs, certify([], 0), certify=None, score=lambda found: {}, representative=[]
    )
    assert verify.export(held, name, tmp_path / FORMATS[name].file)["difference"] <= verify.TOLERANCE
