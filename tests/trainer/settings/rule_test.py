"""A rule made in Python: what it takes, refuses, resolves and writes down."""

from __future__ import annotations

import dataclasses
import json

import keras
import pytest

from constraints import NM, Box, Intersection, Mask, MaxNorm, NonNeg, SoftThreshold, TopK, schedules
from trainer.settings import rules
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline

TIMELINE = Timeline(total_steps=200, steps_per_epoch=20)


def test_one_text_is_a_list_of_one():
    rule = Rule(MaxNorm(2.0), "hidden_*", layer_type="Dense", group=0)
    assert (rule.variables, rule.layer_type, rule.group) == (("hidden_*",), ("Dense",), (0,))
    assert rule == Rule(MaxNorm(2.0), ["hidden_*"], layer_type=["Dense"], group=[0], source="elsewhere")


def test_a_list_of_sets_is_their_intersection():
    rule = Rule([NonNeg(), MaxNorm(1.0)])
    assert rule.constraint == Intersection((NonNeg(), MaxNorm(1.0)))
    assert rule.name == "nonneg,maxnorm"
    assert Rule([MaxNorm(1.0)]) == Rule(MaxNorm(1.0))


BAD = {
    "a_name": (TypeError, lambda: Rule("maxnorm"), r"constraint='maxnorm' is no constraint; give .* MaxNorm\(\)"),
    "a_class": (TypeError, lambda: Rule(TopK), r"give an object such as TopK\(\)"),
    "a_number": (TypeError, lambda: Rule(2.0), "constraint=2.0 is no constraint"),
    "one_of_keras": (TypeError, lambda: Rule(keras.constraints.MaxNorm(2.0)), "is no constraint"),
    "no_set": (ValueError, lambda: Rule([]), "empty list; give at least one set"),
    "a_set_twice": (ValueError, lambda: Rule([NonNeg(), NonNeg()]), "names nonneg twice"),
    "a_penalty": (ValueError, lambda: Rule([NonNeg(), SoftThreshold(0.1)]), "softthreshold is a penalty"),
    "an_axis": (ValueError, lambda: Rule(MaxNorm(2.0, axis=0)), "axis=0 of maxnorm would be the same for all layers"),
    "a_pattern": (ValueError, lambda: Rule(Mask([[True, False]])), "leave pattern out"),
    "variables": (TypeError, lambda: Rule(NonNeg(), 5), "variables=5 is not a pattern over paths, or a list"),
    "an_empty_pattern": (TypeError, lambda: Rule(NonNeg(), [""]), "variables=.* is not a pattern over paths"),
    "layer_type": (TypeError, lambda: Rule(NonNeg(), layer_type=[keras.layers.Dense]), "is not a class of layers"),
    "group": (ValueError, lambda: Rule(NonNeg(), group="units"), "group=units is not known; did you mean unit"),
    "a_bias": (ValueError, lambda: Rule(NonNeg(), with_bias=True, group="tensor"), "with group=tensor there is no"),
    "a_distribution": (
        ValueError,
        lambda: Rule(TopK(0.5), sparsity_distribution="erk", group="network"),
        "sparsity_distribution=erk .* group=network does by magnitude",
    ),
    "a_place": (ValueError, lambda: Rule(NonNeg(), begin="soon"), "begin=soon is not a point in a run"),
    "half_a_step": (TypeError, lambda: Rule(NonNeg(), project_every=2.5), "project_every=2.5 is not a whole number"),
    "no_step": (ValueError, lambda: Rule(NonNeg(), project_every=0), "project_every=0 .* at least 1"),
    "a_truth": (TypeError, lambda: Rule(NonNeg(), relaxation=True), "relaxation=True is not a number"),
    "a_relaxation": (ValueError, lambda: Rule(NonNeg(), relaxation=1.5), "relaxation=1.5 .* at most 1"),
    "a_state": (ValueError, lambda: Rule(NonNeg(), optimizer_state="drop"), "optimizer_state=drop is not known"),
    "another_run": (ValueError, lambda: Rule(NonNeg(), mask_from="runs/x"), "mask_from=runs/x means nothing to nonneg"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_argument_is_one_sentence(name):
    kind, make, words = BAD[name]
    with pytest.raises(kind, match=words) as caught:
        make()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_rule_is_resolved_over_a_run():
    rule = Rule(TopK(schedules.polynomial(0.0, 0.9, end="80%")), begin="1ep", end="50%").resolve(TIMELINE)
    assert rule == Rule(TopK(schedules.polynomial(0.0, 0.9, begin=0, end=160)), begin=20, end=100)
    assert rule.resolve(TIMELINE) == rule
    whole = Rule([NonNeg(), MaxNorm(schedules.linear(2.0, 1.0))], end="100%").resolve(TIMELINE)
    assert (whole.begin, whole.end) == (0, None)
    assert whole.constraint.bounds()["max_value"] == schedules.linear(2.0, 1.0, begin=0, end=200)


def test_bounds_that_cross_once_their_places_are_known():
    rule = Rule(Box(min_value=schedules.linear(-1.0, 0.5, end="10%"), max_value=schedules.linear(1.0, 0.0)))
    with pytest.raises(ValueError, match=r"min_value=.* is above max_value=.* at step"):
        rule.resolve(Timeline(20, 10)).constraint.bounds() and rule.resolve(TIMELINE)


RULES = {
    "one": Rule(NM(n=1, m=4), project_every=3),
    "a_schedule": Rule(MaxNorm(schedules.with_warmup(schedules.cosine(2.0, 1.0, end="80%"), "1ep"))),
    "values_that_differ": Rule([Box(max_value=1.0), MaxNorm(2.0)], "kernel", group="unit", end="50%"),
    "values_that_are_shared": Rule([Box(max_value=2.0), MaxNorm(2.0)], with_bias=True),
}


@pytest.mark.parametrize("name", RULES)
def test_its_table_is_plain_and_tells_all(name):
    table = RULES[name].to_table()
    assert json.loads(json.dumps(table)) == table
    assert table != dataclasses.replace(RULES[name], relaxation=0.5).to_table()
    assert rules.rules_from_tables([table]) == (RULES[name],)


def test_values_of_several_sets_stand_once_or_with_their_set():
    assert RULES["values_that_are_shared"].to_table()["max_value"] == 2.0
    table = RULES["values_that_differ"].to_table()
    assert (table["box"], table["maxnorm"], table["min_value"]) == ({"max_value": 1.0}, {"max_value": 2.0}, -1.0)
