"""Losses and metrics by name, against Keras's own on what they take."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.data import inference, measures
from trainer.data.task import Task

RNG = np.random.default_rng(0)
TASKS = {
    "classification": Task("classification", 3, ("a", "b", "c")),
    "two": Task("classification", 1, ("a", "b")),
    "multilabel": Task("multilabel", 3, ("a", "b", "c")),
    "regression": Task("regression", 2),
    "reconstruction": Task("reconstruction", 2),
}
LOGITS = {name: RNG.standard_normal((8, task.num_outputs)).astype(np.float32) for name, task in TASKS.items()}
LABELS = {
    "classification": np.arange(8, dtype=np.int32) % 3,
    "two": np.arange(8, dtype=np.int32) % 2,
    "multilabel": (RNG.random((8, 3)) < 0.5).astype(np.float32),
    "regression": RNG.standard_normal((8, 2)).astype(np.float32),
    "reconstruction": RNG.random((8, 2)).astype(np.float32),
}


def rows(name):
    """Labels as most of Keras takes them."""
    return np.eye(3, dtype=np.float32)[LABELS[name]] if name == "classification" else LABELS[name].reshape(8, -1)


def likely(name):
    logits = LOGITS[name]
    return {"classification": tf.nn.softmax, "two": tf.sigmoid, "multilabel": tf.sigmoid}.get(name, tf.identity)(logits)


DEFAULT_LOSSES = {
    "classification": keras.losses.CategoricalCrossentropy(),
    "two": keras.losses.BinaryCrossentropy(),
    "multilabel": keras.losses.BinaryCrossentropy(),
    "regression": keras.losses.MeanSquaredError(),
    "reconstruction": keras.losses.MeanSquaredError(),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_own_loss(name):
    expected = DEFAULT_LOSSES[name](rows(name), likely(name))
    for outputs, from_logits in ((LOGITS[name], True), (likely(name), False)):
        loss = TASKS[name].loss(from_logits=from_logits)
        np.testing.assert_allclose(loss(LABELS[name], outputs), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["classification", "two", "multilabel"])
def test_label_smoothing_is_that_of_keras(name):
    expected = type(DEFAULT_LOSSES[name])(label_smoothing=0.1)(rows(name), likely(name))
    loss = TASKS[name].loss(label_smoothing=0.1)
    np.testing.assert_allclose(loss(LABELS[name], LOGITS[name]), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"--label_smoothing=0\.1 means nothing to classification with the loss hinge"):
        TASKS["two"].loss("hinge", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("classification", "categorical_focal_crossentropy"),
        ("classification", "mse"),
        ("classification", "kl_divergence"),
        ("two", "binary_focal_crossentropy"),
        ("multilabel", "mse"),
        ("regression", "huber"),
        ("reconstruction", "mean_absolute_error"),
    ],
)
def test_losses_by_name(name, loss):
    expected = keras.losses.get(inference.ALIASES.get(loss, loss))(rows(name), likely(name))
    np.testing.assert_allclose(TASKS[name].loss(loss)(LABELS[name], LOGITS[name]), np.mean(expected), rtol=1e-4)


def test_hinges_take_logits_and_sample_weights_count():
    weights = np.arange(8, dtype=np.float32)
    loss, plain = TASKS["two"].loss("hinge"), keras.losses.Hinge()
    np.testing.assert_allclose(
        loss(LABELS["two"], LOGITS["two"], sample_weight=weights), plain(rows("two"), LOGITS["two"], weights), rtol=1e-6
    )


def test_the_tasks_own_metrics():
    found = {}
    for name, task in TASKS.items():
        metrics = task.metrics()
        for metric in metrics:
            metric.update_state(LABELS[name], LOGITS[name])
        found[name] = {metric.name: float(metric.result()) for metric in metrics}
    assert found["reconstruction"] == {}
    assert (
        found["classification"]["accuracy"] == (LOGITS["classification"].argmax(1) == LABELS["classification"]).mean()
    )
    assert found["two"]["accuracy"] == ((LOGITS["two"][:, 0] > 0) == LABELS["two"]).mean()
    assert found["multilabel"]["accuracy"] == pytest.approx(((LOGITS["multilabel"] > 0) == LABELS["multilabel"]).mean())
    f1 = keras.metrics.F1Score(average="macro", threshold=0.5)
    assert found["multilabel"]["f1_score"] == pytest.approx(float(f1(rows("multilabel"), likely("multilabel"))))
    r2 = keras.metrics.R2Score()
    assert found["regression"]["r2_score"] == pytest.approx(float(r2(rows("regression"), LOGITS["regression"])))


def attempt(task, metric):
    """A metric by its name, or what is said of it."""
    try:
        return task.metrics((metric,))[0]
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_either_measures_or_is_refused_by_name(name):
    for metric in measures.metrics_by_name():
        made = attempt(TASKS[name], metric)
        if isinstance(made, str):
            assert f"--metrics={metric} " in made
            continue
        made.update_state(LABELS[name], LOGITS[name])
        assert np.asarray(made.result()).shape == ()
        made.reset_state()
        assert made.variables
        assert not any(np.asarray(variable).any() for variable in made.variables if "thresholds" not in variable.name)


def test_auc_takes_logits():
    (made,), plain = TASKS["two"].metrics(("auc",)), keras.metrics.AUC()
    made.update_state(LABELS["two"], LOGITS["two"])
    assert float(made.result()) == pytest.approx(float(plain(rows("two"), likely("two"))))


REFUSED = {
    "no such loss": ("regression", "loss", "huberr", "--loss=huberr is not known; did you mean huber"),
    "no such metric": ("regression", "metrics", "r2_scor", "--metrics=r2_scor is not known; did you mean r2_score"),
    "classes for numbers": (
        "regression",
        "loss",
        "binary_crossentropy",
        "measures classes, but the task is regression",
    ),
    "several classes for two": ("two", "loss", "categorical_crossentropy", "choose binary_crossentropy"),
    "one class for several": ("multilabel", "loss", "sparse_categorical_crossentropy", "takes one class for each"),
    "accuracy of numbers": ("regression", "metrics", "accuracy", "measures classes, but the task is regression"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_the_task_is_refused(case):
    name, what, asked, words = REFUSED[case]
    task = TASKS[name]
    with pytest.raises(ValueError, match=words):
        task.loss(asked) if what == "loss" else task.metrics((asked,))


def test_keras_saves_and_loads_them():
    for one in (TASKS["classification"].loss("mse"), *TASKS["two"].metrics()):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(one))
        assert again.get_config() == one.get_config()
