"""Keras files from anywhere: what is wrong with one is told in a sentence, and none runs code."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import zipfile

import keras
import pytest

import constraints
from trainer.training import keras_files

layers = keras.layers


def network(*more: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, name="first"), *more])


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("saved") / "net.keras")
    model = network()
    model.compile("adam", "mse")
    model.save(path)
    return path


def changed(path: str, to: str, **members: bytes | None) -> str:
    """A copy of an archive with other members; None: without."""
    renamed = {name.replace("_", ".", 1): content for name, content in members.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = renamed.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return to


def with_config(path: str, to: str, change) -> str:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return changed(path, to, config_json=json.dumps(config).encode())


def first_layer(config: dict) -> dict:
    return config["config"]["layers"][1]


def test_a_file_gives_the_network_that_was_saved(saved):
    model = keras_files.read(saved, "--model")
    assert [variable.path for variable in model.variables] == ["first/kernel", "first/bias"]
    assert not model.compiled


def test_the_fingerprint_is_that_of_the_bytes(saved, tmp_path):
    copy = tmp_path / "other name.keras"
    shutil.copy(saved, copy)
    first = keras_files.fingerprint(saved, "--model")
    assert first == keras_files.fingerprint(str(copy), "--model")
    assert len(first) == len("crc32:00000000")
    with open(copy, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert keras_files.fingerprint(str(copy), "--model") != first


def test_this_projects_constraints_are_known(tmp_path):
    path = str(tmp_path / "net.keras")
    network(layers.Dense(2, kernel_constraint=constraints.MaxNorm(2.0))).save(path)
    keras_files.read(path, "--model")


def refused(path, what: str = "--model") -> str:
    with pytest.raises(ValueError, match=r"\A" + what + "=") as raised:
        keras_files.read(str(path), what)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


def test_what_is_no_keras_file(saved, tmp_path):
    assert "No such file" in refused(tmp_path / "none.keras")
    assert "is an HDF5 file, which may hold code" in refused(tmp_path / "old.h5")
    assert "is no .keras file" in refused(tmp_path / "net.zip")
    (tmp_path / "folder.keras").mkdir()
    assert "is no file but a folder" in refused(tmp_path / "folder.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    assert "is no file but a folder, a pipe" in refused(tmp_path / "pipe.keras")
    assert "is an address" in refused("hf://somebody/net.keras")
    (tmp_path / "empty.keras").touch()
    assert "is damaged or not a Keras file" in refused(tmp_path / "empty.keras")
    (tmp_path / "text.keras").write_text("no archive")
    assert "is damaged or not a Keras file" in refused(tmp_path / "text.keras")
    assert "is an archive without config.json" in refused(changed(saved, str(tmp_path / "a.keras"), config_json=None))
    assert "config.json is not JSON" in refused(changed(saved, str(tmp_path / "b.keras"), config_json=b"{"))
    deep = b"[" * 100_000 + b"]" * 100_000
    assert "config.json is not JSON" in refused(changed(saved, str(tmp_path / "c.keras"), config_json=deep))


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9, "cut"])
def test_a_damaged_file(saved, tmp_path, place):
    content = bytearray(pathlib.Path(saved).read_bytes())
    if place == "cut":
        content = content[: len(content) // 2]
    else:
        for at in range(int(place * len(content)), int(place * len(content)) + 40):
            content[at] ^= 0xFF
    path = tmp_path / "net.keras"
    path.write_bytes(content)
    assert "damaged" in refused(path) or "cannot be loaded" in refused(path)


def test_an_archive_that_expands_without_end(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "_SLACK", 0)
    path = tmp_path / "bomb.keras"
    shutil.copy(saved, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(2**20))
    assert "assets/zeros expands to 1,048,576 bytes" in refused(path)


def test_code(tmp_path):
    path = str(tmp_path / "net.keras")
    network(layers.Lambda(lambda x: x + 1, name="plus")).save(path)
    assert "holds code, the Lambda layer `plus`, and no code from a file is run" in refused(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"module": "mine", "class_name": "Own", "registered_name": "mine>Own"}, "not Keras's own, mine.Own"),
        ({"module": None, "class_name": "Own", "registered_name": "Own"}, "not Keras's own, None.Own"),
        ({"module": "os", "class_name": "system"}, "not Keras's own, os.system"),
        ({"module": "keras_hub.layers", "class_name": "X"}, "not Keras's own, keras_hub.layers.X"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "holds code, the TFSMLayer layer `first`"),
        ({"module": "keras.layers", "class_name": "Nowhere"}, "cannot be loaded by Keras"),
        ({"module": "keras.utils", "class_name": "get_file"}, "cannot be loaded by Keras"),
        ({"registered_name": "constraints>Nowhere", "module": "os", "class_name": "system"}, "cannot be loaded by"),
    ],
)
def test_classes_that_are_not_keras_own(saved, tmp_path, change, said):
    path = with_config(saved, str(tmp_path / "net.keras"), lambda config: first_layer(config).update(change))
    assert said in refused(path)


def test_a_layer_is_no_model(saved, tmp_path):
    def only_a_layer(config):
        config.update(module="keras.layers", class_name="Flatten", registered_name=None, config={"name": "flat"})

    assert "holds a Flatten, and not a model" in refused(with_config(saved, str(tmp_path / "net.keras"), only_a_layer))
