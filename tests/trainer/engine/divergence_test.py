"""Going back to a checkpoint from a loss that is far above those before it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.runs.nonfinite_test import injected, session, since
from tests.support import tensorboard_data, tiny_experiment
from trainer.engine.divergence import Spikes, reason_to_stop
from trainer.engine.train_step import Steps
from trainer.runtime import errors
from trainer.runtime.signals import Interrupt
from trainer.settings.config import Config
from trainer.storage import checkpoints


def recent() -> tf.Variable:
    return tf.Variable(0.0, dtype=tf.float64)


def test_a_spike_is_told_from_the_recent_losses_and_does_not_count_among_them():
    mean = recent()
    spikes = Spikes(2.0, mean)
    assert [spikes.described(loss) for loss in (1.0, 2.0, 0.5, math.nan)] == [None] * 4
    assert float(mean) == pytest.approx((1.0 * 0.9 + 0.2) * 0.9 + 0.05)
    before = float(mean)
    assert spikes.described(2.5) == f"loss 2.5 is {2.5 / before:.3g} times the recent {before:.4g}"
    assert float(mean) == before
    assert spikes.described(2.0 * before) is None


def test_nothing_is_a_spike_unless_asked_for():
    mean = recent()
    assert [Spikes(None, mean).described(loss) for loss in (1.0, 1e30)] == [None, None]
    assert float(mean) == 0.0


@pytest.mark.parametrize("policy", ["skip", "rollback", "abort"])
def test_a_spike_goes_back_whatever_becomes_of_steps_that_are_not_finite(policy):
    config = Config(on_nonfinite=policy, max_rollbacks=2)
    assert reason_to_stop(config, 20, [10], 0, "loss 3") is None
    assert "still loss 3 after 2 returns" in reason_to_stop(config, 20, [10], 2, "loss 3")
    assert (reason_to_stop(config, 20, [10], 0) is None) == (policy == "rollback")


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_run_goes_back_once_past_the_batches_that_led_to_it(monkeypatch, tmp_path, capsys, replicas):
    runs = []

    def at_the_batch(step, _):
        return tf.equal(step + runs[0]._state.dropped, 8)

    injected(monkeypatch, at_the_batch, what="loss", value=1e4)
    runs.append(session(tmp_path, max_spike=3.0, train_steps=20, num_replicas=replicas))
    certificate = runs[0].run(Interrupt())
    runs[0].close()
    assert certificate["step"] == 20
    printed = capsys.readouterr().out
    assert printed.count("; back to step 5, past the 5 batches since.") == 1
    assert "step 10: loss " in printed
    assert int(runs[0]._state.dropped.numpy()) == 5
    points = tensorboard_data.scalars(tmp_path)
    assert [step for step, _ in points["train/loss"]] == [5, 10, 15, 20]
    assert all(value < 100 for _, value in points["train/loss"])


def test_a_loss_that_stays_high_ends_the_run_with_the_checkpoint_before_it(monkeypatch, tmp_path):
    injected(monkeypatch, since(7), what="loss", value=1e4)
    one = session(tmp_path, max_spike=3.0, max_rollbacks=2)
    with pytest.raises(errors.NonFiniteError, match=r"step 10: still loss .* after 2 returns.*step 5.*--learning"):
        one.run(Interrupt())
    one.close()
    assert [path.name for path in sorted((tmp_path / "checkpoints").glob("step-*"))] == [
        "step-00000000",
        "step-00000005",
    ]


# Accuracy at each evaluation, every 2 steps: those of steps 2 to 10, and of 12 to 18 before the run goes back from 20
# to 10, then of 12 to 20, and at the end.
SCORES = {
    "a later one is the best": [0.1, 0.2, 0.5, 0.3, 0.4, 0.6, 0.9, 0.7, 0.8, 0.55, 0.65, 0.75, 0.35, 0.15, 0.15],
    "the same step is the best": [0.1, 0.2, 0.5, 0.3, 0.4, 0.6, 0.9, 0.7, 0.8, 0.35, 0.65, 0.55, 0.3, 0.15, 0.15],
    "none is better again": [0.1, 0.2, 0.5, 0.3, 0.4, 0.6, 0.9, 0.7, 0.8, 0.35, 0.3, 0.2, 0.15, 0.1, 0.1],
}
BEST = {
    "a later one is the best": (16, 0.75),
    "the same step is the best": (14, 0.65),
    "none is better again": (6, 0.5),
}


@pytest.mark.parametrize("name", SCORES)
def test_after_going_back_the_best_is_the_best_of_what_remains(monkeypatch, tmp_path, name):
    """What the certificate says of the best is true of the file: its weights are those that reached the score."""
    runs, reached, scores = [], {}, iter(SCORES[name])

    def evaluate(self, source=None, report=None):
        if source not in (None, self._eval_source):
            return {"loss": 0.5, "accuracy": 0.5}  # The test split, which decides nothing.
        score = next(scores)
        reached[score] = [variable.numpy() for variable in self._model.trainable_variables]
        return {"loss": 1.0 - score, "accuracy": score}

    injected(monkeypatch, lambda step, _: tf.equal(step + runs[0]._state.dropped, 18), what="loss", value=1e4)
    monkeypatch.setattr(Steps, "evaluate", evaluate)
    runs.append(
        session(tmp_path, max_spike=3.0, train_steps=20, eval_every="2", summary_every="10", checkpoint_every="10")
    )
    certificate = runs[0].run(Interrupt())
    runs[0].close()
    step, score = BEST[name]
    chosen = {name: value for name, value in certificate["best"].items() if name != "test"}
    assert chosen == {"monitor": "accuracy", "accuracy": score, "loss": pytest.approx(1.0 - score), "step": step}
    assert [path.name for path in (tmp_path / "checkpoints" / "best").iterdir()] == [f"step-{step:08d}"]
    model = runs[0]._run.model
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    checkpoints.read_weights(tmp_path / "checkpoints" / "best", model, "best")
    assert tiny_experiment.same_bits([variable.numpy() for variable in model.trainable_variables], reached[score])
