"""Laws that hold for every registered set, on any shape and type; each set's own file has its oracle's edges."""

from __future__ import annotations

import dataclasses
import itertools
import zlib

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests import oracles
from tests.oracles import DTYPES, bits, epsilon, quantum


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    values: tuple[tuple[str, float], ...] = ()
    convex: bool = True
    odd: bool = True  # P(-w) = -P(w)
    per_weight: bool = False
    ordered: bool = False  # the order of the weights in a group matters
    shifts: bool = False  # weights are off by the rounding of the largest of their group
    exact: bool = True  # the set's inequality holds to the last bit after rounding

    @property
    def constraint(self):
        return REGISTRY[self.name](**dict(self.values))

    def __str__(self):
        return "-".join([self.name, *(f"{value:g}" for _, value in self.values)])


CASES = [
    Case("box", (("max_value", 0.3), ("min_value", -0.7)), odd=False, per_weight=True),
    Case("halfspace", (("total", 0.4),), odd=False, shifts=True),
    Case("hyperplane", (("total", 1.3),), odd=False, exact=False, shifts=True),
    Case("l1ball", (("max_value", 1.7),)),
    Case("l1sphere", (("total", 1.7),), convex=False, exact=False),
    Case("l1topk", (("max_value", 1.7), ("sparsity", 0.6)), convex=False),
    Case("maxnorm", (("max_value", 1.3),)),
    Case("minmaxnorm", (("max_value", 1.3), ("min_value", 0.4)), convex=False),
    Case("minmaxnorm", (("max_value", 0.9), ("min_value", 0.9)), convex=False, exact=False),
    Case("nm", (("n", 2), ("m", 4)), convex=False, ordered=True),
    Case("none", per_weight=True),
    Case("nonneg", odd=False, per_weight=True),
    Case("simplex", (("total", 1.7),), odd=False, exact=False),
    Case("simplextopk", (("total", 1.7), ("sparsity", 0.6)), convex=False, odd=False, exact=False),
    Case("topk", (("sparsity", 0.6),), convex=False),
    Case("unitnorm", convex=False, exact=False),
    Case("zerosum", exact=False, shifts=True),
]
# float64 has nothing wider to round from.
SLACK = {"float32": 1e-12, "bfloat16": 1e-12, "float16": 1e-12, "float64": 1e-14}
# The largest is past the size up to which products are taken in float64.
SHAPES = [(), (9,), (11, 6), (5, 3, 4), (3, 3, 4, 5), (2, 3, 2, 3, 4), (120, 40)]
SCALES = {
    "float32": (1e-30, 1e-6, 1.0, 1e6, 1e30),
    "bfloat16": (1e-30, 1e-6, 1.0, 1e6, 1e30),
    "float16": (1e-5, 1e-2, 1.0, 1e2, 1e4),
    "float64": (1e-250, 1e-30, 1.0, 1e30, 1e250),
}

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def weights(case: Case, dtype: str, shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(f"{case}{dtype}{shape}{scale}".encode())])
    return np.asarray(rng.standard_normal(shape) * scale).astype(DTYPES[dtype])


def close(case: Case, actual: np.ndarray, expected: np.ndarray, dtype: str, ulps: float = 2.0) -> None:
    actual = oracles.array(actual).astype(np.float64)
    # Sums in another order move an l1 threshold by a few float64 roundings of the bound.
    room = ulps * epsilon(dtype) * np.abs(expected) + quantum(dtype) + 1e-14
    if case.shifts and expected.ndim:
        fan_in = tuple(range(max(expected.ndim - 1, 1)))
        room = room + (epsilon(dtype) + 1e-15) * np.max(np.abs(expected), axis=fan_in, keepdims=True, initial=0.0)
    worst = np.max(np.abs(actual - expected) - room, initial=-1.0)
    assert worst <= 0, f"off by {worst} more than rounding"


def as_taken(case: Case, name: str, value: float) -> float:
    """A value that a schedule passes through, as the set takes it."""
    (field,) = [field for field in REGISTRY[case.name].hyperparameters() if field.name == name]
    return round(value) if field.metadata["integer"] else value


def sampled_feasible(case: Case, like: np.ndarray, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    spreads = itertools.cycle((0.1, 0.5, 1.0, 3.0))
    points = [rng.standard_normal(like.shape) * next(spreads) for _ in range(count)]
    near = [like + 0.1 * rng.standard_normal(like.shape) for _ in range(count)]
    return [oracles.project(case.name, point, **dict(case.values)) for point in points + near]


def test_every_set_has_a_case_and_an_oracle():
    assert {case.name for case in CASES} == set(REGISTRY) == set(oracles.PROJECTIONS) == set(oracles.VIOLATIONS)
    assert list(REGISTRY) == sorted(REGISTRY)


@every_case
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_is_feasible_nearest_and_final(case, dtype, shape):
    constraint = case.constraint
    for scale in SCALES[dtype]:
        w = weights(case, dtype, shape, scale)
        p = constraint(w)
        assert p.dtype == tf.as_dtype(dtype)
        assert p.shape == shape
        p = oracles.array(p)
        allowed = SLACK[dtype] if case.exact else max(epsilon(dtype) * 1.01, SLACK[dtype])
        if case.shifts and not case.exact:
            allowed += 2.0 * quantum(dtype) / scale  # Below the normal numbers, rounding is relative to nothing.
        assert oracles.violation(case.name, p, **dict(case.values)) <= allowed
        close(case, p, oracles.project(case.name, w, **dict(case.values)), dtype)
        np.testing.assert_array_equal(bits(constraint(p)), bits(p), f"projecting twice moved it, scale {scale}")
        assert np.all(constraint.distance(p).numpy() == 0)


@every_case
@every_dtype
def test_feasible_weights_come_back_bit_for_bit(case, dtype):
    rng = np.random.default_rng(1)
    constraint = case.constraint
    for point in sampled_feasible(case, np.zeros((8, 5)), rng, 10):
        inner = point * 0.9 if case.name in ("halfspace", "l1ball", "l1topk", "maxnorm") else point
        w = inner.astype(DTYPES[dtype])
        if oracles.violation(case.name, w, **dict(case.values)) == 0:
            np.testing.assert_array_equal(bits(constraint(w)), bits(w))


@every_case
@every_dtype
def test_subnormals_and_negative_zeros_of_feasible_weights_survive(case, dtype):
    tiny = np.finfo(np.float32).smallest_subnormal if dtype != "float64" else np.finfo(np.float64).smallest_subnormal
    if dtype in ("float16", "bfloat16"):
        tiny = oracles.ml_dtypes.finfo(DTYPES[dtype]).smallest_subnormal
    column = np.zeros((10, 3))
    column[0] = 0.25
    w = column.astype(DTYPES[dtype])
    w[1], w[2] = tiny, DTYPES[dtype](-0.0)
    if case.name == "zerosum":
        w[3] = -w[0]
    w[0] = {
        "hyperplane": dict(case.values).get("total"),
        "l1sphere": dict(case.values).get("total"),
        "minmaxnorm": dict(case.values).get("max_value"),
        "simplex": dict(case.values).get("total"),
        "simplextopk": dict(case.values).get("total"),
        "unitnorm": 1.0,
    }.get(case.name, 0.25)
    if oracles.violation(case.name, w, **dict(case.values)) <= epsilon(dtype):
        np.testing.assert_array_equal(bits(case.constraint(w)), bits(w))
    else:
        assert case.name == "none", "the point was meant to be feasible"


@every_case
def test_no_sampled_feasible_point_is_nearer(case):
    rng = np.random.default_rng(2)
    w = rng.standard_normal((7, 4)) * 1.5
    p = case.constraint(w).numpy()
    mine = np.linalg.norm(w - p, axis=0)
    for point in sampled_feasible(case, p, rng, 100):
        assert np.all(np.linalg.norm(w - point, axis=0) >= mine - 1e-12)


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convex_projections_bring_points_no_further_apart(case, dtype):
    if not case.convex:
        pytest.skip("not convex")
    for seed in range(10):
        a = weights(case, dtype, (9, 4), 1.0, seed).astype(np.float64)
        b = weights(case, dtype, (9, 4), 0.5, seed + 100).astype(np.float64) + a * (seed % 2)
        a, b = a.astype(dtype), b.astype(dtype)
        moved = np.linalg.norm(case.constraint(a).numpy().astype(np.float64) - case.constraint(b).numpy(), axis=0)
        before = np.linalg.norm(a.astype(np.float64) - b, axis=0)
        assert np.all(moved <= before + 8 * epsilon(dtype))


@every_case
@every_dtype
def test_signs_and_order_do_not_matter(case, dtype):
    w = weights(case, dtype, (12, 5))
    p = case.constraint(w).numpy()
    order = np.random.default_rng(3).permutation(5)
    np.testing.assert_array_equal(bits(case.constraint(w[:, order])), bits(p[:, order]))
    within = np.random.default_rng(4).permutation(12)
    # Magnitudes that bfloat16 makes equal are told apart by their place.
    if not case.ordered and not ("topk" in case.name and len(np.unique(np.abs(w))) < w.size):
        close(case, case.constraint(w[within]), p[within].astype(np.float64), dtype)
    if case.odd:
        np.testing.assert_array_equal(np.asarray(case.constraint(-w)), -p)


@every_case
@every_dtype
def test_zeros_ones_hot_and_equal_weights(case, dtype):
    special = np.zeros((8, 6))
    special[2, 1] = 3.0
    special[5, 2] = -3.0
    special[:, 3] = 2.0
    special[:, 4] = -2.0
    special[:4, 5] = 0.1
    w = special.astype(DTYPES[dtype])
    p = case.constraint(w).numpy()
    assert np.all(np.isfinite(p.astype(np.float64)))
    close(case, p, oracles.project(case.name, w, **dict(case.values)), dtype)
    np.testing.assert_array_equal(bits(case.constraint(p)), bits(p))


@every_case
@every_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_in_their_group(case, dtype, bad):
    w = weights(case, dtype, (8, 5), 3.0)
    expected = case.constraint(w).numpy()
    w[3, 2] = bad
    p = case.constraint(w).numpy()
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(bits(p[:, others]), bits(expected[:, others]))
    distance = case.constraint.distance(w).numpy()
    assert np.isinf(distance[2])
    assert np.all(np.isfinite(distance[others]))
    if case.per_weight:
        others = [0, 1, 2, 4, 5, 6, 7]
        np.testing.assert_array_equal(bits(p[others, 2]), bits(expected[others, 2]))
    else:
        np.testing.assert_array_equal(bits(p[:, 2]), bits(w[:, 2]))


@every_case
@every_dtype
def test_eager_graph_and_xla_agree(case, dtype):
    w = tf.constant(np.concatenate([weights(case, dtype, (16, 4), scale) for scale in SCALES[dtype]], axis=1))
    constraint = case.constraint

    def everything(w):
        return constraint(w), constraint.distance(w), constraint.norm(w), constraint.active(w)

    eager = everything(w)
    for compiled in (False, True):
        again = tf.function(everything, jit_compile=compiled)(w)
        if compiled and dtype == "float64":
            # XLA adds in another order, and float64 has no wider type to hide it.
            close(case, again[0], eager[0].numpy(), dtype, ulps=4.0)
        else:
            np.testing.assert_array_equal(bits(again[0]), bits(eager[0]))
        for measured, expected in zip(again[1:3], eager[1:3], strict=True):
            np.testing.assert_allclose(measured, expected, rtol=1e-12)
        np.testing.assert_array_equal(again[3], eager[3])


@every_case
def test_distance_and_norm_are_those_of_float64(case):
    w = weights(case, "float32", (3, 3, 2, 5), 2.0)
    wide = w.astype(np.float64)
    gap = wide - oracles.project(case.name, wide, **dict(case.values))
    np.testing.assert_allclose(
        case.constraint.distance(w), np.sqrt(np.sum(gap**2, axis=(0, 1, 2))), rtol=1e-6, atol=1e-15
    )
    l1 = np.sum(np.abs(wide), axis=(0, 1, 2))
    expected = {
        "box": np.max(np.abs(wide), axis=(0, 1, 2)),
        **dict.fromkeys(("l1ball", "l1sphere", "l1topk", "simplex", "simplextopk"), l1),
    }.get(case.name, np.sqrt(np.sum(wide**2, axis=(0, 1, 2))))
    np.testing.assert_allclose(case.constraint.norm(w), expected, rtol=1e-13)
    assert case.constraint.norm(w).dtype == case.constraint.distance(w).dtype == tf.float64


@every_case
def test_axes_choose_the_groups(case):
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
        left = tuple(size for axis, size in enumerate(w.shape) if axis not in axes)
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
@every_dtype
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_no_weights_are_no_trouble(case, dtype, shape):
    w = np.zeros(shape, DTYPES[dtype])
    assert case.constraint(w).shape == shape
    assert case.constraint.distance(w).shape == case.constraint.norm(w).shape == case.constraint.active(w).shape
    assert np.all(case.constraint.distance(w).numpy() == 0)


@every_case
def test_schedules_are_followed_without_a_new_trace(case):
    if not case.values:
        pytest.skip("no number to schedule")
    moving = {name: schedules.linear(value, value * 0.5, end=10) for name, value in case.values}
    constraint = REGISTRY[case.name](**moving)
    w = weights(case, "float32", (20, 4), 2.0)
    project = tf.function(lambda w, step: constraint.at(step)(w))
    for step, share in ((0, 1.0), (4, 0.8), (10, 0.5), (99, 0.5)):
        then = REGISTRY[case.name](**{name: as_taken(case, name, value * share) for name, value in case.values})
        close(case, project(w, tf.constant(step, tf.int64)), then(w).numpy().astype(np.float64), "float32")
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
    constraint = REGISTRY[case.name](**variables)
    project = tf.function(constraint)
    w = weights(case, "float32", (20, 4), 2.0)
    for share in (1.0, 0.5):
        for name, value in case.values:
            variables[name].assign(value * share)
        now = REGISTRY[case.name](**{name: float(variable) for name, variable in variables.items()})
        np.testing.assert_array_equal(bits(project(w)), bits(now(w)))


@every_case
def test_config_makes_an_equal_constraint(case):
    moving = {name: schedules.cosine(value, value * 0.5, begin=3, end=10) for name, value in case.values}
    for values in (dict(case.values), moving):
        for axis in (None, 1, (0, -1)):
            constraint = REGISTRY[case.name](**values, axis=axis)
            again = type(constraint).from_config(constraint.get_config())
            assert again == constraint
            assert hash(again) == hash(constraint)
            assert dict(again.bounds()) == values
            assert list(again.bounds()) == [f.name for f in again.hyperparameters()]
