"""Which weights are projected, when, how far, and what is measured of it; eagerly, on variables alone."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, schedules
from tests.support import tiny_experiment
from trainer.engine.optimizer_state import OptimizerState
from trainer.engine.projector import MEASURES, Projector
from trainer.rules import target as targets
from trainer.rules.target import Target

TOTAL = 10


class Recorded(keras.Variable):
    """A variable that counts how often it was assigned."""

    assigned = 0

    def assign(self, value):
        self.assigned += 1
        return super().assign(value)


def weights(shape=(6, 5), scale: float = 3.0, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def target(name: str, value: np.ndarray, axes=(0,), **settings) -> Target:
    return tiny_experiment.target(name, Recorded(value), axes, **settings)


def step(number: int) -> tf.Tensor:
    return tf.constant(number, tf.int64)


YES, NO = tf.constant(True), tf.constant(False)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.cosine(4.0, 0.5, begin=2, end=8),
        schedules.polynomial(3.0, 0.1, end=TOTAL),
        schedules.piecewise((4, 7), (2.0, 1.0, 0.25)),
    ],
)
def test_the_bound_follows_the_schedule_exactly_at_every_step(schedule):
    ball = target("maxnorm", weights(), max_value=schedule)
    projector = Projector([ball], TOTAL)
    for number in range(1, TOTAL + 1):
        ball.variables[0].assign(weights(seed=number) * 10)
        row = projector.project(step(number), YES).numpy()[0]
        bound = float(schedule(number))
        norms = np.linalg.norm(ball.variables[0].numpy().astype(np.float64), axis=0)
        assert norms.max() <= bound
        np.testing.assert_allclose(norms, bound, rtol=1e-6)
        # A compiled formula may round its last bit otherwise.
        np.testing.assert_allclose(row[len(MEASURES)], bound, rtol=1e-15)


def test_one_trace_follows_a_schedule():
    ball = target("maxnorm", weights(), max_value=schedules.linear(2.0, 1.0, end=TOTAL))
    projector = Projector([ball], TOTAL)
    compiled = tf.function(projector.project)
    bounds = [compiled(step(number), YES).numpy()[0, len(MEASURES)] for number in range(1, TOTAL + 1)]
    # The compiled graph may round the last bit otherwise.
    expected = [float(schedules.linear(2.0, 1.0, end=TOTAL)(number)) for number in range(1, TOTAL + 1)]
    np.testing.assert_allclose(bounds, expected, rtol=1e-15)
    assert compiled.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize(("every", "due"), [(1, range(1, 11)), (4, (4, 8, 10)), (5, (5, 10)), (99, (10,))])
def test_projects_every_so_many_steps_and_after_the_last(every, due, rate):
    ball = target("maxnorm", weights(), project_every=every, relaxation=rate, max_value=0.5)
    projector = Projector([ball], TOTAL)
    moved = []
    for number in range(1, TOTAL + 1):
        ball.variables[0].assign(weights())
        projector.project(step(number), NO)
        if ball.variables[0].numpy().tobytes() != weights().tobytes():
            moved.append(number)
    assert moved == list(due)


def test_a_rate_goes_that_share_of_the_way_and_all_of_it_at_the_last_step():
    ball = target("maxnorm", weights(), relaxation=0.25, max_value=0.5)
    projector = Projector([ball], TOTAL)
    full = np.asarray(ball.constraint(weights()))
    for number in range(1, TOTAL):
        ball.variables[0].assign(weights())
        projector.project(step(number), NO)
        expected = weights() + 0.25 * (full.astype(np.float64) - weights())
        np.testing.assert_allclose(ball.variables[0].numpy(), expected, rtol=1e-6)
    ball.variables[0].assign(weights())
    projector.project(step(TOTAL), NO)
    assert tiny_experiment.same_bits([ball.variables[0].numpy()], [full])


def test_the_start_is_projected_whole_whatever_rate_and_interval():
    ball = target(
        "maxnorm", weights(), relaxation=0.25, project_every=7, max_value=schedules.linear(1.5, 0.5, end=TOTAL)
    )
    Projector([ball], TOTAL).project_fully(step(0))
    assert tiny_experiment.same_bits([ball.variables[0].numpy()], [REGISTRY["maxnorm"](max_value=1.5)(weights())])


def test_nothing_is_assigned_to_a_variable_without_a_constraint():
    free, ball = target("none", weights()), target("maxnorm", weights(), max_value=1.0)
    projector = Projector([free, ball], TOTAL)
    projector.project_fully(step(0))
    projector.project(step(TOTAL), YES)
    assert free.variables[0].assigned == 0
    assert ball.variables[0].assigned == 2
    assert tiny_experiment.same_bits([free.variables[0].numpy()], [weights()])


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_measures_equal_numpy(rate):
    before = weights((3, 2, 4, 5), scale=0.2)
    before[..., 0] = 0
    before[..., 1] *= 0.01  # Stays inside.
    conv = target("maxnorm", before, axes=(0, 1, 2), relaxation=rate, max_value=0.7)
    depthwise = target("nonneg", before, axes=(0, 1), relaxation=rate)
    box = target("box", before, axes=(0, 1, 2), relaxation=rate, min_value=-0.1, max_value=0.2)
    measured = Projector([conv, depthwise, box], TOTAL).project(step(1), YES).numpy()
    assert measured.shape == (3, len(MEASURES) + 2)

    exact = before.astype(np.float64)
    projections = [
        exact * np.minimum(1, 0.7 / np.maximum(np.linalg.norm(exact.reshape(-1, 5), axis=0), 1e-30)),
        np.maximum(exact, 0),
        np.clip(exact, -0.1, 0.2),
    ]
    for row, one, projection in zip(measured, (conv, depthwise, box), projections, strict=True):
        after = one.variables[0].numpy().astype(np.float64)
        np.testing.assert_allclose(after, exact + rate * (projection - exact), atol=1e-7)
        if one is box:
            norms = np.abs(after).reshape(-1, 5).max(axis=0)
            active = ((after >= 0.2 - 1e-7) | (after <= -0.1 + 1e-7)).any(axis=(0, 1, 2))
        elif one is depthwise:
            norms = np.sqrt(np.square(after).sum(axis=(0, 1)))
            active = (after == 0).any(axis=(0, 1))
        else:
            norms = np.sqrt(np.square(after).sum(axis=(0, 1, 2)))
            active = norms >= 0.7 * (1 - 1e-6)
        expected = {
            "sparsity": np.mean(after == 0),
            "norm_mean": norms.mean(),
            "norm_max": norms.max(),
            "distance": np.sqrt(np.square(exact - projection).sum()),
            "active": active.mean(),
            "residual": 0.0,
        }
        np.testing.assert_allclose(row[: len(MEASURES)], [expected[name] for name in MEASURES], rtol=1e-6)
    assert measured[0, len(MEASURES) :].tolist() == [0.7, 0.0]
    assert measured[1, len(MEASURES) :].tolist() == [0.0, 0.0]
    assert measured[2, len(MEASURES) :].tolist() == [0.2, -0.1]


def test_the_residual_of_several_sets_is_the_largest_distance_from_any():
    both = Intersection((REGISTRY["nonneg"](), REGISTRY["maxnorm"](max_value=0.5)))
    one = dataclasses.replace(target("maxnorm", weights(), max_value=0.5), name="nonneg+maxnorm", constraint=both)
    row = Projector([one], TOTAL).project(step(1), YES).numpy()[0]
    assert row[MEASURES.index("residual")] <= 1e-7
    # Not due: what the optimizer left is measured as it is.
    one.variables[0].assign(np.full((6, 5), -0.25, np.float32))
    row = Projector([dataclasses.replace(one, project_every=5)], TOTAL).project(step(1), YES).numpy()[0]
    np.testing.assert_allclose(row[MEASURES.index("residual")], 0.25 * np.sqrt(6), rtol=1e-6)


def test_the_distance_is_measured_before_and_whole_where_nothing_is_due():
    ball = target("maxnorm", weights(), project_every=5, max_value=0.5)
    row = Projector([ball], TOTAL).project(step(3), YES).numpy()[0]
    values = dict(zip(MEASURES, row, strict=False))
    norms = np.linalg.norm(weights().astype(np.float64), axis=0)
    np.testing.assert_allclose(values["norm_max"], norms.max(), rtol=1e-6)
    np.testing.assert_allclose(values["distance"], np.sqrt(np.square(norms - 0.5).sum()), rtol=1e-6)


def test_measures_are_zero_when_not_asked_for():
    ball = target("maxnorm", weights(), max_value=0.5)
    assert not Projector([ball], TOTAL).project(step(1), NO).numpy().any()


def test_no_targets():
    projector = Projector([], TOTAL)
    assert projector.project(step(1), YES).shape == (0, len(MEASURES))
    assert projector.num_rows() == 0


@pytest.mark.parametrize(("begin", "end", "due"), [(0, None, range(1, 11)), (4, None, range(4, 11)), (4, 7, (4, 5, 6))])
def test_a_rule_projects_while_it_holds(begin, end, due):
    ball = target("maxnorm", weights(), begin=begin, end=end, max_value=0.5)
    projector = Projector([ball], TOTAL)
    projector.project_fully(step(0))
    feasible = np.linalg.norm(ball.variables[0].numpy(), axis=0).max() <= 0.5
    assert feasible == (begin == 0)
    moved = []
    for number in range(1, TOTAL + 1):
        ball.variables[0].assign(weights())
        projector.project(step(number), NO)
        if ball.variables[0].numpy().tobytes() != weights().tobytes():
            moved.append(number)
    assert moved == list(due)


def test_joined_variables_are_projected_together():
    values = [weights((6, 5)), weights((5, 3), seed=1)]
    variables = [Recorded(value) for value in values]
    ball = targets.Target(
        rule_index=1,
        name="maxnorm",
        label="network",
        variables=tuple(variables),
        packing=targets.concatenate([(6, 5), (5, 3)]),
        constraint=REGISTRY["maxnorm"](max_value=2.0),
    )
    row = Projector([ball], TOTAL).project(step(1), YES).numpy()[0]
    length = np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in values))
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_allclose(variable.numpy(), value * 2.0 / length, rtol=1e-6)
    named = dict(zip(MEASURES, row, strict=False))
    assert named["norm_max"] == pytest.approx(2.0)
    assert named["distance"] == pytest.approx(length - 2.0)


def test_the_momentum_of_zeroed_weights_is_zeroed_only_when_a_projection_is_due():
    variable = Recorded(weights())
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build([variable])
    sparse = tiny_experiment.target("topk", variable, project_every=2, optimizer_state="mask", sparsity=0.5)
    projector = Projector([sparse], TOTAL, OptimizerState(optimizer, [variable]))
    optimizer.momentums[0].assign(np.ones((6, 5)))
    projector.project(step(1), NO)
    assert np.all(optimizer.momentums[0].numpy() == 1.0)
    projector.project(step(2), NO)
    np.testing.assert_array_equal(optimizer.momentums[0].numpy() == 0, variable.numpy() == 0)
    assert np.mean(variable.numpy() == 0) == 0.5
