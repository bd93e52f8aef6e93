"""Reads the files of a run directory, whatever lies in their place: a pipe, a device, a link, gigabytes or noise."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
from typing import Any, BinaryIO

# Bytes; no file of settings or checksums is nearly as large.
LARGEST = 10_000_000


def opened(path: pathlib.Path) -> BinaryIO:
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
