"""Who may write into a run directory: decided from its files alone, before anything is created or deleted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import processes
from tests.support.rules import rule_of
from trainer.settings.config import Config
from trainer.storage import run_directory
from trainer.training.experiment import directory_of

COSINE = {"schedule": "cosine", "initial": 8.0, "final": 1.0, "end": "80%"}


def config(path, **settings) -> Config:
    rules = settings.pop("rules", (rule_of("maxnorm", {"max_value": 2.0}),))
    options = settings.pop("model_options", {"hidden_units": (300, 100), "dropout": 0.0})
    return Config(run_dir=str(path), rules=rules, model_options=options, **settings)


def directory(path, **settings) -> run_directory.RunDirectory:
    return directory_of(config(path, **settings))


def begin(path, **settings) -> None:
    """Leaves what a run leaves behind."""
    run = directory(path, **settings)
    assert run.check() is False
    assert run.open("--seed=0\n", {"versions": {"python": "3"}}) is False
    (path / "checkpoints" / "step-00000001").mkdir(parents=True)
    for folder in ("train", "eval"):
        (path / folder).mkdir()
    (path / "certificate.json").write_text("{}")
    run.close()


@pytest.fixture
def run_of_earlier(tmp_path):
    begin(tmp_path / "run")
    return tmp_path / "run"


def test_a_new_run(tmp_path):
    run = directory(tmp_path / "deep" / "run", seed=7)
    assert run.check() is False
    assert not (tmp_path / "deep").exists()
    assert run.open("--seed=7\n", {"devices": ["CPU:0"]}) is False
    run.close()
    assert (run.path / "flags.txt").read_text() == "--seed=7\n"
    record = json.loads((run.path / "run.json").read_text())
    assert record["settings"] == config(tmp_path, seed=7).identity()
    assert record["devices"] == ["CPU:0"]
    assert sorted(os.listdir(run.path)) == [".lock", "flags.txt", "run.json"]
    assert run.checkpoints == run.path / "checkpoints"


def test_an_empty_directory_is_as_good_as_none(tmp_path):
    assert directory(tmp_path).check() is False


@pytest.mark.parametrize("resume", ["auto", "must"])
def test_the_same_command_continues(run_of_earlier, resume):
    before = processes.listing(run_of_earlier)
    run = directory(run_of_earlier, resume=resume)
    assert run.check() is True
    assert processes.listing(run_of_earlier) == before
    assert run.open("--other\n", {}) is True
    run.close()
    after = processes.listing(run_of_earlier)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {".lock"}


@pytest.mark.parametrize(
    ("earlier", "now", "end"),
    [
        ({"epochs": 3}, {"epochs": 4}, 30),
        ({"train_steps": 30}, {"train_steps": 31}, 30),
        ({"epochs": 3}, {"train_steps": 31}, 30),
        ({"train_steps": 25}, {"epochs": 3}, 25),
        ({"epochs": 3}, {"epochs": 3}, None),
    ],
)
def test_a_longer_run_is_told_from_another(tmp_path, earlier, now, end):
    run = directory(tmp_path / "run", **earlier)
    total = earlier.get("train_steps", 30)
    run.open("--epochs=3\n", {"total_steps": total, "steps_per_epoch": 10})
    before = run.identity()
    run.close()
    longer = directory(tmp_path / "run", **now)
    assert longer.check() is True
    assert (longer.shorter and longer.shorter["total_steps"]) == end
    if end is not None:
        assert longer.open("--more\n", {}) is True
        longer.lengthen("--more\n", {"total_steps": 40, "steps_per_epoch": 10}, 20)
        assert (longer.path / "flags.txt").read_text() == "--more\n"
        assert json.loads((longer.path / "run.json").read_text())["settings"] == config(tmp_path, **now).identity()
        assert (longer.identity(), longer.saved()) == (before, 20)
        longer.close()
        assert directory(tmp_path / "run", **now).check() is True


@pytest.mark.parametrize(
    "now", [{"epochs": 2}, {"train_steps": 30}, {"epochs": 4, "seed": 5}, {"epochs": 4, "rules": ()}]
)
def test_what_is_not_only_longer_is_refused(tmp_path, now):
    run = directory(tmp_path / "run", epochs=3)
    run.open("", {"total_steps": 30, "steps_per_epoch": 10})
    run.close()
    with pytest.raises(ValueError, match="holds a run with other settings:"):
        directory(tmp_path / "run", **now).check()


@pytest.mark.parametrize("facts", [{}, {"total_steps": "30"}, {"total_steps": 30, "steps_per_epoch": [10]}])
def test_a_record_without_its_length_is_of_another_run(tmp_path, facts):
    run = directory(tmp_path / "run", epochs=3)
    run.open("", facts)
    run.close()
    with pytest.raises(ValueError, match="--epochs: 3 there, 4 here"):
        directory(tmp_path / "run", epochs=4).check()


def test_the_settings_that_differ_are_named_where_nobody_has_other_words_for_them(tmp_path):
    earlier = run_directory.RunDirectory(tmp_path, {"seed": 1, "rules": [], "old": 2})
    earlier.open("", {})
    earlier.close()
    assert run_directory.RunDirectory(tmp_path, {"seed": 1, "rules": [], "old": 2}).check() is True
    with pytest.raises(ValueError, match="other settings:\n  new, old, seed\n"):
        run_directory.RunDirectory(tmp_path, {"seed": 2, "rules": [], "new": 1, "old": 1}).check()


def test_circumstances_do_not_make_another_run(run_of_earlier):
    assert directory(run_of_earlier, data_dir="/elsewhere", dry_run=True).check() is True


def test_never_continue(run_of_earlier):
    with pytest.raises(ValueError, match=r"--resume=never.*--overwrite"):
        directory(run_of_earlier, resume="never").check()


@pytest.mark.parametrize("make", ["nothing", "empty", "aborted"])
def test_must_continue_but_there_is_nothing(tmp_path, make):
    path = tmp_path / "run"
    if make != "nothing":
        path.mkdir()
    if make == "aborted":
        (path / "flags.txt").write_text("--seed=0\n")
    with pytest.raises(ValueError, match=r"holds no run to continue.*--resume=must"):
        directory(path, resume="must").check()
    with pytest.raises(ValueError, match="holds no run to continue"):
        directory(path, resume="must").open("", {})


def rule(*args, **kwargs):
    return {"rules": (rule_of(*args, **kwargs),)}


DIFFERENCES = {
    "a_number": ({"learning_rate": 0.01}, ["--learning_rate: 0.001 there, 0.01 here"]),
    "two": ({"seed": 1, "batch_size": 16}, ["--seed: 0 there, 1 here", "--batch_size: 32 there, 16 here"]),
    "a_length": ({"train_steps": 50}, ["--train_steps: not set there, 50 here", "--epochs: 20 there, not set here"]),
    "a_list": ({"input_shape": (28, 28)}, ["--input_shape: not set there, 28,28 here"]),
    "a_model_option": (
        {"model_options": {"hidden_units": (8,), "dropout": 0.0}},
        ["--hidden_units: 300,100 there, 8 here"],
    ),
    "a_constraint": (
        rule("topk", {"sparsity": 0.9}),
        [
            "--constraint: maxnorm there, topk here",
            "--max_value: 2.0 there, not set here",
            "--sparsity: not set there, 0.9 here",
        ],
    ),
    "a_bound": (rule("maxnorm", {"max_value": 1.0}), ["--max_value: 2.0 there, 1.0 here"]),
    "variables": (
        rule("maxnorm", {"max_value": 2.0}, ("hidden_*", "output/kernel")),
        ["--variables: not set there, hidden_*,output/kernel here"],
    ),
    "a_rate": (rule("maxnorm", {"max_value": 2.0}, relaxation=0.5), ["--relaxation: 1.0 there, 0.5 here"]),
    "project_every": (
        rule("maxnorm", {"max_value": 2.0}, project_every=4),
        ["--project_every: 1 there, 4 here"],
    ),
    "a_schedule": (
        rule("maxnorm", {"max_value": COSINE}),
        [
            "--schedule: not set there, cosine here",
            "--initial_value: not set there, 8.0 here",
            "--schedule_begin: not set there, 0 here",
            "--schedule_end: not set there, 80% here",
            "--max_value: 2.0 there, 1.0 here",
        ],
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_another_command_is_refused_flag_by_flag(run_of_earlier, name):
    settings, lines = DIFFERENCES[name]
    before = processes.listing(run_of_earlier)
    with pytest.raises(ValueError, match="holds a run with other settings") as caught:
        directory(run_of_earlier, **settings).check()
    message = str(caught.value)
    assert sorted(line.strip() for line in message.splitlines() if line.startswith("  --")) == sorted(lines)
    assert "--overwrite" in message
    assert str(run_of_earlier) in message
    with pytest.raises(ValueError, match="other settings"):
        directory(run_of_earlier, **settings).open("--x\n", {})
    after = processes.listing(run_of_earlier)
    assert {name for name in before if after[name] != before[name]} <= {".lock"}
    assert after.keys() == before.keys()


def test_schedules_that_differ_are_told_apart_option_by_option(tmp_path):
    begin(tmp_path / "run", **rule("maxnorm", {"max_value": COSINE}))
    later = {"schedule": "cosine", "initial": 4.0, "final": 1.0, "begin": "1ep", "end": "80%"}
    with pytest.raises(ValueError, match="other settings") as caught:
        directory(tmp_path / "run", **rule("maxnorm", {"max_value": later})).check()
    assert "--initial_value: 8.0 there, 4.0 here" in str(caught.value)
    assert "--schedule_begin: 0 there, 1ep here" in str(caught.value)
    assert "--schedule_end" not in str(caught.value)


def test_several_rules_are_told_apart_by_their_number(tmp_path):
    first = rule_of("maxnorm", {"max_value": 2.0}, ("hidden_1/kernel",))
    second = rule_of("nonneg", {}, ("output/kernel",))
    begin(tmp_path / "run", rules=(first, second))
    assert directory(tmp_path / "run", rules=(first, second)).check() is True
    other = rule_of("nonneg", {}, ("output/kernel",), relaxation=0.5)
    with pytest.raises(ValueError, match=r"\n  rule 2: relaxation: 1.0 there, 0.5 here") as caught:
        directory(tmp_path / "run", rules=(first, other)).check()
    assert "rule 1" not in str(caught.value)


def test_two_fields_of_one_rule_may_each_have_a_schedule(tmp_path):
    def both(initial):
        low = {"schedule": "linear", "initial": initial, "final": -1.0}
        high = {"schedule": "linear", "initial": 2.0, "final": 1.0}
        return rule("box", {"max_value": high, "min_value": low})

    begin(tmp_path / "run", **both(-2.0))
    assert directory(tmp_path / "run", **both(-2.0)).check() is True
    with pytest.raises(ValueError, match="other settings") as caught:
        directory(tmp_path / "run", **both(-3.0)).check()
    assert "-2.0 there, -3.0 here" in str(caught.value)
    begin(tmp_path / "swapped", **both(-2.0))
    swapped = {
        "max_value": {"schedule": "linear", "initial": 3.0, "final": 1.0},
        "min_value": {"schedule": "linear", "initial": -2.0, "final": -1.0},
    }
    with pytest.raises(ValueError, match=r"2.0 there, 3.0 here"):
        directory(tmp_path / "swapped", **rule("box", swapped)).check()


FOREIGN = {
    "a_file": ["thesis.tex"],
    "a_folder": ["chapters/"],
    "hidden": [".git/"],
    "beside_a_run": ["run.json", "flags.txt", "notes.md"],
    # A data set often looks like this.
    "folders_called_train_and_eval": ["train/", "eval/"],
    "a_folder_called_checkpoints": ["checkpoints/"],
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_run_wrote_is_never_touched(tmp_path, name, overwrite):
    path = tmp_path / "mine"
    path.mkdir()
    for entry in FOREIGN[name]:
        if entry.endswith("/"):
            (path / entry).mkdir()
            (path / entry / "precious.txt").write_text("mine")
        else:
            (path / entry).write_text("mine")
    before = processes.listing(path)
    for act in (lambda run: run.check(), lambda run: run.open("", {})):
        with pytest.raises(ValueError, match=r"--run_dir=|is missing"):
            act(directory(path, overwrite=overwrite))
        assert processes.listing(path) == before


def test_a_file_in_place_of_the_directory(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "below", file / "far" / "below"):
        for act in (lambda run: run.check(), lambda run: run.open("", {})):
            with pytest.raises(ValueError, match=r"is a file") as caught:
                act(directory(path, overwrite=True))
            assert str(path) in str(caught.value)
    assert file.read_text() == "mine"


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    # Root may write everywhere, so the system's answer is put in place of a read-only disk.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match=r"cannot be written: .* is read-only"):
        directory(tmp_path / "run").check()


def test_a_disk_that_fills_up_while_the_directory_is_taken(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory.os, "fsync", full)
    run = directory(tmp_path / "run")
    with pytest.raises(ValueError, match="cannot be written: No space left on device"):
        run.open("", {})
    monkeypatch.undo()
    again = directory(tmp_path / "run")
    assert again.check() is False
    assert again.open("--seed=0\n", {}) is False
    again.close()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"settings": 5}', "\x00\x01"])
def test_a_damaged_record(run_of_earlier, content):
    (run_of_earlier / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is damaged.*--overwrite"):
        directory(run_of_earlier).check()
    assert directory(run_of_earlier, overwrite=True).check() is False


@pytest.mark.parametrize("settings", [{}, {"rules": 5, "model_options": {}}, {"rules": [1], "model_options": {}}])
def test_a_record_of_another_version(run_of_earlier, settings):
    (run_of_earlier / "run.json").write_text(json.dumps({"settings": settings}))
    with pytest.raises(ValueError, match="not readable by this version"):
        directory(run_of_earlier).check()


def test_a_record_that_is_a_folder_or_not_text(run_of_earlier):
    (run_of_earlier / "run.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is damaged"):
        directory(run_of_earlier).check()
    (run_of_earlier / "run.json").unlink()
    (run_of_earlier / "run.json").mkdir()
    with pytest.raises(ValueError, match=r"run.json"):
        directory(run_of_earlier).check()


def test_a_missing_record_beside_checkpoints_is_no_fresh_start(run_of_earlier):
    (run_of_earlier / "run.json").unlink()
    with pytest.raises(ValueError, match=r"run.json is missing.*--overwrite"):
        directory(run_of_earlier).check()
    assert directory(run_of_earlier, overwrite=True).check() is False


def test_a_start_that_was_cut_short_begins_again(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    for name in (".lock", "flags.txt", "run.json.new"):
        (path / name).write_text("")
    run = directory(path)
    assert run.check() is False
    assert run.open("--seed=0\n", {}) is False
    run.close()
    assert sorted(os.listdir(path)) == [".lock", "flags.txt", "run.json"]


def test_overwriting_deletes_when_the_directory_is_opened_and_not_before(run_of_earlier):
    before = processes.listing(run_of_earlier)
    run = directory(run_of_earlier, overwrite=True, seed=5)
    assert run.check() is False
    assert processes.listing(run_of_earlier) == before
    assert run.open("--seed=5\n", {}) is False
    run.close()
    assert sorted(os.listdir(run_of_earlier)) == [".lock", "flags.txt", "run.json"]
    assert json.loads((run_of_earlier / "run.json").read_text())["settings"]["seed"] == 5
    # Without --overwrite the new run is continued, not deleted again.
    assert directory(run_of_earlier, seed=5).check() is True


def test_nobody_else_trains_here_at_the_same_time(run_of_earlier):
    code = (
        "import sys; from trainer.storage.run_directory import RunDirectory\n"
        f"run = RunDirectory({str(run_of_earlier / 'new')!r}, {Config().identity()!r})\n"
        "run.open('', {}); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=processes.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        mine = directory_of(Config(run_dir=str(run_of_earlier / "new")))
        with pytest.raises(ValueError, match=f"is being trained in by .*process {other.pid};"):
            mine.open("", {})
        with pytest.raises(ValueError, match="is being trained in"):
            directory_of(Config(run_dir=str(run_of_earlier / "new"), overwrite=True)).open("", {})
        other.kill()
    # The lock dies with its process.
    assert mine.open("", {}) is True
    mine.close()


def test_a_refusal_gives_the_lock_back(run_of_earlier, monkeypatch):
    refused = directory(run_of_earlier)
    answers = [None, ValueError("changed by another process")]

    def check():
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr(refused, "check", check)
    with pytest.raises(ValueError, match="changed by another process"):
        refused.open("", {})
    run = directory(run_of_earlier)
    assert run.open("", {}) is True
    run.close()
    run.close()


STRANGE = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize(
    "name", [".lock", "run.json", "flags.txt", "certificate.json", "saved.json", "train/events.out.tfevents.1"]
)
def test_something_else_in_place_of_a_file_is_refused_and_not_waited_for(run_of_earlier, name, kind):
    (run_of_earlier / name).unlink(missing_ok=True)
    STRANGE[kind](run_of_earlier / name)
    for act in (lambda run: run.check(), lambda run: run.open("", {})):
        with pytest.raises(ValueError, match=f"--run_dir=.*{name} is (not a file|a symbolic link).*--overwrite"):
            act(directory(run_of_earlier))


@pytest.mark.parametrize("kind", ["a pipe", "a file"])
@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/best", "train", "eval"])
def test_something_else_in_place_of_a_folder_is_refused(run_of_earlier, name, kind):
    path = run_of_earlier / name
    if path.exists():
        shutil.rmtree(path)
    os.mkfifo(path) if kind == "a pipe" else path.write_text("no folder")
    with pytest.raises(ValueError, match=f"--run_dir=.*{name} is not a folder.*--overwrite"):
        directory(run_of_earlier).check()
    again = directory(run_of_earlier, overwrite=True)
    assert again.open("", {}) is False
    again.close()


NESTED = "[" * 100_000 + "]" * 100_000
HALF = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    "content",
    [NESTED, f'{{"settings": {NESTED}}}', '{"settings": {"seed": ' + "9" * 5000 + "}}", " " * 20_000_000],
    ids=["nested", "nested settings", "digits", "large"],
)
def test_a_record_that_json_does_not_take(run_of_earlier, content):
    (run_of_earlier / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is damaged.*--overwrite"):
        directory(run_of_earlier).check()


@pytest.mark.parametrize("value", [HALF, '["x"]', '{"a": {}}', "5", "null", '"text"', "[[1, 2, 3]]"])
@pytest.mark.parametrize("name", ["rules", "model_options", "seed"])
def test_settings_of_any_type_are_other_settings(run_of_earlier, name, value):
    settings = {**config(run_of_earlier).identity(), name: "HERE"}
    text = json.dumps({"settings": settings}).replace('"HERE"', value)
    (run_of_earlier / "run.json").write_text(text)
    with pytest.raises(ValueError, match="other settings"):
        directory(run_of_earlier).check()


@pytest.mark.parametrize("number", ["ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK"])
def test_where_the_file_system_has_no_locks_runs_begin_and_go_on(tmp_path, monkeypatch, number):
    def none(*args):
        raise OSError(getattr(errno, number), "no locks here")

    monkeypatch.setattr(run_directory.fcntl, "flock", none)
    for resumed in (False, True):
        run = directory(tmp_path / "run")
        assert run.check() is resumed
        assert run.exclusive
        assert run.open("", {}) is resumed
        assert not run.exclusive
        run.check_held()
        run.close()


def test_another_failure_of_the_lock_is_no_lack_of_locks(tmp_path, monkeypatch):
    def fails(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run_directory.fcntl, "flock", fails)
    with pytest.raises(ValueError, match="cannot be written: Input/output error"):
        directory(tmp_path / "run").open("", {})


@pytest.mark.parametrize("name", ["a\nb", "a\n--overwrite", "a\rb", "a ", "a\t", "a\udcff"])
def test_a_name_that_cannot_be_given_again_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(ValueError, match=r"--run_dir=.*(cannot be used: .*; choose another name|; write it without)"):
        directory(tmp_path / name).check()
    assert os.listdir(tmp_path) == []


def test_a_note_of_what_was_saved(tmp_path):
    run = directory(tmp_path / "run")
    run.open("", {})
    assert run.saved() is None
    for step in (0, 40):
        run.note_saved(step)
        assert run.saved() == step
    for damaged in ("", "[]", "{}", '{"step": "40"}', NESTED):
        (run.path / "saved.json").write_text(damaged)
        assert run.saved() is None
    run.close()
