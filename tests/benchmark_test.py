"""The benchmark's arithmetic, and that its contestants train the same network on the same data."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from scripts.benchmark import contests, data, operations, opponents, outputs, pauses, processes
from scripts.benchmark.opponents import Fit, Floor, Ours
from tests.support import tensorboard_data
from trainer.settings.config import Config


class Paced:
    """Takes the times it is told to."""

    def __init__(self, *seconds: float):
        self._seconds = list(seconds)

    def run(self, num_steps: int) -> float:
        del num_steps
        return self._seconds.pop(0)


@pytest.fixture
def nothing_to_clear(monkeypatch):
    """Of what other tests left in this process, collecting the garbage takes a minute."""
    monkeypatch.setattr(contests.keras.backend, "clear_session", lambda: None)


@pytest.mark.usefixtures("nothing_to_clear")
def test_ratios_are_taken_within_a_round():
    # The first two calls of each warm up. The machine became twice as slow in the last round.
    one, two = Paced(9.0, 5.0, 1.0, 1.0, 2.0), Paced(9.0, 5.0, 3.0, 3.0, 6.0)
    figures = contests.contest({"one": lambda: one, "two": lambda: two}, steps=5, rounds=3)
    assert figures["one"].pop("rounds") == [1e3, 1e3, 2e3]
    assert figures["one"] == {"milliseconds": 1e3, "quartile_1": 1e3, "quartile_3": 1.5e3, "ratio": 1.0}
    assert figures["two"]["ratio"] == 3.0


@pytest.mark.usefixtures("nothing_to_clear")
def test_who_cannot_take_part_is_left_out():
    def refuses():
        raise ValueError("XLA cannot compile this model")

    figures = contests.contest({"one": lambda: Paced(1.0, 1.0, 1.0, 1.0), "two": refuses}, steps=5, rounds=2)
    assert list(figures) == ["one"]


def test_targets_are_ratios_within_a_round_of_each_at_its_best_setting():
    # The last two rounds were on a machine four times as slow, and medians of whole columns would say otherwise.
    rounds = {
        "ours": [2.0, 8.0, 8.0],
        "ours, --jit=on": [1.0, 4.0, 4.0],
        "fit, 1 a call": [1.6, 6.4, 6.4],
        "fit, 100 a call": [1.0, 1.0, 4.0],
        "floor": [0.95, 3.8, 3.8],
        "looking floor": [1.026, 4.104, 4.104],
        "no summaries, no checkpoints": [1.6, 6.4, 6.4],
        "the floor again": [0.76, 3.04, 3.04],
    }
    results = {name: {"milliseconds": float(np.median(values)), "rounds": values} for name, values in rounds.items()}
    rows = contests.training_targets({"mlp, batch 128, adam": results})
    limit = (
        "a floor that looks for what is not finite takes 1.08 times as long; with summaries and checkpoints a "
        "step takes 1.25 times as long; equal floors of this network differ by up to 1.25 times"
    )
    assert [row[1:] for row in rows] == [
        ["1.00 (1.00-2.50)", "held", ""],
        ["1.05 (1.05-1.05)", "held", ""],
        ["1.60 (1.60-1.60)", "NOT HELD", limit],
    ]
    # Equals of another contest of the same network count too.
    other = {name: {**figures, "rounds": figures["rounds"][::-1]} for name, figures in results.items()}
    other["the floor again"]["rounds"] = [7.6, 7.6, 1.9]
    rows = contests.training_targets({"mlp, batch 128, adam": results, "mlp, batch 32, adam": other})
    assert "equal floors of this network differ by up to 2.00 times" in rows[2][3]
    # Where the target is not far from what was measured, the row says so too.
    assert contests.row("", "<=", 1.0, [0.9, 1.1, 1.2], "why") == [
        ", at most 1",
        "1.10 (1.00-1.15)",
        "NOT HELD",
        "why; the target lies between the quartiles",
    ]


def test_a_cost_is_held_against_what_equal_runs_differ_by():
    names = ("bare", "summaries", "maxnorm 2", "l1ball 3", "topk 90 %", "bare again", contests.STILL)
    times = dict(zip(names, (1.0, 1.0, 1.25, 1.05, 1.5, 0.8, 0.9), strict=True))
    results = {name: {"milliseconds": time, "rounds": [time]} for name, time in times.items()}
    rows = contests.cost_targets({"constraints, mlp, batch 128": results})
    assert [row[2] for row in rows] == ["NOT HELD", "held", "NOT HELD", "held", "NOT HELD"]
    assert all(row[3].endswith("equal runs differ by 1.25 times") for row in rows if row[2] == "NOT HELD")


def test_targets_of_processes():
    figures = {"whole run of one step, s": 3.0, "import and data, s": 2.5, "peak memory, MiB": 2.0}
    rows = processes.targets({**figures, "peak memory of fit, MiB": 1.0})
    assert [row[1:3] for row in rows] == [["1.20", "held"], ["2.00", "NOT HELD"]]
    assert [bool(row[3]) for row in rows] == [False, True]


def test_waiting_for_checkpoints_is_held_against_the_steps_between_two():
    rows = pauses.targets({"mlp": {"pause": 10.0, "quartile_1": 8.0, "quartile_3": 40.0, "step": 2.0}})
    assert [row[1:] for row in rows] == [["0.50 (0.45-1.25)", "held", ""]]
    (row,) = pauses.targets({"mlp": {"pause": 50.0, "quartile_1": 8.0, "quartile_3": 90.0, "step": 2.0}})
    assert row[2] == "NOT HELD"


def test_pauses_are_those_of_the_saves_that_are_due():
    config = dataclasses.replace(
        contests.LONG, dataset="digits", model="logistic", model_options={}, checkpoint_every="20"
    )
    with contextlib.redirect_stdout(io.StringIO()):
        ours = Ours(config)
        assert ours.run(50) > 0
    # The first 20 steps are not counted: at 20, 40, 60 and 80, and the last one again as the round ends.
    assert len(ours.pauses) == 5
    assert min(ours.pauses) > 0
    ours.close()


def test_the_first_summary_is_met_without_the_steps_before_it():
    config = dataclasses.replace(contests.LONG, dataset="digits", model="logistic", model_options={})
    with contextlib.redirect_stdout(io.StringIO()):
        ours = Ours(config)
        ours.warm_up(5)
        points = tensorboard_data.scalars(pathlib.Path(ours._folder.name) / "run")
        ours.close()
    assert [step for step, _ in points["train/loss"]] == [100]
    assert 104 <= int(ours._iterations.numpy()) < 200


def test_the_same_batch_again_and_again():
    config = dataclasses.replace(contests.LONG, dataset="digits", model="logistic", model_options={})
    with contextlib.redirect_stdout(io.StringIO()):
        ours = Ours(config, still=True)
        assert ours.run(50) > 0
    source = ours._session._run.steps._train_source
    batches = [source.take((), source.train_batch((), tf.constant(step))) for step in (1, 2)]
    for one, other in zip(*batches, strict=True):
        assert one.shape[0] == config.batch_size
        np.testing.assert_array_equal(one, other)
    ours.close()


def test_images_and_targets_of_data(tmp_path, monkeypatch):
    folder = data._images(tmp_path / "images", 25)
    assert len(list(folder.glob("*/*.png"))) == 25
    assert tf.io.decode_png((folder / "3" / "13.png").read_bytes()).shape == (32, 32, 3)
    monkeypatch.setattr(data.os, "cpu_count", lambda: 2)
    figures = {
        "cores busy with decoding": 1.9,
        "waiting, streamed, %": 6.0,
        "peak memory, streamed, MiB": 800.0,
        "peak memory, streamed, a quarter of them, MiB": 790.0,
        "first step on an archive of the size of MNIST, s": 2.0,
    }
    assert [row[2] for row in data.targets(figures)] == ["held", "NOT HELD", "held", "held"]


@pytest.fixture
def parser():
    made = argparse.ArgumentParser()
    outputs.add(made, "the figures")
    return made


@pytest.mark.parametrize(
    ("name", "complaint"), [("", "is a folder"), ("none/figures", "there is no folder"), ("kept", "cannot be written")]
)
@pytest.mark.parametrize("flag", ["--json", "--plot"])
def test_where_nothing_can_be_written_is_said_before_anything_is_measured(
    parser, tmp_path, monkeypatch, capsys, flag, name, complaint
):
    (tmp_path / "kept").touch()
    # Whoever runs this may be allowed to write everywhere.
    monkeypatch.setattr(outputs.os, "access", lambda path, how: path.name != "kept")
    with pytest.raises(SystemExit) as ended:
        outputs.check(parser, parser.parse_args([f"{flag}={tmp_path / name}"]))
    assert ended.value.code == 2
    assert re.search(rf"{flag}=\S+:? {complaint}", capsys.readouterr().err)


def test_drawing_needs_what_draws(parser, tmp_path, monkeypatch, capsys):
    asked = parser.parse_args([f"--json={tmp_path / 'a.json'}", f"--plot={tmp_path / 'a.png'}"])
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        outputs.check(parser, asked)
    assert "pip install -e '.[plots]'" in capsys.readouterr().err
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: name)
    outputs.check(parser, asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_contestants_learn_alike(optimizer):
    config = dataclasses.replace(contests.LONG, dataset="digits", optimizer=optimizer)
    assert isinstance(config, Config)
    with contextlib.redirect_stdout(io.StringIO()):
        ours, fit, floor = Ours(config), Fit(config, 10, False), Floor(config, False)
        looking = Floor(config, False, looks=True)
        for one in (ours, fit, floor, looking):
            assert one.run(300) > 0
    kernels = [
        [variable.numpy() for variable in model.trainable_variables if "kernel" in variable.path]
        for model in (ours._session._run.model, fit._model, floor._model, looking._model)
    ]
    ours.close()
    for own, *others in zip(*kernels, strict=True):
        norms = [np.linalg.norm(kernel, axis=0) for kernel in (own, *others)]
        # Other orders of the same examples: alike, not equal. None exceeds the bound.
        assert all(norm.max() <= 2.0 + 1e-5 for norm in norms)
        for norm in norms[1:]:
            assert np.mean(norm) == pytest.approx(np.mean(norms[0]), rel=0.2)


def test_fit_is_timed_over_the_steps_that_it_makes(monkeypatch):
    """Keras makes whole calls, whatever the length of the epoch."""

    class Minute(opponents.Clock):
        def on_epoch_end(self, epoch, logs=None):
            self.seconds = 60.0

    monkeypatch.setattr(opponents, "Clock", Minute)
    fit = Fit(dataclasses.replace(contests.LONG, dataset="digits", model="logistic", model_options={}), 10, False)
    assert fit.run(25) == 2.0
    assert int(fit._model.optimizer.iterations.numpy()) == 30


@dataclasses.dataclass
class Event:
    """What the profiler notes of an operation."""

    metadata_id: int
    offset_ps: int
    duration_ps: int


def test_a_profile_counts_what_runs_within_an_operation_once():
    names = {1: "ExecutorState::Process", 2: "MatMul", 3: "CpuExecutable::ExecuteAsyncOnStream", 4: "add_fusion"}
    events = [Event(4, 70, 10), Event(1, 0, 100), Event(2, 5, 20), Event(2, 25, 20), Event(3, 60, 30), Event(2, 92, 3)]
    assert list(operations._outermost(events, names)) == [
        ("MatMul", 20),
        ("MatMul", 20),
        ("compiled by XLA", 30),
        ("MatMul", 3),
    ]
    figures = {"bare": {"the step": 60.0, "MatMul": 43.0}, "l1ball": {"the step": 90.0, "MatMul": 43.0, "Relu": 30.0}}
    lines = operations.shown(figures).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["the", "step", "60", "90"],
        ["MatMul", "43", "43"],
        ["Relu", "0", "30"],
        ["other", "operations", "0", "0"],
    ]
