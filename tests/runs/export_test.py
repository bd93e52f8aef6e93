"""`python -m trainer.export` in a real process, on a real run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support import processes
from tests.support.processes import listing, succeeded
from trainer.export.formats import FORMATS

pytestmark = pytest.mark.slow


def export(*arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer.export", *map(str, arguments)],
        cwd=cwd,
        env=processes.environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four epochs, whose best weights need not be the last."""
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--dataset=digits", "--epochs=4", "--checkpoint_every=1ep", "--constraint=block", "--block=16,1"]
    variables = ["--variables=hidden_*/kernel", "--sparsity=0.9", "--hidden_units=128,64"]
    processes.succeed("--run_dir=run", *flags, *variables, cwd=folder)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_all_formats_with_a_benchmark(run):
    names = ",".join(FORMATS)
    done = succeeded(export("run", f"--formats={names}", "--target=tflite", "--benchmark", cwd=run.parent))
    folder = run / "export"
    assert {one.name for one in folder.iterdir()} == {
        *(one.file for one in FORMATS.values()),
        "export.json",
        "benchmark.txt",
    }
    report = json.loads((folder / "export.json").read_text())
    certificate = json.loads((run / "certificate.json").read_text())
    assert report["step"] == certificate["best"]["step"]
    for one in report["exports"]:
        assert one["certificate"]["feasible"]
        if FORMATS[one["format"]].exact:
            assert one["scores"]["accuracy"] == certificate["best"]["test"]["accuracy"]
            assert one["scores"]["loss"] == pytest.approx(certificate["best"]["test"]["loss"], rel=1e-5)
    by_format = {one["format"]: one for one in report["exports"]}
    assert by_format["tflite"]["sparse"] == ["hidden_1/kernel", "hidden_2/kernel"]
    assert by_format["tflite"]["bytes"] < by_format["keras"]["bytes"] / 2
    table = (folder / "benchmark.txt").read_text()
    assert table.strip() in done.stdout
    assert "dense model.tflite" in table
    rows = {row["file"]: row for row in report["benchmark"]}
    assert rows["model.safetensors"]["gzipped"] < rows["dense model.keras"]["gzipped"] * 1.5
    texts = EventAccumulator(str(run / "eval"))
    texts.Reload()
    assert "export/text_summary" in texts.Tags()["tensors"] or "export" in texts.Tags()["tensors"]
    # The run goes on as if nothing had happened.
    flagfile = f"--flagfile={run / 'flags.txt'}"
    assert "step 4" not in processes.succeed(flagfile, f"--run_dir={run}", "--dry_run", cwd=run.parent).stderr


def test_last_weights_and_another_folder(run, tmp_path):
    succeeded(export(run, "--weights=last", f"--output={tmp_path}/out/deep", "--formats=sparse", cwd=tmp_path))
    report = json.loads((tmp_path / "out/deep/export.json").read_text())
    certificate = json.loads((run / "certificate.json").read_text())
    assert report["step"] == certificate["step"]
    assert report["exports"][0]["scores"]["accuracy"] == certificate["evaluation"]["accuracy"]
    assert not (run / "export").exists()


def test_an_export_that_is_killed_leaves_nothing_under_its_name(run):
    command = [sys.executable, "-m", "trainer.export", str(run), "--formats=sparse"]
    folder = run / "export"
    process = subprocess.Popen(command, cwd=run.parent, env=processes.environment(), start_new_session=True)
    while not list(folder.glob(".unfinished-*/*")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (abandoned,) = folder.iterdir()
    assert abandoned.name.startswith(".unfinished-")
    succeeded(export(run, "--formats=sparse", cwd=run.parent))
    assert {one.name for one in folder.iterdir()} == {"export.json", "model.safetensors"}


def test_an_archive_of_few_weights_is_a_small_part_of_the_dense_file(tmp_path):
    """LeNet-300-100 with 2 % of its weights; the smaller the network, the more the names of its variables count."""
    flags = ["--dataset=digits", "--hidden_units=300,100", "--constraint=topk", "--sparsity=0.98", "--epochs=8"]
    processes.succeed("--run_dir=run", *flags, cwd=tmp_path)
    done = succeeded(export("run", "--formats=sparse,keras", "--benchmark", cwd=tmp_path))
    report = json.loads((tmp_path / "run/export/export.json").read_text())
    archive, dense = report["exports"]
    assert dense["bytes"] >= 18 * archive["bytes"], (dense["bytes"], archive["bytes"])
    certificate = json.loads((tmp_path / "run/certificate.json").read_text())
    chosen = certificate["evaluation"] if certificate["model"]["weights"] == "last" else certificate["best"]["test"]
    assert archive["scores"]["accuracy"] == dense["scores"]["accuracy"] == chosen["accuracy"]
    assert f"{archive['scores']['accuracy']:.4f}" in done.stdout


BAD = {
    "no folder": (["nowhere"], "nowhere does not exist"),
    "no run": (["."], "is no run directory"),
    "no argument": ([], "the following arguments are required: RUN"),
    "unknown flag": (["run", "--fromats=keras"], "unrecognized arguments: --fromats=keras"),
    "unknown format": (["run", "--formats=pdf"], "--formats=pdf is not known"),
    "unknown weights": (["run", "--weights=first"], "invalid choice: 'first'"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_a_sentence_and_write_nothing(run, name):
    arguments, said = BAD[name]
    before = listing(run.parent)
    done = export(*arguments, cwd=run.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert listing(run.parent) == before


def test_runs_that_cannot_be_exported(run):
    def refused(said: str) -> None:
        before = listing(run)
        done = export("run", cwd=run.parent)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert listing(run) == before

    with open(run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused("is being trained in by")
    (run / "export").mkdir()
    (run / "export/model.keras").write_text("mine")
    refused("model.keras exists already")
    shutil.rmtree(run / "export")
    shutil.rmtree(run / "checkpoints")
    refused("holds no checkpoint in checkpoints/best")
    (run / "flags.txt").unlink()
    refused("begun in Python")


def test_help():
    done = export("--help", cwd="/")
    assert done.returncode == 0
    assert "--formats" in done.stdout
