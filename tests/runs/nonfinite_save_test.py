"""No checkpoint ever holds NaN or infinity: the save is refused, the last good one stays, and the run ends."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from tests.support.saved import Run
from tests.support.suites import fast
from tests.trainer.training.experiment_test import config, trained
from trainer.engine.run_state import RunState
from trainer.engine.train_step import Steps
from trainer.runtime import errors
from trainer.storage import checkpoints

BAD = {"nan": np.nan, "inf": np.inf, "minus inf": -np.inf}


def spoil(variable, value) -> None:
    array = np.array(variable.numpy())
    array.flat[-1] = value
    variable.assign(array)


def variables(run: Run) -> dict:
    return {
        "a weight": run.model.trainable_variables[0],
        "a bias": run.model.trainable_variables[-1],
        "the optimizer's state": run.optimizer.variables[-1],
    }


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("where", ["a weight", "a bias", "the optimizer's state"])
@pytest.mark.parametrize("bad", fast(BAD, "nan"))
def test_a_save_is_refused_and_the_earlier_ones_stay(tmp_path, bad, where, replicas):
    run = Run(tmp_path / "checkpoints", replicas)
    run.step()
    run.checkpoints.save()
    run.checkpoints.save_best()
    good = run.state()
    run.step()
    before = sorted(tmp_path.rglob("*"))
    spoil(variables(run)[where], BAD[bad])
    for save in (run.checkpoints.save, run.checkpoints.save_best):
        with pytest.raises(errors.NonFiniteError) as caught:
            save()
        message = str(caught.value)
        assert message.startswith("step 2 is not saved: ")
        assert variables(run)[where].path in message
        assert "--learning_rate" in message
        assert sorted(tmp_path.rglob("*")) == before
    again = Run(tmp_path / "checkpoints", replicas)
    assert again.checkpoints.restore() == 1
    assert tiny_experiment.same_bits(again.state(), good)


def test_what_batch_norm_keeps_is_looked_at_too(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    saver = checkpoints.Checkpoints(tmp_path, model, optimizer, RunState())
    model.layers[0].moving_variance.assign([1.0, np.inf, 1.0])
    with pytest.raises(errors.NonFiniteError, match="moving_variance"):
        saver.save()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision(tmp_path, dtype):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    saver = checkpoints.Checkpoints(tmp_path, model, optimizer, RunState())
    saver.save()
    spoil(model.trainable_variables[0], np.nan)
    optimizer.iterations.assign(1)
    with pytest.raises(errors.NonFiniteError, match="kernel"):
        saver.save()


def test_the_best_loss_may_still_be_infinite(tmp_path):
    run = Run(tmp_path / "checkpoints")
    assert np.isinf(run.progress.best.numpy()).any()
    assert run.checkpoints.save().is_dir()


def test_one_that_an_earlier_version_saved_is_passed_over(tmp_path, monkeypatch):
    run = Run(tmp_path / "checkpoints")
    run.step()
    run.checkpoints.save()
    good = run.state()
    run.step()
    spoil(run.model.trainable_variables[0], np.nan)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "_nonfinite", lambda self: None)
        run.checkpoints.save()
    again = Run(tmp_path / "checkpoints")
    assert again.checkpoints.restore() == 1
    assert tiny_experiment.same_bits(again.state(), good)
    (line,) = again.said
    assert line.startswith("checkpoint step-00000002 is passed over: ")
    assert "holds NaN or infinity" in line


def test_a_run_ends_and_the_same_command_goes_on_from_the_last_good_step(tmp_path, monkeypatch):
    """Whatever made them: here weights are spoilt between two steps."""
    original, calls = Steps.train, []

    def spoiling(steps, *arguments):
        calls.append(steps)
        if len(calls) == 2:
            spoil(steps._model.trainable_variables[0], np.nan)
        return original(steps, *arguments)

    whole, broken = config(tmp_path / "whole", model="mlp"), config(tmp_path / "broken", model="mlp")
    trained(whole)
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "train", spoiling)
        with pytest.raises(errors.NonFiniteError, match="step 10 is not saved") as caught:
            trained(broken)
    assert errors.described(caught.value) == str(caught.value)
    assert sorted(path.name for path in (tmp_path / "broken" / "checkpoints").iterdir()) == ["best", "step-00000005"]
    assert not (tmp_path / "broken" / "certificate.json").exists()
    trained(broken)
    readers = [
        tf.train.load_checkpoint(str(tmp_path / name / "checkpoints" / "step-00000010" / "state"))
        for name in ("whole", "broken")
    ]
    for name in readers[0].get_variable_to_shape_map():
        if not name.startswith("_"):
            assert tiny_experiment.same_bits(*([reader.get_tensor(name)] for reader in readers))
