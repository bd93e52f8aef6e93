"""The state of the loop survives a checkpoint, the metrics of several replicas to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.suites import fast
from tests.trainer.engine.objective_test import functional, steps_of
from trainer.engine.run_state import RunState
from trainer.storage.checkpoints import Checkpoints


def run(folder, replicas: int):
    steps, model, _ = steps_of(functional, replicas)
    state = RunState(steps.num_totals, steps.objective.metric_copies)
    checkpoints = Checkpoints(folder, model, steps.optimizer, state)
    return steps, state, checkpoints


def train(steps, state, number: int) -> None:
    chunk = steps.train(number, state.totals.numpy(), state.nonfinite.numpy(), False)
    state.totals.assign(chunk.totals)


@pytest.mark.parametrize("replicas", fast([1, 2], 2))
def test_a_run_that_goes_on_reports_the_same_metrics_bit_for_bit(tmp_path, replicas):
    steps, state, checkpoints = run(tmp_path, replicas)
    train(steps, state, 2)
    checkpoints.save()
    checkpoints.close()
    train(steps, state, 3)
    again, restored, reader = run(tmp_path, replicas)
    assert reader.restore() == 2
    train(again, restored, 3)
    expected = steps.training_results(state.totals.numpy())
    assert again.training_results(restored.totals.numpy()) == expected
    pairs = zip(steps.objective.metric_copies, again.objective.metric_copies, strict=True)
    assert all(np.array_equal(left.numpy(), right.numpy()) for left, right in pairs)
    assert any(np.any(copy.numpy()) for copy in again.objective.metric_copies)


def test_a_run_without_metrics_saves_no_object_for_them():
    assert not hasattr(RunState(), "metrics")
    assert RunState(3).totals.shape == (3,)
