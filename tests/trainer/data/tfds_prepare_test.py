"""Finding and preparing data sets: names, no network, two processes at once, leftovers, damage."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from tests.support import fake_tfds
from trainer.data import dataset as data
from trainer.data import tfds_prepare

ROOT = Path(__file__).resolve().parents[3]
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NOWHERE = dict.fromkeys(PROXIES, "http://127.0.0.1:9")  # Nothing listens at port 9.


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.mark.usefixtures("without_network")
@pytest.mark.parametrize("name", ["mnist", "cifar10", "glue/cola", "wine_quality"])
def test_neither_prepared_nor_reachable_ends_soon_with_the_command(tmp_path: Path, name: str) -> None:
    message = (
        f"Data set `{name}` is not prepared in {tmp_path}, and its source .* cannot be reached.*"
        f"python -m trainer.data {name} --data_dir={tmp_path}`.*digits, synthetic need no network"
    )
    with within(60), pytest.raises(ValueError, match=message):
        data.load(name, data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_server_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(tfds_prepare, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(requests, "head", lambda *_, **__: released.wait(60))
    with within(30), pytest.raises(ValueError, match=r"its source storage\.googleapis\.com cannot be reached"):
        data.load("mnist", data_dir=tmp_path)
    released.set()


@pytest.mark.parametrize("exception", [requests.ConnectionError, requests.Timeout, requests.exceptions.SSLError])
def test_what_does_not_answer_is_not_reachable(exception: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def head(*_: Any, **__: Any) -> None:
        raise exception

    monkeypatch.setattr(requests, "head", head)
    assert not tfds_prepare._reachable("example.com")
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    assert tfds_prepare._reachable("example.com")


@pytest.mark.usefixtures("without_network")
def test_data_to_be_fetched_by_hand_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"downloaded by hand into {tmp_path}/downloads/manual; then run .*ILSVRC2012"):
        data.load("imagenet2012", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "Unknown data set `digit`; did you mean digits?"),
        ("mnits", "did you mean mnist or"),
        ("synthetics", "did you mean synthetic"),
        ("brest_cancer:1.0.0", "did you mean breast_cancer"),
        ("qqqqqqqq", "there are breast_cancer, digits, synthetic and all of TFDS"),
    ],
)
def test_an_unknown_name_is_answered_at_once(name: str, message: str, tmp_path: Path) -> None:
    with within(30), pytest.raises(ValueError, match=message.replace("?", r"\?")):
        data.load(name, data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *("", "mnist.py", "os.path", "a\\b", "kaggle:x", "huggingface:mnist", "mnist,x", "MNIST", "mnist:1", "mnist:"),
        *("mnist\n", " mnist", "3d"),
    ],
)
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with within(30), pytest.raises(ValueError, match="is not the name of a data set: expected name, name/config"):
        data.load(name, data_dir=tmp_path)


@pytest.mark.parametrize(
    "name", ["./mnist", "../mnist", "mnist/..", "mnist/../x", "mnist/a=1", "mnist/data_dir=x", "mnist/"]
)
def test_a_path_is_looked_at_as_such(name: str) -> None:
    with within(30), pytest.raises(ValueError, match=r"There is no file or folder|expected a folder for each class"):
        data.load(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist:9.9.9", "cannot be opened: Dataset mnist cannot be loaded at version 9.9.9, only: 3.0.1"),
        ("digits:2.0.0", "only: 1.0.0"),
        ("glue/nope", "it has the configurations cola, sst2,"),
        ("digits/nope", "it has no configurations"),
    ],
)
def test_an_unknown_version_or_configuration_lists_what_there_is(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"Data set `{name}` in {tmp_path} .*{message}"):
        data.load(name, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("asked", "config", "version"),
    [
        ("mnist", None, "3.0.1"),
        ("mnist:3.0.1", None, "3.0.1"),
        ("mnist:3.*.*", None, "3.0.1"),
        ("mnist", None, "1.2.3"),  # Older than what TFDS would prepare.
        ("mnist:1.2.3", None, "1.2.3"),
        ("toy_set", None, "1.0.0"),  # Of someone else's builder.
        ("toy_set/small", "small", "1.0.0"),
        ("toy_set/small:1.0.0", "small", "1.0.0"),
    ],
)
@pytest.mark.usefixtures("without_network")
def test_whatever_is_prepared_is_found(tmp_path: Path, asked: str, config: str | None, version: str) -> None:
    base = asked.split("/")[0].split(":")[0]
    splits = {"train": fake_tfds.images(20), "test": fake_tfds.images(10)}
    configs = ("small", "large") if config else ()
    fake_tfds.prepare(
        tmp_path, base, fake_tfds.image_features(), splits, version=version, config=config, configs=configs
    )
    assert data.load(asked, data_dir=tmp_path).train.num_examples == 20


def test_what_is_reachable_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": fake_tfds.images(20), "test": fake_tfds.images(10)}
    builder = fake_tfds.builder_class("mnist", fake_tfds.image_features(), splits)
    monkeypatch.setattr(tfds_prepare, "_reachable", lambda _: True)
    monkeypatch.setattr(tfds_prepare, "_open", lambda _, folder: builder(data_dir=folder))
    assert data.load("mnist", data_dir=tmp_path).test.num_examples == 10


def test_a_download_that_fails_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = fake_tfds.builder_class(
        "mnist", fake_tfds.image_features(), {"train": [{"image": "nothing", "label": 0}]}
    )
    monkeypatch.setattr(tfds_prepare, "_reachable", lambda _: True)
    monkeypatch.setattr(tfds_prepare, "_open", lambda _, folder: builder(data_dir=folder))
    with pytest.raises(ValueError, match=r"`mnist` cannot be prepared in .*then run .* -m trainer\.data mnist"):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"Data set `digits` .*(prepared|opened).*: .*Errno"):
        data.load("digits", data_dir=tmp_path / folder)


def test_the_default_folder_is_that_of_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data.load("digits")
    assert (tmp_path / "digits" / "1.0.0" / "dataset_info.json").is_file()
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    data.load("digits", data_dir="~/other")
    assert (tmp_path / "other" / "digits").is_dir()


def test_preparing_says_nothing_and_leaves_the_random_numbers_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn = []
    for _ in range(2):  # The first time it has to be prepared.
        random.seed(7)
        np.random.seed(7)
        data.load("digits", data_dir=tmp_path)
        drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Shuffling" not in captured.err
    assert "Generating" not in captured.err


def test_leftovers_of_an_interrupted_preparation_do_no_harm(tmp_path: Path) -> None:
    leftover = tmp_path / "digits" / "incomplete.ABC123_1.0.0"
    leftover.mkdir(parents=True)
    (leftover / "digits-train.tfrecord-00000-of-00001").write_bytes(b"half")
    (tmp_path / "digits" / ".lock").touch()
    empty = tmp_path / "digits" / "1.0.0"
    empty.mkdir()
    dataset = data.load("digits", data_dir=tmp_path)
    assert dataset.train.num_examples == 1438
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == [".lock", "1.0.0"]


@pytest.mark.usefixtures("without_network")
def test_a_folder_without_data_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"`mnist` in {tmp_path}/mnist/3.0.1 is damaged: remove that folder, then run"):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 3}'])
def test_damaged_descriptions_are_one_error(tmp_path: Path, file: str, content: str) -> None:
    folder = fake_tfds.prepare(
        tmp_path, "toy_set", fake_tfds.image_features(), {"train": fake_tfds.images(2), "test": fake_tfds.images(2)}
    )
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match="toy_set"):
        data.load("toy_set", data_dir=tmp_path)


EVIL = "evil.Feature"


def in_a_message(key: str) -> Any:
    """The form of today: a class named by a message, at whichever depth."""
    return {"featuresDict": {"features": {"label": {key: EVIL}}}, "pythonClassName": FEATURES_DICT}


FEATURES_DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
SEQUENCE = "tensorflow_datasets.core.features.sequence_feature.Sequence"
# Every form that TFDS reads: messages, the older type and content, and JSON in a string, each within the others.
FORMS = {
    "message": in_a_message("pythonClassName"),
    "message_snake": in_a_message("python_class_name"),
    "type": {"type": EVIL, "content": {}},
    "type_in_type": {"type": FEATURES_DICT, "content": {"label": {"type": EVIL, "content": {}}}},
    "type_of_a_message": {
        "type": FEATURES_DICT,
        "content": in_a_message("pythonClassName")["featuresDict"],
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    },
    "string": {
        "type": FEATURES_DICT,
        "content": json.dumps(in_a_message("pythonClassName")["featuresDict"]),
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    },
    "string_in_a_message": {
        "pythonClassName": FEATURES_DICT,
        "jsonFeature": {"json": json.dumps({"label": {"type": EVIL, "content": {}}})},
    },
    "message_in_a_string_in_a_message": {
        "pythonClassName": FEATURES_DICT,
        "jsonFeature": {"json": json.dumps({"label": in_a_message("pythonClassName")})},
    },
    "sequence": {
        "type": FEATURES_DICT,
        "content": {"label": {"type": SEQUENCE, "content": {"feature": {"type": EVIL, "content": {}}, "length": 1}}},
    },
    "module_of_tfds": {"type": "tensorflow_datasets.scripts.cli.main.Feature", "content": {}},
}


def toy(folder: Path) -> Path:
    splits = {"train": fake_tfds.images(2), "test": fake_tfds.images(2)}
    return fake_tfds.prepare(folder, "toy_set", fake_tfds.image_features(), splits)


@pytest.mark.parametrize("form", FORMS)
def test_files_cannot_have_code_imported(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toy(tmp_path) / "features.json"
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(json.dumps(FORMS[form]))
    with pytest.raises(ValueError, match=r"names code that is not TFDS's own, (evil|tensorflow_datasets\.scripts)"):
        data.load("toy_set", data_dir=tmp_path)
    assert "tensorflow_datasets.scripts.cli.main" not in sys.modules


def test_an_escaped_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toy(tmp_path) / "features.json"
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(json.dumps(in_a_message("pythonClassName")).replace("pythonC", "python\\u0043"))
    with pytest.raises(ValueError, match=r"names code that is not TFDS's own, evil\.Feature"):
        data.load("toy_set", data_dir=tmp_path)


def test_the_older_form_is_read(tmp_path: Path) -> None:
    file = toy(tmp_path) / "features.json"
    image = {"shape": [4, 4, 1], "dtype": "uint8", "encoding_format": "png"}
    shape = data.load("toy_set", data_dir=tmp_path).input_shape
    image["shape"] = list(shape)
    core = "tensorflow_datasets.core.features"
    content = {
        "image": {"type": f"{core}.image_feature.Image", "content": image},
        "label": {"type": f"{core}.class_label_feature.ClassLabel", "content": {"num_classes": 10}},
    }
    file.write_text(json.dumps({"type": FEATURES_DICT, "content": content}))
    assert data.load("toy_set", data_dir=tmp_path).input_shape == shape


@pytest.mark.parametrize("depth", [200, 100_000])
@pytest.mark.parametrize("form", ["lists", "types"])
def test_what_is_nested_too_deeply_is_one_error(tmp_path: Path, form: str, depth: int) -> None:
    before, after = ("[", "]") if form == "lists" else (f'{{"type": "{SEQUENCE}", "content": {{"feature": ', "}}")
    (toy(tmp_path) / "features.json").write_text(before * depth + "1" + after * depth)
    with pytest.raises(ValueError, match="toy_set"):
        data.load("toy_set", data_dir=tmp_path)


@pytest.mark.parametrize(
    "name", ["features.json", "dataset_info.json", "label.labels.txt", "metadata.json", "*-train.tfrecord*"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_one_error(tmp_path: Path, name: str, kind: str) -> None:
    folder = toy(tmp_path)
    file = next(folder.glob(name), folder / name)
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder" and name not in ("label.labels.txt", "metadata.json"):
        file.mkdir()
    else:
        file.symlink_to(file if kind == "loop" else "/dev/zero")
    with within(30), pytest.raises(ValueError, match="toy_set"):
        data.load("toy_set", data_dir=tmp_path)


def test_a_description_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with open(toy(tmp_path) / "features.json", "ab") as file:
        file.truncate(2**40)
    with within(30), pytest.raises(ValueError, match="a description of 1,099,511,627,776 bytes"):
        data.load("toy_set", data_dir=tmp_path)


def test_names_of_labels_are_read_from_files_alone(tmp_path: Path) -> None:
    file = toy(tmp_path) / "features.json"
    os.mkfifo(tmp_path / "names")
    content = {"names_file": str(tmp_path / "names")}
    label = {"type": "tensorflow_datasets.core.features.class_label_feature.ClassLabel", "content": content}
    file.write_text(json.dumps({"type": FEATURES_DICT, "content": {"label": label}}))
    with within(30), pytest.raises(ValueError, match="it is no file but a pipe"):
        data.load("toy_set", data_dir=tmp_path)


@pytest.mark.parametrize("elsewhere", ["../../other-train.tfrecord-00000-of-00001", "/dev/zero", "gs://bucket/x"])
def test_records_lie_in_the_folder(tmp_path: Path, elsewhere: str) -> None:
    file = toy(tmp_path) / "dataset_info.json"
    info = json.loads(file.read_text())
    info["splits"][0]["filepathTemplate"] = elsewhere
    file.write_text(json.dumps(info))
    with within(30), pytest.raises(ValueError, match="toy_set"):
        data.load("toy_set", data_dir=tmp_path)


def test_nothing_is_left_of_a_data_set_that_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    kept = data.load("digits", data_dir=tmp_path / "data")
    lent = data.load("digits", data_dir=tmp_path / "other", keep=False)
    np.testing.assert_array_equal(kept.train.features, lent.train.features)
    assert not (tmp_path / "other").exists()
    assert not list((tmp_path / "temporary").glob("constrained-training-*"))
    with pytest.raises(ValueError, match=r"`mnist` is not prepared in .*--dry_run writes nothing; run `.*data mnist"):
        data.load("mnist", data_dir=tmp_path / "other", keep=False, fetch=False)
    tfds_prepare.keep("digits", tmp_path / "other")
    assert (tmp_path / "other" / "digits" / "1.0.0" / "dataset_info.json").is_file()
    for folder in ("/proc/nowhere", tmp_path / "data" / "digits" / "1.0.0" / "features.json"):
        with pytest.raises(ValueError, match=r"`digits` cannot be prepared in .*Errno .*choose another data_dir"):
            data.load("digits", data_dir=folder, keep=False)


@pytest.mark.parametrize("name", ["my.csv", "./train.npz", "../x.parquet"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"There is no file or folder `{name}`; check the path"):
        data.load(name)


@pytest.mark.parametrize("limit", [data.MEMORY_LIMIT, 0])
def test_a_prepared_folder_is_taken_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    by_name = data.load("digits", data_dir=tmp_path)
    monkeypatch.setattr(data, "MEMORY_LIMIT", limit)
    found = data.load(str(tmp_path / "digits" / "1.0.0"))
    assert (found.input_shape, found.num_classes) == ((8, 8, 1), 10)
    first, _ = next(iter(found.train.examples().as_numpy_iterator()))
    np.testing.assert_array_equal(first, by_name.train.features[0])
    with pytest.raises(ValueError, match=r"is a folder itself; leave it out"):
        data.load(str(tmp_path / "digits" / "1.0.0"), data_dir=tmp_path)
    (tmp_path / "digits" / "1.0.0" / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"Data set `.*1\.0\.0` cannot be opened"):
        data.load(str(tmp_path / "digits" / "1.0.0"))


@pytest.mark.slow
def test_two_processes_at_once_both_succeed(tmp_path: Path) -> None:
    go = tmp_path / "go"
    # The same seed would also give both the same temporary folder.
    code = f"""
import os, random, time
import tensorflow_datasets, tensorflow
from trainer.data import dataset as data
from trainer.data.builtin import digits
random.seed(0)
open({str(tmp_path)!r} + "/ready" + str(os.getpid()), "w").close()
while not os.path.exists({str(go)!r}): time.sleep(0.001)
print(int(data.load("digits", data_dir={str(tmp_path / "data")!r}).train.features.sum()))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    go.touch()
    sums = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sums[0] == sums[1]
    assert int(sums[0]) > 0


@pytest.mark.parametrize(("name", "code"), [("digits", 0), ("mnist", 1)])
def test_the_command_that_prepares(tmp_path: Path, name: str, code: int) -> None:
    with within(60):
        result = subprocess.run(
            [sys.executable, "-m", "trainer.data", name, f"--data_dir={tmp_path}"],
            env={**os.environ, **NOWHERE, "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    if code:
        assert "Data set `mnist` is not prepared" in result.stderr
    else:
        assert result.stdout == f"digits is prepared in {tmp_path}/digits/1.0.0\n"
        assert tfds.builder("digits", data_dir=tmp_path).info.splits["train"].num_examples == 1438
