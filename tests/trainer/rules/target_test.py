"""Weights of several variables as one tensor, and back."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import tiny_experiment
from trainer.rules import kernel_axes
from trainer.rules import target as targets

SHAPES = [(4, 3), (2, 2, 3, 5), (6,)]


def arrays(shapes=SHAPES):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def round_trip(packing, values):
    back = packing.unpack(packing.pack([tf.constant(value) for value in values]))
    for value, again in zip(values, back, strict=True):
        assert again.shape == value.shape
        np.testing.assert_array_equal(again, value)


def test_one_variable_is_itself_or_a_view():
    (value,) = arrays([(4, 6)])
    assert targets.reshape((4, 6), (4, 6)).pack([value]) is value
    viewed = targets.reshape((4, 2, 3), (4, 6))
    assert viewed.pack([tf.constant(value)]).shape == (4, 2, 3)
    round_trip(viewed, [value])


def test_flat_is_one_vector():
    values = arrays()
    packing = targets.concatenate(SHAPES)
    np.testing.assert_array_equal(packing.pack(values), np.concatenate([value.reshape(-1) for value in values]))
    round_trip(packing, values)


@pytest.mark.parametrize("axes", [[(0,), (0, 1, 2)], [(1,), (0, 1, 3)], [(0,), (0, 1)]])
def test_units_side_by_side_keep_their_norms(axes):
    values = arrays(SHAPES[:2])
    packing = targets.stack_units(SHAPES[:2], axes)
    joined = packing.pack([tf.constant(value) for value in values]).numpy()
    norms = [np.sqrt(np.sum(value**2, axis=own)).reshape(-1) for value, own in zip(values, axes, strict=True)]
    np.testing.assert_allclose(np.linalg.norm(joined, axis=0), np.concatenate(norms), rtol=1e-6)
    round_trip(packing, values)


@pytest.mark.parametrize(
    ("shape", "axes", "bias"),
    [((4, 3), (0,), (3,)), ((3, 3, 2, 5), (0, 1, 2), (5,)), ((4, 2, 3), (0,), (2, 3)), ((4, 6), (0,), (2, 6))],
)
def test_a_bias_lies_below_its_kernel(shape, axes, bias):
    kernel, below = arrays([shape, bias])
    units = tuple(axis for axis in range(len(shape)) if axis not in axes)
    copies = () if len(bias) == len(units) else (None,)
    lying = kernel_axes.Bias(keras.Variable(kernel), keras.Variable(below), bias, (*copies, *units))
    packing = targets.with_bias(shape, axes, (), lying)
    joined = packing.pack([tf.constant(kernel), tf.constant(below)]).numpy()
    size = int(np.prod([shape[axis] for axis in axes]))
    np.testing.assert_array_equal(joined[:size], kernel.reshape(size, -1))
    np.testing.assert_array_equal(joined[size:], below.reshape(-1, joined.shape[1]))
    round_trip(packing, [kernel, below])


def test_a_bias_below_a_kernel_whose_units_come_first():
    kernel, below = arrays([(3, 3, 5, 2), (5,)])
    lying = kernel_axes.Bias(keras.Variable(kernel), keras.Variable(below), (5,), (2,))
    packing = targets.with_bias(kernel.shape, (0, 1, 3), (), lying)
    joined = packing.pack([tf.constant(kernel), tf.constant(below)]).numpy()
    np.testing.assert_array_equal(joined[:-1], kernel.transpose(0, 1, 3, 2).reshape(-1, 5))
    np.testing.assert_array_equal(joined[-1], below)
    round_trip(packing, [kernel, below])


def test_biases_lie_below_the_matrices_that_they_belong_to():
    # Three matrices of 2 by 4; the bias has its axes the other way round, and two copies.
    kernel, below = arrays([(4, 2, 3), (2, 3, 4)])
    lying = kernel_axes.Bias(keras.Variable(kernel), keras.Variable(below), (2, 3, 4), (None, 2, 0))
    packing = targets.with_bias(kernel.shape, (1,), (2,), lying)
    joined = packing.pack([tf.constant(kernel), tf.constant(below)]).numpy()
    np.testing.assert_array_equal(joined[:, :2], kernel.transpose(2, 1, 0))
    np.testing.assert_array_equal(joined[:, 2:], below.transpose(1, 0, 2))
    round_trip(packing, [kernel, below])


def test_variables_of_one_path_are_numbered():
    variables = [keras.Variable(np.ones(2), name=name) for name in ("a", "b", "a", "a")]
    assert list(targets.labels(variables).values()) == ["a", "b", "a#2", "a#3"]


def test_a_target_counts_its_weights_and_groups():
    variable = keras.Variable(np.ones((4, 3), np.float32))
    assert tiny_experiment.target("maxnorm", variable).num_groups == 3
    assert tiny_experiment.target("maxnorm", variable, axes=(0, 1)).num_groups == 1
    assert tiny_experiment.target("maxnorm", variable, axes=()).num_groups == 12
    assert tiny_experiment.target("maxnorm", variable).size == 12


@pytest.mark.parametrize(
    ("begin", "end", "holding"), [(0, None, range(11)), (3, None, range(3, 11)), (3, 7, range(3, 7)), (0, 7, range(7))]
)
def test_a_rule_holds_from_its_begin_up_to_its_end(begin, end, holding):
    moving = schedules.linear(2.0, 1.0, end=10)
    target = tiny_experiment.target(
        "maxnorm", keras.Variable(np.ones((4, 3))), constraint=REGISTRY["maxnorm"](moving), begin=begin, end=end
    )
    assert [step for step in range(11) if target.holds(step)] == list(holding)
    assert [step for step in range(11) if bool(target.holds(tf.constant(step, tf.int64)))] == list(holding)
    assert target.always is (begin == 0 and end is None)
