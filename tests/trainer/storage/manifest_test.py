"""What a manifest says of the files beside it; damage of every kind is in checkpoints_test.py and damage_test.py."""

from __future__ import annotations

import json
import os

import pytest

from trainer.storage import manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state.index").write_bytes(b"index")
    (tmp_path / "state.data-00000-of-00001").write_bytes(b"data")
    return tmp_path


@pytest.mark.parametrize("run", ["", "mine"])
def test_what_is_complete_has_no_problem(folder, run):
    manifest.complete(folder, 7, run)
    assert manifest.problem(folder, 7, run) is None
    assert manifest.problem(folder, 7) is None
    content = json.loads((folder / manifest.MANIFEST).read_text())
    assert content["step"] == 7
    # As `sha256sum` prints it.
    assert content["files"]["state.data-00000-of-00001"] == (
        "sha256:3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
    )
    assert sorted(content["files"]) == ["state.data-00000-of-00001", "state.index"]


def test_another_step_another_run_and_another_content_are_problems(folder):
    manifest.complete(folder, 7, "mine")
    assert manifest.problem(folder, 8) == "its manifest speaks of step 7"
    assert manifest.problem(folder, 7, "yours") == "it is another run's"
    (folder / "state.index").write_bytes(b"other")
    assert manifest.problem(folder, 7) == "state.index is damaged"


def test_everything_is_on_the_disk_before_the_end_and_the_folder_last(folder, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    manifest.complete(folder, 7, "")
    assert sorted(synced[:-1]) == sorted(str(file) for file in folder.iterdir())
    assert synced[-1] == str(folder)
