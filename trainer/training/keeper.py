"""What a run keeps: its directory, checkpoints, event files and history."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from ..data.stream import Stream
from ..engine import course
from ..reporting import run_card, tensorboard
from ..reporting.console import print_line
from ..storage import files, run_directory
from ..storage.checkpoints import Checkpoints
from .history import History
from .run import Run


class Keeper:
    """Takes the run directory, and finds what an earlier session left there.

    Args:
      run: what is trained.
      directory: where it is kept; None: nothing is written.
      say: prints what is no warning.

    Attributes:
      checkpoints: None before `open`, and without a directory.
      summaries: TensorBoard's files; without a directory nothing is written.
      history: what each epoch came to.
    """

    def __init__(self, run: Run, directory: run_directory.RunDirectory | None, say: Callable[..., None] = print_line):
        path = None if directory is None else directory.path
        self._run = run
        self._directory = directory
        self._print = say
        self.checkpoints: Checkpoints | None = None
        self.summaries = tensorboard.Summaries(path, run.targets, log=print_line)
        self.history = History(None if path is None else path / run_directory.HISTORY)

    def open(self, flagfile: str | None) -> int | None:
        """Takes the directory and restores the newest checkpoint.

        Args:
          flagfile: the flags that make this run; None: it was not begun by flags.

        Returns:
          The step of the checkpoint that the run goes on from; None where it begins.

        Raises:
          ValueError: the directory cannot be used, or none of its checkpoints is whole.
        """
        if self._directory is None:
            return None
        run, directory = self._run, self._directory
        known = {
            "seed": run.settings.seed,
            **dataclasses.asdict(run.timeline),
            "splits": run.splits,
            **run_card.facts(run.model, run.strategy.num_replicas_in_sync),
            **({"task": run.task} if run.task else {}),
            **({run_directory.FILES: run.files} if run.files else {}),
        }
        resumed = directory.open(flagfile, known)
        self._keep_preprocessing(directory)
        self.checkpoints = Checkpoints(
            directory.checkpoints,
            run.model,
            run.optimizer,
            run.state,
            log=print_line,
            rules=[variable for target in run.targets for variable in target.state],
            run=directory.identity(),
            saved=directory.note_saved,
            position=run.train_source if isinstance(run.train_source, Stream) else None,
        )
        if not directory.exclusive:
            print_line(
                f"warning: {directory.path} is on a file system without locks: a second run would not be noticed."
            )
        shorter = directory.shorter
        if shorter is not None:
            step: int | None = self._lengthen(directory, shorter, flagfile, known)
        else:
            step = self.checkpoints.restore() if resumed else None
        if resumed:
            self._report_lost(directory, step)
            self.rewind(-1 if step is None else step, anew=shorter is not None)
        if step is None or shorter is not None:
            settings = tensorboard.readable(run.shown)
            variables = run_card.variable_table(run.model, run.targets, run.step)
            self.summaries.begin(settings, run_card.card(run.title, settings, variables))
        return step

    def _keep_preprocessing(self, directory: run_directory.RunDirectory) -> None:
        """Writes what makes features of raw examples, so that new ones are treated alike."""
        path = directory.path / run_directory.PREPROCESSING
        if self._run.serving.preprocessing is None or path.exists():
            return
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / run_directory.PREPROCESSING
            self._run.serving.preprocessing.save(made)
            files.write_atomically(path, made.read_bytes())

    def _lengthen(
        self,
        directory: run_directory.RunDirectory,
        shorter: dict[str, Any],
        flagfile: str | None,
        known: dict[str, Any],
    ) -> int:
        """Makes an earlier run the longer one that the settings ask for.

        Args:
          directory: where the earlier run is.
          shorter: what `run.json` says of it.
          flagfile: the flags that make the longer one.
          known: what `run.json` is to say of it beside its settings.

        Returns:
          The step of the newest checkpoint up to which both runs do the same, which is restored.

        Raises:
          ValueError: there is none; nothing was written.
        """
        assert self.checkpoints is not None
        run, end, total = self._run, shorter["total_steps"], self._run.timeline.total_steps
        same, what = course.same_until(
            run.courses(shorter["settings"], dataclasses.replace(run.timeline, total_steps=end)),
            run.courses(run.identity, run.timeline),
            end,
        )
        differs = f"in a run of {total:,} steps, {what} differs from that in one of {end:,} at step {same + 1:,}"
        step = self.checkpoints.restore(same)
        if step is None:
            raise ValueError(
                f"--run_dir={directory.path}: {differs}, and no checkpoint of an earlier step is left; write places of "
                "the rules as steps or epochs (500, 3ep) instead of shares of the run, or choose another --run_dir."
                if what
                else f"--run_dir={directory.path} holds no checkpoint to go on from; add --overwrite to begin again."
            )
        self.checkpoints.delete_after(step)
        directory.lengthen(flagfile, known, step)
        self._print(
            f"{differs}: the steps since step {step:,} are made again" if what else f"goes on past step {end:,}"
        )
        return step

    def rewind(self, step: int, anew: bool = False) -> None:
        """Takes back what was written past a step; `anew`: what was written at the beginning too."""
        assert self.checkpoints is not None
        self.checkpoints.return_best(step)
        self.summaries.rewind(step, anew=anew)
        self.history.rewind(step)

    def _report_lost(self, directory: run_directory.RunDirectory, step: int | None) -> None:
        """Says which checkpoints are gone; raises ValueError where all are, as a run does not begin again by itself."""
        saved = directory.saved()
        if step is not None and saved is not None and saved > step:
            print_line(
                f"warning: this run had saved step {saved:,}, of which there is no good checkpoint any more; "
                f"the {saved - step:,} steps since step {step:,} are made again"
            )
        if step is not None:
            return
        certificate_file = directory.path / run_directory.CERTIFICATE
        if saved is not None or certificate_file.exists():
            what = f"{certificate_file} says that this run ended" if saved is None else f"this run saved step {saved:,}"
            raise ValueError(
                f"{what}, but {directory.checkpoints} holds no checkpoint of it; restore one from a backup, or "
                "add --overwrite to begin again."
            )
        self._print("the run in this directory was stopped before its first checkpoint, so it begins again")

    def check_held(self) -> None:
        """Raises OSError when the directory is no longer the one that was opened."""
        if self._directory is not None:
            self._directory.check_held()

    def close(self) -> None:
        """Gives the directory back, once nothing is written there any more."""
        # There are no checkpoints where `open` refused the directory.
        if self.checkpoints is not None:
            self.checkpoints.close()
        if self._directory is not None:
            self._directory.close()
