"""Command lines and rules files that no honest user writes, generated: each with words its refusal must hold.

`{given}` in a flag is a folder of files that `give` makes; none of them may be changed or imported.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing

from trainer.settings import flags as cli
from trainer.settings.config import Config

Lines = dict[str, tuple[list[str], list[str]]]

# By the kind of a flag: what it cannot take.
NO_INTEGER = ("nan", "inf", "1.5", "", "ten", "1e3", "-1", "9" * 30, "0x", "1,2", "$(touch hit)")
NO_NUMBER = ("nan", "inf", "-inf", "", "ten", "-1", "1e999", "1,2", "`touch hit`")
NO_PLACE = ("", "-1", "nan", "10%%", "200%", "1.5", "ep", "1e3", "٣", "9" * 400, "10 %x", "0x10")
NO_NAME = (
    "",
    "..",
    "../mlp",
    "MLP",
    "mlp;adam",
    "os.system",
    "__import__('os')",
    "tests.support.saved:Run",
    "mlp/../mlp",
    "%s%n",
)
NO_DATASET = (
    "",
    "..",
    "../digits",
    "/etc/passwd",
    "digits/..",
    "digits/../digits",
    "digits:9.9.9",
    "digits:1.0.0/x",
    "digits/config",
    "Digits",
    "digits digits",
    "http://127.0.0.1/x",
    "gs://bucket/x",
    "file:///etc",
    "huggingface:mnist",
    "tests.support.bad_input",
    "os.system",
    "__import__('os')",
    "-",
    "digits\n",
    "9digits",
    "d" * 500,
)
NO_SPLIT = (
    "",
    "train[",
    "train[:80%",
    "train[200:100]",
    "train[:0]",
    "train[9999:]",
    "train+",
    "../train",
    "train;test",
    "train[:1e9%]",
    "train[__import__('os')]",
    "nowhere",
)
NO_FLAG = (
    "--__class__=1",
    "--=5",
    "--max value=1",
    "---seed=1",
    "--seed",
    "--nomodel",
    "--rules.constraint=x",
    "--flagfile={given}/nowhere",
    "--flagfile={given}",
    "--flagfile={given}/binary",
    "--flagfile={given}/pipe",
    "--flagfile={given}/self.flags",
    "--flagfile=/dev/zero",
    "--flagfile=gs://bucket/x",
    "--help=nothing",
    "stray",
    "-",
    "--model=mlp=2",
    "--load=x.pkl",
    "--safe_mode=false",
    "--resume=must",
)
LISTS = {
    "hidden_units": ("1,,2", ",", "1e3", "-5", "0", "1;2", "[1]", "9" * 30),
    "input_shape": ("0", "-1,2", "a", "1,,2", "", "2.5", "9" * 20),
    "filters": ("0", "-3", "a", "1,,"),
}
RULES = {
    "empty": "",
    "not_toml": "rule = [",
    "binary": "\x00\x01\x02",
    "a_number": "rule = 5",
    "no_tables": "rule = []",
    "a_table": "[rule]\nconstraint = 'maxnorm'",
    "another_key": "[[rules]]\nconstraint = 'maxnorm'",
    "one_more_key": "seed = 1\n[[rule]]\nconstraint = 'maxnorm'",
    "no_constraint": "[[rule]]\nvariables = ['*']",
    "unknown": "[[rule]]\nconstraint = 'os.system'",
    "a_path": "[[rule]]\nconstraint = '../maxnorm'",
    "a_dunder": "[[rule]]\nconstraint = '__class__'",
    "an_empty_list": "[[rule]]\nconstraint = []",
    "a_number_for_a_name": "[[rule]]\nconstraint = 5",
    "nested_lists": "[[rule]]\nconstraint = [['maxnorm']]",
    "nan": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = nan",
    "inf": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = inf",
    "negative": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = -1",
    "a_text": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = 'two'",
    "a_boolean": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = true",
    "a_date": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = 2024-01-01",
    "a_huge_integer": f"[[rule]]\nconstraint = 'maxnorm'\nmax_value = {'9' * 400}",
    "an_enormous_integer": f"[[rule]]\nconstraint = 'maxnorm'\nmax_value = {'9' * 5000}",
    "a_foreign_key": "[[rule]]\nconstraint = 'maxnorm'\nsparsity = 0.5",
    "a_dunder_key": "[[rule]]\nconstraint = 'maxnorm'\n__class__ = 1",
    "own_of_another": "[[rule]]\nconstraint = ['box', 'maxnorm']\ntopk.sparsity = 0.5",
    "no_schedule": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = {initial = 1}",
    "unknown_schedule": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = {schedule = 'eval'}",
    "a_schedule_of_nothing": "[[rule]]\nconstraint = 'maxnorm'\nmax_value = {schedule = 'cosine'}",
    "schedule_nan": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='cosine', initial=nan, final=1.0}",
    "schedule_foreign": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='cosine', initial=2.0, lambda=1}",
    "schedule_places": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='cosine', initial=2.0, end=[1]}",
    "schedule_number": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule=5}",
    "schedule_list": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule=['cosine'], initial=2.0, final=1.0}",
    "boundaries": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='piecewise', boundaries='1', values=[1.0, 2.0]}",
    "values": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='piecewise', boundaries=[1], values=['x', {}]}",
    "too_few_values": "[[rule]]\nconstraint='maxnorm'\nmax_value={schedule='piecewise', boundaries=[1], values=[1.0]}",
    "pattern_number": "[[rule]]\nconstraint = 'maxnorm'\nvariables = 5",
    "pattern_empty": "[[rule]]\nconstraint = 'maxnorm'\nvariables = ['']",
    "pattern_none": "[[rule]]\nconstraint = 'maxnorm'\nvariables = []",
    "pattern_nested": "[[rule]]\nconstraint = 'maxnorm'\nvariables = [['*']]",
    "pattern_nowhere": "[[rule]]\nconstraint = 'maxnorm'\nvariables = ['../*']",
    "layer_type": "[[rule]]\nconstraint = 'maxnorm'\nlayer_type = ['keras.layers.Lambda']",
    "group_bool": "[[rule]]\nconstraint = 'maxnorm'\ngroup = true",
    "group_float": "[[rule]]\nconstraint = 'maxnorm'\ngroup = [0.5]",
    "group_name": "[[rule]]\nconstraint = 'maxnorm'\ngroup = '__class__'",
    "group_axis": "[[rule]]\nconstraint = 'maxnorm'\ngroup = [99]",
    "group_huge": f"[[rule]]\nconstraint = 'maxnorm'\ngroup = [{'9' * 30}]",
    "with_bias": "[[rule]]\nconstraint = 'maxnorm'\nwith_bias = 'yes'",
    "every_zero": "[[rule]]\nconstraint = 'maxnorm'\nproject_every = 0",
    "every_text": "[[rule]]\nconstraint = 'maxnorm'\nproject_every = '1'",
    "every_huge": f"[[rule]]\nconstraint = 'maxnorm'\nproject_every = {'9' * 30}",
    "relaxation": "[[rule]]\nconstraint = 'maxnorm'\nrelaxation = 2",
    "relaxation_nan": "[[rule]]\nconstraint = 'maxnorm'\nrelaxation = nan",
    "begin": "[[rule]]\nconstraint = 'maxnorm'\nbegin = -1",
    "begin_huge": f"[[rule]]\nconstraint = 'maxnorm'\nbegin = '{'9' * 400}'",
    "end_before": "[[rule]]\nconstraint = 'maxnorm'\nbegin = 5\nend = 2",
    "optimizer_state": "[[rule]]\nconstraint = 'maxnorm'\noptimizer_state = 'eval'",
    "mask_from": "[[rule]]\nconstraint = 'mask'\nmask_from = '../../../etc'",
    "mask_from_number": "[[rule]]\nconstraint = 'mask'\nmask_from = 5",
    "two_claims": "[[rule]]\nconstraint = 'maxnorm'\n[[rule]]\nconstraint = 'nonneg'",
    "deep": "rule = " + "[" * 3000 + "]" * 3000,
    "block": "[[rule]]\nconstraint = 'block'\nblock = [0, 4]",
    "block_huge": f"[[rule]]\nconstraint = 'block'\nblock = [{'9' * 30}, 4]",
    "nm": "[[rule]]\nconstraint = 'nm'\nn = -1\nm = 4",
}


def give(folder: pathlib.Path) -> None:
    """Makes the files that command lines name: rules, a file, a folder of somebody else's, a loop of links."""
    for name, text in RULES.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "latin.toml").write_bytes(b"[[rule]]\nconstraint = '\xe9'")
    (folder / "file").write_text("mine")
    (folder / "binary").write_bytes(b"--run_dir=a\0b\n")
    os.mkfifo(folder / "pipe")
    (folder / "self.flags").write_text(f"--flagfile={folder}/self.flags")
    (folder / "wide.toml").write_bytes("[[rule]]".encode("utf-16"))
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("mine")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "linked").mkdir()
    (folder / "linked" / "run.json").symlink_to(folder / "file")
    (folder / "linked" / "checkpoints").symlink_to(folder / "thesis")


def lines() -> Lines:
    """Every command line: name -> flags, and words of the message."""
    made: Lines = {}

    def add(flag: str, values: typing.Iterable[str], *others: str, by_value: bool = False) -> None:
        """One line for each value; its message names the flag or, of names of things, the value."""
        for value in values:
            shown = value if len(value) < 40 else f"{value[:10]}...{len(value)}"
            word = value.split("/")[-1][:10].strip() if by_value else ""
            made[f"{flag}={shown!r}"] = [*others, f"--{flag}={value}"], [word or flag.removesuffix("_value")]

    hints = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        kind = cli._element_type(hints[field.name])
        if "help" not in field.metadata or kind is bool:
            continue
        if kind is int:
            # Any number of evaluations is one that may be waited for.
            values = NO_INTEGER if field.name != "early_stopping" else [v for v in NO_INTEGER if len(v) < 20]
            add(field.name, values, *_COMPANY.get(field.name, ()))
        elif kind is float:
            add(field.name, NO_NUMBER, *_COMPANY.get(field.name, ()))
        elif field.metadata.get("interval") or field.metadata.get("point"):
            add(field.name, NO_PLACE)
        elif field.name in ("model", "optimizer", "learning_rate_schedule", "resume"):
            add(field.name, NO_NAME)
    add("constraint", (*NO_NAME[1:], "maxnorm,", "maxnorm,,nonneg"))
    add("schedule", NO_NAME, "--constraint=maxnorm", "--initial_value=2")
    for bound in ("max_value", "initial_value", "relaxation"):
        others = ["--schedule=linear", "--max_value=1"] if bound == "initial_value" else []
        add(bound, NO_NUMBER, "--constraint=maxnorm", *others)
    for place in ("schedule_begin", "schedule_end"):
        add(place, NO_PLACE[1:], "--constraint=maxnorm", "--schedule=linear", "--initial_value=2")
    for flag, values in LISTS.items():
        add(flag, values, *_COMPANY.get(flag, ()))
    for flag in ("group", "sparsity_distribution", "optimizer_state"):
        add(flag, NO_NAME, "--constraint=topk")
    add("variables", ("", "nowhere", "../*", "[", "*,nowhere", "a" * 5000), "--constraint=maxnorm")
    add("layer_type", ("", "keras.layers.Lambda", "Dense;", "dense"), "--constraint=maxnorm")
    add("mask_from", ("", "..", "{given}/thesis", "{given}/file", "{given}/loop"), "--constraint=mask")
    add("rules", ("", "{given}", "{given}/nowhere", "{given}/loop", "{given}/latin.toml", "/proc/self/mem", "n" * 300))
    add("rules", ("{given}/pipe", "{given}/wide.toml", "/dev/zero", "gs://bucket/x", "~nobody_here/x"))
    add("rules", [f"{{given}}/{name}.toml" for name in RULES], by_value=True)
    for flags in NO_FLAG:
        made[flags] = [flags], []
    add("dataset", NO_DATASET, by_value=True)
    for flag in ("train_split", "validation_split", "test_split"):
        add(flag, NO_SPLIT, by_value=True)
    add("data_dir", ("", "{given}/file", "{given}/loop", "/proc/nowhere"))
    add(
        "run_dir", ("", "{given}/file", "{given}/file/x", "{given}/thesis", "{given}/loop", "{given}/linked", "/proc/x")
    )
    for flag in ("run_dir", "data_dir"):
        add(flag, ("gs://bucket/x", "~nobody_here/x", "a\n--overwrite", "a\0b", " a"))
    add("mask_from", ("s3://bucket/x", "~nobody_here/x", "n" * 300, "a\nb"), "--constraint=mask")
    add("run_dir", ("r" * 300, "/".join(["deep"] * 2000)))
    return made


# Flags without which another means nothing.
_COMPANY = {
    "filters": ["--model=convnet"],
    "final_learning_rate": ["--learning_rate_schedule=cosine"],
    "input_shape": ["--dataset=synthetic"],
    "momentum": ["--optimizer=sgd"],
    "num_examples": ["--dataset=synthetic"],
    "weight_decay": ["--optimizer=adamw"],
}
