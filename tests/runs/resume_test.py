"""A run that was stopped and continued ends as if it had never stopped, bit for bit."""

from __future__ import annotations

import contextlib
import pathlib
import random
import shutil
import signal
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import plugin_event_multiplexer as event_multiplexer

from tests.support import processes, tensorboard_data
from trainer.storage import files

STEPS = 240
COMMON = [
    "--run_dir=run",
    f"--train_steps={STEPS}",
    "--eval_every=20",
    "--summary_every=10",
    "--histogram_every=60",
    "--checkpoint_every=40",
    "--steps_per_loop=7",
    "--constraint=maxnorm",
    "--max_value=0.5",
    "--schedule=cosine",
    "--initial_value=2",
]
MODELS = {
    # A set that carries numbers from one projection to the next: they are state too.
    "mlp": ["--model=mlp", "--hidden_units=16", "--dropout=0.3", "--constraint=l1ball"],
    "convnet": ["--model=convnet", "--filters=8", "--dropout=0.2", "--optimizer=sgd", "--learning_rate=0.05"],
}


def stop_at_evaluation(flags: list[str], cwd: pathlib.Path, number: int, kind: signal.Signals) -> int:
    """Starts a run, sends it a signal after so many evaluations, and returns its exit code."""
    with subprocess.Popen(
        processes.command(*flags), cwd=cwd, env=processes.environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            number -= "validation loss" in line
            if number == 0:
                process.send_signal(kind)
                break
        process.stdout.read()
    return process.returncode


def state(directory: pathlib.Path, step: int = STEPS) -> dict[str, bytes]:
    """Every tensor of the last checkpoint: weights, optimizer state, seeds, totals, best."""
    reader = tf.train.load_checkpoint(str(directory / "checkpoints" / f"step-{step:08d}" / "state"))
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("_CHECKPOINTABLE")]
    return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}


def assert_same_points(directory: pathlib.Path, other: pathlib.Path) -> None:
    """The event files hold each step once, with the same values, but for those of a clock."""
    points, expected = tensorboard_data.scalars(directory), tensorboard_data.scalars(other)
    assert points.keys() == expected.keys()
    for tag in expected:
        if not tag.endswith(("steps_per_second", "waiting_share")):
            assert points[tag] == expected[tag], tag


@pytest.mark.parametrize(
    ("model", "replicas"),
    [
        ("mlp", 1),
        pytest.param("mlp", 2, marks=pytest.mark.slow),
        pytest.param("convnet", 1, marks=pytest.mark.slow),
        pytest.param("convnet", 2, marks=pytest.mark.slow),
    ],
)
def test_interrupted_anywhere_and_continued(server, tmp_path, model, replicas):
    flags = [*COMMON, *MODELS[model], f"--num_replicas={replicas}"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    server.succeed(*flags, cwd=whole)
    moments = random.Random(f"{model}{replicas}")
    assert stop_at_evaluation(flags, broken, moments.randint(1, 4), signal.SIGINT) == 75
    assert stop_at_evaluation(flags, broken, moments.randint(1, 4), signal.SIGKILL) == -signal.SIGKILL
    server.succeed(*flags, cwd=broken)

    expected = state(whole / "run")
    assert len(expected) > 10
    assert state(broken / "run") == expected
    assert (broken / "run" / "certificate.json").read_bytes() == (whole / "run" / "certificate.json").read_bytes()
    seeds = [name for name in expected if name.startswith("seeds/")]
    assert seeds, "dropout's seeds are part of the state"
    assert (model == "mlp") == any(name.startswith("rules/") for name in expected)
    assert_same_points(broken / "run", whole / "run")


@pytest.mark.slow
def test_killed_at_random_times(tmp_path):
    """SIGKILL wherever it falls: during start-up, steps, summaries, evaluations and saves."""
    steps = 15_000
    # Everything often, so that little of the run is between two of its acts.
    flags = [*COMMON, *MODELS["mlp"], f"--train_steps={steps}", "--histogram_every=50", "--checkpoint_every=30"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    processes.succeed(*flags, cwd=whole)
    moments = random.Random(11)
    for _ in range(12):
        with subprocess.Popen(
            processes.command(*flags), cwd=broken, env=processes.environment(), stdout=subprocess.PIPE
        ) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=moments.uniform(3, 7))
            process.kill()
    processes.succeed(*flags, cwd=broken)
    assert state(broken / "run", steps) == state(whole / "run", steps)
    assert (broken / "run" / "certificate.json").read_bytes() == (whole / "run" / "certificate.json").read_bytes()
    assert_same_points(broken / "run", whole / "run")
    assert not [path for path in (broken / "run").rglob("*") if "unfinished" in path.name or ".new" in path.name]


@pytest.fixture(scope="module")
def ended(server, tmp_path_factory):
    """A folder with a run that has come to its end."""
    folder = tmp_path_factory.mktemp("ended")
    server.succeed(*COMMON, *MODELS["mlp"], cwd=folder)
    return folder


@pytest.mark.parametrize(
    "command",
    [pytest.param([*COMMON, *MODELS["mlp"]], marks=pytest.mark.slow), ["--flagfile=run/flags.txt"]],
    ids=["same", "flagfile"],
)
def test_the_command_after_the_end_changes_nothing_but_says_so(server, ended, command):
    before = state(ended / "run"), (ended / "run" / "certificate.json").read_bytes()
    scalars = tensorboard_data.scalars(ended / "run")
    result = server.succeed(*command, cwd=ended)
    assert f"continues at step {STEPS}" in result.stdout
    assert (state(ended / "run"), (ended / "run" / "certificate.json").read_bytes()) == before
    assert tensorboard_data.scalars(ended / "run") == scalars


def test_a_damaged_checkpoint_is_passed_over_and_no_run_starts_anew_in_silence(server, ended, tmp_path):
    flags = [*COMMON, *MODELS["mlp"]]
    shutil.copytree(ended / "run", tmp_path / "run")
    expected = state(tmp_path / "run")
    folders = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    data = next(folders[-1].glob("state.data*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    result = server.succeed(*flags, cwd=tmp_path)
    assert "passed over" in result.stdout
    assert "continues at step 200" in result.stdout
    assert state(tmp_path / "run") == expected
    for folder in folders:
        (folder / "manifest.json").unlink()
    result = server.train(*flags, cwd=tmp_path)
    assert result.returncode == 2
    assert "none of the checkpoints" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_runs_in_one_directory(tmp_path):
    flags = [*COMMON, *MODELS["mlp"], "--train_steps=1000000"]
    with subprocess.Popen(
        processes.command(*flags), cwd=tmp_path, env=processes.environment(), stdout=subprocess.PIPE, text=True
    ) as first:
        for line in first.stdout:
            if "starts at step 0" in line:
                break
        second = processes.train(*flags, cwd=tmp_path, timeout=30)
        first.kill()
    assert second.returncode == 2
    assert f"process {first.pid}" in second.stderr


# Each character that TensorFlow, a shell, a pattern or a line of flags.txt could take for something else.
NAME = "runs/hidden=[300,100] *?{a,b}\\%s~:ü#$'\""


@pytest.mark.slow
def test_a_run_directory_of_any_name_is_continued_read_and_shown(server, tmp_path):
    flags = [*COMMON, *MODELS["mlp"], f"--run_dir={NAME}", "--train_steps=80"]
    server.succeed(*flags, cwd=tmp_path)
    whole = state_of(tmp_path / NAME, 80)
    shutil.rmtree(tmp_path / NAME / "checkpoints" / "step-00000080")
    assert "continues at step 40 of 80" in server.succeed(*flags, cwd=tmp_path).stdout
    assert state_of(tmp_path / NAME, 80) == whole
    (tmp_path / NAME / "checkpoints" / "step-00000080" / "manifest.json").unlink()
    result = server.succeed(f"--flagfile={NAME}/flags.txt", cwd=tmp_path)
    assert "continues at step 40 of 80" in result.stdout
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [pathlib.Path(NAME).name]
    other = [*MODELS["mlp"], "--constraint=mask", f"--mask_from={NAME}", "--train_steps=2", "--run_dir=other"]
    server.succeed(*other, cwd=tmp_path)
    shown = event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    shown.Reload()
    assert {f"{NAME}/train", f"{NAME}/eval"} <= shown.Runs().keys()


def state_of(directory: pathlib.Path, step: int) -> dict[str, bytes]:
    """`state` of a run directory that TensorFlow cannot find by its name."""
    with files.plain(directory) as folder:
        return state(folder, step)
