"""What native code writes to standard error is held back, and shown when something fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import processes
from trainer.runtime import quiet_import


def test_native_output_is_held_back_and_later_output_is_not(capfd):
    with quiet_import.native_stderr():
        os.write(2, b"banner\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("error", [ImportError, KeyboardInterrupt])
def test_it_is_shown_when_the_block_fails(capfd, error):
    def fail():
        with quiet_import.native_stderr():
            os.write(2, b"the reason\n")
            raise error

    with pytest.raises(error):
        fail()
    assert capfd.readouterr().err == "the reason\n"


def test_no_descriptor_is_lost():
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with quiet_import.native_stderr():
            pass
    assert set(os.listdir("/proc/self/fd")) == before


def test_importing_tensorflow_says_nothing():
    code = (
        "from trainer.runtime import quiet_import; quiet_import.import_tensorflow(); "
        "import tensorflow as tf; tf.zeros([1])"
    )
    environment = {**processes.environment(), "TF_CPP_MIN_LOG_LEVEL": ""}
    del environment["TF_CPP_MIN_LOG_LEVEL"]
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""


# A command line that is refused before TensorFlow does anything, with streams closed as a shell closes them.
CLOSED = {"stdout": ">&-", "stderr": "2>&-", "stdin": "<&-", "all": "<&- >&- 2>&-"}
COMPLETE = """
import os, sys
from trainer.runtime import quiet_import
quiet_import.complete_streams()
opened = os.open(os.devnull, os.O_RDONLY)
assert opened > 2, opened
print("out")
print("err \\u00e9", file=sys.stderr)
sys.stdout.flush()
os.fstat(0), os.fstat(1), os.fstat(2)
"""


@pytest.mark.parametrize("name", CLOSED)
def test_no_file_takes_the_place_of_a_closed_stream(name):
    command = f"\"{sys.executable}\" -c '{COMPLETE}' {CLOSED[name]}"
    environment = {**processes.environment(), "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ("" if name in ("stdout", "all") else "out\n")
    assert result.stderr == ("" if name in ("stderr", "all") else "err \\xe9\n")


STREAMS = {
    "closed_output": ("--dry_run", ">&-", 0),
    "closed_everything": ("--train_steps=2 --run_dir=run", "<&- >&- 2>&-", 0),
    "nobody_reads": ("--train_steps=2 --run_dir=run", "| true", 0),
    "nobody_reads_the_mistake": ("--seed=x", "2>&1 | true", 2),
    "closed_errors": ("--seed=x", "2>&-", 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_a_run_does_not_need_its_streams(tmp_path, name):
    flags, redirected, code = STREAMS[name]
    line = f'"{sys.executable}" -m trainer.main --hidden_units=2 {flags} {redirected}; exit ${{PIPESTATUS[0]}}'
    environment = {**processes.environment(), "TFDS_DATA_DIR": str(tmp_path / "data")}
    result = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert (tmp_path / "run" / "certificate.json").is_file() == ("run_dir" in flags)


def test_one_process_runs_several_commands(tmp_path):
    code = """
from trainer import main
for flags in (["--help"], ["--seed=x"], ["--dry_run", "--hidden_units=2"], ["--dry_run", "--hidden_units=3"]):
    try:
        main.run(["main", *flags])
    except SystemExit as error:
        print("code", error.code)
"""
    environment = {**processes.environment(), "TFDS_DATA_DIR": str(tmp_path / "data")}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert [line for line in result.stdout.splitlines() if line.startswith("code")] == [
        *("code 0", "code 2", "code 0", "code 0")
    ]
    assert result.stderr == "error: --seed=x is not a whole number; write one such as 100.\n"
    assert "64x2" in result.stdout
    assert "64x3" in result.stdout
    assert result.stdout.startswith("Trains a network")
    assert list(tmp_path.iterdir()) == []
