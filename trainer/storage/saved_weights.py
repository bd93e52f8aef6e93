"""The weights that a run's newest checkpoint holds, by the names that they had there."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2 as graphs

from . import checkpoint_folders, files

# The state of dropout, and what no run takes from another.
_SEED = "seed_generator_state"


def newest(folder: pathlib.Path, what: str) -> pathlib.Path:
    """The newest checkpoint of a run that is whole.

    Args:
      folder: the run's checkpoints.
      what: what asked for it, for messages.

    Raises:
      ValueError: there is none.
    """
    try:
        for step in checkpoint_folders.steps(folder):
            path = checkpoint_folders.path(folder, step)
            if checkpoint_folders.problem(path, step) is None:
                return path
    except OSError as error:
        raise ValueError(f"{what}: {folder} cannot be read: {error.strerror}; give the directory of a run.") from None
    raise ValueError(f"{what}: no whole checkpoint in {folder}; give the directory of a run that saved one.")


def read(checkpoint: pathlib.Path, what: str) -> list[tuple[str, np.ndarray]]:
    """The path and the value of each weight of the network in a checkpoint: trainable ones first, in its order.

    Args:
      checkpoint: a whole one.
      what: what asked for it, for messages.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        with files.plain(checkpoint) as readable:
            reader = tf.train.load_checkpoint(str(readable / checkpoint_folders.PREFIX))
            graph = graphs.TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
            return [
                (part.full_name, reader.get_tensor(part.checkpoint_key))
                for node in _weights(graph)
                for part in graph.nodes[node].attributes
                if not part.full_name.endswith(_SEED)
            ]
    except (KeyError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{what}: {checkpoint} cannot be read: {str(error).splitlines()[0]}") from None


def _weights(graph: graphs.TrackableObjectGraph) -> Iterator[int]:
    """The nodes of a network's weights."""
    model, optimizer = _child(graph, 0, "model"), _child(graph, 0, "optimizer")
    trainable = graph.nodes[_child(graph, optimizer, "_trainable_variables")].children
    seen = {optimizer}
    # The optimizer has them in order; the network's own graph leaves out what lies in lists of a subclass.
    waiting = [model, *reversed([child.node_id for child in trainable])]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if graph.nodes[node].attributes:
                yield node
            waiting += reversed([child.node_id for child in graph.nodes[node].children])


def _child(graph: graphs.TrackableObjectGraph, node: int, name: str) -> int:
    return {child.local_name: child.node_id for child in graph.nodes[node].children}[name]
