"""An archive is read as it is, or refused in a sentence that says what to mend."""

from __future__ import annotations

import time

import numpy as np
import pytest

from trainer.data.examples import IMAGE, NUMBERS, TEXT, FileOptions
from trainer.data.readers import npz

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)).astype(np.float32), np.arange(6) % 2


def read(path, options: FileOptions | None = None, **arrays):
    np.savez(path, **arrays)
    return npz.read(str(path), options or FileOptions())


def test_numbers_come_as_they_are(tmp_path):
    found = read(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    assert (found.kind, list(found.parts), found.warnings) == (NUMBERS, ["train", "test"], ())
    np.testing.assert_array_equal(found.parts["train"].features, X)
    np.testing.assert_array_equal(found.parts["test"].labels, Y[:2])
    assert found.parts["train"].weights is None


@pytest.mark.parametrize(
    ("x", "kind", "shape"),
    [
        (np.zeros((6, 4, 5), np.uint8), IMAGE, (6, 4, 5, 1)),
        (np.zeros((6, 4, 5, 3), np.uint8), IMAGE, (6, 4, 5, 3)),
        (np.zeros((6, 20), np.uint8), NUMBERS, (6, 20)),
        (np.zeros((6, 4, 5), np.float32), NUMBERS, (6, 4, 5)),
        (np.zeros(6), NUMBERS, (6, 1)),
        (np.array(["a b", "c"] * 3), TEXT, (6,)),
        (np.array([b"a \xc3\xa9", b"c"] * 3), TEXT, (6,)),
    ],
)
def test_the_kind_follows_from_the_features(tmp_path, x, kind, shape):
    found = read(tmp_path / "a.npz", x_train=x, y_train=Y)
    assert found.kind == kind
    assert found.parts["train"].features.shape == shape


@pytest.mark.parametrize(
    "y", [Y, Y == 1, Y.astype(float) / 3, np.array(["cat", "dog"] * 3), np.eye(2)[Y], np.zeros((6, 4), np.int8)]
)
def test_labels_come_as_they_are(tmp_path, y):
    labels = read(tmp_path / "a.npz", x_train=X, y_train=y).parts["train"].labels
    np.testing.assert_array_equal(labels, y)
    assert labels.dtype == y.dtype


def test_other_names_weights_and_what_is_not_read(tmp_path):
    found = read(
        tmp_path / "a.npz",
        **dict.fromkeys(("x_train", "x_val"), X),
        **dict.fromkeys(("y_train", "y_val"), Y),
        w_train=np.arange(6),
        sample_weight_val=np.ones((6, 1)),
        other=X,
    )
    assert list(found.parts) == ["train", "validation"]
    assert found.parts["train"].weights.dtype == np.float32
    assert found.parts["validation"].weights.shape == (6,)
    (warning,) = found.warnings
    assert "other" in warning


def test_there_may_be_no_labels_at_all(tmp_path):
    assert read(tmp_path / "a.npz", x_train=X).parts["train"].labels is None


def test_another_byte_order_is_turned_round(tmp_path):
    found = read(tmp_path / "a.npz", x_train=X.astype(">f4"), y_train=Y.astype(">i8")).parts["train"]
    assert found.features.dtype == np.float32
    assert found.features.dtype.isnative
    np.testing.assert_array_equal(found.features, X)


def holed(value, row=4):
    x = X.astype(np.float64)
    x[row, 1] = value
    return x


BAD = {
    "no x": ({"features": X, "y_train": Y}, "no array x_train; its arrays are features, y_train"),
    "no y": ({"x_train": X, "x_test": X, "y_test": Y}, "has y_test but no y_train"),
    "no y of test": ({"x_train": X, "y_train": Y, "x_test": X}, "has y_train but no y_test"),
    "lengths": ({"x_train": X, "y_train": Y[:5]}, "x_train has 6 rows and y_train has 5"),
    "weights": ({"x_train": X, "y_train": Y, "w_train": Y[:5]}, "x_train has 6 rows and w_train has 5"),
    "nan": ({"x_train": holed(np.nan), "y_train": Y}, "x_train holds nan in row 4, counted from 0"),
    "inf": ({"x_train": X, "y_train": Y, "x_test": holed(-np.inf, 2), "y_test": Y}, "x_test holds -inf in row 2"),
    "too large": ({"x_train": holed(1e300), "y_train": Y}, r"x_train holds 1e\+300 in row 4"),
    "several": ({"x_train": holed(np.nan, [1, 3]), "y_train": Y}, "holds nan in row 1 and in 1 more"),
    "label": ({"x_train": X, "y_train": holed(np.nan)}, "y_train holds nan in row 4"),
    "objects": ({"x_train": X.astype(object), "y_train": Y}, "x_train as Python objects.*x_train.astype"),
    "label objects": ({"x_train": X, "y_train": np.array(["a", None] * 3)}, "y_train as Python objects"),
    "empty": ({"x_train": X[:0], "y_train": Y[:0]}, r"x_train has the shape \(0, 3\)"),
    "one number": ({"x_train": np.float32(1), "y_train": Y}, r"x_train has the shape \(\)"),
    "complex": ({"x_train": X.astype(complex), "y_train": Y}, "x_train has the type complex128"),
    "dates": ({"x_train": X, "y_train": Y.astype("M8[D]")}, "y_train has the type datetime64"),
    "records": ({"x_train": np.zeros(6, [("a", int)]), "y_train": Y}, "x_train has the type"),
    "bytes": ({"x_train": np.array([b"\xff"] * 6), "y_train": Y}, "x_train holds bytes that are not UTF-8"),
    "masks": ({"x_train": X, "y_train": np.zeros((6, 2, 2))}, r"y_train has the shape \(6, 2, 2\)"),
    "texts": ({"x_train": np.array([["a", "b"]] * 6), "y_train": Y}, "x_train holds strings of shape"),
    "shapes": (
        {"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y},
        r"x_train is numbers of shape \(3,\), and a row of x_test is numbers of shape \(2,\)",
    ),
    "kinds": (
        {"x_train": np.zeros((6, 4, 4)), "y_train": Y, "x_test": np.zeros((6, 4, 4), np.uint8), "y_test": Y},
        "x_train is numbers of shape",
    ),
    "kinds of labels": ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)}, "a row of y_test is text"),
    "negative weights": ({"x_train": X, "y_train": Y, "w_train": X[:, 0] - 9}, "w_train holds the weight -"),
    "no weight": ({"x_train": X, "y_train": Y, "w_train": Y * 0}, "w_train holds the weight 0 in every row"),
    "weights of outputs": ({"x_train": X, "y_train": Y, "w_train": X}, r"w_train has the shape \(6, 3\)"),
    "two names": (
        {"x_train": X, "y_train": Y, "x_val": X, "x_validation": X, "y_val": Y},
        "x_validation under two names",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_refused(tmp_path, case):
    arrays, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path / "bad.npz", **arrays)
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize("at", [4, 60, 200, -300, -30, -3])
def test_a_damaged_archive_is_refused(tmp_path, at):
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, x_train=np.arange(600).reshape(6, 100), y_train=Y)
    content = path.read_bytes()
    path.write_bytes(content[:at])
    with pytest.raises(ValueError, match=r"bad\.npz.*write it again with numpy\.savez"):
        npz.read(str(path), FileOptions())
    flipped = bytearray(content)
    flipped[at] ^= 0xFF
    path.write_bytes(flipped)
    try:
        npz.read(str(path), FileOptions())
    except ValueError as error:
        assert "bad.npz" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"\x93NUMPY\x01\x00", "not an .npz archive"), (b"PK\x03\x04", "archive")]
)
def test_what_is_no_archive_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        npz.read(str(path), FileOptions())


def test_options_of_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--label=y,z does not apply to .*an archive of numbers; leave it out"):
        read(tmp_path / "a.npz", FileOptions(label=("y", "z")), x_train=X, y_train=Y)
    texts = np.array(["a b"] * 6)
    assert read(tmp_path / "b.npz", FileOptions(text_length=5), x_train=texts, y_train=Y).kind == TEXT


def test_the_fingerprint_follows_the_content(tmp_path):
    prints = [read(tmp_path / "a.npz", x_train=x, y_train=Y).fingerprint for x in (X, X, holed(7))]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.slow
def test_an_archive_of_the_size_of_mnist_is_read_at_once(tmp_path):
    x = np.zeros((70_000, 28, 28), np.uint8)
    x[:, ::3] = 200
    y = np.zeros(70_000, np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x[:60_000], y_train=y[:60_000], x_test=x[60_000:], y_test=y[60_000:])
    start = time.process_time()
    npz.read(str(tmp_path / "a.npz"), FileOptions())
    assert time.process_time() - start < 1
