"""A folder of checkpoints: which steps it holds, and how one of them is deleted."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil

# One spelling for each step, or two directories could claim to be the same checkpoint.
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")
_UNFINISHED = re.compile(r"(unfinished|obsolete)-.*")


def path(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Where the checkpoint of a step lies, or would lie."""
    return folder / f"step-{step:08d}"


def steps(folder: pathlib.Path) -> list[int]:
    """The steps there are checkpoints of, newest first; whether they are whole, `trainer.storage.manifest` tells."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def delete(checkpoint: pathlib.Path) -> None:
    """Deletes a checkpoint."""
    # Renamed first: a deletion that is cut short must not leave a checkpoint that looks whole by its name.
    obsolete = checkpoint.with_name(f"obsolete-{checkpoint.name}")
    remove(obsolete)
    os.rename(checkpoint, obsolete)
    remove(obsolete)


def clean(folder: pathlib.Path) -> None:
    """Removes what a kill left behind in the middle of a save or a deletion."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _UNFINISHED.fullmatch(entry.name):
            remove(entry)


def remove(entry: pathlib.Path) -> None:
    """Removes a folder, a file or a link, but not what a link points to; what cannot be removed stays."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.unlink()
