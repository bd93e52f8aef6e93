"""Projections that begin where they ended the last time: the same results, wherever that was."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from constraints import numerics
from tests.support import oracles, tiny_experiment
from tests.support.cases import CASES, DTYPES, Case, close, weights
from tests.support.rules import rule_of
from tests.support.suites import of_each_kind

CARRYING = [case for case in CASES if case.constraint.warm_start]
# Past the sizes up to which products are taken in float64, and counting does not pay.
SHAPES = [(9,), (60, 40), (150, 120), (20_000,)]
# In each way of running it, the one of these in which the most is carried is enough for the fast suite.
WALKS = [
    pytest.param(shape, jit, marks=[] if shape == ((20_000,) if jit else (150, 120)) else pytest.mark.slow)
    for shape in SHAPES
    for jit in (False, True)
]

every_case = pytest.mark.parametrize("case", CARRYING, ids=str)


def zeros(case: Case, w: np.ndarray) -> tf.Tensor:
    return tf.zeros([case.constraint.warm_start, case.constraint.num_groups(tf.TensorShape(w.shape))])


def test_there_are_such_sets():
    assert {case.name for case in CARRYING} == {"l1ball", "simplex", "topk", "l1topk"}


def test_other_sets_carry_nothing_and_hand_on_what_they_are_given():
    for case in CASES:
        if case not in CARRYING:
            w, warm_start = tf.constant(weights(case, "float32", (12, 8))), tf.constant([[7.0]])
            p, after = case.constraint.project_warm(w, warm_start)
            assert (oracles.bits(p) == oracles.bits(case.constraint.project(w))).all()
            assert after is warm_start


@pytest.mark.parametrize("case", of_each_kind(CARRYING), ids=str)
@pytest.mark.parametrize(("shape", "jit"), WALKS)
def test_a_walk_is_projected_as_if_each_step_were_the_first(case, shape, jit):
    w = weights(case, "float32", shape)
    rng, warm_start, some = np.random.default_rng(1), zeros(case, w), False
    project = tf.function(case.constraint.project_warm, autograph=False, jit_compile=jit)
    for step in range(8):
        p, warm_start = project(tf.constant(w), warm_start)
        assert np.isfinite(warm_start).all()
        some |= bool(np.any(warm_start))
        if jit:
            close(case, p, case.constraint.project(w).numpy().astype(np.float64), "float32", ulps=1.0)
        else:
            assert (oracles.bits(p) == oracles.bits(case.constraint.project(w))).all()
        # Small steps, a large one, and back into the set.
        size = {4: 1.0, 6: 0.0}.get(step, 1e-3)
        w = (p.numpy() * (0.5 if step == 5 else 1.0) + size * rng.standard_normal(shape)).astype(np.float32)
    # XLA selects without counting.
    assert some == (
        w.size > (1 << 14 if case.name == "topk" else numerics.SMALL_SIZE) and not (jit and case.name == "topk")
    )


@every_case
@pytest.mark.parametrize("start", [1e30, -1e30, 1e-45, -0.3, 0.7, float(np.float32(3.4e38))])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_any_finite_numbers_will_do(case, start, scale):
    w = weights(case, "float32", (150, 120), scale)
    p, after = case.constraint.project_warm(w, zeros(case, w) + start)
    assert np.isfinite(after).all()
    expected = case.constraint.project(w).numpy()
    close(case, p, expected.astype(np.float64), "float32", ulps=1.0)
    assert oracles.violation(case.name, p, **case.arguments) <= oracles.violation(case.name, expected, **case.arguments)
    again, _ = case.constraint.project_warm(p, after)
    assert (oracles.bits(again) == oracles.bits(p)).all()


@every_case
def test_groups_that_are_not_finite_spoil_nothing_that_is_carried(case):
    w = weights(case, "float32", (150, 120))
    expected, warm_start = case.constraint.project_warm(w, zeros(case, w))
    spoilt = w.copy()
    spoilt[3, 5], spoilt[4, 7] = np.nan, np.inf
    p, after = case.constraint.project_warm(spoilt, warm_start)
    assert np.isfinite(after).all()
    assert (oracles.bits(p.numpy()[:, 5]) == oracles.bits(spoilt[:, 5])).all()
    good = [column for column in range(w.shape[1]) if column not in (5, 7)]
    assert (oracles.bits(p.numpy()[:, good]) == oracles.bits(expected.numpy()[:, good])).all()
    mended, _ = case.constraint.project_warm(w, after)
    assert (oracles.bits(mended) == oracles.bits(expected)).all()


@every_case
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float32"])
def test_other_types_carry_nothing(case, dtype):
    w = weights(case, dtype, (60, 40))
    p, after = case.constraint.project_warm(w, zeros(case, w))
    assert (oracles.bits(p) == oracles.bits(case.constraint.project(w))).all()
    assert not after.numpy().any()


@pytest.mark.parametrize("replicas", [1, 2])
def test_training_carries_on_each_replica_whatever_the_chunks(replicas):
    """Ten steps at once, and one by one, with a bound that moves."""
    bound = {"schedule": "linear", "initial": 1.0, "final": 0.2, "begin": "0", "end": "100%"}
    built = tiny_experiment.parts(rule_of("l1ball", {"max_value": bound}), hidden_units=(70, 8), replicas=replicas)
    (first, second, _) = built.targets
    assert first.warm_start is not None
    assert second.warm_start is not None
    state = built.state()
    built.train(10)
    whole, warm_start = built.state(), first.warm_start.numpy()
    assert warm_start.any()
    copies = built.strategy.experimental_local_results(first.warm_start)
    assert len(copies) == replicas
    assert all((copy.numpy() == warm_start).all() for copy in copies)
    built.reset(state)
    first.warm_start.assign(tf.zeros_like(first.warm_start))
    second.warm_start.assign(tf.zeros_like(second.warm_start))
    for _ in range(10):
        built.train(1)
    assert all((one == other).all() for one, other in zip(built.state(), whole, strict=True))
    assert (first.warm_start.numpy() == warm_start).all()
