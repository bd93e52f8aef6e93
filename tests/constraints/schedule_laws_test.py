"""Laws that every schedule obeys at any ratio, sign, length and step, against an oracle in many digits."""

import decimal
import itertools
from decimal import Decimal

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules

decimal.getcontext().prec = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
SPANS = [(0, 1), (0, 7), (3, 1003), (2**31 - 5, 2**31 + 5), (0, 2**40), (2**53 - 9, 2**53)]
ENDS = [
    (4.0, 0.1),
    (0.1, 0.1),
    (0.1, 0.1 + 2**-53),
    (1e-30, 1e30),
    (1e30, 1e-30),
    (1e-300, 1e300),
    (1.7e308, 2.3e-308),
    (-4.0, -0.1),
    (-1e-30, -1e30),
    (-3.0, 5.0),
    (-1.7e308, 1.7e308),
    (0.0, 0.9),
    (0.9, -0.0),
]
POWERS = (1e-300, 0.5, 1.0, 3.0, 1e300)


def ramps():
    for (begin, end), (initial, final) in itertools.product(SPANS, ENDS):
        for name in ("cosine", "exponential", "linear"):
            if name != "exponential" or initial * np.sign(final) > 0:
                yield schedules.SCHEDULES[name](initial, final, begin=begin, end=end)
        for power in POWERS:
            yield schedules.polynomial(initial, final, begin=begin, end=end, power=power)


RAMPS = list(ramps())


def steps_of(schedule):
    """Both ends and their neighbours, and some steps between."""
    begin, end = schedule.span()
    between = np.linspace(begin, end, 17).astype(np.int64).tolist()
    around = [step + move for step in (begin, end) for move in (-2, -1, 0, 1, 2)]
    return sorted({0, *(step for step in (*between, *around) if step >= 0)})


def sine_of(x):
    """sin x by its series."""
    term = total = x
    for n in range(1, 40):
        term *= -x * x / ((2 * n) * (2 * n + 1))
        total += term
    return total


def oracle(schedule, step):
    """The value in 60 digits, and the size that its rounding errors are relative to."""
    values = dict(schedule.arguments)
    initial, final = Decimal(values["initial"]), Decimal(values["final"])
    begin, end = values["begin"], values["end"]
    left = Decimal(min(max(end - step, 0), end - begin)) / (end - begin)
    if schedule.name == "exponential":
        sign = 1 if initial > 0 else -1
        value = sign * (left * abs(initial).ln() + (1 - left) * abs(final).ln()).exp()
        return value, abs(value)
    rest = 1 - left
    if schedule.name == "cosine":
        share, rest = sine_of(PI / 2 * left) ** 2, sine_of(PI / 2 * rest) ** 2
    elif schedule.name == "polynomial":
        power = Decimal(values["power"])
        share = Decimal(0) if left == 0 else Decimal(1) if left == 1 else (power * left.ln()).exp()
        rest = 1 - share
    else:
        share = left
    # What 1 less a share loses, of which a power is one, belongs to the larger end.
    lost = abs(final) if schedule.name == "polynomial" else Decimal(0)
    return initial * share + final * rest, abs(initial) * share + abs(final) * rest + lost


def test_every_ramp_is_its_formula_to_within_rounding():
    for schedule in RAMPS:
        steps = steps_of(schedule)
        values = schedule(tf.constant(steps, tf.int64)).numpy()
        # The logarithm of a ratio near the largest has three digits before the point.
        room = Decimal(2e-13 if schedule.name == "exponential" else 4e-15)
        for step, value in zip(steps, values.tolist(), strict=True):
            expected, size = oracle(schedule, step)
            assert abs(Decimal(value) - expected) <= room * size, f"{schedule} at {step}: {value}, not {expected:.17g}"


# Traced, and with XLA compiled, each takes its time.
@pytest.mark.parametrize(("wrap", "every"), [(None, 1), ({}, 37), ({"jit_compile": True}, 67)])
def test_ends_are_hit_to_the_bit_and_held(wrap, every):
    for schedule in RAMPS[::every]:
        values, (begin, end) = dict(schedule.arguments), schedule.span()
        steps = [-(2**62), -1, 0, max(begin - 1, 0), begin, end, end + 1, 2 * end, 2**53 + 3, 2**63 - 1]
        value = schedule if wrap is None else tf.function(schedule, **wrap)
        found = value(tf.constant(steps, tf.int64)).numpy()
        expected = [values["initial"] if step <= begin else values["final"] for step in steps]
        assert found.tobytes() == np.float64(expected).tobytes(), f"{schedule}: {found}"


def test_every_ramp_is_monotone_and_stays_between_its_ends():
    for schedule in RAMPS:
        begin, end = schedule.span()
        near = [begin + i for i in range(50)] + [end - i for i in range(50)]
        steps = sorted({*steps_of(schedule), *(step for step in near if begin <= step <= end)})
        values = schedule(tf.constant(steps, tf.int64)).numpy()
        low, high = schedule.extremes()
        assert low <= values.min() <= values.max() <= high, str(schedule)
        rising = values[-1] >= values[0]
        falls = (values[:-1] - values[1:]) if rising else (values[1:] - values[:-1])
        # A step may differ by less than the rounding of what it is made of.
        room = 2e-13 * np.abs(values[1:]) if schedule.name == "exponential" else 4e-16 * max(-low, high)
        assert np.all(falls <= room), str(schedule)


def test_no_step_is_lost_after_those_that_float32_or_int32_have():
    for start in (2**24, 2**31 - 3, 2**32, 2**40, 2**52):
        schedule = schedules.linear(0.0, 1024.0, begin=start, end=start + 1024)
        steps = [start + i for i in range(1, 20)]
        for given in (steps, np.int64(steps), tf.constant(steps, tf.int64)):
            np.testing.assert_array_equal(schedule(tf.constant(given, tf.int64)), np.arange(1.0, 20.0))
        assert [float(schedule(step)) for step in steps] == list(range(1, 20))
        assert [float(schedule(float(step))) for step in steps] == list(range(1, 20))
        assert [float(schedule(np.int64(step))) for step in steps] == list(range(1, 20))
    assert float(schedules.linear(0.0, 1.0, begin=2**31, end=2**31 + 2)(tf.constant(2**31 + 1, tf.int64))) == 0.5


def test_piecewise_with_many_boundaries_is_a_look_up():
    rng = np.random.default_rng(0)
    boundaries = np.cumsum(rng.integers(1, 2**20, 3000)) + 2**33
    values = rng.standard_normal(3001) * 10.0 ** rng.integers(-300, 300, 3001)
    schedule = schedules.piecewise(boundaries.tolist(), values.tolist())
    steps = np.concatenate([[0], boundaries, boundaries - 1, boundaries + 1, [2**53]])
    expected = values[np.searchsorted(boundaries, steps, side="right")]
    np.testing.assert_array_equal(schedule(tf.constant(steps, tf.int64)), expected)
    assert schedule.extremes() == (values.min(), values.max())


def test_warm_up_and_look_up_hold_the_ends_of_what_they_follow():
    inner = schedules.exponential(1e30, 1e-30, begin=2**31, end=2**32)
    warm = schedules.with_warmup(inner, 2**33)
    ends = warm(tf.constant([0, 2**32, 2**33, 2**34], tf.int64)).numpy().tolist()
    assert ends == [0.0, 0.5e-30, 1e-30, 1e-30]
    line = schedules.through(schedules.linear(0.0, 1.0, end=2**40), (0.0, 0.25, 1.0), (-3.0, 7.0, 0.1))
    found = line(tf.constant([0, 2**38, 2**40, 2**41], tf.int64)).numpy().tolist()
    assert found == [-3.0, 7.0, 0.1, 0.1]


def test_bends_are_where_a_formula_changes():
    assert schedules.constant(1.0).bends() == (0,)
    assert schedules.cosine(1.0, 0.0, begin=5, end=9).bends() == (5, 9)
    assert schedules.piecewise([1, 7], [1.0, 2.0, 3.0]).bends() == (0, 1, 6, 7)
    assert schedules.with_warmup(schedules.linear(1.0, 0.0, begin=5, end=9), 7).bends() == (0, 5, 9)


@pytest.mark.parametrize("bad", [2**53 + 1, 10**400], ids=["one more", "enormous"])
def test_a_step_that_float64_does_not_have_is_refused(bad):
    with pytest.raises(ValueError, match=r"beyond the last step that float64 tells apart, 2\^53"):
        schedules.linear(0.0, 1.0, end=bad)


def test_bounds_that_cross_for_a_single_step_are_seen():
    spike = schedules.piecewise([10, 500_123, 500_124, 10**7], [0.1, 0.2, 3.0, 0.2, 0.1])
    slow = schedules.linear(2.0, 1.0, end=10**7)
    with pytest.raises(ValueError, match=r"min_value=3 is above max_value=1\.94999 at step 500123"):
        REGISTRY["minmaxnorm"](min_value=spike, max_value=slow)
