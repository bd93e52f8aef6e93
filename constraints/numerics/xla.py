"""How a formula is compiled: which tensors are small or large, branches that cost nothing, code inside XLA."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

# Up to this many weights no fast path is taken. TensorFlow's comparisons, selections and bit operations take several
# times as long as its arithmetic, which shows in larger tensors only.
SMALL_SIZE = 256


def is_small(w: tf.Tensor) -> bool:
    """Whether there are so few weights that the reference costs nothing noticeable."""
    return w.shape.num_elements() <= SMALL_SIZE


# From so many weights on, a loop compiled by XLA saves more than its call costs, see `reductions`.
LARGE_SIZE = 1 << 17


def is_large(w: tf.Tensor) -> bool:
    """Whether there are so many float32 weights that memory traffic is the only cost of a formula."""
    return w.dtype == tf.float32 and w.shape.num_elements() >= LARGE_SIZE


def outlined(function: Callable[[], tf.Tensor]) -> Callable[[], tf.Tensor]:
    """Keeps a branch of `tf.cond` as one operation, because each skipped operation costs some time in every step."""
    if tf.executing_eagerly():
        return function  # Each call would trace it anew.
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def in_xla() -> bool:
    """Whether XLA will compile the graph that is being traced; it lacks the kernels of some shortcuts.

    A `tf.function` first traced outside XLA keeps the shortcuts; one that is called inside as well needs a trace for
    each.
    """
    graph = tf.compat.v1.get_default_graph()
    # No public function tells. Without this one, assume XLA, because its formulas work everywhere.
    known = getattr(control_flow_util, "GraphOrParentsInXlaContext", None)
    return not tf.executing_eagerly() and (known is None or known(graph))
