"""`--export`: what the flags ask for; tests/runs/final_export_test.py has the processes."""

from __future__ import annotations

import importlib.util

import pytest

from trainer.settings import config, flags
from trainer.settings.rules import TARGETS
from trainer.training import exporting, final_export


def wished(*arguments: str):
    return final_export.wishes(flags.config(flags.parse(arguments)))


def test_nothing_is_exported_by_default():
    assert wished() is None
    assert wished("--target=tflite") is None


def test_the_flags_are_those_of_the_program_of_exports():
    assert wished("--export=keras,tflite", "--export_with=compact,benchmark", "--target=tflite") == exporting.Wishes(
        formats="keras,tflite", target="tflite", compact=True, benchmark=True, overwrite=True
    )
    assert set(TARGETS) == set(exporting.TARGETS)
    every = final_export.wishes(config.Config(export=("keras",), export_with=config.EXPORT_OPTIONS))
    assert all(getattr(every, option) is True for option in config.EXPORT_OPTIONS)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--export=pdf", "--export=pdf is not known; choose from keras"),
        ("--export=keras,keras", "--export names keras twice"),
    ],
)
def test_a_mistake_is_told_by_the_flag(flag, said):
    with pytest.raises(ValueError, match=said):
        wished(flag)


def test_a_format_without_its_packages_names_the_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if "onnx" in name else found(name, *more))
    with pytest.raises(ValueError, match=r"--export=onnx needs .*which the extra `onnx` brings"):
        wished("--export=onnx")


def test_a_flag_file_that_names_such_a_format_is_read():
    # A run may be exported in other formats where these packages are missing.
    assert flags.config(flags.parse(["--export=onnx"])).export == ("onnx",)


BLOCKS = """
[[rule]]
constraint = "block"
variables = ["hidden_1/kernel"]
[[rule]]
constraint = ["block"]
block = [4, 4]
variables = ["hidden_2/kernel"]
"""


def test_the_target_fills_in_the_blocks_that_nobody_chose(tmp_path):
    def blocks(*arguments: str):
        return [rule.sets[0].block for rule in flags.config(flags.parse(arguments)).rules]

    (tmp_path / "rules.toml").write_text(BLOCKS)
    assert blocks("--constraint=block") == [(4, 4)]
    assert blocks("--constraint=block", "--target=tflite") == [(16, 1)]
    assert blocks("--constraint=block", "--target=tflite", "--block=4,4") == [(4, 4)]
    assert blocks(f"--rules={tmp_path}/rules.toml") == [(4, 4), (4, 4)]
    assert blocks(f"--rules={tmp_path}/rules.toml", "--target=tflite") == [(16, 1), (4, 4)]
