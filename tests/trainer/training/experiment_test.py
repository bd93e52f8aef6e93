"""Whole short runs in this process, from settings to certificate: every constraint, every model, and how runs end."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import models
from constraints import REGISTRY
from tests.support import processes, tensorboard_data, tiny_experiment
from tests.support.rules import rule_of
from tests.support.suites import KINDS, fast
from trainer.engine.train_step import Steps
from trainer.reporting import certificate, run_card
from trainer.runtime import errors
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.settings.rule import Rule
from trainer.storage import checkpoint_folders, run_directory
from trainer.training import experiment
from trainer.training.experiment import directory_of
from trainer.training.session import Session

TINY = {
    "autoencoder": {"hidden_units": (4,)},
    "convnet": {"filters": (3,), "dropout": 0.2},
    "gru": {"hidden_units": (4,)},
    "lenet5": {"filters": (3,), "hidden_units": (6,)},
    "logistic": {},
    "lstm": {"hidden_units": (4,)},
    "mlp": {"hidden_units": (6,), "dropout": 0.2},
    "mobilenet": {"filters": (2, 3)},
    "resnet": {"depth": 8, "filters": (2, 2, 2)},
    "textcnn": {"kernel_sizes": (3,), "filters": (4,)},
    "transformer": {"depth": 1, "width": 4, "num_heads": 2},
}


class At(Interrupt):
    """A signal that comes at a step, however long the machine takes to get there."""

    def __init__(self, step: int):
        super().__init__()
        self._step = step
        self.optimizer = None

    def asked(self) -> bool:
        if int(self.optimizer.iterations.numpy()) >= self._step:
            self.name = "SIGTERM"
        return super().asked()


def config(path, *rules: Rule, model: str = "logistic", **settings) -> Config:
    defaults = {
        "dataset": "synthetic",
        "input_shape": (6,),
        "num_classes": 3,
        # Of which 6 are held out.
        "num_examples": 46,
        "batch_size": 8,
        "train_steps": 10,
        "learning_rate": 0.05,
        "summary_every": "5",
        "eval_every": "5",
        "checkpoint_every": "5",
        "histogram_every": "10",
        "model_options": TINY[model],
    }
    return Config(run_dir=str(path), rules=rules or (rule_of(),), model=model, **{**defaults, **settings})


def trained(settings: Config, interrupt: Interrupt | None = None):
    """A run as `trainer.main` makes it: what was built, and the certificate."""
    directory = directory_of(settings)
    directory.check()
    built = experiment.build(settings)
    session = Session(built, directory)
    if isinstance(interrupt, At):
        interrupt.optimizer = built.optimizer
    try:
        session.begin("--flag=1\n")
        return built, session.run(interrupt or Interrupt())
    finally:
        session.close()


def read(path) -> dict:
    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads((path / "certificate.json").read_text(), parse_constant=refuse)


def weights(built) -> list[np.ndarray]:
    return [variable.numpy() for variable in [*built.model.variables, *built.optimizer.variables]]


@pytest.mark.parametrize("name", fast(REGISTRY, *KINDS[::2]))
def test_every_constraint(tmp_path, name):
    options = tiny_experiment.OPTIONS.get(name, {})
    built, result = trained(config(tmp_path / "run", rule_of(name, options)))
    assert result == read(tmp_path / "run")
    assert result["feasible"] is True
    assert result["variables"][0]["feasible"] is (None if REGISTRY[name].proximal else True)
    assert result["step"] == 10
    assert [(entry["path"], entry["constraint"]) for entry in result["variables"]] == [("output/kernel", name)]
    assert result["replicas"] == {"count": 1, "identical": True}
    kernel = built.model.get_layer("output").kernel.numpy()
    if not REGISTRY[name].proximal:
        assert tiny_experiment.same_bits([built.targets[0].constraint(kernel)], [kernel])
    points = tensorboard_data.scalars(tmp_path / "run")
    assert [step for step, _ in points["train/norm/output/kernel/max"]] == [5, 10]
    assert points["eval/test/loss"][-1][1] == pytest.approx(result["evaluation"]["loss"])
    assert built.steps.num_traces == {"train": 1, "evaluate": 2}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(
        run_directory.OWN - {run_directory.EXPORT, run_directory.PREPROCESSING}
    )


@pytest.mark.parametrize("name", fast(models.REGISTRY, "convnet", "gru", "logistic", "mlp"))
def test_every_model(tmp_path, name):
    settings = config(
        tmp_path / "run", rule_of("maxnorm", {"max_value": 0.5}), model=name, input_shape=(8, 8, 1), train_steps=4
    )
    built, result = trained(settings)
    assert result["feasible"] is True
    assert all(entry["norm"]["max"] <= 0.5 for entry in result["variables"])
    assert {entry["path"] for entry in result["variables"]} == {
        variable.path for variable in built.model.trainable_variables if variable.name.endswith("kernel")
    }
    assert math.isfinite(result["evaluation"]["loss"])
    table = run_card.variable_table(built.model, built.targets, 0)
    assert all(variable.path in table for variable in built.model.trainable_variables)


def test_two_classes_get_one_output(tmp_path):
    built, result = trained(config(tmp_path / "run", rule_of("nonneg"), num_classes=2, train_steps=40, l1=0.01))
    assert built.model.output_shape == (None, 1)
    assert result["evaluation"]["accuracy"] > 0.7
    assert tensorboard_data.scalars(tmp_path / "run")["train/penalty"][0][1] > 0


def test_an_l1_penalty_pulls_the_constrained_weights_and_no_others(tmp_path):
    rule = rule_of("nonneg", {}, ("hidden_1/kernel",))
    settings = {"model": "mlp", "train_steps": 60, "optimizer": "sgd", "momentum": 0.0}
    free, _ = trained(config(tmp_path / "free", rule, **settings))
    pulled, result = trained(config(tmp_path / "pulled", rule, l1=0.5, **settings))

    def size(built, layer):
        return np.abs(built.model.get_layer(layer).kernel.numpy()).sum()

    assert size(pulled, "hidden_1") < 0.3 * size(free, "hidden_1")
    assert size(pulled, "output") > 0.5 * size(free, "output")
    assert result["variables"][0]["zeros"] > 0


def test_a_schedule_with_places_in_percent_ends_where_it_says(tmp_path):
    bound = {"schedule": "cosine", "initial": 4.0, "final": 0.25, "begin": "10%", "end": "60%"}
    settings = config(tmp_path / "run", rule_of("maxnorm", {"max_value": bound}), summary_every="1")
    built, result = trained(settings)
    points = dict(tensorboard_data.scalars(tmp_path / "run")["train/bound/max_value/output/kernel"])
    expected = {step: 4.0 if step <= 1 else 0.25 if step >= 6 else None for step in range(1, 11)}
    for step, value in points.items():
        formula = 0.25 + 3.75 * (1 + math.cos(math.pi * min(max((step - 1) / 5, 0), 1))) / 2
        assert value == pytest.approx(expected[step] or formula, rel=1e-6)
    norms = dict(tensorboard_data.scalars(tmp_path / "run")["train/norm/output/kernel/max"])
    assert points.keys() == norms.keys() == expected.keys()
    assert all(norms[step] <= points[step] * (1 + 1e-6) for step in points)
    assert result["variables"][0]["bound"] == {"max_value": 0.25}
    assert result["feasible"] is True
    assert built.steps.num_traces["train"] == 1


def test_a_run_that_is_projected_seldom_and_by_halves_ends_feasible(tmp_path):
    rule = rule_of("maxnorm", {"max_value": 0.1}, project_every=4, relaxation=0.5)
    _, result = trained(config(tmp_path / "run", rule))
    assert result["feasible"] is True
    distance = dict(tensorboard_data.scalars(tmp_path / "run")["train/distance/output/kernel"])
    assert distance[5] > 0


@pytest.mark.parametrize("eval_every", ["4", "5"])
def test_early_stopping_ends_feasible_in_weights_and_checkpoint(tmp_path, monkeypatch, eval_every):
    rule = rule_of("maxnorm", {"max_value": 0.1}, project_every=7, relaxation=0.5)
    settings = config(tmp_path / "run", rule, train_steps=1000, early_stopping=2, eval_every=eval_every)
    # No evaluation is better than the first, though the weights move on.
    monkeypatch.setattr(Steps, "evaluate", lambda self, *rest: {"loss": 1.0, "accuracy": 0.5})
    built, result = trained(settings)
    assert result["step"] == 3 * int(eval_every)
    assert result["best"]["step"] == int(eval_every)
    assert result["feasible"] is True
    again = experiment.build(settings)
    directory = directory_of(settings)
    session = Session(again, directory)
    session.begin("")
    assert tiny_experiment.same_bits(weights(again), weights(built))
    assert session.run(Interrupt()) == result
    session.close()
    assert certificate.certify(again.targets, result["step"])["feasible"] is True


def test_training_starts_from_a_feasible_point(tmp_path):
    settings = config(tmp_path / "run", rule_of("maxnorm", {"max_value": 0.1}, relaxation=0.5, project_every=100))
    built = experiment.build(settings)
    assert certificate.certify(built.targets, 0)["feasible"] is True
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("replicas", fast([1, 2], 2))
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(tmp_path, replicas):
    bound = {"schedule": "linear", "initial": 2.0, "final": 0.3}
    rule = rule_of("maxnorm", {"max_value": bound})
    settings = {"model": "mlp", "num_replicas": replicas, "train_steps": 12, "steps_per_loop": 3}
    whole, result = trained(config(tmp_path / "whole", rule, **settings))
    assert result["replicas"] == {"count": replicas, "identical": True}
    _, nothing = trained(config(tmp_path / "broken", rule, **settings), At(0))
    assert nothing is None
    _, nothing = trained(config(tmp_path / "broken", rule, **settings), At(10))
    assert nothing is None
    # As if killed before it could save: what the event files say of later steps must go.
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "step-00000010")
    assert not (tmp_path / "broken" / "certificate.json").exists()
    broken, again = trained(config(tmp_path / "broken", rule, **settings))
    assert tiny_experiment.same_bits(weights(broken), weights(whole))
    assert again == result
    once, twice = (tensorboard_data.scalars(tmp_path / name) for name in ("whole", "broken"))
    assert once.keys() == twice.keys()
    assert all(twice[tag] == once[tag] for tag in once if "steps_per_second" not in tag)


def test_weights_that_are_not_finite_are_not_saved_and_end_the_run(tmp_path):
    rule = rule_of("maxnorm", {"max_value": 1.0})
    settings = config(
        tmp_path / "run", rule, model="mlp", optimizer="sgd", learning_rate=1e38, histogram_every="5", momentum=0.0
    )
    with pytest.raises(errors.NonFiniteError, match=r"is not saved: .* holds NaN or infinity"):
        trained(settings)
    assert not list((tmp_path / "run").glob("checkpoints/**/state.index"))
    assert not (tmp_path / "run" / "certificate.json").exists()


def test_what_is_written_is_the_mean_since_it_was_last_written(tmp_path):
    each, fifth = (tmp_path / "each", tmp_path / "fifth")
    trained(config(each, l2=0.1, summary_every="1"))
    trained(config(fifth, l2=0.1, summary_every="5"))
    each, fifth = tensorboard_data.scalars(each), tensorboard_data.scalars(fifth)
    for tag in ("loss", "accuracy", "penalty"):
        values = [value for _, value in each[f"train/{tag}"]]
        assert [step for step, _ in fifth[f"train/{tag}"]] == [5, 10]
        assert [value for _, value in fifth[f"train/{tag}"]] == pytest.approx(
            [np.mean(values[:5]), np.mean(values[5:])]
        )


def test_a_dry_look_writes_nothing(tmp_path):
    rule = rule_of("topk", {"sparsity": 0.5}, ("hidden_1/kernel",))
    built = experiment.build(config(tmp_path / "run", rule, model="mlp"))
    lines = run_card.variable_table(built.model, built.targets, 0).splitlines()
    header, (hidden,) = lines[0].split(), [line.split() for line in lines if line.startswith("hidden_1/kernel")]
    assert header[:5] == ["variable", "shape", "rule", "groups", "bound"]
    assert hidden[:5] == ["hidden_1/kernel", "6x6", "topk", "1", "0.5"]
    assert hidden[-1] == "50.0%"
    assert len(lines) == 2 + 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 41}, ["--batch_size=41", "40 training examples", "at most 40"]),
        ({"batch_size": 7, "num_replicas": 2}, ["--batch_size=7", "2 replicas", "use 6 or 8."]),
        ({"batch_size": 1, "num_replicas": 2}, ["--batch_size=1", "replicas; use 2."]),
    ],
)
def test_batches_that_do_not_fit(tmp_path, settings, words):
    with pytest.raises(ValueError, match="--batch_size") as caught:
        experiment.build(config(tmp_path / "run", **settings))
    for word in words:
        assert word in str(caught.value)


def test_facts_about_a_run(tmp_path):
    trained(config(tmp_path / "run", train_steps=None, epochs=3))
    facts = json.loads((tmp_path / "run" / run_directory.RUN).read_text())
    assert (facts["total_steps"], facts["steps_per_epoch"], facts["replicas"]) == (15, 5, 1)
    assert facts["splits"]["train"]["examples"] == 40
    assert facts["parameters"] == 6 * 3 + 3
    assert facts["versions"]["tensorflow"] == tf.__version__


def stopped(path, step: int = 12, **settings):
    """Settings of a run of 20 steps that was stopped at one."""
    chosen = config(path, rule_of("maxnorm", {"max_value": 0.5}), train_steps=20, **settings)
    trained(chosen, At(step))
    return chosen


def test_a_newest_checkpoint_that_is_gone_is_told_and_its_steps_are_made_again(tmp_path, capsys):
    chosen = stopped(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000015")
    capsys.readouterr()
    trained(chosen)
    assert (
        "warning: this run had saved step 15, of which there is no good checkpoint any more; the 5 steps since step 10 "
        "are made again\n"
    ) in capsys.readouterr().out
    trained(chosen)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["checkpoints", "the steps"])
def test_a_run_whose_checkpoints_are_all_gone_does_not_begin_again_by_itself(tmp_path, what):
    chosen = stopped(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    for path in [folder] if what == "checkpoints" else folder.glob("step-*"):
        shutil.rmtree(path)
    before = processes.listing(tmp_path / "run")
    with pytest.raises(ValueError, match=r"this run saved step 15, but .* holds no checkpoint of it; .*--overwrite"):
        trained(chosen)
    after = processes.listing(tmp_path / "run")
    assert {name for name in before if before[name] != after.get(name)} <= {".lock"}
    _, certificate = trained(dataclasses.replace(chosen, overwrite=True))
    assert certificate["step"] == 20


def test_a_best_that_is_damaged_after_the_end_is_told_and_replaced_by_what_remains(tmp_path, capsys):
    chosen = config(tmp_path / "run", rule_of("maxnorm", {"max_value": 0.5}))
    _, certificate = trained(chosen)
    (best,) = (tmp_path / "run" / "checkpoints" / "best").iterdir()
    (best / "manifest.json").unlink()
    capsys.readouterr()
    _, again = trained(chosen)
    assert f"the best weights, of step {certificate['best']['step']}, are lost: " in capsys.readouterr().out
    # The last weights are the only ones left, so the best is judged as they are.
    assert again["best"]["step"] == 10
    assert again["best"]["test"] == again["evaluation"]
    assert [path.name for path in (tmp_path / "run" / "checkpoints" / "best").iterdir()] == ["step-00000010"]
    assert checkpoint_folders.problem(tmp_path / "run" / "checkpoints" / "best" / "step-00000010", 10) is None


def test_a_file_system_without_locks_is_told_of_in_one_line(tmp_path, capsys, monkeypatch):
    def none(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(run_directory.fcntl, "flock", none)
    _, certificate = trained(config(tmp_path / "run"))
    assert certificate["step"] == 10
    assert capsys.readouterr().out.count("is on a file system without locks: a second run would not be noticed.") == 1


def test_a_line_tells_the_loss_of_the_steps_since_the_last_line(tmp_path, capsys):
    settings = {"model": "mlp", "train_steps": 12, "eval_every": "3", "summary_every": "5", "histogram_every": "12"}
    trained(config(tmp_path / "run", **settings))
    lines = [line for line in capsys.readouterr().out.splitlines() if "validation loss" in line]
    trained(config(tmp_path / "each", **{**settings, "summary_every": "1"}))
    each = [value for _, value in tensorboard_data.scalars(tmp_path / "each")["train/loss"]]
    found = [float(re.search(r"train loss ([0-9.]+) ", line)[1]) for line in lines]
    assert found == pytest.approx([np.mean(each[i : i + 3]) for i in (0, 3, 6, 9)], abs=1e-4)
    assert all(line.endswith("best so far") or "accuracy" in line.split("  ")[-1] for line in lines)
    assert lines[0].endswith("best so far")


def test_a_continued_run_shows_the_weights_and_bounds_that_it_continues_with(server, tmp_path):
    flags = ["--constraint=maxnorm", "--schedule=linear", "--initial_value=4", "--max_value=0.5", "--hidden_units=8"]
    first, again = (server.succeed(*flags, "--train_steps=9", "--run_dir=run", cwd=tmp_path).stdout for _ in range(2))

    def row(said: str) -> list[str]:
        return next(line.split() for line in said.splitlines() if line.startswith("hidden_1/kernel"))

    assert row(first)[4] == "4"
    assert row(again)[4] == "0.5"
    assert row(first)[5] != row(again)[5]


def test_a_penalty_is_no_bound(tmp_path):
    built = experiment.build(config(tmp_path / "run", rule_of("softthreshold", {"penalty": 0.25})))
    assert "penalty 0.25" in run_card.variable_table(built.model, built.targets, 0)
    assert "penalty 0.25" in run_card.rules_table(built.targets, 20)
    assert "penalty 0.25" in certificate.printed(certificate.certify(built.targets, 0))
