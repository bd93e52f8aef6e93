"""Imports run one way, each thing has one room, and a name is the same everywhere it is written."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

import constraints
import models
from constraints import schedules
from tests.processes import ROOT

PACKAGES = ("constraints", "models", "trainer")
FILES = {str(path.relative_to(ROOT)): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
# What each package may know, beside itself and the standard library; None: any library.
ALLOWED = {
    "constraints": {"keras", "numpy", "tensorflow"},
    "models": {"keras"},
    "trainer": None,
}
OURS = {"constraints", "models", "trainer", "scripts", "tests", "setup"}
KNOWN_OF_OURS = {
    "constraints": {"constraints"},
    "models": {"models"},
    "trainer": {"constraints", "models", "trainer"},
}


def imported(path: pathlib.Path) -> set[str]:
    """The dotted names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def attributes(path: pathlib.Path) -> set[str]:
    """Dotted expressions such as `tf.summary.scalar`."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def test_there_is_something_to_look_at():
    assert {name.split("/")[0] for name in FILES} == set(PACKAGES)
    assert len(FILES) > 40


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_what_its_package_may_know(file):
    package = file.split("/")[0]
    roots = {name.split(".")[0] for name in imported(FILES[file])}
    assert roots & OURS <= KNOWN_OF_OURS[package]
    if ALLOWED[package] is not None:
        assert roots - OURS - sys.stdlib_module_names <= ALLOWED[package]


def test_one_file_defines_and_reads_flags():
    users = {file for file, path in FILES.items() if {name for name in imported(path) if name.startswith("absl")}}
    # One knows the types of flags, one how much is logged; neither looks at a flag.
    assert users == {"trainer/cli.py", "trainer/flagtypes.py", "trainer/main.py"}
    assert {name for name in imported(FILES["trainer/main.py"]) if name.startswith("absl")} == {"absl.logging"}
    assert not {name for name in attributes(FILES["trainer/flagtypes.py"]) if name.startswith("flags.FLAGS")}


def test_one_file_writes_tensorboard():
    def writes(path: pathlib.Path) -> bool:
        names = {name.split(".")[0] for name in imported(path)} | {".".join(a.split(".")[:2]) for a in attributes(path)}
        return bool(names & {"tensorboard", "tf.summary"})

    assert {file for file, path in FILES.items() if writes(path)} == {"trainer/event_files.py", "trainer/summaries.py"}


def test_a_constraint_has_one_name():
    names = list(constraints.REGISTRY)
    assert names == sorted(names)
    for name, constraint in constraints.REGISTRY.items():
        assert constraint.__module__ == f"constraints.{name}"
        assert (ROOT / "constraints" / f"{name}.py").is_file()
        assert (ROOT / "tests" / f"{name}_test.py").is_file()


def test_registries_are_sorted_literals():
    assert list(models.REGISTRY) == sorted(models.REGISTRY)
    assert list(schedules.SCHEDULES) == sorted(schedules.SCHEDULES)
    assert all(build.__module__.startswith("models.") for build in models.REGISTRY.values())
    assert all(make.__name__ == name for name, make in schedules.SCHEDULES.items())
    for package in ("constraints", "models"):
        tree = ast.parse((ROOT / package / "__init__.py").read_text())
        (value,) = [
            node.value for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "REGISTRY"
        ]
        assert isinstance(value, ast.Dict)


def test_every_file_of_the_trainer_has_its_tests():
    # Whole runs stand for the last two: experiment_test in this process, others in processes of their own.
    untested = {"__init__", "main", "session"}
    stems = {path.stem for path in FILES.values() if path.parent.name == "trainer"} - untested
    assert {stem for stem in stems if not (ROOT / "tests" / f"{stem}_test.py").is_file()} == set()
