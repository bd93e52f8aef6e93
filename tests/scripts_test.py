"""Every command that the project shows is one that it takes."""

from __future__ import annotations

import pathlib
import shlex
import subprocess

import pytest

from scripts import study
from tests.processes import ROOT
from trainer import cli


def parsed(arguments: list[str]):
    return cli.config(cli.parse(arguments))


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    pieces = [line.split("#")[0] for line in text.splitlines() if line.startswith("scripts/train.sh")]
    pieces += [piece for piece in text.split("`") if piece.startswith("scripts/train.sh -")]
    return sorted({piece.strip() for piece in pieces})


def test_the_readme_shows_commands():
    assert len(readme_commands()) > 8


@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_is_taken(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    parsed(shlex.split(command)[1:])


@pytest.mark.parametrize("name", study.STUDY)
def test_every_run_of_the_study_is_taken(name):
    parsed([*study.COMMON, *study.STUDY[name]])


def test_a_row_of_the_study_counts_all_weights():
    variables = [
        {"shape": [2, 3], "zeros": 3, "near_zeros": 6},
        {"shape": [4], "zeros": 0, "near_zeros": 0},
    ]
    certificate = {"variables": variables, "evaluation": {"accuracy": 0.987}}
    assert study.row("a", ["--x=1", "--y"], certificate) == ["a", "30.0%", "60.0%", "98.7%", "--x=1 --y"]


@pytest.mark.parametrize(
    "script", [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"], ids=lambda p: p.name
)
def test_shell_scripts_are_shell(script: pathlib.Path):
    subprocess.run(["bash", "-n", str(script)], check=True)
