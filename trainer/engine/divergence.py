"""When a run goes back to its newest checkpoint, and when that is no use any more."""

from __future__ import annotations

import math

import tensorflow as tf

from ..settings.config import Config

_REMEDY = "try a lower --learning_rate, --clip_norm, or look at the data"
# What the newest loss counts in the recent one.
_SHARE = 0.1


class Spikes:
    """Tells a loss that is far above those before it.

    Args:
      factor: how many times the recent loss a spike exceeds; None: nothing is one.
      recent: float64 scalar, the running mean of the losses told of, without spikes; 0 before the first.
    """

    def __init__(self, factor: float | None, recent: tf.Variable):
        self._factor = factor
        self._recent = recent

    def described(self, loss: float) -> str | None:
        """What makes a loss a spike, in a few words; None where it is none, and it counts from now on.

        Args:
          loss: mean over the steps since the last call; NaN where none was finite.
        """
        if self._factor is None or not math.isfinite(loss):
            return None
        recent = float(self._recent.numpy())
        if recent > 0.0 and loss > self._factor * recent:
            return f"loss {loss:.4g} is {loss / recent:.3g} times the recent {recent:.4g}"
        self._recent.assign(loss if recent == 0.0 else (1.0 - _SHARE) * recent + _SHARE * loss)
        return None


def end_of(config: Config, step: int, steps: list[int], returns: int, spike: str | None = None) -> str | None:
    """Why a run ends here in place of going back; None where it goes back.

    Args:
      config: the settings.
      step: where it is.
      steps: those that there are checkpoints of, newest first.
      returns: how often it went back to the newest.
      spike: what is the matter, where all is finite.
    """
    kept = f"the last checkpoint is that of step {steps[0]:,}" if steps else "there is no checkpoint yet"
    what = "not finite" if spike is None else spike
    if spike is None and config.on_nonfinite == "abort":
        return f"step {step:,}: the loss or a gradient is not finite (--on_nonfinite=abort); {kept}; {_REMEDY}."
    if spike is None and config.on_nonfinite == "skip":
        return (
            f"step {step:,}: no loss and gradient were finite for {config.max_nonfinite_steps} steps "
            f"(--max_nonfinite_steps={config.max_nonfinite_steps}); {kept}; {_REMEDY}."
        )
    if returns >= config.max_rollbacks:
        return (
            f"step {step:,}: still {what} after {returns} returns to one checkpoint "
            f"(--max_rollbacks={config.max_rollbacks}); {kept}; {_REMEDY}."
        )
    return None
