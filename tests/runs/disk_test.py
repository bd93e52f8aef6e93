"""A disk that is full, read-only or gone: what was saved stays good, one message says so, and charts are no reason to
stop."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.runs import resume_test
from tests.support import processes, tensorboard_data, tiny_experiment
from tests.trainer.training import experiment_test
from trainer.engine.projector import MEASURES
from trainer.reporting import tensorboard
from trainer.storage import files

FLAGS = [
    "--run_dir=run",
    "--hidden_units=8",
    "--dropout=0.2",
    "--constraint=maxnorm",
    "--summary_every=2",
    "--eval_every=40",
    "--checkpoint_every=20",
    "--histogram_every=10000",
    "--train_steps=400",
]
# Without end, so that only the failure ends it.
ENDLESS = [*FLAGS, "--train_steps=1000000"]


@contextlib.contextmanager
def running(folder, flags=tuple(ENDLESS)):
    """A run that has saved its first checkpoint."""
    with subprocess.Popen(
        processes.command(*flags),
        cwd=folder,
        env=processes.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list((folder / "run" / "checkpoints").glob("step-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        try:
            yield process
        finally:
            process.kill()


def ended(process, words: str) -> str:
    """Waits for the failure, checks that it is told in one line, and returns standard output."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, output + errors
    assert "Traceback" not in output + errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert words in line
    assert "what was saved before stays as it is" in line
    assert output.count("warning: ") <= 1
    return output


def newest(folder) -> int:
    return max(int(path.name.removeprefix("step-")) for path in (folder / "run" / "checkpoints").glob("step-*"))


def leftovers(folder) -> list[str]:
    words = ("unfinished", "obsolete", ".new", "_temp", "tempstate")
    return [str(path) for path in (folder / "run").rglob("*") if any(word in path.name for word in words)]


def assert_goes_on_from(folder, step: int) -> None:
    """The same command continues at a step."""
    with running(folder) as process:
        line = ""
        while "run directory" not in line:
            line = process.stdout.readline()
        assert f"continues at step {step:,} " in line


def limited(size: int):
    """The largest file that a process started with this may write, as a quota would have it."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_that_fills_up_while_training(tmp_path):
    """The limit comes while the run is under way, as other programs fill a disk."""
    with running(tmp_path) as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2000, 2000))
        output = ended(process, "File too large")
    # Which of the two meets the limit first is chance: a chart, which is said, or the checkpoint that ends the run.
    assert output.count("warning: ") == output.count("warning: event files in run cannot be written: File too large")
    assert leftovers(tmp_path) == []
    last = newest(tmp_path)
    assert_goes_on_from(tmp_path, last)


@pytest.mark.slow
def test_charts_that_cannot_be_written_are_no_reason_to_stop(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    processes.succeed(*FLAGS, cwd=large)
    whole = tensorboard_data.scalars(large / "run")
    (size,) = [file.stat().st_size for file in (large / "run" / "train").iterdir()]
    assert size > 100_000
    result = subprocess.run(
        processes.command(*FLAGS),
        cwd=small,
        env=processes.environment(),
        capture_output=True,
        text=True,
        preexec_fn=limited(60_000),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("warning: event files in run cannot be written: File too large; training goes on") == 1
    assert resume_test.state(small / "run", 400) == resume_test.state(large / "run", 400)
    points = tensorboard_data.scalars(large / "run")
    assert points == whole


@pytest.mark.slow
@pytest.mark.parametrize("act", ["moved", "deleted", "replaced"])
def test_a_directory_that_is_no_longer_there(tmp_path, act):
    with running(tmp_path) as process:
        os.rename(tmp_path / "run", tmp_path / "elsewhere")
        if act == "replaced":
            shutil.copytree(tmp_path / "elsewhere", tmp_path / "run")
        if act == "deleted":
            shutil.rmtree(tmp_path / "elsewhere")
        before = processes.listing(tmp_path / "run") if act == "replaced" else None
        ended(process, "it or its .lock was deleted, moved or replaced while the run went on")
    if act == "replaced":
        assert processes.listing(tmp_path / "run") == before
    else:
        assert not (tmp_path / "run").exists()
    if act == "moved":
        os.rename(tmp_path / "elsewhere", tmp_path / "run")
        assert_goes_on_from(tmp_path, newest(tmp_path))


@pytest.mark.slow
def test_a_folder_of_events_that_is_no_longer_there(tmp_path):
    flags = [*FLAGS, "--train_steps=3000"]
    with running(tmp_path, flags) as process:
        shutil.rmtree(tmp_path / "run" / "train")
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.count("warning: event files in run cannot be written: No such file or directory") == 1


@pytest.fixture
def mounted(tmp_path):
    """A folder on a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=1m")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def mount(folder, options: str) -> None:
    result = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {result.stderr.strip()}")


@pytest.mark.slow
def test_a_small_disk_that_is_full(mounted):
    with running(mounted) as process:
        with contextlib.suppress(OSError), open(mounted / "filler", "wb", buffering=0) as filler:
            for _ in range(10**6):
                filler.write(b"x" * 1000)
        ended(process, "No space left on device")
    assert leftovers(mounted) == []
    last = newest(mounted)
    # As long as there is no room, no start does harm.
    result = processes.train(*ENDLESS, cwd=mounted)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
    assert "No space left on device" in result.stdout + result.stderr
    assert newest(mounted) == last
    os.unlink(mounted / "filler")
    assert_goes_on_from(mounted, last)


@pytest.mark.slow
def test_a_disk_that_becomes_read_only(mounted):
    with running(mounted) as process:
        mount(mounted / "run" / "checkpoints", "ro")
        ended(process, "Read-only file system")
    subprocess.run(["umount", mounted / "run" / "checkpoints"], check=True)
    assert leftovers(mounted) == []
    assert newest(mounted) >= 20
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    result = processes.train(*ENDLESS, cwd=mounted)
    assert result.returncode == 2
    assert "is read-only" in result.stderr
    result = processes.train(*ENDLESS, "--run_dir=new", cwd=mounted)
    assert result.returncode == 2
    assert "is read-only" in result.stderr


@pytest.mark.parametrize("call", [1, 11])
def test_a_disk_that_fails_beside_training_ends_the_run_with_what_it_had(tmp_path, monkeypatch, call):
    """The first call is in the first save, the other in one after that; training has gone on when it fails."""
    calls, sync = [], files.sync

    def failing(path):
        calls.append(path)
        time.sleep(0.02)
        if len(calls) >= call:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        sync(path)

    settings = experiment_test.config(tmp_path / "run", train_steps=10**6, checkpoint_every="50", eval_every="100%")
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", failing)
        with pytest.raises(OSError, match="No space left on device"):
            experiment_test.trained(settings)
    assert leftovers(tmp_path) == []
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved == ([] if call == 1 else ["step-00000050", "step-00000100"])


def test_a_writer_that_fails_is_said_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    parts = tiny_experiment.parts()
    writer = tensorboard.Summaries(tmp_path / "file", parts.targets, said.append)
    writer.begin({"seed": 0}, "# a card")
    for step in (1, 2):
        writer.scalars("train", step, {"loss": 0.5})
        writer.evaluation(step, {"loss": 0.5})
        writer.histograms(step)
        writer.look()
    writer.end(2, True)
    writer.close()
    assert len(said) == 1
    assert said[0].startswith(f"warning: event files in {tmp_path / 'file'} cannot be written: ")
    assert "{{" not in said[0]
    assert "[Op" not in said[0]
    assert "ot a directory" in said[0]
    assert writer.measures(0, MEASURES, np.zeros((len(parts.targets), 9)))


def test_a_folder_that_is_gone_is_said_once(tmp_path):
    said: list[str] = []
    writer = tensorboard.Summaries(tmp_path, [], said.append)
    writer.scalars("train", 1, {"loss": 0.5})
    writer.look()
    assert said == []
    shutil.rmtree(tmp_path / "train")
    for _ in range(3):
        writer.look()
    assert len(said) == 1
    assert "No such file or directory" in said[0]


def test_event_files_that_cannot_be_rewound_are_said_and_left_alone(tmp_path, monkeypatch):
    said: list[str] = []
    writer = tensorboard.Summaries(tmp_path, [], said.append)
    writer.scalars("train", 5, {"loss": 0.5})
    writer.close()
    before = processes.listing(tmp_path / "train")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", full)
    again = tensorboard.Summaries(tmp_path, [], said.append)
    again.rewind(0)
    again.scalars("train", 1, {"loss": 0.5})
    again.close()
    assert said == [
        f"warning: event files in {tmp_path} cannot be written: No space left on device; training goes on, TensorBoard "
        "shows nothing of what follows."
    ]
    assert processes.listing(tmp_path / "train") == before
