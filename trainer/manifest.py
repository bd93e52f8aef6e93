"""What makes a checkpoint whole: a manifest with the checksum of each of its files, all of it on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import stat

MANIFEST = "manifest.json"
PREFIX = "state"
_PART = re.compile(rf"{PREFIX}\.(index|data-[0-9]{{5}}-of-[0-9]{{5}})")


def complete(folder: pathlib.Path, step: int, run: str) -> None:
    """Adds the manifest to the files of a step, and has everything written to the disk.

    Args:
      folder: where they are.
      step: it is of.
      run: it is of; "" where that does not matter.
    """
    files = {file.name: fingerprint(file) for file in sorted(folder.iterdir())}
    manifest = {"step": step, **({"run": run} if run else {}), "files": files}
    (folder / MANIFEST).write_text(serialised(manifest))
    for file in folder.iterdir():
        sync(file)
    sync(folder)


def problem(path: pathlib.Path, step: int, run: str = "") -> str | None:
    """Says what is wrong with a checkpoint's files, or None."""
    if path.is_symlink():
        return "it is a symbolic link, which is not followed"
    try:
        if not _regular(path / MANIFEST):
            return "its manifest is not a file"
        text = (path / MANIFEST).read_text()
        manifest = json.loads(text)
        files = dict(manifest["files"])
        if manifest["step"] != step:
            return f"its manifest speaks of step {manifest['step']}"
        if run and manifest.get("run", run) != run:
            return "it is another run's"
        if text != serialised(manifest) or not all(_PART.fullmatch(name) for name in files):
            return "its manifest is damaged"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its manifest is damaged"
    if f"{PREFIX}.index" not in files or any(file.name not in files for file in path.glob(f"{PREFIX}.*")):
        return "its manifest is damaged"
    for name, expected in files.items():
        file = path / name
        try:
            if not _regular(file):
                return f"{name} is not a file"
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


def _regular(path: pathlib.Path) -> bool:
    """Whether this is a file itself: neither a link to one nor a pipe, which would be waited for without end."""
    return stat.S_ISREG(path.lstat().st_mode)


def fingerprint(file: pathlib.Path) -> str:
    """A file's checksum."""
    with open(file, "rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
