"""Rules in Keras's own `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..reporting.certificate import Certificate
from ..settings.rule import Rule
from .targets import Targets, checked_rules, match


class Constrain(keras.callbacks.Callback):
    """Keeps rules while `model.fit` trains, their schedules running over the whole fit.

        constrain = Constrain(Rule(MaxNorm(schedules.linear(4.0, 1.0)), variables="*kernel"))
        model.fit(x, y, epochs=20, callbacks=[constrain])
        print(constrain.certificate)

    After each batch the weights are projected; with `steps_per_execution` above 1, after each execution. After each
    epoch the measures join the logs, so that other callbacks after this one (TensorBoard, CSVLogger) and `History` show
    them. It works under every `tf.distribute` strategy that mirrors its variables.

    Args:
      rules: what to keep, see `trainer.Rule`.

    Attributes:
      targets: what the rules took; None before `fit`.
      certificate: the verdict on the final weights; None before `fit` has ended.

    Raises:
      ValueError: from `fit`, what `trainer.match` raises.
    """

    def __init__(self, rules: Rule | Sequence[Rule]):
        super().__init__()
        self._rules = checked_rules(rules)
        self.targets: Targets | None = None
        self.certificate: Certificate | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the variables and moves the weights to a feasible point."""
        del logs
        self.certificate = None
        self.targets = None
        if self.params["steps"]:
            # Before the first step, so that training starts from weights that obey.
            self._match(self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Projects the weights whose turn it is."""
        del batch, logs
        if self.targets is None:
            self._match(None)
        self._project(self._step())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the measures to the logs."""
        del epoch
        if logs is not None and self.targets is not None:
            for label, values in self.targets.measures(int(self._step())).items():
                logs |= {f"{name}/{label}": value for name, value in values.items()}

    def on_train_end(self, logs: Any = None) -> None:
        """Projects fully, as an average of weights may have taken their place, and judges the weights."""
        del logs
        if self.targets is not None:
            step = int(self._step())
            self.targets.project_fully(step)
            self.certificate = self.targets.certify(step)

    def _match(self, steps_per_epoch: int | None) -> None:
        total = None if steps_per_epoch is None else steps_per_epoch * self.params["epochs"]
        self.targets = match(
            self._rules,
            self.model,
            total_steps=total,
            steps_per_epoch=steps_per_epoch,
            optimizer=self.model.optimizer,
        )
        # A second `fit` goes on counting where the optimizer does; the schedules begin anew.
        self._first = self.model.optimizer.iterations.numpy()
        self._project = tf.function(self.targets.project, autograph=False)
        self.targets.project_fully(0)

    def _step(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.model.optimizer.iterations) - self._first
