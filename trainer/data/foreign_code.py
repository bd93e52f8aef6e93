"""Prepared data sets from elsewhere are data: what TFDS would import, wait for or look up elsewhere is refused.

TFDS imports the modules that `features.json` names, in each of its forms (messages, the older `type` and `content`,
JSON within a string of JSON), at any depth. All forms look a class up by its name in one place, which is watched here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST_DESCRIPTION = 64 * 2**20  # bytes; the largest of TFDS's own, with all its label names, has a few million
_DESCRIPTIONS = (".json", ".txt")


def refuse_code() -> None:
    """Lets TFDS find only features that are defined already, in this process from now on."""
    from tensorflow_datasets.core.features import class_label_feature, feature

    connector = feature.FeatureConnector
    if getattr(connector.cls_from_name, "__func__", None) is not _known_class:
        connector.cls_from_name = classmethod(_known_class)
        class_label_feature._load_names_from_file = _checked(class_label_feature._load_names_from_file)


def check_files(folder: Path) -> None:
    """Raises ValueError for a pipe or a device in the folders of a data set, or a description that is too large."""
    for path in _paths(folder):
        _check_file(path)


def check_splits(found: Any) -> None:
    """Raises ValueError where the records of an opened data set lie anywhere but in its folder."""
    place = os.path.abspath(os.fspath(found.data_dir))
    for split in found.info.splits.values():
        for path in split.filepaths:
            if os.path.dirname(os.path.abspath(os.fspath(path))) != place:
                raise ValueError(
                    f"Data set `{found.name}` in {place} is damaged: split {split.name} names {path}, which lies "
                    "elsewhere; remove that folder."
                )


def _known_class(cls: Any, python_class_name: str) -> Any:
    found = cls._registered_features.get(python_class_name)
    if found is None:
        raise ValueError(f"it names code that is not TFDS's own, {python_class_name[:200]}; remove that folder")
    return found


def _checked(load: Any) -> Any:
    def checked(path: Any) -> Any:
        if os.path.lexists(path):  # Where it is not there, TFDS says so itself.
            _check_file(Path(path))
        return load(path)

    return checked


def _check_file(path: Path) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path} is damaged, {error.strerror}; remove it.") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is damaged: it is no file but a pipe, a device or a folder; remove it.")
    if path.suffix in _DESCRIPTIONS and status.st_size > LARGEST_DESCRIPTION:
        raise ValueError(f"{path} is damaged: a description of {status.st_size:,} bytes; remove {path.parent}.")


def _paths(folder: Path) -> Iterator[Path]:
    # Below name/version and name/config/version TFDS reads nothing.
    for depth in ("*", "*/*", "*/*/*"):
        for path in folder.glob(depth):
            if not path.is_dir():
                yield path
