"""Turns SIGINT and SIGTERM into a wish to stop that the loop reads between chunks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Interrupt:
    """Whether a signal asked the run to stop.

    Attributes:
      name: the first signal's name, or None.
    """

    def __init__(self) -> None:
        self.name: str | None = None

    def asked(self) -> bool:
        """True once a signal has come."""
        return self.name is not None


@contextlib.contextmanager
def listen() -> Iterator[Interrupt]:
    """Listens while the block runs; a second signal changes nothing, so it cannot cut a save short.

    Once a signal has come, both are ignored after the block as well: the process is about to end, and one that hits it
    on the way must not change its exit code.
    """
    interrupt = Interrupt()

    def note(number: int, frame: object) -> None:
        del frame
        interrupt.name = interrupt.name or signal.Signals(number).name

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if interrupt.asked() else handler)
