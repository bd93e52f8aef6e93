"""How a formula is compiled: which tensors are small or large, branches that cost nothing, code inside XLA."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

# TensorFlow's comparisons, selections and bit operations take several times as long as its arithmetic. Where a formula
# needs them to keep the last bits right, tensors of up to this many weights use it, and larger ones their arithmetic.
FEW = 256


def few(w: tf.Tensor) -> bool:
    """Whether there are so few weights that the most exact formula costs nothing that could be noticed."""
    return w.shape.num_elements() <= FEW


# From so many weights on, what XLA compiles into one loop saves more than it costs to call, see `reductions`.
MANY = 1 << 17


def many(w: tf.Tensor) -> bool:
    """Whether there are so many float32 weights that memory is all that a formula costs."""
    return w.dtype == tf.float32 and w.shape.num_elements() >= MANY


def rarely(function: Callable[[], tf.Tensor]) -> Callable[[], tf.Tensor]:
    """Makes a branch of `tf.cond` cost nothing where it is not taken.

    The branches of a condition become part of the graph around it, and each operation that is skipped costs some time
    in every step; kept as a function, a branch is one operation.
    """
    if tf.executing_eagerly():
        return function  # There is no graph to keep it out of, and each call would trace it anew.
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def in_xla() -> bool:
    """Whether what is being traced will be compiled by XLA, which lacks the kernels of some shortcuts.

    A `tf.function` first traced outside XLA keeps the shortcuts; one that is called inside as well needs a trace for
    each.
    """
    graph = tf.compat.v1.get_default_graph()
    # No public function tells; without this one, what works everywhere is always used.
    known = getattr(control_flow_util, "GraphOrParentsInXlaContext", None)
    return not tf.executing_eagerly() and (known is None or known(graph))
