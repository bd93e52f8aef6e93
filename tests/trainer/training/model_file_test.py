"""What a run leaves in `model.keras`: the right weights, in stock Keras, from raw examples to answers."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import trainer
from constraints import MaxNorm, TopK, schedules
from trainer import Rule, Trainer
from trainer.storage import run_directory
from trainer.training import model_file

PLAIN = """
import sys
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
assert not any("constrain" in name for name in sys.modules if name.split(".")[0] in ("constraints", "trainer"))
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def network(**options):
    return keras.Sequential([keras.Input([4]), keras.layers.Dense(6, "relu", **options), keras.layers.Dense(3)])


def data(n=60):
    rng = np.random.default_rng(0)
    return rng.standard_normal([n, 4]).astype("float32"), rng.integers(0, 3, n)


def trained(path, rules, epochs=3, model=None, **options):
    x, y = data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made = Trainer(
        model or network(), rules, optimizer="adam", loss=loss, metrics=["accuracy"], run_dir=path, **options
    )
    made.fit(x, y, epochs=epochs, batch_size=20, validation_split=0.2, verbose=0)
    return made


def test_it_holds_the_best_weights_where_they_obey_the_rules(tmp_path):
    made = trained(tmp_path / "run", Rule(MaxNorm(0.5)), epochs=6)
    said = json.loads((tmp_path / "run" / run_directory.CERTIFICATE).read_text())["model"]
    best = json.loads((tmp_path / "run" / run_directory.CERTIFICATE).read_text())["best"]
    assert said == {"file": "model.keras", "weights": "best", "step": best["step"]}
    loaded = trainer.load(tmp_path / "run")
    assert max(np.linalg.norm(loaded.layers[0].kernel.numpy(), axis=0)) <= 0.5
    if best["step"] == made.optimizer.iterations:
        np.testing.assert_array_equal(loaded.predict(data()[0], verbose=0), made.predict(data()[0]))


def test_it_holds_the_last_weights_where_the_best_break_a_rule_of_the_end(tmp_path):
    ramp = TopK(schedules.polynomial(0.0, 0.9, end="100%"))
    made = trained(tmp_path / "run", Rule(ramp), epochs=6, monitor="loss", mode="max")
    document = json.loads((tmp_path / "run" / run_directory.CERTIFICATE).read_text())
    assert document["best"]["step"] < document["step"]
    assert document["model"]["weights"] == "last"
    loaded = trainer.load(tmp_path / "run")
    assert np.mean(loaded.layers[0].kernel.numpy() == 0) > 0.85
    np.testing.assert_array_equal(loaded.get_weights()[0], made.model.get_weights()[0])


@pytest.mark.slow
def test_a_process_without_the_project_loads_it(tmp_path):
    made = trained(tmp_path / "run", (), model=network(kernel_constraint=MaxNorm(0.5)))
    np.save(tmp_path / "x.npy", data()[0])
    subprocess.run(
        [sys.executable, "-c", PLAIN, tmp_path / "run" / "model.keras", tmp_path / "x.npy", tmp_path / "y.npy"],
        cwd=tmp_path,
        check=True,
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )
    expected = trainer.load(tmp_path / "run").predict(data()[0], verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)
    assert made.model.layers[0].kernel_constraint is not None


def test_without_it_and_where_keras_cannot_write_it_the_run_goes_on(tmp_path, capfd):
    trained(tmp_path / "without", Rule(MaxNorm(1.0)), save_model=False)
    assert not (tmp_path / "without" / "model.keras").exists()

    class Own(keras.Model):
        def __init__(self, size):
            super().__init__()
            self.inner = keras.layers.Dense(size)

        def call(self, x):
            return self.inner(x)

        def get_config(self):
            raise NotImplementedError("no configuration")

    own = Own(3)
    own.build([None, 4])
    trained(tmp_path / "own", Rule(MaxNorm(1.0)), model=own)
    assert "there is no model.keras, because Keras cannot write the model" in capfd.readouterr().out
    assert (tmp_path / "own" / run_directory.CERTIFICATE).exists()


@pytest.mark.parametrize("damage", ["missing", "no run", "damaged"])
def test_what_cannot_be_loaded_is_said(tmp_path, damage):
    if damage != "no run":
        (tmp_path / run_directory.RUN).write_text("{}")
    if damage == "damaged":
        (tmp_path / run_directory.MODEL).write_bytes(b"PK nonsense")
    expected = {
        "missing": r"has no model.keras \(yet\)",
        "no run": "is no run directory",
        "damaged": "cannot be loaded",
    }
    with pytest.raises(ValueError, match=expected[damage]):
        model_file.load(tmp_path)
