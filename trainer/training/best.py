"""Which evaluation is the best so far, and its weights."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from ..storage.checkpoints import read_weights

# Words in the names of metrics that are better when they are higher.
_HIGHER = re.compile(r"acc|auc|precision|recall|f1|fbeta|iou|r2|cosine|top_k")


class Best:
    """Compares evaluations by one number, and where it is equal by the loss.

    Args:
      state: float64 [3]: score, loss and step of the best; a higher score is better, and -inf is none.
      names: the numbers that an evaluation gives.
      monitor: the one that decides; None: the first whose name says that higher is better, such as accuracy, or else
        the loss.
      mode: "max", "min" or "auto", which goes by the name.

    Attributes:
      name: the number that decides.

    Raises:
      ValueError: an evaluation gives no such number.
    """

    def __init__(self, state: tf.Variable, names: Sequence[str], monitor: str | None = None, mode: str = "auto"):
        self._state = state
        self.name = next((name for name in names if _HIGHER.search(name)), "loss")
        if monitor is not None:
            self.name = monitor.removeprefix("val_")
            if self.name not in names:
                raise ValueError(f"--monitor={monitor} is none of an evaluation's numbers: {', '.join(names)}.")
        higher = mode == "max" or (mode == "auto" and _HIGHER.search(self.name) is not None)
        self._sign = 1.0 if higher else -1.0

    def offer(self, step: int, result: Mapping[str, float]) -> bool:
        """Notes an evaluation if it is the best so far, and says whether it is."""
        score, loss = self._sign * result[self.name], result["loss"]
        best_score, best_loss, _ = np.asarray(self._state)
        # NaN is better than nothing is.
        better = (score, -loss) > (best_score, -best_loss)
        if better:
            self._state.assign([score, loss, step])
        return better

    @property
    def known(self) -> bool:
        """Whether there is a best."""
        return bool(self._state.numpy()[0] > -np.inf)

    @property
    def step(self) -> int:
        """The step of the best."""
        return int(self._state.numpy()[2])

    @property
    def value(self) -> float:
        """The deciding number of the best."""
        return self._sign * float(self._state.numpy()[0])

    @property
    def loss(self) -> float:
        """The loss of the best."""
        return float(self._state.numpy()[1])


@contextlib.contextmanager
def at_best(model: keras.Model, checkpoints: pathlib.Path, rules: Sequence[tf.Variable] = ()) -> Iterator[None]:
    """Gives a model the weights of the best checkpoint for a while.

    Args:
      model: the trained network.
      checkpoints: the run's folder of them.
      rules: what rules remember, which is read and given back too.

    Raises:
      ValueError: that checkpoint is damaged.
    """
    variables = [*model.variables, *rules]
    last = [variable.numpy() for variable in variables]
    try:
        read_weights(checkpoints / "best", model, "best checkpoint", rules)
        yield
    finally:
        for variable, value in zip(variables, last, strict=True):
            variable.assign(value)
