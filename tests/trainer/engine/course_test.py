"""Up to which step two runs of different lengths do the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from constraints import schedules
from tests.support.rules import rule_of
from trainer.engine import course
from trainer.rules import matching
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline

RATE = schedules.constant(0.1)


def courses(total_steps: int, *rules: Rule, rate=RATE, **intervals: int) -> dict[str, course.Course]:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(4, name="a")(inputs))
    return course.courses(matching.match(rules, model, Timeline(total_steps, 10)), rate, intervals, total_steps)


def same_until(*rules: Rule, rates=(RATE, RATE), **intervals: int) -> tuple[int, str]:
    """Runs of 100 and of 200 steps, compared up to the end of the shorter."""
    before, now = (courses(n, *rules, rate=rate, **intervals) for n, rate in zip((100, 200), rates, strict=True))
    return course.same_until(before, now, 100)


def ramp(begin, end) -> Rule:
    options = {"initial": 0.0, "final": 0.5, "begin": begin, "end": end}
    return rule_of("topk", {"sparsity": {"schedule": "linear", **options}})


@pytest.mark.parametrize(
    "rule",
    [
        rule_of("maxnorm", {"max_value": 2.0}),
        rule_of("maxnorm", {"max_value": 2.0}, project_every=4),
        rule_of("none"),
        rule_of("maxnorm", {"max_value": 2.0}, begin="20", end="5ep"),
        rule_of("softthreshold", {"penalty": 0.1}, project_every=10, relaxation=0.5),
        ramp("20", "80"),
        ramp("2ep", "8ep"),
    ],
)
def test_rules_that_know_nothing_of_the_length(rule):
    assert same_until(rule, eval_every=25) == (100, "")


@pytest.mark.parametrize(
    ("rule", "step", "words"),
    [
        (ramp("0", "80%"), 0, "sparsity of rule 1 (topk) on a/kernel"),
        (ramp("40%", "80%"), 40, "sparsity of rule 1 (topk) on a/kernel"),
        (rule_of("maxnorm", end="50%"), 49, "the projection of rule 1 (maxnorm) on a/kernel"),
        (rule_of("maxnorm", begin="50%"), 49, "the projection of rule 1 (maxnorm) on a/kernel"),
        # At the end of the shorter run alone.
        (rule_of("maxnorm", project_every=3), 99, "the projection of rule 1 (maxnorm) on a/kernel"),
        (rule_of("maxnorm", relaxation=0.5), 99, "the projection of rule 1 (maxnorm) on a/kernel"),
        (rule_of("maxnorm", begin="10", end="100"), 99, "the projection of rule 1 (maxnorm) on a/kernel"),
    ],
)
def test_shares_of_the_run_and_its_last_step(rule, step, words):
    assert same_until(rule) == (step, words)


def test_a_learning_rate_counts_the_steps_before():
    rates = schedules.cosine(1.0, 0.0, begin=30, end=100), schedules.cosine(1.0, 0.0, begin=30, end=200)
    # The 32nd step is the first that is made with the rate after 31 steps.
    assert same_until(rates=rates) == (31, "the learning rate")


def test_what_is_done_at_the_end_too():
    assert same_until(often=30) == (99, "often")
    assert same_until(often=30, seldom=20) == (99, "often")


def test_the_first_difference_of_all_is_told_however_long_the_run():
    one = {"a": lambda steps: steps, "b": lambda steps: steps}
    other = {"a": lambda steps: np.where(steps == 300_000, 0, steps), "b": lambda steps: np.where(steps == 7, 0, steps)}
    assert course.same_until(one, other, 10**6) == (6, "b")
    assert course.same_until(one, {**other, "b": one["b"]}, 10**6) == (299_999, "a")
    assert course.same_until(one, {"a": one["a"], "b": lambda steps: steps + 1}, 10**6) == (-1, "b")
