"""Progress lines, with a clock that the test turns."""

import io

from trainer.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_with_rate_and_time_left():
    now, log = [100.0], io.StringIO()
    progress = Progress(1000, start=0, stream=log, clock=lambda: now[0])
    now[0] += 1.0
    progress.step(50)  # Too soon for a log.
    assert log.getvalue() == ""
    now[0] += 9.0
    progress.step(100)
    assert log.getvalue() == "step   100/1,000  10%  10 steps/s  1:30 left\n"


def test_a_terminal_line_is_rewritten_and_never_left_half_done():
    now, terminal = [0.0], Terminal()
    progress = Progress(100, start=0, stream=terminal, clock=lambda: now[0])
    now[0] = 1.0
    progress.step(10)
    progress.line(20, "accuracy 0.9")
    first, second = terminal.getvalue().split("\r\x1b[K")
    assert not first.endswith("\n")
    assert second.endswith("accuracy 0.9\n")


def test_the_rate_of_a_continued_run_counts_its_own_steps_only():
    now = [0.0]
    progress = Progress(1000, start=900, stream=io.StringIO(), clock=lambda: now[0])
    now[0] = 2.0
    assert progress.rate(1000) == 50.0
