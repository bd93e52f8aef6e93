"""Sizes, memory and latencies of files."""

from __future__ import annotations

import gzip

import pytest

from tests.support import exports
from trainer.export import measure, reload, verify
from trainer.export.formats import FORMATS

ROW = {
    "file": "model.keras",
    "bytes": 1234567,
    "gzipped": 1234,
    "memory": 500_000_000,
    "latency": {"1": [1e-6, 2e-6, 3.25e-6], "32": [1e-3, 2e-3, 3e-3]},
    "scores": {"accuracy": 0.5},
}


def test_the_table_has_a_line_for_each_file():
    text = measure.printed([ROW, {**ROW, "file": "model.tflite", "multiply_adds": 1000, "scores": {}}])
    _, _, first, second = text.splitlines()
    for cell in ("model.keras", "1,234,567", "1,234", "500 MB", "2.0", "1.0 to 3.2", "2,000.0", "0.5000"):
        assert cell in first
    assert "1,000" in second
    assert second.endswith("-")


def test_what_gzip_makes_of_a_file_and_of_a_folder(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(content)
    assert measure.gzipped(tmp_path / "a") == pytest.approx(len(gzip.compress(content)), abs=20)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(content)
    assert measure.gzipped(tmp_path / "folder") == measure.gzipped(tmp_path / "a")


def test_quartiles_are_in_order():
    calls = []
    low, median, high = reload.quartiles(lambda: calls.append(1))
    assert 0 < low <= median <= high
    assert len(calls) >= reload.FEWEST


def test_this_process_holds_memory():
    assert 10**7 < reload.peak_memory() < 10**11


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras", "sparse", "tflite"])
def test_a_file_is_measured_in_a_process_of_its_own(tmp_path, name):
    subject = exports.subject("mlp", "topk")
    path = tmp_path / FORMATS[name].file
    verify.export(subject, name, path)
    found = measure.measured(name, path, subject.examples)
    assert found["bytes"] == path.stat().st_size
    assert 0 < found["gzipped"] < found["bytes"]
    assert found["memory"] > 10**7
    for quartiles in found["latency"].values():
        assert 0 < quartiles[0] <= quartiles[1] <= quartiles[2] < 1
