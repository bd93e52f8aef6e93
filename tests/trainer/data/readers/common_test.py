"""Looking at a file before it is read."""

from __future__ import annotations

import os

import numpy as np
import pytest

from trainer.data.examples import FileOptions
from trainer.data.readers import common


def test_what_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("missing", "No such file"), ("empty", "is empty"), ("pipe", "is no regular file")):
        with pytest.raises(ValueError, match=words):
            common.open_file(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"is no regular file|Is a directory"):
        common.open_file(str(tmp_path))


def test_a_fingerprint_is_the_content_alone(tmp_path):
    for name, content in (("a", b"abc"), ("b", b"abc"), ("c", b"abd"), ("d", b"abc\0")):
        (tmp_path / name).write_bytes(content)

    def of(name):
        with common.open_file(str(tmp_path / name)) as file:
            found = common.fingerprint(file)
            assert file.tell() == 0
            return found

    assert of("a") == of("b")
    assert len({of(name) for name in "acd"}) == 3


def test_options_that_do_not_apply_are_refused():
    common.check_options("a", "a table", FileOptions(label=("y",)), taken=("label",))
    with pytest.raises(ValueError, match="--image_size=8,8 does not apply to `a`, which is a table; leave it out"):
        common.check_options("a", "a table", FileOptions(image_size=(8, 8)), taken=("label",))


def test_what_float32_cannot_hold_is_found():
    values = np.array([1.0, np.nan, np.inf, 1e39, -1e38])
    np.testing.assert_array_equal(common.too_large(values), [False, True, True, True, False])
    assert not common.too_large(np.arange(3)).any()


def test_weights_are_finite_and_not_negative():
    assert common.weights_of(np.array([0, 2]), "w", int).dtype == np.float32
    for values, words in (([1, -1], "weight -1 in row 1"), ([np.nan, 1], "weight nan in row 0"), ([0, 0], "every row")):
        with pytest.raises(ValueError, match=words):
            common.weights_of(np.array(values), "w", int)
