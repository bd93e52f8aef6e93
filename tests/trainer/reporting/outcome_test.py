"""The last lines of a run."""

from __future__ import annotations

import pathlib
import sys

import pytest

from trainer.reporting import outcome


def document(**changes) -> dict:
    best = {"monitor": "accuracy", "accuracy": 0.95, "loss": 0.4, "step": 1000, "test": {"accuracy": 0.9, "loss": 0.6}}
    evaluation = {"accuracy": 0.91234, "loss": 0.5}
    entries = [{"feasible": None}, {"feasible": changes.get("feasible", True)}]
    return {
        "feasible": True,
        "variables": entries,
        "step": 1200,
        "sparsity": 0.25,
        "evaluation": evaluation,
        "best": best,
        **changes,
    }


@pytest.mark.parametrize(("feasible", "words"), [(True, "every rule holds"), (False, "NOT FEASIBLE")])
def test_what_came_out_where_it_lies_and_how_to_look_at_it(feasible, words):
    entry = {"feasible": feasible, "path": "a/kernel", "quantities": []}
    changed = document(feasible=feasible, variables=[entry])
    first, second, third, last = outcome.described(changed, pathlib.Path("runs/a b")).splitlines()
    assert first.startswith(f"step 1,200: {words}")
    assert "25.0% of the weights under rules are exact zeros" in first
    assert second == "the last weights: test accuracy 0.9123"
    assert third == "best checkpoint, step 1,000: validation accuracy 0.9500, test accuracy 0.9000"
    assert last.startswith("runs/a b/certificate.json")
    assert last.endswith("tensorboard --logdir='runs/a b'")


def test_a_penalty_has_no_verdict():
    first, *_ = outcome.described(document(variables=[{"feasible": None}]), pathlib.Path("run")).splitlines()
    assert "every rule holds" not in first
    assert "no rule to judge" in first


def test_waiting_for_data_is_told_where_it_was_measured():
    assert "waited" not in outcome.described(document(), pathlib.Path("run"))
    lines = outcome.described(document(waiting_share=0.0123), pathlib.Path("run")).splitlines()
    assert lines[3] == "training waited for data 1.2% of the time"
    assert len(lines) == 5


def test_what_is_not_known_is_not_told():
    best = document()["best"] | {"test": None}
    lines = outcome.described(document(sparsity=None, best=best), pathlib.Path("run"))
    assert "zeros" not in lines
    assert "test accuracy not known" in lines


def test_tensorboard_is_called_by_its_name_only_where_that_is_the_same_one(monkeypatch):
    own = pathlib.Path(sys.executable).with_name("tensorboard")
    for found, command in ((str(own), " tensorboard --logdir=run"), ("/usr/bin/tensorboard", f" {own} --logdir=run")):
        monkeypatch.setattr(outcome.shutil, "which", lambda name, found=found: found)
        assert outcome.described(document(), pathlib.Path("run")).endswith(command)
