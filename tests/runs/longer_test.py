"""A run whose length is raised goes on from its end, and is to the bit the longer run from the start."""

from __future__ import annotations

import json

import pytest

from tests.support import processes, sabotage, tensorboard_data, tiny_experiment
from tests.support.rules import rule_of
from tests.trainer.training.experiment_test import At, config, read, trained, weights
from trainer.settings.rule import Rule

BOUND = rule_of("maxnorm", {"max_value": 0.5})


def ramp(end: str) -> Rule:
    return rule_of("topk", {"sparsity": {"schedule": "linear", "initial": 0.0, "final": 0.5, "end": end}})


def longer(tmp_path, *rules: Rule, stop: int | None = None, capsys=None, earlier=None, **settings) -> str:
    """Trains a run, makes it longer, and holds it against the whole longer run; returns what was said on the way."""
    first, last = 20, 40
    before = {**settings, **(earlier or {})}
    trained(config(tmp_path / "run", *before.pop("rules", rules), train_steps=first, **before), stop and At(stop))
    if capsys:
        capsys.readouterr()
    built, certificate = trained(config(tmp_path / "run", *rules, train_steps=last, **settings))
    said = capsys.readouterr().out if capsys else ""
    whole, expected = trained(config(tmp_path / "whole", *rules, train_steps=last, **settings))
    assert tiny_experiment.same_bits(weights(built), weights(whole))
    assert certificate == expected == read(tmp_path / "run")
    assert certificate["step"] == last
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["total_steps"], record["settings"]["train_steps"]) == (last, last)
    return said


def test_a_finished_run_goes_on_from_its_end(tmp_path, capsys):
    said = longer(tmp_path, BOUND, capsys=capsys)
    assert "goes on past step 20\n" in said
    assert "continues at step 20 of 40" in said
    assert "warning" not in said
    # TensorBoard shows each value once, and the test split at the new end alone.
    one, whole = (tensorboard_data.scalars(tmp_path / name) for name in ("run", "whole"))
    assert {tag: [step for step, _ in points] for tag, points in one.items()} == {
        tag: [step for step, _ in points] for tag, points in whole.items()
    }
    # The same command continues the longer run; a shorter one is refused as before.
    again, _ = trained(config(tmp_path / "run", BOUND, train_steps=40))
    assert int(again.optimizer.iterations.numpy()) == 40
    before = processes.listing(tmp_path)
    with pytest.raises(ValueError, match=r"other settings:\n  --train_steps: 40 there, 20 here"):
        trained(config(tmp_path / "run", BOUND, train_steps=20))
    assert processes.listing(tmp_path) == before


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path, capsys):
    assert "continues at step 15 of 40" in longer(tmp_path, BOUND, stop=15, capsys=capsys)


def test_a_ramp_that_ends_with_the_run_is_refused_in_a_sentence(tmp_path):
    trained(config(tmp_path / "run", ramp("100%"), train_steps=20))
    before = {name: file for name, file in processes.listing(tmp_path).items() if not name.endswith(".lock")}
    with pytest.raises(
        ValueError, match=r"sparsity of rule 1 \(topk\) on output/kernel differs .* at step 1, "
    ) as caught:
        trained(config(tmp_path / "run", ramp("100%"), train_steps=40))
    assert "write places of the rules as steps or epochs (500, 3ep) instead of shares" in str(caught.value)
    after = {name: file for name, file in processes.listing(tmp_path).items() if not name.endswith(".lock")}
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (ramp("15"), {}),
        (ramp("3ep"), {"model": "mlp", "optimizer": "adam"}),
        (BOUND, {"num_replicas": 2}),
        (BOUND, {"jit": "on"}),
        (rule_of("maxnorm", {"max_value": 0.5}, project_every=4), {}),
        (BOUND, {"warmup": "7"}),
        (BOUND, {"model": "lstm", "input_shape": (8, 8, 1)}),
    ],
)
def test_what_knows_nothing_of_the_length_goes_on_to_the_bit(tmp_path, capsys, rule, settings):
    assert "continues at step 20 of 40" in longer(tmp_path, rule, capsys=capsys, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "settings", "step"),
    [
        # A step that only the end of the shorter run projects, or projects fully.
        (rule_of("maxnorm", {"max_value": 0.5}, project_every=3), {}, 15),
        (rule_of("maxnorm", {"max_value": 0.5}, relaxation=0.5), {}, 15),
        # A ramp that begins late.
        (rule_of("maxnorm", {"max_value": 0.5}, begin="60%"), {}, 10),
        # Evaluations, which decide when to stop.
        (BOUND, {"early_stopping": 100, "eval_every": "11"}, 15),
    ],
)
def test_what_the_end_made_otherwise_is_made_again(tmp_path, capsys, rule, settings, step):
    said = longer(tmp_path, rule, capsys=capsys, **settings)
    assert f"the steps since step {step} are made again" in said
    assert f"continues at step {step} of 40" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("earlier", "rule", "settings"),
    [
        ({"rules": [ramp("100%")]}, ramp("20"), {}),
        (
            {"rules": [rule_of("maxnorm", {"max_value": 0.5}, begin="50%")]},
            rule_of("maxnorm", {"max_value": 0.5}, begin=10),
            {},
        ),
        ({"warmup": "25%"}, BOUND, {"warmup": "1ep"}),
    ],
)
def test_places_that_are_written_in_another_unit_go_on(tmp_path, capsys, earlier, rule, settings):
    assert "continues at step 20 of 40" in longer(tmp_path, rule, capsys=capsys, earlier=earlier, **settings)


@pytest.mark.slow
def test_a_learning_rate_that_ends_with_the_run_is_refused(tmp_path):
    settings = {"learning_rate_schedule": "cosine"}
    trained(config(tmp_path / "run", train_steps=20, **settings))
    with pytest.raises(ValueError, match=r"the learning rate differs from that in one of 20 at step 2, "):
        trained(config(tmp_path / "run", train_steps=40, **settings))


@pytest.mark.slow
def test_a_longer_run_that_is_killed_goes_on_and_is_made_longer_again(tmp_path):
    for steps, stop in ((20, None), (40, 30), (40, 35), (60, None)):
        built, _ = trained(config(tmp_path / "run", BOUND, train_steps=steps), None if stop is None else At(stop))
    whole, expected = trained(config(tmp_path / "whole", BOUND, train_steps=60))
    assert tiny_experiment.same_bits(weights(built), weights(whole))
    assert read(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_run_that_stopped_early_has_ended_whatever_its_length(tmp_path):
    settings = {"early_stopping": 1, "learning_rate": 5.0, "eval_every": "4", "checkpoint_every": "4"}
    built, first = trained(config(tmp_path / "run", BOUND, train_steps=60, **settings))
    again, second = trained(config(tmp_path / "run", BOUND, train_steps=80, **settings))
    assert first == second
    assert first["step"] < 60
    assert tiny_experiment.same_bits(weights(built), weights(again))


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    flags = ["--dataset=synthetic", "--input_shape=6", "--num_examples=60", "--batch_size=8", "--constraint=maxnorm"]
    processes.succeed(*flags, "--epochs=2", "--run_dir=run", cwd=tmp_path)
    said = processes.succeed("--flagfile=run/flags.txt", "--epochs=3", cwd=tmp_path).stdout
    assert "goes on past step 12\n" in said
    assert "--epochs=3\n" in (tmp_path / "run" / "flags.txt").read_text()
    processes.succeed(*flags, "--epochs=3", "--run_dir=whole", cwd=tmp_path)
    assert processes.certificate(tmp_path / "run") == processes.certificate(tmp_path / "whole")
    assert "continues at step 18 of 18" in processes.succeed("--flagfile=run/flags.txt", cwd=tmp_path).stdout
    refused = processes.train("--flagfile=run/flags.txt", "--epochs=2", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--epochs: 3 there, 2 here" in refused.stderr


@pytest.mark.slow
def test_a_kill_while_a_run_is_made_longer_loses_nothing(tmp_path):
    flags = ["--dataset=synthetic", "--input_shape=6", "--num_examples=60", "--batch_size=8", "--constraint=maxnorm"]
    # The end of the shorter run projects, which the longer one does not: its last checkpoint is deleted.
    flags += ["--project_every=5", "--run_dir=run"]
    processes.succeed(*flags, "--epochs=2", cwd=tmp_path)
    for kill in (
        sabotage.point("os:rename", about="step-00000012"),
        sabotage.point("trainer.storage.run_directory:RunDirectory.lengthen"),
        sabotage.point("os:replace", about="run.json"),
        sabotage.point("trainer.storage.run_directory:RunDirectory.lengthen", when="after"),
        sabotage.point("trainer.storage.event_files:rewind"),
    ):
        assert sabotage.train([kill], *flags, "--epochs=3", cwd=tmp_path).returncode == -9
    said = processes.succeed(*flags, "--epochs=3", cwd=tmp_path).stdout
    assert "continues at step 11 of 18" in said
    processes.succeed(*flags[:-1], "--run_dir=whole", "--epochs=3", cwd=tmp_path)
    assert processes.certificate(tmp_path / "run") == processes.certificate(tmp_path / "whole")
    points = [tensorboard_data.scalars(tmp_path / name) for name in ("run", "whole")]
    assert points[0]["eval/loss"] == points[1]["eval/loss"]
