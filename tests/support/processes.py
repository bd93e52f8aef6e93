"""Runs the program as a user does: in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(*flags: str) -> list[str]:
    """The command line of a training run."""
    return [sys.executable, "-m", "trainer.main", *flags]


def environment() -> dict[str, str]:
    """The environment of a run: the project is importable from any folder, and nothing sees a GPU."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def train(*flags: str, cwd: pathlib.Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run(
        command(*flags), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def program(module: str, *arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs another program of the project to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def succeed(*flags: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs the program and fails the test with its output unless it ends well."""
    return succeeded(train(*flags, cwd=cwd))


def succeeded(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Fails the test with what a run said unless it ended well."""
    if result.returncode != 0:
        raise RuntimeError(f"exit code {result.returncode} of {result.args}\n{result.stdout}\n{result.stderr}")
    return result


def python(program: str, cwd: pathlib.Path, timeout: float = 600) -> str:
    """What a Python program prints, in a process of its own; AssertionError if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout
    )
    return succeeded(done).stdout


def certificate(directory: pathlib.Path) -> dict[str, Any]:
    """The certificate of a run."""
    return json.loads((directory / "certificate.json").read_text())


def listing(directory: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time of change: equal listings mean nothing was touched."""
    return {
        str(path.relative_to(directory)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(directory.rglob("*"))
    }
