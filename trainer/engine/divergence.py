"""Loss spikes, and whether a run returns to its newest checkpoint or stops."""

from __future__ import annotations

import math

import tensorflow as tf

from ..settings.run import RunSettings

_REMEDY = "try a lower --learning_rate, --clip_norm, or look at the data"
# Weight of the newest loss in the running mean.
_SHARE = 0.1


class Spikes:
    """Detects a loss far above the recent losses.

    Args:
      factor: a spike exceeds the recent loss this many times; None: no loss is a spike.
      recent: float64 scalar, the running mean of the losses without spikes; 0 before the first loss.
    """

    def __init__(self, factor: float | None, recent: tf.Variable):
        self._factor = factor
        self._recent = recent

    def described(self, loss: float) -> str | None:
        """Describes a spike in a few words. Any other loss enters the running mean, and None is returned.

        Args:
          loss: mean over the steps since the last call; NaN if none was finite.
        """
        if self._factor is None or not math.isfinite(loss):
            return None
        recent = float(self._recent.numpy())
        if recent > 0.0 and loss > self._factor * recent:
            return f"loss {loss:.4g} is {loss / recent:.3g} times the recent {recent:.4g}"
        self._recent.assign(loss if recent == 0.0 else (1.0 - _SHARE) * recent + _SHARE * loss)
        return None


def reason_to_stop(
    config: RunSettings, step: int, steps: list[int], returns: int, spike: str | None = None
) -> str | None:
    """Says why a run stops here; None if it returns to its newest checkpoint instead.

    Args:
      config: the settings.
      step: the present step.
      steps: the steps of all checkpoints, newest first.
      returns: how often the run returned to the newest checkpoint.
      spike: describes a finite loss that is too high; None: a loss or gradient is not finite.
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
