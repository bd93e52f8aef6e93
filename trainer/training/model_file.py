"""`model.keras`: what a run trained, as a model of stock Keras layers that takes raw examples."""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras

from ..export.plain import plain
from ..storage import files, run_directory
from .serving import Serving

# While a run trains, the file is written after so many seconds at the earliest, and so many times what a write takes.
WAIT = 5.0
SHARE = 20.0


class ModelFile:
    """Writes a run's `model.keras`.

    Args:
      folder: the run directory.
      network: what is trained.
      serving: what stands around it.
      warn: told why there is no file, where the network cannot be written.
    """

    def __init__(
        self, folder: pathlib.Path, network: keras.Model, serving: Serving, warn: Callable[[str], None] = print
    ):
        self._path = folder / run_directory.MODEL
        self._network = network
        self._serving = serving
        self._warn = warn
        self._copy: keras.Model | None = None
        self._whole: keras.Model | None = None
        self._possible = True
        self._next = time.monotonic() + WAIT

    def changed(self) -> None:
        """Writes the present weights, which are the best so far, unless the last time was a moment ago."""
        if time.monotonic() < self._next:
            return
        before = time.monotonic()
        self.write()
        took = time.monotonic() - before
        self._next = time.monotonic() + max(WAIT, SHARE * took)

    def write(self) -> bool:
        """Writes the present weights, and says whether the network can be written at all.

        Raises:
          OSError: the disk does not take them; an earlier file stays.
        """
        if not self._possible:
            return False
        # A class of the user's own may be written in code that fails in any way.
        try:
            if self._copy is None:
                self._copy = plain(self._network)
                self._whole = self._serving.around(self._copy)
        except Exception as error:
            return self._give_up(error)
        self._copy.set_weights(self._network.get_weights())
        try:
            content = as_bytes(self._whole)
        except OSError:
            # The disk of temporary files is full, which is no fault of the network.
            raise
        except Exception as error:
            return self._give_up(error)
        files.write_atomically(self._path, content)
        return True

    def _give_up(self, error: Exception) -> bool:
        self._possible = False
        reason = " ".join(str(error).split())[:200]
        self._warn(f"warning: there is no {run_directory.MODEL}, because Keras cannot write the model: {reason}")
        return False


def as_bytes(model: keras.Model | None) -> bytes:
    """The content of a `.keras` file."""
    assert model is not None
    # Keras writes to a path of its own suffix. Only a whole file goes to the run's disk.
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / run_directory.MODEL
        model.save(path)
        return path.read_bytes()


def load(run: Any) -> keras.Model:
    """Loads the model that a run left: raw examples in, answers out, see `docs/reference/run-directory.md`.

    Args:
      run: the run directory.

    Returns:
      The Keras model: probabilities of classes or labels, or numbers in the units of the labels. A model that was
      trained in Python takes and gives what it did in training.

    Raises:
      ValueError: there is no such file, or it is damaged.
    """
    path = pathlib.Path(run) / run_directory.MODEL
    if not path.is_file():
        what = "is no run directory" if not (path.parent / run_directory.RUN).exists() else f"has no {path.name} (yet)"
        raise ValueError(f"{path.parent} {what}; give the directory of a run that ended, without --nosave_model.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the zip file, JSON or HDF5 inside raises.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be loaded: {reason}; run the training again, which writes it anew.") from error
