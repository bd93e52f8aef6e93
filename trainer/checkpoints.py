"""Saves and restores everything a run needs to go on as if it had never stopped.

A checkpoint is a directory `step-00000450` that appears under its name only when it is complete: written beside under
another name, synced, checksummed in a manifest, renamed. The directory listing is the only record of what there is, so
there is no state file to be lost or to point elsewhere; a checkpoint whose checksums do not hold is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

MANIFEST = "manifest.json"
PREFIX = "state"
_NAME = re.compile(r"step-(\d{8,})")
_UNFINISHED = re.compile(r"(unfinished|obsolete)-.*")


class Progress(tf.train.Checkpoint):
    """What a run knows beside weights and optimizer state.

    Attributes:
      totals: float64 [4], see `trainer.steps.Chunk`.
      nonfinite: int64 [2], see `trainer.steps.Chunk`.
      dropped: int64, batches left out after going back to an earlier step.
      best: float64 [3]: accuracy, loss and step of the best evaluation so far.
      waited: int64, evaluations since then.
      jit: int64, whether XLA compiles the step: 1 or 0, and -1 while that is undecided.
    """

    def __init__(self) -> None:
        super().__init__(
            totals=tf.Variable(tf.zeros([4], tf.float64), trainable=False),
            nonfinite=tf.Variable(tf.zeros([2], tf.int64), trainable=False),
            dropped=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            best=tf.Variable(tf.constant([-1.0, float("inf"), 0.0], tf.float64), trainable=False),
            waited=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            jit=tf.Variable(-tf.ones([], tf.int64), trainable=False),
        )


class Checkpoints:
    """The checkpoints of one run.

    Args:
      directory: their folder; created by the first save.
      model: the network; its dropout seeds are saved too.
      optimizer: built; its `iterations` is the step.
      progress: the rest of the state.
      keep: how many of the newest checkpoints stay.
      log: told of every checkpoint that is passed over.
      patterns: zeros that rules keep, see `trainer.patterns`.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        progress: Progress,
        keep: int = 3,
        log: Callable[[str], None] = print,
        patterns: Sequence[tf.Variable] = (),
    ):
        # tf.train.Checkpoint leaves seed generators out, and with them the state of dropout.
        seeds = [variable.value for variable in model.variables if variable.path.endswith("seed_generator_state")]
        self._state = tf.train.Checkpoint(
            model=model, optimizer=optimizer, progress=progress, seeds=seeds, patterns=list(patterns)
        )
        self._optimizer = optimizer
        self._directory = directory
        self._keep = keep
        self._log = log

    def save(self) -> pathlib.Path:
        """Writes a checkpoint of the present step and deletes those too many."""
        path = self._write(self._directory, int(self._optimizer.iterations.numpy()))
        for step in self.steps()[self._keep :]:
            self._delete(self._path(self._directory, step))
        return path

    def save_best(self) -> pathlib.Path:
        """Writes the present state as the best so far, in the folder `best`."""
        folder = self._directory / "best"
        step = int(self._optimizer.iterations.numpy())
        path = self._write(folder, step)
        for other in _steps(folder):
            if other != step:
                self._delete(self._path(folder, other))
        return path

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, newest first."""
        return _steps(self._directory)

    def restore(self) -> int | None:
        """Restores the newest checkpoint that is whole.

        Returns:
          Its step; None when there is no checkpoint at all.

        Raises:
          ValueError: there are checkpoints, but none is whole.
        """
        for leftover in self._directory.glob("**/*") if self._directory.exists() else ():
            if leftover.is_dir() and _UNFINISHED.fullmatch(leftover.name):
                shutil.rmtree(leftover, ignore_errors=True)
        steps = self.steps()
        for step in steps:
            path = self._path(self._directory, step)
            problem = _problem(path, step) or self._read(path)
            if problem is None:
                return step
            self._log(f"checkpoint {path.name} is passed over: {problem}")
        if steps:
            raise ValueError(
                f"none of the checkpoints in {self._directory} is whole; restore one from a backup, "
                "or add --overwrite to begin again."
            )
        return None

    def _read(self, path: pathlib.Path) -> str | None:
        try:
            self._state.read(str(path / PREFIX)).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            return f"it does not fit this run: {str(error).splitlines()[0]}"
        return None

    def _write(self, folder: pathlib.Path, step: int) -> pathlib.Path:
        final = self._path(folder, step)
        if final.exists() and _problem(final, step) is None:
            return final
        unfinished = folder / f"unfinished-{step:08d}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            self._state.write(str(unfinished / PREFIX))
            files = {file.name: _fingerprint(file) for file in sorted(unfinished.iterdir())}
            (unfinished / MANIFEST).write_text(json.dumps({"step": step, "files": files}, indent=2) + "\n")
            for file in unfinished.iterdir():
                _sync(file)
            _sync(unfinished)
            if final.exists():
                self._delete(final)
            os.rename(unfinished, final)
            _sync(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return final

    @staticmethod
    def _path(folder: pathlib.Path, step: int) -> pathlib.Path:
        return folder / f"step-{step:08d}"

    @staticmethod
    def _delete(path: pathlib.Path) -> None:
        # Renamed first: a deletion that is cut short must not leave a checkpoint that looks whole by its name.
        obsolete = path.with_name(f"obsolete-{path.name}")
        shutil.rmtree(obsolete, ignore_errors=True)
        os.rename(path, obsolete)
        shutil.rmtree(obsolete, ignore_errors=True)


def read_weights(folder: pathlib.Path, model: keras.Model, name: str) -> None:
    """Reads a network's weights from the newest checkpoint of a run that is whole.

    Args:
      folder: the run's checkpoints.
      model: a network of the kind that the run trained.
      name: what asked for it, for messages.

    Raises:
      ValueError: there is no such checkpoint, or it is of another network.
    """
    whole = [step for step in _steps(folder) if _problem(folder / f"step-{step:08d}", step) is None]
    if not whole:
        raise ValueError(f"{name}: no whole checkpoint in {folder}; give the directory of a run that saved one.")
    path = folder / f"step-{whole[0]:08d}" / PREFIX
    try:
        status = tf.train.Checkpoint(model=model).read(str(path)).expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: {path.parent} holds another network than --model makes here: {reason}") from None


def _steps(folder: pathlib.Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def _problem(path: pathlib.Path, step: int) -> str | None:
    """Says what is wrong with a checkpoint's files, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        files = dict(manifest["files"])
        if manifest["step"] != step:
            return f"its manifest speaks of step {manifest['step']}"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is damaged"
    if f"{PREFIX}.index" not in files or any(file.name not in files for file in path.glob(f"{PREFIX}.*")):
        return "its manifest is damaged"
    for name, fingerprint in files.items():
        file = path / pathlib.PurePath(name).name
        if not file.is_file():
            return f"{name} is missing"
        if _fingerprint(file) != fingerprint:
            return f"{name} is damaged"
    return None


def _fingerprint(file: pathlib.Path) -> str:
    with open(file, "rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
