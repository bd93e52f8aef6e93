"""Folders of files by class: what is found, and what is refused in a sentence."""

from __future__ import annotations

import os
import shutil

import pytest

from trainer.data.readers import folders

ENDINGS = (".text", ".txt")


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def listed(root):
    return folders.listed(str(root), ENDINGS, "text")


def test_classes_and_files_are_in_the_order_of_their_names(tmp_path):
    fill(tmp_path, "b/2.txt", "b/10.txt", "a/z.TXT", "a/.hidden", ".cache/x")
    parts, classes = listed(tmp_path)
    assert classes == ("a", "b")
    assert [os.path.relpath(path, tmp_path) for path in parts["train"].paths] == ["a/z.TXT", "b/10.txt", "b/2.txt"]
    assert parts["train"].labels.tolist() == [0, 1, 1]


def test_parts_lie_above_the_classes(tmp_path):
    fill(tmp_path, "train/a/1.txt", "train/b/1.txt", "train/c/1.txt", "val/c/1.txt", "test/a/1.txt", "test/b/1.text")
    parts, classes = listed(tmp_path)
    assert classes == ("a", "b", "c")
    assert {part: files.labels.tolist() for part, files in parts.items()} == {
        "train": [0, 1, 2],
        "validation": [2],
        "test": [0, 1],
    }


def test_a_class_may_be_called_train(tmp_path):
    assert listed(fill(tmp_path, "train/1.txt", "bus/1.txt"))[1] == ("bus", "train")


def test_a_link_to_a_folder_is_a_class(tmp_path):
    fill(tmp_path, "data/a/1.txt", "elsewhere/1.txt")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "data")[1] == ("a", "b")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "` is empty; give a folder that holds a folder for each class"),
        (["a/1.txt"], "has one class, `a`, so there is nothing to tell apart"),
        (["a/1.txt", "b/"], "The class `.*/b` has no text; add some, or remove the folder"),
        (["a/1.txt", "b/.hidden"], "The class `.*/b` has no text"),
        (["a/1.txt", "b/1.txt", "notes.txt"], r"notes.txt` is no folder of a class; expected CLASS/\*.txt"),
        (["a/1.txt", "b/1.csv"], "b/1.csv` is no text: expected a name in .text, .txt; move it away"),
        (["a/1.txt", "b/c/1.txt"], "b/c` is a folder within a class"),
        (["train/a/1.txt", "train/b/1.txt", "other/a/1.txt"], "other` lies beside `train/`"),
        (["train/a/1.txt", "train/b/1.txt", "train/1.txt"], "train/1.txt` is no folder of a class"),
        (["train/a/1.txt", "train/b/1.txt", "val/a/1.txt", "validation/a/1.txt"], "both `val/` and `validation/`"),
        (["test/a/1.txt", "test/b/1.txt"], "has `test/` and no `train/`"),
        (["train/a/1.txt", "train/b/1.txt", "test/c/1.txt"], "has the class `c`, which `.*/train` does not have"),
        (["train/a/1.txt", "train/b/1.txt", "test/"], "test` is empty; expected"),
    ],
)
def test_what_is_no_folder_of_classes_is_refused_in_a_sentence(names, words, tmp_path):
    for name in names:
        (tmp_path / name).mkdir(parents=True) if name.endswith("/") else fill(tmp_path, name)
    with pytest.raises(ValueError, match=words):
        listed(tmp_path)


def test_links_that_lead_nowhere_are_refused_in_a_sentence(tmp_path):
    fill(tmp_path, "a/1.txt", "b/1.txt")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    with pytest.raises(ValueError, match="c` cannot be read: Too many levels of symbolic links"):
        listed(tmp_path)
    (tmp_path / "c").unlink()
    (tmp_path / "c").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="c/a` is a folder within a class"):
        listed(tmp_path)
    (tmp_path / "c").unlink()
    (tmp_path / "b" / "2.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"2.txt` is no file that can be read, or a link to nothing"):
        listed(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    fill(tmp_path, "a/1.txt", "b/1.txt")
    os.mkfifo(tmp_path / "b" / "2.txt")
    with pytest.raises(ValueError, match=r"2.txt` is no file"):
        listed(tmp_path)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere` is no folder; give one"):
        listed(tmp_path / "nowhere")
    fill(tmp_path, "file")
    with pytest.raises(ValueError, match="file` is no folder; give one"):
        listed(tmp_path / "file")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    fill(tmp_path, "a/1.txt", "b/1.txt")

    def forbidden(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(ValueError, match="b` cannot be read: Permission denied; mend it"):
        listed(tmp_path)


def test_names_that_are_no_text_can_be_printed(tmp_path):
    fill(tmp_path, "a/1.txt")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(ValueError, match=r"\\udcff` has no text") as caught:
        listed(tmp_path)
    str(caught.value).encode()
    shutil.rmtree(os.fsencode(tmp_path) + b"/\xff")
