"""Laws that hold for every proximal map, on any shape and type; each map's own file has its optimality and edges."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from constraints.penalties._base import Proximal
from tests.support import oracles
from tests.support.cases import SCALES, SHAPES
from tests.support.oracles import DTYPES, bits, epsilon, quantum
from tests.support.suites import fast


@dataclasses.dataclass(frozen=True)
class Map:
    """A map with numbers: its penalty and minimiser, for one group as a float64 vector, written the plainest way."""

    values: dict[str, float]
    degree: dict[str, int]  # scaling weights by s and a penalty by s to this power scales the result by s
    penalty: Callable[..., float]
    minimiser: Callable[..., np.ndarray]
    separable: bool = True


def _group(x: np.ndarray, penalty: float) -> np.ndarray:
    length = oracles.norm(x)
    return x * (1 - penalty / length) if length > penalty else np.zeros_like(x)


def _soft(x: np.ndarray, penalty: float) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - penalty, 0.0)


MAPS = {
    "elasticnet": Map(
        {"penalty": 0.4, "ridge": 0.7},
        {"penalty": 1, "ridge": 0},
        lambda x, penalty, ridge: penalty * np.sum(np.abs(x)) + ridge / 2 * np.sum(x**2),
        lambda x, penalty, ridge: _soft(x, penalty) / (1 + ridge),
    ),
    "groupsoft": Map(
        {"penalty": 1.3},
        {"penalty": 1},
        lambda x, penalty: penalty * oracles.norm(x),
        _group,
        separable=False,
    ),
    "hardthreshold": Map(
        {"penalty": 0.4},
        {"penalty": 2},
        lambda x, penalty: penalty * np.count_nonzero(x),
        lambda x, penalty: np.where(x**2 / 2 > penalty, x, 0.0),
    ),
    "softthreshold": Map(
        {"penalty": 0.4},
        {"penalty": 1},
        lambda x, penalty: penalty * np.sum(np.abs(x)),
        _soft,
    ),
}

every_map = pytest.mark.parametrize("name", MAPS)
# A type that is narrower than what formulas are computed in, and the usual one; the other two are slow.
every_kind_of_dtype = pytest.mark.parametrize("dtype", fast(DTYPES, "bfloat16", "float32"))


def made(name: str, scale: float = 1.0, **more) -> Proximal:
    values = {field: value * scale ** MAPS[name].degree[field] for field, value in MAPS[name].values.items()}
    return REGISTRY[name](**values, **more)


def weights(dtype: str, shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale).astype(DTYPES[dtype])


def minimised(name: str, w: np.ndarray, step: float = 1.0) -> np.ndarray:
    """The oracle over all groups, for weights that the penalties' numbers are meant for."""
    result = np.asarray(w).astype(np.float64)
    values = {field: step * value for field, value in MAPS[name].values.items()}
    for index, group in oracles.groups(w):
        result[index] = MAPS[name].minimiser(group, **values).reshape(result[index].shape)
    return result


def special(dtype: str) -> np.ndarray:
    """Zeros, subnormals and tiny weights of both signs among others, a column each of zeros, NaN and inf."""
    w = weights(dtype, (9, 7), 3.0)
    tiny = oracles.ml_dtypes.finfo(DTYPES[dtype]).smallest_subnormal
    smallest = oracles.ml_dtypes.finfo(DTYPES[dtype]).smallest_normal
    w[:6, 0] = [tiny, -tiny, -0.0, 0.0, smallest, -smallest]
    w[:, 1] = 0.0
    w[3, 1] = -0.0
    w[:, 2] = tiny
    w[4, 3], w[4, 4], w[4, 5] = np.nan, np.inf, -np.inf
    return w


def test_every_map_is_here():
    assert {name for name, kind in REGISTRY.items() if kind.proximal} == set(MAPS)
    assert all(issubclass(REGISTRY[name], Proximal) for name in MAPS)


@every_map
@every_kind_of_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_is_the_minimiser_rounded(name, dtype, shape):
    for scale in SCALES[dtype]:
        if name == "hardthreshold" and not 1e-150 < scale < 1e150:
            continue  # The square of the scale is no float64.
        unit = weights("float64", shape)
        w = (unit * scale).astype(DTYPES[dtype])
        p = made(name, scale)(w)
        assert p.dtype == tf.as_dtype(dtype)
        assert p.shape == shape
        expected = minimised(name, w.astype(np.float64) / scale) * scale
        room = 0.51 * epsilon(dtype) * np.abs(expected) + 1e-15 * np.max(np.abs(w.astype(np.float64))) + quantum(dtype)
        worst = np.max(np.abs(oracles.array(p).astype(np.float64) - expected) - room)
        assert worst <= 0, f"off by {worst} more than rounding, scale {scale}"


@every_map
@pytest.mark.parametrize("step", [0.25, 1.0, 3.0])
def test_no_other_point_costs_less(name, step):
    rng = np.random.default_rng(1)
    mapped = made(name).stepped(step)
    h = MAPS[name].penalty
    for _ in range(20):
        w = rng.standard_normal(6) * rng.choice([0.3, 1.0, 3.0])
        p = mapped(w).numpy()

        def cost(q, w=w):
            return np.sum((q - w) ** 2) / 2 + step * h(q, **MAPS[name].values)

        supports = (w * support for support in itertools.product([0.0, 1.0], repeat=6))
        near = (p + rng.standard_normal(6) * size for size in 10.0 ** np.arange(-4, 1) for _ in range(40))
        thinned = (p * (rng.uniform(size=6) < 0.7) for _ in range(40))
        along = (p + share * (w - p) for share in np.linspace(-2, 2, 81))
        lowest = min(map(cost, itertools.chain(supports, near, thinned, along)))
        assert cost(p) <= lowest + 1e-12
        penalty = mapped.penalty_of(tf.constant(p[:, np.newaxis])).numpy()
        np.testing.assert_allclose(penalty, [h(p, **MAPS[name].values)], rtol=1e-13)


@every_map
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convex_maps_are_firmly_non_expansive(name, dtype):
    kind = REGISTRY[name]
    gaps = []
    for seed in range(20):
        a = weights(dtype, (9, 4), 1.0, seed).astype(np.float64)
        b = (a * (seed % 2) + 0.5 * weights(dtype, (9, 4), 1.0, seed + 100)).astype(dtype).astype(np.float64)
        moved = made(name)(a.astype(dtype)).numpy().astype(np.float64) - made(name)(b.astype(dtype)).numpy()
        gaps.append(np.sum(moved * (a - b), axis=0) - np.sum(moved**2, axis=0))
    assert (np.min(gaps) >= -8 * epsilon(dtype)) == kind.convex


@every_map
@every_kind_of_dtype
@pytest.mark.parametrize("size", ["few", "many"])
def test_zeros_are_positive_and_what_is_not_moved_stays(name, dtype, size):
    w = special(dtype)
    if size == "many":
        w = np.concatenate([w, weights(dtype, (9, 60))], axis=1)
    p = made(name)(w).numpy()
    new = (p == 0) & (bits_of(w) & magnitudes(w) != 0)
    assert np.any(new)
    assert not np.any(np.signbit(p[new])), "-0.0 was made"
    subnormal = w[0, 2]
    assert np.all(p[:, 2] == 0)
    assert bits(p[0, 2]).sum() == 0, f"{subnormal} was to go"
    still = made(name, step=0.0)(w).numpy()
    np.testing.assert_array_equal(bits(still), bits(w))
    nothing = REGISTRY[name](**dict.fromkeys(MAPS[name].values, 0.0))
    np.testing.assert_array_equal(bits(nothing(w)), bits(w))
    np.testing.assert_array_equal(nothing.distance(w)[:3], 0.0)
    assert not np.any(nothing.active(w))


def bits_of(w: np.ndarray) -> np.ndarray:
    return w.view({2: np.int16, 4: np.int32, 8: np.int64}[w.dtype.itemsize])


def magnitudes(w: np.ndarray) -> int:
    return np.iinfo(bits_of(w).dtype).max


@every_map
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_result_too_small_for_the_type_is_a_positive_zero(name, dtype):
    smallest = float(oracles.ml_dtypes.finfo(DTYPES[dtype]).smallest_normal)
    w = 1.5 * np.array([[-smallest], [smallest]]).astype(DTYPES[dtype])
    penalties = dict.fromkeys(MAPS[name].values, smallest)
    if name == "hardthreshold" and dtype != "float64":
        penalties["penalty"] *= 2.0 * smallest
    for columns in (1, 200):
        p = REGISTRY[name](**penalties)(np.repeat(w, columns, axis=1))
        assert not np.any(bits(p))


@every_map
@every_kind_of_dtype
@pytest.mark.parametrize("size", ["few", "many"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_in_their_group(name, dtype, size, bad):
    w = weights(dtype, (8, 5 if size == "few" else 50))
    expected = made(name)(w).numpy()
    mended = w.copy()
    w[3, 2] = bad
    p = made(name)(w).numpy()
    others = np.arange(w.shape[1]) != 2
    np.testing.assert_array_equal(bits(p[:, others]), bits(expected[:, others]))
    np.testing.assert_array_equal(p[3, 2].astype(np.float64), bad)
    rest = [0, 1, 2, 4, 5, 6, 7]
    untouched = expected if MAPS[name].separable else mended
    np.testing.assert_array_equal(bits(p[rest, 2]), bits(untouched[rest, 2]))
    distance = made(name).distance(w).numpy()
    assert np.isinf(distance[2])
    assert np.all(np.isfinite(distance[others]))


@every_map
@every_kind_of_dtype
def test_eager_graph_and_xla_agree(name, dtype):
    mapped = made(name)

    def everything(few, many):
        return mapped(few), mapped(many), mapped.distance(few), mapped.norm(few), mapped.active(few)

    few = special(dtype)
    scales = [1e-3, 0.1, 1.0, 10.0, 1e3]
    many = np.concatenate([weights(dtype, (16, 30), scale) for scale in scales], axis=1)
    eager = everything(few, many)
    for compiled in (False, True):
        again = tf.function(everything, jit_compile=compiled)(few, many)
        for mine, other in zip(again[:2], eager[:2], strict=True):
            if compiled and dtype == "float64":
                # XLA adds in another order, and float64 has no wider type to hide it.
                np.testing.assert_allclose(mine, other, rtol=1e-14)
            else:
                np.testing.assert_array_equal(bits(mine), bits(other))
        for measured, expected in zip(again[2:4], eager[2:4], strict=True):
            np.testing.assert_allclose(measured, expected, rtol=1e-12)
        np.testing.assert_array_equal(again[4], eager[4])


@every_map
def test_distance_and_norm_are_those_of_float64(name):
    w = weights("float32", (3, 3, 2, 5), 2.0)
    w[0, 0] = 0.0
    gap = w - minimised(name, w)
    np.testing.assert_allclose(made(name).distance(w), np.sqrt(np.sum(gap**2, axis=(0, 1, 2))), rtol=1e-6)
    one = REGISTRY[name](**{field: float(field == "penalty") for field in MAPS[name].values})
    h = [MAPS[name].penalty(group, **one.bounds()) for _, group in oracles.groups(w)]
    np.testing.assert_allclose(made(name).norm(w), h, rtol=1e-13)
    assert made(name).norm(w).dtype == made(name).distance(w).dtype == tf.float64


@every_map
def test_axes_choose_the_groups(name):
    w = weights("float32", (3, 4, 5), 2.0)
    mapped = made(name)
    for axes, order in [((0,), (0, 1, 2)), ((2,), (2, 0, 1)), ((0, 2), (0, 2, 1)), ((1, 2), (1, 2, 0))]:
        count = int(np.prod([w.shape[axis] for axis in axes]))
        columns = w.transpose(order).reshape(count, -1)
        expected = mapped(columns).numpy().reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))
        np.testing.assert_array_equal(bits(mapped(w, axes)), bits(expected))
        np.testing.assert_array_equal(bits(dataclasses.replace(mapped, axis=axes)(w)), bits(expected))
        left = tuple(size for axis, size in enumerate(w.shape) if axis not in axes)
        assert mapped.distance(w, axes).shape == mapped.active(w, axes).shape == mapped.norm(w, axes).shape == left


@every_map
@every_kind_of_dtype
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_no_weights_are_no_trouble(name, dtype, shape):
    w = np.zeros(shape, DTYPES[dtype])
    mapped = made(name)
    assert mapped(w).shape == shape
    assert mapped.vjp(w, w).shape == shape
    assert mapped.distance(w).shape == mapped.norm(w).shape == mapped.active(w).shape
    assert np.all(mapped.distance(w).numpy() == 0)


@every_map
def test_a_step_multiplies_the_penalties(name):
    w = weights("float64", (9, 4))
    for step in (0.0, 0.1, 2.0):
        values = {field: value * step for field, value in MAPS[name].values.items()}
        mapped = made(name).stepped(step)
        np.testing.assert_array_equal(mapped(w), REGISTRY[name](**values)(w))
        np.testing.assert_array_equal(mapped(w), made(name, step=step)(w))
        np.testing.assert_allclose(mapped(w), minimised(name, w, step), rtol=1e-13, atol=1e-15)
        assert mapped == made(name, step=step)
        assert mapped.bounds() == made(name).bounds() == MAPS[name].values
    assert made(name).stepped(0.5).stepped(0.5) == made(name, step=0.25) != made(name)
    assert hash(made(name).stepped(0.5)) == hash(made(name, step=0.5))


@every_map
def test_a_learning_rate_that_is_a_tensor_makes_one_trace(name):
    w = weights("float32", (40, 20))
    mapped = made(name)
    apply = tf.function(lambda w, rate: mapped.stepped(rate)(w))
    for rate in (0.0, 0.01, 0.5, 1.0):
        expected = mapped.stepped(float(np.float32(rate)))(w)
        np.testing.assert_array_equal(bits(apply(w, tf.constant(rate, tf.float32))), bits(expected))
    assert apply.experimental_get_tracing_count() == 1
    for variable in (tf.Variable(0.5), keras.Variable(0.5)):
        np.testing.assert_array_equal(mapped.stepped(variable)(w), mapped.stepped(0.5)(w))
        np.testing.assert_array_equal(made(name, step=variable)(w), mapped.stepped(0.5)(w))


@every_map
def test_a_bad_step_or_penalty(name):
    for bad in (-0.1, np.nan, np.inf, "1"):
        with pytest.raises(ValueError, match="step="):
            made(name).stepped(bad)
        with pytest.raises(ValueError, match="step="):
            made(name, step=bad)
    for field in MAPS[name].values:
        with pytest.raises(ValueError, match=f"{field}=-0.5 is out of range; {field} takes a finite number at least 0"):
            REGISTRY[name](**{field: -0.5})


@every_map
def test_schedules_and_variables_are_followed_without_a_new_trace(name):
    values = MAPS[name].values
    moving = {field: schedules.linear(value, 0.0, end=10) for field, value in values.items()}
    scheduled = REGISTRY[name](**moving, step=schedules.linear(1.0, 0.5, end=10))
    variables = {field: tf.Variable(0.0, dtype=tf.float64) for field in values}
    varied = REGISTRY[name](**variables)
    w = weights("float32", (20, 30))
    follow = tf.function(lambda w, step: scheduled.at(step)(w))
    read = tf.function(varied)
    for step, share in ((0, 1.0), (5, 0.5), (10, 0.0)):
        for field, value in values.items():
            variables[field].assign(value * share)
        then = REGISTRY[name](**{field: value * share for field, value in values.items()})
        np.testing.assert_array_equal(bits(read(w)), bits(then(w)))
        expected = then.stepped(1.0 - step / 20)(w).numpy()
        np.testing.assert_allclose(follow(w, tf.constant(step, tf.int64)), expected, rtol=2e-7, atol=1e-8)
    assert follow.experimental_get_tracing_count() == read.experimental_get_tracing_count() == 1
    with pytest.raises(ValueError, match="depends on the step"):
        scheduled(w)


@every_map
def test_config_makes_an_equal_map(name):
    for mapped in (
        made(name),
        made(name).stepped(0.1),
        made(name, axis=(0, -1), step=schedules.linear(1.0, 0.0, end=5)),
        REGISTRY[name](penalty=schedules.cosine(1.0, 0.0, end=5)),
    ):
        again = keras.constraints.deserialize(keras.constraints.serialize(mapped))
        assert again == mapped
        assert type(again) is type(mapped)
        assert hash(again) == hash(mapped)
        assert again.step == mapped.step
    rate = made(name).stepped(tf.constant(0.5))
    assert type(rate).from_config(rate.get_config()) == made(name).stepped(0.5)
    assert [field.name for field in REGISTRY[name].hyperparameters()] == list(MAPS[name].values)


@every_map
def test_the_gradient_is_that_of_finite_differences(name):
    rng = np.random.default_rng(5)
    w, upstream = (rng.standard_normal((7, 4)) for _ in range(2))
    mapped, step = made(name).stepped(0.6), 1e-6

    def value(w):
        return np.sum(mapped(w).numpy() * upstream)

    expected = np.zeros_like(w)
    for index in np.ndindex(*w.shape):
        moved = np.zeros_like(w)
        moved[index] = step
        expected[index] = (value(w + moved) - value(w - moved)) / (2 * step)

    def gradient(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            objective = tf.reduce_sum(mapped(w) * upstream)
        return tape.gradient(objective, w)

    for compute in (gradient, tf.function(gradient), tf.function(gradient, jit_compile=True)):
        np.testing.assert_allclose(compute(tf.constant(w)), expected, atol=1e-8)


@every_map
def test_the_gradient_at_zeros_is_0_and_of_no_penalty_passes(name):
    w = np.zeros((6, 3), np.float32)
    upstream = np.ones_like(w)
    np.testing.assert_array_equal(made(name).vjp(w, upstream), 0 * upstream)
    np.testing.assert_array_equal(made(name).stepped(0).vjp(w, upstream), upstream)
    w[1, 0] = np.nan
    pulled = made(name).vjp(w, upstream).numpy()
    np.testing.assert_array_equal(pulled[:, 0], 1.0)
    np.testing.assert_array_equal(pulled[:, 1:], 0.0)


@every_map
def test_proximal_gradient_steps_find_exact_zeros(name):
    """On ||p - target||^2 / 2 the method ends where no step moves: at the map of the target itself, if it is convex."""
    target = np.array([[3.0], [-2.0], [0.05], [0.0], [-0.01]])
    mapped = REGISTRY[name](penalty=0.1)
    w, rate = target + 0.5, 0.5
    for _ in range(200):
        w = mapped.stepped(rate)(w - rate * (w - target)).numpy()
    assert np.any(w == 0) == MAPS[name].separable
    if REGISTRY[name].convex:
        np.testing.assert_allclose(w, mapped(target), atol=1e-12)
    else:
        np.testing.assert_allclose(w[:2], target[:2])
