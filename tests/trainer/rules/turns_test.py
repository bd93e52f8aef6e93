"""Rules that take turns on a variable, in whole short runs: what one leaves, the next one finds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from tests.support.suites import fast
from tests.trainer.training.experiment_test import At, config, trained, weights
from trainer.engine.projector import Projector
from trainer.engine.train_step import Steps
from trainer.settings import rules

# topk is in force at the steps 1 to 6, mask from 7 on.
RULES = """
[[rule]]
constraint = "topk"
sparsity = 0.75
end = "7"
{turns}

[[rule]]
constraint = "mask"
begin = "7"
"""
TURNS = ["", "project_every = 4", "rate = 0.5", "project_every = 10\nrate = 0.5"]


def settings(path, turns: str = TURNS[-1], **others):
    path.mkdir()
    file = path / "rules.toml"
    file.write_text(RULES.format(turns=turns))
    return config(path / "run", *rules.load(str(file)), model="mlp", **{"train_steps": 12, **others})


def shares(built) -> list[float]:
    """The share of exact zeros of each kernel."""
    kernels = [target.variables[0].numpy() for target in built.targets if target.name == "mask"]
    assert len(kernels) == 2
    return [float(np.mean(kernel == 0)) for kernel in kernels]


@pytest.mark.parametrize("turns", fast(TURNS, TURNS[-1]))
def test_mask_keeps_the_zeros_of_topk(tmp_path, turns):
    built, result = trained(settings(tmp_path / "whole", turns))
    assert result["feasible"] is True
    assert shares(built) == [0.75, 14 / 18]  # round(0.75 * 18) takes halves to even.


@pytest.mark.slow
def test_a_run_stopped_between_the_rules_goes_on_bit_for_bit(tmp_path):
    whole, result = trained(settings(tmp_path / "whole", steps_per_loop=5))
    broken = settings(tmp_path / "broken", steps_per_loop=1)
    for step in (6, 7):
        assert trained(broken, At(step))[1] is None
    again, resumed = trained(broken)
    assert tiny_experiment.same_bits(weights(again), weights(whole))
    assert resumed == result
    assert min(shares(again)) >= 0.75


@pytest.mark.parametrize("patience", fast([1, 2], 2))
def test_a_run_that_stops_early_ends_feasible_on_either_side(tmp_path, monkeypatch, patience):
    monkeypatch.setattr(Steps, "evaluate", lambda self, *_: {"loss": 1.0, "accuracy": 0.5})
    built, result = trained(settings(tmp_path / "run", eval_every="3", early_stopping=patience))
    assert result["step"] == 3 + 3 * patience
    assert result["feasible"] is True
    assert min(shares(built)) >= 0.75


def test_a_rule_of_the_start_alone_leaves_its_zeros(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "rules.toml").write_text(RULES.format(turns="").replace('"7"', '"1"'))
    built, _ = trained(config(path / "run", *rules.load(str(path / "rules.toml")), model="mlp"))
    assert shares(built) == [0.75, 14 / 18]


@pytest.mark.parametrize(
    ("every", "begin", "end", "due"),
    [(4, 3, None, (3, 4, 8, 10)), (4, 3, 8, (3, 4, 7)), (99, 5, 9, (5, 8)), (5, 0, 9, (5, 8)), (1, 4, 5, (4,))],
)
def test_a_rule_projects_at_its_first_step_and_fully_at_its_last(every, begin, end, due):
    value = np.full((4, 1), 3.0, np.float32)
    ball = tiny_experiment.target(
        "box", keras.Variable(value), project_every=every, relaxation=0.5, begin=begin, end=end, max_value=1.0
    )
    projector = Projector([ball], 10)
    moved = {}
    for step in range(1, 11):
        ball.variables[0].assign(value)
        projector.project(tf.constant(step, tf.int64), tf.constant(False))
        if (now := ball.variables[0].numpy()[0, 0]) != 3.0:
            moved[step] = now
    assert moved == {step: 1.0 if step == due[-1] else 2.0 for step in due}


@pytest.mark.parametrize(("begin", "end"), [(0, None), (3, None), (3, 8), (0, 6)])
def test_a_penalty_counts_every_step_it_is_in_force_once(begin, end):
    variable = keras.Variable(np.full((4, 1), 100.0, np.float32))
    pulled = tiny_experiment.target("softthreshold", variable, project_every=4, begin=begin, end=end, penalty=1.0)
    projector = Projector([pulled], 10, learning_rate=lambda step: tf.constant(1.0))
    for step in range(1, 11):
        projector.project(tf.constant(step, tf.int64), tf.constant(False))
    steps = (10 if end is None else end - 1) - max(begin, 1) + 1
    assert variable.numpy()[0, 0] == 100.0 - steps
