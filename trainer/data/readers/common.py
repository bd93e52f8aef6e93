"""What all readers of a single file share: a look at the file, its content, and options of other kinds of data."""

from __future__ import annotations

import dataclasses
import os
import stat
import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np

from ..examples import FileOptions


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading.

    Raises:
      ValueError: it is missing, no regular file, not readable, or empty.
    """
    try:
        # Without waiting, because opening a pipe waits for its writer; what was opened is then looked at.
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115
    except OSError as error:
        raise ValueError(f"`{path}` cannot be read: {error.strerror}; check the path and the permissions.") from None
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return file
    file.close()
    what = "is empty" if stat.S_ISREG(found.st_mode) else "is no regular file"
    raise ValueError(f"`{path}` {what}; give the path of a file that holds examples.")


def fingerprint(file: BinaryIO) -> str:
    """A checksum of a file's content, which leaves the file at its beginning.

    It finds changes by accident. It does not protect against a forged file.
    """
    checksum, size = 0, 0
    file.seek(0)
    while block := file.read(2**20):
        checksum, size = zlib.crc32(block, checksum), size + len(block)
    file.seek(0)
    return f"{checksum:08x}-{size}"


def check_options(name: str, what: str, options: FileOptions, taken: Iterable[str] = ()) -> None:
    """Raises ValueError for an option that belongs to another kind of data.

    Args:
      name: the file, for the message.
      what: what the file is, for the message.
      options: what the user says of it.
      taken: the options that serve a file of this kind.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default and field.name not in taken:
            written = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise ValueError(f"--{field.name}={written} does not apply to `{name}`, which is {what}; leave it out.")


def too_large(array: np.ndarray) -> np.ndarray:
    """Marks the values that are not finite in float32, the type that networks compute in."""
    if array.dtype.kind != "f":
        return np.zeros(array.shape, bool)
    with np.errstate(over="ignore"):
        return ~np.isfinite(array.astype(np.float32, copy=False))


def weights_of(values: np.ndarray, where: str, row: Callable[[int], int]) -> np.ndarray:
    """Returns weights of examples [n] as float32.

    Args:
      values: [n] numbers.
      where: the file and the array or column, for messages.
      row: the number that a row has in the file, for messages.

    Raises:
      ValueError: a weight is negative or not finite, or all are 0.
    """
    with np.errstate(over="ignore"):
        weights = values.astype(np.float32)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise ValueError(
            f"{where} holds the weight {values[bad[0]]} in row {row(int(bad[0]))}; expected finite numbers of at "
            "least 0."
        )
    if not weights.any():
        raise ValueError(f"{where} holds the weight 0 in every row, so that no example counts; mend the weights.")
    return weights
