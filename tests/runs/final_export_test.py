"""`--export` and `--target` in training: real processes, to their end and killed."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support import processes, sabotage
from tests.support.processes import certificate, listing
from tests.support.sabotage import point

pytestmark = pytest.mark.slow

RULE = ["--constraint=block", "--variables=hidden_*/kernel", "--sparsity=0.9", "--target=tflite"]
FLAGS = ["--dataset=digits", "--epochs=3", "--hidden_units=128,64", "--learning_rate=0.01", *RULE]
EXPORT = "--export=keras,tflite"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    processes.succeed("--run_dir=run", *FLAGS, cwd=folder)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def report(folder):
    return json.loads((folder / "export.json").read_text())


def nameless(found):
    for one in found["exports"]:
        del one["path"]
    return found


def bits(run):
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in run.glob("checkpoints/step-*/state.*")}
    assert found
    return found


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_end_of_a_run_exports_what_the_program_would(tmp_path, replicas):
    # At this rate the best evaluation is none of the last.
    hot = ["--model=resnet", "--depth=8", "--filters=4,4,4", "--learning_rate=0.03", "--eval_every=10"]
    flags = ["--dataset=digits", "--epochs=2", "--constraint=topk", *hot, f"--num_replicas={replicas}"]
    done = processes.succeed("--run_dir=run", *flags, EXPORT, "--export_with=compact", cwd=tmp_path)
    assert "checked in a process of its own" in done.stdout
    run = tmp_path / "run"
    own = report(run / "export")
    assert own["step"] == certificate(run)["model"]["step"]
    again = ["run", "--formats=keras,tflite", "--compact", "--output=again"]
    processes.succeeded(processes.program("trainer.export", *again, cwd=tmp_path))
    assert nameless(own) == nameless(report(tmp_path / "again"))
    assert (run / "export/model.tflite").read_bytes() == (tmp_path / "again/model.tflite").read_bytes()


def test_a_finished_run_is_exported_by_the_same_command_and_trains_no_step(run):
    before = bits(run)
    processes.succeed("--run_dir=run", *FLAGS, EXPORT, cwd=run.parent)
    assert bits(run) == before
    assert report(run / "export")["exports"][1]["sparse"] == ["hidden_1/kernel", "hidden_2/kernel"]
    # Once more: the files are replaced, so the command still ends well.
    processes.succeed(f"--flagfile={run}/flags.txt", f"--run_dir={run}", "--export=keras", cwd=run.parent)
    assert [one["format"] for one in report(run / "export")["exports"]] == ["keras"]


def test_the_target_chooses_the_blocks_and_nothing_else(run, tmp_path):
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert settings["rules"][0]["block"] == [16, 1]
    assert "target" not in settings
    spelt = [flag for flag in FLAGS if flag != "--target=tflite"]
    processes.succeed("--run_dir=other", *spelt, "--block=16,1", cwd=tmp_path)
    assert bits(tmp_path / "other") == bits(run)


def test_a_killed_export_leaves_a_whole_run_and_the_next_start_makes_it(tmp_path):
    plan = [point("trainer.export.fresh:reloaded", 2)]
    done = sabotage.train(plan, "--run_dir=run", *FLAGS, EXPORT, cwd=tmp_path)
    assert done.returncode == -9
    run = tmp_path / "run"
    before = bits(run)
    assert certificate(run)["feasible"]
    assert (run / "model.keras").is_file()
    assert not (run / "export/model.tflite").exists()
    processes.succeed("--run_dir=run", *FLAGS, EXPORT, cwd=tmp_path)
    assert {one.name for one in (run / "export").iterdir()} == {"export.json", "model.keras", "model.tflite"}
    assert bits(run) == before


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("trainer.export.reload:__file__", "cannot be reloaded, so it is not kept"),
        ("trainer.export.verify:_UNFINISHED", "cannot be written: No such file or directory"),
    ],
)
def test_an_export_that_does_not_hold_ends_with_1_and_leaves_the_run(run, at, said):
    done = sabotage.train([{"at": at, "value": "no/where"}], "--run_dir=run", *FLAGS, "--export=sparse", cwd=run.parent)
    assert done.returncode == 1, done.stderr
    error, remedy = done.stderr.splitlines()
    assert error.startswith("error: --export: run/export/model.safetensors")
    assert said in error
    assert "python -m trainer.export run" in remedy
    assert certificate(run)["feasible"]
    assert list((run / "export").iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--export=pdf"], "--export=pdf is not known"),
        (["--export=keras,"], "--export"),
        (["--export_with=compact"], "add --export=keras"),
        (["--export=keras", "--export_with=fast"], "--export_with=fast is not known"),
        (["--target=onnx"], "--target=onnx is not known"),
    ],
)
def test_a_mistake_writes_nothing(tmp_path, flags, said):
    done = processes.train("--run_dir=run", "--dataset=digits", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert listing(tmp_path) == {}
