"""Reads event files back: every point of every scalar, in the order in which it was written."""

from __future__ import annotations

import pathlib

import tensorflow as tf
from tensorboard import data_compat
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.util import tensor_util


def events(directory: pathlib.Path) -> list[tuple[str, Event]]:
    """All events below a run directory with the folder they lie in."""
    found = []
    for file in sorted(directory.glob("*/events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            found.append((file.parent.name, data_compat.migrate_event(Event.FromString(record))))
    return found


def scalars(directory: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """`folder/tag` -> [(step, value), ...]."""
    points: dict[str, list[tuple[int, float]]] = {}
    for folder, event in events(directory):
        for value in event.summary.value:
            if value.HasField("tensor") and value.tensor.dtype == tf.float32.as_datatype_enum:
                array = tensor_util.make_ndarray(value.tensor)
                if array.ndim == 0:
                    points.setdefault(f"{folder}/{value.tag}", []).append((event.step, float(array)))
    return points
