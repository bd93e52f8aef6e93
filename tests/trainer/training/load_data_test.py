"""A data set loaded in Python, and `Trainer.fit` on it."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from constraints import MaxNorm
from trainer import Rule, Trainer, load_data

RNG = np.random.default_rng(0)
RULE = Rule(MaxNorm(1.0))


def network(data, units=4):
    return keras.Sequential(
        [
            keras.Input(data.input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(data.task.num_outputs),
        ]
    )


def trainer(data, **settings):
    keras.utils.set_random_seed(0)
    measures = {"loss": data.task.loss(), "metrics": data.task.metrics()}
    return Trainer(network(data), RULE, optimizer="adam", **measures, **settings)


@pytest.fixture
def archive(tmp_path):
    """Rows of numbers in three classes."""
    labels = np.arange(60) % 3
    features = RNG.standard_normal((60, 5)).astype(np.float32) + labels[:, None]
    np.savez(tmp_path / "mine.npz", x_train=features, y_train=labels)
    return tmp_path / "mine.npz"


def test_a_run_on_all_parts(archive, tmp_path):
    data = load_data(archive)
    assert (data.input_shape, data.task.name, data.task.num_outputs) == ((5,), "classification", 3)
    assert data.train.x.shape == (data.train.num_examples, 5)
    run = {"run_dir": tmp_path / "run"}
    history = trainer(data, **run).fit(data, epochs=2, batch_size=8, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    certificate = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert set(certificate["evaluation"]) == {"loss", "accuracy"}
    assert certificate["splits"]["test"] == {"split": "0.2", "examples": 12}
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["task"]["classes"] == ["0", "1", "2"]
    # What was learnt of the inputs treats new ones alike.
    kept = keras.models.load_model(tmp_path / "run" / "preprocessing.keras")
    raw = RNG.standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_array_equal(kept(raw), data.preprocessing(raw))
    # The same program goes on; with another content of the file it does not.
    assert len(trainer(load_data(archive), **run).fit(load_data(archive), epochs=2, batch_size=8).history["loss"]) == 2
    with np.load(archive) as arrays:
        np.savez(archive, **{**arrays, "x_train": arrays["x_train"] + 1})
    changed = load_data(archive)
    with pytest.raises(ValueError, match=r"read another content of .*mine.npz, which has changed since") as caught:
        trainer(changed, **run).fit(changed, epochs=2, batch_size=8)
    assert "--" not in str(caught.value)


@pytest.fixture
def images(tmp_path):
    """Gray images in two classes: the left or the right half is bright."""
    labels = np.arange(40) % 2
    pixels = RNG.integers(0, 90, (40, 8, 8), np.uint8)
    pixels[labels == 0, :, :4] += 150
    pixels[labels == 1, :, 4:] += 150
    np.savez(tmp_path / "images.npz", x_train=pixels, y_train=labels)
    return tmp_path / "images.npz"


def test_training_images_change_at_random_and_by_the_seed_alike(images, tmp_path):
    def weights(number, **more):
        data = load_data(images, **more)
        made = trainer(data, run_dir=tmp_path / str(number))
        made.fit(data, epochs=2, batch_size=8, verbose=0)
        return made.model.get_weights(), data

    plain, _ = weights(0)
    flipped, data = weights(1, augment="flip,crop:0.25")
    again, _ = weights(2, augment=["flip", "crop:0.25"])
    assert data.augment == ("flip", "crop:0.25")
    np.testing.assert_array_equal(flipped[0], again[0])
    assert np.abs(flipped[0] - plain[0]).max() > 1e-4
    # Examples that change otherwise are another run, whatever the directory.
    with pytest.raises(ValueError, match=r"other settings:\n  data"):
        weights(1, augment="flip")


@pytest.mark.parametrize(
    ("augment", "said"),
    [("mirror", r"^augment=mirror: `mirror` is not known"), (["flip", "flip"], "^augment=flip,flip has `flip` twice")],
)
def test_an_unknown_change_of_images_is_refused(images, augment, said):
    with pytest.raises(ValueError, match=said):
        load_data(images, augment=augment)


def test_rows_of_numbers_do_not_flip(archive):
    with pytest.raises(ValueError, match=r"^augment=flip changes images"):
        load_data(archive, augment="flip")


@pytest.mark.slow
def test_it_computes_what_the_arrays_alone_do(archive):
    data = load_data(archive)
    whole, plain = trainer(data), trainer(data)
    whole.fit(data, epochs=2, batch_size=8, verbose=0)
    plain.fit(data.train.x, data.train.y, epochs=2, batch_size=8, verbose=0)
    for one, other in zip(whole.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.evaluate(data.test) == pytest.approx(plain.evaluate(data.test.x, data.test.y))
    assert whole.predict(data.test).shape == (12, 3)
    of_class = {0: 1.0, 1: 2.0, 2: 0.0}
    whole.fit(data, class_weight=of_class, epochs=1, batch_size=8, verbose=0)
    plain.fit(data.train.x, data.train.y, class_weight=of_class, epochs=1, batch_size=8, verbose=0)
    for one, other in zip(whole.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_reconstruction(archive):
    data = load_data(archive, task="reconstruction")
    fitted = trainer(data)
    fitted.fit(data, epochs=1, verbose=0)
    assert fitted.evaluate(data.test) == pytest.approx(fitted.evaluate(data.test.x, data.test.y))


def test_words_of_the_command_line_and_of_python(tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"{i % 7},{'ab'[i % 2]},{2.5 * i},{i}" for i in range(40)]
    table.write_text("\n".join(["size,kind,price,row", *rows]))
    data = load_data(table, label="price", drop="row", validation_split=0.25)
    assert (data.kind, data.task.name) == ("table", "regression")
    assert (data.train.num_examples, data.validation.num_examples, data.test.num_examples) == (24, 8, 8)
    with pytest.raises(ValueError, match=r"pric"):
        load_data(table, label="pric")
    for wrong, words in (
        ({"label": "price", "validation_split": 1.5}, "^validation_split=1.5 is no share"),
        ({"image_size": 3}, "image_size"),
        ({"image_size": (3,)}, "is no height and width"),
        ({"label": "price", "task": "multilabel"}, "^task=multilabel needs"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            load_data(table, **wrong)
    with pytest.raises(TypeError, match="labels"):
        load_data(table, labels="price")


def test_what_contradicts_the_parts_of_the_data(archive):
    data = load_data(archive)
    for wrong in (
        {"y": data.train.y},
        {"validation_split": 0.5},
        {"validation_data": (data.test.x, data.test.y)},
        {"sample_weight": np.ones(3)},
        {"shuffle": False},
        {"batch_size": 1000},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            trainer(data).fit(data, **wrong)
