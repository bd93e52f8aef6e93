"""One process for all tests: two CPU devices, the program's own determinism, and a data folder of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

from tests.support import fork_server

_DATA = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config: pytest.Config) -> None:
    # Test files make tensors while they are collected, before any fixture runs, and devices cannot be split after that.
    config.stash[_DATA] = tempfile.TemporaryDirectory()
    os.environ["TFDS_DATA_DIR"] = config.stash[_DATA].name
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

    from trainer.runtime import quiet_import

    quiet_import.import_tensorflow()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from tests.support.suites import REPEATS, left_to_the_slow_suite

    fast = [item.nodeid for item in items if item.get_closest_marker("slow") is None]
    left = left_to_the_slow_suite(fast)
    for item in items:
        if item.nodeid in left or f"{item.path.name}::{item.name}".startswith(REPEATS):
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _DATA in config.stash:
        config.stash[_DATA].cleanup()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same seeds, whichever ran before it."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def server() -> Iterator[fork_server.Forks]:
    """Runs command lines, for all files that need one."""
    with fork_server.Forks(1) as running:
        yield running
