"""Turns signals into a wish to stop that training reads after each step, and into an exit before that.

A terminal sends SIGINT and, when it closes, SIGHUP; a scheduler SIGTERM, and before it SIGUSR1, SIGUSR2 or SIGXCPU.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

# os.EX_TEMPFAIL: stopped by a signal, to be continued.
INTERRUPTED = 75
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


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


def _heard() -> list[signal.Signals]:
    """The signals that are listened to: not those that whoever started the process has it ignore, as `nohup` does."""
    # A shell without job control has what it starts with & ignore SIGINT, which is nobody's wish.
    return [number for number in NUMBERS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


def leave_when_asked() -> None:
    """Until somebody listens, a signal ends the process on the spot, with an exit code and a line that say so.

    Without an exception, which the import of a library or the reading of data could swallow: what a run directory
    survives at any moment is SIGKILL, and this is no worse.
    """

    def leave(number: int, frame: object) -> NoReturn:
        del frame
        line = f"{signal.Signals(number).name}: stopped outside training, nothing is lost; the same command goes on.\n"
        # Standard error may be held back at the moment, see `trainer.runtime.quiet_import`.
        with contextlib.suppress(OSError):
            os.write(1, line.encode())
        os._exit(INTERRUPTED)

    for number in _heard():
        signal.signal(number, leave)


@contextlib.contextmanager
def listen(halt: Callable[[], None] = lambda: None, leaving: bool = True) -> Iterator[Interrupt]:
    """Listens while the block runs; a second signal changes nothing, so it cannot cut a save short.

    Args:
      halt: called at each signal, in another thread and at once, where the main thread would only hear of it when its
        call of the compiled loop has ended.
      leaving: whether the process is about to end once a signal has come. Signals are then ignored after the block as
        well, because one that comes on the way must not change the exit code.
    """
    interrupt, numbers = Interrupt(), _heard()
    heard, told = os.pipe()
    os.set_blocking(told, False)

    def note(number: int, frame: object) -> None:
        del frame
        interrupt.name = interrupt.name or signal.Signals(number).name

    def watch() -> None:
        while number := os.read(heard, 1):
            if number[0] in numbers:
                # First the reason, then the halt: whoever notices the one finds the other.
                note(number[0], None)
                halt()

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    previous = {number: signal.signal(number, note) for number in numbers}
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if leaving and interrupt.asked() else handler)
        signal.set_wakeup_fd(before)
        os.close(told)
        watcher.join()
        os.close(heard)
