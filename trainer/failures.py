"""What went wrong in the middle of a run, in a user's words: bad data and a disk that fails."""

from __future__ import annotations

import re

import tensorflow as tf

_ASSERTION = re.compile(r"assertion failed: (.*)")
_DISK = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system|Input/output error")


class Diverged(Exception):  # noqa: N818 - as tf.errors names what happened
    """Training produced numbers that are not finite, and was not to go on; the message is for the user."""


def described(error: Exception) -> str | None:
    """One line for a failure that is not the program's own.

    Args:
      error: what training raised.

    Returns:
      The line; None for anything else, which must keep its traceback.
    """
    if isinstance(error, Diverged):
        return str(error)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"the run directory cannot be written{where}: {error.strerror or error}; the last checkpoint is good."
    if isinstance(error, tf.errors.OpError):
        message = " ".join(str(error.message).split())
        if found := _ASSERTION.search(message):
            # tf.debugging prints each part of a message in brackets: "[text] [5] [17] [[{{node ...".
            parts = found[1].split(" [[")[0].strip("[] ").replace("'", "").split("] [")
            return f"{' '.join(parts)}; mend the data set, or choose another split."
        if found := _DISK.search(message):
            return f"the run directory cannot be written: {found[0]}; the last checkpoint is good."
    return None
