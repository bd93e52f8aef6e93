"""Turns SIGINT and SIGTERM into a wish to stop that the loop reads between chunks, and into an exit before that."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

# os.EX_TEMPFAIL: stopped by a signal, to be continued.
INTERRUPTED = 75
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


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


def leave_when_asked() -> None:
    """Until somebody listens, a signal ends the process on the spot, with an exit code and a line that say so.

    Without an exception, which the import of a library or the reading of data could swallow: what a run directory
    survives at any moment is SIGKILL, and this is no worse.
    """

    def leave(number: int, frame: object) -> NoReturn:
        del frame
        line = f"{signal.Signals(number).name}: stopped outside training, nothing is lost; the same command goes on.\n"
        # Standard error may be held back at the moment, see `trainer.quiet`.
        with contextlib.suppress(OSError):
            os.write(1, line.encode())
        os._exit(INTERRUPTED)

    for number in _NUMBERS:
        signal.signal(number, leave)


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

    previous = {number: signal.signal(number, note) for number in _NUMBERS}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if interrupt.asked() else handler)
