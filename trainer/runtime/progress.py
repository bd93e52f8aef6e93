"""Lines about how far something is: one that rewrites itself on a terminal, plain ones elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

# Seconds between lines: a terminal is redrawn often, a log must stay readable.
TERMINAL_INTERVAL = 0.2
LOG_INTERVAL = 10.0
# Seconds before the first line about something that is mostly quick.
PATIENCE = 2.0


def print_line(text: str, end: str = "\n", stream: TextIO | None = None) -> None:
    """Prints at once; work goes on in silence when nobody reads any more (`... | head`) or a log's disk is full."""
    stream = stream or sys.stdout
    try:
        stream.write(text + end)
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def duration(seconds: float) -> str:
    """Minutes and seconds, as 2:03; with hours where there are any, as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def status(what: str, number: int, total: int, seconds: float, unit: str = "examples") -> str:
    """How many of a total are done after so many seconds, how fast, and the time that is left; 0: it is not known."""
    rate = number / max(seconds, 1e-9)
    if not total:
        return f"{what} {number:,}  {rate:,.0f} {unit}/s"
    left = duration((total - number) / max(rate, 1e-9))
    return f"{what} {number:,}/{total:,} {number / total:4.0%}  {rate:,.0f} {unit}/s  {left} left"


@contextlib.contextmanager
def progress(
    what: str,
    total: int,
    unit: str = "examples",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int], None]]:
    """Reports work that is over in a moment or takes minutes; a moment is passed over in silence.

    Args:
      what: what is done.
      total: how many there are.
      unit: what they are, in the plural.
      stream: where lines go; None for standard output.
      clock: seconds, monotonic.

    Yields:
      To be told how many are done.
    """
    stream = stream or sys.stdout
    terminal = stream.isatty()
    begun = clock()
    last, open_line = begun + PATIENCE - (TERMINAL_INTERVAL if terminal else LOG_INTERVAL), False

    def reached(number: int) -> None:
        nonlocal last, open_line
        now = clock()
        if now - last >= (TERMINAL_INTERVAL if terminal else LOG_INTERVAL):
            begin = "\r\x1b[K" if open_line else ""
            print_line(begin + status(what, number, total, now - begun, unit), "" if terminal else "\n", stream)
            last, open_line = now, terminal

    try:
        yield reached
    finally:
        if open_line:
            print_line("\r\x1b[K", "", stream)
