"""A run under way: what is done between chunks, from the first step to the certificate."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np

from . import experiment
from .data.source import Source
from .data.stream import Stream
from .engine import divergence, loop
from .engine.divergence import Spikes
from .engine.train_step import Chunk
from .experiment import Experiment
from .reporting import certificate, run_card, tensorboard
from .reporting.console import Progress, say
from .reporting.quantities import number
from .runtime import errors, replicas
from .runtime.signals import Interrupt
from .settings import differences, naming
from .settings.config import Config
from .storage import event_files, files, run_directory
from .storage.checkpoints import Checkpoints, read_weights
from .storage.run_directory import RunDirectory


def directory_of(config: Config) -> RunDirectory:
    """The directory of the run that the settings describe; nothing is written yet."""
    return RunDirectory(
        config.directory(),
        config.identity(),
        resume=config.resume,
        overwrite=config.overwrite,
        dry_run=config.dry_run,
    )


class Session:
    """Trains an experiment in its run directory, or goes on where an earlier session stopped.

    Args:
      built: the experiment.
      directory: where the run is kept.
    """

    def __init__(self, built: Experiment, directory: RunDirectory):
        self._experiment = built
        self._directory = directory
        self._state = built.state
        self._checkpoints: Checkpoints
        self._summaries = tensorboard.Summaries(directory.path, built.targets, log=say)
        self._report = Progress(built.timeline.total_steps)
        self._start = 0
        self._mark = 0, 0.0
        # Totals that summaries took since the last line about an evaluation, and those of the present that it showed.
        self._nothing = np.zeros(built.steps.num_totals)
        self._taken, self._shown = self._nothing, self._nothing
        # Steps that are not finite, as far as they were reported; returns to the newest checkpoint since it was saved.
        self._told = 0
        self._returns = 0
        self._spikes = Spikes(built.config.max_spike, built.state.recent)

    def begin(self, flagfile: str) -> None:
        """Takes the run directory and restores the newest checkpoint there is.

        Args:
          flagfile: the flags that make this run.

        Raises:
          ValueError: the directory cannot be used, or none of its checkpoints is whole.
        """
        built = self._experiment
        facts = {
            "seed": built.config.seed,
            **dataclasses.asdict(built.timeline),
            "splits": built.splits,
            **run_card.facts(built.model, built.strategy.num_replicas_in_sync),
        }
        resumed = self._directory.open(flagfile, facts)
        self._checkpoints = Checkpoints(
            self._directory.checkpoints,
            built.model,
            built.optimizer,
            built.state,
            log=say,
            rules=[variable for target in built.targets for variable in target.state],
            run=self._directory.identity(),
            saved=self._directory.note_saved,
            position=built.train_source if isinstance(built.train_source, Stream) else None,
        )
        if not self._directory.exclusive:
            say(
                f"warning: {self._directory.path} is on a file system without locks: a second run would not be noticed."
            )
        step = self._checkpoints.restore() if resumed else None
        if resumed:
            self._tell_lost(step)
            back = -1 if step is None else step
            self._checkpoints.return_best(back)
            self._summaries.rewind(back)
        if step is None:
            config = self._experiment.config
            settings = tensorboard.readable(differences.as_flags(config.identity()))
            # Several rules have a constraint each; one column tells such runs from those of a single rule.
            settings["constraint"] = "+".join(rule.name for rule in config.rules)
            # TensorBoard sorts columns by name, after those that differ: these two, what the run is, come first.
            settings["(rules)"] = "; ".join(" ".join(naming.rule(rule)) for rule in config.rules)
            settings["(settings)"] = " ".join(naming.changed(config)) or "defaults"
            under = " and ".join(sorted({rule.name for rule in config.rules}))
            variables = run_card.variable_table(built.model, built.targets, 0)
            title = f"{config.model} on {config.dataset} under {under}"
            self._summaries.begin(settings, run_card.card(title, settings, variables))
        where = f"continues at step {step:,}" if step is not None else "starts at step 0"
        say(f"run directory {self._directory.path}: {where} of {self._experiment.timeline.total_steps:,}")
        say(experiment.data_line(built))
        for warning in built.warnings:
            say(f"warning: {warning}")
        self._start = step or 0
        if self._experiment.config.jit == "auto":
            self._choose()

    def _tell_lost(self, step: int | None) -> None:
        """Says which checkpoints are gone; raises ValueError where all are, as a run does not begin again by itself."""
        saved = self._directory.saved()
        if step is not None and saved is not None and saved > step:
            say(
                f"warning: this run had saved step {saved:,}, of which there is no good checkpoint any more; "
                f"the {saved - step:,} steps since step {step:,} are made again"
            )
        if step is not None:
            return
        certificate_file = self._directory.path / run_directory.CERTIFICATE
        if saved is not None or certificate_file.exists():
            what = f"{certificate_file} says that this run ended" if saved is None else f"this run saved step {saved:,}"
            raise ValueError(
                f"{what}, but {self._directory.checkpoints} holds no checkpoint of it; restore one from a backup, or "
                "add --overwrite to begin again."
            )
        say("the run in this directory was stopped before its first checkpoint, so it begins again")

    def run(self, interrupt: Interrupt) -> dict[str, Any] | None:
        """Trains to the end.

        Args:
          interrupt: asked between chunks whether to save and stop.

        Returns:
          The certificate, also written as `certificate.json`; None when a signal came before there was only that left
          to do: then all is saved.
        """
        config, timeline = self._experiment.config, self._experiment.timeline
        self._start = int(self._experiment.optimizer.iterations.numpy())
        self._experiment.train_source.seek(self._start, int(self._state.dropped.numpy()), say)
        self._mark = self._start, time.monotonic()
        self._shown = self._state.totals.numpy()
        actions = [
            loop.Every(timeline.interval(config.summary_every, "--summary_every"), self._summarise),
            loop.Every(timeline.interval(config.eval_every, "--eval_every"), self._evaluate),
            loop.Every(timeline.interval(config.histogram_every, "--histogram_every"), self._draw),
            # Last, so that a checkpoint holds what the others changed.
            loop.Every(timeline.interval(config.checkpoint_every, "--checkpoint_every"), self._save),
        ]
        if (config.on_nonfinite == "rollback" or config.max_spike is not None) and not self._checkpoints.steps():
            # What there is to go back to before the first checkpoint is due.
            self._save(self._start)
        step = loop.run(
            self._experiment.steps,
            self._state,
            actions,
            start=self._start,
            total_steps=timeline.total_steps,
            steps_per_loop=config.steps_per_loop,
            measure_every=actions[0].interval,
            report=self._report.step,
            stop=lambda: self._ended(interrupt),
            max_nonfinite=config.nonfinite_in_a_row,
            recover=self._go_back,
        )
        if interrupt.asked():
            # After the last step too: the evaluation for the certificate may take longer than there is time.
            self._save(step)
            self._checkpoints.wait()
            self._summaries.close()
            say(f"{interrupt.name}: saved at step {step:,}; the same command continues the run.")
            return None
        return self._finish(step)

    def _choose(self) -> None:
        """Decides whether XLA compiles the step; once for a run, whose bits must not depend on where it stopped."""
        state, timeline = self._state, self._experiment.timeline
        if int(state.jit.numpy()) < 0:
            remaining = timeline.total_steps - self._start
            autotune = experiment.jit_autotune(self._experiment, self._start)
            jit, reason = autotune.choose(remaining, self._experiment.config.steps_per_loop)
            state.jit.assign(int(jit))
        else:
            jit, reason = bool(state.jit.numpy()), "as before"
        self._experiment.steps.jit = jit
        say(f"jit: {'on' if jit else 'off'} ({reason})")

    def close(self) -> None:
        """Gives the run directory back, once nothing is written there any more."""
        # There are none where `begin` refused the directory.
        if hasattr(self, "_checkpoints"):
            self._checkpoints.close()
        self._directory.close()

    def _summarise(self, step: int, chunk: Chunk) -> int | None:
        # Read at once: each operation on a variable takes a tenth of a step of the smallest network.
        totals = self._state.totals.numpy()
        means, count = self._experiment.steps.training_results(totals), int(self._state.nonfinite.numpy()[0])
        values: dict[str, float] = {
            "loss": means["loss"],
            "accuracy": means["accuracy"],
            "learning_rate": float(chunk.learning_rate),
            "steps_per_second": self._steps_per_second(step),
            # Anything but 1 means that the step is compiled again and again, which costs more than training.
            "traces": self._experiment.steps.num_traces["train"],
            "nonfinite": count,
        }
        if (new := count - self._told) > 0:
            self._told += new
            say(f"step {step:,}: {new:,} more steps had a loss or gradient that was not finite, and were left out.")
        if self._experiment.config.l1 or self._experiment.config.l2:
            values["penalty"] = means["penalty"]
        if (spike := self._spikes.described(values["loss"])) is not None:
            return self._go_back(step, count, spike)
        self._summaries.scalars("train", step, values | self._summaries.measures(step, chunk.measures.numpy()))
        self._state.totals.assign(self._nothing)
        self._taken, self._shown = self._taken + totals - self._shown, self._nothing
        return None

    def _trained(self) -> str:
        """Loss and accuracy of the steps since the last line that told them; nothing if there were none."""
        totals = self._state.totals.numpy()
        recent = self._taken + totals - self._shown
        self._taken, self._shown = self._nothing, totals
        means = self._experiment.steps.training_results(recent)
        return f"train loss {means['loss']:.4f}  accuracy {means['accuracy']:.4f}  " if recent[-1] > 0 else ""

    def _steps_per_second(self, step: int) -> float:
        (step_then, time_then), self._mark = self._mark, (step, time.monotonic())
        return (step - step_then) / max(self._mark[1] - time_then, 1e-9)

    def _evaluate(self, step: int, chunk: Chunk | None = None) -> None:
        del chunk
        result = self._judged("validation", self._experiment.steps.eval_source)
        self._summaries.evaluation(step, result)
        better = self._keep_best(step, result)
        if not better:
            self._state.waited.assign_add(1)
        if self._patience_is_over():
            # This became the last step, and the last step projects fully.
            self._experiment.steps.project_fully()
        validated = f"validation loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}"
        self._report.line(step, f"{self._trained()}{validated}{'  best so far' if better else ''}")

    def _keep_best(self, step: int, result: dict[str, float]) -> bool:
        """Saves the weights of an evaluation if it is the best so far, and says whether it is."""
        best_accuracy, best_loss, _ = np.asarray(self._state.best)
        better = (result["accuracy"], -result["loss"]) > (best_accuracy, -best_loss)
        if better:
            self._state.best.assign([result["accuracy"], result["loss"], step])
            self._state.waited.assign(0)
            self._directory.check_held()
            self._checkpoints.save_best(wait=False)
        return better

    def _draw(self, step: int, chunk: Chunk | None = None) -> None:
        del chunk
        self._summaries.histograms(step)

    def _save(self, step: int, chunk: Chunk | None = None) -> None:
        del step, chunk
        self._summaries.look()
        self._directory.check_held()
        self._checkpoints.save(wait=False)
        self._returns = 0

    def _go_back(self, step: int, count: int, spike: str | None = None) -> int:
        """Goes back to the newest checkpoint, and past the batches since.

        Args:
          step: where training is.
          count: how many steps of the run were not finite.
          spike: what is the matter with the loss, where it is finite.

        Returns:
          The checkpoint's step.

        Raises:
          failures.NonFiniteError: that is not wanted, or did not help.
        """
        state = self._state
        end = divergence.reason_to_stop(self._experiment.config, step, self._checkpoints.steps(), self._returns, spike)
        if end is not None:
            raise errors.NonFiniteError(end)
        dropped = int(state.dropped.numpy())
        good = self._checkpoints.restore()
        assert good is not None, "a checkpoint is saved before the first step"
        self._checkpoints.return_best(good)
        self._returns += 1
        self._told = count
        state.nonfinite.assign([count, 0])
        state.dropped.assign(dropped + step - good)
        self._experiment.train_source.seek(good, int(state.dropped.numpy()), say)
        self._summaries.close()
        self._summaries.rewind(good)
        self._mark = good, time.monotonic()
        self._taken, self._shown = self._nothing, state.totals.numpy()
        what = "not finite" if spike is None else spike
        say(f"step {step:,}: {what}; back to step {good:,}, past the {step - good:,} batches since.")
        return good

    def _ended(self, interrupt: Interrupt) -> bool:
        """Whether training is to stop here; raises what has become of a save in the meantime."""
        try:
            self._checkpoints.look()
        except OSError:
            # Which says more, if that is why.
            self._directory.check_held()
            raise
        return interrupt.asked() or self._patience_is_over()

    def _patience_is_over(self) -> bool:
        patience = self._experiment.config.early_stopping
        return patience is not None and int(self._state.waited.numpy()) >= patience

    def _judged(self, what: str, source: Source) -> dict[str, float]:
        return self._experiment.steps.evaluate(source, self._report.part(what, source.num_examples or 0))

    def _evaluation_of_best(self) -> dict[str, float] | None:
        """Evaluates the best checkpoint on the test split, and leaves the weights as they are."""
        built = self._experiment
        last = [variable.numpy() for variable in built.model.variables]
        try:
            read_weights(self._directory.checkpoints / "best", built.model, "best checkpoint")
            return self._judged("test of the best", built.test_source)
        except ValueError as error:
            say(f"warning: the best checkpoint is not judged on the test split: {error}")
            return None
        finally:
            for variable, value in zip(built.model.variables, last, strict=True):
                variable.assign(value)

    def _finish(self, step: int) -> dict[str, Any]:
        built = self._experiment
        if step < built.timeline.total_steps:
            say(f"stopped early at step {step:,}: no better evaluation for {built.config.early_stopping}.")
            self._save(step)
        self._checkpoints.wait()
        if float(self._state.best[0]) < 0.0:
            # The best was lost, and no evaluation has come since.
            self._keep_best(step, built.steps.evaluate())
            self._checkpoints.wait()
        best_accuracy, best_loss, best_step = np.asarray(self._state.best).tolist()
        evaluation = self._judged("test", built.test_source)
        of_best = evaluation if best_step == step else self._evaluation_of_best()
        tested = {f"{event_files.TEST}{name}": value for name, value in evaluation.items()}
        tested |= {f"{event_files.TEST}best/{name}": value for name, value in (of_best or {}).items()}
        self._summaries.scalars("eval", step, tested)
        document = {
            **certificate.certify(built.targets, step),
            "sparsity": self._summaries.total_sparsity(),
            "splits": built.splits,
            "evaluation": _numbers(evaluation),
            "best": {
                "accuracy": best_accuracy,
                "loss": number(best_loss),
                "step": int(best_step),
                "test": of_best and _numbers(of_best),
            },
            "replicas": {
                "count": built.strategy.num_replicas_in_sync,
                "identical": replicas.copies_equal(built.model.variables),
            },
        }
        self._summaries.end(step, document["feasible"])
        self._summaries.close()
        text = json.dumps(document, indent=2, allow_nan=False)
        self._directory.check_held()
        files.write_atomically(self._directory.path / run_directory.CERTIFICATE, text + "\n")
        return document


def _numbers(evaluation: dict[str, float]) -> dict[str, float | None]:
    return {name: number(value) for name, value in evaluation.items()}
