"""Replicas: logical CPU devices here, where there is no GPU."""

from __future__ import annotations

import pytest
import tensorflow as tf

from trainer.runtime import replicas


@pytest.mark.parametrize(("asked", "count"), [(None, 1), (1, 1), (2, 2)])
def test_as_many_replicas_as_asked_for(asked, count):
    strategy = replicas.strategy(asked)
    assert strategy.num_replicas_in_sync == count
    assert [device.split(":")[-2:] for device in strategy.extended.worker_devices] == [
        ["CPU", str(i)] for i in range(count)
    ]


def test_more_than_this_process_was_started_with():
    with pytest.raises(ValueError, match=r"--num_replicas=3: .* with 2 devices already; start a new process"):
        replicas.strategy(3)


def test_gpus(monkeypatch):
    physical = tf.config.list_physical_devices

    def two_gpus(kind=None):
        return ["gpu", "gpu"] if kind == "GPU" else physical(kind)

    taken = []
    monkeypatch.setattr(tf.config, "list_physical_devices", two_gpus)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names, **_: taken.append(names))
    for asked in (None, 1, 2):
        replicas.strategy(asked)
    assert taken == [["GPU:0", "GPU:1"], ["GPU:0"], ["GPU:0", "GPU:1"]]
    with pytest.raises(ValueError, match=r"--num_replicas=3 is more than this machine's 2 GPUs; use at most 2"):
        replicas.strategy(3)


def test_two_strategies_in_one_process_do_not_disturb_each_other():
    sums = []
    for size in (3, 5, 3):
        strategy = replicas.strategy(2)

        @tf.function
        def total(strategy=strategy, size=size):
            def replica():
                context = tf.distribute.get_replica_context()
                share = tf.fill([size], tf.cast(context.replica_id_in_sync_group + 1, tf.float32))
                return context.all_reduce(tf.distribute.ReduceOp.SUM, share)

            return strategy.experimental_local_results(strategy.run(replica))

        sums.append([value.numpy().tolist() for value in total()])
    assert sums == [[[3.0] * size] * 2 for size in (3, 5, 3)]
