"""The parts of a user's own file, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data import dataset, files, preprocessing
from trainer.data.examples import FileOptions

RNG = np.random.default_rng(0)


def written(folder, **arrays):
    """An archive of the arrays; x tells the number of each row."""
    path = folder / "mine.npz"
    sizes = {name.partition("_")[2]: len(labels) for name, labels in arrays.items()}
    features = {f"x_{part}": np.arange(size, dtype=np.float32).reshape(-1, 1, 1) for part, size in sizes.items()}
    np.savez(path, **features, **{name: np.asarray(labels) for name, labels in arrays.items()})
    return str(path)


def numbers(part):
    return part.features.ravel().astype(int).tolist()


def load(name, **options):
    return dataset.load(name, **{"validation_split": "0.1", **options})


def test_what_a_file_lacks_is_held_out_of_its_training_part(tmp_path):
    found = load(written(tmp_path, y_train=np.arange(100) % 4))
    parts = found.train, found.validation, found.test
    assert [part.num_examples for part in parts] == [72, 8, 20]
    assert sorted(number for part in parts for number in numbers(part)) == list(range(100))
    assert all(np.bincount(part.labels).tolist() == [part.num_examples // 4] * 4 for part in parts)
    assert (found.validation_split, found.test_split) == ("0.1", "0.2")
    # What is held out for validation does not change what is judged on in the end.
    assert numbers(load(found.name, validation_split="0.3").test) == numbers(found.test)
    assert numbers(load(found.name).train) == numbers(found.train)


def test_numbers_are_held_out_by_a_permutation_that_depends_on_their_number_alone(tmp_path):
    first = load(written(tmp_path, y_train=RNG.standard_normal(50)))
    other = load(written(tmp_path, y_train=RNG.standard_normal(50)), seed=7)
    assert numbers(first.test) == numbers(other.test)
    assert numbers(first.test) != list(range(40, 50))
    assert [part.num_examples for part in (first.train, first.validation, first.test)] == [36, 4, 10]


def test_parts_that_a_file_has_are_used(tmp_path):
    labels = np.arange(8) % 2
    name = written(tmp_path, y_train=np.tile(labels, 5), y_validation=labels, y_test=labels)
    found = load(name)
    assert [part.num_examples for part in (found.train, found.validation, found.test)] == [40, 8, 8]
    assert (found.validation_split, found.test_split) == ("validation", "test")
    chosen = load(name, validation_split="test")
    assert chosen.warnings == (
        "8 examples of --test_split=test are in --validation_split=test too: the accuracy of the best checkpoint is "
        "better than that on new examples.",
    )
    assert load(name, validation_split=None).validation is None


def test_regression_is_standardised_by_what_is_trained_on(tmp_path):
    labels = RNG.standard_normal(50) * 3 + 7
    found = load(written(tmp_path, y_train=labels))
    train = labels[numbers(found.train)]
    assert found.task.mean == pytest.approx([train.mean()])
    assert found.task.deviation == pytest.approx([train.std()])
    np.testing.assert_allclose(
        found.test.labels[:, 0], (labels[numbers(found.test)] - train.mean()) / train.std(), 1e-5
    )
    plain = load(found.name, loss="mape")
    np.testing.assert_array_equal(plain.test.labels[:, 0], labels[numbers(found.test)].astype(np.float32))


def test_reconstruction_has_no_labels(tmp_path):
    name = written(tmp_path, y_train=np.arange(20))
    found = load(name, task="reconstruction")
    assert (found.train.labels, found.task.num_outputs, found.num_classes) == (None, 1, 0)
    np.testing.assert_array_equal(found.train.y, found.train.x.reshape(-1, 1))


def test_images_are_what_a_model_sees(tmp_path):
    np.savez(tmp_path / "i.npz", x_train=np.full((40, 2, 2), 51, np.uint8), y_train=np.arange(40) % 2)
    found = load(str(tmp_path / "i.npz"))
    assert (found.kind, found.input_shape, found.train.features.dtype) == ("image", (2, 2, 1), np.uint8)
    assert found.train.x.dtype == np.float32
    assert np.unique(found.train.x).tolist() == [np.float32(0.2)]


def test_what_the_user_should_know_of_classes(tmp_path):
    labels = ["cat"] * 20 + ["dog"] * 20 + ["emu"] + ["fox"] * 2
    found = load(written(tmp_path, y_train=labels))
    assert found.warnings == (
        "class emu has a single example, which stays in training because it cannot be held out too.",
        "no validation example is of class fox, which the best checkpoint is chosen without; hold more out with "
        "--validation_split.",
    )
    assert found.task.classes == ("cat", "dog", "emu", "fox")


def test_the_fingerprint_changes_with_the_content(tmp_path):
    first = load(written(tmp_path, y_train=np.arange(20) % 2)).fingerprint
    assert load(written(tmp_path, y_train=np.arange(20) % 2)).fingerprint == first
    assert load(written(tmp_path, y_train=1 - np.arange(20) % 2)).fingerprint != first


LABELS = np.arange(20) % 2
REFUSED = {
    "a slice": ({"y_train": LABELS}, {"train_split": "train[:50%]"}, r"--train_split=train\[:50%\].*one training part"),
    "no such part": ({"y_train": LABELS}, {"validation_split": "test"}, "Unknown split `test`: .* has train; give"),
    "what is trained on": ({"y_train": LABELS}, {"test_split": "train"}, "judge nothing"),
    "a share beside a part": (
        *({"y_train": LABELS, "y_test": LABELS}, {"test_split": "0.3"}),
        "--test_split=0.3 holds a share out .* has a test part of its own",
    ),
    "no share": ({"y_train": LABELS}, {"test_split": "1.5"}, "--test_split=1.5 is no share"),
    "too few": ({"y_train": [0, 1]}, {}, "of which none can be held out with --test_split=0.2"),
    "an unknown class": ({"y_train": LABELS, "y_test": [0, 2]}, {}, "part `test`: label `2` of example 1 is no class"),
    "a folder of data sets": ({"y_train": LABELS}, {"data_dir": "x"}, "data_dir=x holds data sets of TFDS"),
    "a foreign shape": (
        {"y_train": LABELS},
        {"input_shape": (1,)},
        "input_shape=.* belongs to the data set `synthetic`",
    ),
    "no task of these": ({"y_train": LABELS}, {"task": "multilabel"}, "needs rows of zeros and ones"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    arrays, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        load(written(tmp_path, **arrays), **options)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_options_of_files_are_refused_elsewhere(name):
    for option in ({"label": ("price",)}, {"skip_damaged": True}, {"image_size": (8, 8)}):
        with pytest.raises(ValueError, match=f"--{next(iter(option))}=.* belongs to files .*`{name}`; leave it out"):
            load(name, options=FileOptions(**option))


def test_weights_have_no_place_in_reconstruction(tmp_path):
    x = np.zeros((20, 2), np.float32) + np.arange(20)[:, None]
    np.savez(tmp_path / "w.npz", x_train=x, y_train=LABELS, w_train=np.ones(20))
    assert load(str(tmp_path / "w.npz")).train.weighted
    with pytest.raises(ValueError, match="has weights, which --task=reconstruction does not take"):
        load(str(tmp_path / "w.npz"), task="reconstruction")


def test_what_is_learnt_of_inputs_comes_from_training_alone(tmp_path):
    x = RNG.standard_normal((50, 3)).astype(np.float32) * 5 + 2
    np.savez(tmp_path / "t.npz", x_train=x, y_train=np.arange(50) % 2)
    found = load(str(tmp_path / "t.npz"))
    np.testing.assert_allclose(found.train.features.mean(axis=0), 0, atol=1e-5)
    assert np.abs(found.test.features.mean(axis=0)).max() > 1e-3
    assert isinstance(found.preprocessing, preprocessing.Preprocessing)
    assert files.VALIDATION == "0.1"
