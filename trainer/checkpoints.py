"""Saves and restores everything a run needs to go on as if it had never stopped.

A checkpoint is a directory `step-00000450` that appears under its name only when it is complete: written beside under
another name, synced, checksummed in a manifest, renamed. The directory listing is the only record of what there is, so
there is no state file to be lost or to point elsewhere; a checkpoint whose checksums do not hold is passed over, and so
is one of another run. Symbolic links are not followed. Values that are not finite are neither saved nor restored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer import failures

MANIFEST = "manifest.json"
PREFIX = "state"
# One spelling for each step, or two directories could claim to be the same checkpoint.
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")
_PART = re.compile(rf"{PREFIX}\.(index|data-[0-9]{{5}}-of-[0-9]{{5}})")
_UNFINISHED = re.compile(r"(unfinished|obsolete)-.*")


class Progress(tf.train.Checkpoint):
    """What a run knows beside weights and optimizer state.

    Attributes:
      totals: float64 [4], see `trainer.steps.Chunk`.
      nonfinite: int64 [2], see `trainer.steps.Chunk`.
      dropped: int64, batches left out after going back to an earlier step.
      best: float64 [3]: accuracy, loss and step of the best evaluation so far.
      waited: int64, evaluations since then.
      recent: float64, see `trainer.recovery`.
      jit: int64, whether XLA compiles the step: 1 or 0, and -1 while that is undecided.
    """

    def __init__(self) -> None:
        super().__init__(
            totals=tf.Variable(tf.zeros([4], tf.float64), trainable=False),
            nonfinite=tf.Variable(tf.zeros([2], tf.int64), trainable=False),
            dropped=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            best=tf.Variable(tf.constant([-1.0, float("inf"), 0.0], tf.float64), trainable=False),
            waited=tf.Variable(tf.zeros([], tf.int64), trainable=False),
            recent=tf.Variable(tf.zeros([], tf.float64), trainable=False),
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
      rules: what rules remember, see `trainer.targets`.
      run: tells this run's checkpoints from those of another; "" where it does not matter.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        progress: Progress,
        keep: int = 3,
        log: Callable[[str], None] = print,
        rules: Sequence[tf.Variable] = (),
        run: str = "",
    ):
        # tf.train.Checkpoint leaves seed generators out, and with them the state of dropout.
        seeds = [variable.value for variable in model.variables if variable.path.endswith("seed_generator_state")]
        self._state = tf.train.Checkpoint(
            model=model, optimizer=optimizer, progress=progress, seeds=seeds, rules=list(rules)
        )
        self._variables = [*model.variables, *optimizer.variables]
        self._optimizer = optimizer
        self._directory = directory
        self._keep = keep
        self._log = log
        self._run = run

    def save(self) -> pathlib.Path:
        """Writes a checkpoint of the present step and deletes those too many.

        Raises:
          failures.NonFiniteError: the state holds NaN or infinity; nothing was written, the earlier checkpoints stay.
          OSError: the disk refused; the earlier checkpoints stay, and nothing of this one.
        """
        now = self._step()
        path = self._write(self._directory, now)
        # Later steps than this are those that `restore` passed over; they must not take the place of good ones.
        kept = [step for step in self.steps() if step <= now][: self._keep]
        for step in self.steps():
            if step not in kept:
                self._delete(self._path(self._directory, step))
        return path

    def save_best(self) -> pathlib.Path:
        """Writes the present state as the best so far, in the folder `best`; raises what `save` raises."""
        folder = self._directory / "best"
        step = self._step()
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
        for folder in (self._directory, self._directory / "best"):
            _clean(folder)
        steps = self.steps()
        for step in steps:
            path = self._path(self._directory, step)
            problem = _problem(path, step, self._run) or self._read(path, step)
            if problem is None:
                return step
            self._log(f"checkpoint {path.name} is passed over: {problem}")
        if steps:
            raise ValueError(
                f"none of the checkpoints in {self._directory} is whole; restore one from a backup, "
                "or add --overwrite to begin again."
            )
        return None

    def _step(self) -> int:
        return int(self._optimizer.iterations.numpy())

    def _read(self, path: pathlib.Path, step: int) -> str | None:
        try:
            self._state.read(str(path / PREFIX)).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            return f"it does not fit this run: {str(error).splitlines()[0]}"
        if self._step() != step:
            return f"it holds step {self._step()}"
        bad = self._nonfinite()
        return f"{bad} holds NaN or infinity" if bad else None

    def _nonfinite(self) -> str | None:
        """The path of a weight or of a part of the optimizer's state that is not finite; None when all are."""
        for variable in self._variables:
            value = tf.convert_to_tensor(variable)
            if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
                return variable.path
        return None

    def _write(self, folder: pathlib.Path, step: int) -> pathlib.Path:
        final = self._path(folder, step)
        if _exists(final) and _problem(final, step, self._run) is None:
            return final
        if bad := self._nonfinite():
            raise failures.NonFiniteError(
                f"step {step} is not saved: {bad} holds NaN or infinity, which a checkpoint would only pass on; "
                "earlier checkpoints stay as they are. Lower --learning_rate, or bound the gradient with --clip_norm."
            )
        unfinished = folder / f"unfinished-{step:08d}"
        # Not with its parents: where the run directory is gone, a new one in its place would not be a run.
        self._directory.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        _remove(unfinished)
        unfinished.mkdir()
        try:
            self._state.write(str(unfinished / PREFIX))
            files = {file.name: _fingerprint(file) for file in sorted(unfinished.iterdir())}
            manifest = {"step": step, **({"run": self._run} if self._run else {}), "files": files}
            (unfinished / MANIFEST).write_text(_serialised(manifest))
            for file in unfinished.iterdir():
                _sync(file)
            _sync(unfinished)
            if _exists(final):
                self._delete(final)
            os.rename(unfinished, final)
            _sync(folder)
        except tf.errors.OpError as error:
            _remove(unfinished)
            raise OSError(0, failures.reason(error), str(unfinished)) from None
        except BaseException:
            _remove(unfinished)
            raise
        return final

    @staticmethod
    def _path(folder: pathlib.Path, step: int) -> pathlib.Path:
        return folder / f"step-{step:08d}"

    @staticmethod
    def _delete(path: pathlib.Path) -> None:
        # Renamed first: a deletion that is cut short must not leave a checkpoint that looks whole by its name.
        obsolete = path.with_name(f"obsolete-{path.name}")
        _remove(obsolete)
        os.rename(path, obsolete)
        _remove(obsolete)


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


def _problem(path: pathlib.Path, step: int, run: str = "") -> str | None:
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
        if text != _serialised(manifest) or not all(_PART.fullmatch(name) for name in files):
            return "its manifest is damaged"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its manifest is damaged"
    if f"{PREFIX}.index" not in files or any(file.name not in files for file in path.glob(f"{PREFIX}.*")):
        return "its manifest is damaged"
    for name, fingerprint in files.items():
        file = path / name
        try:
            if not _regular(file):
                return f"{name} is not a file"
            if _fingerprint(file) != fingerprint:
                return f"{name} is damaged"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _serialised(manifest: dict) -> str:
    """A manifest has one spelling, so that no change to its file goes unnoticed."""
    return json.dumps(manifest, indent=2) + "\n"


def _regular(path: pathlib.Path) -> bool:
    """Whether this is a file itself: neither a link to one nor a pipe, which would be waited for without end."""
    return stat.S_ISREG(path.lstat().st_mode)


def _exists(path: pathlib.Path) -> bool:
    return os.path.lexists(path)


def _clean(folder: pathlib.Path) -> None:
    """Removes what a kill left behind in the middle of a save or a deletion."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _UNFINISHED.fullmatch(entry.name):
            _remove(entry)


def _remove(path: pathlib.Path) -> None:
    """Removes a folder, a file or a link, but not what a link points to; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _fingerprint(file: pathlib.Path) -> str:
    with open(file, "rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
