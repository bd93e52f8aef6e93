"""A run on data that is read as a stream goes on where it was, without reading the data again."""

from __future__ import annotations

import signal

import pytest

from tests.runs.resume_test import state
from tests.support import processes, sabotage, tiny_experiment
from tests.support.sabotage import point
from tests.support.suites import fast
from tests.trainer.training.experiment_test import At, config, trained, weights
from trainer.data import batches, dataset

AGAIN = "read again"


@pytest.fixture
def folder(tmp_path):
    """A folder of prepared data; data in memory need not stay on the disk, but a stream does."""
    dataset.load("digits", data_dir=tmp_path / "data")
    return tmp_path / "data"


def certified(run):
    """What the certificate says, without what a clock measured."""
    document = processes.certificate(run)
    assert 0 <= document.pop("waiting_share") <= 1
    return document


def digits(path, folder):
    plain = {"input_shape": None, "num_classes": None, "num_examples": None, "train_steps": 20}
    return config(path, dataset="digits", data_dir=str(folder), **plain)


@pytest.mark.parametrize("saved", fast([True, False], True))
def test_a_run_goes_on_with_the_same_batches(tmp_path, folder, monkeypatch, capsys, saved):
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(batches, "SHUFFLE_BUFFER", 50)
    whole, _ = trained(digits(tmp_path / "whole", folder))
    monkeypatch.setattr(batches, "POSITION_LIMIT", batches.POSITION_LIMIT if saved else 0)
    trained(digits(tmp_path / "broken", folder), At(12))
    assert list((tmp_path / "broken" / "checkpoints").glob("step-*/position.index")) != [] if saved else True
    assert AGAIN not in capsys.readouterr().out
    again, _ = trained(digits(tmp_path / "broken", folder))
    assert tiny_experiment.same_bits(weights(again), weights(whole))
    assert certified(tmp_path / "broken") == certified(tmp_path / "whole")
    printed = capsys.readouterr().out
    assert "continues at step 15 of 20" in printed
    why = "the 15 batches before step 15 are read again, because its shuffle buffer is too large to be saved"
    assert (AGAIN not in printed) if saved else (why in printed)


@pytest.mark.slow
def test_killed_and_continued(tmp_path, folder):
    flags = [
        *("--run_dir=run", "--dataset=digits", "--model=mlp", "--hidden_units=16", "--dropout=0.3"),
        *("--constraint=l1ball", f"--data_dir={folder}", "--batch_size=16", "--train_steps=400"),
        *("--checkpoint_every=40", "--eval_every=100"),
    ]
    streamed = [{"at": "trainer.data.dataset:MEMORY_LIMIT", "value": 0}]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert sabotage.train(streamed, *flags, cwd=whole).returncode == 0
    for moment in (
        point("trainer.storage.checkpoints:Checkpoints._write", 2, "after"),
        point("trainer.data.stream:Stream.record", 3, "after"),
        point("os:rename", 2, "after", about="unfinished-"),
    ):
        assert sabotage.train([*streamed, moment], *flags, cwd=broken).returncode == -signal.SIGKILL
    result = sabotage.train(streamed, *flags, cwd=broken)
    assert result.returncode == 0
    assert "continues at step" in result.stdout
    assert AGAIN not in result.stdout
    assert state(broken / "run", 400) == state(whole / "run", 400)
    assert certified(broken / "run") == certified(whole / "run")
