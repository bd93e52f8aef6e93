"""A run under way: what is done between chunks, from the first step to the certificate."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.source import Source
from ..engine import divergence, loop
from ..engine.divergence import Spikes
from ..engine.projector import MEASURES
from ..engine.train_step import Chunk
from ..reporting.console import ProgressReporter, print_line
from ..runtime import errors
from ..runtime.keras_internals import unwrapped
from ..runtime.signals import Interrupt
from ..storage import files, run_directory
from ..storage.checkpoints import Checkpoints
from .best import Best
from .callbacks import Callbacks
from .ending import Ending
from .keeper import Keeper
from .model_file import ModelFile
from .run import Run
from .waiting import Waiting


class Session:
    """Trains a run in its directory, or goes on where an earlier session stopped.

    Args:
      run: what to train.
      directory: where it is kept; None: nothing is written.
      callbacks: told of epochs and of the end.
      verbose: whether progress is printed; warnings always are.
    """

    def __init__(
        self,
        run: Run,
        directory: run_directory.RunDirectory | None,
        callbacks: Callbacks | None = None,
        verbose: bool = True,
    ):
        self._run = run
        self._directory = directory
        self._callbacks = callbacks or Callbacks(run.model, ())
        self._state = run.state
        self._print: Callable[..., None] = print_line if verbose else lambda *_, **__: None
        self._keeper = Keeper(run, directory, self._print)
        self._summaries = self._keeper.summaries
        self.history = self._keeper.history
        self._report = ProgressReporter(run.timeline.total_steps, say=self._print)
        names = [name for name in run.steps.training_results(np.ones(run.steps.num_totals)) if name != "penalty"]
        self._best = Best(run.state.best, names, run.settings.monitor, run.settings.mode)
        self._has_penalty = bool(run.model.losses)
        self._model_file: ModelFile | None = None
        self._start = run.step
        # Where the rate was last measured: a step and the time.
        self._speed_reference = 0, 0.0
        self._waiting = Waiting(run.steps, run.train_source)
        self._reported_nonfinite = 0
        # Returns to the newest checkpoint since it was saved.
        self._rollbacks = 0
        self._spikes = Spikes(run.settings.max_spike, run.state.recent)

    def begin(self, flagfile: str | None = None) -> None:
        """Takes the run directory and restores the newest checkpoint there is.

        Args:
          flagfile: the flags that make this run; None: it was not begun by flags.

        Raises:
          ValueError: the directory cannot be used, or none of its checkpoints is whole.
        """
        step = self._keeper.open(flagfile)
        run = self._run
        if self._directory is not None:
            where = f"continues at step {step:,}" if step is not None else "starts at step 0"
            self._print(f"run directory {self._directory.path}: {where} of {run.timeline.total_steps:,}")
        for line in (run.data_line, run.task_line):
            if line:
                self._print(line)
        for warning in run.warnings:
            print_line(f"warning: {warning}")
        if self._directory is not None and run.settings.save_model:
            self._model_file = ModelFile(self._directory.path, run.model, run.serving, print_line)
        self._start = run.step
        if run.settings.jit == "auto":
            self._choose_jit()

    def run(self, interrupt: Interrupt) -> dict[str, Any] | None:
        """Trains to the end.

        Args:
          interrupt: asked between chunks whether to save and stop.

        Returns:
          The certificate, also written as `certificate.json`; None when a signal came before there was only that left
          to do: then all is saved.
        """
        run, settings, timeline = self._run, self._run.settings, self._run.timeline
        self._start = run.step
        run.train_source.seek(self._start, int(self._state.dropped.numpy()), print_line)
        self._speed_reference = self._start, time.monotonic()
        self._waiting = Waiting(run.steps, run.train_source)
        evaluate = loop.Every(timeline.interval(settings.eval_every, "--eval_every"), self._evaluate)
        summarise = loop.Every(timeline.interval(settings.summary_every, "--summary_every"), self._summarise)
        actions = [summarise, evaluate]
        if self._directory is not None:
            draw = timeline.interval(settings.histogram_every, "--histogram_every")
            save = timeline.interval(settings.checkpoint_every, "--checkpoint_every")
            # Saves last, so that a checkpoint holds what the others changed.
            actions += [loop.Every(draw, self._write_histograms), loop.Every(save, self._save)]
        can_return = settings.on_nonfinite == "rollback" or settings.max_spike is not None
        if can_return and self._checkpoints is not None and not self._checkpoints.steps():
            # What there is to go back to before the first checkpoint is due.
            self._save(self._start)
        self._callbacks.begin(timeline, evaluate.interval, self._start)
        step = loop.run(
            run.steps,
            self._state,
            actions,
            start=self._start,
            total_steps=timeline.total_steps,
            steps_per_loop=settings.steps_per_loop,
            measure_every=summarise.interval,
            report=self._reached,
            stop=lambda: self._ended(interrupt),
            max_nonfinite=settings.nonfinite_in_a_row,
            recover=self._go_back,
        )
        if interrupt.asked():
            # After the last step too: the evaluation for the certificate may take longer than there is time.
            if self._checkpoints is not None:
                self._save(step)
                self._checkpoints.wait()
                self._summaries.close()
                self._print(f"{interrupt.name}: saved at step {step:,}; the same command continues the run.")
            return None
        optimizer = unwrapped(run.optimizer)
        if optimizer.use_ema:
            # As `fit` does: the average of the weights takes their place.
            optimizer.finalize_variable_values(run.model.trainable_variables)
        if self._callbacks.end() or optimizer.use_ema:
            # Neither an average nor the weights that a callback chose need obey the rules of this step.
            run.steps.project_fully()
        return self._finish(step)

    def _choose_jit(self) -> None:
        """Decides whether XLA compiles the step; once for a run, whose bits must not depend on where it stopped."""
        state, timeline = self._state, self._run.timeline
        if int(state.jit.numpy()) < 0:
            remaining = timeline.total_steps - self._start
            jit, reason = self._run.jit_autotune(self._start).choose(remaining, self._run.settings.steps_per_loop)
            state.jit.assign(int(jit))
        else:
            jit, reason = bool(state.jit.numpy()), "as before"
        self._run.steps.jit = jit
        self._print(f"jit: {'on' if jit else 'off'} ({reason})")

    def close(self) -> None:
        """Gives the run directory back, once nothing is written there any more."""
        self._keeper.close()

    @property
    def _checkpoints(self) -> Checkpoints | None:
        return self._keeper.checkpoints

    def _reached(self, step: int) -> None:
        self._report.step(step)
        self._callbacks.reached(step)

    def _summarise(self, step: int, chunk: Chunk) -> int | None:
        # Read at once: each operation on a variable takes a tenth of a step of the smallest network.
        totals = self._state.totals.numpy()
        trained, count = self._run.steps.training_results(totals), int(self._state.nonfinite.numpy()[0])
        penalty = trained.pop("penalty", None)
        values: dict[str, float] = {
            **trained,
            "learning_rate": float(chunk.learning_rate),
            "steps_per_second": self._steps_per_second(step),
            "waiting_share": self._waiting.lately(),
            # Anything but 1 means that the step is compiled again and again, which costs more than training.
            "traces": self._run.steps.num_traces["train"],
            "nonfinite": count,
        }
        if (new := count - self._reported_nonfinite) > 0:
            self._reported_nonfinite += new
            print_line(
                f"step {step:,}: {new:,} more steps had a loss or gradient that was not finite, and were left out."
            )
        if penalty is not None and self._has_penalty:
            values["penalty"] = penalty
        if (spike := self._spikes.described(values["loss"])) is not None:
            return self._go_back(step, count, spike)
        self._summaries.scalars(
            "train", step, values | self._summaries.measures(step, MEASURES, chunk.measures.numpy())
        )
        self._state.since_evaluation.assign_add(totals)
        self._state.totals.assign(np.zeros_like(totals))
        return None

    def _trained(self) -> dict[str, float]:
        """Training results since the last evaluation; their sums begin anew."""
        totals = self._state.totals.numpy()
        results = self._run.steps.training_results(self._state.since_evaluation.numpy() + totals)
        results.pop("penalty", None)
        # What summaries have not taken yet counts for them alone from now on.
        self._state.since_evaluation.assign(-totals)
        self._run.steps.objective.reset()
        return results

    def _steps_per_second(self, step: int) -> float:
        (step_then, time_then), self._speed_reference = self._speed_reference, (step, time.monotonic())
        return (step - step_then) / max(self._speed_reference[1] - time_then, 1e-9)

    def _evaluate(self, step: int, chunk: Chunk | None = None) -> None:
        del chunk
        logs = self._trained()
        parts = [_written("train", logs)] if np.isfinite(logs["loss"]) else []
        if self._run.validation_source is not None and self._validation_is_due(step):
            result = self._judged("validation", self._run.validation_source)
            self._summaries.evaluation(step, result)
            better = self._keep_best(step, result)
            if not better:
                self._state.waited.assign_add(1)
            logs |= {f"val_{name}": value for name, value in result.items()}
            parts.append(_written("validation", result) + ("  best so far" if better else ""))
        if self._patience_is_over():
            # This became the last step, and the last step projects fully.
            self._run.steps.project_fully()
        self.history.add(step, logs)
        self._callbacks.epoch(step, logs)
        self._report.line(step, "  ".join(parts))

    def _validation_is_due(self, step: int) -> bool:
        settings, timeline = self._run.settings, self._run.timeline
        interval = timeline.interval(settings.eval_every, "--eval_every") * settings.validation_freq
        return step % interval == 0 or step == timeline.total_steps

    def _keep_best(self, step: int, result: dict[str, float]) -> bool:
        """Saves the weights of an evaluation if it is the best so far, and says whether it is."""
        better = self._best.offer(step, result)
        if better:
            self._state.waited.assign(0)
            if self._directory is not None and self._checkpoints is not None:
                self._directory.check_held()
                self._checkpoints.save_best(wait=False)
                if self._model_file is not None:
                    self._model_file.changed()
        return better

    def _write_histograms(self, step: int, chunk: Chunk | None = None) -> None:
        del chunk
        self._summaries.histograms(step)

    def _save(self, step: int, chunk: Chunk | None = None) -> None:
        del step, chunk
        assert self._directory is not None
        assert self._checkpoints is not None
        self._summaries.look()
        self._directory.check_held()
        self._checkpoints.save(wait=False)
        self._rollbacks = 0

    def _go_back(self, step: int, count: int, spike: str | None = None) -> int:
        """Goes back to the newest checkpoint, and past the batches since.

        Args:
          step: where training is.
          count: how many steps of the run were not finite.
          spike: what is the matter with the loss, where it is finite.

        Returns:
          The checkpoint's step.

        Raises:
          NonFiniteError: that is not wanted, or did not help.
        """
        state = self._state
        kept = [] if self._checkpoints is None else self._checkpoints.steps()
        reason = divergence.reason_to_stop(self._run.settings, step, kept, self._rollbacks, spike)
        if reason is not None:
            raise errors.NonFiniteError(reason)
        assert self._checkpoints is not None
        dropped = int(state.dropped.numpy())
        good = self._checkpoints.restore()
        assert good is not None, "a checkpoint is saved before the first step"
        self._rollbacks += 1
        self._reported_nonfinite = count
        state.nonfinite.assign([count, 0])
        state.dropped.assign(dropped + step - good)
        self._run.train_source.seek(good, int(state.dropped.numpy()), print_line)
        self._summaries.close()
        self._keeper.rewind(good)
        self._speed_reference = good, time.monotonic()
        what = "not finite" if spike is None else spike
        print_line(f"step {step:,}: {what}; back to step {good:,}, past the {step - good:,} batches since.")
        return good

    def _ended(self, interrupt: Interrupt) -> bool:
        """Whether training is to stop here; raises what has become of a save in the meantime."""
        if self._directory is not None and self._checkpoints is not None:
            try:
                self._checkpoints.look()
            except OSError:
                # Which says more, if that is why.
                self._directory.check_held()
                raise
        return interrupt.asked() or self._callbacks.stop or self._patience_is_over()

    def _patience_is_over(self) -> bool:
        patience = self._run.settings.early_stopping
        return patience is not None and int(self._state.waited.numpy()) >= patience

    def _judged(self, what: str, source: Source) -> dict[str, float]:
        return self._run.steps.evaluate(source, self._report.part(what, source.num_examples or 0))

    def _finish(self, step: int) -> dict[str, Any]:
        run = self._run
        if step < run.timeline.total_steps:
            why = (
                "a callback asked for it"
                if self._callbacks.stop
                else f"no better evaluation for {run.settings.early_stopping}"
            )
            self._print(f"stopped early at step {step:,}: {why}.")
            if self._checkpoints is not None:
                self._save(step)
        if self._checkpoints is not None:
            self._checkpoints.wait()
            if not self._best.known and run.validation_source is not None:
                # The best was lost, and no evaluation has come since.
                self._keep_best(step, run.steps.evaluate(run.validation_source))
                self._checkpoints.wait()
        ending = Ending(run, self._directory, self._best, self._summaries, self._model_file, self._judged)
        document = ending.document(step)
        if not run.train_source.indexed:
            directory = None if self._directory is None else self._directory.path
            document["waiting_share"] = self._waiting.in_all(directory)
        if self._directory is None:
            return document
        self._summaries.end(step, document["feasible"])
        self._summaries.close()
        text = json.dumps(document, indent=2, allow_nan=False)
        self._directory.check_held()
        files.write_atomically(self._directory.path / run_directory.CERTIFICATE, text + "\n")
        return document


def _written(what: str, results: dict[str, float]) -> str:
    """Results in a line: `train loss 0.1234  accuracy 0.9876`."""
    return f"{what} " + "  ".join(f"{name} {value:.4f}" for name, value in results.items())
