"""A run is the same whatever the user's surroundings say, or they are refused in a sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import processes
from tests.support.suites import fast

# A few weights after training, which any of Keras's settings would change.
CODE = """
from trainer.runtime import quiet_import
quiet_import.import_tensorflow()
import json, keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(0)
tf.config.experimental.enable_op_determinism()
layer = keras.layers.Conv2D(2, 3)
out = layer(tf.ones([1, 5, 6, 3]))
from trainer.runtime import surroundings
print(json.dumps([keras.config.backend(), out.dtype.name, list(out.shape), float(layer.kernel[0, 0, 0, 0]),
                  surroundings.noted()]))
"""
SURROUNDINGS = {
    "backend": {"KERAS_BACKEND": "jax"},
    "legacy": {"TF_USE_LEGACY_KERAS": "1"},
    "cluster": {"TF_CONFIG": '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}'},
    "epochs": {"KERAS_MAX_EPOCHS": "many"},
    "hash": {"PYTHONHASHSEED": "7"},
    "locale": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no_backend": {"KERAS_BACKEND": "nonsense"},
}
FILES = {
    "floatx": json.dumps({"floatx": "float16"}),
    "channels_first": json.dumps({"image_data_format": "channels_first"}),
    "epsilon": json.dumps({"epsilon": 0.5}),
    "backend_of_a_file": json.dumps({"backend": "torch"}),
    "nonsense": json.dumps({"floatx": "float1"}),
    "no_json": "{",
    "a_list": "[]",
}


def told(home, variables) -> list:
    environment = {**processes.environment(), "HOME": str(home), **variables}
    result = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    made = told(home, {})
    assert not list(home.iterdir())
    return made


@pytest.mark.parametrize("name", fast([*SURROUNDINGS, *FILES], "backend"))
def test_a_run_is_the_same(usual, tmp_path, name):
    (tmp_path / ".keras").mkdir()
    # One file holds what the fast suite has no time to try alone.
    everything = json.dumps({"floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.5})
    (tmp_path / ".keras" / "keras.json").write_text(FILES.get(name, everything))
    keras_home = {"KERAS_HOME": str(tmp_path / ".keras")} if name == "floatx" else {}
    assert told(tmp_path, {**SURROUNDINGS.get(name, {}), **keras_home}) == usual


@pytest.mark.slow
def test_what_native_code_reads_is_noted(tmp_path):
    noted = told(tmp_path, {"TF_DETERMINISTIC_OPS": "1", "OMP_NUM_THREADS": "1", "TF_CONFIG": "{}"})[-1]
    assert noted["TF_DETERMINISTIC_OPS"] == "1"
    assert noted["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" in noted
    assert "TF_CONFIG" not in noted


def test_another_backend_that_a_program_has_chosen_is_refused(monkeypatch):
    import keras

    from trainer.runtime import surroundings

    surroundings.settle()
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match=r"Keras was imported with image_data_format=channels_first, but .*_last"):
        surroundings.settle()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TF_XLA_FLAGS", "XLA_FLAGS"])
def test_what_would_end_the_process_later_is_refused(monkeypatch, name):
    from trainer.runtime import surroundings

    monkeypatch.setenv(name, "--nonsense=1")
    with pytest.raises(
        ValueError, match=f"^{name}=--nonsense=1 is not what TensorFlow takes: Unknown flag in {name}: --"
    ):
        surroundings._check_xla()
