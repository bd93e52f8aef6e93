"""A TOML file of rules: read whole, or refused in one message that names file, rule and key."""

from __future__ import annotations

import json

import pytest

from constraints import Block, Box, Mask, MaxNorm, NonNeg, schedules
from trainer.settings import rules
from trainer.settings.rule import Rule

GOOD = """
# Hidden layers shrink, the output stays in a box.
[[rule]]
constraint = "maxnorm"
variables = ["hidden_*/kernel", "conv_1/kernel"]
max_value = {schedule = "cosine", initial = 4.0, final = 0.5, begin = "10%", end = "80%"}
project_every = 5
relaxation = 0.5

[[rule]]
constraint = "box"
variables = "output/kernel"
max_value = 1
min_value = {schedule = "piecewise", boundaries = ["10%", 500, "3ep"], values = [-4, -3, -2, -1]}
"""


def load(tmp_path, text: str) -> tuple[Rule, ...]:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    return rules.load(str(file))


def test_two_rules_with_schedules(tmp_path):
    cosine = schedules.cosine(4.0, 0.5, begin="10%", end="80%")
    steps = schedules.piecewise(("10%", 500, "3ep"), (-4, -3, -2, -1))
    assert load(tmp_path, GOOD) == (
        Rule(MaxNorm(cosine), ["hidden_*/kernel", "conv_1/kernel"], project_every=5, relaxation=0.5),
        Rule(Box(max_value=1, min_value=steps), "output/kernel"),
    )


EVERYTHING = """
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
sparsity_distribution = "erk"
[[rule]]
constraint = "mask"
group = "network"
mask_from = "runs/pruned"
[[rule]]
constraint = "maxnorm"
with_bias = true
"""


def test_everything_a_rule_can_say(tmp_path):
    assert load(tmp_path, EVERYTHING) == (
        Rule(
            [Box(max_value=1.0, min_value=-1), MaxNorm(2.0)],
            layer_type="Dense",
            group=[0],
            begin="10%",
            end=500,
            optimizer_state="tangent",
        ),
        Rule(Block(block=(16, 1)), sparsity_distribution="erk"),
        Rule(Mask(), group="network", mask_from="runs/pruned"),
        Rule(MaxNorm(), with_bias=True),
    )


def test_what_is_left_out_has_its_default(tmp_path):
    assert load(tmp_path, '[[rule]]\nconstraint = "nonneg"') == (Rule(NonNeg()),)


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
    "relaxation_of_another_type": ('constraint = "maxnorm"\nrelaxation = "all"', ["relaxation", "all", "a number"]),
    "relaxation_out_of_range": ('constraint = "maxnorm"\nrelaxation = 1.5', ["relaxation=1.5", "at most 1"]),
    "relaxation_nan": ('constraint = "maxnorm"\nrelaxation = nan', ["relaxation=nan"]),
    "half_a_step": ('constraint = "maxnorm"\nproject_every = 2.5', ["project_every", "2.5", "whole number"]),
    "a_truth_for_a_step": ('constraint = "maxnorm"\nproject_every = true', ["project_every", "True"]),
    "no_step": ('constraint = "maxnorm"\nproject_every = 0', ["project_every=0", "at least 1"]),
    "variables_of_another_type": ('constraint = "maxnorm"\nvariables = 5', ["variables", "5"]),
    "variables_with_a_number": ('constraint = "maxnorm"\nvariables = ["a", 5]', ["variables", "5"]),
    "an_empty_pattern": ('constraint = "maxnorm"\nvariables = ""', ["variables", "pattern"]),
    "a_table_without_schedule": ('constraint = "maxnorm"\nmax_value = {initial = 4.0}', ["`schedule`", "cosine"]),
    "unknown_schedule_of_another": (
        'constraint = "maxnorm"\nmax_value = {schedule = "warmup", steps = 5, of = {schedule = "cosin"}}',
        ["cosin", "cosine"],
    ),
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
        ["initial", "four"],
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
        ["end", "True"],
    ),
    "boundaries_nowhere": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = ["soon"], values = [2, 1]}',
        ["boundaries", "soon"],
    ),
    "boundaries_alone": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = "10%", values = [2, 1]}',
        ["boundaries", "10%", "list"],
    ),
    "constraints_of_which_one_is_unknown": ('constraint = ["nonneg", "maxnrm"]', ["maxnrm", "did you mean maxnorm"]),
    "no_constraints": ("constraint = []", ["`constraint`", "empty"]),
    "a_constraint_twice": ('constraint = ["nonneg", "nonneg"]', ["nonneg", "twice"]),
    "a_key_of_one_set_that_it_lacks": ('constraint = ["nonneg", "box"]\nbox.total = 1', ["`box.total`", "max_value"]),
    "a_number_for_one_sets_table": ('constraint = ["nonneg", "box"]\nbox = 1', ["`box` = 1", "table", "min_value"]),
    "unknown_group": ('constraint = "maxnorm"\ngroup = "units"', ["group=units", "unit", "network"]),
    "group_of_another_type": ('constraint = "maxnorm"\ngroup = 1.5', ["group", "1.5", "[0, 1]"]),
    "bias_of_another_type": ('constraint = "maxnorm"\nwith_bias = "yes"', ["with_bias", "yes", "true or false"]),
    "unknown_distribution": (
        'constraint = "topk"\nsparsity_distribution = "even"',
        ["sparsity_distribution=even", "erk"],
    ),
    "unknown_state": ('constraint = "topk"\noptimizer_state = "drop"', ["optimizer_state=drop", "tangent"]),
    "a_beginning_nowhere": ('constraint = "maxnorm"\nbegin = "soon"', ["begin", "soon", "10%"]),
    "an_end_that_is_a_truth": ('constraint = "maxnorm"\nend = true', ["end", "True"]),
    "layers_of_another_type": ('constraint = "maxnorm"\nlayer_type = 5', ["layer_type", "5"]),
    "half_a_block": ('constraint = "block"\nblock = [4, 2.5]', ["block", "2.5", "whole numbers"]),
    "a_pattern_of_another_set": ('constraint = "topk"\nmask_from = "x"', ["mask_from=x", "mask"]),
    "values_with_a_word": (
        'constraint = "maxnorm"\nmax_value = {schedule = "piecewise", boundaries = ["10%"], values = [2, "one"]}',
        ["values", "one"],
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


OLD_NAMES = {"rate": ("relaxation", "0.5"), "spread": ("sparsity_distribution", '"erk"')}


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_of_a_key_still_works(tmp_path, old):
    new, value = OLD_NAMES[old]
    rules_ = [load(tmp_path, f'[[rule]]\nconstraint = "topk"\n{name} = {value}') for name in (old, new)]
    assert rules_[0] == rules_[1]
    with pytest.raises(ValueError, match=f"`{old}` is the old name of `{new}`"):
        load(tmp_path, f'[[rule]]\nconstraint = "topk"\n{old} = {value}\n{new} = {value}')


@pytest.mark.parametrize("text", [GOOD, EVERYTHING])
def test_a_rule_survives_its_table(tmp_path, text):
    made = load(tmp_path, text)
    tables = json.loads(json.dumps([rule.to_table() for rule in made]))
    assert rules.rules_from_tables(tables) == made
