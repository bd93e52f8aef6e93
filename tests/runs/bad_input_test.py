"""A user's mistake ends in one message: no traceback, nothing created, an existing run untouched."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.support import any_data, bad_files, processes
from tests.support.suites import fast
from trainer.data import dataset

# Flags of the mistake, and words the message must hold: the value or flag, and the way out.
MISTAKES = {
    "constraint": (["--constraint=maxnrm"], ["--constraint=maxnrm", "maxnorm", "nonneg"]),
    "no_such_flag": (["--max_vale=2"], ["max_vale", "max_value"]),
    "pattern": (["--constraint=maxnorm", "--variables=nowhere*"], ["nowhere*", "hidden_1/kernel"]),
    "foreign_flag": (["--constraint=maxnorm", "--sparsity=0.5"], ["--sparsity", "maxnorm", "--max_value", "topk"]),
    "inf": (["--constraint=maxnorm", "--max_value=inf"], ["max_value", "inf", "finite"]),
    "begin_after_end": (
        [
            "--constraint=maxnorm",
            "--schedule=linear",
            "--initial_value=4",
            "--schedule_begin=50%",
            "--schedule_end=10%",
        ],
        ["--schedule_begin=50%", "end=10%"],
    ),
    "batch_too_large": (["--batch_size=100000"], ["--batch_size=100000", "1295"]),
    "batch_and_replicas": (["--batch_size=33", "--num_replicas=2"], ["33", "2 replicas", "32"]),
    "labels_outside": (["--num_classes=5"], ["label", "outside the classes 0..4"]),
    "split": (["--eval_split=validation"], ["validation", "train", "test"]),
    "convnet_on_table": (["--model=convnet", "--dataset=breast_cancer"], ["convnet", "(30,)"]),
    "rules_missing": (["--rules=nowhere.toml"], ["nowhere.toml"]),
    "sets_that_do_not_meet": (
        ["--constraint=box,maxnorm", "--min_value=0.5", "--max_value=1"],
        ["hidden_1/kernel", "box", "maxnorm", "no point in common", "min_value=0.5"],
    ),
    "wider_than_tall": (["--constraint=orthogonal"], ["hidden_1/kernel", "(64, 300)", "orthonormal"]),
    "block_that_does_not_divide": (["--constraint=block", "--block=5,4"], ["hidden_1/kernel", "5", "64"]),
}
# As real, but more of the same kinds.
MORE_MISTAKES = {
    "model": (["--model=mpl"], ["--model=mpl", "mlp", "convnet"]),
    "dataset": (["--dataset=digit"], ["digit", "digits"]),
    "foreign_model_option": (["--model=logistic", "--hidden_units=5"], ["--hidden_units", "logistic", "mlp"]),
    "schedule_of_nothing": (["--constraint=nonneg", "--schedule=linear"], ["nonneg", "--schedule"]),
    "no_initial_value": (["--constraint=maxnorm", "--schedule=linear", "--max_value=1"], ["--initial_value"]),
    "nan": (["--constraint=maxnorm", "--max_value=nan"], ["max_value", "nan", "finite"]),
    "negative": (["--constraint=maxnorm", "--max_value=-1"], ["max_value", "-1", "above 0"]),
    "zero": (["--constraint=maxnorm", "--max_value=0"], ["max_value", "0"]),
    "sparsity_one": (["--constraint=topk", "--sparsity=1"], ["sparsity", "1", "below 1"]),
    "min_above_max": (["--constraint=box", "--min_value=1", "--max_value=0.5"], ["min_value", "max_value"]),
    "learning_rate": (["--learning_rate=0"], ["--learning_rate", "above 0"]),
    "batch_size": (["--batch_size=0"], ["--batch_size", "at least 1"]),
    "epochs_and_steps": (["--epochs=1", "--train_steps=5"], ["--epochs", "--train_steps"]),
    "steps_huge": ([f"--train_steps={10**20}"], ["train_steps", "at most"]),
    "resume_nothing": (["--resume=must"], ["--resume=must", "no run"]),
    "dataset_path": (["--dataset=../digits"], ["../digits"]),
    "optimizer": (["--optimizer=sdg"], ["--optimizer=sdg", "sgd"]),
    "schedule": (["--constraint=maxnorm", "--schedule=cosin"], ["--schedule=cosin", "cosine"]),
    "percent": (["--constraint=topk", "--sparsity=90%"], ["--sparsity=90%", "write 0.9"]),
    "comma": (["--constraint=maxnorm", "--max_value=2,5"], ["--max_value=2,5", "write 2.5"]),
    "no_constraint": (["--constraint="], ["--constraint is empty", "maxnorm"]),
    "bucket": (["--run_dir=gs://bucket/run"], ["--run_dir=gs://bucket/run", "an address"]),
    "control_character": (["--run_dir=a\n--overwrite"], ["--run_dir='a\\n--overwrite'", "control character"]),
    "own_file": (["--dataset=my.csv"], ["my.csv", "no file or folder", "check the path"]),
    "long_pattern": (["--constraint=mask", f"--mask_from={'n' * 300}"], ["mask_from=nnn", "File name too long"]),
    "stray_word": (["maxnorm"], ["maxnorm", "--name=value"]),
    "value_without_constraint": (["--max_value=2"], ["--max_value", "none", "maxnorm"]),
    "begin_without_schedule": (["--constraint=maxnorm", "--schedule_begin=5"], ["--schedule_begin", "--schedule"]),
    "not_a_number": (["--constraint=maxnorm", "--max_value=two"], ["max_value", "two"]),
    "sparsity_negative": (["--constraint=topk", "--sparsity=-0.1"], ["sparsity", "-0.1"]),
    "end_past_the_run": (
        ["--constraint=maxnorm", "--schedule=linear", "--initial_value=4", "--schedule_end=5000", "--train_steps=100"],
        ["--schedule_end=5000", "100 steps"],
    ),
    "end_nonsense": (
        ["--constraint=maxnorm", "--schedule=linear", "--initial_value=4", "--schedule_end=soon"],
        ["--schedule_end=soon", "10%"],
    ),
    "learning_rate_nan": (["--learning_rate=nan"], ["--learning_rate", "nan"]),
    "epochs": (["--epochs=-1"], ["--epochs", "at least 1"]),
    "l1": (["--l1=-0.1"], ["--l1", "at least 0"]),
    "clip_norm": (["--clip_norm=0"], ["--clip_norm", "above 0"]),
    "momentum": (["--optimizer=sgd", "--momentum=1"], ["--momentum", "below 1"]),
    "foreign_decay": (["--optimizer=sgd", "--weight_decay=0.1"], ["--weight_decay", "adamw"]),
    "dropout": (["--dropout=1"], ["dropout", "[0, 1)"]),
    "hidden_units": (["--hidden_units=300,-1"], ["hidden_units", "-1"]),
    "hidden_words": (["--hidden_units=many"], ["hidden_units", "many"]),
    "rate": (["--constraint=maxnorm", "--relaxation=0"], ["--relaxation=0", "above 0"]),
    "project_every": (["--constraint=maxnorm", "--project_every=0"], ["project_every", "at least 1"]),
    "summary_every": (["--summary_every=0"], ["--summary_every=0", "at least 1"]),
    "seed": (["--seed=-1"], ["--seed", "at least 0"]),
    "resume": (["--resume=perhaps"], ["--resume=perhaps", "auto"]),
    "replicas": (["--num_replicas=0"], ["--num_replicas", "at least 1"]),
    "shape_of_real_data": (["--input_shape=8,8,1"], ["input_shape", "synthetic"]),
    "empty": (["--dataset="], ["--dataset"]),
    "group": (["--constraint=maxnorm", "--group=units"], ["group=units", "unit", "tensor", "network"]),
    "group_of_another_layer": (["--constraint=maxnorm", "--group=head"], ["group=head", "hidden_1/kernel", "heads"]),
    "group_of_another_set": (["--constraint=spectral", "--group=network"], ["group=network", "spectral", "tensor"]),
    "axis": (["--constraint=maxnorm", "--group=0,2"], ["group=0,2", "axis 2", "hidden_1/kernel"]),
    "no_bias_of_a_tensor": (["--constraint=maxnorm", "--with_bias", "--group=tensor"], ["with_bias", "group=tensor"]),
    "set_twice": (["--constraint=maxnorm,maxnorm"], ["maxnorm", "twice"]),
    "set_unknown": (["--constraint=nonneg,maxnrm"], ["maxnrm", "did you mean maxnorm"]),
    "sets_without_a_point": (["--constraint=nonneg,orthogonal"], ["nonneg", "orthogonal", "not all are convex"]),
    "set_and_penalty": (["--constraint=nonneg,softthreshold"], ["softthreshold", "penalty"]),
    "spread_of_no_sparsity": (
        ["--constraint=maxnorm", "--sparsity_distribution=erk"],
        ["sparsity_distribution=erk", "maxnorm", "no sparsity"],
    ),
    "spread_of_a_network": (
        ["--constraint=topk", "--sparsity_distribution=erk", "--group=network"],
        ["sparsity_distribution=erk", "group=network"],
    ),
    "spread": (["--constraint=topk", "--sparsity_distribution=even"], ["sparsity_distribution=even", "erk", "uniform"]),
    "layer_type": (["--constraint=maxnorm", "--layer_type=LSTM"], ["--layer_type=LSTM", "Dense"]),
    "optimizer_state": (["--constraint=topk", "--optimizer_state=drop"], ["optimizer_state=drop", "tangent"]),
    "no_momentum": (
        ["--constraint=topk", "--optimizer_state=mask", "--optimizer=sgd", "--momentum=0"],
        ["optimizer_state=mask", "momentum"],
    ),
    "pattern_of_another_set": (["--constraint=topk", "--mask_from=x"], ["mask_from=x", "mask"]),
    "pattern_from_nowhere": (["--constraint=mask", "--mask_from=nowhere"], ["mask_from=nowhere", "checkpoint"]),
    "block_of_one_number": (["--constraint=block", "--block=4"], ["block", "2 whole numbers", "4,4"]),
    "block_of_words": (["--constraint=block", "--block=a,b"], ["--block=a,b", "whole numbers"]),
    "more_than_the_window": (["--constraint=nm", "--n=5", "--m=4"], ["n=5", "m=4"]),
    "half_a_rank": (["--constraint=lowrank", "--rank=1.5"], ["rank=1.5", "whole number"]),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Prepared before, so that nothing may appear."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("digits", "breast_cancer"):
        dataset.load(name, data_dir=folder)
    return folder


def check(train, mistake, data_dir, folder):
    """One message, no traceback, no run, no file."""
    flags, words = mistake
    before = processes.listing(data_dir)
    result = train(f"--data_dir={data_dir}", *flags, cwd=folder)
    assert result.returncode == 2, result.stdout
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stdout + result.stderr
    for word in words:
        assert word in result.stderr
    assert "step" not in result.stdout
    assert processes.listing(folder) == {}
    assert processes.listing(data_dir) == before


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_message_and_leaves_nothing(server, data_dir, tmp_path, name):
    check(server.train, MISTAKES[name], data_dir, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_MISTAKES)
def test_and_so_do_others_of_its_kind(server, data_dir, tmp_path, name):
    check(server.train, MORE_MISTAKES[name], data_dir, tmp_path)


# What ends before TensorFlow is imported, and what ends after it, as a user starts it.
@pytest.mark.parametrize("name", fast(["no_such_flag", "pattern"], "no_such_flag"))
def test_the_program_as_it_is_started_says_it_too(data_dir, tmp_path, name):
    check(processes.train, MISTAKES[name], data_dir, tmp_path)


@pytest.mark.parametrize("name", fast(bad_files.CASES, *bad_files.FAST))
def test_a_file_that_cannot_be_trained_on_is_refused(server, tmp_path, name):
    make, flags, words = bad_files.CASES[name]
    given, folder = tmp_path / "given", tmp_path / "here"
    given.mkdir()
    folder.mkdir()
    path = make(given)
    before = processes.listing(given)
    result = server.train(f"--dataset={path}", *flags, cwd=folder)
    assert result.returncode == 2, result.stdout
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    for word in words:
        assert word in result.stderr
    assert "step" not in result.stdout
    assert processes.listing(folder) == {}
    assert processes.listing(given) == before


def test_a_file_that_changes_between_two_starts_is_refused(server, tmp_path):
    path = any_data.archive(tmp_path)
    flags = [f"--dataset={path}", "--run_dir=run", "--train_steps=4", "--hidden_units=3"]
    server.succeed(*flags, cwd=tmp_path)
    any_data.archive(tmp_path, y_train=2 - np.arange(90) % 3)
    before = processes.listing(tmp_path)
    result = server.train(*flags, cwd=tmp_path)
    assert result.returncode == 2
    assert "read another content of" in result.stderr
    assert "numbers.npz, which has changed since" in result.stderr
    assert processes.listing(tmp_path) == before
    any_data.archive(tmp_path)
    assert "continues at step 4 of 4" in server.succeed(*flags, cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_class_with_one_example_and_damaged_images_are_warnings(server, tmp_path):
    labels = np.array([*(np.arange(89) % 3), 3])
    flags = ["--train_steps=4", "--run_dir=run", "--overwrite"]
    alone = server.succeed(f"--dataset={any_data.archive(tmp_path, y_train=labels)}", *flags, cwd=tmp_path)
    assert "warning: class 3 has a single example, which stays in training" in alone.stdout
    images = [f"--dataset={bad_files.damaged_image(tmp_path)}", "--skip_damaged", *flags]
    assert "warning: 1 image of" in server.succeed(*images, cwd=tmp_path).stdout


def test_a_run_directory_that_cannot_be_one(server, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("mine")
    before = processes.listing(tmp_path)
    for run_dir, words in [
        (file, "is a file"),
        (file / "below", "is a file"),
        (foreign, "chapter.txt"),
        (pathlib.Path("/proc/nowhere/run"), "cannot be written"),
    ]:
        result = server.train(f"--run_dir={run_dir}", "--overwrite", "--train_steps=1", cwd=tmp_path)
        assert result.returncode == 2
        assert words in result.stderr
        assert str(run_dir) in result.stderr
        assert "Traceback" not in result.stderr
    assert processes.listing(tmp_path) == before


def test_an_existing_run_given_alone_is_told_how_it_goes_on(server, tmp_path):
    flags = ["--train_steps=3", "--dataset=synthetic", "--num_examples=64", "--input_shape=3"]
    server.succeed("--run_dir=a run", *flags, "--constraint=maxnorm", "--hidden_units=2", "--seed=3", cwd=tmp_path)
    alone = server.train("--run_dir=a run", cwd=tmp_path)
    assert alone.returncode == 2
    assert "not set there, not set here" not in alone.stderr
    differences = [line for line in alone.stderr.splitlines() if line.startswith("  ")]
    assert len(differences) <= 11
    assert "  --seed: 3 there, 0 here" in differences or differences[-1].startswith("  and ")
    assert "--flagfile='a run/flags.txt'" in alone.stderr
    server.succeed("--flagfile=a run/flags.txt", cwd=tmp_path)


def test_nothing_is_prepared_for_a_command_that_trains_nothing(server, tmp_path):
    for flags, code in ((["--dry_run"], 0), (["--constraint=maxnorm", "--variables=nowhere"], 2)):
        assert server.train(f"--data_dir={tmp_path}/data", *flags, cwd=tmp_path).returncode == code
        assert processes.listing(tmp_path) == {}
    server.succeed("--data_dir=data", "--train_steps=1", "--run_dir=run", "--hidden_units=2", cwd=tmp_path)
    assert (tmp_path / "data" / "digits").is_dir()


def test_an_existing_run_is_untouched_by_another_command(server, tmp_path):
    flags = ["--run_dir=run", "--train_steps=20", "--hidden_units=8", "--constraint=maxnorm"]
    server.succeed(*flags, cwd=tmp_path)
    before = processes.listing(tmp_path)
    other = server.train(*flags, "--max_value=1", "--seed=3", cwd=tmp_path)
    assert other.returncode == 2
    assert "--max_value: 2.0 there, 1.0 here" in other.stderr
    assert "--seed: 0 there, 3 here" in other.stderr
    assert "learning_rate" not in other.stderr
    never = server.train(*flags, "--resume=never", cwd=tmp_path)
    assert never.returncode == 2
    broken = server.train(*flags, "--max_value=nan", "--overwrite", cwd=tmp_path)
    assert broken.returncode == 2
    assert processes.listing(tmp_path) == before


def test_data_that_is_neither_prepared_nor_reachable_ends_soon_with_the_command_that_prepares_it(tmp_path):
    assert "mnist" in tfds.list_builders(with_community_datasets=False)
    result = processes.train("--dataset=mnist", f"--data_dir={tmp_path}", cwd=tmp_path, timeout=120)
    assert result.returncode == 2
    assert f"-m trainer.data mnist --data_dir={tmp_path}" in result.stderr
    assert "Traceback" not in result.stderr
    assert processes.listing(tmp_path) == {}
