"""Saves and restores everything a run needs to go on as if it had never stopped.

A checkpoint is a directory `step-00000450` that appears under its name only when it is complete: written beside under
another name, synced, checksummed in a manifest, renamed. The directory listing is the only record of what there is, so
there is no state file to be lost or to point elsewhere; a checkpoint whose checksums do not hold is passed over, and so
is one of another run. Symbolic links are not followed. Values that are not finite are neither saved nor restored.

The folder `best` holds the weights of the best evaluation, with its score in the manifest. A run may go back to its
newest checkpoint, so the best one up to that step stays until there is a newer checkpoint.

A save has two parts. Training waits while the values are handed to the system; a compiled function does that in some
milliseconds, as `tf.train.Checkpoint` alone goes through the whole network in Python each time. Until they are on the
disk under the checkpoint's name, which takes as long as the disk does, training may go on.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from ..runtime import errors, replicas
from ..runtime.keras_internals import step_counter
from . import checkpoint_folders, files, saved_weights
from .checkpoint_folders import Score


class Position(Protocol):
    """Knows where in the training data a run is."""

    def record(self, place: int) -> Callable[[str], None] | None:
        """Takes down the present position; the function that is returned writes it to the files of a prefix.

        Args:
          place: how many batches of the data come before the next one.

        Returns:
          The function, which another thread may call; None if the position cannot be saved.
        """

    def locate(self, prefix: str | None) -> None:
        """Reads a position from the files of a prefix; None: the checkpoint holds none."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
      directory: their folder; created by the first save.
      model: the network; its dropout seeds are saved too.
      optimizer: built; it counts the steps.
      progress: the rest of the state, a `trainer.engine.run_state.RunState`.
      keep: how many of the newest checkpoints stay.
      log: told of every checkpoint that is passed over.
      rules: what rules remember, see `trainer.rules.target`.
      run: tells this run's checkpoints from those of another; "" where it does not matter.
      saved: told of the step of each new checkpoint, in another thread.
      position: of the run in its training data; None if that follows from the step.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        progress: tf.train.Checkpoint,
        keep: int = 3,
        log: Callable[[str], None] = print,
        rules: Sequence[tf.Variable] = (),
        run: str = "",
        saved: Callable[[int], None] = lambda step: None,
        position: Position | None = None,
    ):
        # tf.train.Checkpoint leaves seed generators out, and with them the state of dropout.
        seeds = [variable.value for variable in model.variables if variable.path.endswith("seed_generator_state")]
        self._state = tf.train.Checkpoint(
            model=model, optimizer=optimizer, progress=progress, seeds=seeds, rules=list(rules)
        )
        variables = [*model.variables, *optimizer.variables]
        self._floats = [variable for variable in variables if tf.as_dtype(variable.dtype).is_floating]
        self._values = tf.function(self._written, autograph=False)
        self._counter = step_counter(optimizer)
        self._progress = progress
        self._directory = directory
        self._best = directory / "best"
        self._keep = keep
        self._log = log
        self._run = run
        self._saved = saved
        self._position = position
        # Checkpoints of this very state's past; others of the same step may hold what was taken back since.
        self._own: set[pathlib.Path] = set()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future[None] | None = None

    def save(self, wait: bool = True) -> pathlib.Path:
        """Writes a checkpoint of the present step and deletes those too many.

        Args:
          wait: until it is on the disk; otherwise the next call here, or `look`, raises what became of it.

        Returns:
          The folder that the checkpoint is in, or will be.

        Raises:
          failures.NonFiniteError: the state holds NaN or infinity; nothing was written, the earlier checkpoints stay.
          OSError: the disk refused this save or the one before; the earlier checkpoints stay, and nothing of it.
        """

        def tidy(now: int) -> None:
            steps = checkpoint_folders.steps(self._directory)
            # Later steps than this are those that `restore` passed over; they must not take the place of good ones.
            kept = [step for step in steps if step <= now][: self._keep]
            for step in steps:
                if step not in kept:
                    checkpoint_folders.delete(checkpoint_folders.path(self._directory, step))
            self._tidy_best(now)
            self._saved(now)

        return self._save(self._directory, tidy, wait)

    def save_best(self, wait: bool = True) -> pathlib.Path:
        """Writes the present state as the best so far, in the folder `best`; all else as `save`."""
        value, loss, _ = self._progress.best.numpy().tolist()
        return self._save(self._best, self._tidy_best, wait, (value, loss))

    def delete_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps, for a run that makes these steps in another way."""
        for later in self.steps():
            if later > step:
                checkpoint_folders.delete(checkpoint_folders.path(self._directory, later))

    def return_best(self, step: int) -> None:
        """Makes the best so far what is left of it at a step that the run went back to, and says what is lost.

        Later ones go, as their steps were taken back. Where the best is gone or damaged, the newest one before it is
        the best; where there is none, the next evaluation is.

        Args:
          step: that was restored; -1 where the run begins again.
        """
        self.wait()
        value, _, best = self._progress.best.numpy().tolist()
        path = checkpoint_folders.path(self._best, int(best))
        problem = checkpoint_folders.problem(path, int(best), self._run) if value > -float("inf") else None
        for found in checkpoint_folders.steps(self._best):
            if found > step or (problem is None and found != best):
                checkpoint_folders.delete(checkpoint_folders.path(self._best, found))
        if problem is None:
            self._own.add(path)
            return
        remaining = [found for found in checkpoint_folders.steps(self._best) if found < best]
        scores = [(found, self._score(found)) for found in remaining]
        found, score = next(((found, score) for found, score in scores if score is not None), (0, None))
        self._progress.best.assign([-float("inf"), float("inf"), 0.0] if score is None else [*score, found])
        left = "the next evaluation" if score is None else f"step {found:,}"
        self._log(f"the best weights, of step {int(best):,}, are lost: {problem}; the best is now that of {left}")

    def look(self) -> None:
        """Raises what a save that nobody waits for has raised."""
        if self._saving is not None and self._saving.done():
            self.wait()

    def wait(self) -> None:
        """Waits until what was saved is on the disk, and raises what `save` raises; once, as it is then known."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Waits for a save under way, whatever comes of it; nothing can be saved afterwards."""
        self._thread.shutdown()

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, newest first."""
        self.wait()
        return checkpoint_folders.steps(self._directory)

    def restore(self, last: int | None = None) -> int | None:
        """Restores the newest checkpoint that is whole.

        Args:
          last: the last step to go on from; None: any.

        Returns:
          Its step; None when there is no checkpoint at all.

        Raises:
          ValueError: there are checkpoints, but none is whole.
          OSError: the disk refused a save that was under way.
        """
        self.wait()
        for folder in (self._directory, self._best):
            checkpoint_folders.clean(folder)
        steps = [step for step in self.steps() if last is None or step <= last]
        for step in steps:
            path = checkpoint_folders.path(self._directory, step)
            problem = checkpoint_folders.problem(path, step, self._run) or self._read(path, step)
            if problem is None:
                self._own = {path}
                return step
            self._log(f"checkpoint {path.name} is passed over: {problem}")
        if steps:
            raise ValueError(
                f"none of the checkpoints in {self._directory} is whole; restore one from a backup, "
                "or add --overwrite to begin again."
            )
        return None

    def _step(self) -> int:
        return int(self._counter.numpy())

    def _read(self, path: pathlib.Path, step: int) -> str | None:
        try:
            with files.plain(path) as readable:
                self._state.read(str(readable / checkpoint_folders.PREFIX)).assert_consumed()
                if self._position is not None:
                    there = (path / f"{checkpoint_folders.POSITION}.index").exists()
                    self._position.locate(str(readable / checkpoint_folders.POSITION) if there else None)
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            return f"it does not fit this run: {str(error).splitlines()[0]}"
        if self._step() != step:
            return f"it holds step {self._step()}"
        bad = self._nonfinite()
        return f"{bad} holds NaN or infinity" if bad else None

    def _nonfinite(self) -> str | None:
        """The path of a weight or of a part of the optimizer's state that is not finite; None when all are."""
        for variable in self._floats:
            if not all(np.isfinite(_value(copy)).all() for copy in replicas.copies(variable)):
                return variable.path
        return None

    def _score(self, step: int) -> Score | None:
        path = checkpoint_folders.path(self._best, step)
        return checkpoint_folders.score(path) if checkpoint_folders.problem(path, step, self._run) is None else None

    def _tidy_best(self, now: int) -> None:
        """Deletes all of the best but the newest, and the newest that a return to the newest checkpoint leaves."""
        newest = next((step for step in checkpoint_folders.steps(self._directory) if step <= now), -1)
        best = checkpoint_folders.steps(self._best)
        kept = {next((step for step in best if step <= bound), None) for bound in (now, newest)}
        for step in best:
            if step not in kept:
                checkpoint_folders.delete(checkpoint_folders.path(self._best, step))

    def _save(
        self,
        folder: pathlib.Path,
        tidy: Callable[[int], None],
        wait: bool,
        score: Score | None = None,
    ) -> pathlib.Path:
        self.wait()
        step = self._step()
        final = checkpoint_folders.path(folder, step)
        if final in self._own and checkpoint_folders.problem(final, step, self._run) is None:
            tidy(step)
            return final
        if bad := self._nonfinite():
            raise errors.NonFiniteError(
                f"step {step} is not saved: {bad} holds NaN or infinity, which a checkpoint would only pass on; "
                "earlier checkpoints stay as they are. Lower --learning_rate, or bound the gradient with --clip_norm."
            )
        unfinished = folder / f"unfinished-{step:08d}"
        # Not with its parents: where the run directory is gone, a new one in its place would not be a run.
        self._directory.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        checkpoint_folders.remove(unfinished)
        unfinished.mkdir()
        record = None
        # The best weights are only evaluated, so no training goes on from them.
        if self._position is not None and folder == self._directory:
            record = self._position.record(step + int(self._progress.dropped.numpy()))
        with _or_nothing(unfinished):
            self._write(unfinished / checkpoint_folders.PREFIX)

        def finish() -> None:
            with _or_nothing(unfinished):
                if record is not None:
                    record(str(unfinished / checkpoint_folders.POSITION))
                self._finish(unfinished, final, step, score)
            self._own.add(final)
            tidy(step)

        self._saving = self._thread.submit(finish)
        if wait:
            self.wait()
        return final

    def _write(self, prefix: pathlib.Path) -> None:
        """Hands the values to the system."""
        self._values(tf.constant(str(prefix)))

    def _written(self, prefix: tf.Tensor) -> tf.Tensor:
        # By its whole name, as what lies on a device of another name would have a file of its own.
        near = tf.DeviceSpec.from_string(replicas.copies(self._counter)[0].device)
        with tf.device(near.replace(device_type="CPU", device_index=0)):
            return self._state.write(prefix)

    def _finish(self, unfinished: pathlib.Path, final: pathlib.Path, step: int, score: Score | None) -> None:
        """Makes a checkpoint of the files that were written: on the disk, with checksums and its name."""
        checkpoint_folders.complete(unfinished, step, self._run, score)
        if os.path.lexists(final):
            checkpoint_folders.delete(final)
        os.rename(unfinished, final)
        files.sync(final.parent)


def _value(copy: tf.Variable) -> np.ndarray:
    # Several times as fast as the variable's own way, and there are hundreds of them.
    return tf.raw_ops.ReadVariableOp(resource=copy.handle, dtype=copy.dtype).numpy()


@contextlib.contextmanager
def _or_nothing(unfinished: pathlib.Path) -> Iterator[None]:
    """Leaves nothing of a folder that could not be written, and raises OSError where the system refused."""
    try:
        yield
    except tf.errors.OpError as error:
        checkpoint_folders.remove(unfinished)
        raise OSError(0, errors.reason(error), str(unfinished)) from None
    except BaseException:
        checkpoint_folders.remove(unfinished)
        raise


def read_weights(folder: pathlib.Path, model: keras.Model, name: str, rules: Sequence[tf.Variable] = ()) -> int:
    """Reads a network's weights from the newest checkpoint of a run that is whole.

    Args:
      folder: the run's checkpoints.
      model: a network of the kind that the run trained.
      name: what asked for it, for messages.
      rules: what rules remember, as `Checkpoints` was given it; read too.

    Returns:
      The step of the checkpoint.

    Raises:
      ValueError: there is no such checkpoint, or it is of another network.
    """
    path = saved_weights.newest(folder, name)
    # A compiled model has an optimizer and metrics, whose state the checkpoint holds as well.
    optimizer = getattr(model, "optimizer", None)
    beside = [*model.metrics_variables, *(optimizer.variables if optimizer is not None else ())]
    kept = [variable.numpy() for variable in beside]
    try:
        with files.plain(path) as readable:
            state = tf.train.Checkpoint(model=model, **({"rules": list(rules)} if rules else {}))
            status = state.read(str(readable / checkpoint_folders.PREFIX)).expect_partial()
            status.assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: {path} holds another network than --model makes here: {reason}") from None
    finally:
        for variable, value in zip(beside, kept, strict=True):
            variable.assign(value)
    return int(path.name.rpartition("-")[2])
