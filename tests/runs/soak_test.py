"""The soak sees what grows: told by numbers here, by a short run in the slow suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts import soak
from tests.support import processes

MIB = 2**20


def samples(memory=lambda i: 100.0, files=lambda i: 12, threads=lambda i: 20) -> list[soak.Sample]:
    return [soak.Sample(float(i), int(memory(i) * MIB), files(i), threads(i)) for i in range(200)]


def test_what_stays_is_no_fault():
    noisy = samples(lambda i: 100 + (i % 7) / 10, lambda i: 12 + (i % 9 == 0))
    seen = soak.windows(noisy)
    assert len(seen) == soak.WINDOWS
    assert soak.faults(seen, [1.0, 1.0], 75) == []


@pytest.mark.parametrize(
    ("seen", "traces", "code", "words"),
    [
        (samples(lambda i: 100 + i / 50), [1.0], 75, "memory moved by 3.6%"),
        (samples(files=lambda i: 12 + i // 100), [1.0], 75, "files moved from 12 to 13"),
        (samples(threads=lambda i: 20 + i // 150), [1.0], 75, "threads moved from 20 to 21"),
        (samples(), [1.0, 2.0], 75, "compiled 2 times"),
        (samples(), [], 75, "compiled 0 times"),
        (samples(), [1.0], -15, "ended the run with -15"),
    ],
)
def test_what_grows_is_named(seen, traces, code, words):
    (fault,) = soak.faults(soak.windows(seen), traces, code)
    assert words in fault


def test_few_samples_are_one_window():
    assert len(soak.windows(samples()[:3])) == 1


@pytest.mark.slow
def test_a_soak_of_seconds_ends_well_or_says_why():
    command = [sys.executable, "-m", "scripts.soak", "--minutes=0.3"]
    result = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode in (0, 1), result.stderr
    assert "resident MiB" in result.stdout
    assert "training was compiled 1 times; SIGTERM: saved at step" in result.stdout
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "words"), [("--minutes=0", "must be above 0"), ("--modle=mlp", "modle")])
def test_a_soak_that_cannot_begin(flag, words):
    command = [sys.executable, "-m", "scripts.soak", flag]
    result = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode != 0
    assert words in result.stderr
    assert "Traceback" not in result.stderr
