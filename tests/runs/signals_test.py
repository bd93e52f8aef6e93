"""Signals at any step and at any point of a save: the step ends, the run is saved, the exit code is 75."""

from __future__ import annotations

import random
import re
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tests.runs import resume_test
from tests.support import processes, sabotage
from trainer.engine import loop, train_step
from trainer.engine.run_state import RunState

STEPS = 400
FLAGS = [
    *resume_test.COMMON,
    *resume_test.MODELS["mlp"],
    f"--train_steps={STEPS}",
    "--steps_per_loop=1",
]
SIGNALS = ("SIGTERM", "SIGINT")
# What else a terminal that closes, and a scheduler before SIGTERM, sends.
OTHERS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
TRAIN = "trainer.engine.train_step:Steps.train"
# Where a signal just before the 13th step may stop the run: that step is made or not, as the watching thread is quick.
AT_MOST_ONE_MORE = (12, 13)
# Points of the save that the first signal leads to, and of the way out after it.
WHILE_SAVING = {
    "as it begins": "trainer.storage.checkpoints:Checkpoints.save",
    "as values are written": "trainer.storage.checkpoints:Checkpoints._write",
    "as checksums are taken": "trainer.storage.files:checksum",
    "as files are synced": "trainer.storage.files:sync",
    "as it gets its name": "trainer.storage.checkpoint_folders:path",
    "as event files are looked for": "trainer.reporting.tensorboard:Summaries.look",
    "as event files are closed": "trainer.reporting.tensorboard:Summaries.close",
    "as the directory is given back": "trainer.training.session:Session.close",
}
# Points before training, in the order in which a run comes by.
STARTING = {
    "as flags are defined": "trainer.settings.flags:define",
    "as the network is built": "trainer.training.experiment:build",
    "as the directory is taken": "trainer.storage.run_directory:RunDirectory.open",
    "as settings are written": "trainer.storage.files:write_atomically",
    "as summaries begin": "trainer.reporting.tensorboard:Summaries.begin",
}


def steps_saved(folder) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "run" / "checkpoints").glob("step-*"))


def stopped(plan, folder, name: str) -> int:
    """Runs until the plan's signal stops it; checks exit code and message and returns the step."""
    result = sabotage.train(plan, *FLAGS, cwd=folder)
    assert result.returncode == 75, result.stdout + result.stderr
    assert result.stderr == ""
    (line,) = [line for line in result.stdout.splitlines() if "saved at step" in line]
    step = int(line.split("step ")[1].split(";")[0].replace(",", ""))
    assert line == f"{name}: saved at step {step:,}; the same command continues the run."
    assert steps_saved(folder)[-1] == step
    return step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    processes.succeed(*FLAGS, cwd=folder)
    return folder


def assert_ends_like(whole, folder) -> None:
    processes.succeed(*FLAGS, cwd=folder)
    assert resume_test.state(folder / "run", STEPS) == resume_test.state(whole / "run", STEPS)
    assert (folder / "run" / "certificate.json").read_bytes() == (whole / "run" / "certificate.json").read_bytes()
    resume_test.assert_same_points(folder / "run", whole / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SIGNALS, *OTHERS])
def test_signals_without_end_from_the_first_save_to_the_last_line(tmp_path, name):
    """One signal to stop, and then one at each point where another could do harm."""
    more = [sabotage.point(at, send=(*SIGNALS, *OTHERS)) for at in WHILE_SAVING.values()]
    # Half a chunk before any checkpoint is due, so that the signal's own save is the first.
    step = stopped([sabotage.point(TRAIN, 13, send=(name,)), *more], tmp_path, name)
    assert step in AT_MOST_ONE_MORE
    assert steps_saved(tmp_path) == [step]
    assert f"continues at step {step}" in processes.succeed(*FLAGS, "--train_steps=400", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("name", "where"),
    [("SIGHUP", "as flags are defined"), *(pytest.param("SIGINT", each, marks=pytest.mark.slow) for each in STARTING)],
)
def test_a_signal_before_training_ends_the_run_at_once_and_the_same_command_begins_it(tmp_path, name, where):
    result = sabotage.train([sabotage.point(STARTING[where], send=(name,))], *FLAGS, cwd=tmp_path)
    assert result.returncode == 75, result.stdout + result.stderr
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == (
        f"{name}: stopped outside training, nothing is lost; the same command goes on."
    )
    assert steps_saved(tmp_path) == []
    if name == "SIGINT":
        assert "starts at step 0" in processes.succeed(*FLAGS, cwd=tmp_path).stdout


@pytest.mark.parametrize("seconds", [0.001, 0.3, 50.0])
def test_slow_steps_make_short_chunks_so_that_a_signal_is_heard_soon(seconds):
    lengths, clock = [], [0.0]

    class Slow:
        def train(self, num_steps, totals, nonfinite, measure):
            lengths.append(num_steps)
            clock[0] += num_steps * seconds
            return train_step.Chunk(np.zeros(5), tf.constant([0, 0, num_steps]), None, None)

    arguments = {"start": 0, "total_steps": 500, "steps_per_loop": 100, "measure_every": 500}
    arguments |= {"clock": lambda: clock[0], "report": lambda step: None, "stop": lambda: False}
    arguments |= {"max_nonfinite": 10, "recover": pytest.fail}
    end = loop.run(Slow(), RunState(), [loop.Every(500, print)], **arguments)
    assert end == sum(lengths) == 500
    assert max(lengths) == {0.001: 100, 0.3: 10, 50.0: 10}[seconds]
    assert set(lengths[2:-1]) == {0.001: {100}, 0.3: {3}, 50.0: {1}}[seconds]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_at_ten_random_steps(whole, tmp_path, name):
    draw, step = random.Random(name), 0
    for _ in range(10):
        call = draw.randint(1, 38)
        when = draw.choice(["before", "after"])
        then = stopped([sabotage.point(TRAIN, call, when, (name,))], tmp_path, name)
        # Before a call, its one step is made or not, as the watching thread is quick; after it, no other begins.
        assert then - step in ({call - 1, call} if when == "before" else {call})
        step = then
    assert_ends_like(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_in_the_middle_of_a_call_of_many_steps_at_most_one_more_is_made(tmp_path, name):
    """The third call is the first that is as long as a second allows; its steps take some milliseconds each."""
    flags = ["--run_dir=run", "--model=convnet", "--batch_size=512", "--train_steps=100000", "--summary_every=100%"]
    flags += ["--eval_every=100%", "--histogram_every=100%", "--checkpoint_every=100%", "--steps_per_loop=100000"]
    draw = random.Random(name)
    for _ in range(10):
        plan = [sabotage.point(TRAIN, 3, "during", (name,), delay=draw.uniform(0.05, 0.5))]
        plan += [sabotage.point("trainer.engine.train_step:Steps.halt", when="told")]
        result = sabotage.train(plan, *flags, cwd=tmp_path)
        assert result.returncode == 75, result.stdout + result.stderr
        found = (re.search(f"{what} at step ([0-9,]+)", result.stdout)[1] for what in ("halt", "saved"))
        halted, saved = (int(number.replace(",", "")) for number in found)
        # The step that the word came in, and no other but one that had begun.
        assert 20 < halted <= saved <= halted + 1
        assert steps_saved(tmp_path)[-1] == saved


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WHILE_SAVING)))
def test_again_at_each_point_of_the_save(whole, tmp_path, number):
    first, at = SIGNALS[number % 2], list(WHILE_SAVING.values())[number]
    # Before anything else is saved, so that the point is one of the save that the first signal leads to.
    plan = [sabotage.point(TRAIN, 13, send=(first,)), sabotage.point(at, send=SIGNALS * 2)]
    assert stopped(plan, tmp_path, first) in AT_MOST_ONE_MORE
    assert_ends_like(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_after_the_last_step_all_is_saved_or_the_certificate_is_written(whole, tmp_path, name, when):
    """Before the run has come to what only the certificate waits for, it ends with 75; then it comes to its end."""
    # The last save of a run that nothing stops, and the evaluation after it.
    at, call = {
        "before": ("trainer.training.session:Session._save", 10),
        "after": ("trainer.training.session:Session._finish", 1),
    }[when]
    result = sabotage.train([sabotage.point(at, call, send=(name,))], *FLAGS, cwd=tmp_path)
    assert result.stderr == ""
    assert steps_saved(tmp_path)[-1] == STEPS
    written = (tmp_path / "run" / "certificate.json").exists()
    assert result.returncode == (0 if written else 75), result.stdout
    assert written == (when == "after")
    if not written:
        assert f"{name}: saved at step {STEPS}; the same command continues the run." in result.stdout
    assert_ends_like(whole, tmp_path)


@pytest.mark.slow
def test_under_nohup_a_terminal_that_closes_stops_nothing(tmp_path):
    plan = [sabotage.point(TRAIN, 13, send=("SIGHUP",)), sabotage.point(TRAIN, 20, send=("SIGTERM",))]
    command = ["nohup", *sabotage.command(plan, *FLAGS)]
    result = subprocess.run(
        command, cwd=tmp_path, env=processes.environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 75, result.stdout + result.stderr
    assert "SIGTERM: saved at step" in result.stdout
