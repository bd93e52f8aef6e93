"""What went wrong in the middle of a run, in a user's words: bad data, a failing disk, no memory, NaN weights."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

_ASSERTION = re.compile(r"assertion failed: (.*)")
_UNTOUCHED = "what was saved before stays as it is; mend the disk and give the same command to go on."
_DISK = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system|Input/output error")
_RECORD = re.compile(r"(?:corrupted|truncated) record at \d+|Can't parse serialized Example|Could not parse example")
_MEMORY = re.compile(r"OOM when allocating tensor with shape\s*(\[[0-9,]*\])")
# Of a file that training reads.
_UNREADABLE = re.compile(
    r"(?:^|: )((?:(?!: )[^;\n])*[^;\s]); (No such file or directory|Permission denied|Stale file handle)", re.MULTILINE
)
# What TensorFlow writes around the system's words.
_AROUND = re.compile(r"\{\{.*?\}\} ?| ?\[Op:.*")

# How lines begin that say where in a program something was called.
_WHERE = ("Graph execution error", "Detected at node", "File ", "Stack trace", "[[", "tf2xla", "(")


class NonFiniteError(ValueError):
    """A save was refused because the state holds NaN or infinity, or training was not to go on through such numbers."""


def described(error: Exception) -> str | None:
    """One line for a failure that is not the program's own.

    Args:
      error: what training raised.

    Returns:
      The line; None for anything else, which must keep its traceback.
    """
    if isinstance(error, NonFiniteError):
        return str(error)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"the run directory cannot be written{where}: {error.strerror or error}; {_UNTOUCHED}"
    if isinstance(error, tf.errors.OpError):
        message = " ".join(str(error.message).split())
        if found := _ASSERTION.search(message):
            # tf.debugging prints each part of a message in brackets: "[text] [5] [17] [[{{node ...".
            parts = found[1].split(" [[")[0].strip("[] ").replace("'", "").split("] [")
            return f"{' '.join(parts)}; mend the data set, or choose another split."
        if found := _RECORD.search(message):
            return (
                f"a record of the data set is damaged: {found[0]}; remove the data set's folder, prepare it again and "
                "give the same command to go on."
            )
        if found := _MEMORY.search(message):
            return (
                f"the machine has not enough memory for a tensor of shape {found[1]}; use a smaller --batch_size or "
                "network, or a larger machine."
            )
        if "ReadFile" in error.message and (found := _UNREADABLE.search(error.message)):
            path, why = found.groups()
            return f"{path} cannot be read any more: {why}; bring it back and give the same command to go on."
        if found := _DISK.search(message):
            return f"the run directory cannot be written: {found[0]}; {_UNTOUCHED}"
    return None


@contextlib.contextmanager
def in_words_of_python() -> Iterator[None]:
    """Has messages name arguments, as `run_dir=x`, where the command line has flags, as `--run_dir=x`."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(_renamed(str(error))) from error.__cause__
    except ValueError as error:
        raise ValueError(_renamed(str(error))) from error.__cause__
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(described(error) or f"a step cannot be computed: {cause(error)}") from error


def _renamed(message: str) -> str:
    return re.sub(r"--(?=[a-z_]+)", "", re.sub(r"--overwrite(?!=)", "overwrite=True", message))


def cause(error: tf.errors.OpError) -> str:
    """What a compiled function says went wrong, without where in the program it was called."""
    lines = [line.strip() for line in error.message.splitlines()]
    told = [line for line in lines if line and not line.startswith(_WHERE)]
    return _AROUND.sub("", told[0] if told else type(error).__name__)[:300]


def reason(error: OSError | tf.errors.OpError) -> str:
    """The system's own words for what went wrong with a file."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Before them, in a compiled function, where that was called; then the path; after them what else failed for it.
    lines = error.message.splitlines()
    line = next((line for line in lines if "; " in line), lines[0])
    return _AROUND.sub("", line).split("; ")[-1].strip()
