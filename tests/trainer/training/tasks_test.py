"""Whole short runs in this process on files of every kind: their objective, what they measure, and what they record."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tests.support import any_data
from tests.support.rules import rule_of
from tests.support.suites import fast
from tests.trainer.training.experiment_test import config, trained
from trainer.engine.objective import Compiled, CrossEntropy
from trainer.reporting import outcome

PLAIN = {"input_shape": None, "num_classes": None, "num_examples": None, "train_steps": 30}


def several_labels(folder):
    """Rows of numbers with two labels each: whether the class is the first, and whether it is not the last."""
    labels = np.arange(90) % 3
    return any_data.archive(folder, y_train=np.stack([labels == 0, labels < 2], axis=1))


# What makes the file, settings, the objective, what is measured, and the number that decides.
KINDS = {
    "classes": (any_data.archive, {}, CrossEntropy, {"loss", "accuracy"}, "accuracy"),
    "smoothed": (any_data.archive, {"label_smoothing": 0.1}, Compiled, {"loss", "accuracy"}, "accuracy"),
    "weighed": (any_data.archive, {"class_weight": "0:1,1:3"}, CrossEntropy, {"loss", "accuracy"}, "accuracy"),
    "by names": (
        *(any_data.archive, {"loss": "categorical_focal_crossentropy", "metrics": ("auc", "f1_score")}),
        *(Compiled, {"loss", "auc", "f1_score"}, "auc"),
    ),
    "table": (any_data.table, {"label": ("price",)}, Compiled, {"loss", "r2_score"}, "r2_score"),
    "several labels": (several_labels, {}, Compiled, {"loss", "accuracy", "f1_score"}, "accuracy"),
    "reconstruction": (any_data.images, {"task": "reconstruction", "model": "mlp"}, Compiled, {"loss"}, "loss"),
    "texts": (any_data.texts, {"model": "mlp"}, CrossEntropy, {"loss", "accuracy"}, "accuracy"),
    "images": (
        *(any_data.images, {"model": "convnet", "augment": ("flip", "crop")}, CrossEntropy, {"loss", "accuracy"}),
        "accuracy",
    ),
}


def run(folder, kind, **more):
    make, settings, *_ = KINDS[kind]
    return trained(config(folder / "run", rule_of("maxnorm"), dataset=str(make(folder)), **PLAIN | settings | more))


@pytest.mark.parametrize("kind", fast(KINDS, "table", "texts"))
def test_a_run_on(tmp_path, kind):
    _, _, objective, measured, decides = KINDS[kind]
    built, result = run(tmp_path, kind)
    assert isinstance(built.steps.objective, objective)
    assert result["feasible"]
    assert set(result["evaluation"]) == measured
    assert result["best"]["monitor"] == decides
    assert built.steps.num_traces["train"] == 1
    last = outcome.described(result, tmp_path / "run")
    assert f"the last weights: test {decides} " in last
    assert all(name in last for name in measured - {"loss"})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["task"] == built.task
    assert list(record["files"]) == [built.identity["dataset"]]
    assert isinstance(keras.models.load_model(tmp_path / "run" / "preprocessing.keras"), keras.Model)
    assert built.task_line.startswith("task: ")


def test_the_labels_of_a_regression_are_recorded(tmp_path):
    built, result = run(tmp_path, "table", train_steps=60)
    (mean,), (deviation,) = built.task["mean"], built.task["deviation"]
    assert 15 < mean < 25
    assert 5 < deviation < 12
    assert result["evaluation"]["r2_score"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "several labels", "by names", "weighed"])
def test_two_replicas_measure_what_one_does(tmp_path, kind):
    results = []
    for replicas in (1, 2):
        folder = tmp_path / str(replicas)
        folder.mkdir()
        results.append(run(folder, kind, num_replicas=replicas)[1]["evaluation"])
    one, two = results
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=2e-3), name


def test_settings_that_came_later_are_no_part_of_a_run_that_leaves_them_out(tmp_path):
    plain = config(tmp_path / "run").identity()
    later = ("label", "text", "task", "loss", "metrics", "class_weight", "label_smoothing", "augment", "init_from")
    assert not set(later) & set(plain)
    assert config(tmp_path / "run", label_smoothing=0.1).identity()["label_smoothing"] == 0.1
    assert config(tmp_path / "run", metrics=("auc",)).identity()["metrics"] == ["auc"]
