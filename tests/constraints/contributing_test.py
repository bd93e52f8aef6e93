"""A new set is one file, one line and one test file: the example of the tutorial, put into a copy of the project."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.support import processes
from tests.support.processes import ROOT


def pieces() -> list[str]:
    """The code that the tutorial shows: the file, the line of the registry, and the test file."""
    return re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "tutorials" / "own-set.md").read_text(), re.DOTALL)


def insert(path: pathlib.Path, after: str, line: str) -> None:
    """Puts a line right behind the one that opens a literal."""
    text = path.read_text()
    assert text.count(after) == 1
    path.write_text(text.replace(after, after + "\n" + line.rstrip()))


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> pathlib.Path:
    """The project with the set in it."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("constraints", "models", "trainer", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    file, registry, test = pieces()
    for text in (file, test):
        (root / re.search(r"^# (\S+\.py)$", text, re.MULTILINE)[1]).write_text(text)
    package = root / "constraints" / "__init__.py"
    insert(package, "REGISTRY: dict[str, type[Constraint]] = {", registry)
    insert(package, "from .sets._matrix import MatrixSet", "from .sets.atmost import AtMost")
    return root


def run(copy: pathlib.Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy), "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_it_trains_and_certifies(copy):
    flags = ["--constraint=atmost", "--max_value=0.1", "--train_steps=30", "--run_dir=run"]
    output = run(copy, "trainer.main", *flags)
    assert "every rule holds" in output
    certificate = processes.certificate(copy / "run")
    assert {entry["constraint"] for entry in certificate["variables"]} == {"atmost"}
    assert all(entry["bound"] == {"max_value": 0.1} for entry in certificate["variables"])


def test_every_law_runs_over_it(copy):
    chosen = ["-k", "atmost or nonneg or oracle", "-p", "no:cacheprovider", "-n", "0", "-vv", "-rs"]
    output = run(copy, "pytest", "tests/constraints/laws_test.py", *chosen)
    # How many tests of each law there are for this set and for another one, and how they ended.
    tests = re.findall(r"::(\w+)\[\S*\b(atmost|nonneg)\b.*\] (PASSED|SKIPPED)", output)
    ran = {name: collections.Counter(law for law, of, _ in tests if of == name) for name in ("atmost", "nonneg")}
    assert len(ran["atmost"]) > 10
    assert ran["atmost"] == ran["nonneg"]
    assert "test_every_set_has_a_case_and_an_oracle PASSED" in output
    # Shapes and points that a set cannot have are skipped.
    assert sum(how == "SKIPPED" for _, of, how in tests if of == "atmost") < ran["atmost"].total() / 10
