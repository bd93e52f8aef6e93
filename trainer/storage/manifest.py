"""What makes a checkpoint whole: a manifest with the checksum of each of its files, all of it on the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import re
from typing import Any

from . import files

MANIFEST = "manifest.json"
PREFIX = "state"
# Accuracy and loss.
Score = tuple[float, float]
_PART = re.compile(rf"{PREFIX}\.(index|data-[0-9]{{5}}-of-[0-9]{{5}})")


def complete(folder: pathlib.Path, step: int, run: str, score: Score | None = None) -> None:
    """Adds the manifest to the files of a step, and has everything written to the disk.

    Args:
      folder: where they are.
      step: it is of.
      run: it is of; "" where that does not matter.
      score: what the weights reached, where they were evaluated.
    """
    manifest: dict[str, Any] = {"step": step, **({"run": run} if run else {})}
    if score is not None:
        manifest["score"] = {"accuracy": score[0], "loss": score[1]}
    manifest["files"] = {file.name: fingerprint(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(serialised(manifest))
    for file in folder.iterdir():
        sync(file)
    sync(folder)


def problem(path: pathlib.Path, step: int, run: str = "") -> str | None:
    """Says what is wrong with a checkpoint's files, or None."""
    if path.is_symlink():
        return "it is a symbolic link, which is not followed"
    if not path.exists():
        return "it is missing"
    try:
        text = files.text(path / MANIFEST)
        manifest = json.loads(text)
        named = dict(manifest["files"])
        if manifest["step"] != step:
            return f"its manifest speaks of step {manifest['step']}"
        if run and manifest.get("run", run) != run:
            return "it is another run's"
        if text != serialised(manifest) or not all(_PART.fullmatch(name) for name in named):
            return "its manifest is damaged"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its manifest is damaged"
    if f"{PREFIX}.index" not in named or any(file.name not in named for file in path.glob(f"{PREFIX}.*")):
        return "its manifest is damaged"
    for name, expected in named.items():
        file = path / name
        try:
            if fingerprint(file) != expected:
                return f"{name} is damaged"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def serialised(manifest: dict) -> str:
    """A manifest has one spelling, so that no change to its file goes unnoticed."""
    return json.dumps(manifest, indent=2) + "\n"


def score(path: pathlib.Path) -> Score | None:
    """The accuracy and loss of a whole checkpoint's weights; None where its manifest does not say."""
    try:
        said = files.document(path / MANIFEST)["score"]
        return float(said["accuracy"]), float(said["loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fingerprint(file: pathlib.Path) -> str:
    """A file's checksum."""
    with files.opened(file) as content:
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
