"""A TOML file of rules: read whole, or refused in one message that names file, rule and key."""

from __future__ import annotations

import pytest

from trainer.settings import rules
from trainer.settings.config import RuleSettings, ScheduleSettings

GOOD = """
# Hidden layers shrink, the output stays in a box.
[[rule]]
constraint = "maxnorm"
variables = ["hidden_*/kernel", "conv_1/kernel"]
max_value = {schedule = "cosine", initial = 4.0, final = 0.5, begin = "10%", end = "80%"}
project_every = 5
rate = 0.5

[[rule]]
constraint = "box"
variables = "output/kernel"
max_value = 1
min_value = {schedule = "piecewise", boundaries = ["10%", 500, "3ep"], values = [-4, -3, -2, -1]}
"""


def load(tmp_path, text: str) -> tuple[RuleSettings, ...]:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    return rules.load(str(file))


def test_two_rules_with_schedules(tmp_path):
    cosine = ScheduleSettings("cosine", {"initial": 4.0, "final": 0.5, "begin": "10%", "end": "80%"})
    steps = ScheduleSettings("piecewise", {"boundaries": ("10%", 500, "3ep"), "values": (-4, -3, -2, -1)})
    assert load(tmp_path, GOOD) == (
        RuleSettings("maxnorm", {"max_value": cosine}, ("hidden_*/kernel", "conv_1/kernel"), 5, 0.5),
        RuleSettings("box", {"max_value": 1, "min_value": steps}, ("output/kernel",)),
    )


def test_everything_a_rule_can_say(tmp_path):
    text = """
[[rule]]
constraint = ["box", "maxnorm"]
layer_type = "Dense"
group = [0]
begin = "10%"
end = 500
optimizer_state = "tangent"
box = {max_value = 1.0}
maxnorm.max_value = 2.0
min_value = -1
[[rule]]
constraint = "block"
block = [16, 1]
spread = "erk"
[[rule]]
constraint = "mask"
group = "network"
pattern_from = "runs/pruned"
[[rule]]
constraint = "maxnorm"
with_bias = true
"""
    assert load(tmp_path, text) == (
        RuleSettings(
            "box,maxnorm",
            {"box.max_value": 1.0, "maxnorm.max_value": 2.0, "min_value": -1},
            layer_type=("Dense",),
            group=(0,),
            begin="10%",
            end=500,
            optimizer_state="tangent",
        ),
        RuleSettings("block", {"block": (16, 1)}, spread="erk"),
        RuleSettings("mask", group="network", pattern_from="runs/pruned"),
        RuleSettings("maxnorm", with_bias=True),
    )


def test_what_is_left_out_has_its_default(tmp_path):
    assert load(tmp_path, '[[rule]]\nconstraint = "nonneg"') == (RuleSettings("nonneg", {}, (), 1, 1.0),)


def rule(lines: str) -> str:
    """A good rule, then a bad one."""
    return f'[[rule]]\nconstraint = "nonneg"\nvariables = "output/kernel"\n[[rule]]\n{lines}\n'


# Content of the second rule, and what the message must hold beside the file and "rule 2".
BAD_RULES = {
    "no_constraint": ('variables = "hidden*"', ["`constraint`", "maxnorm"]),
    "unknown_constraint": ('constraint = "maxnrm"', ["`constraint`", "maxnrm", "did you mean maxnorm"]),
    "constraint_of_another_type": ("constraint = 5", ["`constraint`", "5"]),
    "unknown_key": ('constraint = "maxnorm"\nmax_vale = 2', ["`max_vale`", "max_value"]),
    "key_of_another_constraint": ('constraint = "maxnorm"\nsparsity = 0.5', ["`sparsity`", "maxnorm", "max_value"]),
    "key_of_a_flag": ('constraint = "maxnorm"\nschedule = "cosine"', ["`schedule`", "max_value"]),
    "a_word_for_a_number": ('constraint = "maxnorm"\nmax_value = "two"', ["`max_value`", "two", "not a number"]),
    "a_truth_for_a_number": ('constraint = "maxnorm"\nmax_value = true', ["`max_value`", "True", "not a number"]),
    "a_list_for_a_number": ('constraint = "maxnorm"\nmax_value = [1]', ["`max_value`", "not a number"]),
    "rate_of_another_type": ('constraint = "maxnorm"\nrate = "all"', ["`rate`", "all"]),
    "rate_out_of_range": ('constraint = "maxnorm"\nrate = 1.5', ["rate=1.5", "at most 1"]),
    "rate_nan": ('constraint = "maxnorm"\nrate = nan', ["rate=nan"]),
    "half_a_step": ('constraint = "maxnorm"\nproject_every = 2.5', ["project_every", "2.5", "whole number"]),
    "a_truth_for_a_step": ('constraint = "maxnorm"\nproject_every = true', ["project_every", "True"]),
    "no_step": ('constraint = "maxnorm"\nproject_every = 0', ["project_every=0", "at least 1"]),
    "variables_of_another_type": ('constraint = "maxnorm"\nvariables = 5', ["variables", "5"]),
    "variables_with_a_number": ('constraint = "maxnorm"\nvariables = ["a", 5]', ["variables", "5"]),
    "an_empty_pattern": ('constraint = "maxnorm"\nvariables = ""', ["variables", "pattern"]),
    "a_table_without_schedule": ('constraint = "maxnorm"\nmax_value = {initial = 4.0}', ["`schedule`", "cosine"]),
    "unknown_schedule": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosin", initial = 4.0, final = 1.0}',
        ["`schedule`", "cosin", "did you mean cosine"],
    ),
    "schedule_of_another_type": ('constraint = "maxnorm"\nmax_value = {schedule = 5}', ["`schedule`", "5"]),
    "schedule_without_an_end": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = 4.0}',
        ["cosine", "`final`"],
    ),
    "schedule_with_a_foreign_option": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = 4.0, final = 1.0, power = 2}',
        ["cosine", "`power`", "begin"],
    ),
    "schedule_with_a_word": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = "four", final = 1.0}',
        ["`initial`", "four"],
    ),
    "schedule_that_begins_nowhere": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = 4.0, final = 1.0, begin = "soon"}',
        ["begin", "soon", "10%"],
    ),
    "schedule_that_ends_past_the_end": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = 4.0, final = 1.0, end = "120%"}',
        ["end", "120%", "100%"],
    ),
    "schedule_that_ends_at_a_truth": (
        'constraint = "maxnorm"\nmax_value = {schedule = "cosine", initial = 4.0, final = 1.0, end = true}',
        ["`end`", "True"],
    ),
    "boundaries_nowhere": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = ["soon"], values = [2, 1]}',
        ["boundaries", "soon"],
    ),
    "boundaries_alone": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = "10%", values = [2, 1]}',
        ["`boundaries`", "10%", "list"],
    ),
    "constraints_of_which_one_is_unknown": ('constraint = ["nonneg", "maxnrm"]', ["maxnrm", "did you mean maxnorm"]),
    "no_constraints": ("constraint = []", ["`constraint`", "empty"]),
    "a_constraint_twice": ('constraint = ["nonneg", "nonneg"]', ["nonneg", "twice"]),
    "a_key_of_one_set_that_it_lacks": ('constraint = ["nonneg", "box"]\nbox.total = 1', ["`box.total`", "max_value"]),
    "a_number_for_one_sets_table": ('constraint = ["nonneg", "box"]\nbox = 1', ["box = 1", "table", "min_value"]),
    "unknown_group": ('constraint = "maxnorm"\ngroup = "units"', ["group=units", "unit", "network"]),
    "group_of_another_type": ('constraint = "maxnorm"\ngroup = 1.5', ["group", "1.5", "[0, 1]"]),
    "bias_of_another_type": ('constraint = "maxnorm"\nwith_bias = "yes"', ["with_bias", "yes", "true or false"]),
    "unknown_spread": ('constraint = "topk"\nspread = "even"', ["spread=even", "erk"]),
    "unknown_state": ('constraint = "topk"\noptimizer_state = "drop"', ["optimizer_state=drop", "tangent"]),
    "a_beginning_nowhere": ('constraint = "maxnorm"\nbegin = "soon"', ["begin", "soon", "10%"]),
    "an_end_that_is_a_truth": ('constraint = "maxnorm"\nend = true', ["`end`", "True"]),
    "layers_of_another_type": ('constraint = "maxnorm"\nlayer_type = 5', ["layer_type", "5"]),
    "half_a_block": ('constraint = "block"\nblock = [4, 2.5]', ["`block`", "2.5", "whole numbers"]),
    "a_pattern_of_another_set": ('constraint = "topk"\npattern_from = "x"', ["pattern_from=x", "mask"]),
    "values_with_a_word": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = ["10%"], values = [2, "one"]}',
        ["`values`", "one"],
    ),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_a_bad_rule(tmp_path, name):
    lines, words = BAD_RULES[name]
    with pytest.raises(ValueError, match=r"rules\.toml, rule 2: ") as caught:
        load(tmp_path, rule(lines))
    message = str(caught.value)
    assert str(tmp_path / "rules.toml") in message
    for word in words:
        assert word in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["nothing", "[[rule]]"]),
        ("# only a comment", ["nothing", "[[rule]]"]),
        ("rule = 5", ["rule", "[[rule]]"]),
        ("rule = []", ["[[rule]]"]),
        ('[rule]\nconstraint = "maxnorm"', ["[[rule]]"]),
        ('[[rules]]\nconstraint = "maxnorm"', ["rules", "[[rule]]"]),
        ('seed = 5\n[[rule]]\nconstraint = "maxnorm"', ["seed", "[[rule]]"]),
        ("rule = [1, 2]", ["rule 1", "table"]),
        ("[[rule", ["not valid TOML"]),
        ("max_value: 2", ["not valid TOML"]),
        ("[[rule]]\nconstraint = maxnorm", ["not valid TOML"]),
    ],
)
def test_a_file_that_holds_something_else(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"rules\.toml") as caught:
        load(tmp_path, text)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"--rules=.*nowhere\.toml cannot be read: No such file"):
        rules.load(str(tmp_path / "nowhere.toml"))
    with pytest.raises(ValueError, match=r"--rules=.* is no file of at most 1,000,000 bytes; give the path"):
        rules.load(str(tmp_path))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"bytes\.toml is not UTF-8 text"):
        rules.load(str(tmp_path / "bytes.toml"))


def test_what_a_schedule_drives():
    assert rules.scheduled_field(["maxnorm"]) == "max_value"
    assert rules.scheduled_field(["topk"]) == "sparsity"
    for name in ("none", "nonneg", "unitnorm"):
        with pytest.raises(ValueError, match=f"--constraint={name} has no value that a schedule could change"):
            rules.scheduled_field([name])
