"""Folders of texts: what is read, and what is refused in a sentence."""

from __future__ import annotations

import builtins

import pytest

from tests.support import media
from trainer.data import dataset
from trainer.data.examples import TEXT, FileOptions
from trainer.data.readers import text


def read(root):
    return text.read(str(root), FileOptions())


def test_texts_are_read_class_by_class(tmp_path):
    raw = read(media.texts(tmp_path, {"good": ["so gut", "naïve ☺"], "bad": ["schlecht"]}))
    assert (raw.kind, raw.classes, raw.warnings) == (TEXT, ("bad", "good"), ())
    train = raw.parts["train"]
    assert train.features.tolist() == ["schlecht", "so gut", "naïve ☺"]
    assert train.labels.tolist() == [0, 1, 1]


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path):
    media.texts(tmp_path)
    (tmp_path / "bad" / "0.txt").write_bytes(b"\xef\xbb\xbfdull")
    assert read(tmp_path).parts["train"].features[0] == "dull"


def test_empty_texts_are_examples_that_the_run_warns_of(tmp_path):
    media.texts(tmp_path, {"a": ["", "x"], "b": [" \n", "y"]})
    raw = read(tmp_path)
    assert raw.parts["train"].num_examples == 4
    assert len(raw.warnings) == 1
    assert raw.warnings[0].startswith("2 texts are empty, the first is")


def test_a_fingerprint_follows_from_names_and_contents(tmp_path):
    prints = [read(media.texts(tmp_path / "one")).fingerprint, read(media.texts(tmp_path / "two")).fingerprint]
    assert prints[0] == prints[1]
    (tmp_path / "two" / "bad" / "0.txt").write_text("a dull filn")
    (tmp_path / "one" / "bad" / "0.txt").rename(tmp_path / "one" / "bad" / "2.txt")
    assert len({prints[0], read(tmp_path / "one").fingerprint, read(tmp_path / "two").fingerprint}) == 3


def test_text_that_is_not_utf_8_is_named_with_the_byte(tmp_path):
    media.texts(tmp_path)
    (tmp_path / "good" / "0.txt").write_bytes("ein größerer Film".encode("latin-1"))
    with pytest.raises(ValueError, match=r"good/0.txt` is not UTF-8: byte 6 is 0xf6; save it as UTF-8"):
        read(tmp_path)


def test_a_text_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    media.texts(tmp_path)

    def forbidden(path, *arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", forbidden)
    with pytest.raises(ValueError, match=r"0.txt` cannot be read: Permission denied"):
        read(tmp_path)


def test_more_text_than_memory_is_refused(tmp_path, monkeypatch):
    media.texts(tmp_path)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 20)
    with pytest.raises(ValueError, match="has 27 bytes of text, and at most 20 are read into memory"):
        read(tmp_path)
