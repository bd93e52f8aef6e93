"""Rules in a loop of one's own and in Keras's `fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import L1Ball, MaxNorm, NonNeg, TopK, schedules
from trainer import Constrain, Rule, match

RNG = np.random.default_rng(0)
X = RNG.standard_normal([64, 6]).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.float32)[:, np.newaxis]


def model(name: str = "hidden") -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input([6]), keras.layers.Dense(8, name=name), keras.layers.Dense(1, name="output")])


def column_sums(model: keras.Model) -> np.ndarray:
    return np.abs(model.layers[0].kernel.numpy().astype(np.float64)).sum(axis=0)


def test_a_loop_of_one_s_own_projects_measures_and_certifies():
    network, optimizer = model(), keras.optimizers.SGD(0.5, momentum=0.9)
    rules = [
        Rule(L1Ball(schedules.linear(2.0, 0.5, end="80%")), variables="hidden/kernel"),
        Rule(NonNeg(), variables="output/kernel", project_every=3),
    ]
    targets = match(rules, network, total_steps=10)
    assert [target.label for target in targets] == [f"{one}/kernel" for one in ("hidden", "output")]
    targets.project_fully()
    assert column_sums(network).max() <= 2.0

    @tf.function
    def train(step):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(X) - Y))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        targets.project(step)

    for step in tf.range(1, 11):
        train(step)
        assert column_sums(network).max() <= max(0.5, 2.0 - 1.5 * int(step) / 8) * (1 + 1e-6)
    measures = targets.measures(10)
    assert measures["hidden/kernel"]["norm_max"] == pytest.approx(column_sums(network).max())
    certificate = targets.certify(10)
    # The last step projects whatever the interval.
    assert certificate["feasible"]
    assert "nonneg" in str(certificate)
    network.layers[1].kernel.assign(-tf.ones([8, 1]))
    assert not targets.certify(10)["feasible"]


def test_a_budget_for_the_network_joins_its_variables():
    network = model()
    (target,) = match(Rule(TopK(0.75), group="network"), network)
    assert len(target.variables) == 2
    match(Rule(TopK(0.75), group="network"), network).project_fully()
    assert sum(int(np.count_nonzero(layer.kernel.numpy())) for layer in network.layers) == 14


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(MaxNorm(2.0), variables="none/kernel"), "hidden/kernel"),
        (Rule(MaxNorm(schedules.linear(2.0, 1.0, end="80%"))), "total_steps"),
        (Rule(MaxNorm(schedules.linear(2.0, 1.0, end="3ep"))), "steps_per_epoch"),
        (Rule(MaxNorm(2.0), optimizer_state="reset"), "optimizer"),
    ],
)
def test_what_match_lacks_is_named(rule, words):
    with pytest.raises(ValueError, match=words):
        match(rule, model())


def test_a_model_without_variables_is_refused():
    with pytest.raises(ValueError, match="not built"):
        match(Rule(MaxNorm(2.0)), keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize("replicas", [1, 2])
def test_fit_anneals_logs_and_certifies(replicas):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    with strategy.scope():
        network = model()
        network.compile("sgd", "mse")
    constrain = Constrain(
        [
            Rule(L1Ball(schedules.linear(2.0, 0.25, end="50%")), variables="hidden/kernel"),
            Rule(TopK(0.5), variables="output/kernel"),
        ]
    )
    history = network.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[constrain]).history
    assert history["norm_max/hidden/kernel"][-1] <= 0.25
    assert history["norm_max/hidden/kernel"][0] > history["norm_max/hidden/kernel"][-1]
    assert column_sums(network).max() <= 0.25
    assert constrain.certificate["feasible"]
    # A second fit begins the schedule anew.
    network.fit(X, Y, batch_size=16, epochs=1, verbose=0, callbacks=[constrain])
    assert constrain.certificate["feasible"]


def test_an_average_of_weights_obeys_too():
    network = model()
    network.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_overwrite_frequency=None), "mse")
    constrain = Constrain(Rule(TopK(0.5), variables="hidden/kernel"))
    network.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[constrain])
    assert constrain.certificate["feasible"]
    assert np.mean(network.layers[0].kernel.numpy() == 0) >= 0.5
