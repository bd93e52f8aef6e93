"""The training loop: a chunk of steps, then whatever is due."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from .run_state import RunState
from .train_step import Chunk, Steps

# Progress is reported between chunks, so limit a chunk to this many seconds. The first two chunks are limited to
# FIRST_CHUNK steps, because the speed is not known until the step is compiled.
LONGEST_CHUNK = 1.0
FIRST_CHUNK = 10


@dataclasses.dataclass(frozen=True)
class Every:
    """An action and when it is due.

    Attributes:
      interval: steps between two calls.
      act: called with the step and the chunk that led to it; returns a step if the run returned to that step.
      at_end: whether the last step calls it too.
    """

    interval: int
    act: Callable[[int, Chunk], int | None]
    at_end: bool = True

    def next(self, step: int) -> int:
        """The first step after `step` at which the action is due."""
        return (step // self.interval + 1) * self.interval

    def due(self, step: int, last: bool) -> bool:
        """Whether the action is due at `step`."""
        return step % self.interval == 0 or (last and self.at_end)


def run(
    steps: Steps,
    state: RunState,
    actions: Sequence[Every],
    *,
    start: int,
    total_steps: int,
    steps_per_loop: int,
    measure_every: int,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    max_nonfinite: int,
    recover: Callable[[int, int], int],
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Trains from `start` to `total_steps`, or until `stop`.

    Args:
      steps: compiled training, which may be halted within a chunk.
      state: holds the running totals.
      actions: called in this order if several are due.
      start: the step of the weights.
      total_steps: the last step.
      steps_per_loop: most steps in one chunk.
      measure_every: steps between two measurements of the constrained variables; the last step is measured too.
      report: called with the step after each chunk.
      stop: asked after each chunk.
      max_nonfinite: after this many steps in a row that are not finite, `recover` is called.
      recover: called with the step and the number of steps that were not finite so far; returns the step from which
        training goes on, or raises.
      clock: seconds, monotonic.

    Returns:
      The step it stopped at.

    Raises:
      ValueError: the training data came to an end.
    """
    step, most = start, min(FIRST_CHUNK, steps_per_loop)
    while step < total_steps and not stop():
        boundary = min(action.next(step) for action in actions)
        chunk_end = min(boundary, step + most, total_steps)
        measured = chunk_end % measure_every == 0 or chunk_end == total_steps
        begun = clock()
        try:
            chunk = steps.train(chunk_end - step, np.asarray(state.totals), np.asarray(state.nonfinite), measured)
        except tf.errors.OutOfRangeError:
            raise ValueError(
                f"The training data ended at step {steps.step:,}, but {total_steps:,} steps were wanted; repeat the "
                "data set with `repeat()`, or train for fewer steps."
            ) from None
        count, in_a_row, made = chunk.nonfinite.numpy().tolist()
        if step > start and made:
            fitting = LONGEST_CHUNK * made / max(clock() - begun, 1e-9)
            most = max(1, min(steps_per_loop, int(fitting)))
        if in_a_row >= max_nonfinite:
            step = recover(step + made, count)
            continue
        state.totals.assign(chunk.totals)
        state.nonfinite.assign([count, in_a_row])
        step += made
        report(step)
        if step < chunk_end:
            break  # Halted at a step where no action is due.
        for action in actions:
            if action.due(step, last=step == total_steps) and (back := action.act(step, chunk)) is not None:
                step = back
                break
    return step
