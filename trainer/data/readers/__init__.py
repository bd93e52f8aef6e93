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
PARTS = ("train", "validation", "val", "test")
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
_LOOKED_AT = 1_000  # files of each class, until the kind of a folder is decided
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
    suffix = pathlib.PurePath(name).suffix.lower()
    if name in builtin.REGISTRY or name == builtin.SYNTHETIC:
        return None
    plain = os.sep not in name and suffix not in FILES and suffix not in REMEDIES
    if not name or (plain and not name.startswith("~") and not os.path.isdir(name)):
        return None
    path = user_files.local(name, "--dataset")
    if os.path.isdir(path):
        module = _folder(name, pathlib.Path(path), plain)
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


def _folder(name: str, path: pathlib.Path, plain: bool) -> str | None:
    """The module that reads a folder; None for one of TensorFlow Datasets, and for a plain name that fits nothing."""
    if any(next(path.glob(pattern), None) for pattern in PREPARED):
        return None
    try:
        inside, beside = _suffixes(path)
    except OSError as error:
        raise ValueError(f"`{name}` cannot be read: {error.strerror} ({error.filename}); check it.") from None
    images, texts = (sum(inside[suffix] for suffix in suffixes) for suffixes in (IMAGES, TEXTS))
    if images + texts:
        if min(images, texts) > _STRAYS * (images + texts):
            raise ValueError(
                f"`{name}` holds {images:,} images and {texts:,} texts; expected one of the two. Move the others away."
            )
        return "images" if images > texts else "text"
    if plain:
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


def _suffixes(folder: pathlib.Path) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Counts the suffixes of files inside the folders of classes, and of those beside these folders."""
    parts = [part for part in PARTS if (folder / part).is_dir()]
    inside, beside = collections.Counter[str](), collections.Counter[str]()
    for above in [folder / part for part in parts] if "train" in parts else [folder]:
        for entry in sorted(above.iterdir()):
            if not entry.is_dir():
                beside[entry.suffix.lower()] += 1
                continue
            found = (pathlib.PurePath(file).suffix.lower() for _, _, files in os.walk(entry) for file in files)
            inside.update(itertools.islice(found, _LOOKED_AT))
    return inside, beside
