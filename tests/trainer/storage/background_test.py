"""Work beside training: one piece after another, and no failure is lost or told twice."""

from __future__ import annotations

import threading

import pytest

from trainer.storage.background import Background


@pytest.fixture
def background():
    beside = Background("test")
    yield beside
    beside.close()


def fails():
    raise OSError("odd")


def test_work_is_done_in_another_thread_and_in_order(background):
    done, gate = [], threading.Event()

    def first():
        gate.wait()
        done.append(threading.current_thread())

    background.begin(first)
    background.look()
    assert done == []
    threading.Timer(0.1, gate.set).start()
    background.begin(lambda: done.append("second"))
    assert done[0] is not threading.current_thread()
    background.wait()
    assert done[1:] == ["second"]


@pytest.mark.parametrize("ask", ["wait", "look", "begin"])
def test_a_failure_is_told_once_to_who_asks_next(background, ask):
    background.begin(fails)
    ended = background._work
    assert ended is not None
    assert isinstance(ended.exception(), OSError)
    with pytest.raises(OSError, match="odd"):
        getattr(background, ask)(*([fails] if ask == "begin" else []))
    background.look()
    background.wait()


def test_closing_waits_and_swallows(background):
    done = []
    background.begin(lambda: done.append(1))
    background.close()
    assert done == [1]
    again = Background("again")
    again.begin(fails)
    again.close()
    Background("never").close()
