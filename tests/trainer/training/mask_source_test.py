"""Zeros that a mask keeps: those of its first step, of the rule before it, or of another run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from tests.support import tiny_experiment
from tests.support.rules import rule_of
from trainer.engine.projector import Projector
from trainer.engine.run_state import RunState
from trainer.rules import matching
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline
from trainer.storage import checkpoints
from trainer.training import mask_source

TIMELINE = Timeline(total_steps=20, steps_per_epoch=5)
NO = tf.constant(False)


def network() -> keras.Model:
    return models.REGISTRY["mlp"]((4,), 3, hidden_units=(6,))


def half_zero(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Makes half the weights of each kernel zero, and returns which are not."""
    rng = np.random.default_rng(seed)
    marks = []
    for variable in model.trainable_variables:
        mark = rng.uniform(size=variable.shape) < 0.5
        variable.assign(np.where(mark, rng.standard_normal(variable.shape), 0.0))
        marks.append(mark)
    return marks


def taken(model, *settings: Rule):
    targets = matching.match(settings, model, TIMELINE)
    mask_source.initialize_masks(targets, settings, model)
    return targets


def saved(directory, model) -> None:
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    checkpoints.Checkpoints(directory / "checkpoints", model, optimizer, RunState(5)).save()


def test_the_zeros_of_the_first_step_stay():
    model = network()
    marks = half_zero(model)
    targets = taken(model, rule_of("mask", {}, ("*",)))
    for target, mark in zip(targets, marks, strict=True):
        np.testing.assert_array_equal(target.mask.numpy(), mark)
        target.variables[0].assign(np.ones(mark.shape))
    Projector(targets, 20).project(tf.constant(1, tf.int64), NO)
    for target, mark in zip(targets, marks, strict=True):
        np.testing.assert_array_equal(target.variables[0].numpy(), mark)


@pytest.mark.parametrize("group", ["tensor", "network", "unit"])
def test_a_mask_keeps_what_the_rule_before_it_left(group):
    model = network()
    before = rule_of("topk", {"sparsity": 0.5}, ("kernel",), end=10, group="network")
    targets = taken(model, before, rule_of("mask", {}, ("kernel",), begin=10, group=group))
    projector = Projector(targets, 20)
    rng = np.random.default_rng(1)
    kernels = [variable for variable in model.trainable_variables if variable.name == "kernel"]
    left = None
    for step in range(1, 21):
        for variable in kernels:
            variable.assign_add(rng.standard_normal(variable.shape))
        projector.project(tf.constant(step, tf.int64), NO)
        zeros = [variable.numpy() == 0 for variable in kernels]
        assert sum(map(np.sum, zeros)) == (4 * 6 + 6 * 3) // 2
        if step == 9:
            left = zeros
        elif step > 9:
            assert tiny_experiment.same_bits(zeros, left)


def test_the_zeros_of_another_run(tmp_path):
    other = network()
    marks = half_zero(other)
    saved(tmp_path, other)
    model = network()
    targets = taken(model, rule_of("mask", {}, ("kernel",), mask_from=str(tmp_path)))
    for target, mark in zip(targets, marks[::2], strict=True):
        np.testing.assert_array_equal(target.mask.numpy(), mark)
        assert target.mask_step is None
    assert np.all(model.trainable_variables[0].numpy() != 0), "the weights themselves are not taken"


def test_a_mask_and_a_bound_together():
    model = network()
    marks = half_zero(model)
    (target,) = taken(model, rule_of("mask,maxnorm", {"max_value": 0.5}, ("output/kernel",)))
    target.variables[0].assign(np.ones((6, 3)))
    Projector([target], 20).project(tf.constant(1, tf.int64), NO)
    value = target.variables[0].numpy()
    np.testing.assert_array_equal(value != 0, marks[2])
    assert np.all(np.linalg.norm(value, axis=0) <= 0.5)


def test_another_run_that_is_none(tmp_path):
    model = network()
    with pytest.raises(ValueError, match=r"mask_from=.*: no whole checkpoint in .*give the directory of a run"):
        taken(model, rule_of("mask", mask_from=str(tmp_path)))
    saved(tmp_path, models.REGISTRY["mlp"]((4,), 3, hidden_units=(7,)))
    with pytest.raises(ValueError, match=r"mask_from=.*weights of another network than `mlp`.* first difference is"):
        taken(model, rule_of("mask", mask_from=str(tmp_path)))
    # Its first layer has all the weights that this network has.
    smaller = models.REGISTRY["mlp"]((4,), 7, hidden_units=())
    with pytest.raises(ValueError, match=r"holds 4 weights of another network than `mlp`, which has 2"):
        taken(smaller, rule_of("mask", mask_from=str(tmp_path)))


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    other = network()
    half_zero(other)
    saved(tmp_path, other)
    (index,) = (tmp_path / "checkpoints").glob("step-*/state.index")
    index.write_bytes(b"x")
    with pytest.raises(ValueError, match="no whole checkpoint"):
        taken(network(), rule_of("mask", mask_from=str(tmp_path)))
