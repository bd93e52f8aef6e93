"""The training step against NumPy, and what must not change it: replicas, chunks, measuring."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY
from tests.support import tiny_experiment
from tests.support.rules import rule_of
from tests.support.suites import fast
from trainer.runtime import replicas as devices

MAXNORM = rule_of("maxnorm", {"max_value": 0.5})
COSINE = rule_of(
    "maxnorm", {"max_value": {"schedule": "cosine", "initial": 2.0, "final": 0.3, "begin": "0", "end": "80%"}}
)
# The scale of a gradient shows in plain descent only; adam divides it away.
PLAIN = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.5}


class Reference:
    """The same two-layer network in NumPy float64: forward, backward and two optimizers, written out."""

    def __init__(self, weights: list[np.ndarray], l1: float = 0.0, l2: float = 0.0):
        self.weights = [np.asarray(value, np.float64) for value in weights]
        self.l1, self.l2 = l1, l2
        self.moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]
        self.count = 0

    def gradients(self, features: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Gradients, and loss, penalty and accuracy."""
        w1, b1, w2, b2 = self.weights
        before = features.astype(np.float64) @ w1 + b1
        hidden = np.maximum(before, 0)
        logits = hidden @ w2 + b2
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        error = (probabilities - np.eye(logits.shape[1])[labels]) / len(labels)
        back = (error @ w2.T) * (before > 0)
        gradients = [features.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        penalty = 0.0
        for i in (0, 2):
            gradients[i] = gradients[i] + self.l1 * np.sign(self.weights[i]) + 2 * self.l2 * self.weights[i]
            penalty += self.l1 * np.abs(self.weights[i]).sum() + self.l2 * np.square(self.weights[i]).sum()
        accuracy = np.mean(logits.argmax(axis=1) == labels)
        return gradients, np.array([-np.log(probabilities[rows, labels]).mean(), penalty, accuracy])

    def sgd(self, gradients: list[np.ndarray], rate: float) -> None:
        self.weights = [w - rate * g for w, g in zip(self.weights, gradients, strict=True)]

    def adam(self, gradients: list[np.ndarray], rate: float) -> None:
        self.count += 1
        for i, g in enumerate(gradients):
            m, v = self.moments[i]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            self.moments[i] = m, v
            scale = np.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
            self.weights[i] = self.weights[i] - rate * scale * m / (np.sqrt(v) + 1e-7)

    def project(self, bound: float) -> None:
        """Scales the columns of both kernels into the ball."""
        for i in (0, 2):
            norms = np.linalg.norm(self.weights[i], axis=0)
            self.weights[i] = self.weights[i] * np.minimum(1, bound / norms)


def batch(parts: tiny_experiment.Parts, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The examples that the program takes at a step."""
    memory, indices = (
        tiny_experiment.split(),
        parts.source.train_batch(parts.source.arrays, tf.constant(step, tf.int64)).numpy(),
    )
    return memory.features[indices], memory.labels[indices]


def weights(parts: tiny_experiment.Parts) -> list[np.ndarray]:
    return [variable.numpy() for variable in parts.model.trainable_variables]


def close(actual: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 2e-6) -> None:
    for left, right in zip(actual, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_is_gradient_then_optimizer_then_projection(optimizer, replicas):
    settings = PLAIN if optimizer == "sgd" else {"optimizer": "adam", "learning_rate": 0.05}
    parts = tiny_experiment.parts(MAXNORM, replicas=replicas, **settings)
    reference = Reference(weights(parts))
    totals = np.zeros(5)
    for step in range(4):
        gradients, expected = reference.gradients(*batch(parts, step))
        getattr(reference, optimizer)(gradients, settings["learning_rate"])
        reference.project(0.5)
        totals += [*expected, 1, 1]
        if step == 0:
            chunk = parts.train(1)
            np.testing.assert_allclose(chunk.totals, totals, rtol=1e-5)
            np.testing.assert_allclose(chunk.learning_rate, settings["learning_rate"], rtol=1e-7)
            close(weights(parts), reference.weights)
    chunk = parts.train(3, totals=chunk.totals)
    close(weights(parts), reference.weights, 2e-5)
    np.testing.assert_allclose(chunk.totals, totals, rtol=1e-5)
    assert parts.optimizer.iterations.numpy() == 4
    norms = np.linalg.norm(weights(parts)[0].astype(np.float64), axis=0)
    assert norms.max() <= 0.5
    assert np.isclose(norms, 0.5).any()  # The bound was in the way.


def test_training_starts_from_a_feasible_point():
    parts = tiny_experiment.parts(rule_of("maxnorm", {"max_value": 0.1}, relaxation=0.5, project_every=7))
    before = weights(parts)
    parts.steps.project_fully()
    expected = [np.array(REGISTRY["maxnorm"](max_value=0.1)(before[i])) for i in (0, 2)]
    assert tiny_experiment.same_bits([weights(parts)[i] for i in (0, 2)], expected)
    assert tiny_experiment.same_bits([weights(parts)[i] for i in (1, 3)], [before[i] for i in (1, 3)])


def test_replicas_agree_with_each_other_to_the_bit_and_with_one_replica_in_loss():
    losses = {}
    for replicas in (1, 2):
        parts = tiny_experiment.parts(COSINE, replicas=replicas, optimizer="adam", learning_rate=0.02)
        losses[replicas] = [parts.train(5).totals[0].numpy() / 5 for _ in range(10)]
        assert devices.copies_equal(parts.variables())
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-4)
    assert losses[1][-1] < 0.8 * losses[1][0]  # Something was learnt.


MANY = [("l1ball", {"max_value": 0.5}), ("topk", {"sparsity": 0.8})]


@pytest.mark.parametrize("values", fast(MANY, MANY[1]), ids=lambda values: values[0])
def test_replicas_agree_on_kernels_of_many_weights(values):
    # Past the size up to which float32 weights are projected in float64.
    parts = tiny_experiment.parts(
        rule_of(*values), replicas=2, hidden_units=(120, 60), optimizer="adam", learning_rate=0.02
    )
    parts.train(20)
    assert devices.copies_equal(parts.variables())
    for target in parts.targets:
        assert np.all(target.constraint.distance(target.weights()).numpy() == 0)
    assert np.any(parts.model.get_layer("hidden_2").kernel.numpy() == 0)  # The constraint was in the way.


def test_copies_that_differ_are_found():
    parts = tiny_experiment.parts(replicas=2)
    assert devices.copies_equal(parts.variables())
    kernel = parts.model.trainable_variables[0].value
    kernel.values[1].assign_add(tf.eye(*kernel.shape) * 1e-7)
    assert not devices.copies_equal(parts.variables())


def test_clipping_bounds_the_norm_of_the_whole_gradient_whatever_the_number_of_replicas():
    moved = {}
    for replicas in (1, 2):
        parts = tiny_experiment.parts(replicas=replicas, clip_norm=0.05, **PLAIN)
        reference = Reference(weights(parts))
        gradients, _ = reference.gradients(*batch(parts, 0))
        norm = np.sqrt(sum(np.sum(g * g) for g in gradients))
        assert norm > 0.1
        reference.sgd([g * 0.05 / norm for g in gradients], PLAIN["learning_rate"])
        before = weights(parts)
        parts.train(1)
        close(weights(parts), reference.weights, 1e-6)
        moved[replicas] = [after - w for after, w in zip(weights(parts), before, strict=True)]
    for left, right in zip(moved[1], moved[2], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-7)


def test_a_gradient_below_the_limit_is_not_clipped():
    parts = tiny_experiment.parts(clip_norm=1e6, **PLAIN)
    reference = Reference(weights(parts))
    reference.sgd(reference.gradients(*batch(parts, 0))[0], PLAIN["learning_rate"])
    parts.train(1)
    close(weights(parts), reference.weights)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_penalty_counts_once(replicas):
    parts = tiny_experiment.parts(replicas=replicas, l1=0.03, l2=0.2, **PLAIN)
    reference = Reference(weights(parts), l1=0.03, l2=0.2)
    gradients, expected = reference.gradients(*batch(parts, 0))
    reference.sgd(gradients, PLAIN["learning_rate"])
    chunk = parts.train(1)
    close(weights(parts), reference.weights)
    np.testing.assert_allclose(chunk.totals, [*expected, 1, 1], rtol=1e-5)
    assert expected[1] > 0.1


def test_dropout_drops_in_training_and_its_seed_moves_on():
    parts = tiny_experiment.parts(dropout=0.5, **PLAIN)
    _, expected = Reference(weights(parts)).gradients(*batch(parts, 0))
    (seed,) = [variable for variable in parts.model.variables if "seed" in variable.path]
    before = seed.numpy().copy()
    chunk = parts.train(1)
    assert abs(chunk.totals[0].numpy() - expected[0]) > 1e-3
    assert (seed.numpy() != before).any()


def test_the_rate_returned_is_the_one_the_last_step_used():
    parts = tiny_experiment.parts(total_steps=10, optimizer="sgd", learning_rate=1.0, learning_rate_schedule="linear")
    rates = [float(parts.train(number).learning_rate) for number in (1, 1, 3)]
    np.testing.assert_allclose(rates, [1.0, 0.9, 0.6], rtol=1e-6)


@pytest.mark.parametrize(("replicas", "jit"), [(1, False), (2, False), (1, True)])
def test_chunks_of_any_length_make_the_same_run_bit_for_bit_in_one_trace(replicas, jit):
    rule = dataclasses.replace(COSINE, project_every=3, relaxation=0.7)
    parts = tiny_experiment.parts(
        rule, replicas=replicas, dropout=0.4, learning_rate=0.02, learning_rate_schedule="cosine"
    )
    parts.steps.jit = jit
    begun, ends = parts.state(), []
    for length in (50, 1, 7):
        parts.reset(begun)
        totals, made = np.zeros(5), 0
        while made < 50:
            number = min(length, 50 - made)
            chunk = parts.train(number, measure=made % 2 == 0, totals=totals)
            totals, made = chunk.totals.numpy(), made + number
        ends.append([*parts.state(), totals])
    assert tiny_experiment.same_bits(ends[0], ends[1])
    assert tiny_experiment.same_bits(ends[0], ends[2])
    assert not tiny_experiment.same_bits(ends[0][:-1], begun)
    assert ends[0][-1][4] == 50
    parts.steps.evaluate()
    parts.steps.evaluate()
    assert parts.steps.num_traces == {"train": 1, "evaluate": 1}


def test_measures_are_of_the_last_step_and_zero_when_not_asked_for():
    parts = tiny_experiment.parts(COSINE, optimizer="sgd", learning_rate=0.1)
    begun = parts.state()
    assert not parts.train(6, measure=False).measures.numpy().any()
    parts.reset(begun)
    inside = parts.train(6, measure=True).measures.numpy()
    parts.reset(begun)
    parts.train(5)
    alone = parts.train(1, measure=True).measures.numpy()
    assert inside.any()
    assert tiny_experiment.same_bits([inside], [alone])


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_halt_ends_a_chunk_within_a_step(replicas, streamed):
    memory = tiny_experiment.split()
    train = tiny_experiment.streamed(memory) if streamed else memory
    parts = tiny_experiment.parts(MAXNORM, replicas=replicas, total_steps=10**9, memory=memory, train=train)
    parts.source.seek(0)
    parts.train(1)
    then = []

    def halt() -> None:
        while int(parts.optimizer.iterations.numpy()) < 20:
            time.sleep(0.001)
        parts.steps.halt()
        then.append(int(parts.optimizer.iterations.numpy()))

    thread = threading.Thread(target=halt)
    thread.start()
    chunk = parts.train(10**9)
    thread.join()
    made = int(chunk.nonfinite[2])
    assert int(parts.optimizer.iterations.numpy()) == 1 + made
    assert int(chunk.totals[4]) == made
    # The step it came in, and one that had begun.
    assert then[0] <= 1 + made <= then[0] + 2
    assert int(parts.train(10).nonfinite[2]) == 0
