"""Folders of files by class: which files there are, in which part and of which class."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

# Names of the folders above the classes, and the part that each holds.
PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """The files of one part: class by class, and each class in the order of the names.

    Attributes:
      paths: where each file is.
      labels: [n] int32, the number of each file's class.
    """

    paths: tuple[str, ...]
    labels: np.ndarray

    def kept(self, mask: np.ndarray) -> Files:
        """The files of a mask [n]."""
        return Files(tuple(path for path, one in zip(self.paths, mask, strict=True) if one), self.labels[mask])


def listed(root: str, endings: Sequence[str], what: str) -> tuple[dict[str, Files], tuple[str, ...]]:
    """Lists a folder of classes, or of `train/`, `validation/` or `val/`, and `test/` with the classes in each.

    Names that begin with a dot are passed over.

    Args:
      root: the folder.
      endings: what names of files end in, such as ".png".
      what: what a file holds, such as "image".

    Returns:
      The files of each part, "train" among them, and the names of the classes, in their order.

    Raises:
      ValueError: nothing to train on, or something that is no file of a class; the sentence says what and where.
    """
    layout = f"expected CLASS/*{endings[-1]}"
    found = _parts(root)
    by_class = {part: _classes(folder, endings, what, layout) for part, folder in found.items()}
    names = sorted(by_class["train"])
    if len(names) < 2:
        raise ValueError(
            f"`{found['train']}` has one class, `{names[0]}`, so there is nothing to tell apart; give each class a "
            "folder of its own."
        )
    numbers = {name: number for number, name in enumerate(names)}
    parts = {}
    for part, classes in by_class.items():
        if unknown := sorted(set(classes) - set(names)):
            raise ValueError(
                f"`{found[part]}` has the class `{shown(unknown[0])}`, which `{found['train']}` does not have; its "
                f"classes are {', '.join(map(shown, names[:10]))}{', ...' if len(names) > 10 else ''}."
            )
        paths = tuple(path for name in sorted(classes) for path in classes[name])
        labels = np.repeat(
            np.asarray([numbers[name] for name in sorted(classes)], np.int32),
            [len(classes[name]) for name in sorted(classes)],
        )
        parts[part] = Files(paths, labels)
    return parts, tuple(names)


def has_ending(name: str, endings: Sequence[str]) -> bool:
    """Whether a name ends in one of these, in upper or lower case."""
    return name.lower().endswith(tuple(endings))


def shown(name: str) -> str:
    """A name that can be printed, whatever bytes the file system has in it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _parts(root: str) -> dict[str, str]:
    """The folders that hold classes, by part."""
    if not os.path.isdir(root):
        raise ValueError(f"`{shown(root)}` is no folder; give one that holds a folder for each class.")
    entries = _entries(root)
    if not entries:
        raise ValueError(f"`{shown(root)}` is empty; give a folder that holds a folder for each class.")
    named = {entry.name: entry for entry in entries if entry.name in PARTS and _is_folder(entry)}
    # A class may be called `train`; then its folder holds files.
    above = [name for name, entry in named.items() if any(map(_is_folder, _entries(entry.path)))]
    if not above:
        return {"train": root}
    if "train" not in above:
        raise ValueError(f"`{shown(root)}` has `{above[0]}/` and no `train/` with classes in it; add one.")
    if {"validation", "val"} <= set(named):
        raise ValueError(f"`{shown(root)}` has both `val/` and `validation/`; leave one of them out.")
    for entry in entries:
        if entry.name not in named:
            raise ValueError(
                f"`{shown(entry.path)}` lies beside `train/`; expected `train/`, `validation/` (or `val/`) and `test/` "
                "alone, so move it away."
            )
    return {PARTS[name]: entry.path for name, entry in named.items()}


def _classes(folder: str, endings: Sequence[str], what: str, layout: str) -> dict[str, list[str]]:
    """The files of each class of a folder."""
    classes = {}
    for entry in _entries(folder):
        if not _is_folder(entry):
            raise ValueError(f"`{shown(entry.path)}` is no folder of a class; {layout}, so move it into one, or away.")
        classes[entry.name] = _files(entry, endings, what, layout)
    if not classes:
        raise ValueError(f"`{shown(folder)}` is empty; {layout}.")
    return classes


def _files(folder: os.DirEntry[str], endings: Sequence[str], what: str, layout: str) -> list[str]:
    entries = _entries(folder.path)
    for entry in entries:
        if _is_folder(entry):
            raise ValueError(f"`{shown(entry.path)}` is a folder within a class; {layout}, so move its files up.")
        if not has_ending(entry.name, endings):
            listed = ", ".join(endings)
            raise ValueError(f"`{shown(entry.path)}` is no {what}: expected a name in {listed}; move it away.")
        if not entry.is_file():
            raise ValueError(f"`{shown(entry.path)}` is no file that can be read, or a link to nothing; remove it.")
    if not entries:
        raise ValueError(f"The class `{shown(folder.path)}` has no {what}; add some, or remove the folder.")
    return [entry.path for entry in entries]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What a folder holds, by name, without what is hidden."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # A link that leads to itself.
        raise unreadable(entry.path, error) from None


def content(path: str) -> bytes:
    """The bytes of a file; raises ValueError where the system does not let it be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str | pathlib.Path, error: OSError) -> ValueError:
    """What to raise when the system does not let a path be read."""
    return ValueError(f"`{shown(str(path))}` cannot be read: {error.strerror}; mend it, or move it away.")
