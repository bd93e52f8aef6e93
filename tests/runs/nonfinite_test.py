"""A loss or a gradient that is not finite: what a step, a session and a process make of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tensorboard_data, tiny_experiment
from tests.support.rules import rule_of
from tests.trainer.training.experiment_test import config
from trainer.engine.fused_optimizer import roughly_finite
from trainer.engine.train_step import Steps
from trainer.runtime import errors
from trainer.runtime import replicas as devices
from trainer.runtime.signals import Interrupt
from trainer.training import experiment
from trainer.training.experiment import directory_of
from trainer.training.session import Session

BAD = list(itertools.product((np.nan, np.inf), ("gradient", "loss")))
SOME = (BAD[0], BAD[-1])
FAST = {(1, False): "sgd", (2, False): "adam", (1, True): "adam"}
BALL = rule_of("maxnorm", {"max_value": 0.5})


def injected(monkeypatch, hit, replica=None, what="gradient", value=np.nan) -> None:
    """Makes the loss or the first gradient `value` where `hit(step, features)`, on one replica or on all."""
    honest = Steps._gradients

    def gradients(self, batch):
        sums, (first, *others) = honest(self, batch)
        now = hit(tf.convert_to_tensor(self._optimizer.iterations) + 1, batch[0])
        if replica is not None:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            now &= tf.equal(tf.convert_to_tensor(number), replica)
        if what == "loss":
            return tf.where(now & tf.constant([True] + [False] * 4), value, sums), [first, *others]
        result = [tf.where(now, tf.fill(first.shape, np.float32(value)), first), *others]
        return tf.concat([sums[:-1], [roughly_finite(result)]], axis=0), result

    monkeypatch.setattr(Steps, "_gradients", gradients)


def at(*steps):
    return lambda step, _: tf.reduce_any(tf.equal(step, tf.constant(steps, tf.int64)))


def since(first):
    return lambda step, _: step >= first


def session(path, **settings) -> Session:
    chosen = config(path, BALL, **settings)
    one = Session(experiment.build(chosen), directory_of(chosen))
    one.begin("")
    return one


def trained(path, **settings):
    one = session(path, **settings)
    try:
        return one.run(Interrupt())
    finally:
        one.close()


@pytest.mark.parametrize(
    ("value", "what", "replicas", "jit", "optimizer"),
    [
        # One kind of loss and of gradient, and one optimizer in each way, are enough for the fast suite.
        pytest.param(*bad, *ran, optimizer, marks=[] if bad in SOME and optimizer == FAST[ran] else pytest.mark.slow)
        for bad in BAD
        for ran in FAST
        for optimizer in ("adam", "sgd", "rmsprop")
    ],
)
def test_a_bad_step_changes_nothing_but_the_count(monkeypatch, value, what, replicas, jit, optimizer):
    injected(monkeypatch, at(3), replica=replicas - 1, what=what, value=value)
    parts = tiny_experiment.parts(BALL, replicas=replicas, optimizer=optimizer, clip_norm=1.0 if jit else None)
    parts.steps.jit = jit
    parts.train(2)
    before, count = parts.state(), parts.optimizer.iterations.numpy()
    chunk = parts.train(1)
    pairs = zip(parts.variables(), before, parts.state(), strict=True)
    changed = [variable.path for variable, old, new in pairs if old.tobytes() != new.tobytes()]
    assert changed == [parts.optimizer.iterations.path]
    assert parts.optimizer.iterations.numpy() == count + 1
    assert chunk.nonfinite.numpy().tolist() == [1, 1, 1]
    assert chunk.totals.numpy().tolist() == [0.0] * 5
    after = parts.train(2)
    assert after.totals.numpy()[-1] == 2
    assert devices.copies_equal(parts.variables())
    assert all(np.all(np.isfinite(value)) for value in parts.state())


def test_the_schedule_goes_on_over_a_bad_step(monkeypatch):
    injected(monkeypatch, since(1))
    parts = tiny_experiment.parts(rule_of("maxnorm", {"max_value": 1e-3}))
    parts.train(1)
    for target in parts.targets:
        assert np.all(target.constraint.norm(target.weights()).numpy() <= 1e-3)


def test_the_means_of_batch_normalization_are_taken_back(monkeypatch, tmp_path):
    injected(monkeypatch, at(1))
    one = session(tmp_path, model="resnet", input_shape=(8, 8, 1), train_steps=2)
    steps, model = one._run.steps, one._run.model
    moving = [variable for variable in model.non_trainable_variables if "moving" in variable.path]
    assert moving
    before = [variable.numpy() for variable in moving]
    steps.train(1, np.zeros(5), np.zeros(2), False)
    assert tiny_experiment.same_bits(before, [variable.numpy() for variable in moving])
    steps.train(1, np.zeros(5), np.zeros(2), False)
    assert not tiny_experiment.same_bits(before, [variable.numpy() for variable in moving])
    one.close()


def test_a_chunk_ends_at_the_limit(monkeypatch):
    injected(monkeypatch, since(4))
    parts = tiny_experiment.parts(BALL)
    chunk = parts.train(50)
    # Three good steps and ten that are not.
    assert chunk.nonfinite.numpy().tolist() == [10, 10, 13]
    assert parts.optimizer.iterations.numpy() == 13


def test_skipping_is_counted_in_tensorboard_and_said(monkeypatch, tmp_path, capsys):
    injected(monkeypatch, at(2, 3, 7))
    certificate = trained(tmp_path, train_steps=10)
    points = tensorboard_data.scalars(tmp_path)["train/nonfinite"]
    assert points == [(5, 2.0), (10, 3.0)]
    assert certificate["feasible"]
    printed = capsys.readouterr().out
    assert "step 5: 2 more steps" in printed
    assert "step 10: 1 more steps" in printed
    losses = tensorboard_data.scalars(tmp_path)["train/loss"]
    assert all(np.isfinite(value) for _, value in losses)


def test_skipping_gives_up_after_so_many_in_a_row(monkeypatch, tmp_path):
    injected(monkeypatch, since(7))
    with pytest.raises(
        errors.NonFiniteError, match=r"step 9.*3 steps.*--max_nonfinite_steps=3.*step 5.*--learning_rate"
    ):
        trained(tmp_path, max_nonfinite_steps=3)
    # The checkpoint of step 5 is still there, and no later one.
    assert [path.name for path in sorted((tmp_path / "checkpoints").glob("step-*"))] == ["step-00000005"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_aborting_stops_at_the_first(monkeypatch, tmp_path, replicas):
    injected(monkeypatch, at(7), replica=replicas - 1)
    with pytest.raises(errors.NonFiniteError, match=r"step 7: .*=abort.*last checkpoint is that of step 5"):
        trained(tmp_path, on_nonfinite="abort", num_replicas=replicas)


def test_rolling_back_goes_past_the_batches_and_writes_each_step_once(monkeypatch, tmp_path, capsys):
    injected(monkeypatch, lambda _, features: tf.reduce_any(tf.equal(features, 123.0)))
    one = session(tmp_path, on_nonfinite="rollback", train_steps=20)
    source = one._run.train_source
    row = source.train_batch(source.arrays, tf.constant(2, tf.int64)).numpy()[0]
    features, labels = (getattr(values, "values", [values])[0] for values in source.arrays)
    # One bad example: the third step meets it, and every epoch again.
    source._arrays = tf.tensor_scatter_nd_update(features, [[row]], tf.fill([1, 6], 123.0)), labels
    certificate = one.run(Interrupt())
    one.close()
    assert certificate["step"] == 20
    printed = capsys.readouterr().out
    assert "step 3: not finite; back to step 0, past the 3 batches since." in printed
    assert int(one._state.dropped.numpy()) >= 3
    for tag, points in tensorboard_data.scalars(tmp_path).items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), tag
    assert all(np.all(np.isfinite(variable.numpy())) for variable in one._run.model.variables)


@pytest.mark.parametrize("replicas", [1, 2])
def test_rolling_back_again_and_again_to_one_checkpoint_ends(monkeypatch, tmp_path, replicas):
    injected(monkeypatch, at(7), replica=replicas - 1)
    with pytest.raises(errors.NonFiniteError, match=r"step 7: still not finite after 2 returns.*--max_rollbacks=2"):
        trained(tmp_path, on_nonfinite="rollback", max_rollbacks=2, num_replicas=replicas)


def test_rolling_back_before_the_first_checkpoint_starts_anew(monkeypatch, tmp_path, capsys):
    injected(monkeypatch, at(2))
    with pytest.raises(errors.NonFiniteError, match="still not finite"):
        trained(tmp_path, on_nonfinite="rollback", max_rollbacks=1)
    assert "step 2: not finite; back to step 0" in capsys.readouterr().out
