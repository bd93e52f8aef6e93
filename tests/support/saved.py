"""A network with dropout that is saved and restored, without the trainer around it: no trace, no data set."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from trainer.engine.run_state import RunState
from trainer.runtime import replicas as devices
from trainer.storage import checkpoints

FEATURES = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


class Run:
    """A network with dropout and adam that goes on by one eager step at a time."""

    def __init__(self, directory, replicas: int = 1, keep: int = 3, run: str = "", saved=lambda step: None):
        keras.utils.set_random_seed(3)
        self.strategy = devices.strategy(replicas)
        with self.strategy.scope():
            layers = [keras.layers.Dense(5), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
            self.model = keras.Sequential([keras.Input((4,)), *layers])
            self.optimizer = keras.optimizers.Adam(0.01)
            self.optimizer.build(self.model.trainable_variables)
        self.progress = RunState()
        self.said: list[str] = []
        self.checkpoints = checkpoints.Checkpoints(
            directory, self.model, self.optimizer, self.progress, keep, self.said.append, run=run, saved=saved
        )

    def step(self) -> None:
        def replica() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.model(FEATURES, training=True) ** 2)
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)

        self.strategy.run(replica)
        self.progress.totals.assign_add([1.0, 2.0, 3.0, 4.0, 5.0])
        self.progress.best.assign([0.5, 0.25, float(self.optimizer.iterations.numpy())])
        self.progress.waited.assign_add(1)

    def state(self) -> list[np.ndarray]:
        progress = [self.progress.totals, self.progress.best, self.progress.waited]
        return [value.numpy() for value in [*self.model.variables, *self.optimizer.variables, *progress]]
