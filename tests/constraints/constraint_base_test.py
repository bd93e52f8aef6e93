"""Tests of what every constraint inherits: its errors, its groups, its rounding, and how a new set is added."""

import dataclasses
import inspect

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Constraint, hyperparameter, numerics, schedules
from tests.support import oracles

MaxNorm = REGISTRY["maxnorm"]


@dataclasses.dataclass(frozen=True, eq=False)
class FixedSum(Constraint):
    """A set in one place, as CONTRIBUTING tells: groups whose weights sum to `total`."""

    total: float = hyperparameter(0.0, "Sum of a unit's weights.", minimum=-10, maximum=10)
    kind: int = hyperparameter(1, "A whole number.", minimum=1, integer=True, kw_only=True)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return x + (self.value("total") - tf.reduce_sum(x, axis=0)) / x.shape[0]

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)


def test_a_new_set_is_one_class():
    p = FixedSum(total=1)(np.float32([[1.0, 2.0], [2.0, 6.0]]))
    np.testing.assert_array_equal(p, np.float32([[0.0, -1.5], [1.0, 2.5]]))
    np.testing.assert_allclose(FixedSum().distance(np.float32([[1.0], [2.0]])), [3 / 2**0.5])
    moving = FixedSum(total=schedules.linear(0, 1, end=10))
    np.testing.assert_array_equal(moving.at(10)(np.float32([[1.0], [2.0]])), np.float32([[0.0], [1.0]]))
    assert FixedSum.from_config(moving.get_config()) == moving
    assert [field.name for field in FixedSum.hyperparameters()] == ["total", "kind"]
    assert FixedSum.hyperparameters()[0].metadata["help"] == "Sum of a unit's weights."
    for bad in (11, -11, 10.5):
        with pytest.raises(ValueError, match="total takes a finite number at least -10 and at most 10"):
            FixedSum(total=bad)
    with pytest.raises(ValueError, match="kind takes a whole number at least 1"):
        FixedSum(kind=1.5)
    assert isinstance(FixedSum(kind=2.0).kind, int)


def test_a_set_without_a_formula_says_what_is_missing():
    class Unfinished(Constraint):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished must define `_project`"):
        Unfinished()(np.ones((2, 2), np.float32))


@pytest.mark.parametrize("name", REGISTRY)
def test_every_set_is_documented_and_makes_sense_without_arguments(name):
    kind = REGISTRY[name]
    assert inspect.getdoc(kind)
    assert kind() == kind()
    assert kind.__module__ == f"constraints.{'penalties' if kind.proximal else 'sets'}.{name}"
    for field in kind.hyperparameters():
        assert field.metadata["help"].endswith(".")
        assert isinstance(getattr(kind(), field.name), int if field.metadata["integer"] else float)
    assert kind(axis=0) != kind()


@pytest.mark.parametrize("axis", [3, -4, (0, 5)])
def test_an_axis_that_does_not_exist(axis):
    with pytest.raises(ValueError, match=r"does not exist in weights of shape \(2, 3, 4\); use -3 to 2"):
        MaxNorm(2.0, axis=axis)(np.ones((2, 3, 4), np.float32))
    with pytest.raises(ValueError, match="does not exist"):
        MaxNorm(2.0)(np.ones((2, 3, 4), np.float32), axes=axis)


def test_other_bad_axes():
    with pytest.raises(ValueError, match="twice"):
        MaxNorm(2.0, axis=(0, -3))(np.ones((2, 3, 4), np.float32))
    for bad in ("0", 0.5, True, (0, "1")):
        with pytest.raises(ValueError, match="axis="):
            MaxNorm(2.0, axis=bad)


def test_weights_that_cannot_be_projected():
    with pytest.raises(ValueError, match="int32 cannot be projected; cast them"):
        MaxNorm(2.0)(np.ones((2, 2), np.int32))
    with pytest.raises(ValueError, match="must be known in advance"):
        tf.function(MaxNorm(2.0), input_signature=[tf.TensorSpec([None, 3])]).get_concrete_function()


def test_a_constraint_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaxNorm(2.0).max_value = 3.0


def test_a_tensor_from_outside_is_read_as_float64():
    w = np.full((2, 1), 5.0, np.float32)
    np.testing.assert_allclose(np.linalg.norm(MaxNorm(tf.constant(3))(w)), 3.0, rtol=2e-7)
    assert MaxNorm(np.float32(0.5)).max_value == 0.5
    assert isinstance(MaxNorm(np.float32(0.5)).max_value, float)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_directed_rounding_is_exact(dtype, compiled):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000) * 10.0 ** rng.uniform(-6, 3, 2000)
    if dtype != "float16":
        x[:500] *= 1e-27  # subnormals are flushed, these are not
    numbers = np.concatenate([x, x.astype(oracles.DTYPES[dtype]).astype(np.float64), [0.0, -0.0, 1.0, -2.0]])
    down = tf.function(lambda x: numerics.toward_zero(x, tf.as_dtype(dtype)), jit_compile=compiled)(numbers).numpy()
    up = tf.function(lambda x: numerics.away_from_zero(x, tf.as_dtype(dtype)), jit_compile=compiled)(numbers).numpy()
    near = numbers.astype(oracles.DTYPES[dtype])
    wide = near.astype(np.float64)
    smaller = np.where(np.abs(wide) > np.abs(numbers), np.nextafter(near, oracles.DTYPES[dtype](0)), near)
    larger = np.where(
        np.abs(wide) < np.abs(numbers), np.nextafter(near, np.copysign(oracles.DTYPES[dtype](np.inf), near)), near
    )
    np.testing.assert_array_equal(down.astype(np.float64), smaller.astype(np.float64))
    np.testing.assert_array_equal(up.astype(np.float64), larger.astype(np.float64))


@pytest.mark.parametrize(("dtype", "ulp"), [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
@pytest.mark.parametrize("compiled", [False, True])
def test_rounding_to_nearest_rounds_once(dtype, ulp, compiled):
    x = np.array([1 + ulp / 2 + 2.0**-40, 1 + ulp / 2, 1 + ulp / 2 - 2.0**-40, 1 + 1.5 * ulp - 2.0**-40, 1.0, 3e-310])
    x = np.concatenate([x, -x, [np.inf, 0.0]])
    expected = np.array([1 + ulp, 1.0, 1.0, 1 + ulp, 1.0, 0.0])
    expected = np.concatenate([expected, -expected, [np.inf, 0.0]])
    rounded = tf.function(lambda x: numerics.nearest(x, tf.as_dtype(dtype)), jit_compile=compiled)(x)
    np.testing.assert_array_equal(rounded.numpy().astype(np.float64), expected)
    assert np.isnan(numerics.nearest(tf.constant(np.nan, tf.float64), tf.as_dtype(dtype)).numpy())


def test_xla_is_noticed():
    seen = {}

    def note(x, where):
        seen[where] = numerics.in_xla()
        return x

    note(0, "eager")
    tf.function(lambda x: note(x, "graph"))(tf.constant(1.0))
    tf.function(lambda x: note(x, "xla"), jit_compile=True)(tf.constant(1.0))
    inner = tf.function(lambda x: note(x, "within xla"))
    tf.function(lambda x: inner(x) + 1, jit_compile=True)(tf.constant(1.0))
    branch = tf.function(lambda x: tf.cond(x > 0, lambda: note(x, "branch in xla"), lambda: x), jit_compile=True)
    branch(tf.constant(1.0))
    assert seen == {"eager": False, "graph": False, "xla": True, "within xla": True, "branch in xla": True}


def test_every_hook_of_a_set_can_go_into_a_graph():
    # A body that is a docstring alone makes AutoGraph warn the user, once in a process.
    hooks = [hook for name, hook in vars(Constraint).items() if inspect.isfunction(hook) and not name.startswith("__")]
    assert len(hooks) > 10
    for hook in hooks:
        tf.autograph.to_graph(hook)
