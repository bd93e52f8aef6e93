"""Every command that the project shows is one that it takes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import shlex
import shutil
import subprocess

import pytest

from scripts import study
from tests.support.processes import ROOT
from trainer.data import dataset
from trainer.settings import flags as cli


def parsed(arguments: list[str]):
    return cli.config(cli.parse(arguments))


def readme_commands() -> list[str]:
    """Every command line that trains, in blocks of code, in tables and in sentences."""
    text = (ROOT / "README.md").read_text()
    pieces = [line.split("#")[0] for line in text.splitlines() if line.startswith("scripts/train.sh")]
    pieces += [piece for piece in text.split("`") if piece.startswith("scripts/train.sh -")]
    return sorted({piece.strip() for piece in pieces})


def test_the_readme_shows_commands():
    assert len(readme_commands()) > 8


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("digits", "breast_cancer"):
        dataset.load(name, data_dir=folder)
    return folder


def run_of_readme(server, command, data_dir, folder, *flags):
    # Files that it names are given by their place in the repository.
    (folder / "scripts").symlink_to(ROOT / "scripts")
    return server.succeed(*shlex.split(command)[1:], f"--data_dir={data_dir}", *flags, cwd=folder)


@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_is_taken(server, command, data_dir, tmp_path):
    result = run_of_readme(server, command, data_dir, tmp_path, "--dry_run")
    assert "output/kernel" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["scripts"]


@pytest.mark.slow
@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_trains(server, command, data_dir, tmp_path):
    # A run has one length, so the command's own goes.
    command = " ".join(word for word in command.split() if not word.startswith("--epochs="))
    length = ["--run_dir=run"]
    if "--export=" in command:
        # What leaves the run is looked at in full.
        pass
    elif "--flagfile=" in command:
        length.append("--epochs=1")
    else:
        length.append("--train_steps=20")
    run_of_readme(server, command, data_dir, tmp_path, *length)
    if "--dry_run" not in command:
        assert (tmp_path / "run" / "certificate.json").is_file()
    if "--export=" in command:
        report = json.loads((tmp_path / "run" / "export" / "export.json").read_text())
        files = {row["file"]: row["bytes"] for row in report["benchmark"]}
        assert files["dense model.tflite"] > 9 * files["model.tflite"]
        assert files["dense model.tflite"] > 25 * files["model_int8.tflite"]
        assert (tmp_path / "run" / "export" / "benchmark.txt").is_file()


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


# Stands for Python: it makes a virtual environment that holds itself, and installs what it is told to.
PYTHON = """#!/bin/bash
case "$*" in
*"sys.version_info"*) exit 0 ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
"-m pip install "*)
  echo "$*" >>"$CALLS"
  echo "Collecting tensorflow"
  echo "  Downloading tensorflow-2.21.0.whl (600 MB)"
  [ -z "$FAILS" ] || { echo "ERROR: no network" >&2; exit 1; }
  echo "Installing collected packages: a, b, c"
  echo "Successfully installed a-1 b-2 c-3"
  ;;
esac
"""


@pytest.fixture
def setting(tmp_path):
    """A repository with a Python of its own; returns what runs its set-up with a given free space."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment.sh", tmp_path / "scripts")
    (tmp_path / "setup.py").write_text("1")
    (tmp_path / "bin").mkdir()
    for name, text in (("python3", PYTHON), ("df", '#!/bin/bash\necho x\necho "disk 1 1 $FREE 1% /"\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def prepare(stderr=subprocess.PIPE, free="9000000", fails=""):
        script = f"set -euo pipefail; source {tmp_path}/scripts/environment.sh; prepare_environment test; echo ready"
        environment = {
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "FREE": free,
            "FAILS": fails,
        }
        return subprocess.run(
            ["bash", "-c", script], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
        )

    return prepare


def test_the_first_run_says_what_it_does_in_plain_lines(setting, tmp_path):
    first = setting()
    assert (first.returncode, first.stdout) == (0, "ready\n")
    assert first.stderr.splitlines() == [
        "installing TensorFlow and the rest into .venv: once, two to ten minutes, 2.9 GB of disk",
        "  1: Downloading tensorflow-2.21.0.whl (600 MB)",
        "  2: Installing collected packages: a, b, c",
        "  3: installed 3 packages",
    ]
    assert setting().stderr == ""
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_on_a_terminal_a_line_moves(setting):
    ours, theirs = pty.openpty()
    assert setting(stderr=theirs).returncode == 0
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # The terminal's other end is closed.
        while part := os.read(ours, 10_000):
            said += part
    os.close(ours)
    said = said.decode()
    assert said.count("\r\x1b[K") == 3
    assert said.count("\n") == 2


def test_a_full_disk_is_found_before_anything_is_made(setting, tmp_path):
    result = setting(free="1024000")
    assert result.returncode == 1
    assert "has 1000 MB free and the installation needs 4500 MB; make room" in result.stderr
    assert not (tmp_path / ".venv").exists()
    assert setting(free="-").returncode == 0


def test_a_download_that_fails_says_what_to_do(setting):
    result = setting(fails="1")
    assert result.returncode == 1
    assert "ERROR: no network" in result.stderr
    assert "PIP_INDEX_URL" in result.stderr
    assert "The same command goes on where it stopped." in result.stderr
    assert setting().returncode == 0
