"""Tests of the schedules: formulas, exact ends, one trace, round trips and errors."""

import inspect
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Intersection, schedules

RAMPS = {
    "cosine": (schedules.cosine(4.0, 0.1, begin=10, end=110), lambda p: 0.1 + 3.9 * (1 + math.cos(math.pi * p)) / 2),
    "exponential": (schedules.exponential(4.0, 0.1, begin=10, end=110), lambda p: 4.0 * (0.1 / 4.0) ** p),
    "linear": (schedules.linear(4.0, 0.1, begin=10, end=110), lambda p: 4.0 - 3.9 * p),
    "polynomial": (schedules.polynomial(4.0, 0.1, begin=10, end=110), lambda p: 0.1 + 3.9 * (1 - p) ** 3),
    "polynomial-1.5": (
        schedules.polynomial(4.0, 0.1, begin=10, end=110, power=1.5),
        lambda p: 0.1 + 3.9 * (1 - p) ** 1.5,
    ),
}
OTHERS = {
    "constant": schedules.constant(0.7),
    "piecewise": schedules.piecewise([100, 200], [1.0, 0.3, 0.1]),
    "warmup": schedules.with_warmup(schedules.cosine(0.1, 0.0, begin=5, end=50), 10),
}
EVERY = {name: schedule for name, (schedule, _) in RAMPS.items()} | OTHERS

every_ramp = pytest.mark.parametrize("name", RAMPS)
every_schedule = pytest.mark.parametrize("name", EVERY)


@every_ramp
@pytest.mark.parametrize("compiled", [False, True])
def test_ramp_follows_its_formula_with_exact_ends(name, compiled):
    schedule, formula = RAMPS[name]
    value = tf.function(schedule, jit_compile=compiled)
    for step in (-3, 0, 9, 10):
        assert value(tf.constant(step, tf.int64)).numpy() == 4.0
    for step in (110, 111, 10**12):
        assert value(tf.constant(step, tf.int64)).numpy() == 0.1
    for step in (11, 35, 60, 109):
        np.testing.assert_allclose(value(tf.constant(step, tf.int64)), formula((step - 10) / 100), rtol=1e-14)
    assert value.experimental_get_tracing_count() == 1


@every_ramp
def test_ramp_falls_all_the_way(name):
    values = RAMPS[name][0](tf.range(130)).numpy()
    assert np.all(np.diff(values) <= 0)
    assert np.all(np.diff(values[10:111]) < 0)
    assert values.dtype == np.float64


@pytest.mark.parametrize("name", ["cosine", "exponential", "linear", "polynomial"])
def test_ends_are_exact_whatever_the_values(name):
    for initial, final in np.random.default_rng(0).uniform(0.01, 10, (20, 2)).tolist():
        schedule = schedules.SCHEDULES[name](initial, final, begin=3, end=10)
        assert schedule(tf.constant([0, 3, 10, 11])).numpy().tolist() == [initial, initial, final, final]


def test_a_constant_ramp_and_a_rising_one():
    assert schedules.linear(0.1, 0.1, end=7)(0) == 0.1
    np.testing.assert_allclose(schedules.linear(-1.0, 1.0, end=4)(tf.range(5)), [-1, -0.5, 0, 0.5, 1], atol=1e-16)
    np.testing.assert_allclose(schedules.exponential(-1.0, -4.0, end=2)(tf.range(3)), [-1, -2, -4], rtol=1e-15)


def test_constant_and_piecewise():
    assert OTHERS["constant"](10**9).numpy() == 0.7
    steps = (0, 99, 100, 199, 200, 10**9)
    assert [float(OTHERS["piecewise"](step)) for step in steps] == [1.0, 1.0, 0.3, 0.3, 0.1, 0.1]
    np.testing.assert_array_equal(OTHERS["piecewise"](tf.constant([[99], [100]])), [[1.0], [0.3]])


def test_warmup_rises_from_zero_to_the_schedule():
    schedule = schedules.with_warmup(schedules.constant(0.4), 4)
    np.testing.assert_allclose(schedule(tf.range(7)), [0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    decayed = OTHERS["warmup"]
    np.testing.assert_allclose(decayed(tf.range(10, 60)), schedules.cosine(0.1, 0.0, begin=5, end=50)(tf.range(10, 60)))


@every_schedule
def test_extremes_and_span_hold_over_all_steps(name):
    schedule = EVERY[name]
    values = schedule(tf.range(300)).numpy()
    low, high = schedule.extremes()
    np.testing.assert_allclose([values.min(), values.max()], [low, high], rtol=0.2)
    assert low <= values.min()
    assert values.max() <= high
    first, last = schedule.span()
    assert np.all(values[:first] == values[0])
    assert np.all(values[last:] == values[last])


@every_schedule
def test_round_trip_through_json(name):
    schedule = EVERY[name]
    again = schedules.from_dict(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert repr(again) == repr(schedule)
    assert schedule != schedules.constant(0.123)


def test_it_prints_as_it_is_written():
    assert repr(RAMPS["cosine"][0]) == "cosine(initial=4.0, final=0.1, begin=10, end=110)"


def test_names_are_sorted_and_their_own():
    assert list(schedules.SCHEDULES) == sorted(schedules.SCHEDULES)
    assert all(function.__name__ == name for name, function in schedules.SCHEDULES.items())
    assert inspect.signature(schedules.polynomial).parameters["power"].default == 3


@pytest.mark.parametrize("name", ["cosine", "exponential", "linear", "polynomial"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"initial": float("nan")}, "initial=nan must be a finite number"),
        ({"final": float("inf")}, "final=inf must be a finite number"),
        ({"final": 10**400}, "must be a finite number"),
        ({"initial": True}, "initial=True must be a finite number"),
        ({"initial": "4"}, "initial='4' must be a finite number"),
        ({"begin": -1}, "begin=-1 must be a step"),
        ({"end": 10.5}, "end=10.5 must be a step"),
        ({"end": True}, "end=True must be a step"),
        ({"begin": 10}, "end=10 must come after begin=10"),
        ({"begin": 20}, "end=10 must come after begin=20"),
    ],
)
def test_bad_arguments_of_ramps(name, values, message):
    with pytest.raises(ValueError, match=message):
        schedules.SCHEDULES[name](**{"initial": 2.0, "final": 1.0, "begin": 0, "end": 10, **values})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.polynomial(1.0, 2.0, end=3, power=0), "power=0 must be above 0"),
        (lambda: schedules.exponential(1.0, 0.0, end=3), "use linear or polynomial to reach 0"),
        (lambda: schedules.exponential(-1.0, 1.0, end=3), "both be above 0"),
        (lambda: schedules.constant(float("nan")), "value=nan"),
        (lambda: schedules.piecewise([], [1.0]), "one or more increasing steps"),
        (lambda: schedules.piecewise([5, 5], [1.0, 2.0, 3.0]), "increasing steps"),
        (lambda: schedules.piecewise([5, 7], [1.0, 2.0]), "2 values for 2 boundaries; give 3"),
        (lambda: schedules.piecewise(5, 7), "must be lists"),
        (lambda: schedules.piecewise([5], [1.0, float("inf")]), "values=inf"),
        (lambda: schedules.with_warmup(schedules.constant(1.0), 0), "steps=0 must be at least 1"),
        (lambda: schedules.with_warmup(0.1, 5), "is not a schedule"),
        (lambda: schedules.from_dict({"schedule": "cosin"}), "'cosin' is not known; choose from constant, cosine"),
        (lambda: schedules.from_dict({"schedule": "linear", "initial": 1.0}), "missing"),
        (lambda: schedules.from_dict({"schedule": "constant", "value": 1.0, "end": 3}), "unexpected"),
        (lambda: schedules.from_dict({}), "None is not known"),
    ],
)
def test_other_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Run:
    """A run of 200 steps, 20 in an epoch."""

    total_steps = 200

    def step(self, text, name):
        number, unit = schedules.parse(text, name)
        return round(number * {"": 1, "%": 2, "ep": 20}[unit])


UNRESOLVED = {
    "whole run": (schedules.cosine(2.0, 1.0), schedules.cosine(2.0, 1.0, begin=0, end=200)),
    "places": (
        schedules.polynomial(0.0, 0.9, begin="1ep", end="80%", power=2),
        schedules.polynomial(0.0, 0.9, begin=20, end=160, power=2),
    ),
    "texts": (schedules.linear(2.0, 1.0, begin="5", end=" 50% "), schedules.linear(2.0, 1.0, begin=5, end=100)),
    "piecewise": (schedules.piecewise(["10%", 50], [3, 2, 1]), schedules.piecewise([20, 50], [3, 2, 1])),
    "warmup": (
        schedules.with_warmup(schedules.linear(1.0, 0.0), "1ep"),
        schedules.with_warmup(schedules.linear(1.0, 0.0, end=200), 20),
    ),
    "through": (
        schedules.through(schedules.linear(0.0, 1.0), (0.0, 1.0), (5.0, 7.0)),
        schedules.through(schedules.linear(0.0, 1.0, end=200), (0.0, 1.0), (5.0, 7.0)),
    ),
}


@pytest.mark.parametrize("name", UNRESOLVED)
def test_places_become_steps(name):
    schedule, expected = UNRESOLVED[name]
    assert not schedule.resolved
    assert schedule.resolve(Run()) == expected
    assert expected.resolved
    assert expected.resolve(Run()) == expected
    assert schedule.extremes() == expected.extremes()
    assert schedules.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule
    for use in (lambda: schedule(3), schedule.span, schedule.bends):
        with pytest.raises(ValueError, match=r"depends on the length of the run; .* `resolve\(timeline\)` returns\.$"):
            use()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.linear(2.0, 1.0, end="soon"), "linear: end=soon is not a point in a run; write a step"),
        (lambda: schedules.cosine(2.0, 1.0, begin="101%"), "cosine: begin=101% is past the end of the run"),
        (lambda: schedules.linear(2.0, 1.0, begin="60%", end="1ep").resolve(Run()), r"linear: begin=60% \(step 120\)"),
        (lambda: schedules.linear(2.0, 1.0, end=201).resolve(Run()), "end=201 .* past the run's 200 steps"),
        (lambda: schedules.piecewise(["50%", 100], [3, 2, 1]).resolve(Run()), "increasing steps"),
    ],
)
def test_places_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_constraint_is_resolved_whole():
    box = REGISTRY["box"](min_value=schedules.linear(-2.0, -1.0), max_value=1.0)
    assert box.resolve(Run()) == REGISTRY["box"](min_value=schedules.linear(-2.0, -1.0, end=200), max_value=1.0)
    both = Intersection((REGISTRY["nonneg"](), REGISTRY["maxnorm"](schedules.cosine(2.0, 1.0, end="50%"))))
    assert both.resolve(Run()).bounds() == {"max_value": schedules.cosine(2.0, 1.0, end=100)}


@every_schedule
def test_it_is_a_learning_rate_of_keras(name):
    schedule = EVERY[name]
    optimizer = keras.optimizers.SGD(schedule)
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    optimizer.apply([tf.constant(-1.0)], [weight])
    assert weight.numpy() == np.float32(schedule(0))
    again = keras.optimizers.deserialize(json.loads(json.dumps(keras.optimizers.serialize(optimizer))))
    assert again._learning_rate == schedule
