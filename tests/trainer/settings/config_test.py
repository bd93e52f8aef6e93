"""Settings are valid by construction, and say what makes two commands the same run."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from constraints import Box, MaxNorm, schedules
from trainer.settings.config import Config
from trainer.settings.rule import Rule
from trainer.settings.run import CIRCUMSTANCES

NAN, INF = math.nan, math.inf
# Setting -> values just inside its limits, and values outside.
LIMITS = {
    "input_shape": ([(1,), (28, 28, 1)], [(0,), (28, -1), (28, 28, 0)]),
    "num_classes": ([2, 1000], [1, 0, -1]),
    "num_examples": ([1], [0, -5]),
    "optimizer": (["adam", "adamw", "rmsprop", "sgd"], ["sdg", "Adam", ""]),
    "learning_rate": ([1e-30, 10.0], [0.0, -0.1, NAN, INF]),
    "final_learning_rate": ([0.0, 1.0], [-1e-9, NAN, INF]),
    "warmup": (["0", "10%", "3ep", "500"], ["soon", "", "-1", "101%", "nan", "1.5"]),
    "clip_norm": ([1e-9, 1.0], [0.0, -1.0, NAN, INF]),
    "l1": ([0.0, 0.1], [-0.1, NAN, INF]),
    "l2": ([0.0, 0.1], [-0.1, NAN, INF]),
    "batch_size": ([1, 4096], [0, -1]),
    "epochs": ([1, 10**6], [0, -1, 10**6 + 1]),
    "train_steps": ([1, 10**9], [0, -1, 10**9 + 1, 10**20]),
    "steps_per_loop": ([1, 10**6], [0, -1, 10**7]),
    "seed": ([0, 2**31 - 1], [-1, 2**31]),
    "jit": (["auto", "off", "on"], ["yes", ""]),
    "on_nonfinite": (["abort", "rollback", "skip"], ["stop", ""]),
    "max_nonfinite_steps": ([1, 100], [0, -1, 10**30]),
    "max_rollbacks": ([1, 100], [0, -1, 10**30]),
    "max_spike": ([1.5, 100.0], [1.0, 0.0, -2.0, NAN, INF]),
    "num_replicas": ([1, 64], [0, -1, 65]),
    "resume": (["auto", "never", "must"], ["always", ""]),
    "summary_every": (["1", "1%", "0.1ep"], ["0", "0%", "0ep", "soon", "", "-1", "nan"]),
    "histogram_every": (["1", "1%", "0.1ep"], ["0", "soon", ""]),
    "eval_every": (["1", "1%", "0.1ep"], ["0", "soon", ""]),
    "checkpoint_every": (["1", "1%", "0.1ep"], ["0", "soon", ""]),
    "early_stopping": ([1], [0, -1, 10**30]),
    "momentum": ([0.0, 0.999], [-0.1, 1.0, NAN]),
    "weight_decay": ([0.0, 0.5], [-0.1, NAN, INF]),
    "dataset": (["digits"], ["", " "]),
    "data_dir": (["/data"], ["", " "]),
    "train_split": (["train[:80%]"], [""]),
    "validation_split": (
        ["0.1", "10%", "0.999", "test", "train[80%:]"],
        ["", "0", "0.0", "1", "100%", "1.5", "nan", "-1"],
    ),
    "test_split": (["test"], [""]),
    "run_dir": (["runs/x"], ["", " "]),
    "model": (["mlp"], [""]),
    "init_from": (["runs/x", "x.weights.h5"], ["", " "]),
    "text": (["question"], [""]),
    "weight": (["count"], [""]),
    "image_size": ([(32, 32)], [(0, 32), (-1, 32)]),
    "vocabulary_size": ([3, 10**6], [2, 0, -1, 10**7]),
    "text_length": ([1, 100], [0, -1, 10**7]),
    "task": (["classification", "multilabel", "regression", "reconstruction"], ["clustering", ""]),
    "loss": (["huber"], [""]),
    "class_weight": (["balanced", "0:1,1:5", "cat:0.5"], ["", "1", "0:", ":1", "0:x", "0:-1", "0:inf", "0:1,0:2"]),
    "target": (["tflite"], ["onnx", ""]),
    "label_smoothing": ([0.0, 0.9], [-0.1, 1.0, NAN]),
    "learning_rate_schedule": (["cosine"], [""]),
}
# What a setting needs beside it to mean something.
COMPANY = {"momentum": {"optimizer": "sgd"}, "weight_decay": {"optimizer": "adamw"}}


def cases(inside: bool) -> list:
    return [(name, value) for name, values in LIMITS.items() for value in values[0 if inside else 1]]


def test_no_setting_is_without_limits():
    declared = {field.name for field in dataclasses.fields(Config) if "help" in field.metadata}
    truths = {"deterministic", "overwrite", "dry_run", "save_model", "skip_damaged"}
    # What names there are, the file, the images or Keras say.
    names = {"label", "drop", "augment", "metrics", "export", "export_with"}
    assert declared - LIMITS.keys() == truths | names


@pytest.mark.parametrize(("name", "value"), cases(inside=True))
def test_inside_the_limits(name, value):
    assert getattr(Config(**{name: value}, **COMPANY.get(name, {})), name) == value


@pytest.mark.parametrize(("name", "value"), cases(inside=False))
def test_outside_the_limits_the_message_names_flag_value_and_what_was_expected(name, value):
    with pytest.raises(ValueError, match=f"--{name}") as caught:
        Config(**{name: value}, **COMPANY.get(name, {}))
    message = str(caught.value)
    shown = value[[part < 1 for part in value].index(True)] if isinstance(value, tuple) else value
    assert str(shown) in message
    assert any(word in message for word in ("expected", "choose from", "write", "leave", "lies between"))
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 3, "train_steps": 5}, ["--epochs=3", "--train_steps=5", "give one"]),
        ({"overwrite": True, "resume": "must"}, ["--overwrite", "--resume=must"]),
        ({"export_with": ("compact",)}, ["--export_with=compact", "--export=keras"]),
        ({"export_with": ("compct",), "export": ("keras",)}, ["--export_with=compct", "did you mean compact"]),
        ({"optimizer": "adam", "momentum": 0.5}, ["--momentum=0.5", "--optimizer=adam", "rmsprop and sgd"]),
        ({"optimizer": "sgd", "weight_decay": 0.1}, ["--weight_decay=0.1", "--optimizer=sgd", "adamw"]),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    with pytest.raises(ValueError, match="--") as caught:
        Config(**settings)
    for word in words:
        assert word in str(caught.value)


def test_the_length_of_a_run_is_always_decided():
    assert (Config().epochs, Config().train_steps) == (20, None)
    assert (Config(train_steps=7).epochs, Config(train_steps=7).train_steps) == (None, 7)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3


def rich(**changes) -> Config:
    schedule = schedules.piecewise(("10%", "2ep"), (3.0, 2.0, 1.0))
    settings = {
        "model_options": {"hidden_units": (8, 4), "dropout": 0.1},
        "input_shape": (4, 4),
        "rules": (
            Rule(MaxNorm(schedule), "hidden_*"),
            Rule(Box(), "output/kernel", project_every=2, relaxation=0.5),
        ),
        "clip_norm": 1.0,
    }
    return Config(**{**settings, **changes})


def test_the_identity_survives_json():
    identity = rich().identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["rules"][0]["max_value"]["values"] == [3.0, 2.0, 1.0]
    assert identity["model_options"]["hidden_units"] == [8, 4]


def test_the_same_settings_are_the_same_run():
    assert rich().identity() == rich().identity()
    assert rich().directory() == rich().directory()
    swapped = rich(model_options={"dropout": 0.1, "hidden_units": (8, 4)})
    assert swapped.directory() == rich().directory()
    assert Config(epochs=20).directory() == Config().directory()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"num_replicas": 2},
        {"model_options": {"hidden_units": (8, 5), "dropout": 0.1}},
        {"rules": rich().rules[:1]},
        {"rules": (*rich().rules[:1], dataclasses.replace(rich().rules[1], relaxation=0.6))},
        {"rules": (dataclasses.replace(rich().rules[0], constraint=MaxNorm(3.0)), rich().rules[1])},
        {"input_shape": (4, 5)},
        {"epochs": 21},
        {"train_steps": 100},
    ],
)
def test_other_settings_are_another_run(changes):
    assert rich(**changes).identity() != rich().identity()
    assert rich(**changes).directory() != rich().directory()


def test_circumstances_are_no_part_of_a_run():
    changes = {
        "data_dir": "/data",
        "dry_run": True,
        "overwrite": True,
        "resume": "never",
        "steps_per_loop": 7,
        "save_model": False,
        "export": ("keras",),
        "export_with": ("compact",),
        "target": "tflite",
    }
    assert changes.keys() | {"run_dir"} == CIRCUMSTANCES
    for name, value in changes.items():
        company = {"export": ("keras",)} if name == "export_with" else {}
        assert rich(**{name: value}, **company).directory() == rich().directory()
    assert rich(run_dir="here").identity() == rich().identity()
    assert rich(run_dir="here").directory() == "here"


def test_a_directory_is_named_so_that_a_person_can_tell_runs_apart():
    assert rich().directory().startswith("runs/maxnorm+box-mlp-digits-")
    name = Config(dataset="imagenet/64x64:2.0.0").directory()
    assert name.count("/") == 1
    assert ":" not in name


def test_a_recorded_run_has_its_own_rules_and_warm_up():
    schedule = schedules.linear(4.0, 1.0, begin="10%", end="3ep")
    earlier = Config(rules=(Rule([Box(), MaxNorm(schedule)], "kernel", end="50%"),), warmup="5%", epochs=3)
    now = Config(rules=(Rule(Box()),), seed=7)
    recorded = now.as_recorded(json.loads(json.dumps(earlier.identity())))
    assert recorded == dataclasses.replace(now, rules=earlier.rules, warmup="5%")
    for places in ({"warmup": {}}, {"warmup": "soon"}, {"rules": [{"constraint": "maxnorm", "end": []}]}):
        with pytest.raises(ValueError, match=r"warmup|run\.json, rule 1"):
            now.as_recorded({**earlier.identity(), **places})
