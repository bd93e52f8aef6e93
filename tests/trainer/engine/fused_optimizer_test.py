"""The fused optimizer steps against Keras's own, and what counts as finite."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.engine.fused_optimizer import Updates, all_finite, roughly_finite

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.0),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adam, other settings": lambda: keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.9),
    "rmsprop without momentum": lambda: keras.optimizers.RMSprop(0.01),
}
SHAPES = [(7, 5), (5,), (2, 3, 4)]


def variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.standard_normal(shape).astype(np.float32)) for shape in SHAPES]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_are_those_of_keras(name):
    mine, theirs = variables(), variables()
    own, keras_own = OPTIMIZERS[name](), OPTIMIZERS[name]()
    own.build(mine)
    keras_own.build(theirs)
    apply, rng = tf.function(Updates(own, mine).apply, autograph=False), np.random.default_rng(1)
    for _ in range(20):
        gradients = [tf.constant(rng.standard_normal(shape).astype(np.float32)) for shape in SHAPES]
        apply(gradients)
        keras_own.apply(gradients, theirs)
    assert own.iterations.numpy() == 20
    for left, right in zip([*mine, *own.variables], [*theirs, *keras_own.variables], strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=2e-5, atol=2e-6)


CONDITIONAL = [name for name in OPTIMIZERS if "rmsprop" not in name]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_step_that_is_left_out_changes_nothing_but_the_count(name, compiled):
    """On the way of twenty steps, of which every third is left out; the others are as if it had not been there."""
    mine, theirs = variables(), variables()
    own, plain = OPTIMIZERS[name](), OPTIMIZERS[name]()
    own.build(mine)
    plain.build(theirs)
    assert Updates(own, mine).conditional
    apply = tf.function(Updates(own, mine).apply, autograph=False, jit_compile=compiled)
    rng = np.random.default_rng(1)
    for step in range(20):
        gradients = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
        finite = step % 3 < 2
        if not finite:
            gradients[step % 2][:] = [np.nan, np.inf, -np.inf][step // 3 % 3]
        before = [variable.numpy().tobytes() for variable in [*mine, *own.variables]]
        apply([tf.constant(gradient) for gradient in gradients], tf.constant(finite))
        paths = [variable.path for variable in [*mine, *own.variables]]
        after = [variable.numpy().tobytes() for variable in [*mine, *own.variables]]
        if finite:
            Updates(plain, theirs).apply([tf.constant(gradient) for gradient in gradients])
        else:
            changed = [path for path, old, new in zip(paths, before, after, strict=True) if old != new]
            assert changed == [own.iterations.path]
            plain.iterations.assign_add(1)
    assert own.iterations.numpy() == 20
    for left, right in zip([*mine, *own.variables], [*theirs, *plain.variables], strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=2e-5, atol=2e-6)


def test_what_keras_itself_steps_cannot_be_left_out():
    optimizer = OPTIMIZERS["rmsprop"]()
    assert not Updates(optimizer, variables()).conditional


def test_a_rate_that_changes_is_followed():
    (weight,) = [keras.Variable(np.zeros(1, np.float32))]
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.25]))
    optimizer.build([weight])
    updates, seen = Updates(optimizer, [weight]), []
    for _ in range(4):
        before = weight.numpy()[0]
        updates.apply([tf.ones([1])])
        seen.append(before - weight.numpy()[0])
    # Keras's schedule changes after its boundary.
    assert seen == [1.0, 1.0, 0.25, 0.25]


def test_a_variable_without_a_gradient_stays():
    mine = variables()
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(mine)
    before = [variable.numpy() for variable in mine]
    Updates(optimizer, mine).apply([tf.ones(SHAPES[0]), None, tf.ones(SHAPES[2])])
    assert [np.array_equal(b, v.numpy()) for b, v in zip(before, mine, strict=True)] == [False, True, False]


def judged(gradients, sums=(1.0, 2.0)) -> bool:
    tensors = [tf.constant(gradient, tf.float32) for gradient in gradients]
    rough = roughly_finite(tensors)
    return bool(all_finite(tf.stack([*sums, rough]), tensors))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_anywhere_is_found(bad, compiled):
    @tf.function(jit_compile=compiled, autograph=False)
    def rough(*gradients):
        return roughly_finite(gradients)

    for which, shape in enumerate(SHAPES):
        for place in range(int(np.prod(shape))):
            gradients = [np.ones(other, np.float32) for other in SHAPES]
            gradients[which].flat[place] = bad
            assert not judged(gradients)
            assert not np.isfinite(rough(*gradients))
    assert not judged([np.ones(3)], sums=(bad, 1.0))


def test_infinities_that_cancel_are_found():
    assert not judged([[np.inf, -np.inf]])
    assert not judged([[np.inf], [-np.inf]])


def test_large_finite_numbers_pass():
    # Their sum is inf, and that of squares long before.
    assert judged([np.full(10, 3e38), np.full((4, 4), -3e38)])
    assert judged([np.full((2, 2), 1e30)])
