"""Examples for predictions, by what the model takes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.data import preprocessing, unlabelled
from trainer.data.examples import TABLE, TEXT, Examples, FileOptions, Raw


def images(shape=(2, 3, 1)):
    return preprocessing.images(shape).model


def numbers(columns=2):
    return preprocessing.numbers((columns,), None).model


def texts():
    train = Examples(2, np.array(["a b", "c"], object), np.array([0, 1]))
    return preprocessing.learn(Raw("x", TEXT, {"train": train}), FileOptions()).model


def table():
    columns = {"size": np.array([1.0, 2.0, 4.0]), "kind": np.array(["a", "b", "a"], object)}
    return preprocessing.learn(Raw("x", TABLE, {"train": Examples(3, columns, np.arange(3))}), FileOptions()).model


def test_arrays(tmp_path):
    x = np.arange(4.0).reshape(2, 2)
    np.savez(tmp_path / "x.npz", other=x + 1, x_test=x)
    np.save(tmp_path / "x.npy", x)
    for name in ("x.npz", "x.npy"):
        found, names = unlabelled.read(str(tmp_path / name), numbers())
        np.testing.assert_array_equal(found, x)
        assert names == ["1", "2"]


def test_tables(tmp_path):
    (tmp_path / "x.csv").write_text("kind,size,when\na,3,2020-01-01\nzz,,2020-01-02\n")
    found, names = unlabelled.read(str(tmp_path / "x.csv"), table())
    assert found["kind"][:, 0].tolist() == ["a", "zz"]
    assert found["size"][0, 0] == 3
    assert np.isnan(found["size"][1, 0])
    assert len(names) == 2
    (tmp_path / "x.csv").write_text("kind,size\n007,3\n")
    assert unlabelled.read(str(tmp_path / "x.csv"), table())[0]["kind"][:, 0].tolist() == ["007"]
    (tmp_path / "y.csv").write_text("a,b\n1,2\n3,4\n")
    np.testing.assert_array_equal(unlabelled.read(str(tmp_path / "y.csv"), numbers())[0], [[1, 2], [3, 4]])


def test_texts(tmp_path):
    (tmp_path / "lines.txt").write_text("a c\nb\n")
    (tmp_path / "t.csv").write_text("id,said\n1,a c\n2,b\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1.txt").write_text("a c")
    (folder / "2.txt").write_text("b")
    for path, column in (("lines.txt", None), ("t.csv", "said"), ("folder", None)):
        found, names = unlabelled.read(str(tmp_path / path), texts(), column)
        assert found.tolist() == ["a c", "b"]
        assert len(names) == 2


def test_images(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    keras.utils.save_img(tmp_path / "b.png", pixels, scale=False)
    keras.utils.save_img(tmp_path / "a.png", pixels + 1, scale=False)
    found, names = unlabelled.read(str(tmp_path), images())
    np.testing.assert_array_equal(found, [pixels + 1, pixels])
    assert [name.rpartition("/")[2] for name in names] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "content", "model", "message"),
    [
        ("x.npz", None, numbers, "There is no file"),
        ("x.npz", b"PK", numbers, "cannot be read"),
        ("x.csv", b"a,b\n1,x\n2,y\n", numbers, "the column `b` does not hold a number"),
        ("x.csv", b"a,b,c\n1,2,3\n", numbers, "have the shape"),
        ("x.csv", b"kind\na\n", table, "The column `size` is missing"),
        ("x.csv", b"said\na\n", texts, "--text=column"),
        ("x.png", b"nonsense", images, "cannot be decoded"),
        ("x.txt", b"\xff\xfe", texts, "is not UTF-8"),
        ("x.txt", b"a", numbers, "is no file of numbers"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, content, model, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        unlabelled.read(str(tmp_path / name), model())


def test_an_image_of_another_size_is_refused(tmp_path):
    keras.utils.save_img(tmp_path / "a.png", np.zeros([4, 4, 1], np.uint8), scale=False)
    with pytest.raises(ValueError, match="is 4x4 and the model takes 2x3"):
        unlabelled.read(str(tmp_path / "a.png"), images())
