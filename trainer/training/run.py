"""Everything a run needs, put together and not yet begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ..data.source import Source
from ..engine.course import Course
from ..engine.jit_autotune import JitAutotune
from ..engine.run_state import RunState
from ..engine.train_step import Steps
from ..rules.target import Target
from ..settings.run import RunSettings
from ..settings.timeline import Timeline
from ..storage.run_directory import RunDirectory
from .serving import Serving


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of a run; nothing has been written.

    Attributes:
      settings: how it is trained and where it is kept.
      title: model, data and rules in a few words.
      identity: what it computes, as plain JSON values: two runs of one identity are the same.
      shown: setting -> value, as a dashboard shows them.
      splits: the parts of the data, each with its number of `examples`.
      data_line: what each part of the data is for, in a sentence; empty where there is nothing to say.
      task_line: what is learnt, and how that was found; empty where there is nothing to say.
      task: what is learnt, as plain JSON values.
      files: what the run reads -> a fingerprint of its content; another content is another run.
      warnings: what the user should know of the data, a sentence each.
      train_source: batches to learn from.
      courses: what a run of the recorded settings does at each step of a timeline, as far as its length decides it, see
        `trainer.engine.course`.
      validation_source: examples to choose the best weights on; None: there is no best.
      test_source: examples that the finished run is judged on, once; None: it is not.
      serving: what stands around the network in `model.keras`.
    """

    settings: RunSettings
    title: str
    identity: dict[str, Any]
    shown: dict[str, Any]
    timeline: Timeline
    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    targets: list[Target]
    steps: Steps
    train_source: Source
    validation_source: Source | None
    test_source: Source | None
    state: RunState
    courses: Callable[[dict[str, Any], Timeline], dict[str, Course]]
    splits: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    data_line: str = ""
    task_line: str = ""
    task: dict[str, Any] | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    serving: Serving = dataclasses.field(default_factory=Serving)

    def directory(self) -> RunDirectory | None:
        """Where the run is kept; None: nowhere."""
        settings = self.settings
        if settings.run_dir is None:
            return None
        return RunDirectory(settings.run_dir, self.identity, resume=settings.resume, overwrite=settings.overwrite)

    @property
    def step(self) -> int:
        """The step that the weights are at."""
        return self.steps.step

    def jit_autotune(self, step: int) -> JitAutotune:
        """Steps from a given one that are taken back, see `trainer.engine.jit_autotune`."""
        remembered = [variable for target in self.targets for variable in target.state]
        metrics = self.steps.objective.metric_copies
        changed = [*self.model.variables, *self.optimizer.variables, *remembered, *metrics]
        return JitAutotune(self.steps, changed, self.train_source.seek, step)
