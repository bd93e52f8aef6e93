"""`Trainer`: any Keras model, any data, one call; and a run that goes on where it stopped."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import MaxNorm, NonNeg, TopK, schedules
from trainer import Rule, RunSettings, Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal([60, 6]).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int32)
HALF = Rule(MaxNorm(0.5), variables="hidden/kernel")


@keras.saving.register_keras_serializable(package="trainer_test")
class TwoLayers(keras.Model):
    """A subclassed model, built from data alone, with a loss of its own for its weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(5, activation="relu", name="hidden")
        self.drop = keras.layers.Dropout(0.2)
        self.last = keras.layers.Dense(2, name="output")

    def call(self, inputs, training=False):
        hidden = self.drop(self.hidden(inputs), training=training)
        self.add_loss(1e-3 * keras.ops.sum(keras.ops.square(hidden)))
        return self.last(hidden)


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input([6]),
            keras.layers.Dense(5, activation="relu", name="hidden"),
            keras.layers.Dense(2, name="output"),
        ]
    )


def shared() -> keras.Model:
    """Two inputs through one layer, and two outputs."""
    left, right = keras.Input([6], name="left"), keras.Input([6], name="right")
    hidden = keras.layers.Dense(5, name="hidden")
    inner = keras.Sequential([keras.Input([5]), keras.layers.Dense(4, name="nested")], name="inner")
    joined = keras.layers.Add()([inner(hidden(left)), inner(hidden(right))])
    outputs = {"label": keras.layers.Dense(2, name="label")(joined), "size": keras.layers.Dense(1, name="size")(joined)}
    return keras.Model({"left": left, "right": right}, outputs)


def norms(model: keras.Model, layer: str = "hidden") -> np.ndarray:
    return np.linalg.norm(model.get_layer(layer).kernel.numpy().astype(np.float64), axis=0)


def trainer(model=None, rules=HALF, **settings) -> Trainer:
    keras.utils.set_random_seed(1)
    settings = {"optimizer": "adam", "loss": crossentropy(), "metrics": ["accuracy"], **settings}
    return Trainer(sequential() if model is None else model, rules, **settings)


def crossentropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_history_and_numbers_are_those_of_keras():
    mine = trainer(rules=())
    history = mine.fit(X, Y, batch_size=20, epochs=2, verbose=0, validation_data=(X[:30], Y[:30]))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(history.history["loss"]) == 2
    expected = mine.model.evaluate(X[:30], Y[:30], verbose=0, return_dict=True)
    assert mine.evaluate(X[:30], Y[:30], return_dict=True) == pytest.approx(expected, rel=1e-5)
    assert history.history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-5)
    np.testing.assert_allclose(mine.predict(X), mine.model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_one_epoch_moves_the_weights_as_keras_does():
    """Unshuffled, so that both see the same batches in one order."""
    mine, theirs = trainer(rules=()), trainer(rules=())
    mine.fit(X, Y, batch_size=20, epochs=3, shuffle=False, verbose=0)
    theirs.model.fit(X, Y, batch_size=20, epochs=3, shuffle=False, verbose=0)
    for ours, others in zip(mine.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, others, rtol=1e-4, atol=1e-5)


def test_a_subclassed_model_is_built_from_the_data_and_obeys_two_rules():
    rules = [HALF, Rule(TopK(schedules.polynomial(0.0, 0.5, end="50%")), variables="output/kernel")]
    mine = trainer(TwoLayers(), rules)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    history = mine.fit(data, epochs=4, verbose=0, validation_data=data)
    assert np.isfinite(history.history["loss"]).all()
    assert norms(mine.model).max() <= 0.5 * (1 + 1e-6)
    assert np.mean(mine.model.get_layer("output").kernel.numpy() == 0) >= 0.5
    certificate = mine.certify()
    assert certificate["feasible"]
    assert "hidden/kernel" in str(certificate)
    assert "holds" in str(certificate)


def test_several_inputs_and_outputs_with_their_own_losses():
    mine = trainer(
        shared(),
        [HALF, Rule(NonNeg(), layer_type="Dense", variables=["nested/kernel", "label/kernel"])],
        loss={"label": crossentropy(), "size": "mse"},
        metrics={"label": ["accuracy"], "size": ["mae"]},
        loss_weights={"label": 1.0, "size": 0.1},
    )
    x, y = {"left": X, "right": X[::-1].copy()}, {"label": Y, "size": X[:, :1]}
    history = mine.fit(x, y, batch_size=20, epochs=2, verbose=0, validation_split=0.2)
    # Keras's means of each output's loss are over batches, equal ones here.
    expected = mine.model.evaluate(x, y, batch_size=20, verbose=0, return_dict=True)
    assert mine.evaluate(x, y, batch_size=20, return_dict=True) == pytest.approx(expected, rel=1e-5)
    assert {"loss", "label_accuracy", "size_mae", "val_label_accuracy"} <= set(history.history)
    assert norms(mine.model).max() <= 0.5 * (1 + 1e-6)
    assert mine.model.get_layer("label").kernel.numpy().min() >= 0


def test_weights_of_classes_and_examples_count_as_in_keras():
    weights = np.linspace(0.1, 2.0, 60).astype(np.float32)
    mine, theirs = trainer(rules=()), trainer(rules=())
    given = {"batch_size": 20, "shuffle": False, "verbose": 0, "class_weight": {0: 0.5, 1: 2.0}}
    mine.fit(X, Y, sample_weight=weights, **given)
    # Keras takes one of the two at a time.
    theirs.model.fit(X, Y, sample_weight=weights * np.where(Y == 0, 0.5, 2.0), **given | {"class_weight": None})
    for ours, others in zip(mine.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, others, rtol=1e-4, atol=1e-5)


def test_keras_callbacks_stop_lower_the_rate_and_log(tmp_path):
    mine = trainer(optimizer=keras.optimizers.Adam(0.01))
    seen = []
    history = mine.fit(
        X,
        Y,
        batch_size=20,
        epochs=9,
        verbose=0,
        validation_split=0.2,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs)))),
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1)),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=1e9),
        ],
    )
    assert [epoch for epoch, _ in seen] == [0, 1]
    assert seen[0][1] == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert float(mine.optimizer.learning_rate.numpy()) == pytest.approx(0.005)
    assert len(history.history["loss"]) == 2
    assert (tmp_path / "log.csv").read_text().count("\n") == 3
    assert mine.certify()["feasible"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_what_a_user_made_outside_the_scope_is_mirrored(replicas):
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="right"), "accuracy"]
    mine = trainer(sequential, optimizer=keras.optimizers.Adam(0.01), metrics=metrics, num_replicas=replicas)
    history = mine.fit(X, Y, batch_size=20, epochs=2, verbose=0, validation_split=0.2).history
    assert history["right"] == pytest.approx(history["accuracy"])
    assert float(mine.optimizer.learning_rate.numpy()) == pytest.approx(0.01)
    assert mine.certify()["feasible"]
    for variable in mine.model.variables:
        copies = [copy.numpy().tobytes() for copy in getattr(variable.value, "values", (variable.value,))]
        assert len(copies) == replicas
        assert len({*copies}) == 1


def test_an_average_of_weights_takes_their_place_and_obeys():
    averaging = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=None)
    plain = trainer(optimizer=keras.optimizers.SGD(0.5))
    mine = trainer(optimizer=averaging)
    for one in (mine, plain):
        one.fit(X, Y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    assert not np.allclose(mine.model.get_weights()[-1], plain.model.get_weights()[-1])
    assert mine.certify()["feasible"]


def test_predictions_need_neither_labels_nor_training():
    mine = trainer(loss="mse")
    np.testing.assert_allclose(mine.predict(X, batch_size=7), mine.model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_second_fit_goes_on_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = trainer()
    mine.fit(X, Y, batch_size=20, epochs=1, verbose=0)
    mine.fit(X, Y, batch_size=20, epochs=2, verbose=0)
    assert int(mine.optimizer.iterations.numpy()) == 9
    assert not list(tmp_path.iterdir())


def test_a_run_stopped_between_epochs_goes_on_to_the_same_bits(tmp_path):
    class Stop(keras.callbacks.Callback):
        """Ends the process's session after an epoch, as a kill would."""

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("stopped")

    def made(where):
        return trainer(TwoLayers, run_dir=where, checkpoint_every="1ep", seed=3)

    given = {"batch_size": 20, "epochs": 4, "validation_split": 0.2, "verbose": 0}
    whole = made(tmp_path / "whole")
    whole_history = whole.fit(X, Y, **given)
    with pytest.raises(RuntimeError, match="stopped"):
        made(tmp_path / "parts").fit(X, Y, callbacks=[Stop()], **given)
    parts = made(tmp_path / "parts")
    history = parts.fit(X, Y, **given)
    for ours, others in zip(parts.model.get_weights(), whole.model.get_weights(), strict=True):
        assert ours.tobytes() == others.tobytes()
    assert history.history == whole_history.history
    document = json.loads((tmp_path / "parts" / "certificate.json").read_text())
    assert document["feasible"]
    # Another process asks for the finished run: nothing is left to train.
    again = made(tmp_path / "parts")
    assert again.fit(X, Y, **given).history == history.history
    assert again.model.get_weights()[0].tobytes() == parts.model.get_weights()[0].tobytes()


def test_another_run_s_directory_is_refused_and_left_alone(tmp_path):
    trainer(run_dir=tmp_path / "run").fit(X, Y, batch_size=20, epochs=1, verbose=0)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    other = trainer(rules=Rule(MaxNorm(0.25), variables="hidden/kernel"), run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match="other settings"):
        other.fit(X, Y, batch_size=20, epochs=1, verbose=0)
    assert before == {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}


REFUSED = {
    "no loss": (lambda: Trainer(sequential(), HALF, optimizer="adam").fit(X, Y), ValueError, "no loss"),
    "no model": (lambda: Trainer("mlp", HALF), TypeError, "neither a Keras model"),
    "no model from a function": (lambda: Trainer(lambda: 3, HALF, loss="mse"), TypeError, "no Keras model"),
    "a constraint alone": (lambda: Trainer(sequential(), MaxNorm(2.0), loss="mse"), TypeError, r"write Rule\(MaxNorm"),
    "no rule": (lambda: Trainer(sequential(), [MaxNorm(2.0)], loss="mse"), TypeError, r"write Rule\("),
    "unknown setting": (lambda: trainer(clip_nrom=1.0), TypeError, "clip_norm"),
    "setting out of range": (lambda: trainer(clip_norm=-1.0), ValueError, "clip_norm=-1.0 is out of range"),
    "nothing matched": (
        lambda: trainer(rules=Rule(MaxNorm(2.0), variables="missing/kernel")).fit(X, Y, verbose=0),
        ValueError,
        "hidden/kernel, hidden/bias, output/kernel",
    ),
    "lengths": (lambda: trainer().fit(X, Y[:50], verbose=0), ValueError, "60.*50|50.*60"),
    "no labels": (lambda: trainer().fit(X, verbose=0), ValueError, "y"),
    "epochs": (lambda: trainer().fit(X, Y, epochs=0, verbose=0), ValueError, "epochs=0"),
    "batch size": (lambda: trainer().fit(X, Y, batch_size=-3, verbose=0), ValueError, "batch_size=-3"),
    "validation split": (
        lambda: trainer().fit(X, Y, validation_split=1.5, verbose=0),
        ValueError,
        "validation_split=1.5",
    ),
    "loss that does not fit": (
        lambda: trainer(loss="mse").fit(X, {"label": Y}, verbose=0),
        ValueError,
        "label",
    ),
    "wrong shape": (lambda: trainer().fit(X[:, :4], Y, verbose=0), ValueError, "4"),
    "no known length": (
        lambda: trainer().fit(tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(20), epochs=2, verbose=0),
        ValueError,
        "steps_per_epoch",
    ),
    "ends early": (
        lambda: trainer().fit(generated(), steps_per_epoch=5, epochs=1, verbose=0),
        ValueError,
        "ended",
    ),
    "labels beyond the outputs": (
        lambda: trainer().fit(X, Y + 5, verbose=0),
        ValueError,
        "y holds the class .*, but the model has 2 outputs",
    ),
    "monitor": (
        lambda: trainer(monitor="val_auc").fit(X, Y, validation_split=0.2, verbose=0),
        ValueError,
        "monitor=val_auc is none",
    ),
    "two ways to one setting": (
        lambda: trainer(settings=RunSettings(seed=1), run_dir="run"),
        ValueError,
        "settings hold every setting, so run_dir belongs there",
    ),
    "rollback without a run": (lambda: trainer(on_nonfinite="rollback"), ValueError, "run_dir"),
}


def generated() -> tf.data.Dataset:
    batches = iter([(X[:20], Y[:20])] * 2)
    return tf.data.Dataset.from_generator(
        lambda: batches,
        output_signature=(tf.TensorSpec([20, 6]), tf.TensorSpec([20], tf.int32)),
    )


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence_and_writes_nothing(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words) as caught:
        call()
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())


def test_a_loss_that_keras_cannot_write_down_has_a_run_directory_too(tmp_path):
    """As in a shell: the source of a lambda is not known there."""
    loss = eval("lambda y, predicted: keras.ops.mean((predicted[:, 0] - y) ** 2)", {"keras": keras})
    for epochs in (1, 2):
        mine = trainer(loss=loss, metrics=[], run_dir=tmp_path / "run")
        mine.fit(X, Y, 20, epochs, 0)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["loss"] == "<lambda>"
