"""Says how far a run is: a line that rewrites itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from ..runtime.progress import LOG_INTERVAL, TERMINAL_INTERVAL, duration, print_line, status


class ProgressReporter:
    """Reports steps, rate and time left.

    Args:
      total_steps: the last step of the run.
      stream: where lines go; None for standard output.
      clock: seconds, monotonic.
      say: prints a line.
    """

    def __init__(
        self,
        total_steps: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[..., None] = print_line,
    ):
        self._total = total_steps
        self._stream = stream or sys.stdout
        self._clock = clock
        self._say = say
        self._last = clock()
        # The first report is the first that a rate can be measured from: what came before it was mostly compilation.
        self._reference: tuple[int, float] | None = None
        self._terminal = self._stream.isatty()
        self._open_line = False

    def step(self, step: int) -> None:
        """Notes that a step was reached, and reports it if it is time to."""
        now = self._clock()
        if self._reference is None:
            self._reference = step, now
            return
        if now - self._last >= (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
            self._last = now
            self._show(self._status(step), replaceable=self._terminal)

    def line(self, step: int, message: str) -> None:
        """Reports a step together with something worth keeping, such as an evaluation."""
        self._last = self._clock()
        self._show(f"{self._status(step)}  {message}")

    def part(self, what: str, total: int) -> Callable[[int], None]:
        """Reports examples gone through between two steps, such as those of an evaluation, if it is time to.

        Args:
          what: what is done with them.
          total: how many there are.

        Returns:
          To be told how many are done.
        """
        begun = self._clock()

        def reached(number: int) -> None:
            now = self._clock()
            if now - self._last >= (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
                self._last = now
                self._show(status(what, number, total, now - begun), replaceable=self._terminal)

        return reached

    def _status(self, step: int) -> str:
        width = len(f"{self._total:,}")
        reached = f"step {step:>{width},}/{self._total:,} {step / self._total:4.0%}"
        if self._reference is None or step <= self._reference[0]:
            return reached
        begun, time_then = self._reference
        rate = (step - begun) / max(self._clock() - time_then, 1e-9)
        digits = 0 if rate >= 10 else 2
        return f"{reached}  {rate:,.{digits}f} steps/s  {duration((self._total - step) / rate)} left"

    def _show(self, text: str, replaceable: bool = False) -> None:
        begin = "\r\x1b[K" if self._open_line else ""
        self._say(begin + text, "" if replaceable else "\n", self._stream)
        self._open_line = replaceable
