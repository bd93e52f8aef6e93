"""Arrays of any structure: what becomes of them, in which order batches take them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.arrays import Arrays, from_arrays, prepare
from trainer.runtime import replicas as devices

NUMBERS = np.arange(10)


class Frame:
    """As much of a data frame as NumPy sees of one."""

    def __array__(self, dtype=None, copy=None):
        return np.arange(20.0).reshape(10, 2)


def local(made):
    """The arrays of the first replica."""
    return tf.nest.map_structure(lambda value: getattr(value, "values", [value])[0], made.arrays)


def batch(made, step):
    """The batch of a step, as arrays."""
    taken = made.take(local(made), made.train_batch(made.arrays, tf.constant(step, tf.int64)))
    return tf.nest.map_structure(lambda value: value.numpy(), taken)


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (NUMBERS.astype(np.float64), "float32", (10,)),
        (NUMBERS.astype(np.float16), "float32", (10,)),
        (NUMBERS.astype(np.uint8), "uint8", (10,)),
        (NUMBERS, "int64", (10,)),
        (NUMBERS > 3, "bool", (10,)),
        (list(range(10)), "int64", (10,)),
        ([[0.5, 1]] * 10, "float32", (10, 2)),
        (tuple(range(10)), "int64", (10,)),
        (tf.ones([10, 3], tf.bfloat16), "float32", (10, 3)),
        (tf.Variable(tf.ones([10])), "float32", (10,)),
        (Frame(), "float32", (10, 2)),
        (["a", "bc"] * 5, "<U2", (10,)),
        (np.array(["a", "bc"] * 5, object), "<U2", (10,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_numpy_reads_becomes_an_array(value, dtype, shape):
    (x,) = prepare(value)
    assert (x.dtype, x.shape) == (np.dtype(dtype), shape)


def test_structures_keep_their_form_and_are_copied_into_batches():
    x = {"b": NUMBERS, "a": [NUMBERS * 2.0, (NUMBERS * 3,)]}
    data = prepare(x, (NUMBERS, NUMBERS.reshape(10, 1)), [1.0] * 10)
    made = Arrays(data, 4, devices.strategy(1), seed=3)
    (taken, targets, weights), again = batch(made, 0), batch(made, 0)
    assert list(taken["b"]) == list(again[0]["b"]) == list(targets[0])
    assert taken["b"].tolist() != [0, 1, 2, 3]
    assert (taken["a"][0] == taken["b"] * 2).all()
    assert (taken["a"][1][0] == taken["b"] * 3).all()
    assert targets[1].shape == (4, 1)
    # One array of weights serves each output.
    assert [list(weight) for weight in weights] == [[1.0] * 4] * 2
    tf.nest.assert_same_structure(made.spec, (taken, targets, weights))
    shapes = [(tuple(spec.shape), spec.dtype) for spec in tf.nest.flatten(made.spec)]
    assert shapes == [(value.shape, value.dtype) for value in tf.nest.flatten((taken, targets, weights))]


def test_an_epoch_shows_each_example_once_in_an_order_that_seed_and_epoch_decide():
    def epochs(**options):
        made = Arrays(prepare(NUMBERS), 5, devices.strategy(1), **options)
        return [np.concatenate([batch(made, 2 * epoch + step)[0] for step in (0, 1)]).tolist() for epoch in (0, 1)]

    first, second = epochs(seed=1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert epochs(seed=1) == [first, second]
    assert epochs(seed=2) != [first, second]
    assert epochs(shuffle=False) == [list(range(10))] * 2


def test_batches_that_were_dropped_do_not_come_again():
    made = Arrays(prepare(NUMBERS), 2, devices.strategy(1), shuffle=False)
    made.seek(0, 3)
    assert batch(made, 0)[0].tolist() == [6, 7]


def test_evaluation_takes_all_examples_in_order_and_does_not_pad():
    made = Arrays(prepare(NUMBERS, NUMBERS), 4, devices.strategy(1))
    sizes = [made.take(local(made), one)[0].numpy().tolist() for one in made.eval_batches()]
    assert sizes == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_first_of_several_replicas_takes_what_cannot_be_shared():
    strategy = devices.strategy(2)
    made = Arrays(prepare(NUMBERS[:7]), 4, strategy)
    parts = []
    for one in made.eval_batches():

        def replica(arrays, indices=one):
            return tf.shape(made.take(arrays, indices)[0])[0]

        parts.append([int(part) for part in strategy.experimental_local_results(strategy.run(replica, (made.arrays,)))])
    assert parts == [[2, 2], [3, 0]]


def test_a_batch_has_at_most_as_many_examples_as_there_are():
    made = from_arrays(prepare(NUMBERS), devices.strategy(1))
    assert (made.batch_size, made.steps_per_epoch) == (10, 1)
    assert from_arrays(prepare(NUMBERS[:7]), devices.strategy(2), batch_size=64).batch_size == 6
    with pytest.raises(ValueError, match=r"A batch of 5 examples cannot be shared out .* 2 replicas; use 4 or 6"):
        from_arrays(prepare(NUMBERS), devices.strategy(2), batch_size=5)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1, 2, 1], [2.0, 1.0, 0.5, 1.0]),
        ([[0.0], [1.0], [2.0], [1.0]], [2.0, 1.0, 0.5, 1.0]),
        (np.eye(3)[[0, 1, 2, 1]], [2.0, 1.0, 0.5, 1.0]),
    ],
)
def test_weights_of_classes_are_weights_of_their_examples(y, expected):
    weights = prepare(NUMBERS[:4], y, class_weight={0: 2.0, 2: 0.5})[2]
    assert weights.tolist() == expected
    both = prepare(NUMBERS[:4], y, [3.0] * 4, {0: 2.0, 2: 0.5})[2]
    assert both.tolist() == [3 * weight for weight in expected]


def test_a_real_data_frame_if_there_is_one():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": NUMBERS, "b": NUMBERS / 2})
    x, y = prepare(frame, frame["a"])
    assert (x.dtype, x.shape, y.dtype) == (np.float32, (10, 2), np.int64)
    with pytest.raises(TypeError, match="x is an array of object; expected numbers"):
        prepare(pandas.DataFrame({"a": [1, "two"]}))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((NUMBERS, NUMBERS[:9]), ValueError, "x has 10 examples and y has 9; expected equally many"),
        (
            ({"a": NUMBERS, "b": NUMBERS[1:]},),
            ValueError,
            "array 1 of x has 10 examples and array 2 of x has 9; expected",
        ),
        ((NUMBERS, NUMBERS, NUMBERS[:3]), ValueError, "x has 10 examples and sample_weight has 3"),
        ((NUMBERS[:0], NUMBERS[:0]), ValueError, "x is empty; give at least one example"),
        (([],), ValueError, "x is empty"),
        (({},), ValueError, "x holds no arrays"),
        ((3.0,), ValueError, r"x is the single value array\(3., dtype=float32\); expected a row"),
        ((np.array([1, None]),), TypeError, "x is an array of object; expected numbers, or strings"),
        (([[1, 2], [3]],), TypeError, "x cannot become an array"),
        ((object(),), TypeError, "x is object; expected numbers"),
        (({"a": [NUMBERS, None]},), TypeError, r"x\['a'\]\[1\] is NoneType; expected numbers"),
        ((NUMBERS, None, NUMBERS), ValueError, "Weights of examples need targets"),
        ((NUMBERS, (NUMBERS, NUMBERS), (NUMBERS,)), ValueError, "sample_weight has another structure than y"),
        ((NUMBERS, (NUMBERS, NUMBERS), None, {0: 1.0}), ValueError, "class_weight serves a single output"),
        ((NUMBERS, np.zeros((10, 2, 3)), None, {0: 1.0}), ValueError, "class_weight needs one class for each example"),
    ],
)
def test_what_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        prepare(*arguments)
