"""Work that training does not wait for, one piece at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """A thread that does one piece of work after another, and tells the next who asks what went wrong.

    Args:
      name: of the thread.
    """

    def __init__(self, name: str):
        self._thread = ThreadPoolExecutor(1, name)
        self._work: Future[None] | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begins a piece of work; waits for the one before it, and raises what that raised, if there is one."""
        self.wait()
        self._work = self._thread.submit(work)

    def wait(self) -> None:
        """Waits for the work under way and raises what it raised; once, as it is then known."""
        work, self._work = self._work, None
        if work is not None:
            work.result()

    def look(self) -> None:
        """Raises what the work raised, if it has ended; waits for nothing."""
        if self._work is not None and self._work.done():
            self.wait()

    def close(self) -> None:
        """Waits for the work under way, whatever comes of it, and ends the thread."""
        with contextlib.suppress(Exception):
            self.wait()
        self._thread.shutdown()
