"""Reads a folder of texts by class."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...runtime.progress import progress
from ..examples import TEXT, Examples, FileOptions, Raw
from . import TEXTS, folders


def read(path: str, options: FileOptions) -> Raw:
    """Reads `CLASS/*.txt`, or the same below `train/`, `validation/` or `val/`, and `test/`.

    Classes are numbered in the order of their names. A text is UTF-8, with a byte order mark or without. An empty file
    is an example without words, because new data may have such too; the run warns of their number.

    Args:
      path: the folder.
      options: nothing of it concerns texts here.

    Returns:
      Features [n] of `str` objects: in an array of fixed width every text would take as much as the longest.

    Raises:
      ValueError: what `folders.listed` raises; a file that cannot be read or is not UTF-8; more text than fits into
        memory.
    """
    from .. import dataset

    del options
    parts, classes = folders.listed(path, TEXTS, "text")
    paths = [name for files in parts.values() for name in files.paths]
    if (size := sum(map(os.path.getsize, paths))) > dataset.MEMORY_LIMIT:
        raise ValueError(
            f"`{folders.shown(path)}` has {size:,} bytes of text, and at most {dataset.MEMORY_LIMIT:,} are read into "
            "memory; give fewer texts."
        )
    checksum, empty, examples = 0, list[str](), {}
    with progress("reading texts", len(paths), "texts") as reached, ThreadPoolExecutor() as pool:
        contents = pool.map(folders.content, paths)
        done = 0
        for part, files in parts.items():
            features = np.empty(len(files.paths), object)
            for place, name in enumerate(files.paths):
                raw = next(contents)
                features[place] = _decoded(name, raw)
                if not features[place].strip():
                    empty.append(name)
                line = os.fsencode(os.path.relpath(name, path)) + b"\0%d\0" % len(raw)
                checksum = zlib.crc32(raw, zlib.crc32(line, checksum))
                reached(done := done + 1)
            examples[part] = Examples(len(features), features, files.labels)
    warnings: tuple[str, ...] = ()
    if empty:
        number = "1 text is" if len(empty) == 1 else f"{len(empty):,} texts are"
        warnings = (f"{number} empty, the first is `{folders.shown(empty[0])}`.",)
    return Raw(path, TEXT, examples, classes, f"{checksum:08x}", warnings)


def content(path: str) -> str:
    """The text of a file.

    Raises:
      ValueError: it cannot be read, or is not UTF-8.
    """
    return _decoded(path, folders.content(path))


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`{folders.shown(path)}` is not UTF-8: byte {error.start:,} is 0x{content[error.start]:02x}; save it as "
            "UTF-8."
        ) from None
