"""Whatever happens to files of a checkpoint, a run goes on from a good one and says so, or it does not go on."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from tests.runs import resume_test
from tests.support import damage, processes, tiny_experiment
from tests.support.saved import Run
from trainer.storage import checkpoint_folders, checkpoints

STEPS = (1, 2, 3)
ONE = damage.of_one("step-00000003", "step-00000002")
# Damage to two or three checkpoints at once, at so many seeds.
COMBINED = 60
WHOLE = 12
# Of damage of one kind at many places, the fast suite takes the first few.
FEW = 2


def shared_out(names):
    """All names; those that are more of the same are left to the slow suite."""
    return [pytest.param(name, marks=pytest.mark.slow if _number(name) >= FEW else ()) for name in names]


def _number(name) -> int:
    last = str(name).split("-")[-1]
    return int(last) if last.isdigit() else 0


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with the checkpoints of three steps, and its state at each."""
    folder = tmp_path_factory.mktemp("saved") / "run" / "checkpoints"
    folder.parent.mkdir()
    run, states = Run(folder), {}
    for step in STEPS:
        run.step()
        run.checkpoints.save()
        states[step] = run.state()
    return run, folder, states


@pytest.fixture
def copied(saved, tmp_path):
    run, folder, states = saved
    copy = shutil.copytree(folder, tmp_path / "run" / "checkpoints")
    run.step()  # What is restored must not be what happens to be there.
    run.said.clear()
    again = checkpoints.Checkpoints(copy, run.model, run.optimizer, run.progress, log=run.said.append)
    return run, again, copy, states


def passed_over(run) -> list[int]:
    assert all("is passed over: " in line for line in run.said)
    return [int(line.split()[1].removeprefix("step-")) for line in run.said]


def test_there_is_enough_of_it():
    assert len(ONE) + COMBINED >= 200


@pytest.mark.parametrize("name", shared_out(ONE))
def test_one_damaged_checkpoint(copied, name):
    run, again, folder, states = copied
    ONE[name](folder)
    assert again.restore() == 2
    assert tiny_experiment.same_bits(run.state(), states[2])
    assert passed_over(run) == [3]


@pytest.mark.parametrize("seed", shared_out(range(COMBINED)))
def test_several_damaged_checkpoints(copied, seed):
    run, again, folder, states = copied
    draw = random.Random(seed)
    broken = draw.sample(STEPS, draw.choice((2, 3)))
    for step in broken:
        ways = damage.of_one(f"step-{step:08d}", f"step-{step % 3 + 1:08d}")
        # Not a link or a copy of its neighbour, which may be gone or damaged itself.
        own = [name for name in sorted(ways) if "another" not in name and "outside" not in name]
        ways[draw.choice(own)](folder)
    before = sorted(folder.rglob("*"))
    good = max((step for step in STEPS if step not in broken), default=None)
    if good is None:
        with pytest.raises(ValueError, match="none of the checkpoints"):
            again.restore()
    else:
        assert again.restore() == good
        assert tiny_experiment.same_bits(run.state(), states[good])
    assert passed_over(run) == [step for step in (3, 2, 1) if good is None or step > good]
    assert sorted(folder.rglob("*")) == before


def test_what_lies_outside_is_not_read_written_or_deleted(copied, tmp_path):
    run, again, folder, _ = copied
    outside = tmp_path / "outside"
    shutil.copytree(folder / "step-00000003", outside / "step-00000003")
    before = processes.listing(outside)
    shutil.rmtree(folder / "step-00000003")
    for link in ("step-00000003", "step-00000009", "unfinished-00000004", "obsolete-step-00000001"):
        (folder / link).symlink_to(outside / "step-00000003")
    assert again.restore() == 2
    assert passed_over(run) == [9, 3]
    for _ in range(2):
        run.step()
        again.save()
    (folder / "unfinished-00000005").symlink_to(outside / "step-00000003")
    run.step()
    again.save()
    assert sorted(path.name for path in folder.iterdir()) == [f"step-0000000{step}" for step in (3, 4, 5)]
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    assert processes.listing(outside) == before


def test_another_spelling_of_a_step_is_no_checkpoint(copied):
    run, again, folder, _ = copied
    for name in ("step-000000003", "step-3", "step-٠٠٠٠٠٠٠٩", "step-00000003 ", "Step-00000009"):
        shutil.copytree(folder / "step-00000002", folder / name)
    assert again.steps() == [3, 2, 1]
    assert again.restore() == 3
    assert run.said == []


def test_good_checkpoints_are_not_deleted_for_the_sake_of_damaged_ones(copied):
    run, again, folder, _ = copied
    for step in (2, 3):
        (folder / f"step-{step:08d}" / "manifest.json").unlink()
        shutil.copytree(folder / f"step-{step:08d}", folder / f"step-{step + 70:08d}")
    assert again.restore() == 1
    # Saved at once, as a signal would: one good checkpoint more, none less.
    run.step()
    assert again.save().name == "step-00000002"
    assert again.steps() == [2, 1]
    assert again.restore() == 2


def test_the_checkpoint_of_another_run_is_passed_over(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mine, other = Run(tmp_path / "a", run="sha256:mine"), Run(tmp_path / "b", run="sha256:other")
    mine.step()
    mine.checkpoints.save()
    expected = mine.state()
    for _ in range(2):
        other.step()
        other.checkpoints.save()
    shutil.copytree(tmp_path / "b" / "step-00000002", tmp_path / "a" / "step-00000002")
    again = Run(tmp_path / "a", run="sha256:mine")
    assert again.checkpoints.restore() == 1
    assert tiny_experiment.same_bits(again.state(), expected)
    assert again.said == ["checkpoint step-00000002 is passed over: it is another run's"]
    # One that was saved before checkpoints named their run, or where it does not matter, is taken as it is.
    plain = Run(tmp_path / "a")
    assert plain.checkpoints.restore() == 2


def test_a_state_of_another_step_under_a_manifest_that_was_made_to_fit(copied):
    run, again, folder, states = copied
    manifest = folder / "step-00000003" / "manifest.json"
    for file in (folder / "step-00000001").glob("state.*"):
        shutil.copyfile(file, folder / "step-00000003" / file.name)
    content = json.loads((folder / "step-00000001" / "manifest.json").read_text())
    manifest.write_text(checkpoint_folders.serialised({**content, "step": 3}))
    assert again.restore() == 2
    assert tiny_experiment.same_bits(run.state(), states[2])
    assert run.said == ["checkpoint step-00000003 is passed over: it holds step 1"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"step": 3, "files": ' + "[" * 5000, "9" * 5000, '"' * 3])
def test_a_manifest_that_is_hard_to_parse(copied, content):
    run, again, folder, _ = copied
    (folder / "step-00000003" / "manifest.json").write_text(content)
    assert again.restore() == 2
    assert passed_over(run) == [3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of the program, whole, and the state it ended in."""
    folder = tmp_path_factory.mktemp("whole")
    processes.succeed(*resume_test.COMMON, *resume_test.MODELS["mlp"], cwd=folder)
    return folder, resume_test.state(folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", random.Random(3).sample(sorted(ONE), WHOLE))
def test_a_whole_run_goes_on_and_ends_as_it_would_have(whole, tmp_path, name):
    folder, expected = whole
    shutil.copytree(folder / "run", tmp_path / "run")
    damage.of_one("step-00000240", "step-00000200")[name](tmp_path / "run" / "checkpoints")
    result = processes.succeed(*resume_test.COMMON, *resume_test.MODELS["mlp"], cwd=tmp_path)
    assert "checkpoint step-00000240 is passed over" in result.stdout
    assert "continues at step 200" in result.stdout
    assert resume_test.state(tmp_path / "run") == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flip-state.index-1", "deleted-manifest.json", "emptied_folder"])
def test_a_whole_run_without_a_good_checkpoint_does_not_begin_again(whole, tmp_path, name):
    folder, _ = whole
    shutil.copytree(folder / "run", tmp_path / "run")
    for step in (160, 200, 240):
        damage.of_one(f"step-{step:08d}", "step-00000200")[name](tmp_path / "run" / "checkpoints")
    result = processes.train(*resume_test.COMMON, *resume_test.MODELS["mlp"], cwd=tmp_path)
    assert result.returncode == 2
    assert "none of the checkpoints" in result.stderr
    assert "Traceback" not in result.stderr
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    result = processes.train(*resume_test.COMMON, *resume_test.MODELS["mlp"], cwd=tmp_path)
    assert result.returncode == 2
    assert "holds no checkpoint of it" in result.stderr
