"""The replicas: logical CPU devices or GPUs under a MirroredStrategy."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def strategy(num_replicas: int | None) -> tf.distribute.MirroredStrategy:
    """Makes the strategy; call it before anything else touches a device.

    Args:
      num_replicas: how many replicas; None takes every GPU, or one CPU where there is none. Without GPUs the CPU is
        split into so many logical devices.

    Raises:
      ValueError: more replicas than there are GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        count = len(gpus) if num_replicas is None else num_replicas
        if count > len(gpus):
            raise ValueError(
                f"--num_replicas={count} is more than this machine's {len(gpus)} GPUs; use at most {len(gpus)}."
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])
    count = num_replicas or 1
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu) or [None]
    if len(configured) < count:
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError:
            raise ValueError(
                f"--num_replicas={count}: this process has started TensorFlow with {len(configured)} devices already; "
                "start a new process, and make the first tensor or optimizer after the replicas (an optimizer by a "
                "function)."
            ) from None
    # The default reduction keys its collectives by the process: two strategies in one process would collide.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(count)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def copies(variable: keras.Variable) -> Sequence[tf.Variable]:
    """Each replica's own copy of a variable."""
    return getattr(variable.value, "values", (variable.value,))


def copies_equal(variables: list) -> bool:
    """Whether every replica holds the same bits of every variable."""
    for variable in variables:
        first, *others = (copy.numpy().tobytes() for copy in copies(variable))
        if any(other != first for other in others):
            return False
    return True
