"""What SECURITY.md promises, held against the code and against a run under way."""

from __future__ import annotations

import ast
import os
import pathlib
import subprocess
import time

import pytest

from tests.support import processes
from tests.support.processes import ROOT

FILES = [
    path for folder in ("constraints", "models", "trainer", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]
# Modules that run, or let run, what a file or a text says.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "imp", "yaml", "code"}
LISTENERS = {"http.server", "socketserver", "xmlrpc.server", "asyncio", "grpc", "flask"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    "importlib.import_module",
    "importlib.util.spec_from_file_location",
    "keras.config.enable_unsafe_deserialization",
    "os.popen",
    "os.system",
    "socket.socket",
    "subprocess.getoutput",
    "tf.distribute.MultiWorkerMirroredStrategy",
    "tf.distribute.Server",
    "tf.io.decode_raw",
    "tf.numpy_function",
    "tf.py_function",
    "tf.saved_model.load",
}
# They import what a table of their own names, when it is asked for.
LAZY = {
    *("constraints/base.py", "trainer/__init__.py", "trainer/_installed/__init__.py"),
    *("trainer/data/preprocessing.py", "trainer/data/readers/__init__.py"),
}
# An export reads again, in a process of its own, the files that it has just written.
EXPORT = {
    "trainer/export/formats/saved_model.py": {"tf.saved_model.load"},
    "trainer/export/reload.py": {"importlib.import_module", "importlib.util.spec_from_file_location"},
    "trainer/export/verify.py": {"importlib.import_module"},
}
KEYWORDS = {"allow_pickle", "safe_mode", "shell"}
SAFE = {"allow_pickle=False", "safe_mode=True"}
# What reads a file of arrays or a network, and has to be told that no code from it runs.
READERS = {
    **dict.fromkeys(("keras.models.load_model", "keras.saving.load_model"), "safe_mode=True"),
    **dict.fromkeys(("np.load", "numpy.load"), "allow_pickle=False"),
}


def offences(tree: ast.AST) -> list[str]:
    """What a file does that SECURITY.md says is not done."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [
                alias.name for alias in node.names if {alias.name, alias.name.split(".")[0]} & (MODULES | LISTENERS)
            ]
        elif isinstance(node, ast.ImportFrom) and {node.module, str(node.module).split(".")[0]} & (MODULES | LISTENERS):
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            said = {ast.unparse(keyword): str(keyword.arg) for keyword in node.keywords}
            if name in CALLS | ATTRIBUTES or (name in READERS and READERS[name] not in said):
                found.append(name)
            found += [keyword for text, keyword in said.items() if keyword in KEYWORDS and text not in SAFE]
    return found


def test_there_is_something_to_look_at():
    assert len(FILES) > 80


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_it_reads_or_listens(path: pathlib.Path):
    name = str(path.relative_to(ROOT))
    allowed = {"importlib.import_module"} if name in LAZY else EXPORT.get(name, set())
    assert set(offences(ast.parse(path.read_text()))) == allowed


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "eval(text)",
        "importlib.import_module(name)",
        "keras.models.load_model(path)",
        "load(path, safe_mode=False)",
        "load(path, safe_mode=mode)",
        "keras.saving.load_model(path, safe_mode=False)",
        "np.load(path, allow_pickle=allowed)",
        "np.load(path)",
        "f(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "import http.server",
        "tf.distribute.Server(x)",
    ],
)
def test_the_look_is_sharp(code: str):
    assert offences(ast.parse(code))


@pytest.mark.slow
def test_a_run_listens_nowhere(tmp_path):
    flags = ["--run_dir=run", "--train_steps=1000000", "--num_replicas=2", "--hidden_units=8"]
    with subprocess.Popen(
        processes.command(*flags), cwd=tmp_path, env=processes.environment(), stdout=subprocess.DEVNULL
    ) as run:
        try:
            while not list((tmp_path / "run" / "checkpoints").glob("best/step-*")):
                assert run.poll() is None
                time.sleep(0.05)
            opened = {os.readlink(link) for link in pathlib.Path(f"/proc/{run.pid}/fd").iterdir()}
            sockets = {name.removeprefix("socket:[").removesuffix("]") for name in opened if name.startswith("socket:")}
        finally:
            run.kill()
    assert not sockets & listening()


def listening() -> set[str]:
    """The inodes of all sockets of this machine that somebody may connect to, or send to, from elsewhere."""
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if kind.startswith("udp") or fields[3] == "0A":
                found.add(fields[9])
    return found


def test_the_document_names_the_tests_that_hold_it():
    text = (ROOT / "SECURITY.md").read_text()
    named = {word for word in text.replace("`", " ").split() if word.startswith("tests/")}
    assert named >= {
        "tests/security_test.py",
        "tests/runs/hostile_test.py",
        "tests/runs/damage_test.py",
        "tests/trainer/storage/links_test.py",
    }
    assert all((ROOT / name).is_file() for name in named)
