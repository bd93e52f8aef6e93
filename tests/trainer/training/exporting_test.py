"""A run's model as files, with a report beside them."""

from __future__ import annotations

import json
import subprocess

import keras
import numpy as np
import pytest

from constraints import LowRank, TopK, UnitSparse
from trainer import Rule, Trainer
from trainer.export import reload
from trainer.training import exporting

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 6)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int32)


@pytest.fixture
def _in_this_process(monkeypatch):
    def run(command, **_):
        reload.main(command[-1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)


def trained() -> Trainer:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([6]), keras.layers.Dense(40, activation="relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer = Trainer(model, Rule(TopK(sparsity=0.5)), optimizer="adam", loss=loss, metrics=["accuracy"])
    trainer.fit(X, Y, epochs=2, batch_size=16, verbose=0, validation_split=0.25)
    return trainer


@pytest.mark.slow
@pytest.mark.usefixtures("_in_this_process")
def test_a_trainer_exports_what_it_trained(tmp_path, capsys):
    trainer = trained()
    report = trainer.export(tmp_path / "export", "keras,sparse")
    (keras_file, archive) = report["exports"]
    assert json.loads((tmp_path / "export/export.json").read_text()) == json.loads(json.dumps(report))
    expected = trainer.evaluate(X[60:], Y[60:], return_dict=True)
    for export in (keras_file, archive):
        assert export["scores"] == pytest.approx(expected, rel=1e-6)
        assert export["certificate"]["feasible"]
        assert export["rules"] == "hold"
    loaded = keras.models.load_model(tmp_path / "export/model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), trainer.model.predict(X, verbose=0))
    printed = capsys.readouterr().out
    assert "model.safetensors" in printed
    assert "difference of outputs" in printed
    with pytest.raises(ValueError, match=r"model\.keras exists already; choose another output, or add overwrite=True"):
        trainer.export(tmp_path / "export")


@pytest.mark.slow
def test_a_smaller_model_gives_the_outputs_of_the_one_that_was_trained(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(64, activation="relu", name="hidden"),
        keras.layers.Dense(32, name="dense"),
        keras.layers.Dense(1, name="out"),
    ]
    model = keras.Sequential([keras.Input([6]), *layers])
    rules = [
        Rule(UnitSparse(sparsity=0.75), variables="hidden/kernel"),
        Rule(LowRank(rank=2), variables="dense/kernel"),
    ]
    trainer = Trainer(model, rules, optimizer="adam", loss="mse")
    trainer.fit(X, Y[:, np.newaxis], epochs=1, batch_size=16, verbose=0)
    whole = trainer.export(tmp_path / "whole", "keras")["exports"][0]
    report = trainer.export(tmp_path / "small", "keras,sparse", compact=True, low_rank=True, benchmark=True)
    assert report["compact"]["removed"] == [{"layer": "hidden", "noun": "units", "before": 64, "after": 16}]
    assert [one["layer"] for one in report["low_rank"]] == ["dense"]
    for export in report["exports"]:
        assert export["difference"] <= 1e-5
        assert export["scores"] == pytest.approx(whole["scores"], rel=1e-4)
    dense, small, _ = report["benchmark"]
    assert dense["multiply_adds"] == 6 * 64 + 64 * 32 + 32
    assert small["multiply_adds"] == 6 * 16 + 16 * 2 + 2 * 32 + 32
    assert "hidden: 16 of 64 units are left" in capsys.readouterr().out


def test_a_trainer_that_has_not_trained_says_so(tmp_path):
    with pytest.raises(ValueError, match="nothing to export yet; call fit"):
        Trainer(keras.Sequential([keras.Input([6]), keras.layers.Dense(2)]), loss="mse").export(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wishes", "match"),
    [
        ({"formats": ""}, "--formats= is not known"),
        ({"formats": "keras,keras"}, "names keras twice"),
        ({"formats": "pdf"}, "--formats=pdf is not known"),
        ({"formats": "kears"}, "did you mean keras?"),
        ({"target": "gpu"}, "--target=gpu is not known"),
    ],
)
def test_wishes_are_checked(wishes, match):
    with pytest.raises(ValueError, match=match):
        exporting.Wishes(**wishes)
