"""The tables of a run's variables and rules, its card, and its facts."""

from __future__ import annotations

import json

import keras
import tensorflow as tf

from tests.support.rules import rule_of
from trainer.reporting import run_card
from trainer.rules import matching
from trainer.settings.timeline import Timeline


def network() -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3, name="b")(keras.layers.Dense(4, name="a")(inputs)))


def cells(table: str) -> dict[str, list[str]]:
    """Each row of a table, by its first cell."""
    return {line.split()[0]: line.split() for line in table.splitlines()[2:]}


def test_every_variable_has_a_row_with_its_rule_bound_and_zeros():
    model = network()
    targets = matching.match([rule_of("topk", {"sparsity": 0.5}, ("a/kernel",))], model, Timeline(20, 5))
    model.trainable_variables[0].assign(targets[0].constraint(model.trainable_variables[0].value))
    rows = cells(run_card.variable_table(model, targets, 0))
    assert set(rows) == {variable.path for variable in model.trainable_variables}
    assert (rows["a/kernel"][1:5], rows["a/kernel"][-1]) == (["6x4", "topk", "1", "0.5"], "50.0%")
    assert rows["b/kernel"][1:4] == ["4x3", "3", "-"]


def test_a_rule_that_has_ended_has_no_row():
    model = network()
    first = rule_of("maxnorm", {"max_value": 4.0}, end="10")
    second = rule_of("maxnorm", {"max_value": 0.5}, begin="10")
    targets = matching.match([first, second], model, Timeline(20, 5))
    bounds = [cells(run_card.variable_table(model, targets, step))["a/kernel"][4] for step in (0, 9, 10)]
    assert bounds == ["4", "4", "0.5"]


def test_weights_that_are_joined_have_a_row_together():
    model = network()
    targets = matching.match([rule_of("topk", {"sparsity": 0.5}, group="network")], model, Timeline(20, 5))
    last = run_card.variable_table(model, targets, 0).splitlines()[-1]
    assert last.startswith("network: a/kernel + b/kernel")
    assert last.split()[4] == "36"


def test_a_rule_shows_its_steps_and_its_bounds_over_the_run():
    rule = rule_of("maxnorm", {"max_value": 2.0}, begin="5", project_every=3)
    targets = matching.match([rule], network(), Timeline(20, 5))
    for row in run_card.rules_table(targets, 20).splitlines()[2:]:
        assert row.split()[-7:] == ["5", "to", "20", "3", "2", "2", "2"]


def test_the_card_shows_the_table_before_the_settings():
    lines = run_card.card("mlp on digits", {"seed": 3, "batch_size": 8}, "TABLE").splitlines()
    assert lines[0] == "# mlp on digits"
    assert lines.index("TABLE") < lines.index("| batch_size | 8 |") < lines.index("| seed | 3 |")


def test_facts_are_plain_json():
    facts = run_card.facts(network(), 2)
    assert (facts["parameters"], facts["replicas"]) == (6 * 4 + 4 + 4 * 3 + 3, 2)
    assert facts["versions"]["tensorflow"] == tf.__version__
    assert json.loads(json.dumps(facts)) == facts
