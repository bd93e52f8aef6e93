"""Passes over large tensors: whole, in parts and compiled from outside, they sum and count what NumPy does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from constraints.numerics import reductions
from tests.support.suites import fast

WAYS = {
    "whole": reductions.compiled,
    "in parts": lambda function: tf.function(function, autograph=False),
    "under XLA": lambda function: tf.function(function, autograph=False, jit_compile=True),
}
# Rows that the lanes and the parts do not divide; one column and many; columns of another number than lanes hold.
SHAPES = [(1 << 20, 1), (1_048_583, 1), (4_099, 257), (1_027, 3_001), (9, 120_000), (3, 400_000)]


def totals(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
    # Counts between sums, and an odd number of them: two share an integer, the last has one for itself.
    x = tf.cast(rows, tf.float64)
    return rows > 0.0, x, rows > 1.0, tf.square(x), rows > -1.0


@pytest.mark.parametrize("shape", fast(SHAPES, *SHAPES[1::2]), ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_sums_and_counts_are_those_of_numpy(way, shape):
    w = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    found = WAYS[way](reductions.column_totals(totals))(tf.constant(w))
    x = w.astype(np.float64)
    expected = (w > 0).sum(axis=0), x.sum(axis=0), (w > 1).sum(axis=0), np.square(x).sum(axis=0), (w > -1).sum(axis=0)
    for place in (0, 2, 4):
        np.testing.assert_array_equal(found[place], expected[place])
    for place in (1, 3):
        assert found[place].dtype == tf.float64
        np.testing.assert_allclose(found[place], expected[place], rtol=1e-13, atol=1e-13 * np.abs(x).sum(axis=0).max())


def test_a_tensor_is_cut_into_parts_in_a_graph_alone():
    decided = {}

    def decide(way):
        def function(w):
            decided[way] = reductions.is_sharded(w)
            return w

        return function

    large, small = tf.zeros([1 << 20, 1]), tf.zeros([(1 << 20) - 8, 1])
    decide("eager")(large)
    WAYS["in parts"](decide("graph"))(large)
    WAYS["in parts"](decide("small"))(small)
    WAYS["under XLA"](decide("XLA"))(large)
    assert decided == {"eager": False, "graph": True, "small": False, "XLA": False}


@pytest.mark.parametrize("way", WAYS)
def test_no_count_outgrows_its_half_of_an_integer(monkeypatch, way):
    """With lanes so few that rows would be too many for one count, there are more lanes."""
    monkeypatch.setattr(reductions, "_LANES", 1)
    # The limit itself is tested by its size: 2^15 - 1 rows of both counts fill 31 bits.
    size = (1 << 15) + 5
    w = tf.ones([size, 1])
    found = WAYS[way](reductions.column_totals(lambda rows: (rows > 0.0, rows > 0.0, rows > 2.0)))(w)
    assert [float(count[0]) for count in found] == [size, size, 0]


NAMES = {
    "maxnorm": {"max_value": 0.5},
    "unitnorm": {},
    "l1ball": {"max_value": 3.0},
    "simplex": {},
    "topk": {"sparsity": 0.9},
    "l21ball": {"max_value": 20.0},
    "unitsparse": {"sparsity": 0.5},
}


# Compiling takes most of the time, so those that differ least from others are slow.
@pytest.mark.parametrize("name", fast(NAMES, "maxnorm", "topk"))
def test_projections_are_the_same_in_parts(name):
    constraint = REGISTRY[name](**NAMES[name])
    rng = np.random.default_rng(len(name))
    w = rng.standard_normal((4_099, 257)).astype(np.float32) * 0.05
    w[:, 5] = np.nan
    w[:, 6] *= 1e-4
    kept = np.ones(257, bool)
    if name in ("l21ball", "unitsparse"):
        w = np.nan_to_num(w)
    else:
        kept[5] = False
    eager = constraint.project(tf.constant(w)).numpy()
    graph = tf.function(constraint.project, autograph=False)(tf.constant(w)).numpy()
    np.testing.assert_array_equal(graph[:, ~kept], w[:, ~kept])
    # Sums of parts round by themselves, in the last bits of float64.
    np.testing.assert_array_almost_equal_nulp(graph[:, kept], eager[:, kept], nulp=1)
    assert np.array_equal(graph[:, kept] == 0, eager[:, kept] == 0)
    again = tf.function(constraint.project, autograph=False)(tf.constant(graph)).numpy()
    np.testing.assert_array_equal(again[:, kept], graph[:, kept])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l1ball", "simplex", "topk"])
@pytest.mark.parametrize("shape", [(1 << 20, 1), (4_099, 257)], ids=str)
def test_going_on_in_parts_from_the_last_projection_ends_where_a_first_one_does(name, shape):
    constraint = REGISTRY[name](**NAMES[name], axis=0)
    rng = np.random.default_rng(7)
    w = tf.constant(rng.standard_normal(shape).astype(np.float32) * 0.05)
    go_on = tf.function(constraint.project_warm, autograph=False)
    first = tf.function(constraint.project, autograph=False)
    warm_start = tf.zeros([constraint.warm_start, shape[1]])
    for _ in range(3):
        p, warm_start = go_on(w, warm_start)
        np.testing.assert_array_equal(p, first(w))
        w = p + 1e-3 * rng.standard_normal(shape).astype(np.float32)
