"""Drawn command lines and rules files: each ends soon with 0 or 2, without a traceback, and leaves nothing."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support import bad_input, fuzzing, processes
from trainer.settings import flags as cli

# A seed of one's own: FUZZ_SEED=7 scripts/test.sh -m slow tests/runs/fuzz_test.py
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LINES = 300
RULES = 200
# Seconds; a hang, not a slow machine.
HANGS = 120


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    bad_input.give(folder)
    return folder


def check(server, flags, folder, given):
    before = processes.listing(given)
    start = time.monotonic()
    result = server.train(*fuzzing.SMALL, *flags, cwd=folder)
    assert time.monotonic() - start < HANGS, flags
    assert result.returncode in (0, 2), (flags, result.stderr)
    assert "Traceback" not in result.stdout + result.stderr, (flags, result.stderr)
    assert (result.returncode == 2) == result.stderr.startswith("error: "), (flags, result.stderr)
    assert len(result.stderr) < 5000, flags
    assert list(folder.iterdir()) == [], flags
    assert processes.listing(given) == before, flags


def test_drawn_lines_are_read_or_refused(given):
    refused = 0
    for seed in range(20):
        line = fuzzing.Generator(SEED + seed, given).line()
        try:
            cli.config(cli.parse([*fuzzing.SMALL, *line]))
        except ValueError:
            refused += 1
    assert 0 < refused < 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_drawn_lines(server, given, tmp_path, part):
    generator = fuzzing.Generator(SEED * 1000 + part, given)
    for _ in range(LINES // 10):
        line = generator.line()
        # The last of two flags of a name wins, unless a word ends the flags before.
        check(server, ["--dry_run", *line, "--dry_run"], tmp_path, given)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_drawn_rules(server, given, tmp_path_factory, part):
    generator = fuzzing.Generator(SEED * 1000 + 500 + part, given)
    folder, empty = tmp_path_factory.mktemp("rules"), tmp_path_factory.mktemp("empty")
    for number in range(RULES // 10):
        file = folder / f"{number}.toml"
        file.write_bytes(generator.rules())
        check(server, [f"--rules={file}", "--hidden_units=4", "--dry_run"], empty, given)


def test_a_seed_draws_the_same_again(given):
    lines = [fuzzing.Generator(5, given).line() for _ in range(2)]
    assert lines[0] == lines[1]
    assert fuzzing.Generator(random.Random(0).randrange(10), given).rules() is not None
