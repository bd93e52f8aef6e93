"""Event files, which TensorBoard reads: how they are named, written, and cut back to a step.

TensorBoard reads the files of a folder in the order of their names, and stops reading a file at its first damaged
record.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import socket
import time
from collections.abc import Callable, Collection

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG

from . import files

# TensorBoard takes every file for an event file whose name holds "tfevents".
_PREFIX = "events.out.tfevents."
NAMES = f"{_PREFIX}*"
# Begins the tags of the test split, which is evaluated at the end of a run.
TEST = "test/"


class Writer:
    """A new event file.

    Args:
      folder: where it lies; created where there is none.

    Raises:
      OSError, tf.errors.OpError: from each method too, where the system refused.
    """

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(exist_ok=True)
        self._path = folder / _new_name(folder)
        self._file = tf.io.TFRecordWriter(str(self._path))
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, step: int, summary: bytes) -> None:
        """Hands the values of a step, a serialised `Summary`, to the system."""
        event = Event(wall_time=time.time(), step=step)
        event.summary.MergeFromString(summary)
        self._append(event)

    def look(self) -> None:
        """Raises if the file is gone: what is written to a deleted file goes nowhere, without an error."""
        self._path.stat()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, event: Event) -> None:
        self._file.write(event.SerializeToString())
        # At once, so that a chart is at most a summary old.
        self._file.flush()


def _new_name(folder: pathlib.Path) -> str:
    """A name that sorts behind those of all event files in a folder.

    It begins with the second, as the names that TensorFlow gives do. A clock may have been set back, and a second may
    have several files: then it begins with a second more than the last name does.
    """
    last = max((file.name for file in folder.glob(NAMES)), default="")
    seconds = int(time.time())
    if found := re.match(r"[0-9]+", last.removeprefix(_PREFIX)):
        seconds = max(seconds, int(found[0]) + 1)
    name = f"{_PREFIX}{seconds:010d}.{socket.gethostname()}.{os.getpid()}.v2"
    return name if name > last else f"{last}.v2"


def rewind(directory: pathlib.Path, step: int, log: Callable[[str], None] = print, drop: Collection[str] = ()) -> None:
    """Drops what the event files hold past a step, so that a continued run shows one value a step and tag.

    What a run writes at its end is dropped too, because the run comes to its end again. Of a damaged file the records
    before the damage stay, and the file as it was is kept under a name that TensorBoard does not read. The files are
    written anew, because readers of these files do not purge by `SessionLog.START`, TensorBoard 2.21 among them.

    Args:
      directory: the run directory.
      step: the step that training goes on from.
      log: told of every damaged file.
      drop: tags that are dropped at every step.
    """
    for file in sorted(directory.glob(f"*/{NAMES}")):
        # Neither TensorBoard nor the next rewinding takes this for an event file, should this one be cut off.
        kept = file.with_name("rewound.new")
        kept.unlink(missing_ok=True)
        whole = True
        with files.opened(file), tf.io.TFRecordWriter(str(kept)) as writer:
            try:
                for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
                    event = Event.FromString(record)
                    tags = [value.tag for value in event.summary.value]
                    if event.step <= step and not any(_of_the_end(tag) or tag in drop for tag in tags):
                        writer.write(record)
            except (tf.errors.DataLossError, DecodeError) as error:
                # A process that dies leaves its last record short, which is no damage.
                whole = "truncated record" in str(error)
        if not whole:
            aside = file.with_name(file.name.replace("tfevents", "damaged"))
            while aside.exists():
                aside = aside.with_name(f"{aside.name}~")
            shutil.copyfile(file, aside)
            log(f"warning: event file {file} is damaged: its end is lost, and the file as it was is {aside.name}.")
        kept.replace(file)


def _of_the_end(tag: str) -> bool:
    """Whether a run writes a tag once, at its end."""
    return tag == SESSION_END_INFO_TAG or tag.startswith(TEST)
