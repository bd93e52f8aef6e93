"""Readers of the user's own files: each turns a path into `Raw`. Which one reads a path, its content decides."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import itertools
import os
import pathlib
from collections.abc import Callable

from ...settings import user_files
from .. import builtin
from ..examples import FileOptions, Raw
from ..tfds_prepare import NAME

__all__ = ["IMAGES", "TEXTS", "reader_of"]

Reader = Callable[[str, FileOptions], Raw]

FILES = {".csv": "table", ".npz": "npz", ".parquet": "table", ".tsv": "table"}
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
TEXTS = (".txt",)
# Where a prepared data set of TensorFlow Datasets has its description: below its configuration and version.
PREPARED = ("dataset_info.json", "*/dataset_info.json", "*/*/dataset_info.json")
# What to do about files that look like data.
REMEDIES = {
    ".gz": "unpack it first",
    ".npy": "write features and labels into one .npz with numpy.savez(path, x_train=..., y_train=...)",
    ".tar": "unpack it first",
    ".tgz": "unpack it first",
    ".xls": "save it as CSV",
    ".xlsx": "save it as CSV",
    ".zip": "unpack it first",
}
_EXPECTED = f"expected {', '.join(FILES)}, or a folder of images or of texts by class"
_LOOKED_AT = 1_000  # of the entries of a folder, until its kind is decided
_STRAYS = 0.1  # share of files of another kind that a folder may have


def reader_of(name: str) -> Reader | None:
    """Finds the reader of a path.

    A plain name is one of TensorFlow Datasets, unless a folder of that name holds images or texts by class here.

    Args:
      name: what the user gave as data set.

    Returns:
      The reader; None for a data set of TensorFlow Datasets: a name, or the folder of a prepared one.

    Raises:
      ValueError: the path is missing, empty or unreadable, or of no kind that can be read.
    """
    if not name or name in builtin.REGISTRY or name == builtin.SYNTHETIC:
        return None
    suffix = _suffix(name)
    written = os.sep in name or name.startswith("~") or suffix in FILES or suffix in REMEDIES
    if not written and not os.path.exists(name):
        return None
    path = user_files.local(name, "--dataset")
    if os.path.isdir(path):
        module = _folder(name, path, only=written or not NAME.fullmatch(name))
    elif not os.path.lexists(path):
        if NAME.fullmatch(name):
            return None
        raise ValueError(f"There is no file or folder `{user_files.shown(name)}`; check the path, or give a name.")
    elif (found := FILES.get(suffix)) is None:
        remedy = REMEDIES.get(suffix, "save the examples as one of these")
        raise ValueError(f"`{name}` is a file of no kind that can be read; {_EXPECTED}. For this one, {remedy}.")
    else:
        module = found
    if module is None:
        return None

    def read(path: str, options: FileOptions) -> Raw:
        # Imported when it is needed, because each brings libraries of its own.
        reader = importlib.import_module(f".{module}", __name__)
        return dataclasses.replace(reader.read(user_files.local(path, "--dataset"), options), name=path)

    return read


def _folder(name: str, path: str, only: bool) -> str | None:
    """Finds what reads a folder.

    Args:
      name: what the user gave.
      path: the folder.
      only: whether it cannot be the name of a data set too.

    Returns:
      A module; None for a prepared data set of TensorFlow Datasets, and for a name where the folder is something else.
    """
    if any(next(pathlib.Path(path).glob(pattern), None) for pattern in PREPARED):
        return None
    try:
        inside, beside = _suffixes(path)
    except OSError as error:
        raise ValueError(f"`{name}` cannot be read: {error.strerror} ({error.filename}); check it.") from None
    images, texts = (sum(inside[suffix] for suffix in suffixes) for suffixes in (IMAGES, TEXTS))
    # A folder of programs with a few texts is no data set.
    if images + texts > inside.total() / 2:
        if min(images, texts) > _STRAYS * (images + texts):
            raise ValueError(
                f"`{name}` holds {images:,} images and {texts:,} texts; expected one of the two. Move the others away."
            )
        return "images" if images > texts else "text"
    if not only:
        return None
    if loose := [suffix for suffix in (*IMAGES, *TEXTS) if beside[suffix]]:
        raise ValueError(
            f"`{name}` holds {loose[0]} files, but no folder for each class; expected folders as in "
            f"{name.rstrip('/')}/cat/1{loose[0]} and {name.rstrip('/')}/dog/2{loose[0]}."
        )
    if files := [suffix for suffix in FILES if beside[suffix] or inside[suffix]]:
        raise ValueError(f"`{name}` is a folder of {files[0]} files; give the path of one of them.")
    found = ", ".join(sorted({suffix or "files without a suffix" for suffix in (*inside, *beside)})[:5])
    what = f"holds {found}" if found else "is an empty folder"
    raise ValueError(f"`{name}` {what}; expected a folder for each class, of {', '.join((*IMAGES, *TEXTS))} files.")


def _suffixes(folder: str) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Counts the suffixes of files in folders, of classes or of parts and their classes; and of files beside these."""
    inside, beside = collections.Counter[str](), collections.Counter[str]()
    for entry in _entries(folder):
        if not entry.is_dir():
            beside[_suffix(entry.name)] += 1
            continue
        for below in _entries(entry.path):
            files = _entries(below.path) if below.is_dir() else [below]
            inside.update(_suffix(file.name) for file in files if file.is_file())
    return inside, beside


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Some of what a folder holds, without what is hidden."""
    with os.scandir(folder) as found:
        return list(itertools.islice((entry for entry in found if not entry.name.startswith(".")), _LOOKED_AT))


def _suffix(name: str) -> str:
    return pathlib.PurePath(name).suffix.lower()
