"""Which examples a step sees: each once an epoch, in an order that seed and step decide, shared among replicas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from trainer.data import batches, dataset
from trainer.data.arrays import Arrays
from trainer.data.stream import Stream
from trainer.engine.objective import CrossEntropy
from trainer.runtime import replicas as devices

EXAMPLES, BATCH = 26, 8
STEPS_PER_EPOCH = 3

every_kind = pytest.mark.parametrize("kind", ["memory", "stream"])


def numbered(kind: str, num_examples: int = EXAMPLES) -> dataset.Split:
    """Examples whose feature and label are their number."""
    numbers = np.arange(num_examples)
    split = dataset.Split(num_examples, numbers[:, np.newaxis].astype(np.float32), numbers.astype(np.int32))
    return split if kind == "memory" else tiny_experiment.streamed(split)


def source(kind: str, seed: int = 0, step: int = 0, replicas: int = 1, batch_size: int = BATCH, **options):
    made = batches.source(numbered(kind, **options), batch_size, seed, devices.strategy(replicas))
    made.seek(step)
    return made


def evaluated(made):
    """The batches of an evaluation as the objective pads them: features, labels and weights."""
    objective = CrossEntropy(None, BATCH, 1)
    for batch, count in objective.eval_batches(made):
        features, labels = made.take(local(made), batch)
        yield features, labels, (np.arange(len(labels)) < count).astype(np.float32)


def taken(made, step: int) -> list[int]:
    """Numbers of the examples of a step's batch, after checking that features and labels belong together."""
    features, labels = made.take(local(made), made.train_batch(made.arrays, tf.constant(step, tf.int64)))
    assert features.numpy()[:, 0].tolist() == labels.numpy().tolist()
    return labels.numpy().tolist()


def epoch_of(made, number: int) -> list[int]:
    """Numbers of the examples of an epoch."""
    steps = range(number * STEPS_PER_EPOCH, (number + 1) * STEPS_PER_EPOCH)
    return [example for step in steps for example in taken(made, step)]


def local(made):
    """The arrays of the first replica."""
    return tf.nest.map_structure(lambda value: getattr(value, "values", [value])[0], made.arrays)


@every_kind
def test_the_kind_of_source_follows_from_the_split(kind):
    expected = {"memory": Arrays, "stream": Stream}[kind]
    assert type(source(kind)) is expected


@every_kind
def test_an_epoch_shows_every_example_at_most_once_and_each_epoch_has_its_own_order(kind):
    made = source(kind)
    epochs = [epoch_of(made, number) for number in range(5)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == STEPS_PER_EPOCH * BATCH
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert epochs[0] != sorted(epochs[0])
    # The two that sit an epoch out are not the same ones for ever.
    assert set().union(*epochs) == set(range(EXAMPLES))


@every_kind
@pytest.mark.parametrize("start", [1, 3, 7, 10])
def test_a_fresh_start_in_the_middle_goes_on_with_the_same_examples(kind, start):
    whole = source(kind)
    expected = [taken(whole, step) for step in range(13)][start:]
    again = source(kind, step=start)
    assert [taken(again, step) for step in range(start, 13)] == expected


@every_kind
def test_the_seed_decides(kind):
    def first(seed):
        made = source(kind, seed=seed)
        return [taken(made, step) for step in range(3)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_buffer_smaller_than_the_data_keeps_every_promise(monkeypatch):
    monkeypatch.setattr(batches, "SHUFFLE_BUFFER", 5)
    made = source("stream")
    epochs = [epoch_of(made, number) for number in range(2)]
    assert all(len(set(epoch)) == STEPS_PER_EPOCH * BATCH for epoch in epochs)
    again = source("stream", step=STEPS_PER_EPOCH)
    assert epoch_of(again, 1) == epochs[1]


def test_any_step_of_any_epoch_can_be_asked_for_in_memory():
    made = source("memory")
    in_order = [taken(made, step) for step in range(9)]
    assert [taken(made, step) for step in (7, 0, 5)] == [in_order[7], in_order[0], in_order[5]]
    huge = 10**9
    assert len(set(taken(made, huge))) == BATCH


@every_kind
def test_replicas_share_the_batch_that_one_replica_would_take(kind):
    alone, shared = source(kind), source(kind, replicas=2)
    strategy = devices.strategy(2)
    for step in range(4):
        batch = shared.train_batch(shared.arrays, tf.constant(step, tf.int64))
        features, labels = strategy.run(shared.take, args=(shared.arrays, batch))
        parts = [part.numpy().tolist() for part in strategy.experimental_local_results(labels)]
        assert [len(part) for part in parts] == [BATCH // 2] * 2
        assert parts[0] + parts[1] == taken(alone, step)
        first, second = strategy.experimental_local_results(features)
        assert np.concatenate([first, second])[:, 0].tolist() == parts[0] + parts[1]


@every_kind
@pytest.mark.parametrize("num_examples", [24, 26, 3])
def test_evaluation_sees_every_example_once_and_padding_weighs_nothing(kind, num_examples):
    made = source(kind, num_examples=num_examples)
    seen, shapes = [], set()
    for features, labels, weights in evaluated(made):
        features, labels = features.numpy(), labels.numpy()
        shapes.add(features.shape)
        assert set(weights) <= {0.0, 1.0}
        assert (labels >= 0).all()  # A label outside the classes would be an error, or NaN.
        assert np.isfinite(features).all()
        assert features[weights == 1, 0].tolist() == labels[weights == 1].tolist()
        seen += labels[weights == 1].tolist()
    assert seen == list(range(num_examples))
    assert shapes == {(BATCH, 1)}


def test_evaluation_can_be_repeated_between_training_batches():
    made = source("stream")
    expected = [taken(made, step) for step in range(4)]
    again, found = source("stream"), []
    for step in range(4):
        assert len(list(again.eval_batches())) == 4
        found.append(taken(again, step))
    assert found == expected


@every_kind
def test_images_are_scaled(kind):
    pixels = np.array([[0, 51], [255, 102]], np.uint8)
    split = dataset.Split(2, pixels, np.zeros(2, np.int32))
    made = batches.source(split if kind == "memory" else tiny_experiment.streamed(split), 2, 0, devices.strategy(1))
    features, _ = made.take(local(made), next(made.eval_batches()))
    assert features.dtype == tf.float32
    np.testing.assert_allclose(features, pixels / 255.0, rtol=1e-6)


def test_a_streamed_run_resumes_exactly_and_is_judged_as_in_memory():
    memory = tiny_experiment.split()
    in_memory = tiny_experiment.parts(memory=memory)
    streamed = tiny_experiment.parts(
        memory=tiny_experiment.split(), train=tiny_experiment.streamed(memory), dropout=0.3
    )
    streamed.source.seek(0)
    streamed.train(5)
    middle = streamed.state()
    streamed.train(6)
    end = streamed.state()

    again = tiny_experiment.parts(memory=tiny_experiment.split(), train=tiny_experiment.streamed(memory), dropout=0.3)
    again.reset(middle)
    again.source.seek(5)
    again.train(4)
    again.train(2)
    assert tiny_experiment.same_bits(again.state(), end)

    judge = tiny_experiment.parts(memory=memory, judge=tiny_experiment.streamed(memory))
    assert judge.steps.evaluate() == pytest.approx(in_memory.steps.evaluate(), rel=1e-6)


def test_streamed_training_on_two_replicas_equals_one():
    losses = {}
    for replicas in (1, 2):
        parts = tiny_experiment.parts(
            train=tiny_experiment.streamed(tiny_experiment.split()), replicas=replicas, learning_rate=0.02
        )
        parts.source.seek(0)
        losses[replicas] = [parts.train(3).totals[0].numpy() for _ in range(4)]
        assert devices.copies_equal(parts.variables())
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-5)
