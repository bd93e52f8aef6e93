"""What each epoch came to, and what of it a continued run knows."""

from __future__ import annotations

import math

from trainer.training.history import History


def test_epochs_are_kept_and_rewound(tmp_path):
    first = History(tmp_path / "history.json")
    for step, loss in ((10, 2.0), (20, 1.0), (30, math.nan)):
        first.add(step, {"loss": loss, **({"val_loss": 3.0} if step == 20 else {})})
    again = History(tmp_path / "history.json")
    again.rewind(20)
    assert again.steps == [10, 20]
    again.add(30, {"loss": 0.5, "val_loss": 2.5})
    columns = again.columns()
    assert columns["loss"] == [2.0, 1.0, 0.5]
    assert math.isnan(columns["val_loss"][0])
    assert columns["val_loss"][1:] == [3.0, 2.5]


def test_what_cannot_be_read_is_lost_and_nothing_else(tmp_path):
    (tmp_path / "history.json").write_text("{")
    history = History(tmp_path / "history.json")
    history.rewind(20)
    assert history.columns() == {}
    history.add(30, {"loss": 1.0})
    assert history.columns() == {"loss": [1.0]}


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = History(None)
    history.add(1, {"loss": 1.0})
    history.rewind(5)
    assert history.columns() == {"loss": [1.0]}
    assert not list(tmp_path.iterdir())
