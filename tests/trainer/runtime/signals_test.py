"""Signals end the process, become a wish to stop while somebody listens, and are nothing once one has come."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

import pytest

from trainer.runtime import signals

NUMBERS = signals.NUMBERS


def test_what_terminals_and_schedulers_send_is_heard():
    assert {number.name for number in NUMBERS} >= {"SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU"}


@pytest.fixture(autouse=True)
def _handlers_of_before():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        # Whatever the tests are started by, as `nohup`.
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_by_its_name_and_ends_nothing(number):
    with signals.listen() as interrupt:
        assert not interrupt.asked()
        assert interrupt.name is None
        os.kill(os.getpid(), number)
        assert interrupt.asked()
        assert interrupt.name == number.name
        os.kill(os.getpid(), number)
        assert interrupt.asked()
    # The process is on its way out: another signal must not take its exit code away.
    for late in NUMBERS:
        os.kill(os.getpid(), late)


@pytest.mark.parametrize("number", NUMBERS)
def test_before_anybody_listens_a_signal_ends_the_process_and_says_so(number):
    code = (
        f"from trainer.runtime import signals; import os; signals.leave_when_asked(); os.kill(os.getpid(), {number:d})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == signals.INTERRUPTED
    assert result.stdout.startswith(f"{number.name}: stopped outside training")
    assert result.stderr == ""


@pytest.mark.parametrize("error", [None, KeyError])
def test_without_a_signal_the_handlers_come_back(error):
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(error) if error else contextlib.nullcontext(), signals.listen():
        if error:
            raise error
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_while_the_main_thread_is_busy_another_one_hears_the_signal(number):
    halted, names = threading.Event(), []
    with signals.listen(lambda: (names.append(interrupt.name), halted.set())) as interrupt:
        code = f"import os, time; time.sleep(0.3); os.kill({os.getpid()}, {number:d})"
        sender = subprocess.Popen([sys.executable, "-c", code])
        # One C call, which no handler of Python interrupts, as that of a compiled loop.
        ctypes.CDLL(None).sleep(1)
        sender.wait()
    assert names == [number.name]


def test_the_file_descriptors_and_the_thread_are_given_back():
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        with signals.listen():
            pass
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("number", NUMBERS)
def test_what_the_process_was_started_to_ignore_stays_ignored(number):
    """As under `nohup`; but a shell's & has SIGINT ignored, and who sends that means it."""
    signal.signal(number, signal.SIG_IGN)
    with signals.listen() as interrupt:
        os.kill(os.getpid(), number)
        assert interrupt.asked() == (number == signal.SIGINT)
    # The child is started with it ignored.
    code = (
        f"from trainer.runtime import signals; import os; signals.leave_when_asked(); os.kill(os.getpid(), {number:d})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == (signals.INTERRUPTED if number == signal.SIGINT else 0)
