"""The share of training time that goes by in waiting: lately, in all, and after the end of a run."""

from __future__ import annotations

import dataclasses
import json

import pytest

from trainer.training.waiting import Waiting


@dataclasses.dataclass
class Clocks:
    """Stands in for a source and the steps: what they measured so far."""

    waited: float = 5.0
    seconds: float = 100.0

    def go_on(self, waited: float, seconds: float) -> None:
        self.waited += waited
        self.seconds += seconds


def test_shares_are_of_what_came_since():
    clocks = Clocks()
    waiting = Waiting(clocks, clocks)
    clocks.go_on(1.0, 10.0)
    assert waiting.lately() == pytest.approx(0.1)
    clocks.go_on(0.0, 20.0)
    assert waiting.lately() == 0
    assert waiting.lately() == 0
    assert waiting.in_all(None) == 0.0333
    # Two clocks need not agree to the last digit.
    clocks.go_on(100.0, 20.0)
    assert waiting.lately() == 1.0


def test_a_run_that_had_ended_keeps_what_it_said(tmp_path):
    waiting = Waiting(Clocks(), Clocks())
    assert waiting.in_all(None) is None
    assert waiting.in_all(tmp_path) is None
    (tmp_path / "certificate.json").write_text(json.dumps({"waiting_share": 0.25}))
    assert waiting.in_all(tmp_path) == 0.25
    (tmp_path / "certificate.json").write_text("{damaged")
    assert waiting.in_all(tmp_path) is None
