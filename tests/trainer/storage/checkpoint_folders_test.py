"""The names of checkpoints, and what is removed of them."""

from __future__ import annotations

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
