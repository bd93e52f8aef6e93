"""What lies at a path decides who reads it."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from trainer.data import readers
from trainer.data.examples import FileOptions


def made(folder: pathlib.Path, *files: str) -> str:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return str(folder)


def module(name: str) -> str | None:
    """The module that would read a path."""
    found = readers.reader_of(name)
    return None if found is None else found.__closure__[0].cell_contents


@pytest.mark.parametrize(
    "name", ["digits", "synthetic", "mnist", "mnist:3.0.1", "glue/mnli", "glue/mnli:1.0.0", "", "Digits", "os.system"]
)
def test_names_are_of_tensorflow_datasets(name):
    assert readers.reader_of(name) is None


@pytest.mark.parametrize("file", ["a.npz", "a.csv", "A.TSV", "a.b.parquet"])
def test_files_by_their_suffix(tmp_path, file):
    made(tmp_path, file)
    expected = "npz" if file.endswith("npz") else "table"
    assert module(str(tmp_path / file)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("cat/1.png", "dog/1.JPG"), "images"),
        (("train/cat/1.png", "test/cat/1.png"), "images"),
        (("train/1.png", "car/1.png"), "images"),
        (("train/cat/1.bmp", "val/cat/1.gif", "README.txt"), "images"),
        (("good/1.txt", "bad/1.txt", "cover.png"), "text"),
        (("train/good/1.txt", "validation/good/1.txt"), "text"),
        (("dataset_info.json", "a/1.png"), None),
        (("1.0.0/dataset_info.json",), None),
        (("config/1.0.0/dataset_info.json",), None),
    ],
)
def test_folders_by_what_they_hold(tmp_path, files, expected):
    assert module(made(tmp_path, *files)) == expected


def test_a_plain_name_may_be_a_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "flowers/rose/1.png", "digits/1/1.png", "mnist/notes/a.md")
    assert module("flowers") == module("flowers/") == "images"
    assert module("digits") is None  # The project's own names stay what they are.
    assert module("mnist") is None
    with pytest.raises(ValueError, match=r"`\./mnist` holds \.md"):
        readers.reader_of("./mnist")


def test_a_folder_of_a_class_may_be_a_link(tmp_path):
    made(tmp_path / "elsewhere", "cat/1.png")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "elsewhere" / "cat", tmp_path / "data" / "cat")
    assert module(str(tmp_path / "data")) == "images"


REFUSED = {
    "missing.npz": "no file or folder .*missing.npz",
    "./nowhere": "no file or folder",
    "../Data/train": "no file or folder",
    "gs://bucket/a.npz": "is an address",
    "a\nb/c": "control character",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_path_without_anything_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=REFUSED[name]):
        readers.reader_of(name)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "is an empty folder; expected a folder for each class"),
        (("1.png", "2.png"), r"holds \.png files, but no folder for each class; expected folders as in .*cat/1\.png"),
        (("a/1.png", "b/1.txt"), "holds 1 images and 1 texts; expected one of the two"),
        (("a.csv",), r"is a folder of \.csv files; give the path of one of them"),
        (("a/1.py", "a/2.py", "b/a.txt"), r"holds \.py, \.txt; expected"),
        (("a/1.md", "b/c"), r"holds \.md, files without a suffix; expected"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, files, words):
    with pytest.raises(ValueError, match=words):
        readers.reader_of(made(tmp_path / "folder", *files) if files else str(tmp_path))


@pytest.mark.parametrize(
    ("file", "words"), [("a.npy", "numpy.savez"), ("a.xlsx", "save it as CSV"), ("a.zip", "unpack"), ("a.h5", "one of")]
)
def test_a_file_of_another_kind_is_refused_with_the_remedy(tmp_path, file, words):
    made(tmp_path, file)
    with pytest.raises(ValueError, match=rf"{file}.* no kind that can be read; expected \.csv, .*{words}"):
        readers.reader_of(str(tmp_path / file))


def test_a_folder_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "data").mkdir(mode=0)
    if os.access(tmp_path / "data", os.R_OK):
        pytest.skip("This user may read everything.")
    with pytest.raises(ValueError, match="cannot be read: Permission denied"):
        readers.reader_of(str(tmp_path / "data"))


def test_a_path_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "a.npz", x_train=np.eye(3), y_train=np.arange(3))
    assert readers.reader_of("~/a.npz")("~/a.npz", FileOptions()).name == "~/a.npz"
