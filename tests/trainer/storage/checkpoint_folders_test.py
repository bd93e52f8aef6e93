"""The names of checkpoints, what is removed of them, and what a manifest says of the files beside it.

Damage of every kind is in checkpoints_test.py and damage_test.py.
"""

from __future__ import annotations

import json
import os

import pytest

from trainer.storage import checkpoint_folders


def names(folder) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_steps_are_read_from_their_one_spelling(tmp_path):
    for step in (7, 123_456_789, 0):
        assert checkpoint_folders.path(tmp_path, step).name == f"step-{step:08d}"
        checkpoint_folders.path(tmp_path, step).mkdir()
    for other in ("step-7", "step-012345678", "step-00000008.new", "unfinished-00000009", "best"):
        (tmp_path / other).mkdir()
    assert checkpoint_folders.steps(tmp_path) == [123_456_789, 7, 0]
    assert checkpoint_folders.steps(tmp_path / "nowhere") == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_deleting_leaves_nothing_and_follows_no_link(tmp_path, kind):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("mine")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for path in (folder / "step-00000001", folder / "obsolete-step-00000001", folder / "unfinished-00000002"):
        if kind == "folder":
            path.mkdir()
            (path / "state.index").write_text("half")
        elif kind == "file":
            path.write_text("half")
        else:
            path.symlink_to(tmp_path / "outside")
    checkpoint_folders.delete(folder / "step-00000001")
    assert names(folder) == ["unfinished-00000002"]
    checkpoint_folders.clean(folder)
    assert names(folder) == []
    assert (tmp_path / "outside" / "precious").read_text() == "mine"


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "state.index").write_bytes(b"index")
    (tmp_path / "state.data-00000-of-00001").write_bytes(b"data")
    return tmp_path


@pytest.mark.parametrize("run", ["", "mine"])
def test_what_is_complete_has_no_problem(checkpoint, run):
    checkpoint_folders.complete(checkpoint, 7, run)
    assert checkpoint_folders.problem(checkpoint, 7, run) is None
    assert checkpoint_folders.problem(checkpoint, 7) is None
    content = json.loads((checkpoint / checkpoint_folders.MANIFEST).read_text())
    assert content["step"] == 7
    # As `sha256sum` prints it.
    assert content["files"]["state.data-00000-of-00001"] == (
        "sha256:3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
    )
    assert sorted(content["files"]) == ["state.data-00000-of-00001", "state.index"]


def test_another_step_another_run_and_another_content_are_problems(checkpoint):
    checkpoint_folders.complete(checkpoint, 7, "mine")
    assert checkpoint_folders.problem(checkpoint, 8) == "its manifest speaks of step 7"
    assert checkpoint_folders.problem(checkpoint, 7, "yours") == "it is another run's"
    (checkpoint / "state.index").write_bytes(b"other")
    assert checkpoint_folders.problem(checkpoint, 7) == "state.index is damaged"


def test_everything_is_on_the_disk_before_the_end_and_the_folder_last(checkpoint, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    checkpoint_folders.complete(checkpoint, 7, "")
    assert sorted(synced[:-1]) == sorted(str(file) for file in checkpoint.iterdir())
    assert synced[-1] == str(checkpoint)
