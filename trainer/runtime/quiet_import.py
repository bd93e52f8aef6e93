"""Standard streams: none is closed, and TensorFlow is imported without its start-up banner.

The banner is written to file descriptor 2 by C++ code that no environment variable silences, so the descriptor itself
is put aside until the import and the first look at the devices are over. What was written is shown if they fail.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from . import surroundings


def complete_streams() -> None:
    """Points standard streams that are closed at nothing, and lets no character that a stream lacks end the run.

    A file of the run would else take a free descriptor 1 or 2, and native code would write its messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Those below are open, so this is the lowest free one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def native_stderr() -> Iterator[None]:
    """Holds back what native code writes to standard error; replays it when the block raises."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


def import_tensorflow() -> None:
    """Imports TensorFlow and lists its devices, the two acts that print the banner."""
    surroundings.settle()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
