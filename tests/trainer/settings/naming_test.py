"""Names of runs say what differs from the defaults, and hurt neither a shell nor a file system."""

from __future__ import annotations

import re

import pytest

from tests.support.rules import rule_of
from trainer.settings import naming
from trainer.settings.config import Config


def test_rules_and_settings_in_words():
    rule = rule_of("mask", {}, ("hidden_*/kernel",), begin="50%", mask_from="/home/a user/runs/first")
    assert naming.rule(rule) == ["mask", "variables=hidden_*/kernel", "begin=50%", "mask_from=first"]
    assert naming.changed(Config(rules=(rule,), run_dir="x", data_dir="y")) == []
    options = {"hidden_units": (64,), "dropout": 0.0}
    assert naming.changed(Config(model_options=options, seed=2)) == ["hidden_units=64", "seed=2"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules": (rule_of("maxnorm", {"max_value": 2.0}),)}, "maxnorm-max_value=2-mlp-digits-"),
        (
            {"rules": (rule_of("box", {"max_value": 0.5, "min_value": -1.5}),)},
            "box-max_value=0.5-min_value=-1.5-mlp-",
        ),
        ({"rules": (rule_of("nonneg,maxnorm", {"max_value": 1.0}),)}, "nonneg+maxnorm-max_value=1-mlp-"),
        ({"learning_rate": 0.01, "epochs": 40}, "none-mlp-digits-learning_rate=0.01-epochs=40-"),
        ({"model_options": {"hidden_units": (300, 100), "dropout": 0.25}}, "none-mlp-digits-dropout=0.25-"),
        (
            {"rules": (rule_of("topk", {"sparsity": 0.9}, group="network"),)},
            "topk-sparsity=0.9-group=network-mlp-",
        ),
    ],
)
def test_a_directory_is_named_after_what_differs_from_the_defaults(settings, words):
    assert Config(**settings).directory().startswith(f"runs/{words}")


def test_a_schedule_is_named_by_its_ends():
    cosine = {"schedule": "cosine", "initial": 8.0, "final": 1.0, "end": "80%"}
    name = Config(rules=(rule_of("maxnorm", {"max_value": cosine}),)).directory()
    assert name.startswith("runs/maxnorm-max_value=8to1-mlp-digits-")


def test_a_name_hurts_no_shell_and_is_of_bounded_length():
    rule = rule_of("maxnorm", {"max_value": 1 / 3}, ("conv_[12]*/kernel", "a b;$(c)?", "d" * 300))
    config = Config(rules=(rule,), dataset="x" * 190, run_dir=None, train_split="train[:80%]", seed=7)
    name = config.directory().removeprefix("runs/")
    assert re.fullmatch(r"[A-Za-z0-9_.=+-]+", name)
    assert len(name) < 140
    assert name.startswith("maxnorm-max_value=0.333333-mlp-x")
    assert "seed=7" in name
