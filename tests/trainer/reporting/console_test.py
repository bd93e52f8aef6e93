"""ProgressReporter lines, with a clock that the test turns."""

import io
import pathlib
import subprocess
import sys
import tempfile

from tests.support import processes
from trainer.reporting.console import ProgressReporter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_with_rate_and_time_left():
    now, log = [100.0], io.StringIO()
    progress = ProgressReporter(1000, stream=log, clock=lambda: now[0])
    progress.step(100)  # The first says when to count from.
    now[0] += 1.0
    progress.step(150)  # Too soon for a log.
    assert log.getvalue() == ""
    now[0] += 9.0
    progress.step(200)
    assert log.getvalue() == "step   200/1,000  20%  10 steps/s  1:20 left\n"


def test_a_terminal_line_is_rewritten_and_never_left_half_done():
    now, terminal = [0.0], Terminal()
    progress = ProgressReporter(100, stream=terminal, clock=lambda: now[0])
    progress.step(5)
    now[0] = 1.0
    progress.step(10)
    progress.line(20, "accuracy 0.9")
    first, second = terminal.getvalue().split("\r\x1b[K")
    assert not first.endswith("\n")
    assert second.endswith("accuracy 0.9\n")


def test_the_rate_leaves_out_what_came_before_the_first_report():
    """A continued run did not make its first steps in no time, and compilation is not training."""
    now, log = [0.0], io.StringIO()
    progress = ProgressReporter(1000, stream=log, clock=lambda: now[0])
    now[0] = 50.0
    progress.step(900)
    progress.line(900, "accuracy 0.9")
    now[0] = 52.0
    progress.line(1000, "accuracy 0.9")
    first, second = log.getvalue().splitlines()
    assert "steps/s" not in first
    assert "  50 steps/s  0:00 left  accuracy 0.9" in second


def test_a_reader_that_goes_away_does_not_end_the_run():
    code = (
        "from trainer.reporting.console import print_line\n"
        "for i in range(100000): print_line('line')\nopen('done', 'w').close()"
    )
    with tempfile.TemporaryDirectory() as folder:
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=processes.environment(), stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            process.stdout.close()
        assert process.returncode == 0
        assert pathlib.Path(folder, "done").exists()


def test_a_long_evaluation_is_reported_between_two_steps():
    now, log = [0.0], io.StringIO()
    progress = ProgressReporter(1000, stream=log, clock=lambda: now[0])
    reached = progress.part("test", 50_000)
    now[0] = 5.0
    reached(5_000)  # Too soon for a log.
    now[0] = 10.0
    reached(10_000)
    assert log.getvalue() == "test 10,000/50,000  20%  1,000 examples/s  0:40 left\n"


def test_an_evaluation_on_a_terminal_takes_the_line_of_the_steps():
    now, terminal = [0.0], Terminal()
    progress = ProgressReporter(100, stream=terminal, clock=lambda: now[0])
    progress.step(5)
    now[0] = 1.0
    progress.step(10)
    reached = progress.part("validation", 100)
    now[0] = 2.0
    reached(50)
    progress.line(20, "accuracy 0.9")
    steps, part, line = terminal.getvalue().split("\r\x1b[K")
    assert part == "validation 50/100  50%  50 examples/s  0:01 left"
    assert line.endswith("accuracy 0.9\n")
    assert not steps.endswith("\n")
