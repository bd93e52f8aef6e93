"""Nothing that points out of a run directory is followed, and no name of a file leads anywhere else."""

from __future__ import annotations

import os

import pytest

from tests.support import processes
from trainer.reporting import tensorboard
from trainer.settings.config import Config
from trainer.storage import event_files, files, run_directory
from trainer.training.experiment import directory_of

LINKS = [
    ".lock",
    "run.json",
    "flags.txt",
    "certificate.json",
    "checkpoints",
    "checkpoints/best",
    "train",
    "eval",
    "train/events.out.tfevents.1.host",
    "eval/rewound.new",
    "run.json.new",
]


def directory(path, **settings) -> run_directory.RunDirectory:
    return directory_of(Config(run_dir=str(path), **settings))


@pytest.fixture
def run(tmp_path):
    """A run directory with everything in it, and beside it a folder that is none of its business."""
    made = directory(tmp_path / "run")
    made.open("", {})
    made.close()
    for folder in ("checkpoints/best", "train", "eval"):
        (made.path / folder).mkdir(parents=True)
    (made.path / "certificate.json").write_text("{}")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("mine")
    return made.path


def link(run, name: str) -> None:
    path = run / name
    if path.is_dir():
        for entry in path.iterdir():
            entry.rmdir()
        path.rmdir()
        path.symlink_to(run.parent / "outside")
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(run.parent / "outside" / "precious.txt")


@pytest.mark.parametrize("name", LINKS)
def test_a_link_is_refused_by_its_name(run, name):
    link(run, name)
    before = processes.listing(run.parent)
    for act in (lambda one: one.check(), lambda one: one.open("", {})):
        with pytest.raises(ValueError, match=f"--run_dir=.*{name} is a symbolic link.*--overwrite"):
            act(directory(run))
        assert processes.listing(run.parent / "outside") == {
            name.removeprefix("outside/"): entry for name, entry in before.items() if name.startswith("outside/")
        }


@pytest.mark.parametrize("name", LINKS)
def test_overwriting_deletes_the_link_and_not_what_it_points_to(run, name):
    link(run, name)
    if name == ".lock":
        # The lock is what tells that nobody else is here, so it is not deleted on a guess.
        with pytest.raises(ValueError, match="cannot be written"):
            directory(run, overwrite=True).open("", {})
    else:
        again = directory(run, overwrite=True)
        assert again.open("", {}) is False
        again.close()
        assert sorted(os.listdir(run)) == [".lock", "flags.txt", "run.json"]
    assert (run.parent / "outside" / "precious.txt").read_text() == "mine"
    assert os.listdir(run.parent / "outside") == ["precious.txt"]


def test_the_run_directory_itself_may_be_reached_through_a_link(run):
    """Where the user's own flag points is the user's business."""
    (run.parent / "short").symlink_to(run)
    again = directory(run.parent / "short")
    assert again.open("", {}) is True
    again.check_held()
    again.close()


def test_what_a_kill_left_of_a_file_is_removed(run):
    (run / "certificate.json.new").write_text("ha")
    again = directory(run)
    assert again.open("", {}) is True
    again.close()
    assert not (run / "certificate.json.new").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "file"])
def test_a_file_is_not_written_through_what_bears_its_temporary_name(tmp_path, kind):
    new, precious = tmp_path / "x.json.new", tmp_path / "precious"
    precious.write_text("mine")
    {"link": lambda: new.symlink_to(precious), "pipe": lambda: os.mkfifo(new), "file": lambda: new.write_text("half")}[
        kind
    ]()
    files.write_atomically(tmp_path / "x.json", "content")
    assert (tmp_path / "x.json").read_text() == "content"
    assert precious.read_text() == "mine"
    assert not os.path.lexists(new)


def test_event_files_are_not_rewound_through_a_link(tmp_path):
    writer = tensorboard.Summaries(tmp_path, [])
    writer.scalars("train", 5, {"loss": 0.5})
    writer.close()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "train" / "rewound.new").symlink_to(tmp_path / "precious")
    event_files.rewind(tmp_path, 5)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\0b", "loop"])
def test_a_name_that_no_directory_can_have(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match=r"--run_dir=.*; (choose another|write it without)"):
        directory(tmp_path / name).check()
