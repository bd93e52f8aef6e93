"""Has a process that knows nothing of the project reload an exported file, and brings back what it found there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import formats, reload
from .formats import Format, Stored

# Modules of formats whose files are of no use without TensorFlow.
_WITH_TENSORFLOW = ("keras_file", "saved_model")
# Isolated: no folder of this process and no variable of Python's leads to the project.
_COMMAND = (sys.executable, "-I", reload.__file__)
# The process of `one_import`, while there is one.
_server: subprocess.Popen[str] | None = None


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


@contextlib.contextmanager
def one_import() -> Iterator[None]:
    """Inside, files that need TensorFlow are reloaded in forks of one process that imported it: seconds less for each.

    Each file still has a process of its own, without this project and without what an earlier file left.
    """
    global _server
    with subprocess.Popen(
        [*_COMMAND],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as _server:
        try:
            yield
        finally:
            assert _server.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                _server.stdin.close()
            _server.wait()
            _server = None


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
    code, told = _done(results / "job.json", chosen.module in _WITH_TENSORFLOW and not measure)
    if code:
        raise ReloadError(_last_words(told) or f"the process ended with exit code {code}")
    return json.loads((results / "found.json").read_text())


def _done(job: pathlib.Path, sharing: bool) -> tuple[int, str]:
    """The exit code and the standard error of a process that does a job."""
    if sharing and _server is not None:
        assert _server.stdin is not None
        assert _server.stdout is not None
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            _server.stdin.write(f"{job}\n")
            _server.stdin.flush()
            answer = _server.stdout.readline()
        if not answer:
            raise ReloadError("the process that imported TensorFlow for it ended")
        return int(answer), job.with_name(f"{job.name}.stderr").read_text(errors="replace")
    done = subprocess.run(
        [*_COMMAND, str(job)],
        env=_environment(),
        cwd=job.parent,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


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
