"""What a user may name as a file, and what is refused without waiting for it."""

from __future__ import annotations

import os

import pytest

from trainer.settings import user_files


def read(path) -> str:
    return user_files.read_text(str(path), "--rules", "a TOML file", limit=1000)


def refused(path) -> str:
    with pytest.raises(ValueError, match=r"^--rules=.*\.$") as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb\n", "a\nb\n"),
        (b"a\r\nb\r", "a\nb\n"),
        (b"\xef\xbb\xbfa", "a"),
        ("é".encode(), "é"),
        (b"", ""),
        (b"x" * 1000, "x" * 1000),
    ],
)
def test_text(tmp_path, content, text):
    (tmp_path / "file").write_bytes(content)
    assert read(tmp_path / "file") == text
    (tmp_path / "link").symlink_to("file")
    assert read(tmp_path / "link") == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\xe9", "byte 0xe9 at 1; save it as UTF-8"),
        ("a".encode("utf-16"), "UTF-16 or binary"),
        (b"a\0b", "UTF-16 or binary"),
        (b"x" * 1001, "no file of at most 1,000 bytes"),
    ],
)
def test_what_is_no_text(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    assert words in refused(tmp_path / "file")


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "/dev/null", "/proc/self/mem", "nowhere", "loop"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / kind.strip("/").replace("/", "_")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind.startswith("/"):
        path.symlink_to(kind)
    message = refused(path)
    assert "give the path of a TOML file" in message or "cannot be a path" in message


def test_a_pipe_is_refused_while_somebody_writes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(writer, b"text")
    assert "no file of at most" in refused(tmp_path / "pipe")
    os.close(writer)


def test_a_path_of_this_machine(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_files.local("~/x", "--x") == "/home/me/x"
    assert user_files.local("a:b/c d", "--x") == "a:b/c d"
    assert user_files.local("./gs:/x", "--x") == "./gs:/x"


def test_a_bare_name_is_that_of_a_preset_where_there_is_no_such_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "[[rule]]" in user_files.read_text("annealed", "--rules", "a TOML file")
    assert "--max_value=2" in user_files.read_text("maxnorm_dense", "--flagfile", "a file with a flag a line")
    (tmp_path / "annealed").write_text("mine")
    assert user_files.read_text("annealed", "--rules", "a TOML file") == "mine"
    for path in ("./six_rules_resnet", "maxnorm_dense", "six_rules_resnet.toml"):
        with pytest.raises(ValueError, match="No such file or directory; give the path of a TOML file"):
            user_files.read_text(path, "--rules", "a TOML file")
    with pytest.raises(ValueError, match=r"or one of annealed, six_rules_resnet, six_rules_transformer\.$"):
        user_files.read_text("six_rules", "--rules", "a TOML file")
