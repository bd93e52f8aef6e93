"""Files of six rules over a transformer and a residual network, and exact sparsity, as runs of their own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support import processes, tensorboard_data
from tests.support.processes import ROOT
from tests.support.suites import fast
from trainer.settings import rules as rulesfile

MODELS = {"transformer": [], "resnet": ["--depth=8"]}


# The transformer takes twice as long.
@pytest.fixture(scope="module", params=fast(["transformer", "resnet"], "resnet"))
def run(server, request, tmp_path_factory):
    """A short run of the rules for a model: its rules and its directory."""
    folder = tmp_path_factory.mktemp(request.param)
    file = str(ROOT / "scripts" / "presets" / f"six_rules_{request.param}.toml")
    flags = [f"--model={request.param}", f"--rules={file}", "--train_steps=40", "--summary_every=10", "--run_dir=run"]
    server.succeed(*flags, *MODELS[request.param], cwd=folder)
    return rulesfile.load(file), folder / "run"


def test_six_rules_hold(run):
    rules, directory = run
    certificate = processes.certificate(directory)
    assert len(rules) == 6
    assert certificate["feasible"] is True
    assert {entry["rule"] for entry in certificate["variables"]} == {1, 2, 3, 4, 5, 6}
    for entry in certificate["variables"]:
        assert entry["constraint"] == rules[entry["rule"] - 1].constraint
        assert entry["feasible"] is not False


def test_every_rules_bound_is_logged(run):
    _, directory = run
    points = tensorboard_data.scalars(directory)
    for entry in processes.certificate(directory)["variables"]:
        for field, value in entry["bound"].items():
            name = "penalty" if entry["unjudged"] == "a penalty" else f"bound/{field}"
            tag = f"train/{name}/{entry['path']}"
            assert [step for step, _ in points[tag]] == [10, 20, 30, 40]
            assert points[tag][-1][1] == pytest.approx(value, rel=1e-6)


def test_the_residual_of_every_intersection_is_logged(run):
    _, directory = run
    points = tensorboard_data.scalars(directory)
    entries = processes.certificate(directory)["variables"]
    several = {f"train/residual/{entry['path']}" for entry in entries if "," in entry["constraint"]}
    assert {tag for tag in points if tag.startswith("train/residual/")} == several
    for tag in several:
        assert all(value <= 1e-6 for _, value in points[tag])


def kernels(directory) -> list[np.ndarray]:
    """The kernels in a run's newest checkpoint."""
    (*_, newest) = sorted((directory / "checkpoints").glob("step-*"))
    reader = tf.train.load_checkpoint(str(newest / "state"))
    shapes = reader.get_variable_to_shape_map()
    names = [name for name in shapes if name.startswith("optimizer/_trainable_variables/") and len(shapes[name]) == 2]
    return [reader.get_tensor(name) for name in sorted(names)]


CUBIC = ["--schedule=polynomial", "--initial_value=0", "--schedule_end=80%", "--train_steps=60", "--run_dir=run"]


@pytest.mark.parametrize("group", fast([None, "tensor", "network"], None))
def test_a_cubic_ramp_ends_at_the_exact_share(server, tmp_path, group):
    flags = ["--constraint=topk", "--sparsity=0.9", *CUBIC, *([f"--group={group}"] if group else [])]
    server.succeed(*flags, cwd=tmp_path)
    saved = kernels(tmp_path / "run")
    assert sorted(kernel.shape for kernel in saved) == [(64, 300), (100, 10), (300, 100)]
    zeros, sizes = [int(np.sum(kernel == 0)) for kernel in saved], [kernel.size for kernel in saved]
    if group == "network":
        assert sum(zeros) == round(0.9 * sum(sizes))
        assert zeros != [round(0.9 * size) for size in sizes]
    else:
        assert zeros == [round(0.9 * size) for size in sizes]


def test_two_of_four_in_every_window(server, tmp_path):
    server.succeed("--constraint=nm", "--n=2", "--m=4", "--train_steps=40", "--run_dir=run", cwd=tmp_path)
    saved = kernels(tmp_path / "run")
    assert len(saved) == 3
    for kernel in saved:
        windows = kernel.reshape(-1, 4, kernel.shape[1])
        assert np.all(np.count_nonzero(windows, axis=1) <= 2)
        assert np.mean(np.count_nonzero(windows, axis=1) == 2) > 0.99
