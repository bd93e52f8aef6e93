"""What is no finished run of this program is refused in a sentence, before anything is built."""

from __future__ import annotations

import fcntl
import json

import pytest

from trainer.training.restored import restored


def run_directory(tmp_path, flags="--dataset=synthetic\n"):
    path = tmp_path / "run"
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"settings": {"model": "mlp"}}))
    if flags is not None:
        (path / "flags.txt").write_text(flags)
    return path


def refused(path, match, **options):
    before = sorted(path.rglob("*")) if path.is_dir() else None
    with pytest.raises(ValueError, match=match):
        restored(path, **options)
    assert before == (sorted(path.rglob("*")) if path.is_dir() else None)


def test_no_run(tmp_path):
    refused(tmp_path / "none", "none does not exist; give the folder of a run")
    refused(tmp_path, "is no run directory: it holds no run.json")


def test_a_run_that_was_begun_in_python(tmp_path):
    refused(run_directory(tmp_path, flags=None), r"begun in Python, without flags.txt; .* Trainer.export\(folder\)")


def test_a_flag_that_this_version_does_not_have(tmp_path):
    path = run_directory(tmp_path, "--no_flag_of_this_version=3\n")
    refused(path, "holds a run of another version of this program: --no_flag_of_this_version is not a flag")


def test_settings_that_this_version_takes_for_others(tmp_path):
    refused(run_directory(tmp_path), "holds a run with other settings")


def test_a_run_under_way(tmp_path):
    path = run_directory(tmp_path)
    with open(path / ".lock", "w") as lock:
        lock.write("elsewhere, process 7\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(path, "is being trained in by elsewhere, process 7")


def test_weights_that_there_are_not(tmp_path):
    refused(run_directory(tmp_path), "--weights=first is unknown; there are best, last", weights="first")
