"""The optimizer's state after a projection: what each choice leaves of it, for every optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from trainer.engine import optimizer_state
from trainer.rules import target as targets

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.9),
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
}
KINDS = {"adam": 2, "adamw": 2, "rmsprop": 2, "sgd": 1}

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def stepped(name):
    """Two variables of one shape and a third, after a step that fills every slot."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.standard_normal(shape).astype(np.float32)) for shape in ((4, 3), (4, 3), (3,))]
    optimizer = OPTIMIZERS[name]()
    optimizer.build(variables)
    optimizer.apply([tf.constant(rng.standard_normal(one.shape), tf.float32) for one in variables], variables)
    return variables, optimizer, optimizer_state.OptimizerState(optimizer, variables)


@every_optimizer
def test_every_slot_is_found_and_belongs_to_its_variable(name):
    variables, optimizer, found = stepped(name)
    for variable in variables:
        assert len(found.all(variable)) == KINDS[name]
        (momentum,) = found.momentums(variable)
        assert momentum.path.endswith("momentum")
        assert all(slot.shape == variable.shape for slot in found.all(variable))
    ids = [id(slot) for variable in variables for slot in found.all(variable)]
    assert len(set(ids)) == len(ids)
    # Beside them an optimizer keeps its step count and its learning rate only.
    assert len(optimizer.variables) <= len(ids) + 2


def test_sgd_without_momentum_has_no_slots():
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([variable])
    assert optimizer_state.OptimizerState(optimizer, [variable]).all(variable) == []


@every_optimizer
@pytest.mark.parametrize("state", ["keep", "mask", "reset", "tangent"])
@pytest.mark.parametrize("constraint", ["topk", "maxnorm"])
def test_what_is_left_of_the_state(name, state, constraint):
    variables, _, found = stepped(name)
    values = {"topk": {"sparsity": 0.5}, "maxnorm": {"max_value": 1.0}}[constraint]
    target = tiny_experiment.target(constraint, variables[0], optimizer_state=state, **values)
    before = target.weights()
    after = target.constraint(before)
    was = {id(slot): slot.numpy() for variable in variables for slot in found.all(variable)}
    found.update(target, target.constraint, before, after, 1.0)
    momentums = [id(slot) for slot in found.momentums(variables[0])]
    moved, zero = after.numpy() != before.numpy(), after.numpy() == 0
    assert moved.any()
    for variable in variables:
        for slot in found.all(variable):
            expected = was[id(slot)].copy()
            if variable is variables[0] and state == "reset":
                expected[moved] = 0
            elif id(slot) in momentums and (state == "mask" or (state, constraint) == ("tangent", "topk")):
                expected[zero] = 0
            elif id(slot) in momentums and state == "tangent":
                unit = before / np.linalg.norm(before, axis=0)
                factor = np.minimum(1.0, 1.0 / np.linalg.norm(before, axis=0))
                outside = factor < 1
                expected = np.where(outside, factor * (expected - unit * np.sum(unit * expected, axis=0)), expected)
            np.testing.assert_allclose(slot.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_a_share_of_the_way_takes_a_share_of_the_tangent():
    variables, _, found = stepped("adam")
    target = tiny_experiment.target("topk", variables[0], optimizer_state="tangent", sparsity=0.5)
    before = target.weights()
    after = target.constraint(before)
    (momentum,) = found.momentums(variables[0])
    was = momentum.numpy()
    found.update(target, target.constraint, before, after, 0.25)
    np.testing.assert_allclose(momentum, np.where(after.numpy() == 0, 0.75 * was, was), rtol=1e-6)


def test_joined_variables_share_what_happens():
    variables, _, found = stepped("adam")
    target = targets.Target(
        rule_index=1,
        name="topk",
        label="network",
        variables=tuple(variables),
        packing=targets.concatenate([(4, 3), (4, 3), (3,)]),
        constraint=tiny_experiment.constraints.REGISTRY["topk"](0.6),
        optimizer_state="mask",
    )
    before = target.weights()
    after = target.constraint(before)
    found.update(target, target.constraint, before, after, 1.0)
    for variable, value in zip(variables, target.packing.unpack(after), strict=True):
        (momentum,) = found.momentums(variable)
        np.testing.assert_array_equal(momentum.numpy() == 0, value.numpy() == 0)
