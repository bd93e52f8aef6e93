"""Imports run one way, each thing has one room, and a name is the same everywhere it is written."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

import constraints
import models
from constraints import schedules
from constraints.sets._spectral import SpectralSet
from tests.support.processes import ROOT

PACKAGES = ("constraints", "models", "trainer")
FILES = {str(path.relative_to(ROOT)): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
# What each package may know, beside itself and the standard library; None: any library.
ALLOWED = {
    "constraints": {"keras", "numpy", "tensorflow"},
    "models": {"keras"},
    "trainer": None,
}
OURS = {"constraints", "models", "trainer", "scripts", "tests", "setup"}
# The one file that looks at a neighbour.
NEIGHBOURS = "trainer/packages.py"
# The rooms at the top of a package, from what knows least to what knows most: imports lead to earlier ones only.
ORDER = {
    "constraints": (
        *("numerics", "layout", "schedules", "hyperparameters", "configurable", "base", "measures"),
        *("sets", "penalties", "fast", "intersection", "__init__"),
    ),
    "trainer": (
        *("packages", "runtime", "settings", "data", "storage", "rules", "engine", "reporting"),
        *("export", "training", "main", "__init__"),
    ),
}
# Programs: nothing imports them, and together they are one room.
PROGRAMS = ("main", "predict")
MOST_ROOMS = 12
MOST_ARROWS = {"constraints": 30, "trainer": 30}


def imports(path: pathlib.Path) -> list[tuple[str, ...]]:
    """The dotted names that a file imports, wherever in it, each as its parts; relative ones made absolute."""
    here = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found += [(*base, alias.name) for alias in node.names]
    return found


def imported(path: pathlib.Path) -> set[str]:
    """The dotted names that a file imports."""
    return {".".join(name) for name in imports(path)}


def attributes(path: pathlib.Path) -> set[str]:
    """Dotted expressions such as `tf.summary.scalar`."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def room(package: str, parts: tuple[str, ...]) -> str:
    """The room that a name lies in: a folder or file at the top of a package, or `__init__` for its own names."""
    name = parts[1] if len(parts) > 1 else "__init__"
    if package == "trainer" and name in PROGRAMS:
        return "main"
    there = (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file()
    return name if there else "__init__"


def arrows(package: str) -> set[tuple[str, str]]:
    """Who imports whom at the top of a package."""
    found = set()
    for file, path in FILES.items():
        if not file.startswith(f"{package}/"):
            continue
        # A folder's own program is one like `main`, which may know every room.
        own = "main" if path.stem == "__main__" else room(package, path.relative_to(ROOT).with_suffix("").parts)
        itself = path.parent.name if path.stem == "__main__" else own
        reached = {room(package, name) for name in imports(path) if name[0] == package}
        found |= {(own, other) for other in reached - {itself}}
    # An import of the door to the neighbours is one of `constraints` or `models`, which ALLOWED speaks of.
    door = pathlib.PurePath(NEIGHBOURS).stem
    return {(one, other) for one, other in found if one != other and other != door}


def test_there_is_something_to_look_at():
    assert {name.split("/")[0] for name in FILES} == set(PACKAGES)
    assert len(FILES) > 40


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_what_its_package_may_know(file):
    package = file.split("/")[0]
    tree = ast.parse(FILES[file].read_text())
    absolute = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    # Imports within a package are relative, so that it works under any name.
    assert absolute & OURS <= ({"constraints", "models"} if file == NEIGHBOURS else set())
    if ALLOWED[package] is not None:
        assert absolute - OURS - sys.stdlib_module_names <= ALLOWED[package]
        assert {name.split(".")[0] for name in imported(FILES[file])} & OURS <= {package}


@pytest.mark.parametrize("package", ORDER)
def test_rooms_know_only_those_below_them(package, capsys):
    found = arrows(package)
    rooms = {name for pair in found for name in pair}
    with capsys.disabled():
        print(f"\n{package}: {len(rooms)} rooms, {len(found)} arrows")
    assert len(rooms) <= MOST_ROOMS
    assert len(found) <= MOST_ARROWS[package]
    order = {name: place for place, name in enumerate(ORDER[package])}
    assert {pair for pair in found if order[pair[0]] <= order[pair[1]]} == set()


def test_one_file_defines_and_reads_flags():
    users = {file for file, path in FILES.items() if {name for name in imported(path) if name.startswith("absl")}}
    # One knows the types of flags, one how much is logged; neither looks at a flag.
    assert users == {"trainer/settings/flags.py", "trainer/settings/flag_types.py", "trainer/main.py"}
    assert {name for name in imported(FILES["trainer/main.py"]) if name.startswith("absl")} == {"absl.logging"}
    assert not {name for name in attributes(FILES["trainer/settings/flag_types.py"]) if name.startswith("flags.FLAGS")}


def test_one_file_writes_tensorboard():
    def writes(path: pathlib.Path) -> bool:
        names = {name.split(".")[0] for name in imported(path)} | {".".join(a.split(".")[:2]) for a in attributes(path)}
        return bool(names & {"tensorboard", "tf.summary"})

    assert {file for file, path in FILES.items() if writes(path)} == {
        "trainer/storage/event_files.py",
        "trainer/reporting/tensorboard.py",
    }


def test_a_constraint_has_one_name():
    names = list(constraints.REGISTRY)
    assert names == sorted(names)
    for name, constraint in constraints.REGISTRY.items():
        folder = "penalties" if constraint.proximal else "sets"
        assert constraint.__module__ == f"constraints.{folder}.{name}"
        assert (ROOT / "constraints" / folder / f"{name}.py").is_file()
        assert (ROOT / "tests" / "constraints" / folder / f"{name}_test.py").is_file()


@pytest.mark.parametrize("folder", ["penalties", "sets"])
def test_every_file_without_an_underscore_is_a_set(folder):
    files = {path.stem for path in (ROOT / "constraints" / folder).glob("*.py") if not path.stem.startswith("_")}
    assert files == {name for name, kind in constraints.REGISTRY.items() if kind.proximal == (folder == "penalties")}


def test_a_set_fits_on_a_page():
    for name, kind in constraints.REGISTRY.items():
        if not issubclass(kind, SpectralSet):
            lines = (ROOT / f"{kind.__module__.replace('.', '/')}.py").read_text().count("\n")
            assert lines <= (70 if kind.proximal else 60), name


def test_no_room_imports_a_fast_path():
    # `constraints.base` imports them by the names of its table, so that deleting one is deleting a file and a line.
    assert {pair for pair in arrows("constraints") if pair[1] == "fast"} == set()


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
    # Whole runs stand for these: experiment_test in this process, others in processes of their own.
    untested = {"__init__", "__main__", "main", "session", "packages"}
    files = [path.relative_to(ROOT) for file, path in FILES.items() if file.startswith("trainer/")]
    missing = {
        str(path)
        for path in files
        if path.stem not in untested and not (ROOT / "tests" / path.with_name(f"{path.stem}_test.py")).is_file()
    }
    assert missing == {
        # Tested with what uses them.
        "trainer/data/builtin/stratified.py",
        "trainer/data/description.py",
        "trainer/data/dividing.py",
        "trainer/data/examples.py",
        "trainer/data/foreign_code.py",
        "trainer/data/parts.py",
        "trainer/data/source.py",
        "trainer/data/standardizer.py",
        "trainer/data/tfds_reader.py",
        "trainer/export/compact/flow.py",
        "trainer/export/compact/kind.py",
        "trainer/export/formats/keras_file.py",
        "trainer/export/formats/saved_model.py",
        "trainer/export/fresh.py",
        "trainer/export/reload.py",
        "trainer/settings/run.py",
        "trainer/training/callback.py",
        "trainer/training/callbacks.py",
        "trainer/training/ending.py",
        "trainer/training/export_subject.py",
        "trainer/training/identity.py",
        "trainer/training/inputs.py",
        "trainer/training/keeper.py",
        "trainer/training/placement.py",
        "trainer/training/predicting.py",
        "trainer/training/run.py",
    }
