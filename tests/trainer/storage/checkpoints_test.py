"""What a checkpoint holds, and what damage, a full disk or a kill may do to it; no training, no trace."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import threading
import time

import keras
import pytest
import tensorflow as tf

from tests.support import tiny_experiment
from tests.support.saved import Run
from trainer.runtime import replicas as devices
from trainer.storage import checkpoint_folders, checkpoints, files


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder of the checkpoints of steps 1, 2 and 3, and the state at each."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    run, states = Run(folder), {}
    for step in (1, 2, 3):
        run.step()
        run.checkpoints.save()
        states[step] = run.state()
    return folder, states


@pytest.fixture
def copied(three, tmp_path):
    folder, states = three
    return shutil.copytree(folder, tmp_path / "checkpoints"), states


@pytest.mark.parametrize("replicas", [1, 2])
def test_everything_comes_back_bit_for_bit_and_goes_on_alike(tmp_path, replicas):
    run = Run(tmp_path, replicas)
    for _ in range(3):
        run.step()
    path = run.checkpoints.save()
    assert path == tmp_path / "step-00000003"
    saved = run.state()
    for _ in range(3):
        run.step()
    expected = run.state()

    again = Run(tmp_path, replicas)
    assert not tiny_experiment.same_bits(again.state(), saved)
    assert again.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(again.state(), saved)
    assert devices.copies_equal([*again.model.variables, *again.optimizer.variables])
    for _ in range(3):
        again.step()
    assert tiny_experiment.same_bits(again.state(), expected)
    assert again.said == []


def test_the_state_of_dropout_and_of_the_optimizer_is_in_the_file(copied):
    folder, _ = copied
    names_ = tf.train.load_checkpoint(str(folder / "step-00000003" / "state")).get_variable_to_shape_map()
    assert any(name.startswith("seeds/") for name in names_)
    assert sum("optimizer" in name for name in names_) >= 10


def test_no_checkpoint_at_all(tmp_path):
    run = Run(tmp_path / "none")
    before = run.state()
    assert run.checkpoints.restore() is None
    assert run.checkpoints.steps() == []
    assert tiny_experiment.same_bits(run.state(), before)
    assert not (tmp_path / "none").exists()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def into_a_folder(path):
    path.unlink()
    path.mkdir()


def manifest(edit):
    def damage(path):
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(checkpoint_folders.serialised(content))

    return damage


def pointing_outside(path):
    """Names a good file of another checkpoint in place of a damaged one of its own."""
    content = json.loads(path.read_text())
    own = next(name for name in content["files"] if "data" in name)
    content["files"][f"../step-00000002/{own}"] = files.checksum(path.parent.parent / "step-00000002" / own)
    del content["files"][own]
    flip(path.parent / own)
    path.write_text(checkpoint_folders.serialised(content))


def naming_a_neighbour(path):
    """Names a good file outside beside its own."""
    content = json.loads(path.read_text())
    outside = path.parent.parent / "step-00000002" / "state.index"
    content["files"]["../step-00000002/state.index"] = files.checksum(outside)
    path.write_text(checkpoint_folders.serialised(content))


FILES = {"data": "state.data-00000-of-00001", "index": "state.index", "manifest": "manifest.json"}
DAMAGE = {
    **{
        f"{act.__name__}_{file}": (file, act)
        for act in (flip, truncate, empty, os.remove, into_a_folder)
        for file in FILES
    },
    "half_a_manifest": ("manifest", lambda path: path.write_text(path.read_text()[: path.stat().st_size // 2])),
    "garbage": ("manifest", lambda path: path.write_bytes(b"\xff\xfe\x00garbage")),
    "a_list": ("manifest", lambda path: path.write_text("[]")),
    "null": ("manifest", lambda path: path.write_text("null")),
    "another_step": ("manifest", manifest(lambda content: content.update(step=2))),
    "no_step": ("manifest", manifest(lambda content: content.pop("step"))),
    "no_files": ("manifest", manifest(lambda content: content.update(files={}))),
    "files_of_another_kind": ("manifest", manifest(lambda content: content.update(files=[["state.index", 1], [2, 3]]))),
    "files_null": ("manifest", manifest(lambda content: content.update(files=None))),
    "absolute_path": ("manifest", manifest(lambda content: content["files"].update({"/etc/passwd": "sha256:0"}))),
    "parent": ("manifest", manifest(lambda content: content["files"].update({"..": "sha256:0"}))),
    "pointing_outside": ("manifest", pointing_outside),
    "naming_a_neighbour": ("manifest", naming_a_neighbour),
    # Nothing would tell that this file was whole.
    "data_unnamed": ("manifest", manifest(lambda content: content["files"].pop(FILES["data"]))),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_of_any_kind_is_passed_over_with_a_word(copied, name):
    folder, states = copied
    file, damage = DAMAGE[name]
    damage(folder / "step-00000003" / FILES[file])
    run = Run(folder)
    assert run.checkpoints.restore() == 2
    assert tiny_experiment.same_bits(run.state(), states[2])
    assert len(run.said) == 1
    assert run.said[0].startswith("checkpoint step-00000003 is passed over: ")


def test_two_damaged_ones_are_passed_over_and_overwritten_in_time(copied):
    folder, states = copied
    flip(folder / "step-00000003" / FILES["data"])
    os.remove(folder / "step-00000002" / FILES["index"])
    run = Run(folder)
    assert run.checkpoints.restore() == 1
    assert tiny_experiment.same_bits(run.state(), states[1])
    for step in (2, 3):
        run.step()
        run.checkpoints.save()
        assert tiny_experiment.same_bits(run.state(), states[step])
    again = Run(folder)
    assert again.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(again.state(), states[3])
    assert names(folder) == [f"step-0000000{step}" for step in (1, 2, 3)]


@pytest.mark.parametrize("units", [(6, 3), (5, 3, 3), (5,)])
def test_a_checkpoint_of_another_network_does_not_fit(copied, units):
    folder, _ = copied
    run = Run(folder)
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(number) for number in units)])
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    other = checkpoints.Checkpoints(folder, model, optimizer, run.progress, log=run.said.append)
    with pytest.raises(ValueError, match="none of the checkpoints"):
        other.restore()
    assert len(run.said) == 3
    assert all("does not fit this run" in line for line in run.said)


def test_when_all_are_damaged_nothing_begins_in_silence(copied):
    folder, _ = copied
    for path in folder.glob("*/manifest.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* is whole; .*--overwrite"):
        Run(folder).checkpoints.restore()


def test_what_a_kill_left_behind_is_removed_and_nothing_else(copied):
    folder, states = copied
    for leftover in ("unfinished-00000004", "obsolete-step-00000001", "best/unfinished-00000003"):
        (folder / leftover).mkdir(parents=True)
        (folder / leftover / "state.index").write_text("half")
    (folder / "notes.txt").write_text("mine")
    run = Run(folder)
    assert run.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(run.state(), states[3])
    assert names(folder) == ["best", "notes.txt", "step-00000001", "step-00000002", "step-00000003"]
    assert names(folder / "best") == []


def test_the_newest_three_stay_and_the_best_one_beside_them(tmp_path):
    run = Run(tmp_path)
    states = {}
    for step in range(1, 7):
        run.step()
        run.checkpoints.save()
        states[step] = run.state()
        if step in (1, 2):
            assert run.checkpoints.save_best() == tmp_path / "best" / f"step-0000000{step}"
    assert run.checkpoints.steps() == [6, 5, 4]
    assert names(tmp_path) == ["best", "step-00000004", "step-00000005", "step-00000006"]
    assert names(tmp_path / "best") == ["step-00000002"]
    best = Run(tmp_path / "best")
    assert best.checkpoints.restore() == 2
    assert tiny_experiment.same_bits(best.state(), states[2])


def test_a_step_that_is_saved_already_is_not_written_again(copied):
    folder, states = copied
    run = Run(folder)
    run.checkpoints.restore()
    file = folder / "step-00000003" / FILES["data"]
    before = file.stat().st_ino, file.stat().st_mtime_ns
    assert run.checkpoints.save() == folder / "step-00000003"
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    flip(file)
    run.checkpoints.save()
    again = Run(folder)
    assert again.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(again.state(), states[3])


FAILURES = {
    "writing": (checkpoints.Checkpoints, "_write"),
    "checksums": (files, "checksum"),
    "manifest": (checkpoint_folders.json, "dumps"),
    "syncing": (files, "sync"),
    "naming": (checkpoints.os, "rename"),
}


@pytest.mark.parametrize("where", FAILURES)
def test_a_full_disk_leaves_the_earlier_checkpoints_good_and_no_leftovers(copied, monkeypatch, where):
    folder, states = copied
    run = Run(folder)
    run.checkpoints.restore()
    run.step()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*FAILURES[where], full)
        with pytest.raises(OSError, match="No space left"):
            run.checkpoints.save()
    assert names(folder) == ["step-00000001", "step-00000002", "step-00000003"]
    again = Run(folder)
    assert again.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(again.state(), states[3])
    # Once there is room, the same save succeeds.
    assert run.checkpoints.save() == folder / "step-00000004"
    assert Run(folder).checkpoints.restore() == 4


@pytest.mark.parametrize("ask", ["save", "save_best", "restore", "steps", "wait", "look"])
def test_what_becomes_of_a_save_that_nobody_waits_for_is_told_to_who_asks_next(copied, monkeypatch, ask):
    folder, states = copied
    run = Run(folder)
    run.checkpoints.restore()
    run.step()
    on_disk = threading.Event()

    def full(path):
        on_disk.wait()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", full)
        assert run.checkpoints.save(wait=False) == folder / "step-00000004"
        assert "unfinished-00000004" in names(folder)
        run.checkpoints.look()  # As long as it is under way, there is nothing to tell.
        run.step()
        on_disk.set()
        while ask == "look" and "unfinished-00000004" in names(folder):
            time.sleep(0.001)
        time.sleep(0.1)
        with pytest.raises(OSError, match="No space left"):
            getattr(run.checkpoints, ask)()
    # Once.
    assert run.checkpoints.steps() == [3, 2, 1]
    assert names(folder) == ["step-00000001", "step-00000002", "step-00000003"]
    assert run.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(run.state(), states[3])


@pytest.mark.parametrize("replicas", [1, 2])
def test_training_goes_on_beside_a_slow_disk_and_changes_nothing_of_what_is_saved(tmp_path, monkeypatch, replicas):
    run = Run(tmp_path, replicas)
    run.step()
    saved, on_disk, sync = run.state(), threading.Event(), files.sync

    def slow(path):
        on_disk.wait()
        sync(path)

    monkeypatch.setattr(files, "sync", slow)
    path = run.checkpoints.save(wait=False)
    for _ in range(3):
        run.step()
    assert names(tmp_path) == ["unfinished-00000001"]
    on_disk.set()
    run.checkpoints.wait()
    assert names(tmp_path) == [path.name]
    again = Run(tmp_path, replicas)
    assert again.checkpoints.restore() == 1
    assert tiny_experiment.same_bits(again.state(), saved)
    # Saves come one after the other.
    on_disk.clear()
    run.checkpoints.save(wait=False)
    run.step()
    threading.Timer(0.2, on_disk.set).start()
    run.checkpoints.save_best(wait=False)
    assert path.with_name("step-00000004").is_dir()
    run.checkpoints.close()
    assert names(tmp_path / "best") == ["step-00000005"]


def test_a_file_that_grew_between_writing_and_renaming_is_noticed(copied):
    folder, _ = copied
    with open(folder / "step-00000003" / FILES["data"], "ab") as file:
        file.write(b"x")
    assert Run(folder).checkpoints.restore() == 2


NAMES = ["hidden=[300,100]", "a*b?c", "{a,b}", "back\\slash", " a b", "%s%n", "ü中", "-x", "~", "file:", "$HOME;'\"|&"]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_gives_back_what_was_saved(tmp_path, monkeypatch, name):
    """TensorFlow takes the path of a checkpoint for a pattern; here others match it as well."""
    for other in (name, "hidden=3", "aabbc", "a", "backslash", "s%"):
        (tmp_path / other).mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / name, pathlib.Path(name)):
        run = Run(folder / "checkpoints")
        run.step()
        run.checkpoints.save()
        saved = run.state()
        again = Run(folder / "checkpoints")
        assert again.checkpoints.restore() == 1
        assert tiny_experiment.same_bits(again.state(), saved)
        run.step()
        checkpoints.read_weights(folder / "checkpoints", run.model, "pattern_from")
        trained = [[value.numpy() for value in one.model.trainable_variables] for one in (run, again)]
        assert tiny_experiment.same_bits(*trained)
        shutil.rmtree(folder / "checkpoints")
    assert all(not os.listdir(tmp_path / other) for other in os.listdir(tmp_path))


def test_a_checkpoint_that_was_passed_over_is_written_again_at_its_step(copied, monkeypatch):
    """Its files are whole, and yet it is not what training comes to at that step."""
    folder, _ = copied
    run = Run(folder)
    read = checkpoints.Checkpoints._read
    monkeypatch.setattr(
        checkpoints.Checkpoints, "_read", lambda self, path, step: "no" if step == 3 else read(self, path, step)
    )
    assert run.checkpoints.restore() == 2
    run.step()
    run.model.trainable_variables[0].assign_add(tf.ones_like(run.model.trainable_variables[0]))
    expected = run.state()
    run.checkpoints.save()
    monkeypatch.undo()
    again = Run(folder)
    assert again.checkpoints.restore() == 3
    assert tiny_experiment.same_bits(again.state(), expected)


def best_of(tmp_path) -> Run:
    """Six steps with a checkpoint at each second, and the best at 1, 3 and 4."""
    run = Run(tmp_path)
    for step in range(1, 7):
        run.step()
        if step in (1, 3, 4):
            run.progress.best.assign([step / 10, 1.0, step])
            run.checkpoints.save_best()
        else:
            run.progress.best.assign([0.4, 1.0, 4] if step > 4 else [0.1, 1.0, 1])
        if step % 2 == 0:
            run.checkpoints.save()
            assert names(tmp_path / "best") == [f"step-0000000{1 if step == 2 else 4}"]
        if step == 3:
            # The one that a return to step 2 needs, and the newest.
            assert names(tmp_path / "best") == ["step-00000001", "step-00000003"]
    return run


def test_going_back_takes_the_best_of_later_steps_away(tmp_path):
    best_of(tmp_path)
    shutil.copytree(tmp_path / "best" / "step-00000004", tmp_path / "best" / "step-00000009")
    again = Run(tmp_path)
    assert again.checkpoints.restore() == 6
    again.checkpoints.return_best(6)
    assert names(tmp_path / "best") == ["step-00000004"]
    assert again.progress.best.numpy().tolist() == [0.4, 1.0, 4.0]
    assert again.said == []


@pytest.mark.parametrize("act", ["flip", "delete", "delete the folder"])
@pytest.mark.parametrize("older", [False, True])
def test_a_best_that_is_lost_is_said_and_what_remains_is_the_best(tmp_path, act, older):
    best_of(tmp_path)
    best = tmp_path / "best" / "step-00000004"
    if older:
        content = json.loads((best / "manifest.json").read_text())
        copy = shutil.copytree(best, tmp_path / "best" / "step-00000003")
        content |= {"step": 3, "score": {"value": 0.3, "loss": 1.0}}
        (copy / "manifest.json").write_text(checkpoint_folders.serialised(content))
    if act == "delete the folder":
        shutil.rmtree(best)
    else:
        {"flip": flip, "delete": os.remove}[act](best / FILES["data"])
    again = Run(tmp_path)
    assert again.checkpoints.restore() == 6
    again.checkpoints.return_best(6)
    (line,) = again.said
    assert line.startswith("the best weights, of step 4, are lost: ")
    assert line.endswith("is now that of step 3" if older else "is now that of the next evaluation")
    assert again.progress.best.numpy().tolist() == ([0.3, 1.0, 3.0] if older else [-float("inf"), float("inf"), 0.0])
    # The next one takes the place of what is damaged.
    again.step()
    again.progress.best.assign([0.2, 1.0, 7])
    again.checkpoints.save_best()
    again.checkpoints.save()
    assert names(tmp_path / "best") == ["step-00000007"]


def test_each_new_checkpoint_is_told_of(tmp_path):
    told: list[int] = []
    run = Run(tmp_path, saved=told.append)
    for _ in range(3):
        run.step()
        run.checkpoints.save()
        run.checkpoints.save_best()
    assert told == [1, 2, 3]
