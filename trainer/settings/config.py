"""The settings of a run: frozen, and valid by construction.

A field of `Config` is declared once; the command line makes a flag of it, `--help` prints its text and `run.json`
records its value.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..packages import constraints
from ..runtime import user_files
from . import naming, splits, timeline
from .checks import check_choice, check_number
from .rule import Rule

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
RESUME = ("auto", "never", "must")
JIT = ("auto", "off", "on")
ON_NONFINITE = ("abort", "rollback", "skip")

DEFAULT_EPOCHS = 20

# What says where a run lives and how it is started, not what it computes: free to differ when a run is continued.
CIRCUMSTANCES = frozenset({"data_dir", "dry_run", "overwrite", "resume", "run_dir", "steps_per_loop"})


def setting(default: Any, text: str, **limits: Any) -> Any:
    """Declares a setting: its default, its `--help` text and its limits.

    Args:
      default: the value when the user says nothing; None means "decided at the start of the run".
      text: one line for `--help`.
      **limits: `above`, `minimum`, `below`, `maximum` (numbers), `choices` (a tuple), `point` or `interval` (the value
        is a place in the run or a distance between repetitions, see `trainer.settings.timeline`).
    """
    return dataclasses.field(default=default, metadata={"help": text, **limits})


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes, and where it is kept.

    Raises:
      ValueError: a value is out of its range; the message names the flag, the value and what was expected.
    """

    model: str = setting("mlp", "Network to train.")
    model_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dataset: str = setting("digits", "digits, breast_cancer, synthetic, or any TensorFlow Datasets name.")
    data_dir: str | None = setting(None, "Folder of prepared data sets (default: TensorFlow Datasets' own).")
    train_split: str = setting("train", "Examples to train on; slices such as train[:80%] work.")
    validation_split: str = setting(
        "0.1",
        "Examples to choose the best checkpoint and the early stop on: a share of the training split, which is not "
        "trained on, or a split or slice of its own, such as train[80%:].",
    )
    test_split: str | None = setting(
        None, "Examples that the finished run is judged on, once (default: test, or else the validation split)."
    )
    input_shape: tuple[int, ...] | None = setting(None, "Shape of one synthetic example, such as 28,28,1.", minimum=1)
    num_classes: int | None = setting(None, "Number of classes (default: what the data set says).", minimum=2)
    num_examples: int | None = setting(None, "Number of synthetic training examples.", minimum=1)
    rules: tuple[Rule, ...] = dataclasses.field(default_factory=lambda: (Rule(constraints.Unconstrained()),))
    optimizer: str = setting("adam", "Optimizer.", choices=OPTIMIZERS)
    learning_rate: float = setting(1e-3, "Learning rate; the peak one where it has a schedule.", above=0)
    learning_rate_schedule: str = setting("constant", "Schedule of the learning rate after its warm-up.")
    final_learning_rate: float | None = setting(None, "Where the learning rate's schedule ends.", minimum=0)
    warmup: str = setting("0", "Length of the linear warm-up from zero: steps, 5% or 1ep.", point=True)
    momentum: float = setting(0.9, "Momentum of sgd and rmsprop.", minimum=0, below=1)
    weight_decay: float | None = setting(None, "Decoupled weight decay of adamw (default: 0.004).", minimum=0)
    clip_norm: float | None = setting(None, "Largest norm of the whole gradient.", above=0)
    l1: float = setting(0.0, "L1 penalty on the constrained variables.", minimum=0)
    l2: float = setting(0.0, "L2 penalty on the constrained variables.", minimum=0)
    batch_size: int = setting(32, "Examples in one step, over all replicas.", minimum=1)
    epochs: int | None = setting(None, "Passes over the training examples (default: 20).", minimum=1, maximum=10**6)
    train_steps: int | None = setting(None, "Optimizer steps, in place of --epochs.", minimum=1, maximum=10**9)
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
    dry_run: bool = setting(False, "Print the table of variables and stop; nothing is written.")
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

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "help" in field.metadata:
                check(field.name, getattr(self, field.name), field.metadata)
        splits.share(self.validation_split)
        for name in ("data_dir", "run_dir"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, user_files.local(path, f"--{name}"))
        if self.epochs is not None and self.train_steps is not None:
            raise ValueError(
                f"--epochs={self.epochs} and --train_steps={self.train_steps} both set the length of the run; give one."
            )
        if self.epochs is None and self.train_steps is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)
        if self.jit is None:
            # What a clock decides need not come out the same twice.
            object.__setattr__(self, "jit", "off" if self.deterministic else "auto")
        if self.overwrite and self.resume == "must":
            raise ValueError("--overwrite deletes the run that --resume=must is to continue; give one of the two.")
        without_momentum = self.optimizer in ("rmsprop", "sgd") and self.momentum == 0
        for rule in self.rules:
            if rule.optimizer_state in ("mask", "tangent") and without_momentum:
                raise ValueError(
                    f"optimizer_state={rule.optimizer_state} needs a momentum, which --optimizer={self.optimizer} "
                    f"--momentum={self.momentum:g} does not keep; give it one, or leave optimizer_state out."
                )
        for name in ("momentum", "weight_decay"):
            takers = {"momentum": ("rmsprop", "sgd"), "weight_decay": ("adamw",)}[name]
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default and self.optimizer not in takers:
                raise ValueError(
                    f"--{name}={getattr(self, name)} means nothing to --optimizer={self.optimizer}; "
                    f"it belongs to {' and '.join(takers)}."
                )

    @property
    def nonfinite_in_a_row(self) -> int:
        """Steps in a row that are not finite after which the compiled loop asks what to do."""
        return self.max_nonfinite_steps if self.on_nonfinite == "skip" else 1

    def identity(self) -> dict[str, Any]:
        """What the run computes, as plain JSON values: two commands with the same identity are the same run."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in CIRCUMSTANCES]
        settings = {name: getattr(self, name) for name in names}
        return json.loads(json.dumps(settings | {"rules": [rule.to_table() for rule in self.rules]}))

    def directory(self) -> str:
        """The run directory: the one given, or a readable name that differs whenever the identity does."""
        if self.run_dir is not None:
            return self.run_dir
        return f"runs/{naming.directory(self)}"


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
