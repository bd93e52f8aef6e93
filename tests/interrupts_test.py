"""Signals become a wish to stop, and only while somebody listens."""

from __future__ import annotations

import os
import signal

import pytest

from trainer import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_by_its_name_and_ends_nothing(number):
    before = signal.getsignal(number)
    with interrupts.listen() as interrupt:
        assert not interrupt.asked()
        assert interrupt.name is None
        os.kill(os.getpid(), number)
        assert interrupt.asked()
        assert interrupt.name == number.name
        os.kill(os.getpid(), number)
        assert interrupt.asked()
    assert signal.getsignal(number) is before


def test_the_handlers_come_back_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyError), interrupts.listen():
        raise KeyError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
