"""Reads the files of a run directory, whatever lies in their place, and writes them whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator
from typing import Any

# Bytes; no file of settings or checksums is nearly as large.
LARGEST = 10_000_000
_OPEN_FOLDERS = pathlib.Path("/proc/self/fd")


def opened(path: pathlib.Path) -> io.BufferedReader:
    """Opens a regular file for reading.

    Args:
      path: the file; a symbolic link is not followed.

    Raises:
      OSError: there is no such file, or there is something else in its place; nothing is waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is not a file", str(path))
    return open(descriptor, "rb")


def text(path: pathlib.Path) -> str:
    """The content of a small file.

    Raises:
      OSError: as `opened`.
      ValueError: the file is larger than `LARGEST` bytes, or not UTF-8.
    """
    with opened(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST:,} bytes")
    return content.decode()


def document(path: pathlib.Path) -> Any:
    """The content of a small JSON file.

    Raises:
      OSError: as `opened`.
      ValueError: as `text`, or the file is not JSON, or its lists are nested too deeply.
    """
    try:
        return json.loads(text(path))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


def is_pattern(path: pathlib.Path) -> bool:
    """Whether TensorFlow takes a path for a pattern, which it may not match itself."""
    return re.search(r"[*?\[\\]", str(path)) is not None


@contextlib.contextmanager
def plain(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Another path to a folder, which is no pattern: TensorFlow finds checkpoints by patterns, and escapes nothing.

    Args:
      folder: the folder.

    Yields:
      A path to it that holds while the block runs.
    """
    if not is_pattern(folder):
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _OPEN_FOLDERS / str(descriptor)
    finally:
        os.close(descriptor)


def problem_of_name(path: pathlib.Path) -> str | None:
    """Says why a path cannot be that of a run directory; None where it can.

    Control characters and bytes that are not UTF-8 are refused with the settings, see `trainer.settings.user_files`.
    """
    if str(path) != str(path).rstrip():
        # `flags.txt` has a flag a line, and absl strips each line.
        return "flags.txt cannot say a space at the end"
    if is_pattern(path) and not _OPEN_FOLDERS.is_dir():
        return "TensorFlow takes it for a pattern on this system, because of one of the characters * ? [ \\"
    return None


def checksum(path: pathlib.Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    with opened(path) as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot do that for a folder, and say so.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part."""
    new = path.with_name(path.name + ".new")
    try:
        # Made anew, so that neither a link nor a pipe of that name is written through.
        new.unlink(missing_ok=True)
        with open(new, "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
