"""An export appears under its name only if a process that knows nothing of the project finds that it holds."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import resource
import subprocess

import numpy as np
import pytest

from tests.support import exports
from trainer.export import formats, fresh, reload, verify
from trainer.export.formats import FORMATS, tflite

CASES = [
    (network, rule, name)
    for network in exports.OPTIONS
    for rule in exports.RULES
    for name in FORMATS
    if network in ("mlp", "convnet") or rule in ("topk", "maxnorm")
]


def listing(folder: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["keras", "sparse", "tflite"])
def test_a_small_network_in_this_process(tmp_path, monkeypatch, name):
    def run(command, **_):
        reload.main(command[-1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    report = verify.export(exports.subject("mlp", "topk"), name, tmp_path / FORMATS[name].file)
    assert set(report["weights"].values()) == {"exact"}
    assert report["difference"] <= verify.TOLERANCE
    assert report["rules"] == "hold"
    assert [entry.name for entry in tmp_path.iterdir()] == [FORMATS[name].file]


@pytest.mark.slow
def test_a_file_that_fails_does_not_end_the_process_that_serves_several(tmp_path):
    subject = exports.subject("mlp", "topk")
    damaged, kept, late = (tmp_path / name for name in ("damaged.keras", "model.keras", "late.keras"))
    damaged.write_text("no archive")
    with fresh.one_import():
        with pytest.raises(fresh.ReloadError):
            fresh.reloaded(FORMATS["keras"], damaged, subject.examples)
        assert verify.export(subject, "keras", kept)["rules"] == "hold"
        fresh._server.kill()
        fresh._server.wait()
        with pytest.raises(verify.ExportError, match="the process that imported TensorFlow for it ended"):
            verify.export(subject, "keras", late)
    assert kept.exists()
    assert not late.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("network", "rule", "name"), CASES)
def test_every_format_reloads_certifies_and_gives_the_same_outputs(tmp_path, network, rule, name):
    subject = exports.subject(network, rule)
    path = tmp_path / FORMATS[name].file
    report = verify.export(subject, name, path)
    assert path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert report["bytes"] == verify.size(path)
    assert subject.certificate["feasible"]
    if FORMATS[name].exact:
        assert report["difference"] <= verify.TOLERANCE
        assert report["scores"]["accuracy"] == 1.0
    else:
        assert report["scores"]["accuracy"] > 0.8
    if set(report["weights"].values()) <= {"exact", "merged"}:
        assert report["rules"] == "hold"
    if rule in ("block", "nm", "topk", "unitsparse"):
        assert report["rules"] == "hold"
    # What reading the weights takes.
    if FORMATS[name].module in ("onnx", "sparse", "tflite"):
        assert (
            report["libraries"] == {"onnx": ["onnx"], "sparse": [], "tflite": ["ai_edge_litert"]}[FORMATS[name].module]
        )
    json.dumps(report, allow_nan=False)


def damaged(monkeypatch, damage):
    """Has every file damaged between its writing and its reloading."""
    original = fresh.reloaded

    def reloaded(chosen, path, examples):
        damage(path)
        return original(chosen, path, examples)

    monkeypatch.setattr(fresh, "reloaded", reloaded)


def cut(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: pathlib.Path) -> None:
    """Changes the byte in the middle of the first kernel, wherever the file has it."""
    kernel = exports.ruled("mlp", "maxnorm")[0].weights[0].numpy()
    content = bytearray(path.read_bytes())
    for values in (kernel, kernel.T):
        found = content.find(np.ascontiguousarray(values).tobytes())
        if found >= 0:
            content[found + 2] ^= 0x40
            path.write_bytes(bytes(content))
            return
    raise AssertionError("the file holds no such kernel")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sparse", cut),
        pytest.param("sparse", flip, marks=pytest.mark.slow),
        *(pytest.param(name, one, marks=pytest.mark.slow) for name in ("keras", "tflite") for one in (cut, flip)),
    ],
)
def test_a_damaged_file_is_found_and_not_kept(tmp_path, monkeypatch, name, damage):
    damaged(monkeypatch, damage)
    with pytest.raises(verify.ExportError, match="not kept") as caught:
        verify.export(exports.subject("mlp", "maxnorm"), name, tmp_path / FORMATS[name].file)
    assert len(str(caught.value).splitlines()) == 1
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_outputs_of_another_model_are_not_kept(tmp_path):
    subject = exports.subject("mlp", "topk")
    other = dataclasses.replace(subject, outputs=[subject.outputs[0] * 1.0001])
    with pytest.raises(verify.ExportError, match=r"outputs that are 1\.0e-04 from the model's"):
        verify.export(other, "keras", tmp_path / "model.keras")
    assert listing(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras", "saved_model", "sparse", "tflite"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, name):
    subject = exports.subject("mlp", "maxnorm")
    # The converter's own files, in the folder for temporary ones, would fail first.
    monkeypatch.setattr(tflite, "_converted", lambda *_, **__: bytes(10_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(verify.ExportError, match=r"cannot be written: .*; mend the disk") as caught:
            verify.export(subject, name, tmp_path / FORMATS[name].file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(str(caught.value).splitlines()) == 1
    assert listing(tmp_path) == []


def test_what_is_there_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"model\.keras exists already; .*--overwrite"):
        verify.export(exports.subject("mlp", "topk"), "keras", path)
    assert path.read_text() == "mine"
    assert listing(tmp_path) == ["model.keras"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras", "saved_model"])
def test_overwriting_replaces_files_and_folders(tmp_path, name):
    path = tmp_path / FORMATS[name].file
    first = verify.export(exports.subject("mlp", "topk"), name, path)
    abandoned = tmp_path / ".unfinished-of-a-killed-process"
    abandoned.mkdir()
    second = verify.export(exports.subject("mlp", "maxnorm"), name, path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert first["certificate"] != second["certificate"]


def test_a_format_is_named_once():
    with pytest.raises(ValueError, match="names keras twice"):
        verify.check_names(["keras", "keras"])


def test_a_format_whose_packages_are_missing_names_its_extra(monkeypatch):
    missing = dataclasses.replace(FORMATS["onnx"], packages=("no_such_package",))
    monkeypatch.setitem(formats.FORMATS, "onnx", missing)
    with pytest.raises(ValueError, match=r"--formats=onnx needs no_such_package, which the extra `onnx` brings"):
        verify.check_names(["onnx"])


def test_the_measure_of_a_difference():
    expected = [np.array([[1.0, -4.0]]), np.zeros((1, 1))]
    assert verify.distance([np.array([[1.0, -4.0]]), np.zeros((1, 1))], expected) == 0
    assert verify.distance([np.array([[1.0, -3.0]]), np.zeros((1, 1))], expected) == 0.25
    assert verify.distance([np.array([[1.0]]), np.zeros((1, 1))], expected) == float("inf")
    assert not np.isfinite(verify.distance([np.array([[np.nan, -4.0]]), np.zeros((1, 1))], expected))
