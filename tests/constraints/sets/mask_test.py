"""Tests of weights that stay zero where a pattern says so."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support.oracles import DTYPES, bits

Mask = REGISTRY["mask"]

# Without a pattern; the tests below have some.
CASES = [{}]


def oracle(x):
    return x


def violation(x):
    return 0.0


def drawn(shape, dtype="float32", seed=0):
    """Weights, and a pattern that a third of them do not pass."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal(shape)).astype(DTYPES[dtype]), np.asarray(rng.uniform(size=shape) < 0.67)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [False, True])
def test_exact_cases(dtype, compiled):
    tiny = np.finfo(np.float16).smallest_subnormal if dtype == "float16" else 1e-310 if dtype == "float64" else 1e-40
    w = np.array([[1.0, tiny, np.inf, -2.0], [-3.0, -tiny, np.nan, -0.0], [0.0, -0.0, -np.inf, np.nan]])
    w = w.astype(DTYPES[dtype])
    pattern = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
    expected = np.where(pattern, w, DTYPES[dtype](0))
    expected[1, 3] = -0.0
    project = tf.function(Mask(pattern), jit_compile=compiled)
    np.testing.assert_array_equal(bits(project(w)), bits(expected))
    np.testing.assert_array_equal(bits(project(expected)), bits(expected))
    tiled = tf.function(Mask(np.tile(pattern, 60)), jit_compile=compiled)(np.tile(w, 60))
    np.testing.assert_array_equal(bits(tiled), bits(np.tile(expected, 60)))


def test_measures():
    w = np.float32([[3.0, 1.0], [-4.0, 2.0]])
    mask = Mask([[False, True], [False, True]])
    np.testing.assert_array_equal(mask.distance(w), [5.0, 0.0])
    np.testing.assert_array_equal(mask.active(w), [True, False])
    np.testing.assert_allclose(mask.norm(w), [5.0, 5.0**0.5])
    np.testing.assert_array_equal(Mask().active(np.float32([[0.0, 1.0], [2.0, 1e-40]])), [True, False])
    assert mask.distance(mask(w)).numpy().max() == 0
    assert mask.bounds() == {}
    np.testing.assert_array_equal(mask.vjp(w, np.ones_like(w)), [[0, 1], [0, 1]])


@pytest.mark.parametrize("shape", [(), (9,), (11, 6), (3, 4, 5), (3, 3, 4, 5), (120, 40)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pattern_lies_as_the_weights_do_whatever_the_groups(shape, dtype):
    w, pattern = drawn(shape, dtype)
    expected = np.where(pattern, w, np.zeros_like(w))
    for axes in (None, (), tuple(range(len(shape))), *range(len(shape)), *([(0, -1)] if len(shape) > 2 else [])):
        mask = Mask(pattern)
        for form in (
            mask(w, axes),
            mask.project(w, axes),
            Mask(pattern, axis=axes)(w),
            Mask(tf.constant(pattern))(w),
        ):
            np.testing.assert_array_equal(bits(form), bits(expected))
        pulled = mask.vjp(w, np.ones_like(w), axes).numpy()
        np.testing.assert_array_equal(pulled.astype(bool), pattern)
        gap = np.where(pattern, 0.0, w.astype(np.float64))
        if axes == 0 and len(shape) > 1:
            np.testing.assert_allclose(mask.distance(w, axes), np.sqrt(np.sum(gap**2, axis=0)))
            np.testing.assert_array_equal(mask.active(w, axes), ~np.all(pattern, axis=0))


def test_no_feasible_point_is_nearer():
    w, pattern = drawn((7, 4), "float64")
    p = Mask(pattern)(w).numpy()
    others = np.random.default_rng(1).standard_normal((500, 7, 4)) * pattern
    mine = np.linalg.norm(w - p, axis=0)
    assert np.all(np.linalg.norm(w - others, axis=1) >= mine)
    assert np.all(np.linalg.norm(w - (p + 0.01 * others), axis=1) >= mine)


def test_the_zeros_of_weights_make_a_mask():
    w, pattern = drawn((20, 30))
    w *= pattern
    w[0, :3] = 1e-40, 0.0, -0.0
    pattern[0, :3] = True, False, False
    for mask in (Mask.of(w), Mask.of(tf.Variable(w)), Mask.of(keras.Variable(w)), Mask.of(w, axis=0)):
        np.testing.assert_array_equal(mask.pattern, pattern)
        np.testing.assert_array_equal(bits(mask(w)), bits(w))
        np.testing.assert_array_equal(mask(np.ones_like(w)), pattern)
    assert Mask.of(w) == Mask(pattern) != Mask.of(w, axis=0)
    for compiled in (False, True):
        keep = tf.function(lambda w, v: Mask.of(w)(v), jit_compile=compiled)
        np.testing.assert_array_equal(keep(w, np.ones_like(w)), pattern)


def test_a_pattern_may_change_without_a_new_trace():
    w, first = drawn((20, 30))
    _, second = drawn((20, 30), seed=1)
    apply = tf.function(lambda w, pattern: Mask(pattern=pattern)(w))
    variable = tf.Variable(first)
    mask = Mask(variable)
    read = tf.function(mask)
    for pattern in (first, second):
        variable.assign(pattern)
        for result in (apply(w, tf.constant(pattern)), read(w), mask(w)):
            np.testing.assert_array_equal(result, np.where(pattern, w, 0))
    assert apply.experimental_get_tracing_count() == read.experimental_get_tracing_count() == 1
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(mask(tf.constant(w) * 1.0))
    assert tape.gradient(total, variable) is None


def test_equality_is_that_of_values():
    _, pattern = drawn((5, 3))
    mask = Mask(pattern)
    assert mask == Mask(pattern.tolist())
    assert hash(mask) == hash(Mask(pattern.copy()))
    assert len({mask, Mask(~pattern), Mask(), Mask(pattern.T), Mask(pattern, axis=0)}) == 5
    tensor = tf.constant(pattern)
    assert Mask(tensor) == Mask(tensor) != mask
    pattern[0, 0] = ~pattern[0, 0]
    assert mask != Mask(pattern), "a mask holds a copy"
    with pytest.raises(ValueError, match="read-only"):
        mask.pattern[0, 0] = True


@pytest.mark.parametrize("shape", [(), (1,), (8,), (9, 5), (2, 0), (3, 3, 2, 7)], ids=str)
def test_config_makes_an_equal_mask(shape):
    _, pattern = drawn(shape)
    for mask in (Mask(pattern), Mask(pattern, axis=(0, -1)), Mask()):
        again = keras.constraints.deserialize(keras.constraints.serialize(mask))
        assert again == mask
        assert hash(again) == hash(mask)
    for tensor in (tf.constant(pattern), tf.Variable(pattern)):
        assert Mask.from_config(Mask(tensor).get_config()) == Mask(pattern)


def test_a_damaged_config():
    config = Mask(np.ones((4, 5), bool)).get_config()
    with pytest.raises(ValueError, match=r"shape \(4, 9\) takes 5 bytes, not 3"):
        Mask.from_config({**config, "pattern": {**config["pattern"], "shape": [4, 9]}})
    with pytest.raises(ValueError, match="base64"):
        Mask.from_config({**config, "pattern": {**config["pattern"], "bits": "?%"}})


def test_under_fit_zeros_stay_and_are_saved(tmp_path):
    keras.utils.set_random_seed(0)
    kernel, pattern = drawn((6, 4))
    masks = [Mask.of(kernel * pattern), None]
    network = keras.Sequential(
        [keras.Input((6,))]
        + [keras.layers.Dense(4, kernel_constraint=mask, name=f"d{i}") for i, mask in enumerate(masks)]
    )
    network.layers[0].kernel.assign(kernel * pattern)
    network.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 6)), rng.standard_normal((32, 4))
    network.fit(x, y, epochs=3, batch_size=8, verbose=0)
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[0].kernel_constraint == masks[0]
    again.fit(x, y, epochs=3, batch_size=8, verbose=0)
    for trained in (network, again):
        np.testing.assert_array_equal(trained.layers[0].kernel.numpy() != 0, pattern)
        assert np.all(trained.layers[1].kernel.numpy() != 0)
    assert np.any(network.layers[0].kernel.numpy() != kernel * pattern)


def test_a_pattern_of_another_shape_or_type():
    w, pattern = drawn((4, 3))
    for call in (Mask(pattern.T), Mask(pattern.T).distance, Mask(tf.constant(pattern.T)).active):
        with pytest.raises(ValueError, match=r"pattern of shape \(3, 4\) does not fit weights of shape \(4, 3\)"):
            call(w)
    for bad, name in ((pattern.astype(np.float32), "float32"), (tf.constant([0, 1]), "int32"), ([], "float64")):
        with pytest.raises(ValueError, match=f"pattern of type {name} must be bool"):
            Mask(bad)
