"""What lies in the place of a small file is read, or refused at once."""

from __future__ import annotations

import os
import socket

import pytest

from trainer.storage import files


def a_pipe(path):
    os.mkfifo(path)


def a_folder(path):
    path.mkdir()


def a_device(path):
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def a_link(path):
    path.with_name("content").write_text("{}")
    path.symlink_to("content")


def a_dangling_link(path):
    path.symlink_to("nowhere")


def a_loop(path):
    path.symlink_to(path)


def nothing(path):
    assert not path.exists()


STRANGE = [a_pipe, a_folder, a_device, a_socket, a_link, a_dangling_link, a_loop, nothing]
DAMAGED = {
    "empty": b"",
    "cut short": b'{"a": ',
    "not UTF-8": b'{"a": "\xff"}',
    "nested lists": b"[" * 100_000 + b"]" * 100_000,
    "nested dictionaries": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of too many digits": b"9" * 5000,
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("make", STRANGE)
def test_what_is_no_file_is_an_error_of_the_system_and_no_wait(tmp_path, make):
    try:
        make(tmp_path / "x.json")
    except PermissionError:
        pytest.skip("only root makes devices")
    for read in (files.opened, files.text, files.document):
        with pytest.raises(OSError, match=r"x\.json"):
            read(tmp_path / "x.json")


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_document_is_a_value_error(tmp_path, name):
    (tmp_path / "x.json").write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match=r"\w"):
        files.document(tmp_path / "x.json")


def test_gigabytes_are_not_read(tmp_path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 10,000,000 bytes"):
        files.text(tmp_path / "x.json")


def test_a_document_is_read(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ["ü", 1]}')
    assert files.text(tmp_path / "x.json") == '{"a": ["ü", 1]}'
    assert files.document(tmp_path / "x.json") == {"a": ["ü", 1]}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "run.json"
    files.write_atomically(file, "old")

    def torn(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", torn)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(file, "new")
    assert file.read_text() == "old"
