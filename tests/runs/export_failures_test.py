"""An export that fails or is killed leaves whole files or none, and says in one sentence what is wrong."""

from __future__ import annotations

import importlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.support import processes
from tests.support.processes import listing, succeeded
from trainer.export.formats import FORMATS

pytestmark = pytest.mark.slow

NAMES = ("keras", "sparse", "tflite")


def start(*arguments: str, cwd, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.export", *arguments],
        cwd=cwd,
        **{"env": processes.environment(), "start_new_session": True, **options},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(process: subprocess.Popen[str], code: int, *said: str, alone: bool = True) -> None:
    """Ends with a code and a sentence; `alone`: nothing else is printed to the standard error."""
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    *before, line = stderr.splitlines()
    assert not (before and alone), stderr
    assert line.startswith("error: ")
    for words in said:
        assert words in line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--dataset=digits", "--train_steps=60", "--constraint=topk", "--sparsity=0.5", "--hidden_units=32"]
    processes.succeed("--run_dir=run", *flags, cwd=folder)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def weights(folder: pathlib.Path) -> dict[str, list[np.ndarray]]:
    """What the files under their final names store."""
    there = {}
    for name in NAMES:
        path = folder / FORMATS[name].file
        if path.exists():
            module = importlib.import_module(f"trainer.export.formats.{FORMATS[name].module}")
            there[name] = [one.values for one in module.read(str(path))]
    return there


def test_killed_at_ten_points_only_whole_files_are_left(run):
    command = ("run", f"--formats={','.join(NAMES)}", "--overwrite")
    begun = time.monotonic()
    whole = start(*command, cwd=run.parent)
    _, stderr = whole.communicate(timeout=600)
    took = time.monotonic() - begun
    assert whole.returncode == 0, stderr
    expected = weights(run / "export")
    assert set(expected) == set(NAMES)
    left = set()
    for point in range(1, 11):
        shutil.rmtree(run / "export", ignore_errors=True)
        process = start(*command, cwd=run.parent)
        # The later half of an export is where it writes.
        time.sleep(took * (0.4 + 0.06 * point))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        found = weights(run / "export")
        left.add(len(found))
        for name, values in found.items():
            for mine, its in zip(values, expected[name], strict=True):
                np.testing.assert_array_equal(mine, its)
    assert len(left) > 1, "all kills hit the same part of the export"
    succeeded(
        subprocess.run(
            [sys.executable, "-m", "trainer.export", *command],
            cwd=run.parent,
            env=processes.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert {one.name for one in (run / "export").iterdir()} == {*(FORMATS[name].file for name in NAMES), "export.json"}


@pytest.mark.parametrize("limit", [100, 3_000, 12_000])
def test_a_disk_that_takes_no_more(run, limit):
    """No file may grow beyond so many bytes, as on a disk that is full: those of the system's temporary folder too."""
    process = start(
        "run",
        f"--formats={','.join(NAMES)}",
        cwd=run.parent,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    # TensorFlow warns where it cannot write even the code that it makes of a short function.
    refused(process, 1, "File too large", alone=limit > 1_000)
    for name, values in weights(run / "export").items():
        assert values, name
    assert not list((run / "export").glob(".unfinished-*"))


# How long to wait for the rest of the file: Keras writes in parts and then takes seconds to import what reads them;
# LiteRT's file is written at once and read soon.
@pytest.mark.parametrize(("name", "seconds"), [("keras", 0.3), ("tflite", 0.0)])
def test_a_file_that_is_damaged_before_it_is_reloaded(run, name, seconds):
    process = start("run", f"--formats={name}", cwd=run.parent)
    size, since = -1, time.monotonic()
    while True:
        assert process.poll() is None, process.communicate()
        for path in (run / "export").glob(f".unfinished-*/{FORMATS[name].file}"):
            if path.stat().st_size != size:
                size, since = path.stat().st_size, time.monotonic()
        if size > 0 and time.monotonic() - since > seconds:
            os.truncate(path, size // 2)
            break
        time.sleep(0.005)
    refused(process, 1, FORMATS[name].file, "so it is not kept")
    assert list((run / "export").iterdir()) == []


def test_a_run_of_another_version(run):
    with (run / "flags.txt").open("a") as file:
        file.write("--flag_of_tomorrow=1\n")
    before = listing(run)
    refused(start("run", cwd=run.parent), 2, "holds a run of another version", "flag_of_tomorrow")
    assert listing(run) == before


def test_a_converter_that_is_not_installed(run, tmp_path):
    # A module that is None counts as absent, see importlib.util.find_spec.
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import sys\nsys.modules['tf2onnx'] = None\n")
    environment = processes.environment()
    environment["PYTHONPATH"] = f"{tmp_path / 'site'}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    before = listing(run)
    process = start("run", "--formats=onnx", cwd=run.parent, env=environment)
    refused(process, 2, "tf2onnx", "pip install 'constrained-training[onnx]'")
    assert listing(run) == before


def test_a_layer_that_compact_does_not_know_is_named_and_the_rest_is_compacted(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input([8, 8, 1])
    x = keras.layers.Dense(32, activation="relu", name="hidden")(keras.layers.Flatten()(inputs))
    x = keras.layers.Dense(32, activation="relu", name="wide")(x)
    x = keras.layers.Reshape([4, 8])(x)
    x = keras.layers.Attention(name="foreign")([x, x])
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x))).save(tmp_path / "net.keras")
    flags = ["--model=net.keras", "--dataset=digits", "--train_steps=20"]
    rule = ["--constraint=unitsparse", "--sparsity=0.5", "--variables=hidden/kernel,wide/kernel", "--with_bias"]
    processes.succeed("--run_dir=run", *flags, *rule, cwd=tmp_path)
    process = start("run", "--compact", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert "hidden: 16 of 32 units are left" in stdout
    (named,) = (line for line in stdout.splitlines() if line.startswith("foreign: "))
    assert "Attention" in named
    assert keras.models.load_model(tmp_path / "run/export/model.keras").get_layer("hidden").units == 16
