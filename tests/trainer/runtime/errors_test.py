"""Which failures of a run are told in one line, and which keep their traceback."""

from __future__ import annotations

import errno

import pytest
import tensorflow as tf

from trainer.runtime import errors


def test_a_full_disk():
    error = OSError(errno.ENOSPC, "No space left on device", "run/flags.txt.new")
    message = errors.described(error)
    assert message == (
        "the run directory cannot be written (run/flags.txt.new): No space left on device; what was saved before stays "
        "as it is; mend the disk and give the same command to go on."
    )
    assert "(None)" not in errors.described(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize(
    "reason", ["No space left on device", "Disk quota exceeded", "Read-only file system", "Input/output error"]
)
def test_a_disk_that_fails_below_tensorflow(reason):
    error = tf.errors.ResourceExhaustedError(None, None, f"run/train/events.v2; {reason}")
    assert f"cannot be written: {reason};" in errors.described(error)


def test_what_a_pipeline_asserted_is_told_in_its_own_words():
    def pipeline():
        for _ in tf.data.Dataset.range(3).map(check):
            pass

    def check(number):
        tf.debugging.Assert(number < 2, ["Data set `x`: a label is outside the classes 0..1; label, example:", number])
        return number

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        pipeline()
    message = errors.described(caught.value)
    assert message.startswith("Data set `x`: a label is outside the classes 0..1; label, example: 2;")
    assert "mend the data set" in message
    assert "{{" not in message


def test_a_file_that_went_away_while_training_reads_it(tmp_path):
    missing = tf.data.Dataset.from_tensors(str(tmp_path / "a b.png")).map(tf.io.read_file)
    with pytest.raises(tf.errors.NotFoundError) as caught:
        next(iter(missing))
    message = errors.described(caught.value)
    assert message.startswith(f"{tmp_path}/a b.png cannot be read any more: No such file or directory; bring it back")


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("x"), tf.errors.InternalError(None, None, "a bug"), ZeroDivisionError()]
)
def test_a_mistake_of_the_program_is_not_explained_away(error):
    assert errors.described(error) is None


def test_the_systems_words_without_those_of_tensorflow():
    message = "{{function_node __wrapped__SaveV2_device_/job:x}} run/part-0.data; File too large [Op:SaveV2] name: "
    assert errors.reason(tf.errors.OutOfRangeError(None, None, message)) == "File too large"
    message = (
        'Graph execution error:\n\nDetected at node SaveV2 defined at (most recent call last):\n  File "x.py", line 8, '
        "in save\n\nrun/state_temp/part-0.data; File too large\n\t [[{{node SaveV2}}]] [Op:__inference__written_7]"
    )
    assert errors.reason(tf.errors.OutOfRangeError(None, None, message)) == "File too large"
    assert errors.reason(OSError(errno.ENOSPC, "No space left on device", "x")) == "No space left on device"
    assert errors.reason(OSError("odd")) == "odd"


def test_weights_that_are_not_finite_are_told_in_the_words_of_the_refusal():
    assert errors.described(errors.NonFiniteError("step 5 is not saved")) == "step 5 is not saved"


def test_a_machine_without_enough_memory():
    message = "{{function_node x}} OOM when allocating tensor with shape[64,1000000] and type float on /job:localhost"
    told = errors.described(tf.errors.ResourceExhaustedError(None, None, message))
    assert told.startswith(
        "the machine has not enough memory for a tensor of shape [64,1000000]; use a smaller --batch"
    )
