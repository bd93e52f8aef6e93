"""The wheel: one package, which works beside folders of a user's own that have the names of its parts."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import keras
import numpy as np
import pytest

import constraints
from tests.support import processes, tiny_experiment
from tests.support.processes import ROOT

NAME = "constrained_training"
PRESETS = {path.name for path in (ROOT / "scripts" / "presets").iterdir() if path.is_file()}


def said(command: list, cwd: pathlib.Path, **environment: str) -> str:
    """What a command prints on standard output; the checkout is not on its path."""
    surroundings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    surroundings |= {"CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    return processes.succeeded(done).stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> pathlib.Path:
    """A copy of the checkout, as building leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("constraints", "models", "scripts", "trainer"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    said([*pip, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, "."], sources)
    (built,) = folder.glob("*.whl")
    return built


def environment(folder: pathlib.Path, *installed: object) -> pathlib.Path:
    """A virtual environment that holds a package and sees the libraries of this one; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder that is added this way has its own .pth files ignored, and with them this checkout.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--ignore-installed"]
    said([*pip, "--no-deps", "--no-index", "--no-build-isolation", *installed], folder)
    return python


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> pathlib.Path:
    """The Python of an environment that holds the wheel."""
    return environment(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture
def project(tmp_path) -> pathlib.Path:
    """A user's own project, whose folders have the names of this one's."""
    for name in ("constraints", "models", "scripts", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    return tmp_path


def test_the_wheel_holds_one_package_and_the_presets(wheel):
    names = [pathlib.PurePath(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert {name.parts[0].partition("-")[0] for name in names} == {NAME}
    assert {name.name for name in names if name.parts[:2] == (NAME, "presets")} == PRESETS
    files = {str(name) for name in names}
    for folder in ("constraints", "models", "trainer"):
        found = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}
        expected = {f"{NAME}/{name}" for name in found if name != "trainer/_installed/__init__.py"}
        assert {name for name in files if name.startswith(f"{NAME}/{folder}/")} == expected


BESIDE = f"""
import importlib.resources, sys
import {NAME}, {NAME}.trainer.main
assert "tensorflow" not in sys.modules, "signals are not listened to while TensorFlow is imported"
from {NAME} import MaxNorm, REGISTRY, Rule, Trainer, attach, match, schedules
assert {NAME}.constraints.MaxNorm is MaxNorm is {NAME}.REGISTRY["maxnorm"]
assert MaxNorm.__module__ == "{NAME}.constraints.sets.maxnorm"
assert {{"MaxNorm", "Rule", "Trainer", "models"}} <= set(dir({NAME}))
assert "constraints" not in sys.modules and "models" not in sys.modules
import constraints, models, scripts, trainer
assert constraints.MINE and models.MINE and scripts.MINE and trainer.MINE
assert importlib.resources.files("{NAME}.presets").joinpath("annealed.toml").is_file()
try:
    {NAME}.nothing
except AttributeError as error:
    print(error)
"""


@pytest.mark.slow
def test_names_are_found_beside_folders_of_the_same_names(python, project):
    assert said([python, "-c", BESIDE], project) == f"module '{NAME}' has no attribute 'nothing'\n"


@pytest.mark.slow
def test_the_program_trains_and_goes_on_beside_folders_of_the_same_names(python, project):
    program = python.with_name("constrained-train")
    with pytest.raises(RuntimeError, match=r"--rules=six cannot be read: .* or one of annealed, six_rules_resnet"):
        said([program, "--rules=six", "--run_dir=run"], project)
    small = ["--dataset=synthetic", "--input_shape=6", "--num_examples=60", "--train_steps=20", "--batch_size=8"]
    small += ["--constraint=topk", "--sparsity=0.5", "--run_dir=run"]
    assert "every rule holds" in said([program, *small], project)
    again = said([python, "-m", f"{NAME}.trainer.main", "--flagfile=run/flags.txt"], project)
    assert "continues at step 20 of 20" in again
    assert processes.certificate(project / "run")["feasible"] is True
    prepared = said([python, "-m", f"{NAME}.trainer.data", "digits", "--data_dir=data"], project)
    assert prepared.startswith("digits is prepared in data")
    table = said([program, "--flagfile=maxnorm_dense", "--data_dir=data", "--dry_run"], project)
    assert "hidden_1/kernel  64x64" in table


# A program outside the repository: a subclassed model with a loss and a metric of its own, killed where it is told to.
PROGRAM = f"""
import os, signal, sys
import keras, numpy as np
from {NAME} import MaxNorm, Rule, TopK, Trainer, schedules
import constraints, models
assert constraints.MINE and models.MINE

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu", name="hidden")
        self.drop = keras.layers.Dropout(0.3)
        self.last = keras.layers.Dense(2, name="last")

    def call(self, inputs, training=False):
        return self.last(self.drop(self.hidden(inputs), training=training))

class Near(keras.metrics.MeanMetricWrapper):
    def __init__(self):
        super().__init__(lambda y, p: keras.ops.mean(keras.ops.cast(abs(y - p) < 0.5, "float32"), axis=-1), name="near")

def loss(y, predicted):
    return keras.ops.mean(keras.ops.logaddexp(y - predicted, predicted - y), axis=-1)

class Kill(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

x = np.random.default_rng(0).standard_normal([120, 6]).astype("float32")
y = np.stack([x.sum(axis=1), x[:, 0] * x[:, 1]], axis=1)
trainer = Trainer(
    Net,
    [
        Rule(TopK(schedules.polynomial(0.0, 0.5, end="80%")), variables="hidden/kernel"),
        Rule(MaxNorm(1.0), variables="last/kernel"),
    ],
    optimizer=keras.optimizers.Adam(1e-2),
    loss=loss,
    metrics=[Near()],
    run_dir=sys.argv[1],
    checkpoint_every="1ep",
)
history = trainer.fit(x, y, 20, 8, 0, [Kill()], validation_data=(x[:40], y[:40]))
assert len(history.history["near"]) == 8 and "val_near" in history.history
print(trainer.certify())
np.savez(sys.argv[1] + ".npz", *trainer.model.get_weights())
"""


@pytest.mark.slow
def test_a_program_elsewhere_that_is_killed_twice_ends_as_the_whole_run(python, project):
    (project / "mine.py").write_text(PROGRAM)

    def run(name: str, epoch: int) -> str:
        return said([python, "mine.py", name, epoch], project)

    whole = run("whole", -1)
    for epoch in (2, 5):
        with pytest.raises(RuntimeError, match="exit code -9"):
            run("killed", epoch)
    assert run("killed", -1) == whole
    assert "hidden/kernel" in whole
    assert "NO" not in whole
    first, second = (np.load(project / f"{name}.npz") for name in ("whole", "killed"))
    assert tiny_experiment.same_bits([first[name] for name in first], [second[name] for name in second])
    assert np.mean(first["arr_0"] == 0.0) == 0.5
    certificates = [processes.certificate(project / name) for name in ("whole", "killed")]
    assert certificates[0] == certificates[1]
    assert certificates[0]["feasible"] is True


LOAD = f"""
import sys
import keras, numpy as np
from {NAME} import MaxNorm, TopK, schedules
theirs = keras.models.load_model(sys.argv[1])
assert theirs.layers[0].kernel_constraint == MaxNorm(schedules.cosine(2.0, 0.5, end=10)), "another set"
assert type(theirs.layers[0].kernel_constraint) is MaxNorm
layer = keras.layers.Dense(3, kernel_constraint=TopK(0.5))
network = keras.Sequential([keras.Input((4,)), layer])
network.save(sys.argv[2])
print(*(key for key in TopK(0.5).get_config() if "import" in key))
"""


@pytest.mark.slow
def test_a_model_saved_under_one_name_loads_under_the_other(python, tmp_path):
    bound = constraints.schedules.cosine(2.0, 0.5, end=10)
    ours = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=constraints.MaxNorm(bound))])
    ours.save(tmp_path / "ours.keras")
    message = said([python, "-c", LOAD, tmp_path / "ours.keras", tmp_path / "theirs.keras"], tmp_path)
    assert message == f"run `import {NAME}.constraints` before loading\n"
    theirs = keras.models.load_model(tmp_path / "theirs.keras")
    assert theirs.layers[0].kernel_constraint == constraints.TopK(0.5)
    assert type(theirs.layers[0].kernel_constraint) is constraints.TopK
    weights = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(np.count_nonzero(theirs.layers[0].kernel_constraint(weights)), 6)


BOTH = f"""
import pathlib, sys
import constraints, trainer
import {NAME}
assert constraints.MaxNorm is not {NAME}.MaxNorm
assert pathlib.Path(constraints.__file__).is_relative_to(sys.argv[1])
print(constraints.MaxNorm(2.0) == {NAME}.MaxNorm(2.0), trainer.attach.__module__, {NAME}.attach.__module__)
"""


@pytest.mark.slow
def test_a_checkout_works_beside_the_wheel(python, sources):
    said_of_both = said([python, "-c", BOTH, sources], sources)
    assert said_of_both == f"False trainer.rules.attach {NAME}.trainer.rules.attach\n"
    assert "--max_value" in said([python, "-m", "trainer.main", "--help=rule"], sources)


@pytest.mark.slow
def test_an_editable_install_is_the_checkout_under_the_installed_name(sources, project, tmp_path_factory):
    python = environment(tmp_path_factory.mktemp("editable"), "--editable", sources)
    assert said([python, "-c", BESIDE], project) == f"module '{NAME}' has no attribute 'nothing'\n"
    found = said([python, "-c", f"import {NAME}.trainer.main as main; print(main.__file__)"], project)
    assert found == f"{sources}/trainer/main.py\n"
    small = ["--dataset=synthetic", "--input_shape=6", "--train_steps=4", "--dry_run", "--rules=annealed"]
    assert "topk" in said([python.with_name("constrained-train"), *small], project)
    assert "--max_value" in said([python, "-m", "trainer.main", "--help=rule"], sources)
