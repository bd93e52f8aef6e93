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
from . import class_weight, naming, rules, splits, user_files
from .checks import check_choice
from .rule import Rule
from .rules import TARGETS
from .run import RunSettings, setting

TASKS = ("classification", "multilabel", "regression", "reconstruction")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")

# Flags of `python -m trainer.export` that `--export_with` takes.
EXPORT_OPTIONS = ("benchmark", "compact", "low_rank")

DEFAULT_EPOCHS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunSettings):
    """Everything that decides what a run computes, and where it is kept.

    Raises:
      ValueError: a value is out of its range; the message names the flag, the value and what was expected.
    """

    model: str = setting("mlp", "Network to train, or the path of a .keras file.")
    model_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    init_from: str | None = setting(
        None, "Weights to begin with: a run directory, a .keras file or a .weights.h5 file.", later=True
    )
    dataset: str = setting(
        "digits",
        "digits, breast_cancer, synthetic, any TensorFlow Datasets name, or a path: .npz, .csv, .tsv, .parquet, a "
        "folder of images or texts by class, or the folder of a prepared TensorFlow Datasets set.",
    )
    data_dir: str | None = setting(None, "Folder of prepared data sets (default: TensorFlow Datasets' own).")
    train_split: str = setting("train", "Examples to train on; slices such as train[:80%] work.")
    validation_split: str = setting(
        "0.1",
        "Examples to choose the best checkpoint and the early stop on: a share of the training split, which is not "
        "trained on, or a split or slice of its own, such as train[80%:].",
    )
    test_split: str | None = setting(
        None,
        "Examples that the finished run is judged on, once (default: test, or else the validation split; of a file "
        "without a test part a share of the training split, 0.2).",
    )
    input_shape: tuple[int, ...] | None = setting(None, "Shape of one synthetic example, such as 28,28,1.", minimum=1)
    num_classes: int | None = setting(None, "Number of classes (default: what the data set says).", minimum=2)
    num_examples: int | None = setting(None, "Number of synthetic training examples.", minimum=1)
    label: tuple[str, ...] = setting((), "Column of a table to predict, or several with commas.", later=True)
    text: str | None = setting(None, "Column of a table that holds text, the only input then.", later=True)
    weight: str | None = setting(None, "Column of a table that weighs examples.", later=True)
    drop: tuple[str, ...] = setting((), "Columns of a table to leave out.", later=True)
    image_size: tuple[int, ...] | None = setting(
        None, "Height and width to resize the images of a folder to, such as 32,32.", minimum=1, later=True
    )
    skip_damaged: bool = setting(False, "Leave out images of a folder that cannot be decoded.", later=True)
    vocabulary_size: int | None = setting(
        None, "Most words that the vocabulary of texts keeps (default: 20000).", minimum=3, maximum=10**6, later=True
    )
    text_length: int | None = setting(
        None,
        "Words of a text that are kept (default: decided by the training texts).",
        minimum=1,
        maximum=10**6,
        later=True,
    )
    augment: tuple[str, ...] = setting(
        (), "How training images change at random: flip, crop, rotate, zoom, brightness, contrast.", later=True
    )
    task: str | None = setting(
        None, "What is learnt from the labels (default: decided by them).", choices=TASKS, later=True
    )
    loss: str | None = setting(None, "Name of a Keras loss, such as huber (default: that of the task).", later=True)
    metrics: tuple[str, ...] = setting(
        (), "Names of Keras metrics, such as auc,precision (default: those of the task).", later=True
    )
    class_weight: str | None = setting(
        None, "What the loss of a class's examples is multiplied by: balanced, or 0:1,1:5.", later=True
    )
    label_smoothing: float = setting(
        0.0, "Share of a label that goes to the other classes.", minimum=0, below=1, later=True
    )
    rules: tuple[Rule, ...] = dataclasses.field(default_factory=lambda: (Rule(constraints.Unconstrained()),))
    optimizer: str = setting("adam", "Optimizer.", choices=OPTIMIZERS)
    learning_rate: float = setting(1e-3, "Learning rate; the peak one where it has a schedule.", above=0)
    learning_rate_schedule: str = setting("constant", "Schedule of the learning rate after its warm-up.")
    final_learning_rate: float | None = setting(None, "Where the learning rate's schedule ends.", minimum=0)
    warmup: str = setting("0", "Length of the linear warm-up from zero: steps, 5% or 1ep.", point=True)
    momentum: float = setting(0.9, "Momentum of sgd and rmsprop.", minimum=0, below=1)
    weight_decay: float | None = setting(None, "Decoupled weight decay of adamw (default: 0.004).", minimum=0)
    l1: float = setting(0.0, "L1 penalty on the constrained variables.", minimum=0)
    l2: float = setting(0.0, "L2 penalty on the constrained variables.", minimum=0)
    batch_size: int = setting(32, "Examples in one step, over all replicas.", minimum=1)
    epochs: int | None = setting(None, "Passes over the training examples (default: 20).", minimum=1, maximum=10**6)
    train_steps: int | None = setting(None, "Optimizer steps, in place of --epochs.", minimum=1, maximum=10**9)
    export: tuple[str, ...] = setting(
        (), "Formats to write into the run's export folder at the end, such as keras,tflite,sparse."
    )
    export_with: tuple[str, ...] = setting(
        (), f"How --export writes: {', '.join(EXPORT_OPTIONS)}; `python -m trainer.export` has more."
    )
    target: str | None = setting(
        None,
        "Where the exports will run: tflite has `block` take 16,1 as its --block, and TFLite files leave zeros out.",
        choices=TARGETS,
    )
    dry_run: bool = setting(False, "Print the table of variables and stop; nothing is written.")

    def __post_init__(self) -> None:
        super().__post_init__()
        splits.share(self.validation_split)
        if self.test_split is not None:
            splits.share(self.test_split, "--test_split")
        if self.image_size is not None and len(self.image_size) != 2:
            size = ",".join(map(str, self.image_size))
            raise ValueError(f"--image_size={size} is no height and width; write two numbers, such as 32,32.")
        if self.class_weight is not None:
            class_weight.parsed(self.class_weight)
        for option in self.export_with:
            check_choice(f"--export_with={option}", option, EXPORT_OPTIONS)
        if self.export_with and not self.export:
            raise ValueError(
                f"--export_with={','.join(self.export_with)} says how --export writes; add --export=keras, or leave it "
                "out."
            )
        if self.init_from is not None:
            object.__setattr__(self, "init_from", user_files.local(self.init_from, "--init_from"))
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", user_files.local(self.data_dir, "--data_dir"))
        if self.epochs is not None and self.train_steps is not None:
            raise ValueError(
                f"--epochs={self.epochs} and --train_steps={self.train_steps} both set the length of the run; give one."
            )
        if self.epochs is None and self.train_steps is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)
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

    def identity(self) -> dict[str, Any]:
        """What the run computes, as plain JSON values: two commands with the same identity are the same run."""
        own = {"model_options": dict(self.model_options), "rules": [rule.to_table() for rule in self.rules]}
        return json.loads(json.dumps(super().identity() | own))

    def as_recorded(self, settings: Mapping[str, Any]) -> Config:
        """These settings with the rules and the warm-up of an `identity`, which has places of its own."""
        tables = enumerate(settings["rules"], start=1)
        rules_ = tuple(rules.rule_from_table(table, f"run.json, rule {number}") for number, table in tables)
        return dataclasses.replace(self, warmup=settings["warmup"], rules=rules_)

    def directory(self) -> str:
        """The run directory: the one given, or a readable name that differs whenever the identity does."""
        if self.run_dir is not None:
            return self.run_dir
        return f"runs/{naming.directory(self)}"
