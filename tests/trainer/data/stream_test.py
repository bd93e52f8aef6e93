"""Data sets of `tf.data`: batches of any structure, epochs, replicas, and what is refused."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.data.stream import from_dataset
from trainer.engine import loop
from trainer.engine.objective import Compiled
from trainer.engine.projector import Projector
from trainer.engine.run_state import RunState
from trainer.engine.train_step import Steps
from trainer.runtime import replicas as devices

X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
Y = X[:, :1] * 2


def pairs():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def numbers(size: int = 10):
    return tf.data.Dataset.range(size)


def taken(made, count: int) -> list[list[int]]:
    """The first numbers of so many batches."""
    return [made.take(made.arrays, made.train_batch(made.arrays, None))[0].numpy().tolist() for _ in range(count)]


def steps_of(source, replicas: int = 1, judged=None):
    keras.utils.set_random_seed(0)
    strategy = devices.strategy(replicas)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(loss="mse", metrics=["mae"])
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
    objective = Compiled(model, strategy, source.spec)
    source.seek(0)
    return Steps(strategy, objective, optimizer, Projector([], 10**6), source, judged or source), model


def test_a_finite_data_set_starts_again_at_its_end():
    made = from_dataset(numbers().batch(4), devices.strategy(1))
    made.seek(0)
    assert made.steps_per_epoch == 3
    assert taken(made, 5) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]
    made.seek(4, 1)
    assert taken(made, 1) == [[8, 9]]


def test_single_examples_become_batches_of_the_size_asked_for():
    made = from_dataset(numbers(), devices.strategy(1), batch_size=4)
    made.seek(0)
    assert (made.batch_size, made.steps_per_epoch) == (4, 2)
    assert taken(made, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    # Evaluation leaves no example out.
    assert [one[0].numpy().tolist() for one in made.eval_batches()][-1] == [8, 9]


def test_replicas_share_batches_of_one_size():
    made = from_dataset(numbers().batch(4), devices.strategy(2))
    assert (made.batch_size, made.steps_per_epoch) == (4, 3)
    made.seek(0)
    whole = [made.train_batch(made.arrays, None)[0].numpy().tolist() for _ in range(4)]
    assert whole == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5]]
    assert from_dataset(numbers().batch(4, drop_remainder=True), devices.strategy(2)).steps_per_epoch == 2
    with pytest.raises(ValueError, match="A batch of 3 examples cannot be shared out evenly among 2 replicas"):
        from_dataset(numbers().batch(3), devices.strategy(2))
    with pytest.raises(ValueError, match="The data set is empty"):
        from_dataset(numbers(0).batch(2), devices.strategy(2))


def test_epochs_of_an_endless_data_set_are_asked_for():
    assert from_dataset(numbers().repeat().batch(2), devices.strategy(1)).steps_per_epoch is None
    assert from_dataset(numbers().repeat().batch(2), devices.strategy(1), steps_per_epoch=7).steps_per_epoch == 7
    assert from_dataset(numbers().filter(lambda n: n > 3).batch(2), devices.strategy(1)).steps_per_epoch is None


@pytest.mark.parametrize("replicas", [1, 2])
def test_training_and_evaluation_have_the_numbers_of_keras(replicas):
    # Batches of 8, 8 and 4.
    source = from_dataset(pairs().batch(8), devices.strategy(replicas))
    steps, model = steps_of(source, replicas)
    number = 3 if replicas == 1 else 2
    keras.utils.set_random_seed(0)
    expected = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    expected.compile(keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    history = expected.fit(pairs().batch(8).take(number), shuffle=False, verbose=0).history
    chunk = steps.train(number, np.zeros(steps.num_totals), np.zeros(2), False)
    results = steps.training_results(chunk.totals.numpy())
    assert results == pytest.approx({name: values[0] for name, values in history.items()}, rel=1e-5)
    for left, right in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    evaluation = expected.evaluate(pairs().batch(8), verbose=0, return_dict=True)
    assert steps.evaluate() == pytest.approx(evaluation, rel=1e-5)
    np.testing.assert_allclose(steps.predict(source), expected.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_sizes_that_differ_from_batch_to_batch_need_one_trace():
    sizes = tf.data.Dataset.from_tensor_slices([2, 5, 3])
    # Sequences of another length in each batch.
    batches = sizes.map(lambda size: (tf.ones([size, 4]), tf.ones([size, 1])))
    steps, _ = steps_of(from_dataset(batches, devices.strategy(1)))
    steps.train(3, np.zeros(steps.num_totals), np.zeros(2), False)
    steps.evaluate()
    assert steps.num_traces["train"] == 1


def test_a_generator_that_ends_early_is_told_in_a_sentence():
    once = iter(range(5))

    def generate():
        for _ in once:
            yield X[:8], Y[:8]

    spec = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))
    generated = tf.data.Dataset.from_generator(generate, output_signature=spec)
    steps, _ = steps_of(from_dataset(generated, devices.strategy(1)))
    with pytest.raises(ValueError, match="training data ended at step 5, but 40 steps were wanted; repeat") as caught:
        loop.run(
            steps,
            RunState(steps.num_totals),
            [loop.Every(100, print)],
            start=0,
            total_steps=40,
            steps_per_loop=4,
            measure_every=100,
            report=lambda step: None,
            stop=lambda: False,
            max_nonfinite=10,
            recover=lambda step, count: 0,
        )
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("dataset", "batch_size", "words"),
    [
        (lambda: numbers(), None, "The data set has single examples; batch it with `batch`, or give a batch_size"),
        (lambda: tf.data.Dataset.from_tensors((1, 2, 3, 4)), 2, r"a tuple of 4; expected x, \(x, y\) or"),
        (lambda: tf.data.Dataset.from_tensors(({}, X)), None, "has no features"),
        (
            lambda: tf.data.Dataset.from_tensors(tf.ragged.constant([[1], [2, 3]])),
            None,
            "elements of type RaggedTensor; expected .* of dense tensors",
        ),
        (
            lambda: tf.data.Dataset.from_tensors(X).map(lambda x: tf.py_function(lambda y: y, [x], tf.float32)),
            None,
            "elements of unknown rank, .*; set their shape with `ensure_shape`",
        ),
    ],
)
def test_what_is_refused(dataset, batch_size, words):
    with pytest.raises(ValueError, match=words):
        from_dataset(dataset(), devices.strategy(1), batch_size=batch_size)


def shuffled():
    """Everything that a position must hold: interleaved files, a parallel map, a shuffle, batches and passes."""
    files = tf.data.Dataset.range(4).interleave(
        lambda file: tf.data.Dataset.range(250).map(lambda number: 250 * file + number), cycle_length=2
    )
    mapped = files.map(lambda number: number, tf.data.AUTOTUNE)
    return mapped.shuffle(50, seed=1, reshuffle_each_iteration=True).batch(8)


def generated():
    def generate():
        yield from range(100)

    return tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec((), tf.int64)).batch(8)


def source_of(dataset):
    return from_dataset(dataset, devices.strategy(1))


@pytest.mark.parametrize("step", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_position_is_restored_in_seconds_bit_for_bit(tmp_path, step):
    made = source_of(shuffled())
    made.seek(step)
    record = made.record(step)
    expected = taken(made, 300)
    # Written in the meantime, as in the background.
    record(str(tmp_path / "position"))

    again, said = source_of(shuffled()), []
    again.locate(str(tmp_path / "position"))
    begun = time.process_time()
    again.seek(step, log=said.append)
    assert time.process_time() - begun < 5.0
    assert taken(again, 300) == expected
    # A second time, and past batches that are dropped.
    again.seek(step)
    assert taken(again, 10) == expected[:10]
    again.seek(step - 7, 7 + 20)
    assert taken(again, 10) == expected[20:30]
    assert said == []


def test_a_data_set_that_shuffles_is_in_the_same_order_whenever_it_is_opened():
    made = source_of(shuffled())
    made.seek(0)
    expected = taken(made, 200)
    list(made.eval_batches())
    made.seek(0)
    assert taken(made, 200) == expected
    made.seek(150)
    assert taken(made, 50) == expected[150:]


def test_what_cannot_be_saved_is_read_again_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.stream._TELL_EVERY", 0.0)
    made = source_of(generated())
    made.seek(0)
    assert made.record(0) is None
    expected = taken(made, 260)
    again, said = source_of(generated()), []
    again.locate(None)
    again.seek(230, 20, said.append)
    assert taken(again, 10) == expected[250:]
    assert said == [
        "the 250 batches before step 230 are read again, because the position of this data set cannot be saved",
        "read 100 of 250 batches",
        "read 200 of 250 batches",
        "read 250 of 250 batches",
    ]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (None, "the checkpoint does not say where in the data it was made"),
        (lambda: numbers(1000).batch(8), "the position in the checkpoint is of another data set"),
    ],
)
def test_a_position_that_does_not_fit_is_not_used(tmp_path, other, reason):
    made, said = source_of(shuffled()), []
    if other is not None:
        writer = source_of(other())
        writer.seek(3)
        writer.record(3)(str(tmp_path / "position"))
        made.locate(str(tmp_path / "position"))
    made.seek(5, log=said.append)
    assert said == [f"the 5 batches before step 5 are read again, because {reason}"]
    whole = source_of(shuffled())
    whole.seek(0)
    assert taken(made, 10) == taken(whole, 15)[5:]


def test_data_that_ended_before_the_run_goes_on_is_said():
    once = iter(range(5))

    def generate():
        yield from once

    generated = tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec((), tf.int64)).batch(1)
    with pytest.raises(ValueError, match="The training data ended before batch 50, at which the run is to go on"):
        source_of(generated).seek(50)
