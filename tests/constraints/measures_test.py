"""Tests of what is logged and certified."""

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, measures
from tests.support import tiny_experiment
from tests.support.oracles import DTYPES, ml_dtypes
from tests.support.suites import KINDS, fast


def test_one_projection_measured():
    constraint = REGISTRY["maxnorm"](2.0)
    before = tf.constant([[3.0, 0.0, 1.0, 6.0], [4.0, 0.0, 0.0, 8.0]])
    values = measures.measure(constraint, before, constraint(before))
    assert all(value.dtype == tf.float64 and value.shape == () for value in values.values())
    found = {name: float(value) for name, value in values.items()}
    assert found == {
        "sparsity": 3 / 8,
        "norm_mean": pytest.approx(5 / 4, rel=1e-6),
        "norm_max": pytest.approx(2.0, rel=1e-6),
        "distance": pytest.approx((3.0**2 + 8.0**2) ** 0.5),
        "active": 0.5,
    }


def test_axes_are_passed_on():
    constraint = REGISTRY["maxnorm"](2.0)
    w = tf.constant([[3.0, 4.0], [0.0, 1.0]])
    values = measures.measure(constraint, w, w, axes=(1,))
    assert float(values["norm_max"]) == 5.0
    assert float(values["norm_mean"]) == 3.0
    assert float(values["distance"]) == 3.0


@pytest.mark.parametrize("name", fast(REGISTRY, *KINDS[::2]))
def test_every_set_measures_in_a_graph_and_without_weights(name):
    constraint = REGISTRY[name](**tiny_experiment.OPTIONS.get(name, {}))
    for shape in ((6, 4), (0, 4), (4, 0)):
        w = tf.ones(shape)
        eager = measures.measure(constraint, w, constraint(w))
        graph = tf.function(lambda w: measures.measure(constraint, w, constraint(w)))(w)
        assert {key: float(value) for key, value in eager.items()} == {
            key: float(value) for key, value in graph.items()
        }
        assert all(np.isfinite(value) for value in eager.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_exact_zeros_are_zeros(dtype):
    tiny = ml_dtypes.finfo(DTYPES[dtype]).smallest_subnormal
    w = np.array([0.0, -0.0, 1.0, np.nan, np.inf, 0.0, 0.0, 0.0]).astype(DTYPES[dtype])
    w[5:7] = tiny, -tiny
    for share in (measures.sparsity(w), tf.function(measures.sparsity, jit_compile=True)(w)):
        assert share.dtype == tf.float64
        assert float(share) == 3 / 8
    assert float(measures.sparsity(np.zeros((0, 3), DTYPES[dtype]))) == 0.0


def test_near_zeros():
    w = np.float32([0.0, -1e-4, 1e-3, 0.5])
    assert float(measures.near_zero_share(w, 1e-3)) == 0.5  # 1e-3 is a little above it in float32
    assert float(measures.near_zero_share(w, 0.0)) == 0.25
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold="):
            measures.near_zero_share(w, bad)
