"""XLA for the training step: the same training, and a choice by the clock that leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import tiny_experiment
from tests.support.rules import rule_of
from tests.trainer.training.experiment_test import config
from trainer.engine import jit_autotune
from trainer.engine.jit_autotune import JitAutotune
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.training import experiment
from trainer.training.experiment import directory_of
from trainer.training.session import Session

BALL = rule_of("maxnorm", {"max_value": 0.5})


def autotune(parts: tiny_experiment.Parts) -> JitAutotune:
    return JitAutotune(parts.steps, parts.variables(), parts.source.seek, int(parts.optimizer.iterations.numpy()))


# With one replica XLA makes the optimizer's step too, at the rate of any schedule, but for what Keras itself steps.
@pytest.mark.parametrize(
    ("replicas", "settings"),
    [
        (1, {"optimizer": "adam"}),
        (2, {"optimizer": "sgd"}),
        (1, {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.5, "warmup": "5"}),
        *(
            pytest.param(replicas, settings, marks=pytest.mark.slow)
            for replicas, settings in (
                (1, {"optimizer": "sgd"}),
                (2, {"optimizer": "adam"}),
                (1, {"optimizer": "sgd", "momentum": 0.0, "l2": 1e-3}),
                (1, {"optimizer": "rmsprop"}),
                *((1, {"learning_rate_schedule": name}) for name in ("cosine", "linear", "polynomial", "exponential")),
            )
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_xla_changes_training_by_rounding_alone(replicas, settings):
    states, totals = [], []
    for jit in (False, True):
        # Without dropout, whose masks XLA draws otherwise.
        parts = tiny_experiment.parts(BALL, replicas=replicas, **settings)
        parts.steps.jit = jit
        totals.append(parts.train(20).totals.numpy())
        states.append(parts.state())
        assert parts.steps.num_traces["train"] == 1
    np.testing.assert_allclose(totals[0], totals[1], rtol=1e-4)
    for plain, compiled in zip(*states, strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_trial_leaves_no_trace(monkeypatch, streamed):
    monkeypatch.setattr(jit_autotune, "WORTHWHILE", 0.0)
    settings = {"train": tiny_experiment.streamed(tiny_experiment.split())} if streamed else {}
    results = []
    for rehearsed in (False, True):
        parts = tiny_experiment.parts(BALL, dropout=0.3, **settings)
        parts.source.seek(0)
        parts.train(3)
        if rehearsed:
            before = parts.state()
            _, reason = autotune(parts).choose(remaining=10**6, steps_per_loop=100)
            assert "with XLA" in reason
            assert tiny_experiment.same_bits(before, parts.state())
            parts.source.seek(3)
        parts.train(5)
        results.append(parts.state())
    assert tiny_experiment.same_bits(*results)


@pytest.mark.parametrize(("with_xla", "without", "expected"), [(1.0, 2.0, True), (2.0, 1.0, False), (0.99, 1.0, False)])
def test_the_faster_is_chosen_and_a_tie_is_none(monkeypatch, with_xla, without, expected):
    monkeypatch.setattr(JitAutotune, "_time", lambda self, jit, num_steps: 1e-3 * (with_xla if jit else without))
    jit, reason = autotune(tiny_experiment.parts()).choose(remaining=10**9, steps_per_loop=100)
    assert jit is expected
    assert f"{with_xla:.2f} ms a step with XLA, {without:.2f} ms without" in reason


def test_a_short_run_is_not_compiled_twice(monkeypatch):
    monkeypatch.setattr(JitAutotune, "obstacle", lambda self: pytest.fail("XLA was tried"))
    jit, reason = autotune(tiny_experiment.parts()).choose(remaining=10, steps_per_loop=100)
    assert jit is False
    assert "too short" in reason


def test_what_xla_cannot_compile_is_said_and_nothing_begins(tmp_path):
    # Max pooling has no deterministic gradient there.
    settings = config(tmp_path, model="convnet", input_shape=(8, 8, 1), jit="on")
    with pytest.raises(ValueError, match=r"--jit=on: XLA cannot compile this model \(.+\); use --jit=off"):
        experiment.build(settings)
    assert list(tmp_path.iterdir()) == []


def test_the_choice_belongs_to_the_run(tmp_path, monkeypatch, capsys):
    chosen = []
    monkeypatch.setattr(JitAutotune, "choose", lambda self, *_: chosen.append(1) or (True, "so it is"))

    class Soon(Interrupt):
        name = "SIGTERM"

        def asked(self):
            return int(built.optimizer.iterations.numpy()) >= 5

    for interrupt in (Soon(), Interrupt()):
        settings = config(tmp_path, BALL, jit="auto")
        built = experiment.build(settings)
        one = Session(built, directory_of(settings))
        one.begin("")
        one.run(interrupt)
        one.close()
        assert built.steps.jit is True
    assert chosen == [1]
    printed = capsys.readouterr().out
    assert "jit: on (so it is)" in printed
    assert "jit: on (as before)" in printed


def test_a_deterministic_run_leaves_nothing_to_the_clock_unless_told_to():
    assert Config().jit == "off"
    assert Config(deterministic=False).jit == "auto"
    assert Config(jit="auto").jit == "auto"
