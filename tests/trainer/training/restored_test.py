"""What is no finished run of this program is refused in a sentence, before anything is built."""

from __future__ import annotations

import fcntl
import json

import pytest

from trainer.training.restored import _of_model_file, restored


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
    refused(run_directory(tmp_path), "--weights=first is not known; choose from best, last", weights="first")


def test_without_a_word_the_weights_are_those_of_the_model_file(server, tmp_path):
    # The best evaluation comes before the ramp, so its weights break the rule of the end.
    flags = ["--constraint=topk", "--schedule=piecewise", "--values=0.0,0.95", "--boundaries=99%"]
    server.succeed(*flags, "--epochs=3", "--train_split=train[:400]", "--run_dir=run", cwd=tmp_path)
    said = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert said["best"]["step"] < said["step"]
    assert said["model"]["weights"] == "last"
    run, step = restored(tmp_path / "run")
    assert step == said["step"]
    assert (run.model.trainable_variables[0].numpy() == 0).mean() >= 0.94


def test_the_best_is_meant_where_the_certificate_is_silent(tmp_path):
    assert _of_model_file(tmp_path) == "best"
    (tmp_path / "certificate.json").write_text(json.dumps({"model": {"weights": "last"}}))
    assert _of_model_file(tmp_path) == "last"
    (tmp_path / "certificate.json").write_text(json.dumps({"model": None}))
    assert _of_model_file(tmp_path) == "best"
