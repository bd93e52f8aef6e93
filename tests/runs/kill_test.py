"""SIGKILL at any moment: nothing is lost but the steps since the last save, and the end is the same, bit for bit.

`scripts/test.sh -m slow tests/runs/kill_test.py`: real processes, each killed at a random time or at a named point. No
hook in the program is needed: points are functions wrapped from outside (`tests.support.sabotage`), and moments of a
save are seen in the run directory.
"""

from __future__ import annotations

import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.runs import resume_test
from tests.support import processes, sabotage
from tests.support.sabotage import point

COMMON = [
    *resume_test.COMMON,
    "--steps_per_loop=5",
    "--checkpoint_every=15",
    "--learning_rate=0.01",
]
# Dropout, whose seeds are state, and batch norm, whose moving averages are; on one replica and on two.
MODELS = {
    "dropout": ["--model=mlp", "--hidden_units=16,8", "--dropout=0.3", "--constraint=l1ball"],
    "batch_norm": ["--model=resnet", "--depth=8", "--filters=2,2,2", "--optimizer=sgd", "--batch_size=8"],
}
CASES = [(model, replicas) for model in MODELS for replicas in (1, 2)]
# Long enough that a run is hit before it ends.
STEPS = 240
LONG = {"dropout": 3000, "batch_norm": 1200}

CHECKPOINTS = "trainer.storage.checkpoints"
# Each is reached in the first saves and evaluations of a session that has three checkpoints to go on from.
POINTS = {
    "before a save": point(f"{CHECKPOINTS}:Checkpoints.save"),
    "before a later save": point(f"{CHECKPOINTS}:Checkpoints.save", 2),
    "before values are written": point(f"{CHECKPOINTS}:Checkpoints._write", 2),
    "after values are written": point(f"{CHECKPOINTS}:Checkpoints._write", 2, "after"),
    "between two checksums": point("trainer.storage.files:checksum", 4),
    "before files are synced": point("trainer.storage.files:sync"),
    "before the folder is synced": point("trainer.storage.files:sync", 4),
    "before the checkpoint gets its name": point("os:rename", about="unfinished-"),
    "after the checkpoint got its name": point("os:rename", when="after", about="unfinished-"),
    "before an old one is set aside": point("trainer.storage.checkpoint_folders:delete", about="checkpoints/step-"),
    "after an old one was set aside": point("os:rename", when="after", about="obsolete-"),
    "in the middle of deleting an old one": point("os:unlink", 1, "after", about="state.index"),
    "after a save": point(f"{CHECKPOINTS}:Checkpoints.save", when="after"),
    "before event files are looked for": point("trainer.reporting.tensorboard:Summaries.look"),
    "after event files are looked for": point("trainer.reporting.tensorboard:Summaries.look", when="after"),
    "while a summary is written": point("trainer.reporting.tensorboard:Summaries._write", 3),
    "after a histogram": point("trainer.reporting.tensorboard:Summaries.histograms", when="after"),
    "before an evaluation": point("trainer.engine.train_step:Steps.evaluate"),
    "during an evaluation": point("trainer.data.arrays:Arrays.eval_batches", when="after"),
    "after an evaluation": point("trainer.engine.train_step:Steps.evaluate", when="after"),
    "while event files are rewound": point("tensorflow:io.TFRecordWriter.write", 7),
    "after event files were rewound": point("trainer.storage.event_files:rewind", when="after"),
    "after a checkpoint was restored": point(f"{CHECKPOINTS}:Checkpoints.restore", when="after"),
    "in the first chunk": point("trainer.engine.train_step:Steps.train", 1, "after"),
}
AT_THE_END = {
    "before the certificate": point("trainer.storage.files:write_atomically", about="certificate"),
    "before the certificate gets its name": point("os:replace", about="certificate"),
    "after the certificate": point("trainer.storage.files:write_atomically", when="after", about="certificate"),
}
AT_THE_START = {
    "before the settings": point("trainer.storage.files:write_atomically", about="run.json"),
    "before the settings get their name": point("os:replace", about="run.json"),
    "after the settings": point("trainer.storage.files:write_atomically", when="after", about="run.json"),
    "before the first summary": point("trainer.reporting.tensorboard:Summaries.begin"),
    "before the best is saved": point(f"{CHECKPOINTS}:Checkpoints.save_best"),
    "while the best is saved": point("os:rename", about="best/unfinished-"),
    "after the best was saved": point(f"{CHECKPOINTS}:Checkpoints.save_best", when="after"),
}
# Of each case: kills at a random time, and as soon as the folder of an unfinished checkpoint appears.
RANDOM, IN_A_SAVE = 4, 3


class Victim:
    """A run that is killed again and again, in its working folder."""

    def __init__(self, folder: pathlib.Path, flags: list[str]):
        self.folder = folder
        self.flags = flags

    def newest(self) -> int:
        """The step of the newest checkpoint that has its name; 0 where there is none."""
        names = (path.name for path in (self.folder / "run" / "checkpoints").glob("step-*"))
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def killed(self, plan: list[dict], wait=None) -> None:
        """Runs to a kill, by the plan or when `wait` returns, and checks that it went on from the last save."""
        expected = self.newest()
        with subprocess.Popen(
            sabotage.command(plan, *self.flags),
            cwd=self.folder,
            env=processes.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            output = ""
            if wait is not None:
                while "run directory" not in output and process.poll() is None:
                    output += process.stdout.readline()
                wait(process)
                process.kill()
            output += process.stdout.read()
        assert process.returncode == -signal.SIGKILL, output
        if "run directory" in output:
            where = f"continues at step {expected:,}" if expected else "starts at step 0"
            assert where in output
        assert "passed over" not in output
        assert self.newest() >= expected

    def leftovers(self) -> list[str]:
        """What a kill left behind."""
        words = ("unfinished", "obsolete", ".new", "_temp", "tempstate")
        return [str(path) for path in (self.folder / "run").rglob("*") if any(word in path.name for word in words)]


def assert_same_end(victim: Victim, whole: pathlib.Path, steps: int) -> None:
    """Lets the victim come to its end and holds all that it wrote against a run that nobody touched."""
    expected = victim.newest()
    result = processes.succeed(*victim.flags, cwd=victim.folder)
    assert f"continues at step {expected:,} " in result.stdout
    assert victim.leftovers() == []
    run, other = victim.folder / "run", whole / "run"
    assert resume_test.state(run, steps) == resume_test.state(other, steps)
    assert (run / "certificate.json").read_bytes() == (other / "certificate.json").read_bytes()
    resume_test.assert_same_points(run, other)
    best = [sorted(path.name for path in (each / "checkpoints" / "best").iterdir()) for each in (run, other)]
    assert best[0] == best[1]


def whole_run(folder: pathlib.Path, model: str, replicas: int, steps: int) -> list[str]:
    """Makes a run that nobody touches, and returns the flags of its command."""
    flags = [*COMMON, *MODELS[model], f"--num_replicas={replicas}", f"--train_steps={steps}"]
    folder.mkdir()
    processes.succeed(*flags, cwd=folder)
    return flags


def shared_out(points, number: int) -> list[dict]:
    """Every fourth point, so that each case has its own."""
    return list(points.values())[number :: len(CASES)]


def test_there_are_fifty_of_them():
    named = len(POINTS) + len(AT_THE_END) + len(AT_THE_START)
    assert named + len(CASES) * (RANDOM + IN_A_SAVE) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_at_named_points(tmp_path, number):
    flags = whole_run(tmp_path / "whole", *CASES[number], STEPS)
    victim = Victim(tmp_path / "broken", flags)
    victim.folder.mkdir()
    for one in shared_out(AT_THE_START, number):
        victim.killed([one])
    for one in shared_out(POINTS, number):
        if not 45 <= victim.newest() <= STEPS - 75:
            # Set back to three checkpoints, by a kill as well.
            shutil.rmtree(victim.folder / "run", ignore_errors=True)
            victim.killed([point(f"{CHECKPOINTS}:Checkpoints.save", 3, "after")])
        victim.killed([one])
    for one in shared_out(AT_THE_END, number):
        victim.killed([one])
    assert_same_end(victim, tmp_path / "whole", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_at_random_times(tmp_path, number):
    model, replicas = CASES[number]
    flags = whole_run(tmp_path / "whole", model, replicas, LONG[model])
    victim, draw = Victim(tmp_path / "broken", flags), random.Random(number)
    victim.folder.mkdir()
    checkpoints = victim.folder / "run" / "checkpoints"

    def from_the_start(process: subprocess.Popen[str]) -> None:
        time.sleep(draw.uniform(0.0, 3.0))

    def from_the_next_save(process: subprocess.Popen[str]) -> None:
        before = victim.newest()
        while process.poll() is None and victim.newest() == before:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 1.0))

    def in_a_save(process: subprocess.Popen[str]) -> None:
        from_the_next_save(process)
        while process.poll() is None and not list(checkpoints.glob("unfinished-*")):
            time.sleep(0.0002)
        time.sleep(draw.uniform(0.0, 0.02))

    waits = [from_the_start, from_the_next_save] * (RANDOM // 2) + [in_a_save] * IN_A_SAVE
    for wait in draw.sample(waits, len(waits)):
        victim.killed([], wait)
    assert_same_end(victim, tmp_path / "whole", LONG[model])
