"""Event files: their order, and what going back to a step leaves of them, whole or damaged."""

from __future__ import annotations

import os
import time

import pytest
import tensorflow as tf

from tests.support import tensorboard_data
from tests.trainer.reporting.tensorboard_test import targets, values_of, written
from trainer.reporting import tensorboard


def rewind(directory, step: int) -> list[str]:
    """Goes back to a step and returns what is said."""
    said: list[str] = []
    tensorboard.Summaries(directory, [], said.append).rewind(step)
    return said


def flip(file, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def places(file) -> list[int]:
    """Where each record of a file begins."""
    starts = [0]
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        starts.append(starts[-1] + 16 + len(record))
    return starts[:-1]


def test_rewinding_drops_what_came_after_the_step(tmp_path):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)
    assert rewind(tmp_path, 10) == []
    after = tensorboard_data.scalars(tmp_path)
    assert after == {tag: points[:2] for tag, points in before.items()}
    assert len(values_of(tmp_path, "run")) == 1  # What was written once, at the start, stays.
    assert values_of(tmp_path, "weights/conv.1/kernel") == []
    assert values_of(tmp_path, "_hparams_/session_end_info") == []

    continued = tensorboard.Summaries(tmp_path, targets())
    for step in (15, 20):
        continued.scalars("train", step, {"loss": 1 / step})
    continued.close()
    assert tensorboard_data.scalars(tmp_path)["train/loss"] == before["train/loss"]


def test_rewinding_to_the_end_changes_nothing(tmp_path):
    written(tmp_path).close()
    before = tensorboard_data.events(tmp_path)
    assert rewind(tmp_path, 20) == []
    ends = [event for _, event in before for value in event.summary.value if "session_end" in value.tag]
    assert tensorboard_data.events(tmp_path) == [(folder, event) for folder, event in before if event not in ends]


def test_rewinding_to_before_the_start_leaves_nothing_twice(tmp_path):
    written(tmp_path).close()
    rewind(tmp_path, -1)
    assert tensorboard_data.scalars(tmp_path) == {}
    assert values_of(tmp_path, "run") == []


@pytest.mark.parametrize("bytes_lost", [1, 7, 40])
def test_rewinding_survives_a_torn_record(tmp_path, bytes_lost):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)
    (file,) = (tmp_path / "train").glob("events*")
    file.write_bytes(file.read_bytes()[:-bytes_lost])
    # A process that dies leaves such a record; that is no damage.
    assert rewind(tmp_path, 15) == []
    after = tensorboard_data.scalars(tmp_path)
    assert after["train/loss"] == before["train/loss"][:3]
    assert after["eval/loss"] == before["eval/loss"][:3]


def test_rewinding_survives_an_empty_file_and_one_of_noise(tmp_path):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)
    (tmp_path / "train" / "events.out.tfevents.1.host.1.0.v2").write_bytes(b"")
    (tmp_path / "train" / "events.out.tfevents.2.host.1.0.v2").write_bytes(b"noise" * 20)
    (line,) = rewind(tmp_path, 15)
    assert "events.out.tfevents.2.host.1.0.v2 is damaged:" in line
    assert tensorboard_data.scalars(tmp_path) == {tag: points[:3] for tag, points in before.items()}


def test_a_rewinding_that_was_cut_off_can_be_done_again(tmp_path, monkeypatch):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            rewind(tmp_path, 15)
    # TensorBoard takes every name with "tfevents" in it for an event file.
    assert len([path for path in tmp_path.glob("*/*") if "tfevents" in path.name]) == 2
    rewind(tmp_path, 15)
    assert tensorboard_data.scalars(tmp_path) == {tag: points[:3] for tag, points in before.items()}
    assert len(list(tmp_path.glob("*/*"))) == 2


@pytest.mark.parametrize("part", ["length", "checksum of the length", "event", "checksum of the event"])
@pytest.mark.parametrize("number", [0, pytest.param(3, marks=pytest.mark.slow), -1])
def test_one_bit_costs_the_end_of_a_file_which_is_kept_as_it_was(tmp_path, part, number):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)
    (file,) = (tmp_path / "train").glob("events*")
    starts = places(file)
    place = starts[number]
    end = [*starts, file.stat().st_size][starts.index(place) + 1]
    flip(file, {"length": place, "checksum of the length": place + 9, "event": place + 13}.get(part, end - 1))
    damaged = file.read_bytes()
    (line,) = rewind(tmp_path, 20)
    aside = file.with_name(file.name.replace("tfevents", "damaged"))
    assert line == (f"warning: event file {file} is damaged: its end is lost, and the file as it was is {aside.name}.")
    assert aside.read_bytes() == damaged
    after = tensorboard_data.scalars(tmp_path)
    left = {0: 0, 3: 1, -1: 4}[number]  # The first record says the version, the last holds histograms.
    assert after.get("train/loss", []) == before["train/loss"][:left]
    assert after["eval/loss"] == before["eval/loss"]
    # What is kept is whole, and TensorBoard does not read the other.
    assert rewind(tmp_path, 20) == []
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == sorted([aside.name, file.name])
    assert "tfevents" not in aside.name


def test_a_record_that_is_no_event_ends_a_file(tmp_path):
    written(tmp_path).close()
    before = tensorboard_data.scalars(tmp_path)
    (file,) = (tmp_path / "train").glob("events*")
    whole = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in [*whole[:3], b"\xff\xff no event", *whole[3:]]:
            writer.write(record)
    assert len(rewind(tmp_path, 20)) == 1
    assert tensorboard_data.scalars(tmp_path)["train/loss"] == before["train/loss"][:1]


def test_a_file_that_is_damaged_again_hides_no_earlier_one(tmp_path):
    written(tmp_path).close()
    (file,) = (tmp_path / "train").glob("events*")
    kept = []
    for noise in (b"one", b"two", b"three"):
        file.write_bytes(file.read_bytes() + noise * 20)
        kept.append(file.read_bytes())
        assert len(rewind(tmp_path, 20)) == 1
    assert sorted(path.read_bytes() for path in (tmp_path / "train").glob("*damaged*")) == sorted(kept)


EARLIER = {
    "of the second before": "{:010d}.~.9.9.v2",
    "of this second": "{:010d}.~.9.9.v2",
    "of a clock set back": "{:010d}.host",
    "of the last second of all": "9999999999.host",
    "of more digits": "99999999999999999999.host",
    "of another tool": "of-another-tool",
    "of no second": "",
}


@pytest.mark.parametrize("name", EARLIER)
def test_a_new_file_sorts_behind_all_others_whatever_the_clock_says(tmp_path, name):
    ahead = {"of the second before": -1, "of a clock set back": 3600}.get(name, 0)
    (tmp_path / "train").mkdir()
    earlier = tmp_path / "train" / f"events.out.tfevents.{EARLIER[name].format(int(time.time()) + ahead)}"
    earlier.write_bytes(b"")
    for step in range(1, 5):
        writer = tensorboard.Summaries(tmp_path, [])
        writer.scalars("train", step, {"loss": float(step)})
        writer.close()
    files = sorted((tmp_path / "train").iterdir())
    assert len(files) == 5
    assert files[0] == earlier
    assert tensorboard_data.scalars(tmp_path) == {"train/loss": [(step, float(step)) for step in range(1, 5)]}


def test_a_session_that_goes_on_has_one_end(tmp_path):
    written(tmp_path).close()
    for _ in range(3):
        rewind(tmp_path, 20)
        again = tensorboard.Summaries(tmp_path, targets())
        again.scalars("eval", 20, {"test/loss": 0.5})
        again.end(20, True)
        again.close()
    assert len(values_of(tmp_path, "_hparams_/session_end_info")) == 1
    assert len(values_of(tmp_path, "test/loss")) == 1


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_something_else_in_place_of_a_file_is_not_waited_for(tmp_path, kind):
    written(tmp_path).close()
    other = tmp_path / "train" / "events.out.tfevents.1"
    os.mkfifo(other) if kind == "pipe" else other.mkdir()
    (line,) = rewind(tmp_path, 20)
    assert line.startswith(f"warning: event files in {tmp_path} cannot be written: ")
