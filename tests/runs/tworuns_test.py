"""Two runs, one directory: the second is refused at once and told who is there; the dead block nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from tests.runs import resume_test
from tests.support import processes, sabotage
from trainer.settings.config import Config
from trainer.storage import run_directory
from trainer.training.experiment import directory_of

FLAGS = [*resume_test.COMMON, *resume_test.MODELS["mlp"]]
ENDLESS = [*FLAGS, "--train_steps=1000000"]
# The second of two runs is told so within these seconds.
SOON = 45.0


def directory(path, **settings) -> run_directory.RunDirectory:
    return directory_of(Config(run_dir=str(path), **settings))


@pytest.fixture
def taken(tmp_path):
    """A directory that another run, of this process, trains in."""
    run = directory(tmp_path / "run")
    run.open("", {})
    yield tmp_path / "run"
    run.close()


@pytest.mark.parametrize("settings", [{}, {"overwrite": True}, {"resume": "must"}, {"resume": "never"}, {"seed": 5}])
def test_a_look_is_enough_to_be_refused(taken, settings):
    """Before the experiment is built, which can take minutes."""
    before = processes.listing(taken)
    with pytest.raises(ValueError, match=f"{socket.gethostname()}, process {os.getpid()};"):
        directory(taken, **settings).check()
    assert processes.listing(taken) == before


def test_a_dry_run_disturbs_nobody_and_is_not_refused(taken):
    before = processes.listing(taken)
    assert directory(taken, dry_run=True).check() is True
    assert processes.listing(taken) == before


def test_a_look_does_not_keep_others_out(taken, tmp_path):
    directory(tmp_path / "other").open("", {})
    looking = threading.Event()

    def look():
        while not looking.is_set():
            directory(tmp_path / "free").check()

    first = directory(tmp_path / "free")
    first.open("", {})
    first.close()
    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            again = directory(tmp_path / "free")
            assert again.open("", {}) is True
            again.close()
    finally:
        looking.set()
        thread.join()


def test_a_directory_that_was_taken_away_is_noticed(tmp_path):
    run = directory(tmp_path / "run")
    run.open("", {})
    run.check_held()
    os.rename(tmp_path / "run", tmp_path / "elsewhere")
    with pytest.raises(OSError, match="deleted, moved or replaced"):
        run.check_held()
    other = directory(tmp_path / "run")
    other.open("", {})
    other.check_held()
    with pytest.raises(OSError, match="deleted, moved or replaced"):
        run.check_held()
    run.close()
    other.close()


def test_a_lock_that_was_deleted_does_not_let_two_runs_mix(taken):
    first = directory(taken.parent / "mine")
    first.open("", {})
    (taken.parent / "mine" / ".lock").unlink()
    second = directory(taken.parent / "mine")
    assert second.open("", {}) is True
    second.check_held()
    with pytest.raises(OSError, match="deleted, moved or replaced"):
        first.check_held()
    first.close()
    second.close()


def start(plan, *flags: str, folder) -> subprocess.Popen[str]:
    return subprocess.Popen(
        sabotage.command(plan, *flags),
        cwd=folder,
        env=processes.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(folder, pid: int) -> None:
    begun = time.monotonic()
    second = processes.train(*ENDLESS, cwd=folder, timeout=60)
    assert time.monotonic() - begun < SOON
    assert second.returncode == 2
    assert second.stdout == ""
    assert f"{socket.gethostname()}, process {pid};" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize("at", ["files:sync", "files:checksum", "checkpoint_folders:path", "checkpoint_folders:delete"])
def test_a_run_that_starts_while_another_saves(tmp_path, at):
    """The first is frozen in the middle of a save, so that the second cannot but meet it there."""
    with start([sabotage.point(f"trainer.storage.{at}", send=("SIGSTOP",))], *ENDLESS, folder=tmp_path) as first:
        os.waitid(os.P_PID, first.pid, os.WSTOPPED)
        try:
            before = processes.listing(tmp_path)
            refused(tmp_path, first.pid)
            assert processes.listing(tmp_path) == before
        except BaseException:
            first.kill()  # Or it would be waited for without end.
            raise
        # The first goes on as if nothing had been.
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGTERM)
        output, errors = first.communicate(timeout=60)
        assert first.returncode == 75, errors
        assert "saved at step" in output
    step = max(int(path.name.removeprefix("step-")) for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
    with start([], *ENDLESS, folder=tmp_path) as third:
        while "run directory" not in (line := third.stdout.readline()):
            pass
        third.kill()
        assert f"continues at step {step:,} " in line


@pytest.mark.slow
def test_the_lock_of_a_killed_run_blocks_nobody(tmp_path):
    plan = [sabotage.point("trainer.storage.files:sync", send=("SIGSTOP",))]
    with start(plan, *FLAGS, folder=tmp_path) as first:
        os.waitid(os.P_PID, first.pid, os.WSTOPPED)
        first.kill()
    assert list((tmp_path / "run").rglob("unfinished-*"))
    assert (tmp_path / "run" / ".lock").read_text().endswith(f"process {first.pid}\n")
    processes.succeed(*FLAGS, cwd=tmp_path)
    assert not list((tmp_path / "run").rglob("unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
def test_of_two_that_start_together_one_trains(tmp_path, extra):
    both = [start([], *FLAGS, *extra, folder=tmp_path) for _ in range(2)]
    codes, texts = [], []
    for process in both:
        with process:
            texts.append("".join(process.communicate(timeout=120)))
        codes.append(process.returncode)
    assert sorted(codes) in ([0, 2], [0, 0]), texts
    if 2 in codes:
        assert "is being trained in by" in texts[codes.index(2)]
    else:
        # They did not meet: the second found the run ended, or deleted it as it was told to.
        assert extra or "continues at step 240" in texts[0] + texts[1]
    alone = tmp_path / "alone"
    alone.mkdir()
    processes.succeed(*FLAGS, cwd=alone)
    assert resume_test.state(tmp_path / "run") == resume_test.state(alone / "run")
