"""Event files, which TensorBoard reads: how they are named, written, and cut back to a step.

TensorBoard reads the files of a folder in the order of their names, and stops reading a file at its first damaged
record. A record is its length, a checksum of the length, an event, and a checksum of the event.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import re
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from io import BufferedReader

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import CRC_TABLE
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG

from . import files

# TensorBoard takes every file for an event file whose name holds "tfevents".
_PREFIX = "events.out.tfevents."
NAMES = f"{_PREFIX}*"
# Begins the tags of the test split, which is evaluated at the end of a run.
TEST = "test/"
_LENGTH = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_AROUND = _LENGTH.size + _CHECKSUM.size


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


def rewind(directory: pathlib.Path, step: int, log: Callable[[str], None] = print) -> None:
    """Drops what the event files hold past a step, so that a continued run shows one value a step and tag.

    What a run writes at its end is dropped too, because the run comes to its end again. A damaged file is kept under a
    name that TensorBoard does not read, and what can be read of it stays.

    Args:
      directory: the run directory.
      step: the step that training goes on from.
      log: told of every damaged file.
    """
    for file in sorted(directory.glob(f"*/{NAMES}")):
        # Neither TensorBoard nor the next rewinding takes this for an event file, should this one be cut off.
        kept = file.with_name("rewound.new")
        kept.unlink(missing_ok=True)
        damaged = 0
        with tf.io.TFRecordWriter(str(kept)) as writer:
            for record in records(file):
                event = _event(record)
                if event is None:
                    damaged += 1
                elif event.step <= step and not any(_of_the_end(value.tag) for value in event.summary.value):
                    writer.write(record)
        if damaged:
            aside = file.with_name(file.name.replace("tfevents", "damaged"))
            while aside.exists():
                aside = aside.with_name(f"{aside.name}~")
            shutil.copyfile(file, aside)
            log(
                f"warning: event file {file} is damaged in {damaged} place{'s' * (damaged > 1)}: what else it holds "
                f"is kept, and the file as it was is {aside.name}."
            )
        kept.replace(file)


def _of_the_end(tag: str) -> bool:
    """Whether a run writes a tag once, at its end."""
    return tag == SESSION_END_INFO_TAG or tag.startswith(TEST)


def _event(record: bytes | None) -> Event | None:
    try:
        return None if record is None else Event.FromString(record)
    except DecodeError:
        return None


def records(path: pathlib.Path) -> Iterator[bytes | None]:
    """Reads the whole records of a file.

    Args:
      path: the file.

    Yields:
      Each record; None for each stretch that is damaged. What the end of the file cuts short is left out: a process
      died while it wrote.

    Raises:
      OSError: there is no such file, or something else in its place.
    """
    with files.opened(path) as file:
        start = 0
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                yield record
                start += _AROUND + len(record)
        except tf.errors.DataLossError:
            yield from _behind(file, start)


def _behind(file: BufferedReader, start: int) -> Iterator[bytes | None]:
    """What `records` yields from a place on where TensorFlow's own reader gives up."""
    size = os.fstat(file.fileno()).st_size
    if start >= size:
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while start + _LENGTH.size <= size:
            length = _length(content, start)
            if length is None:
                yield None
                places = range(start + 1, size - _AROUND + 1)
                start = next((place for place in places if _length(content, place) is not None), size)
                continue
            if start + _AROUND + length > size:
                return
            record = content[start + _LENGTH.size : start + _LENGTH.size + length]
            (checksum,) = _CHECKSUM.unpack_from(content, start + _LENGTH.size + length)
            yield record if _masked_crc(record) == checksum else None
            start += _AROUND + length


def _length(content: mmap.mmap, place: int) -> int | None:
    """The length of the record that begins at a place; None where none does."""
    length, checksum = _LENGTH.unpack_from(content, place)
    # No event is empty, and none of its bytes count more than a file of this size has.
    if not 0 < length < 1 << 40 or _masked_crc(content[place : place + 8]) != checksum:
        return None
    return length


def _masked_crc(data: bytes) -> int:
    """The checksum of records: CRC-32C, turned and shifted, see TensorFlow's `core/lib/hash/crc32c.h`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
