"""Checkpoints on the disk: their names, the manifest that makes one whole, and how one is deleted.

A manifest holds the checksum of each file beside it. It has one spelling, so that no change to it goes unnoticed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
from typing import Any

from . import files

MANIFEST = "manifest.json"
PREFIX = "state"
# Where in the training data the run is, for data that is read as a stream.
POSITION = "position"
# Accuracy and loss.
Score = tuple[float, float]
# One spelling for each step, or two directories could claim to be the same checkpoint.
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")
_UNFINISHED = re.compile(r"(unfinished|obsolete)-.*")
_PART = re.compile(rf"({PREFIX}|{POSITION})\.(index|data-[0-9]{{5}}-of-[0-9]{{5}})")


def path(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Where the checkpoint of a step lies, or would lie."""
    return folder / f"step-{step:08d}"


def steps(folder: pathlib.Path) -> list[int]:
    """The steps there are checkpoints of, newest first; whether they are whole, `problem` tells."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def complete(checkpoint: pathlib.Path, step: int, run: str, score: Score | None = None) -> None:
    """Adds the manifest to the files of a step, and has everything written to the disk.

    Args:
      checkpoint: the folder they are in.
      step: it is of.
      run: it is of; "" where that does not matter.
      score: what the weights reached, where they were evaluated.
    """
    manifest: dict[str, Any] = {"step": step, **({"run": run} if run else {})}
    if score is not None:
        manifest["score"] = {"value": score[0], "loss": score[1]}
    manifest["files"] = {file.name: files.checksum(file) for file in sorted(checkpoint.iterdir())}
    (checkpoint / MANIFEST).write_text(serialised(manifest))
    for file in checkpoint.iterdir():
        files.sync(file)
    files.sync(checkpoint)


def problem(checkpoint: pathlib.Path, step: int, run: str = "") -> str | None:
    """Says what is wrong with a checkpoint's files, or None."""
    if checkpoint.is_symlink():
        return "it is a symbolic link, which is not followed"
    if not checkpoint.exists():
        return "it is missing"
    try:
        text = files.text(checkpoint / MANIFEST)
        manifest = json.loads(text)
        named = dict(manifest["files"])
        if manifest["step"] != step:
            return f"its manifest speaks of step {manifest['step']}"
        if run and manifest.get("run", run) != run:
            return "it is another run's"
        whole = text == serialised(manifest) and all(_PART.fullmatch(name) for name in named)
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its manifest is damaged"
    present = {file.name for prefix in (PREFIX, POSITION) for file in checkpoint.glob(f"{prefix}.*")}
    if not whole or f"{PREFIX}.index" not in named or not present <= named.keys():
        return "its manifest is damaged"
    for name, expected in named.items():
        try:
            if files.checksum(checkpoint / name) != expected:
                return f"{name} is damaged"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def serialised(manifest: dict) -> str:
    """The text of a manifest."""
    return json.dumps(manifest, indent=2) + "\n"


def score(checkpoint: pathlib.Path) -> Score | None:
    """A score, better when it is higher, and the loss of the weights; None where the manifest says neither."""
    try:
        said = files.document(checkpoint / MANIFEST)["score"]
        return float(said["value"]), float(said["loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
