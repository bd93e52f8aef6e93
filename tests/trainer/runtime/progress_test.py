"""Lines about reading: a moment is passed over in silence, minutes are not."""

from __future__ import annotations

import io

from trainer.runtime.progress import PATIENCE, progress, status


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_is_over_in_a_moment_says_nothing():
    now, log = [0.0], io.StringIO()
    with progress("reading", 100, stream=log, clock=lambda: now[0]) as reached:
        now[0] = PATIENCE - 0.1
        reached(100)
    assert log.getvalue() == ""


def test_a_log_gets_a_line_every_ten_seconds():
    now, log = [0.0], io.StringIO()
    with progress("reading images", 1000, "images", stream=log, clock=lambda: now[0]) as reached:
        for seconds in (2.0, 4.0, 12.0):
            now[0] = seconds
            reached(round(50 * seconds))
    assert log.getvalue() == (
        "reading images 100/1,000  10%  50 images/s  0:18 left\nreading images 600/1,000  60%  50 images/s  0:08 left\n"
    )


def test_a_terminal_line_is_rewritten_and_taken_away():
    now, terminal = [0.0], Terminal()
    with progress("reading", 1000, stream=terminal, clock=lambda: now[0]) as reached:
        for seconds in (2.01, 2.1, 2.3):
            now[0] = seconds
            reached(100)
    first, second, last = terminal.getvalue().split("\r\x1b[K")
    assert first.startswith("reading 100/1,000")
    assert second.startswith("reading 100/1,000")
    assert last == ""


def test_a_total_may_be_unknown():
    assert status("validation", 2000, 0, 4.0) == "validation 2,000  500 examples/s"
    assert status("validation", 20, 40, 1.0) == "validation 20/40  50%  20 examples/s  0:01 left"
