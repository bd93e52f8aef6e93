"""The outer loop with steps that only count: chunks end where something is due, and everything is called in order."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.engine import loop
from trainer.engine.run_state import RunState
from trainer.engine.train_step import Chunk


class Counting:
    """Stands in for the compiled steps: adds up what it is asked for."""

    def __init__(self, bad_step=None, halted_after=None):
        self.bad_step = bad_step
        self.halted_after = halted_after
        self.chunks: list[tuple[int, bool]] = []

    def train(self, num_steps, totals, nonfinite, measure):
        if self.halted_after is not None:
            num_steps = min(num_steps, self.halted_after - sum(length for length, _ in self.chunks))
        self.chunks.append((num_steps, measure))
        now = sum(length for length, _ in self.chunks)
        if self.bad_step is not None and now - num_steps < self.bad_step <= now:
            made, self.bad_step = self.bad_step - (now - num_steps), None
            return Chunk(totals, tf.constant([nonfinite[0] + 1, 1, made]), None, None)
        counts = tf.constant([nonfinite[0], 0, num_steps])
        return Chunk(totals + np.array([0.5, 0.0, 1.0, 1.0, 1.0]) * num_steps, counts, None, None)


def trained(
    intervals: dict[str, int],
    *,
    total=20,
    start=0,
    per_loop=100,
    measure_every=5,
    stop_after=None,
    at_end=True,
    bad_step=None,
    halted_after=None,
    recover=None,
):
    steps, state, called, reached = Counting(bad_step, halted_after), RunState(), [], []

    def action(name, interval):
        return loop.Every(interval, lambda step, chunk: called.append((step, name)), at_end=at_end)

    end = loop.run(
        steps,
        state,
        [action(name, interval) for name, interval in intervals.items()],
        start=start,
        total_steps=total,
        steps_per_loop=per_loop,
        measure_every=measure_every,
        report=reached.append,
        stop=lambda: stop_after is not None and bool(reached) and reached[-1] >= stop_after,
        max_nonfinite=1,
        recover=recover,
    )
    return end, steps.chunks, called, reached, state


def test_actions_are_called_when_due_in_the_order_given_and_at_the_end():
    end, _, called, _, _ = trained({"summary": 5, "evaluate": 10, "save": 8})
    assert end == 20
    assert called == [
        (5, "summary"),
        (8, "save"),
        (10, "summary"),
        (10, "evaluate"),
        (15, "summary"),
        (16, "save"),
        (20, "summary"),
        (20, "evaluate"),
        (20, "save"),
    ]


def test_an_action_may_leave_the_end_alone():
    _, _, called, _, _ = trained({"draw": 8}, at_end=False)
    assert called == [(8, "draw"), (16, "draw")]


@pytest.mark.parametrize("per_loop", [1, 3, 7, 100])
def test_chunks_are_as_long_as_allowed_and_never_step_over_an_action(per_loop):
    end, chunks, called, reached, _ = trained({"summary": 5, "save": 8}, per_loop=per_loop)
    lengths = [length for length, _ in chunks]
    assert sum(lengths) == end == 20
    assert max(lengths) <= per_loop
    assert reached == np.cumsum(lengths).tolist()
    assert {step for step, _ in called} == {5, 8, 10, 15, 16, 20} <= set(reached)
    measured = [step for step, (_, measure) in zip(reached, chunks, strict=True) if measure]
    assert measured == [5, 10, 15, 20]


def test_the_last_step_is_measured_wherever_it_falls():
    _, chunks, called, reached, _ = trained({"summary": 6}, total=20, measure_every=6)
    assert reached == [6, 12, 18, 20]
    assert [measure for _, measure in chunks] == [True] * 4
    assert called[-1] == (20, "summary")


def test_a_continued_run_calls_what_is_left():
    end, chunks, called, _, _ = trained({"summary": 5, "save": 8}, start=9)
    assert end == 20
    assert sum(length for length, _ in chunks) == 11
    assert called == [(10, "summary"), (15, "summary"), (16, "save"), (20, "summary"), (20, "save")]


def test_nothing_is_left_to_do():
    end, chunks, called, _, _ = trained({"summary": 5}, start=20)
    assert (end, chunks, called) == (20, [], [])


def test_stopping_lets_what_is_due_happen_first():
    end, _, called, _, _ = trained({"summary": 5}, stop_after=10)
    assert end == 10
    assert called == [(5, "summary"), (10, "summary")]


def test_totals_are_kept_in_the_state():
    _, _, _, _, state = trained({"summary": 5})
    assert state.totals.numpy().tolist() == [10.0, 0.0, 20.0, 20.0, 20.0]


def test_a_step_that_is_not_finite_leads_back_to_where_it_is_told():
    told = []

    def recover(step, count):
        told.append((step, count))
        return 5

    end, _, called, reached, state = trained({"summary": 5}, bad_step=8, recover=recover)
    assert (end, told) == (20, [(8, 1)])
    # Nothing is done at the step itself, and what it added up is forgotten.
    assert reached == [5, 10, 15, 20]
    assert [step for step, _ in called] == [5, 10, 15, 20]
    assert state.totals.numpy()[-1] == 20


def test_when():
    every = loop.Every(10, print)
    assert [every.next(step) for step in (0, 9, 10, 11)] == [10, 10, 20, 20]
    assert [every.due(step, last=False) for step in (9, 10, 20)] == [False, True, True]
    assert every.due(13, last=True)
    assert not loop.Every(10, print, at_end=False).due(13, last=True)


@pytest.mark.parametrize(("after", "done"), [(0, []), (7, [5]), (10, [5, 10]), (13, [5, 10])])
def test_a_halted_chunk_counts_the_steps_it_made_and_nothing_is_called_where_it_ended(after, done):
    # Whoever halts asks to stop as well, which the loop hears where the chunk was whole.
    stop_after = after if after in done else None
    end, _, called, reached, state = trained({"save": 5}, halted_after=after, stop_after=stop_after)
    assert end == reached[-1] == after
    assert called == [(step, "save") for step in done]
    assert state.totals.numpy().tolist() == [0.5 * after, 0.0, after, after, after]
