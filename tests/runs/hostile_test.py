"""Hundreds of command lines and rules files that nobody should write: refused in one message, with nothing done."""

from __future__ import annotations

import pytest

import trainer.data.dataset
from tests.support import bad_input, processes

LINES = bad_input.lines()
# One in so many is in the fast suite.
SHARE = 12


def shared_out():
    shared = []
    for number, name in enumerate(LINES):
        marks = [pytest.mark.slow] if number % SHARE else []
        shared.append(pytest.param(name, marks=marks))
    return shared


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Files that the lines name, and a prepared data set: none of it may change."""
    folder = tmp_path_factory.mktemp("given")
    bad_input.give(folder)
    data = tmp_path_factory.mktemp("data")
    trainer.data.dataset.load("digits", data_dir=data)
    return folder, data


def listing(*folders):
    return [{path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))} for folder in folders]


def test_there_are_enough_of_them():
    assert len(LINES) >= 500


def test_a_line_that_is_right_is_not_refused(server, given, tmp_path):
    result = server.train("--dry_run", f"--data_dir={given[1]}", "--constraint=maxnorm", "--max_value=2", cwd=tmp_path)
    assert result.returncode == 0
    assert "hidden_1/kernel" in result.stdout
    assert processes.listing(tmp_path) == {}


@pytest.mark.parametrize("name", shared_out())
def test_one_message_names_the_flag_and_nothing_is_done(server, given, tmp_path, name):
    folder, data = given
    flags, words = LINES[name]
    before = listing(folder, data, tmp_path)
    # The last of two flags of a name wins.
    flags = [f"--data_dir={data}", *(flag.replace("{given}", str(folder)) for flag in flags)]
    result = server.train(*flags, cwd=tmp_path)
    assert result.returncode == 2, result.stdout
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert listing(folder, data, tmp_path) == before
    assert "step" not in result.stdout
    for word in words:
        assert word in result.stderr
