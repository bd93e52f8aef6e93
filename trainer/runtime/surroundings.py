"""What a run takes from its surroundings: nothing of Keras's own settings, and a note of what TensorFlow reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys

# Settings of Keras and of clusters that would change a run or end it.
_IGNORED = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "TF_CONFIG")
_SET = {
    "KERAS_BACKEND": "tensorflow",
    # Below a file there is no folder, so Keras finds no settings of another project there and writes none.
    "KERAS_HOME": os.path.join(os.devnull, "keras"),
    "TF_USE_LEGACY_KERAS": "0",
}
# What native code reads and what may change speed or last bits.
_NOTED = ("CUBLAS_", "CUDA_", "CUDNN_", "MKL_", "NVIDIA_", "OMP_", "ONEDNN_", "TF_", "XLA_")
_EXPECTED = {"backend": "tensorflow", "floatx": "float32", "image_data_format": "channels_last", "epsilon": 1e-7}

# Native code reads these late, and ends the process over a name that it does not know.
_READ_LATE = ("TF_XLA_FLAGS", "XLA_FLAGS")
_PROBE = "import tensorflow as tf; tf.function(lambda x: x + 1, jit_compile=True)(tf.ones([2]))"
_FATAL = re.compile(r"^F\d+ .*?\] (.*)$", re.MULTILINE)

_noted: dict[str, str] = {}


def settle() -> None:
    """Makes a run independent of Keras's variables and configuration file; call it before Keras is imported.

    Raises:
      ValueError: a program that imported Keras before has it set to something that a run cannot use, or XLA does not
        take what its variables say.
    """
    if "keras" in sys.modules:
        _check_imported()
        return
    for name in _IGNORED:
        os.environ.pop(name, None)
    os.environ.update(_SET)
    _check_xla()
    _noted.update({name: value for name, value in os.environ.items() if name.startswith(_NOTED) and name not in _SET})


def _check_xla() -> None:
    """Asks another process whether XLA starts, where the user gives it flags of its own."""
    given = [f"{name}={os.environ[name]}" for name in _READ_LATE if os.environ.get(name, "").strip()]
    if given:
        asked = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, errors="replace")
        if asked.returncode:
            said = _FATAL.search(asked.stderr)
            reason = said[1] if said else f"it ends with exit code {asked.returncode}"
            raise ValueError(f"{' '.join(given)} is not what TensorFlow takes: {reason}; unset or mend the variable.")


def noted() -> dict[str, str]:
    """The environment variables that were in force at the start and that native code reads, for `run.json`."""
    return dict(sorted(_noted.items()))


def _check_imported() -> None:
    import keras

    for name, expected in _EXPECTED.items():
        found = getattr(keras.config, name)()
        if found != expected:
            raise ValueError(
                f"Keras was imported with {name}={found}, but training needs {expected}; unset KERAS_BACKEND, or mend "
                "~/.keras/keras.json."
            )
