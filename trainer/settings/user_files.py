"""Paths and small text files that a user names: local, regular, of a bounded size, in UTF-8."""

from __future__ import annotations

import codecs
import errno
import os
import pathlib
import re
import stat
import unicodedata

# Bytes; no settings file that people write is nearly as large.
LARGEST = 1_000_000

# The project's own files, in the wheel and in a checkout: each flag takes those of one suffix by their name.
_HOME = pathlib.Path(__file__).resolve().parents[2]
_PRESETS = (_HOME / "presets", _HOME / "scripts" / "presets")
_SUFFIXES = {"--flagfile": ".flags", "--rules": ".toml"}

# `gs://bucket`, also with one slash, as a path library shortens it.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_SHOWN = 100
# Control characters, half characters (bytes that are no UTF-8), and separators of lines and paragraphs.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def shown(text: str) -> str:
    """A text of any length as a message shows it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def check_text(text: str, what: str) -> None:
    """Raises ValueError for a text that one line of a UTF-8 file cannot hold as it is.

    Args:
      text: what the user wrote.
      what: the flag or key it was written for, for the message.
    """
    for character in text:
        if unicodedata.category(character) in _UNPRINTABLE:
            raise ValueError(
                f"{what}={shown(text)!r} holds {character!r}, a control character or a byte that is not UTF-8; "
                "write it without."
            )


def local(path: str, what: str) -> str:
    """A path of this machine, with `~` expanded.

    Args:
      path: what the user wrote.
      what: the flag or key it was written for, for the message.

    Raises:
      ValueError: an address such as `gs://bucket`, an unknown home, a control character, or a name too long.
    """
    check_text(path, what)
    if _ADDRESS.match(path):
        raise ValueError(
            f"{what}={shown(path)} is an address, and only paths of this machine work; copy the files here or mount "
            "them, and give that path."
        )
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ValueError(f"{what}={shown(path)} names no user's home; write ./{shown(path)} for a folder of that name.")
    try:
        os.lstat(expanded)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ValueError(f"{what}={shown(path)} cannot be a path: {error.strerror}; choose another.") from None
    return expanded


def presets(what: str) -> dict[str, str]:
    """The project's own files that a flag takes: name -> path."""
    found = [path for folder in _PRESETS for path in folder.glob(f"*{_SUFFIXES[what]}")] if what in _SUFFIXES else []
    return {path.stem: str(path) for path in sorted(found)}


def read_text(path: str, what: str, kind: str, limit: int = LARGEST) -> str:
    """Reads a small text file.

    Args:
      path: what the user wrote; where there is no such file, the name of one of `presets`.
      what: the flag it was written for, for the message.
      kind: what the file should be, for the message.
      limit: most bytes.

    Returns:
      Its text, with `\\n` between lines.

    Raises:
      ValueError: no regular file of at most `limit` bytes of UTF-8.
    """
    where = f"{what}={shown(path)}"
    opened = local(path, what)
    own = presets(what) if path.isidentifier() and not os.path.lexists(opened) else {}
    opened = own.get(path, opened)
    remedy = f"give the path of {kind}" + (f", or one of {', '.join(own)}." if own else ".")
    try:
        # Without waiting, because opening a pipe waits for its writer; what was opened is then looked at.
        with open(os.open(opened, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(limit + 1) if regular else b""
    except IsADirectoryError:
        regular, content = False, b""
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror}; {remedy}") from None
    if not regular or len(content) > limit:
        raise ValueError(f"{where} is no file of at most {limit:,} bytes; give the path of {kind}.")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ValueError(f"{where} is not UTF-8 text (UTF-16 or binary); save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where} is not UTF-8 text: byte {content[error.start]:#x} at {error.start}; save it as UTF-8."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
