"""Flags: all of them there, read into settings, written into a file that reads back the same."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from absl import flags

import constraints
import models
from constraints import Block, Box, MaxNorm, NonNeg, TopK, Unconstrained, schedules
from trainer.settings import flags as cli
from trainer.settings.config import Config
from trainer.settings.rule import Rule

# Flags that keep their names, as the design lists them.
DESIGN = {
    "model",
    "hidden_units",
    "dropout",
    "dataset",
    "data_dir",
    "input_shape",
    "num_classes",
    "num_examples",
    "constraint",
    "max_value",
    "variables",
    "schedule",
    "initial_value",
    "schedule_begin",
    "schedule_end",
    "rule_begin",
    "rule_end",
    "project_every",
    "relaxation",
    "rules",
    "optimizer",
    "learning_rate",
    "l1",
    "l2",
    "batch_size",
    "train_steps",
    "epochs",
    "steps_per_loop",
    "seed",
    "num_replicas",
    "run_dir",
    "resume",
    "overwrite",
    "summary_every",
    "eval_every",
    "checkpoint_every",
    "dry_run",
}


def parsed(*arguments: str) -> flags.FlagValues:
    return cli.parse(arguments)


def config(*arguments: str) -> Config:
    return cli.config(parsed(*arguments))


def rule(*arguments: str) -> Rule:
    (only,) = config(*arguments).rules
    return only


def refused(*arguments: str) -> str:
    with pytest.raises(ValueError, match=r"--|mask_from=") as caught:
        config(*arguments)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_flags_of_the_design():
    assert DESIGN - set(parsed()) == set()


def test_flags_are_made_of_what_is_declared_elsewhere():
    values = parsed()
    expected = {field.name for field in dataclasses.fields(Config) if "help" in field.metadata}
    for constraint in constraints.REGISTRY.values():
        for field in constraint.hyperparameters():
            expected.add(field.name)
            assert field.metadata["help"] in values[field.name].help
        for field in constraint.options():
            expected.add(field.name)
            assert field.metadata["option"] in values[field.name].help
    for build in models.REGISTRY.values():
        parameters = inspect.signature(build).parameters.values()
        expected |= {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    expected |= {*cli.RULE_FLAGS, *cli.SCHEDULE_FLAGS, "rules"}
    assert {*values} - {cli.VERBOSITY, *cli.RENAMED} == expected


def test_nothing_given():
    assert config() == Config(
        rules=(Rule(Unconstrained()),),
        model_options={"hidden_units": (300, 100), "dropout": 0.0, "embedding_dim": None},
    )


def test_each_kind_of_value():
    made = config(
        "--model=convnet",
        "--filters=8,16",
        "--dropout=0.25",
        "--dataset=synthetic",
        "--input_shape=8,8,1",
        "--num_examples=100",
        "--learning_rate=0.5",
        "--clip_norm=1",
        "--train_steps=7",
        "--overwrite",
        "--nodry_run",
        "--summary_every=10%",
        "--early_stopping=3",
    )
    assert made.model_options == {"filters": (8, 16), "hidden_units": (), "dropout": 0.25}
    assert made.input_shape == (8, 8, 1)
    assert (made.num_examples, made.train_steps, made.early_stopping) == (100, 7, 3)
    assert (made.learning_rate, made.clip_norm) == (0.5, 1.0)
    assert (made.overwrite, made.dry_run, made.epochs) == (True, False, None)
    assert made.summary_every == "10%"


def test_a_model_has_its_own_defaults_and_its_own_options():
    assert config("--model=lstm").model_options == {"hidden_units": (64,), "dropout": 0.0, "embedding_dim": None}
    assert config("--model=logistic").model_options == {}
    assert config("--model=resnet").model_options == {"depth": 20, "filters": (16, 32, 64)}
    assert config("--model=transformer", "--depth=1").model_options["depth"] == 1
    assert config("--hidden_units=").model_options["hidden_units"] == ()


def test_a_rule_by_flags():
    flags_ = ["--constraint=maxnorm", "--max_value=3", "--variables=hidden_*,output/kernel", "--relaxation=0.5"]
    assert rule(*flags_) == Rule(MaxNorm(3.0), ["hidden_*", "output/kernel"], relaxation=0.5)
    assert rule("--constraint=maxnorm", "--project_every=4") == Rule(MaxNorm(2.0), project_every=4)
    assert rule("--constraint=box", "--max_value=0.5") == Rule(Box(max_value=0.5))
    assert rule("--constraint=block", "--block=8,1") == Rule(Block(block=(8, 1)))
    sets = rule("--constraint=nonneg,maxnorm", "--max_value=1", "--group=0,1", "--rule_begin=10%", "--rule_end=50")
    assert sets == Rule([NonNeg(), MaxNorm(1.0)], group=(0, 1), begin="10%", end=50)
    # A default is written down: it must not change what a recorded run computed.
    assert rule("--constraint=maxnorm").to_table()["max_value"] == 2.0


def test_a_schedule_by_flags():
    flags_ = ["--constraint=maxnorm", "--max_value=1", "--schedule=cosine", "--initial_value=8", "--schedule_end=80%"]
    assert rule(*flags_) == Rule(MaxNorm(schedules.cosine(8.0, 1.0, end="80%")))
    cubic = ["--schedule=polynomial", "--initial_value=0", "--power=2", "--schedule_begin=1ep"]
    assert rule("--constraint=topk", *cubic) == Rule(TopK(schedules.polynomial(0.0, 0.5, begin="1ep", power=2.0)))
    constant = rule("--constraint=maxnorm", "--schedule=constant", "--max_value=3")
    assert constant == Rule(MaxNorm(schedules.constant(3.0)))


def test_a_piecewise_schedule_needs_no_final_value():
    piecewise = ["--schedule=piecewise", "--boundaries=10%,500", "--values=4,2,0.5"]
    expected = Rule(MaxNorm(schedules.piecewise(("10%", 500), (4.0, 2.0, 0.5))))
    assert rule("--constraint=maxnorm", *piecewise) == expected
    message = refused("--constraint=maxnorm", "--max_value=1", *piecewise)
    assert message.startswith("--max_value means nothing to --schedule=piecewise, which takes --boundaries, --values")


def test_the_other_fields_of_a_scheduled_rule_stay_numbers():
    made = rule("--constraint=box", "--min_value=-2", "--max_value=1", "--schedule=linear", "--initial_value=4")
    assert made == Rule(Box(min_value=-2.0, max_value=schedules.linear(4.0, 1.0)))


def test_rules_from_a_file(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nconstraint = "nonneg"\n')
    assert config(f"--rules={file}").rules == (Rule(NonNeg()),)
    message = refused(f"--rules={file}", "--constraint=maxnorm", "--max_value=2")
    assert "--constraint, --max_value" in message
    assert "move the flags into the file" in message


MISTAKES = {
    "no_constraint": (["--constraint="], ["--constraint is empty", "choose from", "maxnorm"]),
    "constraint": (["--constraint=maxnrm"], ["--constraint=maxnrm", "did you mean maxnorm", "nonneg"]),
    "model": (["--model=mpl"], ["--model=mpl", "did you mean mlp", "transformer"]),
    "schedule": (["--constraint=maxnorm", "--schedule=cosin"], ["--schedule=cosin", "did you mean cosine"]),
    "rate_schedule": (["--learning_rate_schedule=piecewise"], ["--learning_rate_schedule=piecewise", "cosine"]),
    "a_flag_of_another_constraint": (
        ["--constraint=maxnorm", "--sparsity=0.5"],
        ["--sparsity=0.5", "--constraint=maxnorm", "--max_value", "topk"],
    ),
    "a_flag_of_no_constraint": (["--constraint=nonneg", "--max_value=2"], ["--max_value=2", "nonneg", "no value"]),
    "a_value_without_a_constraint": (["--max_value=2"], ["--max_value=2", "--constraint=none", "maxnorm"]),
    "a_flag_of_another_model": (
        ["--model=logistic", "--hidden_units=5,6"],
        ["--hidden_units=5,6", "--model=logistic", "no option", "mlp"],
    ),
    "a_flag_of_one_model": (["--model=mlp", "--depth=3"], ["--depth=3", "--hidden_units", "resnet"]),
    "a_flag_of_another_schedule": (
        ["--constraint=maxnorm", "--schedule=cosine", "--initial_value=4", "--power=2"],
        ["--power", "--schedule=cosine", "--initial_value", "--max_value", "--schedule_begin", "--schedule_end"],
    ),
    "no_initial_value": (["--constraint=maxnorm", "--schedule=linear"], ["--schedule=linear", "--initial_value"]),
    "no_schedule": (["--constraint=maxnorm", "--schedule_end=80%"], ["--schedule_end=80%", "--schedule=cosine"]),
    "nothing_to_schedule": (["--constraint=nonneg", "--schedule=linear"], ["--constraint=nonneg", "--schedule"]),
    "values_without_boundaries": (
        ["--constraint=maxnorm", "--schedule=piecewise", "--values=2,1"],
        ["--schedule=piecewise", "--boundaries"],
    ),
    "no_whole_numbers": (["--hidden_units=8,x"], ["--hidden_units=8,x", "300,100"]),
    "halves": (["--dataset=synthetic", "--input_shape=8.5,8"], ["--input_shape=8.5,8", "whole numbers"]),
    "a_limit_of_the_settings": (["--learning_rate=nan"], ["--learning_rate=nan"]),
    "a_limit_of_the_rule": (["--constraint=maxnorm", "--relaxation=2"], ["--relaxation=2", "at most 1"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_alternatives(name):
    arguments, words = MISTAKES[name]
    message = refused(*arguments)
    for word in words:
        assert word in message


UNREADABLE = {
    "no_flag": (["--max_vale=2"], ["--max_vale is not a flag", "did you mean --max_value?"]),
    "no_flag_at_all": (["--qqqqqq=2"], ["--qqqqqq is not a flag", "--help lists all flags"]),
    "no_truth_of_a_name": (["--nomodel"], ["--nomodel is not a flag", "did you mean --model?"]),
    "a_word": (["maxnorm"], ["maxnorm is not a flag", "--name=value"]),
    "no_value": (["--seed"], ["--seed has no value", "`=`"]),
    "a_percentage": (["--sparsity=90%"], ["--sparsity=90% is not a number", "write 0.9, for a share"]),
    "a_comma": (["--max_value=2,5"], ["--max_value=2,5 is not a number", "write 2.5, with a point"]),
    "a_word_for_a_number": (["--max_value=two"], ["--max_value=two is not a number", "such as 0.5"]),
    "an_exponent": (["--train_steps=1e3"], ["--train_steps=1e3 is not a whole number", "write 1000"]),
    "halves": (["--seed=1.5"], ["--seed=1.5 is not a whole number", "such as 100"]),
    "endless": ([f"--seed={'9' * 5000}"], ["--seed=99", "is not a whole number"]),
    "no_truth": (["--dry_run=perhaps"], ["--dry_run=perhaps is not true or false", "write the flag alone"]),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_in_one_sentence(name):
    arguments, words = UNREADABLE[name]
    with pytest.raises(ValueError, match=r"\.$|\?$") as caught:
        parsed(*arguments)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flag", ["run_dir", "data_dir", "train_split", "group", "variables", "mask_from", "dataset"])
@pytest.mark.parametrize("text", ["a\n--overwrite", "a\rb", "a\0b", "a\x1b[2J", "a\u2028b", "a\udcffb"])
def test_no_value_writes_a_second_line_into_the_flag_file(flag, text):
    message = refused("--constraint=mask", f"--{flag}={text}")
    assert message.startswith(f"--{flag}='a")
    assert "a control character or a byte that is not UTF-8" in message


def test_a_value_comes_back_from_the_flag_file_as_it_was():
    message = refused("--run_dir=a ")
    assert message == "--run_dir='a ' begins or ends with a space; write it without."


ADDRESSES = ["gs://bucket/run", "s3://bucket/run", "file:///data/run", "http://host/x", "gs:/bucket/run", "hdfs+x://a"]


@pytest.mark.parametrize("flag", ["run_dir", "data_dir", "mask_from", "rules", "flagfile"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_no_path(flag, address):
    others = ["--constraint=mask"] if flag == "mask_from" else []
    message = refused(*others, f"--{flag}={address}")
    assert f"{flag}={address} is an address, and only paths of this machine work" in message


def test_a_home_is_expanded_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rules.toml").write_text('[[rule]]\nconstraint = "mask"\nmask_from = "~/old"\n')
    (tmp_path / "some.flags").write_text("--run_dir=~/run\n--data_dir=~/data\n--rules=~/rules.toml\n")
    made = config("--flagfile=~/some.flags")
    assert (made.run_dir, made.data_dir) == (f"{tmp_path}/run", f"{tmp_path}/data")
    assert made.rules[0].mask_from == f"{tmp_path}/old"
    assert rule("--constraint=mask", "--mask_from=~/old").mask_from == f"{tmp_path}/old"
    message = refused("--run_dir=~nobody_here/x")
    assert "names no user's home; write ./~nobody_here/x" in message


def test_an_overlong_path_is_told_by_its_flag():
    for flag in ("run_dir", "data_dir", "mask_from", "rules", "flagfile"):
        others = ["--constraint=mask"] if flag == "mask_from" else []
        message = refused(*others, f"--{flag}={'n' * 300}")
        assert f"{flag}=" in message
        assert "File name too long" in message
        assert len(message) < 300


def test_a_process_reads_several_command_lines():
    for steps in (3, 4):
        assert config(f"--train_steps={steps}").train_steps == steps
    cli.define(flags.FLAGS)
    cli.define(flags.FLAGS)


def test_help_shows_every_flag_once_in_a_group():
    text = cli.help_asked(["--seed=x", "--help"])
    lines = text.splitlines()
    shown = [line.split()[0].replace("[no]", "") for line in lines if line.startswith("  --")]
    assert sorted(shown) == sorted(f"--{name}" for name in parsed() if name not in cli.RENAMED)
    assert [line for line in lines if line.startswith("  scripts/train.sh")]
    assert max(map(len, lines)) <= 120
    short = cli.help_asked(["--helpshort"])
    assert len(short.splitlines()) < 50
    assert all(f"--{name}" in short for name in parsed() if name not in cli.RENAMED)
    assert cli.help_asked(["--helpfull"]) == text
    assert cli.help_asked(["--seed=1"]) is None
    assert cli.help_asked(["--", "--help"]) is None


def test_help_on_a_group():
    text = cli.help_asked(["--help=rule"])
    assert text.startswith("rule:")
    assert "--learning_rate" not in text
    with pytest.raises(ValueError, match="--help=ruel is no group of flags; did you mean rule"):
        cli.help_asked(["--help=ruel"])


COMMANDS = {
    "nothing": [],
    "single_rule": [
        "--constraint=maxnorm",
        "--max_value=0.1",
        "--variables=hidden_*,output/kernel",
        "--relaxation=0.3",
    ],
    "lists": ["--hidden_units=8,4", "--dataset=synthetic", "--input_shape=4,4", "--num_classes=3"],
    "empty_list": ["--hidden_units="],
    "cosine": [
        "--constraint=maxnorm",
        "--schedule=cosine",
        "--initial_value=1e-3",
        "--max_value=0.30000000000000004",
        "--schedule_begin=10%",
        "--schedule_end=3ep",
    ],
    "piecewise": ["--constraint=topk", "--schedule=piecewise", "--boundaries=10%,50%", "--values=0,0.5,0.9"],
    "constant": ["--constraint=maxnorm", "--schedule=constant", "--max_value=3"],
    "numbers": ["--learning_rate=1e-05", "--seed=2147483647", "--l1=0.1", "--clip_norm=2.5", "--train_steps=10"],
    "texts": ["--train_split=train[:80%]", "--data_dir=/a folder/data", "--summary_every=1ep", "--resume=must"],
    "truths": ["--overwrite", "--dry_run"],
    "other_model": ["--model=transformer", "--patch_size=2", "--width=8", "--dropout=0.1"],
    "negative": ["--constraint=box", "--min_value=-2.5", "--max_value=-1e-9"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_flag_file_makes_the_same_run_again(tmp_path, name):
    first = parsed(*COMMANDS[name])
    file = tmp_path / "flags.txt"
    file.write_text(cli.as_flagfile(first, run_dir="runs/x"))
    again = config(f"--flagfile={file}")
    # Not whether to delete: a file that continues a run must not start it anew.
    expected = dataclasses.replace(cli.config(first), run_dir="runs/x", overwrite=False, dry_run=False)
    assert again == expected
    assert again.identity() == cli.config(first).identity()
    assert cli.as_flagfile(parsed(f"--flagfile={file}"), run_dir="runs/x") == file.read_text()
    lines = file.read_text().splitlines()
    assert lines == sorted(lines)
    assert all(line.startswith("--") for line in lines)


def test_a_flag_file_of_a_file_of_rules_names_it(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nconstraint = "nonneg"\n')
    assert f"--rules={rules}\n" in cli.as_flagfile(parsed(f"--rules={rules}"))


OLD_NAMES = {
    "begin": ("schedule_begin", "10%", ["--schedule=linear", "--initial_value=0.1"]),
    "end": ("schedule_end", "50%", ["--schedule=linear", "--initial_value=0.1"]),
    "eval_split": ("validation_split", "test", []),
    "max_nonfinite": ("max_nonfinite_steps", "3", []),
    "rate": ("relaxation", "0.5", []),
    "spread": ("sparsity_distribution", "erk", []),
    "pattern_from": ("mask_from", "runs/x", ["--constraint=mask"]),
}


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_of_a_flag_still_works(old):
    new, value, others = OLD_NAMES[old]
    flags_ = others if "--constraint=mask" in others else ["--constraint=topk", *others]
    assert cli.RENAMED[old] == new
    assert OLD_NAMES.keys() == cli.RENAMED.keys()
    assert config(*flags_, f"--{old}={value}") == config(*flags_, f"--{new}={value}")
    assert f"--{new}={value}\n" in cli.as_flagfile(parsed(f"--{old}={value}"))
