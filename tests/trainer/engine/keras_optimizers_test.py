"""Optimizers with settings that the fused steps do not know: their steps are those of Keras, bit for bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from tests.support.suites import fast
from trainer.engine.fused_optimizer import Updates
from trainer.engine.optimizer_state import OptimizerState
from trainer.engine.train_step import Steps
from trainer.runtime import replicas

SHAPES = [(7, 5), (5,), (2, 3, 4)]
STEPS = 7

SGD, ADAM, ADAMW, RMSPROP = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
)


class HalvedAdam(keras.optimizers.Adam):
    """A user's own: Adam at half the rate."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


class SignSteps(keras.optimizers.Optimizer):
    """A user's own from scratch, with state."""

    def build(self, variables):
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, learning_rate * tf.sign(tf.convert_to_tensor(total)))

    def get_config(self):
        return super().get_config()


def without_biases(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


UNKNOWN = {
    "amsgrad": lambda: ADAM(0.01, amsgrad=True),
    "adamw, amsgrad": lambda: ADAMW(0.01, weight_decay=0.1, amsgrad=True),
    "centered": lambda: RMSPROP(0.01, centered=True, momentum=0.5),
    "rmsprop, decay": lambda: RMSPROP(0.01, weight_decay=0.1),
    "a subclass of adam": lambda: HalvedAdam(0.01),
    "from scratch": lambda: SignSteps(0.01),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "clipped, from scratch": lambda: SignSteps(0.01, clipvalue=0.1),
    "decayed, from scratch": lambda: without_biases(SignSteps(0.01, weight_decay=0.1)),
} | {
    f"{name}, {kind.__name__}": lambda kind=kind, settings=settings: kind(0.01, **settings)
    for kind in (SGD, ADAM, ADAMW, RMSPROP)
    for name, settings in {
        "clipnorm": {"clipnorm": 0.5},
        "clipvalue": {"clipvalue": 0.3},
        "global_clipnorm": {"global_clipnorm": 0.5},
        "ema": {"use_ema": True, "ema_momentum": 0.9},
        "ema that overwrites": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
        "loss scale": {"loss_scale_factor": 8.0},
        "accumulation": {"gradient_accumulation_steps": 3, "clipnorm": 0.5},
        "accumulation and ema": {"gradient_accumulation_steps": 2, "use_ema": True},
    }.items()
}
DECAYED = {
    "sgd": lambda: SGD(0.1, weight_decay=0.2),
    "momentum": lambda: SGD(0.1, momentum=0.9, weight_decay=0.2),
    "adam": lambda: ADAM(0.01, weight_decay=0.2),
    "sgd, not biases": lambda: without_biases(SGD(0.1, weight_decay=0.2)),
    "adamw, not biases": lambda: without_biases(ADAMW(0.01, weight_decay=0.2)),
}


def variables(dtype="float32", constraint=None) -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    made = []
    for name, shape in zip(("kernel", "bias", "kernel"), SHAPES, strict=True):
        made.append(keras.Variable(rng.standard_normal(shape).astype(np.float32), name=name, dtype=dtype))
        made[-1].constraint = constraint
    return made


def gradients(dtype="float32"):
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        yield [tf.cast(tf.constant(rng.standard_normal(shape)), dtype) for shape in SHAPES]


def both(make, **kind):
    """The variables and the optimizer's own after several steps of this project, and of Keras."""
    mine, theirs = variables(**kind), variables(**kind)
    own, keras_own = make(), make()
    own.build(mine)
    keras_own.build(theirs)
    updates = Updates(own, mine)
    for some in gradients(mine[0].dtype):
        updates.apply(some)
        keras_own.apply(some, theirs)
    assert own._iterations.numpy() == STEPS
    return updates, [*mine, *own.variables], [*theirs, *keras_own.variables]


def assert_same_bits(left, right):
    for one, other in zip(left, right, strict=True):
        assert tf.convert_to_tensor(one).numpy().tobytes() == tf.convert_to_tensor(other).numpy().tobytes(), one.path


@pytest.mark.parametrize("name", fast(UNKNOWN, *(name for name in UNKNOWN if "Adam" not in name)))
def test_a_setting_that_the_fused_steps_do_not_know_is_followed_as_keras_does(name):
    updates, mine, theirs = both(UNKNOWN[name])
    assert not updates.conditional
    assert_same_bits(mine, theirs)


@pytest.mark.parametrize("name", DECAYED)
def test_weight_decay_is_followed_to_within_rounding(name):
    updates, mine, theirs = both(DECAYED[name])
    assert updates.conditional
    for left, right in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("make", [lambda: ADAM(0.01), lambda: SGD(0.1, momentum=0.9)])
def test_variables_of_other_types_step_as_with_keras(make, dtype):
    _, mine, theirs = both(make, dtype=dtype)
    assert_same_bits(mine, theirs)


def test_a_constraint_of_a_variable_is_kept_as_keras_does():
    _, mine, theirs = both(lambda: ADAM(0.01), constraint=keras.constraints.NonNeg())
    assert np.min(mine[0].numpy()) == 0.0
    assert_same_bits(mine, theirs)


def test_a_learning_rate_schedule_and_one_that_is_set_are_followed():
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    _, mine, theirs = both(lambda: ADAM(decay, amsgrad=True))
    assert_same_bits(mine, theirs)
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = SGD(1.0, clipvalue=0.5)
    optimizer.build([weight])
    updates = Updates(optimizer, [weight])
    updates.apply([tf.ones([1])])
    optimizer.learning_rate = 0.5
    updates.apply([tf.ones([1])])
    assert weight.numpy() == [-0.75]


@pytest.mark.parametrize("name", ["clipnorm, Adam", "accumulation, SGD", "ema that overwrites, SGD", "from scratch"])
def test_two_replicas_take_the_same_step_as_one_without_summing_again(name):
    strategy = replicas.strategy(2)
    with strategy.scope():
        mine, own = variables(), UNKNOWN[name]()
        own.build(mine)
    theirs, keras_own = variables(), UNKNOWN[name]()
    keras_own.build(theirs)
    updates = Updates(own, mine)

    @tf.function(autograph=False)
    def apply(go, *some):
        def replica(*some):
            tf.cond(go, lambda: updates.apply(some), lambda: updates.skip())

        strategy.run(replica, args=some)

    for some in gradients():
        apply(tf.constant(True), *some)
        keras_own.apply(some, theirs)
    assert replicas.copies_equal([*mine, *own.variables])
    assert_same_bits([*mine, *own.variables], [*theirs, *keras_own.variables])
    # Used by itself, the optimizer still sums over replicas.
    assert type(own) is type(keras_own)


def test_the_average_of_weights_is_no_state_that_a_projection_resets():
    weight = keras.Variable(np.ones((3, 2), np.float32))
    optimizer = SGD(0.1, momentum=0.9, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([weight])
    slots = OptimizerState(optimizer, [weight])
    assert [slot.path for slot in slots.momentums(weight)] == [optimizer.momentums[0].path]
    kept = {optimizer._accumulated_gradients[0].path, optimizer.momentums[0].path}
    assert {slot.path for slot in slots.all(weight)} == kept


@pytest.mark.parametrize("settings", [{"loss_scale_factor": 8.0}, {"amsgrad": True}, {}])
def test_a_users_optimizer_at_a_fixed_rate_trains_in_compiled_steps(settings):
    expected = []
    for own in (False, True):
        parts = tiny_experiment.parts(clip_norm=0.5)
        with parts.strategy.scope():
            optimizer = ADAM(0.01, **(settings if own else {}))
            optimizer.build(parts.model.trainable_variables)
        inputs = parts.strategy, parts.steps.objective, optimizer, parts.projector, parts.source, parts.source
        chunk = Steps(*inputs, clip_norm=0.5).train(3, np.zeros(5), np.zeros(2), False)
        np.testing.assert_allclose(chunk.learning_rate, 0.01)
        expected.append([variable.numpy() for variable in parts.model.trainable_variables])
    # The scale changes nothing that is learnt, and amsgrad very little so early.
    for left, right in zip(*expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)


class Doubled(keras.optimizers.Adam):
    """A user's own that overrides `apply`."""

    def apply(self, grads, trainable_variables=None):
        super().apply([2 * gradient for gradient in grads], trainable_variables)


@pytest.mark.parametrize("count", [1, 2])
def test_an_optimizer_that_overrides_apply_steps_as_with_keras(count):
    strategy = replicas.strategy(count)
    with strategy.scope():
        mine, own = variables(), Doubled(0.01, clipvalue=0.5)
        own.build(mine)
    theirs, keras_own = variables(), Doubled(0.01, clipvalue=0.5)
    keras_own.build(theirs)
    updates = Updates(own, mine)

    @tf.function(autograph=False)
    def apply(go, *some):
        strategy.run(lambda *some: tf.cond(go, lambda: updates.apply(some), lambda: updates.skip()), args=some)

    for some in gradients():
        apply(tf.constant(True), *some)
        keras_own.apply(some, theirs)
    assert own.iterations.numpy() == STEPS
    assert replicas.copies_equal([*mine, *own.variables])
    assert_same_bits([*mine, *own.variables], [*theirs, *keras_own.variables])


@pytest.mark.parametrize("inner", [lambda: ADAM(0.01), lambda: RMSPROP(0.01)], ids=["fused", "of keras"])
def test_a_dynamic_scale_of_the_loss_grows_and_shrinks_as_with_keras(inner):
    def scaled():
        return keras.optimizers.LossScaleOptimizer(inner(), initial_scale=8.0, dynamic_growth_steps=2)

    mine, own = variables(), scaled()
    theirs, keras_own = variables(), scaled()
    own.build(mine)
    keras_own.build(theirs)
    updates, scales, skipped = Updates(own, mine), [], (3, 4)
    for step, some in enumerate(gradients()):
        scales.append(float(updates.scale))
        finite = step not in skipped
        some = [own.scale_loss(gradient) if finite else gradient * np.nan for gradient in some]
        if updates.conditional:
            updates.apply(some, tf.constant(finite))
        elif finite:
            updates.apply(some)
        else:
            updates.skip()
        keras_own.apply(some, theirs)
    assert scales == [8.0, 8.0, 16.0, 16.0, 8.0, 4.0, 4.0]
    assert float(own.dynamic_scale) == float(keras_own.dynamic_scale)
    assert int(own.step_counter) == int(keras_own.step_counter)
    # A step that is left out is counted, which Keras does not do, so Adam corrects its means a little less.
    assert int(own.iterations.numpy()) == STEPS
    for left, right in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=0.02, atol=0.02)
