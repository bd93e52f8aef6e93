"""`python -m trainer.predict`: answers for new examples, and one sentence where there are none."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.support import processes
from trainer import predict
from trainer.storage import run_directory
from trainer.training.model_file import as_bytes
from trainer.training.serving import Serving


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    server.succeed("--train_steps=60", "--constraint=maxnorm", "--run_dir=run", cwd=folder)
    return folder / "run"


def predicted(*arguments, code=0):
    with pytest.raises(SystemExit) as ended:
        predict.run(["predict", *map(str, arguments)])
    assert ended.value.code == code


def test_a_run_predicts_raw_examples(run, tmp_path, capsys):
    digits = load_digits()
    images = np.round(digits.images[:200] * (255 / 16)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=images)
    predicted(run, f"--input={tmp_path}/x.npz")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["example"] for row in rows[:2]] == ["1", "2"]
    chosen = np.array([int(row["class"]) for row in rows])
    assert np.mean(chosen == digits.target[:200]) > 0.8
    assert sum(float(rows[0][str(digit)]) for digit in range(10)) == pytest.approx(1, abs=1e-4)
    predicted(run, f"--input={tmp_path}/x.npz", f"--output={tmp_path}/y.npz")
    found = np.load(tmp_path / "y.npz")
    np.testing.assert_array_equal(found["predictions"].argmax(axis=1), chosen)
    predicted(run, f"--input={tmp_path}/x.npz", f"--output={tmp_path}/y.npz", code=2)
    predicted(run, f"--input={tmp_path}/x.npz", f"--output={tmp_path}/y.csv")
    assert len((tmp_path / "y.csv").read_text().splitlines()) == 201


def test_two_classes_and_numbers_have_their_columns(tmp_path, capsys):
    import keras

    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, kernel_initializer="ones")])
    (tmp_path / run_directory.MODEL).write_bytes(as_bytes(Serving(activation="sigmoid").around(net)))
    task = {"name": "classification", "classes": ["no", "yes"]}
    (tmp_path / run_directory.RUN).write_text(json.dumps({"task": task}))
    np.save(tmp_path / "x.npy", [[1.0, 1.0], [-2.0, 0.0]])
    predicted(tmp_path, f"--input={tmp_path}/x.npy")
    assert capsys.readouterr().out.splitlines()[0] == "example,class,no,yes"
    (tmp_path / run_directory.MODEL).write_bytes(as_bytes(net))
    (tmp_path / run_directory.RUN).write_text("{}")
    predicted(tmp_path, f"--input={tmp_path}/x.npy")
    assert capsys.readouterr().out.splitlines() == ["example,output_0", "1,2", "2,-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input=x.npz"], "the following arguments are required: RUN"),
        (["nowhere", "--input=x.npz"], "nowhere is no run directory"),
        (["nowhere", "--input=x.npz", "--output=x.txt"], "neither .csv nor .npz"),
        (["nowhere", "--input=x.npz", "--output=no/x.csv"], "there is no folder no"),
        (["nowhere", "--in=x.npz"], "required: --input"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predicted(*arguments, code=2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_program_as_it_is_started(run, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros([3, 8, 8, 1], np.uint8))
    done = processes.program("trainer.predict", str(run), f"--input={tmp_path}/x.npz", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
