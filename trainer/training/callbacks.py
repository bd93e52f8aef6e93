"""Keras's callbacks, told what happens between the chunks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from ..settings.timeline import Timeline


class Callbacks:
    """Keras callbacks of one run.

    An epoch is what lies between two evaluations. The compiled loop makes many steps at a time, so hooks about batches
    are called after each chunk, as Keras itself does with `steps_per_execution`.

    Args:
      model: what they are about.
      callbacks: Keras callbacks, or a CallbackList of them.
    """

    def __init__(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]):
        self._model = model
        self._given = list(callbacks)
        self._list: Any = None
        self._interval = 1
        self._logs: dict[str, float] = {}

    def begin(self, timeline: Timeline, interval: int, step: int) -> None:
        """Tells them that training begins.

        Args:
          timeline: the length of the run.
          interval: steps in an epoch.
          step: where training begins.
        """
        self._interval = interval
        self._model.stop_training = False
        if not self._given:
            return
        epochs = -(-timeline.total_steps // interval)
        self._list = keras.callbacks.CallbackList(
            self._given,
            add_history=False,
            add_progbar=False,
            model=self._model,
            epochs=epochs,
            steps=interval,
            verbose=0,
        )
        self._list.on_train_begin()
        self._list.on_epoch_begin(step // interval)

    def reached(self, step: int) -> None:
        """Tells them of the steps that a chunk made."""
        if self._list is not None:
            self._list.on_train_batch_end((step - 1) % self._interval, self._logs)

    def epoch(self, step: int, logs: dict[str, float]) -> None:
        """Tells them that an epoch ended, and that the next begins."""
        self._logs = logs
        if self._list is None:
            return
        self._list.on_epoch_end((step - 1) // self._interval, logs)
        if not self.stop:
            self._list.on_epoch_begin(step // self._interval)

    def end(self) -> bool:
        """Tells them that training ended; False where there are none."""
        if self._list is None:
            return False
        self._list.on_train_end(self._logs)
        return True

    @property
    def stop(self) -> bool:
        """Whether one of them asked training to stop."""
        return bool(self._list is not None and self._model.stop_training)
