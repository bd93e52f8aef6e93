"""A run on a table leaves a model that takes raw rows where this project is not installed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support import any_data, processes

# What somebody writes who has Keras and the file: rows as the csv module reads them, missing numbers as NaN.
ELSEWHERE = """
import csv, importlib.util, sys

ours = ("trainer", "constraints", "models")


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ours:
            raise ModuleNotFoundError(f"{name} is not installed here")


sys.meta_path.insert(0, Blocker())
for name in ours:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")

import keras, numpy as np, tensorflow as tf

model = keras.models.load_model(sys.argv[1])
rows = list(csv.DictReader(open(sys.argv[2])))
columns = {}
for name, tensor in model.input.items():
    texts = [[row[name]] for row in rows]
    if tensor.dtype == "string":
        columns[name] = tf.constant(texts)
    else:
        columns[name] = tf.constant([[float(text or "nan")] for [text] in texts])
answers = model.predict(columns, verbose=0)
print(answers.dtype, *answers.shape)
assert not any(name.split(".")[0] in ours for name in sys.modules)
np.save(sys.argv[3], answers)
"""
# The label of each task, and the columns of the predictions that are its answers.
TASKS = {"regression": ("price", slice(1, None)), "classification": ("kind", slice(2, None))}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_raw_rows_without_this_project(tmp_path, task):
    label, answers = TASKS[task]
    table = any_data.table(tmp_path, rows=200)
    rows = list(csv.DictReader(table.open()))
    assert any(row["size"] == "" for row in rows)
    if task == "regression":
        # A category that is missing, and one that training never saw.
        rows[3]["kind"], rows[4]["kind"] = "", "unseen"
    with (tmp_path / "new.csv").open("w") as file:
        writer = csv.DictWriter(file, ["size", "price", "kind"])
        writer.writeheader()
        writer.writerows(rows)
    flags = [f"--dataset={table}", f"--label={label}", "--model=mlp", "--hidden_units=16", "--constraint=topk"]
    processes.succeed("--run_dir=run", *flags, "--train_steps=60", "--batch_size=16", cwd=tmp_path)
    processes.succeeded(
        processes.program("trainer.predict", "run", "--input=new.csv", "--output=expected.csv", cwd=tmp_path)
    )
    with (tmp_path / "expected.csv").open() as file:
        header, *lines = csv.reader(file)
    expected = np.array([line[answers] for line in lines], np.float32)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, tmp_path / "run/model.keras", tmp_path / "new.csv", "found.npy"],
        cwd=elsewhere,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(elsewhere / "found.npy")
    assert found.shape == expected.shape == (200, len(header) - answers.start)
    # The table has seven digits.
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(np.unique(found[:, 0])) > 50
