"""How a run is trained and where it is kept, whatever it trains."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Self

from . import timeline, user_files
from .checks import check_choice, check_number, suggestion

RESUME = ("auto", "never", "must")
JIT = ("auto", "off", "on")
ON_NONFINITE = ("abort", "rollback", "skip")

# Settings that do not affect the result. They may change when a run is resumed.
CIRCUMSTANCES = frozenset(
    {
        *("data_dir", "dry_run", "export", "export_with", "overwrite", "resume", "run_dir", "save_model"),
        *("steps_per_loop", "target"),
    }
)


def setting(default: Any, text: str, **limits: Any) -> Any:
    """Declares a setting: its default, its `--help` text and its limits.

    Args:
      default: the value when the user says nothing; None means "decided at the start of the run".
      text: one line for `--help`.
      **limits: `above`, `minimum`, `below`, `maximum` (numbers), `choices` (a tuple), `point` or `interval` (the value
        is a place in the run or a distance between repetitions, see `trainer.settings.timeline`), `later` (runs were
        recorded before there was this setting, so that it is part of a run only where it was set).
    """
    return dataclasses.field(default=default, metadata={"help": text, **limits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is trained and where it is kept.

    Each field is declared once: the command line makes a flag of it, `--help` prints its text, `run.json` records its
    value, and `Trainer` takes it by its name.

    Attributes:
      monitor: the number that the best weights are chosen by; None: the accuracy where there is one, else the loss.
      mode: whether it is better when it is "max" or "min"; "auto" goes by its name.
      validation_freq: evaluations from one that looks at validation examples to the next.

    Raises:
      ValueError: a value is out of its range; the message names the setting, the value and what was expected.
    """

    clip_norm: float | None = setting(None, "Largest norm of the whole gradient.", above=0)
    steps_per_loop: int = setting(100, "Most steps in one call of the compiled loop.", minimum=1, maximum=10**6)
    jit: str | None = setting(
        None,
        "Whether XLA compiles the step, but for projections; auto times both (default: off, auto if nondeterministic).",
        choices=JIT,
    )
    deterministic: bool = setting(True, "The same command makes the same bits, interrupted or not.")
    seed: int = setting(0, "Seed of the weights, the order of the examples and dropout.", minimum=0, maximum=2**31 - 1)
    num_replicas: int | None = setting(None, "Replicas (default: every GPU, else one CPU).", minimum=1, maximum=64)
    run_dir: str | None = setting(None, "Folder of the run (default: runs/ and a name made from the settings).")
    resume: str = setting(
        "auto", "Continue the run in the run directory: if there is one, never, or always.", choices=RESUME
    )
    overwrite: bool = setting(False, "Delete an earlier run in the run directory and start anew.")
    save_model: bool = setting(True, "Write model.keras: raw examples in, answers out, in stock Keras.")
    summary_every: str = setting("100", "TensorBoard scalars: every so many steps, 1% or 1ep.", interval=True)
    histogram_every: str = setting("10%", "TensorBoard histograms: every so many steps, 10% or 5ep.", interval=True)
    eval_every: str = setting("1ep", "Evaluation: every so many steps, 5% or 1ep.", interval=True)
    checkpoint_every: str = setting("10%", "Checkpoints: every so many steps, 10% or 1ep.", interval=True)
    on_nonfinite: str = setting(
        "skip",
        "What a loss or gradient that is not finite does: leave its step out, go back to the last checkpoint, or stop.",
        choices=ON_NONFINITE,
    )
    max_nonfinite_steps: int = setting(
        10, "Stop after so many steps in a row that are not finite.", minimum=1, maximum=10**9
    )
    max_rollbacks: int = setting(
        10, "Stop after so many returns to one checkpoint, by a rollback or a spike.", minimum=1, maximum=10**9
    )
    max_spike: float | None = setting(
        None,
        "Go back to the last checkpoint when the training loss is more than so many times the recent one.",
        above=1,
    )
    early_stopping: int | None = setting(
        None, "Stop after so many evaluations without a better one.", minimum=1, maximum=10**9
    )
    monitor: str | None = None
    mode: str = "auto"
    validation_freq: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "help" in field.metadata:
                check(field.name, getattr(self, field.name), field.metadata)
        check_choice(f"--mode={self.mode}", self.mode, ("auto", "max", "min"))
        check_number("--validation_freq", self.validation_freq, {"minimum": 1})
        if self.run_dir is not None:
            object.__setattr__(self, "run_dir", user_files.local(os.fspath(self.run_dir), "--run_dir"))
        if self.jit is None:
            # What a clock decides need not come out the same twice.
            object.__setattr__(self, "jit", "off" if self.deterministic else "auto")
        if self.overwrite and self.resume == "must":
            raise ValueError("--overwrite deletes the run that --resume=must is to continue; give one of the two.")

    @classmethod
    def for_python(cls, **settings: Any) -> Self:
        """The settings of a `Trainer`: without a run directory nothing is written, and nothing can be gone back to.

        Raises:
          TypeError: an unknown setting.
          ValueError: as the class, or a setting that needs a run directory.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise TypeError(f"{name} is no setting; {suggestion(name, known)}there are {', '.join(known)}.")
        made = cls(**{"deterministic": settings.get("run_dir") is not None, **settings})
        returning = made.on_nonfinite == "rollback" or made.max_spike is not None
        if made.run_dir is None and returning:
            which = "on_nonfinite=rollback" if made.max_spike is None else f"max_spike={made.max_spike:g}"
            raise ValueError(f"{which} goes back to a checkpoint, which only a run_dir has; give one.")
        return made

    @property
    def nonfinite_in_a_row(self) -> int:
        """Steps in a row that are not finite after which the compiled loop asks what to do."""
        return self.max_nonfinite_steps if self.on_nonfinite == "skip" else 1

    def identity(self) -> dict[str, Any]:
        """The settings that decide what a run computes."""
        own = {field.name: (field, getattr(self, field.name)) for field in dataclasses.fields(self)}
        # What is no flag counts where it was set, and so does a flag that came later.
        always = {
            name for name, (field, _) in own.items() if "help" in field.metadata and "later" not in field.metadata
        }
        return {
            name: value
            for name, (field, value) in own.items()
            if name not in CIRCUMSTANCES and (name in always or value != field.default)
        }


def check(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raises ValueError when `value` is outside what the setting `name` takes."""
    if value is None or isinstance(value, bool):
        return
    if "choices" in limits:
        check_choice(f"--{name}={value}", value, limits["choices"])
    if limits.get("interval"):
        timeline.Timeline(1, 1).interval(value, f"--{name}")
    if limits.get("point"):
        timeline.parse(value, f"--{name}")
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"--{name} is empty; leave the flag out for its default, or give it a value.")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)):
            check_number(f"--{name}", number, limits)
