"""Has a process that knows nothing of the project reload an exported file, and brings back what it found there."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import formats, reload
from .formats import Format, Stored


class ReloadError(ValueError):
    """A file cannot be reloaded; the message is what the other process said last."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reloaded:
    """What a fresh process made of a file.

    Attributes:
      stored: the tensors of the file.
      outputs: the model's outputs for the examples, an array for each output.
      libraries: what was imported to read the tensors, of `reload.LIBRARIES`.
    """

    stored: list[Stored]
    outputs: list[np.ndarray]
    libraries: list[str]


def reloaded(chosen: Format, path: pathlib.Path, examples: Sequence[np.ndarray]) -> Reloaded:
    """The tensors and the outputs of an exported file.

    Args:
      chosen: its format.
      path: the file or folder.
      examples: an array for each input.

    Raises:
      ReloadError: the file cannot be read or run.
    """
    with tempfile.TemporaryDirectory() as results:
        found = _asked(chosen, path, examples, pathlib.Path(results), measure=False)
        outputs = _arrays(pathlib.Path(results) / "outputs.npz")
        arrays = _arrays(pathlib.Path(results) / "stored.npz")
        stored = [
            Stored(
                *(one["name"], arrays[f"values_{number}"]),
                *(arrays.get(f"scale_{number}"), arrays.get(f"zero_point_{number}")),
                axis=one["axis"],
                sparse=one["sparse"],
            )
            for number, one in enumerate(found["stored"])
        ]
    return Reloaded(stored, [outputs[f"arr_{number}"] for number in range(len(outputs))], found["libraries"])


def measured(chosen: Format, path: pathlib.Path, examples: Sequence[np.ndarray]) -> dict[str, Any]:
    """Memory and latencies of an exported file, see `reload.measured`; raises as `reloaded`."""
    with tempfile.TemporaryDirectory() as results:
        return _asked(chosen, path, examples, pathlib.Path(results), measure=True)


def _asked(
    chosen: Format, path: pathlib.Path, examples: Sequence[np.ndarray], results: pathlib.Path, measure: bool
) -> dict[str, Any]:
    np.savez(results / "examples.npz", *examples)
    job = {
        "formats": str(pathlib.Path(formats.__file__).parent),
        "module": chosen.module,
        "path": str(path.absolute()),
        "examples": str(results / "examples.npz"),
        "results": str(results),
        "measure": measure,
    }
    (results / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        # Isolated: no folder of this process and no variable of Python's leads to the project.
        [sys.executable, "-I", reload.__file__, str(results / "job.json")],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=results,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ReloadError(_last_words(done.stderr) or f"the process ended with exit code {done.returncode}")
    return json.loads((results / "found.json").read_text())


def _last_words(text: str) -> str:
    """The exception at the end of a traceback, in a line."""
    lines = text.rstrip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback ")]
    told = lines[starts[-1] + 1 :] if starts else lines[-1:]
    words = " ".join(" ".join(line for line in told if not line.startswith("  ")).split())
    return words if len(words) <= 300 else f"{words[:300]}..."


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
