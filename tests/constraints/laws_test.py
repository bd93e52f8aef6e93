"""Laws that hold for every registered set, on any shape and type; `generated_laws_test` has those of single groups."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import oracles
from tests.support.cases import CASES, SCALES, SETS, SHAPES, SLACK, Case, as_taken, close, sampled_feasible, weights
from tests.support.oracles import DTYPES, bits, epsilon, quantum
from tests.support.suites import KINDS, fast, of_each_kind

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
# A graph of each, and XLA of one of each way to project; the rest is slow.
CASES_AND_WAYS = [
    pytest.param(
        case,
        compiled,
        id=f"{case}-{'xla' if compiled else 'graph'}",
        marks=[pytest.mark.slow] * (compiled and case.name not in KINDS),
    )
    for case in CASES
    for compiled in (False, True)
]
# The usual type; `generated_laws_test` has every set obey the laws in all of them, and the rest of these are slow.
usual_dtype = pytest.mark.parametrize("dtype", fast(DTYPES, "float32"))
# Ranks between those of dense and convolutional kernels, and above them, are slow.
every_shape = pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[pytest.mark.slow] * (len(s) in (3, 5))) for s in SHAPES], ids=str
)


def takes(case: Case, shape: tuple[int, ...]) -> bool:
    """Whether the set can take weights of this shape as they are."""
    return case.shape(shape) == shape


def test_every_set_has_a_case_and_an_oracle():
    assert {case.name for case in CASES} == set(SETS)
    assert all(callable(oracles.of(name).oracle) and callable(oracles.of(name).violation) for name in SETS)
    assert list(REGISTRY) == sorted(REGISTRY)


@every_case
@usual_dtype
@every_shape
def test_result_is_feasible_nearest_and_final(case, dtype, shape):
    constraint = case.constraint
    for scale in SCALES[dtype]:
        w = weights(case, dtype, shape, scale)
        p = constraint(w)
        assert p.dtype == tf.as_dtype(dtype)
        assert p.shape == w.shape
        p = oracles.array(p)
        allowed = SLACK[dtype] if case.exact else max(epsilon(dtype) * 1.01, SLACK[dtype])
        if (case.shifts or case.spectral) and not case.exact:
            allowed += 2.0 * quantum(dtype) / scale  # Below the normal numbers, rounding is relative to nothing.
        assert oracles.violation(case.name, p, **case.arguments) <= allowed
        close(case, p, oracles.project(case.name, w, **case.arguments), dtype)
        np.testing.assert_array_equal(bits(constraint(p)), bits(p), f"projecting twice moved it, scale {scale}")
        assert np.all(constraint.distance(p).numpy() == 0)


@every_case
@every_dtype
def test_feasible_weights_come_back_bit_for_bit(case, dtype):
    rng = np.random.default_rng(1)
    constraint = case.constraint
    for point in sampled_feasible(case, np.zeros(case.shape((8, 5))), rng, 10):
        for w in (point.astype(DTYPES[dtype]), (0.9 * point).astype(DTYPES[dtype])):
            if oracles.violation(case.name, w, **case.arguments) == 0:
                np.testing.assert_array_equal(bits(constraint(w)), bits(w))


@every_case
@usual_dtype
def test_zeros_ones_hot_and_equal_weights(case, dtype):
    special = np.zeros((8, 6))
    special[2, 1] = 3.0
    special[5, 2] = -3.0
    special[:, 3] = 2.0
    special[:, 4] = -2.0
    special[:4, 5] = 0.1
    w = special.astype(DTYPES[dtype])
    w = np.resize(w, case.shape(w.shape))
    p = case.constraint(w).numpy()
    assert np.all(np.isfinite(p.astype(np.float64)))
    if case.unique:
        close(case, p, oracles.project(case.name, w, **case.arguments), dtype)
    assert oracles.violation(case.name, p, **case.arguments) <= (SLACK[dtype] if case.exact else 2 * epsilon(dtype))
    np.testing.assert_array_equal(bits(case.constraint(p)), bits(p))


@every_case
@usual_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_in_their_group(case, dtype, bad):
    w = weights(case, dtype, (8, 5), 3.0)
    expected = case.constraint(w).numpy()
    w[3, 2] = bad
    p = case.constraint(w).numpy()
    if case.joint:
        np.testing.assert_array_equal(bits(p), bits(w))
        assert np.isinf(case.constraint.distance(w).numpy())
        return
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(bits(p[:, others]), bits(expected[:, others]))
    distance = case.constraint.distance(w).numpy()
    assert np.isinf(distance[2])
    assert np.all(np.isfinite(distance[others]))
    if case.separable:
        others = [0, 1, 2, 4, 5, 6, 7]
        np.testing.assert_array_equal(bits(p[others, 2]), bits(expected[others, 2]))
    else:
        np.testing.assert_array_equal(bits(p[:, 2]), bits(w[:, 2]))


@pytest.mark.parametrize("case", of_each_kind(CASES), ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@usual_dtype
def test_eager_graph_and_xla_agree(case, compiled, dtype):
    parts = [weights(case, dtype, (16, 4), scale) for scale in SCALES[dtype]]
    # In one matrix, what is 1e-60 of the largest is lost in its rounding.
    tensors = parts if case.spectral else [np.concatenate(parts, axis=1)]
    constraint = case.constraint

    def everything(w):
        return constraint(w), constraint.distance(w), constraint.norm(w), constraint.active(w)

    function = tf.function(everything, jit_compile=compiled)
    for w in map(tf.constant, tensors):
        again, eager = function(w), everything(w)
        if case.spectral or (compiled and dtype == "float64"):
            # XLA adds in another order, and float64 has no wider type to hide it.
            close(case, again[0], eager[0].numpy(), dtype, ulps=4.0)
        else:
            np.testing.assert_array_equal(bits(again[0]), bits(eager[0]))
        for measured, expected in zip(again[1:3], eager[1:3], strict=True):
            np.testing.assert_allclose(measured, expected, rtol=1e-12, atol=1e-12 if case.spectral else 0)
        np.testing.assert_array_equal(again[3], eager[3])


@every_case
def test_distance_and_norm_are_those_of_float64(case):
    w = weights(case, "float32", (3, 3, 2, 5), 2.0)
    wide = w.astype(np.float64)
    gap = wide - oracles.project(case.name, wide, **case.arguments)
    over = None if case.joint else (0, 1, 2)
    np.testing.assert_allclose(case.constraint.distance(w), np.sqrt(np.sum(gap**2, axis=over)), rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(case.constraint.norm(w), oracles.norms(case.name, w), rtol=1e-13)
    assert case.constraint.norm(w).dtype == case.constraint.distance(w).dtype == tf.float64


@every_case
def test_axes_choose_the_groups(case):
    if hasattr(oracles.of(case.name), "fit") or case.name == "nm":
        pytest.skip("takes few shapes, or follows one axis whatever the group; its own tests try the axes")
    w = weights(case, "float32", (3, 4, 5), 2.0)
    constraint = case.constraint
    for axes, order in [
        ((0,), (0, 1, 2)),
        ((1,), (1, 0, 2)),
        ((2,), (2, 0, 1)),
        ((0, 2), (0, 2, 1)),
        ((1, 2), (1, 2, 0)),
    ]:
        count = int(np.prod([w.shape[axis] for axis in axes]))
        columns = w.transpose(order).reshape(count, -1)
        expected = constraint(columns).numpy().reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))
        np.testing.assert_array_equal(bits(constraint(w, axes)), bits(expected))
        np.testing.assert_array_equal(bits(constraint(w, tuple(axis - 3 for axis in reversed(axes)))), bits(expected))
        np.testing.assert_array_equal(bits(dataclasses.replace(constraint, axis=axes)(w)), bits(expected))
        left = () if case.joint else tuple(size for axis, size in enumerate(w.shape) if axis not in axes)
        assert (
            constraint.distance(w, axes).shape
            == constraint.active(w, axes).shape
            == constraint.norm(w, axes).shape
            == left
        )
        np.testing.assert_allclose(np.reshape(constraint.norm(w, axes), -1), constraint.norm(columns))
    np.testing.assert_array_equal(bits(constraint(w, (0, 1))), bits(constraint(w)))
    np.testing.assert_array_equal(bits(dataclasses.replace(constraint, axis=0)(w, axes=(0, 1))), bits(constraint(w)))
    whole = constraint(w.reshape(-1)).numpy().reshape(w.shape)
    np.testing.assert_array_equal(bits(constraint(w, (0, 1, 2))), bits(whole))
    single = constraint(w.reshape(1, -1)).numpy().reshape(w.shape)
    np.testing.assert_array_equal(bits(constraint(w, ())), bits(single))


@every_case
@usual_dtype
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_no_weights_are_no_trouble(case, dtype, shape):
    if not takes(case, shape):
        pytest.skip("cannot take this shape")
    w = np.zeros(shape, DTYPES[dtype])
    assert case.constraint(w).shape == shape
    assert case.constraint.distance(w).shape == case.constraint.norm(w).shape == case.constraint.active(w).shape
    assert np.all(case.constraint.distance(w).numpy() == 0)


@every_case
def test_schedules_are_followed_without_a_new_trace(case):
    if not case.values:
        pytest.skip("no number to schedule")
    moving = {name: schedules.linear(value, value * 0.5, end=10) for name, value in case.values}
    constraint = REGISTRY[case.name](**moving, **dict(case.options))
    w = weights(case, "float32", (20, 4), 2.0)
    project = tf.function(lambda w, step: constraint.at(step)(w))
    for step, share in ((0, 1.0), (4, 0.8), (10, 0.5), (99, 0.5)):
        numbers = {name: as_taken(case, name, value * share) for name, value in case.values}
        then = REGISTRY[case.name](**numbers, **dict(case.options))
        close(case, project(w, tf.constant(step, tf.int64)), then(w).numpy().astype(np.float64), "float32")
        if not case.spectral:
            np.testing.assert_array_equal(bits(constraint.at(step)(w)), bits(project(w, tf.constant(step, tf.int64))))
    assert project.experimental_get_tracing_count() == 1
    assert all(
        isinstance(bound, tf.Tensor) and bound.dtype == tf.float64 for bound in constraint.at(3).bounds().values()
    )
    for method in (constraint, constraint.distance):
        with pytest.raises(ValueError, match=r"depends on the step; project with `constraint.at\(step\)\(w\)`"):
            method(w)


@every_case
def test_a_variable_as_hyperparameter_is_read_at_each_call(case):
    if not case.values:
        pytest.skip("no number to vary")
    variables = {name: tf.Variable(value, dtype=tf.float32) for name, value in case.values}
    constraint = REGISTRY[case.name](**variables, **dict(case.options))
    project = tf.function(constraint)
    w = weights(case, "float32", (20, 4), 2.0)
    for share in (1.0, 0.5):
        for name, value in case.values:
            variables[name].assign(value * share)
        now = {name: float(variable) for name, variable in variables.items()}
        then = REGISTRY[case.name](**now, **dict(case.options))
        if case.spectral:
            close(case, project(w), then(w).numpy().astype(np.float64), "float32")
        else:
            np.testing.assert_array_equal(bits(project(w)), bits(then(w)))


@every_case
def test_config_makes_an_equal_constraint(case):
    moving = {name: schedules.cosine(value, value * 0.5, begin=3, end=10) for name, value in case.values}
    for values in (dict(case.values), moving):
        for axis in (None, 1, (0, -1)):
            constraint = REGISTRY[case.name](**values, **dict(case.options), axis=axis)
            again = type(constraint).from_config(constraint.get_config())
            assert again == constraint
            assert hash(again) == hash(constraint)
            assert dict(again.bounds()) == values
            assert list(again.bounds()) == [f.name for f in again.hyperparameters()]


@pytest.mark.parametrize(("case", "compiled"), CASES_AND_WAYS)
def test_the_gradient_is_that_of_finite_differences(case, compiled):
    rng = np.random.default_rng(5)
    w, upstream = (rng.standard_normal(case.shape((5, 3))) for _ in range(2))
    constraint, step = case.constraint, 1e-6

    def value(w):
        return np.sum(constraint(w).numpy() * upstream)

    expected = np.zeros_like(w)
    for index in np.ndindex(*w.shape):
        moved = np.zeros_like(w)
        moved[index] = step
        expected[index] = (value(w + moved) - value(w - moved)) / (2 * step)

    def gradient(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            objective = tf.reduce_sum(constraint(w) * upstream)
        return tape.gradient(objective, w)

    for compute in (gradient, tf.function(gradient, jit_compile=compiled)):
        np.testing.assert_allclose(compute(tf.constant(w)), expected, atol=1e-7)
    np.testing.assert_allclose(constraint.vjp(w, upstream), expected, atol=1e-7)


@every_case
def test_the_gradient_of_zeros_and_of_bad_groups_is_finite_or_passes(case):
    w = np.zeros(case.shape((8, 6)), np.float32)
    upstream = np.ones_like(w)
    assert np.all(np.isfinite(case.constraint.vjp(w, upstream)))
    w[1, 0] = np.nan
    pulled = case.constraint.vjp(w, upstream).numpy()
    assert np.all(np.isfinite(pulled))
    assert np.all(pulled[:, 0] == 1.0)


@pytest.mark.parametrize("case", of_each_kind(CASES), ids=str)
def test_two_replicas_agree_with_one(case):
    w = tf.constant(weights(case, "float32", (120, 40), 2.0))
    strategy = tf.distribute.MirroredStrategy(
        tf.config.list_logical_devices("CPU")[:2], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    run = tf.function(lambda: strategy.run(lambda: tf.identity(case.constraint.project(w))))
    results = strategy.experimental_local_results(run())
    assert len(results) == 2
    for result in results:
        np.testing.assert_array_equal(bits(result), bits(results[0]))
        if case.spectral:
            close(case, result, case.constraint(w).numpy().astype(np.float64), "float32")
        else:
            np.testing.assert_array_equal(bits(result), bits(case.constraint(w)))
