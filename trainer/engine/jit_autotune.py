"""Measures whether XLA makes the training step faster. The measured steps are taken back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .train_step import Steps

# A shorter run, in seconds, does not repay the time of compiling twice.
WORTHWHILE = 60.0
# XLA has to be this many times faster, because less could be noise and plain TensorFlow starts sooner.
ADVANTAGE = 1.05
_ROUNDS = 3


class JitAutotune:
    """Makes steps with and without XLA, and takes them back.

    Args:
      steps: compiled training.
      variables: everything that a step changes.
      seek: positions the source of batches at a step.
      start: the step that training is at.
    """

    def __init__(self, steps: Steps, variables: Sequence[Any], seek: Callable[[int], None], start: int):
        self._steps = steps
        self._variables = list(variables)
        self._seek = seek
        self._start = start

    def choose(self, remaining: int, steps_per_loop: int) -> tuple[bool, str]:
        """Times a step with and without XLA.

        Args:
          remaining: steps that are left of the run.
          steps_per_loop: most steps in one chunk.

        Returns:
          Whether to use XLA, and the reason in a few words.
        """
        size = min(remaining, steps_per_loop, 20)
        # The first step of each kind compiles.
        self._time(False, 1)
        plain = [self._time(False, size)]
        if plain[0] * remaining < WORTHWHILE:
            return False, f"{_ms(plain[0])} a step: too short a run for XLA to pay"
        if (obstacle := self.obstacle()) is not None:
            return False, f"XLA cannot compile this model ({obstacle})"
        compiled = []
        for _ in range(_ROUNDS):
            compiled.append(self._time(True, size))
            plain.append(self._time(False, size))
        with_xla, without = statistics.median(compiled), statistics.median(plain[1:])
        return with_xla * ADVANTAGE < without, f"{_ms(with_xla)} a step with XLA, {_ms(without)} without"

    def obstacle(self) -> str | None:
        """Compiles a step with XLA, and returns the reason if XLA refuses."""
        try:
            self._time(True, 1)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            return _reason(error)
        return None

    def _time(self, jit: bool, num_steps: int) -> float:
        """Seconds of a step. The steps are taken back, even if they fail."""
        before = [variable.numpy() for variable in self._variables]
        chosen, self._steps.jit = self._steps.jit, jit
        self._seek(self._start)
        try:
            begun = time.perf_counter()
            self._steps.train(num_steps, np.zeros(self._steps.num_totals), np.zeros(2), False).totals.numpy()
            return (time.perf_counter() - begun) / num_steps
        finally:
            self._steps.jit = chosen
            for variable, value in zip(self._variables, before, strict=True):
                variable.assign(value)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _reason(error: Exception) -> str:
    """The line of a long message that names the obstacle."""
    if "merge_call" in str(error):
        return "one of its layers waits for other replicas within the pass"
    lines = [" ".join(line.split()) for line in str(getattr(error, "message", error)).splitlines()]
    telling: Iterable[str] = (line for line in lines if line.endswith(".") or "implementation" in line)
    return next((line for line in telling if "Error" not in line and "call()" not in line), type(error).__name__)[
        :200
    ].rstrip(".")
