"""Models with any loss, metrics and structure of data: the numbers are those of `keras.Model.fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.suites import fast
from trainer.data.arrays import Arrays, prepare
from trainer.engine.objective import Compiled
from trainer.engine.projector import Projector
from trainer.engine.run_state import RunState
from trainer.engine.train_step import Steps
from trainer.runtime import replicas as devices
from trainer.storage.checkpoints import Checkpoints

EXAMPLES, BATCH, STEPS = 24, 8, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((EXAMPLES, 4)).astype(np.float32)
LABELS = (np.arange(EXAMPLES) % 3).astype(np.int64)
VALUES = RNG.standard_normal((EXAMPLES, 2)).astype(np.float32)
WEIGHTS = RNG.exponential(1.0, EXAMPLES).astype(np.float32)
LAYERS = keras.layers


class WithTraining(keras.Model):
    """A subclassed model with dropout and a penalty of its own."""

    def __init__(self):
        super().__init__()
        self.hidden = LAYERS.Dense(5, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01))
        self.normal = LAYERS.BatchNormalization()
        self.out = LAYERS.Dense(3)

    def call(self, x, training=False):
        hidden = self.normal(self.hidden(x), training=training)
        self.add_loss(0.1 * keras.ops.mean(hidden**2))
        return self.out(hidden)


class WithoutTraining(keras.Model):
    """A subclassed model whose `call` does not know whether it trains; two inputs in a dict, two outputs in a tuple."""

    def __init__(self):
        super().__init__()
        self.first, self.second = LAYERS.Dense(3), LAYERS.Dense(2)

    def call(self, inputs):
        return self.first(inputs["a"]), self.second(inputs["b"])


class OwnLoss(keras.Model):
    """A model with its own loss, metric and no targets."""

    def __init__(self):
        super().__init__()
        self.code = LAYERS.Dense(2)
        self.back = LAYERS.Dense(4)
        self.size = keras.metrics.Mean(name="size")

    def call(self, x):
        return self.back(self.code(x))

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        error = (x if y is None else y) - y_pred
        # As in `fit`, a loss of one's own is divided among the replicas by hand.
        return keras.ops.mean(error**2) / tf.distribute.get_strategy().num_replicas_in_sync

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.size.update_state(keras.ops.abs(y_pred))
        return self.get_metrics_result()


def classifier():
    model = WithTraining()
    model(X[:1])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
    )
    return model, (X, LABELS, WEIGHTS)


def two_outputs():
    model = WithoutTraining()
    model({"a": X[:1], "b": X[:1]})
    model.compile(
        loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"],
        loss_weights=[1.0, 0.5],
        metrics=[["accuracy"], ["mae"]],
    )
    return model, ({"a": X, "b": X[:, ::-1].copy()}, (LABELS, VALUES))


def functional():
    left, right = keras.Input((4,), name="left"), keras.Input((2,), name="right")
    hidden = LAYERS.Concatenate()([left, right])
    outputs = {"kind": LAYERS.Dense(1, activation="sigmoid", name="kind")(hidden), "value": LAYERS.Dense(2)(hidden)}
    model = keras.Model([left, right], outputs)
    model.compile(
        loss={"kind": "binary_crossentropy", "value": "mae"},
        metrics={"kind": [keras.metrics.AUC(name="auc")], "value": ["mse"]},
    )
    return model, ([X, VALUES], {"kind": (LABELS > 0).astype(np.float32)[:, None], "value": VALUES})


def own_loss():
    model = OwnLoss()
    model(X[:1])
    model.compile(loss=None)
    return model, (X,)


MODELS = {build.__name__: build for build in (classifier, two_outputs, functional, own_loss)}


def steps_of(build, replicas: int = 1, jit: bool = False, optimizer=None, **arrays):
    """The compiled steps around a model, its data, and the model."""
    keras.utils.set_random_seed(1)
    strategy = devices.strategy(replicas)
    with strategy.scope():
        model, data = build()
        optimizer = (optimizer or (lambda: keras.optimizers.Adam(0.05)))()
        optimizer.build(model.trainable_variables)
    source = Arrays(prepare(*data), BATCH, strategy, shuffle=False, **arrays)
    objective = Compiled(model, strategy, source.spec)
    # The last batch of an evaluation is a part of one, which two replicas cannot share.
    judged = Arrays(prepare(*data), 10 - 10 % replicas, strategy)
    return Steps(strategy, objective, optimizer, Projector([], 10**6), source, judged, jit=jit), model, data


def trained(steps, number: int = STEPS):
    return steps.train(number, np.zeros(steps.num_totals), np.zeros(2), False)


def fitted(build):
    """The same model after `fit` on the same batches, with what that said."""
    keras.utils.set_random_seed(1)
    model, data = build()
    model.optimizer = keras.optimizers.Adam(0.05)
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    history = model.fit(x, y, sample_weight=weights, batch_size=BATCH, shuffle=False, epochs=1, verbose=0).history
    return model, {name: values[0] for name, values in history.items()}


@pytest.mark.parametrize(
    "case",
    fast(
        [(name, replicas, jit) for name in MODELS for replicas, jit in ((1, False), (2, False), (1, True))],
        ("classifier", 1, False),
        ("two_outputs", 2, False),
    ),
    ids=str,
)
def test_training_evaluation_and_prediction_are_those_of_keras(case):
    name, replicas, jit = case
    build = MODELS[name]
    steps, model, data = steps_of(build, replicas, jit)
    expected, history = fitted(build)
    results = steps.training_results(trained(steps).totals.numpy())
    if not (replicas == 2 and name == "classifier"):
        # Batch normalisation differs between halves of a batch.
        for left, right in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6)
        assert results == pytest.approx(history, rel=1e-4)
    assert next(iter(results)) == "loss"

    model.set_weights(expected.get_weights())
    training_state = [copy.numpy() for copy in steps.objective.metric_copies]
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    evaluation = expected.evaluate(x, y, sample_weight=weights, batch_size=EXAMPLES, verbose=0, return_dict=True)
    reported = []
    assert steps.evaluate(report=reported.append) == pytest.approx(evaluation, rel=1e-5)
    assert steps.evaluate() == pytest.approx(evaluation, rel=1e-5)
    assert reported == [10, 20, 24]
    # The metrics of training go on as if nothing had been evaluated.
    after = [copy.numpy() for copy in steps.objective.metric_copies]
    assert all(np.array_equal(*pair) for pair in zip(training_state, after, strict=True))

    outputs, wanted = steps.predict(steps.eval_source), expected.predict(x, verbose=0)
    tf.nest.map_structure(lambda *pair: np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6), outputs, wanted)
    assert steps.num_traces["train"] == 1


@pytest.mark.parametrize("replicas", fast([1, 2], 2))
def test_a_step_that_is_not_finite_enters_no_metric(replicas):
    def spoilt():
        model, (x, labels, weights) = classifier()
        x = x.copy()
        x[BATCH : 2 * BATCH] = np.nan
        return model, (x, labels, weights)

    steps, model, _ = steps_of(spoilt, replicas)
    chunk = trained(steps, 1)
    before = [*model.get_weights(), *(copy.numpy() for copy in steps.objective.metric_copies)]
    after = steps.train(1, chunk.totals.numpy(), np.zeros(2), False)
    assert after.nonfinite.numpy().tolist() == [1, 1, 1]
    assert after.totals.numpy().tolist() == chunk.totals.numpy().tolist()
    now = [*model.get_weights(), *(copy.numpy() for copy in steps.objective.metric_copies)]
    assert all(np.array_equal(*pair) for pair in zip(before, now, strict=True))
    assert np.isfinite(list(steps.training_results(after.totals.numpy()).values())).all()


@pytest.mark.slow
def test_chunks_of_any_length_make_the_same_run_bit_for_bit():
    ends = []
    for lengths in ((6,), (1, 2, 3)):
        steps, model, _ = steps_of(classifier)
        totals = np.zeros(steps.num_totals)
        for length in lengths:
            totals = steps.train(length, totals, np.zeros(2), False).totals.numpy()
        ends.append([*(value.tobytes() for value in model.get_weights()), steps.training_results(totals)])
    assert ends[0] == ends[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"global_clipnorm": 0.1}, {"clipvalue": 0.01}, {"gradient_accumulation_steps": 2}]
)
def test_optimizers_of_keras_see_summed_gradients(settings):
    steps, model, _ = steps_of(functional, 2, optimizer=lambda: keras.optimizers.Nadam(0.05, **settings))
    trained(steps)
    keras.utils.set_random_seed(1)
    expected, (x, y) = functional()
    expected.optimizer = keras.optimizers.Nadam(0.05, **settings)
    expected.fit(x, y, batch_size=BATCH, shuffle=False, epochs=1, verbose=0)
    for left, right in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6)


def test_a_weight_that_the_loss_does_not_depend_on_stays():
    def unused():
        model, data = two_outputs()
        model.compile(loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True), None])
        return model, (data[0], (LABELS, VALUES))

    steps, model, _ = steps_of(unused, optimizer=lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1))
    before = [variable.numpy() for variable in model.trainable_variables]
    trained(steps)
    same = [np.array_equal(old, new.numpy()) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert same == [False, False, True, True]


class OwnStep(keras.Model):
    """A model with a training step of its own."""

    def call(self, x):
        return x

    def train_step(self, data):
        return {}


def uncompiled():
    model, data = classifier()
    model.compiled = False
    return model, data


def stepping():
    model = OwnStep()
    model.compile(loss="mse")
    return model, (X, X)


def misfit():
    model, _ = classifier()
    model.compile(loss="categorical_crossentropy")
    return model, (X, VALUES)


def misfed():
    model, _ = classifier()
    return model, (X[:, :3].copy(), LABELS)


def unmeasured():
    model, _ = classifier()
    model.compile(loss="mse", metrics=[lambda y, outputs: y @ outputs])
    return model, (X, np.zeros((EXAMPLES, 3)))


def unreduced():
    model = keras.Sequential([keras.Input((4,)), LAYERS.Dense(2)])
    model.compile(loss=keras.losses.MeanSquaredError(reduction="none"))
    return model, (X, VALUES)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (uncompiled, "The model has no loss; call `compile"),
        (stepping, "OwnStep overrides `train_step`, which is never called here; override `compute_loss`"),
        (misfit, r"The loss cannot be computed from outputs of shape \(8, 3\), x of shape \(8, 4\) and y of shape"),
        (misfed, r"The model cannot be called on x of shape \(8, 3\) and y of shape \(8,\): "),
        (unmeasured, r"A metric cannot be computed from outputs of shape \(8, 3\)"),
        (unreduced, "it has shape .*, and not one number for a batch"),
    ],
)
def test_what_does_not_fit_is_said(build, words):
    with pytest.raises(ValueError, match=words):
        steps_of(build)


def test_a_loss_without_trainable_weights_is_refused():
    def frozen():
        model, data = functional()
        model.compile(loss=lambda y, outputs: keras.ops.mean(keras.ops.cast(y, "float32"), axis=-1))
        return model, data

    steps, *_ = steps_of(frozen)
    with pytest.raises(ValueError, match="The loss depends on no trainable weight"):
        trained(steps, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "jit"), [(1, False), (2, False), (1, True)])
def test_mixed_precision_with_a_dynamic_scale_trains_and_is_restored(tmp_path, replicas, jit):
    def mixed():
        hidden = LAYERS.Dense(5, activation="relu", dtype="mixed_float16")
        model = keras.Sequential([keras.Input((4,)), hidden, LAYERS.Dense(2, dtype="float32")])
        model.compile(loss="mse")
        return model, (X, VALUES)

    def scaled():
        # The first scale is too large for float16, so that it is halved until it fits.
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05), initial_scale=2.0**26)

    def made():
        steps, model, _ = steps_of(mixed, replicas, jit, scaled)
        state = RunState(steps.num_totals, steps.objective.metric_copies)
        return steps, model, Checkpoints(tmp_path, model, steps.optimizer, state)

    steps, model, checkpoints = made()
    before = steps.evaluate()["loss"]
    left_out = int(trained(steps, 30).nonfinite[0])
    assert 0 < left_out < 20
    assert float(steps.optimizer.dynamic_scale.numpy()) == 2.0 ** (26 - left_out)
    assert steps.step == 30
    assert steps.evaluate()["loss"] < before
    assert devices.copies_equal([*model.variables, *steps.optimizer.variables])
    checkpoints.save()
    trained(steps, 5)
    again, other, reader = made()
    assert reader.restore() == 30
    trained(again, 5)
    ends = [[*model.variables, *steps.optimizer.variables], [*other.variables, *again.optimizer.variables]]
    assert all(np.array_equal(left.numpy(), right.numpy()) for left, right in zip(*ends, strict=True))
