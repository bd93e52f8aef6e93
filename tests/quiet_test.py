"""What native code writes to standard error is held back, and shown when something fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import processes
from trainer import quiet


def test_native_output_is_held_back_and_later_output_is_not(capfd):
    with quiet.native_stderr():
        os.write(2, b"banner\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("error", [ImportError, KeyboardInterrupt])
def test_it_is_shown_when_the_block_fails(capfd, error):
    def fail():
        with quiet.native_stderr():
            os.write(2, b"the reason\n")
            raise error

    with pytest.raises(error):
        fail()
    assert capfd.readouterr().err == "the reason\n"


def test_no_descriptor_is_lost():
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with quiet.native_stderr():
            pass
    assert set(os.listdir("/proc/self/fd")) == before


def test_importing_tensorflow_says_nothing():
    code = "from trainer import quiet; quiet.import_tensorflow(); import tensorflow as tf; tf.zeros([1])"
    environment = {**processes.environment(), "TF_CPP_MIN_LOG_LEVEL": ""}
    del environment["TF_CPP_MIN_LOG_LEVEL"]
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""
